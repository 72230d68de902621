/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of the kernel's queue: a packet's way through the hooks and into a queue. Pure.
 */
#include "kernel_internal.h"

#include <errno.h>
#include <string.h>

/* Enqueueing. */

/* What became of a packet that is to be held. */
enum enqueued { ENQUEUED, ENQUEUED_OPEN, ENQUEUED_NOT };

/* The message of a packet that shall be held; false: it found no room. */
static bool post_packet(struct kernel *k, const struct queue *q, const struct entry *entry)
{
	struct socket *s = netlink_find(&k->netlink, q->portid);
	const uint32_t linear = entry->packet.linear ? entry->packet.linear : entry->packet.length;
	struct kernel_message message = {.queue = q->number, .id = entry->id, .packet = entry->packet};
	uint32_t truesize;

	if (q->copy_mode == SPW_COPY_PACKET)
		message.copied = q->copy_range < entry->packet.length ? q->copy_range : entry->packet.length;
	truesize = k->options.truesize ? k->options.truesize(k->options.context, message.copied, linear, q->flags)
				       : kernel_truesize(message.copied, linear, q->flags);
	return netlink_post(&k->netlink, s, &message, truesize);
}

/* The three cases in which the flag opens. `counter` is what moves without it. */
static enum enqueued overflow(const struct queue *q, uint32_t *counter, enum kernel_fate why, enum kernel_fate *fate)
{
	if (q->flags & SPW_FAIL_OPEN)
		return ENQUEUED_OPEN;
	++*counter;
	*fate = why;
	return ENQUEUED_NOT;
}

/* __nfqnl_enqueue_packet(), up to where the packet is to be reinjected */
static enum enqueued enqueue_one(struct kernel *k, struct queue *q, const struct kernel_packet *packet, unsigned at,
				 enum kernel_fate *fate)
{
	const uint32_t held = kernel_wrong(k, MISTAKE_READ_FREES_SLOT) ? q->held - q->read : q->held;
	ref e = 0;

	if (k->starve)
		k->starve--;
	else
		e = pool_take(&k->pool, k->entry[k->pool.free].next);
	if (!e) {
		*fate = FATE_NO_MEMORY;
		return ENQUEUED_NOT;
	}
	if (held >= q->length) {
		kernel_free_entry(k, e);
		if (kernel_wrong(k, MISTAKE_OPEN_TAKES_ID) && (q->flags & SPW_FAIL_OPEN))
			q->sequence++;
		return overflow(q, &q->queue_dropped, FATE_FULL, fate);
	}
	k->entry[e] = (struct entry){.id = ++q->sequence, .queue = q->number, .hook = at, .packet = *packet};
	if (q->held >= k->options.table) {
		kernel_free_entry(k, e);
		return overflow(q, &q->queue_dropped, FATE_TABLE, fate);
	}
	if (!post_packet(k, q, &k->entry[e])) {
		kernel_free_entry(k, e);
		if (kernel_wrong(k, MISTAKE_SPILL_SPARES_ID))
			q->sequence--;
		return overflow(q, &q->user_dropped, FATE_SOCKET, fate);
	}
	kernel_hold(k, q, e);
	return ENQUEUED;
}

/*
 * One packet that one entry can hold. 0: it is the queue's, or has gone its way; -ENOSPC: the queue is open and the
 * caller shall go on with the hooks behind (the form of 2012); -ENOBUFS: it is to be dropped, by *fate.
 */
static int enqueue_single(struct kernel *k, struct queue *q, struct kernel_packet *packet, unsigned at,
			  enum kernel_fate *fate)
{
	switch (enqueue_one(k, q, packet, at, fate)) {
	case ENQUEUED:
		return 0;
	case ENQUEUED_NOT:
		return -ENOBUFS;
	default:
		break;
	}
	packet->opened++;
	if (k->options.enospc)
		return -ENOSPC;
	/* nfqnl_reinject() with NF_ACCEPT, in whoever's context sends the packet */
	kernel_traverse(k, *packet, at + 1);
	return 0;
}

static struct kernel_packet segment_of(const struct kernel_packet *aggregate, unsigned i)
{
	struct kernel_packet segment = *aggregate;

	segment.number += i;
	segment.length = aggregate->segment_len;
	segment.claimed = 0;
	segment.linear = 0;
	segment.segments = 0;
	return segment;
}

/*
 * nfqnl_enqueue_packet() for an aggregate that user space doesn't take whole: each segment by itself, until the first
 * that is dropped; the ones behind it vanish uncounted.
 */
