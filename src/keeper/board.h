/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the keeper shows to the control process, and what that may ask of it: a page that the keeper writes and control
 * reads, and requests of fixed size. No text goes to the keeper.
 */
#ifndef SPW_KEEPER_BOARD_H
#define SPW_KEEPER_BOARD_H

#include "lane/lane.h"

#include <stdint.h>

#define BOARD_VERSION 4u
#define KEEPER_LANES  32u /* at most in one run */

/* Descriptors that the control process is born with. */
enum control_fd {
	CONTROL_FD_LISTENER = 700, /* the control socket: bound, listening, its mode set */
	CONTROL_FD_KEEPER, /* SOCK_SEQPACKET: struct ask goes out, struct ask_reply comes in; end of file: leave */
	CONTROL_FD_BOARD,  /* struct board, read-only */
	CONTROL_FD_PAGE,   /* struct engine_page of the first lane, read-only; the other lanes' follow */
	CONTROL_FD_END = CONTROL_FD_PAGE + KEEPER_LANES
};

/* In the order of the contract's words. */
enum board_inspector {
	INSPECTOR_DOWN,     /* there is none; one will be started */
	INSPECTOR_STARTING, /* not ready yet */
	INSPECTOR_RUNNING,  /* the sandbox is complete and it is ready */
	INSPECTOR_HUNG,     /* makes no progress; it is being replaced */
	INSPECTOR_LOOPING,  /* each one dies soon; the next is started after a pause */
	INSPECTOR_STATES
};

/* In the order of the words in control/status.c. */
enum board_engine {
	BOARD_ENGINE_DOWN, /* there is none; one will be started */
	BOARD_ENGINE_RUNNING,
	BOARD_ENGINE_LOOPING, /* each one dies soon: packets go by policy, the next is started after a pause */
	BOARD_ENGINES
};

struct board_process {
	int32_t pid; /* 0: none */
	uint32_t restarts;
};

/* A class's gate: what it has counted, see enum gate_column, and what it goes by under load. */
struct board_gate {
	uint64_t there; /* 1 */
	uint64_t admitted, admitted_bytes, trusted;
	uint64_t spilled[REASONS], shut[REASONS];
	uint64_t slot_missed, cut_short, flows, flows_shed;
	uint64_t share, cutoff; /* of new flows, to GATE_ALL; bytes of a flow, 0: none */
};

/* Packets that it has decided about itself. */
static inline uint64_t board_gate_passed(const struct board_gate *g)
{
	uint64_t sum = __atomic_load_n(&g->trusted, __ATOMIC_RELAXED);

	for (unsigned r = 0; r < REASONS; r++)
		sum +=
		    __atomic_load_n(&g->spilled[r], __ATOMIC_RELAXED) + __atomic_load_n(&g->shut[r], __ATOMIC_RELAXED);
	return sum;
}

struct board_lane {
	uint16_t lane; /* its number: that of its first queue */
	struct board_process engine, inspector;
	uint32_t engine_state;           /* enum board_engine */
	uint32_t inspector_state;        /* enum board_inspector */
	int32_t filters;                 /* system call filters on the inspector, as the kernel tells; -1: unknown */
	int64_t buffer[CHANNEL_CLASSES]; /* bytes of socket buffer got */
	struct board_gate gate[CHANNEL_CLASSES];
};

/* Written by the keeper alone, field by field; each is loaded once. */
struct board {
	uint32_t version;
	int32_t keeper_pid;
	int64_t since_s, since_ns; /* CLOCK_REALTIME */
	uint32_t lanes;
	uint32_t report_only;
	struct board_lane lane[KEEPER_LANES];
};

enum ask_op {
	ASK_FAIL_OPEN, /* value: 0 or 1 */
	ASK_LENGTH,    /* value: packets */
	ASK_TURN,      /* value 1: open (or shut, by policy) by hand; 0: inspect again */
	ASK_UPGRADE,   /* replace keeper, engines and inspectors by what now lies where they were started from */
	ASK_NOTHING,   /* the answer to ASK_REPLY_THERE; has none itself */
	ASK_OPS
};

struct ask {
	uint32_t op;
	uint32_t number; /* the reply has the same */
	uint32_t queue;  /* the class's queue number; ASK_UPGRADE: 0 */
	uint32_t value;
};

#define ASK_REPLY_LEAVE 0u         /* another control process takes over: serve who is connected, and leave */
#define ASK_REPLY_THERE UINT32_MAX /* are you there? */

/* May come long after the request (ASK_UPGRADE: half a minute), and in any order. */
struct ask_reply {
	uint32_t number; /* the request's, or one of these two */
	int32_t exit;    /* the contract's exit status: 0 done */
	char text[248];  /* where exit is not 0: "what: why; what to do" */
};

#endif
