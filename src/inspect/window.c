/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of one class's packets: see window.h. Memory is fixed: one entry for each id that the window spans.
 *
 * The engine ends whoever breaks a rule, so each is kept by what the engine is sure to know, not by what is known here:
 * it learns that ids are missing only from the next answer in order, and early answers are settled when it gets to it.
 * So the window begins behind the last answer in order, or what it has published as settled.
 */
#include "inspect/window.h"

#include <string.h>

void window_start(struct window *w, struct answerer *pen, unsigned class)
{
	memset(w, 0, sizeof(*w));
	w->pen = pen;
	w->class = class;
	w->base = answer_settled(pen, class) + 1;
}

static struct entry *entry_of(struct window *w, uint64_t number)
{
	return &w->entry[number % CHANNEL_WINDOW];
}

static uint64_t *early_word(struct window *w, uint64_t id)
{
	return &w->early_bits[id % CHANNEL_WINDOW / 64];
}

static uint64_t early_bit(uint64_t id)
{
	return 1ull << id % 64;
}

/* Every id below `base` is decided now. */
static void move_base(struct window *w, uint64_t base)
{
	for (; w->base < base && w->early; w->base++) {
		w->early -= *early_word(w, w->base) & early_bit(w->base) ? 1 : 0;
		*early_word(w, w->base) &= ~early_bit(w->base);
	}
	if (w->base < base)
		w->base = base;
}

bool window_full(struct window *w)
{
	if (w->tail - w->head == CHANNEL_WINDOW)
		window_pump(w);
	return w->tail - w->head == CHANNEL_WINDOW;
}

uint64_t window_take(struct window *w, uint64_t id)
{
	struct entry *e = entry_of(w, w->tail);

	e->id = id;
	e->state = ENTRY_WAITING;
	return w->tail++;
}

bool window_knows(const struct window *w, uint64_t number)
{
	return number >= w->head && number < w->tail;
}

bool window_is_oldest(const struct window *w, uint64_t number)
{
	return number == w->head;
}

static void leave_decided(struct window *w, const struct entry *e)
{
	w->decided--;
	w->eager -= e->overtakes;
}

/* Puts the answer to the oldest entry, in order, and removes it. */
static void put_oldest(struct window *w, const struct channel_answer *answer)
{
	answer_put(w->pen, answer);
	move_base(w, entry_of(w, w->head)->id + 1);
	w->head++;
}

/*
 * A packet that the engine has decided itself while the user's code has it: where a newer one is to be answered, it is
 * passed by. That it was read is still to be told: ids without any answer count as never read.
 */
static void pass_by(struct window *w, const struct entry *e)
{
	const struct spw_packet none = {0};
	const struct channel_answer stale = answer_plain(w->pen, w->class, e->id, &none, CHANNEL_STALE, 0);

	put_oldest(w, &stale);
}

/* Deals with the oldest entry. False: it has to wait. */
static bool pump_oldest(struct window *w, uint64_t settled)
{
	const struct entry *e = entry_of(w, w->head);

	if (e->state == ENTRY_EARLY) {
		w->head++;
		return true;
	}
	if (!answer_room(w->pen))
		return false;
	if (e->state == ENTRY_WAITING) {
		if (e->id > settled || (!w->decided && w->tail - w->head < CHANNEL_WINDOW))
			return false;
		pass_by(w, e);
		return true;
	}
	leave_decided(w, e);
	put_oldest(w, &e->answer);
	return true;
}

/* Answers early what may overtake, as far as the window goes. */
static void pump_early(struct window *w)
{
	for (uint64_t n = w->head + 1; w->eager && n < w->tail; n++) {
		struct entry *e = entry_of(w, n);

		if (e->id >= w->base + CHANNEL_WINDOW || w->early == WINDOW_EARLY || !answer_room(w->pen))
			return;
		if (e->state != ENTRY_DECIDED || !e->overtakes)
			continue;
		leave_decided(w, e);
		e->state = ENTRY_EARLY;
		e->answer.early = 1;
		answer_put(w->pen, &e->answer);
		*early_word(w, e->id) |= early_bit(e->id);
		w->early++;
	}
}

void window_pump(struct window *w)
{
	const uint64_t settled = answer_settled(w->pen, w->class);

	if (settled >= w->base)
		move_base(w, settled + 1);
	while (w->head != w->tail && pump_oldest(w, settled))
		;
	if (w->eager)
		pump_early(w);
}

void window_decide(struct window *w, uint64_t number, const struct channel_answer *answer, bool overtakes)
{
	struct entry *e = entry_of(w, number);

	e->state = ENTRY_DECIDED;
	e->overtakes = overtakes;
	e->answer = *answer;
	w->decided++;
	w->eager += overtakes;
	window_pump(w);
}
