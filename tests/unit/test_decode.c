/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decoder on every attribute there is, and on messages that are cut, misaligned, lying or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include <spillway/queue.h>

#include "message.h"

static struct message m;

/* Decodes a copy that ends where the message ends, so that a read behind it is found, and begins at an odd address. */
static int decode(const void *data, size_t len, struct spw_packet *packet)
{
	static uint8_t *copy;

	free(copy);
	copy = malloc(len + 1);
	assert_non_null(copy);
	memcpy(copy + 1, data, len);
	*packet = (struct spw_packet){.size = sizeof(*packet)};
	return spw_packet_decode(copy + 1, len, packet);
}

static void add_vlan(void)
{
	const uint16_t proto = htons(0x88a8);
	const uint16_t tci = htons(0x2064);
	uint8_t data[16] = {0};
	const struct nlattr a = {.nla_len = 6, .nla_type = NFQA_VLAN_PROTO};
	const struct nlattr b = {.nla_len = 6, .nla_type = NFQA_VLAN_TCI};

	memcpy(data, &a, 4);
	memcpy(data + 4, &proto, 2);
	memcpy(data + 8, &b, 4);
	memcpy(data + 12, &tci, 2);
	message_attr(&m, NFQA_VLAN | NLA_F_NESTED, data, sizeof(data));
}

static void whole(void)
{
	const uint32_t time[4] = {0, htonl(1700000000), 0, htonl(123456)};
	const struct nfqnl_msg_packet_hw hw = {.hw_addrlen = htons(6), .hw_addr = {2, 0, 0, 0, 0, 7}};

	message_begin(&m, PACKET_TYPE, 513);
	message_header(&m, 0xfffffffe);
	message_u32(&m, NFQA_MARK, 0x01020304);
	message_attr(&m, NFQA_TIMESTAMP, time, sizeof(time));
	message_u32(&m, NFQA_IFINDEX_INDEV, 11);
	message_u32(&m, NFQA_IFINDEX_OUTDEV, 12);
	message_u32(&m, NFQA_IFINDEX_PHYSINDEV, 13);
	message_u32(&m, NFQA_IFINDEX_PHYSOUTDEV, 14);
	message_attr(&m, NFQA_HWADDR, &hw, sizeof(hw));
	message_u32(&m, NFQA_SKB_INFO, NFQA_SKB_GSO | NFQA_SKB_CSUMNOTREADY);
	message_u32(&m, NFQA_UID, 1000);
	message_u32(&m, NFQA_GID, 1001);
	message_attr(&m, NFQA_SECCTX, "user:role", 9);
	add_vlan();
	message_attr(&m, NFQA_L2HDR, "0123456789abcd", 14);
	message_u32(&m, NFQA_PRIORITY, 0x10002);
	message_u32(&m, NFQA_CAP_LEN, 1500);
	message_u32(&m, NFQA_MAX + 1, 99);
	message_attr(&m, NFQA_CT | NLA_F_NESTED, "read when asked for", 19);
	message_u32(&m, NFQA_CT_INFO, 3);
	message_attr(&m, NFQA_PAYLOAD, "payload", 7);
}

static void test_every_attribute(void **state)
{
	struct spw_packet p;

	(void)state;
	whole();
	assert_int_equal(decode(m.data, m.len, &p), 0);
	assert_int_equal(p.size, sizeof(p));
	assert_int_equal(p.has, (1u << 11) - 1);
	assert_int_equal(p.conntrack_len, 19);
	assert_memory_equal(p.conntrack, "read when asked for", 19);
	assert_int_equal(p.conntrack_info, 3);
	assert_int_equal(p.queue, 513);
	assert_int_equal(p.family, AF_INET);
	assert_int_equal(p.id, 0xfffffffe);
	assert_int_equal(p.hw_protocol, 0x86dd);
	assert_int_equal(p.hook, 3);
	assert_int_equal(p.mark, 0x01020304);
	assert_int_equal(p.timestamp_us, 1700000000123456);
	assert_int_equal(p.indev, 11);
	assert_int_equal(p.outdev, 12);
	assert_int_equal(p.physindev, 13);
	assert_int_equal(p.physoutdev, 14);
	assert_int_equal(p.hwaddr_len, 6);
	assert_memory_equal(p.hwaddr, "\2\0\0\0\0\7\0", 8);
	assert_int_equal(p.skb_info, SPW_PACKET_GSO | SPW_PACKET_CHECKSUM_NOT_READY);
	assert_int_equal(p.uid, 1000);
	assert_int_equal(p.gid, 1001);
	assert_int_equal(p.priority, 0x10002);
	assert_int_equal(p.vlan_proto, 0x88a8);
	assert_int_equal(p.vlan_tci, 0x2064);
	assert_int_equal(p.secctx_len, 9);
	assert_memory_equal(p.secctx, "user:role", 9);
	assert_int_equal(p.l2hdr_len, 14);
	assert_memory_equal(p.l2hdr, "0123456789abcd", 14);
	assert_int_equal(p.payload_len, 7);
	assert_memory_equal(p.payload, "payload", 7);
	assert_int_equal(p.length, 1500);
}

