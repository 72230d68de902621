/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the gate's program and user space share: the page, the counters, the flow table's keys and values. Layout and
 * nothing else; compiled for both sides. Whatever changes here changes GATE_VERSION.
 */
#ifndef SPW_GATE_LAYOUT_H
#define SPW_GATE_LAYOUT_H

#include "lane/lane.h" /* enum lane_reason */

#include <stddef.h>
#include <stdint.h>

#define GATE_VERSION 3u
#define GATE_RING    65536u /* admissions whose bytes are remembered: what a kernel's queue holds at most */
#define GATE_ALL     65536u /* the share of new flows that means all of them */

enum gate_mode {
	GATE_MODE_ADMIT, /* by flow and limits */
	GATE_MODE_SPILL, /* everything goes on, uninspected */
	GATE_MODE_SHUT,  /* everything is dropped; but trusted flows go on, unless the reason is `manual` */
};

/* What a flow is. A new one is inspected, unless load or a limit forbids. */
enum gate_state { GATE_FLOW_INSPECT, GATE_FLOW_TRUSTED, GATE_FLOW_SPILLED, GATE_FLOW_SHUT, GATE_FLOW_STATES };

/* Where a packet is booked: each in exactly one column. */
enum gate_column {
	GATE_ADMITTED, /* to the queue */
	GATE_TRUSTED,
	GATE_SPILLED_BY,                          /* and the columns behind it: + enum lane_reason */
	GATE_SHUT_BY = GATE_SPILLED_BY + REASONS, /* the same */
	GATE_COLUMNS = GATE_SHUT_BY + REASONS,
};

/*
 * One a class. Each field has one writer; all are single words, so that nobody reads half a change. Times are
 * CLOCK_MONOTONIC in ns; the program reads that clock to a tick (1 to 10 ms), behind the true time.
 */
struct gate_page {
	/* Once, before the page is used. */
	uint32_t version; /* GATE_VERSION */
	uint32_t flows;   /* capacity of each table of flows */
	uint64_t seed;    /* of the draw for new flows */

	/* User space, seldom: gate_set_*(). 0 as a limit: none. What each packet asks for stands in one cache line, */
	_Alignas(64) uint32_t mode; /* enum gate_mode | enum lane_reason << 8 */
	uint32_t shut_reasons;      /* bits 1 << enum lane_reason: there the gate drops; else it spills */
	uint32_t shuts;  /* 1: something may be dropped, so packets are noted for the second rule; never reset */
	uint32_t share;  /* of new flows that are inspected, 0 to GATE_ALL */
	uint64_t cutoff; /* bytes: a flow of which so many were admitted is spilled from there on; 0: no flow */
	uint64_t limit_packets, limit_bytes; /* in flight: from there on no new flow, from twice that on nothing */
	uint64_t limit_tick_ns;              /* without a look of the engine, after which it is `down` */
	uint64_t idle_ns;                    /* a flow that is silent for so long has ended */
	uint64_t trust_ns;                   /* trust lasts so long */

	/* and this is asked for now and then. */
	_Alignas(64) uint64_t limit_wait_ns; /* the oldest one's wait */
	uint64_t pending_ns;      /* a change of state waits so long for the flow's held packets; then it overtakes */
	uint32_t never_shed;      /* 1: neither share nor cutoff count */
	uint32_t mark, mark_mask; /* tc: on what is admitted; mask 0: no mark is touched */
	uint32_t reserved;

	/* The engine, at each look: gate_look(). */
	_Alignas(64) uint64_t ticked_ns; /* 0: nobody has ever looked */
	uint64_t gone;                   /* admissions that no longer wait: those before the look less what was held */
	uint64_t gone_bytes;             /* admitted_bytes behind the last one of these */
	uint64_t settled;                /* every admission up to this one has been decided, for certain */
	uint64_t oldest_ns;              /* arrival of the oldest that waits; 0: none does */
	uint32_t sleeps;                 /* 1: it does; the next admission rings the bell, and writes 0 */
	uint32_t
	    turned; /* the program's, but seldom: flows that passed and are now something else; no memo outlives that */

	/* The program. */
	_Alignas(64) uint64_t admitted; /* admissions so far; each packet's number is the count with itself */
	uint64_t admitted_bytes;
	_Alignas(64) uint64_t ring[GATE_RING]; /* admitted_bytes behind admission n, at n modulo GATE_RING */
};

struct gate_count {
	uint64_t packets, bytes; /* bytes from the network header on; an aggregate (GSO) is one packet */
};

/*
 * A flow, the same for both directions: the lower end first (gate_key_sort()). IPv4 as ::ffff:a.b.c.d; ports and
 * addresses in network byte order. ICMP echo has its identifier as both ports; what has no ports has 0.
 */
