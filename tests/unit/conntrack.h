/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection as the kernel attaches it to a packet, attribute by attribute. For the decoder's tests. */
#ifndef TESTS_UNIT_CONNTRACK_H
#define TESTS_UNIT_CONNTRACK_H

#include "message.h"

#include <linux/netfilter/nfnetlink_conntrack.h>

/* Begins a nest; its end is told where that is. */
static inline size_t conntrack_begin(struct message *m, uint16_t type)
{
	const size_t at = m->len;

	message_attr(m, NLA_F_NESTED | type, NULL, 0);
	return at;
}

static inline void conntrack_end(struct message *m, size_t at)
{
	const uint16_t len = (uint16_t)(m->len - at);

	memcpy(m->data + at, &len, sizeof(len));
}

static inline void conntrack_u16(struct message *m, uint16_t type, uint16_t value)
{
	value = htons(value);
	message_attr(m, type, &value, sizeof(value));
}

static inline void conntrack_u8(struct message *m, uint16_t type, uint8_t value)
{
	message_attr(m, type, &value, sizeof(value));
}

/* Addresses of four or sixteen bytes. */
static inline void conntrack_addresses(struct message *m, const void *source, const void *destination, size_t bytes)
{
	const size_t ip = conntrack_begin(m, CTA_TUPLE_IP);

	message_attr(m, bytes == 4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, source, bytes);
	message_attr(m, bytes == 4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, destination, bytes);
	conntrack_end(m, ip);
}

static inline void conntrack_ports(struct message *m, uint8_t protocol, uint16_t source, uint16_t destination)
{
	const size_t proto = conntrack_begin(m, CTA_TUPLE_PROTO);

	conntrack_u8(m, CTA_PROTO_NUM, protocol);
	conntrack_u16(m, CTA_PROTO_SRC_PORT, source);
	conntrack_u16(m, CTA_PROTO_DST_PORT, destination);
	conntrack_end(m, proto);
}

static inline void conntrack_tcp(struct message *m, uint8_t state)
{
	const size_t info = conntrack_begin(m, CTA_PROTOINFO), tcp = conntrack_begin(m, CTA_PROTOINFO_TCP);

	conntrack_u8(m, CTA_PROTOINFO_TCP_STATE, state);
	conntrack_u8(m, CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, 7);
	conntrack_u8(m, CTA_PROTOINFO_TCP_WSCALE_REPLY, 9);
	message_attr(m, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, "\x23\x00", 2);
	message_attr(m, CTA_PROTOINFO_TCP_FLAGS_REPLY, "\x24\x00", 2);
	conntrack_end(m, tcp);
	conntrack_end(m, info);
}

#endif
