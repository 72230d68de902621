/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of the kernel's queue: what user space asks of it, verdicts and configuration. Pure.
 */
#include "kernel_internal.h"

#include <errno.h>

/* NF_* of linux/netfilter.h */
enum { NF_DROP, NF_ACCEPT, NF_STOLEN, NF_QUEUE, NF_REPEAT, NF_STOP };
#define CODE_MASK    0xffu
#define QUEUE_BYPASS 0x8000u
#define QUEUE_SHIFT  16

#define UNKNOWN_FLAGS 0x20u /* flags from here on don't exist */

/* The obsolete commands PF_BIND and PF_UNBIND. */
#define IS_PF(command) ((command) == 3 || (command) == 4)

/* A transport header begins behind this many bytes; a verdict's payload can't be shorter. */
#define NETWORK_HEADER 20u

/* Verdicts. */

/*
 * nf_reinject(). ACCEPT and REPEAT only where nothing stands above the low byte: with it, ACCEPT acts like STOP, and
 * REPEAT like DROP.
 */
static void reinject(struct kernel *k, struct kernel_packet packet, unsigned hook, uint32_t value)
{
	packet.inspected++;
	if (value == NF_REPEAT && !kernel_wrong(k, MISTAKE_REPEAT_ACCEPTS)) {
		kernel_traverse(k, packet, hook);
	} else if (value == NF_ACCEPT || value == NF_REPEAT) {
		kernel_traverse(k, packet, hook + 1);
	} else if ((value & CODE_MASK) == NF_ACCEPT || (value & CODE_MASK) == NF_STOP) {
		kernel_deliver(k, &packet);
	} else if ((value & CODE_MASK) == NF_QUEUE) {
		if (kernel_queue_packet(k, (uint16_t)(value >> QUEUE_SHIFT), value & QUEUE_BYPASS, &packet, hook))
			kernel_traverse(k, packet, hook + 1);
	} else {
		kernel_end(k, &packet, FATE_VERDICT);
	}
}

/* nfqnl_recv_verdict(): marks and priority replace the packet's whole. */
static void dress(const struct kernel *k, struct kernel_packet *packet, const struct kernel_verdict *verdict)
{
	if (verdict->set & SPW_VERDICT_MARK)
		packet->mark = verdict->mark | (kernel_wrong(k, MISTAKE_MARK_MERGES) ? packet->mark : 0);
	if (verdict->set & SPW_VERDICT_PRIORITY)
		packet->priority = verdict->priority;
}

/*
 * nfqnl_mangle(): the packet becomes as long as the payload, whatever its headers say of it. False: it can't be, and
 * the verdict turns into DROP.
 */
static bool mangle(struct kernel_packet *packet, const struct kernel_verdict *verdict)
{
	if (verdict->payload_len < packet->length && verdict->payload_len < NETWORK_HEADER)
		return false;
	packet->length = verdict->payload_len;
	packet->claimed = verdict->payload_claimed;
	packet->number = verdict->payload_number;
	return true;
}

/* verdict_instance_lookup(), verdicthdr_get() */
static int check_verdict(struct kernel *k, const struct kernel_request *request, uint32_t value, struct queue **queue)
{
	const uint32_t code = value & CODE_MASK;

	*queue = kernel_find_queue(k, request->queue);
	if (!*queue)
		return -ENODEV;
	if ((*queue)->portid != k->netlink.socket[request->socket].portid)
		return -EPERM;
	return code > NF_STOP || code == NF_STOLEN ? -EINVAL : 0;
}

int kernel_verdict(struct kernel *k, const struct kernel_request *request, uint32_t id,
		   const struct kernel_verdict *verdict)
{
	struct kernel_packet packet;
	struct queue *q;
	const int err = check_verdict(k, request, verdict->value, &q);
	const ref e = err ? 0 : kernel_find_entry(k, request->queue, id);
	bool whole = true;
	unsigned hook;

	if (!e)
		return kernel_reply(k, request, err ? err : -ENOENT);
	kernel_unhold(k, q, e);
	packet = k->entry[e].packet;
	hook = k->entry[e].hook;
	kernel_free_entry(k, e);
	if (verdict->set & SPW_VERDICT_PAYLOAD)
		whole = mangle(&packet, verdict);
	dress(k, &packet, verdict);
	reinject(k, packet, hook, whole ? verdict->value : NF_DROP);
	return kernel_reply(k, request, 0);
}

/* nfq_id_after(): ids wrap, so the later of two is the one less than half the circle ahead. */
static bool after(uint32_t id, uint32_t other)
{
	return (int32_t)(id - other) > 0;
}

/* Takes every packet up to `id` out of the queue and links them; 0: none. */
static ref take_batch(struct kernel *k, struct queue *q, uint32_t id)
{
	ref first = 0;
	ref last = 0;

	for (ref e = q->first, next; e; e = next) {
		struct entry *entry = &k->entry[e];

		next = entry->next;
		if (after(entry->id, kernel_wrong(k, MISTAKE_BATCH_EXACT) ? id - 1 : id))
			break;
		if (kernel_wrong(k, MISTAKE_BATCH_WANTS_READ) && !entry->read)
			continue;
		kernel_unhold(k, q, e);
		entry->next = 0;
		*(last ? &k->entry[last].next : &first) = e;
		last = e;
	}
	return first;
}

