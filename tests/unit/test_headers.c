/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is read off packets: headers of every kind, cut at every length; flows and their hash; and the checksums of
 * changed packets against those of packets as they were on a wire.
 */
#include "bytes.h"
#include "unit.h"

#include "inspect/flow.h"
#include "inspect/trust.h"

#include <errno.h>
#include <spillway/packet.h>
#include <stdlib.h>
#include <string.h>

/* From 192.0.2.1 to 198.51.100.2; `options` words of options; fragment field as given. */
static struct bytes ipv4(uint8_t protocol, uint8_t options, uint16_t fragment)
{
	struct bytes b = {0};

	ADD(&b, (uint8_t)(0x45 + options), 0, 0, 0, 0x12, 0x34, (uint8_t)(fragment >> 8), (uint8_t)fragment, 64,
	    protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2);
	for (uint8_t i = 0; i < options; i++)
		ADD(&b, 1, 1, 1, 0);
	return b;
}

/* From 2001:db8::1 to 2001:db8::2. */
static struct bytes ipv6(uint8_t next)
{
	struct bytes b = {0};

	ADD(&b, 0x60, 0, 0, 0, 0, 0, next, 64, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 1, 0x0d,
	    0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
	return b;
}

static void tcp(struct bytes *b, uint8_t options, uint8_t flags)
{
	ADD(b, 0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, (uint8_t)((5 + options) << 4), flags, 0xff, 0xff, 0, 0, 0, 0);
	for (uint8_t i = 0; i < options; i++)
		ADD(b, 1, 1, 1, 1);
}

static void udp(struct bytes *b)
{
	ADD(b, 0x9c, 0x40, 0, 53, 0, 0, 0, 0);
}

static void data(struct bytes *b)
{
	add(b, "hello world", 11);
}

static uint16_t ethertype(const struct bytes *b)
{
	return b->at[0] >> 4 == 6 ? 0x86dd : 0x0800;
}

static void set_length(struct bytes *b)
{
	const bool six = ethertype(b) == 0x86dd;
	const size_t len = six ? b->len - 40 : b->len;

	b->at[six ? 4 : 2] = (uint8_t)(len >> 8);
	b->at[six ? 5 : 3] = (uint8_t)len;
}

/* The bytes lie at the very end of memory of their own: what is read behind them is found out. */
static int parse_cut(const struct bytes *b, size_t len, struct spw_headers *h)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct spw_packet p = {
	    .size = sizeof(p), .hw_protocol = ethertype(b), .payload = copy, .payload_len = len, .length = b->len};
	int error;

	assert_non_null(copy);
	memcpy(copy, b->at, len);
	*h = (struct spw_headers){.size = sizeof(*h)};
	error = spw_packet_headers(&p, h);
	free(copy);
	return error;
}

static struct spw_headers parse(struct bytes *b)
{
	struct spw_headers h;

	set_length(b);
	assert_int_equal(parse_cut(b, b->len, &h), 0);
	return h;
}

static void tcp_over_ipv4_with_options(void **unused)
{
	struct bytes b = ipv4(6, 2, 0x4000);
	struct spw_headers h;

	(void)unused;
	tcp(&b, 3, 0x12);
	data(&b);
	h = parse(&b);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_PORTS | SPW_HEADERS_TRANSPORT);
	assert_int_equal(h.family, 4);
	assert_int_equal(h.protocol, 6);
	assert_int_equal(h.tcp_flags, 0x12);
	assert_int_equal(h.source_port, 40000);
	assert_int_equal(h.destination_port, 80);
	assert_int_equal(h.source, 12);
	assert_int_equal(h.destination, 16);
	assert_int_equal(h.transport, 28);
	assert_int_equal(h.payload, 28 + 32);
	assert_int_equal(h.end, b.len);
}

static void udp_over_ipv6_with_extension_headers(void **unused)
{
	struct bytes b = ipv6(0);
	struct spw_headers h;

	(void)unused;
	ADD(&b, 43, 0, 5, 2, 0, 0, 0, 0);                                                    /* hop by hop */
	ADD(&b, 60, 0, 4, 0, 0, 0, 0, 0);                                                    /* routing, none left */
	ADD(&b, 51, 1, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);                            /* destination, 16 bytes */
	ADD(&b, 17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12); /* AH, 24 bytes */
	udp(&b);
	data(&b);
	h = parse(&b);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_PORTS | SPW_HEADERS_TRANSPORT);
	assert_int_equal(h.family, 6);
	assert_int_equal(h.protocol, 17);
	assert_int_equal(h.transport, 40 + 8 + 8 + 16 + 24);
	assert_int_equal(h.payload, h.transport + 8);
	assert_int_equal(h.source, 8);
	assert_int_equal(h.destination, 24);
	b.at[40 + 8 + 3] = 1;
	h = parse(&b);
	assert_true(h.has & SPW_HEADERS_ROUTED);
}

