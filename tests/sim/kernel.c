/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of the kernel's queue: its making, its sockets, what its queues hold and lose. Pure: no system call, no
 * clock, and memory only in kernel_new().
 */
#include "kernel_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const kernel_fate_names[FATES] = {
    [FATE_DELIVERED] = "delivered", [FATE_RULE] = "rule",           [FATE_VERDICT] = "verdict",
    [FATE_FULL] = "full",           [FATE_TABLE] = "table",         [FATE_SOCKET] = "socket",
    [FATE_AGGREGATE] = "aggregate", [FATE_NO_QUEUE] = "no queue",   [FATE_NO_MODE] = "no mode",
    [FATE_NO_MEMORY] = "no memory", [FATE_UNBIND] = "unbind",       [FATE_CLOSE] = "close",
    [FATE_DEVICE] = "device",       [FATE_CHAIN] = "chain deleted", [FATE_MALFORMED] = "malformed",
};

const char *const kernel_mistake_names[MISTAKES] = {
    [MISTAKE_NONE] = "none",
    [MISTAKE_OPEN_TAKES_ID] = "open-takes-id",
    [MISTAKE_SPILL_SPARES_ID] = "spill-spares-id",
    [MISTAKE_READ_FREES_SLOT] = "read-frees-slot",
    [MISTAKE_BATCH_WANTS_READ] = "batch-wants-read",
    [MISTAKE_BATCH_EXACT] = "batch-exact",
    [MISTAKE_MARK_MERGES] = "mark-merges",
    [MISTAKE_MASK_IGNORED] = "mask-ignored",
    [MISTAKE_OTHER_BUSY] = "other-busy",
    [MISTAKE_UNBIND_ACCEPTS] = "unbind-accepts",
    [MISTAKE_REPEAT_ACCEPTS] = "repeat-accepts",
    [MISTAKE_AGGREGATE_COUNTED] = "aggregate-counted",
    [MISTAKE_CONGESTION_ENDS] = "congestion-ends",
    [MISTAKE_ERROR_FREE] = "error-free",
};

void kernel_end(struct kernel *k, const struct kernel_packet *packet, enum kernel_fate fate)
{
	if (k->options.fate)
		k->options.fate(k->options.context, packet, fate);
}

/* Making, emptying, freeing. */

struct kernel *kernel_new(const struct kernel_options *options)
{
	struct kernel *k = calloc(1, sizeof(*k));
	bool messages;

	if (!k)
		return NULL;
	k->options = *options;
	if (!k->options.table)
		k->options.table = KERNEL_TABLE;
	k->pool.size = options->packets ? options->packets : KERNEL_TABLE + 16;
	k->buckets = 1;
	while (k->buckets < k->pool.size)
		k->buckets *= 2;
	k->netlink.congestion_ends = kernel_wrong(k, MISTAKE_CONGESTION_ENDS);
	messages = netlink_init(&k->netlink, options->messages ? options->messages : k->pool.size);
	k->entry = calloc((size_t)k->pool.size + 1, sizeof(*k->entry));
	k->bucket = calloc(k->buckets, sizeof(*k->bucket));
	if (messages && k->entry && k->bucket)
		return k;
	kernel_free(k);
	return NULL;
}

void kernel_free(struct kernel *k)
{
	if (!k)
		return;
	netlink_fini(&k->netlink);
	free(k->entry);
	free(k->bucket);
	free(k);
}

static ref *bucket_of(struct kernel *k, uint16_t queue, uint32_t id)
{
	return &k->bucket[(id + queue * 7919u) & (k->buckets - 1)];
}

void kernel_reset(struct kernel *k)
{
	for (ref e = 1; e <= k->pool.fresh; e++)
		*bucket_of(k, k->entry[e].queue, k->entry[e].id) = 0;
	k->pool.fresh = 0;
	k->pool.free = 0;
	k->starve = 0;
	k->hooks = 0;
	memset(k->queue, 0, sizeof(k->queue));
	netlink_reset(&k->netlink);
}

struct queue *kernel_find_queue(struct kernel *k, uint16_t number)
{
	for (unsigned i = 0; i < KERNEL_QUEUES; i++)
		if (k->queue[i].bound && k->queue[i].number == number)
			return &k->queue[i];
	return NULL;
}

ref kernel_find_entry(const struct kernel *k, uint16_t number, uint32_t id)
{
	ref e = *bucket_of((struct kernel *)k, number, id);

	while (e && (k->entry[e].id != id || k->entry[e].queue != number))
		e = k->entry[e].same_hash;
	return e;
}

const struct kernel_packet *kernel_held(const struct kernel *k, uint16_t queue, uint32_t id)
{
	const ref e = kernel_find_entry(k, queue, id);

	return e ? &k->entry[e].packet : NULL;
}

/* Sockets. */

int kernel_socket(struct kernel *k, uint32_t portid, uint32_t buffer)
{
	return netlink_open(&k->netlink, portid, buffer);
}

void kernel_dup(struct kernel *k, int s)
{
	k->netlink.socket[s].holders++;
}

void kernel_set_buffer(struct kernel *k, int s, uint32_t buffer)
{
	k->netlink.socket[s].limit = buffer;
}

void kernel_set_no_enobufs(struct kernel *k, int s, bool on)
{
	netlink_set_no_enobufs(&k->netlink.socket[s], on);
}

void kernel_set_filter(struct kernel *k, int s, bool on)
{
	k->netlink.socket[s].filtered = on;
}

void kernel_socket_stat(const struct kernel *k, int s, struct spw_socket_stat *stat)
{
	const struct socket *socket = &k->netlink.socket[s];

	*stat = (struct spw_socket_stat){.used = socket->used, .limit = socket->limit, .drops = socket->drops};
}