/* nfqnl_recv_verdict_batch(): all are taken out before the first goes on; a payload is ignored. */
int kernel_verdict_batch(struct kernel *k, const struct kernel_request *request, uint32_t id,
			 const struct kernel_verdict *verdict)
{
	struct queue *q;
	const int err = check_verdict(k, request, verdict->value, &q);
	const ref first = err ? 0 : take_batch(k, q, id);

	if (!first)
		return kernel_reply(k, request, err ? err : -ENOENT);
	for (ref e = first, next; e; e = next) {
		struct kernel_packet packet = k->entry[e].packet;
		const unsigned hook = k->entry[e].hook;

		next = k->entry[e].next;
		kernel_free_entry(k, e);
		dress(k, &packet, verdict);
		reinject(k, packet, hook, verdict->value);
	}
	return kernel_reply(k, request, 0);
}

/* Configuration. */

/* instance_create(): without a copy mode; whatever comes meets -EINVAL until one is set. */
static struct queue *create(struct kernel *k, uint16_t number, uint32_t portid)
{
	for (unsigned i = 0; i < KERNEL_QUEUES; i++) {
		if (k->queue[i].bound)
			continue;
		k->queue[i] = (struct queue){.bound = true,
					     .number = number,
					     .portid = portid,
					     .length = KERNEL_LENGTH,
					     .copy_range = KERNEL_RANGE};
		return &k->queue[i];
	}
	return NULL;
}

/* The flags are looked at before anybody asks whose queue it is. */
static int check_flags(const struct kernel *k, const struct kernel_config *config)
{
	if (!(config->set & KERNEL_FLAGS))
		return 0;
	if (!(config->set & KERNEL_MASK))
		return -EINVAL;
	if (config->flags >= UNKNOWN_FLAGS)
		return -EOPNOTSUPP;
	if ((config->flags & config->mask & SPW_CONNTRACK) && !k->options.conntrack)
		return -EOPNOTSUPP;
	return 0;
}

/* Binds, or finds the queue: 0 and *queue, or 0 and NULL where nothing is left to be done. */
static int run_command(struct kernel *k, const struct kernel_request *request, const struct kernel_config *config,
		       struct queue **queue)
{
	const uint32_t portid = k->netlink.socket[request->socket].portid;
	struct queue *q = kernel_find_queue(k, request->queue);
	const uint32_t command = config->set & KERNEL_COMMAND ? config->command : 0;

	*queue = NULL;
	if (q && q->portid != portid)
		return kernel_wrong(k, MISTAKE_OTHER_BUSY) && command == KERNEL_BIND ? -EBUSY : -EPERM;
	if ((config->set & KERNEL_COMMAND) && command != KERNEL_BIND && command != KERNEL_UNBIND)
		return -EOPNOTSUPP;
	if (command == KERNEL_BIND) {
		if (q)
			return -EBUSY;
		*queue = create(k, request->queue, portid);
		return *queue ? 0 : -ENOMEM;
	}
	if (!q)
		return -ENODEV;
	if (command == KERNEL_UNBIND)
		kernel_destroy(k, q, FATE_UNBIND);
	else
		*queue = q;
	return 0;
}

/* nfqnl_set_mode(): an unknown mode changes nothing, and its error is forgotten. */
static void set_mode(struct queue *q, uint32_t mode, uint32_t range)
{
	if (mode > SPW_COPY_PACKET)
		return;
	q->copy_mode = mode;
	if (mode != SPW_COPY_PACKET)
		q->copy_range = 0;
	else
		q->copy_range = range && range < KERNEL_RANGE ? range : KERNEL_RANGE;
}

static int configure(struct kernel *k, const struct kernel_request *request, const struct kernel_config *config)
{
	struct queue *q;
	int err;

	if ((config->set & KERNEL_COMMAND) && IS_PF(config->command))
		return 0;
	err = check_flags(k, config);
	if (!err)
		err = run_command(k, request, config, &q);
	if (err || !q)
		return err;
	if (config->set & KERNEL_PARAMS)
		set_mode(q, config->copy_mode, config->copy_range);
	if (config->set & KERNEL_MAXLEN)
		q->length = config->length;
	if (config->set & KERNEL_FLAGS) {
		const uint32_t mask = kernel_wrong(k, MISTAKE_MASK_IGNORED) ? ~0u : config->mask;

		q->flags = (q->flags & ~mask) | (config->flags & mask);
	}
	return 0;
}

/* nfqnl_recv_config() */
int kernel_configure(struct kernel *k, const struct kernel_request *request, const struct kernel_config *config)
{
	return kernel_reply(k, request, configure(k, request, config));
}
