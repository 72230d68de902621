/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model's side of the differential test: carries operations out on tests/sim/kernel.c, once in each form of
 * fail-open. Makes no system call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "differential.h"

struct side {
	struct kernel *kernel;
	int socket[SOCKETS]; /* handles; -1: not open */
	unsigned holders[SOCKETS];
	bool chain; /* OP_CHAIN_ADD's is there */
	uint64_t ended[FATES];
	struct view *view; /* of the operation that is being carried out */
};
static struct side sides[FORMS];
static uint64_t next_number;
static const struct measures *measured;

/* Each segment of an aggregate arrives as a datagram. */
static void note_fate(void *context, const struct kernel_packet *packet, enum kernel_fate fate)
{
	struct side *side = context;
	struct view *view = side->view;
	const unsigned datagrams = packet->segments > 1 ? packet->segments : 1;
	const uint32_t has = packet->segments > 1 ? packet->segment_len : packet->length;
	const uint32_t claimed = packet->claimed ? packet->claimed : has;

	side->ended[fate] += datagrams;
	if (fate != FATE_DELIVERED || !view)
		return;
	for (unsigned i = 0; i < datagrams && view->arrivals < EVENTS; i++)
		view->arrival[view->arrivals++] =
		    (struct arrival){.number = packet->number + i, .length = claimed - HEADERS, .mark = packet->mark};
}

static uint32_t truesize(void *context, uint32_t copied, uint32_t linear, uint32_t queue_flags)
{
	const bool owner = queue_flags & SPW_UID_GID;
	const uint32_t size = copied > linear ? measured->pieces[owner][copied] : measured->plain[owner][copied];

	(void)context;
	if (size)
		return size;
	fprintf(stderr, "a message with %u bytes was never measured\n", copied);
	abort();
}

bool model_open(enum kernel_mistake mistake, const struct measures *measures)
{
	measured = measures;
	for (unsigned form = 0; form < FORMS; form++) {
		const struct kernel_options options = {
		    .packets = KERNEL_TABLE + 64, /* what fill_table() sends, where no table ends */
		    .table = measures->table,
		    .conntrack = measures->conntrack,
		    .enospc = form == FORM_2012,
		    .mistake = mistake,
		    .fate = note_fate,
		    .truesize = truesize,
		    .error_truesize = measures->error,
		    .context = &sides[form],
		};

		sides[form].kernel = kernel_new(&options);
		if (!sides[form].kernel)
			return false;
	}
	return true;
}

void model_close(void)
{
	for (unsigned form = 0; form < FORMS; form++) {
		kernel_free(sides[form].kernel);
		sides[form].kernel = NULL;
	}
}

static void reset(struct side *side)
{
	kernel_reset(side->kernel);
	for (unsigned hook = 0; hook < HOOKS; hook++) {
		const struct kernel_hook rules = rules_of(hook);

		kernel_hook_insert(side->kernel, hook, &rules);
	}
	for (unsigned s = 0; s < SOCKETS; s++)
		side->socket[s] = -1;
	side->chain = false;
}

void model_reset(void)
{
	next_number = 1;
	for (unsigned form = 0; form < FORMS; form++)
		reset(&sides[form]);
}

void model_socket_opened(unsigned socket, uint32_t portid, uint32_t buffer)
{
	for (unsigned form = 0; form < FORMS; form++) {
		struct side *side = &sides[form];

		side->socket[socket] = kernel_socket(side->kernel, portid, buffer);
		side->holders[socket] = 1;
		kernel_set_no_enobufs(side->kernel, side->socket[socket], true);
	}
}

void model_buffer_set(unsigned socket, uint32_t buffer)
{
	for (unsigned form = 0; form < FORMS; form++)
		kernel_set_buffer(sides[form].kernel, sides[form].socket[socket], buffer);
}

uint64_t model_ended(enum kernel_fate fate)
{
	return sides[FORM_TODAY].ended[fate];
}

static void resolve_verdict(const struct kernel *k, struct op *op)
{
	const struct kernel_packet *packet;
	struct spw_queue_stat stat = {0};

	kernel_queue_stat(k, op->queue, &stat);
	op->id = stat.id_sequence - (uint32_t)op->back;
	op->verdict_flow = FIRST_FLOW;
	packet = op->kind == OP_VERDICT ? kernel_held(k, op->queue, op->id) : NULL;
	if (packet)
		op->verdict_flow = packet->flow;
	/* What a new payload makes of an aggregate is the network stack's affair, not the queue's. */
	if (packet && packet->segments > 1)
		op->verdict.set &= ~SPW_VERDICT_PAYLOAD;
	if (op->verdict.set & SPW_VERDICT_PAYLOAD)
		op->verdict.payload_number = next_number++;
}

