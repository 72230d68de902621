/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The push interface against a fake engine: what is shown, what is answered unseen, gaps, priorities, the hand,
 * stopping.
 */
#include "clock.h"
#include "fake_lane.h"

#include <errno.h>

#define SHOWN_MOST 4096u
#define PUBLISH_NS 100000u /* answers leave at least this often */

static struct shown {
	uint16_t queue;
	uint32_t id;
	uint64_t flow;
	uint32_t causes; /* of the gap before it */
	uint64_t missed, stale;
} shown[SHOWN_MOST];
static unsigned n_shown, stop_after;
static uint64_t ran_ns;
static struct spw_gap gap_before;
static void (*while_looking)(const struct spw_packet *, struct spw_verdict *);

static int before_each(void **unused)
{
	(void)unused;
	fake_start(2, 1);
	n_shown = stop_after = 0;
	gap_before = (struct spw_gap){0};
	while_looking = NULL;
	return 0;
}

static int after_each(void **unused)
{
	(void)unused;
	fake_end();
	return 0;
}

static void on_gap(void *self, const struct spw_gap *gap)
{
	(void)self;
	gap_before = *gap;
}

static void on_packet(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	(void)self;
	assert_true(n_shown < SHOWN_MOST);
	assert_int_equal(v->code, SPW_ACCEPT);
	if (gap_before.causes)
		assert_int_equal(gap_before.queue, p->queue);
	assert_int_equal(fake.answers->hand.busy, 1);
	assert_int_equal(fake.answers->hand.id, p->id);
	assert_int_equal(fake.answers->hand.class, p->queue - 10);
	assert_true(fake.answers->hand.flow == p->flow);
	shown[n_shown++] = (struct shown){.queue = p->queue,
					  .id = p->id,
					  .flow = p->flow,
					  .causes = gap_before.causes,
					  .missed = gap_before.missed,
					  .stale = gap_before.stale};
	gap_before = (struct spw_gap){0};
	if (while_looking)
		while_looking(p, v);
	if (n_shown == stop_after)
		fake.state->active = 0;
}

/* The narrow sandbox would outlive the lane. */
static const struct spw_inspector user = {.api = SPW_INSPECTOR_API,
					  .size = sizeof(user),
					  .name = "test",
					  .packet = on_packet,
					  .gap = on_gap,
					  .sandbox = SPW_SANDBOX_WIDE};

static int run_until(unsigned packets)
{
	uint64_t begun = clock_ns();
	int error;

	stop_after = packets;
	error = spw_inspector_run(&user);
	ran_ns = clock_ns() - begun;
	fake_take();
	return error;
}

/* So many answers for all that was shown; more where it took long, since then some leave before the rest is shown. */
static void assert_runs(unsigned n)
{
	if (ran_ns < PUBLISH_NS)
		assert_int_equal(fake.runs, n);
	else
		assert_true(fake.runs >= n);
}

static void all_are_shown_and_one_answer_covers_a_run(void **unused)
{
	(void)unused;
	for (int i = 0; i < 10; i++)
		fake_send(0, 53);
	assert_int_equal(run_until(10), 0);
	assert_int_equal(n_shown, 10);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(shown[i].id, i + 1);
		assert_int_equal(shown[i].causes, 0);
		assert_int_equal(fake_verdict(0, i + 1), SPW_ACCEPT);
	}
	assert_runs(1);
	assert_int_equal(fake.answers->ready, 1);
	assert_int_equal(fake.answers->hand.busy, 0);
	assert_true(shown[0].flow != 0);
}

static void skipped_ids_are_a_gap_and_break_the_run(void **unused)
{
	(void)unused;
	fake_send(0, 53);
	fake_skip(0, 3);
	fake_send(0, 53);
	fake_send(0, 53);
	assert_int_equal(run_until(3), 0);
	assert_int_equal(shown[0].causes, 0);
	assert_int_equal(shown[1].causes, SPW_GAP_MISSED);
	assert_int_equal(shown[1].missed, 3);
	assert_int_equal(shown[2].causes, 0);
	assert_runs(2);
	assert_int_equal(fake_verdict(0, 5), SPW_ACCEPT);
	assert_int_equal(fake_verdict(0, 2), -1);
}

