/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pure core: ids, gaps, answers that hold and that don't, switching, losses, settling; the books' sum after every
 * step.
 */
#include "unit.h"

#include "lane/lane.h"

#include <spillway/packet.h>

static struct lane_class c;
static struct lane_sample k; /* the kernel, as the last sample shows it */

static uint64_t sum_of_columns(void)
{
	uint64_t sum = lane_held(&c) + lane_inspected(&c) + c.books.trusted + c.books.lost + lane_unreconciled(&c);

	for (int i = 0; i < REASONS; i++)
		sum += c.books.spilled[i] + c.books.shut[i];
	return sum;
}

static void sample(void)
{
	lane_sample(&c, &k);
	assert_int_equal(lane_seen(&c), sum_of_columns());
}

static enum lane_result answer_with(uint32_t last, uint32_t count, uint32_t verdict, uint32_t set)
{
	struct channel_answer a = {.last = last, .count = count, .verdict = verdict, .set = set, .payload_len = 20};
	enum lane_result r = lane_answer(&c, &a);

	if (r == ANSWER_TAKEN)
		k.held -= count < k.held ? count : k.held;
	assert_int_equal(lane_seen(&c), sum_of_columns());
	return r;
}

static enum lane_result answer(uint32_t last, uint32_t count)
{
	return answer_with(last, count, SPW_ACCEPT, 0);
}

static void start(bool fail_open)
{
	lane_class_init(&c, fail_open, true, 1000);
	k = (struct lane_sample){0};
}

static int before_each(void **state)
{
	(void)state;
	start(true);
	return 0;
}

/* n packets arrive, of which `fit` find room in the socket. */
static void arrive(uint32_t n, uint32_t fit)
{
	k.ids += n;
	k.held += fit;
	k.socket_drops += n - fit;
	if (!c.fail_open)
		k.user_dropped += n - fit;
}

static void every_verdict_has_its_column(void **state)
{
	(void)state;
	arrive(6, 6);
	sample();
	assert_int_equal(lane_held(&c), 6);
	assert_int_equal(answer(2, 2), ANSWER_TAKEN);
	assert_int_equal(answer_with(3, 1, SPW_DROP, 0), ANSWER_TAKEN);
	assert_int_equal(answer_with(4, 1, SPW_ACCEPT, SPW_VERDICT_PAYLOAD), ANSWER_TAKEN);
	assert_int_equal(answer_with(5, 1, SPW_QUEUE, 0), ANSWER_TAKEN);
	assert_int_equal(answer_with(6, 1, SPW_REPEAT, 0), ANSWER_TAKEN);
	assert_int_equal(c.books.accepted, 2);
	assert_int_equal(c.books.dropped, 1);
	assert_int_equal(c.books.modified, 1);
	assert_int_equal(c.books.requeued, 2);
	sample();
	assert_int_equal(lane_held(&c), 0);
	assert_false(c.books.uncounted);
}

static void gaps_are_full_by_policy(void **state)
{
	(void)state;
	arrive(10, 4);
	sample();
	assert_int_equal(lane_unreconciled(&c), 6);
	assert_int_equal(answer(10, 4), ANSWER_TAKEN);
	assert_int_equal(c.books.spilled[REASON_FULL], 6);
	start(false);
	arrive(10, 4);
	sample();
	assert_int_equal(answer(10, 4), ANSWER_TAKEN);
	assert_int_equal(c.books.shut[REASON_FULL], 6);
	assert_int_equal(lane_unreconciled(&c), 0);
}

static void gaps_at_the_end_are_found_without_an_answer(void **state)
{
	(void)state;
	arrive(10, 4);
	assert_int_equal((sample(), answer(4, 4)), ANSWER_TAKEN);
	for (int i = 0; i < 10; i++)
		sample();
	assert_int_equal(c.books.spilled[REASON_FULL], 6);
	assert_int_equal(lane_unreconciled(&c), 0);
	assert_int_equal(c.books.lost, 0);
	arrive(1, 1);
	sample();
	assert_int_equal(answer(11, 1), ANSWER_TAKEN);
	assert_int_equal(c.books.accepted, 5);
}

