/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A packet as the kernel's queue hands it over, decoded, and the verdict that answers it.
 * Data and what can be read off it: nothing here does I/O. Shared by programs on <spillway/queue.h> and inspectors.
 */
#ifndef SPILLWAY_PACKET_H
#define SPILLWAY_PACKET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

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
#define SPW_PACKET_HAS_CONNTRACK (1u << 10)

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
	/*
	 * In an inspector: keyed hash of the packet's flow, the same in both directions (see spw_flow_hash(); the key
	 * is the lane's). 0: it has no flow (not IP, or cut too short), or was not read by an inspector.
	 */
	uint64_t flow;
	/* The connection: spw_packet_conntrack() of <spillway/conntrack.h> decodes it. Queue flag SPW_CONNTRACK. */
	const void *conntrack; /* the attributes CTA_* of linux/netfilter/nfnetlink_conntrack.h */
	size_t conntrack_len;
	uint32_t conntrack_info; /* enum spw_conntrack_info */
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
/*
 * Inspectors, with SPW_ACCEPT only: no more of this flow need be shown, in either direction. Its packets are accepted
 * until it ends (TCP RST, FIN, or a new SYN) or has had none for two minutes. Remembered for packets whose ports are
 * known and that are no fragments; a flow pushed out of the table (65,536) is shown again.
 */
#define SPW_VERDICT_TRUST    (1u << 4)

/*
 * The connection's own mark and labels, where the queue's kernel tracks it; both directions have them, and whatever
 * comes later may go by them (iptables' connmark and connlabel, nft's ct mark and ct label). Inspectors: with
 * `spillway run --conntrack on` only. They are set also where the packet is dropped. Two packets of a connection that
 * wait before its first has passed have an entry each, of which one is thrown away with what was set in it. Labels can
 * be set only where some rule uses labels (iptables' connlabel, nft's ct label set), and where they can't, the kernel
 * sets neither them nor the mark, and says nothing.
 */
#define SPW_VERDICT_CT_MARK   (1u << 5) /* set ct_mark, in the bits of ct_mark_mask */
#define SPW_VERDICT_CT_LABELS (1u << 6) /* set ct_labels, in the bits of ct_labels_mask */

#define SPW_PAYLOAD_MAX 65531u /* bytes; the kernel's limit for one netlink attribute */

/*
 * A verdict. Fields beside `code` count only where their bit in `set` says so (`queue`: where code is SPW_QUEUE).
 * A replaced payload is the whole packet: where spw_packet.payload_len < length, it is refused,
 * because the kernel would cut the packet silently. In an inspector, lengths and checksums of it are mended (see
 * spw_packet_repair()), and of aggregates (SPW_PACKET_GSO) TCP's alone can be replaced; with <spillway/queue.h> both is
 * the program's affair. Kernels from 7.1 on drop it where extension headers, options, fragment bits or the length of
 * the IP header differ from before, and refuse it in the bridge family.
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
	uint32_t ct_mark, ct_mark_mask;
	uint32_t ct_labels[4], ct_labels_mask[4]; /* bit n of all 128: bit n % 32 of word n / 32 */
};

/*
 * A flow: protocol, addresses and ports, the lower end (address, then port) first, so that both directions are the same
 * flow. Made of zeros before it is filled in, without padding: flows compare by memcmp().
 */
struct spw_flow {
	uint8_t address[2][16]; /* as on the wire; IPv4: the first four bytes */
	uint16_t port[2];       /* host byte order. ICMP echo: its identifier, twice. 0: none known; so in fragments */
	uint8_t family;         /* 4 or 6; 0: no flow */
	uint8_t protocol;       /* IPPROTO_* behind the extension headers */
	uint8_t reserved[2];
};