static void settle_to_6(const struct spw_packet *p, struct spw_verdict *v)
{
	(void)v;
	if (p->id == 2)
		fake.state->class[0].settled = 6;
}

static void what_is_settled_meanwhile_is_not_shown(void **unused)
{
	(void)unused;
	for (int i = 0; i < 8; i++)
		fake_send(0, 53);
	while_looking = settle_to_6;
	assert_int_equal(run_until(4), 0);
	assert_int_equal(n_shown, 4);
	assert_int_equal(shown[2].id, 7);
	assert_int_equal(shown[2].causes, SPW_GAP_STALE);
	assert_int_equal(shown[2].stale, 4);
	assert_int_equal(shown[3].causes, 0);
	assert_int_equal(fake_verdict(0, 2), SPW_ACCEPT); /* late, and the engine counts it so */
	for (uint64_t id = 3; id <= 6; id++)
		assert_int_equal(fake_verdict(0, id), CHANNEL_STALE);
	assert_int_equal(fake_verdict(0, 7), SPW_ACCEPT);
	assert_runs(3);
}

static void raise_rounds(const struct spw_packet *p, struct spw_verdict *v)
{
	(void)v;
	if (p->id == 1)
		fake.state->class[0].rounds++;
}

static void a_round_is_a_gap(void **unused)
{
	(void)unused;
	fake.state->class[0].rounds = 7; /* before its time: not its gap */
	fake_send(0, 53);
	fake_send(0, 53);
	fake_send(0, 53);
	while_looking = raise_rounds;
	assert_int_equal(run_until(3), 0);
	assert_int_equal(shown[0].causes, 0);
	assert_int_equal(shown[1].causes, SPW_GAP_ROUND);
	assert_int_equal(shown[2].causes, 0);
}

static void ids_wrap(void **unused)
{
	(void)unused;
	fake_end();
	fake_start(1, 0xfffffffe);
	for (int i = 0; i < 5; i++)
		fake_send(0, 53);
	assert_int_equal(run_until(5), 0);
	assert_int_equal(n_shown, 5);
	assert_int_equal(shown[4].id, 2);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(shown[i].causes, 0);
	assert_runs(1);
	assert_int_equal(fake.class[0].answered, 0x100000002u);
}

static void the_higher_class_comes_first(void **unused)
{
	(void)unused;
	fake.state->class[1].priority = 5;
	for (int i = 0; i < 100; i++)
		fake_send(0, 53);
	for (int i = 0; i < 40; i++)
		fake_send(1, 53);
	assert_int_equal(run_until(140), 0);
	for (unsigned i = 0; i < 140; i++)
		assert_int_equal(shown[i].queue, i < 40 ? 11 : 10);
	assert_int_equal(fake_verdict(0, 100), SPW_ACCEPT);
	assert_int_equal(fake_verdict(1, 40), SPW_ACCEPT);
}

static void send_urgent(const struct spw_packet *p, struct spw_verdict *v)
{
	(void)v;
	if (p->queue == 10 && p->id == 1)
		fake_send(1, 53);
}

static void a_flood_delays_the_higher_class_by_a_batch_at_most(void **unused)
{
	unsigned urgent = 0;

	(void)unused;
	fake.state->class[1].priority = 5;
	for (int i = 0; i < 120; i++)
		fake_send(0, 53);
	while_looking = send_urgent;
	assert_int_equal(run_until(121), 0);
	while (shown[urgent].queue != 11)
		urgent++;
	assert_true(urgent <= 64);
}

static void poison_goes_by_policy(void **unused)
{
	uint64_t poison;

	(void)unused;
	fake_send(0, 53);
	assert_int_equal(run_until(1), 0);
	poison = shown[0].flow;
	fake_end();
	fake_start(1, 1);
	fake.state->poison[17] = poison;
	fake_send(0, 54);
	fake_send(0, 53);
	fake_send(0, 53);
	fake_send(0, 55);
	n_shown = 0;
	assert_int_equal(run_until(2), 0);
	assert_int_equal(fake_verdict(0, 2), CHANNEL_POISONED);
	assert_int_equal(fake_verdict(0, 3), CHANNEL_POISONED);
	assert_int_equal(fake_verdict(0, 4), SPW_ACCEPT);
	assert_int_equal(shown[1].id, 4);
	assert_int_equal(shown[1].causes, 0);
	assert_runs(4);
}

