/* The load client: N connections, one thread, epoll. Reads SSE, NDJSON or WebSocket messages,
 * counts them, checks that positions have no gaps and that the terminal event is last, and times
 * them. Prints one JSON object. Linux; C11; no dependency.
 *
 *   load --port P --connections N --wire sse --request FILE [--frame TEXT] --events E
 *
 * FILE holds the request as it goes over the wire ("{i}" becomes the connection's number).
 * See `usage` for the rest. Knows nothing of any contestant.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVE = 1 << 18, ROOM = 1 << 23, SUB = 64, BUCKETS = 64 * SUB };
typedef enum { SSE, NDJSON, WEBSOCKET } Wire;
typedef enum { SIZE, SIZE_END, DATA, DATA_END, TRAILER, CLOSED } Chunk;

typedef struct {
    int fd;
    bool open, asked, headers_done, chunked, upgraded, ended, paused, broken;
    Chunk chunk;
    uint64_t left;        /* bytes of this chunk, or of a Content-Length body */
    bool sized;           /* Content-Length */
    char *carry;          /* decoded bytes of a message that is not complete yet */
    size_t carried, carry_room;
    uint64_t seq, events, messages, bytes;
    int64_t sent, first_message, first_event, last;
} Connection;

static struct {
    const char *host, *frame, *event, *terminal;
    int port;
    long connections, burst;
    uint64_t events, stop_after;
    double timeout;
    Wire wire;
    bool check, stamps, hold, grow;
} option = {.host = "127.0.0.1", .event = "step.partial", .terminal = "run.completed",
            .connections = 1, .burst = 256, .timeout = 60, .check = true};

static Connection *connections;
static char *request, receive_buffer[RECEIVE], *room;
static long finished, failures, gaps, disorder;
static uint64_t latency[BUCKETS], latency_count;
static int64_t latency_max;
static char complaint[256];

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void complain(const char *what, const Connection *c) {
    failures++;
    if (!complaint[0])
        snprintf(complaint, sizeof complaint, "%s (connection %ld, position %" PRIu64 ", %" PRIu64
                 " events)", what, (long)(c - connections), c->seq, c->events);
}

/* --- histogram: buckets of 1/64 of a power of two, so that a value is known to 1.6 % ------- */

static int bucket(int64_t value) {
    if (value < SUB) return value < 0 ? 0 : (int)value;
    int power = 63 - __builtin_clzll((uint64_t)value);
    int at = (power - 5) * SUB + (int)((value >> (power - 6)) & (SUB - 1));
    return at < BUCKETS ? at : BUCKETS - 1;
}

static double bucket_middle(int at) {
    if (at < SUB) return at;
    int power = at / SUB + 5;
    return ((double)SUB + at % SUB + 0.5) * (double)(1ull << (power - 6));
}

static double percentile(const uint64_t *counts, uint64_t total, double part) {
    uint64_t wanted = (uint64_t)(part * (double)total), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += counts[i]) > wanted) return bucket_middle(i) / 1e6;
    return 0;
}

/* --- messages --------------------------------------------------------------------------------- */

static const char *find(const char *in, size_t size, const char *what) {
    return memmem(in, size, what, strlen(what));
}

static bool starts(const char *at, const char *end, const char *with) {
    size_t size = strlen(with);
    return (size_t)(end - at) >= size && memcmp(at, with, size) == 0;
}

/* One envelope: {"run":…,"seq":7,"type":"step.partial",…,"data":…} */
static void message(Connection *c, const char *at, size_t size, int64_t moment) {
    const char *end = at + size, *seq = find(at, size, "\"seq\":");
    if (!seq) return; /* an answer of the socket, say: no event of a log */
    uint64_t position = strtoull(seq + 6 + (seq[6] == ' '), NULL, 10);
    c->messages++;
    if (!c->first_message) c->first_message = moment;
    if (c->ended) disorder++;
    if (option.check && position != c->seq + 1) gaps++;
    c->seq = position;
    const char *type = find(seq, (size_t)(end - seq), "\"type\":");
    if (!type) return;
    type += 7;
    while (type < end && (*type == ' ' || *type == '"')) type++;
    if (starts(type, end, option.event)) {
        c->events++;
        if (!c->first_event) c->first_event = moment;
        if (option.stamps) {
            const char *data = find(type, (size_t)(end - type), "\"data\":");
            if (data && (data += 7 + (data[7] == ' ')) < end && *data >= '0' && *data <= '9') {
                int64_t taken = moment - strtoll(data, NULL, 10);
                latency[bucket(taken)]++, latency_count++;
                if (taken > latency_max) latency_max = taken;
            }
        }
    } else if (starts(type, end, option.terminal)) {
        c->ended = true;
        c->last = moment;
    }
}

