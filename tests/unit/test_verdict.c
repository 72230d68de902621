/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verdict builder, by the bytes it sends: this file's sendto() stands where the kernel would be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>

#include <spillway/queue.h>

#include "conntrack.h"

#define STOLEN 2
#define STOP   5
#define FD     77

static uint8_t sent[1536 * 1024]; /* what was sent since sent_len was 0 */
static size_t sent_len, send_most;
static unsigned sendings;
static int refuse;

ssize_t sendto(int fd, const void *data, size_t len, int flags, __CONST_SOCKADDR_ARG addr, socklen_t addr_len)
{
	struct sockaddr_nl to;

	assert_int_equal(fd, FD);
	assert_int_equal(flags, 0);
	/* Without a destination the kernel also asks who opened the socket. */
	assert_int_equal(addr_len, sizeof(to));
	memcpy(&to, addr.__sockaddr__, sizeof(to));
	assert_int_equal(to.nl_family, AF_NETLINK);
	assert_int_equal(to.nl_pid, 0);
	if (refuse) {
		errno = refuse;
		return -1;
	}
	if (send_most && len > send_most) {
		errno = EMSGSIZE;
		return -1;
	}
	assert_true(len <= sizeof(sent) - sent_len);
	memcpy(sent + sent_len, data, len);
	sent_len += len;
	sendings++;
	return (ssize_t)len;
}

/* What one message says. */
struct seen {
	uint32_t bytes, value, id, mark, priority;
	uint16_t type, queue;
	unsigned attrs;
	size_t payload_len;
	const uint8_t *payload;
};

static void see_attr(struct seen *seen, const struct nlattr *attr, const uint8_t *data)
{
	uint32_t number[2] = {0};
	const size_t len = attr->nla_len - sizeof(*attr);

	memcpy(number, data, len < sizeof(number) ? len : sizeof(number));
	if (attr->nla_type == NFQA_VERDICT_HDR) {
		seen->value = ntohl(number[0]);
		seen->id = ntohl(number[1]);
	} else if (attr->nla_type == NFQA_MARK) {
		seen->mark = ntohl(number[0]);
	} else if (attr->nla_type == NFQA_PRIORITY) {
		seen->priority = ntohl(number[0]);
	} else {
		assert_int_equal(attr->nla_type, NFQA_PAYLOAD);
		seen->payload = data;
		seen->payload_len = len;
	}
	seen->attrs++;
}

static struct seen see(const uint8_t *at)
{
	struct seen seen = {0};
	struct nlmsghdr nlh;
	struct nfgenmsg nfg;
	struct nlattr attr;

	memcpy(&nlh, at, sizeof(nlh));
	memcpy(&nfg, at + sizeof(nlh), sizeof(nfg));
	assert_int_equal(nlh.nlmsg_flags, NLM_F_REQUEST);
	assert_int_equal(nfg.version, 0);
	seen.bytes = nlh.nlmsg_len;
	seen.type = nlh.nlmsg_type;
	seen.queue = ntohs(nfg.res_id);
	for (size_t i = sizeof(nlh) + sizeof(nfg); i < nlh.nlmsg_len; i += NLA_ALIGN(attr.nla_len)) {
		memcpy(&attr, at + i, sizeof(attr));
		assert_true(attr.nla_len >= sizeof(attr) && i + attr.nla_len <= nlh.nlmsg_len);
		see_attr(&seen, &attr, at + i + sizeof(attr));
	}
	return seen;
}

static struct seen send_one(const struct spw_verdict *verdict)
{
	struct spw_verdicts *list = spw_verdicts_new(0);

	sent_len = 0;
	assert_int_equal(spw_verdicts_add(list, 513, 0xfffffffe, verdict), 0);
	assert_int_equal(spw_verdicts_count(list), 1);
	assert_int_equal(spw_verdicts_send(list, FD), 0);
	assert_int_equal(spw_verdicts_count(list), 0);
	assert_int_equal(spw_verdicts_bytes(list), 0);
	spw_verdicts_free(list);
	assert_int_equal(see(sent).bytes, sent_len);
	return see(sent);
}

