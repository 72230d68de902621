/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations of the differential test: made from a seed, and printed. Pure. The sizes are chosen so that a timestamp,
 * which some other program may switch on for the whole machine, never moves a message into the next size of memory.
 */
#include <inttypes.h>
#include <string.h>

#include "differential.h"

#define PICK(random, list) (list)[below(random, sizeof(list) / sizeof((list)[0]))]

/* NF_* of linux/netfilter.h */
enum { NF_DROP, NF_ACCEPT, NF_STOLEN, NF_QUEUE, NF_REPEAT, NF_STOP };

static const struct kernel_hook rules[HOOKS] = {
    /* mangle: the queues. Mark 0x77 passes by; mark 4 becomes 9. */
    {.rules = 4,
     .rule =
	 {
	     {.flow = 7003, .mark_mask = ~0u, .mark_value = 4, .action = ACTION_MARK, .mark = 9},
	     {.flow = 7001,
	      .mark_mask = 0xff,
	      .mark_value = 0x77,
	      .mark_differs = true,
	      .action = ACTION_QUEUE,
	      .queue = 1},
	     {.flow = 7002,
	      .mark_mask = 0xff,
	      .mark_value = 0x77,
	      .mark_differs = true,
	      .action = ACTION_QUEUE,
	      .queue = 2,
	      .bypass = true},
	     {.flow = 7003, .action = ACTION_QUEUE, .queue = 3, .bypass = true},
	 }},
    /* filter: counts by mark, drops some, queues some again. */
    {.rules = 5,
     .rule =
	 {
	     {.flow = 0, .mark_mask = ~0u, .mark_value = 0, .action = ACTION_COUNT},
	     {.flow = 0, .mark_mask = 0x1, .mark_value = 0x1, .action = ACTION_COUNT},
	     {.flow = 0, .mark_mask = ~0u, .mark_value = 6, .action = ACTION_DROP},
	     {.flow = 7002, .mark_mask = ~0u, .mark_value = 5, .action = ACTION_QUEUE, .queue = 1},
	     {.flow = 7003, .mark_mask = ~0u, .mark_value = 9, .action = ACTION_ACCEPT},
	 }},
    /* security: what came through. */
    {.rules = 3,
     .rule =
	 {
	     {.flow = 7001, .action = ACTION_COUNT},
	     {.flow = 7002, .action = ACTION_COUNT},
	     {.flow = 7003, .action = ACTION_COUNT},
	 }},
};

struct kernel_hook rules_of(unsigned hook)
{
	return rules[hook];
}

/* splitmix64 */
static uint32_t next(uint64_t *random)
{
	uint64_t z = *random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ (z >> 31)) >> 16);
}

static uint32_t below(uint64_t *random, uint32_t limit)
{
	return next(random) % limit;
}

static bool one_in(uint64_t *random, uint32_t n)
{
	return below(random, n) == 0;
}

static uint32_t some_mark(uint64_t *random)
{
	static const uint32_t marks[] = {0, 0, 1, 2, 4, 5, 6, 9, 0x77, 0xff0000, 0xff0077};

	return PICK(random, marks);
}

static uint32_t some_flags(uint64_t *random)
{
	static const uint32_t flags[] = {SPW_FAIL_OPEN, SPW_FAIL_OPEN, SPW_FAIL_OPEN | SPW_GSO, SPW_GSO, 0,
					 SPW_UID_GID};

	return PICK(random, flags);
}

/* Every subset of the attributes, with values legal and not. */
static struct kernel_config any_config(uint64_t *random)
{
	static const uint8_t commands[] = {KERNEL_BIND, KERNEL_BIND, KERNEL_UNBIND, 0, 3, 4, 5, 255};
	static const uint8_t modes[] = {0, 1, 2, 2, 3, 255};
	static const uint32_t ranges[] = {0, 1, 64, 80, 600, KERNEL_RANGE - 1, KERNEL_RANGE, KERNEL_RANGE + 1, ~0u};
	static const uint32_t lengths[] = {0, 1, 2, 3, 5, 8, 1024, ~0u};
	struct kernel_config config = {.set = below(random, 32)};

