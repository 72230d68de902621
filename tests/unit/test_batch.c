/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receiving, from a socket pair: packets, replies, garbage and what is too large, mixed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <spillway/queue.h>

#include "message.h"

static struct message m;
static int pair[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair);
}

static int teardown(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void put(void)
{
	assert_int_equal(send(pair[1], m.data, m.len, MSG_DONTWAIT), m.len);
}

static void put_packet(uint32_t id)
{
	message_begin(&m, PACKET_TYPE, 3);
	message_header(&m, id);
	message_u32(&m, NFQA_MARK, id * 2);
	put();
}

static void put_others(void)
{
	message_begin(&m, NLMSG_ERROR, 0);
	put();
	m.len = 7;
	put();
	message_begin(&m, PACKET_TYPE, 3);
	put();
}

static void test_bounds(void **state)
{
	struct spw_batch *batch = spw_batch_new(1024);

	(void)state;
	assert_non_null(batch);
	assert_int_equal(spw_batch_receive(batch, pair[0], 1024), -EAGAIN);
	assert_int_equal(spw_batch_receive(batch, -1, 1024), -EBADF);
	spw_batch_free(batch);
	assert_null(spw_batch_new(0));
	assert_null(spw_batch_new(1025));
	spw_batch_free(NULL);
}

static void test_order_and_limits(void **state)
{
	struct spw_batch *batch = spw_batch_new(4);
	static const unsigned max[] = {3, 1000, 1000};
	static const int got[] = {3, 4, 1};
	uint32_t id = 0;

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		put_packet(i);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(spw_batch_receive(batch, pair[0], max[round]), got[round]);
		assert_int_equal(spw_batch_skipped(batch), 0);
		for (int i = 0; i < got[round]; i++, id++) {
			assert_int_equal(spw_batch_packet(batch, (unsigned)i)->id, id);
			assert_int_equal(spw_batch_packet(batch, (unsigned)i)->mark, id * 2);
		}
	}
	assert_int_equal(spw_batch_receive(batch, pair[0], 4), -EAGAIN);
	spw_batch_free(batch);
}

static void test_skipped(void **state)
{
	struct spw_batch *batch = spw_batch_new(16);

	(void)state;
	put_others();
	assert_int_equal(spw_batch_receive(batch, pair[0], 16), 0);
	assert_int_equal(spw_batch_skipped(batch), 3);
	put_packet(1);
	put_others();
	put_packet(2);
	assert_int_equal(spw_batch_receive(batch, pair[0], 16), 2);
	assert_int_equal(spw_batch_skipped(batch), 3);
	assert_int_equal(spw_batch_packet(batch, 1)->id, 2);
	spw_batch_free(batch);
}

/* The largest packet fits; what doesn't is skipped, though its front would parse. */
static void test_large(void **state)
{
	static uint8_t data[65531];
	struct spw_batch *batch = spw_batch_new(2);

	(void)state;
	message_begin(&m, PACKET_TYPE, 3);
	message_header(&m, 9);
	message_attr(&m, NFQA_PAYLOAD, data, sizeof(data));
	put();
	assert_int_equal(spw_batch_receive(batch, pair[0], 2), 1);
	assert_int_equal(spw_batch_packet(batch, 0)->payload_len, sizeof(data));
	message_begin(&m, PACKET_TYPE, 3);
	message_header(&m, 9);
	m.len = sizeof(m.data);
	put();
	assert_int_equal(spw_batch_receive(batch, pair[0], 2), 0);
	assert_int_equal(spw_batch_skipped(batch), 1);
	spw_batch_free(batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_order_and_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_skipped, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_large, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
