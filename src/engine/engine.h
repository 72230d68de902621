/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine: the driver around the pure core. Alone sends verdicts, reads no packet. Here: what keeper and engine
 * share.
 */
#ifndef SPW_ENGINE_ENGINE_H
#define SPW_ENGINE_ENGINE_H

#include "gate/gate.h"
#include "lane/lane.h"
#include "lane/load.h"

#include <spillway/queue.h>

#include <sys/types.h>

/* Descriptors that an engine is born with. */
enum engine_fd {
	ENGINE_FD_SOCKET = 600,                              /* the classes' netlink sockets, one after the other */
	ENGINE_FD_PROC = ENGINE_FD_SOCKET + CHANNEL_CLASSES, /* /proc/net/netfilter/nfnetlink_queue */
	ENGINE_FD_PAGE,                                      /* struct engine_page */
	ENGINE_FD_STATE,                                     /* struct channel_state */
	ENGINE_FD_STATE_READ,                                /* the same, read-only: held for whoever takes over */
	ENGINE_FD_BELL,
	ENGINE_FD_WAKE,
	ENGINE_FD_KEEPER,     /* SOCK_SEQPACKET: requests come, replies go */
	ENGINE_FD_LEASE,      /* write end; only held: the inspector leaves when nobody holds it any more */
	ENGINE_FD_LEASE_READ, /* held for whoever takes over */
	ENGINE_FD_LISTENER,   /* where a new keeper knocks when ours is dead */
	ENGINE_FD_ANSWERS, /* struct channel_answers of the present inspector, if there is one; the next one's comes by
			      request */
	ENGINE_FD_INSPECTOR, /* its pidfd, if it has one; held for whoever takes over */
	ENGINE_FD_END,
	ENGINE_FD_GATE = 740, /* enum gate_fd, class by class; not there: no gate stands before the class */
	ENGINE_FD_GATE_END = ENGINE_FD_GATE + CHANNEL_CLASSES * GATE_FDS
};

/* What a keeper that takes over gets, in this order; the classes' sockets go before. */
enum engine_gift {
	GIFT_PROC,
	GIFT_PAGE,
	GIFT_STATE,
	GIFT_STATE_READ,
	GIFT_BELL,
	GIFT_WAKE,
	GIFT_LEASE,
	GIFT_LEASE_READ,
	GIFT_LISTENER,
	GIFT_ENGINE, /* pidfd */
	GIFTS,
	GIFT_ANSWERS = GIFTS, /* only where there is an inspector, */
	GIFT_INSPECTOR,       /* and it is not known to be dead */
	GIFTS_MAX
};

#define ENGINE_PAGE_VERSION 8u

/* Connections that the rules let pass by their mark. */
enum engine_marked_kind { ENGINE_MARKED_TRUSTED, ENGINE_MARKED_SPILLED, ENGINE_MARKED };

/* Verdicts of one step: as many as there are orders, some of them with a whole packet. */
#define ENGINE_INTENT_BYTES (LANE_PAYLOADS * (SPW_PAYLOAD_MAX + 128u) + LANE_ORDERS * 128u)

/*
 * What survives the engine: seen by keeper, engine and control only; the engine writes. A step's whole outcome is
 * written into the other snapshot and its messages into `intent` before they are sent; committing is one store. Whoever
 * comes after an engine that died in between sends them again: a verdict for a settled id does nothing.
 */
