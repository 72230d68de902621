/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inspector's pen: what joins and what doesn't, room on the page, payload slots, the bell, verdicts that can't be
 * carried out.
 */
#include "unit.h"

#include "inspect/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct channel_answers *page;
static struct channel_state state;
static struct answerer pen;

static int before_each(void **unused)
{
	(void)unused;
	page = aligned_alloc(4096, (sizeof(*page) + 4095) / 4096 * 4096);
	assert_non_null(page);
	memset(page, 0, sizeof(*page));
	memset(&state, 0, sizeof(state));
	state.active = 1;
	answer_start(&pen, page, &state, 1, eventfd(0, EFD_NONBLOCK));
	return 0;
}

static int after_each(void **unused)
{
	(void)unused;
	close(pen.bell);
	free(page);
	return 0;
}

static int put_of(unsigned class, uint64_t id, struct spw_verdict v)
{
	struct spw_packet p = {.size = sizeof(p), .payload_len = 100, .length = 100, .mark = 0xabc};
	struct channel_answer draft;
	int error;

	v.size = sizeof(v);
	error = answer_draft(&pen, class, id, &p, &v, &draft);
	if (!error)
		answer_put(&pen, &draft);
	return error;
}

static void put(uint64_t id, struct spw_verdict v)
{
	assert_int_equal(put_of(0, id, v), 0);
}

static void is_run(unsigned i, uint32_t first, uint32_t last, uint32_t verdict)
{
	assert_int_equal(page->ring[i].first, first);
	assert_int_equal(page->ring[i].last, last);
	assert_int_equal(page->ring[i].verdict, verdict);
	assert_int_equal(page->ring[i].bytes, 100 * (last - first + 1));
}

static void neighbours_join(void **unused)
{
	(void)unused;
	put(1, (struct spw_verdict){.code = SPW_ACCEPT});
	put(2, (struct spw_verdict){.code = SPW_ACCEPT});
	put(4, (struct spw_verdict){.code = SPW_ACCEPT}); /* 3 never fitted */
	put(5, (struct spw_verdict){.code = SPW_DROP});
	put(6, (struct spw_verdict){.code = SPW_DROP});
	put(7, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_MARK, .mark = 7});
	put(8, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_MARK, .mark = 7});
	assert_int_equal(page->produced, 0);
	answer_publish(&pen);
	assert_int_equal(page->produced, 5);
	is_run(0, 1, 2, SPW_ACCEPT);
	is_run(1, 4, 4, SPW_ACCEPT);
	is_run(2, 5, 6, SPW_DROP);
	is_run(3, 7, 7, SPW_ACCEPT);
	assert_int_equal(page->ring[3].mark, 7);
	is_run(4, 8, 8, SPW_ACCEPT);
}

static void runs_go_on_where_the_kernel_s_ids_wrap(void **unused)
{
	(void)unused;
	put(0xffffffffu, (struct spw_verdict){.code = SPW_ACCEPT});
	put(0x100000000u, (struct spw_verdict){.code = SPW_ACCEPT});
	put(0x100000001u, (struct spw_verdict){.code = SPW_ACCEPT});
	answer_publish(&pen);
	assert_int_equal(page->produced, 1);
	assert_int_equal(page->ring[0].first, 0xffffffffu);
	assert_int_equal(page->ring[0].last, 1);
}

static void classes_and_kinds_don_t_join(void **unused)
{
	const struct spw_packet p = {.size = sizeof(p), .length = 100};
	struct channel_answer a;

	(void)unused;
	assert_int_equal(put_of(0, 1, (struct spw_verdict){.code = SPW_ACCEPT}), 0);
	assert_int_equal(put_of(1, 2, (struct spw_verdict){.code = SPW_ACCEPT}), 0);
	for (uint64_t id = 3; id < 7; id++) {
		a = answer_plain(&pen, 1, id, &p, SPW_ACCEPT, id < 5 ? CHANNEL_TRUSTED : 0);
		answer_put(&pen, &a);
	}
	for (uint64_t id = 7; id < 9; id++) {
		a = answer_plain(&pen, 1, id, &p, CHANNEL_STALE, 0);
		answer_put(&pen, &a);
	}
	for (uint64_t id = 9; id < 11; id++) {
		a = answer_plain(&pen, 1, id, &p, CHANNEL_POISONED, 0);
		answer_put(&pen, &a);
	}
	answer_publish(&pen);
	assert_int_equal(page->produced, 7);
	assert_int_equal(page->ring[0].class, 0);
	assert_int_equal(page->ring[1].class, 1);
	is_run(2, 3, 4, SPW_ACCEPT);
	assert_int_equal(page->ring[2].set, CHANNEL_TRUSTED);
	is_run(3, 5, 6, SPW_ACCEPT);
	is_run(4, 7, 8, CHANNEL_STALE);
	is_run(5, 9, 9, CHANNEL_POISONED);
	is_run(6, 10, 10, CHANNEL_POISONED);
}

static void a_class_with_marks_has_them_one_by_one(void **unused)
{
	(void)unused;
	state.class[0].has_mark = 1;
	put(1, (struct spw_verdict){.code = SPW_ACCEPT});
	put(2, (struct spw_verdict){.code = SPW_ACCEPT});
	put(3, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_MARK, .mark = 9});
	answer_publish(&pen);
	assert_int_equal(page->produced, 3);
	assert_int_equal(page->ring[0].mark, 0xabc);
	assert_int_equal(page->ring[0].set, 0);
	assert_int_equal(page->ring[2].mark, 9);
}

