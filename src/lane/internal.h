/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the core share: one class at work, and the bookkeeping that several of them need. Pure.
 */
#ifndef SPW_LANE_INTERNAL_H
#define SPW_LANE_INTERNAL_H

#include "lane/lane.h"

/* From so many held packets on, the kernel drops some without counting them at the socket. */
#define TABLE_END 65536u

/* Between two looks at least: each costs microseconds, whatever the deadline. */
#define LANE_STEP_LEAST_NS 250000u

/* A class in one step. */
struct step {
	struct lane *l;
	struct lane_class *c;
	unsigned class;
	struct lane_early *early;
	struct lane_orders *out;
};

static inline uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* sample.c */
uint64_t lane_take_flushed(struct lane_class *c, uint64_t ids);
void lane_book_gaps(struct lane_class *c, uint64_t upto, uint64_t gaps);
void lane_book_policy(struct lane_class *c, enum lane_reason reason, bool shut, uint64_t packets);
void lane_pool(struct lane_class *c, enum lane_reason reason, bool shut, uint64_t ids);
bool lane_pool_takes(const struct lane_class *c, enum lane_reason reason, bool shut);

/* settle.c */
const struct lane_early *lane_early_at(const struct step *s, uint64_t id);
void lane_emit_batch(struct step *s, uint32_t id, uint32_t code);
bool lane_settle(struct step *s, uint64_t upto, enum lane_reason reason);
bool lane_skip_gaps(struct step *s, uint64_t upto);
void lane_settle_answer(struct step *s, const struct channel_answer *a, uint64_t first, uint64_t last);
void lane_release_early(struct step *s);

#endif
