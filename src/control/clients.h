/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is connected to the control socket: bounded in number, size and time. Nothing here waits for anybody.
 */
#ifndef SPW_CONTROL_CLIENTS_H
#define SPW_CONTROL_CLIENTS_H

#include "keeper/board.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#define CLIENTS             128
#define CLIENTS_REQUEST_MAX 4096 /* bytes, newline included */

enum client_state {
	CLIENT_FREE,
	CLIENT_READING, /* its request */
	CLIENT_PARKED,  /* the keeper has been asked, or will be as soon as it listens */
	CLIENT_WRITING  /* the reply */
};

struct client {
	enum client_state state;
	int fd;
	bool root;
	uint64_t since, deadline; /* CLOCK_MONOTONIC, milliseconds */
	struct ask ask;           /* while parked */
	bool asked;
	size_t used, sent, reply_len;
	char request[CLIENTS_REQUEST_MAX];
	char *reply;
};

struct clients {
	int listener;
	uid_t owner;           /* served beside root */
	uint64_t listen_again; /* not before: there is no place, or no descriptor; UINT64_MAX: never */
	struct client client[CLIENTS];
};

/* Takes in whoever knocks: a bounded number at a time. */
void clients_accept(struct clients *c, uint64_t now);

/* True where somebody may be taken in now. */
bool clients_listening(const struct clients *c, uint64_t now);

/* What to wait for at a client; a parked one is not looked at. */
struct pollfd client_poll(const struct client *cl);

/* Reads what is there. True where the request is complete: it has cl->used bytes. */
bool client_read(struct client *cl);

/* Waits for the keeper from now on. False: too many do, and the client is told so. */
bool clients_park(struct clients *c, struct client *cl, const struct ask *ask, uint64_t deadline);

/* Gives the client its reply, which is freed (NULL: there was no memory), and writes what it takes. */
void client_reply(struct client *cl, char *reply, uint64_t deadline);

/* Writes what the client takes; then it is gone. */
void client_write(struct client *cl);

/* Disconnects. */
void client_drop(struct client *cl);

#endif
