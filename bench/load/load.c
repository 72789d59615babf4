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
#include "histogram.h"
#include "http.h"
#include "messages.h"
#include "state.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static Histogram first_message, first_event, done;
static long asked_for, answered; /* of --repeat */

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void tell(const char *word) {
    puts(word);
    fflush(stdout);
}

/* --- one connection ------------------------------------------------------------------------- */

static void keep(Connection *c, const char *from, size_t size) {
    if (size > c->carry_room) {
        c->carry_room = size * 2;
        if (!(c->carry = realloc(c->carry, c->carry_room))) die("memory");
    }
    memcpy(c->carry, from, size);
    c->carried = size;
}

static void judge(Connection *c) {
    if (c->first_message) note(&first_message, c->first_message - c->sent);
    if (c->first_event) note(&first_event, c->first_event - c->sent);
    if (c->last) note(&done, c->last - c->sent);
    if (option.stop_after) return;
    if (!c->ended && !c->broken) complain("ended without a terminal event", c);
    else if (option.events && c->events != option.events && !c->broken)
        complain("wrong number of events", c);
}

static void finish(Connection *c) {
    if (!c->open) return;
    c->open = false;
    close(c->fd);
    free(c->carry);
    c->carry = NULL;
    finished++;
    judge(c);
    if (!c->last) c->last = now(CLOCK_REALTIME);
}

/* The answer is over. With --then or --repeat, the next request goes out on the same connection. */
static void over(Connection *c) {
    if (is_first_answer(c) && !c->broken) {
        if (!follow(c)) finish(c);
        return;
    }
    if (!option.repeat || c->broken) {
        finish(c);
        return;
    }
    answered++;
    if (asked_for >= option.repeat) {
        finish(c);
        return;
    }
    judge(c);
    expect_answer(c);
    c->ended = c->following = false;
    c->seq = c->events = c->messages = 0;
    c->first_message = c->first_event = c->last = 0;
    asked_for++;
    ask(c);
}

static void take(Connection *c, char *bytes, size_t size, int64_t moment) {
    memcpy(room, c->carry, c->carried);
    char *to = room + c->carried;
    size_t used = 0;
    c->bytes += size, all_bytes += size;
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
    used = is_first_answer(c) ? 0
           : c->upgraded      ? frames(c, room, whole, moment)
                              : lines(c, room, whole, moment);
    keep(c, room + used, whole - used);
    bool at_end = c->chunked ? c->chunk == CLOSED : c->sized ? c->left == 0 : false;
    if (at_end || c->broken || (c->ended && (c->upgraded || option.until_terminal))) over(c);
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
            if (option.repeat) complain("closed although more was to be asked", c);
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

static void report(int64_t began, double processor) {
    uint64_t fewest = UINT64_MAX, most = 0;
    int64_t last = began;
    for (long i = 0; i < option.connections; i++) {
        Connection *c = connections + i;
        if (c->events < fewest) fewest = c->events;
        if (c->events > most) most = c->events;
        if (c->last > last) last = c->last;
        if (c->open && !option.stop_after && !option.hold) complain("did not end in time", c);
    }
    if (gaps) complain("positions have gaps", connections);
    if (disorder) complain("events after the terminal one", connections);
    printf("{\"connections\":%ld,\"events\":%" PRIu64 ",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"fewest\":%" PRIu64 ",\"most\":%" PRIu64 ",\"seconds\":%.6f,\"answered\":%ld,",
           option.connections, all_events, all_messages, all_bytes, fewest, most,
           (double)(last - began) / 1e9, answered);
    print_histogram("first_message", &first_message);
    print_histogram("first_event", &first_event);
    print_histogram("done", &done);
    print_histogram("latency", &latency);
    printf("\"window_events\":%" PRIu64 ",\"window_load_cpu_seconds\":%.4f,", window.events,
           window.processor);
    printf("\"load_cpu_seconds\":%.4f,\"gaps\":%ld,\"after_the_end\":%ld,\"failures\":%ld,"
           "\"complaint\":\"%s\"}\n", processor, gaps, disorder, failures, complaint);
}

/* A socket that was asked for something by a frame has begun when that is answered by a first
 * message, as a response's headers are its answer over HTTP: being open alone is no stream yet. Nor
 * is the first of two answers. */
static bool has_begun(const Connection *c) {
    return c->headers_done && !is_first_answer(c) && (!option.frame || c->first_message);
}

static bool all_have_begun(void) {
    for (long i = 0; i < option.connections; i++)
        if (connections[i].open && !has_begun(connections + i)) return false;
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
        tell("holding");
        *told = true;
        fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    }
    char byte;
    ssize_t n = read(0, &byte, 1);
    return n >= 0;
}

static void set_window(int64_t began) {
    if (!option.window_length) return;
    window.from = began + (int64_t)(option.window_from * 1e9);
    window.to = window.from + (int64_t)(option.window_length * 1e9);
}