static int add(uint32_t code, uint32_t set, int batch)
{
	static const uint8_t data[4];
	const struct spw_verdict verdict = {
	    .size = sizeof(verdict), .code = code, .set = set, .payload = data, .payload_len = sizeof(data)};
	struct spw_verdicts *list = spw_verdicts_new(0);
	const int err = batch ? spw_verdicts_add_batch(list, 1, 1, &verdict) : spw_verdicts_add(list, 1, 1, &verdict);

	assert_int_equal(spw_verdicts_count(list), err ? 0 : 1);
	spw_verdicts_free(list);
	return err;
}

static void test_plain(void **state)
{
	const struct seen seen = send_one(&(struct spw_verdict){
	    .size = sizeof(struct spw_verdict), .code = SPW_ACCEPT, .mark = 1, .priority = 2, .queue = 3});

	(void)state;
	assert_int_equal(seen.type, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT);
	assert_int_equal(seen.bytes, 32);
	assert_int_equal(seen.queue, 513);
	assert_int_equal(seen.id, 0xfffffffe);
	assert_int_equal(seen.value, NF_ACCEPT);
	assert_int_equal(seen.attrs, 1);
}

static void test_everything(void **state)
{
	const struct seen seen =
	    send_one(&(struct spw_verdict){.size = sizeof(struct spw_verdict),
					   .code = SPW_ACCEPT,
					   .set = SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY | SPW_VERDICT_PAYLOAD,
					   .mark = 0x01020304,
					   .priority = 0x10002,
					   .payload = "seventy",
					   .payload_len = 7});

	(void)state;
	assert_int_equal(seen.attrs, 4);
	assert_int_equal(seen.mark, 0x01020304);
	assert_int_equal(seen.priority, 0x10002);
	assert_int_equal(seen.payload_len, 7);
	assert_memory_equal(seen.payload, "seventy", 7);
	assert_int_equal(sent_len % 4, 0);
}

/* High bits would turn ACCEPT into STOP. */
static void test_masking(void **state)
{
	struct spw_verdict v = {.size = sizeof(v)};

	(void)state;
	for (unsigned bit = 8; bit < 32; bit++) {
		v.queue = 0;
		v.code = SPW_ACCEPT | 1u << bit;
		assert_int_equal(send_one(&v).value, NF_ACCEPT);
		v.code = SPW_DROP | 1u << bit;
		assert_int_equal(send_one(&v).value, NF_DROP);
		v.code = SPW_REPEAT | 1u << bit;
		assert_int_equal(send_one(&v).value, NF_REPEAT);
		v.code = SPW_QUEUE | 1u << bit;
		v.queue = 0x1234;
		assert_int_equal(send_one(&v).value, 0x12340000 | NF_QUEUE);
	}
	v.code = SPW_QUEUE;
	v.queue = 65535;
	v.set = SPW_VERDICT_BYPASS;
	assert_int_equal(send_one(&v).value, 0xffff8000 | NF_QUEUE);
	v.code = SPW_ACCEPT;
	assert_int_equal(send_one(&v).value, NF_ACCEPT);
}

static void test_refused(void **state)
{
	(void)state;
	for (uint32_t code = 0; code < 256; code++) {
		const int known = code == SPW_DROP || code == SPW_ACCEPT || code == SPW_QUEUE || code == SPW_REPEAT;
		const int all = code == SPW_DROP || code == SPW_ACCEPT;

		assert_int_equal(add(code, 0, 0), known ? 0 : -EINVAL);
		assert_int_equal(add(code, 0, 1), all ? 0 : -EINVAL);
	}
	assert_int_equal(add(STOLEN, 0, 0), -EINVAL);
	assert_int_equal(add(STOP | 0x100, 0, 0), -EINVAL);
	assert_int_equal(add(SPW_ACCEPT, SPW_VERDICT_PAYLOAD, 1), -EINVAL);
	assert_int_equal(add(SPW_ACCEPT, SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY, 1), 0);
	assert_int_equal(add(SPW_ACCEPT, SPW_VERDICT_BYPASS << 1, 0), -EINVAL);
	assert_int_equal(add(SPW_ACCEPT, SPW_VERDICT_CT_MARK, 0), 0);
	assert_int_equal(add(SPW_ACCEPT, SPW_VERDICT_CT_MARK, 1), -EINVAL);
	assert_int_equal(add(SPW_ACCEPT, SPW_VERDICT_CT_LABELS, 1), -EINVAL);
	assert_int_equal(add(SPW_ACCEPT, SPW_VERDICT_CT_LABELS << 1, 0), -EINVAL);
}

