/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be preloaded by the tests of faults: in one of spillway's processes, the n-th request for memory, a descriptor or
 * a process is refused. Says so on stderr. After main() has begun it makes no system calls but read() and write(),
 * since the inspector's filter allows no others; it opens no file for writing.
 *
 *   FAIL_ROLE   the process whose first argument is this (run, _engine, _inspector, _control, status)
 *   FAIL_AT     which request, counted from 1 in each process
 *   FAIL_TOKEN  a FIFO: refused is only where a byte is in it, which is taken out. Absent: refused for ever from then
 * on
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPORT   __attribute__((visibility("default")))
#define NEXT(fn) ((__typeof__(&(fn)))dlsym(RTLD_NEXT, #fn))

static long at, count; /* at 0: nothing is refused in this process */
static int token = -1;
static bool told;

/* dlsym() itself may want memory. */
static _Alignas(16) char early[65536];
static size_t early_used;
static int looking_up;

static void *early_memory(size_t size)
{
	void *p = early + early_used;

	size = (size + 15) & ~(size_t)15;
	if (size > sizeof(early) - early_used)
		return NULL;
	early_used += size;
	return p;
}

static bool is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

__attribute__((constructor)) static void arm(int argc, char **argv)
{
	const char *role = getenv("FAIL_ROLE"), *n = getenv("FAIL_AT"), *fifo = getenv("FAIL_TOKEN");

	if (argc < 2 || !role || !n || strcmp(argv[1], role))
		return;
	if (fifo && (token = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
		return;
	at = strtol(n, NULL, 10);
	if (!fifo)
		token = -1;
}

static bool refused(int error)
{
	static const char text[] = "fail_alloc: refused\n";
	char byte;

	if (!at || ++count < at)
		return false;
	if (token >= 0 && (count > at || read(token, &byte, 1) != 1))
		return false;
	if (!told)
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	told = true;
	errno = error;
	return true;
}

EXPORT void *malloc(size_t size)
{
	static void *(*next)(size_t);

	if (looking_up)
		return early_memory(size);
	if (!next) {
		looking_up++;
		next = NEXT(malloc);
		looking_up--;
	}
	return refused(ENOMEM) ? NULL : next(size);
}

EXPORT void *calloc(size_t n, size_t size)
{
	static void *(*next)(size_t, size_t);

	if (looking_up) /* not used before, so 0 */
		return early_memory(n * size);
	if (!next) {
		looking_up++;
		next = NEXT(calloc);
		looking_up--;
	}
	return refused(ENOMEM) ? NULL : next(n, size);
}

EXPORT void *realloc(void *old, size_t size)
{
	static void *(*next)(void *, size_t);
	void *p;

	if (!next) {
		looking_up++;
		next = NEXT(realloc);
		looking_up--;
	}
	if (refused(ENOMEM))
		return NULL;
	if (!is_early(old))
		return next(old, size);
	p = malloc(size);
	if (p)
		memcpy(p, old,
		       (size_t)(early + sizeof(early) - (char *)old) < size
			   ? (size_t)(early + sizeof(early) - (char *)old)
			   : size);
	return p;
}

EXPORT void free(void *p)
{
	static void (*next)(void *);

	if (!p || is_early(p) || looking_up) /* what dlsym() gives back meanwhile is not missed */
		return;
	if (!next) {
		looking_up++;
		next = NEXT(free);
		looking_up--;
	}
	next(p);
}

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	static void *(*next)(void *, size_t, int, int, int, off_t);

	if (!next)
		next = NEXT(mmap);
	return refused(ENOMEM) ? MAP_FAILED : next(addr, length, prot, flags, fd, offset);
}

EXPORT int memfd_create(const char *name, unsigned int flags)
{
	return refused(ENOMEM) ? -1 : NEXT(memfd_create)(name, flags);
}

EXPORT int eventfd(unsigned int value, int flags)
{
	return refused(ENFILE) ? -1 : NEXT(eventfd)(value, flags);
}

EXPORT int pipe2(int fds[2], int flags)
{
	return refused(EMFILE) ? -1 : NEXT(pipe2)(fds, flags);
}

EXPORT int socket(int domain, int type, int protocol)
{
	return refused(EMFILE) ? -1 : NEXT(socket)(domain, type, protocol);
}

EXPORT int socketpair(int domain, int type, int protocol, int fds[2])
{
	return refused(EMFILE) ? -1 : NEXT(socketpair)(domain, type, protocol, fds);
}

EXPORT pid_t fork(void)
{
	return refused(EAGAIN) ? -1 : NEXT(fork)();
}
