/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the push interface naps, and how much it takes at a time: told times, no clock.
 */
#include "unit.h"

#include "inspect/pace.h"

static struct pace pace;
static uint64_t now;

/* A batch of n that took so long; returns the nap, which is taken. */
static uint64_t batch(unsigned n, uint64_t took_ns)
{
	uint64_t nap;

	pace_begin(&pace, now);
	now += took_ns;
	nap = pace_end(&pace, n, now);
	now += nap;
	return nap;
}

static int before_each(void **unused)
{
	(void)unused;
	now = 5000000000;
	pace_start(&pace);
	return 0;
}

static void a_quiet_queue_never_waits(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(batch(1 + i % 3, 5000), 0);
		now += 100000;
	}
}

/* 60,000 packets a second, each sent when the one before was answered. */
static void requests_and_responses_never_wait(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(batch(1, 6000), 0);
		now += 10000;
	}
}

static void load_is_taken_in_larger_batches(void **unused)
{
	unsigned naps = 0;

	(void)unused;
	for (unsigned i = 0; i < 1000; i++) {
		naps += batch(14, 10000) > 0;
		now += 1000;
	}
	assert_true(naps > 800);
	now += 1000000000; /* silence: what was known of the rate is old */
	assert_int_equal(batch(8, 10000), 0);
}

static void naps_in_vain_become_rare(void **unused)
{
	unsigned naps = 0;

	(void)unused;
	for (unsigned i = 0; i < 1000; i++) {
		/* As if all senders waited for us: as much as before comes, but nothing more in a nap. */
		const uint64_t nap = batch(pace.napped ? 1 : 6, 10000);

		naps += nap > 0;
		now += nap ? 0 : 20000;
	}
	assert_true(naps < 50);
}

static void batches_fit_the_inspector(void **unused)
{
	(void)unused;
	assert_true(pace.batch <= 64);
	for (unsigned i = 0; i < 10; i++)
		batch(pace.batch, 10000);
	assert_int_equal(pace.batch, PACE_BATCH_MOST);
	for (unsigned i = 0; i < 10; i++)
		batch(pace.batch, 50000000);
	assert_int_equal(pace.batch, 1);
	for (unsigned i = 0; i < 10; i++)
		batch(pace.batch, 1000);
	assert_int_equal(pace.batch, PACE_BATCH_MOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_quiet_queue_never_waits, before_each),
	    cmocka_unit_test_setup(requests_and_responses_never_wait, before_each),
	    cmocka_unit_test_setup(load_is_taken_in_larger_batches, before_each),
	    cmocka_unit_test_setup(naps_in_vain_become_rare, before_each),
	    cmocka_unit_test_setup(batches_fit_the_inspector, before_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
