/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a seed means: classes, policies, traffic, the inspector's speed, and how likely each fault is. Rolls the dice,
 * nothing else.
 */
#include "world.h"

#include <string.h>

#define PICK(w, list) ((list)[world_below(w, sizeof(list) / sizeof((list)[0]))])

static bool coin(struct world *w, unsigned percent)
{
	return world_chance(w, percent * (MILLION / 100));
}

/* Each fault is in some seeds and not in others, so that no one hides what another would show. */
static unsigned odds(struct world *w, unsigned percent, unsigned most)
{
	return coin(w, percent) ? 1 + (unsigned)world_below(w, most) : 0;
}

static void plan_class(struct world *w, unsigned i)
{
	static const uint64_t deadlines[] = {0, 2 * MS, 5 * MS, 10 * MS, 50 * MS};
	static const uint64_t gaps[] = {3 * US, 10 * US, 30 * US, 100 * US};
	struct class_plan *p = &w->plan.class[i];
	struct lane_config *c = &p->config;

	c->length = 2000 + (uint32_t)world_below(w, 60000);
	if (coin(w, 20))
		c->length = 4 + (uint32_t)world_below(w, 200);
	c->fail_open = coin(w, 50);
	if (coin(w, 30)) {
		c->decided = (uint8_t)world_below(w, 128);
		c->shut = (uint8_t)world_below(w, 128);
	}
	c->gso = coin(w, 85);
	c->deadline_ns = PICK(w, deadlines);
	c->priority = (int32_t)world_below(w, 10) - 5;
	if (coin(w, 20)) {
		c->mark = 0x50000;
		c->mark_mask = 0xff0000;
	}
	p->buffer = 4u << 20;
	if (coin(w, 35))
		p->buffer = 3000 + (uint32_t)world_below(w, 100000);
	if (coin(w, 25))
		p->first = UINT32_MAX - (uint32_t)world_below(w, 3000);
	p->gap_ns = PICK(w, gaps);
	p->burst = coin(w, 50) ? 1 : 1 + (unsigned)world_below(w, 40);
	p->gap_ns *= p->burst;
	p->bytes = 64 + (uint32_t)world_below(w, 1400);
}

static void plan_odds(struct world *w)
{
	struct odds *o = &w->plan.odds;

	o->engine_dies = odds(w, 50, 2000);
	o->engine_starves = odds(w, 40, 500);
	o->send_fails = odds(w, 20, 100000);
	o->look_fails = odds(w, 20, 50000);
	o->look_torn = odds(w, 50, 500000);
	o->inspector_dies = odds(w, 50, 2000);
	o->inspector_hangs = odds(w, 30, 500);
	o->inspector_stalls = odds(w, 50, 5000);
	o->inspector_leaves = odds(w, 40, 50000);
	o->lies = odds(w, 20, MILLION);
	o->defer = odds(w, 50, MILLION - 1000);
	o->drop = odds(w, 50, MILLION / 2);
	o->modify = odds(w, 30, MILLION / 5);
	o->mark = odds(w, 30, MILLION / 5);
	o->trust = odds(w, 30, MILLION / 2);
	o->poison = odds(w, 30, MILLION / 10);
	o->repeat = odds(w, 20, MILLION / 10);
	o->requeue = odds(w, 20, MILLION / 10);
	o->change = odds(w, 40, 100000);
	o->turn = odds(w, 40, 50000);
	o->flush = odds(w, 25, 20000);
	o->gso = odds(w, 40, MILLION / 5);
}

void plan_make(struct world *w)
{
	static const uint64_t hung[] = {0, 20 * MS, 100 * MS, 500 * MS};
	struct plan *p = &w->plan;
	uint64_t busiest = UINT64_MAX;

	p->classes = 1 + (unsigned)world_below(w, CLASSES);
	p->breaker = coin(w, 80);
	p->report_only = coin(w, 10);
	p->hung_ns = PICK(w, hung);
	p->batch = 1 + (unsigned)world_below(w, 256);
	plan_odds(w);
	for (unsigned i = 0; i < p->classes; i++) {
		plan_class(w, i);
		if (p->class[i].gap_ns / p->class[i].burst < busiest)
			busiest = p->class[i].gap_ns / p->class[i].burst;
	}
	p->service_ns = busiest * (1 + world_below(w, 30)) / 10 / p->classes;
	/* A counter before the queue counts what its own rule sees, whole packets. */
	p->counted = coin(w, 50);
	if (p->counted) {
		p->odds.counter = 200000;
		p->odds.requeue = 0;
		for (unsigned i = 0; i < p->classes; i++)
			p->class[i].config.gso = true;
	}
}

void plan_heal(struct world *w)
{
	struct plan *p = &w->plan;
	unsigned counter = p->odds.counter;

	memset(&p->odds, 0, sizeof(p->odds));
	p->odds.counter = counter;
	p->service_ns = 1 * US;
	p->batch = 64;
	for (unsigned i = 0; i < p->classes; i++) {
		p->class[i].gap_ns = 500 * US;
		p->class[i].burst = 1;
	}
}