static void enqueue_segments(struct kernel *k, struct queue *q, const struct kernel_packet *packet, unsigned at)
{
	enum kernel_fate fate = FATE_AGGREGATE;
	int err = 0;

	for (unsigned i = 0; i < packet->segments; i++) {
		struct kernel_packet segment = segment_of(packet, i);

		if (err == -ENOBUFS) {
			kernel_end(k, &segment, FATE_AGGREGATE);
			if (kernel_wrong(k, MISTAKE_AGGREGATE_COUNTED))
				q->queue_dropped++;
			continue;
		}
		err = enqueue_single(k, q, &segment, at, &fate);
		if (err == -ENOSPC)
			kernel_traverse(k, segment, at + 1);
		else if (err)
			kernel_end(k, &segment, fate);
	}
}

/* nfqnl_enqueue_packet(). Besides what enqueue_single() says, -ESRCH: nobody is bound. */
static int enqueue(struct kernel *k, uint16_t number, struct kernel_packet *packet, unsigned at, enum kernel_fate *fate)
{
	struct queue *q = kernel_find_queue(k, number);

	*fate = FATE_NO_QUEUE;
	if (!q)
		return -ESRCH;
	*fate = FATE_NO_MODE;
	if (q->copy_mode != SPW_COPY_META && q->copy_mode != SPW_COPY_PACKET)
		return -EINVAL;
	if (packet->segments <= 1 || (q->flags & SPW_GSO))
		return enqueue_single(k, q, packet, at, fate);
	enqueue_segments(k, q, packet, at);
	return 0;
}

/* nf_queue(). True: the caller goes on with the next hook; bypass is for "nobody bound" alone. */
bool kernel_queue_packet(struct kernel *k, uint16_t number, bool bypass, struct kernel_packet *packet, unsigned at)
{
	enum kernel_fate fate;
	const int err = enqueue(k, number, packet, at, &fate);

	if (err == -ENOSPC)
		return true;
	if (err == -ESRCH && bypass) {
		packet->bypassed++;
		return true;
	}
	if (err)
		kernel_end(k, packet, fate);
	return false;
}

/* Hooks. */

void kernel_hook_insert(struct kernel *k, unsigned at, const struct kernel_hook *hook)
{
	memmove(&k->hook[at + 1], &k->hook[at], (k->hooks - at) * sizeof(k->hook[0]));
	k->hook[at] = *hook;
	k->hooks++;
}

/* __nf_unregister_net_hook(), nfqnl_nf_hook_drop(): everything held by any queue goes with it. */
void kernel_hook_delete(struct kernel *k, unsigned at)
{
	k->hooks--;
	memmove(&k->hook[at], &k->hook[at + 1], (k->hooks - at) * sizeof(k->hook[0]));
	kernel_flush_all(k, 0, FATE_CHAIN);
}

const struct kernel_hook *kernel_hook(const struct kernel *k, unsigned at)
{
	return &k->hook[at];
}

static bool matches(const struct kernel_rule *rule, const struct kernel_packet *packet)
{
	if (rule->flow && rule->flow != packet->flow)
		return false;
	return ((packet->mark & rule->mark_mask) == rule->mark_value) != rule->mark_differs;
}

/* The rules of a base chain, to the first that decides. NULL: none did. */
static const struct kernel_rule *run_hook(struct kernel_hook *hook, struct kernel_packet *packet)
{
	for (unsigned i = 0; i < hook->rules; i++) {
		struct kernel_rule *rule = &hook->rule[i];

		if (!matches(rule, packet))
			continue;
		rule->hits++;
		if (rule->action == ACTION_MARK)
			packet->mark = rule->mark;
		else if (rule->action != ACTION_COUNT)
			return rule;
	}
	return NULL;
}

/* What receives a packet behind the hooks believes the packet's own headers (ip_rcv_core(), __udp4_lib_rcv()). */
void kernel_deliver(struct kernel *k, const struct kernel_packet *packet)
{
	kernel_end(k, packet, packet->claimed > packet->length ? FATE_MALFORMED : FATE_DELIVERED);
}

/* nf_hook_slow(), nf_iterate(): from hook `at` to the end. */
void kernel_traverse(struct kernel *k, struct kernel_packet packet, unsigned at)
{
	for (; at < k->hooks; at++) {
		const struct kernel_rule *rule = run_hook(&k->hook[at], &packet);

		if (!rule || rule->action == ACTION_ACCEPT)
			continue;
		if (rule->action == ACTION_DROP) {
			kernel_end(k, &packet, FATE_RULE);
			return;
		}
		if (!kernel_queue_packet(k, rule->queue, rule->bypass, &packet, at))
			return;
	}
	kernel_deliver(k, &packet);
}

void kernel_send(struct kernel *k, const struct kernel_packet *packet)
{
	struct kernel_packet fresh = *packet;

	fresh.inspected = fresh.opened = fresh.bypassed = 0;
	kernel_traverse(k, fresh, 0);
}
