/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An inspector that is a program of its own, without the library: tries everything that the wide filter forbids, prints
 * each errno on stderr, says that it is ready, and waits for what the test does to it. TRY=segv|abort|x32|exit: ends so
 * instead.
 */
#include "probe.h"

static void die(const char *how)
{
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "segv"))
		*(volatile int *)NULL = 1;
	if (!strcmp(how, "x32"))
		syscall(0x40000000 | 39);
	if (!strcmp(how, "exit"))
		exit(3);
}

int main(void)
{
	uint32_t *answers;

	if (read_fds())
		return 1;
	if (getenv("TRY"))
		die(getenv("TRY"));
	for (unsigned i = 0; i < PROBES; i++)
		fprintf(stderr, "probe %s %d\n", probes[i].name, probes[i].run());
	answers = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds.answers, 0);
	if (answers == MAP_FAILED)
		return 1;
	answers[2] = 1;
	for (;;) {
		uint64_t one = 1;

		if (write(fds.bell, &one, sizeof(one)) < 0 && errno != EAGAIN)
			return 1;
		usleep(10000);
	}
}
