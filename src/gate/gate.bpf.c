/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate: decides on each packet, by its flow and by what waits, whether it is queued at all, and books it. One
 * decision, three ways in: `pass` and `shut` for iptables' rules, `gate_tc` for tc. It reads headers and the page;
 * it changes its tables, its half of the page, and at tc the mark. See docs/gate.md.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "gate/layout.h"
#include "gate/parse.bpf.h"

#define READ(field)         (*(const volatile typeof(field) *)&(field))
#define WRITE(field, value) (*(volatile typeof(field) *)&(field) = (value))
#define WHOLE_CLASS         2u /* gate_slot.direction: decided without a look at the packet */

const char gate_license[] SEC("license") = "GPL";

/* The only variable in .bss, so that the section is the page. */
struct gate_page page;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* the loader: CPUs */
	__type(key, uint32_t);
	__type(value, struct gate_cpu);
} cpus SEC(".maps");

/* A new flow begins in `oneway` and moves on when the other end answers: a flood of senders evicts only its like. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* the loader: as it was told */
	__type(key, struct gate_key);
	__type(value, struct gate_flow);
} oneway SEC(".maps"), twoway SEC(".maps");

/* Readable where something was admitted while the engine slept; what is written there means nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1); /* the loader: a page */
} bell SEC(".maps");

/* This CPU's row. A softirq may interrupt its owner: so it is added to atomically. */
static __always_inline struct gate_cpu *cpu_row(void)
{
	uint32_t number = bpf_get_smp_processor_id();
	struct gate_cpu *cpu = bpf_map_lookup_elem(&cpus, &number);

	if (cpu)
		return cpu;
	number = 0;
	return bpf_map_lookup_elem(&cpus, &number);
}

/* What is not admitted. */
static __always_inline void book(struct gate_cpu *cpu, uint32_t column, uint32_t length)
{
	if (column >= GATE_COLUMNS)
		return;
	__sync_fetch_and_add(&cpu->column[column].packets, 1);
	__sync_fetch_and_add(&cpu->column[column].bytes, length);
}

static __always_inline bool shut_for(uint32_t reason)
{
	return READ(page.shut_reasons) >> reason & 1;
}

static __always_inline bool older(uint64_t now, uint64_t then, uint64_t limit)
{
	return (int64_t)(now - then) > (int64_t)limit;
}

/* What holds for the whole class: a column, or GATE_ADMITTED where it is for flow and limits to say. */
static __always_inline uint32_t whole_class(uint64_t *now)
{
	const uint32_t mode = READ(page.mode), reason = mode >> 8 & 7;
	uint64_t limit;

	if ((mode & 0xff) == GATE_MODE_SPILL)
		return GATE_SPILLED_BY + reason;
	*now = bpf_ktime_get_coarse_ns();
	if ((mode & 0xff) == GATE_MODE_SHUT)
		return GATE_SHUT_BY + reason;
	limit = READ(page.limit_tick_ns);
	if (limit && older(*now, READ(page.ticked_ns), limit))
		return (shut_for(REASON_DOWN) ? GATE_SHUT_BY : GATE_SPILLED_BY) + REASON_DOWN;
	return GATE_ADMITTED;
}

/* In flight: `times` the limit of packets or bytes, or more. */
static __always_inline bool full(uint32_t times)
{
	const uint64_t packets = READ(page.limit_packets), bytes = READ(page.limit_bytes);
	const int64_t held = (int64_t)(READ(page.admitted) - READ(page.gone));

	if (held <= 0)
		return false;
	if (packets && (uint64_t)held >= packets * times)
		return true;
	if (!bytes)
		return false;
	/* From GATE_RING on: more than the kernel's queue can hold, and than the ring knows. */
	return held >= (int64_t)GATE_RING ||
	       (int64_t)(READ(page.admitted_bytes) - READ(page.gone_bytes)) >= (int64_t)(bytes * times);
}

/* As of the engine's last look: while nobody looks, nobody knows what waits, and a flow is given up for good. */
static __always_inline bool late(void)
{
	const uint64_t oldest = READ(page.oldest_ns), limit = READ(page.limit_wait_ns);

	return oldest && limit && older(READ(page.ticked_ns), oldest, limit);
}

