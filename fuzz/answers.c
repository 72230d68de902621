/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target: any answers, true and false, into the pure core, beside arrivals, looks, time, deaths and policies.
 * The kernel is a small honest one that holds packets until an order lets them go. After each step every packet stands
 * in exactly one column, a lie has changed nothing, and the kernel holds nothing that is settled.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <spillway/packet.h>

#include "lane/lane.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLASSES 2u
#define HELD    32768u /* ids that a class can hold, a power of two */
#define MOST    20000u /* unsettled ids: arrivals pause there */
#define MS      1000000ull

/* What the kernel knows of a queue. */
struct kernel {
	uint64_t ids, oldest; /* the last one assigned; none below `oldest` is held */
	uint32_t held, queue_dropped, user_dropped, socket_drops;
	uint64_t came; /* to the rule's counter */
	bool waits[HELD];
	bool passes, shut; /* length 0: all goes by, or is dropped */
	bool fail_open;
	uint32_t length;
};

struct input {
	const uint8_t *at, *end;
};

static struct kernel kernel[CLASSES];
static struct lane lane;
static struct lane_early slots[CLASSES][CHANNEL_WINDOW];
static struct lane_early *const early[CLASSES] = {slots[0], slots[1]};
static struct lane_orders orders;
static uint64_t now, sequence, settled[CLASSES];
static bool counted; /* a counter stood there before the first packet */

static uint8_t byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint32_t word(struct input *in)
{
	return (uint32_t)byte(in) | (uint32_t)byte(in) << 8;
}

/* The kernel */

static void arrive(struct kernel *k, bool fits)
{
	k->came++;
	if (k->held >= k->length || k->passes || k->shut) {
		if (k->shut || (!k->passes && !k->fail_open))
			k->queue_dropped++;
		return;
	}
	k->ids++;
	if (fits) {
		k->waits[k->ids % HELD] = true;
		k->held++;
		return;
	}
	k->socket_drops++;
	k->user_dropped += !k->fail_open;
}

/* `pattern`: which of them find no room in the socket. */
static void arrivals(unsigned class, unsigned n, uint8_t pattern)
{
	struct kernel *k = &kernel[class];

	for (unsigned i = 0; i < n && k->ids - lane.class[class].settled < MOST; i++)
		arrive(k, !(pattern >> i % 8 & 1));
}

static void let_go(struct kernel *k, uint64_t id)
{
	k->held -= k->waits[id % HELD];
	k->waits[id % HELD] = false;
}

static void let_go_until(struct kernel *k, uint64_t last)
{
	for (; k->oldest <= last && k->oldest <= k->ids; k->oldest++)
		let_go(k, k->oldest);
}

static void carry_out(const struct lane_order *o)
{
	struct kernel *k = &kernel[o->class];
	uint64_t id = lane_widen(k->ids, o->id);

	switch (o->kind) {
	case ORDER_BATCH:
		assert(o->verdict == SPW_ACCEPT || o->verdict == SPW_DROP);
		assert(id <= k->ids || k->passes || k->shut);
		let_go_until(k, id);
		break;
	case ORDER_ONE:
		assert(id && id <= k->ids);
		assert(!(o->set & SPW_VERDICT_PAYLOAD) || o->payload < CHANNEL_PAYLOADS);
		let_go(k, id);
		break;
	default:
		k->passes = o->kind == ORDER_OPEN;
		k->shut = o->kind == ORDER_SHUT;
	}
}

static struct lane_sample sample(unsigned class)
{
	const struct kernel *k = &kernel[class];

	return (struct lane_sample){.ids = (uint32_t)k->ids,
				    .held = k->held,
				    .queue_dropped = k->queue_dropped,
				    .user_dropped = k->user_dropped,
				    .socket_drops = k->socket_drops};
}

static void look(unsigned class, bool coherent, bool pressed)
{
	struct lane_sample s = sample(class);

	s.coherent = coherent;
	s.pressed = pressed;
	lane_sample(&lane.class[class], &s, now);
}

/* What must hold at any time */

static uint64_t columns(const struct lane_class *c)
{
	uint64_t sum = lane_held(c) + lane_inspected(c) + c->books.trusted + c->books.lost + lane_unreconciled(c);

	for (int r = 0; r < REASONS; r++)
		sum += c->books.spilled[r] + c->books.shut[r];
	return sum;
}

static void check_class(unsigned i)
{
	const struct lane_class *c = &lane.class[i];

	assert(columns(c) == lane_seen(c));
	assert(c->state < STATES && c->settled <= c->ids && c->answered <= c->ids);
	assert(c->settled >= settled[i]);
	settled[i] = c->settled;
	assert(lane_seen(c) <= kernel[i].came);
	for (; kernel[i].oldest <= c->settled; kernel[i].oldest++)
		assert(!kernel[i].waits[kernel[i].oldest % HELD]);
}

