/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the lab's tools share: the clock, numbers from the command line, stopping in order. No sockets here.
 */
#ifndef SPW_LAB_TOOL_H
#define SPW_LAB_TOOL_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define NS 1000000000u

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static inline uint64_t number(const char *text)
{
	return strtoull(text, NULL, 10);
}

/* Nothing more is on its way once nothing has come for so long; where a machine is emulated ($PATIENCE), later. */
static inline uint64_t idle_ns(void)
{
	const char *patience = getenv("PATIENCE");
	const uint64_t times = patience ? number(patience) : 1;

	return 700000000u * (times ? times : 1);
}

extern volatile sig_atomic_t told_to_stop;

/* SIGTERM and SIGINT set told_to_stop and interrupt what waits. */
static inline void stop_in_order(void (*handler)(int))
{
	struct sigaction act = {.sa_handler = handler};

	(void)sigaction(SIGTERM, &act, NULL);
	(void)sigaction(SIGINT, &act, NULL);
}

/* From here on it tells what it found: a signal would cut that off in the middle of a write. */
static inline void stop_no_more(void)
{
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
}

/* A thousand flows are a thousand sockets. */
static inline void allow_descriptors(void)
{
	struct rlimit l;

	if (!getrlimit(RLIMIT_NOFILE, &l)) {
		l.rlim_cur = l.rlim_max < 8192 ? l.rlim_max : 8192;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* Zeroed memory; without it the tool ends. */
static inline void *need(uint64_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p) {
		fputs("memory: too little; ask for less\n", stderr);
		exit(1);
	}
	return p;
}

static inline void say_ready(void)
{
	puts("ready");
	fflush(stdout);
}

static inline int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

#endif
