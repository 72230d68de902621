/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model's side of the differential test: carries operations out on tests/sim/kernel.c. Makes no system call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "differential.h"

static struct {
	struct kernel *kernel;
	int socket[SOCKETS]; /* handles; -1: not open */
	unsigned holders[SOCKETS];
	bool chain; /* OP_CHAIN_ADD's is there */
	uint64_t number;
	struct view *view; /* of the operation that is being carried out */
} model;

/* Each segment of an aggregate arrives as a datagram. */
static void note_fate(void *context, const struct kernel_packet *packet, enum kernel_fate fate)
{
	struct view *view = model.view;
	const unsigned datagrams = packet->segments > 1 ? packet->segments : 1;
	const uint32_t has = packet->segments > 1 ? packet->segment_len : packet->length;
	const uint32_t claimed = packet->claimed ? packet->claimed : has;

	(void)context;
	if (fate != FATE_DELIVERED || !view)
		return;
	for (unsigned i = 0; i < datagrams && view->arrivals < EVENTS; i++)
		view->arrival[view->arrivals++] =
		    (struct arrival){.number = packet->number + i, .length = claimed - HEADERS, .mark = packet->mark};
}

bool model_open(enum kernel_mistake mistake, bool enospc)
{
	const struct kernel_options options = {
	    .packets = EVENTS, .mistake = mistake, .enospc = enospc, .fate = note_fate};

	model.kernel = kernel_new(&options);
	return model.kernel != NULL;
}

void model_close(void)
{
	kernel_free(model.kernel);
	model.kernel = NULL;
}

void model_reset(void)
{
	kernel_reset(model.kernel);
	for (unsigned hook = 0; hook < HOOKS; hook++) {
		const struct kernel_hook rules = rules_of(hook);

		kernel_hook_insert(model.kernel, hook, &rules);
	}
	for (unsigned s = 0; s < SOCKETS; s++)
		model.socket[s] = -1;
	model.chain = false;
	model.number = 1;
}

void model_socket_opened(unsigned socket, uint32_t portid, uint32_t buffer)
{
	model.socket[socket] = kernel_socket(model.kernel, portid, buffer);
	model.holders[socket] = 1;
	kernel_set_no_enobufs(model.kernel, model.socket[socket], true);
}

void model_buffer_set(unsigned socket, uint32_t buffer)
{
	kernel_set_buffer(model.kernel, model.socket[socket], buffer);
}

void model_resolve(struct op *op)
{
	const struct kernel_packet *packet;
	struct spw_queue_stat stat = {0};

	op->number = model.number;
	if (op->kind == OP_SEND || op->kind == OP_AGGREGATE)
		model.number += op->amount;
	if (op->kind != OP_VERDICT && op->kind != OP_BATCH)
		return;
	kernel_queue_stat(model.kernel, op->queue, &stat);
	op->id = stat.id_sequence - (uint32_t)op->back;
	op->verdict_flow = FIRST_FLOW;
	packet = op->kind == OP_VERDICT ? kernel_held(model.kernel, op->queue, op->id) : NULL;
	if (packet)
		op->verdict_flow = packet->flow;
	/* What a new payload makes of an aggregate is the network stack's affair, not the queue's. */
	if (packet && packet->segments > 1)
		op->verdict.set &= ~SPW_VERDICT_PAYLOAD;
	if (op->verdict.set & SPW_VERDICT_PAYLOAD)
		op->verdict.payload_number = model.number++;
}

static void send_packets(const struct op *op)
{
	struct kernel_packet packet = {.number = op->number, .flow = op->flow, .mark = op->mark, .indev = LOOPBACK};

	if (op->kind == OP_AGGREGATE) {
		packet.segments = (uint16_t)op->amount;
		packet.segment_len = HEADERS + SEGMENT;
		packet.length = HEADERS + op->amount * SEGMENT;
		packet.linear = HEADERS;
		kernel_send(model.kernel, &packet);
		return;
	}
	packet.length = HEADERS + op->payload;
	for (uint32_t i = 0; i < op->amount; i++, packet.number++)
		kernel_send(model.kernel, &packet);
}

static void receive(const struct op *op, struct view *view)
{
	for (uint32_t i = 0; i < op->amount && view->receptions < EVENTS; i++) {
		struct reception *r = &view->reception[view->receptions++];

		*r = (struct reception){0};
		r->err = kernel_receive(model.kernel, model.socket[op->socket], &r->message);
		if (r->err == -EAGAIN)
			return;
	}
}

static void chain(bool add)
{
	static const struct kernel_hook empty;

	if (add == model.chain)
		return;
	model.chain = add;
	if (add)
		kernel_hook_insert(model.kernel, 0, &empty);
	else
		kernel_hook_delete(model.kernel, 0);
}

/* Operations that need an open socket. */
static void do_socket(const struct op *op, struct view *view)
{
	struct kernel *k = model.kernel;
	const int s = model.socket[op->socket];
	const struct kernel_request request = {.socket = s, .queue = op->queue, .ack = op->ack};

	switch (op->kind) {
	case OP_DUP:
		kernel_dup(k, s);
		model.holders[op->socket]++;
		break;
	case OP_CLOSE:
		kernel_close(k, s);
		if (--model.holders[op->socket] == 0)
			model.socket[op->socket] = -1;
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
		kernel_verdict(k, &request, op->id, &op->verdict);
		break;
	case OP_BATCH:
		kernel_verdict_batch(k, &request, op->id, &op->verdict);
		break;
	case OP_RECEIVE:
		receive(op, view);
		break;
	default:
		break;
	}
}

static void look(struct view *view)
{
	for (unsigned q = 0; q < QUEUES; q++)
		view->bound[q] = kernel_queue_stat(model.kernel, (uint16_t)(q + 1), &view->queue[q]) == 0;
	for (unsigned s = 0; s < SOCKETS; s++)
		if (model.socket[s] >= 0)
			kernel_socket_stat(model.kernel, model.socket[s], &view->socket[s]);
	for (unsigned hook = 0; hook < HOOKS; hook++)
		for (unsigned i = 0; i < KERNEL_RULES; i++)
			view->hits[hook][i] = kernel_hook(model.kernel, hook + model.chain)->rule[i].hits;
}

void model_do(const struct op *op, struct view *view)
{
	model.view = view;
	if (op->kind == OP_SEND || op->kind == OP_AGGREGATE)
		send_packets(op);
	else if (op->kind == OP_DEVICE)
		kernel_device_down(model.kernel, LOOPBACK);
	else if (op->kind == OP_CHAIN_ADD || op->kind == OP_CHAIN_DELETE)
		chain(op->kind == OP_CHAIN_ADD);
	else if (model.socket[op->socket] >= 0)
		do_socket(op, view);
	look(view);
	model.view = NULL;
}