void model_resolve(struct op *op)
{
	op->number = next_number;
	if (op->kind == OP_SEND || op->kind == OP_AGGREGATE)
		next_number += op->amount;
	if (op->kind == OP_VERDICT || op->kind == OP_BATCH)
		resolve_verdict(sides[FORM_TODAY].kernel, op);
}

static void send_packets(struct kernel *k, const struct op *op)
{
	struct kernel_packet packet = {.number = op->number, .flow = op->flow, .mark = op->mark, .indev = LOOPBACK};

	if (op->kind == OP_AGGREGATE) {
		packet.segments = (uint16_t)op->amount;
		packet.segment_len = HEADERS + SEGMENT;
		packet.length = HEADERS + op->amount * SEGMENT;
		packet.linear = HEADERS;
		kernel_send(k, &packet);
		return;
	}
	packet.length = HEADERS + op->payload;
	for (uint32_t i = 0; i < op->amount; i++, packet.number++)
		kernel_send(k, &packet);
}

static void receive(struct side *side, const struct op *op, struct view *view)
{
	for (uint32_t i = 0; i < op->amount && view->receptions < EVENTS; i++) {
		struct reception *r = &view->reception[view->receptions++];

		*r = (struct reception){0};
		r->err = kernel_receive(side->kernel, side->socket[op->socket], &r->message);
		if (r->err == -EAGAIN)
			return;
	}
}

static void chain(struct side *side, bool add)
{
	static const struct kernel_hook empty;

	if (add == side->chain)
		return;
	side->chain = add;
	if (add)
		kernel_hook_insert(side->kernel, 0, &empty);
	else
		kernel_hook_delete(side->kernel, 0);
}

/* Operations that need an open socket. */
static void do_socket(struct side *side, const struct op *op, struct view *view)
{
	struct kernel *k = side->kernel;
	const int s = side->socket[op->socket];
	const struct kernel_request request = {.socket = s, .queue = op->queue, .ack = op->ack};

	switch (op->kind) {
	case OP_DUP:
		kernel_dup(k, s);
		side->holders[op->socket]++;
		break;
	case OP_CLOSE:
		kernel_close(k, s);
		if (--side->holders[op->socket] == 0)
			side->socket[op->socket] = -1;
		break;
	case OP_ENOBUFS:
		kernel_set_no_enobufs(k, s, op->amount);
		break;
	case OP_FILTER:
		kernel_set_filter(k, s, op->amount);
		break;
	case OP_CONFIG:
		kernel_configure(k, &request, &op->config);
		break;
	case OP_VERDICT:
		for (uint32_t i = 0; i < op->amount; i++)
			kernel_verdict(k, &request, op->id + i, &op->verdict);
		break;
	case OP_BATCH:
		kernel_verdict_batch(k, &request, op->id, &op->verdict);
		break;
	case OP_RECEIVE:
		receive(side, op, view);
		break;
	default:
		break;
	}
}

static void look(const struct side *side, struct view *view)
{
	for (unsigned q = 0; q < QUEUES; q++)
		view->bound[q] = kernel_queue_stat(side->kernel, (uint16_t)(q + 1), &view->queue[q]) == 0;
	for (unsigned s = 0; s < SOCKETS; s++)
		if (side->socket[s] >= 0)
			kernel_socket_stat(side->kernel, side->socket[s], &view->socket[s]);
	for (unsigned hook = 0; hook < HOOKS; hook++)
		for (unsigned i = 0; i < KERNEL_RULES; i++)
			view->hits[hook][i] = kernel_hook(side->kernel, hook + side->chain)->rule[i].hits;
}

void model_do(enum form form, const struct op *op, struct view *view)
{
	struct side *side = &sides[form];

	side->view = view;
	if (op->kind == OP_SEND || op->kind == OP_AGGREGATE)
		send_packets(side->kernel, op);
	else if (op->kind == OP_DEVICE)
		kernel_device_down(side->kernel, LOOPBACK);
	else if (op->kind == OP_CHAIN_ADD || op->kind == OP_CHAIN_DELETE)
		chain(side, op->kind == OP_CHAIN_ADD);
	else if (side->socket[op->socket] >= 0)
		do_socket(side, op, view);
	look(side, view);
	side->view = NULL;
}
