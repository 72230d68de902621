/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine in small: telling the kernel and looking at it, as commit.c and look.c have it.
 */
#include "driver.h"

#include <stddef.h>
#include <string.h>

#define LOOK_FAILED_NS (1000 * MS)
#define TRIES          200

/* Committing: commit.c. */

static void copy_lane(struct lane *to, const struct lane *from)
{
	memcpy(to, from, offsetof(struct lane, class) + from->classes * sizeof(from->class[0]));
}

static bool send_class(struct world *w, unsigned class)
{
	const struct lane_orders *out = &w->page.intent;

	for (int i = 0; i < TRIES && world_chance(w, w->plan.odds.send_fails); i++) {
		w->starved_ns += 1 * MS;
		driver_moment(w, 1 * MS);
		if (i == TRIES - 1)
			return false;
	}
	for (unsigned i = 0; i < out->count; i++) {
		if (out->order[i].class != class)
			continue;
		driver_moment(w, 1 * US);
		world_order(w, &out->order[i]);
	}
	return true;
}

static bool send_intent(struct world *w)
{
	for (unsigned i = 0; i < w->plan.classes; i++)
		if (!send_class(w, i))
			return false;
	return true;
}

static void commit_is(struct world *w, uint64_t commit)
{
	w->page.commit = commit;
	w->last_step_ns = w->page.snapshot[commit & 1].now_ns;
	check_commit(w, &w->page.snapshot[commit & 1]);
}

bool driver_commit(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t before = w->page.commit, other = (before & 1) ^ 1, count = before >> 2;

	if (!e->orders.count && !e->changed)
		return true;
	driver_moment(w, 0);
	copy_lane(&w->page.snapshot[other], &e->lane);
	if (e->orders.count) {
		w->page.intent.count = e->orders.count;
		memcpy(w->page.intent.order, e->orders.order, e->orders.count * sizeof(e->orders.order[0]));
		driver_moment(w, 0);
		w->page.commit = ++count << 2 | 2 | (before & 1);
		if (!send_intent(w))
			return false;
		driver_moment(w, 0);
	}
	commit_is(w, ++count << 2 | other);
	e->orders.count = e->orders.payloads = 0;
	e->changed = false;
	driver_moment(w, 0);
	return true;
}

bool driver_repeat(struct world *w)
{
	uint64_t before = w->page.commit;

	if (before & 2) {
		TRACE(w, "engine    repeats an intent");
		w->engine.repeating = true;
		if (!send_intent(w))
			return false;
		w->engine.repeating = false;
		commit_is(w, ((before >> 2) + 1) << 2 | ((before & 1) ^ 1));
	}
	copy_lane(&w->engine.lane, &w->page.snapshot[w->page.commit & 1]);
	return true;
}

/* Looking: look.c. */

static bool look_once(struct world *w, unsigned i, struct lane_sample *s)
{
	struct spw_queue_stat line, later;
	struct spw_socket_stat sock;

	driver_moment(w, 500);
	if (world_chance(w, w->plan.odds.look_fails))
		return false;
	(void)kernel_queue_stat(w->kernel, QUEUE(i), &line);
	/* The line is printed without the queue's lock. */
	if (world_chance(w, w->plan.odds.look_torn)) {
		driver_moment(w, 500);
		(void)kernel_queue_stat(w->kernel, QUEUE(i), &later);
		if (world_chance(w, MILLION / 2))
			line.id_sequence = later.id_sequence;
		else
			line.held = later.held;
	}
	driver_moment(w, 200);
	kernel_socket_stat(w->kernel, w->class[i].socket, &sock);
	*s = (struct lane_sample){.ids = line.id_sequence,
				  .held = line.held,
				  .queue_dropped = line.queue_dropped,
				  .user_dropped = line.user_dropped,
				  .socket_drops = sock.drops,
				  .pressed = sock.used > sock.limit / 4 * 3};
	return true;
}

bool driver_same(const struct lane_sample *a, const struct lane_sample *b)
{
	return a->ids == b->ids && a->held == b->held && a->queue_dropped == b->queue_dropped &&
	       a->user_dropped == b->user_dropped && a->socket_drops == b->socket_drops;
}

bool driver_look_at(struct world *w, unsigned i, struct lane_sample *s, bool careful)
{
	struct lane_sample again;

	if (!look_once(w, i, s))
		return false;
	if (!careful)
		return true;
	if (!look_once(w, i, &again))
		return false;
	again.coherent = driver_same(s, &again);
	*s = again;
	return true;
}

/* What is booked must have been sent before: else the kernel still counts as held what is settled here. */
bool driver_look(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	struct lane_sample now;
	uint64_t lost;

	if (w->engine.orders.count && !driver_commit(w))
		return false;
	if (!driver_look_at(w, i, &now, lane_unreconciled(c) || c->hiding))
		return false;
	lost = c->books.lost;
	lane_sample(c, &now, w->now);
	if (c->books.lost != lost)
		TRACE(w, "engine    class %u: lost %llu: ids %llu settled %llu held %llu hiding %llu", i,
		      (unsigned long long)(c->books.lost - lost), (unsigned long long)c->ids,
		      (unsigned long long)c->settled, (unsigned long long)c->held, (unsigned long long)c->hiding);
	check_call(w, &w->engine.lane);
	w->engine.changed = true;
	return true;
}

bool driver_look_all(struct world *w)
{
	struct engine *e = &w->engine;
	bool ok = true;

	for (unsigned i = 0; i < e->lane.classes && ok; i++)
		ok = driver_look(w, i);
	if (!ok)
		w->starved_ns += lane_step_ns(&e->lane, e->awaited) + (w->now - e->looked_ns);
	e->looked_ns = w->now;
	if (ok)
		e->look_failed_ns = 0;
	else if (!e->look_failed_ns)
		e->look_failed_ns = e->looked_ns;
	return ok || e->looked_ns - e->look_failed_ns < LOOK_FAILED_NS;
}