static size_t lines(Connection *c, char *from, size_t size, int64_t moment) {
    char *at = from, *end = from + size, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        size_t length = (size_t)(newline - at);
        if (length && at[length - 1] == '\r') length--;
        if (option.wire == NDJSON) {
            if (length) message(c, at, length, moment);
        } else if (length > 5 && memcmp(at, "data:", 5) == 0) {
            message(c, at + 5, length - 5, moment); /* our contestants' events have one data line */
        }
        at = newline + 1;
    }
    return (size_t)(at - from);
}

static size_t frames(Connection *c, char *from, size_t size, int64_t moment) {
    size_t used = 0;
    for (;;) {
        unsigned char *head = (unsigned char *)from + used;
        size_t there = size - used, header = 2;
        if (there < 2) return used;
        uint64_t length = head[1] & 127;
        if (length == 126) header = 4;
        if (length == 127) header = 10;
        if (there < header) return used;
        if (length >= 126) {
            int bytes = length == 126 ? 2 : 8;
            length = 0;
            for (int i = 0; i < bytes; i++) length = length << 8 | head[2 + i];
        }
        if (there - header < length) return used;
        if ((head[0] & 15) == 1 && (head[0] & 128))
            message(c, (char *)head + header, length, moment);
        else if ((head[0] & 15) == 8)
            c->broken = !c->ended;
        used += header + length;
    }
}

static void keep(Connection *c, const char *from, size_t size) {
    if (size > c->carry_room) {
        c->carry_room = size * 2;
        if (!(c->carry = realloc(c->carry, c->carry_room))) die("memory");
    }
    memcpy(c->carry, from, size);
    c->carried = size;
}

/* --- HTTP/1.1 ----------------------------------------------------------------------------------- */

/* Copies the body's bytes behind `to`; returns where it stopped. */
static char *dechunk(Connection *c, const char *at, const char *end, char *to) {
    while (at < end) {
        size_t there = (size_t)(end - at);
        switch (c->chunk) {
        case SIZE: {
            char d = *at;
            int digit = d >= '0' && d <= '9' ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f'
                        ? (d | 32) - 'a' + 10 : -1;
            if (digit >= 0) c->left = c->left * 16 + (unsigned)digit, at++;
            else c->chunk = SIZE_END;
            break;
        }
        case SIZE_END:
            if (*at++ == '\n') c->chunk = c->left ? DATA : TRAILER;
            break;
        case DATA: {
            size_t take = there < c->left ? there : (size_t)c->left;
            memcpy(to, at, take);
            to += take, at += take;
            if (!(c->left -= take)) c->chunk = DATA_END;
            break;
        }
        case DATA_END:
            if (*at++ == '\n') c->chunk = SIZE;
            break;
        case TRAILER:
            if (*at++ == '\n') c->chunk = CLOSED; /* no trailers here */
            break;
        case CLOSED:
            return to;
        }
    }
    return to;
}

static bool headers(Connection *c, char *at, size_t size, size_t *used) {
    char *end = memmem(at, size, "\r\n\r\n", 4);
    if (!end) return false;
    *used = (size_t)(end + 4 - at);
    int status = size > 12 ? atoi(at + 9) : 0;
    if (status != (option.wire == WEBSOCKET ? 101 : 200)) {
        char told[96];
        snprintf(told, sizeof told, "status %d", status);
        complain(told, c);
        c->broken = true;
    }
    end[2] = 0;
    c->headers_done = true;
    c->upgraded = status == 101;
    c->chunked = strcasestr(at, "\ntransfer-encoding: chunked") != NULL;
    const char *length = strcasestr(at, "\ncontent-length:");
    if (length && !c->chunked) c->sized = true, c->left = strtoull(length + 16, NULL, 10);
    return true;
}

static void say(Connection *c, const char *bytes, size_t size) {
    for (size_t sent = 0; sent < size;) { /* a request fits into an empty socket buffer */
        ssize_t n = send(c->fd, bytes + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            complain("send failed", c);
            c->broken = true;
            return;
        }
        if (n > 0) sent += (size_t)n;
    }
}

static void say_frame(Connection *c, const char *text) {
    size_t size = strlen(text), header = size < 126 ? 6 : 8;
    unsigned char *frame = malloc(size + 8);
    if (!frame) die("memory");
    frame[0] = 0x81;
    if (size < 126) frame[1] = (unsigned char)(0x80 | size);
    else frame[1] = 0x80 | 126, frame[2] = (unsigned char)(size >> 8), frame[3] = (unsigned char)size;
    memset(frame + header - 4, 0, 4); /* a mask of zeros */
    memcpy(frame + header, text, size);
    say(c, (char *)frame, size + header);
    free(frame);
}

