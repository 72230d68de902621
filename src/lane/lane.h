/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pure core: what the ids mean, which answers hold, and the books. No system call, no clock, no allocation. Its
 * state is plain data that lies in a shared page, so that whoever comes after the engine can go on with it.
 */
#ifndef SPW_LANE_LANE_H
#define SPW_LANE_LANE_H

#include "lane/channel.h"

#include <stdbool.h>
#include <stdint.h>

enum lane_reason {
	REASON_FULL,
	REASON_LATE,
	REASON_DOWN,
	REASON_HUNG,
	REASON_POISON,
	REASON_LOAD,
	REASON_MANUAL,
	REASONS
};

/* The names that contract and people know; indexed by enum lane_reason. */
extern const char *const lane_reason_names[REASONS];

enum lane_state { STATE_INSPECTING, STATE_PROBING, STATE_OPEN, STATE_SHUT, STATES };
extern const char *const lane_state_names[STATES];

/* One look at the kernel: /proc and SO_MEMINFO. 32-bit counters as the kernel has them; they wrap. */
struct lane_sample {
	uint32_t ids;  /* last id assigned */
	uint32_t held; /* packets that wait for a verdict */
	uint32_t queue_dropped;
	uint32_t user_dropped;
	uint32_t socket_drops;
};

/* The columns of the ledger: every packet seen stands in exactly one. */
struct lane_books {
	uint64_t accepted, dropped, modified, requeued; /* inspected */
	uint64_t trusted;
	uint64_t spilled[REASONS];
	uint64_t shut[REASONS];
	uint64_t lost;
	uint64_t late_answers;    /* answers that came after the packet was settled */
	uint64_t bytes_inspected; /* by the inspectors' word */
	bool uncounted;           /* packets may have passed where nobody counts */
};

/* One class: ids widened to 64 bits, where its verdicts stand, its policy and its books. */
struct lane_class {
	bool fail_open, gso;
	uint32_t length;
	enum lane_state state;

	uint64_t ids;         /* last id assigned, of the last sample */
	uint64_t settled;     /* every id up to here is in the books */
	uint64_t answered;    /* highest id that any answer named */
	uint64_t policy_upto; /* ids up to here were settled without an answer */
	uint64_t held;        /* of the last sample */
	uint64_t gaps;        /* ids booked as never held */
	uint64_t gaps_shut;   /* of these, the ones booked as shut */
	uint64_t switched_at; /* ids up to here met the policy before the last change */
	bool switched_from;   /* which was this */
	uint64_t queue_dropped, user_dropped, socket_drops;
	uint64_t flushed;     /* lost packets whose messages the inspector may still read and answer */
	uint64_t missing;     /* least number of unexplained ids over the last samples */
	unsigned missing_for; /* so many samples */

	struct lane_sample last;
	struct lane_books books;
};

/* What became of an answer. Everything but ANSWER_TAKEN and ANSWER_LATE is a lie: its sender is not to be trusted
 * again. */
enum lane_result {
	ANSWER_TAKEN,
	ANSWER_LATE,
	ANSWER_NOT_ASSIGNED, /* an id that the kernel has not assigned */
	ANSWER_BACKWARDS,
	ANSWER_COUNT, /* more packets than ids, none at all, or several where one verdict is for one packet */
	ANSWER_VERDICT,
	ANSWER_PAYLOAD,
	ANSWER_CLASS,
	ANSWER_RESULTS
};
extern const char *const lane_result_texts[ANSWER_RESULTS];

/* Starts the books of a freshly bound queue. */
void lane_class_init(struct lane_class *c, bool fail_open, bool gso, uint32_t length);

/* Takes in a look at the kernel. Verdicts sent before it must have been booked before it. */
void lane_sample(struct lane_class *c, const struct lane_sample *now);

/*
 * Checks one answer (the caller's own copy) and books it. ANSWER_TAKEN: the verdict is to be sent. ANSWER_NOT_ASSIGNED
 * may merely mean that the last sample is old: take a fresh one and ask again.
 */
enum lane_result lane_answer(struct lane_class *c, const struct channel_answer *a);

/* The policy or the length has changed; `now` was looked at just before the kernel was told. */
void lane_switch(struct lane_class *c, const struct lane_sample *now, bool fail_open, uint32_t length);

/*
 * The queue takes nothing more, and all it still held (the `held` of `before`) has been settled by policy for this
 * reason. Books it; what stays unexplained is a gap as far as the socket's drops explain it; the rest remains
 * unreconciled.
 */
void lane_settle(struct lane_class *c, const struct lane_sample *before, enum lane_reason reason);

/* Sums that the books give. */
uint64_t lane_seen(const struct lane_class *c);
uint64_t lane_held(const struct lane_class *c);
uint64_t lane_inspected(const struct lane_class *c);
uint64_t lane_unreconciled(const struct lane_class *c);

#endif
