/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The push interface: an inspector's life from attaching to leaving, calling the user's functions. Runs without any
 * privilege; never sends a verdict to the kernel.
 */
#include "clock.h"
#include "inspect/inspect.h"
#include "inspect/pace.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define PUBLISH_NS 100000 /* a slow inspector's answers leave at least this often */

/* For spw_inspector_counts(): a process has one lane. */
static const struct spw_lane *running;

struct push {
	struct spw_inspector user;
	void *self;
	struct spw_lane *lane;
	struct pace pace;
};

/* An inspector compiled with an older header has fewer fields; what a newer one has more must be 0. */
static int take_inspector(struct spw_inspector *ours, const struct spw_inspector *theirs)
{
	const size_t least = offsetof(struct spw_inspector, gap); /* API 1 */
	const char *bytes = (const char *)theirs;

	if (theirs->api < 1 || theirs->api > SPW_INSPECTOR_API || theirs->size < least || !theirs->packet)
		return -EINVAL;
	for (size_t i = sizeof(*ours); i < theirs->size; i++) {
		if (bytes[i])
			return -EINVAL;
	}
	memset(ours, 0, sizeof(*ours));
	memcpy(ours, theirs, theirs->size < sizeof(*ours) ? theirs->size : sizeof(*ours));
	/* It was written when there was no other. */
	if (ours->api == 1)
		ours->sandbox = SPW_SANDBOX_WIDE;
	return 0;
}

static void show(struct push *push, struct slot *slot)
{
	static const struct spw_verdict drop = {.size = sizeof(drop), .code = SPW_DROP};
	struct spw_verdict v = {.size = sizeof(v), .code = SPW_ACCEPT};
	int error;

	if (slot->gap.causes && push->user.gap)
		push->user.gap(push->self, &slot->gap);
	push->user.packet(push->self, &slot->packet, &v);
	error = deliver_verdict(push->lane, slot, &v);
	if (error && error != -ESHUTDOWN) {
		push->lane->counts.refused++;
		(void)deliver_verdict(push->lane, slot, &drop);
	}
}

/* Shows what was received. A slow inspector's answers leave while it works on the next packet. */
static void show_batch(struct push *push)
{
	uint64_t published = clock_ns();
	struct slot *slot;

	while (!push->lane->leaving && (slot = deliver_next(push->lane))) {
		show(push, slot);
		if (clock_ns() - published <= PUBLISH_NS)
			continue;
		deliver_publish(push->lane);
		if (lane_lease_ended(push->lane))
			return;
		published = clock_ns();
	}
	deliver_publish(push->lane);
}

static void nap(uint64_t ns)
{
	const struct timespec t = {.tv_nsec = (long)ns};

	if (ns)
		nanosleep(&t, NULL);
}

static int serve(struct push *push)
{
	struct spw_lane *lane = push->lane;

	while (!lane_leaving(lane)) {
		int n = 0;

		if (lane->was_active && lane->ready)
			n = intake_receive(lane, push->pace.batch);
		if (n < 0)
			return n;
		if (!n) {
			(void)lane_wait(lane, -1);
			continue;
		}
		pace_begin(&push->pace, clock_ns());
		show_batch(push);
		nap(pace_end(&push->pace, (unsigned)n, clock_ns()));
	}
	return 0;
}

static int run(struct push *push)
{
	int error = push->user.start ? push->user.start(&push->self) : 0;

	if (error)
		return error;
	/* A nap is meant to be as long as it says, not that and the default slack of 50 microseconds. */
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	pace_start(&push->pace);
	error = spw_lane_ready(push->lane);
	if (!error) {
		running = push->lane;
		error = serve(push);
	}
	if (push->user.stop)
		push->user.stop(push->self);
	running = NULL;
	return error;
}

int spw_inspector_run(const struct spw_inspector *inspector)
{
	struct spw_lane_config config = {.size = sizeof(config)};
	struct push push = {0};
	int error = take_inspector(&push.user, inspector);

	config.copy_range = push.user.copy_range;
	config.sandbox = push.user.sandbox;
	if (!error)
		error = spw_lane_attach(&push.lane, &config);
	if (error)
		return error;
	error = run(&push);
	spw_lane_detach(push.lane);
	return error;
}

int spw_inspector_counts(struct spw_counts *counts)
{
	return running ? spw_lane_counts(running, counts) : -ENOENT;
}
