/* What the parts of the load client share: its options, its connections, its counts. */
#ifndef STATE_H
#define STATE_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECEIVE = 1 << 18, ROOM = 1 << 23, ID = 64 };
typedef enum { SSE, NDJSON, WEBSOCKET } Wire;
typedef enum { SIZE, SIZE_END, DATA, DATA_END, TRAILER, CLOSED } Chunk;

typedef struct {
    int fd;
    bool open, asked, headers_done, chunked, upgraded, ended, paused, broken;
    bool following;       /* --then: the second request is out */
    bool of_kind;         /* --only: this block is of the kind that is read */
    char id[ID];          /* --then: from the first answer */
    Chunk chunk;
    uint64_t left;        /* bytes of this chunk, or of a Content-Length body */
    bool sized;           /* Content-Length */
    char *carry;          /* decoded bytes of a message that is not complete yet */
    size_t carried, carry_room;
    uint64_t seq, events, messages, bytes;
    int64_t sent, first_message, first_event, last;
} Connection;

static struct {
    const char *host, *frame, *event, *terminal, *then, *field, *only;
    int port;
    long connections, burst, repeat;
    uint64_t events, stop_after;
    double timeout, spread, window_from, window_length;
    Wire wire;
    bool check, stamps, hold, gate, until_terminal;
} option = {.host = "127.0.0.1", .event = "step.partial", .terminal = "run.completed",
            .connections = 1, .burst = 256, .timeout = 60, .check = true};

static Connection *connections;
static char *request, receive_buffer[RECEIVE], *room;
static long finished, failures, gaps, disorder;
static uint64_t all_events, all_messages, all_bytes;
static char complaint[256];

/* The measured window: latencies and events count where they arrive in it. */
static struct {
    int64_t from, to; /* 0, 0: not known yet */
    bool begun, over;
    uint64_t events;
    double processor;
} window;

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

#endif
