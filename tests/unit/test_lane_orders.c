/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pure core's orders, case by case: what single verdicts carry (marks, connections), what late ones mark, what a
 * class takes of the others' room, and what is left of it all where the inspector only reports.
 */
#include "lane_scene.h"

static void marks_keep_the_other_bits(void **state)
{
	(void)state;
	c->config.mark = 0x500;
	c->config.mark_mask = 0xff00;
	arrive(3, 3);
	assert_int_equal(answer(1, 2, SPW_ACCEPT), ANSWER_COUNT);
	assert_int_equal(give((struct channel_answer){.first = 1, .last = 1, .verdict = SPW_ACCEPT, .mark = 0x12ab03}),
			 ANSWER_TAKEN);
	order_is(0, ORDER_ONE, 1, SPW_ACCEPT);
	assert_int_equal(out.order[0].mark, 0x120503);
	/* What is not inspected keeps its mark. */
	tick_after(DEADLINE);
	assert_int_equal(out.order[out.count - 1].set & SPW_VERDICT_MARK, 0);
}

static void connections_are_set_one_by_one_where_there_are_any(void **state)
{
	const struct channel_answer set = {
	    .first = 1,
	    .last = 1,
	    .verdict = SPW_ACCEPT,
	    .set = SPW_VERDICT_CT_MARK,
	    .conntrack = {.mark = 5, .mark_mask = 15, .labels = {1}, .labels_mask = {3}}};
	struct channel_answer two = set;

	(void)state;
	arrive(3, 3);
	assert_int_equal(give(set), ANSWER_VERDICT);
	c->config.conntrack = true;
	two.last = 2;
	assert_int_equal(give(two), ANSWER_COUNT);
	assert_int_equal(give(set), ANSWER_TAKEN);
	order_is(0, ORDER_ONE, 1, SPW_ACCEPT);
	assert_int_equal(out.order[0].set, SPW_VERDICT_CT_MARK);
	assert_memory_equal(&out.order[0].conntrack, &set.conntrack, sizeof(set.conntrack));
	two = set;
	two.first = two.last = 3;
	two.set = SPW_VERDICT_CT_LABELS;
	two.early = 1;
	assert_int_equal(give(two), ANSWER_TAKEN);
	assert_int_equal(answer(2, 2, SPW_DROP), ANSWER_TAKEN);
	order_is(2, ORDER_ONE, 3, SPW_ACCEPT);
	assert_memory_equal(&out.order[2].conntrack, &set.conntrack, sizeof(set.conntrack));
}

