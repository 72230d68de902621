/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pure core, case by case: ids, gaps, answers that hold and that don't, early ones, lateness, the breaker, an
 * inspector that is gone or hangs; the books' sum after every step. What comes of all of it at once, the simulator
 * tests.
 */
#include "lane_scene.h"

static void every_verdict_has_its_column(void **state)
{
	(void)state;
	arrive(8, 8);
	assert_int_equal(lane_held(c), 8);
	assert_int_equal(answer(1, 2, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(answer(3, 3, SPW_DROP), ANSWER_TAKEN);
	assert_int_equal(
	    give((struct channel_answer){
		.first = 4, .last = 4, .verdict = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload_len = 20}),
	    ANSWER_TAKEN);
	assert_int_equal(answer(5, 5, SPW_QUEUE), ANSWER_TAKEN);
	assert_int_equal(answer(6, 6, SPW_REPEAT), ANSWER_TAKEN);
	assert_int_equal(
	    give((struct channel_answer){.first = 7, .last = 7, .verdict = SPW_ACCEPT, .set = CHANNEL_TRUSTED}),
	    ANSWER_TAKEN);
	assert_int_equal(answer(8, 8, CHANNEL_POISONED), ANSWER_TAKEN);
	assert_int_equal(c->books.accepted, 2);
	assert_int_equal(c->books.dropped, 1);
	assert_int_equal(c->books.modified, 1);
	assert_int_equal(c->books.requeued, 2);
	assert_int_equal(c->books.trusted, 1);
	assert_int_equal(c->books.spilled[REASON_POISON], 1);
	order_is(0, ORDER_BATCH, 2, SPW_ACCEPT);
	order_is(1, ORDER_BATCH, 3, SPW_DROP);
	order_is(2, ORDER_ONE, 4, SPW_ACCEPT);
	/* Trusted and poisoned are both plain accepts: one batch. */
	order_is(5, ORDER_BATCH, 8, SPW_ACCEPT);
	assert_int_equal(out.count, 6);
	assert_false(c->books.uncounted);
}

static void gaps_are_full_by_policy(void **state)
{
	(void)state;
	arrive(10, 4);
	assert_int_equal(lane_unreconciled(c), 6);
	assert_int_equal(answer(1, 2, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(answer(9, 10, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(c->books.spilled[REASON_FULL], 6);
	start(false);
	arrive(10, 4);
	assert_int_equal(answer(7, 10, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(c->books.shut[REASON_FULL], 6);
	assert_int_equal(lane_unreconciled(c), 0);
}

/* Whoever leaves out packets that are held does not leave them in the kernel. */
static void what_is_left_out_is_let_go(void **state)
{
	(void)state;
	arrive(10, 4);
	assert_int_equal(
	    give((struct channel_answer){.first = 5, .last = 5, .verdict = SPW_ACCEPT, .set = SPW_VERDICT_MARK}),
	    ANSWER_TAKEN);
	order_is(0, ORDER_BATCH, 4, SPW_ACCEPT);
	order_is(1, ORDER_ONE, 5, SPW_ACCEPT);
}

static void gaps_at_the_end_are_found_without_an_answer(void **state)
{
	(void)state;
	arrive(10, 4);
	assert_int_equal(answer(1, 4, SPW_ACCEPT), ANSWER_TAKEN);
	carry_out();
	for (int i = 0; i < 20; i++)
		sample();
	assert_int_equal(c->books.spilled[REASON_FULL], 6);
	assert_int_equal(lane_unreconciled(c), 0);
	assert_int_equal(c->books.lost, 0);
	arrive(1, 1);
	assert_int_equal(answer(11, 11, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(c->books.accepted, 5);
}

static void what_the_kernel_threw_away_is_lost(void **state)
{
	(void)state;
	arrive(100, 100);
	k.held = 0; /* no verdict was sent, no drop was counted */
	for (int i = 0; i < 20; i++)
		sample();
	assert_int_equal(c->books.lost, 100);
	assert_int_equal(lane_unreconciled(c), 0);
	/* Its messages may still be read and answered: that changes nothing. */
	assert_int_equal(answer(1, 100, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(c->books.lost, 100);
	assert_int_equal(c->books.accepted, 0);
	assert_int_equal(c->books.late_answers, 100);
}

static void lies(void **state)
{
	(void)state;
	arrive(10, 10);
	assert_int_equal(answer(1, 11, SPW_ACCEPT), ANSWER_NOT_ASSIGNED);
	assert_int_equal(answer(3, 2, SPW_ACCEPT), ANSWER_COUNT);
	assert_int_equal(answer(0, 2, SPW_ACCEPT), ANSWER_COUNT);
	assert_int_equal(answer(1, 1, 2), ANSWER_VERDICT);
	assert_int_equal(answer(1, 1, CHANNEL_STALE), ANSWER_VERDICT);
	assert_int_equal(answer(1, 2, SPW_QUEUE), ANSWER_COUNT);
	assert_int_equal(
	    give((struct channel_answer){.first = 1, .last = 2, .verdict = SPW_ACCEPT, .set = SPW_VERDICT_MARK}),
	    ANSWER_COUNT);
	/* A gap without a drop at the socket. */
	assert_int_equal(answer(2, 2, SPW_ACCEPT), ANSWER_COUNT);
	assert_int_equal(give((struct channel_answer){.first = 1, .last = 1, .verdict = SPW_ACCEPT, .class = 1}),
			 ANSWER_CLASS);
	assert_int_equal(give((struct channel_answer){.first = 1,
						      .last = 1,
						      .verdict = SPW_ACCEPT,
						      .set = SPW_VERDICT_PAYLOAD,
						      .payload = CHANNEL_PAYLOADS,
						      .payload_len = 20}),
			 ANSWER_PAYLOAD);
	assert_int_equal(answer(1, 3, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(answer(3, 4, SPW_ACCEPT), ANSWER_BACKWARDS);
	assert_int_equal(answer_early(6, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(answer_early(6, SPW_DROP), ANSWER_TWICE);
	assert_int_equal(answer(4, 7, SPW_ACCEPT), ANSWER_TWICE);
	assert_int_equal(lane_inspected(c), 3);
}

/* What is trusted goes on, and as it came: anything else would stand in the wrong column. */
static void what_is_trusted_is_accepted_unchanged(void **state)
{
	static const uint32_t others[] = {SPW_DROP, SPW_QUEUE, SPW_REPEAT, CHANNEL_STALE, CHANNEL_POISONED};
	struct channel_answer a = {.first = 1, .last = 1, .set = CHANNEL_TRUSTED, .payload_len = 20};

	(void)state;
	arrive(2, 2);
	for (unsigned i = 0; i < sizeof(others) / sizeof(*others); i++) {
		a.verdict = others[i];
		assert_int_equal(give(a), ANSWER_VERDICT);
	}
	a.verdict = SPW_ACCEPT;
	a.set = CHANNEL_TRUSTED | SPW_VERDICT_PAYLOAD;
	assert_int_equal(give(a), ANSWER_VERDICT);
	assert_int_equal(c->books.trusted, 0);
	a.set = CHANNEL_TRUSTED | SPW_VERDICT_MARK;
	assert_int_equal(give(a), ANSWER_TAKEN);
	assert_int_equal(c->books.trusted, 1);
}

static void early_answers_leave_in_order(void **state)
{
	(void)state;
	arrive(5, 5);
	assert_int_equal(answer_early(3, SPW_DROP), ANSWER_TAKEN);
	assert_int_equal(answer_early(4, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(out.count, 0);
	assert_int_equal(answer(1, 2, SPW_ACCEPT), ANSWER_TAKEN);
	order_is(0, ORDER_BATCH, 2, SPW_ACCEPT);
	order_is(1, ORDER_BATCH, 3, SPW_DROP);
	order_is(2, ORDER_BATCH, 4, SPW_ACCEPT);
	assert_int_equal(c->settled, 4);
	assert_int_equal(answer(5, 5, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(lane_held(c), 0);
}

/* An engine that noted an early answer and died: its successor is given the same one again. */
static void the_same_early_answer_again_is_no_second_one(void **state)
{
	(void)state;
	arrive(5, 5);
	assert_int_equal(answer_early(3, SPW_DROP), ANSWER_TAKEN);
	sequence--;
	assert_int_equal(answer_early(3, SPW_DROP), ANSWER_TAKEN);
}

static void late_packets_go_by_policy_in_their_place(void **state)
{
	(void)state;
	arrive(4, 4);
	assert_int_equal(answer_early(3, SPW_DROP), ANSWER_TAKEN);
	assert_false(tick_after(DEADLINE - 1));
	assert_int_equal(out.count, 0);
	assert_false(tick_after(1));
	order_is(0, ORDER_BATCH, 2, SPW_ACCEPT);
	order_is(1, ORDER_BATCH, 3, SPW_DROP);
	order_is(2, ORDER_BATCH, 4, SPW_ACCEPT);
	assert_int_equal(c->books.spilled[REASON_LATE], 3);
	assert_int_equal(c->books.dropped, 1);
	/* The answer that comes afterwards is harmless, and counted. */
	assert_int_equal(answer(1, 2, SPW_DROP), ANSWER_LATE);
	assert_int_equal(c->books.late_answers, 2);
}

static void what_is_settled_already_is_answered_stale(void **state)
{
	(void)state;
	arrive(4, 4);
	tick_after(DEADLINE);
	assert_int_equal(answer(1, 4, CHANNEL_STALE), ANSWER_LATE);
	assert_int_equal(c->books.late_answers, 0);
}

/* Late ids of which some never fitted into the socket: a look at which nothing moves tells how many. */
static void late_gaps_are_told_apart(void **state)
{
	(void)state;
	arrive(10, 4);
	k.coherent = false;
	tick_after(DEADLINE);
	carry_out();
	assert_int_equal(lane_unreconciled(c), 10);
	k.held = 0;
	k.coherent = true;
	sample();
	assert_int_equal(c->books.spilled[REASON_LATE], 4);
	assert_int_equal(c->books.spilled[REASON_FULL], 6);
	assert_int_equal(lane_unreconciled(c), 0);
}

/* Packets come one by one and are all late. Returns the nanoseconds until the class was opened. */
static uint64_t until_opened(void)
{
	uint64_t begun = now;

	while (c->state == STATE_INSPECTING && now - begun < 1000 * MS) {
		arrive(1, 1);
		tick_after(5 * MS);
		if (c->state == STATE_INSPECTING)
			carry_out();
	}
	return now - begun;
}

static void a_class_that_is_always_late_is_opened(void **state)
{
	unsigned last;

	(void)state;
	assert_true(until_opened() <= 500 * MS);
	assert_int_equal(c->state, STATE_OPEN);
	assert_int_equal(c->reason, REASON_LATE);
	last = out.count - 1;
	assert_int_equal(out.order[last - 1].kind, ORDER_OPEN);
	assert_int_equal(out.order[last].kind, ORDER_BATCH);
	/* Far enough for whatever arrives while the opening is carried out. */
	assert_true(out.order[last].id - (uint32_t)c->ids > 1000000);
	assert_true(c->books.uncounted);
}

static void what_arrives_during_the_opening_is_counted_as_overtaken(void **state)
{
	(void)state;
	(void)until_opened();
	out.count = 0;
	k.ids += 3;
	k.held = 0;
	sample();
	assert_int_equal(c->overtaken, 3);
	assert_int_equal(c->settled, c->ids);
}

static void a_probe_brings_inspection_back(void **state)
{
	(void)state;
	(void)until_opened();
	carry_out();
	for (int i = 0; i < 200 && c->state == STATE_OPEN; i++)
		tick_after(1 * MS);
	assert_int_equal(c->state, STATE_PROBING);
	order_is(out.count - 1, ORDER_INSPECT, 0, 0);
	out.count = 0;
	for (int i = 0; i < 200 && c->state == STATE_PROBING; i++) {
		arrive(1, 1);
		assert_int_equal(answer((uint32_t)c->ids, (uint32_t)c->ids, SPW_ACCEPT), ANSWER_TAKEN);
		carry_out();
		tick_after(1 * MS);
	}
	assert_int_equal(c->state, STATE_INSPECTING);
}

static void a_failed_probe_makes_the_next_pause_longer(void **state)
{
	uint64_t first;

	(void)state;
	(void)until_opened();
	first = c->pause_ns;
	carry_out();
	for (int i = 0; i < 400 && c->state != STATE_PROBING; i++)
		tick_after(1 * MS);
	for (int i = 0; i < 400 && c->state == STATE_PROBING; i++) {
		arrive(1, 1);
		tick_after(2 * MS);
		if (c->state == STATE_PROBING)
			carry_out();
	}
	assert_int_equal(c->state, STATE_OPEN);
	assert_int_equal(c->pause_ns, 4 * first); /* nothing was in time */
}

/* There was no engine: the keeper has opened, or shut, and let go what was held. */
static void what_was_turned_outside_is_booked_by_policy(void **state)
{
	(void)state;
	for (int open = 0; open <= 1; open++) {
		const uint64_t *column;

		start(open);
		column = open ? c->books.spilled : c->books.shut;
		arrive(10, 10);
		assert_int_equal(answer(1, 4, SPW_ACCEPT), ANSWER_TAKEN);
		carry_out();
		lane_turned_outside(c, REASON_DOWN, now);
		assert_int_equal(c->state, open ? STATE_OPEN : STATE_SHUT);
		k.ids += 3;
		k.held = 0;
		sample();
		sample();
		assert_int_equal(column[REASON_DOWN], 9);
		assert_int_equal(c->books.accepted, 4);
		assert_int_equal(c->books.lost, 0);
		assert_int_equal(c->books.uncounted, open);
		/* The answers that its inspector gave meanwhile come late. */
		assert_int_equal(answer(5, 10, SPW_DROP), ANSWER_LATE);
		/* With the inspector, inspection goes on. */
		tick_after(MS);
		order_is(out.count - 1, ORDER_INSPECT, 0, 0);
		assert_int_equal(c->state, STATE_INSPECTING);
		/* An open class stays what it is. */
		lane_turn(c, REASON_MANUAL);
		while (tick_after(MS))
			carry_out();
		lane_turned_outside(c, REASON_DOWN, now);
		assert_int_equal(c->reason, REASON_MANUAL);
	}
}

static void a_shut_class_drops(void **state)
{
	(void)state;
	start(false);
	(void)until_opened();
	assert_int_equal(c->state, STATE_SHUT);
	out.count = 0;
	k.held = 0;
	k.queue_dropped += 50;
	sample();
	assert_true(c->books.shut[REASON_LATE] >= 50);
	assert_int_equal(c->books.shut[REASON_FULL], 0);
	assert_false(c->books.uncounted);
}

static void what_a_dead_inspector_had_in_hand_goes_by_policy(void **state)
{
	const uint64_t unread[CHANNEL_CLASSES] = {4}; /* it had read three */

	(void)state;
	arrive(10, 10);
	lane_inspector_gone(&l, unread, REASON_DOWN, now);
	assert_false(tick_after(0));
	assert_int_equal(c->books.spilled[REASON_DOWN], 3);
	assert_int_equal(lane_held(c), 7);
	carry_out();
	lane_inspector_active(&l, 8, now);
	assert_int_equal(answer(4, 10, SPW_ACCEPT), ANSWER_TAKEN);
	assert_int_equal(c->books.accepted, 7);
}

/* Its page is gone with it, and the next one's slots hold other packets: an early answer with a payload is none. */
static void a_dead_inspectors_payload_is_never_sent(void **state)
{
	const uint64_t unread[] = {4};

	(void)state;
	arrive(3, 3);
	assert_int_equal(answer_early(2, SPW_DROP), ANSWER_TAKEN);
	assert_int_equal(give((struct channel_answer){.first = 3,
						      .last = 3,
						      .verdict = SPW_ACCEPT,
						      .set = SPW_VERDICT_PAYLOAD,
						      .payload_len = 40,
						      .early = 1}),
			 ANSWER_TAKEN);
	lane_inspector_gone(&l, unread, REASON_HUNG, now);
	lane_inspector_active(&l, 8, now);
	assert_false(tick_after(1));
	order_is(0, ORDER_BATCH, 1, SPW_ACCEPT);
	order_is(1, ORDER_BATCH, 2, SPW_DROP);
	order_is(2, ORDER_BATCH, 3, SPW_ACCEPT);
	assert_int_equal(out.count, 3);
	assert_int_equal(out.payloads, 0);
	assert_int_equal(c->books.spilled[REASON_HUNG], 2);
	assert_int_equal(c->books.dropped, 1);
	carry_out();
	sample();
}

static void without_an_inspector_a_class_is_opened(void **state)
{
	const uint64_t unread[CHANNEL_CLASSES] = {1};

	(void)state;
	lane_inspector_gone(&l, unread, REASON_DOWN, now);
	tick_after(50 * MS);
	assert_int_equal(c->state, STATE_INSPECTING);
	tick_after(50 * MS);
	assert_int_equal(c->state, STATE_OPEN);
	assert_int_equal(c->reason, REASON_DOWN);
	out.count = 0;
	lane_inspector_active(&l, 8, now);
	tick_after(1 * MS);
	assert_int_equal(c->state, STATE_INSPECTING);
}

/* One packet in hand, nothing behind it. */
static void an_inspector_that_hangs_is_noticed(void **state)
{
	(void)state;
	arrive(1, 1);
	l.busy = true;
	for (int i = 0; i < 100; i++) {
		tick_after(5 * MS);
		carry_out();
	}
	assert_false(l.stalled);
	for (int i = 0; i < 120; i++) {
		tick_after(5 * MS);
		carry_out();
	}
	assert_true(l.stalled);
	assert_int_equal(answer(1, 1, SPW_ACCEPT), ANSWER_LATE);
	assert_false(l.stalled);
}

static void time_without_an_engine_is_nobodys_delay(void **state)
{
	(void)state;
	arrive(5, 5);
	tick_after(10 * MS);
	now += 5000 * MS;
	lane_resume(&l, now);
	tick_after(10 * MS);
	assert_int_equal(c->books.spilled[REASON_LATE], 0);
	tick_after(10 * MS);
	assert_int_equal(c->books.spilled[REASON_LATE], 5);
}

/* It died between two ticks, and the engine before the second one: the next inspector has its time all the same. */
static void nor_is_it_a_long_time_without_an_inspector(void **state)
{
	const uint64_t unread = 1;

	(void)state;
	tick_after(MS);
	now += 1;
	lane_inspector_gone(&l, &unread, REASON_DOWN, now);
	now += 5000 * MS;
	lane_resume(&l, now);
	tick_after(0);
	assert_int_equal(c->state, STATE_INSPECTING);
	for (int i = 0; i < 9; i++)
		tick_after(10 * MS);
	assert_int_equal(c->state, STATE_INSPECTING);
	tick_after(20 * MS);
	assert_int_equal(c->state, STATE_OPEN);
}

static void ids_wrap_round(void **state)
{
	(void)state;
	k.ids = UINT32_MAX - 2;
	c->ids = c->settled = c->answered = c->books.accepted = UINT32_MAX - 2;
	c->last = k;
	arrive(6, 6);
	assert_int_equal(answer(UINT32_MAX - 1, 2, SPW_ACCEPT), ANSWER_TAKEN);
	order_is(0, ORDER_BATCH, 2, SPW_ACCEPT);
	assert_int_equal(c->settled, (uint64_t)UINT32_MAX + 3);
	assert_int_equal(c->books.accepted, (uint64_t)UINT32_MAX - 2 + 5);
}

static void a_switch_changes_the_policy_from_then_on(void **state)
{
	struct lane_config config;

	(void)state;
	arrive(10, 4);
	config = c->config;
	config.fail_open = false;
	lane_switch(c, &k, &config, now);
	assert_int_equal(answer(1, 4, SPW_ACCEPT), ANSWER_TAKEN);
	carry_out();
	for (int i = 0; i < 20; i++)
		sample();
	assert_int_equal(c->books.spilled[REASON_FULL], 6);
	assert_int_equal(c->books.shut[REASON_FULL], 0);
}

static void a_counter_tells_what_went_round_an_open_class(void **state)
{
	(void)state;
	arrive(4, 4);
	lane_counted(c, 10, true); /* ten passed before we were there */
	lane_turn(c, REASON_MANUAL);
	tick_after(1 * MS);
	assert_int_equal(c->state, STATE_OPEN);
	carry_out();
	assert_false(c->books.uncounted);
	lane_counted(c, 1010, false);
	sample();
	assert_int_equal(c->books.spilled[REASON_MANUAL], 1004);
	assert_int_equal(lane_seen(c), 1004);
}

static void a_quiet_lane_is_looked_at_seldom_where_an_arrival_wakes(void **state)
{
	const uint64_t often = lane_step_ns(&l, 1);

	(void)state;
	arrive(1, 1);
	assert_int_equal(answer(1, 1, SPW_ACCEPT), ANSWER_TAKEN);
	carry_out();
	sample();
	assert_false(lane_calm(c));
	sample();
	assert_true(lane_calm(c));
	assert_true(lane_step_ns(&l, 1) > often);
	assert_int_equal(lane_step_ns(&l, 0), often);
	lane_stirred(c);
	assert_false(lane_calm(c));
	sample();
	sample();
	assert_true(lane_calm(c));
	arrive(1, 1);
	assert_false(lane_calm(c));
	assert_int_equal(lane_step_ns(&l, 1), often);
}

static void work_in_one_step_is_bounded(void **state)
{
	(void)state;
	arrive(900, 900);
	arrive(5000, 5000);
	assert_true(tick_after(DEADLINE));
	assert_int_equal(c->settled, LANE_PIECE);
	carry_out();
	while (lane_tick(&l, early, now, &out))
		carry_out();
	assert_int_equal(c->settled, 5900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(every_verdict_has_its_column, before_each),
	    cmocka_unit_test_setup(gaps_are_full_by_policy, before_each),
	    cmocka_unit_test_setup(what_is_left_out_is_let_go, before_each),
	    cmocka_unit_test_setup(gaps_at_the_end_are_found_without_an_answer, before_each),
	    cmocka_unit_test_setup(what_the_kernel_threw_away_is_lost, before_each),
	    cmocka_unit_test_setup(lies, before_each),
	    cmocka_unit_test_setup(what_is_trusted_is_accepted_unchanged, before_each),
	    cmocka_unit_test_setup(early_answers_leave_in_order, before_each),
	    cmocka_unit_test_setup(the_same_early_answer_again_is_no_second_one, before_each),
	    cmocka_unit_test_setup(late_packets_go_by_policy_in_their_place, before_each),
	    cmocka_unit_test_setup(what_is_settled_already_is_answered_stale, before_each),
	    cmocka_unit_test_setup(late_gaps_are_told_apart, before_each),
	    cmocka_unit_test_setup(a_class_that_is_always_late_is_opened, before_each),
	    cmocka_unit_test_setup(what_arrives_during_the_opening_is_counted_as_overtaken, before_each),
	    cmocka_unit_test_setup(a_probe_brings_inspection_back, before_each),
	    cmocka_unit_test_setup(a_failed_probe_makes_the_next_pause_longer, before_each),
	    cmocka_unit_test_setup(what_was_turned_outside_is_booked_by_policy, before_each),
	    cmocka_unit_test_setup(a_shut_class_drops, before_each),
	    cmocka_unit_test_setup(what_a_dead_inspector_had_in_hand_goes_by_policy, before_each),
	    cmocka_unit_test_setup(a_dead_inspectors_payload_is_never_sent, before_each),
	    cmocka_unit_test_setup(without_an_inspector_a_class_is_opened, before_each),
	    cmocka_unit_test_setup(an_inspector_that_hangs_is_noticed, before_each),
	    cmocka_unit_test_setup(time_without_an_engine_is_nobodys_delay, before_each),
	    cmocka_unit_test_setup(nor_is_it_a_long_time_without_an_inspector, before_each),
	    cmocka_unit_test_setup(ids_wrap_round, before_each),
	    cmocka_unit_test_setup(a_switch_changes_the_policy_from_then_on, before_each),
	    cmocka_unit_test_setup(a_counter_tells_what_went_round_an_open_class, before_each),
	    cmocka_unit_test_setup(a_quiet_lane_is_looked_at_seldom_where_an_arrival_wakes, before_each),
	    cmocka_unit_test_setup(work_in_one_step_is_bounded, before_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
