/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine in small, in the order of things of src/engine: intent before send, commit by one store, answers before
 * time. The world goes on between any two of its calls into the kernel, and it may die there. Judges nothing. Here: its
 * life, as engine.c has it.
 */
#include "driver.h"

#include <string.h>

/* A moment passes: others act, and the engine may lose its processor or its life. */
void driver_moment(struct world *w, uint64_t ns)
{
	uint64_t starved = world_chance(w, w->plan.odds.engine_starves) ? world_about(w, 10 * MS) : 0;

	w->starved_ns += starved;
	w->now += world_about(w, ns) + starved;
	actors_others(w);
	if (!w->immortal && world_chance(w, w->plan.odds.engine_dies)) {
		TRACE(w, "engine    is killed");
		longjmp(w->death, 1);
	}
}

struct spw_queue_config driver_config(const struct world *w, unsigned class, enum lane_state state)
{
	struct spw_queue_config config = w->page.config[class];

	config.mask = SPW_FAIL_OPEN | SPW_GSO;
	if (state == STATE_OPEN || state == STATE_SHUT) {
		config.copy_mode = SPW_COPY_META;
		config.length = 0;
		config.flags = SPW_GSO | (state == STATE_OPEN ? SPW_FAIL_OPEN : 0);
	}
	return config;
}

void driver_stop_here(struct world *w)
{
	TRACE(w, "engine    gives up");
	w->engine.failed = true;
}

/* For a packet that came meanwhile, the time without an engine begins with its arrival. */
static void shorten_absence(struct world *w)
{
	for (unsigned i = 0; i < w->plan.classes; i++) {
		for (uint64_t id = w->class[i].out + 1; id <= w->class[i].seq; id++) {
			struct id_record *r = world_id(w, i, id);

			if (r && r->arrived > w->last_step_ns)
				r->dead += r->arrived - w->last_step_ns;
		}
	}
}

static void resume(struct world *w)
{
	shorten_absence(w);
	w->dead_ns += w->now - w->last_step_ns;
	w->last_step_ns = w->now;
	lane_resume(&w->engine.lane, w->now);
}

/* The engine before may have died in the middle of a change: the lane knows nothing of it, and the keeper asks again.
 */
static void undo_change(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	struct spw_queue_config *page = &w->page.config[i];
	uint32_t open = lane_shuts(&c->config, REASON_FULL) ? 0 : SPW_FAIL_OPEN;
	struct lane_sample before;

	if (page->length == c->config.length && (page->flags & SPW_FAIL_OPEN) == open)
		return;
	while (!driver_look_at(w, i, &before, false))
		;
	page->length = c->config.length;
	page->flags = (page->flags & ~SPW_FAIL_OPEN) | open;
	if (!lane_passing(c))
		world_configure(w, i, page);
	lane_switch(c, &before, &c->config, w->now);
}

static void attach(struct world *w)
{
	struct engine *e = &w->engine;

	for (unsigned i = 0; i < CLASSES; i++)
		e->early[i] = w->page.early[i];
	if (!driver_repeat(w)) {
		driver_stop_here(w);
		return;
	}
	for (unsigned i = 0; i < e->lane.classes; i++)
		undo_change(w, i);
	resume(w);
	e->attached = true;
	if (!driver_look_all(w))
		driver_stop_here(w);
}

/* Which inspector there is comes first: its answers are taken before anything is judged. */
static void hear_first_word(struct world *w)
{
	driver_serve_inspector(w, w->current);
	w->engine.word = true;
	resume(w);
}

static void live(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t next;
	bool more = false;

	for (unsigned i = 0; i < e->lane.classes; i++)
		if (e->arrived & 1u << i)
			lane_stirred(&e->lane.class[i]);
	e->arrived = 0;

	if (!e->attached) {
		attach(w);
	} else if (!e->word) {
		hear_first_word(w);
	} else {
		more = driver_step(w);
		if (!e->failed && w->requests)
			driver_serve_one(w);
	}
	if (e->failed)
		longjmp(w->death, 1);
	w->next[ACTOR_ENGINE] = w->now + 2 * US;
	w->state.engine_sleeps = !more && e->word && !e->arrived && !w->requests && !driver_has_answers(w);
	next = e->looked_ns + lane_step_ns(&e->lane, e->awaited);
	if (w->state.engine_sleeps && next > w->now)
		w->next[ACTOR_ENGINE] = next;
}

static void die(struct world *w)
{
	memset(&w->engine, 0, sizeof(w->engine));
	w->engine_start_ns = w->now + world_about(w, 5 * MS);
	w->next[ACTOR_ENGINE] = UINT64_MAX;
	w->next[ACTOR_KEEPER] = w->now;
}

void driver_run(struct world *w)
{
	if (setjmp(w->death))
		die(w);
	else
		live(w);
}

void driver_arrived(struct world *w, unsigned class)
{
	if (!(w->engine.awaited & 1u << class))
		return;
	w->engine.arrived |= 1u << class;
	driver_poke(w, world_about(w, 20 * US));
}

void driver_poke(struct world *w, uint64_t latency_ns)
{
	uint64_t at = w->now + latency_ns;

	if (w->engine.alive && w->state.engine_sleeps && w->next[ACTOR_ENGINE] > at)
		w->next[ACTOR_ENGINE] = at;
}
