/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last resort: no engine can be started or stays, or none knows what is left of a run before, but packets are held
 * that shall not wait. The only place where the keeper sends a verdict; reads no packet. Of the books it writes only,
 * while there is no engine, that a class was opened or shut: what that means for packets, the next engine finds.
 */
#include "keeper/internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define ROUNDS      1000 /* of a millisecond each, at most; */
#define ROUNDS_SOON 20   /* where others wait */

/* All that comes goes on to where it was going; `shut`: is dropped. */
static int turn_queue(struct spw_queue *queue, bool shut)
{
	const struct spw_queue_config turned = {.size = sizeof(turned),
						.copy_mode = SPW_COPY_META,
						.mask = SPW_FAIL_OPEN | SPW_GSO,
						.flags = SPW_GSO | (shut ? 0 : SPW_FAIL_OPEN)};

	return spw_queue_configure(queue, &turned);
}

/* Made before anything can be held, and kept: when it is needed there may be no memory. */
static struct spw_verdicts *list;

int keeper_reserve(struct keeper *k)
{
	list = list ? list : spw_verdicts_new(0);
	return list ? EXIT_DONE : keeper_fail(k, EXIT_FAILED, "memory: %s; free some", strerror(ENOMEM));
}

/* All that is held, the same way. */
static int settle_held(struct spw_queue *queue, bool shut, int rounds, uint64_t *held)
{
	const struct spw_verdict verdict = {.size = sizeof(verdict), .code = shut ? SPW_DROP : SPW_ACCEPT};
	const struct timespec pause = {.tv_nsec = 1000000};
	static _Alignas(4) uint8_t memory[256]; /* for one message */
	struct spw_queue_stat stat;
	int error = spw_queue_stat(queue, &stat);

	*held += error ? 0 : stat.held;
	for (int i = 0; i < rounds && !error && stat.held; i++) {
		/* Empties it, too: what could not be sent is named again by what comes behind it. */
		spw_verdicts_place(list, memory, sizeof(memory));
		error = spw_verdicts_add_batch(list, spw_queue_number(queue), stat.id_sequence, &verdict);
		if (error)
			break;
		(void)spw_verdicts_send(list, spw_queue_fd(queue));
		nanosleep(&pause, NULL);
		error = spw_queue_stat(queue, &stat);
	}
	return error;
}

/* An open queue. */
static int give_back(struct spw_queue *queue, uint64_t *passed)
{
	int error = settle_held(queue, false, ROUNDS, passed);

	return error ? error : spw_queue_unbind(queue);
}

int keeper_release(struct spw_queue *queue, bool shut, uint64_t *held)
{
	struct spw_queue_stat stat;
	int error;

	*held = 0;
	if (!shut) {
		error = turn_queue(queue, false);
		return error ? error : give_back(queue, held);
	}
	error = spw_queue_stat(queue, &stat);
	*held = error ? 0 : stat.held;
	return error ? error : spw_queue_unbind(queue);
}

int keeper_settle_alone(struct keeper_lane *l, enum lane_reason reason, uint64_t *passed)
{
	struct lane lane;
	int error = 0;

	*passed = 0;
	engine_snapshot(l->page, &lane);
	for (unsigned i = 0; i < lane.classes && !error; i++) {
		/* What is to be dropped, the kernel drops when the socket is closed. */
		if (!l->queue[i] || lane_shuts(&lane.class[i].config, reason) || turn_queue(l->queue[i], false))
			continue;
		error = give_back(l->queue[i], passed);
	}
	return error;
}

/* What the dead engine was about to do, all of it or as far as the kernel lets us. */
static int send_intent(const struct keeper_lane *l)
{
	const uint8_t *at = l->page->intent, *end = at + sizeof(l->page->intent);
	int error = 0;

	for (unsigned i = 0; i < l->classes && !error; i++) {
		uint32_t bytes = l->page->intent_bytes[i];

		if (bytes > end - at)
			return -EPROTO;
		error = bytes ? spw_verdicts_resend(spw_queue_fd(l->queue[i]), at, bytes) : 0;
		at += bytes;
	}
	return error;
}

/* The snapshot that holds from now on, after all that the dead engine has done. */
static unsigned finish_intent(const struct keeper_lane *l)
{
	unsigned holds = l->page->commit & 1;

	return l->page->commit & 2 && !send_intent(l) ? holds ^ 1 : holds;
}

static void commit(struct keeper_lane *l, unsigned holds)
{
	__atomic_store_n(&l->page->commit, ((l->page->commit >> 2) + 1) << 2 | holds, __ATOMIC_RELEASE);
}

static int turn_class(struct spw_queue *queue, struct lane_class *c, uint64_t now, uint64_t *held)
{
	bool shut = lane_passing(c) ? c->state == STATE_SHUT : lane_shuts(&c->config, REASON_DOWN);
	int error = turn_queue(queue, shut);

	if (!error)
		error = settle_held(queue, shut, ROUNDS_SOON, held);
	if (!error)
		lane_turned_outside(c, REASON_DOWN, now);
	return error;
}

int keeper_stand_in(struct keeper_lane *l, uint64_t now_ns, uint64_t *held)
{
	unsigned holds = finish_intent(l);
	struct lane *next = &l->page->snapshot[holds ^ 1];
	int error = 0;

	*held = 0;
	commit(l, holds);
	*next = l->page->snapshot[holds];
	for (unsigned i = 0; i < l->classes; i++) {
		int failed = turn_class(l->queue[i], &next->class[i], now_ns, held);

		error = failed ? failed : error;
	}
	commit(l, holds ^ 1);
	return error;
}
