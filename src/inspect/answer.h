/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inspector's pen: writes answers into its page, joining plain ones of neighbouring ids into one. Knows no order
 * of packets (window.h does); sends no verdict.
 */
#ifndef SPW_INSPECT_ANSWER_H
#define SPW_INSPECT_ANSWER_H

#include "lane/channel.h"

#include <spillway/packet.h>

#include <stdbool.h>

struct answerer {
	struct channel_answers *out;
	const struct channel_state *state;
	uint32_t inspector; /* this one's number in the lane */
	int bell;
	bool open;                 /* `run` is not yet on the page */
	uint64_t produced;         /* answers on the page, published or not */
	uint64_t consumed;         /* of them, taken by the engine, as far as known */
	struct channel_answer run; /* what the next one may join */
	unsigned next_payload;
	struct payload_slot {
		uint64_t id; /* of the packet; the slot is free again when that is settled */
		uint32_t class;
		bool used;
	} payload[CHANNEL_PAYLOADS];
};

/* Starts to write behind whatever an earlier inspector has left on the page. */
void answer_start(struct answerer *a, struct channel_answers *out, const struct channel_state *state,
		  uint32_t inspector, int bell);

/* True while the engine says that this inspector may receive. */
bool answer_active(const struct answerer *a);

/* Every id of the class up to this one is decided. */
uint64_t answer_settled(const struct answerer *a, unsigned class);

/* True where there is room for another answer on the page. */
bool answer_room(struct answerer *a);

/* Payload slots that are free, counted up to `enough`. */
unsigned answer_free_payloads(struct answerer *a, unsigned enough);

/*
 * Makes an answer of a verdict, with a mended payload in a slot of its own where there is one, but doesn't put it yet.
 * -EINVAL, -EMSGSIZE, -EBADMSG, -EOPNOTSUPP: it can't be carried out; -EAGAIN: no slot is free.
 */
int answer_draft(struct answerer *a, unsigned class, uint64_t id, const struct spw_packet *packet,
		 const struct spw_verdict *verdict, struct channel_answer *draft);

/* An answer without a verdict of the user's: `code` one of both enums, set 0 or CHANNEL_TRUSTED. */
struct channel_answer answer_plain(const struct answerer *a, unsigned class, uint64_t id,
				   const struct spw_packet *packet, uint32_t code, uint32_t set);

/* Puts an answer; answer_room() must hold. */
void answer_put(struct answerer *a, const struct channel_answer *draft);

/* Tells the gate, where there is one, of a flow that needs no inspection any more. */
void answer_trust(struct answerer *a, unsigned class, const struct spw_flow *flow);

/* Rings the engine's bell, where it wants that on this occasion. */
void answer_ring(const struct answerer *a, enum channel_ring occasion);

/* Publishes what has been put, and rings the engine's bell where it sleeps. */
void answer_publish(struct answerer *a);

#endif
