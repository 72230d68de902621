/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Flows that the user's code needs no more of, by their hashes. A fixed table; knows no packet and no clock.
 */
#ifndef SPW_INSPECT_TRUST_H
#define SPW_INSPECT_TRUST_H

#include <stdbool.h>
#include <stdint.h>

#define TRUST_WAYS   8u
#define TRUST_SETS   8192u /* times the ways: 65,536 flows */
#define TRUST_IDLE_S 120u

struct trust {
	unsigned flows; /* remembered, the idle ones not yet noticed among them */
	struct trusted {
		uint64_t flow;  /* its hash; 0: none */
		uint32_t seen;  /* seconds: its last packet */
		uint32_t since; /* seconds: remembered first */
	} set[TRUST_SETS][TRUST_WAYS];
};

/* Remembers a flow. In a full set, the one that has been silent the longest gives way. */
void trust_add(struct trust *t, uint64_t flow, uint64_t now_s);

/* True where the flow is trusted; its silence begins anew. */
bool trust_has(struct trust *t, uint64_t flow, uint64_t now_s);

/* Seconds since the flow was remembered first; 0 where it is not. */
uint64_t trust_age(struct trust *t, uint64_t flow, uint64_t now_s);

void trust_forget(struct trust *t, uint64_t flow);

#endif
