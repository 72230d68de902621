/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The edges of the controller that sheds load; what it does over time: tests/overload.
 */
#include "unit.h"

#include "lane/load.h"

#define MS 1000000ull

static struct load load;
static struct load_sample sample;
static uint64_t now;

static int before_each(void **unused)
{
	struct load_config config = {.deadline_ns = 20 * MS};

	(void)unused;
	now = 5000 * MS;
	sample = (struct load_sample){0};
	load_start(&load, &config);
	return 0;
}

/* A look, one millisecond later: ten packets were done, `flows` came, and so much waits now. */
static void look(unsigned flows, unsigned held, uint64_t age_ms)
{
	now += MS;
	sample.arrived += 10;
	sample.inspected += 10;
	if (load.share == LOAD_ALL)
		sample.admitted += flows;
	else
		sample.refused += flows;
	sample.held = held;
	sample.age_ns = age_ms * MS;
	load_step(&load, now, &sample);
}

static void looks(unsigned count, unsigned flows, unsigned held, uint64_t age_ms)
{
	while (count--)
		look(flows, held, age_ms);
}

static void overload(void)
{
	looks(300, 5, 60, 6);
	assert_int_equal(load.level, LOAD_SHED_FLOWS);
}

static void begins_with_everything(void **unused)
{
	(void)unused;
	assert_int_equal(load.level, LOAD_INSPECT_ALL);
	assert_false(load.tail);
	assert_int_equal(load.share, LOAD_ALL);
	looks(1000, 5, 1, 0);
	assert_int_equal(load.level, LOAD_INSPECT_ALL);
	assert_int_equal(load.share, LOAD_ALL);
	assert_int_equal(load.changes, 0);
}

static void looks_have_their_price(void **unused)
{
	(void)unused;
	assert_int_equal(load_step_ns(&load), UINT64_MAX);
	overload();
	assert_int_equal(load_step_ns(&load), 20 * MS / 24);
	load.config.deadline_ns = MS;
	assert_int_equal(load_step_ns(&load), MS / 4);
}

static void sheds_tails_first(void **unused)
{
	(void)unused;
	looks(100, 5, 1, 0);
	/* Above target, in no hurry: two deadlines. */
	looks(39, 5, 60, 6);
	assert_int_equal(load.level, LOAD_INSPECT_ALL);
	looks(2, 5, 60, 6);
	assert_int_equal(load.level, LOAD_SHED_TAILS);
	assert_true(load.tail);
	assert_int_equal(load.share, LOAD_ALL);
	/* That is given its time as well. */
	looks(39, 5, 60, 6);
	assert_int_equal(load.level, LOAD_SHED_TAILS);
	looks(2, 5, 60, 6);
	assert_int_equal(load.level, LOAD_SHED_FLOWS);
	assert_true(load.tail);
	assert_true(load.share < LOAD_ALL);
	assert_int_equal(load.changes, 2);
}

static void a_short_burst_sheds_nothing(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 50; i++) {
		looks(30, 5, 60, 6);
		look(5, 0, 0);
	}
	assert_int_equal(load.changes, 0);
}

static void what_is_urgent_is_done_at_once(void **unused)
{
	(void)unused;
	looks(100, 5, 1, 0);
	look(5, 110, 11);
	assert_int_equal(load.level, LOAD_SHED_TAILS);
	look(5, 120, 12);
	assert_int_equal(load.level, LOAD_SHED_FLOWS);
	assert_int_equal(load.share, 0);
}

static void no_further_step_while_it_falls(void **unused)
{
	(void)unused;
	looks(100, 5, 1, 0);
	look(5, 150, 15);
	assert_int_equal(load.level, LOAD_SHED_TAILS);
	for (unsigned i = 14; i >= 1; i--)
		look(5, i * 10, i);
	looks(50, 5, 1, 0);
	assert_int_equal(load.level, LOAD_SHED_TAILS);
}

/* A hundred packets at once, on an inspector that never had more than one: young, so nothing is known to be slow. */
static void a_full_queue_that_is_young_is_not_urgent(void **unused)
{
	(void)unused;
	looks(100, 5, 1, 0);
	looks(3, 5, 500, 0);
	assert_int_equal(load.changes, 0);
}

