/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The counters in front of the queues, read every second: what they count more than the kernel numbered or dropped went
 * round the queue. Only reads; the engine books it.
 */
#include "keeper/internal.h"

#include <string.h>

#define PERIOD_NS 1000000000ull
#define TRIES     64
#define READINGS  3

struct reading {
	uint64_t packets;
	int64_t beyond;
};

/* The class's counter before the queue: the gate's own, where one stands there. False: there is none. */
static bool read_packets(struct keeper *k, const struct keeper_lane *l, unsigned i, uint64_t *packets)
{
	uint64_t bytes;

	if (l->gate[i].page) {
		*packets = gate_admitted(l->gate[i].page);
		return true;
	}
	return k->counter.fd >= 0 && !spw_counter_read(&k->counter, l->page->queue[i], packets, &bytes);
}

/* One reading during which nothing moved. */
static bool read_once(struct keeper *k, struct keeper_lane *l, unsigned i, const struct lane_class *c,
		      struct reading *r)
{
	struct spw_queue_stat stat;
	uint64_t after, seen;

	for (int n = 0; n < TRIES; n++) {
		if (!read_packets(k, l, i, &r->packets) || spw_queue_stat(l->queue[i], &stat) ||
		    !read_packets(k, l, i, &after))
			return false;
		if (after != r->packets)
			continue;
		seen = lane_widen(c->ids, stat.id_sequence) + c->queue_dropped +
		       (stat.queue_dropped - c->last.queue_dropped);
		r->beyond = (int64_t)(r->packets - seen);
		return true;
	}
	return false;
}

/* A packet between counter and queue makes one reading too high, never too low: of several, the least. */
static bool read_least(struct keeper *k, struct keeper_lane *l, unsigned i, const struct lane_class *c,
		       struct reading *least)
{
	struct reading r;

	if (!read_once(k, l, i, c, least))
		return false;
	for (int n = 1; n < READINGS; n++)
		if (read_once(k, l, i, c, &r) && r.beyond < least->beyond)
			*least = r;
	return true;
}

void keeper_begin_counting(struct keeper *k, struct keeper_lane *l, unsigned i, struct lane_class *c)
{
	uint64_t packets;

	if (c->config.length || lane_shuts(&c->config, REASON_FULL) || !c->config.gso ||
	    !read_packets(k, l, i, &packets))
		return;
	l->counted[i] = packets;
	lane_counted(c, (int64_t)packets, false);
}

static void read_class(struct keeper *k, struct keeper_lane *l, unsigned i, const struct lane_class *c)
{
	struct reading r;
	struct engine_reply reply;
	struct engine_request q = {.op = ENGINE_COUNTER, .class = i};

	/* Without F_GSO the queue numbers segments and the rule counts aggregates: they can't be compared. */
	if (!c->config.gso || !read_least(k, l, i, c, &r))
		return;
	q.long_value = r.beyond;
	q.value = r.packets < l->counted[i];
	if (!keeper_ask(l, &q, &reply)) /* that it is another counter has to be heard */
		l->counted[i] = r.packets;
}

void keeper_read_counters(struct keeper *k, uint64_t now_ns)
{
	struct lane lane;

	if (now_ns < k->count_at_ns)
		return;
	k->count_at_ns = now_ns + PERIOD_NS;
	for (unsigned n = 0; n < k->lanes; n++) {
		if (!k->lane[n].page) /* a start that failed */
			continue;
		engine_snapshot(k->lane[n].page, &lane);
		for (unsigned i = 0; i < lane.classes; i++)
			read_class(k, &k->lane[n], i, &lane.class[i]);
	}
}