static void what_is_late_marks_its_connection(void **state)
{
	(void)state;
	c->config.spill_mark = 0x200;
	c->config.spill_mask = 0x300;
	arrive(3, 3);
	assert_int_equal(answer_early(2, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(out.count, 0);
	tick_after(DEADLINE);
	assert_int_equal(out.count, 3);
	order_is(0, ORDER_ONE, 1, SPW_ACCEPT);
	assert_int_equal(out.order[0].set, SPW_VERDICT_CT_MARK);
	assert_int_equal(out.order[0].conntrack.mark, 0x200);
	assert_int_equal(out.order[0].conntrack.mark_mask, 0x300);
	order_is(1, ORDER_BATCH, 2, SPW_ACCEPT); /* answered in time */
	order_is(2, ORDER_ONE, 3, SPW_ACCEPT);
	assert_int_equal(c->books.spilled[REASON_LATE], 2);
	carry_out();
	/* More than there is room for among the orders. */
	arrive(600, 600);
	assert_true(tick_after(DEADLINE));
	carry_out();
	while (lane_tick(&l, early, now, &out))
		carry_out();
	assert_int_equal(c->settled, 603);
	assert_int_equal(c->books.spilled[REASON_LATE], 602);
	/* What is dropped has no flow that could pass. */
	carry_out();
	c->config.fail_open = false;
	arrive(2, 2);
	tick_after(DEADLINE);
	assert_int_equal(out.count, 1);
	order_is(0, ORDER_BATCH, 605, SPW_DROP);
}

/* For an id that is not held, the kernel would look through all that is. */
static void where_gaps_may_be_nothing_late_is_named_by_itself(void **state)
{
	(void)state;
	c->config.spill_mask = 0x300;
	arrive(600, 500);
	assert_int_equal(c->hiding, 100);
	tick_after(DEADLINE);
	assert_int_equal(out.count, 1);
	order_is(0, ORDER_BATCH, 600, SPW_ACCEPT);
	carry_out();
	sample();
	assert_int_equal(c->books.spilled[REASON_LATE], 500);
	assert_int_equal(c->books.spilled[REASON_FULL], 100);
	/* The flow's next one marks it. */
	arrive(1, 1);
	tick_after(DEADLINE);
	order_is(0, ORDER_ONE, 601, SPW_ACCEPT);
	assert_int_equal(out.order[0].set, SPW_VERDICT_CT_MARK);
	carry_out();
	/* One whose message the engine itself has seen was held. */
	arrive(3, 2);
	lane_discarded(c, slots, 603, REASON_LATE);
	tick_after(DEADLINE);
	assert_int_equal(out.count, 3);
	order_is(0, ORDER_BATCH, 602, SPW_ACCEPT);
	order_is(1, ORDER_ONE, 603, SPW_ACCEPT);
	order_is(2, ORDER_BATCH, 604, SPW_ACCEPT);
}

/* Marks of spilled flows take all the room that a step's orders have, each time. */
static void a_class_that_fills_the_orders_keeps_no_other_waiting(void **state)
{
	struct lane_class *other = &l.class[1];
	const struct lane_sample one = {.ids = 1, .held = 1, .coherent = true};

	(void)state;
	l.classes = 2;
	lane_class_init(other, &c->config, now);
	c->config.spill_mask = 0x300;
	arrive(3000, 3000);
	lane_sample(other, &one, now);
	assert_true(tick_after(DEADLINE));
	assert_true(c->settled > 0);
	carry_out();
	assert_true(lane_tick(&l, early, now, &out));
	assert_int_equal(other->settled, 1);
	/* And has not to wait itself. */
	assert_true(c->settled > 400);
}

/* More is late at each step than a step settles. */
static void a_class_that_is_late_at_every_step_is_opened(void **state)
{
	(void)state;
	c->config.spill_mask = 0x300;
	for (int i = 0; i < 300 && !c->turning; i++) {
		arrive(600, 600);
		(void)tick_after(MS);
		carry_out();
	}
	assert_true(c->turning);
	assert_int_equal(c->reason, REASON_LATE);
}

static void report_only_accepts_and_books_what_was_said(void **state)
{
	(void)state;
	l.report_only = true;
	arrive(3, 3);
	assert_int_equal(answer(1, 3, SPW_DROP), ANSWER_TAKEN);
	order_is(0, ORDER_BATCH, 3, SPW_ACCEPT);
	assert_int_equal(c->books.dropped, 3);
}

/* Nor does anything else of a verdict have an effect, now or on later packets of a connection. */
static void report_only_sets_nothing(void **state)
{
	struct channel_answer a = {.first = 1,
				   .last = 1,
				   .verdict = SPW_ACCEPT,
				   .set = SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY | SPW_VERDICT_CT_MARK |
					  SPW_VERDICT_CT_LABELS | SPW_VERDICT_PAYLOAD,
				   .mark = 9,
				   .payload_len = 20,
				   .conntrack = {.mark = 1, .mark_mask = 1, .labels = {1}, .labels_mask = {1}}};

	(void)state;
	l.report_only = true;
	c->config.conntrack = true;
	c->config.spill_mask = 0x300;
	arrive(5, 5);
	assert_int_equal(give(a), ANSWER_TAKEN);
	a.first = a.last = 2;
	a.set = CHANNEL_TRUSTED | SPW_VERDICT_CT_MARK;
	assert_int_equal(give(a), ANSWER_TAKEN);
	order_is(0, ORDER_BATCH, 2, SPW_ACCEPT);
	assert_int_equal(out.payloads, 0);
	assert_int_equal(c->books.modified, 1);
	assert_int_equal(c->books.trusted, 1);
	/* The class's own mark is on inspected packets, where theirs is known. */
	c->config.mark_mask = 0xff00;
	c->config.mark = 0x500;
	a.first = a.last = 3;
	a.set = SPW_VERDICT_PRIORITY;
	assert_int_equal(give(a), ANSWER_TAKEN);
	order_is(1, ORDER_ONE, 3, SPW_ACCEPT);
	assert_int_equal(out.order[1].set, SPW_VERDICT_MARK);
	assert_int_equal(out.order[1].mark, 0x509);
	a.first = a.last = 4;
	a.set = SPW_VERDICT_MARK;
	assert_int_equal(give(a), ANSWER_TAKEN);
	order_is(2, ORDER_BATCH, 4, SPW_ACCEPT);
	/* What is late is spilled all the same, and nobody's flow is marked. */
	tick_after(DEADLINE);
	order_is(2, ORDER_BATCH, 5, SPW_ACCEPT);
	assert_int_equal(out.count, 3);
	assert_int_equal(c->books.spilled[REASON_LATE], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(marks_keep_the_other_bits, before_each),
	    cmocka_unit_test_setup(connections_are_set_one_by_one_where_there_are_any, before_each),
	    cmocka_unit_test_setup(what_is_late_marks_its_connection, before_each),
	    cmocka_unit_test_setup(where_gaps_may_be_nothing_late_is_named_by_itself, before_each),
	    cmocka_unit_test_setup(a_class_that_fills_the_orders_keeps_no_other_waiting, before_each),
	    cmocka_unit_test_setup(a_class_that_is_late_at_every_step_is_opened, before_each),
	    cmocka_unit_test_setup(report_only_accepts_and_books_what_was_said, before_each),
	    cmocka_unit_test_setup(report_only_sets_nothing, before_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