static __noinline int ring_bell(void)
{
	uint64_t nothing = 0;

	WRITE(page.sleeps, 0);
	return (int)bpf_ringbuf_output(&bell, &nothing, sizeof(nothing), BPF_RB_FORCE_WAKEUP);
}

/*
 * Numbers the packet, and thereby books it. The flow's number is written before the packet is on its way, so it never
 * lags behind.
 */
static __always_inline uint64_t admit(uint32_t length)
{
	const uint64_t number = __sync_fetch_and_add(&page.admitted, 1) + 1;
	const uint64_t bytes = __sync_fetch_and_add(&page.admitted_bytes, length) + length;

	WRITE(page.ring[number % GATE_RING], bytes);
	/* Behind the count, which orders: an engine that falls asleep looks at that afterwards. */
	if (READ(page.sleeps))
		ring_bell();
	return number;
}

/* The same for a flow each time, and not to be foreseen by who doesn't know the seed. */
static __always_inline uint32_t draw(const struct gate_key *key)
{
	uint64_t word[5], hash = READ(page.seed);

	__builtin_memcpy(word, key, sizeof(word));
	for (uint32_t i = 0; i < 5; i++) {
		hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
	}
	return hash % GATE_ALL;
}

static __always_inline uint8_t leaving(uint32_t reason)
{
	return shut_for(reason) ? GATE_FLOW_SHUT : GATE_FLOW_SPILLED;
}

/* No CPU goes by what it remembers of a flow that passed. What came before is seen before: only an addition whose
 * result is used orders on every machine. */
static __always_inline void note_turned(void)
{
	const uint32_t before = __sync_fetch_and_add(&page.turned, 1);

	asm volatile("" : : "r"(before));
}

static __always_inline void become(struct gate_flow *f, uint8_t state, uint8_t reason, uint64_t now,
				   struct gate_cpu *cpu)
{
	const bool passed = f->state == GATE_FLOW_TRUSTED || f->state == GATE_FLOW_SPILLED;

	f->pending = 0;
	f->state = state;
	f->reason = reason;
	f->since_ns = now;
	if (passed)
		note_turned();
	if (state > GATE_FLOW_TRUSTED && reason == REASON_LOAD)
		__sync_fetch_and_add(&cpu->flows_shed, 1);
}

/*
 * What a new flow is. A TCP connection whose beginning was not seen is not shed at random: it was there before.
 */
static __noinline void start(struct gate_flow *f, const struct packet *p, uint64_t now, struct gate_cpu *cpu)
{
	const bool established = p->key.protocol == 6 && (p->tcp & (TCP_SYN | TCP_ACK)) != TCP_SYN;
	uint32_t share = READ(page.share), reason;

	__sync_fetch_and_add(&cpu->flows, 1);
	if (full(1))
		reason = REASON_FULL;
	else if (late())
		reason = REASON_LATE;
	else if (share < GATE_ALL && !established && !READ(page.never_shed) && draw(&p->key) >= share)
		reason = REASON_LOAD;
	else
		return become(f, GATE_FLOW_INSPECT, 0, now, cpu);
	if (reason == REASON_LOAD)
		__sync_fetch_and_add(&cpu->flows_refused, 1);
	become(f, leaving(reason), reason, now, cpu);
}

static __always_inline uint32_t column_of(const struct gate_flow *f, uint32_t closed)
{
	const uint32_t reason = f->reason & 7;

	switch (f->state) {
	case GATE_FLOW_TRUSTED:
		return GATE_TRUSTED;
	case GATE_FLOW_SPILLED:
		return closed ? closed : GATE_SPILLED_BY + reason;
	case GATE_FLOW_SHUT:
		return GATE_SHUT_BY + reason;
	default:
		return closed;
	}
}

/* The flow, with the table that it stands in. */
static __always_inline struct gate_flow *find(const struct gate_key *key, bool *answered)
{
	struct gate_flow *f = bpf_map_lookup_elem(&twoway, key);

	*answered = f;
	return f ? f : bpf_map_lookup_elem(&oneway, key);
}

