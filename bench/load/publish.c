/* The publisher: posts the events of one run to a push server, evenly in time, on one connection.
 * Prints one JSON object. One thread; Linux; C11; no dependency.
 *
 *   publish --port P --path /pub --count N --rate R [--form raw|grip] [--ahead A]
 *
 * raw: the body is the envelope (nchan). grip: the envelope as an SSE block in a GRIP item, for
 * the channel of Pushpin's test route.
 * The last event, behind the N, is run.completed. At most A posts are unanswered at a time. Pushpin
 * closes a connection behind its answer: each GRIP item goes on one of its own.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char RUN[] = "00000000-0000-4000-8000-000000000000";
static int port, ahead = 64;
static long count;
static double rate;
static const char *path = "/pub";
static bool grip;
static long sent, answered, refused;

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "publish: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int envelope(char *to, size_t room, long seq, bool last) {
    char moment[40], data[48] = "";
    time_t seconds = time(NULL);
    struct tm t;
    gmtime_r(&seconds, &t);
    strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%S.000Z", &t);
    if (!last) snprintf(data, sizeof data, ",\"data\":%lld", (long long)now(CLOCK_REALTIME));
    return snprintf(to, room, "{\"run\":\"%s\",\"seq\":%ld,\"type\":\"%s\"%s,\"time\":\"%s\"%s}", RUN,
                    seq, last ? "run.completed" : "step.partial", last ? "" : ",\"step\":\"tick\"",
                    moment, data);
}

/* An SSE block as the text of a JSON string. */
static int quoted(char *to, const char *kind, const char *line, long seq) {
    char *at = to + sprintf(to, "event: %s\\ndata: ", kind);
    for (; *line; line++) {
        if (*line == '"' || *line == '\\') *at++ = '\\';
        *at++ = *line;
    }
    return (int)(at + sprintf(at, "\\nid: %ld\\n\\n", seq) - to);
}

static int post(char *to, size_t room, long seq, bool last) {
    char line[512], body[2048];
    const char *kind = last ? "run.completed" : "step.partial";
    int size = envelope(line, sizeof line, seq, last);
    if (grip) {
        char block[1024];
        quoted(block, kind, line, seq);
        size = snprintf(body, sizeof body, "{\"items\":[{\"channel\":\"test\",\"formats\":"
                        "{\"http-stream\":{\"content\":\"%s\"}}}]}", block);
    } else memcpy(body, line, (size_t)size + 1);
    return snprintf(to, room, "POST %s HTTP/1.1\r\nhost: localhost\r\nx-eventsource-event: %s\r\n"
                    "content-type: application/json\r\ncontent-length: %d\r\n\r\n%s", path, kind,
                    size, body);
}

/* Counts the answers that have come; waits for at least one if told to. */
static void answers(int fd, bool wait) {
    static char buffer[1 << 16];
    static size_t held;
    ssize_t n;
    while ((n = recv(fd, buffer + held, sizeof buffer - 1 - held, wait ? 0 : MSG_DONTWAIT)) > 0) {
        wait = false;
        held += (size_t)n;
        buffer[held] = 0;
        char *at = buffer, *found;
        while ((found = strstr(at, "HTTP/1.1 ")) && found + 12 < buffer + held) {
            answered++;
            if (found[9] != '2') refused++;
            at = found + 12;
        }
        size_t left = held - (size_t)(at - buffer), most = left < 12 ? left : 12;
        memmove(buffer, buffer + held - most, most); /* a status line may be cut in two */
        held = most;
    }
    if (n == 0 && !grip) die("the server closed the connection");
}

static int connected(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void wait_until(int fd, int64_t due) {
    int64_t left;
    while ((left = due - now(CLOCK_MONOTONIC)) > 0) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        struct timespec most = {left / 1000000000, left % 1000000000};
        if (ppoll(&readable, 1, &most, NULL) > 0) answers(fd, false);
    }
}

static void options(int words, char **word) {
    for (int i = 1; i + 1 < words; i += 2) {
        const char *name = word[i], *given = word[i + 1];
        if (!strcmp(name, "--port")) port = atoi(given);
        else if (!strcmp(name, "--path")) path = given;
        else if (!strcmp(name, "--count")) count = atol(given);
        else if (!strcmp(name, "--rate")) rate = atof(given);
        else if (!strcmp(name, "--ahead")) ahead = atoi(given);
        else if (!strcmp(name, "--form")) grip = given[0] == 'g';
    }
    if (!port || count < 1) {
        fputs("publish --port P --count N [--rate R] [--path P] [--form raw|grip] [--ahead A]\n",
              stderr);
        exit(2);
    }
}

int main(int words, char **word) {
    options(words, word);
    int fd = connected();
    char text[4096];
    int64_t began = now(CLOCK_MONOTONIC), due = began;
    for (long seq = 1; seq <= count + 1; seq++) {
        if (rate > 0) wait_until(fd, due += (int64_t)(1e9 / rate));
        while (sent - answered >= ahead) answers(fd, true);
        int size = post(text, sizeof text, seq, seq > count);
        for (int at = 0; at < size;) {
            ssize_t n = send(fd, text + at, (size_t)(size - at), MSG_NOSIGNAL);
            if (n < 0) die("send");
            at += (int)n;
        }
        sent++;
        answers(fd, false);
        if (grip) {
            while (answered < sent) answers(fd, true);
            close(fd);
            fd = seq > count ? -1 : connected();
        }
    }
    while (answered < sent) answers(fd, true);
    printf("{\"sent\":%ld,\"refused\":%ld,\"seconds\":%.6f}\n", sent, refused,
           (double)(now(CLOCK_MONOTONIC) - began) / 1e9);
    return refused ? 1 : 0;
}
