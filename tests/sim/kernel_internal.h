/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the model share: its state, and who holds what. Each rule names the kernel function that it is
 * modelled on (net/netfilter: nfnetlink_queue.c, nf_queue.c, core.c; net/netlink: af_netlink.c); the words and the code
 * are our own.
 */
#ifndef TESTS_SIM_KERNEL_INTERNAL_H
#define TESTS_SIM_KERNEL_INTERNAL_H

#include "netlink.h"

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

/* kernel.c: the model, its sockets, and what its queues hold */
static inline bool kernel_wrong(const struct kernel *k, enum kernel_mistake mistake)
{
	return k->options.mistake == mistake;
}
void kernel_end(struct kernel *k, const struct kernel_packet *packet, enum kernel_fate fate);
struct queue *kernel_find_queue(struct kernel *k, uint16_t number);
ref kernel_find_entry(const struct kernel *k, uint16_t number, uint32_t id);
void kernel_hold(struct kernel *k, struct queue *q, ref e);
void kernel_unhold(struct kernel *k, struct queue *q, ref e);
void kernel_free_entry(struct kernel *k, ref e);
void kernel_flush_all(struct kernel *k, uint16_t device, enum kernel_fate fate);
void kernel_destroy(struct kernel *k, struct queue *q, enum kernel_fate fate);
int kernel_reply(struct kernel *k, const struct kernel_request *request, int err);

/* kernel_way.c: hooks, and queueing at them */
void kernel_deliver(struct kernel *k, const struct kernel_packet *packet);
/* From hook `at` to the end. */
void kernel_traverse(struct kernel *k, struct kernel_packet packet, unsigned at);
/* True: the caller goes on with the next hook. */
bool kernel_queue_packet(struct kernel *k, uint16_t number, bool bypass, struct kernel_packet *packet, unsigned at);

#endif