	config.command = PICK(random, commands);
	config.copy_mode = PICK(random, modes);
	config.copy_range = PICK(random, ranges);
	config.length = PICK(random, lengths);
	config.mask = one_in(random, 3) ? below(random, 128) : some_flags(random);
	config.flags = one_in(random, 3) ? below(random, 64) : some_flags(random);
	return config;
}

/* What a program would say: all in one message. */
static struct kernel_config good_config(uint64_t *random, bool bind)
{
	static const uint32_t ranges[] = {0, 0, 64, 80, 600};
	static const uint32_t lengths[] = {0, 1, 3, 5, 8, 20, 1024};
	struct kernel_config config = {.set = KERNEL_PARAMS | KERNEL_MAXLEN | KERNEL_FLAGS | KERNEL_MASK};

	if (bind) {
		config.set |= KERNEL_COMMAND;
		config.command = KERNEL_BIND;
	}
	config.copy_mode = one_in(random, 4) ? SPW_COPY_META : SPW_COPY_PACKET;
	config.copy_range = PICK(random, ranges);
	config.length = PICK(random, lengths);
	config.mask = SPW_FAIL_OPEN | SPW_GSO | SPW_UID_GID;
	config.flags = some_flags(random);
	return config;
}

static void make_config(uint64_t *random, struct op *op)
{
	switch (below(random, 8)) {
	case 0:
	case 1:
		op->config = any_config(random);
		break;
	case 2:
		op->config = (struct kernel_config){.set = KERNEL_COMMAND, .command = KERNEL_UNBIND};
		break;
	case 3:
	case 4:
		op->config = (struct kernel_config){
		    .set = KERNEL_FLAGS | KERNEL_MASK, .mask = SPW_FAIL_OPEN | SPW_GSO, .flags = some_flags(random)};
		break;
	case 5:
		op->config = good_config(random, false);
		break;
	default:
		op->config = good_config(random, true);
	}
}

/* Mostly what programs say, and anything else that fits into the field. */
static uint32_t some_value(uint64_t *random, uint16_t queue)
{
	static const uint32_t codes[] = {NF_DROP,  NF_ACCEPT, NF_STOLEN,         NF_QUEUE, NF_REPEAT,          NF_STOP,
					 NF_QUEUE, 6,         NF_ACCEPT | 0x100, 0xff,     NF_REPEAT | 0x10000};
	uint32_t value = one_in(random, 2) ? NF_ACCEPT : PICK(random, codes);

	if (value == NF_QUEUE) {
		value |= (uint32_t)(1 + (queue + below(random, QUEUES)) % (QUEUES + 1)) << 16;
		if (one_in(random, 2))
			value |= 0x8000u;
	}
	return value;
}

static void make_verdict(uint64_t *random, struct op *op)
{
	static const uint32_t lengths[] = {10, 28, 36, 64, 80, 528, 1400};
	struct kernel_verdict *v = &op->verdict;

	op->amount = one_in(random, 4) ? 1 + below(random, 4) : 1;
	op->back = one_in(random, 16) ? (int32_t)next(random) : (int32_t)below(random, 14) - 2;
	v->value = some_value(random, op->queue);
	if (one_in(random, 3)) {
		v->set |= SPW_VERDICT_MARK;
		v->mark = some_mark(random);
	}
	if (op->amount > 1 || !one_in(random, 6))
		return;
	v->set |= SPW_VERDICT_PAYLOAD;
	v->payload_len = PICK(random, lengths);
	v->payload_claimed = v->payload_len < NUMBERED ? NUMBERED : v->payload_len;
	if (one_in(random, 3))
		v->payload_claimed += 4;
	else if (v->payload_len > 60 && one_in(random, 3))
		v->payload_claimed -= 4;
}

static void make_traffic(uint64_t *random, struct op *op)
{
	static const uint32_t payloads[] = {64, 500, 1400};

	op->flow = (uint16_t)(FIRST_FLOW + below(random, FLOWS));
	op->amount = one_in(random, 3) ? 1 : 1 + below(random, 12);
	op->payload = PICK(random, payloads);
	op->mark = one_in(random, 2) ? 0 : some_mark(random);
	if (op->kind == OP_AGGREGATE)
		op->amount = 2 + below(random, MOST_SEGMENTS - 1);
}

