/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inspector's pen: see answer.h. Touches the two pages and the bell, nothing else.
 */
#include "inspect/answer.h"

#include <string.h>
#include <unistd.h>

void answer_start(struct answerer *a, struct channel_answers *out, const struct channel_state *state, int bell)
{
	memset(a, 0, sizeof(*a));
	a->out = out;
	a->state = state;
	a->bell = bell;
	a->produced = __atomic_load_n(&out->produced, __ATOMIC_ACQUIRE);
}

static uint64_t consumed(const struct answerer *a)
{
	return __atomic_load_n(&a->state->consumed, __ATOMIC_ACQUIRE);
}

bool answer_room(const struct answerer *a, const struct spw_verdict *verdict)
{
	/* One for the run that is still open, one for this verdict. */
	if (a->produced + 2 - consumed(a) > CHANNEL_ANSWERS)
		return false;
	return !(verdict->set & SPW_VERDICT_PAYLOAD) || a->payload_used_at[a->next_payload] <= consumed(a);
}

static void close_run(struct answerer *a)
{
	if (!a->run.count)
		return;
	a->out->ring[a->produced++ % CHANNEL_ANSWERS] = a->run;
	a->run.count = 0;
}

static bool joins(const struct answerer *a, const struct spw_verdict *v)
{
	return a->run.count && !a->run.set && !v->set && a->run.verdict == v->code &&
	       (v->code == SPW_ACCEPT || v->code == SPW_DROP);
}

static void put_payload(struct answerer *a, const struct spw_verdict *v)
{
	unsigned slot = a->next_payload;

	a->next_payload = (slot + 1) % CHANNEL_PAYLOADS;
	memcpy(a->out->payload[slot], v->payload, v->payload_len);
	a->payload_used_at[slot] = a->produced + 1;
	a->run.payload = slot;
	a->run.payload_len = (uint32_t)v->payload_len;
}

/* A payload that is too long, missing, or for a packet that was cut would be mangled by the kernel without a word. */
static bool possible(const struct spw_packet *p, const struct spw_verdict *v)
{
	if (v->code != SPW_DROP && v->code != SPW_ACCEPT && v->code != SPW_QUEUE && v->code != SPW_REPEAT)
		return false;
	if (!(v->set & SPW_VERDICT_PAYLOAD))
		return true;
	return v->payload && v->payload_len && v->payload_len <= SPW_PAYLOAD_MAX && p->payload_len >= p->length;
}

void answer_put(struct answerer *a, const struct spw_packet *p, const struct spw_verdict *v)
{
	static const struct spw_verdict drop = {.size = sizeof(drop), .code = SPW_DROP};

	if (!possible(p, v))
		v = &drop;
	if (joins(a, v)) {
		a->run.last = p->id;
		a->run.count++;
		a->run.bytes += p->length;
		return;
	}
	close_run(a);
	a->run = (struct channel_answer){
	    .last = p->id,
	    .count = 1,
	    .verdict = v->code,
	    .set = v->set,
	    .mark = v->mark,
	    .priority = v->priority,
	    .queue = v->queue,
	    .bytes = p->length,
	};
	if (v->set & SPW_VERDICT_PAYLOAD)
		put_payload(a, v);
}

void answer_publish(struct answerer *a)
{
	uint64_t one = 1;

	close_run(a);
	__atomic_store_n(&a->out->produced, a->produced, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&a->state->engine_sleeps, __ATOMIC_SEQ_CST) && write(a->bell, &one, sizeof(one)) < 0)
		return; /* a full bell is ringing already */
}