/* The message's last attribute, byte by byte: a nest, value before mask, no bit outside the mask. */
static void test_connection(void **state)
{
	struct spw_verdict v = {.size = sizeof(v),
				.code = SPW_DROP,
				.set = SPW_VERDICT_MARK | SPW_VERDICT_CT_MARK | SPW_VERDICT_CT_LABELS,
				.ct_mark = 0xabcd,
				.ct_mark_mask = 0xff00,
				.ct_labels = {9, 0, 0, ~0u},
				.ct_labels_mask = {8, 0, 0, 1u << 31}};
	struct spw_verdicts *list = spw_verdicts_new(0);
	static struct message m;
	size_t nest;

	(void)state;
	message_begin(&m, 0, 0);
	nest = conntrack_begin(&m, NFQA_CT);
	message_u32(&m, CTA_MARK, 0xab00);
	message_u32(&m, CTA_MARK_MASK, 0xff00);
	message_attr(&m, CTA_LABELS, (uint32_t[]){8, 0, 0, 1u << 31}, 16);
	message_attr(&m, CTA_LABELS_MASK, v.ct_labels_mask, 16);
	conntrack_end(&m, nest);
	assert_int_equal(spw_verdicts_add(list, 1, 1, &v), 0);
	assert_int_equal(spw_verdicts_send(list, FD), 0);
	assert_int_equal(sent_len, 32 + 8 + m.len - nest);
	assert_memory_equal(sent + 40, m.data + nest, m.len - nest);
	v.set = SPW_VERDICT_CT_MARK;
	assert_int_equal(spw_verdicts_add(list, 1, 1, &v), 0);
	assert_int_equal(spw_verdicts_bytes(list), 32 + 4 + 16);
	spw_verdicts_free(list);
}

static void test_payload_limits(void **state)
{
	static uint8_t data[65532];
	struct spw_verdict v = {
	    .size = sizeof(v), .code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = data, .payload_len = 65531};
	struct spw_verdicts *list = spw_verdicts_new(0);

	(void)state;
	memset(data, 0xa5, sizeof(data));
	assert_int_equal(send_one(&v).payload_len, 65531);
	v.payload_len = 65532;
	assert_int_equal(spw_verdicts_add(list, 0, 1, &v), -EINVAL);
	v.payload_len = SIZE_MAX;
	assert_int_equal(spw_verdicts_add(list, 0, 1, &v), -EINVAL);
	v.payload_len = 4;
	v.payload = NULL;
	assert_int_equal(spw_verdicts_add(list, 0, 1, &v), -EINVAL);
	assert_int_equal(spw_verdicts_bytes(list), 0);
	spw_verdicts_free(list);
}

static void test_batch(void **state)
{
	const struct spw_verdict v = {.size = sizeof(v), .code = SPW_DROP, .set = SPW_VERDICT_MARK, .mark = 9};
	struct spw_verdicts *list = spw_verdicts_new(0);
	struct seen seen;

	(void)state;
	assert_int_equal(spw_verdicts_add_batch(list, 7, 42, &v), 0);
	assert_int_equal(spw_verdicts_send(list, FD), 0);
	seen = see(sent);
	assert_int_equal(seen.type, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH);
	assert_int_equal(seen.queue, 7);
	assert_int_equal(seen.id, 42);
	assert_int_equal(seen.value, NF_DROP);
	assert_int_equal(seen.mark, 9);
	spw_verdicts_free(list);
}

