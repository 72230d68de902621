/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An inspector with a loop of its own, that answers out of order: UDP to port 9000 waits until something else has been
 * answered, or 50 ms. It stands for one that asks somebody about some packets, and must not hold up the others.
 *
 *     cc -o puller puller.c $(pkg-config --cflags --libs spillway)
 *     spillway run --queue 0 --inspect exec:./puller
 */
#include <errno.h>
#include <netinet/in.h>
#include <spillway/inspector.h>
#include <stdio.h>
#include <string.h>

#define WINDOW  512u
#define WAIT_MS 50

static struct spw_event events[WINDOW];
static uint64_t waiting[WINDOW];
static unsigned waiters;

static void answer(struct spw_lane *lane, uint64_t handle)
{
	const struct spw_verdict accept = {.size = sizeof(accept), .code = SPW_ACCEPT};

	(void)spw_lane_verdict(lane, handle, &accept);
}

static void answer_waiting(struct spw_lane *lane)
{
	for (unsigned i = 0; i < waiters; i++)
		answer(lane, waiting[i]);
	waiters = 0;
}

static int has_to_wait(const struct spw_packet *p)
{
	struct spw_headers h = {.size = sizeof(h)};

	return !spw_packet_headers(p, &h) && h.protocol == IPPROTO_UDP && h.destination_port == 9000;
}

/* The packets that came: those that need no thought first, then the ones that waited. */
static void answer_all(struct spw_lane *lane, unsigned n)
{
	const unsigned before = waiters;

	for (unsigned i = 0; i < n; i++) {
		if (has_to_wait(events[i].packet))
			waiting[waiters++] = events[i].handle;
		else
			answer(lane, events[i].handle);
	}
	if (waiters - before < n || waiters == WINDOW)
		answer_waiting(lane);
}

static int serve(struct spw_lane *lane)
{
	for (;;) {
		const int n = spw_lane_next(lane, events, WINDOW - waiters, waiters ? WAIT_MS : -1);

		if (n > 0)
			answer_all(lane, (unsigned)n);
		else
			answer_waiting(lane);
		if (n < 0 && n != -EINTR)
			return n == -ESHUTDOWN ? 0 : n;
	}
}

int main(void)
{
	const struct spw_lane_config config = {.size = sizeof(config), .copy_range = 256, .window = WINDOW};
	struct spw_lane *lane = NULL;
	int error = spw_lane_attach(&lane, &config);

	if (!error)
		error = spw_lane_ready(lane);
	if (!error)
		error = serve(lane);
	spw_lane_detach(lane);
	if (error)
		fprintf(stderr, "puller: %s\n", strerror(-error));
	return error ? 1 : 0;
}
