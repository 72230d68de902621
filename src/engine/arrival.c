/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Being woken by the next arrival at a class to which nothing comes: so that a quiet lane need not be looked at all the
 * time, and its first packet's time is known. Costs the packets of a busy lane nothing. Reads no packet.
 *
 * By the socket, where the inspector does not read it; one that does may have emptied it before the kernel looks
 * whether it still is a reason to wake us, so it rings the bell first. And by the gate, where there is one, which asks
 * no inspector.
 */
#include "engine/internal.h"

#include <sys/epoll.h>
#include <unistd.h>

void engine_arrivals_open(struct engine *e)
{
	/* Without it, the lane is looked at all the time. */
	e->arrivals = epoll_create1(EPOLL_CLOEXEC);
}

/* Edge-triggered: of messages that lie there for long, it tells once. */
static bool await(struct engine *e, unsigned i)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = i};

	if (e->arrivals < 0 || epoll_ctl(e->arrivals, EPOLL_CTL_ADD, spw_queue_fd(e->queue[i]), &event))
		return false;
	e->awaited |= 1u << i;
	return true;
}

void engine_await_bell(struct engine *e, unsigned i)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

	if (e->arrivals >= 0 && !epoll_ctl(e->arrivals, EPOLL_CTL_ADD, e->gate[i].fd[GATE_FD_BELL], &event))
		e->rings |= 1u << i;
}

static void forget(struct engine *e, unsigned i)
{
	(void)epoll_ctl(e->arrivals, EPOLL_CTL_DEL, spw_queue_fd(e->queue[i]), NULL);
	e->awaited &= ~(1u << i);
}

void engine_ring(struct engine *e, uint32_t when)
{
	when |= e->awaited ? CHANNEL_RING_ARRIVAL : 0;
	__atomic_store_n(&e->state->ring, when, __ATOMIC_SEQ_CST);
}

bool engine_await_arrivals(struct engine *e)
{
	bool more = false;

	for (unsigned i = 0; i < e->lane.classes; i++) {
		bool calm = lane_calm(&e->lane.class[i]), awaited = e->awaited & 1u << i;

		if (calm && !awaited)
			more |= await(e, i);
		else if (!calm && awaited)
			forget(e, i);
	}
	/* Before that look: what comes after it is received after this. */
	if (more)
		engine_ring(e, 0);
	return more;
}

void engine_arrived(struct engine *e)
{
	struct epoll_event event[CHANNEL_CLASSES];
	int n = epoll_wait(e->arrivals, event, CHANNEL_CLASSES, 0);

	for (int k = 0; k < n; k++)
		lane_stirred(&e->lane.class[event[k].data.u32]);
}