/* Only the mistakes that can be planted want to know what has been read. */
static void note_read(struct kernel *k, const struct kernel_message *message)
{
	struct queue *q = kernel_find_queue(k, message->queue);
	const ref e = message->error ? 0 : kernel_find_entry(k, message->queue, message->id);

	if (!q || !e)
		return;
	q->read += !k->entry[e].read;
	k->entry[e].read = true;
}

static int look(struct kernel *k, int s, struct kernel_message *message, bool keep)
{
	struct kernel_message content;
	const int err = netlink_receive(&k->netlink, &k->netlink.socket[s], &content, keep);

	if (err)
		return err;
	note_read(k, &content);
	if (message)
		*message = content;
	return 0;
}

int kernel_receive(struct kernel *k, int s, struct kernel_message *message)
{
	return look(k, s, message, false);
}

int kernel_peek(struct kernel *k, int s, struct kernel_message *message)
{
	return look(k, s, message, true);
}

/* netlink_rcv_skb(), netlink_ack(): the answer is a message like any other, and may find no room. */
int kernel_reply(struct kernel *k, const struct kernel_request *request, int err)
{
	const struct kernel_message message = {.error = true, .err = err, .tag = request->tag};
	uint32_t truesize = k->options.error_truesize;

	if (!err && !request->ack)
		return 0;
	if (!truesize)
		truesize = kernel_truesize(0, 0, 0);
	if (kernel_wrong(k, MISTAKE_ERROR_FREE))
		truesize = 0;
	netlink_post(&k->netlink, &k->netlink.socket[request->socket], &message, truesize);
	return err;
}

/* What a queue holds. */

/* __enqueue_entry() */
void kernel_hold(struct kernel *k, struct queue *q, ref e)
{
	struct entry *entry = &k->entry[e];
	ref *bucket = bucket_of(k, q->number, entry->id);

	entry->same_hash = *bucket;
	*bucket = e;
	entry->prev = q->last;
	entry->next = 0;
	if (q->last)
		k->entry[q->last].next = e;
	else
		q->first = e;
	q->last = e;
	q->held++;
}

/* __dequeue_entry(): out of the queue, still in the pool */
void kernel_unhold(struct kernel *k, struct queue *q, ref e)
{
	const struct entry *entry = &k->entry[e];
	ref *link = bucket_of(k, q->number, entry->id);

	while (*link != e)
		link = &k->entry[*link].same_hash;
	*link = entry->same_hash;
	*(entry->prev ? &k->entry[entry->prev].next : &q->first) = entry->next;
	*(entry->next ? &k->entry[entry->next].prev : &q->last) = entry->prev;
	q->held--;
	q->read -= entry->read;
}

void kernel_free_entry(struct kernel *k, ref e)
{
	k->entry[e].next = k->pool.free;
	k->pool.free = e;
}

/* nfqnl_flush(): drops what is held, by one device or all; no counter moves. */
static void flush(struct kernel *k, struct queue *q, uint16_t device, enum kernel_fate fate)
{
	for (ref e = q->first, next; e; e = next) {
		const struct kernel_packet packet = k->entry[e].packet;
		const unsigned hook = k->entry[e].hook;

		next = k->entry[e].next;
		if (device && packet.indev != device && packet.outdev != device)
			continue;
		kernel_unhold(k, q, e);
		kernel_free_entry(k, e);
		if (fate == FATE_UNBIND && kernel_wrong(k, MISTAKE_UNBIND_ACCEPTS))
			kernel_traverse(k, packet, hook + 1);
		else
			kernel_end(k, &packet, fate);
	}
}

void kernel_flush_all(struct kernel *k, uint16_t device, enum kernel_fate fate)
{
	for (unsigned i = 0; i < KERNEL_QUEUES; i++)
		if (k->queue[i].bound)
			flush(k, &k->queue[i], device, fate);
}

/* instance_destroy(): the number is free at once. */
void kernel_destroy(struct kernel *k, struct queue *q, enum kernel_fate fate)
{
	q->bound = false;
	flush(k, q, 0, fate);
}

/* netlink_release(), nfqnl_rcv_nl_event(): at the last holder's close, every queue of the port. */
void kernel_close(struct kernel *k, int number)
{
	struct socket *s = &k->netlink.socket[number];

	if (--s->holders)
		return;
	for (unsigned i = 0; i < KERNEL_QUEUES; i++)
		if (k->queue[i].bound && k->queue[i].portid == s->portid)
			kernel_destroy(k, &k->queue[i], FATE_CLOSE);
	netlink_empty(&k->netlink, s);
}

/* nfqnl_dev_drop() */
void kernel_device_down(struct kernel *k, uint16_t device)
{
	kernel_flush_all(k, device, FATE_DEVICE);
}

void kernel_starve(struct kernel *k, unsigned n)
{
	k->starve = n;
}

int kernel_queue_stat(const struct kernel *k, uint16_t queue, struct spw_queue_stat *stat)
{
	const struct queue *q = kernel_find_queue((struct kernel *)k, queue);

	if (!q)
		return -ENODEV;
	*stat = (struct spw_queue_stat){.portid = q->portid,
					.held = q->held,
					.copy_mode = q->copy_mode,
					.copy_range = q->copy_range,
					.queue_dropped = q->queue_dropped,
					.user_dropped = q->user_dropped,
					.id_sequence = q->sequence};
	return 0;
}

void kernel_set_sequence(struct kernel *k, uint16_t queue, uint32_t last)
{
	struct queue *q = kernel_find_queue(k, queue);

	if (q)
		q->sequence = last;
}