static void fragments(void **unused)
{
	struct bytes first = ipv4(17, 0, 0x2000), later = ipv4(17, 0, 0x2003), six = ipv6(44), six_later = ipv6(44);
	struct spw_headers h;

	(void)unused;
	udp(&first);
	h = parse(&first);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_PORTS | SPW_HEADERS_TRANSPORT | SPW_HEADERS_FRAGMENT);
	assert_int_equal(h.flow.port[0], 0);
	assert_int_equal(h.flow.port[1], 0);
	data(&later);
	h = parse(&later);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_FRAGMENT | SPW_HEADERS_LATER);
	assert_int_equal(h.fragment_offset, 24);
	assert_int_equal(h.payload, 20);
	assert_int_equal(h.source_port, 0);
	ADD(&six, 17, 0, 0, 1, 0, 0, 0, 9);
	udp(&six);
	h = parse(&six);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_PORTS | SPW_HEADERS_TRANSPORT | SPW_HEADERS_FRAGMENT);
	assert_int_equal(h.transport, 48);
	ADD(&six_later, 60, 0, 0, 0x10, 0, 0, 0, 9);
	ADD(&six_later, 17, 0, 0, 0, 0, 0, 0, 0); /* looks like a header and is none */
	h = parse(&six_later);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_FRAGMENT | SPW_HEADERS_LATER);
	assert_int_equal(h.protocol, 60);
	assert_int_equal(h.fragment_offset, 16);
	assert_int_equal(h.transport, 48);
	six_later.at[42] = 0;
	six_later.at[43] = 0; /* a whole packet with a fragment header, RFC 6946 */
	h = parse(&six_later);
	assert_false(h.has & SPW_HEADERS_FRAGMENT);
	assert_int_equal(h.protocol, 17);
}

static void others(void **unused)
{
	struct bytes icmp = ipv4(1, 0, 0), six = ipv6(58), sctp = ipv4(132, 0, 0), gre = ipv4(47, 0, 0),
		     b = ipv4(6, 0, 0);
	struct spw_headers h;
	struct spw_packet arp = {.size = sizeof(arp), .hw_protocol = 0x0806, .payload = icmp.at, .payload_len = 28};

	(void)unused;
	ADD(&icmp, 8, 0, 0, 0, 0x12, 0x34, 0, 1);
	h = parse(&icmp);
	assert_int_equal(h.icmp_type, 8);
	assert_int_equal(h.flow.port[0], 0x1234);
	assert_int_equal(h.flow.port[1], 0x1234);
	assert_int_equal(h.payload, 28);
	ADD(&six, 1, 4, 0, 0, 0x12, 0x34, 0, 1);
	h = parse(&six);
	assert_int_equal(h.icmp_type, 1);
	assert_int_equal(h.icmp_code, 4);
	assert_int_equal(h.flow.port[0], 0);
	ADD(&sctp, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0);
	h = parse(&sctp);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_PORTS | SPW_HEADERS_TRANSPORT);
	assert_int_equal(h.payload, 32);
	data(&gre);
	h = parse(&gre);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK);
	assert_int_equal(h.payload, 20);
	tcp(&b, 0, 2);
	b.at[32] = 0x40;
	h = parse(&b);
	assert_int_equal(h.has, SPW_HEADERS_NETWORK | SPW_HEADERS_PORTS | SPW_HEADERS_MALFORMED);
	assert_int_equal(spw_packet_headers(&arp, &h), -EPROTONOSUPPORT);
	h.size = 4;
	assert_int_equal(spw_packet_headers(&arp, &h), -EINVAL);
}

