/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inspector's pen: see answer.h. Touches the two pages and the bell, nothing else.
 */
#include "inspect/answer.h"
#include "inspect/headers.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#define CT_BITS (SPW_VERDICT_CT_MARK | SPW_VERDICT_CT_LABELS)
#define KNOWN_BITS                                                                                                     \
	(SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY | SPW_VERDICT_PAYLOAD | SPW_VERDICT_BYPASS | SPW_VERDICT_TRUST |      \
	 CT_BITS)

void answer_start(struct answerer *a, struct channel_answers *out, const struct channel_state *state,
		  uint32_t inspector, int bell)
{
	memset(a, 0, sizeof(*a));
	a->out = out;
	a->state = state;
	a->inspector = inspector;
	a->bell = bell;
	a->produced = __atomic_load_n(&out->produced, __ATOMIC_ACQUIRE);
	a->consumed = a->produced;
}

bool answer_active(const struct answerer *a)
{
	return __atomic_load_n(&a->state->active, __ATOMIC_ACQUIRE) == a->inspector;
}

uint64_t answer_settled(const struct answerer *a, unsigned class)
{
	return __atomic_load_n(&a->state->class[class].settled, __ATOMIC_ACQUIRE);
}

/* The count is the active inspector's: once it is another, what was known last is all that is known. */
static uint64_t consumed(struct answerer *a)
{
	const uint64_t now = __atomic_load_n(&a->state->consumed, __ATOMIC_ACQUIRE);

	if (answer_active(a) && now <= a->produced)
		a->consumed = now;
	return a->consumed;
}

bool answer_room(struct answerer *a)
{
	/* One for the run that is still open, one for the answer after it. The page is asked only when it seems full.
	 */
	return a->produced + 2 - a->consumed <= CHANNEL_ANSWERS || a->produced + 2 - consumed(a) <= CHANNEL_ANSWERS;
}

static bool payload_free(struct answerer *a, unsigned slot)
{
	struct payload_slot *p = &a->payload[slot];

	if (p->used && p->id <= answer_settled(a, p->class))
		p->used = false;
	return !p->used;
}

unsigned answer_free_payloads(struct answerer *a, unsigned enough)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CHANNEL_PAYLOADS && n < enough; i++)
		n += payload_free(a, i);
	return n;
}

static void close_run(struct answerer *a)
{
	if (!a->open)
		return;
	a->out->ring[a->produced++ % CHANNEL_ANSWERS] = a->run;
	a->open = false;
}

struct channel_answer answer_plain(const struct answerer *a, unsigned class, uint64_t id,
				   const struct spw_packet *packet, uint32_t code, uint32_t set)
{
	return (struct channel_answer){
	    .first = (uint32_t)id,
	    .last = (uint32_t)id,
	    .verdict = code,
	    .set = set,
	    .mark = a->state->class[class].has_mark ? packet->mark : 0,
	    .bytes = packet->length,
	    .class = (uint8_t) class,
	};
}

/*
 * A changed aggregate: the kernel keeps its segment size and takes its checksum for finished. TCP is cut and summed
 * anew from there, whatever the length has become. UDP wants another checksum where it is cut than where it is received
 * whole, and which it will be is not known here; tunnels are no better.
 */
static bool can_be_changed(const struct spw_packet *p)
{
	struct spw_headers h;

	if (!(p->skb_info & SPW_PACKET_GSO))
		return true;
	return !headers_find(p->payload, p->payload_len, p->hw_protocol, &h) && h.protocol == IPPROTO_TCP;
}

static int check(const struct answerer *a, unsigned class, const struct spw_packet *p, const struct spw_verdict *v)
{
	if (v->code != SPW_DROP && v->code != SPW_ACCEPT && v->code != SPW_QUEUE && v->code != SPW_REPEAT)
		return -EINVAL;
	if (v->set & ~KNOWN_BITS)
		return -EINVAL;
	if (v->set & CT_BITS && !a->state->class[class].conntrack)
		return -EOPNOTSUPP;
	if (!(v->set & SPW_VERDICT_PAYLOAD))
		return 0;
	if (!v->payload || !v->payload_len || v->payload_len > SPW_PAYLOAD_MAX)
		return -EINVAL;
	/* The kernel would replace the whole packet by what is left of it, without a word. */
	if (p->payload_len < p->length)
		return -EMSGSIZE;
	return can_be_changed(p) ? 0 : -EOPNOTSUPP;
}

