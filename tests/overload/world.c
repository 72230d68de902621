/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flows, gate, queue and inspector: see world.h.
 */
#include "world.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NEVER UINT64_MAX

/* splitmix64 */
static uint64_t roll(struct world *w)
{
	uint64_t x = w->random += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Above 0, at most 1. */
static double fraction(struct world *w)
{
	return (double)((roll(w) >> 11) + 1) / 9007199254740992.0;
}

static uint64_t after(struct world *w, double a_second)
{
	return a_second > 0 ? w->now_ns + 1 + (uint64_t)(-log(fraction(w)) / a_second * 1e9) : NEVER;
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint32_t some_size(struct world *w)
{
	double least = pow(MOST_SIZE, -w->plan.alpha), u = fraction(w);

	return w->plan.longer + (uint32_t)pow(least + u * (1 - least), -1 / w->plan.alpha);
}

double world_mean_size(const struct plan *plan, double most)
{
	double sum = plan->longer, least = pow(MOST_SIZE, -plan->alpha);

	for (double k = 1; k + plan->longer <= most && k < MOST_SIZE; k++)
		sum += (pow(k, -plan->alpha) - least) / (1 - least);
	return sum;
}

/* The flows, by the time of their next packet. */

static bool before(const struct world *w, uint32_t a, uint32_t b)
{
	return w->flow[a].next_ns < w->flow[b].next_ns;
}

static void sink_first(struct world *w)
{
	for (uint32_t i = 0, child; (child = 2 * i + 1) < w->heaped; i = child) {
		uint32_t f = w->heap[i];

		if (child + 1 < w->heaped && before(w, w->heap[child + 1], w->heap[child]))
			child++;
		if (!before(w, w->heap[child], f))
			return;
		w->heap[i] = w->heap[child];
		w->heap[child] = f;
	}
}

static void push(struct world *w, uint32_t f)
{
	uint32_t i = w->heaped++;

	for (; i && before(w, f, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = f;
}

static uint64_t next_packet_ns(const struct world *w)
{
	return w->heaped ? w->flow[w->heap[0]].next_ns : NEVER;
}

static uint32_t wanted(const struct world *w, const struct flow *f)
{
	return f->size < w->plan.cut_off ? f->size : w->plan.cut_off;
}

/* Nobody sends for much longer than four seconds. */
static void new_flow(struct world *w, uint32_t size)
{
	double slowest = fraction(w) < w->plan.slow ? 20 : 500, rate = slowest * pow(10, fraction(w));
	uint32_t i;

	assert(w->frees);
	i = w->free[--w->frees];
	w->flow[i] = (struct flow){
	    .used = true, .size = size, .gap_ns = (uint64_t)(1e9 / fmax(rate, size / 4.0)), .next_ns = w->now_ns};
	w->counts.flows++;
	w->counts.wanted += wanted(w, &w->flow[i]);
	push(w, i);
}

/* Once it is over, and none of its packets is held. */
static void forget(struct world *w, uint32_t i)
{
	struct flow *f = &w->flow[i];

	if (!f->used || f->sent < f->size || f->last > w->settled)
		return;
	f->used = false;
	w->free[w->frees++] = i;
}

/* The gate. */

/* Evenly, as a gate can with an accumulator for each processor. */
static bool admits(struct world *w)
{
	w->accumulator += w->load.share / (double)LOAD_ALL;
	if (w->accumulator < 1)
		return false;
	w->accumulator -= 1;
	return true;
}

/* When none of its packets is held, so that nothing is overtaken; or when that doesn't happen for too long. */
static bool tail_leaves(struct world *w, struct flow *f)
{
	if (!f->leaving_ns && (!w->load.tail || f->sent <= w->plan.cut_off))
		return false;
	if (!f->leaving_ns)
		f->leaving_ns = w->now_ns;
	if (f->last <= w->settled)
		return true;
	if (!w->plan.cut_short_ns || w->now_ns - f->leaving_ns < w->plan.cut_short_ns)
		return false;
	w->counts.cut_short++;
	return true;
}

static bool spills(struct world *w, struct flow *f)
{
	if (f->spilled || f->sent > 1)
		return f->spilled || tail_leaves(w, f);
	if (admits(w)) {
		w->sample.admitted++;
		return false;
	}
	w->sample.refused++;
	return true;
}

static void send_next(struct world *w)
{
	uint32_t i = w->heap[0];
	struct flow *f = &w->flow[i];

	f->sent++;
	w->counts.packets++;
	f->spilled = spills(w, f);
	if (f->spilled) {
		w->sample.passed++;
	} else {
		assert(w->arrived - w->settled < QUEUE);
		f->last = ++w->arrived;
		w->queue[w->arrived % QUEUE].ns = w->now_ns;
		w->queue[w->arrived % QUEUE].flow = i;
		w->sample.arrived++;
	}
	if (f->sent < f->size) {
		f->next_ns = after(w, 1e9 / (double)f->gap_ns);
	} else {
		w->heap[0] = w->heap[--w->heaped];
		forget(w, i);
	}
	sink_first(w);
}

/* Queue and inspector. */

static void settle(struct world *w, bool late)
{
	uint64_t slot = ++w->settled % QUEUE, waited = w->now_ns - w->queue[slot].ns;
	struct flow *f = &w->flow[w->queue[slot].flow];

	w->counts.wait_s += (double)waited / 1e9;
	if (waited > w->counts.wait_max_ns)
		w->counts.wait_max_ns = waited;
	if (late) {
		w->sample.late++;
		w->counts.late++;
		f->broken = true;
	} else {
		w->sample.inspected++;
		w->counts.inspected++;
		w->counts.beyond += w->load.tail && f->inspected >= w->plan.cut_off;
		f->inspected++;
		w->counts.whole += f->inspected == wanted(w, f) && !f->broken;
	}
	forget(w, w->queue[slot].flow);
}

/* Between 0.4 and 1.4 of the mean; a tenth of the time goes into stalls of two milliseconds. */
static double service_ns(struct world *w)
{
	double mean = 1e9 / w->plan.capacity, took = mean * (0.4 + fraction(w));

	return fraction(w) < 0.1 * mean / 2e6 ? took + 2e6 : took;
}

static void take(struct world *w)
{
	double took = 0;

	w->in_hand = (unsigned)least_of(w->arrived - w->settled, w->plan.batch);
	for (unsigned i = 0; i < w->in_hand; i++)
		took += service_ns(w);
	w->next_done_ns = w->in_hand ? w->now_ns + 1 + (uint64_t)took : NEVER;
	w->idle_since_ns = w->now_ns;
}

static void answer(struct world *w)
{
	w->sample.inspected += w->in_vain;
	for (; w->in_hand; w->in_hand--)
		settle(w, false);
	w->in_vain = 0;
	take(w);
}

/* The engine. */

static uint64_t age_ns(const struct world *w)
{
	return w->arrived > w->settled ? w->now_ns - w->queue[(w->settled + 1) % QUEUE].ns : 0;
}

static void note_share(struct counts *c, double share)
{
	c->share_sum += share;
	c->share_window += share;
	c->looks++;
	c->window_looks++;
}

static void look(struct world *w)
{
	unsigned looks = w->load.level == LOAD_INSPECT_ALL ? 8 : w->plan.looks;

	while (age_ns(w) > w->plan.deadline_ns) {
		settle(w, true);
		if (w->in_hand) {
			w->in_hand--;
			w->in_vain++;
		}
	}
	w->sample.held = w->arrived - w->settled;
	w->sample.age_ns = age_ns(w);
	w->plan.control(&w->load, w->now_ns, &w->sample);
	note_share(&w->counts, w->load.share / (double)LOAD_ALL);
	w->next_look_ns = w->now_ns + (uint64_t)((double)w->plan.deadline_ns / looks * (0.75 + fraction(w) / 2));
}

static void end_window(struct world *w)
{
	const struct load *l = &w->load;
	struct counts *c = &w->counts;
	double share;

	w->next_window_ns = w->now_ns + 100 * MS;
	if (!c->window_looks)
		return;
	share = c->share_window / c->window_looks;
	if (w->trace)
		printf("%6.1f s  wait %5.2f ms  %-21s  share %.3f  capacity %6.0f  packets %5.2f  offered %6.0f  late "
		       "%llu\n",
		       (double)(w->now_ns - S) / 1e9, (double)l->wait_ns / 1e6, load_level_names[l->level], share,
		       l->capacity, l->packets, l->offered, (unsigned long long)w->sample.late);
	c->window_sum += share;
	c->window_squares += share * share;
	c->windows++;
	c->share_window = c->window_looks = 0;
}

static void happen(struct world *w)
{
	if (w->now_ns == next_packet_ns(w)) {
		send_next(w);
	} else if (w->now_ns == w->next_flow_ns) {
		new_flow(w, some_size(w));
		w->next_flow_ns = after(w, w->plan.flows);
	} else if (w->now_ns == w->next_single_ns) {
		new_flow(w, 1);
		w->next_single_ns = after(w, w->plan.singles);
	} else if (w->now_ns == w->next_done_ns) {
		answer(w);
	} else if (w->now_ns == w->next_look_ns) {
		look(w);
	} else {
		end_window(w);
	}
	if (w->next_done_ns == NEVER && w->arrived > w->settled) {
		w->counts.idle_ns += w->now_ns - w->idle_since_ns;
		take(w);
	}
}

void world_run(struct world *w, double seconds)
{
	uint64_t end = w->now_ns + (uint64_t)(seconds * 1e9), next;

	w->next_flow_ns = after(w, w->plan.flows);
	w->next_single_ns = after(w, w->plan.singles);
	for (;;) {
		next = least_of(next_packet_ns(w), least_of(w->next_flow_ns, w->next_single_ns));
		next = least_of(next, least_of(w->next_done_ns, least_of(w->next_look_ns, w->next_window_ns)));
		if (next >= end)
			break;
		w->now_ns = next;
		happen(w);
	}
	w->now_ns = end;
}

void world_reset_counts(struct world *w)
{
	w->counts = (struct counts){.since_ns = w->now_ns};
}

void world_start(struct world *w, uint64_t seed, const struct plan *plan)
{
	struct load_config config = {.deadline_ns = plan->deadline_ns};
	bool trace = w->trace;

	memset(w, 0, sizeof(*w));
	w->trace = trace;
	w->random = seed;
	w->plan = *plan;
	w->now_ns = w->next_look_ns = w->next_window_ns = w->idle_since_ns = S;
	w->next_done_ns = NEVER;
	for (; w->frees < FLOWS; w->frees++)
		w->free[w->frees] = w->frees;
	load_start(&w->load, &config);
	world_reset_counts(w);
}
