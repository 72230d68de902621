/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a packet to its flow, for the gate's programs: bounded, on copies of headers. A packet that can't be read has no
 * flow; none is refused for that.
 */
#ifndef SPW_GATE_PARSE_BPF_H
#define SPW_GATE_PARSE_BPF_H

#define EXTENSIONS      8u           /* of IPv6, looked through */
#define FRAGMENTS       4096u        /* packets in fragments that are remembered */
#define FRAGMENT_AGE_NS 30000000000u /* the kernel's own reassembly gives up then */

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_ACK 0x10u

struct packet {
	struct gate_key key;
	uint64_t first;     /* see struct gate_slot */
	uint32_t length;    /* from the network header on */
	uint32_t inner;     /* ICMP error: where the packet inside begins; else 0 */
	uint16_t direction; /* 1: the sender is the sorted key's second end */
	uint8_t tcp;        /* flags; 0: none seen */
	uint8_t alone;      /* a later fragment whose first one is not known */
	uint32_t reserved;
};

/* The network header, and the start of what follows it. */
struct headers {
	_Alignas(8) uint8_t ip[40];
	_Alignas(8) uint8_t transport[24];
	uint32_t at;  /* where the transport header begins */
	uint32_t got; /* bytes of it: 20, 8, 4 or none */
	uint32_t id;  /* the fragments' */
	uint8_t protocol;
	uint8_t later, more; /* fragments: not the first, not the last */
};

struct fragment_key {
	uint64_t address[2][2];
	uint32_t id;
	uint16_t vlan;
	uint8_t protocol;
	uint8_t reserved;
};

