/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plug-in that takes as long over each packet as a file says at that moment: 64 bits of nanoseconds at
 * /run/spillway-lab/delay, mapped once at the start, because an inspector may open nothing later. Accepts everything.
 */
#include <spillway/inspector.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "/run/spillway-lab/delay"
#define SLICE_NS  5000000u /* a long delay that is shortened meanwhile ends early */
#define NS        1000000000u

static const volatile uint64_t *delay_ns;

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
	uint64_t done = 0;

	(void)self;
	(void)p;
	v->code = SPW_ACCEPT;
	while (done < *delay_ns) {
		uint64_t left = *delay_ns - done, slice = left < SLICE_NS ? left : SLICE_NS;
		struct timespec t = {.tv_nsec = (long)slice};

		if (nanosleep(&t, NULL) && errno != EINTR)
			return;
		done += slice;
	}
}

SPW_INSPECTOR(.name = "slow", .packet = inspect, .start = start);
