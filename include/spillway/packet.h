/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A packet as the kernel's queue hands it over, decoded, and the verdict that answers it.
 * Describes data only: nothing here does I/O. Shared by programs on <spillway/queue.h> and inspectors.
 */
#ifndef SPILLWAY_PACKET_H
#define SPILLWAY_PACKET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of spw_packet.has: which optional attribute the kernel's message carried. */
#define SPW_PACKET_HAS_MARK      (1u << 0)
#define SPW_PACKET_HAS_TIMESTAMP (1u << 1)
#define SPW_PACKET_HAS_HWADDR    (1u << 2)
#define SPW_PACKET_HAS_UID       (1u << 3)
#define SPW_PACKET_HAS_GID       (1u << 4)
#define SPW_PACKET_HAS_SECCTX    (1u << 5)
#define SPW_PACKET_HAS_VLAN      (1u << 6)
#define SPW_PACKET_HAS_L2HDR     (1u << 7)
#define SPW_PACKET_HAS_PRIORITY  (1u << 8)
#define SPW_PACKET_HAS_PAYLOAD   (1u << 9)

/* Bits of spw_packet.skb_info; values of NFQA_SKB_* in linux/netfilter/nfnetlink_queue.h. */
#define SPW_PACKET_CHECKSUM_NOT_READY    (1u << 0) /* checksums are left to the network card */
#define SPW_PACKET_GSO                   (1u << 1) /* an aggregate larger than the MTU */
#define SPW_PACKET_CHECKSUM_NOT_VERIFIED (1u << 2) /* nobody has checked the checksums yet */

/*
 * One queued packet. Pointers lead into the receive buffer and live as long as it does
 * (in an inspector: until its packet function returns). Numbers are in host byte order
 * unless said otherwise. An attribute that the kernel left out is 0 (NULL), and its bit in `has` is clear.
 * New fields are only ever added at the end; `size` says how much of it the library filled in.
 */
struct spw_packet {
	size_t size;          /* sizeof(struct spw_packet) as the library knows it */
	uint32_t has;         /* SPW_PACKET_HAS_* */
	uint32_t id;          /* the kernel's id, counting from 1 in each queue, wrapping at 2^32 */
	uint16_t queue;       /* queue number */
	uint16_t hw_protocol; /* EtherType: 0x0800 IPv4, 0x86dd IPv6 */
	uint8_t family;       /* AF_INET, AF_INET6 or AF_BRIDGE: of the hook, not of the packet */
	uint8_t hook;         /* NF_INET_* of linux/netfilter.h, or NF_BR_* where family is AF_BRIDGE */
	uint16_t hwaddr_len;  /* bytes in hwaddr that count, at most 8 */
	uint8_t hwaddr[8];    /* the sender's link-layer address */
	uint32_t mark;        /* skb mark */
	uint32_t priority;    /* skb priority */
	uint32_t indev;       /* interface indexes; 0: none */
	uint32_t outdev;
	uint32_t physindev; /* the bridge's ports, where a bridge passes packets to iptables */
	uint32_t physoutdev;
	uint32_t skb_info; /* SPW_PACKET_GSO and so on */
	uint32_t uid; /* of the local socket, as the first user namespace knows it; queue flag NFQA_CFG_F_UID_GID */
	uint32_t gid;
	uint16_t vlan_proto; /* EtherType of the tag: 0x8100 or 0x88a8 */
	uint16_t vlan_tci;
	uint64_t timestamp_us; /* reception, microseconds since 1970 */
	const char *secctx;    /* security context, not NUL-terminated; flag NFQA_CFG_F_SECCTX */
	size_t secctx_len;
	const uint8_t *l2hdr; /* link-layer header, bridge family only */
	size_t l2hdr_len;
	const uint8_t *payload; /* from the network header on */
	size_t payload_len;     /* bytes in payload: what was captured */
	size_t
	    length; /* bytes that the packet really has; more than payload_len where it was cut; 0 in SPW_COPY_META */
};

/* What to do with a packet. Values of NF_* in linux/netfilter.h. */
enum spw_verdict_code {
	SPW_DROP = 0,
	SPW_ACCEPT = 1, /* on to the next hook */
	SPW_QUEUE = 3,  /* to another queue: spw_verdict.queue */
	SPW_REPEAT = 4, /* through the same hook again, with a new id; needs a rule that ends the loop */
};

#define SPW_VERDICT_MARK     (1u << 0) /* set the packet's whole mark: the kernel takes no mask */
#define SPW_VERDICT_PRIORITY (1u << 1) /* set the packet's priority */
#define SPW_VERDICT_PAYLOAD  (1u << 2) /* replace the packet, from the network header on */
#define SPW_VERDICT_BYPASS   (1u << 3) /* SPW_QUEUE only: accept if nobody listens there */

#define SPW_PAYLOAD_MAX 65531u /* bytes; the kernel's limit for one netlink attribute */

/*
 * A verdict. Fields beside `code` count only where their bit in `set` says so (`queue`: where code is SPW_QUEUE).
 * A replaced payload is the whole packet: where spw_packet.payload_len < length, it is refused,
 * because the kernel would cut the packet silently.
 */
struct spw_verdict {
	size_t size;   /* sizeof(struct spw_verdict) as the caller knows it */
	uint32_t code; /* enum spw_verdict_code */
	uint32_t set;  /* SPW_VERDICT_* */
	uint32_t mark;
	uint32_t priority;
	uint16_t queue;
	const void *payload; /* must stay valid until the function that takes the verdict returns */
	size_t payload_len;  /* at most 65,531 bytes */
};

#ifdef __cplusplus
}
#endif
#endif