/* The same, first in the table where this CPU's last one stood: where rules show one direction, that is always it. */
static __always_inline struct gate_flow *find_first(const struct gate_key *key, struct gate_cpu *cpu, bool *answered)
{
	struct gate_flow *f;

	if (READ(cpu->oneway_first)) {
		*answered = false;
		f = bpf_map_lookup_elem(&oneway, key);
		if (f)
			return f;
		f = bpf_map_lookup_elem(&twoway, key);
		*answered = f;
		if (f)
			WRITE(cpu->oneway_first, 0);
		return f;
	}
	f = find(key, answered);
	if (f && !*answered)
		WRITE(cpu->oneway_first, 1);
	return f;
}

static __always_inline void count_in(struct gate_flow *f, const struct packet *p, uint32_t column, uint64_t number)
{
	if (column == GATE_ADMITTED) {
		f->queued++;
		f->queued_bytes += p->length;
		f->last_admitted = number;
		return;
	}
	f->passed++;
	f->passed_bytes += p->length;
}

static __always_inline bool same_key(const struct gate_key *a, const struct gate_key *b)
{
	uint64_t one[5], other[5], differ = 0;

	__builtin_memcpy(one, a, sizeof(one));
	__builtin_memcpy(other, b, sizeof(other));
	for (uint32_t i = 0; i < 5; i++)
		differ |= one[i] ^ other[i];
	return !differ;
}

/* What the memo has counted goes to its flow, if that is still there. `f`: the flow of `key`. */
static __always_inline void settle_memo(struct gate_memo *m, const struct gate_key *key, struct gate_flow *f)
{
	const uint64_t packets = m->packets, bytes = m->bytes;
	struct gate_key its;
	bool answered;

	if (!packets)
		return;
	m->packets = 0;
	m->bytes = 0;
	if (!same_key(&m->key, key)) {
		__builtin_memcpy(&its, &m->key, sizeof(its));
		f = find(&its, &answered);
	}
	if (!f)
		return;
	f->passed += packets;
	f->passed_bytes += bytes;
}

/* ::1 and ::10.0.0.1 are none, and of other flows. */
static __always_inline bool is_v4(const uint64_t *address)
{
	return !address[0] && address[1] == gate_key_v4(gate_key_network(address[1]));
}

/*
 * This CPU's next packets of the flow need no look at it, see recall(). TCP and UDP over IPv4. Not static, as parse().
 */
__noinline int remember(struct gate_flow *f, const struct packet *p, uint64_t now, uint32_t column,
			struct gate_cpu *cpu)
{
	struct gate_memo *m;
	uint32_t sequence, turned;
	const struct gate_key *key;

	if (!f || !p || !cpu) /* for the verifier */
		return 0;
	key = &p->key;
	if (!is_v4(key->address[0]) || !is_v4(key->address[1]) || (key->protocol != 6 && key->protocol != 17))
		return 0;
	m = &cpu->memo;
	/* Whoever changes the flow does that before he counts it there: so this is read first. */
	turned = READ(page.turned);
	/* Whoever interrupts one that writes here goes without. */
	sequence = READ(m->sequence);
	if (sequence & 1 || __sync_val_compare_and_swap(&m->sequence, sequence, sequence + 1) != sequence)
		return 0;
	settle_memo(m, key, f);
	m->now_ns = column_of(f, GATE_ADMITTED) == column ? now : 0;
	m->turned = turned;
	m->column = column;
	m->address[0] = gate_key_network(key->address[p->direction ? 1 : 0][1]);
	m->address[1] = gate_key_network(key->address[p->direction ? 0 : 1][1]);
	m->ports =
	    p->direction ? key->port[1] | (uint32_t)key->port[0] << 16 : key->port[0] | (uint32_t)key->port[1] << 16;
	m->vlan = key->vlan;
	m->protocol = key->protocol;
	__builtin_memcpy(&m->key, key, sizeof(m->key));
	barrier();
	WRITE(m->sequence, sequence + 2);
	return 0;
}

/*
 * The column of a packet that belongs to the memo's flow and changes nothing of it; GATE_ADMITTED: it is to be looked
 * up.
 */
