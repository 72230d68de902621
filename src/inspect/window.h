/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of one class's packets between being read and being answered: which answer may leave now, which overtakes,
 * which waits. Writes through the pen (answer.h); reads no packet, waits for nobody.
 */
#ifndef SPW_INSPECT_WINDOW_H
#define SPW_INSPECT_WINDOW_H

#include "inspect/answer.h"

#define WINDOW_EARLY (CHANNEL_WINDOW / 2) /* answers that may be ahead of an unanswered packet at a time */

enum entry_state {
	ENTRY_WAITING, /* the user's code has it */
	ENTRY_DECIDED, /* its answer is known, but not yet put */
	ENTRY_EARLY,   /* answered ahead of an older one */
};

struct entry {
	uint64_t id;
	enum entry_state state;
	bool overtakes; /* its answer may be early */
	struct channel_answer answer;
};

struct window {
	struct answerer *pen;
	unsigned class;
	uint64_t head, tail;     /* entries ever removed, ever added: packets read and not yet answered in order */
	uint64_t base;           /* every id below is decided, and the engine knows it */
	unsigned decided, eager; /* entries in ENTRY_DECIDED; of them, those that may overtake */
	unsigned early;          /* bits in early_bits */
	uint64_t early_bits[CHANNEL_WINDOW / 64]; /* ids from base on that have been answered early, by id */
	struct entry entry[CHANNEL_WINDOW];
};

void window_start(struct window *w, struct answerer *pen, unsigned class);

/* True where no more packets can be taken in until an older one is answered. */
bool window_full(struct window *w);

/* Takes in a packet just read, ids ascending; window_full() must not hold. Returns its number for the calls below. */
uint64_t window_take(struct window *w, uint64_t id);

/* False where the packet has been passed by: it was settled, and a newer one was answered. */
bool window_knows(const struct window *w, uint64_t number);

/* The oldest packet not answered yet is this one. */
bool window_is_oldest(const struct window *w, uint64_t number);

/* Answers a packet that window_knows(); it must be waiting. The answer leaves as soon as order and window allow it. */
void window_decide(struct window *w, uint64_t number, const struct channel_answer *answer, bool overtakes);

/* Puts what may leave by now: after room was made on the page, or the engine has settled more. */
void window_pump(struct window *w);

#endif
