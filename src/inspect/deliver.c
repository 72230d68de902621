/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between receiving and the user's code: what is shown, what is answered unseen, what went by; and the verdicts on
 * their way back. Sends nothing to the kernel.
 */
#include "inspect/headers.h"
#include "inspect/inspect.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* The wire's bits in spw_headers.tcp_flags. */
#define TCP_FIN 1u
#define TCP_SYN 2u
#define TCP_RST 4u
#define TCP_ACK 16u

#define MARK_PATIENCE_S 1 /* full ones: a flow of which there is always something waiting is marked all the same */

void deliver_start(struct spw_lane *lane)
{
	for (unsigned i = 0; i < lane->classes; i++) {
		const struct channel_class *c = &lane->state->class[i];

		window_start(&lane->window[i], &lane->pen, i);
		lane->intake[i].read = answer_settled(&lane->pen, i);
		lane->intake[i].rounds = __atomic_load_n(&c->rounds, __ATOMIC_ACQUIRE);
		lane->intake[i].gap.size = sizeof(struct spw_gap);
	}
}

/* The kernel's id in 64 bits: the one that is nearest to what is settled. 0: none could be. */
static uint64_t widen(uint64_t settled, uint32_t id)
{
	const uint32_t ahead = id - (uint32_t)settled;

	if (ahead <= INT32_MAX)
		return settled + ahead;
	return settled > -ahead ? settled - -ahead : 0;
}

