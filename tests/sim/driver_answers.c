/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine in small: an inspector's answers, as step.c has it.
 */
#include "driver.h"

#include <string.h>

#define ANSWERS_A_STEP 256u

static enum column column_of(const struct channel_answer *a)
{
	if (a->verdict == CHANNEL_POISONED)
		return POISONED;
	if (a->set & CHANNEL_TRUSTED)
		return TRUSTED;
	if (a->verdict == SPW_DROP)
		return DROPPED;
	if (a->verdict != SPW_ACCEPT)
		return REQUEUED;
	return a->set & SPW_VERDICT_PAYLOAD ? MODIFIED : ACCEPTED;
}

/* An answer holds: its packets are inspected, as far as nobody had decided about them. */
static void note_taken(struct world *w, const struct channel_answer *a, uint64_t settled)
{
	uint64_t last = lane_widen(w->class[a->class].seq, a->last), n = a->last - a->first + (uint64_t)1;

	for (uint64_t id = last - n + 1; id <= last; id++) {
		struct id_record *r = world_id(w, a->class, id);

		if (r && id > settled)
			r->column = column_of(a);
	}
}

static enum lane_result judge_once(struct world *w, const struct channel_answer *a, uint64_t sequence)
{
	struct engine *e = &w->engine;
	struct lane_class *c = a->class < e->lane.classes ? &e->lane.class[a->class] : NULL;
	struct lane_books books = c ? c->books : (struct lane_books){0};
	uint64_t settled = c ? c->settled : 0;
	enum lane_result r;

	if (c)
		w->class[a->class].due = c->due;
	r = lane_answer(&e->lane, e->early, a, sequence, &e->orders);

	check_call(w, &e->lane);
	if (r < ANSWER_LATER && e->answers->lied && e->answers->lie_at == sequence)
		world_fail(w, "a lie is believed: class %u, %u to %u", a->class, a->first, a->last);
	TRACE(w, "answer    class %u, %u to %u, verdict %u, early %u: %s", a->class, a->first, a->last, a->verdict,
	      a->early, lane_result_texts[r]);
	if (r == ANSWER_TAKEN)
		note_taken(w, a, settled);
	else if (r > ANSWER_LATER && c && memcmp(&books, &c->books, sizeof(books)) != 0)
		world_fail(w, "a lie has changed the books");
	return r;
}

static enum lane_result judge(struct world *w, const struct channel_answer *a, uint64_t sequence)
{
	enum lane_result r = judge_once(w, a, sequence);

	if (r != ANSWER_NOT_ASSIGNED && r != ANSWER_COUNT)
		return r;
	if (!driver_look(w, a->class))
		return ANSWER_LATER;
	return judge_once(w, a, sequence);
}

static void lied(struct world *w, const struct channel_answer *a, enum lane_result r)
{
	TRACE(w, "engine    was lied to: class %u, %u to %u: %s", a->class, a->first, a->last, lane_result_texts[r]);
	if (!w->engine.answers->lies)
		world_fail(w, "class %u: an honest answer (%u to %u, verdict %u, early %u) is called: %s", a->class,
			   a->first, a->last, a->verdict, a->early, lane_result_texts[r]);
	w->page.lied = r;
}

bool driver_has_answers(const struct world *w)
{
	const struct engine *e = &w->engine;

	return e->answers && e->lane.inspector == e->inspector && !w->page.lied &&
	       e->answers->produced != e->lane.consumed;
}

unsigned driver_take_answers(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t produced, before = e->lane.consumed;
	unsigned taken = 0;

	if (!e->answers || e->lane.inspector != e->inspector || w->page.lied)
		return 0;
	e->lane.busy = false;
	for (unsigned i = 0; i < e->lane.classes; i++)
		e->lane.busy |= e->answers->hand[i].waiting != 0;
	produced = e->answers->produced;
	for (; e->lane.consumed != produced && taken < ANSWERS_A_STEP; taken++) {
		struct channel_answer a = e->answers->ring[e->lane.consumed % CHANNEL_ANSWERS];
		enum lane_result r = judge(w, &a, e->lane.consumed);

		if (r == ANSWER_LATER)
			break;
		if (r > ANSWER_LATER) {
			lied(w, &a, r);
			break;
		}
		e->lane.consumed++;
	}
	e->changed |= e->lane.consumed != before;
	return taken;
}
