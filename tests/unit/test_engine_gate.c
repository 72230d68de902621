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
static uint64_t heard, rung;

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
	e.gate[0] = (struct gate){.page = &gate, .cpu = &cpu, .cpu_count = 1, .bell_heard = &heard, .bell_rung = &rung};
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

/* A class that inspects, of which nothing is held, and to which nothing has come for two looks. */
static void be_calm(void)
{
	struct lane_class *c = &e.lane.class[0];

	c->state = STATE_INSPECTING;
	c->still = 2;
	e.awaited = e.rings = 1;
	engine_gate_mode(&e, 0);
	engine_gate_looked(&e, 0, gate.admitted);
}

static bool sleeps(void)
{
	const bool asleep = engine_gate_sleep(&e);

	assert_int_equal(gate.sleeps, asleep);
	engine_gate_wake(&e);
	assert_int_equal(gate.sleeps, 0);
	assert_int_equal(heard, rung);
	return asleep;
}

/* The engine sleeps only where the gate would tell it of the next packet, or where none can come. */
static void asleep(void **state)
{
	static struct channel_answers answers;

	(void)state;
	be_calm();
	rung = 16;
	assert_true(sleeps());
	gate.admitted++;
	assert_false(sleeps());
	engine_gate_looked(&e, 0, gate.admitted);
	assert_true(sleeps());
	e.rings = 0;
	assert_false(sleeps());
	be_calm();
	e.awaited = 0;
	assert_false(sleeps());
	be_calm();
	e.lane.class[0].ids = 1;
	assert_false(sleeps());
	e.lane.class[0].settled = 1;
	assert_true(sleeps());
	page.load[0].level = LOAD_SHED_TAILS;
	assert_false(sleeps());
	page.load[0].level = LOAD_INSPECT_ALL;
	/* An inspector that is not at work yet, or whose trust has not been taken. */
	e.inspector = 1;
	assert_false(sleeps());
	e.lane.inspector = 1;
	e.answers = &answers;
	answers.trusts = 1;
	assert_false(sleeps());
	e.trusts = 1;
	assert_true(sleeps());
	/* Opened by hand, nothing comes; opened for another reason, time will close it. */
	e.rings = e.awaited = 0;
	e.lane.class[0].state = STATE_OPEN;
	e.lane.class[0].looked = true;
	e.lane.class[0].reason = REASON_MANUAL;
	assert_true(sleeps());
	e.lane.class[0].held = 1;
	assert_false(sleeps());
	e.lane.class[0].held = 0;
	e.lane.class[0].reason = REASON_LATE;
	assert_false(sleeps());
	/* A class without a gate is looked at. */
	e.lane.class[0].reason = REASON_MANUAL;
	e.lane.classes = 2;
	e.lane.class[1] = e.lane.class[0];
	assert_false(engine_gate_sleep(&e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(first_looks, begin),
	    cmocka_unit_test_setup(modes, begin),
	    cmocka_unit_test_setup(asleep, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
