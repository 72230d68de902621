/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the headers of a packet are. Reads the bytes that were captured and no others; keeps nothing, calls nobody.
 */
#include "inspect/headers.h"
#include "nfqueue/internal.h"

#include <errno.h>
#include <string.h>

#define IPV4_LEAST      20u
#define IPV6_FIXED      40u
#define IPV4_MORE       0x2000u
#define IPV4_OFFSET     0x1fffu
#define EXTENSIONS_MOST 16u /* a packet made of nothing else must not cost more than others */

#define PROTOCOL_UDPLITE 136u

static uint16_t be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* Between what the packet's own length field says and what was captured; 0 there means a packet of more than 64 KiB. */
static size_t packet_end(size_t announced, size_t captured, size_t least)
{
	if (announced <= least)
		return captured;
	return announced < captured ? announced : captured;
}

static int network_ipv4(const uint8_t *ip, size_t len, struct spw_headers *h)
{
	size_t header, total;
	uint16_t fragment;

	if (len < IPV4_LEAST || ip[0] >> 4 != 4)
		return -EBADMSG;
	header = (size_t)(ip[0] & 15) * 4;
	total = be16(ip + 2);
	if (header < IPV4_LEAST || (total && total < header))
		return -EBADMSG;
	fragment = be16(ip + 6);
	h->family = 4;
	h->protocol = ip[9];
	h->source = 12;
	h->destination = 16;
	h->end = packet_end(total, len, 0);
	h->fragment_offset = (uint16_t)((fragment & IPV4_OFFSET) * 8);
	if (fragment & (IPV4_MORE | IPV4_OFFSET))
		h->has |= SPW_HEADERS_FRAGMENT;
	if (header > len) {
		h->has |= SPW_HEADERS_TRUNCATED;
		h->transport = len;
		return 0;
	}
	h->has |= SPW_HEADERS_NETWORK;
	h->transport = header;
	return 0;
}

/* Length of an extension header; 0: what stands here is none. */
static size_t extension_len(uint8_t type, const uint8_t *at)
{
	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
		return (size_t)(at[1] + 1) * 8;
	case IPPROTO_AH:
		return (size_t)(at[1] + 2) * 4;
	case IPPROTO_FRAGMENT:
		return 8;
	default:
		return 0;
	}
}

static void note_fragment(const uint8_t *at, struct spw_headers *h)
{
	const uint16_t field = be16(at + 2);

	h->fragment_offset = field & 0xfff8u;
	if (field & 0xfff9u)
		h->has |= SPW_HEADERS_FRAGMENT;
}

/* Steps over the extension headers. What follows a later fragment's header is no header. */
static void walk_extensions(const uint8_t *ip, struct spw_headers *h)
{
	for (unsigned i = 0;; i++) {
		const uint8_t *at = ip + h->transport;
		const size_t left = h->end - h->transport;
		const uint8_t scratch[2] = {0};
		size_t step = extension_len(h->protocol, left >= 2 ? at : scratch);

		if (!step || h->fragment_offset)
			break;
		if (step > left || i == EXTENSIONS_MOST) {
			h->has |= i == EXTENSIONS_MOST ? SPW_HEADERS_MALFORMED : SPW_HEADERS_TRUNCATED;
			return;
		}
		if (h->protocol == IPPROTO_FRAGMENT)
			note_fragment(at, h);
		else if (h->protocol == IPPROTO_ROUTING && at[3])
			h->has |= SPW_HEADERS_ROUTED;
		h->protocol = at[0];
		h->transport += step;
	}
	h->has |= SPW_HEADERS_NETWORK;
}

static int network_ipv6(const uint8_t *ip, size_t len, struct spw_headers *h)
{
	if (len < IPV6_FIXED || ip[0] >> 4 != 6)
		return -EBADMSG;
	h->family = 6;
	h->protocol = ip[6];
	h->source = 8;
	h->destination = 24;
	h->transport = IPV6_FIXED;
	h->end = packet_end(IPV6_FIXED + be16(ip + 4), len, IPV6_FIXED);
	walk_extensions(ip, h);
	return 0;
}

