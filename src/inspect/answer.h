/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inspector's pen: writes answers into its page, joining runs of plain accepts and drops into one. Sends no
 * verdict.
 */
#ifndef SPW_INSPECT_ANSWER_H
#define SPW_INSPECT_ANSWER_H

#include "lane/channel.h"

#include <spillway/packet.h>

#include <stdbool.h>

struct answerer {
	struct channel_answers *out;
	const struct channel_state *state;
	int bell;
	uint64_t produced;                          /* answers published */
	struct channel_answer run;                  /* not yet published; count 0: none */
	uint64_t payload_used_at[CHANNEL_PAYLOADS]; /* number of the answer after which a slot is free again */
	unsigned next_payload;
};

/* Starts to write behind whatever an earlier inspector has left on the page. */
void answer_start(struct answerer *a, struct channel_answers *out, const struct channel_state *state, int bell);

/* True where there is room for another verdict (with a payload: for that too). */
bool answer_room(const struct answerer *a, const struct spw_verdict *verdict);

/* Notes the verdict for a packet; answer_room() must hold. A verdict that can't be carried out becomes a drop. */
void answer_put(struct answerer *a, const struct spw_packet *packet, const struct spw_verdict *verdict);

/* Publishes what has been noted, and rings the engine's bell where it sleeps. */
void answer_publish(struct answerer *a);

#endif
