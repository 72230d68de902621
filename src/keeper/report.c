/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the service manager is told about the run: that it is ready, how it is, that it lives. Reads pages; changes
 * nothing but what was told last.
 */
#include "keeper/internal.h"

#include <stdio.h>
#include <string.h>

#define READY_NS 10000000000ull

/*
 * An inspector that is broken must not keep the machine from starting what waits for us: from the first death on, or
 * when one takes very long, packets go by policy, and that is a state we are made for.
 */
static bool lane_ready(const struct keeper *k, const struct keeper_lane *l, uint64_t now)
{
	return l->inspector_deaths || k->board->lane[l - k->lane].inspector_state == INSPECTOR_RUNNING ||
	       now - k->service.started_ns >= READY_NS;
}

static void tell_ready(struct keeper *k, uint64_t now)
{
	struct keeper_service *v = &k->service;

	for (unsigned i = 0; i < k->lanes; i++)
		if (!lane_ready(k, &k->lane[i], now))
			return;
	v->ready = v->ready || !notify_send(&v->notify, -1, "READY=1");
}

/* "3 queues: 2 inspecting, 1 open; 2 of 2 inspectors are ready" */
static void say_status(const struct keeper *k, char *text, size_t size)
{
	unsigned states[STATES] = {0}, queues = 0, ready = 0;
	struct lane lane;

	for (unsigned n = 0; n < k->lanes; n++) {
		engine_snapshot(k->lane[n].page, &lane);
		queues += lane.classes;
		for (unsigned i = 0; i < lane.classes; i++)
			/* A probe may fail: no news. */
			states[lane.class[i].state == STATE_PROBING ? STATE_OPEN : lane.class[i].state]++;
		ready += k->board->lane[n].inspector_state == INSPECTOR_RUNNING;
	}
	snprintf(text, size, "%u queue%s: %u inspecting, %u open, %u shut; %u of %u inspectors ready", queues,
		 queues == 1 ? "" : "s", states[STATE_INSPECTING], states[STATE_OPEN], states[STATE_SHUT], ready,
		 k->lanes);
}

static void tell_status(struct keeper *k)
{
	struct keeper_service *v = &k->service;
	char text[sizeof(v->status)];

	say_status(k, text, sizeof(text));
	if (strcmp(text, v->status) != 0 && !notify_send(&v->notify, -1, "STATUS=%s", text))
		memcpy(v->status, text, sizeof(text));
}

/* Every engine's loop has turned since then: the engine itself, not we who started it, wrote the time. */
static bool engines_turn(const struct keeper *k, uint64_t since)
{
	for (unsigned i = 0; i < k->lanes; i++) {
		const struct keeper_lane *l = &k->lane[i];
		uint64_t ticked = __atomic_load_n(&l->page->ticked_ns, __ATOMIC_RELAXED);

		if (l->engine.pid <= 0 || ticked <= since || ticked <= l->engine.started_ns)
			return false;
	}
	return true;
}

static void tell_alive(struct keeper *k, uint64_t now)
{
	struct keeper_service *v = &k->service;

	if (!v->notify.watchdog_ns || now - v->alive_ns < v->notify.watchdog_ns / 2 || !engines_turn(k, v->alive_ns))
		return;
	if (!notify_send(&v->notify, -1, "WATCHDOG=1"))
		v->alive_ns = now;
}

void keeper_report(struct keeper *k, uint64_t now_ns)
{
	if (!k->service.notify.to_len || k->ends)
		return;
	if (!k->service.ready)
		tell_ready(k, now_ns);
	tell_status(k);
	tell_alive(k, now_ns);
}
