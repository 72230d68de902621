/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last resort: no engine can be started, or none knows what is left of a run before, but packets are held that
 * shall pass. The only place where the keeper sends a verdict; reads no packet, and writes no books: those are an
 * engine's.
 */
#include "keeper/internal.h"

#include <errno.h>
#include <time.h>

#define ROUNDS 1000 /* of a millisecond each, at most */

/* All that is held, and all that comes, goes on to where it was going. */
static int open_queue(struct spw_queue *queue)
{
	const struct spw_queue_config open = {.size = sizeof(open),
					      .copy_mode = SPW_COPY_META,
					      .mask = SPW_FAIL_OPEN | SPW_GSO,
					      .flags = SPW_FAIL_OPEN | SPW_GSO};

	return spw_queue_configure(queue, &open);
}

static int accept_held(struct spw_queue *queue, uint16_t number, uint64_t *passed)
{
	const struct spw_verdict accept = {.size = sizeof(accept), .code = SPW_ACCEPT};
	const struct timespec pause = {.tv_nsec = 1000000};
	struct spw_verdicts *list = NULL;
	struct spw_queue_stat stat;
	int error = spw_queue_stat(queue, &stat);

	*passed += error ? 0 : stat.held;
	for (int i = 0; i < ROUNDS && !error && stat.held; i++) {
		list = list ? list : spw_verdicts_new(0);
		error = list ? spw_verdicts_add_batch(list, number, stat.id_sequence, &accept) : -ENOMEM;
		if (error)
			break;
		(void)spw_verdicts_send(list, spw_queue_fd(queue));
		nanosleep(&pause, NULL);
		error = spw_queue_stat(queue, &stat);
	}
	spw_verdicts_free(list);
	return error;
}

/* An open queue. */
static int give_back(struct spw_queue *queue, uint64_t *passed)
{
	int error = accept_held(queue, spw_queue_number(queue), passed);

	return error ? error : spw_queue_unbind(queue);
}

int keeper_release(struct spw_queue *queue, bool shut, uint64_t *held)
{
	struct spw_queue_stat stat;
	int error;

	*held = 0;
	if (!shut) {
		error = open_queue(queue);
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
		if (!l->queue[i] || lane_shuts(&lane.class[i].config, reason) || open_queue(l->queue[i]))
			continue;
		error = give_back(l->queue[i], passed);
	}
	return error;
}
