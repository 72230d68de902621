/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast held packets are worked off: continues a stopped process and watches the kernel's table until queue 0 holds
 * nothing.
 *
 *     drain PID       prints: held nanoseconds
 *
 * That packets are gone doesn't show that anybody inspected them: who calls this compares with the inspector's count.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static unsigned held(int fd)
{
	char line[4096] = "";
	unsigned queue, portid, n = 0;

	if (pread(fd, line, sizeof(line) - 1, 0) <= 0 || sscanf(line, "%u %u %u", &queue, &portid, &n) != 3)
		return 0;
	return n;
}

int main(int argc, char **argv)
{
	int fd = open("/proc/net/netfilter/nfnetlink_queue", O_RDONLY);
	const struct timespec step = {.tv_nsec = 200000};
	struct timespec a, b;
	unsigned start;

	if (fd < 0 || argc != 2)
		return 2;
	start = held(fd);
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (kill(atoi(argv[1]), SIGCONT))
		return 1;
	for (int i = 0; i < 100000 && held(fd); i++)
		nanosleep(&step, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%u %lld\n", start, (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec);
	return held(fd) != 0;
}