static void test_least(void **state)
{
	struct spw_packet p;

	(void)state;
	message_begin(&m, PACKET_TYPE, 0);
	assert_int_equal(decode(m.data, m.len, &p), -EBADMSG);
	message_header(&m, 1);
	assert_int_equal(decode(m.data, m.len, &p), 0);
	assert_int_equal(p.id, 1);
	assert_int_equal(p.has, 0);
	assert_null(p.payload);
	assert_int_equal(p.length, 0);
}

/* The last attribute's padding may be missing. */
static void test_unpadded(void **state)
{
	struct spw_packet p;

	(void)state;
	whole();
	m.len--;
	message_end(&m);
	assert_int_equal(decode(m.data, m.len, &p), 0);
	assert_int_equal(p.payload_len, 7);
}

/* Every length, with a header that still promises all, and with one that tells the truth. */
static void test_cut(void **state)
{
	size_t full;

	(void)state;
	whole();
	full = m.len;
	for (size_t len = 0; len < full - 1; len++) {
		struct spw_packet p;
		int err;

		whole();
		assert_int_equal(decode(m.data, len, &p), -EBADMSG);
		m.len = len;
		if (len < sizeof(struct nlmsghdr))
			continue;
		message_end(&m);
		err = decode(m.data, len, &p);
		assert_true(err == 0 || err == -EBADMSG);
		/* A cut inside an attribute never passes; one between two of them does, from the header on. */
		if (err == 0) {
			assert_true(len >= 31);
			assert_int_equal(p.id, 0xfffffffe);
			assert_null(p.payload);
		}
	}
}

static void test_shorter_than_it_must_be(void **state)
{
	static const struct {
		uint16_t type;
		uint16_t need;
	} attr[] = {{NFQA_PACKET_HDR, 7},
		    {NFQA_MARK, 4},
		    {NFQA_TIMESTAMP, 16},
		    {NFQA_IFINDEX_INDEV, 4},
		    {NFQA_IFINDEX_OUTDEV, 4},
		    {NFQA_IFINDEX_PHYSINDEV, 4},
		    {NFQA_IFINDEX_PHYSOUTDEV, 4},
		    {NFQA_HWADDR, 12},
		    {NFQA_CAP_LEN, 4},
		    {NFQA_SKB_INFO, 4},
		    {NFQA_UID, 4},
		    {NFQA_GID, 4},
		    {NFQA_PRIORITY, 4}};

	(void)state;
	for (size_t i = 0; i < sizeof(attr) / sizeof(attr[0]); i++) {
		for (uint16_t len = 0; len < 24; len++) {
			const uint8_t data[24] = {0};
			struct spw_packet p;

			message_begin(&m, PACKET_TYPE, 0);
			message_header(&m, 1);
			message_attr(&m, attr[i].type, data, len);
			assert_int_equal(decode(m.data, m.len, &p), len < attr[i].need ? -EBADMSG : 0);
		}
	}
}

static void test_lying_lengths(void **state)
{
	static const uint16_t claim[] = {0, 1, 2, 3, 21, 100, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(claim) / sizeof(claim[0]); i++) {
		for (unsigned type = 0; type <= NFQA_MAX + 2; type++) {
			const uint8_t data[16] = {0};
			struct spw_packet p;

			message_begin(&m, PACKET_TYPE, 0);
			message_header(&m, 1);
			message_lie(&m, (uint16_t)type, claim[i], data, sizeof(data));
			assert_int_equal(decode(m.data, m.len, &p), -EBADMSG);
		}
	}
}