static void count_up(const struct spw_packet *p, struct spw_verdict *v)
{
	struct spw_counts counts = {.size = sizeof(counts)};

	(void)p;
	if (n_shown == 2)
		v->code = 77; /* no such verdict */
	if (n_shown == 3) {
		v->set = SPW_VERDICT_PAYLOAD; /* and no payload */
	}
	assert_int_equal(spw_inspector_counts(&counts), 0);
	assert_int_equal(counts.shown, n_shown);
	assert_int_equal(counts.refused, n_shown == 3 ? 1 : n_shown > 3 ? 2 : 0);
}

static void what_can_t_be_done_becomes_a_drop(void **unused)
{
	struct spw_counts counts = {.size = sizeof(counts)};

	(void)unused;
	for (int i = 0; i < 5; i++)
		fake_send(0, 53);
	while_looking = count_up;
	assert_int_equal(run_until(5), 0);
	assert_int_equal(fake_verdict(0, 2), SPW_DROP);
	assert_int_equal(fake_verdict(0, 3), SPW_DROP);
	assert_int_equal(fake_verdict(0, 4), SPW_ACCEPT);
	assert_int_equal(spw_inspector_counts(&counts), -ENOENT);
}

static void an_inspector_of_api_1_still_works(void **unused)
{
	struct spw_inspector old = user;

	(void)unused;
	old.api = 1;
	old.size = offsetof(struct spw_inspector, gap);
	old.gap = (void (*)(void *, const struct spw_gap *))1; /* whatever lies behind it in its memory */
	fake_send(0, 53);
	fake_skip(0, 1);
	fake_send(0, 53);
	stop_after = 2;
	assert_int_equal(spw_inspector_run(&old), 0);
	assert_int_equal(n_shown, 2);
	old.size--;
	assert_int_equal(spw_inspector_run(&old), -EINVAL);
	old = user;
	old.api = SPW_INSPECTOR_API + 1;
	assert_int_equal(spw_inspector_run(&old), -EINVAL);
}

static void it_leaves_with_its_lease(void **unused)
{
	(void)unused;
	close(fake.lease);
	fake.lease = -1;
	assert_int_equal(spw_inspector_run(&user), 0);
	assert_int_equal(n_shown, 0);
}

static void it_receives_nothing_until_it_is_active(void **unused)
{
	uint8_t byte;

	(void)unused;
	fake.state->active = FAKE_NUMBER + 1;
	fake_send(0, 53);
	close(fake.lease);
	fake.lease = -1;
	assert_int_equal(spw_inspector_run(&user), 0);
	assert_int_equal(n_shown, 0);
	assert_int_equal(fake.answers->ready, 1);
	assert_int_equal(recv(FAKE_SOCKETS, &byte, 1, MSG_DONTWAIT | MSG_TRUNC | MSG_PEEK) > 1, 1);
}

static void other_versions_are_refused(void **unused)
{
	(void)unused;
	fake.state->version = CHANNEL_VERSION + 1;
	assert_int_equal(spw_inspector_run(&user), -EPROTO);
	setenv(CHANNEL_ENV, "version=1 answers=3", 1);
	assert_int_equal(spw_inspector_run(&user), -EPROTO);
	unsetenv(CHANNEL_ENV);
	assert_int_equal(spw_inspector_run(&user), -ENOENT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, before_each, after_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(all_are_shown_and_one_answer_covers_a_run),
	    CASE(skipped_ids_are_a_gap_and_break_the_run),
	    CASE(what_is_settled_meanwhile_is_not_shown),
	    CASE(a_round_is_a_gap),
	    CASE(ids_wrap),
	    CASE(the_higher_class_comes_first),
	    CASE(a_flood_delays_the_higher_class_by_a_batch_at_most),
	    CASE(poison_goes_by_policy),
	    CASE(what_can_t_be_done_becomes_a_drop),
	    CASE(an_inspector_of_api_1_still_works),
	    CASE(it_leaves_with_its_lease),
	    CASE(it_receives_nothing_until_it_is_active),
	    CASE(other_versions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
