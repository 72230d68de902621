/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel's connection tracking knows of a packet's connection. It comes with each packet where the queue has
 * the flag SPW_CONNTRACK (`spillway run --conntrack on`), the kernel can do that, and some rule in the network
 * namespace uses conntrack: without one nothing is tracked. Data and what can be read off it: nothing here does I/O.
 */
#ifndef SPILLWAY_CONNTRACK_H
#define SPILLWAY_CONNTRACK_H

#include <spillway/packet.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Bits of spw_conntrack.has: what the kernel told. */
#define SPW_CONNTRACK_ID       (1u << 0)
#define SPW_CONNTRACK_STATUS   (1u << 1)
#define SPW_CONNTRACK_MARK     (1u << 2) /* left out by kernels that are built without it */
#define SPW_CONNTRACK_TIMEOUT  (1u << 3) /* only of an entry that is in the table: not with its first packet */
#define SPW_CONNTRACK_LABELS   (1u << 4) /* only where some rule uses labels: iptables' connlabel, nft's ct label set */
#define SPW_CONNTRACK_ORIGINAL (1u << 5)
#define SPW_CONNTRACK_REPLY    (1u << 6)
#define SPW_CONNTRACK_TCP      (1u << 7) /* which member of spw_conntrack.state counts */
#define SPW_CONNTRACK_SCTP     (1u << 8)
#define SPW_CONNTRACK_DCCP     (1u << 9)

/* How the packet stands to its connection; values of enum ip_conntrack_info in linux/netfilter/nf_conntrack_common.h.
 */
enum spw_conntrack_info {
	SPW_CT_ESTABLISHED = 0, /* there were packets in both directions; this one goes as the first did */
	SPW_CT_RELATED = 1,     /* of a new connection that an older one has announced, or an ICMP error about it */
	SPW_CT_NEW = 2,
	SPW_CT_ESTABLISHED_REPLY = 3, /* goes the other way */
	SPW_CT_RELATED_REPLY = 4,
};

/* One direction of a connection, as its packets look where they set out; addresses of both differ under NAT. */
struct spw_conntrack_tuple {
	uint8_t source[16]; /* as on the wire; IPv4: the first four bytes */
	uint8_t destination[16];
	uint16_t source_port; /* host byte order; 0: none. ICMP: its identifier, in both; 0 in `reply`: not known */
	uint16_t destination_port;
	uint16_t zone;     /* of this direction alone; 0 where spw_conntrack.zone holds for both */
	uint8_t family;    /* 4 or 6; 0: not told */
	uint8_t protocol;  /* IPPROTO_* */
	uint8_t icmp_type; /* of the original direction; in `reply` 0: not known */
	uint8_t icmp_code;
	uint8_t reserved[2];
};

/* A connection. Numbers are in host byte order. What is not known is 0, and its bit in `has` is clear. */
struct spw_conntrack {
	size_t size;        /* sizeof(struct spw_conntrack) as the caller knows it */
	uint32_t has;       /* SPW_CONNTRACK_* */
	uint32_t info;      /* enum spw_conntrack_info */
	uint32_t id;        /* of the entry; the same as conntrack -L -o id shows */
	uint32_t status;    /* bits IPS_* of linux/netfilter/nf_conntrack_common.h */
	uint32_t mark;      /* the connection's, not the packet's */
	uint32_t timeout;   /* seconds that the entry still has */
	uint32_t labels[4]; /* bit n of all 128: bit n % 32 of word n / 32 */
	uint16_t zone;      /* of both directions */
	uint8_t reserved[2];
	struct spw_conntrack_tuple original; /* as its first packet went */
	struct spw_conntrack_tuple reply;
	union {
		struct {
			uint8_t state;     /* TCP_CONNTRACK_* of linux/netfilter/nf_conntrack_tcp.h: 3 is established */
			uint8_t wscale[2]; /* window scale: of the first sender, of the other */
			uint8_t flags[2];  /* IP_CT_TCP_FLAG_*, likewise */
		} tcp;
		struct {
			uint8_t state;    /* SCTP_CONNTRACK_* of linux/netfilter/nf_conntrack_sctp.h */
			uint32_t vtag[2]; /* verification tags of both directions */
		} sctp;
		struct {
			uint8_t state; /* CT_DCCP_* of the kernel */
			uint8_t role;
			uint64_t handshake_seq;
		} dccp;
	} state;
};

/*
 * Decodes the connection of a packet. conntrack->size must say how much room there is; no more is written. It is read
 * from spw_packet.conntrack, that is from the packet's own message, when it is asked for: a packet of which nobody asks
 * costs nothing here. Allocates memory for the time of the call. Returns 0; -ENODATA: the packet has none (the queue
 * lacks the flag, or nothing tracks it); -EOPNOTSUPP: the library was built without libnetfilter_conntrack; -EBADMSG:
 * what is there is no connection; -ENOMEM; -EINVAL: no size, or *packet comes from a library that knows of none. On
 * failure *conntrack is as it was.
 */
int spw_packet_conntrack(const struct spw_packet *packet, struct spw_conntrack *conntrack);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
