/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plug-in with a capacity: a packet takes as long as a file says, 64 bits of nanoseconds at
 * /run/spillway-lab/delay, mapped once at the start. Unlike slow.c it makes up for a sleep that took too long, so that
 * the capacity is exact also where a packet takes less than the kernel's clock of sleepers; time without packets is
 * not made up for. Accepts everything.
 */
#include <spillway/inspector.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "/run/spillway-lab/delay"
#define AHEAD_NS  200000u  /* sleeps are no shorter */
#define BEHIND_NS 1000000u /* what is made up for */
#define NS        1000000000u

static const volatile uint64_t *delay_ns;
static uint64_t done_ns; /* when the last packet is done */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static int start(void **self)
{
	int fd = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*delay_ns), PROT_READ, MAP_SHARED, fd, 0);
	int error = errno;

	(void)self;
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return -error;
	delay_ns = map;
	return 0;
}

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	uint64_t now = now_ns();

	(void)self;
	(void)p;
	v->code = SPW_ACCEPT;
	if (done_ns + BEHIND_NS < now)
		done_ns = now;
	done_ns += *delay_ns;
	while (done_ns > now + AHEAD_NS) {
		struct timespec t = {.tv_sec = (time_t)((done_ns - now) / NS), .tv_nsec = (long)((done_ns - now) % NS)};

		if (nanosleep(&t, NULL) && errno != EINTR)
			return;
		now = now_ns();
	}
}

SPW_INSPECTOR(.name = "paced", .packet = inspect, .start = start);
