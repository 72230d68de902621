/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must hold: after every event, after every call into the core, at every commit, and when all is quiet. Changes
 * nothing but its own notes.
 */
#include "world.h"

/* Between a packet's arrival and its end by the clock lie a look, the deadline, a tick, and the pieces of one. A core
 * with small pieces, made for the sake of its edges, takes its time. */
#define WORK_NS (LANE_PIECE < 1024 ? 60000 * MS : 2 * MS)

/* Packets that a look may be wrong by while something moves. */
#define GUESS 4u

static uint64_t sum_policy(const uint64_t *column)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < REASONS; i++)
		sum += column[i];
	return sum;
}

static uint64_t sum_columns(const struct lane_class *c)
{
	return lane_inspected(c) + c->books.trusted + sum_policy(c->books.spilled) + sum_policy(c->books.shut) +
	       c->books.lost;
}

static void check_class(const struct world *w, unsigned i, const struct lane_class *c)
{
	uint64_t sum = lane_held(c) + sum_columns(c) + lane_unreconciled(c);

	if (lane_seen(c) != sum)
		world_fail(w, "class %u: %llu seen, but %llu in the books", i, (unsigned long long)lane_seen(c),
			   (unsigned long long)sum);
	if (c->settled > c->ids || c->flushed > c->ids - c->settled)
		world_fail(w, "class %u: settled %llu, flushed %llu of %llu ids", i, (unsigned long long)c->settled,
			   (unsigned long long)c->flushed, (unsigned long long)c->ids);
}

void check_call(const struct world *w, const struct lane *l)
{
	for (unsigned i = 0; i < l->classes; i++)
		check_class(w, i, &l->class[i]);
}

static void no_less(const struct world *w, unsigned class, const char *column, uint64_t before, uint64_t now)
{
	if (now < before)
		world_fail(w, "class %u: %s falls from %llu to %llu", class, column, (unsigned long long)before,
			   (unsigned long long)now);
}

static uint64_t full(const struct lane_books *b)
{
	return b->spilled[REASON_FULL] + b->shut[REASON_FULL];
}

/* Columns never fall; but spilled and shut `full` are one until the kernel's own count has told them apart, and the
 * counter before the queue corrects itself. */
static void check_columns(const struct world *w, unsigned class, const struct lane_books *was,
			  const struct lane_books *now)
{
	no_less(w, class, "accepted", was->accepted, now->accepted);
	no_less(w, class, "dropped", was->dropped, now->dropped);
	no_less(w, class, "modified", was->modified, now->modified);
	no_less(w, class, "requeued", was->requeued, now->requeued);
	no_less(w, class, "trusted", was->trusted, now->trusted);
	no_less(w, class, "lost", was->lost, now->lost);
	no_less(w, class, "late answers", was->late_answers, now->late_answers);
	no_less(w, class, "uncounted", was->uncounted, now->uncounted);
	if (!w->plan.counted)
		no_less(w, class, "full", full(was), full(now));
	for (unsigned i = REASON_FULL + 1; i < REASONS && !w->plan.counted; i++)
		no_less(w, class, lane_reason_names[i], was->spilled[i], now->spilled[i]);
	for (unsigned i = REASON_FULL + 1; i < REASONS; i++)
		no_less(w, class, lane_reason_names[i], was->shut[i], now->shut[i]);
}

/* Ids settled for one reason were not yet told apart when another came: a look may have been torn. */
static void note_guess(struct class_world *c, const struct lane_class *now)
{
	if (c->pool && (c->pool_reason != now->pool_reason || c->pool_shut != now->pool_shut))
		c->truth.guessed += GUESS;
	c->pool = now->pool;
	c->pool_reason = now->pool_reason;
	c->pool_shut = now->pool_shut;
}

/* What the outside sees. */
void check_commit(struct world *w, const struct lane *l)
{
	check_call(w, l);
	for (unsigned i = 0; i < l->classes; i++) {
		check_columns(w, i, &w->class[i].books, &l->class[i].books);
		note_guess(&w->class[i], &l -> class[i]);
		w->class[i].books = l->class[i].books;
	}
}

/* The longest time between two looks while a packet of this class waits; those with shorter deadlines may be quiet. */
static uint64_t step_ns(const struct world *w, unsigned class)
{
	uint64_t eighth = w->plan.class[class].config.deadline_ns / 8, ns = eighth && eighth < 5 * MS ? eighth : 5 * MS;

	return ns > 1 * MS ? ns : 1 * MS;
}

/* How long a packet has waited while there was an engine. */
static int64_t waited_ns(const struct world *w, const struct id_record *r)
{
	return (int64_t)(w->now - r->arrived - (w->dead_ns - r->dead));
}

