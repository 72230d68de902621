/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's side of the gate: tells it what waits, whether its class passes, how much load to shed, and which flows
 * the inspector trusts. All but the last are plain stores into its page. Decides nothing about single packets.
 */
#include "engine/internal.h"

#include "clock.h"
#include "log/log.h"

#include <fcntl.h>
#include <string.h>

#define TRUSTS_A_STEP 64u /* each costs a system call */
/* The engine may be replaced, also one that hangs, before the gate goes by the policy for `down`. */
#define SILENT_NS     3000000000ull
/* The engine settles what is late; where nothing does, the gate lets no more in. */
#define WAIT_NS       1000000000ull
#define TRUST_NS      600000000000ull
#define IDLE_NS       300000000000ull
#define PENDING_NS    200000000ull /* without a deadline */

static uint32_t policy(const struct lane_config *c)
{
	uint32_t shut = 0;

	for (unsigned r = 0; r < REASONS; r++)
		shut |= lane_shuts(c, r) ? 1u << r : 0;
	return shut;
}

void engine_gate_policy(struct engine *e, unsigned i)
{
	const struct lane_config *c = &e->lane.class[i].config;
	const struct gate_limits limits = {
	    .packets = c->length / 2, /* there new flows stop; at twice that everything does */
	    .bytes = e->page->gate_bytes[i],
	    .wait_ns = c->deadline_ns ? c->deadline_ns + WAIT_NS : 0,
	    .tick_ns = SILENT_NS,
	    .trust_ns = TRUST_NS,
	    .idle_ns = IDLE_NS,
	    .pending_ns = c->deadline_ns ? c->deadline_ns / 4 : PENDING_NS,
	};

	if (!e->gate[i].page)
		return;
	gate_set_policy(e->gate[i].page, policy(c));
	gate_set_limits(e->gate[i].page, &limits);
	gate_set_never_shed(e->gate[i].page, c->never_shed);
}

static void attach(struct engine *e, unsigned i)
{
	struct load *load = &e->page->load[i];
	const struct lane_config *c = &e->lane.class[i].config;
	struct gate_why why = {""};
	int fd[GATE_FDS];

	for (unsigned k = 0; k < GATE_FDS; k++)
		fd[k] = ENGINE_FD_GATE + (int)(i * GATE_FDS + k);
	if (fcntl(fd[0], F_GETFD) < 0)
		return;
	if (gate_adopt(fd, false, &e->gate[i], &why)) {
		log_line("engine: queue %u: gate: %s; it goes without", e->page->queue[i], why.text);
		return;
	}
	if (!load->begun)
		load_start(load, &(struct load_config){.deadline_ns = c->deadline_ns, .never_shed = c->never_shed});
	engine_gate_policy(e, i);
	engine_await_bell(e, i);
}

void engine_gate_attach(struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++)
		attach(e, i);
}

uint64_t engine_gate_admitted(const struct engine *e, unsigned i)
{
	return e->gate[i].page ? gate_admitted(e->gate[i].page) : 0;
}

static uint64_t oldest(const struct lane_class *c)
{
	const struct lane_mark *m = &c->marks[c->mark_first];

	return c->held && c->mark_count && m->id > c->settled ? m->ns : 0;
}

/* Measured only while the class inspects: an open one has no waiting time. */
static void shed(struct engine *e, unsigned i, const struct gate_look *look)
{
	const struct lane_class *c = &e->lane.class[i];
	struct load *load = &e->page->load[i];
	struct load_sample s = {
	    .arrived = c->ids,
	    .inspected = lane_inspected(c) + c->books.late_answers,
	    .late = c->books.spilled[REASON_LATE] + c->books.shut[REASON_LATE],
	    .held = c->held,
	    .age_ns = look->oldest_ns && look->now_ns > look->oldest_ns ? look->now_ns - look->oldest_ns : 0,
	};
	struct gate_cpu sum;

	if (c->state != STATE_INSPECTING)
		return;
	gate_books(&e->gate[i], &sum);
	s.admitted = sum.flows - sum.flows_refused;
	s.refused = sum.flows_refused;
	s.passed = sum.column[GATE_SPILLED_BY + REASON_LOAD].packets + sum.column[GATE_SHUT_BY + REASON_LOAD].packets;
	load_step(load, look->now_ns, &s);
	gate_set_shedding(e->gate[i].page, load->share, load->tail ? e->page->cutoff : 0);
}

