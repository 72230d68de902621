/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine in small: the keeper's requests, as serve.c has it.
 */
#include "driver.h"

#define STOP_ROUNDS 5000

static void serve_gone(struct world *w, enum lane_reason reason)
{
	struct engine *e = &w->engine;
	uint64_t unread[CHANNEL_CLASSES];

	/* What it has answered counts, however many pieces that takes. */
	while (driver_has_answers(w) && !e->failed) {
		(void)driver_take_answers(w);
		(void)driver_tick(w);
		if (!driver_commit(w))
			driver_stop_here(w);
	}
	/* Without fresh ids nobody knows what it had in hand. */
	while (!e->failed && e->inspector && e->lane.inspector == e->inspector && !driver_look_all(w))
		;
	if (e->failed)
		return;
	e->answers = NULL;
	w->page.lied = 0;
	if (e->lane.inspector != e->inspector || !e->inspector) {
		e->inspector = 0;
		return;
	}
	e->inspector = 0;
	for (unsigned i = 0; i < e->lane.classes; i++)
		unread[i] = driver_discard_stale(w, i);
	lane_inspector_gone(&e->lane, unread, reason, w->now);
	check_call(w, &e->lane);
	check_gone(w, &e->lane);
	e->changed = true;
}

static void serve_change(struct world *w, unsigned class, const struct lane_config *config)
{
	struct lane_class *c = &w->engine.lane.class[class];
	struct spw_queue_config *page = &w->page.config[class];
	bool open = !lane_shuts(config, REASON_FULL), differs = open == lane_shuts(&c->config, REASON_FULL);
	uint64_t ids = w->class[class].seq;
	struct lane_sample before;

	while (!driver_look_at(w, class, &before, false))
		;
	page->length = config->length;
	page->flags = (page->flags & ~SPW_FAIL_OPEN) | (open ? SPW_FAIL_OPEN : 0);
	if (!lane_passing(c) && (differs || config->length != c->config.length)) {
		driver_moment(w, 1 * US);
		world_configure(w, class, page);
	}
	driver_moment(w, 1 * US);
	/* What overflowed between the look and now met one policy or the other. */
	w->class[class].truth.mixed += differs ? w->class[class].seq - ids : 0;
	w->class[class].truth.changed = true;
	lane_switch(c, &before, config, w->now);
	check_call(w, &w->engine.lane);
}

static bool turned(const struct world *w)
{
	for (unsigned i = 0; i < w->engine.lane.classes; i++)
		if (!lane_turned(&w->engine.lane.class[i]))
			return false;
	return true;
}

static void serve_stop(struct world *w, enum lane_reason reason)
{
	struct engine *e = &w->engine;

	while (driver_has_answers(w) && !e->failed)
		(void)driver_step(w);
	for (unsigned i = 0; i < e->lane.classes; i++)
		lane_turn(&e->lane.class[i], reason);
	e->lane.leaving = true;
	for (int i = 0; i < STOP_ROUNDS && !e->failed && !w->stopped; i++) {
		bool more = driver_step(w);

		w->stopped = !e->failed && driver_look_all(w) && !more && turned(w);
		if (!more)
			driver_moment(w, 1 * MS);
	}
	if (!e->failed && !w->stopped)
		world_fail(w, "stopping takes for ever");
}

static void serve_counter(struct world *w, unsigned class)
{
	struct lane_class *c = &w->engine.lane.class[class];
	uint64_t hits = kernel_hook(w->kernel, 0)->rule[class + 1].hits;
	struct lane_sample before, after;
	int64_t ids, drops;

	if (!driver_look_at(w, class, &before, false))
		return;
	hits = kernel_hook(w->kernel, 0)->rule[class + 1].hits;
	if (!driver_look_at(w, class, &after, false) || !driver_same(&before, &after) ||
	    hits != kernel_hook(w->kernel, 0)->rule[class + 1].hits)
		return;
	ids = (int64_t)(lane_widen(c->ids, after.ids) - w->plan.class[class].first);
	drops = (int64_t)(c->queue_dropped + (after.queue_dropped - c->last.queue_dropped));
	lane_counted(c, (int64_t)hits - ids - drops, false);
	check_call(w, &w->engine.lane);
}

void driver_serve_inspector(struct world *w, uint32_t number)
{
	struct engine *e = &w->engine;

	e->inspector = number;
	e->answers = number ? &w->inspector[number % 2] : NULL;
	e->dead = number && w->gone_asked;
	w->page.lied = 0;
}

static void serve(struct world *w, const struct request *q)
{
	struct lane *l = &w->engine.lane;
	struct lane_config config = l->class[q->class].config;

	switch (q->op) {
	case OP_INSPECTOR:
		driver_serve_inspector(w, q->value);
		break;
	case OP_GONE:
		serve_gone(w, q->value);
		break;
	case OP_LEAVE:
		l->leaving = true;
		break;
	case OP_DOWN_LONG:
		l->down_long = q->value != 0;
		break;
	case OP_NOT_HUNG:
		l->wait_ns = 0;
		l->stalled = false;
		break;
	case OP_COUNTER:
		serve_counter(w, q->class);
		break;
	case OP_FAIL_OPEN:
		config.fail_open = q->value != 0;
		serve_change(w, q->class, &config);
		break;
	case OP_LENGTH:
		config.length = q->value;
		serve_change(w, q->class, &config);
		break;
	case OP_TURN:
		if (q->value)
			lane_turn(&l->class[q->class], REASON_MANUAL);
		else
			lane_return(&l->class[q->class]);
		break;
	default:
		serve_stop(w, q->value);
	}
}

/* One request; it is the keeper's no more once its outcome holds. */
void driver_serve_one(struct world *w)
{
	static const char *const names[] = {"inspector", "gone",      "leave",  "down long", "not hung",
					    "counter",   "fail open", "length", "turn",      "stop"};
	struct request q = w->request[w->request_first];

	TRACE(w, "engine    serves: class %u %s %u", q.class, names[q.op], q.value);
	serve(w, &q);
	w->engine.changed = true;
	if (w->engine.failed)
		return;
	if (!driver_commit(w)) {
		driver_stop_here(w);
		return;
	}
	w->request_first = (w->request_first + 1) % REQUESTS;
	w->requests--;
	if (q.op == OP_GONE)
		actors_gone(w);
}