/* Length of the transport header; 0: this library knows none for the protocol. */
static size_t transport_len(const uint8_t *at, size_t left, struct spw_headers *h)
{
	switch (h->protocol) {
	case IPPROTO_TCP:
		if (left < 14)
			return 20;
		h->tcp_flags = at[13];
		return (size_t)(at[12] >> 4) * 4;
	case IPPROTO_UDP:
	case PROTOCOL_UDPLITE:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 8;
	case IPPROTO_SCTP:
		return 12;
	default:
		return 0;
	}
}

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == PROTOCOL_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

static void transport(const uint8_t *ip, struct spw_headers *h)
{
	const uint8_t *at = ip + h->transport;
	const size_t left = h->end - h->transport;
	size_t len;

	if (has_ports(h->protocol) && left >= 4) {
		h->has |= SPW_HEADERS_PORTS;
		h->source_port = be16(at);
		h->destination_port = be16(at + 2);
	}
	if ((h->protocol == IPPROTO_ICMP || h->protocol == IPPROTO_ICMPV6) && left >= 2) {
		h->icmp_type = at[0];
		h->icmp_code = at[1];
	}
	len = transport_len(at, left, h);
	if (h->protocol == IPPROTO_TCP && left >= 14 && len < 20)
		h->has |= SPW_HEADERS_MALFORMED;
	else if (len > left)
		h->has |= SPW_HEADERS_TRUNCATED;
	else if (len)
		h->has |= SPW_HEADERS_TRANSPORT;
	h->payload = h->transport + (h->has & SPW_HEADERS_TRANSPORT ? len : 0);
}

static bool is_echo(const struct spw_headers *h)
{
	if (!(h->has & SPW_HEADERS_TRANSPORT))
		return false;
	if (h->protocol == IPPROTO_ICMP)
		return h->icmp_type == 8 || h->icmp_type == 0;
	return h->protocol == IPPROTO_ICMPV6 && (h->icmp_type == 128 || h->icmp_type == 129);
}

/* The ports of all fragments are 0: only the first has them, and all must be the same flow. */
static void make_flow(const uint8_t *ip, struct spw_headers *h)
{
	const size_t len = h->family == 4 ? 4 : 16;
	uint16_t port[2] = {0};
	unsigned low;
	int order;

	if (!(h->has & SPW_HEADERS_NETWORK))
		return;
	if (!(h->has & SPW_HEADERS_FRAGMENT)) {
		port[0] = is_echo(h) ? be16(ip + h->transport + 4) : h->source_port;
		port[1] = is_echo(h) ? port[0] : h->destination_port;
	}
	order = memcmp(ip + h->source, ip + h->destination, len);
	low = order > 0 || (!order && port[0] > port[1]);
	memcpy(h->flow.address[low], ip + h->source, len);
	memcpy(h->flow.address[!low], ip + h->destination, len);
	h->flow.port[low] = port[0];
	h->flow.port[!low] = port[1];
	h->flow.family = h->family;
	h->flow.protocol = h->protocol;
}

int headers_find(const uint8_t *ip, size_t len, uint16_t hw_protocol, struct spw_headers *h)
{
	int error = -EPROTONOSUPPORT;

	*h = (struct spw_headers){.size = sizeof(*h)};
	if (hw_protocol == ETHERTYPE_IPV4)
		error = network_ipv4(ip, len, h);
	else if (hw_protocol == ETHERTYPE_IPV6)
		error = network_ipv6(ip, len, h);
	if (error)
		return error;
	if (h->fragment_offset)
		h->has |= SPW_HEADERS_LATER;
	if (h->has & SPW_HEADERS_NETWORK && !(h->has & SPW_HEADERS_LATER))
		transport(ip, h);
	if (!h->payload)
		h->payload = h->transport;
	make_flow(ip, h);
	return 0;
}

int spw_packet_headers(const struct spw_packet *packet, struct spw_headers *headers)
{
	const size_t size = headers->size;
	struct spw_headers ours;
	int error;

	if (size < sizeof(size))
		return -EINVAL;
	error = headers_find(packet->payload, packet->payload_len, packet->hw_protocol, &ours);
	if (!error)
		spw_sized_out(headers, size, &ours, sizeof(ours));
	return error;
}
