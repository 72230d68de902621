/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine: the driver around the pure core. Alone sends verdicts, reads no packet. Here: what keeper and engine
 * share.
 */
#ifndef SPW_ENGINE_ENGINE_H
#define SPW_ENGINE_ENGINE_H

#include "lane/lane.h"

#include <spillway/queue.h>

/* Descriptors that an engine is born with. */
enum engine_fd {
	ENGINE_FD_SOCKET = 600, /* the queue's netlink socket */
	ENGINE_FD_PROC,         /* /proc/net/netfilter/nfnetlink_queue */
	ENGINE_FD_PAGE,         /* struct engine_page */
	ENGINE_FD_ANSWERS,      /* struct channel_answers */
	ENGINE_FD_STATE,        /* struct channel_state */
	ENGINE_FD_BELL,
	ENGINE_FD_KEEPER, /* SOCK_SEQPACKET: requests come, replies go */
	ENGINE_FD_LEASE,  /* write end; only held: the inspector leaves when nobody holds it any more */
	ENGINE_FD_END
};

#define ENGINE_PAGE_VERSION 1u

/* What survives the engine: seen by keeper and engine only. The engine writes, in place. */
struct engine_page {
	uint32_t version;
	uint32_t sequence; /* odd while being written */
	uint16_t queue;
	struct spw_queue_config config; /* as the keeper bound it, then as the engine changed it */
	uint32_t lied;                  /* enum lane_result of an answer that did not hold; 0: none */
	struct lane_class class;
};

enum engine_op {
	ENGINE_SET_FAIL_OPEN, /* value: 0 or 1 */
	ENGINE_SET_LENGTH,
	ENGINE_STOP, /* value: enum lane_reason; settle what is held by policy, reply, leave */
	ENGINE_LIED, /* engine to keeper, unasked: value is the enum lane_result of the inspector's answer */
};

struct engine_request {
	uint32_t op;
	uint32_t value;
	uint32_t number; /* the reply has the same: a late one is not taken for another's */
};

struct engine_reply {
	uint32_t op;
	uint32_t number;
	uint32_t value;
	int32_t error; /* 0 or a negative errno */
	char text[244];
};

/* The engine process: everything comes by the descriptors above. Returns an exit status. */
int engine_main(void);

/* Looks at the kernel's numbers. 0 or a negative errno (-ENODEV: the queue is gone). */
int engine_look(struct spw_queue *queue, struct lane_sample *sample);

/*
 * Stopping without loss: lets the kernel take no more packets (by policy: pass or drop them), settles all that is held
 * by policy, books it for `reason`, and gives the queue's number back. Returns 0, or a negative errno where the kernel
 * still holds something.
 */
int engine_settle(struct spw_queue *queue, struct lane_class *c, enum lane_reason reason);

#endif