/* The oldest packet that waits has not waited longer than it may; no time counts in which no engine could act. */
static void check_waiting(struct world *w, unsigned i)
{
	struct class_world *c = &w->class[i];
	uint64_t deadline = w->plan.class[i].config.deadline_ns;
	int64_t waited;
	const struct id_record *r = NULL;

	while (c->out < c->seq && (!(r = world_id(w, i, c->out + 1)) || r->kind != ID_HELD))
		c->out++;
	if (!r || !deadline || c->out == c->seq || !w->engine.word)
		return;
	waited = waited_ns(w, r) - (int64_t)(w->starved_ns - r->starved);
	if (waited > (int64_t)(deadline + 2 * step_ns(w, i) + WORK_NS))
		world_fail(w, "class %u: id %llu has waited %.3f ms, its deadline is %.3f ms", i,
			   (unsigned long long)r->id, (double)waited / (double)MS, (double)deadline / (double)MS);
}

void check_event(struct world *w)
{
	for (unsigned i = 0; i < w->plan.classes; i++)
		check_waiting(w, i);
}

/* How soon a packet may be called late. Marks close to each other are one; where lateness has become a habit, packets
 * wait for half their deadline, or an eighth; where the socket is nearly full, the oldest go at once. */
static uint64_t shortest_wait(const struct world *w, unsigned class, uint64_t id)
{
	uint64_t deadline = w->plan.class[class].config.deadline_ns;

	if (id <= w->class[class].pressed_upto)
		return 0;
	return (id <= w->class[class].habit_upto ? deadline / 8 : deadline) - deadline / 24;
}

/* A packet goes by policy. Where nothing but the clock can be the reason, its time must be up, and no answer to it may
 * have lain there when the step began. */
void check_policy(struct world *w, unsigned class, const struct id_record *r)
{
	const struct class_world *c = &w->class[class];
	const struct engine *e = &w->engine;
	uint64_t deadline = w->plan.class[class].config.deadline_ns;
	int64_t waited;
	bool answered = r->answered && r->answered == e->lane.inspector && r->answered_at < w->steps;

	if (c->exempt || r->id <= c->due || r->discarded)
		return;
	if (answered && e->answers && !e->look_failed_ns)
		world_fail(w, "class %u: id %llu goes by policy, but its answer was there", class,
			   (unsigned long long)r->id);
	if (!deadline)
		world_fail(w, "class %u: id %llu goes by policy for no reason", class, (unsigned long long)r->id);
	waited = waited_ns(w, r);
	if (r->dead != w->dead_ns)
		waited += (int64_t)(2 * step_ns(w, class));
	if (waited < (int64_t)shortest_wait(w, class, r->id))
		world_fail(w, "class %u: id %llu is called late after %.3f ms, its deadline is %.3f ms", class,
			   (unsigned long long)r->id, (double)waited / (double)MS, (double)deadline / (double)MS);
}

/* An inspector is gone: what it had in hand is due, all of it and nothing else. */
void check_gone(struct world *w, const struct lane *l)
{
	for (unsigned i = 0; i < l->classes; i++) {
		const struct lane_class *c = &l->class[i];

		for (uint64_t id = c->settled + 1; id <= c->ids; id++) {
			const struct id_record *r = world_id(w, i, id);
			bool in_hand = r && r->kind == ID_HELD && r->read && r->column == COLUMN_NONE && !r->discarded;

			if (in_hand && id > c->due)
				world_fail(w, "class %u: id %llu was in hand and is forgotten", i,
					   (unsigned long long)id);
			if (r && r->kind == ID_HELD && !r->read && c->due > c->settled && id <= c->due)
				world_fail(w, "class %u: id %llu was not in hand and is due", i,
					   (unsigned long long)id);
		}
	}
}

/* At the end. */

static void print_books(const struct world *w, unsigned class)
{
	const struct lane_class *c = &w->page.snapshot[w->page.commit & 1].class[class];
	const struct truth *t = &w->class[class].truth;

	for (unsigned i = 0; i < REASONS; i++)
		TRACE(w, "          %s: spilled %llu shut %llu", lane_reason_names[i],
		      (unsigned long long)c->books.spilled[i], (unsigned long long)c->books.shut[i]);
	TRACE(w, "          books: accepted %llu dropped %llu modified %llu requeued %llu trusted %llu lost %llu",
	      (unsigned long long)c->books.accepted, (unsigned long long)c->books.dropped,
	      (unsigned long long)c->books.modified, (unsigned long long)c->books.requeued,
	      (unsigned long long)c->books.trusted, (unsigned long long)c->books.lost);
	TRACE(w, "          truth: accepted %llu dropped %llu modified %llu requeued %llu trusted %llu lost %llu",
	      (unsigned long long)t->column[ACCEPTED], (unsigned long long)t->column[DROPPED],
	      (unsigned long long)t->column[MODIFIED], (unsigned long long)t->column[REQUEUED],
	      (unsigned long long)t->column[TRUSTED], (unsigned long long)t->lost);
	TRACE(
	    w,
	    "          truth: policy spilled %llu shut %llu, gaps spilled %llu shut %llu, queue drops %llu, round %llu",
	    (unsigned long long)t->policy_spilled, (unsigned long long)t->policy_shut,
	    (unsigned long long)t->gap_spilled, (unsigned long long)t->gap_shut, (unsigned long long)t->queue_dropped,
	    (unsigned long long)t->round);
}