static void what_lies(void **unused)
{
	struct bytes b = ipv4(6, 0, 0), many = ipv6(60);
	struct spw_headers h;

	(void)unused;
	tcp(&b, 0, 2);
	data(&b);
	b.at[3] = (uint8_t)(b.len - 11); /* the frame is padded */
	assert_int_equal(parse_cut(&b, b.len, &h), 0);
	assert_int_equal(h.end, b.len - 11);
	b.at[3] = 0; /* more than 64 KiB */
	assert_int_equal(parse_cut(&b, b.len, &h), 0);
	assert_int_equal(h.end, b.len);
	b.at[3] = 19;
	assert_int_equal(parse_cut(&b, b.len, &h), -EBADMSG);
	b.at[3] = (uint8_t)b.len;
	b.at[0] = 0x44;
	assert_int_equal(parse_cut(&b, b.len, &h), -EBADMSG);
	b.at[0] = 0x55;
	assert_int_equal(parse_cut(&b, b.len, &h), -EBADMSG);
	for (unsigned i = 0; i < 20; i++)
		ADD(&many, 60, 0, 0, 0, 0, 0, 0, 0);
	h = parse(&many);
	assert_int_equal(h.has, SPW_HEADERS_MALFORMED);
}

/* Whatever is missing, what is told lies within what is there, and what was told stays the same. */
static void cut(struct bytes b)
{
	const struct spw_headers whole = parse(&b);

	for (size_t len = 0; len < b.len; len++) {
		struct spw_headers h;

		if (parse_cut(&b, len, &h)) {
			assert_true(len < (ethertype(&b) == 0x86dd ? 40 : 20));
			continue;
		}
		assert_true(h.end <= len && h.transport <= len && h.payload <= len && h.payload >= h.transport);
		assert_int_equal(h.has & ~whole.has, len < whole.payload ? SPW_HEADERS_TRUNCATED : 0);
		if (h.has & SPW_HEADERS_NETWORK)
			assert_int_equal(h.transport, whole.transport);
		if (h.has & SPW_HEADERS_PORTS)
			assert_memory_equal(&h.flow, &whole.flow, sizeof(h.flow));
	}
}

static void cut_at_every_length(void **unused)
{
	struct bytes b = ipv4(6, 5, 0), six = ipv6(0), icmp = ipv6(58);

	(void)unused;
	tcp(&b, 4, 0x18);
	data(&b);
	cut(b);
	ADD(&six, 44, 1, 5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	ADD(&six, 17, 0, 0, 1, 0, 0, 0, 9);
	udp(&six);
	data(&six);
	cut(six);
	ADD(&icmp, 128, 0, 0, 0, 1, 2, 0, 1);
	cut(icmp);
}

static void both_directions_are_one_flow(void **unused)
{
	const uint64_t key[2] = {1, 2}, other[2] = {1, 3};
	struct bytes b = ipv4(6, 0, 0);
	struct spw_headers one, two;

	(void)unused;
	tcp(&b, 0, 2);
	one = parse(&b);
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t byte = b.at[12 + i];

		b.at[12 + i] = b.at[16 + i];
		b.at[16 + i] = byte;
	}
	two = parse(&b);
	assert_memory_not_equal(&one.flow, &two.flow, sizeof(one.flow));
	memcpy(b.at + 20, "\0\x50\x9c\x40", 4);
	two = parse(&b);
	assert_memory_equal(&one.flow, &two.flow, sizeof(one.flow));
	assert_int_equal(one.flow.port[0], 40000); /* 192.0.2.1 is the lower end */
	assert_true(spw_flow_hash(&one.flow, key) == spw_flow_hash(&two.flow, key));
	assert_true(spw_flow_hash(&one.flow, key) != spw_flow_hash(&two.flow, other));
	one.flow.family = 0;
	assert_true(spw_flow_hash(&one.flow, key) == 0);
}

/* The vectors that come with the reference implementation: key 00 01 … 0f, message 00 01 … of the length. */
static void siphash_vectors(void **unused)
{
	static const uint64_t expected[] = {
	    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	    0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
	    0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
	};
	const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	uint8_t message[16];

	(void)unused;
	for (size_t len = 0; len < 16; len++) {
		message[len] = (uint8_t)len;
		assert_true(flow_siphash(message, len, key) == expected[len]);
	}
}

/* Packets captured on a wire, their lengths and checksums as their senders made them. */
static const struct {
	const char *what;
	uint16_t ethertype;
	uint8_t field[3]; /* offsets of what is to be mended; 0: none */
	struct bytes b;
} wire[] = {
#include "wire_packets.h"
};