/* A full list stays whole, and a failed sending keeps it. */
static void test_full(void **state)
{
	const struct spw_verdict v = {.size = sizeof(v), .code = SPW_ACCEPT};
	struct spw_verdicts *list = spw_verdicts_new(1);
	uint32_t id = 0;

	(void)state;
	while (spw_verdicts_add(list, 0, id, &v) == 0)
		id++;
	assert_int_equal(id, 128 * 1024 / 32);
	assert_int_equal(spw_verdicts_add(list, 0, id, &v), -ENOSPC);
	refuse = ENOBUFS;
	assert_int_equal(spw_verdicts_send(list, FD), -ENOBUFS);
	refuse = 0;
	assert_int_equal(spw_verdicts_count(list), id);
	assert_int_equal(spw_verdicts_send(list, FD), 0);
	assert_int_equal(sent_len, 128 * 1024);
	for (uint32_t i = 0; i < id; i++)
		assert_int_equal(see(sent + (size_t)i * 32).id, i);
	refuse = EINVAL; /* an empty list is not sent at all */
	assert_int_equal(spw_verdicts_send(list, FD), 0);
	refuse = 0;
	spw_verdicts_free(list);
	spw_verdicts_free(NULL);
}

/* As a user namespace has it: the send buffer takes six changed packets of 64 KiB at once, and there are sixteen. */
static void test_send_buffer(void **state)
{
	static const uint8_t data[65531];
	static _Alignas(4) uint8_t memory[17 * 65600];
	const struct spw_verdict changed = {.size = sizeof(changed),
					    .code = SPW_ACCEPT,
					    .set = SPW_VERDICT_PAYLOAD,
					    .payload = data,
					    .payload_len = sizeof(data)},
				 plain = {.size = sizeof(plain), .code = SPW_ACCEPT};
	struct spw_verdicts *list = spw_verdicts_new(0);
	size_t bytes;

	(void)state;
	spw_verdicts_place(list, memory, sizeof(memory));
	assert_int_equal(spw_verdicts_add_batch(list, 1, 3, &plain), 0);
	for (uint32_t id = 4; id < 20; id++)
		assert_int_equal(spw_verdicts_add(list, 1, id, &changed), 0);
	bytes = spw_verdicts_bytes(list);
	send_most = 425984 - 32;
	assert_int_equal(spw_verdicts_send(list, FD), -EMSGSIZE); /* one sendmsg() is its promise */
	assert_int_equal(spw_verdicts_resend(FD, memory, bytes), 0);
	assert_int_equal(sendings, 17);
	assert_int_equal(sent_len, bytes);
	assert_memory_equal(sent, memory, bytes);
	send_most = 65531; /* not even one */
	assert_int_equal(spw_verdicts_resend(FD, memory, bytes), -EMSGSIZE);
	send_most = 32;
	assert_int_equal(spw_verdicts_resend(FD, memory, 48), -EPROTO);
	assert_int_equal(spw_verdicts_resend(FD, memory, 33), -EPROTO);
	send_most = 0;
	sent_len = sendings = 0;
	assert_int_equal(spw_verdicts_resend(FD, memory, bytes), 0);
	assert_int_equal(sendings, 1);
	spw_verdicts_free(list);
}

/* Callers of other ages. */
static void test_size(void **state)
{
	struct {
		struct spw_verdict v;
		uint64_t later;
	} newer = {.v = {.size = sizeof(newer), .code = SPW_ACCEPT}};
	struct spw_verdicts *list = spw_verdicts_new(0);

	(void)state;
	assert_int_equal(spw_verdicts_add(list, 0, 1, &newer.v), 0);
	newer.later = 1;
	assert_int_equal(spw_verdicts_add(list, 0, 1, &newer.v), -EINVAL);
	newer.v.size = sizeof(struct spw_verdict);
	assert_int_equal(spw_verdicts_add(list, 0, 1, &newer.v), 0);
	newer.v.size = 0;
	assert_int_equal(spw_verdicts_add(list, 0, 1, &newer.v), -EINVAL);
	newer.v.size = sizeof(size_t);
	assert_int_equal(spw_verdicts_add_batch(list, 0, 1, &newer.v), -EINVAL);
	assert_int_equal(spw_verdicts_count(list), 2);
	spw_verdicts_free(list);
}

static int before_each(void **state)
{
	(void)state;
	sent_len = sendings = 0;
	return 0;
}

#define CASE(f) cmocka_unit_test_setup(f, before_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_plain),       CASE(test_everything),     CASE(test_masking), CASE(test_refused),
	    CASE(test_connection),  CASE(test_payload_limits), CASE(test_batch),   CASE(test_full),
	    CASE(test_send_buffer), CASE(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