static void a_switch_moves_no_earlier_gap(void **state)
{
	(void)state;
	arrive(10, 4); /* six spilled */
	lane_switch(&c, &k, false, 1000);
	arrive(10, 4); /* six shut */
	sample();
	assert_int_equal(answer(4, 4), ANSWER_TAKEN);
	assert_int_equal(answer(20, 4), ANSWER_TAKEN);
	/* The range crossed the switch; the kernel's own count of drops puts it right. */
	sample();
	assert_int_equal(c.books.spilled[REASON_FULL], 6);
	assert_int_equal(c.books.shut[REASON_FULL], 6);
}

static void queue_full_without_fail_open_is_seen_and_shut(void **state)
{
	(void)state;
	start(false);
	c.length = 16;
	arrive(16, 16);
	k.queue_dropped = 84;
	sample();
	assert_int_equal(lane_seen(&c), 100);
	assert_int_equal(lane_held(&c), 16);
	assert_int_equal(c.books.shut[REASON_FULL], 84);
	assert_false(c.books.uncounted);
	c.gso = false; /* one drop counted may have been many segments */
	k.queue_dropped++;
	sample();
	assert_true(c.books.uncounted);
}

static void a_full_queue_with_fail_open_is_unknown(void **state)
{
	(void)state;
	c.length = 16;
	arrive(15, 15);
	sample();
	assert_false(c.books.uncounted);
	arrive(1, 1);
	sample();
	assert_true(c.books.uncounted);
}

static void lies_are_told_apart(void **state)
{
	(void)state;
	arrive(10, 10);
	sample();
	assert_int_equal(answer(11, 1), ANSWER_NOT_ASSIGNED);
	assert_int_equal(answer(0x80000000u, 1), ANSWER_NOT_ASSIGNED);
	assert_int_equal(answer(3, 4), ANSWER_COUNT);
	assert_int_equal(answer(3, 0), ANSWER_COUNT);
	assert_int_equal(answer_with(3, 2, SPW_REPEAT, 0), ANSWER_COUNT);
	assert_int_equal(answer_with(3, 1, 2, 0), ANSWER_VERDICT);
	assert_int_equal(answer_with(3, 1, SPW_ACCEPT, 1u << 31), ANSWER_VERDICT);
	assert_int_equal(answer(3, 3), ANSWER_TAKEN);
	assert_int_equal(answer(3, 1), ANSWER_BACKWARDS);
	assert_int_equal(answer(2, 1), ANSWER_BACKWARDS);
	assert_int_equal(c.books.accepted, 3);
}

static void a_payload_outside_its_area_is_a_lie(void **state)
{
	struct channel_answer a = {.last = 1, .count = 1, .verdict = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD};

	(void)state;
	arrive(1, 1);
	sample();
	assert_int_equal(lane_answer(&c, &a), ANSWER_PAYLOAD);
	a.payload_len = SPW_PAYLOAD_MAX + 1;
	assert_int_equal(lane_answer(&c, &a), ANSWER_PAYLOAD);
	a.payload_len = 20;
	a.payload = CHANNEL_PAYLOADS;
	assert_int_equal(lane_answer(&c, &a), ANSWER_PAYLOAD);
}

static void ids_wrap_round(void **state)
{
	(void)state;
	c.ids = c.settled = c.answered = 0xfffffff0u;
	c.last.ids = k.ids = 0xfffffff0u;
	c.books.accepted = 0xfffffff0u;
	arrive(32, 32);
	sample();
	assert_int_equal(c.ids, 0x100000010u);
	assert_int_equal(answer(0xffffffffu, 15), ANSWER_TAKEN);
	assert_int_equal(answer(0x10u, 17), ANSWER_TAKEN);
	sample();
	assert_int_equal(lane_held(&c), 0);
	assert_int_equal(lane_unreconciled(&c), 0);
}

static void what_the_kernel_threw_away_is_lost_once(void **state)
{
	(void)state;
	arrive(100, 100);
	sample();
	k.held = 0; /* a base chain was deleted */
	for (int i = 0; i < 10; i++)
		sample();
	assert_int_equal(c.books.lost, 100);
	/* Their messages are still in the socket: answers to them are late. */
	assert_int_equal(answer(100, 100), ANSWER_TAKEN);
	assert_int_equal(lane_inspected(&c), 0);
	assert_int_equal(c.books.late_answers, 100);
	arrive(5, 5);
	sample();
	assert_int_equal(answer(105, 5), ANSWER_TAKEN);
	assert_int_equal(lane_inspected(&c), 5);
	assert_int_equal(c.books.lost, 100);
}

