/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Words of the command line, and of the switch file.
 */
#include "unit.h"

#include "cli/cli.h"
#include "keeper/switch.h"

#include <string.h>

static void numbers(void **state)
{
	uint64_t n;

	(void)state;
	assert_true(parse_number("0", 10, &n) && n == 0);
	assert_true(parse_number("4294967295", UINT32_MAX, &n) && n == UINT32_MAX);
	assert_false(parse_number("4294967296", UINT32_MAX, &n));
	assert_false(parse_number("99999999999999999999999", UINT64_MAX, &n));
	assert_false(parse_number("", 10, &n));
	assert_false(parse_number("-1", 10, &n));
	assert_false(parse_number("+1", 10, &n));
	assert_false(parse_number(" 1", 10, &n));
	assert_false(parse_number("1x", 10, &n));
}

static void ranges(void **state)
{
	uint16_t a, b;

	(void)state;
	assert_true(parse_range("7", &a, &b) && a == 7 && b == 7);
	assert_true(parse_range("0-3", &a, &b) && a == 0 && b == 3);
	assert_true(parse_range("65535", &a, &b) && a == 65535);
	assert_false(parse_range("65536", &a, &b));
	assert_false(parse_range("3-0", &a, &b));
	assert_false(parse_range("1-", &a, &b));
	assert_false(parse_range("-1", &a, &b));
	assert_false(parse_range("1-2-3", &a, &b));
}

static void durations(void **state)
{
	uint64_t ns;

	(void)state;
	assert_true(parse_duration("50ms", &ns) && ns == 50000000);
	assert_true(parse_duration("1s", &ns) && ns == 1000000000);
	assert_true(parse_duration("7us", &ns) && ns == 7000);
	assert_true(parse_duration("0ms", &ns) && ns == 0);
	assert_false(parse_duration("50", &ns));
	assert_false(parse_duration("ms", &ns));
	assert_false(parse_duration("50 ms", &ns));
	assert_false(parse_duration("-5ms", &ns));
	assert_false(parse_duration("999999999999s", &ns));
}

static void the_switch(void **state)
{
	(void)state;
	assert_int_equal(switch_parse("0\n", 2), SWITCH_OFF);
	assert_int_equal(switch_parse("1\n", 2), SWITCH_ON);
	assert_int_equal(switch_parse("1", 1), SWITCH_UNFINISHED);
	assert_int_equal(switch_parse("", 0), SWITCH_EMPTY);
	assert_int_equal(switch_parse("2\n", 2), SWITCH_NONSENSE);
	assert_int_equal(switch_parse("10\n", 3), SWITCH_NONSENSE);
	assert_int_equal(switch_parse("1\n0", 3), SWITCH_NONSENSE);
	assert_int_equal(switch_parse("\0\n", 2), SWITCH_NONSENSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(ranges),
	    cmocka_unit_test(durations),
	    cmocka_unit_test(the_switch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