/* Ten packets in a millisecond, all the time busy; two a flow; so 5 of 10 flows in a millisecond fit. */
static void admits_the_rate_that_fits(void **unused)
{
	(void)unused;
	overload();
	assert_in_range((uint64_t)load.capacity, 9900, 10100);
	load.arrived = 2000;
	load.admitted = 1000;
	for (unsigned i = 0; i < 200; i++) {
		sample.arrived += 10;
		sample.inspected += 10;
		sample.admitted += 5;
		sample.refused += 5;
		/* At the target: a tenth of the deadline. */
		sample.held = 20;
		sample.age_ns = 2 * MS;
		now += MS;
		load_step(&load, now, &sample);
	}
	assert_in_range(load.share, LOAD_ALL / 2 - LOAD_ALL / 50, LOAD_ALL / 2 + LOAD_ALL / 50);
	/* More where none waits, none where they wait for twice as long. */
	look(0, 0, 0);
	assert_true(load.share > LOAD_ALL / 2 + LOAD_ALL / 10);
	look(0, 40, 4);
	assert_int_equal(load.share, 0);
}

/* Ten times as many flows: the share follows at the next look, not after a while. */
static void a_burst_is_seen_at_once(void **unused)
{
	(void)unused;
	overload();
	looks(100, 5, 20, 1);
	assert_in_range((uint64_t)load.offered, 4900, 5100);
	look(50, 20, 1);
	assert_in_range((uint64_t)load.offered, 49000, 51000);
	/* A few more are chance. */
	looks(200, 5, 20, 1);
	look(9, 20, 1);
	assert_in_range((uint64_t)load.offered, 5000, 5500);
}

static void gives_back_by_levels(void **unused)
{
	(void)unused;
	overload();
	looks(990, 0, 0, 0);
	assert_int_equal(load.level, LOAD_SHED_FLOWS);
	assert_int_equal(load.share, LOAD_ALL);
	looks(50, 0, 0, 0);
	assert_int_equal(load.level, LOAD_SHED_TAILS);
	looks(1050, 0, 0, 0);
	assert_int_equal(load.level, LOAD_INSPECT_ALL);
	assert_false(load.tail);
	assert_int_equal(load.share, LOAD_ALL);
}

/* What comes would not fit: each time that it is tried all the same, the next try is put off. */
static void giving_back_in_vain_becomes_rare(void **unused)
{
	uint64_t tries[3];

	(void)unused;
	for (unsigned i = 0; i < 3; i++) {
		unsigned n = 0;

		overload();
		for (; load.level != LOAD_INSPECT_ALL && n < 100000; n++) {
			sample.passed += 100;
			look(0, 1, 0);
		}
		assert_int_equal(load.level, LOAD_INSPECT_ALL);
		tries[i] = n;
	}
	assert_true(tries[1] > tries[0] + 500);
	assert_true(tries[2] > tries[1] + 500);
}

static void lateness_closes(void **unused)
{
	(void)unused;
	overload();
	looks(20, 5, 0, 0);
	assert_true(load.share > 0);
	sample.late += 3;
	look(5, 0, 0);
	assert_int_equal(load.share, 0);
	look(5, 0, 0);
	assert_true(load.share > 0);
}

static void no_deadline_sheds_nothing(void **unused)
{
	struct load_config config = {.deadline_ns = 0};

	(void)unused;
	load_start(&load, &config);
	looks(1000, 5, 60000, 5000);
	assert_int_equal(load.level, LOAD_INSPECT_ALL);
	assert_int_equal(load.share, LOAD_ALL);
	assert_false(load.tail);
}

static void a_class_can_refuse(void **unused)
{
	struct load_config config = {.deadline_ns = 20 * MS, .never_shed = true};

	(void)unused;
	load_start(&load, &config);
	looks(1000, 5, 60000, 5000);
	assert_int_equal(load.level, LOAD_INSPECT_ALL);
	assert_int_equal(load.share, LOAD_ALL);
	assert_false(load.tail);
}

static void counters_wrap(void **unused)
{
	struct load first;

	(void)unused;
	overload();
	first = load;
	before_each(NULL);
	sample = (struct load_sample){
	    .arrived = UINT64_MAX - 1000,
	    .inspected = UINT64_MAX - 1500,
	    .late = UINT64_MAX,
	    .admitted = UINT64_MAX - 50,
	    .refused = UINT64_MAX - 50,
	    .passed = UINT64_MAX,
	};
	overload();
	assert_int_equal(load.share, first.share);
	assert_true(load.capacity == first.capacity && load.packets == first.packets && load.offered == first.offered);
}

