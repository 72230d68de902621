/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's protocol (sd_notify(3), sd_listen_fds(3)): the environment, messages, descriptors. Knows
 * nothing of lanes; never waits.
 */
#ifndef SPW_KEEPER_NOTIFY_H
#define SPW_KEEPER_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd;
	struct sockaddr_un to;
	socklen_t to_len;     /* 0: no manager wants to know */
	char address[108];    /* as the environment had it */
	uint64_t watchdog_ns; /* it wants to hear from us so often; 0: it does not */
};

/*
 * Reads what the environment says, and takes it out of there: no child is to speak for us. Where there is no manager,
 * or its address is none, messages go nowhere.
 */
void notify_open(struct notify *n);

/* Puts into the environment what notify_open() took out, for a program that this process becomes; and out again. */
void notify_restore(const struct notify *n);
void notify_forget(void);

/*
 * Sends one message, with a descriptor (-1: none). 0 also where there is no manager; a negative errno: it was not
 * sent (-EAGAIN: the manager's socket is full; -ENOENT, -ECONNREFUSED: it is gone), and may be tried again.
 */
__attribute__((format(printf, 3, 4))) int notify_send(const struct notify *n, int fd, const char *format, ...);

/*
 * Calls `take` for each descriptor that the manager has passed to this process, with its name ("": none). It is closed
 * on exec, and the callee's. Once: the environment says so no more.
 */
void notify_received(void (*take)(void *arg, int fd, const char *name), void *arg);

#endif
