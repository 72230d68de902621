/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two pages between an inspector and its engine: layout, and nothing else. The inspector writes *answers*, the
 * engine writes *state*; each side treats the other's page as hostile and loads every field of it once. The protocol in
 * words: docs/protocol.md.
 */
#ifndef SPW_LANE_CHANNEL_H
#define SPW_LANE_CHANNEL_H

#include <stdint.h>

#define CHANNEL_VERSION      4u
#define CHANNEL_CLASSES      8u
#define CHANNEL_ANSWERS      8192u /* a power of two */
#define CHANNEL_PAYLOADS     64u
#define CHANNEL_PAYLOAD_SIZE 65536u
#define CHANNEL_WINDOW       1024u /* ids: how far an answer may run ahead of the oldest one not yet settled */
#define CHANNEL_POISON       64u
#define CHANNEL_TRUSTS       256u /* a power of two */

/* Verdicts beside the kernel's (enum spw_verdict_code). */
enum channel_verdict {
	CHANNEL_STALE = 16, /* read, but settled already: not inspected */
	CHANNEL_POISONED,   /* its flow is poison: not inspected, goes by the class's policy */
};

/* A bit of channel_answer.set beside SPW_VERDICT_*: the user's code was not asked, its earlier word on the flow held.
 */
#define CHANNEL_TRUSTED (1u << 16)

/* What an answer sets in the connection of its packet, where its `set` says so. */
struct channel_conntrack {
	uint32_t mark, mark_mask;
	uint32_t labels[4], labels_mask[4];
};

/*
 * One answer: every id from `first` to `last` was read, and this becomes of each. Answers of a class come in the order
 * of the ids; ids left out between two answers never came out of the socket. An *early* answer is for a single packet
 * that overtakes one not yet answered. Fixed size; numbers in host byte order.
 */
struct channel_answer {
	uint32_t first, last; /* ids */
	uint32_t verdict;     /* enum spw_verdict_code, enum channel_verdict */
	uint32_t set;         /* SPW_VERDICT_*, CHANNEL_TRUSTED */
	uint32_t mark;        /* where the class has a mark of its own: the packet's, else the verdict's */
	uint32_t priority;
	uint32_t payload; /* number of the payload slot */
	uint32_t payload_len;
	uint64_t bytes; /* length of the packets, by the inspector's word */
	uint16_t queue; /* SPW_QUEUE: where to */
	uint8_t class;  /* index of the class in the lane */
	uint8_t early;  /* 1: see above */
	uint32_t reserved;
	struct channel_conntrack conntrack; /* with SPW_VERDICT_CT_MARK, SPW_VERDICT_CT_LABELS */
};
_Static_assert(sizeof(struct channel_answer) == 88, "an answer has no padding");

/* The packet that the user's code is looking at; read by the keeper once the inspector is dead. */
struct channel_hand {
	uint64_t flow; /* keyed hash of its flow; 0: it has none */
	uint32_t id;
	uint16_t class;
	uint16_t busy; /* 1: the user's code has it */
};

/* A flow that the inspector needs no more of, for the gate. In any order of its ends. */
struct channel_trust {
	uint8_t address[2][16]; /* as on the wire; IPv4: the first four bytes */
	uint16_t port[2];       /* host byte order */
	uint8_t family;         /* 4 or 6 */
	uint8_t protocol;
	uint8_t class;
	uint8_t reserved;
};

/* Written by the inspector. */
struct channel_answers {
	_Alignas(64) uint64_t produced; /* answers ever written */
	uint32_t ready;                 /* 1: the inspector is set up and wants packets */
	uint32_t copy_range;            /* bytes of each packet that it wants; 0: all. Set before `ready` */
	struct channel_hand hand;
	_Alignas(64) struct channel_answer ring[CHANNEL_ANSWERS];
	_Alignas(4096) uint8_t payload[CHANNEL_PAYLOADS][CHANNEL_PAYLOAD_SIZE];
	_Alignas(64) uint64_t trusts; /* ever written; the oldest are overwritten where nobody takes them */
	_Alignas(64) struct channel_trust trust[CHANNEL_TRUSTS];
};

/* When the engine is to be woken; bits. */
enum channel_ring {
	CHANNEL_RING_ANSWER = 1,  /* after writing an answer: it sleeps */
	CHANNEL_RING_ARRIVAL = 2, /* before receiving: it has not looked for a while, since nothing came */
};

/* What the inspector may know of a class. */
struct channel_class {
	uint64_t settled;   /* every id up to here is decided: no answer is wanted any more */
	uint64_t rounds;    /* raised each time that packets may have gone round the inspector unseen */
	uint32_t queue;     /* queue number */
	int32_t priority;   /* the higher is received first */
	uint32_t has_mark;  /* 1: every packet is answered on its own, with its mark */
	uint32_t conntrack; /* 1: answers may set what is in the connection */
	/* Set in the connection by the answer to a trusted packet behind which nothing waits; mask 0: not */
	uint32_t trust_mark, trust_mask;
};

/* Written by the engine; the inspector has it read-only. */
struct channel_state {
	uint32_t version;
	uint32_t classes;
	uint64_t consumed; /* answers of the active inspector taken so far */
	uint32_t active;   /* number of the inspector that may receive; 0: none, finish what is in hand and leave */
	uint32_t ring;     /* the bell: enum channel_ring */
	uint64_t key[2];   /* of the flow hash (SipHash-2-4) */
	struct channel_class class[CHANNEL_CLASSES];
	uint64_t poison[CHANNEL_POISON]; /* hashes of flows that are not to be inspected; 0: none */
};

/*
 * How an inspector finds its lane: the environment variable SPILLWAY_INSPECTOR holds these words. The descriptors of
 * the classes' sockets follow each other, from `socket` on. `bell` wakes the engine, `wake` the inspector (both
 * eventfds); `lease` is at its end of file when the inspector has to leave.
 */
#define CHANNEL_ENV        "SPILLWAY_INSPECTOR"
#define CHANNEL_ENV_FORMAT "version=%u inspector=%u classes=%u socket=%d answers=%d state=%d bell=%d wake=%d lease=%d"

#endif