struct engine_page {
	uint32_t version;
	uint32_t classes;
	uint16_t queue[CHANNEL_CLASSES];
	/* While inspecting; length and flags differ from the lane's as long as a change is half done. */
	struct spw_queue_config config[CHANNEL_CLASSES];
	uint64_t busy_ns;    /* so long after an answer the engine looks for the next one without sleeping */
	uint64_t orphan_ns;  /* without a keeper for so long: settle and leave */
	uint32_t inspectors; /* number of the last one made */
	uint32_t lied;       /* enum lane_result of an answer that did not hold; 0: none */
	uint64_t discarding; /* bits: classes of which messages are being thrown away, not yet noted */
	uint64_t ticked_ns;  /* the engine's loop was here, CLOCK_MONOTONIC */
	uint64_t commit;     /* bit 0: which snapshot holds; bit 1: an intent is open; above: counts */
	uint32_t intent_bytes[CHANNEL_CLASSES];
	struct lane snapshot[2];
	struct load load[CHANNEL_CLASSES];          /* of classes behind a gate; a successor goes on with it */
	uint64_t gate_bytes[CHANNEL_CLASSES];       /* in flight, from which on the gate lets in no new flow */
	struct gate_cpu gate_base[CHANNEL_CLASSES]; /* what it had counted when the lane was made */
	uint64_t gated;                             /* bits: classes whose base is noted */
	/* Packets that passed before the queue by their connections' mark, by the rules' counters; the keeper writes.
	 */
	struct engine_marked {
		uint64_t base, passed; /* what the counter has counted since the first reading: it, less its base */
		bool begun;
	} marked[CHANNEL_CLASSES][ENGINE_MARKED];
	uint64_t cutoff; /* bytes of a flow, from which on it may be shed */
	struct lane_early early[CHANNEL_CLASSES][CHANNEL_WINDOW];
	uint8_t intent[ENGINE_INTENT_BYTES];
};

enum engine_op {
	/* value: its number, 0: there is none; long_value 1: it is dead, ENGINE_GONE follows; descriptors: its answers,
	 * its pidfd. First of all requests */
	ENGINE_INSPECTOR,
	ENGINE_GONE,          /* the inspector has ended; value: enum lane_reason */
	ENGINE_LEAVE,         /* let the inspector finish and leave */
	ENGINE_DOWN_LONG,     /* there will be no inspector soon */
	ENGINE_NOT_HUNG,      /* it merely lacked a CPU */
	ENGINE_POISON,        /* long_value: the flow's hash; value: slot in state.poison */
	ENGINE_COUNTER,       /* long_value: what the class's counter has beyond; value: enum engine_counter */
	ENGINE_SET_FAIL_OPEN, /* value: 0 or 1 */
	ENGINE_SET_LENGTH,
	ENGINE_TURN,     /* by hand: value 1: open or shut by policy, 0: inspect again */
	ENGINE_STOP,     /* value: enum lane_reason; settle what is held by policy, give the queues back, leave */
	ENGINE_HANDOVER, /* leave as you are: another engine takes over */
	ENGINE_WORD,     /* engine to keeper, unasked: look at the page */
	ENGINE_OPS
};

enum engine_counter { COUNTER_SAME, COUNTER_OTHER, COUNTER_NONE };

struct engine_request {
	uint32_t op;
	uint32_t class;
	uint32_t value;
	uint32_t number; /* of the request: a late reply is not taken for another's */
	int64_t long_value;
};

struct engine_reply {
	uint32_t op;
	uint32_t number;
	int32_t error; /* 0 or a negative errno */
	char text[244];
};

/* What a new keeper says when it knocks, and what it is answered. */
struct engine_knock {
	uint32_t magic, version; /* ENGINE_KNOCK_MAGIC, ENGINE_PAGE_VERSION */
};
#define ENGINE_KNOCK_MAGIC 0x5350574bu

/* Whether the other end of a takeover's socket is root's, or this user's: it could be handed, or make us map, anything.
 */
bool engine_peer_trusted(int fd, uid_t ours);

/* The engine process: everything comes by the descriptors above. Returns an exit status. */
int engine_main(void);

/* Looks at the kernel's numbers. 0 or a negative errno (-ENODEV: the queue is gone). */
int engine_look(struct spw_queue *queue, struct lane_sample *sample);
/* The same from *line, its queue's, that was read just now; `careful`: reads it anew, and says whether both agree. */
int engine_look_behind(struct spw_queue *queue, struct lane_sample *sample, bool careful, struct spw_queue_stat *line);

/* The snapshot that holds, copied whole even while the engine writes. */
void engine_snapshot(const struct engine_page *page, struct lane *copy);

#endif