/* Copied and mended where it will be read: nobody looks there before the answer is published. */
static int put_payload(struct answerer *a, uint64_t id, const struct spw_packet *p, const struct spw_verdict *v,
		       struct channel_answer *draft)
{
	unsigned slot = a->next_payload;
	int error;

	for (unsigned i = 0; i < CHANNEL_PAYLOADS && !payload_free(a, slot); i++)
		slot = (slot + 1) % CHANNEL_PAYLOADS;
	if (a->payload[slot].used)
		return -EAGAIN;
	memcpy(a->out->payload[slot], v->payload, v->payload_len);
	error = spw_packet_repair(a->out->payload[slot], v->payload_len, p->hw_protocol);
	if (error)
		return error;
	a->payload[slot] = (struct payload_slot){.id = id, .class = draft->class, .used = true};
	a->next_payload = (slot + 1) % CHANNEL_PAYLOADS;
	draft->payload = slot;
	draft->payload_len = (uint32_t)v->payload_len;
	return 0;
}

static void draft_conntrack(const struct spw_verdict *v, struct channel_conntrack *c)
{
	if (v->set & SPW_VERDICT_CT_MARK) {
		c->mark = v->ct_mark;
		c->mark_mask = v->ct_mark_mask;
	}
	if (v->set & SPW_VERDICT_CT_LABELS) {
		memcpy(c->labels, v->ct_labels, sizeof(c->labels));
		memcpy(c->labels_mask, v->ct_labels_mask, sizeof(c->labels_mask));
	}
}

int answer_draft(struct answerer *a, unsigned class, uint64_t id, const struct spw_packet *p,
		 const struct spw_verdict *v, struct channel_answer *draft)
{
	int error = check(a, class, p, v);

	if (error)
		return error;
	*draft = answer_plain(a, class, id, p, v->code, v->set & ~SPW_VERDICT_TRUST);
	if (v->set & SPW_VERDICT_MARK)
		draft->mark = v->mark;
	draft->priority = v->set & SPW_VERDICT_PRIORITY ? v->priority : 0;
	draft->queue = v->code == SPW_QUEUE ? v->queue : 0;
	draft_conntrack(v, &draft->conntrack);
	return v->set & SPW_VERDICT_PAYLOAD ? put_payload(a, id, p, v, draft) : 0;
}

/* What may stand for several packets at once. */
static bool joinable(const struct answerer *a, const struct channel_answer *d)
{
	if (d->early || (d->set & ~CHANNEL_TRUSTED) || a->state->class[d->class].has_mark)
		return false;
	return d->verdict == SPW_ACCEPT || d->verdict == SPW_DROP || d->verdict == CHANNEL_STALE;
}

void answer_put(struct answerer *a, const struct channel_answer *d)
{
	if (a->open && a->run.class == d->class && a->run.verdict == d->verdict && a->run.set == d->set &&
	    a->run.last + 1 == d->first && joinable(a, &a->run) && joinable(a, d)) {
		a->run.last = d->last;
		a->run.bytes += d->bytes;
		return;
	}
	close_run(a);
	a->run = *d;
	a->open = true;
}

void answer_ring(const struct answerer *a, enum channel_ring occasion)
{
	const uint64_t one = 1;

	if (__atomic_load_n(&a->state->ring, __ATOMIC_SEQ_CST) & occasion)
		(void)!write(a->bell, &one, sizeof(one)); /* a full bell is ringing already */
}

void answer_trust(struct answerer *a, unsigned class, const struct spw_flow *flow)
{
	const uint64_t n = a->out->trusts;
	struct channel_trust *t = &a->out->trust[n % CHANNEL_TRUSTS];

	/* Whoever still reads the former one here sees by the count that it is being overwritten. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	*t = (struct channel_trust){.family = flow->family, .protocol = flow->protocol, .class = (uint8_t) class};
	memcpy(t->address, flow->address, sizeof(t->address));
	memcpy(t->port, flow->port, sizeof(t->port));
	__atomic_store_n(&a->out->trusts, n + 1, __ATOMIC_RELEASE);
}

void answer_publish(struct answerer *a)
{
	close_run(a);
	__atomic_store_n(&a->out->produced, a->produced, __ATOMIC_SEQ_CST);
	answer_ring(a, CHANNEL_RING_ANSWER);
}
