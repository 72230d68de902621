/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking at the kernel's numbers, and letting go of everything that is held. Used by the engine, and by the keeper
 * where the engine is dead. Reads no packet.
 */
#include "engine/engine.h"

#include <errno.h>
#include <time.h>

#define ROUNDS                                                                                                         \
	1000 /* of a millisecond each: held packets leave inside the verdict call, so one round nearly always does */

int engine_look(struct spw_queue *queue, struct lane_sample *sample)
{
	struct spw_queue_stat line;
	struct spw_socket_stat sock;
	int error = spw_queue_stat(queue, &line);

	if (!error)
		error = spw_queue_socket_stat(queue, &sock);
	if (error)
		return error;
	*sample = (struct lane_sample){
	    .ids = line.id_sequence,
	    .held = line.held,
	    .queue_dropped = line.queue_dropped,
	    .user_dropped = line.user_dropped,
	    .socket_drops = sock.drops,
	};
	return 0;
}

static int release_all(struct spw_queue *queue, struct spw_verdicts *list, uint32_t upto, bool open)
{
	struct spw_verdict v = {.size = sizeof(v), .code = open ? SPW_ACCEPT : SPW_DROP};
	int error = spw_verdicts_add_batch(list, spw_queue_number(queue), upto, &v);

	return error ? error : spw_verdicts_send(list, spw_queue_fd(queue));
}

static int until_empty(struct spw_queue *queue, struct spw_verdicts *list, struct lane_sample now, bool open)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < ROUNDS; i++) {
		int error = release_all(queue, list, now.ids, open);

		if (!error)
			error = engine_look(queue, &now);
		if (error || !now.held)
			return error;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

int engine_settle(struct spw_queue *queue, struct lane_class *c, enum lane_reason reason)
{
	struct spw_verdicts *list = spw_verdicts_new(0);
	struct lane_sample now;
	int error;

	if (!list)
		return -ENOMEM;
	error = spw_queue_set_length(queue, 0);
	if (!error)
		error = engine_look(queue, &now);
	if (!error) {
		lane_settle(c, &now, reason);
		error = until_empty(queue, list, now, c->fail_open);
	}
	/* Whoever else still has the socket open must not keep the number: a bypass rule passes packets only where
	 * nobody is bound. */
	if (!error)
		error = spw_queue_unbind(queue);
	spw_verdicts_free(list);
	return error;
}
