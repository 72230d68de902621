/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fixed courses of events whose outcome is known: the circuit breaker's times, and packets that the kernel throws away
 * while nothing else moves.
 */
#include "world.h"

#include <stdio.h>

#define SEED 7

static struct plan one_class(uint64_t gap_ns, uint64_t service_ns)
{
	return (struct plan){
	    .classes = 1,
	    .breaker = true,
	    .service_ns = service_ns,
	    .batch = 16, /* a millisecond, as the library keeps them */
	    .class[0] = {.config = {.length = 30000, .fail_open = true, .gso = true, .deadline_ns = 5 * MS},
			 .buffer = 16u << 20,
			 .gap_ns = gap_ns,
			 .burst = 1,
			 .bytes = 200}};
}

static const struct lane_class *class_now(const struct world *w)
{
	return &w->page.snapshot[w->page.commit & 1].class[0];
}

/* Runs until the class is in the state, or fails. */
static void await(struct world *w, enum lane_state state, uint64_t within_ns)
{
	uint64_t begun = w->now;

	while (class_now(w)->state != state) {
		actors_run(w);
		if (w->now - begun > within_ns)
			world_fail(w, "not %s within %llu ms", lane_state_names[state],
				   (unsigned long long)(within_ns / MS));
	}
	printf("%s after %.0f ms\n", lane_state_names[state], (double)(w->now - begun) / (double)MS);
}

/* Too slow for good: opened, probed; fast again: inspected. */
static void breaker_opens_and_closes(struct world *w)
{
	const struct plan plan = one_class(20 * US, 5 * US);

	world_begin(w, SEED, &plan);
	actors_run_for(w, 1000 * MS);
	if (class_now(w)->state != STATE_INSPECTING || class_now(w)->changes)
		world_fail(w, "not inspecting, though the inspector is fast");
	w->plan.service_ns = 500 * US;
	await(w, STATE_OPEN, 500 * MS);
	await(w, STATE_PROBING, 700 * MS);
	await(w, STATE_OPEN, 500 * MS);
	actors_run_for(w, 3000 * MS);
	w->plan.service_ns = 5 * US;
	await(w, STATE_INSPECTING, 1000 * MS);
	actors_run_for(w, 2000 * MS);
	if (class_now(w)->state != STATE_INSPECTING)
		world_fail(w, "does not go on inspecting");
}

static void breaker_does_not_flap(struct world *w, uint64_t service_ns)
{
	const struct plan plan = one_class(50 * US, service_ns);

	world_begin(w, SEED, &plan);
	actors_run_for(w, 20000 * MS);
	printf("%.1f us of work for a packet each 50: %llu changes in 20 s\n", (double)service_ns / (double)US,
	       (unsigned long long)class_now(w)->changes);
	if (class_now(w)->changes > 10)
		world_fail(w, "%llu changes in 20 s", (unsigned long long)class_now(w)->changes);
}

/* A base chain is deleted: what was held is lost, and the books say so to the packet. */
static void flush_is_exact(struct world *w)
{
	struct plan plan = one_class(20 * US, 5 * US);

	plan.class[0].config.deadline_ns = 0;
	plan.class[0].buffer = 50000; /* some of them gaps */
	world_begin(w, SEED, &plan);
	actors_run_for(w, 20 * MS);
	w->next[ACTOR_INSPECTOR + w->current % 2] = w->now + 200 * MS;
	actors_run_for(w, 20 * MS);
	w->next[ACTOR_SOURCE] = w->now + 200 * MS;
	world_flush(w, 0);
	actors_run_for(w, 150 * MS);
	if (!w->class[0].truth.lost || class_now(w)->books.lost != w->class[0].truth.lost)
		world_fail(w, "%llu lost in the books, %llu in truth", (unsigned long long)class_now(w)->books.lost,
			   (unsigned long long)w->class[0].truth.lost);
	actors_run_for(w, 200 * MS);
	w->next[ACTOR_SOURCE] = UINT64_MAX;
	actors_run_for(w, 200 * MS);
	w->class[0].truth.blur = 0;
	check_quiet(w);
	printf("%llu lost, and no other column moved\n", (unsigned long long)class_now(w)->books.lost);
}

int scenes_run(struct world *w)
{
	breaker_opens_and_closes(w);
	for (uint64_t us = 45; us <= 55; us++)
		breaker_does_not_flap(w, us * US);
	flush_is_exact(w);
	return 0;
}
