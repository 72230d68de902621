/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane of the pure core in small: its kernel, its time, its orders, for the tests that look at it case by case. The
 * books' sum is compared after every step.
 */
#ifndef LANE_SCENE_H
#define LANE_SCENE_H

#include "unit.h"

#include "lane/lane.h"

#include <spillway/packet.h>

#include <string.h>

#define MS       1000000ull
#define DEADLINE (24 * MS)

static struct lane l;
static struct lane_class *c;
static struct lane_early slots[CHANNEL_WINDOW], others_slots[CHANNEL_WINDOW];
static struct lane_early *const early[CHANNEL_CLASSES] = {slots, others_slots};
static struct lane_orders out;
static struct lane_sample k; /* the kernel, as the next sample shows it */
static uint64_t now, sequence;

static inline uint64_t sum_of_columns(void)
{
	uint64_t sum = lane_held(c) + lane_inspected(c) + c->books.trusted + c->books.lost + lane_unreconciled(c);

	for (int i = 0; i < REASONS; i++)
		sum += c->books.spilled[i] + c->books.shut[i];
	return sum;
}

static inline void start(bool fail_open)
{
	const struct lane_config config = {
	    .length = 1000, .fail_open = fail_open, .gso = true, .deadline_ns = DEADLINE};

	memset(&l, 0, sizeof(l));
	memset(slots, 0, sizeof(slots));
	memset(others_slots, 0, sizeof(others_slots));
	now = 1000 * MS;
	sequence = 0;
	k = (struct lane_sample){.coherent = true};
	l.classes = 1;
	l.breaker = true;
	l.hung_ns = 1000 * MS;
	c = &l.class[0];
	lane_class_init(c, &config, now);
	lane_inspector_active(&l, 7, now);
	out.count = out.payloads = 0;
}

static inline int before_each(void **state)
{
	(void)state;
	start(true);
	return 0;
}

static inline void sample(void)
{
	lane_sample(c, &k, now);
	assert_int_equal(lane_seen(c), sum_of_columns());
}

/* n packets arrive, of which `fit` find room in the socket. */
static inline void arrive(uint32_t n, uint32_t fit)
{
	k.ids += n;
	k.held += fit;
	k.socket_drops += n - fit;
	if (lane_shuts(&c->config, REASON_FULL))
		k.user_dropped += n - fit;
	sample();
}

/* The kernel carries the orders out: whatever was settled is no longer held. */
static inline void carry_out(void)
{
	k.held = (uint32_t)lane_held(c);
	out.count = out.payloads = 0;
}

static inline enum lane_result give(struct channel_answer a)
{
	enum lane_result r = lane_answer(&l, early, &a, sequence++, &out);

	assert_int_equal(lane_seen(c), sum_of_columns());
	return r;
}

static inline enum lane_result answer(uint32_t first, uint32_t last, uint32_t verdict)
{
	return give((struct channel_answer){.first = first, .last = last, .verdict = verdict});
}

static inline enum lane_result answer_early(uint32_t id, uint32_t verdict)
{
	return give((struct channel_answer){.first = id, .last = id, .verdict = verdict, .early = 1});
}

static inline bool tick_after(uint64_t ns)
{
	now += ns;
	sample();
	return lane_tick(&l, early, now, &out);
}

static inline void order_is(unsigned i, enum lane_order_kind kind, uint32_t id, uint32_t verdict)
{
	assert_true(i < out.count);
	assert_int_equal(out.order[i].kind, kind);
	assert_int_equal(out.order[i].id, id);
	assert_int_equal(out.order[i].verdict, verdict);
}

#endif