static void ask(Connection *c) {
    static char filled[1 << 16];
    char number[24];
    size_t size = 0;
    snprintf(number, sizeof number, "%ld", (long)(c - connections));
    for (const char *at = request; *at && size < sizeof filled - 32;) {
        if (strncmp(at, "{i}", 3) == 0) {
            memcpy(filled + size, number, strlen(number));
            size += strlen(number), at += 3;
        } else filled[size++] = *at++;
    }
    c->asked = true;
    c->sent = now(CLOCK_REALTIME);
    say(c, filled, size);
}

static void finish(Connection *c) {
    if (!c->open) return;
    c->open = false;
    if (!c->last) c->last = now(CLOCK_REALTIME);
    close(c->fd);
    free(c->carry);
    c->carry = NULL;
    finished++;
    if (option.stop_after) return;
    if (!c->ended && !c->broken) complain("ended without a terminal event", c);
    else if (option.events && c->events != option.events && !c->broken)
        complain("wrong number of events", c);
}

static void take(Connection *c, char *bytes, size_t size, int64_t moment) {
    memcpy(room, c->carry, c->carried);
    char *to = room + c->carried;
    size_t used = 0;
    c->bytes += size;
    if (!c->headers_done) {
        memcpy(to, bytes, size);
        size_t whole = c->carried + size;
        if (!headers(c, room, whole, &used)) {
            keep(c, room, whole);
            return;
        }
        c->carried = 0;
        if (c->upgraded && option.frame) {
            c->sent = now(CLOCK_REALTIME);
            say_frame(c, option.frame);
        }
        memcpy(receive_buffer, room + used, whole - used);
        bytes = receive_buffer, size = whole - used, to = room;
        if (c->broken) return;
    }
    if (c->chunked) to = dechunk(c, bytes, bytes + size, to);
    else {
        memcpy(to, bytes, size);
        to += size;
        if (c->sized) c->left -= size;
    }
    size_t whole = (size_t)(to - room);
    used = c->upgraded ? frames(c, room, whole, moment) : lines(c, room, whole, moment);
    keep(c, room + used, whole - used);
    bool over = c->chunked ? c->chunk == CLOSED : c->sized ? c->left == 0 : false;
    if (over || c->broken || (c->upgraded && c->ended)) finish(c);
}

static void readable(Connection *c, int poll) {
    for (int turn = 0; turn < 4 && c->open; turn++) { /* then the others get their turn */
        ssize_t n = recv(c->fd, receive_buffer, RECEIVE, 0);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            complain(strerror(errno), c);
            c->broken = true;
            finish(c);
            return;
        }
        if (n == 0) {
            finish(c);
            return;
        }
        take(c, receive_buffer, (size_t)n, now(CLOCK_REALTIME));
        if (option.stop_after && c->open && c->bytes >= option.stop_after && !c->paused) {
            c->paused = true;
            epoll_ctl(poll, EPOLL_CTL_DEL, c->fd, NULL);
            return;
        }
        if (n < RECEIVE) return;
    }
}

static void connect_one(Connection *c, int poll, const struct sockaddr_in *address) {
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) die("socket");
    int on = 1, small = 65536;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (option.stop_after) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (const struct sockaddr *)address, sizeof *address)) die("connect");
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &interest)) die("epoll_ctl");
    c->open = true;
}

/* --- the story ---------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_firsts(const char *name, bool events) {
    int64_t *took = calloc((size_t)option.connections, sizeof *took);
    if (!took) die("memory");
    long n = 0;
    for (long i = 0; i < option.connections; i++) {
        int64_t at = events ? connections[i].first_event : connections[i].first_message;
        if (at) took[n++] = at - connections[i].sent;
    }
    qsort(took, (size_t)n, sizeof *took, ascending);
    printf("\"%s_p50_ms\":%.4f,\"%s_p99_ms\":%.4f,", name, n ? (double)took[n / 2] / 1e6 : 0.0, name,
           n ? (double)took[n * 99 / 100] / 1e6 : 0.0);
    free(took);
}

static void report(int64_t began, double processor) {
    uint64_t events = 0, messages = 0, bytes = 0, fewest = UINT64_MAX, most = 0;
    int64_t last = began;
    for (long i = 0; i < option.connections; i++) {
        Connection *c = connections + i;
        events += c->events, messages += c->messages, bytes += c->bytes;
        if (c->events < fewest) fewest = c->events;
        if (c->events > most) most = c->events;
        if (c->last > last) last = c->last;
        if (c->open && !option.stop_after && !option.hold) complain("did not end in time", c);
    }
    double seconds = (double)(last - began) / 1e9;
    if (gaps) complain("positions have gaps", connections);
    if (disorder) complain("events after the terminal one", connections);
    printf("{\"connections\":%ld,\"events\":%" PRIu64 ",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"fewest\":%" PRIu64 ",\"most\":%" PRIu64 ",\"seconds\":%.6f,",
           option.connections, events, messages, bytes, fewest, most, seconds);
    print_firsts("first_message", false);
    print_firsts("first_event", true);
    printf("\"latency_count\":%" PRIu64 ",\"latency_p50_ms\":%.4f,\"latency_p99_ms\":%.4f,"
           "\"latency_max_ms\":%.4f,",
           latency_count, percentile(latency, latency_count, 0.5),
           percentile(latency, latency_count, 0.99), (double)latency_max / 1e6);
    printf("\"load_cpu_seconds\":%.4f,\"gaps\":%ld,\"after_the_end\":%ld,\"failures\":%ld,"
           "\"complaint\":\"%s\"}\n", processor, gaps, disorder, failures, complaint);
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static bool all_have_begun(void) {
    for (long i = 0; i < option.connections; i++)
        if (connections[i].open && !connections[i].headers_done) return false;
    return true;
}

static bool all_have_stopped(void) {
    for (long i = 0; i < option.connections; i++)
        if (connections[i].open && !connections[i].paused) return false;
    return true;
}

/* Says "holding" once everything is open (or has stopped reading), and waits for a line. */
static bool held(bool *told) {
    if (!*told) {
        if (!(option.stop_after ? all_have_stopped() : all_have_begun())) return false;
        puts("holding");
        fflush(stdout);
        *told = true;
        fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    }
    char byte;
    ssize_t n = read(0, &byte, 1);
    return n >= 0;
}

