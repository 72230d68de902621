/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: takes a request a connection, answers it, closes. Never waits for a client.
 */
#ifndef SPW_CONTROL_SERVER_H
#define SPW_CONTROL_SERVER_H

#include "keeper/keeper.h"

#include <poll.h>

#define CONTROL_CLIENTS     16
#define CONTROL_REQUEST_MAX 4096 /* bytes, newline included */

struct control_client {
	int fd;            /* -1: free */
	uint64_t deadline; /* CLOCK_MONOTONIC, milliseconds */
	size_t used, sent;
	char request[CONTROL_REQUEST_MAX];
	char *reply; /* once there is one */
	size_t reply_len;
};

struct control {
	int listener;
	char path[108];
	struct control_client client[CONTROL_CLIENTS];
};

/*
 * Listens at path (a stale socket there is replaced, a living one is not). 0, or a negative errno:
 * -EADDRINUSE: somebody answers there; -ENAMETOOLONG; else what bind(2) said.
 */
int control_open(struct control *c, const char *path);

/* Closes everything and removes the socket's name. */
void control_close(struct control *c);

/* Descriptors to poll, at most CONTROL_CLIENTS + 1; returns how many were written. */
unsigned control_descriptors(const struct control *c, struct pollfd *p);

/* Serves whoever is ready. Requests are carried out on k. */
void control_serve(struct control *c, struct keeper *k);

/* Where the control socket is by default, for this user. Returns buf. */
const char *control_default_path(char *buf, size_t size);

#endif