static enum op_kind some_kind(uint64_t *random)
{
	static const enum op_kind kinds[] = {OP_CONFIG,  OP_CONFIG,    OP_CONFIG,  OP_SEND,    OP_SEND,    OP_SEND,
					     OP_SEND,    OP_AGGREGATE, OP_RECEIVE, OP_RECEIVE, OP_RECEIVE, OP_VERDICT,
					     OP_VERDICT, OP_VERDICT,   OP_BATCH,   OP_BATCH,   OP_BUFFER,  OP_ENOBUFS,
					     OP_SEND,    OP_SOCKET,    OP_VERDICT, OP_RECEIVE, OP_VERDICT};
	static const enum op_kind rare[] = {OP_DUP,       OP_CLOSE,        OP_CLOSE, OP_FILTER,
					    OP_CHAIN_ADD, OP_CHAIN_DELETE, OP_DEVICE};
	enum op_kind kind;

	if (!one_in(random, 20))
		return PICK(random, kinds);
	kind = PICK(random, rare);
	/* These make the kernel wait for a grace period. */
	if ((kind == OP_DEVICE || kind == OP_CHAIN_ADD) && !one_in(random, 8))
		return OP_SEND;
	return kind;
}

static void make_op(uint64_t *random, struct op *op)
{
	static const uint32_t buffers[] = {1, 2000, 3000, 6000, 100000};

	*op = (struct op){.kind = some_kind(random)};
	op->socket = one_in(random, 6) ? below(random, SOCKETS) : below(random, 2);
	/* Mostly each has queues of its own. */
	op->queue = (uint16_t)(1 + (one_in(random, 4) ? below(random, QUEUES) : op->socket + 2 * below(random, 2)));
	op->ack = one_in(random, 8);
	op->amount = below(random, 2);
	if (op->kind == OP_BUFFER)
		op->amount = PICK(random, buffers);
	else if (op->kind == OP_RECEIVE)
		op->amount = one_in(random, 2) ? 1 + below(random, 4) : EVENTS;
	else if (op->kind == OP_CONFIG)
		make_config(random, op);
	else if (op->kind == OP_VERDICT || op->kind == OP_BATCH)
		make_verdict(random, op);
	else if (op->kind == OP_SEND || op->kind == OP_AGGREGATE)
		make_traffic(random, op);
	if (op->queue > QUEUES)
		op->queue = QUEUES;
}

/* A sequence begins with bound queues, else most of it would meet nothing, and ends with reading all that is left. */
unsigned generate(uint64_t seed, struct op ops[LONGEST])
{
	uint64_t random = seed;
	const unsigned middle = 4 + below(&random, LONGEST - 4 - 2 * 2 - SOCKETS);
	unsigned n = 0;

	for (unsigned s = 0; s < 2; s++) {
		ops[n++] = (struct op){.kind = OP_SOCKET, .socket = s};
		ops[n++] = (struct op){
		    .kind = OP_CONFIG, .socket = s, .queue = (uint16_t)(1 + s), .config = good_config(&random, true)};
	}
	for (unsigned i = 0; i < middle; i++)
		make_op(&random, &ops[n++]);
	for (unsigned s = 0; s < SOCKETS; s++)
		ops[n++] = (struct op){.kind = OP_RECEIVE, .socket = s, .amount = EVENTS};
	return n;
}

