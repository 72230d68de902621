/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The proof that fail-open acts, by packets of its own on the loopback interface of a namespace apart: see probe.h.
 */
#include "doctor/probe.h"
#include "doctor/scratch.h"
#include "doctor/try.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <spillway/queue.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LENGTH = 16, SENT = 40, QUIET_MS = 100, PATIENCE_MS = 2000 };

/* A bound receiver, or a sender connected to `to`. A negative errno. */
static int datagrams(const struct sockaddr_in *to, struct sockaddr_in *own)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(*own);
	int err;

	if (fd < 0)
		return -errno;
	if (to ? !connect(fd, (const struct sockaddr *)to, sizeof(*to))
	       : !bind(fd, (const struct sockaddr *)&any, sizeof(any)) &&
		     !getsockname(fd, (struct sockaddr *)own, &len))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* How many come: waits for so many, then looks whether there are more. */
static unsigned received(int fd, unsigned expected)
{
	unsigned count = 0;
	char byte;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (recv(fd, &byte, sizeof(byte), 0) >= 0)
			count++;
		else if (poll(&p, 1, count < expected ? PATIENCE_MS : QUIET_MS) <= 0)
			return count;
	}
}

/* Sends through a full queue. *passed: what came out. 0 or a negative errno with `detail`. */
static int through(uint32_t flags, unsigned expected, unsigned *passed, char detail[PROBE_DETAIL])
{
	const struct spw_queue_config config = {
	    .size = sizeof(config), .length = LENGTH, .mask = SPW_FAIL_OPEN, .flags = flags};
	struct sockaddr_in address;
	struct spw_queue *queue = NULL;
	const int in = datagrams(NULL, &address), out = in < 0 ? in : datagrams(&address, NULL);
	int err = out < 0 ? out : spw_queue_open(&queue, TRY_QUEUE);

	if (!err)
		err = spw_queue_bind(queue, &config);
	if (err)
		snprintf(detail, PROBE_DETAIL, "%s", queue ? spw_queue_error(queue) : strerror(-err));
	for (unsigned i = 0; !err && i < SENT; i++)
		(void)!send(out, "x", 1, 0);
	if (!err)
		*passed = received(in, expected);
	spw_queue_close(queue);
	if (out >= 0)
		close(out);
	if (in >= 0)
		close(in);
	return err;
}

static void prove(void *result)
{
	struct probe_proof *p = result;

	p->error = try_any("OUTPUT", "output", p->detail);
	if (!p->error)
		p->error = through(SPW_FAIL_OPEN, SENT - LENGTH, &p->passed_with, p->detail);
	if (!p->error)
		p->error = through(0, 0, &p->passed_without, p->detail);
}

void probe_fail_open(struct probe_proof *proof)
{
	int err;

	*proof = (struct probe_proof){.length = LENGTH, .sent = SENT};
	err = scratch_run(prove, proof, sizeof(*proof));
	if (!err)
		return;
	proof->error = err;
	snprintf(proof->detail, sizeof(proof->detail), "%s",
		 err == -EPERM ? "private namespaces are not permitted" : strerror(-err));
}