/* Bits of spw_headers.has. */
#define SPW_HEADERS_NETWORK   (1u << 0) /* the IP header is whole, with its options or extension headers */
#define SPW_HEADERS_PORTS     (1u << 1) /* source_port and destination_port are known */
#define SPW_HEADERS_TRANSPORT (1u << 2) /* the TCP, UDP, ICMP, ICMPv6 or SCTP header is whole */
#define SPW_HEADERS_FRAGMENT  (1u << 3) /* a fragment of a larger packet */
#define SPW_HEADERS_LATER     (1u << 4) /* not its first: what follows the IP header is data from its middle */
#define SPW_HEADERS_TRUNCATED (1u << 5) /* the bytes captured end within the headers */
#define SPW_HEADERS_MALFORMED (1u << 6) /* a header contradicts itself; what stands before it is told */
#define SPW_HEADERS_ROUTED    (1u << 7) /* an IPv6 routing header has segments left: `destination` is not the last one */

/*
 * Where the headers of a packet are. Offsets count from spw_packet.payload on and never lead behind its payload_len.
 * What is not known is 0. Formats: RFC 791, 8200, 9293, 768, 792, 4443, 9260, 4302.
 */
struct spw_headers {
	size_t size;       /* sizeof(struct spw_headers) as the caller knows it */
	uint32_t has;      /* SPW_HEADERS_* */
	uint8_t family;    /* 4 or 6 */
	uint8_t protocol;  /* IPPROTO_* behind the extension headers */
	uint8_t tcp_flags; /* byte 13 of the TCP header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 */
	uint8_t icmp_type; /* of ICMP and ICMPv6 */
	uint8_t icmp_code;
	uint16_t source_port;      /* host byte order; TCP, UDP, UDP-Lite, SCTP, DCCP */
	uint16_t destination_port; /* likewise */
	uint16_t fragment_offset;  /* bytes before this fragment in the whole packet */
	size_t source;             /* offset of the source address, 4 or 16 bytes */
	size_t destination;        /* likewise */
	size_t transport;          /* offset of what follows the IP headers */
	size_t payload;            /* offset of what follows the transport header */
	size_t end;                /* of the packet by its own length field, or of what was captured: the lesser */
	struct spw_flow flow;
};

/*
 * Finds the headers of a packet. headers->size must say how much room there is; no more is written. Looks at nothing
 * but the bytes captured, which may be cut anywhere, lying or hostile. Returns 0 where there is an IP header, however
 * little follows (see `has`); -EPROTONOSUPPORT: it is not IP; -EBADMSG: not even the fixed part of its IP header is
 * there, or that is none; -EINVAL: no size. On failure *headers is as it was.
 */
int spw_packet_headers(const struct spw_packet *packet, struct spw_headers *headers);

/*
 * SipHash-2-4 over a flow: the addresses as they are, both ports in network byte order, protocol, family and two zero
 * bytes, 40 bytes in all. `key` is 128 bits that senders must not know: else they can choose flows that collide. Never
 * 0 for a flow; 0 where flow->family is 0.
 */
uint64_t spw_flow_hash(const struct spw_flow *flow, const uint64_t key[2]);

/*
 * Makes lengths and checksums of an IP packet of `len` bytes right after it was changed: IPv4 total length and header
 * checksum, IPv6 payload length, UDP length, checksums of TCP, UDP, ICMP and ICMPv6. `hw_protocol` as in spw_packet;
 * what is not IP stays as it is. Checksums of a fragment's transport header stay too: they cover what is elsewhere.
 * SCTP and UDP-Lite are not mended. An inspector need not call it: SPW_VERDICT_PAYLOAD does. Returns 0, or a negative
 * errno with the packet as it was: -EBADMSG: its headers are cut or contradict themselves; -EOPNOTSUPP: an IPv6 routing
 * header that has segments left (the checksum covers an address that is not yet the destination); -EMSGSIZE: more than
 * 65,531 bytes.
 */
int spw_packet_repair(void *packet, size_t len, uint16_t hw_protocol);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