/* Packets arrive between the decision and the kernel's hearing of it, too. */
static void check(struct input *in)
{
	assert(orders.count <= LANE_ORDERS && orders.payloads <= LANE_PAYLOADS);
	if (orders.count)
		arrivals(byte(in) % CLASSES, byte(in) % 4, byte(in));
	for (unsigned i = 0; i < orders.count; i++)
		carry_out(&orders.order[i]);
	orders.count = orders.payloads = 0;
	for (unsigned i = 0; i < CLASSES; i++)
		check_class(i);
}

/* Steps */

/*
 * Ids that were held and are left out by an answer that was taken: where the socket has dropped as many, nothing tells
 * them from those. The next batch verdict lets them go.
 */
static void forget_left_out(unsigned class, uint64_t first)
{
	struct kernel *k = &kernel[class];

	for (uint64_t id = k->oldest; id < first; id++)
		if (early[class][id % CHANNEL_WINDOW].id != id)
			let_go(k, id);
}

/* What has its turn already goes first, whatever the answer is. */
static bool others_turn(const struct channel_answer *a)
{
	const struct lane_class *c = &lane.class[a->class % CLASSES];
	uint64_t next = c->settled + 1;

	return c->due >= next || early[a->class % CLASSES][next % CHANNEL_WINDOW].id == next;
}

static bool unchanged(struct lane *before)
{
	for (unsigned i = 0; i < CLASSES; i++)
		before->class[i].told = lane.class[i].told;
	return !orders.count && !memcmp(before, &lane, sizeof(lane));
}

static void answer(const struct channel_answer *a)
{
	static struct lane before;
	bool settles = others_turn(a);
	enum lane_result r;

	memcpy(&before, &lane, sizeof(lane));
	r = lane_answer(&lane, early, a, sequence, &orders);
	assert(r < ANSWER_RESULTS);
	sequence += r < ANSWER_LATER;
	assert(r <= ANSWER_LATER || settles || unchanged(&before));
	if (r == ANSWER_TAKEN && !a->early)
		forget_left_out(a->class, lane_widen(lane.class[a->class].ids, a->first));
}

static void any_answer(struct input *in)
{
	struct channel_answer a = {0};
	uint8_t *bytes = (uint8_t *)&a;

	for (size_t i = 0; i < sizeof(a); i++)
		bytes[i] = byte(in);
	answer(&a);
}

/* One that is nearly right. */
static void likely_answer(struct input *in)
{
	static const uint32_t verdicts[] = {SPW_ACCEPT, SPW_DROP,      SPW_QUEUE,        SPW_REPEAT,
					    SPW_ACCEPT, CHANNEL_STALE, CHANNEL_POISONED, 3};
	struct channel_answer a = {.class = byte(in) % (CLASSES + 1)};
	uint8_t what = byte(in);
	const struct lane_class *c = &lane.class[a.class % CLASSES];
	uint64_t from = what & 8 ? c->answered : c->settled;

	a.verdict = verdicts[what & 7];
	a.first = (uint32_t)from + 1 + byte(in) % 4 + (what & 16 ? word(in) : 0);
	a.last = a.first + (what & 32 ? word(in) : 0);
	a.early = what >> 6 == 1;
	a.set = what >> 6 == 2 ? byte(in) & 0x67 : what >> 6 == 3 ? CHANNEL_TRUSTED : 0;
	a.payload = byte(in) % (CHANNEL_PAYLOADS + 1);
	a.payload_len = word(in);
	answer(&a);
}

static void tick(struct input *in)
{
	now += byte(in) * MS;
	for (int i = 0; i < 4 && lane_tick(&lane, early, now, &orders); i++)
		check(in);
}

/* It dies, or another one is ready. */
static void change_inspector(struct input *in)
{
	uint64_t unread[CLASSES];

	if (!lane.inspector) {
		lane_inspector_active(&lane, byte(in) + 1u, now);
		sequence = 0;
		return;
	}
	for (unsigned i = 0; i < CLASSES; i++) {
		const struct lane_class *c = &lane.class[i];

		unread[i] = c->settled + 1 + word(in) % (c->ids - c->settled + 1);
	}
	lane_inspector_gone(&lane, unread, byte(in) & 1 ? REASON_DOWN : REASON_HUNG, now);
}