static void checksums_come_out_as_on_the_wire(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(wire) / sizeof(wire[0]); i++) {
		struct bytes b = wire[i].b;
		const bool six = wire[i].ethertype == 0x86dd;

		memset(b.at + (six ? 4 : 2), 0xee, 2);
		for (unsigned f = 0; f < 3; f++) {
			if (wire[i].field[f])
				memset(b.at + wire[i].field[f], 0xee, 2);
		}
		assert_int_equal(spw_packet_repair(b.at, b.len, wire[i].ethertype), 0);
		assert_memory_equal(b.at, wire[i].b.at, b.len);
		assert_int_equal(spw_packet_repair(b.at, b.len, wire[i].ethertype), 0);
		assert_memory_equal(b.at, wire[i].b.at, b.len);
	}
}

static void what_can_t_be_mended_stays_as_it_is(void **unused)
{
	struct bytes b = ipv4(6, 0, 0), six = ipv6(43), fragment = ipv4(17, 0, 0x2000), was;

	(void)unused;
	tcp(&b, 0, 2);
	was = b;
	assert_int_equal(spw_packet_repair(b.at, 30, 0x0800), -EBADMSG);
	assert_int_equal(spw_packet_repair(b.at, 12, 0x0800), -EBADMSG);
	assert_int_equal(spw_packet_repair(b.at, 0, 0x86dd), -EBADMSG);
	assert_int_equal(spw_packet_repair(b.at, b.len, 0x86dd), -EBADMSG);
	assert_int_equal(spw_packet_repair(b.at, SPW_PAYLOAD_MAX + 1, 0x0800), -EMSGSIZE);
	assert_memory_equal(b.at, was.at, b.len);
	assert_int_equal(spw_packet_repair(b.at, b.len, 0x0806), 0);
	assert_memory_equal(b.at, was.at, b.len);
	ADD(&six, 17, 2, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8);
	udp(&six);
	was = six;
	assert_int_equal(spw_packet_repair(six.at, six.len, 0x86dd), -EOPNOTSUPP);
	assert_memory_equal(six.at, was.at, six.len);
	/* A fragment: its own header only. */
	udp(&fragment);
	was = fragment;
	assert_int_equal(spw_packet_repair(fragment.at, fragment.len, 0x0800), 0);
	assert_memory_equal(fragment.at + 20, was.at + 20, 8);
	assert_int_equal(fragment.at[3], 28);
}

static void udp_without_a_checksum_is_0xffff(void **unused)
{
	struct bytes b = ipv4(17, 0, 0);

	(void)unused;
	udp(&b);
	ADD(&b, 0, 0);
	assert_int_equal(spw_packet_repair(b.at, b.len, 0x0800), 0);
	/* The two last bytes become what makes the sum come to nothing. */
	memcpy(b.at + 28, b.at + 26, 2);
	assert_int_equal(spw_packet_repair(b.at, b.len, 0x0800), 0);
	assert_int_equal(b.at[26], 0xff);
	assert_int_equal(b.at[27], 0xff);
}

static void trust_is_bounded(void **unused)
{
	struct trust *t = calloc(1, sizeof(*t));

	(void)unused;
	assert_non_null(t);
	assert_false(trust_has(t, 77, 0));
	for (uint64_t i = 0; i <= TRUST_WAYS; i++)
		trust_add(t, 77 + i * TRUST_SETS, 100 + i);
	assert_int_equal(t->flows, TRUST_WAYS);
	assert_false(trust_has(t, 77, 110)); /* silent the longest */
	assert_true(trust_has(t, 77 + TRUST_SETS, 110));
	assert_true(trust_has(t, 77 + TRUST_SETS, 110 + TRUST_IDLE_S));
	assert_false(trust_has(t, 77 + 2 * TRUST_SETS, 103 + TRUST_IDLE_S));
	trust_forget(t, 77 + TRUST_SETS);
	assert_false(trust_has(t, 77 + TRUST_SETS, 231));
	assert_int_equal(t->flows, TRUST_WAYS - 2);
	trust_add(t, 77 + 3 * TRUST_SETS, 231);
	assert_int_equal(t->flows, TRUST_WAYS - 2);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tcp_over_ipv4_with_options),
	    cmocka_unit_test(udp_over_ipv6_with_extension_headers),
	    cmocka_unit_test(fragments),
	    cmocka_unit_test(others),
	    cmocka_unit_test(what_lies),
	    cmocka_unit_test(cut_at_every_length),
	    cmocka_unit_test(both_directions_are_one_flow),
	    cmocka_unit_test(siphash_vectors),
	    cmocka_unit_test(checksums_come_out_as_on_the_wire),
	    cmocka_unit_test(what_can_t_be_mended_stays_as_it_is),
	    cmocka_unit_test(udp_without_a_checksum_is_0xffff),
	    cmocka_unit_test(trust_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
