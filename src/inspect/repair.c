/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lengths and checksums of a packet that was changed: spw_packet_repair(). RFC 1071, 791, 8200 (8.1), 9293, 768, 792,
 * 4443. Checksums are computed whole, never mended from the difference: the kernel may hand over packets whose checksum
 * the network card was to finish, and takes a changed one for finished. Touches nothing but the packet.
 */
#include "inspect/headers.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

static void put_be16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/*
 * Adds the bytes as 16-bit words in network order; an odd last one counts as its word's upper half. Two words at a time
 * come to the same, since 0x10000 is 1 in the one's complement.
 */
static uint64_t add(uint64_t sum, const uint8_t *at, size_t len)
{
	uint32_t two;

	for (; len >= sizeof(two); at += sizeof(two), len -= sizeof(two)) {
		memcpy(&two, at, sizeof(two));
		sum += ntohl(two);
	}
	for (; len >= 2; at += 2, len -= 2)
		sum += (uint64_t)at[0] << 8 | at[1];
	return len ? sum + ((uint64_t)at[0] << 8) : sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Where in the transport header the checksum is; -1: none that this library computes. */
static int checksum_offset(const struct spw_headers *h)
{
	switch (h->protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
		return h->family == 4 ? 2 : -1;
	case IPPROTO_ICMPV6:
		return h->family == 6 ? 2 : -1;
	default:
		return -1;
	}
}

static uint64_t pseudo_header(const uint8_t *ip, const struct spw_headers *h, size_t len)
{
	const size_t address = h->family == 4 ? 4 : 16;

	if (h->protocol == IPPROTO_ICMP)
		return 0;
	return add(add(h->protocol + len, ip + h->source, address), ip + h->destination, address);
}

static void mend_transport(uint8_t *ip, size_t len, const struct spw_headers *h)
{
	uint8_t *at = ip + h->transport;
	const size_t bytes = len - h->transport;
	const int offset = checksum_offset(h);
	uint16_t sum;

	if (offset < 0)
		return;
	if (h->protocol == IPPROTO_UDP)
		put_be16(at + 4, bytes);
	put_be16(at + offset, 0);
	sum = fold(add(pseudo_header(ip, h, bytes), at, bytes));
	/* In UDP, 0 says that there is no checksum. */
	put_be16(at + offset, !sum && h->protocol == IPPROTO_UDP ? 0xffff : sum);
}

static void mend_ipv4(uint8_t *ip, const struct spw_headers *h)
{
	put_be16(ip + 10, 0);
	put_be16(ip + 10, fold(add(0, ip, h->transport)));
}

/* What may be mended; the length field is right already. */
static int check(const uint8_t *ip, size_t len, uint16_t hw_protocol, struct spw_headers *h)
{
	const int error = headers_find(ip, len, hw_protocol, h);

	if (error)
		return error;
	if (!(h->has & SPW_HEADERS_NETWORK))
		return -EBADMSG;
	if (h->has & SPW_HEADERS_FRAGMENT)
		return 0;
	if (h->has & (SPW_HEADERS_TRUNCATED | SPW_HEADERS_MALFORMED))
		return -EBADMSG;
	return h->has & SPW_HEADERS_ROUTED && checksum_offset(h) >= 0 ? -EOPNOTSUPP : 0;
}

int spw_packet_repair(void *packet, size_t len, uint16_t hw_protocol)
{
	const bool ipv4 = hw_protocol == ETHERTYPE_IPV4;
	uint8_t *ip = packet, old[2], *length_field = ip + (ipv4 ? 2 : 4);
	struct spw_headers h;
	int error;

	if (len > SPW_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (!ipv4 && hw_protocol != ETHERTYPE_IPV6)
		return 0;
	if (len < (ipv4 ? 20 : 40))
		return -EBADMSG;
	memcpy(old, length_field, sizeof(old));
	put_be16(length_field, ipv4 ? len : len - 40);
	error = check(ip, len, hw_protocol, &h);
	if (error) {
		memcpy(length_field, old, sizeof(old));
		return error;
	}
	if (ipv4)
		mend_ipv4(ip, &h);
	if (!(h.has & SPW_HEADERS_FRAGMENT))
		mend_transport(ip, len, &h);
	return 0;
}
