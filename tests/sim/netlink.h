/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Netlink sockets of the model: what lies in them, how much room it takes, when they refuse. Private to tests/sim;
 * knows no queue. Memory only in netlink_init().
 */
#ifndef TESTS_SIM_NETLINK_H
#define TESTS_SIM_NETLINK_H

#include "kernel.h"

/* Things in a pool are named by their place, from 1 on; 0 is none. */
typedef uint32_t ref;

struct pool {
	unsigned size, fresh; /* places never used begin at fresh + 1 */
	ref free;
};

/* A place from the pool, whose first free one is followed by `next_free`. 0: none left. */
ref pool_take(struct pool *pool, ref next_free);

/* A message in a socket. */
struct message {
	ref next;
	uint32_t truesize;
	struct kernel_message content;
};

/* struct netlink_sock */
struct socket {
	unsigned holders;
	uint32_t portid, limit, used, drops;
	bool no_enobufs, congested, overrun, filtered;
	ref first, last;
};

struct netlink {
	bool congestion_ends; /* MISTAKE_CONGESTION_ENDS */
	struct socket socket[KERNEL_SOCKETS];
	struct pool pool;
	struct message *message; /* pool.size + 1 of them */
};

/* False: no memory. */
bool netlink_init(struct netlink *n, unsigned messages);
void netlink_fini(struct netlink *n);
void netlink_reset(struct netlink *n);

/* A handle, or -EADDRINUSE, -EMFILE. */
int netlink_open(struct netlink *n, uint32_t portid, uint32_t buffer);
/* Throws away what lies in it. */
void netlink_empty(struct netlink *n, struct socket *s);
/* NULL: nobody has the port. */
struct socket *netlink_find(struct netlink *n, uint32_t portid);
void netlink_set_no_enobufs(struct socket *s, bool on);

/* False: it found no room. A message that the socket's own filter throws away counts as taken. */
bool netlink_post(struct netlink *n, struct socket *s, const struct kernel_message *content, uint32_t truesize);
/* As kernel_receive(), kernel_peek() where `keep`. */
int netlink_receive(struct netlink *n, struct socket *s, struct kernel_message *content, bool keep);

#endif