static void equal(const struct world *w, unsigned class, const char *what, uint64_t books, uint64_t truth,
		  uint64_t blur)
{
	uint64_t differ = books > truth ? books - truth : truth - books;

	if (differ <= blur)
		return;
	print_books(w, class);
	world_fail(w, "class %u: %s %llu in the books, %llu in truth (%llu may differ)", class, what,
		   (unsigned long long)books, (unsigned long long)truth, (unsigned long long)blur);
}

/* Replies that did not fit into the socket either: where the flag opens, nothing tells them from packets. */
static uint64_t replies_dropped(const struct world *w, unsigned i)
{
	const struct truth *t = &w->class[i].truth;
	struct spw_socket_stat stat;

	kernel_socket_stat(w->kernel, w->class[i].socket, &stat);
	return t->gap_spilled || t->changed ? stat.drops - t->gap_spilled - t->gap_shut : 0;
}

static void check_truth(const struct world *w, unsigned i, const struct lane_class *c)
{
	const struct truth *t = &w->class[i].truth;
	const struct lane_books *b = &c->books;
	uint64_t poison = t->column[POISONED], found = 2 * t->blur + t->guessed + replies_dropped(w, i);

	equal(w, i, "accepted", b->accepted, t->column[ACCEPTED], t->blur);
	equal(w, i, "dropped", b->dropped, t->column[DROPPED], t->blur);
	equal(w, i, "modified", b->modified, t->column[MODIFIED], t->blur);
	equal(w, i, "requeued", b->requeued, t->column[REQUEUED], t->blur);
	equal(w, i, "trusted", b->trusted, t->column[TRUSTED], t->blur);
	equal(w, i, "poison", b->spilled[REASON_POISON] + b->shut[REASON_POISON], poison,
	      t->blur + (w->plan.counted ? c->passed : 0));
	equal(w, i, "lost", b->lost, t->lost, t->blur);
	if (w->plan.counted)
		equal(w, i, "passed", c->passed, t->round, 0);
	else if (t->round && !b->uncounted)
		world_fail(w, "class %u: %llu packets went round the queue and nobody says so", i,
			   (unsigned long long)t->round);
	if (t->vanished && !b->uncounted)
		world_fail(w, "class %u: %llu segments vanished and nobody says so", i,
			   (unsigned long long)t->vanished);
	equal(w, i, "spilled", sum_policy(b->spilled) - (w->plan.counted ? c->passed : 0),
	      t->policy_spilled + t->gap_spilled, found + t->mixed);
	equal(w, i, "shut", sum_policy(b->shut), t->policy_shut + t->gap_shut + t->queue_dropped, found + t->mixed);
	equal(w, i, "gaps", c->gaps, t->gap_spilled + t->gap_shut, found);
	if (c->overtaken + t->blur < t->overtaken)
		world_fail(w, "class %u: %llu packets were overtaken, %llu by the books", i,
			   (unsigned long long)t->overtaken, (unsigned long long)c->overtaken);
}

/* Nothing arrives and nothing is held any more: the books are closed, and true. */
void check_quiet(struct world *w)
{
	const struct lane *l = &w->page.snapshot[w->page.commit & 1];

	for (unsigned i = 0; i < l->classes; i++) {
		const struct lane_class *c = &l->class[i];
		struct spw_queue_stat stat;

		kernel_queue_stat(w->kernel, QUEUE(i), &stat);
		if (stat.held || lane_held(c))
			world_fail(w, "class %u: %u packets are still held, %llu by the books", i, stat.held,
				   (unsigned long long)lane_held(c));
		if (lane_unreconciled(c))
			world_fail(w, "class %u: %llu packets unreconciled at quiet", i,
				   (unsigned long long)lane_unreconciled(c));
		check_truth(w, i, c);
	}
}

/* All is well again: every class inspects. */
void check_inspecting(struct world *w)
{
	const struct lane *l = &w->page.snapshot[w->page.commit & 1];

	for (unsigned i = 0; i < l->classes; i++)
		if (l->class[i].state != STATE_INSPECTING)
			world_fail(w, "class %u: healed, but %s (%s)", i, lane_state_names[l->class[i].state],
				   lane_reason_names[l->class[i].reason]);
}
