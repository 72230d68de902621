/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Seeing after a lane: who has died, lied or hangs is told, ended and replaced. Never waits for long; reads no packet.
 */
#include "keeper/internal.h"

#include "clock.h"
#include "keeper/isolation.h"
#include "log/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MS          1000000ull
#define SECOND      (1000 * MS)
#define PAUSE_NS    (100 * MS) /* before the next inspector, doubled with each that dies soon */
#define PAUSE_MAX   (10 * SECOND)
#define WORTHY      1000u /* packets answered: the next inspector is started at once */
#define LOOP_DEATHS 5u
#define ENGINE_SOON SECOND       /* an engine that dies sooner is not replaced at once for ever */
#define ENGINE_HUNG (2 * SECOND) /* without a turn of its loop */
#define POISON_NS   (300 * SECOND)
#define POISON_FROM 2u /* deaths */

uint64_t keeper_pause(uint32_t deaths)
{
	uint64_t pause = PAUSE_NS << (deaths < 8 ? deaths : 8);

	return pause < PAUSE_MAX ? pause : PAUSE_MAX;
}

static struct board_lane *board_of(struct keeper *k, const struct keeper_lane *l)
{
	return &k->board->lane[l - k->lane];
}

static const char *policy_word(const struct keeper_lane *l, enum lane_reason reason)
{
	struct lane lane;

	engine_snapshot(l->page, &lane);
	return lane_shuts(&lane.class[0].config, reason) ? "dropped" : "accepted";
}

/* Engines */

/* At once, for packets wait; but not for ever, where one after the other can't. */
static void plan_engine(struct keeper_lane *l, uint64_t now, bool soon)
{
	l->engine_deaths = soon ? l->engine_deaths + 1 : 0;
	l->engine_at_ns = now + (l->engine_deaths < LOOP_DEATHS ? 0 : keeper_pause(l->engine_deaths - LOOP_DEATHS));
}

static void start_engine(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	int error = keeper_start_engine(k, l);

	if (!error)
		error = keeper_tell_inspector(l);
	l->stood_in = false;
	if (!error || error == -EINPROGRESS)
		return;
	log_line("queue %u: starting an engine: %s; it is tried again", l->number, strerror(-error));
	keeper_kill(&l->engine);
	plan_engine(l, now, true);
}

static void bury_engine(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	char how[64];

	plan_engine(l, now, now - l->engine.started_ns < ENGINE_SOON);
	board_of(k, l)->engine.pid = 0; /* first: whoever sees the count does not see the dead one's pid */
	board_of(k, l)->engine.restarts++;
	log_line("queue %u: the engine %s; another takes over what is held", l->number,
		 keeper_how_ended(&l->engine, how, sizeof(how)));
}

static void watch_engine(struct keeper_lane *l, uint64_t now)
{
	uint64_t ticked = __atomic_load_n(&l->page->ticked_ns, __ATOMIC_RELAXED);
	bool silent = l->silent_ns && now >= l->silent_ns + ENGINE_HUNG;

	if (now < ticked + ENGINE_HUNG && !silent) {
		l->engine_watch.since_ns = 0;
		return;
	}
	if (keeper_stuck(&l->engine_watch, l->engine.pid, now, ENGINE_HUNG) != STUCK_YES)
		return;
	log_line("queue %u: the engine hangs; it is ended", l->number);
	l->engine_watch.since_ns = 0;
	keeper_kill(&l->engine);
}

/* Packets do not wait for the end of a pause. */
static void stand_in(struct keeper_lane *l, uint64_t now)
{
	uint64_t held;
	int error = keeper_stand_in(l, now, &held);

	l->stood_in = !error;
	if (l->engine_loops)
		return;
	l->engine_loops = true;
	log_line("queue %u: engines die one after the other; the next are started after pauses of up to %llu s, "
		 "meanwhile packets are %s, %llu held ones too; look at the messages before",
		 l->number, PAUSE_MAX / SECOND, policy_word(l, REASON_DOWN), (unsigned long long)held);
	if (error)
		log_line("queue %u: settling what is held without an engine: %s; it is tried again", l->number,
			 strerror(-error));
}

static void note_engine(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	struct board_lane *b = board_of(k, l);

	if (l->engine_loops && l->engine.pid && !l->silent_ns && now - l->engine.started_ns >= ENGINE_SOON) {
		l->engine_loops = false;
		log_line("queue %u: an engine stays", l->number);
	}
	b->engine_state = l->engine_loops ? BOARD_ENGINE_LOOPING
			  : l->engine.pid ? BOARD_ENGINE_RUNNING
					  : BOARD_ENGINE_DOWN;
}

