/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plug-in with a capacity: a packet takes as long as a file says, 64 bits of nanoseconds at
 * /run/spillway-lab/delay, mapped once at the start. Unlike slow.c it makes up for a sleep that took too long, so that
 * the capacity is exact also where a packet takes less than the kernel's clock of sleepers; time without packets is
 * not made up for. Accepts everything.
 */
#include "delay.h"
#include "tool.h"

#include <spillway/inspector.h>

#include <errno.h>
#include <time.h>

#define AHEAD_NS  200000u  /* sleeps are no shorter */
#define BEHIND_NS 1000000u /* what is made up for */

static uint64_t done_ns; /* when the last packet is done */

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