static __always_inline uint32_t recall(struct __sk_buff *skb, uint32_t off, const struct packet *p, uint64_t now,
				       struct gate_cpu *cpu)
{
	struct gate_memo *m = &cpu->memo;
	const uint32_t sequence = READ(m->sequence), column = READ(m->column);
	_Alignas(8) uint8_t ip[40];

	if (READ(m->now_ns) != now || READ(m->turned) != READ(page.turned) || sequence & 1)
		return GATE_ADMITTED;
	if (bpf_skb_load_bytes(skb, off, ip, sizeof(ip)))
		return GATE_ADMITTED;
	/* No options, no fragment. */
	if (ip[0] != 0x45 || *(uint16_t *)(ip + 6) & bpf_htons(0x3fff) || ip[9] != READ(m->protocol) ||
	    (ip[9] == 6 && ip[33] & (TCP_FIN | TCP_SYN | TCP_RST)))
		return GATE_ADMITTED;
	if (*(uint32_t *)(ip + 12) != READ(m->address[0]) || *(uint32_t *)(ip + 16) != READ(m->address[1]) ||
	    *(uint32_t *)(ip + 20) != READ(m->ports) || p->key.vlan != READ(m->vlan))
		return GATE_ADMITTED;
	barrier();
	if (READ(m->sequence) != sequence)
		return GATE_ADMITTED;
	m->packets++;
	m->bytes += p->length;
	return column;
}

static __always_inline void note_tcp(struct gate_flow *f, const struct packet *p)
{
	const uint8_t me = 1 << (p->direction & 1);

	if (!(p->tcp & TCP_SYN) && !f->going)
		f->going = 1;
	if (p->tcp & TCP_RST)
		f->finished = 3;
	else if (p->tcp & TCP_FIN)
		f->finished |= me;
}

/* A flow's first packet. */
static __noinline uint32_t first_packet(const struct packet *p, uint64_t now, struct gate_cpu *cpu)
{
	struct gate_flow f = {.last_ns = now, .directions = 1 << (p->direction & 1)};
	uint64_t number = 0;
	uint32_t column;

	if (!cpu) /* for the verifier */
		return GATE_ADMITTED;
	start(&f, p, now, cpu);
	column = column_of(&f, GATE_ADMITTED);
	if (column == GATE_ADMITTED)
		number = admit(p->length);
	if (p->tcp)
		note_tcp(&f, p);
	count_in(&f, p, column, number);
	bpf_map_update_elem(&oneway, &p->key, &f, BPF_ANY);
	return column;
}

/* The other end has answered. */
static __noinline struct gate_flow *answered_now(const struct packet *p, struct gate_flow *f)
{
	struct gate_flow copy, *moved;

	if (!f) /* for the verifier */
		return f;
	__builtin_memcpy(&copy, f, sizeof(copy));
	/* One that stands there is the elder: this one was begun by somebody who looked while that was moving. */
	bpf_map_update_elem(&twoway, &p->key, &copy, BPF_NOEXIST);
	moved = bpf_map_lookup_elem(&twoway, &p->key);
	if (!moved)
		return f;
	bpf_map_delete_elem(&oneway, &p->key);
	return moved;
}

