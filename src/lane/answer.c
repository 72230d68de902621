/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which answers hold. Their sender may be hostile: nothing is taken that the kernel's own numbers don't allow. Works on
 * its arguments alone.
 */
#include "lane/internal.h"

#include <spillway/packet.h>

static bool kernel_verdict(uint32_t verdict)
{
	return verdict == SPW_DROP || verdict == SPW_ACCEPT || verdict == SPW_QUEUE || verdict == SPW_REPEAT;
}

static bool one_packet_only(const struct step *s, const struct channel_answer *a)
{
	if (a->early || a->verdict == SPW_QUEUE || a->verdict == SPW_REPEAT || (a->set & ~CHANNEL_TRUSTED))
		return true;
	return s->c->config.mark_mask && a->verdict != CHANNEL_STALE;
}

static uint32_t known_bits(const struct step *s)
{
	uint32_t known =
	    SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY | SPW_VERDICT_PAYLOAD | SPW_VERDICT_BYPASS | CHANNEL_TRUSTED;

	return s->c->config.conntrack ? known | SPW_VERDICT_CT_MARK | SPW_VERDICT_CT_LABELS : known;
}

/* A flow that needs no inspection goes on, and as it came: the books know trusted packets in no other way. */
static bool trusts_wrongly(const struct channel_answer *a)
{
	return (a->set & CHANNEL_TRUSTED) && (a->verdict != SPW_ACCEPT || (a->set & SPW_VERDICT_PAYLOAD));
}

static enum lane_result check_form(const struct step *s, const struct channel_answer *a, uint64_t packets)
{
	if (!kernel_verdict(a->verdict) && a->verdict != CHANNEL_STALE && a->verdict != CHANNEL_POISONED)
		return ANSWER_VERDICT;
	if (a->set & ~known_bits(s) || (a->early && !kernel_verdict(a->verdict)) || trusts_wrongly(a))
		return ANSWER_VERDICT;
	if ((a->set & SPW_VERDICT_PAYLOAD) &&
	    (a->payload >= CHANNEL_PAYLOADS || !a->payload_len || a->payload_len > SPW_PAYLOAD_MAX))
		return ANSWER_PAYLOAD;
	/* Ids are compared as the kernel does, within half their range. */
	if (!packets || packets > INT32_MAX || (one_packet_only(s, a) && packets != 1))
		return ANSWER_COUNT;
	return ANSWER_TAKEN;
}

static uint64_t earlies(const struct step *s, uint64_t from, uint64_t upto)
{
	uint64_t n = 0;

	for (uint64_t id = from; id <= least(upto, s->c->early_upto); id++)
		n += lane_early_at(s, id) != NULL;
	return n;
}

/* Each gap has cost a drop at the socket, unless it was a packet that the kernel threw away later. */
static bool gaps_plausible(const struct lane_class *c, uint64_t gaps)
{
	return gaps <= c->hiding + c->flushed || c->config.length >= TABLE_END;
}

static enum lane_result check_in_order(const struct step *s, const struct channel_answer *a, uint64_t first,
				       uint64_t last)
{
	const struct lane_class *c = s->c;
	uint64_t from = most(first, c->settled + 1);

	if (first <= c->answered)
		return ANSWER_BACKWARDS;
	if (last <= c->settled)
		return ANSWER_LATE;
	if (a->verdict == CHANNEL_STALE)
		return ANSWER_VERDICT;
	if (earlies(s, from, last))
		return ANSWER_TWICE;
	if (first > c->settled + 1) {
		uint64_t between = first - 1 - c->settled;

		if (!gaps_plausible(c, between - earlies(s, c->settled + 1, first - 1)))
			return ANSWER_COUNT;
	}
	return ANSWER_TAKEN;
}

/* Its slot may hold an answer that whoever comes after us still needs, should this step not be committed. */
static bool slot_taken(const struct step *s, uint64_t id)
{
	const struct lane_early *e = &s->early[id % CHANNEL_WINDOW];

	return e->id != id && e->id > s->c->told && e->id <= s->c->settled;
}

static enum lane_result check_early(const struct step *s, uint64_t id, uint64_t sequence)
{
	const struct lane_early *e = lane_early_at(s, id);