struct fragment {
	uint64_t seen_ns;
	uint16_t port[2];
	uint32_t reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

static __always_inline uint16_t get16(const uint8_t *bytes)
{
	return bpf_ntohs(*(const uint16_t *)bytes);
}

static __always_inline void load_transport(struct __sk_buff *skb, struct headers *h)
{
	if (!bpf_skb_load_bytes(skb, h->at, h->transport, 20))
		h->got = 20;
	else if (!bpf_skb_load_bytes(skb, h->at, h->transport, 8))
		h->got = 8;
	else if (!bpf_skb_load_bytes(skb, h->at, h->transport, 4))
		h->got = 4;
	else
		h->got = 0;
}

static __always_inline int read_v4(struct __sk_buff *skb, uint32_t off, struct headers *h, struct packet *p)
{
	const uint32_t words = h->ip[0] & 15;
	uint16_t fragment;

	if (words < 5)
		return -1;
	h->at = off + 4 * words;
	if (h->got && words == 5)
		__builtin_memcpy(h->transport, h->ip + 20, 20);
	else
		load_transport(skb, h);
	fragment = get16(h->ip + 6);
	h->later = (fragment & 0x1fff) != 0;
	h->more = (fragment & 0x2000) != 0;
	h->id = get16(h->ip + 4);
	h->protocol = h->ip[9];
	p->key.address[0][0] = 0;
	p->key.address[0][1] = gate_key_v4(*(uint32_t *)(h->ip + 12));
	p->key.address[1][0] = 0;
	p->key.address[1][1] = gate_key_v4(*(uint32_t *)(h->ip + 16));
	/* The identifier, and the checksum over it. */
	p->first = (uint64_t) * (uint32_t *)(h->ip + 4) << 32 | *(uint32_t *)(h->ip + 8);
	return 0;
}

/* Steps over one extension header. 1: there may be another; 0: the transport header is reached; -1: cut off. */
static __always_inline int step_over(struct __sk_buff *skb, struct headers *h)
{
	uint8_t bytes[8] __attribute__((aligned(8)));

	switch (h->protocol) {
	case 0:  /* hop by hop */
	case 43: /* routing */
	case 60: /* destination */
	case 44: /* fragment */
	case 51: /* authentication */
		break;
	default:
		return 0;
	}
	if (bpf_skb_load_bytes(skb, h->at, bytes, 8))
		return -1;
	if (h->protocol == 44) {
		h->later = (get16(bytes + 2) & 0xfff8) != 0;
		h->more = bytes[3] & 1;
		h->id = bpf_ntohl(*(uint32_t *)(bytes + 4));
		h->at += 8;
	} else {
		h->at += h->protocol == 51 ? 4 * (bytes[1] + 2u) : 8 * (bytes[1] + 1u);
	}
	h->protocol = bytes[0];
	/* What a later fragment begins with is no header. */
	return !h->later;
}

static __always_inline int read_v6(struct __sk_buff *skb, uint32_t off, struct headers *h, struct packet *p)
{
	int more = 1;

	h->protocol = h->ip[6];
	h->at = off + 40;
	h->later = 0;
	h->more = 0;
	h->id = 0;
	for (uint32_t i = 0; i < EXTENSIONS && more > 0; i++)
		more = step_over(skb, h);
	/* Cut off, or too many: the addresses alone. */
	h->got = 0;
	if (!more)
		load_transport(skb, h);
	__builtin_memcpy(p->key.address, h->ip + 8, 32);
	p->first = h->got >= 8 ? *(uint64_t *)h->transport : 0;
	return 0;
}

/* Ports, or what stands for them; an ICMP error's packet inside. */
static __always_inline void read_transport(const struct headers *h, struct packet *p)
{
	const uint8_t type = h->transport[0];
	bool error = false, echo = false;

	if (h->got < 4)
		return;
	switch (h->protocol) {
	case 6: /* TCP */
		if (h->got >= 20)
			p->tcp = h->transport[13];
		break;
	case 17:  /* UDP */
	case 33:  /* DCCP */
	case 132: /* SCTP */
	case 136: /* UDP-Lite */
		break;
	case 1:
		error = (type >= 3 && type <= 5) || type == 11 || type == 12;
		echo = type == 0 || type == 8 || type == 13 || type == 14;
		break;
	case 58:
		error = type >= 1 && type <= 4;
		echo = type == 128 || type == 129;
		break;
	default:
		return;
	}
	if (h->protocol == 1 || h->protocol == 58) {
		if (error && h->got >= 8)
			p->inner = h->at + 8;
		if (echo && h->got >= 8) {
			p->key.port[0] = *(uint16_t *)(h->transport + 4);
			p->key.port[1] = p->key.port[0];
		}
		return;
	}
	p->key.port[0] = *(uint16_t *)h->transport;
	p->key.port[1] = *(uint16_t *)(h->transport + 2);
}

/* Ports of a fragmented packet: its first fragment brings them, the later ones look them up. */
static __noinline void follow_first(const struct headers *h, struct packet *p)
{
	const uint64_t now = bpf_ktime_get_coarse_ns();
	struct fragment_key key = {.id = h->id, .vlan = p->key.vlan, .protocol = p->key.protocol};
	struct fragment first = {.seen_ns = now, .port = {p->key.port[0], p->key.port[1]}};
	const struct fragment *known;

	__builtin_memcpy(key.address, p->key.address, sizeof(key.address));
	if (!h->later) {
		bpf_map_update_elem(&fragments, &key, &first, BPF_ANY);
		return;
	}
	known = bpf_map_lookup_elem(&fragments, &key);
	if (!known || now - known->seen_ns > FRAGMENT_AGE_NS) {
		p->alone = 1;
		return;
	}
	p->key.port[0] = known->port[0];
	p->key.port[1] = known->port[1];
}

/*
 * Reads the IP packet at `off`; length and VLAN are the caller's. 0, or -1: this is no IP packet, or cut off. Not
 * static: the verifier goes through it once, and not once for each way that leads to it.
 */
__noinline int parse(struct __sk_buff *skb, uint32_t off, struct packet *p)
{
	struct headers h;
	int error;

	if (!p) /* for the verifier */
		return -1;
	/* One load takes all of IPv6's, or both headers of IPv4 where there are no options. */
	h.got = bpf_skb_load_bytes(skb, off, h.ip, 40) ? 0 : 20;
	if (!h.got && bpf_skb_load_bytes(skb, off, h.ip, 20))
		return -1;
	if (h.ip[0] >> 4 == 4)
		error = read_v4(skb, off, &h, p);
	else if (h.ip[0] >> 4 == 6 && h.got)
		error = read_v6(skb, off, &h, p);
	else
		return -1;
	if (error)
		return error;
	p->key.protocol = h.protocol;
	if (!h.later)
		read_transport(&h, p);
	if (h.later || h.more)
		follow_first(&h, p);
	p->direction = (uint16_t)gate_key_sort(&p->key);
	return 0;
}

#endif
