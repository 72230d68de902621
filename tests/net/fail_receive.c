/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be preloaded by the tests of faults: one of spillway's processes dies between the call that receives many messages
 * and its first note of them. An inspector at once. An engine, which throws away what it reads, waits for the test
 * before that call, and then reads all there is, as if an inspector had read the first ones: so what it gets is not
 * settled.
 *
 *   FAIL_ROLE   _engine or _inspector
 *   FAIL_PAGE   a file, one byte of which the test maps as well: 1: from now on; it is told on stderr; 2: an engine
 * that waits dies
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static const uint8_t *page;
static bool engine;

__attribute__((constructor)) static void arm(int argc, char **argv)
{
	const char *name = getenv("FAIL_PAGE"), *role = getenv("FAIL_ROLE");
	int fd = name && role && argc > 1 && !strcmp(argv[1], role) ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *mapped;

	if (fd < 0)
		return;
	engine = !strcmp(role, "_engine");
	mapped = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	page = mapped == MAP_FAILED ? NULL : mapped;
}

static int told(void)
{
	return page ? __atomic_load_n(page, __ATOMIC_SEQ_CST) : 0;
}

static void tell(void)
{
	static const char text[] = "fail_receive: here\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
}

static void throw_away_and_die(int fd)
{
	char byte;

	tell();
	while (told() == 1)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0)
		;
	__builtin_trap();
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	static int (*next)(int, struct mmsghdr *, unsigned, int, struct timespec *);
	int n;

	if (!next)
		next = (__typeof__(next))dlsym(RTLD_NEXT, "recvmmsg");
	if (engine && told() == 1)
		throw_away_and_die(fd);
	n = next(fd, messages, count, flags, timeout);
	if (n > 0 && told() == 1) {
		tell();
		__builtin_trap();
	}
	return n;
}
