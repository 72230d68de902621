/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plug-in that takes as long over each packet as a file says at that moment: 64 bits of nanoseconds at
 * /run/spillway-lab/delay, mapped once at the start, because an inspector may open nothing later. Accepts everything.
 */
#include "delay.h"

#include <spillway/inspector.h>

#include <errno.h>
#include <time.h>

#define SLICE_NS 5000000u /* a long delay that is shortened meanwhile ends early */
#define NS       1000000000u

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
