/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UDP datagrams from addresses that are nobody's, by a raw socket: what the lab's senders of very many flows share.
 * Sources are benchmark addresses (198.18.0.0/15, RFC 2544), which no other host has. Needs CAP_NET_RAW.
 */
#ifndef SPW_LAB_RAW_H
#define SPW_LAB_RAW_H

#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_BATCH     64u
#define RAW_MOST      1400u  /* bytes behind the UDP header */
#define RAW_ADDRESSES 65000u /* of a network of 16 bits */

struct raw_datagram {
	struct iphdr ip;
	struct udphdr udp;
	uint8_t data[RAW_MOST];
};

/* Collects datagrams and sends them in one call. */
struct raw_sender {
	int fd;
	uint32_t network; /* of the sources, host order */
	size_t bytes;     /* behind the UDP header */
	struct sockaddr_in to;
	unsigned filled;
	uint64_t sent, refused;
	struct raw_datagram datagram[RAW_BATCH];
	struct iovec vector[RAW_BATCH];
	struct mmsghdr message[RAW_BATCH];
};

/* Of `bytes` each to address and port, from `network`. */
static inline bool raw_open(struct raw_sender *s, const char *address, const char *port, uint32_t network, size_t bytes)
{
	s->fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	s->to.sin_family = AF_INET;
	s->network = network;
	s->bytes = bytes;
	if (s->fd < 0 || bytes > RAW_MOST || inet_pton(AF_INET, address, &s->to.sin_addr) != 1)
		return false;
	for (unsigned i = 0; i < RAW_BATCH; i++) {
		struct raw_datagram *d = &s->datagram[i];
		const size_t all = sizeof(d->ip) + sizeof(d->udp) + bytes;

		/* The kernel adds id and checksum of the IP header; UDP's is left out. */
		d->ip = (struct iphdr){.version = 4,
				       .ihl = 5,
				       .tot_len = htons((uint16_t)all),
				       .ttl = 64,
				       .protocol = IPPROTO_UDP,
				       .daddr = s->to.sin_addr.s_addr};
		d->udp.dest = htons((uint16_t)number(port));
		d->udp.len = htons((uint16_t)(sizeof(d->udp) + bytes));
		s->vector[i] = (struct iovec){d, all};
		s->message[i].msg_hdr = (struct msghdr){
		    .msg_name = &s->to, .msg_namelen = sizeof(s->to), .msg_iov = &s->vector[i], .msg_iovlen = 1};
	}
	return true;
}

static inline void raw_flush(struct raw_sender *s)
{
	for (unsigned done = 0; done < s->filled;) {
		const int n = sendmmsg(s->fd, s->message + done, s->filled - done, 0);

		if (n > 0) {
			s->sent += (unsigned)n;
			done += (unsigned)n;
		} else if (errno != EINTR) {
			s->refused++;
			done++;
		}
	}
	s->filled = 0;
}

/* A datagram of flow n, which is an address and a port; data: its bytes to be filled in before the next call. */
static inline uint8_t *raw_next(struct raw_sender *s, uint32_t n)
{
	struct raw_datagram *d;

	if (s->filled == RAW_BATCH)
		raw_flush(s);
	d = &s->datagram[s->filled++];
	d->ip.saddr = htonl(s->network + 1 + n % RAW_ADDRESSES);
	d->ip.id = 0;
	d->udp.source = htons((uint16_t)(1024 + n / RAW_ADDRESSES % 60000));
	return d->data;
}

#endif
