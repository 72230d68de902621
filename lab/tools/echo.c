/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Round trips: one datagram after the other at a fixed rate, each sent back by the other side.
 *
 *     echo serve PORT SECONDS                    prints "ready", sends back what comes
 *     echo ask ADDRESS PORT COUNT PER_SECOND     prints {"asked":N,"answered":N,"median_us":N,"p99_us":N,"max_us":N}
 */
#include "tool.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define PATIENCE_NS NS /* for the last answers */

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

struct question {
	uint64_t number, sent_ns;
};

static int run_server(char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[2]))};
	struct timeval idle = {.tv_usec = 50000};
	uint64_t end = now_ns() + number(argv[3]) * NS;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		perror("echo: bind");
		return 1;
	}
	say_ready();
	while (!told_to_stop && now_ns() < end) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		struct question q;
		ssize_t n = recvfrom(fd, &q, sizeof(q), 0, (struct sockaddr *)&from, &len);

		if (n == sizeof(q))
			(void)sendto(fd, &q, sizeof(q), 0, (struct sockaddr *)&from, len);
	}
	return 0;
}

/* Takes answers until `until`, or until all that were asked are there. */
static uint64_t take(int fd, uint32_t *took, uint64_t answered, uint64_t asked, uint64_t until)
{
	for (;;) {
		uint64_t now = now_ns(), left = until > now ? until - now : 0;
		struct timespec wait = {.tv_sec = (time_t)(left / NS), .tv_nsec = (long)(left % NS)};
		struct pollfd p = {.fd = fd, .events = POLLIN};
		struct question q;

		if (ppoll(&p, 1, &wait, NULL) <= 0)
			return answered;
		if (recv(fd, &q, sizeof(q), MSG_DONTWAIT) == sizeof(q) && answered < asked)
			took[answered++] = (uint32_t)((now_ns() - q.sent_ns) / 1000);
		if (!left)
			return answered;
	}
}

static int run_client(char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[3]))};
	uint64_t count = number(argv[4]), step = NS / (number(argv[5]) ? number(argv[5]) : 1), start = now_ns();
	uint64_t answered = 0, end;
	uint32_t *took = need(count + 1, sizeof(*took));
	struct question q = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		free(took);
		return 1;
	}
	for (; q.number < count && !told_to_stop; q.number++) {
		q.sent_ns = now_ns();
		(void)send(fd, &q, sizeof(q), 0);
		answered = take(fd, took, answered, q.number + 1, start + (q.number + 1) * step);
	}
	for (end = now_ns() + PATIENCE_NS; answered < q.number && now_ns() < end;)
		answered = take(fd, took, answered, q.number, now_ns() + NS / 100);
	qsort(took, answered, sizeof(*took), ascending);
	printf("{\"asked\":%llu,\"answered\":%llu,\"median_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
	       (unsigned long long)q.number, (unsigned long long)answered, took[answered / 2],
	       took[answered * 99 / 100], answered ? took[answered - 1] : 0);
	free(took);
	return 0;
}

int main(int argc, char **argv)
{
	stop_in_order(on_stop);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return run_server(argv);
	if (argc == 6 && !strcmp(argv[1], "ask"))
		return run_client(argv);
	return 2;
}
