/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Datagrams at a fixed rate, and what became of them: lost, overtaken, how late. Sender and receiver share a clock (one
 * machine).
 *
 *     udp send ADDRESS PORT COUNT PER_SECOND
 *     udp receive PORT COUNT SECONDS      prints: received reordered median_us p99_us longest_silence_us
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define TICK_NS 500000 /* a paced sender sends what is due this often */

struct datagram {
	uint64_t number, sent_ns;
	uint8_t rest[24];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int run_sender(char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
	const struct timespec tick = {.tv_nsec = TICK_NS};
	uint64_t count = strtoull(argv[4], NULL, 10), rate = strtoull(argv[5], NULL, 10), start = now_ns();
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = 32 << 20;
	struct datagram d = {0};

	if (fd < 0 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1)
		return 1;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	while (d.number < count) {
		uint64_t now = now_ns(), due = rate ? (now - start) * rate / 1000000000u : count;

		for (; d.number < due && d.number < count; d.number++) {
			d.sent_ns = now_ns();
			(void)sendto(fd, &d, sizeof(d), 0, (struct sockaddr *)&to, sizeof(to));
		}
		if (rate)
			nanosleep(&tick, NULL);
	}
	return 0;
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int open_receiver(const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct timeval idle = {.tv_usec = 100000};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = 32 << 20;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return fd;
}

static int run_receiver(char **argv)
{
	uint64_t count = strtoull(argv[3], NULL, 10), end = now_ns() + strtoull(argv[4], NULL, 10) * 1000000000u;
	uint64_t got = 0, reordered = 0, highest = 0, last = 0, silence = 0;
	uint32_t *late = calloc(count + 1, sizeof(*late));
	int fd = open_receiver(argv[2]);
	struct datagram d;

	if (fd < 0 || !late)
		return 1;
	puts("ready");
	fflush(stdout);
	while (got < count && now_ns() < end) {
		uint64_t now;

		if (recv(fd, &d, sizeof(d), 0) != sizeof(d))
			continue;
		now = now_ns();
		reordered += got && d.number < highest;
		highest = d.number > highest ? d.number : highest;
		if (last && now - last > silence)
			silence = now - last;
		last = now;
		late[got++] = (uint32_t)((now - d.sent_ns) / 1000);
	}
	qsort(late, got, sizeof(*late), ascending);
	printf("%llu %llu %u %u %llu\n", (unsigned long long)got, (unsigned long long)reordered, late[got / 2],
	       late[got * 99 / 100], (unsigned long long)(silence / 1000));
	free(late);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "send"))
		return run_sender(argv);
	if (argc == 5 && !strcmp(argv[1], "receive"))
		return run_receiver(argv);
	return 2;
}