static void run(void) {
    int poll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)option.port)};
    if (inet_pton(AF_INET, option.host, &address.sin_addr) != 1) die(option.host);
    struct epoll_event ready[512];
    for (long i = 0; i < option.connections; i++) connect_one(connections + i, poll, &address);
    double processor = cpu_seconds();
    int64_t began = now(CLOCK_REALTIME);
    int64_t until = now(CLOCK_MONOTONIC) + (int64_t)(option.timeout * 1e9);
    long asked = 0;
    bool told = false;
    while (finished < option.connections && now(CLOCK_MONOTONIC) < until) {
        for (long i = 0; i < option.burst && asked < option.connections; i++)
            ask(connections + asked++);
        int wait = asked < option.connections ? 0 : 100;
        int n = epoll_wait(poll, ready, 512, wait);
        for (int i = 0; i < n; i++) readable(ready[i].data.ptr, poll);
        if (option.hold && asked == option.connections && held(&told)) break;
    }
    report(began, cpu_seconds() - processor);
}

static void usage(void) {
    fputs("load --port P --request FILE [--host A] [--connections N] [--wire sse|ndjson|websocket]\n"
          "     [--frame TEXT]      WebSocket: sent once the socket is open\n"
          "     [--events E]        what each stream must bring; 0: do not check\n"
          "     [--event TYPE] [--terminal TYPE]\n"
          "     [--stamps]          \"data\" of an event is when it was made (ns since the epoch)\n"
          "     [--no-check]        positions need not be gapless\n"
          "     [--stop-after B]    stop reading a connection behind B bytes\n"
          "     [--hold]            say \"holding\" when all is open, end at a line on stdin\n"
          "     [--timeout S]\n", stderr);
    exit(2);
}

static char *slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    char *text = calloc(1, 1 << 16);
    if (!text || (fread(text, 1, (1 << 16) - 1, file) == 0 && ferror(file))) die(path);
    fclose(file);
    return text;
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        const char *name = words[i];
        if (!strcmp(name, "--stamps")) { option.stamps = true; continue; }
        if (!strcmp(name, "--no-check")) { option.check = false; continue; }
        if (!strcmp(name, "--hold")) { option.hold = true; continue; }
        if (i + 1 == count) usage();
        const char *value = words[++i];
        if (!strcmp(name, "--host")) option.host = value;
        else if (!strcmp(name, "--port")) option.port = atoi(value);
        else if (!strcmp(name, "--connections")) option.connections = atol(value);
        else if (!strcmp(name, "--wire"))
            option.wire = value[0] == 's' ? SSE : value[0] == 'n' ? NDJSON : WEBSOCKET;
        else if (!strcmp(name, "--request")) request = slurp(value);
        else if (!strcmp(name, "--frame")) option.frame = value;
        else if (!strcmp(name, "--events")) option.events = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--event")) option.event = value;
        else if (!strcmp(name, "--terminal")) option.terminal = value;
        else if (!strcmp(name, "--stop-after")) option.stop_after = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--timeout")) option.timeout = atof(value);
        else usage();
    }
    if (!option.port || !request || option.connections < 1) usage();
    connections = calloc((size_t)option.connections, sizeof *connections);
    room = malloc(ROOM);
    if (!connections || !room) die("memory");
    run();
    return failures ? 1 : 0;
}
