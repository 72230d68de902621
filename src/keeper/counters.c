/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The counters in front of the queues, read every second: what they count more than the kernel numbered or dropped went
 * round the queue. Only reads; the engine books it.
 */
#include "keeper/internal.h"

#include "log/log.h"

#include <errno.h>
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
	return k->counter.fd >= 0 &&
	       !spw_counter_read(&k->counter, l->page->queue[i], SPW_COUNTER_QUEUE, packets, &bytes);
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

/*
 * A counter that is less than before has been made anew with its rule: its base, modulo 2^64, goes down by what had
 * passed. What is read off the page is one store, and whoever comes after a death between the two goes on from 0.
 */
void keeper_note_marked(struct engine_marked *m, uint64_t packets)
{
	if (!m->begun)
		__atomic_store_n(&m->base, packets, __ATOMIC_RELEASE);
	else if (packets < m->base + m->passed)
		__atomic_store_n(&m->base, -m->passed, __ATOMIC_RELEASE);
	__atomic_store_n(&m->passed, packets - m->base, __ATOMIC_RELEASE);
	__atomic_store_n(&m->begun, true, __ATOMIC_RELEASE);
}

static void read_marked(struct keeper *k, const struct keeper_lane *l, unsigned i, enum engine_marked_kind kind)
{
	static const enum spw_counter_kind kinds[ENGINE_MARKED] = {
	    [ENGINE_MARKED_TRUSTED] = SPW_COUNTER_TRUSTED, [ENGINE_MARKED_SPILLED] = SPW_COUNTER_SPILLED};
	uint64_t packets = 0, bytes;
	int err = k->counter.fd < 0 ? -EBADF
				    : spw_counter_read(&k->counter, l->page->queue[i], kinds[kind], &packets, &bytes);

	if (!err || err == -ENOENT)
		keeper_note_marked(&l->page->marked[i][kind], packets);
}

static void read_marks(struct keeper *k, const struct keeper_lane *l, unsigned i, const struct lane_class *c)
{
	if (c->config.trust_mask)
		read_marked(k, l, i, ENGINE_MARKED_TRUSTED);
	if (c->config.spill_mask)
		read_marked(k, l, i, ENGINE_MARKED_SPILLED);
}

void keeper_begin_counting(struct keeper *k, struct keeper_lane *l, unsigned i, struct lane_class *c)
{
	uint64_t packets;

	read_marks(k, l, i, c);
	if (c->config.length || lane_shuts(&c->config, REASON_FULL) || !c->config.gso ||
	    !read_packets(k, l, i, &packets))
		return;
	l->counted[i] = packets;
	lane_counted(c, (int64_t)packets, false);
}

static uint64_t decided(const struct gate *g)
{
	return gate_packets(g, 0, GATE_COLUMNS);
}

/* What came to the queue or to the rules' own counter, whichever there is. */
static uint64_t came(struct keeper *k, const struct keeper_lane *l, unsigned i, const struct lane_class *c)
{
	struct spw_queue_stat stat;
	uint64_t sum = 0, bytes;

	if (k->counter.fd < 0 || spw_counter_read(&k->counter, l->page->queue[i], SPW_COUNTER_QUEUE, &sum, &bytes))
		sum = 0;
	return spw_queue_stat(l->queue[i], &stat) ? sum : sum + lane_widen(c->ids, stat.id_sequence);
}

/*
 * Rules bring packets that the gate never sees: none came to it, but more to the queue than can be on the way. So it is
 * no counter, until it has decided again.
 */
static bool goes_round(struct keeper *k, struct keeper_lane *l, unsigned i, const struct lane_class *c)
{
	const struct gate *g = &l->gate[i];
	const uint64_t before = g->page ? decided(g) : 0, now = g->page ? came(k, l, i, c) : 0;

	if (!g->page)
		return false;
	if (before != l->decided[i] || decided(g) != before) {
		l->decided[i] = before;
		l->came[i] = now;
		l->round[i] = false;
	} else if (!l->round[i] && (int64_t)(now - l->came[i]) > 2 * (int64_t)g->cpu_count) {
		l->round[i] = true;
		log_line("queue %u: packets come to it that its gate does not see, so nobody counts what passes; bring "
			 "it in with spillway rules --gate --apply",
			 l->page->queue[i]);
	}
	return l->round[i];
}

static void read_class(struct keeper *k, struct keeper_lane *l, unsigned i, const struct lane_class *c)
{
	struct reading r;
	struct engine_reply reply;
	struct engine_request q = {.op = ENGINE_COUNTER, .class = i};

	/* Without F_GSO the queue numbers segments and the rule counts aggregates: they can't be compared. */
	if (!c->config.gso)
		return;
	if (goes_round(k, l, i, c)) {
		q.value = COUNTER_NONE;
		(void)keeper_ask(l, &q, &reply);
		return;
	}
	if (!read_least(k, l, i, c, &r))
		return;
	q.long_value = r.beyond;
	q.value = r.packets < l->counted[i] ? COUNTER_OTHER : COUNTER_SAME;
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
		for (unsigned i = 0; i < lane.classes; i++) {
			read_class(k, &k->lane[n], i, &lane.class[i]);
			read_marks(k, &k->lane[n], i, &lane.class[i]);
		}
	}
}
