/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inspector's pen: runs join, payload slots are not written before the engine has taken them, impossible verdicts
 * become drops.
 */
#include "unit.h"

#include "inspect/answer.h"

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
	answer_start(&pen, page, &state, eventfd(0, EFD_NONBLOCK));
	return 0;
}

static int after_each(void **unused)
{
	(void)unused;
	close(pen.bell);
	free(page);
	return 0;
}

static void put(uint32_t id, struct spw_verdict v)
{
	struct spw_packet p = {.size = sizeof(p), .id = id, .payload_len = 100, .length = 100};

	v.size = sizeof(v);
	answer_put(&pen, &p, &v);
}

static void runs_join_and_others_break_them(void **unused)
{
	(void)unused;
	put(1, (struct spw_verdict){.code = SPW_ACCEPT});
	put(3, (struct spw_verdict){.code = SPW_ACCEPT}); /* 2 never fitted */
	put(4, (struct spw_verdict){.code = SPW_DROP});
	put(5, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_MARK, .mark = 7});
	put(6, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_MARK, .mark = 7});
	assert_int_equal(page->produced, 0);
	answer_publish(&pen);
	assert_int_equal(page->produced, 4);
	assert_int_equal(page->ring[0].last, 3);
	assert_int_equal(page->ring[0].count, 2);
	assert_int_equal(page->ring[0].bytes, 200);
	assert_int_equal(page->ring[1].verdict, SPW_DROP);
	assert_int_equal(page->ring[2].mark, 7);
	assert_int_equal(page->ring[3].count, 1);
}

static void the_bell_rings_for_a_sleeper_only(void **unused)
{
	uint64_t rings = 0;

	(void)unused;
	put(1, (struct spw_verdict){.code = SPW_ACCEPT});
	answer_publish(&pen);
	assert_int_equal(read(pen.bell, &rings, sizeof(rings)), -1);
	state.engine_sleeps = 1;
	answer_publish(&pen);
	assert_int_equal(read(pen.bell, &rings, sizeof(rings)), sizeof(rings));
}

static void a_full_ring_has_no_room(void **unused)
{
	const struct spw_verdict v = {.size = sizeof(v), .code = SPW_ACCEPT};
	uint32_t id = 0;

	(void)unused;
	while (answer_room(&pen, &v))
		put(++id, (struct spw_verdict){.code = id % 2 ? SPW_ACCEPT : SPW_DROP});
	answer_publish(&pen);
	assert_true(page->produced <= CHANNEL_ANSWERS);
	assert_true(page->produced >= CHANNEL_ANSWERS - 1);
	state.consumed = page->produced;
	assert_true(answer_room(&pen, &v));
}

static void a_payload_slot_waits_for_the_engine(void **unused)
{
	const struct spw_verdict v = {
	    .size = sizeof(v), .code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = "abc", .payload_len = 3};
	uint32_t id = 0;

	(void)unused;
	while (answer_room(&pen, &v))
		put(++id, v);
	assert_int_equal(id, CHANNEL_PAYLOADS);
	answer_publish(&pen);
	assert_memory_equal(page->payload[page->ring[5].payload], "abc", 3);
	state.consumed = 1;
	assert_true(answer_room(&pen, &v));
}

static void impossible_verdicts_become_drops(void **unused)
{
	struct spw_packet cut = {.size = sizeof(cut), .id = 1, .payload_len = 64, .length = 100};
	struct spw_verdict v = {
	    .size = sizeof(v), .code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = "abc", .payload_len = 3};

	(void)unused;
	answer_put(&pen, &cut, &v);
	put(2, (struct spw_verdict){.code = 99});
	put(3, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = NULL, .payload_len = 3});
	answer_publish(&pen);
	assert_int_equal(page->produced, 1);
	assert_int_equal(page->ring[0].verdict, SPW_DROP);
	assert_int_equal(page->ring[0].count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(runs_join_and_others_break_them, before_each, after_each),
	    cmocka_unit_test_setup_teardown(the_bell_rings_for_a_sleeper_only, before_each, after_each),
	    cmocka_unit_test_setup_teardown(a_full_ring_has_no_room, before_each, after_each),
	    cmocka_unit_test_setup_teardown(a_payload_slot_waits_for_the_engine, before_each, after_each),
	    cmocka_unit_test_setup_teardown(impossible_verdicts_become_drops, before_each, after_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