/* Says "window" when it begins and "over" when it is over, so that the server's CPU can be read. */
static void watch_window(void) {
    if (!window.to || window.over) return;
    int64_t moment = now(CLOCK_REALTIME);
    if (!window.begun && moment >= window.from) {
        window.begun = true;
        window.processor = cpu_seconds();
        tell("window");
    }
    if (moment >= window.to) {
        window.over = true;
        window.processor = cpu_seconds() - window.processor;
        tell("over");
    }
}

/* Asks for what is due; returns how many milliseconds to wait for events at most. */
static int ask_due(long *asked, int64_t began) {
    if (*asked == option.connections) return window.to && !window.over ? 5 : 100;
    long due = option.connections;
    if (option.spread > 0) {
        double share = (double)(now(CLOCK_REALTIME) - began) / (option.spread * 1e9);
        due = share >= 1 ? due : (long)(share * (double)due) + 1;
    }
    for (long i = 0; i < option.burst && *asked < due; i++) ask(connections + (*asked)++);
    return option.spread > 0 ? 1 : 0;
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
    bool told = false, gated = option.gate;
    asked_for = option.connections;
    if (!gated) set_window(began);
    while (finished < option.connections && now(CLOCK_MONOTONIC) < until) {
        int wait = ask_due(&asked, began);
        watch_window();
        int n = epoll_wait(poll, ready, 512, wait);
        for (int i = 0; i < n; i++) readable(ready[i].data.ptr, poll);
        if (gated && asked == option.connections && all_have_begun()) {
            gated = false;
            began = now(CLOCK_REALTIME);
            set_window(began);
            tell("ready");
        }
        if (option.hold && asked == option.connections && held(&told)) break;
    }
    watch_window();
    report(began, cpu_seconds() - processor);
}

static void usage(void) {
    fputs("load --port P --request FILE [--host A] [--connections N] [--wire sse|ndjson|websocket]\n"
          "     [--frame TEXT]      WebSocket: sent once the socket is open\n"
          "     [--events E]        what each stream must bring; 0: do not check\n"
          "     [--event TYPE] [--terminal TYPE]\n"
          "     [--stamps]          \"data\" of an event is when it was made (ns since the epoch)\n"
          "     [--no-check]        positions need not be gapless\n"
          "     [--spread S]        send the requests evenly over S seconds\n"
          "     [--window A:B]      measure for B seconds, A seconds after the beginning\n"
          "     [--gate]            say \"ready\" when all is open: that is the beginning\n"
          "     [--until-terminal]  a stream is over with its terminal event, open or not\n"
          "     [--repeat R]        R requests in all, one after the other on each connection\n"
          "     [--stop-after B]    stop reading a connection behind B bytes\n"
          "     [--hold]            say \"holding\" when all is open, end at a line on stdin\n"
          "     [--then FILE --field NAME]  when the first answer is there, this request follows, its\n"
          "                         \"{id}\" being that field of the first answer's JSON\n"
          "     [--only KIND]       SSE: read only blocks of this \"event:\"\n"
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

static bool flag(const char *name) {
    if (!strcmp(name, "--stamps")) option.stamps = true;
    else if (!strcmp(name, "--no-check")) option.check = false;
    else if (!strcmp(name, "--hold")) option.hold = true;
    else if (!strcmp(name, "--gate")) option.gate = true;
    else if (!strcmp(name, "--until-terminal")) option.until_terminal = true;
    else return false;
    return true;
}

static void value(const char *name, const char *given) {
    if (!strcmp(name, "--host")) option.host = given;
    else if (!strcmp(name, "--port")) option.port = atoi(given);
    else if (!strcmp(name, "--connections")) option.connections = atol(given);
    else if (!strcmp(name, "--wire"))
        option.wire = given[0] == 's' ? SSE : given[0] == 'n' ? NDJSON : WEBSOCKET;
    else if (!strcmp(name, "--request")) request = slurp(given);
    else if (!strcmp(name, "--then")) option.then = slurp(given);
    else if (!strcmp(name, "--field")) option.field = given;
    else if (!strcmp(name, "--only")) option.only = given;
    else if (!strcmp(name, "--frame")) option.frame = given;
    else if (!strcmp(name, "--events")) option.events = strtoull(given, NULL, 10);
    else if (!strcmp(name, "--event")) option.event = given;
    else if (!strcmp(name, "--terminal")) option.terminal = given;
    else if (!strcmp(name, "--stop-after")) option.stop_after = strtoull(given, NULL, 10);
    else if (!strcmp(name, "--spread")) option.spread = atof(given);
    else if (!strcmp(name, "--repeat")) option.repeat = atol(given);
    else if (!strcmp(name, "--timeout")) option.timeout = atof(given);
    else if (!strcmp(name, "--window")) {
        if (sscanf(given, "%lf:%lf", &option.window_from, &option.window_length) != 2) usage();
    } else usage();
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        if (flag(words[i])) continue;
        if (i + 1 == count) usage();
        value(words[i], words[i + 1]);
        i++;
    }
    if (!option.port || !request || option.connections < 1) usage();
    if (!option.then != !option.field) usage();
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    connections = calloc((size_t)option.connections, sizeof *connections);
    room = malloc(ROOM);
    if (!connections || !room) die("memory");
    run();
    return failures ? 1 : 0;
}
