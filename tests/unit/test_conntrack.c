/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections: every attribute that is decoded, both families, and what is cut, missing or none of the kernel's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include <spillway/conntrack.h>
#include <spillway/queue.h>

#include "conntrack.h"

static const uint8_t client[16] = {0x20, 1, 0xd, 0xb8, [15] = 1}, server[16] = {0x20, 1, 0xd, 0xb8, [15] = 2};
static const uint8_t inside[4] = {192, 0, 2, 9};
static struct message m;

static size_t packet_begin(void)
{
	message_begin(&m, PACKET_TYPE, 3);
	message_header(&m, 1);
	message_u32(&m, NFQA_CT_INFO, SPW_CT_ESTABLISHED_REPLY);
	return conntrack_begin(&m, NFQA_CT);
}

/* Decodes a copy that ends where the message ends and begins at an odd address. */
static int decode(struct spw_conntrack *c)
{
	uint8_t *copy = malloc(m.len + 1);
	struct spw_packet p = {.size = sizeof(p)};
	int err;

	assert_non_null(copy);
	message_end(&m);
	memcpy(copy + 1, m.data, m.len);
	assert_int_equal(spw_packet_decode(copy + 1, m.len, &p), 0);
	memset(c, 0x5a, sizeof(*c));
	c->size = sizeof(*c);
	err = spw_packet_conntrack(&p, c);
	free(copy);
	return err;
}

/* A stream through NAT, so that the two directions differ. */
static void put_tuples(void)
{
	size_t tuple = conntrack_begin(&m, CTA_TUPLE_ORIG);

	conntrack_addresses(&m, client, server, 4);
	conntrack_ports(&m, IPPROTO_TCP, 40000, 80);
	conntrack_u16(&m, CTA_TUPLE_ZONE, 11);
	conntrack_end(&m, tuple);
	tuple = conntrack_begin(&m, CTA_TUPLE_REPLY);
	conntrack_addresses(&m, inside, client, 4);
	conntrack_ports(&m, IPPROTO_TCP, 8080, 40000);
	conntrack_end(&m, tuple);
}

static void whole(void)
{
	const uint32_t labels[4] = {1u << 3, 0, 0, 1u << 31};
	const size_t entry = packet_begin();

	put_tuples();
	message_u32(&m, CTA_ID, 0x89abcdef);
	message_u32(&m, CTA_STATUS, 0x18e);
	message_u32(&m, CTA_TIMEOUT, 431999);
	message_u32(&m, CTA_MARK, 0x01020304);
	conntrack_u16(&m, CTA_ZONE, 7);
	conntrack_tcp(&m, 3);
	message_attr(&m, CTA_LABELS, labels, sizeof(labels));
	message_u32(&m, CTA_MAX + 1, 99);
	conntrack_end(&m, entry);
}

static void everything(void **state)
{
	struct spw_conntrack c;

	(void)state;
	whole();
	assert_int_equal(decode(&c), 0);
	assert_int_equal(c.size, sizeof(c));
	assert_int_equal(c.has, 0xff);
	assert_int_equal(c.info, SPW_CT_ESTABLISHED_REPLY);
	assert_int_equal(c.id, 0x89abcdef);
	assert_int_equal(c.status, 0x18e);
	assert_int_equal(c.timeout, 431999);
	assert_int_equal(c.mark, 0x01020304);
	assert_int_equal(c.zone, 7);
	assert_int_equal(c.labels[0], 1u << 3);
	assert_int_equal(c.labels[1] | c.labels[2], 0);
	assert_int_equal(c.labels[3], 1u << 31);
	assert_int_equal(c.original.family, 4);
	assert_memory_equal(c.original.source, client, 4);
	assert_memory_equal(c.original.destination, server, 4);
	assert_int_equal(c.original.source_port, 40000);
	assert_int_equal(c.original.destination_port, 80);
	assert_int_equal(c.original.protocol, IPPROTO_TCP);
	assert_int_equal(c.original.zone, 11);
	assert_memory_equal(c.reply.source, inside, 4);
	assert_int_equal(c.reply.source_port, 8080);
	assert_int_equal(c.reply.zone, 0);
	assert_int_equal(c.state.tcp.state, 3);
	assert_int_equal(c.state.tcp.wscale[0], 7);
	assert_int_equal(c.state.tcp.wscale[1], 9);
	assert_int_equal(c.state.tcp.flags[0], 0x23);
	assert_int_equal(c.state.tcp.flags[1], 0x24);
}

/* What the kernel leaves out is 0, and not said to be there. */
static void least(void **state)
{
	const size_t entry = packet_begin(), tuple = conntrack_begin(&m, CTA_TUPLE_ORIG);
	struct spw_conntrack c;

	(void)state;
	conntrack_addresses(&m, client, server, 16);
	conntrack_ports(&m, IPPROTO_UDP, 1000, 53);
	conntrack_end(&m, tuple);
	conntrack_end(&m, entry);
	assert_int_equal(decode(&c), 0);
	assert_int_equal(c.has, SPW_CONNTRACK_ORIGINAL);
	assert_int_equal(c.original.family, 6);
	assert_memory_equal(c.original.source, client, 16);
	assert_memory_equal(c.original.destination, server, 16);
	assert_int_equal(c.original.destination_port, 53);
	assert_int_equal(c.id | c.status | c.mark | c.zone | c.timeout | c.reply.family, 0);
}

