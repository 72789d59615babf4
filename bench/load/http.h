/* As much of HTTP/1.1 and of a WebSocket client's side as the load client needs. */
#ifndef HTTP_H
#define HTTP_H

#include "state.h"
#include <sys/socket.h>

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

/* A request, with the connection's number for "{i}" and the first answer's id for "{id}". */
static void say_request(Connection *c, const char *text) {
    static char filled[1 << 16];
    char number[24];
    size_t size = 0;
    snprintf(number, sizeof number, "%ld", (long)(c - connections));
    for (const char *at = text; *at && size < sizeof filled - ID;) {
        size_t mark = !strncmp(at, "{i}", 3) ? 3 : !strncmp(at, "{id}", 4) ? 4 : 0;
        if (mark) {
            const char *value = mark == 3 ? number : c->id;
            memcpy(filled + size, value, strlen(value));
            size += strlen(value), at += mark;
        } else filled[size++] = *at++;
    }
    say(c, filled, size);
}

static void ask(Connection *c) {
    c->asked = true;
    c->sent = now(CLOCK_REALTIME);
    say_request(c, request);
}

static void expect_answer(Connection *c) {
    c->headers_done = c->chunked = c->sized = false;
    c->chunk = SIZE, c->left = 0, c->carried = 0;
}

/* --- --then: a stream that is begun by one request and followed by another ----------------------- */

/* Whether what comes is the first of two answers: it holds no messages of a log. */
static bool is_first_answer(const Connection *c) {
    return option.then && !c->following;
}

/* "event_id": "abc" or 12 -> the value; false where there is none that fits. */
static bool take_id(Connection *c, const char *body, size_t size) {
    char name[ID];
    snprintf(name, sizeof name, "\"%s\":", option.field);
    const char *at = memmem(body, size, name, strlen(name)), *end = body + size;
    if (!at) return false;
    at += strlen(name);
    while (at < end && (*at == ' ' || *at == '"')) at++;
    size_t length = 0;
    while (at + length < end && !strchr("\",}] \r\n", at[length])) length++;
    if (!length || length >= sizeof c->id) return false;
    memcpy(c->id, at, length);
    c->id[length] = 0;
    return true;
}

/* The first answer is complete, in `carry`: the second request goes out on the same connection.
 * Times still count from the first one. */
static bool follow(Connection *c) {
    if (!take_id(c, c->carry, c->carried)) {
        complain("the first answer has no id", c);
        c->broken = true;
        return false;
    }
    expect_answer(c);
    c->following = true;
    say_request(c, option.then);
    return !c->broken;
}

#endif
