/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control process as the keeper sees it: what it may ask, whether it lives, its successor. Reads requests of fixed
 * size, no text.
 */
#include "keeper/internal.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND      1000000000ull
#define SOON_NS     SECOND       /* one that dies sooner is not replaced at once */
#define BEAT_NS     SECOND       /* it is asked whether it is there */
#define HUNG_NS     (2 * SECOND) /* without an answer to that */
#define PATIENCE_NS (8 * SECOND) /* with an engine; less than control's own */

/* What control may ask: all of it. */

static int set_fail_open(struct keeper *k, const struct ask *a)
{
	return keeper_set(k, (uint16_t)a->queue, ENGINE_SET_FAIL_OPEN, a->value);
}

static int set_length(struct keeper *k, const struct ask *a)
{
	return keeper_set(k, (uint16_t)a->queue, ENGINE_SET_LENGTH, a->value);
}

static int set_turn(struct keeper *k, const struct ask *a)
{
	return keeper_set(k, (uint16_t)a->queue, ENGINE_TURN, a->value);
}

/* Returns only where nothing was changed. */
static int upgrade(struct keeper *k, const struct ask *a)
{
	return keeper_upgrade(k, a->number);
}

static int (*const asks[ASK_OPS])(struct keeper *k, const struct ask *a) = {
    [ASK_FAIL_OPEN] = set_fail_open,
    [ASK_LENGTH] = set_length,
    [ASK_TURN] = set_turn,
    [ASK_UPGRADE] = upgrade,
};

static int carry_out(struct keeper *k, const struct keeper_control *from, const struct ask *a)
{
	if (a->op >= ASK_OPS || !asks[a->op] || a->queue > UINT16_MAX)
		return keeper_fail(k, -EINVAL,
				   "control asks for what the keeper does not know; use programs of one version");
	/* Else whoever is still connected to the process of before would lose his answer. */
	if (a->op == ASK_UPGRADE && k->old_control.process.pid > 0)
		return keeper_fail(k, from == &k->old_control ? -EBUSY : -EINPROGRESS,
				   "upgrade: a client of the program before this one is still connected; try again");
	return asks[a->op](k, a);
}

/* False: it has to be asked again. */
static bool answer(struct keeper *k, const struct keeper_control *from, const struct keeper_pending *p, uint64_t now)
{
	struct ask_reply r = {.number = p->ask.number};
	int error = carry_out(k, from, &p->ask);

	if ((error == -EINPROGRESS || error == -EPIPE) && now < p->until_ns)
		return false;
	if (error) {
		r.exit = error == -ENOENT ? EXIT_USAGE : EXIT_FAILED;
		snprintf(r.text, sizeof(r.text), "%.*s", (int)sizeof(r.text) - 1, k->error);
	}
	(void)send(from->socket, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT);
	return true;
}

/* Takes in the next request, if there is one. */
static void take(struct keeper_control *c, struct keeper_pending *p, uint64_t now)
{
	if (recv(c->socket, &p->ask, sizeof(p->ask), MSG_DONTWAIT) != sizeof(p->ask))
		return;
	if (p->ask.op == ASK_NOTHING)
		c->heard_ns = now;
	else
		p->until_ns = now + PATIENCE_NS;
}

/*
 * A few at a time: whatever control asks, the lanes are seen after in between. A request that waits for its engine
 * keeps no other one waiting.
 */
static void serve(struct keeper *k, struct keeper_control *c, uint64_t now)
{
	for (unsigned i = 0; i < KEEPER_ASKS && c->socket >= 0; i++) {
		struct keeper_pending *p = &c->pending[i];

		if (!p->until_ns)
			take(c, p, now);
		if (p->until_ns && answer(k, c, p, now))
			p->until_ns = 0;
	}
}

static void plan(struct keeper *k, uint64_t now, bool soon)
{
	k->control_deaths = soon ? k->control_deaths + 1 : 0;
	k->control_at_ns = k->control_deaths ? now + keeper_pause(k->control_deaths - 1) : now;
}

/* Asked again and again whether it is there; hung, where it does not say so though it could. */
static void watch(struct keeper_control *c, uint64_t now)
{
	const struct ask_reply there = {.number = ASK_REPLY_THERE};
	uint64_t heard = c->heard_ns > c->process.started_ns ? c->heard_ns : c->process.started_ns;

	if (c->process.pid <= 0)
		return;
	if (now - c->asked_ns >= BEAT_NS) {
		c->asked_ns = now;
		(void)send(c->socket, &there, sizeof(there), MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	if (now < heard + HUNG_NS) {
		c->watch.since_ns = 0;
		return;
	}
	if (keeper_stuck(&c->watch, c->process.pid, now, HUNG_NS) != STUCK_YES)
		return;
	log_line("the control process hangs; it is ended");
	c->watch.since_ns = 0;
	keeper_kill(&c->process);
}

void keeper_tend_control(struct keeper *k, uint64_t now)
{
	if (keeper_ended(&k->control.process)) {
		log_line("the control process has ended; another is started");
		plan(k, now, now - k->control.process.started_ns < SOON_NS);
	}
	if (k->control.process.pid <= 0 && now >= k->control_at_ns && keeper_start_control(k))
		plan(k, now, true);
	serve(k, &k->control, now);
	watch(&k->control, now);
	serve(k, &k->old_control, now);
	watch(&k->old_control, now);
	if (keeper_ended(&k->old_control.process)) {
		close(k->old_control.socket);
		k->old_control.socket = -1;
	}
}