static void tend_engine(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	if (keeper_ended(&l->engine))
		bury_engine(k, l, now);
	if (!l->engine.pid && l->engine_deaths >= LOOP_DEATHS && !l->stood_in)
		stand_in(l, now);
	if (l->engine.pid)
		watch_engine(l, now);
	else if (now >= l->engine_at_ns)
		start_engine(k, l, now);
	note_engine(k, l, now);
}

/* Inspectors */

static bool own_fault(const struct keeper_process *p)
{
	if (p->status == -1 || !WIFSIGNALED(p->status))
		return false;
	switch (WTERMSIG(p->status)) {
	case SIGSEGV:
	case SIGBUS:
	case SIGABRT:
	case SIGFPE:
	case SIGILL:
	case SIGSYS:
		return true;
	default:
		return false;
	}
}

/* The flow that the engine shall know as poison in this slot; 0: none. */
static uint64_t poison_of(const struct keeper_suspect *s)
{
	return s->deaths >= POISON_FROM ? s->flow : 0;
}

/* By what the inspectors are shown: an engine that died over it, or did not answer, is asked again. */
static void tell_poison(struct keeper_lane *l)
{
	const struct channel_state *state = keeper_map_page(l->state_fd, sizeof(*state));
	struct engine_reply r;
	int error = state ? 0 : -ENOMEM;

	for (unsigned i = 0; !error && i < KEEPER_SUSPECTS; i++) {
		uint64_t flow = poison_of(&l->suspect[i]);
		const struct engine_request q = {.op = ENGINE_POISON, .value = i, .long_value = (int64_t)flow};

		if (__atomic_load_n(&state->poison[i], __ATOMIC_RELAXED) != flow)
			error = keeper_ask(l, &q, &r);
	}
	if (state)
		munmap((void *)state, sizeof(*state));
	l->poison_untold = error != 0;
}

static struct keeper_suspect *suspect(struct keeper_lane *l, uint64_t flow)
{
	struct keeper_suspect *oldest = &l->suspect[0];

	for (unsigned i = 0; i < KEEPER_SUSPECTS; i++) {
		if (l->suspect[i].flow == flow)
			return &l->suspect[i];
		if (l->suspect[i].until_ns < oldest->until_ns)
			oldest = &l->suspect[i];
	}
	l->poison_untold = true;
	*oldest = (struct keeper_suspect){.flow = flow};
	return oldest;
}

/* The engine goes on with what a dead keeper has told it: it has to be told when that ends. */
void keeper_adopt_poison(struct keeper_lane *l)
{
	const struct channel_state *state = keeper_map_page(l->state_fd, sizeof(*state));

	for (unsigned i = 0; state && i < KEEPER_SUSPECTS; i++)
		if (state->poison[i])
			l->suspect[i] = (struct keeper_suspect){
			    .flow = state->poison[i], .until_ns = clock_ns() + POISON_NS, .deaths = POISON_FROM};
	if (state)
		munmap((void *)state, sizeof(*state));
}

/* The flow whose packet the inspector had in hand counts a death; at the second it is poison for a time. */
static void note_poison(struct keeper_lane *l, uint64_t now)
{
	const struct channel_hand *hand = &l->seat.answers->hand;
	uint64_t flow = __atomic_load_n(&hand->flow, __ATOMIC_RELAXED);
	struct keeper_suspect *s;

	if (!flow || !__atomic_load_n(&hand->busy, __ATOMIC_RELAXED))
		return;
	s = suspect(l, flow);
	s->until_ns = now + POISON_NS;
	if (++s->deaths != POISON_FROM)
		return;
	log_line("queue %u: a flow was in hand at %u deaths: it is poison, and goes uninspected (%s) for %llu "
		 "s",
		 l->number, POISON_FROM, policy_word(l, REASON_POISON), POISON_NS / SECOND);
	tell_poison(l);
}

static void forget_poison(struct keeper_lane *l, uint64_t now)
{
	for (unsigned i = 0; i < KEEPER_SUSPECTS; i++) {
		struct keeper_suspect *s = &l->suspect[i];

		if (!s->flow || now < s->until_ns)
			continue;
		l->poison_untold = true;
		*s = (struct keeper_suspect){0};
	}
}

