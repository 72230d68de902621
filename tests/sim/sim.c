/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulator's command: runs seeds, each a time of faults and a time of healing, and stops at the first that shows a
 * broken promise. Reads nothing but its arguments.
 *
 * sim SEED [EVENTS] [--trace]   one seed again
 * sim --seeds FIRST COUNT [EVENTS]
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

static void run_until_ns(struct world *w, uint64_t ns)
{
	for (uint64_t end = w->now + ns; w->now < end;)
		actors_run(w);
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

static void run_seed(struct world *w, uint64_t seed, uint64_t events)
{
	world_begin(w, seed);
	while (w->events < events)
		actors_run(w);
	heal(w);
	run_until_ns(w, 3000 * MS);
	check_inspecting(w);
	for (unsigned i = 0; i < w->plan.classes; i++)
		w->next[ACTOR_SOURCE + i] = UINT64_MAX;
	run_until_ns(w, 300 * MS);
	check_quiet(w);
	if (seed % 2)
		return;
	for (unsigned i = 0; i < w->plan.classes; i++)
		w->next[ACTOR_SOURCE + i] = w->now;
	run_until_ns(w, 20 * MS);
	actors_ask(w, OP_STOP, 0, REASON_MANUAL);
	for (uint64_t end = w->now + 1000 * MS; !w->stopped && w->now < end;)
		actors_run(w);
	if (!w->stopped)
		world_fail(w, "it does not stop");
	for (unsigned i = 0; i < w->plan.classes; i++)
		w->next[ACTOR_SOURCE + i] = UINT64_MAX;
	run_until_ns(w, 100 * MS);
	check_quiet(w);
}

int main(int argc, char **argv)
{
	uint64_t first = 1, count = 1, events = EVENTS, total = 0;
	clock_t begun = clock();
	int n = argc;

	(void)signal(SIGABRT, on_abort);
	if (n > 1 && strcmp(argv[n - 1], "--trace") == 0) {
		world.tracing = true;
		n--;
	}
	if (n >= 4 && strcmp(argv[1], "--seeds") == 0) {
		first = strtoull(argv[2], NULL, 10);
		count = strtoull(argv[3], NULL, 10);
		events = n > 4 ? strtoull(argv[4], NULL, 10) : events;
	} else if (n >= 2) {
		first = strtoull(argv[1], NULL, 10);
		events = n > 2 ? strtoull(argv[2], NULL, 10) : events;
	} else {
		fprintf(stderr, "usage: sim SEED [EVENTS] [--trace] | sim --seeds FIRST COUNT [EVENTS]\n");
		return 2;
	}
	for (uint64_t i = 0; i < count; i++) {
		run_seed(&world, first + i, events);
		total += world.events;
	}
	printf("%llu events of %llu seeds, %.1f s\n", (unsigned long long)total, (unsigned long long)count,
	       (double)(clock() - begun) / CLOCKS_PER_SEC);
	kernel_free(world.kernel);
	return 0;
}