struct gate_key {
	uint64_t address[2][2];
	uint16_t port[2];
	uint16_t vlan; /* host order; 0: none known */
	uint8_t protocol;
	uint8_t reserved;
};

/* The packet that the first rule's program has just decided, for the second rule's. */
struct gate_slot {
	struct gate_key key;
	uint64_t first; /* bytes that tell a flow's packets apart */
	uint32_t length;
	uint16_t direction;
	uint16_t column; /* enum gate_column; GATE_COLUMNS: none */
};

/*
 * The flow of a CPU's last packet, where it passes: its next packets within the same tick of the clock are known by
 * their header alone, and neither tables nor flow are touched. They are counted here until one is looked up.
 */
struct gate_memo {
	uint64_t now_ns;            /* it holds as long as the clock says this, */
	uint32_t turned;            /* and gate_page.turned that */
	uint32_t sequence;          /* odd: it is being changed */
	uint32_t column;            /* enum gate_column */
	uint32_t address[2], ports; /* IPv4's header's, as they are there */
	uint16_t vlan;
	uint8_t protocol, reserved;
	uint64_t packets, bytes; /* of `key`, and not yet in its flow */
	struct gate_key key;
};

/*
 * A row of counters; one for each CPU, so that two don't meet. What is admitted is counted in the page, and its column
 * stays empty here: each admission has its number from there, and one count is cheaper than two.
 */
struct gate_cpu {
	/* No counter: the last known flow stood in `oneway`, so the next is looked for there. Each packet asks. */
	_Alignas(64) uint64_t oneway_first;
	struct gate_count column[GATE_COLUMNS];
	uint64_t slot_missed; /* dropped or queued by the flow's state, as the slot held another packet */
	uint64_t cut_short;  /* flows that changed while packets of theirs may have been held: reordering is possible */
	uint64_t unparsed;   /* packets without a flow */
	uint64_t alone;      /* fragments whose first one was not seen */
	uint64_t flows;      /* begun */
	uint64_t flows_shed; /* of these, taken away for load, at their start or later */
	uint64_t flows_refused; /* the ones at their start */
	_Alignas(64) struct gate_slot slot;
	_Alignas(64) struct gate_memo memo;
};

/* Counts are added plainly: who interrupts, or another CPU, may lose one, or add a memo twice. No book has them. */
struct gate_flow {
	uint8_t state, reason;           /* enum gate_state, enum lane_reason */
	uint8_t pending, pending_reason; /* what it becomes when none of its packets is held; 0: nothing */
	uint8_t directions;              /* bits: who was seen sending, the lower end, the higher one */
	uint8_t finished;                /* the same: who has sent FIN; both: it has ended */
	uint8_t going;                   /* TCP: more than its SYN was seen */
	uint8_t reserved;
	uint64_t last_ns; /* its last packet */
	uint64_t last_admitted;
	uint64_t queued, queued_bytes; /* packets that were admitted, */
	uint64_t passed, passed_bytes; /* and that were not */
	uint64_t since_ns;             /* its state */
	uint64_t asked_ns;             /* `pending` was asked for */
};

/* What `tell` is asked. */
struct gate_ask {
	struct gate_key key;
	uint32_t state, reason;
};

_Static_assert(sizeof(struct gate_key) == 40, "a key has no padding");
_Static_assert(offsetof(struct gate_memo, key) <= 64, "what each packet asks of a memo is one cache line");
_Static_assert(sizeof(struct gate_flow) == 72, "a flow has no padding");

/* The second word of an IPv4 address; the first is 0. */
static inline uint64_t gate_key_v4(uint32_t network)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint64_t)network << 32 | 0xffff0000u;
#else
	return 0xffff00000000u | network;
#endif
}

/* And back: the address of such a word. */
static inline uint32_t gate_key_network(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint32_t)(word >> 32);
#else
	return (uint32_t)word;
#endif
}

/* Puts a key's ends in order, whichever that is on this machine. Returns 1 where they changed places: the sender is the
 * second then. */
static inline int gate_key_sort(struct gate_key *key)
{
	const uint64_t first[2] = {key->address[0][0], key->address[0][1]};
	const uint64_t second[2] = {key->address[1][0], key->address[1][1]};
	const uint16_t port = key->port[0];

	if (first[0] != second[0]   ? first[0] < second[0]
	    : first[1] != second[1] ? first[1] < second[1]
				    : port <= key->port[1])
		return 0;
	key->address[0][0] = second[0];
	key->address[0][1] = second[1];
	key->address[1][0] = first[0];
	key->address[1][1] = first[1];
	key->port[0] = key->port[1];
	key->port[1] = port;
	return 1;
}

#endif