static void a_torn_look_loses_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		/* An id is shown before its packet is counted as held: one missing, each time another. */
		arrive(1, 1);
		k.held -= 1;
		sample();
		k.held += 1;
		sample();
		assert_int_equal(answer(k.ids, 1), ANSWER_TAKEN);
	}
	assert_int_equal(c.books.lost, 0);
	assert_int_equal(lane_inspected(&c), 100);
}

static void settling_books_by_policy_and_reason(void **state)
{
	(void)state;
	arrive(10, 7);
	sample();
	lane_settle(&c, &k, REASON_DOWN);
	k.held = 0;
	assert_int_equal(c.books.spilled[REASON_DOWN], 7);
	assert_int_equal(c.books.spilled[REASON_FULL], 3);
	assert_int_equal(lane_seen(&c), sum_of_columns());
	assert_int_equal(answer(10, 7), ANSWER_LATE);
	assert_int_equal(c.books.late_answers, 7);
	start(false);
	arrive(10, 10);
	k.held = 8; /* two that nobody can explain */
	lane_settle(&c, &k, REASON_MANUAL);
	assert_int_equal(c.books.shut[REASON_MANUAL], 8);
	assert_int_equal(lane_unreconciled(&c), 2);
}

static void skipped_ids_of_lost_packets_are_no_gaps(void **state)
{
	(void)state;
	arrive(100, 100);
	sample();
	k.held = 0;
	for (int i = 0; i < 10; i++)
		sample();
	assert_int_equal(answer(99, 1), ANSWER_TAKEN);
	for (int i = 0; i < 20; i++)
		sample();
	assert_int_equal(c.books.lost, 100);
	assert_int_equal(c.books.spilled[REASON_FULL], 0);
	assert_int_equal(lane_unreconciled(&c), 0);
}

static void gaps_that_no_drop_explains_are_a_lie(void **state)
{
	(void)state;
	arrive(100, 100);
	sample();
	assert_int_equal(answer(100, 1), ANSWER_COUNT);
	assert_int_equal(answer(50, 50), ANSWER_TAKEN);
	arrive(10, 4);
	sample();
	assert_int_equal(answer(110, 54), ANSWER_TAKEN);
	assert_int_equal(c.books.spilled[REASON_FULL], 6);
}

static void late_is_only_what_policy_settled_and_only_once(void **state)
{
	(void)state;
	assert_int_equal(answer(0, 1), ANSWER_BACKWARDS);
	arrive(10, 10);
	sample();
	lane_settle(&c, &k, REASON_LATE);
	k.held = 0;
	assert_int_equal(answer(4, 5), ANSWER_COUNT);
	assert_int_equal(answer(4, 4), ANSWER_LATE);
	assert_int_equal(answer(4, 4), ANSWER_BACKWARDS);
	assert_int_equal(answer(10, 6), ANSWER_LATE);
	assert_int_equal(c.books.late_answers, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(every_verdict_has_its_column, before_each),
	    cmocka_unit_test_setup(gaps_are_full_by_policy, before_each),
	    cmocka_unit_test_setup(gaps_at_the_end_are_found_without_an_answer, before_each),
	    cmocka_unit_test_setup(a_switch_moves_no_earlier_gap, before_each),
	    cmocka_unit_test_setup(queue_full_without_fail_open_is_seen_and_shut, before_each),
	    cmocka_unit_test_setup(a_full_queue_with_fail_open_is_unknown, before_each),
	    cmocka_unit_test_setup(lies_are_told_apart, before_each),
	    cmocka_unit_test_setup(a_payload_outside_its_area_is_a_lie, before_each),
	    cmocka_unit_test_setup(ids_wrap_round, before_each),
	    cmocka_unit_test_setup(what_the_kernel_threw_away_is_lost_once, before_each),
	    cmocka_unit_test_setup(skipped_ids_of_lost_packets_are_no_gaps, before_each),
	    cmocka_unit_test_setup(gaps_that_no_drop_explains_are_a_lie, before_each),
	    cmocka_unit_test_setup(late_is_only_what_policy_settled_and_only_once, before_each),
	    cmocka_unit_test_setup(a_torn_look_loses_nothing, before_each),
	    cmocka_unit_test_setup(settling_books_by_policy_and_reason, before_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