/* The next one at once, or after a pause that the engine has to know of. */
static void plan_inspector(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	struct lane lane;

	engine_snapshot(l->page, &lane);
	l->inspector_deaths = lane.answered >= WORTHY ? 0 : l->inspector_deaths + 1;
	l->inspector_at_ns = l->inspector_deaths ? now + keeper_pause(l->inspector_deaths - 1) : now;
	if (l->inspector_deaths == LOOP_DEATHS)
		log_line("queue %u: inspectors die one after the other; the next are started after pauses of "
			 "up to %llu s, packets are %s; mend the inspector",
			 l->number, PAUSE_MAX / SECOND, policy_word(l, REASON_DOWN));
	board_of(k, l)->inspector_state = l->inspector_deaths >= LOOP_DEATHS ? INSPECTOR_LOOPING : INSPECTOR_DOWN;
}

/* One that never got ready and left by itself: the command line is to blame, not the traffic. */
static bool never_started(const struct keeper_lane *l)
{
	const struct keeper_process *p = &l->seat.process;

	return !l->was_ready && p->status != -1 && WIFEXITED(p->status);
}

/* Asked to make room for the one that stands ready. */
static void bid_farewell(struct keeper_lane *l, uint64_t now)
{
	l->gone = true;
	l->inspector_at_ns = now;
	l->inspector_deaths = 0;
}

static void bury_inspector(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	struct keeper_process *p = &l->seat.process;
	bool hung = l->gone_reason == REASON_HUNG, lied = __atomic_load_n(&l->page->lied, __ATOMIC_ACQUIRE);
	char how[64];

	keeper_how_ended(p, how, sizeof(how));
	if (never_started(l)) {
		k->ends = true;
		keeper_fail(
		    k, EXIT_FAILED,
		    "queue %u: the inspector %s before it was ready; what was held is %s, mend it and start again",
		    l->number, how, policy_word(l, REASON_DOWN));
		return;
	}
	log_line("queue %u: the inspector %s; what it had in hand is %s, another is started", l->number, how,
		 policy_word(l, hung ? REASON_HUNG : REASON_DOWN));
	if (p->status != -1 && WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGSYS)
		log_line("queue %u: its sandbox forbids that system call; man spillway-inspector tells what is allowed "
			 "and how to keep the wider one",
			 l->number);
	if (hung || lied || own_fault(p))
		note_poison(l, now);
	plan_inspector(k, l, now);
	board_of(k, l)->inspector.pid = 0;
	board_of(k, l)->inspector.restarts++;
	l->gone = true;
}

/* The engine settles what the dead one had in hand; asked again where the engine died over it. */
static void report_gone(struct keeper_lane *l, uint64_t now)
{
	if (keeper_ask_value(l, ENGINE_GONE, l->gone_reason))
		return;
	l->gone = false;
	l->gone_reason = REASON_DOWN;
	keeper_clear_seat(&l->seat);
	if (l->inspector_at_ns > now)
		(void)keeper_ask_value(l, ENGINE_DOWN_LONG, 1);
}

static void start_inspector(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	int error = 0;

	if (l->next.answers_fd >= 0) {
		l->seat = l->next;
		l->next = (struct keeper_seat){.answers_fd = -1, .process.pidfd = -1};
	} else {
		error = keeper_start_inspector(k, l, &l->seat);
	}
	l->inspector_watch.since_ns = 0;
	l->gone_reason = REASON_DOWN;
	if (!error) {
		(void)keeper_tell_inspector(l);
		return;
	}
	keeper_clear_seat(&l->seat);
	l->inspector_at_ns = now + keeper_pause(l->inspector_deaths++);
	(void)keeper_ask_value(l, ENGINE_DOWN_LONG, 1);
	log_line("queue %u: starting an inspector: %s; it is tried again", l->number, strerror(-error));
}

static void end_inspector(struct keeper_lane *l, const char *why, enum lane_reason reason)
{
	log_line("queue %u: the inspector %s; it is ended and replaced", l->number, why);
	l->gone_reason = reason;
	keeper_kill(&l->seat.process);
}