unsigned fill_table(struct op ops[LONGEST])
{
	const struct op receive = {.kind = OP_RECEIVE, .amount = EVENTS};
	struct op send = {.kind = OP_SEND, .flow = FIRST_FLOW, .amount = 4096, .payload = 64};
	struct op config = {
	    .kind = OP_CONFIG,
	    .queue = 1,
	    .config = {.set = KERNEL_COMMAND | KERNEL_PARAMS | KERNEL_MAXLEN | KERNEL_MASK | KERNEL_FLAGS,
		       .command = KERNEL_BIND,
		       .copy_mode = SPW_COPY_META,
		       .length = ~0u,
		       .mask = SPW_FAIL_OPEN,
		       .flags = SPW_FAIL_OPEN}};
	unsigned n = 0;

	ops[n++] = (struct op){.kind = OP_SOCKET};
	ops[n++] = (struct op){.kind = OP_BUFFER, .amount = 4000000};
	ops[n++] = config;
	for (unsigned sent = 0; sent < KERNEL_TABLE; sent += send.amount) {
		ops[n++] = send;
		ops[n++] = receive;
	}
	send.amount = 20;
	ops[n++] = send;
	config.config.set = KERNEL_MASK | KERNEL_FLAGS;
	config.config.flags = 0;
	ops[n++] = config;
	ops[n++] = send;
	ops[n++] = receive;
	return n;
}

/* Printing. */

static const char *const kind_names[OP_KINDS] = {
    [OP_SOCKET] = "open",
    [OP_DUP] = "dup",
    [OP_CLOSE] = "close",
    [OP_BUFFER] = "buffer",
    [OP_ENOBUFS] = "no-enobufs",
    [OP_FILTER] = "filter",
    [OP_CONFIG] = "config",
    [OP_SEND] = "send",
    [OP_AGGREGATE] = "send-aggregate",
    [OP_RECEIVE] = "receive",
    [OP_VERDICT] = "verdict",
    [OP_BATCH] = "batch",
    [OP_DEVICE] = "device-down",
    [OP_CHAIN_ADD] = "chain-add",
    [OP_CHAIN_DELETE] = "chain-delete",
};

static void print_config(FILE *to, const struct kernel_config *c)
{
	if (c->set & KERNEL_COMMAND)
		fprintf(to, " command=%u", c->command);
	if (c->set & KERNEL_PARAMS)
		fprintf(to, " mode=%u range=%" PRIu32, c->copy_mode, c->copy_range);
	if (c->set & KERNEL_MAXLEN)
		fprintf(to, " length=%" PRIu32, c->length);
	if (c->set & KERNEL_MASK)
		fprintf(to, " mask=0x%" PRIx32, c->mask);
	if (c->set & KERNEL_FLAGS)
		fprintf(to, " flags=0x%" PRIx32, c->flags);
}

static void print_verdict(FILE *to, const struct op *op)
{
	const struct kernel_verdict *v = &op->verdict;

	fprintf(to, " id=%" PRIu32 " (last one - %" PRId32 ")", op->id, op->back);
	if (op->kind == OP_VERDICT && op->amount > 1)
		fprintf(to, " and %" PRIu32 " more", op->amount - 1);
	fprintf(to, " value=0x%" PRIx32, v->value);
	if (v->set & SPW_VERDICT_MARK)
		fprintf(to, " mark=0x%" PRIx32, v->mark);
	if (v->set & SPW_VERDICT_PAYLOAD)
		fprintf(to, " payload=%" PRIu32 " claiming %" PRIu32 " number=%" PRIu64, v->payload_len,
			v->payload_claimed, v->payload_number);
}

void print_op(FILE *to, const struct op *op)
{
	fprintf(to, "%s", kind_names[op->kind]);
	if (op->kind == OP_SEND || op->kind == OP_AGGREGATE)
		fprintf(to, " %" PRIu32 " of flow %u payload=%" PRIu32 " mark=0x%" PRIx32 " first number=%" PRIu64,
			op->amount, op->flow, op->kind == OP_SEND ? op->payload : SEGMENT, op->mark, op->number);
	else if (op->kind < OP_DEVICE)
		fprintf(to, " socket=%u", op->socket);
	if (op->kind == OP_BUFFER || op->kind == OP_ENOBUFS || op->kind == OP_FILTER || op->kind == OP_RECEIVE)
		fprintf(to, " %" PRIu32, op->amount);
	if (op->kind == OP_CONFIG || op->kind == OP_VERDICT || op->kind == OP_BATCH)
		fprintf(to, " queue=%u%s", op->queue, op->ack ? " ack" : "");
	if (op->kind == OP_CONFIG)
		print_config(to, &op->config);
	if (op->kind == OP_VERDICT || op->kind == OP_BATCH)
		print_verdict(to, op);
	fputc('\n', to);
}
