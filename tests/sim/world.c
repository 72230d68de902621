/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dice, the calls into the kernel's model, and the truth about every id that follows from them. Knows nothing of
 * what the core believes.
 */
#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/packet.h>

/* The dice. */

static uint64_t dice(struct world *w)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t world_below(struct world *w, uint64_t n)
{
	return n ? dice(w) % n : 0;
}

uint64_t world_about(struct world *w, uint64_t mean)
{
	return world_below(w, 2 * mean + 1);
}

bool world_chance(struct world *w, unsigned millionths)
{
	return millionths && world_below(w, MILLION) < millionths;
}

void world_trace(const struct world *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%10.3f ms  ", (double)w->now / (double)MS);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
}

void world_fail(const struct world *w, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fprintf(stderr, "sim: seed %llu, event %llu, %.3f ms: ", (unsigned long long)w->seed,
		(unsigned long long)w->events, (double)w->now / (double)MS);
	vfprintf(stderr, format, args);
	if (w->limit)
		fprintf(stderr, "\nsim: again: sim %llu %llu --trace", (unsigned long long)w->seed,
			(unsigned long long)w->limit);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* The truth. */

struct id_record *world_id(struct world *w, unsigned class, uint64_t id)
{
	struct id_record *r = &w->class[class].id[id % IDS];

	return r->id == id ? r : NULL;
}

/* The oldest id that the kernel still holds; NULL: none. */
static struct id_record *oldest_held(struct world *w, unsigned class)
{
	struct class_world *c = &w->class[class];

	for (; c->out < c->seq; c->out++) {
		struct id_record *r = world_id(w, class, c->out + 1);

		if (r && r->kind == ID_HELD)
			return r;
	}
	return NULL;
}

static bool right_end(const struct world *w, const struct id_record *r, enum kernel_fate fate)
{
	if (r->column == COLUMN_NONE || r->column == POISONED)
		return true;
	return (fate == FATE_VERDICT) == (r->column == DROPPED && !w->plan.report_only);
}

/* A verdict has ended the packet of an id. */
static void settled(struct world *w, unsigned class, struct id_record *r, enum kernel_fate fate)
{
	struct class_world *c = &w->class[class];
	struct truth *t = &c->truth;

	if (!right_end(w, r, fate))
		world_fail(w, "class %u: id %llu was answered, but met another verdict", class,
			   (unsigned long long)r->id);
	r->kind = ID_OUT;
	if (c->round_at >= r->id) {
		TRACE(w, "          class %u: id %llu was overtaken", class, (unsigned long long)r->id);
		t->overtaken++;
	}
	t->column[r->column]++;
	if (r->column != COLUMN_NONE && r->column != POISONED)
		return;
	if (r->column == COLUMN_NONE && !r->payload_gone)
		check_policy(w, class, r);
	if (fate == FATE_VERDICT)
		t->policy_shut++;
	else
		t->policy_spilled++;
}

static void batch_fate(struct world *w, const struct kernel_packet *packet, enum kernel_fate fate)
{
	struct id_record *r = oldest_held(w, w->call_class);

	if (!r || r->number != packet->number)
		world_fail(w, "class %u: packet %llu leaves before its turn, the oldest id is %llu", w->call_class,
			   (unsigned long long)packet->number, (unsigned long long)(r ? r->id : 0));
	/* Its dead inspector took the payload along: by policy, whenever its turn is. */
	if (r->column == MODIFIED && !w->plan.report_only) {
		r->column = COLUMN_NONE;
		r->payload_gone = true;
	}
	settled(w, w->call_class, r, fate);
}

static void take_fate(void *context, const struct kernel_packet *packet, enum kernel_fate fate)
{
	struct world *w = context;

	if (fate == FATE_NO_MEMORY || fate == FATE_TABLE || fate == FATE_NO_MODE || fate == FATE_NO_QUEUE)
		world_fail(w, "packet %llu: %s", (unsigned long long)packet->number, kernel_fate_names[fate]);
	if (w->call == CALL_BATCH) {
		batch_fate(w, packet, fate);
		return;
	}
	w->call_opened += fate == FATE_DELIVERED && packet->opened;
	w->call_socket += fate == FATE_SOCKET;
	w->call_full += fate == FATE_FULL;
	w->call_aggregate += fate == FATE_AGGREGATE;
}

/* Ids that a call into the model has assigned in a class. */
static void notice(struct world *w, unsigned class)
{
	struct class_world *c = &w->class[class];
	struct truth *t = &c->truth;
	struct spw_queue_stat stat;
	uint64_t gaps = 0, seq;

	kernel_queue_stat(w->kernel, QUEUE(class), &stat);
	seq = lane_widen(c->seq, stat.id_sequence);
	while (c->seq < seq) {
		const struct kernel_packet *p = kernel_held(w->kernel, QUEUE(class), (uint32_t)++c->seq);
		struct id_record *r = &c->id[c->seq % IDS];

		if (r->id && r->kind == ID_HELD)
			world_fail(w, "class %u: more ids wait than are remembered", class);
		*r = (struct id_record){.id = c->seq,
					.number = p ? p->number : 0,
					.arrived = w->now,
					.dead = w->dead_ns,
					.starved = w->starved_ns,
					.kind = p ? ID_HELD : ID_GAP};
		gaps += !p;
		if (p)
			driver_arrived(w, class);
	}
	if (w->call_socket)
		t->gap_shut += gaps;
	else
		t->gap_spilled += gaps;
	if (w->call_opened > gaps) {
		t->round += w->call_opened - gaps;
		if (c->open)
			c->round_at = c->seq;
	}
	t->vanished += w->call_aggregate;
	t->queue_dropped += w->call_full;
}

static void call(struct world *w, int kind, unsigned class)
{
	w->call = kind;
	w->call_class = class;
	w->call_opened = w->call_socket = w->call_full = w->call_aggregate = 0;
}

void world_send(struct world *w, unsigned class, const struct kernel_packet *packet)
{
	call(w, CALL_SEND, class);
	kernel_send(w->kernel, packet);
	notice(w, class);
	call(w, CALL_NONE, 0);
}

static uint32_t verdict_value(const struct lane_order *o)
{
	if (o->verdict != SPW_QUEUE)
		return o->verdict;
	return o->verdict | (uint32_t)o->queue << 16 | (o->set & SPW_VERDICT_BYPASS ? 0x8000u : 0);
}

static void order_batch(struct world *w, const struct kernel_request *request, const struct lane_order *o)
{
	const struct kernel_verdict v = {.value = o->verdict};

	call(w, CALL_BATCH, o->class);
	(void)kernel_verdict_batch(w->kernel, request, o->id, &v);
}

/* A packet with a verdict of its own; REPEAT and QUEUE bring it in again, with another id. */
static void order_one(struct world *w, const struct kernel_request *request, const struct lane_order *o)
{
	uint64_t id = lane_widen(w->class[o->class].seq, o->id);
	struct id_record *r = world_id(w, o->class, id);
	const struct kernel_packet *held = kernel_held(w->kernel, QUEUE(o->class), o->id);
	const struct kernel_verdict v = {.value = verdict_value(o),
					 .set = o->set & ~SPW_VERDICT_BYPASS,
					 .mark = o->mark,
					 .payload_len = o->payload_len,
					 .payload_number = held ? held->number : 0};
	unsigned target = o->class;

	if (r && (r->kind == ID_GAP || (r->kind == ID_OUT && !w->engine.repeating)))
		world_fail(w, "class %u: a verdict for id %llu, which is not held", o->class, (unsigned long long)id);
	if (held && r != oldest_held(w, o->class))
		world_fail(w, "class %u: id %llu is answered before its turn", o->class, (unsigned long long)id);
	if (held && r->column == COLUMN_NONE)
		world_fail(w, "class %u: a verdict for id %llu, which nobody answered", o->class,
			   (unsigned long long)id);
	if (held)
		settled(w, o->class, r, o->verdict == SPW_DROP ? FATE_VERDICT : FATE_DELIVERED);
	/* Once more through the rules, it goes where its flow belongs. */
	if (o->verdict == SPW_QUEUE)
		target = o->queue - QUEUE(0);
	else if (held)
		target = held->flow - 1u;
	call(w, CALL_ONE, o->class);
	(void)kernel_verdict(w->kernel, request, o->id, &v);
	notice(w, target);
}

void world_order(struct world *w, const struct lane_order *o)
{
	static const enum lane_state states[] = {
	    [ORDER_OPEN] = STATE_OPEN, [ORDER_SHUT] = STATE_SHUT, [ORDER_INSPECT] = STATE_INSPECTING};
	const struct kernel_request request = {.socket = w->class[o->class].socket, .queue = QUEUE(o->class)};
	struct spw_queue_config config;

	w->events++;
	TRACE(w, "  verdict  class %u kind %d id %u code %u set %x", o->class, (int)o->kind, o->id, o->verdict, o->set);
	switch (o->kind) {
	case ORDER_BATCH:
		order_batch(w, &request, o);
		break;
	case ORDER_ONE:
		order_one(w, &request, o);
		break;
	default:
		config = driver_config(w, o->class, states[o->kind]);
		world_configure(w, o->class, &config);
	}
	call(w, CALL_NONE, 0);
}

void world_configure(struct world *w, unsigned class, const struct spw_queue_config *config)
{
	const struct kernel_request request = {.socket = w->class[class].socket, .queue = QUEUE(class)};
	const struct kernel_config c = {.set = KERNEL_PARAMS | KERNEL_MAXLEN | KERNEL_MASK | KERNEL_FLAGS,
					.copy_mode = (uint8_t)config->copy_mode,
					.copy_range = config->copy_range,
					.length = config->length,
					.mask = config->mask,
					.flags = config->flags};

	if (kernel_configure(w->kernel, &request, &c))
		world_fail(w, "class %u: a refused config", class);
	w->class[class].open = config->copy_mode == SPW_COPY_META && (config->flags & SPW_FAIL_OPEN);
}

/* The kernel throws away what it holds, or what came by one device. */
void world_flush(struct world *w, uint16_t device)
{
	call(w, CALL_FLUSH, 0);
	if (device) {
		kernel_device_down(w->kernel, device);
	} else {
		static const struct kernel_hook none;

		kernel_hook_insert(w->kernel, 1, &none);
		kernel_hook_delete(w->kernel, 1);
	}
	for (unsigned i = 0; i < w->plan.classes; i++) {
		struct class_world *c = &w->class[i];
		uint64_t before = c->truth.lost;

		for (uint64_t id = c->out + 1; id <= c->seq; id++) {
			struct id_record *r = world_id(w, i, id);

			if (!r || r->kind != ID_HELD || kernel_held(w->kernel, QUEUE(i), (uint32_t)id))
				continue;
			r->kind = ID_LOST;
			c->truth.lost++;
			c->truth.blur++;
		}
		TRACE(w, "          class %u: %llu are lost", i, (unsigned long long)(c->truth.lost - before));
	}
	call(w, CALL_NONE, 0);
}

bool world_receive(struct world *w, unsigned class, bool peek, struct kernel_message *m)
{
	int s = w->class[class].socket;
	struct id_record *r;

	if (peek ? kernel_peek(w->kernel, s, m) : kernel_receive(w->kernel, s, m))
		return false;
	r = m->error ? NULL : world_id(w, class, lane_widen(w->class[class].seq, m->id));
	if (r && !peek)
		r->read = true;
	return true;
}

/* Beginning. */

static void bind_class(struct world *w, unsigned i)
{
	const struct class_plan *p = &w->plan.class[i];
	struct class_world *c = &w->class[i];
	struct spw_queue_config *config = &w->page.config[i];
	const struct kernel_config bind = {.set = KERNEL_COMMAND, .command = KERNEL_BIND};
	struct kernel_request request = {.queue = QUEUE(i)};

	c->socket = request.socket = kernel_socket(w->kernel, 100 + i, p->buffer);
	kernel_set_no_enobufs(w->kernel, c->socket, true);
	if (kernel_configure(w->kernel, &request, &bind))
		world_fail(w, "class %u: not bound", i);
	*config = (struct spw_queue_config){.copy_mode = SPW_COPY_PACKET,
					    .copy_range = SPW_COPY_RANGE_MAX,
					    .length = p->config.length,
					    .mask = SPW_FAIL_OPEN | SPW_GSO,
					    .flags = (p->config.gso ? SPW_GSO : 0) |
						     (lane_shuts(&p->config, REASON_FULL) ? 0 : SPW_FAIL_OPEN)};
	world_configure(w, i, config);
	kernel_set_sequence(w->kernel, QUEUE(i), p->first);
	c->seq = c->out = p->first;
	c->truth.column[ACCEPTED] = p->first;
}

/* A lane whose first ids may lie near the wrap: as if so many packets had been accepted before. */
static void begin_lane(struct world *w)
{
	struct lane *l = &w->page.snapshot[0];

	l->classes = w->plan.classes;
	l->breaker = w->plan.breaker;
	l->report_only = w->plan.report_only;
	l->hung_ns = w->plan.hung_ns;
	l->now_ns = w->now;
	l->down_ns = w->now;
	l->down_reason = REASON_DOWN;
	for (unsigned i = 0; i < l->classes; i++) {
		struct lane_class *c = &l->class[i];

		lane_class_init(c, &w->plan.class[i].config, w->now);
		c->ids = c->settled = c->answered = c->last.ids = w->plan.class[i].first;
		c->books.accepted = w->plan.class[i].first;
		c->counted = w->plan.counted;
		w->class[i].books = c->books;
	}
}

static void make_hooks(struct world *w)
{
	struct kernel_hook hook = {.rules = 1 + w->plan.classes};

	hook.rule[0] = (struct kernel_rule){.mark_mask = PASS_BIT, .mark_value = PASS_BIT, .action = ACTION_ACCEPT};
	for (unsigned i = 0; i < w->plan.classes; i++)
		hook.rule[i + 1] =
		    (struct kernel_rule){.flow = (uint16_t)(i + 1), .action = ACTION_QUEUE, .queue = QUEUE(i)};
	kernel_hook_insert(w->kernel, 0, &hook);
}

void world_begin(struct world *w, uint64_t seed, const struct plan *plan)
{
	const struct kernel_options options = {.fate = take_fate, .context = w};
	struct kernel *kernel = w->kernel;
	bool tracing = w->tracing;

	memset(w, 0, sizeof(*w));
	w->tracing = tracing;
	w->seed = w->random = seed;
	w->now = 1000 * MS;
	w->kernel = kernel ? kernel : kernel_new(&options);
	if (!w->kernel)
		world_fail(w, "no memory");
	kernel_reset(w->kernel);
	if (plan)
		w->plan = *plan;
	else
		plan_make(w);
	for (unsigned i = 0; i < w->plan.classes; i++)
		bind_class(w, i);
	make_hooks(w);
	begin_lane(w);
	actors_begin(w);
}
