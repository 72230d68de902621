/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pull interface: a program's own loop takes packets and answers them in any order. Adds nothing to what the files
 * beneath it do but the public shape.
 */
#include "clock.h"
#include "inspect/inspect.h"
#include "nfqueue/internal.h"

#include <errno.h>

static unsigned fill(struct spw_lane *lane, struct spw_event *events, unsigned max)
{
	struct slot *slot;
	unsigned n = 0;

	while (n < max && (slot = deliver_next(lane))) {
		events[n++] = (struct spw_event){
		    .packet = &slot->packet, .gap = slot->gap.causes ? &slot->gap : NULL, .handle = slot->handle};
	}
	return n;
}

/* What is there now. Returns the number of packets, 0: none; or a negative errno. */
static int collect(struct spw_lane *lane, struct spw_event *events, unsigned max)
{
	int n;

	do {
		if (lane_leaving(lane))
			return -ESHUTDOWN;
		if (!lane->was_active)
			return 0;
		n = intake_receive(lane, max);
		if (n <= 0)
			return n;
		n = (int)fill(lane, events, max);
		/* A batch of packets that nobody is shown must not hold up their answers. */
		if (!n)
			deliver_publish(lane);
	} while (!n);
	return n;
}

int spw_lane_next(struct spw_lane *lane, struct spw_event *events, unsigned max, int timeout_ms)
{
	const uint64_t until = clock_ms() + (timeout_ms > 0 ? (unsigned)timeout_ms : 0);

	if (!max)
		return -EINVAL;
	deliver_publish(lane);
	for (;;) {
		const uint64_t now = clock_ms();
		const int left = timeout_ms < 0 ? -1 : now < until ? (int)(until - now) : 0;
		int error, n = collect(lane, events, max);

		if (n || !lane_can_receive(lane))
			return n;
		error = lane_wait(lane, left);
		n = collect(lane, events, max);
		if (n || error || !left)
			return n ? n : error;
	}
}

int spw_lane_verdict(struct spw_lane *lane, uint64_t handle, const struct spw_verdict *theirs)
{
	struct slot *slot = &lane->slot[handle % lane->slots];
	struct spw_verdict v;
	int error = -EINVAL;

	if (!handle || slot->handle != handle)
		return -ENOENT;
	if (!spw_sized_in(&v, sizeof(v), theirs, offsetof(struct spw_verdict, payload_len) + sizeof(v.payload_len)))
		error = deliver_verdict(lane, slot, &v);
	lane->counts.refused += error == -EINVAL || error == -EMSGSIZE || error == -EBADMSG || error == -EOPNOTSUPP;
	return error;
}

void spw_lane_flush(struct spw_lane *lane)
{
	deliver_publish(lane);
}

int spw_lane_counts(const struct spw_lane *lane, struct spw_counts *counts)
{
	if (counts->size < sizeof(counts->size))
		return -EINVAL;
	spw_sized_out(counts, counts->size, &lane->counts, sizeof(lane->counts));
	return 0;
}