/* Another gate begins at 0: a look is lost, nothing else. */
static void counters_that_begin_anew(void **unused)
{
	double capacity, offered;

	(void)unused;
	overload();
	capacity = load.capacity;
	offered = load.offered;
	sample.admitted = sample.refused = sample.passed = 0;
	look(5, 20, 2);
	assert_in_range((uint64_t)load.capacity, (uint64_t)(capacity * 0.99), (uint64_t)(capacity * 1.01));
	assert_true(load.offered <= offered && load.offered > offered * 0.9);
}

static void time_without_an_engine_measures_nothing(void **unused)
{
	struct load first;

	(void)unused;
	overload();
	first = load;
	now += 3000 * MS;
	sample.arrived += 70000;
	sample.late += 10;
	look(500, 20, 2);
	assert_true(load.capacity == first.capacity && load.packets == first.packets && load.offered == first.offered);
	assert_int_equal(load.level, first.level);
	assert_int_equal(load.wait_ns, 2 * MS);
}

/* Nor does it count as a calm, or as a time above target. */
static void time_without_an_engine_is_no_interval(void **unused)
{
	(void)unused;
	looks(100, 5, 1, 0);
	looks(10, 5, 60, 6);
	now += 3000 * MS;
	look(5, 60, 6);
	assert_int_equal(load.level, LOAD_INSPECT_ALL);
	overload();
	looks(100, 0, 0, 0);
	now += 3000 * MS;
	looks(500, 0, 0, 0);
	assert_int_equal(load.level, LOAD_SHED_FLOWS);
}

static void the_same_time_again_is_no_look(void **unused)
{
	struct load first;

	(void)unused;
	overload();
	first = load;
	sample.inspected += 1000;
	load_step(&load, now, &sample);
	assert_memory_equal(&load, &first, sizeof(load));
	load_step(&load, now - MS, &sample);
	assert_memory_equal(&load, &first, sizeof(load));
}

static void nothing_known_of_flows_is_no_division_by_zero(void **unused)
{
	(void)unused;
	looks(300, 0, 60, 6);
	assert_int_equal(load.level, LOAD_SHED_FLOWS);
	assert_true(load.share <= LOAD_ALL);
	now += MS;
	sample.inspected = sample.arrived;
	sample.held = 1;
	sample.age_ns = UINT64_MAX;
	load_step(&load, now, &sample);
	assert_int_equal(load.share, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(begins_with_everything, before_each),
	    cmocka_unit_test_setup(looks_have_their_price, before_each),
	    cmocka_unit_test_setup(sheds_tails_first, before_each),
	    cmocka_unit_test_setup(a_short_burst_sheds_nothing, before_each),
	    cmocka_unit_test_setup(what_is_urgent_is_done_at_once, before_each),
	    cmocka_unit_test_setup(no_further_step_while_it_falls, before_each),
	    cmocka_unit_test_setup(a_full_queue_that_is_young_is_not_urgent, before_each),
	    cmocka_unit_test_setup(admits_the_rate_that_fits, before_each),
	    cmocka_unit_test_setup(a_burst_is_seen_at_once, before_each),
	    cmocka_unit_test_setup(gives_back_by_levels, before_each),
	    cmocka_unit_test_setup(giving_back_in_vain_becomes_rare, before_each),
	    cmocka_unit_test_setup(lateness_closes, before_each),
	    cmocka_unit_test_setup(no_deadline_sheds_nothing, before_each),
	    cmocka_unit_test_setup(a_class_can_refuse, before_each),
	    cmocka_unit_test_setup(counters_wrap, before_each),
	    cmocka_unit_test_setup(counters_that_begin_anew, before_each),
	    cmocka_unit_test_setup(time_without_an_engine_measures_nothing, before_each),
	    cmocka_unit_test_setup(time_without_an_engine_is_no_interval, before_each),
	    cmocka_unit_test_setup(the_same_time_again_is_no_look, before_each),
	    cmocka_unit_test_setup(nothing_known_of_flows_is_no_division_by_zero, before_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
