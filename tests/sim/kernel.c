/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of the kernel's queue. Each rule names the kernel function that it is modelled on (net/netfilter:
 * nfnetlink_queue.c, nf_queue.c, core.c; net/netlink: af_netlink.c); the words and the code are our own.
 * Pure: no system call, no clock, and memory only in kernel_new().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netlink.h"

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

/* A packet that a queue holds: struct nf_queue_entry. */
struct entry {
	ref next, prev; /* in the queue, by id; `next` also in the list of free ones */
	ref same_hash;
	uint32_t id;
	uint16_t queue;
	bool read; /* its message */
	unsigned hook;
	struct kernel_packet packet;
};

/* struct nfqnl_instance */
struct queue {
	bool bound;
	uint16_t number;
	uint32_t portid;
	ref first, last;
	uint32_t held, read, length;
	uint32_t copy_mode, copy_range, flags;
	uint32_t queue_dropped, user_dropped, sequence;
};

struct kernel {
	struct kernel_options options;
	unsigned starve;
	unsigned hooks;
	struct kernel_hook hook[KERNEL_HOOKS];
	struct queue queue[KERNEL_QUEUES];
	struct netlink netlink;
	struct pool pool;
	struct entry *entry; /* pool.size + 1 of them */
	ref *bucket;         /* by queue and id; a power of two */
	unsigned buckets;
};

static void traverse(struct kernel *k, struct kernel_packet packet, unsigned at);

static bool wrong(const struct kernel *k, enum kernel_mistake mistake)
{
	return k->options.mistake == mistake;
}

static void end(struct kernel *k, const struct kernel_packet *packet, enum kernel_fate fate)
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
	k->netlink.congestion_ends = wrong(k, MISTAKE_CONGESTION_ENDS);
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

static struct queue *find_queue(struct kernel *k, uint16_t number)
{
	for (unsigned i = 0; i < KERNEL_QUEUES; i++)
		if (k->queue[i].bound && k->queue[i].number == number)
			return &k->queue[i];
	return NULL;
}

static ref find_entry(const struct kernel *k, uint16_t number, uint32_t id)
{
	ref e = *bucket_of((struct kernel *)k, number, id);

	while (e && (k->entry[e].id != id || k->entry[e].queue != number))
		e = k->entry[e].same_hash;
	return e;
}

const struct kernel_packet *kernel_held(const struct kernel *k, uint16_t queue, uint32_t id)
{
	const ref e = find_entry(k, queue, id);

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
	struct queue *q = find_queue(k, message->queue);
	const ref e = message->error ? 0 : find_entry(k, message->queue, message->id);

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
static int reply(struct kernel *k, const struct kernel_request *request, int err)
{
	const struct kernel_message message = {.error = true, .err = err, .tag = request->tag};
	uint32_t truesize = k->options.error_truesize;

	if (!err && !request->ack)
		return 0;
	if (!truesize)
		truesize = kernel_truesize(0, 0, 0);
	if (wrong(k, MISTAKE_ERROR_FREE))
		truesize = 0;
	netlink_post(&k->netlink, &k->netlink.socket[request->socket], &message, truesize);
	return err;
}

/* What a queue holds. */

/* __enqueue_entry() */
static void hold(struct kernel *k, struct queue *q, ref e)
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
static void unhold(struct kernel *k, struct queue *q, ref e)
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

static void free_entry(struct kernel *k, ref e)
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
		unhold(k, q, e);
		free_entry(k, e);
		if (fate == FATE_UNBIND && wrong(k, MISTAKE_UNBIND_ACCEPTS))
			traverse(k, packet, hook + 1);
		else
			end(k, &packet, fate);
	}
}

static void flush_all(struct kernel *k, uint16_t device, enum kernel_fate fate)
{
	for (unsigned i = 0; i < KERNEL_QUEUES; i++)
		if (k->queue[i].bound)
			flush(k, &k->queue[i], device, fate);
}

/* instance_destroy(): the number is free at once. */
static void destroy(struct kernel *k, struct queue *q, enum kernel_fate fate)
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
			destroy(k, &k->queue[i], FATE_CLOSE);
	netlink_empty(&k->netlink, s);
}

/* nfqnl_dev_drop() */
void kernel_device_down(struct kernel *k, uint16_t device)
{
	flush_all(k, device, FATE_DEVICE);
}

void kernel_starve(struct kernel *k, unsigned n)
{
	k->starve = n;
}

int kernel_queue_stat(const struct kernel *k, uint16_t queue, struct spw_queue_stat *stat)
{
	const struct queue *q = find_queue((struct kernel *)k, queue);

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
	struct queue *q = find_queue(k, queue);

	if (q)
		q->sequence = last;
}

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
	const uint32_t held = wrong(k, MISTAKE_READ_FREES_SLOT) ? q->held - q->read : q->held;
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
		free_entry(k, e);
		if (wrong(k, MISTAKE_OPEN_TAKES_ID) && (q->flags & SPW_FAIL_OPEN))
			q->sequence++;
		return overflow(q, &q->queue_dropped, FATE_FULL, fate);
	}
	k->entry[e] = (struct entry){.id = ++q->sequence, .queue = q->number, .hook = at, .packet = *packet};
	if (q->held >= k->options.table) {
		free_entry(k, e);
		return overflow(q, &q->queue_dropped, FATE_TABLE, fate);
	}
	if (!post_packet(k, q, &k->entry[e])) {
		free_entry(k, e);
		if (wrong(k, MISTAKE_SPILL_SPARES_ID))
			q->sequence--;
		return overflow(q, &q->user_dropped, FATE_SOCKET, fate);
	}
	hold(k, q, e);
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
	traverse(k, *packet, at + 1);
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
			end(k, &segment, FATE_AGGREGATE);
			if (wrong(k, MISTAKE_AGGREGATE_COUNTED))
				q->queue_dropped++;
			continue;
		}
		err = enqueue_single(k, q, &segment, at, &fate);
		if (err == -ENOSPC)
			traverse(k, segment, at + 1);
		else if (err)
			end(k, &segment, fate);
	}
}