/* Silent for long, or its tuple is used again. What was shut stays so until it is silent. */
static __always_inline bool is_over(const struct gate_flow *f, const struct packet *p, uint64_t now)
{
	const uint64_t idle = READ(page.idle_ns);

	if (idle && older(now, f->last_ns, idle))
		return true;
	return f->state != GATE_FLOW_SHUT && (p->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	       (f->going || f->finished == 3);
}

static __noinline void start_again(struct gate_flow *f, const struct packet *p, uint64_t now, struct gate_cpu *cpu)
{
	f->queued = 0;
	f->queued_bytes = 0;
	f->passed = 0;
	f->passed_bytes = 0;
	f->directions = 1 << (p->direction & 1);
	f->finished = 0;
	f->going = 0;
	if (same_key(&cpu->memo.key, &p->key)) {
		cpu->memo.packets = 0;
		cpu->memo.bytes = 0;
	}
	start(f, p, now, cpu);
}

static __always_inline void ask(struct gate_flow *f, uint32_t reason, uint64_t now)
{
	f->asked_ns = now;
	f->pending_reason = reason;
	f->pending = leaving(reason);
}

/* Carries out what is pending, as soon as nothing can be overtaken, or can't be helped. */
static __noinline void carry_out(struct gate_flow *f, uint64_t now, bool must, struct gate_cpu *cpu)
{
	if (f->pending != GATE_FLOW_SHUT && (int64_t)(f->last_admitted - READ(page.settled)) > 0) {
		if (!must && !older(now, f->asked_ns, READ(page.pending_ns)))
			return;
		__sync_fetch_and_add(&cpu->cut_short, 1);
	}
	become(f, f->pending, f->pending_reason, now, cpu);
}

/* Where a limit or load says that a flow under inspection has to leave. */
static __always_inline void review(struct gate_flow *f, uint64_t now, struct gate_cpu *cpu)
{
	const uint64_t cutoff = READ(page.cutoff);
	const bool must = full(2);

	if (must)
		ask(f, REASON_FULL, now);
	else if (!f->pending && late())
		ask(f, REASON_LATE, now);
	else if (!f->pending && cutoff && f->queued_bytes >= cutoff && !READ(page.never_shed))
		ask(f, REASON_LOAD, now);
	if (f->pending)
		carry_out(f, now, must, cpu);
}

/* A packet of a flow that is known. Not static, as parse(). */
__noinline int known(struct gate_flow *f, const struct packet *p, uint64_t now, uint32_t closed, struct gate_cpu *cpu)
{
	uint64_t number = 0;
	uint32_t column;

	if (!f || !p || !cpu) /* for the verifier */
		return GATE_ADMITTED;
	if (is_over(f, p, now))
		start_again(f, p, now, cpu);
	else if (f->state == GATE_FLOW_TRUSTED && older(now, f->since_ns, READ(page.trust_ns)))
		become(f, GATE_FLOW_INSPECT, 0, now, cpu);
	if (f->state == GATE_FLOW_INSPECT && !closed)
		review(f, now, cpu);
	else if (f->pending)
		carry_out(f, now, false, cpu);
	f->last_ns = now;
	column = column_of(f, closed);
	if (column == GATE_ADMITTED)
		number = admit(p->length);
	count_in(f, p, column, number);
	if (p->tcp) {
		note_tcp(f, p);
		if (f->finished == 3 && f->state == GATE_FLOW_TRUSTED)
			become(f, GATE_FLOW_INSPECT, 0, now, cpu);
	}
	if (f->state != GATE_FLOW_INSPECT && !f->pending && !closed && column < GATE_SHUT_BY)
		remember(f, p, now, column, cpu);
	return column;
}

/* A packet of no flow: it is admitted unless a limit forbids. */
static __always_inline uint32_t stray(uint32_t length, uint32_t closed)
{
	uint32_t reason;

	if (closed)
		return closed;
	if (full(1)) {
		reason = REASON_FULL;
	} else if (late()) {
		reason = REASON_LATE;
	} else {
		admit(length);
		return GATE_ADMITTED;
	}
	return (shut_for(reason) ? GATE_SHUT_BY : GATE_SPILLED_BY) + reason;
}

/* An ICMP error goes the way of the flow that it is about, and leaves that one as it is. False: no such flow. */
static __noinline int about_flow(struct __sk_buff *skb, const struct packet *p, uint32_t closed, uint32_t *column)
{
	struct packet inner = {.key = {.vlan = p->key.vlan}};
	struct gate_flow *f;
	bool answered;

	if (parse(skb, p->inner, &inner))
		return false;
	f = find(&inner.key, &answered);
	if (!f)
		return false;
	*column = column_of(f, closed);
	return true;
}

static __always_inline void note(struct gate_cpu *cpu, const struct packet *p, uint16_t direction, uint32_t column)
{
	struct gate_slot *slot = &cpu->slot;

	/* In this order: whoever interrupts leaves a slot that fits nobody, or one that is his. */
	WRITE(slot->column, GATE_COLUMNS);
	if (direction != WHOLE_CLASS) {
		__builtin_memcpy(&slot->key, &p->key, sizeof(slot->key));
		slot->first = p->first;
	}
	slot->length = p->length;
	slot->direction = direction;
	barrier();
	WRITE(slot->column, (uint16_t)column);
}

static __always_inline uint32_t by_flow(struct __sk_buff *skb, struct packet *p, uint32_t off, uint64_t now,
					uint32_t closed, struct gate_cpu *cpu)
{
	struct gate_flow *f;
	bool answered;
	uint32_t column;

	if (parse(skb, off, p)) {
		__sync_fetch_and_add(&cpu->unparsed, 1);
		return stray(p->length, closed);
	}
	if (p->alone)
		__sync_fetch_and_add(&cpu->alone, 1);
	if (p->inner && about_flow(skb, p, closed, &column))
		return column == GATE_ADMITTED ? stray(p->length, closed) : column;
	f = find_first(&p->key, cpu, &answered);
	if (!f)
		return closed ? closed : first_packet(p, now, cpu);
	if (!answered && !(f->directions & 1 << (p->direction & 1))) {
		f->directions = 3;
		f = answered_now(p, f);
		if (!f)
			return stray(p->length, closed);
	}
	return known(f, p, now, closed, cpu);
}

/* It goes on, uninspected. */
static __always_inline bool passes(uint32_t column)
{
	return column != GATE_ADMITTED && column < GATE_SHUT_BY;
}

/* Decides, books and notes a packet whose network header is at `off`. Returns its column. */
static __always_inline uint32_t decide(struct __sk_buff *skb, uint32_t off, uint16_t vlan)
{
	struct packet p = {.key = {.vlan = vlan}, .length = skb->len - off};
	struct gate_cpu *cpu = cpu_row();
	uint16_t direction = WHOLE_CLASS;
	uint64_t now = 0;
	uint32_t column = whole_class(&now);

	if (!cpu)
		return GATE_ADMITTED;
	if (column == GATE_ADMITTED)
		column = recall(skb, off, &p, now, cpu);
	/* Whoever is trusted needs no inspector: only a shut by hand is for all. */
	if (column == GATE_ADMITTED || (column >= GATE_SHUT_BY && column != GATE_SHUT_BY + REASON_MANUAL)) {
		column = by_flow(skb, &p, off, now, column, cpu);
		direction = p.direction;
	}
	if (column != GATE_ADMITTED)
		book(cpu, column, p.length);
	/* The second rule sees what does not go on. */
	if (READ(page.shuts) && !passes(column))
		note(cpu, &p, direction, column);
	return column;
}

/* VLAN of a packet whose tag the card or the kernel has taken off. */
static __always_inline uint16_t vlan_of(const struct __sk_buff *skb)
{
	return skb->vlan_present ? skb->vlan_tci & 0xfff : 0;
}

/* iptables -m bpf: matches what goes on. */
SEC("socket")
int pass(struct __sk_buff *skb)
{
	return passes(decide(skb, 0, vlan_of(skb)));
}

/*
 * Whether a packet that does not go on is dropped, where the slot does not know it. Where nobody can tell it is queued:
 * who is inspected has not slipped by.
 */
static __noinline int shut_by_state(const struct packet *p)
{
	const struct gate_flow *f;
	uint64_t now;
	bool answered;

	if (whole_class(&now) >= GATE_SHUT_BY)
		return true;
	f = find(&p->key, &answered);
	return f && f->state == GATE_FLOW_SHUT;
}

static __always_inline bool is_noted(const struct gate_slot *slot, const struct packet *p)
{
	return same_key(&slot->key, &p->key) && slot->first == p->first && slot->length == p->length &&
	       slot->direction == p->direction;
}

/* iptables -m bpf, behind the rule above, which takes what goes on: matches what is to be dropped. The rest is queued.
 */
SEC("socket")
int shut(struct __sk_buff *skb)
{
	struct packet p = {.key = {.vlan = vlan_of(skb)}, .length = skb->len};
	const struct gate_slot *slot;
	struct gate_cpu *cpu;

	if (!READ(page.shuts))
		return 0;
	cpu = cpu_row();
	if (!cpu)
		return 0;
	slot = &cpu->slot;
	if (slot->direction == WHOLE_CLASS && slot->length == p.length && slot->column < GATE_COLUMNS)
		return slot->column >= GATE_SHUT_BY;
	/* Also where it can't be read: so it was noted. */
	parse(skb, 0, &p);
	if (slot->column < GATE_COLUMNS && is_noted(slot, &p))
		return slot->column >= GATE_SHUT_BY;
	__sync_fetch_and_add(&cpu->slot_missed, 1);
	return shut_by_state(&p);
}

/*
 * Where the network header begins at tc, with the VLAN: behind Ethernet and a tag that is still inside, or at once on a
 * device that has no such header. -1: this is no IP packet.
 */
static __always_inline int network_header(struct __sk_buff *skb, uint16_t *vlan)
{
	uint8_t bytes[18] __attribute__((aligned(2)));
	uint8_t version;
	uint16_t type;

	if (!bpf_skb_load_bytes(skb, 0, bytes, sizeof(bytes))) {
		type = *(uint16_t *)(bytes + 12);
		if (type == bpf_htons(0x8100) || type == bpf_htons(0x88a8)) {
			*vlan = get16(bytes + 14) & 0xfff;
			type = *(uint16_t *)(bytes + 16);
			return type == bpf_htons(0x0800) || type == bpf_htons(0x86dd) ? 18 : -1;
		}
		if (type == skb->protocol)
			return type == bpf_htons(0x0800) || type == bpf_htons(0x86dd) ? 14 : -1;
	}
	if (bpf_skb_load_bytes(skb, 0, &version, 1))
		return -1;
	if ((skb->protocol == bpf_htons(0x0800) && version >> 4 == 4) ||
	    (skb->protocol == bpf_htons(0x86dd) && version >> 4 == 6))
		return 0;
	return -1;
}

/* The verifier wants the field's offset in the store itself, which the compiler doesn't always do. */
static __always_inline void set_mark(struct __sk_buff *skb, uint32_t mark)
{
	asm volatile("*(u32 *)(%0 + %1) = %2"
		     :
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, mark)), "r"(mark)
		     : "memory");
}

