/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An inspector's end of a lane, as the files of src/inspect share it: attached (attach.c), received (intake.c), shown
 * and answered (deliver.c), for the pull interface (pull.c) and the push interface (run.c). Private to this directory.
 */
#ifndef SPW_INSPECT_INSPECT_H
#define SPW_INSPECT_INSPECT_H

#include "inspect/answer.h"
#include "inspect/trust.h"
#include "inspect/window.h"

#include <spillway/inspector.h>

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#define WINDOW_DEFAULT 256u
#define WINDOW_MOST    1024u

/* A receive buffer and the packet in it. */
struct slot {
	struct spw_packet packet;
	struct spw_gap gap;
	uint64_t handle; /* of the packet in hand; 0: none */
	uint64_t number; /* in its class's window */
	uint8_t class;
	struct slot *older, *newer; /* in hand, in the order they were shown */
};

/* What is known of a class. */
struct intake {
	uint64_t read;      /* the last id that was received */
	uint64_t rounds;    /* as of the last packet shown */
	struct spw_gap gap; /* since the last packet shown */
};

struct spw_lane {
	/* attached */
	struct channel_answers *answers;
	const struct channel_state *state;
	unsigned classes;
	int socket; /* of the first class; the others' follow */
	int wake, lease;
	uint32_t sandbox;
	bool was_active, leaving;

	/* receive buffers: a stack of free ones that grows downwards, so that the last one freed is used first */
	unsigned slots, free; /* free: index of the first free one; those before it hold packets */
	uint8_t *memory;
	struct slot *slot;
	struct mmsghdr *header;
	struct iovec *iov;

	/* the batch received last, not yet all shown */
	struct slot **batch;
	unsigned batch_len, batch_next;
	unsigned ready;   /* bit per class: its socket may have packets */
	bool ready_known; /* polled since the last batch */

	/* shown and answered */
	struct answerer pen;
	struct intake intake[CHANNEL_CLASSES];
	struct window *window; /* one a class */
	struct trust *trust;
	uint64_t now_s; /* when the batch came */
	uint64_t poison[CHANNEL_POISON];
	unsigned poisons;
	struct slot *oldest, *newest; /* in hand */
	uint64_t handles;
	struct spw_counts counts;
};

/* attach.c */

/* True once nothing more is to be received: another inspector is active, or nobody wants one. */
bool lane_leaving(struct spw_lane *lane);

/* Waits up to timeout_ms (negative: without end) for packets, a change of the engine's or the end. 0 or -EINTR. */
int lane_wait(struct spw_lane *lane, int timeout_ms);

/* True where a class could be received from, did it have packets. */
bool lane_can_receive(struct spw_lane *lane);

/* Waits until there is room for an answer. False: there will be none, the engine or the lane has gone. */
bool lane_wait_for_room(struct spw_lane *lane);

/* The keeper and the engine are gone. */
bool lane_lease_ended(struct spw_lane *lane);

/* intake.c */

/* Allocates the receive buffers. 0 or -ENOMEM. */
int intake_new(struct spw_lane *lane, unsigned slots);
void intake_free(struct spw_lane *lane);

/*
 * Receives at most `max` packets of the class with the highest priority that has any; nothing of the batch before may
 * be left. Returns the number of messages received, 0: there are none; or a negative errno.
 */
int intake_receive(struct spw_lane *lane, unsigned max);

/* Gives a buffer back. */
void intake_release(struct spw_lane *lane, struct slot *slot);

/* deliver.c */

/* Begins to take packets of the lane's classes: it is active now. */
void deliver_start(struct spw_lane *lane);

/*
 * The next packet of the batch that is to be shown; those before it that aren't are answered. NULL: the batch is at its
 * end, or the lane is (lane->leaving).
 */
struct slot *deliver_next(struct spw_lane *lane);

/* Answers a packet in hand, and gives its buffer back unless it fails: as spw_lane_verdict(). */
int deliver_verdict(struct spw_lane *lane, struct slot *slot, const struct spw_verdict *verdict);

/* Puts what may leave by now and publishes it. */
void deliver_publish(struct spw_lane *lane);

#endif