static void test_message_length(void **state)
{
	static const uint32_t claim[] = {0, 1, 15, 16, 19, 1u << 31, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(claim) / sizeof(claim[0]); i++) {
		struct spw_packet p;

		whole();
		memcpy(m.data, &claim[i], sizeof(claim[i]));
		assert_int_equal(decode(m.data, m.len, &p), -EBADMSG);
	}
}

static void test_other_messages(void **state)
{
	struct spw_packet p;

	(void)state;
	message_begin(&m, NLMSG_ERROR, 0);
	message_header(&m, 1);
	assert_int_equal(decode(m.data, m.len, &p), -ENOMSG);
	message_begin(&m, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT, 0);
	assert_int_equal(decode(m.data, m.len, &p), -ENOMSG);
}

static void test_vlan_garbage(void **state)
{
	struct spw_packet p;

	(void)state;
	for (unsigned value = 0; value < 256; value++) {
		for (size_t len = 0; len <= 16; len++) {
			uint8_t data[16];
			int err;

			memset(data, (int)value, sizeof(data));
			message_begin(&m, PACKET_TYPE, 0);
			message_header(&m, 1);
			message_attr(&m, NFQA_VLAN, data, len);
			err = decode(m.data, m.len, &p);
			/* All one byte: no such length fits, but in an empty nest. */
			assert_int_equal(err, len == 0 ? 0 : -EBADMSG);
		}
	}
	message_begin(&m, PACKET_TYPE, 0);
	message_header(&m, 1);
	message_attr(&m, NFQA_VLAN, (const uint8_t[]){5, 0, NFQA_VLAN_TCI, 0, 7}, 5);
	assert_int_equal(decode(m.data, m.len, &p), -EBADMSG);
}

static void test_hardware_address(void **state)
{
	static const uint16_t claim[] = {0, 6, 8, 9, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(claim) / sizeof(claim[0]); i++) {
		const struct nfqnl_msg_packet_hw hw = {.hw_addrlen = htons(claim[i]),
						       .hw_addr = {1, 2, 3, 4, 5, 6, 7, 8}};
		struct spw_packet p;

		message_begin(&m, PACKET_TYPE, 0);
		message_header(&m, 1);
		message_attr(&m, NFQA_HWADDR, &hw, sizeof(hw));
		assert_int_equal(decode(m.data, m.len, &p), 0);
		assert_int_equal(p.hwaddr_len, claim[i] < 8 ? claim[i] : 8);
	}
}

/* A captured length below what is here can't be true. */
static void test_length(void **state)
{
	static uint8_t data[65531];
	struct spw_packet p;

	(void)state;
	message_begin(&m, PACKET_TYPE, 0);
	message_header(&m, 1);
	message_u32(&m, NFQA_CAP_LEN, 3);
	message_attr(&m, NFQA_PAYLOAD, data, sizeof(data));
	assert_int_equal(decode(m.data, m.len, &p), 0);
	assert_int_equal(p.payload_len, 65531);
	assert_int_equal(p.length, 65531);
}

/* No more is written than the caller has room for. */
static void test_size(void **state)
{
	struct spw_packet p;

	(void)state;
	whole();
	memset(&p, 0x5a, sizeof(p));
	p.size = offsetof(struct spw_packet, mark);
	assert_int_equal(spw_packet_decode(m.data, m.len, &p), 0);
	assert_int_equal(p.id, 0xfffffffe);
	assert_int_equal(p.size, offsetof(struct spw_packet, mark));
	assert_int_equal(p.mark, 0x5a5a5a5a);
	p.size = 0;
	assert_int_equal(spw_packet_decode(m.data, m.len, &p), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_attribute),
	    cmocka_unit_test(test_least),
	    cmocka_unit_test(test_unpadded),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_shorter_than_it_must_be),
	    cmocka_unit_test(test_lying_lengths),
	    cmocka_unit_test(test_message_length),
	    cmocka_unit_test(test_other_messages),
	    cmocka_unit_test(test_vlan_garbage),
	    cmocka_unit_test(test_hardware_address),
	    cmocka_unit_test(test_length),
	    cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
