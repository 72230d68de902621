/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monotonic clock, for whoever drives the core. Reads the time, nothing else; the core gets its time as an
 * argument.
 */
#ifndef SPW_CLOCK_H
#define SPW_CLOCK_H

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The same in milliseconds. */
static inline uint64_t clock_ms(void)
{
	return clock_ns() / 1000000u;
}

#endif
