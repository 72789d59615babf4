/* Bytes of a body -> messages of a log: SSE blocks, NDJSON lines, WebSocket frames. Counts them,
 * checks that positions have no gaps and that the terminal event is last. */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "histogram.h"
#include "state.h"

static Histogram latency;

static const char *find(const char *in, size_t size, const char *what) {
    return memmem(in, size, what, strlen(what));
}

static bool starts(const char *at, const char *end, const char *with) {
    size_t size = strlen(with);
    return (size_t)(end - at) >= size && memcmp(at, with, size) == 0;
}

static bool in_window(int64_t moment) {
    if (!option.window_length) return true;
    return window.to && (moment >= window.from && moment < window.to);
}

static void event(Connection *c, const char *type, const char *end, int64_t moment) {
    c->events++, all_events++;
    if (!c->first_event) c->first_event = moment;
    if (!in_window(moment)) return;
    window.events++;
    if (!option.stamps) return;
    const char *data = find(type, (size_t)(end - type), "\"data\":");
    if (data && (data += 7 + (data[7] == ' ')) < end && *data >= '0' && *data <= '9')
        note(&latency, moment - strtoll(data, NULL, 10));
}

/* One envelope: {"run":…,"seq":7,"type":"step.partial",…,"data":…} */
static void message(Connection *c, const char *at, size_t size, int64_t moment) {
    const char *end = at + size, *seq = find(at, size, "\"seq\":");
    if (!seq) return; /* an answer of the socket, say: no event of a log */
    uint64_t position = strtoull(seq + 6 + (seq[6] == ' '), NULL, 10);
    c->messages++, all_messages++;
    if (!c->first_message) c->first_message = moment;
    if (c->ended) disorder++;
    if (option.check && position != c->seq + 1) gaps++;
    c->seq = position;
    const char *type = find(seq, (size_t)(end - seq), "\"type\":");
    if (!type) return;
    type += 7;
    while (type < end && (*type == ' ' || *type == '"')) type++;
    if (starts(type, end, option.event)) {
        event(c, type, end, moment);
    } else if (starts(type, end, option.terminal)) {
        c->ended = true;
        c->last = moment;
    }
}

static bool is_kind(const char *at, size_t size, const char *kind) {
    if (size && *at == ' ') at++, size--;
    return size == strlen(kind) && memcmp(at, kind, size) == 0;
}

/* Both return how many bytes they have used: the rest is the beginning of a message. */
static size_t lines(Connection *c, char *from, size_t size, int64_t moment) {
    char *at = from, *end = from + size, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        size_t length = (size_t)(newline - at);
        if (length && at[length - 1] == '\r') length--;
        if (option.wire == NDJSON) {
            if (length) message(c, at, length, moment);
        } else if (length > 5 && memcmp(at, "data:", 5) == 0) {
            if (!option.only || c->of_kind) /* our contestants' events have one data line */
                message(c, at + 5, length - 5, moment);
        } else if (length > 6 && memcmp(at, "event:", 6) == 0) {
            c->of_kind = option.only && is_kind(at + 6, length - 6, option.only);
        } else if (!length) {
            c->of_kind = false; /* the next block has a kind of its own */
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

#endif
