/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who acts when: the sources of packets, the keeper, and chaos. The engine's own calls let the others act in between.
 */
#include "world.h"

#include <string.h>

void actors_ask(struct world *w, enum op op, unsigned class, uint32_t value)
{
	if (w->requests == REQUESTS)
		return;
	w->request[(w->request_first + w->requests++) % REQUESTS] =
	    (struct request){.op = op, .class = class, .value = value};
	driver_poke(w, 5 * US);
}

/* Sources. */

static void arrive(struct world *w, unsigned class)
{
	struct class_world *c = &w->class[class];
	const struct class_plan *p = &w->plan.class[class];
	struct kernel_packet packet = {.number = c->number,
				       .length = p->bytes,
				       .flow = (uint16_t)(class + 1),
				       .mark = (uint32_t)world_below(w, 1u << 30),
				       .indev = (uint16_t)(1 + world_below(w, 2))};

	if (world_chance(w, w->plan.odds.gso)) {
		packet.segments = (uint16_t)(2 + world_below(w, 20));
		packet.segment_len = 1400;
		packet.length = packet.segments * 1400u;
	}
	c->number += packet.segments ? packet.segments : 1;
	w->events++;
	world_send(w, class, &packet);
}

static void run_source(struct world *w, unsigned class)
{
	const struct class_plan *p = &w->plan.class[class];
	uint64_t n = p->burst > 1 ? 1 + world_below(w, 2 * p->burst - 1) : 1;

	TRACE(w, "source    class %u: %llu from id %llu on", class, (unsigned long long)n,
	      (unsigned long long)w->class[class].seq + 1);
	while (n-- && w->class[class].seq - w->class[class].out < IDS / 2)
		arrive(w, class);
	w->next[ACTOR_SOURCE + class] = w->now + world_about(w, p->gap_ns);
}

/* The keeper. */

static struct inspector *current(struct world *w)
{
	return w->current ? &w->inspector[w->current % 2] : NULL;
}

static void restart_engine(struct world *w)
{
	TRACE(w, "keeper    starts an engine");
	w->engine.alive = true;
	w->next[ACTOR_ENGINE] = w->now;
}

static void end_inspector(struct world *w, struct inspector *in, enum lane_reason reason)
{
	w->gone_reason = reason;
	if (in->alive)
		inspector_die(w, in);
}

/* The engine has said what the page shows: an answer that does not hold, or no progress. */
static void judge_inspector(struct world *w, struct inspector *in)
{
	if (!in->alive || !w->engine.word)
		return;
	if (w->page.lied) {
		end_inspector(w, in, REASON_DOWN);
	} else if (w->engine.lane.stalled && w->engine.lane.inspector == in->number) {
		TRACE(w, "keeper    inspector %u makes no progress", in->number);
		if (in->hung || world_chance(w, MILLION / 2))
			end_inspector(w, in, REASON_HUNG);
		else
			actors_ask(w, OP_NOT_HUNG, 0, 0);
	} else if ((in->hung || w->engine.lane.leaving) && world_chance(w, MILLION / 200)) {
		/* With no limit on hanging somebody kills it at last; one that is told to leave may have missed that.
		 */
		end_inspector(w, in, REASON_DOWN);
	}
}

static void care_for_inspector(struct world *w)
{
	struct inspector *in = current(w);

	if (in && !in->alive && !w->gone_asked) {
		w->gone_asked = true;
		actors_ask(w, OP_GONE, 0, w->gone_reason);
		if (world_chance(w, w->plan.odds.inspector_leaves))
			actors_ask(w, OP_DOWN_LONG, 0, 1);
	} else if (in && in->alive) {
		judge_inspector(w, in);
	} else if (!in && w->now >= w->start_ns) {
		w->current = ++w->inspectors;
		w->gone_reason = REASON_DOWN;
		inspector_start(w, w->current);
		actors_ask(w, OP_INSPECTOR, 0, w->current);
	}
}