/* Names what the user's code looks at, for whoever finds us dead. */
static void set_hand(struct spw_lane *lane)
{
	struct channel_hand *hand = &lane->answers->hand;
	const struct slot *slot = lane->oldest;

	__atomic_store_n(&hand->busy, 0, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!slot)
		return;
	__atomic_store_n(&hand->flow, slot->packet.flow, __ATOMIC_RELAXED);
	__atomic_store_n(&hand->id, slot->packet.id, __ATOMIC_RELAXED);
	__atomic_store_n(&hand->class, slot->class, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&hand->busy, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void hand_over(struct spw_lane *lane, struct slot *slot)
{
	slot->handle = ++lane->handles * lane->slots + (uint64_t)(slot - lane->slot);
	slot->older = lane->newest;
	slot->newer = NULL;
	if (lane->newest)
		lane->newest->newer = slot;
	else
		lane->oldest = slot;
	lane->newest = slot;
	lane->counts.shown++;
	if (lane->oldest == slot)
		set_hand(lane);
}

static void take_back(struct spw_lane *lane, struct slot *slot)
{
	const bool oldest = lane->oldest == slot;

	if (slot->older)
		slot->older->newer = slot->newer;
	else
		lane->oldest = slot->newer;
	if (slot->newer)
		slot->newer->older = slot->older;
	else
		lane->newest = slot->older;
	slot->handle = 0;
	if (oldest)
		set_hand(lane);
	intake_release(lane, slot);
}

/* Answers a packet that nobody is shown. It waits for its turn: in order, it joins its neighbours. */
static void answer_unseen(struct spw_lane *lane, const struct slot *slot, uint64_t id, uint32_t code)
{
	struct window *w = &lane->window[slot->class];
	const struct channel_answer a = answer_plain(&lane->pen, slot->class, id, &slot->packet, code, 0);

	window_decide(w, window_take(w, id), &a, false);
}

/*
 * Whoever passes by the connection's mark overtakes what of its flow still waits here. So the mark goes with a packet
 * behind which nothing waited when its batch was read; where that never happens, it goes all the same.
 */
static bool may_mark(struct spw_lane *lane, const struct slot *slot)
{
	const bool nothing_behind = lane->batch_next == lane->batch_len && !(lane->ready & 1u << slot->class);

	if (!lane->state->class[slot->class].trust_mask || !(slot->packet.has & SPW_PACKET_HAS_CONNTRACK))
		return false;
	return nothing_behind || trust_age(lane->trust, slot->packet.flow, lane->now_s) > MARK_PATIENCE_S;
}

/* A packet whose flow is trusted, and that may tell the kernel so. */
static void answer_trusted(struct spw_lane *lane, const struct slot *slot, uint64_t id)
{
	const struct channel_class *c = &lane->state->class[slot->class];
	struct window *w = &lane->window[slot->class];
	struct channel_answer a = answer_plain(&lane->pen, slot->class, id, &slot->packet, SPW_ACCEPT, CHANNEL_TRUSTED);

	lane->counts.trusted++;
	if (may_mark(lane, slot)) {
		a.set |= SPW_VERDICT_CT_MARK;
		a.conntrack.mark = c->trust_mark;
		a.conntrack.mark_mask = c->trust_mask;
	}
	window_decide(w, window_take(w, id), &a, false);
}

static bool is_poison(const struct spw_lane *lane, uint64_t flow)
{
	for (unsigned i = 0; flow && i < lane->poisons; i++) {
		if (lane->poison[i] == flow)
			return true;
	}
	return false;
}

/* Only whole knowledge of the two ends will do: a fragment's flow is everything between two hosts. */
static bool may_be_trusted(const struct spw_headers *h)
{
	return h->has & SPW_HEADERS_PORTS && !(h->has & SPW_HEADERS_FRAGMENT);
}

/* The last packet of a trusted flow still counts as its own; one that begins a new connection does not. */
static bool is_trusted(struct spw_lane *lane, uint64_t flow, const struct spw_headers *h)
{
	bool begins;

	if (!flow || !lane->trust->flows || !may_be_trusted(h) || !trust_has(lane->trust, flow, lane->now_s))
		return false;
	if (h->protocol != IPPROTO_TCP)
		return true;
	if (!(h->has & SPW_HEADERS_TRANSPORT))
		return false;
	begins = (h->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	if (begins || h->tcp_flags & (TCP_FIN | TCP_RST))
		trust_forget(lane->trust, flow);
	return !begins;
}

/* Sees whether packets of the class have gone by since the last one shown. */
static void note_gap(struct spw_lane *lane, unsigned class, uint64_t id)
{
	struct intake *in = &lane->intake[class];
	const uint64_t rounds = __atomic_load_n(&lane->state->class[class].rounds, __ATOMIC_ACQUIRE);
	const uint64_t missed = id - in->read - 1;

	in->read = id;
	if (missed) {
		in->gap.causes |= SPW_GAP_MISSED;
		in->gap.missed += missed;
		lane->counts.missed += missed;
	}
	if (rounds != in->rounds) {
		in->gap.causes |= SPW_GAP_ROUND;
		in->rounds = rounds;
	}
}

static void note_stale(struct spw_lane *lane, unsigned class)
{
	struct intake *in = &lane->intake[class];

	in->gap.causes |= SPW_GAP_STALE;
	in->gap.stale++;
	lane->counts.stale++;
}

static void take_gap(struct spw_lane *lane, struct slot *slot)
{
	struct spw_gap *gap = &lane->intake[slot->class].gap;

	slot->gap.causes = 0;
	if (!gap->causes)
		return;
	slot->gap = *gap;
	slot->gap.queue = slot->packet.queue;
	*gap = (struct spw_gap){.size = sizeof(*gap)};
}

/* Decides about a packet just read. True: it is to be shown. */
static bool sieve(struct spw_lane *lane, struct slot *slot, uint64_t id, uint64_t settled)
{
	struct spw_packet *p = &slot->packet;
	struct spw_headers h;

	if (id <= settled) {
		note_stale(lane, slot->class);
		answer_unseen(lane, slot, id, CHANNEL_STALE);
		return false;
	}
	p->flow = 0;
	if (!headers_find(p->payload, p->payload_len, p->hw_protocol, &h))
		p->flow = spw_flow_hash(&h.flow, lane->state->key);
	if (is_poison(lane, p->flow)) {
		lane->counts.poisoned++;
		answer_unseen(lane, slot, id, CHANNEL_POISONED);
		return false;
	}
	if (is_trusted(lane, p->flow, &h)) {
		answer_trusted(lane, slot, id);
		return false;
	}
	return true;
}

struct slot *deliver_next(struct spw_lane *lane)
{
	while (lane->batch_next < lane->batch_len) {
		struct slot *slot = lane->batch[lane->batch_next];
		struct window *w = &lane->window[slot->class];
		const uint64_t settled = answer_settled(&lane->pen, slot->class);
		const uint64_t id = widen(settled, slot->packet.id);

		while (!answer_room(&lane->pen)) {
			if (!lane_wait_for_room(lane))
				return NULL;
		}
		lane->batch_next++;
		/* Numbers that run backwards are the engine's affair; an answer to one would end us. */
		if (id <= lane->intake[slot->class].read) {
			intake_release(lane, slot);
			continue;
		}
		note_gap(lane, slot->class, id);
		if (sieve(lane, slot, id, settled)) {
			slot->number = window_take(w, id);
			take_gap(lane, slot);
			hand_over(lane, slot);
			return slot;
		}
		intake_release(lane, slot);
	}
	return NULL;
}

static void remember_trust(struct spw_lane *lane, unsigned class, const struct spw_packet *p)
{
	struct spw_headers h;

	if (p->flow && !headers_find(p->payload, p->payload_len, p->hw_protocol, &h) && may_be_trusted(&h) &&
	    !(h.tcp_flags & (TCP_FIN | TCP_RST))) {
		trust_add(lane->trust, p->flow, lane->now_s);
		answer_trust(&lane->pen, class, &h.flow);
	}
}

/* The answer to a packet in its place, or ahead of older ones. */
static int decide(struct spw_lane *lane, const struct slot *slot, const struct spw_verdict *v)
{
	struct window *w = &lane->window[slot->class];
	const uint64_t id = w->entry[slot->number % CHANNEL_WINDOW].id;
	const bool oldest = window_is_oldest(w, slot->number), payload = v->set & SPW_VERDICT_PAYLOAD;
	struct channel_answer draft;
	int error;

	/* The last slots are kept for the oldest packet of each class: all others wait for these. */
	if (payload && !oldest && answer_free_payloads(&lane->pen, CHANNEL_CLASSES + 1) <= CHANNEL_CLASSES)
		return -EAGAIN;
	while (!answer_room(&lane->pen) || (payload && !answer_free_payloads(&lane->pen, 1))) {
		if (!lane_wait_for_room(lane))
			return -ESHUTDOWN;
	}
	error = answer_draft(&lane->pen, slot->class, id, &slot->packet, v, &draft);
	if (!error)
		window_decide(w, slot->number, &draft, true);
	return error;
}

int deliver_verdict(struct spw_lane *lane, struct slot *slot, const struct spw_verdict *v)
{
	int error = 0;

	/* Settled by the engine, and passed by newer ones: an answer would run backwards. */
	if (!window_knows(&lane->window[slot->class], slot->number))
		lane->counts.late++;
	else
		error = decide(lane, slot, v);
	if (error)
		return error;
	if (v->set & SPW_VERDICT_TRUST && v->code == SPW_ACCEPT)
		remember_trust(lane, slot->class, &slot->packet);
	take_back(lane, slot);
	return 0;
}

void deliver_publish(struct spw_lane *lane)
{
	for (unsigned i = 0; i < lane->classes; i++) {
		if (lane->window[i].decided)
			window_pump(&lane->window[i]);
	}
	answer_publish(&lane->pen);
}
