/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the library on the real kernel share: checks that end the test, UDP over the loopback interface.
 * They run in a network namespace that their script has made.
 */
#ifndef TESTS_NET_QUEUE_H
#define TESTS_NET_QUEUE_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/queue.h>

#define PORT 9999

/* Ends the test where two numbers differ, and shows both. */
#define EQUAL(got, want) equal(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
#define TRUE(what)       EQUAL(!!(what), 1)

static inline void equal(const char *file, int line, const char *what, long long got, long long want)
{
	if (got == want)
		return;
	fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, what, got, want);
	exit(1);
}

/* Ends the test where a call failed, with the library's sentence. */
static inline void good(const struct spw_queue *queue, int err)
{
	if (err >= 0)
		return;
	fprintf(stderr, "%s: %s\n", strerror(-err), spw_queue_error(queue));
	exit(1);
}

/* Root of the machine, not of a user namespace, which has no other users. */
static inline int real_root(void)
{
	return getuid() == 0 && !getenv("USER_NAMESPACE");
}

static inline void shell(const char *command)
{
	if (system(command) != 0) {
		fprintf(stderr, "failed: %s\n", command);
		exit(1);
	}
}

/* A datagram socket on 127.0.0.1: the receiver is bound to PORT, the sender connected to it. */
static inline int udp_socket(int receiver)
{
	const struct sockaddr_in addr = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int bytes = 8 << 20;

	TRUE(fd >= 0);
	if (receiver) {
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
		EQUAL(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
		EQUAL(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	}
	return fd;
}

/* Sends `count` datagrams of `bytes` bytes, numbered in their first four. Whether they pass is the queue's business. */
static inline void udp_send(int fd, unsigned count, size_t bytes)
{
	char data[2048] = {0};

	for (uint32_t i = 0; i < count; i++) {
		memcpy(data, &i, sizeof(i));
		send(fd, data, bytes, MSG_DONTWAIT);
	}
}

/* How many datagrams have arrived since the last call: on the loopback interface they do before send() returns. */
static inline unsigned udp_count(int fd)
{
	char data[2048];
	unsigned count = 0;

	while (recv(fd, data, sizeof(data), MSG_DONTWAIT) >= 0)
		count++;
	return count;
}

static inline struct spw_queue *open_queue(uint16_t number)
{
	struct spw_queue *queue = NULL;
	const int err = spw_queue_open(&queue, number);

	TRUE(queue);
	good(queue, err);
	return queue;
}

static inline struct spw_queue *bind_queue(uint16_t number, uint32_t copy_mode, uint32_t length, uint32_t flags)
{
	struct spw_queue *queue = open_queue(number);
	const struct spw_queue_config config = {
	    .size = sizeof(config), .copy_mode = copy_mode, .length = length, .mask = flags, .flags = flags};

	good(queue, spw_queue_bind(queue, &config));
	return queue;
}

static inline struct spw_queue_stat stat_of(struct spw_queue *queue)
{
	struct spw_queue_stat stat;

	good(queue, spw_queue_stat(queue, &stat));
	return stat;
}

/* Settles everything that is held and throws away what the socket has. */
static inline void settle(struct spw_queue *queue, uint32_t code)
{
	const struct spw_verdict verdict = {.size = sizeof(verdict), .code = code};
	struct spw_verdicts *list = spw_verdicts_new(0);
	char data[64];

	EQUAL(spw_verdicts_add_batch(list, spw_queue_number(queue), stat_of(queue).id_sequence, &verdict), 0);
	EQUAL(spw_verdicts_send(list, spw_queue_fd(queue)), 0);
	spw_verdicts_free(list);
	while (recv(spw_queue_fd(queue), data, sizeof(data), MSG_DONTWAIT) >= 0)
		;
	EQUAL(stat_of(queue).held, 0);
}

#endif
