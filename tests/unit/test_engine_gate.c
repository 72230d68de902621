/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's side of the gate, on a page of the test's own: what a new engine tells it, and when.
 */
#include "unit.h"

#include "engine/internal.h"

#include <string.h>

static struct engine e;
static struct engine_page page;
static struct gate_page gate;
static struct gate_cpu cpu;

/* A lane whose gate goes on as an engine that is dead has left it: everything passes. */
static int begin(void **state)
{
	(void)state;
	memset(&e, 0, sizeof(e));
	memset(&page, 0, sizeof(page));
	memset(&cpu, 0, sizeof(cpu));
	gate_page_begin(&gate, 1, 1);
	gate_set_mode(&gate, GATE_MODE_SPILL, REASON_MANUAL);
	e.page = &page;
	e.lane.classes = 1;
	e.gate[0] = (struct gate){.page = &gate, .cpu = &cpu, .cpu_count = 1};
	return 0;
}

/* Until the engine has said what holds, its looks are none of the gate's: it would go by what held before. */
static void first_looks(void **state)
{
	(void)state;
	engine_gate_looked(&e, 0, 0);
	assert_int_equal(gate.ticked_ns, 0);
	assert_int_equal(gate.mode & 0xff, GATE_MODE_SPILL);
	engine_gate_mode(&e, 0);
	assert_int_equal(gate.mode & 0xff, GATE_MODE_ADMIT);
	assert_int_equal(gate.ticked_ns, 0);
	engine_gate_looked(&e, 0, 0);
	assert_int_not_equal(gate.ticked_ns, 0);
}

static void modes(void **state)
{
	(void)state;
	e.lane.class[0].state = STATE_OPEN;
	e.lane.class[0].reason = REASON_DOWN;
	engine_gate_mode(&e, 0);
	assert_int_equal(gate.mode, GATE_MODE_SPILL | REASON_DOWN << 8);
	e.lane.class[0].state = STATE_SHUT;
	engine_gate_mode(&e, 0);
	assert_int_equal(gate.mode & 0xff, GATE_MODE_SHUT);
	e.lane.class[0].state = STATE_PROBING;
	engine_gate_mode(&e, 0);
	assert_int_equal(gate.mode & 0xff, GATE_MODE_ADMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(first_looks, begin),
	    cmocka_unit_test_setup(modes, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
