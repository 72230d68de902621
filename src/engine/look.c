/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking: at the kernel's numbers, and at the page that an engine leaves behind. Changes nothing, reads no packet.
 */
#include "engine/engine.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* What the socket says is asked behind the kernel's line: so a drop that belongs to an id is counted by then. */
static int add_socket(struct spw_queue *queue, struct lane_sample *sample, const struct spw_queue_stat *line)
{
	struct spw_socket_stat sock;
	int error = spw_queue_socket_stat(queue, &sock);

	if (error)
		return error;
	*sample = (struct lane_sample){
	    .ids = line->id_sequence,
	    .held = line->held,
	    .queue_dropped = line->queue_dropped,
	    .user_dropped = line->user_dropped,
	    .socket_drops = sock.drops,
	    .pressed = sock.used > sock.limit / 4 * 3,
	};
	return 0;
}

static bool same(const struct lane_sample *a, const struct lane_sample *b)
{
	return a->ids == b->ids && a->held == b->held && a->queue_dropped == b->queue_dropped &&
	       a->user_dropped == b->user_dropped && a->socket_drops == b->socket_drops;
}

int engine_look(struct spw_queue *queue, struct lane_sample *sample)
{
	struct spw_queue_stat line;
	int error = spw_queue_stat(queue, &line);

	return error ? error : add_socket(queue, sample, &line);
}

int engine_look_behind(struct spw_queue *queue, struct lane_sample *sample, bool careful, struct spw_queue_stat *line)
{
	struct lane_sample again;
	int error = add_socket(queue, sample, line);

	if (error || !careful)
		return error;
	error = spw_queue_stat(queue, line);
	if (!error)
		error = add_socket(queue, &again, line);
	if (error)
		return error;
	again.coherent = same(sample, &again);
	*sample = again;
	return 0;
}

void engine_snapshot(const struct engine_page *page, struct lane *copy)
{
	for (int i = 0; i < 1000; i++) {
		uint64_t before = __atomic_load_n(&page->commit, __ATOMIC_ACQUIRE), after;

		memcpy(copy, &page->snapshot[before & 1], sizeof(*copy));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		after = __atomic_load_n(&page->commit, __ATOMIC_RELAXED);
		/* An intent opened meanwhile wrote into the other one. */
		if ((after & 1) == (before & 1) && (after >> 2) - (before >> 2) <= 1)
			break;
		usleep(10);
	}
	if (copy->classes > CHANNEL_CLASSES)
		copy->classes = 0;
}