void engine_gate_looked(struct engine *e, unsigned i, uint64_t admitted)
{
	const struct lane_class *c = &e->lane.class[i];
	struct gate_look look;

	if (!e->gate_told[i])
		return;
	look = (struct gate_look){.now_ns = clock_ns(), .admitted = admitted, .held = c->held, .oldest_ns = oldest(c)};
	gate_look(e->gate[i].page, &e->gate_engine[i], &look);
	e->gate_seen[i] = admitted;
	shed(e, i, &look);
}

void engine_gate_mode(struct engine *e, unsigned i)
{
	const struct lane_class *c = &e->lane.class[i];
	const enum gate_mode mode = c->state == STATE_OPEN   ? GATE_MODE_SPILL
				    : c->state == STATE_SHUT ? GATE_MODE_SHUT
							     : GATE_MODE_ADMIT;

	if (!e->gate[i].page)
		return;
	gate_set_mode(e->gate[i].page, mode, c->reason);
	e->gate_told[i] = true;
}

uint64_t engine_gate_step_ns(const struct engine *e, unsigned i)
{
	bool sheds = e->gate[i].page && e->lane.class[i].state == STATE_INSPECTING;

	return sheds ? load_step_ns(&e->page->load[i]) : UINT64_MAX;
}

/* One flow that the inspector needs no more of; its word counts for its own classes alone. */
static void trust(struct engine *e, const struct channel_trust *t)
{
	struct spw_flow flow = {.family = t->family, .protocol = t->protocol};

	if (t->class >= e->lane.classes || !e->gate[t->class].page)
		return;
	for (unsigned end = 0; end < 2; end++) {
		flow.port[end] = t->port[end];
		memcpy(flow.address[end], t->address[end], sizeof(t->address[end]));
	}
	(void)gate_flow_set(&e->gate[t->class], gate_key_from(&flow, 0), GATE_FLOW_TRUSTED, REASON_LATE);
}

void engine_gate_trust(struct engine *e)
{
	uint64_t produced;

	if (!e->answers || e->lane.inspector != e->inspector)
		return;
	produced = __atomic_load_n(&e->answers->trusts, __ATOMIC_ACQUIRE);
	/* What it has overwritten meanwhile is its own loss; the slot of the one before may be half written. */
	if (produced - e->trusts >= CHANNEL_TRUSTS)
		e->trusts = produced - CHANNEL_TRUSTS + 1;
	for (unsigned n = 0; e->trusts != produced && n < TRUSTS_A_STEP; n++, e->trusts++) {
		struct channel_trust t;

		memcpy(&t, &e->answers->trust[e->trusts % CHANNEL_TRUSTS], sizeof(t));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		/* Half of one flow and half of another would be a third one, of which nobody has said anything. */
		if (__atomic_load_n(&e->answers->trusts, __ATOMIC_RELAXED) - e->trusts < CHANNEL_TRUSTS)
			trust(e, &t);
	}
}

/* A look at the class would show nothing new, and what comes next is admitted first; or nothing is. */
static bool still(const struct engine *e, unsigned i)
{
	const struct lane_class *c = &e->lane.class[i];

	if (!e->gate_told[i] || engine_gate_admitted(e, i) != e->gate_seen[i])
		return false;
	return lane_at_rest(c) ||
	       (e->rings & e->awaited & 1u << i && lane_calm(c) && engine_gate_step_ns(e, i) == UINT64_MAX);
}

static bool all_still(const struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++)
		if (!still(e, i))
			return false;
	return e->lane.inspector == e->inspector &&
	       (!e->answers || __atomic_load_n(&e->answers->trusts, __ATOMIC_ACQUIRE) == e->trusts);
}

bool engine_gate_sleep(struct engine *e)
{
	if (!all_still(e))
		return false;
	for (unsigned i = 0; i < e->lane.classes; i++)
		gate_sleep(&e->gate[i]);
	/* From here on it rings; what came before shows now. */
	if (all_still(e))
		return true;
	engine_gate_wake(e);
	return false;
}

void engine_gate_wake(struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++)
		if (e->gate[i].page)
			gate_wake(&e->gate[i]);
}