/* The engine has done with the one that is gone. */
void actors_gone(struct world *w)
{
	w->current = 0;
	w->gone_asked = false;
	w->start_ns = w->now + (world_chance(w, MILLION / 8) ? world_about(w, 200 * MS) : world_about(w, 3 * MS));
}

static void run_keeper(struct world *w)
{
	w->next[ACTOR_KEEPER] = w->now + world_about(w, 1 * MS);
	w->events++;
	if (!w->engine.alive && w->now >= w->engine_start_ns)
		restart_engine(w);
	if (!w->stopped)
		care_for_inspector(w);
}

/* Chaos. */

static void change_something(struct world *w)
{
	unsigned class = (unsigned)world_below(w, w->plan.classes);

	if (world_chance(w, MILLION / 2))
		actors_ask(w, OP_FAIL_OPEN, class, (uint32_t)world_below(w, 2));
	else
		actors_ask(
		    w, OP_LENGTH, class,
		    (uint32_t)(world_chance(w, MILLION / 4) ? world_below(w, 100) : 1000 + world_below(w, 60000)));
}

static void flush_something(struct world *w)
{
	TRACE(w, "chaos     flushes");
	world_flush(w, world_chance(w, MILLION / 2) ? 1 : 0);
}

static void run_chaos(struct world *w)
{
	const struct odds *o = &w->plan.odds;
	unsigned class = (unsigned)world_below(w, w->plan.classes);

	w->events++;
	w->next[ACTOR_CHAOS] = w->now + world_about(w, 1 * MS);
	if (world_chance(w, o->change))
		change_something(w);
	if (world_chance(w, o->turn))
		actors_ask(w, OP_TURN, class, (uint32_t)world_below(w, 2));
	if (world_chance(w, o->counter))
		actors_ask(w, OP_COUNTER, class, 0);
	if (world_chance(w, o->inspector_leaves) && current(w) && !w->gone_asked)
		actors_ask(w, OP_LEAVE, 0, 0);
	if (world_chance(w, o->flush))
		flush_something(w);
}

/* Who is next. */

static void run_actor(struct world *w, unsigned actor)
{
	if (actor < ACTOR_INSPECTOR)
		run_source(w, actor - ACTOR_SOURCE);
	else if (actor < ACTOR_KEEPER)
		inspector_run(w, &w->inspector[actor - ACTOR_INSPECTOR]);
	else if (actor == ACTOR_KEEPER)
		run_keeper(w);
	else if (actor == ACTOR_CHAOS)
		run_chaos(w);
	else
		driver_run(w);
}

static unsigned earliest(const struct world *w, unsigned actors)
{
	unsigned first = 0;

	for (unsigned i = 1; i < actors; i++)
		if (w->next[i] < w->next[first])
			first = i;
	return first;
}

void actors_others(struct world *w)
{
	for (unsigned a = earliest(w, ACTOR_ENGINE); w->next[a] <= w->now; a = earliest(w, ACTOR_ENGINE))
		run_actor(w, a);
}

void actors_run(struct world *w)
{
	unsigned a = earliest(w, ACTORS);

	if (w->next[a] > w->now)
		w->now = w->next[a];
	run_actor(w, a);
	check_event(w);
}

void actors_run_for(struct world *w, uint64_t ns)
{
	for (uint64_t end = w->now + ns; w->now < end;)
		actors_run(w);
}

void actors_begin(struct world *w)
{
	for (unsigned i = 0; i < ACTORS; i++)
		w->next[i] = UINT64_MAX;
	for (unsigned i = 0; i < w->plan.classes; i++)
		w->next[ACTOR_SOURCE + i] = w->now + world_about(w, 1 * MS);
	w->last_step_ns = w->engine_start_ns = w->start_ns = w->now;
	w->next[ACTOR_KEEPER] = w->now;
	w->next[ACTOR_CHAOS] = w->now + 1 * MS;
}