static void watch_inspector(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	uint32_t lie = __atomic_load_n(&l->page->lied, __ATOMIC_ACQUIRE);
	struct lane lane;
	char why[128];

	if (lie && l->inspector_watch.since_ns != UINT64_MAX) {
		l->inspector_watch.since_ns = UINT64_MAX; /* once is enough */
		snprintf(why, sizeof(why), "gave an answer that does not hold: %s",
			 lie < ANSWER_RESULTS ? lane_result_texts[lie] : "?");
		end_inspector(l, why, REASON_DOWN);
		return;
	}
	if (lie || !k->config.hung_ns)
		return;
	engine_snapshot(l->page, &lane);
	if (!lane.stalled || lane.inspector != l->seat.number) {
		l->inspector_watch.since_ns = 0;
		return;
	}
	switch (keeper_stuck(&l->inspector_watch, l->seat.process.pid, now, k->config.hung_ns)) {
	case STUCK_YES:
		board_of(k, l)->inspector_state = INSPECTOR_HUNG;
		end_inspector(l, "hangs while packets wait", REASON_HUNG);
		break;
	case STUCK_NO_CPU:
		(void)keeper_ask_value(l, ENGINE_NOT_HUNG, 0);
		break;
	default:
		break;
	}
}

static void note_ready(struct keeper *k, struct keeper_lane *l)
{
	bool ready = __atomic_load_n(&l->seat.answers->ready, __ATOMIC_ACQUIRE) == 1;
	struct board_lane *b = board_of(k, l);

	if (ready && b->inspector_state == INSPECTOR_RUNNING)
		return;
	if (ready)
		l->was_ready = true;
	b->filters = isolation_filters(l->seat.process.pid);
	if (b->inspector_state != INSPECTOR_HUNG && (ready || b->inspector_state != INSPECTOR_LOOPING))
		b->inspector_state = ready ? INSPECTOR_RUNNING : INSPECTOR_STARTING;
}

static void tend_inspector(struct keeper *k, struct keeper_lane *l, uint64_t now)
{
	if (keeper_ended(&l->seat.process)) {
		if (k->upgrade.phase == UPGRADE_LEAVING && l->next.answers_fd >= 0)
			bid_farewell(l, now);
		else
			bury_inspector(k, l, now);
	}
	if (k->ends)
		return;
	if (l->gone)
		report_gone(l, now);
	if (l->seat.answers_fd < 0 && now >= l->inspector_at_ns)
		start_inspector(k, l, now);
	else if (l->untold && l->engine.pid)
		(void)keeper_tell_inspector(l);
	if (l->seat.process.pid) {
		watch_inspector(k, l, now);
		note_ready(k, l);
	}
}

/* What happened to the classes, for the log */

static void say_state(struct keeper_lane *l, unsigned i, const struct lane_class *c)
{
	enum lane_state now = c->state == STATE_PROBING ? STATE_OPEN : c->state;

	/* A probe that fails is no news. */
	if (c->state == STATE_PROBING || now == l->told_state[i])
		return;
	l->told_state[i] = now;
	if (now == STATE_INSPECTING)
		log_line("queue %u: inspecting again", l->page->queue[i]);
	else
		log_line("queue %u: %s: %s; packets are %s uninspected", l->page->queue[i], lane_state_names[now],
			 lane_reason_names[c->reason], now == STATE_OPEN ? "accepted" : "dropped");
}

static void say_lost(struct keeper_lane *l, unsigned i, const struct lane_class *c)
{
	if (c->books.lost == l->told_lost[i])
		return;
	log_line("queue %u: %llu packets lost: the kernel threw away what was held; was a base chain deleted, a "
		 "device taken down, or firewall rules loaded anew?",
		 l->page->queue[i], (unsigned long long)(c->books.lost - l->told_lost[i]));
	l->told_lost[i] = c->books.lost;
}

static void say_changes(struct keeper_lane *l)
{
	struct lane lane;

	engine_snapshot(l->page, &lane);
	for (unsigned i = 0; i < lane.classes; i++) {
		say_state(l, i, &lane.class[i]);
		say_lost(l, i, &lane.class[i]);
	}
}

void keeper_tend_lane(struct keeper *k, struct keeper_lane *l, uint64_t now_ns)
{
	struct board_lane *b = board_of(k, l);

	keeper_hear_engine(l);
	tend_engine(k, l, now_ns);
	tend_inspector(k, l, now_ns);
	forget_poison(l, now_ns);
	if (l->poison_untold && l->engine.pid)
		tell_poison(l);
	say_changes(l);
	keeper_show_gates(k, l);
	b->engine.pid = l->engine.pid;
	b->inspector.pid = l->seat.process.pid;
}
