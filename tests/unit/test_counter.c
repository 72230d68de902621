/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the reader of counters makes of replies: as the kernel writes them, cut at every byte, with lengths that lie.
 */
#include "unit.h"

#include "message.h"
#include "nfqueue/counter.h"

#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink_acct.h>
#include <stdlib.h>

#define SEQ      77
#define ACCT_NEW (NFNL_SUBSYS_ACCT << 8 | NFNL_MSG_ACCT_NEW)
#define NFT_NEW  (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWOBJ)

static const struct spw_counter_want acct = {SEQ, ACCT_NEW, "spillway-7"};
static const struct spw_counter_want nft = {SEQ, NFT_NEW, "spillway-7"};
static const struct spw_counter_want ack = {SEQ, 0, "spillway-7"};

static void begin(struct message *m, uint16_t type, uint32_t seq)
{
	message_begin(m, type, 0);
	memcpy(m->data + offsetof(struct nlmsghdr, nlmsg_seq), &seq, sizeof(seq));
}

static void put_u64(struct message *m, uint16_t type, uint64_t value)
{
	value = htobe64(value);
	message_attr(m, type, &value, sizeof(value));
}

static void put_acct(struct message *m, const char *name)
{
	begin(m, ACCT_NEW, SEQ);
	message_attr(m, NFACCT_NAME, name, strlen(name) + 1);
	put_u64(m, NFACCT_PKTS, 5000000000u);
	put_u64(m, NFACCT_BYTES, UINT64_MAX);
	message_u32(m, NFACCT_USE, 2);
}

/* An object of nft; `claimed` is the length that the nested data claims. */
static void put_nft(struct message *m, uint32_t type, uint16_t claimed)
{
	const size_t head = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);
	static struct message data;

	message_begin(&data, 0, 0);
	put_u64(&data, NFTA_COUNTER_BYTES, 640);
	put_u64(&data, NFTA_COUNTER_PACKETS, 10);
	begin(m, NFT_NEW, SEQ);
	message_attr(m, NFTA_OBJ_TABLE, "spillway", 9);
	message_attr(m, NFTA_OBJ_NAME, "spillway-7", 11);
	message_u32(m, NFTA_OBJ_TYPE, type);
	message_lie(m, NFTA_OBJ_DATA | NLA_F_NESTED, claimed ? claimed : (uint16_t)(data.len - head + 4),
		    data.data + head, data.len - head);
}

static void put_error(struct message *m, int error, size_t payload)
{
	const struct nlmsgerr answer = {.error = error};

	begin(m, NLMSG_ERROR, SEQ);
	m->len = sizeof(struct nlmsghdr);
	message_add(m, &answer, payload);
	message_end(m);
}

/* The answer, with the message in memory of just its length, so that every look beyond shows. */
static int answer_of(const void *data, size_t len, const struct spw_counter_want *want, uint64_t *packets,
		     uint64_t *bytes)
{
	void *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, data, len);
	*packets = 11;
	*bytes = 22;
	err = spw_counter_answer(copy, len, want, packets, bytes);
	free(copy);
	if (err || !want->type)
		assert_true(*packets == 11 && *bytes == 22);
	return err;
}

static int answer(const struct message *m, const struct spw_counter_want *want)
{
	uint64_t packets, bytes;

	return answer_of(m->data, m->len, want, &packets, &bytes);
}

static void the_kernels(void **state)
{
	struct message m;
	uint64_t packets, bytes;

	(void)state;
	put_acct(&m, "spillway-7");
	assert_int_equal(answer_of(m.data, m.len, &acct, &packets, &bytes), 0);
	assert_true(packets == 5000000000u && bytes == UINT64_MAX);
	put_nft(&m, NFT_OBJECT_COUNTER, 0);
	assert_int_equal(answer_of(m.data, m.len, &nft, &packets, &bytes), 0);
	assert_true(packets == 10 && bytes == 640);
	put_error(&m, 0, sizeof(struct nlmsgerr));
	assert_int_equal(answer(&m, &ack), 0);
	put_error(&m, -ENOENT, sizeof(struct nlmsgerr));
	assert_int_equal(answer(&m, &ack), -ENOENT);
	assert_int_equal(answer(&m, &acct), -ENOENT);
}

