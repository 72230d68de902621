/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Netlink sockets of the model, after net/netlink/af_netlink.c; each rule names the function that it is modelled on,
 * the words and the code are our own. Pure: no system call, no clock, and memory only in netlink_init().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netlink.h"

ref pool_take(struct pool *pool, ref next_free)
{
	const ref free = pool->free;

	if (free) {
		pool->free = next_free;
		return free;
	}
	return pool->fresh < pool->size ? ++pool->fresh : 0;
}

bool netlink_init(struct netlink *n, unsigned messages)
{
	n->pool.size = messages;
	n->message = calloc((size_t)messages + 1, sizeof(*n->message));
	return n->message != NULL;
}

void netlink_fini(struct netlink *n)
{
	free(n->message);
}

void netlink_reset(struct netlink *n)
{
	n->pool.fresh = 0;
	n->pool.free = 0;
	memset(n->socket, 0, sizeof(n->socket));
}

struct socket *netlink_find(struct netlink *n, uint32_t portid)
{
	for (unsigned i = 0; i < KERNEL_SOCKETS; i++)
		if (n->socket[i].holders && n->socket[i].portid == portid)
			return &n->socket[i];
	return NULL;
}

int netlink_open(struct netlink *n, uint32_t portid, uint32_t buffer)
{
	if (netlink_find(n, portid))
		return -EADDRINUSE;
	for (int s = 0; s < KERNEL_SOCKETS; s++) {
		if (n->socket[s].holders)
			continue;
		n->socket[s] = (struct socket){.holders = 1, .portid = portid, .limit = buffer};
		return s;
	}
	return -EMFILE;
}

/* netlink_setsockopt(): switching it on ends congestion; an overrun that nobody has been told of stays. */
void netlink_set_no_enobufs(struct socket *s, bool on)
{
	s->no_enobufs = on;
	if (on)
		s->congested = false;
}

/* netlink_overrun() */
static void overrun(struct socket *s)
{
	s->drops++;
	if (s->no_enobufs || s->congested)
		return;
	s->congested = true;
	s->overrun = true;
}

/* netlink_unicast(), netlink_attachskb(): an empty socket takes one message, however large. */
bool netlink_post(struct netlink *n, struct socket *s, const struct kernel_message *content, uint32_t truesize)
{
	const uint64_t used = (uint64_t)s->used + truesize;
	ref m = 0;

	if (s->filtered)
		return true;
	if (!s->congested && (!s->used || used <= s->limit))
		m = pool_take(&n->pool, n->message[n->pool.free].next);
	if (!m) {
		overrun(s);
		return false;
	}
	n->message[m] = (struct message){.truesize = truesize, .content = *content};
	*(s->last ? &n->message[s->last].next : &s->first) = m;
	s->last = m;
	s->used += truesize;
	return true;
}

static void remove_first(struct netlink *n, struct socket *s)
{
	const ref m = s->first;

	s->first = n->message[m].next;
	if (!s->first)
		s->last = 0;
	s->used -= n->message[m].truesize;
	n->message[m].next = n->pool.free;
	n->pool.free = m;
}

void netlink_empty(struct netlink *n, struct socket *s)
{
	while (s->first)
		remove_first(n, s);
}

/* netlink_recvmsg(), netlink_rcv_wake(): an overrun is told first; congestion ends when the socket is found empty. */
int netlink_receive(struct netlink *n, struct socket *s, struct kernel_message *content, bool keep)
{
	int err = 0;

	if (s->overrun) {
		s->overrun = false;
		err = -ENOBUFS;
	} else if (!s->first) {
		err = -EAGAIN;
	} else {
		*content = n->message[s->first].content;
		if (!keep)
			remove_first(n, s);
	}
	if (!s->first || n->congestion_ends)
		s->congested = false;
	return err;
}

/*
 * kmalloc's sizes for the linear part and struct skb_shared_info behind it (alloc_skb(), kmalloc_size_roundup()): one
 * cache for small heads, else powers of two. What lies in page fragments is charged by its bytes, unless all of it fits
 * into what is left of the linear part (skb_zerocopy()). Room is made for every attribute that a packet may come with
 * (nfqnl_build_packet_message()); how much is left goes by the ones of a packet that came in, without a mark.
 */
uint32_t kernel_truesize(uint32_t copied, uint32_t linear, uint32_t queue_flags)
{
	const uint32_t shared_info = 320;
	const uint32_t sk_buff = 256;
	const uint32_t small = 576;
	const uint32_t reserved = 120 + (queue_flags & SPW_UID_GID ? 16 : 0) + (copied ? 4 : 0);
	const uint32_t written = 76;
	const uint32_t head = linear < copied ? linear : copied;
	uint32_t room = small;

	if (reserved + head + shared_info > small)
		for (room = 1024; room < reserved + head + shared_info;)
			room *= 2;
	return room + sk_buff + (written + copied + shared_info <= room ? 0 : copied - head);
}
