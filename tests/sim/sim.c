/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulator's command: runs seeds, each a time of faults and a time of healing, and stops at the first that shows a
 * broken promise. Reads nothing but its arguments.
 *
 * sim SEED [EVENTS] [--trace]       one seed again
 * sim --seeds FIRST COUNT [EVENTS]
 * sim --random COUNT                seeds by the clock
 * sim --scenes                      fixed courses of events
 */
#include "world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 100000u

static struct world world;

/* An assertion of the core's own has failed. */
static void on_abort(int signal_number)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "sim: seed %llu, event %llu: abort\n", (unsigned long long)world.seed,
			 (unsigned long long)world.events);

	(void)signal_number;
	(void)!write(STDERR_FILENO, text, (size_t)n);
}

static void heal(struct world *w)
{
	TRACE(w, "healed");
	plan_heal(w);
	for (unsigned i = 0; i < 2; i++) {
		struct inspector *in = &w->inspector[i];

		in->hung = false;
		if (in->alive && w->next[ACTOR_INSPECTOR + i] > w->now)
			w->next[ACTOR_INSPECTOR + i] = w->now;
	}
	for (unsigned i = 0; i < w->plan.classes; i++)
		actors_ask(w, OP_TURN, i, 0);
}

static void stop_sources(struct world *w)
{
	for (unsigned i = 0; i < w->plan.classes; i++)
		w->next[ACTOR_SOURCE + i] = UINT64_MAX;
}

/* The keeper's stop, under traffic. */
static void stop(struct world *w)
{
	for (unsigned i = 0; i < w->plan.classes; i++)
		w->next[ACTOR_SOURCE + i] = w->now;
	actors_run_for(w, 20 * MS);
	actors_ask(w, OP_STOP, 0, REASON_MANUAL);
	for (uint64_t end = w->now + 1000 * MS; !w->stopped && w->now < end;)
		actors_run(w);
	if (!w->stopped)
		world_fail(w, "it does not stop");
}

static void run_seed(struct world *w, uint64_t seed, uint64_t events)
{
	world_begin(w, seed, NULL);
	w->limit = events;
	while (w->events < events)
		actors_run(w);
	heal(w);
	actors_run_for(w, 3000 * MS);
	check_inspecting(w);
	stop_sources(w);
	actors_run_for(w, 300 * MS);
	check_quiet(w);
	if (seed % 2)
		return;
	stop(w);
	stop_sources(w);
	actors_run_for(w, 100 * MS);
	check_quiet(w);
}

static int usage(void)
{
	fprintf(stderr, "usage: sim SEED [EVENTS] [--trace] | sim --seeds FIRST COUNT [EVENTS] | sim --random COUNT | "
			"sim --scenes\n");
	return 2;
}

static int run(uint64_t first, uint64_t count, uint64_t events)
{
	clock_t begun = clock();
	uint64_t total = 0;

	for (uint64_t i = 0; i < count; i++) {
		run_seed(&world, first + i, events);
		total += world.events;
	}
	printf("%llu events of %llu seeds from %llu on, %.1f s\n", (unsigned long long)total, (unsigned long long)count,
	       (unsigned long long)first, (double)(clock() - begun) / CLOCKS_PER_SEC);
	return 0;
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
	int n = argc;

	(void)signal(SIGABRT, on_abort);
	if (n > 1 && strcmp(argv[n - 1], "--trace") == 0) {
		world.tracing = true;
		n--;
	}
	if (n == 2 && strcmp(argv[1], "--scenes") == 0)
		return scenes_run(&world);
	if (n == 3 && strcmp(argv[1], "--random") == 0)
		return run((uint64_t)time(NULL) * 1000, number(argv[2]), EVENTS);
	if (n >= 4 && strcmp(argv[1], "--seeds") == 0)
		return run(number(argv[2]), number(argv[3]), n > 4 ? number(argv[4]) : EVENTS);
	if (n >= 2 && argv[1][0] != '-')
		return run(number(argv[1]), 1, n > 2 ? number(argv[2]) : EVENTS);
	return usage();
}