/* tc ingress: what is admitted carries the mark, what is shut goes no further, whoever is behind has the rest. */
SEC("tc")
int gate_tc(struct __sk_buff *skb)
{
	const uint32_t mask = READ(page.mark_mask);
	uint16_t vlan = vlan_of(skb);
	const int off = network_header(skb, &vlan);
	uint32_t column;

	if (off < 0)
		return TC_ACT_UNSPEC;
	column = decide(skb, (uint32_t)off, vlan);
	if (column >= GATE_SHUT_BY)
		return TC_ACT_SHOT;
	if (mask)
		set_mark(skb, (skb->mark & ~mask) | (column == GATE_ADMITTED ? READ(page.mark) & mask : 0));
	return TC_ACT_UNSPEC;
}

/* Called by user space: what is to become of a flow. In the kernel, so that no count made meanwhile is lost. */
SEC("syscall")
int tell(struct gate_ask *in)
{
	struct gate_cpu *cpu = cpu_row();
	const uint64_t now = bpf_ktime_get_ns();
	struct gate_key key = in->key;
	const uint32_t state = in->state, reason = in->reason;
	struct gate_flow fresh = {.since_ns = now, .last_ns = now};
	struct gate_flow *f;
	bool answered;

	if (!cpu || state >= GATE_FLOW_STATES || reason >= REASONS)
		return -22; /* EINVAL */
	f = find(&key, &answered);
	if (!f && state == GATE_FLOW_INSPECT)
		return 0;
	/* Part of it went uninspected: an end of trust must not bring it back. */
	if (f && state == GATE_FLOW_TRUSTED && f->state >= GATE_FLOW_SPILLED)
		return 0;
	if (!f) {
		/* Nobody knows what is held of it: all that is admitted by now counts as its own. */
		fresh.last_admitted = READ(page.admitted);
		f = &fresh;
	}
	if (state == GATE_FLOW_INSPECT || state == GATE_FLOW_SHUT) {
		become(f, state, reason, now, cpu);
	} else {
		f->asked_ns = now;
		f->pending_reason = reason;
		WRITE(f->pending, state);
	}
	return f == &fresh ? bpf_map_update_elem(&oneway, &key, &fresh, BPF_ANY) : 0;
}
