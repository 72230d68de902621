/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rules' counters have counted of connections by their mark, on the engine's page: also with a keeper that
 * dies at any instruction and one that goes on.
 */
#include "unit.h"

#include "keeper/internal.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static struct engine_marked *m; /* where it outlives its writer */

static void note(uint64_t packets, uint64_t passed)
{
	keeper_note_marked(m, packets);
	assert_int_equal(m->passed, passed);
}

static int before_each(void **state)
{
	(void)state;
	*m = (struct engine_marked){0};
	note(100, 0);
	note(150, 50);
	return 0;
}

static void what_came_since_the_first_reading(void **state)
{
	(void)state;
	note(150, 50);
	note(1000, 900);
}

/* With its rule. */
static void a_counter_made_anew(void **state)
{
	(void)state;
	note(20, 70);
	note(20, 70);
	note(30, 80);
	note(0, 80);
	note(7, 87);
}

/* Whoever goes on behind any instruction counts what the one before was about to, and three more. */
static void dies_at_any_instruction(uint64_t packets, uint64_t passed)
{
	unsigned steps = 0;
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(1);
		raise(SIGSTOP);
		keeper_note_marked(m, packets);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	for (; WIFSTOPPED(status); steps++) {
		struct engine_marked after = *m;

		keeper_note_marked(&after, packets + 3);
		assert_int_equal(after.passed, passed + 3);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status))
		skip();
	assert_true(steps > 10);
	assert_int_equal(m->passed, passed);
}

static void a_death_loses_nothing(void **state)
{
	(void)state;
	dies_at_any_instruction(170, 70);
}

static void nor_where_the_counter_is_new(void **state)
{
	(void)state;
	dies_at_any_instruction(20, 70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_came_since_the_first_reading, before_each),
	    cmocka_unit_test_setup(a_counter_made_anew, before_each),
	    cmocka_unit_test_setup(a_death_loses_nothing, before_each),
	    cmocka_unit_test_setup(nor_where_the_counter_is_new, before_each),
	};

	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