/* nfqnl_enqueue_packet(). Besides what enqueue_single() says, -ESRCH: nobody is bound. */
static int enqueue(struct kernel *k, uint16_t number, struct kernel_packet *packet, unsigned at, enum kernel_fate *fate)
{
	struct queue *q = find_queue(k, number);

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
static bool queue_packet(struct kernel *k, uint16_t number, bool bypass, struct kernel_packet *packet, unsigned at)
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
		end(k, packet, fate);
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
	flush_all(k, 0, FATE_CHAIN);
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
static void deliver(struct kernel *k, const struct kernel_packet *packet)
{
	end(k, packet, packet->claimed > packet->length ? FATE_MALFORMED : FATE_DELIVERED);
}

/* nf_hook_slow(), nf_iterate(): from hook `at` to the end. */
static void traverse(struct kernel *k, struct kernel_packet packet, unsigned at)
{
	for (; at < k->hooks; at++) {
		const struct kernel_rule *rule = run_hook(&k->hook[at], &packet);

		if (!rule || rule->action == ACTION_ACCEPT)
			continue;
		if (rule->action == ACTION_DROP) {
			end(k, &packet, FATE_RULE);
			return;
		}
		if (!queue_packet(k, rule->queue, rule->bypass, &packet, at))
			return;
	}
	deliver(k, &packet);
}

void kernel_send(struct kernel *k, const struct kernel_packet *packet)
{
	struct kernel_packet fresh = *packet;

	fresh.inspected = fresh.opened = fresh.bypassed = 0;
	traverse(k, fresh, 0);
}

/* Verdicts. */

/*
 * nf_reinject(). ACCEPT and REPEAT only where nothing stands above the low byte: with it, ACCEPT acts like STOP, and
 * REPEAT like DROP.
 */
static void reinject(struct kernel *k, struct kernel_packet packet, unsigned hook, uint32_t value)
{
	packet.inspected++;
	if (value == NF_REPEAT && !wrong(k, MISTAKE_REPEAT_ACCEPTS)) {
		traverse(k, packet, hook);
	} else if (value == NF_ACCEPT || value == NF_REPEAT) {
		traverse(k, packet, hook + 1);
	} else if ((value & CODE_MASK) == NF_ACCEPT || (value & CODE_MASK) == NF_STOP) {
		deliver(k, &packet);
	} else if ((value & CODE_MASK) == NF_QUEUE) {
		if (queue_packet(k, (uint16_t)(value >> QUEUE_SHIFT), value & QUEUE_BYPASS, &packet, hook))
			traverse(k, packet, hook + 1);
	} else {
		end(k, &packet, FATE_VERDICT);
	}
}

/* nfqnl_recv_verdict(): marks and priority replace the packet's whole. */
static void dress(const struct kernel *k, struct kernel_packet *packet, const struct kernel_verdict *verdict)
{
	if (verdict->set & SPW_VERDICT_MARK)
		packet->mark = verdict->mark | (wrong(k, MISTAKE_MARK_MERGES) ? packet->mark : 0);
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

	*queue = find_queue(k, request->queue);
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
	const ref e = err ? 0 : find_entry(k, request->queue, id);
	bool whole = true;
	unsigned hook;

	if (!e)
		return reply(k, request, err ? err : -ENOENT);
	unhold(k, q, e);
	packet = k->entry[e].packet;
	hook = k->entry[e].hook;
	free_entry(k, e);
	if (verdict->set & SPW_VERDICT_PAYLOAD)
		whole = mangle(&packet, verdict);
	dress(k, &packet, verdict);
	reinject(k, packet, hook, whole ? verdict->value : NF_DROP);
	return reply(k, request, 0);
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
		if (after(entry->id, wrong(k, MISTAKE_BATCH_EXACT) ? id - 1 : id))
			break;
		if (wrong(k, MISTAKE_BATCH_WANTS_READ) && !entry->read)
			continue;
		unhold(k, q, e);
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
		return reply(k, request, err ? err : -ENOENT);
	for (ref e = first, next; e; e = next) {
		struct kernel_packet packet = k->entry[e].packet;
		const unsigned hook = k->entry[e].hook;

		next = k->entry[e].next;
		free_entry(k, e);
		dress(k, &packet, verdict);
		reinject(k, packet, hook, verdict->value);
	}
	return reply(k, request, 0);
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
	struct queue *q = find_queue(k, request->queue);
	const uint32_t command = config->set & KERNEL_COMMAND ? config->command : 0;

	*queue = NULL;
	if (q && q->portid != portid)
		return wrong(k, MISTAKE_OTHER_BUSY) && command == KERNEL_BIND ? -EBUSY : -EPERM;
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
		destroy(k, q, FATE_UNBIND);
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
		const uint32_t mask = wrong(k, MISTAKE_MASK_IGNORED) ? ~0u : config->mask;

		q->flags = (q->flags & ~mask) | (config->flags & mask);
	}
	return 0;
}

/* nfqnl_recv_config() */
int kernel_configure(struct kernel *k, const struct kernel_request *request, const struct kernel_config *config)
{
	return reply(k, request, configure(k, request, config));
}