static void the_bell_rings_for_a_sleeper_only(void **unused)
{
	uint64_t rings = 0;

	(void)unused;
	put(1, (struct spw_verdict){.code = SPW_ACCEPT});
	answer_publish(&pen);
	assert_int_equal(read(pen.bell, &rings, sizeof(rings)), -1);
	state.ring = CHANNEL_RING_ANSWER;
	answer_publish(&pen);
	assert_int_equal(read(pen.bell, &rings, sizeof(rings)), sizeof(rings));
	answer_ring(&pen, CHANNEL_RING_ARRIVAL);
	assert_int_equal(read(pen.bell, &rings, sizeof(rings)), -1);
	state.ring = CHANNEL_RING_ARRIVAL;
	answer_publish(&pen);
	assert_int_equal(read(pen.bell, &rings, sizeof(rings)), -1);
	answer_ring(&pen, CHANNEL_RING_ARRIVAL);
	assert_int_equal(read(pen.bell, &rings, sizeof(rings)), sizeof(rings));
}

static void a_full_ring_has_no_room(void **unused)
{
	uint32_t id = 0;

	(void)unused;
	while (answer_room(&pen))
		put(++id, (struct spw_verdict){.code = id % 2 ? SPW_ACCEPT : SPW_DROP});
	answer_publish(&pen);
	assert_true(page->produced <= CHANNEL_ANSWERS);
	assert_true(page->produced >= CHANNEL_ANSWERS - 1);
	state.active = 2; /* whose count it is from now on */
	state.consumed = page->produced;
	assert_false(answer_room(&pen));
	state.active = 1;
	assert_true(answer_room(&pen));
}

static void a_payload_slot_is_free_once_its_packet_is_settled(void **unused)
{
	const struct spw_verdict v = {
	    .code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = "abc", .payload_len = 3};
	uint64_t id = 0;

	(void)unused;
	while (!put_of(0, id + 1, v))
		id++;
	assert_int_equal(id, CHANNEL_PAYLOADS);
	assert_int_equal(put_of(0, id + 1, v), -EAGAIN);
	answer_publish(&pen);
	assert_memory_equal(page->payload[page->ring[5].payload], "abc", 3);
	assert_int_equal(page->ring[5].payload_len, 3);
	state.consumed = page->produced; /* taken is not settled: the engine may still need it */
	assert_int_equal(put_of(0, id + 1, v), -EAGAIN);
	assert_int_equal(answer_free_payloads(&pen, 9), 0);
	state.class[0].settled = 2;
	assert_int_equal(answer_free_payloads(&pen, 9), 2);
	assert_int_equal(put_of(0, id + 1, v), 0);
	assert_int_equal(put_of(0, id + 2, v), 0);
	assert_int_equal(put_of(0, id + 3, v), -EAGAIN);
}

static void what_can_t_be_carried_out_is_refused(void **unused)
{
	struct spw_packet cut = {.size = sizeof(cut), .payload_len = 64, .length = 100};
	struct spw_verdict v = {
	    .size = sizeof(v), .code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = "abc", .payload_len = 3};
	struct channel_answer draft;

	(void)unused;
	assert_int_equal(answer_draft(&pen, 0, 1, &cut, &v, &draft), -EMSGSIZE);
	assert_int_equal(put_of(0, 1, (struct spw_verdict){.code = 99}), -EINVAL);
	assert_int_equal(put_of(0, 1, (struct spw_verdict){.code = CHANNEL_STALE}), -EINVAL);
	assert_int_equal(put_of(0, 1, (struct spw_verdict){.code = SPW_ACCEPT, .set = CHANNEL_TRUSTED}), -EINVAL);
	cut.skb_info = SPW_PACKET_GSO;
	cut.hw_protocol = 0x0800;
	cut.payload = (const uint8_t *)"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2\0\1\0\2\0\x08\0\0";
	cut.payload_len = cut.length = 28;
	assert_int_equal(answer_draft(&pen, 0, 1, &cut, &v, &draft), -EOPNOTSUPP); /* UDP, an aggregate */
	v.payload = NULL;
	assert_int_equal(put_of(0, 1, v), -EINVAL);
	v.payload = "abc";
	v.payload_len = SPW_PAYLOAD_MAX + 1;
	assert_int_equal(put_of(0, 1, v), -EINVAL);
	assert_int_equal(answer_free_payloads(&pen, CHANNEL_PAYLOADS), CHANNEL_PAYLOADS);
}

static void trust_is_the_library_s_own_affair(void **unused)
{
	(void)unused;
	put(1, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_TRUST});
	answer_publish(&pen);
	assert_int_equal(page->ring[0].set, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, before_each, after_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(neighbours_join),
	    CASE(runs_go_on_where_the_kernel_s_ids_wrap),
	    CASE(classes_and_kinds_don_t_join),
	    CASE(a_class_with_marks_has_them_one_by_one),
	    CASE(the_bell_rings_for_a_sleeper_only),
	    CASE(a_full_ring_has_no_room),
	    CASE(a_payload_slot_is_free_once_its_packet_is_settled),
	    CASE(what_can_t_be_carried_out_is_refused),
	    CASE(trust_is_the_library_s_own_affair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