static void another_one(void **state)
{
	struct message m, both;

	(void)state;
	put_acct(&m, "spillway-70");
	assert_int_equal(answer(&m, &acct), -EPROTO);
	put_acct(&m, "spillway-");
	assert_int_equal(answer(&m, &acct), -EPROTO);
	put_acct(&m, "spillway-7");
	assert_int_equal(answer(&m, &nft), -EPROTO);
	assert_int_equal(answer(&m, &ack), -EPROTO);
	put_nft(&m, NFT_OBJECT_QUOTA, 0);
	assert_int_equal(answer(&m, &nft), -EPROTO);
	/* An older reply in front, in the same buffer. */
	begin(&both, ACCT_NEW, SEQ - 1);
	message_end(&both);
	assert_int_equal(answer(&both, &acct), -EAGAIN);
	put_acct(&m, "spillway-7");
	message_add(&both, m.data, m.len);
	assert_int_equal(answer(&both, &acct), 0);
}

static void false_errors(void **state)
{
	struct message m;

	(void)state;
	put_error(&m, 0, sizeof(struct nlmsgerr));
	assert_int_equal(answer(&m, &acct), -EPROTO);
	put_error(&m, 5, sizeof(struct nlmsgerr));
	assert_int_equal(answer(&m, &ack), -EPROTO);
	put_error(&m, INT32_MIN, sizeof(struct nlmsgerr));
	assert_int_equal(answer(&m, &ack), -EPROTO);
	for (size_t len = 0; len < sizeof(struct nlmsgerr); len++) {
		put_error(&m, -ENOENT, len);
		assert_true(answer(&m, &ack) < 0);
		assert_int_not_equal(answer(&m, &ack), -ENOENT);
	}
}

/* Cut: the header's length left as it was, and made that of what is left. */
static void cut(void **state)
{
	struct message m;

	(void)state;
	for (unsigned kind = 0; kind < 2; kind++) {
		size_t whole;

		put_acct(&m, "spillway-7");
		if (kind)
			put_nft(&m, NFT_OBJECT_COUNTER, 0);
		whole = m.len;
		if (!kind) /* the last attribute is not needed */
			whole -= 8;
		for (size_t len = 0; len < whole; len++) {
			m.len = len;
			assert_true(answer(&m, kind ? &nft : &acct) < 0);
		}
		for (size_t len = whole - 1; len >= sizeof(struct nlmsghdr); len--) {
			m.len = len;
			message_end(&m);
			assert_true(answer(&m, kind ? &nft : &acct) < 0);
		}
	}
}

static void lies(void **state)
{
	static const uint16_t lengths[] = {0, 1, 3, 5, 4, 11, 13, 16, 1000, 32768, 65535};
	struct message m;

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		const uint64_t value = 1;

		put_nft(&m, NFT_OBJECT_COUNTER, lengths[i]);
		if (lengths[i])
			assert_int_equal(answer(&m, &nft), -EPROTO);
		begin(&m, ACCT_NEW, SEQ);
		message_attr(&m, NFACCT_NAME, "spillway-7", 11);
		put_u64(&m, NFACCT_BYTES, 1);
		message_lie(&m, NFACCT_PKTS, lengths[i], &value, sizeof(value));
		assert_int_equal(answer(&m, &acct), -EPROTO);
	}
	/* Lengths of the whole message. */
	for (uint32_t len = 0; len < 200; len++) {
		put_acct(&m, "spillway-7");
		memcpy(m.data, &len, sizeof(len));
		if (len < m.len - 8)
			assert_true(answer(&m, &acct) < 0);
		else
			answer(&m, &acct);
	}
	for (unsigned shift = 8; shift < 32; shift++) {
		const uint32_t len = UINT32_C(1) << shift;

		put_acct(&m, "spillway-7");
		memcpy(m.data, &len, sizeof(len));
		assert_int_equal(answer(&m, &acct), -EAGAIN);
	}
}

static void names(void **state)
{
	char name[SPW_COUNTER_NAME];

	(void)state;
	spw_counter_name(0, SPW_COUNTER_QUEUE, name);
	assert_string_equal(name, "spillway-0");
	spw_counter_name(65535, SPW_COUNTER_QUEUE, name);
	assert_string_equal(name, "spillway-65535");
	spw_counter_name(65535, SPW_COUNTER_TRUSTED, name);
	assert_string_equal(name, "spillway-65535-trusted");
	spw_counter_name(7, SPW_COUNTER_SPILLED, name);
	assert_string_equal(name, "spillway-7-spilled");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_kernels), cmocka_unit_test(another_one), cmocka_unit_test(false_errors),
	    cmocka_unit_test(cut),         cmocka_unit_test(lies),        cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