	if (id <= s->c->answered)
		return ANSWER_BACKWARDS;
	if (id <= s->c->settled)
		return ANSWER_LATE;
	if (id > s->c->settled + CHANNEL_WINDOW)
		return lane_room(s->out) ? ANSWER_COUNT : ANSWER_LATER;
	/* The same one again: an engine before this one had noted it and died. */
	if (e && (e->inspector != s->l->inspector || e->sequence != sequence))
		return ANSWER_TWICE;
	return slot_taken(s, id) ? ANSWER_LATER : ANSWER_TAKEN;
}

static void take_early(struct step *s, const struct channel_answer *a, uint64_t id, uint64_t sequence)
{
	s->early[id % CHANNEL_WINDOW] =
	    (struct lane_early){.id = id, .sequence = sequence, .inspector = s->l->inspector, .answer = *a};
	s->c->early_upto = most(s->c->early_upto, id);
	lane_release_early(s);
}

/* A stale one was never inspected: nothing came late. */
static void book_late(struct step *s, const struct channel_answer *a, uint64_t packets)
{
	if (a->verdict != CHANNEL_STALE)
		s->c->books.late_answers += packets;
}

static enum lane_result take_in_order(struct step *s, const struct channel_answer *a, uint64_t first, uint64_t last)
{
	struct lane_class *c = s->c;
	bool skips = first > c->settled + 1;

	if (skips && !lane_skip_gaps(s, first - 1))
		return ANSWER_LATER;
	if (!lane_room(s->out))
		return ANSWER_LATER;
	/* Ids that were left out though they are held must not stay there; a batch verdict takes them along anyway. */
	if (skips && one_packet_only(s, a))
		lane_emit_batch(s, (uint32_t)(first - 1), lane_shuts(&c->config, REASON_FULL) ? SPW_DROP : SPW_ACCEPT);
	if (first <= c->settled) {
		book_late(s, a, c->settled - first + 1);
		first = c->settled + 1;
	}
	lane_settle_answer(s, a, first, last);
	c->answered = last;
	lane_release_early(s);
	return ANSWER_TAKEN;
}

/* False: not all of it yet. */
static bool settle_due(struct step *s)
{
	uint64_t upto = least(least(s->c->due, s->c->ids), s->c->settled + LANE_PIECE);

	return lane_settle(s, upto, s->c->due_reason) && s->c->due <= s->c->settled;
}

static enum lane_result take(struct step *s, const struct channel_answer *a, uint64_t sequence)
{
	uint64_t last = lane_widen(s->c->ids, a->last), packets = (uint32_t)(a->last - a->first) + (uint64_t)1;
	uint64_t first = last - packets + 1;
	enum lane_result r = check_form(s, a, packets);

	if (r != ANSWER_TAKEN)
		return r;
	if (last > s->c->ids)
		return ANSWER_NOT_ASSIGNED;
	if (first > last || !first)
		return ANSWER_COUNT;
	/* What had no room the last time. */
	lane_release_early(s);
	/* What an inspector left in hand goes first, at once: other classes' answers stand behind this one. */
	if (s->c->due > s->c->settled && !settle_due(s))
		return ANSWER_LATER;
	r = a->early ? check_early(s, last, sequence) : check_in_order(s, a, first, last);
	if (r == ANSWER_LATE) {
		book_late(s, a, packets);
		if (!a->early)
			s->c->answered = last;
	}
	if (r != ANSWER_TAKEN)
		return r;
	if (!a->early)
		return take_in_order(s, a, first, last);
	if (!lane_room(s->out))
		return ANSWER_LATER;
	take_early(s, a, last, sequence);
	return ANSWER_TAKEN;
}

enum lane_result lane_answer(struct lane *l, struct lane_early *const *early, const struct channel_answer *a,
			     uint64_t sequence, struct lane_orders *out)
{
	struct step s = {.l = l, .class = a->class, .out = out};
	enum lane_result r;

	if (a->class >= l->classes)
		return ANSWER_CLASS;
	s.c = &l->class[a->class];
	s.early = early[a->class];
	if (!out->count)
		s.c->told = s.c->settled;
	r = take(&s, a, sequence);
	if (r != ANSWER_TAKEN && r != ANSWER_LATE)
		return r;
	l->answered += (uint32_t)(a->last - a->first) + (uint64_t)1;
	l->wait_ns = 0;
	l->stalled = false;
	return r;
}
