/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate's page from user space: plain stores in one place, and what they mean. No system call, no BPF.
 */
#include "gate/gate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000u

/* In this order, as the program's other CPUs see it. */
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define LOAD(field)         __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
/* What is set at each step of the engine lies beside what the program reads for each packet: written only to change it.
 */
#define CHANGE(field, value)                                                                                           \
	do {                                                                                                           \
		if (LOAD(field) != (value))                                                                            \
			STORE(field, value);                                                                           \
	} while (0)

void gate_page_begin(struct gate_page *page, uint32_t flows, uint64_t seed)
{
	memset(page, 0, sizeof(*page));
	page->version = GATE_VERSION;
	page->flows = flows;
	page->seed = seed;
	page->share = GATE_ALL;
	page->limit_tick_ns = SECOND;
	page->trust_ns = 600ull * SECOND;
	page->idle_ns = 300ull * SECOND;
	page->pending_ns = SECOND / 5;
}

static void may_shut(struct gate_page *page, bool may)
{
	if (may)
		CHANGE(page->shuts, 1);
}

void gate_set_mode(struct gate_page *page, enum gate_mode mode, enum lane_reason reason)
{
	may_shut(page, mode == GATE_MODE_SHUT);
	CHANGE(page->mode, (uint32_t)mode | (uint32_t)reason << 8);
}

void gate_set_policy(struct gate_page *page, uint32_t shut_reasons)
{
	may_shut(page, shut_reasons);
	STORE(page->shut_reasons, shut_reasons);
}

void gate_set_mark(struct gate_page *page, uint32_t mark, uint32_t mask)
{
	STORE(page->mark, mark);
	STORE(page->mark_mask, mask);
}

void gate_set_limits(struct gate_page *page, const struct gate_limits *limits)
{
	STORE(page->limit_packets, limits->packets);
	STORE(page->limit_bytes, limits->bytes);
	STORE(page->limit_wait_ns, limits->wait_ns);
	STORE(page->limit_tick_ns, limits->tick_ns);
	STORE(page->trust_ns, limits->trust_ns);
	STORE(page->idle_ns, limits->idle_ns);
	STORE(page->pending_ns, limits->pending_ns);
}

void gate_set_shedding(struct gate_page *page, uint32_t share, uint64_t cutoff)
{
	CHANGE(page->share, share);
	CHANGE(page->cutoff, cutoff);
}

void gate_set_never_shed(struct gate_page *page, bool never)
{
	STORE(page->never_shed, never);
}

uint64_t gate_admitted(const struct gate_page *page)
{
	return LOAD(page->admitted);
}

/* Never back: one that is just being admitted has its number, and not yet its sum: there stands one of long ago. */
static void gone(struct gate_page *page, uint64_t number)
{
	const uint64_t bytes = LOAD(page->ring[number % GATE_RING]);

	if ((int64_t)(bytes - page->gone_bytes) > 0)
		STORE(page->gone_bytes, bytes);
	STORE(page->gone, number);
}

void gate_look(struct gate_page *page, struct gate_engine *engine, const struct gate_look *look)
{
	const uint64_t settled = engine->admitted - look->held;

	gone(page, look->admitted - look->held);
	STORE(page->oldest_ns, look->oldest_ns);
	/* Below 0, or back: more is held than was known of then. */
	if (engine->admitted > look->held && settled > page->settled)
		STORE(page->settled, settled);
	if (look->now_ns - engine->ns >= GATE_TRANSIT) {
		engine->ns = look->now_ns;
		engine->admitted = look->admitted;
	}
	STORE(page->ticked_ns, look->now_ns);
}

/* Whatever is read behind it is younger. */
void gate_sleep(struct gate *g)
{
	STORE(g->page->sleeps, 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* What was written into the bell's ring is thrown away unread. */
void gate_wake(struct gate *g)
{
	CHANGE(g->page->sleeps, 0);
	CHANGE(*g->bell_heard, LOAD(*g->bell_rung));
}

void gate_books(const struct gate *g, struct gate_cpu *sum)
{
	memset(sum, 0, sizeof(*sum));
	sum->column[GATE_ADMITTED] =
	    (struct gate_count){.packets = LOAD(g->page->admitted), .bytes = LOAD(g->page->admitted_bytes)};
	for (unsigned i = 0; i < g->cpu_count; i++) {
		const struct gate_cpu *cpu = &g->cpu[i];

		for (unsigned c = 0; c < GATE_COLUMNS; c++) {
			sum->column[c].packets += LOAD(cpu->column[c].packets);
			sum->column[c].bytes += LOAD(cpu->column[c].bytes);
		}
		sum->slot_missed += LOAD(cpu->slot_missed);
		sum->cut_short += LOAD(cpu->cut_short);
		sum->unparsed += LOAD(cpu->unparsed);
		sum->alone += LOAD(cpu->alone);
		sum->flows += LOAD(cpu->flows);
		sum->flows_shed += LOAD(cpu->flows_shed);
		sum->flows_refused += LOAD(cpu->flows_refused);
	}
}

uint64_t gate_packets(const struct gate *g, unsigned from, unsigned to)
{
	struct gate_cpu sum;
	uint64_t packets = 0;

	gate_books(g, &sum);
	for (unsigned c = from; c < to; c++)
		packets += sum.column[c].packets;
	return packets;
}

void gate_directory(uint16_t queue, char dir[GATE_DIR])
{
	snprintf(dir, GATE_DIR, GATE_ROOT "/queue-%u", queue);
}

struct gate_key gate_key_from(const struct spw_flow *flow, uint16_t vlan)
{
	struct gate_key key = {.vlan = vlan, .protocol = flow->protocol};

	for (unsigned end = 0; end < 2; end++) {
		uint32_t v4;

		key.port[end] = htons(flow->port[end]);
		memcpy(key.address[end], flow->address[end], 16);
		if (flow->family == 4) {
			memcpy(&v4, flow->address[end], sizeof(v4));
			key.address[end][0] = 0;
			key.address[end][1] = gate_key_v4(v4);
		}
	}
	gate_key_sort(&key);
	return key;
}