static void echo_tuple(uint16_t type, const void *source, const void *destination, uint8_t icmp_type, uint16_t id)
{
	const size_t tuple = conntrack_begin(&m, type);
	size_t proto;

	conntrack_addresses(&m, source, destination, 4);
	proto = conntrack_begin(&m, CTA_TUPLE_PROTO);
	conntrack_u8(&m, CTA_PROTO_NUM, IPPROTO_ICMP);
	conntrack_u8(&m, CTA_PROTO_ICMP_TYPE, icmp_type);
	conntrack_u8(&m, CTA_PROTO_ICMP_CODE, 0);
	conntrack_u16(&m, CTA_PROTO_ICMP_ID, id);
	conntrack_end(&m, proto);
	conntrack_end(&m, tuple);
}

/* The identifier may differ under NAT. What is not known of the other direction is not made up from this one. */
static void echo(void **state)
{
	const size_t entry = packet_begin();
	struct spw_conntrack c;

	(void)state;
	echo_tuple(CTA_TUPLE_ORIG, client, server, 8, 4711);
	echo_tuple(CTA_TUPLE_REPLY, server, client, 0, 815);
	conntrack_end(&m, entry);
	assert_int_equal(decode(&c), 0);
	assert_int_equal(c.original.icmp_type, 8);
	assert_int_equal(c.original.source_port, 4711);
	assert_int_equal(c.original.destination_port, 4711);
	assert_true(c.has & SPW_CONNTRACK_REPLY);
	assert_int_equal(c.reply.protocol, IPPROTO_ICMP);
	assert_memory_equal(c.reply.source, server, 4);
	assert_int_equal(c.reply.icmp_type, 0);
	assert_int_equal(c.reply.source_port, 0);
	assert_int_equal(c.reply.destination_port, 0);
}

static void none(void **state)
{
	struct spw_packet p = {.size = sizeof(p)};
	struct spw_conntrack c = {.size = sizeof(c)};
	static uint8_t much[8192];
	size_t entry;

	(void)state;
	assert_int_equal(spw_packet_conntrack(&p, &c), -ENODATA);
	p.size = offsetof(struct spw_packet, conntrack); /* an older library's */
	assert_int_equal(spw_packet_conntrack(&p, &c), -EINVAL);
	p.size = sizeof(p);
	c.size = 0;
	assert_int_equal(spw_packet_conntrack(&p, &c), -EINVAL);
	entry = packet_begin();
	conntrack_end(&m, entry);
	assert_int_equal(decode(&c), -EBADMSG); /* without a direction it is no connection */
	assert_int_equal(c.has, 0x5a5a5a5a);
	entry = packet_begin();
	message_attr(&m, CTA_HELP, much, sizeof(much));
	conntrack_end(&m, entry);
	assert_int_equal(decode(&c), -EBADMSG);
}

/* An older caller's struct is filled as far as it goes. */
static void small(void **state)
{
	struct spw_packet p = {.size = sizeof(p)};
	struct spw_conntrack c;

	(void)state;
	whole();
	message_end(&m);
	assert_int_equal(spw_packet_decode(m.data, m.len, &p), 0);
	memset(&c, 0x5a, sizeof(c));
	c.size = offsetof(struct spw_conntrack, mark);
	assert_int_equal(spw_packet_conntrack(&p, &c), 0);
	assert_int_equal(c.size, offsetof(struct spw_conntrack, mark));
	assert_int_equal(c.status, 0x18e);
	assert_int_equal(c.mark, 0x5a5a5a5a);
}

/* Cut anywhere, and with each byte changed: an answer, or an error, and no more. */
static void broken(void **state)
{
	struct spw_packet p = {.size = sizeof(p)};
	struct spw_conntrack c;
	const uint8_t *entry;
	uint8_t *copy;
	size_t len;

	(void)state;
	whole();
	message_end(&m);
	assert_int_equal(spw_packet_decode(m.data, m.len, &p), 0);
	entry = p.conntrack;
	len = p.conntrack_len;
	for (size_t cut = 0; cut < len; cut++) {
		copy = malloc(cut + 1);
		memcpy(copy, entry, cut);
		p.conntrack = copy;
		p.conntrack_len = cut;
		c.size = sizeof(c);
		(void)spw_packet_conntrack(&p, &c);
		free(copy);
	}
	copy = malloc(len);
	p.conntrack = copy;
	p.conntrack_len = len;
	for (size_t i = 0; i < len * 256; i++) {
		memcpy(copy, entry, len);
		copy[i / 256] = (uint8_t)i;
		c.size = sizeof(c);
		(void)spw_packet_conntrack(&p, &c);
	}
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(everything), cmocka_unit_test(least),
					   cmocka_unit_test(echo),       cmocka_unit_test(none),
					   cmocka_unit_test(small),      cmocka_unit_test(broken)};
	const struct spw_packet p = {.size = sizeof(p)};
	struct spw_conntrack c = {.size = sizeof(c)};

	if (spw_packet_conntrack(&p, &c) == -EOPNOTSUPP) {
		puts("SKIP: this build does not decode connections");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
