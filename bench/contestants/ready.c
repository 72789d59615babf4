/* The physical limit: bytes that are ready, pushed down N sockets. Builds the whole answer for a
 * count once, and writes it to every connection as fast as the socket takes it. With `rate`, each
 * event is stamped and sent when it is due. One thread, epoll; Linux; C11; no dependency.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 16384, FRAME = 400 };
static const char HEADERS[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    "transfer-encoding: chunked\r\n\r\n";
static const char RUN[] = "00000000-0000-4000-8000-000000000000";

typedef struct Connection {
    int fd;
    bool streaming, waiting;
    size_t sent;
    uint64_t seq, count;
    int64_t due, step;
    struct Connection *next;
} Connection;

static char *body;
static size_t body_size;
static uint64_t body_count;
static int poll_fd;
static Connection *paced;

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(2);
}

static int frame(char *to, uint64_t seq, bool last, const char *moment) {
    const char *kind = last ? "run.completed" : "step.partial";
    char data[48] = "";
    if (!last) snprintf(data, sizeof data, ",\"data\":%lld", (long long)now(CLOCK_REALTIME));
    return snprintf(to, FRAME,
                    "event: %s\ndata: {\"run\":\"%s\",\"seq\":%llu,\"type\":\"%s\"%s,\"time\":\"%s\""
                    "%s}\nid: %llu\n\n", kind, RUN, (unsigned long long)seq, kind,
                    last ? "" : ",\"step\":\"tick\"", moment, data, (unsigned long long)seq);
}

static const char *moment_now(void) {
    static char text[40];
    time_t seconds = time(NULL);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    memcpy(text + n, ".000Z", 6);
    return text;
}

static void build(uint64_t count) {
    if (body && body_count == count) return;
    free(body);
    body = malloc((size_t)(count + 2) * FRAME + sizeof HEADERS + 64);
    char *chunk = malloc(CHUNK + FRAME);
    if (!body || !chunk) die("memory");
    const char *moment = moment_now();
    size_t size = sizeof HEADERS - 1, held = 0;
    memcpy(body, HEADERS, size);
    for (uint64_t seq = 1; seq <= count + 1; seq++) {
        held += (size_t)frame(chunk + held, seq, seq > count, moment);
        if (held < CHUNK && seq <= count) continue;
        size += (size_t)sprintf(body + size, "%zx\r\n", held);
        memcpy(body + size, chunk, held);
        size += held, held = 0;
        memcpy(body + size, "\r\n", 2), size += 2;
    }
    memcpy(body + size, "0\r\n\r\n", 5);
    body_size = size + 5, body_count = count;
    free(chunk);
}

static void drop(Connection *c) {
    for (Connection **at = &paced; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    close(c->fd);
    free(c);
}

static void want(Connection *c, uint32_t events) {
    struct epoll_event interest = {.events = events, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &interest);
}

static void push(Connection *c) {
    while (c->sent < body_size) {
        ssize_t n = send(c->fd, body + c->sent, body_size - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) want(c, EPOLLIN | EPOLLOUT);
            return;
        }
        c->sent += (size_t)n;
    }
    c->streaming = false;
    want(c, EPOLLIN);
}

static double number(const char *request, const char *name) {
    const char *at = strstr(request, name);
    return at ? atof(at + strlen(name)) : 0;
}

static void serve(Connection *c) {
    char request[4096];
    ssize_t n = recv(c->fd, request, sizeof request - 1, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) drop(c);
        return;
    }
    request[n] = 0;
    if (!strstr(request, "\r\n\r\n")) return;
    c->count = (uint64_t)number(request, "count=");
    double rate = number(request, "rate=");
    c->sent = 0;
    if (rate <= 0) {
        build(c->count);
        c->streaming = true;
        push(c);
        return;
    }
    if (send(c->fd, HEADERS, sizeof HEADERS - 1, MSG_NOSIGNAL) < 0) return;
    c->seq = 0, c->step = (int64_t)(1e9 / rate), c->due = now(CLOCK_MONOTONIC) + c->step;
    c->next = paced, paced = c;
}

/* Sends what is due on each paced connection; returns milliseconds to the next one. */
static int tick(void) {
    int64_t moment = now(CLOCK_MONOTONIC), soonest = moment + 100000000;
    for (Connection **at = &paced, *c; (c = *at);) {
        while (c->due <= moment && c->seq <= c->count) {
            char block[FRAME + 32], framed[FRAME];
            bool last = ++c->seq > c->count;
            int size = frame(framed, c->seq, last, moment_now());
            size = snprintf(block, sizeof block, "%x\r\n%s\r\n%s", (unsigned)size, framed,
                            last ? "0\r\n\r\n" : "");
            if (send(c->fd, block, (size_t)size, MSG_NOSIGNAL) != size) c->seq = c->count + 1;
            if (c->seq < c->count) c->due += c->step;
        }
        if (c->seq > c->count) {
            *at = c->next, c->next = NULL;
            continue;
        }
        if (c->due < soonest) soonest = c->due;
        at = &c->next;
    }
    int64_t left = soonest - now(CLOCK_MONOTONIC);
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

int main(int count, char **words) {
    if (count != 2) return 2;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(words[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        die("listen");
    poll_fd = epoll_create1(0);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = NULL}, ready[512];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &interest);
    for (;;) {
        int n = epoll_wait(poll_fd, ready, 512, paced ? tick() : -1);
        for (int i = 0; i < n; i++) {
            Connection *c = ready[i].data.ptr;
            if (c) {
                if (c->streaming && (ready[i].events & EPOLLOUT)) push(c);
                else if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) serve(c);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            if (!(c = calloc(1, sizeof *c))) die("memory");
            c->fd = fd;
            interest = (struct epoll_event){.events = EPOLLIN, .data.ptr = c};
            epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &interest);
        }
    }
}
