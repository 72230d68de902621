/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two pages between an inspector and its engine: layout, and nothing else. The inspector writes *answers*, the
 * engine writes *state*; each side treats the other's page as hostile and loads every field of it once.
 */
#ifndef SPW_LANE_CHANNEL_H
#define SPW_LANE_CHANNEL_H

#include <stdint.h>

#define CHANNEL_VERSION      1u
#define CHANNEL_ANSWERS      8192u /* a power of two */
#define CHANNEL_PAYLOADS     64u
#define CHANNEL_PAYLOAD_SIZE 65536u

/*
 * One answer: everything after the id of the answer before, up to and including `last`, of which `count` packets were
 * read. Ids of the range that were not read never fitted into the socket. Fixed size; numbers in host byte order.
 */
struct channel_answer {
	uint32_t last;    /* id */
	uint32_t count;   /* 1 unless the verdict is plain accept or drop */
	uint32_t verdict; /* enum spw_verdict_code */
	uint32_t set;     /* SPW_VERDICT_* */
	uint32_t mark;
	uint32_t priority;
	uint32_t payload; /* number of the payload slot */
	uint32_t payload_len;
	uint64_t bytes; /* length of the packets read, by the inspector's word */
	uint16_t queue; /* SPW_QUEUE: where to */
	uint16_t class; /* index of the class in the lane */
	uint32_t reserved;
};
_Static_assert(sizeof(struct channel_answer) == 48, "an answer has no padding");

/* Written by the inspector. */
struct channel_answers {
	_Alignas(64) uint64_t produced; /* answers ever written */
	uint32_t ready;                 /* 1: the inspector is set up and wants packets */
	_Alignas(64) struct channel_answer ring[CHANNEL_ANSWERS];
	_Alignas(4096) uint8_t payload[CHANNEL_PAYLOADS][CHANNEL_PAYLOAD_SIZE];
};

/* Written by the engine; the inspector has it read-only. */
struct channel_state {
	uint64_t consumed; /* answers ever taken */
	uint32_t version;
	uint32_t engine_sleeps; /* 1: ring the bell after writing an answer */
};

/*
 * How an inspector finds its lane: the environment variable SPILLWAY_INSPECTOR holds
 * "version=1 answers=FD state=FD bell=FD lease=FD socket=FD queue=N".
 */
#define CHANNEL_ENV        "SPILLWAY_INSPECTOR"
#define CHANNEL_ENV_FORMAT "version=%u answers=%d state=%d bell=%d lease=%d socket=%d queue=%u"

#endif
