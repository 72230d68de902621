/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine in small: a step, and the messages that it throws away, as step.c has it.
 */
#include "driver.h"

#define LOOK_NS         (1 * MS)
#define DISCARDS_A_STEP 512
#define DISCARD_MOST    64

static void publish(struct world *w)
{
	const struct lane *l = &w->engine.lane;
	uint32_t active = l->leaving ? 0 : l->inspector;

	for (unsigned i = 0; i < l->classes; i++)
		w->state.settled[i] = l->class[i].settled;
	w->state.consumed = l->consumed;
	w->state.active = active;
}

/*
 * A message thrown away that was not settled: nobody will inspect its packet, and nobody would know if the engine died
 * before that is committed. The one hole: between two instructions here it may; not so in the simulation.
 */
static void note_discarded(struct world *w, unsigned i, uint64_t id)
{
	TRACE(w, "engine    class %u: has thrown away id %llu, unsettled", i, (unsigned long long)id);
	if (world_id(w, i, id))
		world_id(w, i, id)->discarded = true;
	lane_discarded(&w->engine.lane.class[i], w -> engine.early[i], id, REASON_LATE);
	check_call(w, &w->engine.lane);
	w->engine.changed = true;
	w->immortal = true;
	if (!driver_commit(w))
		driver_stop_here(w);
	w->immortal = false;
}

/* One message, thrown away. It need not be the one that was peeked at: somebody may have read in between. */
static void discard_one(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	struct kernel_message m;

	driver_moment(w, 200);
	if (!world_receive(w, i, false, &m) || m.error)
		return;
	w->events++;
	if (lane_widen(c->settled, m.id) > c->settled)
		note_discarded(w, i, lane_widen(c->settled, m.id));
}

/* Returns the first id that is still unread, settled or not; the one after the last assigned where there is none. */
uint64_t driver_discard_stale(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	uint64_t none = c->ids + 1;
	struct kernel_message m;

	for (uint64_t n = 0; world_receive(w, i, true, &m);) {
		uint64_t id = lane_widen(c->settled, m.id), many = 1;

		if (!m.error && (id > c->settled || n >= DISCARDS_A_STEP))
			return id;
		if (!m.error && !c->hiding && !c->pool)
			many += (c->settled - id) / 2;
		if (many > DISCARD_MOST)
			many = DISCARD_MOST;
		for (uint64_t k = 0; k < many; k++)
			discard_one(w, i);
		n += many;
	}
	return none;
}

/* Only behind a commit that succeeded: what is not yet valid must not cost a message. */
static void discard(struct world *w)
{
	for (unsigned i = 0; i < w->engine.lane.classes; i++) {
		struct lane_class *c = &w->engine.lane.class[i];
		uint64_t unread;

		if (c->owed <= c->answered && !lane_passing(c))
			continue;
		unread = driver_discard_stale(w, i);
		if (unread > c->settled)
			lane_unread(c, unread);
	}
}

static void look_for_inspector(struct world *w)
{
	struct engine *e = &w->engine;

	if (!e->answers || e->dead || e->lane.inspector == e->inspector || w->page.lied || !e->answers->ready)
		return;
	TRACE(w, "engine    inspector %u is active", e->inspector);
	lane_inspector_active(&e->lane, e->inspector, w->now);
	check_call(w, &e->lane);
	e->changed = true;
}

/* Why ids are late that were not before this tick. */
static void note_late(struct world *w, unsigned i, uint64_t before)
{
	const struct lane_class *c = &w->engine.lane.class[i];

	if (c->late_upto <= before)
		return;
	if (c->pressed)
		w->class[i].pressed_upto = c->late_upto;
	else if (c->late_first_ns && w->now - c->late_first_ns > 2 * c->config.deadline_ns)
		w->class[i].habit_upto = c->late_upto;
}

bool driver_tick(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t settled[CLASSES], late[CLASSES];
	unsigned orders = e->orders.count;
	bool more;

	for (unsigned i = 0; i < e->lane.classes; i++) {
		struct lane_class *c = &e->lane.class[i];

		settled[i] = c->settled;
		late[i] = c->late_upto;
		w->class[i].exempt = c->turning || lane_passing(c);
		w->class[i].due = c->due;
	}
	more = lane_tick(&e->lane, e->early, w->now, &e->orders);
	check_call(w, &e->lane);
	if (e->orders.count > LANE_ORDERS || e->orders.payloads > LANE_PAYLOADS)
		world_fail(w, "%u orders in one step", e->orders.count);
	for (unsigned i = 0; i < e->lane.classes; i++) {
		struct lane_class *c = &e->lane.class[i];

		note_late(w, i, late[i]);
		w->class[i].exempt |= c->turning || lane_passing(c);
		if (c->settled - settled[i] > LANE_PIECE + CHANNEL_WINDOW)
			world_fail(w, "class %u: %llu ids in one step", i,
				   (unsigned long long)(c->settled - settled[i]));
	}
	e->changed |= more || e->orders.count != orders;
	return more;
}

/*
 * All that are there before time is judged: what is answered is not late. Looks go on meanwhile, so that arrivals get
 * their time; and where an answer waits for a look, others of other classes stand behind it. False: a commit has
 * failed, or nothing can be seen any more.
 */
static bool take_all_answers(struct world *w, unsigned *taken)
{
	uint64_t begun = w->now;
	bool ok = true, stuck = false;

	while (ok && driver_has_answers(w) && *taken < CHANNEL_ANSWERS) {
		unsigned n = driver_take_answers(w);
		bool waits = !n && !w->engine.orders.count;

		if (waits && stuck)
			break;
		stuck = waits;
		*taken += n;
		ok = driver_commit(w);
		if (ok && (waits || w->now - w->engine.looked_ns >= LOOK_NS))
			ok = driver_look_all(w);
	}
	/* So long was spent on packets that were not late. */
	w->starved_ns += w->now - begun;
	return ok;
}

/* What came just before is seen by one more look. True where that is to come. */
static bool await_arrivals(struct world *w)
{
	struct engine *e = &w->engine;
	uint32_t before = e->awaited;

	e->awaited = 0;
	for (unsigned i = 0; i < e->lane.classes; i++)
		e->awaited |= lane_calm(&e->lane.class[i]) ? 1u << i : 0;
	return e->awaited & ~before;
}

/* Behind a commit that failed, nothing of the lane as it is here may be seen or acted on. */
bool driver_step(struct world *w)
{
	struct engine *e = &w->engine;
	unsigned taken = 0;
	bool more, ok = true;

	w->steps++;
	w->events++;
	look_for_inspector(w);
	if (!driver_has_answers(w) || w->now - e->looked_ns >= LOOK_NS)
		ok = driver_look_all(w);
	ok = ok && take_all_answers(w, &taken);
	more = driver_tick(w);
	if (!ok || !driver_commit(w)) {
		driver_stop_here(w);
		return false;
	}
	discard(w);
	publish(w);
	return await_arrivals(w) || more || taken >= CHANNEL_ANSWERS;
}