static void switch_policy(struct input *in)
{
	unsigned class = byte(in) % CLASSES;
	struct lane_class *c = &lane.class[class];
	struct kernel *k = &kernel[class];
	struct lane_config config = c->config;
	const struct lane_sample s = sample(class);

	config.fail_open = byte(in) & 1;
	config.length = byte(in) & 1 ? 64 : 60000;
	lane_switch(c, &s, &config, now);
	k->fail_open = !lane_shuts(&config, REASON_FULL);
	k->length = config.length;
}

/* By hand, by the engine's clearing up, by the keeper. */
static void meddle(struct input *in)
{
	unsigned class = byte(in) % CLASSES;
	struct lane_class *c = &lane.class[class];
	uint64_t id = c->settled + 1 + word(in) % (c->ids - c->settled + 1);

	switch (byte(in) % 6) {
	case 0:
		lane_turn(c, REASON_MANUAL);
		break;
	case 1:
		lane_return(c);
		break;
	case 2:
		if (id <= c->ids)
			lane_discarded(c, early[class], id, REASON_LATE);
		break;
	case 3:
		lane_unread(c, id);
		break;
	case 4:
		lane_resume(&lane, now += byte(in) * MS);
		break;
	default:
		lane.busy = !lane.busy;
	}
}

/* The kernel throws away what it holds. */
static void flush(unsigned class)
{
	let_go_until(&kernel[class], kernel[class].ids);
}

/* With a counter from the beginning, nothing is unknown: not a packet may be missing. */
static void read_counter(unsigned class)
{
	const struct kernel *k = &kernel[class];
	struct lane_class *c = &lane.class[class];

	if (!counted)
		return;
	look(class, true, false);
	lane_counted(c, (int64_t)(k->came - k->ids - k->queue_dropped), false);
	assert(!c->books.uncounted && lane_seen(c) == k->came);
}

static void step(struct input *in)
{
	uint8_t what = byte(in), more = what >> 4;

	switch (what % 10) {
	case 0:
	case 1:
		arrivals(more % CLASSES, what & 128 ? word(in) % 2048 : byte(in), byte(in) & byte(in));
		break;
	case 2:
		look(more % CLASSES, more & 2, more & 4);
		break;
	case 3:
	case 4:
		likely_answer(in);
		break;
	case 5:
		any_answer(in);
		break;
	case 6:
		tick(in);
		break;
	case 7:
		more % 4 ? meddle(in) : change_inspector(in);
		break;
	case 8:
		more % 4 ? read_counter(more % CLASSES) : switch_policy(in);
		break;
	default:
		if (more == 1)
			flush(byte(in) % CLASSES);
		else
			look(more % CLASSES, true, false);
	}
	check(in);
}

/* Not from the first id on: so many were inspected before. */
static void begin_late(unsigned i, uint64_t ids)
{
	struct lane_class *c = &lane.class[i];

	c->ids = c->settled = c->answered = c->books.accepted = settled[i] = ids;
	kernel[i].ids = kernel[i].came = ids;
	kernel[i].oldest = ids + 1;
	look(i, true, false);
}

static void begin_class(struct input *in, unsigned i, uint8_t what)
{
	/* The kernel's numbers wrap. */
	static const uint64_t starts[] = {0, UINT32_MAX - 500ull, INT32_MAX - 500ull, 7};
	const struct lane_config config = {.length = what & 16 ? 64 : 60000,
					   .fail_open = what >> (5 + i) & 1,
					   .gso = true,
					   .decided = byte(in),
					   .shut = byte(in),
					   .deadline_ns = byte(in) % 64 * MS,
					   .mark_mask = what & 128 && i,
					   .conntrack = what & 64,
					   .spill_mask = what & 64 && i};

	lane_class_init(&lane.class[i], &config, now);
	kernel[i].fail_open = !lane_shuts(&config, REASON_FULL);
	kernel[i].length = config.length;
	begin_late(i, starts[byte(in) % 4]);
	if (counted)
		lane_counted(&lane.class[i], 0, true);
}

static void begin(struct input *in)
{
	uint8_t what = byte(in);

	memset(&lane, 0, sizeof(lane));
	memset(slots, 0, sizeof(slots));
	memset(kernel, 0, sizeof(kernel));
	orders.count = orders.payloads = 0;
	now = MS;
	sequence = 0;
	counted = what & 1;
	lane.classes = CLASSES;
	lane.breaker = what & 2;
	lane.report_only = what & 4;
	lane.hung_ns = what & 8 ? 500 * MS : 0;
	for (unsigned i = 0; i < CLASSES; i++)
		begin_class(in, i, what);
	lane_inspector_active(&lane, 1, now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};

	begin(&in);
	while (in.at < in.end)
		step(&in);
	return 0;
}
