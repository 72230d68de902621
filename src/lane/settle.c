/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settling ids in their order: by answers, by early answers whose turn has come, by policy. Each settled id is booked
 * and its verdict ordered in the same place. Works on its arguments alone.
 */
#include "lane/internal.h"

#include <spillway/packet.h>

bool lane_room(const struct lane_orders *out)
{
	/* One batch and one single verdict. */
	return out->count + 2 <= LANE_ORDERS && out->payloads < LANE_PAYLOADS;
}

const struct lane_early *lane_early_at(const struct step *s, uint64_t id)
{
	const struct lane_early *e = &s->early[id % CHANNEL_WINDOW];

	return id <= s->c->early_upto && e->id == id ? e : NULL;
}

/* The next id from `from` on that was answered early; `upto` + 1: none until there. */
static uint64_t next_early(const struct step *s, uint64_t from, uint64_t upto)
{
	for (uint64_t id = from; id <= least(upto, s->c->early_upto); id++)
		if (lane_early_at(s, id))
			return id;
	return upto + 1;
}

void lane_emit_batch(struct step *s, uint32_t id, uint32_t code)
{
	struct lane_order *last = s->out->count ? &s->out->order[s->out->count - 1] : NULL;

	if (last && last->kind == ORDER_BATCH && last->class == s->class && last->verdict == code)
		last->id = id;
	else
		s->out->order[s->out->count++] =
		    (struct lane_order){.kind = ORDER_BATCH, .class = (uint8_t)s->class, .id = id, .verdict = code};
}

/* A flow of which packets are let go for being late is to be known by its connection's mark. */
static bool marks_spilled(const struct step *s, enum lane_reason reason)
{
	const struct lane_config *config = &s->c->config;

	return config->spill_mask && reason == REASON_LATE && !lane_shuts(config, reason) && !s->l->report_only;
}

static void emit_spilled(struct step *s, uint32_t id)
{
	const struct lane_config *config = &s->c->config;

	s->out->order[s->out->count++] =
	    (struct lane_order){.kind = ORDER_ONE,
				.class = (uint8_t)s->class,
				.id = id,
				.verdict = SPW_ACCEPT,
				.set = SPW_VERDICT_CT_MARK,
				.conntrack = {.mark = config->spill_mark, .mark_mask = config->spill_mask}};
}

static uint32_t policy_code(bool shut)
{
	return shut ? SPW_DROP : SPW_ACCEPT;
}

static void left(struct lane_class *c, uint64_t settled, uint64_t packets)
{
	c->settled = settled;
	c->held -= least(c->held, packets);
	c->missing_for = 0;
}

/* Ids up to `upto`, none of them answered early, go by policy: into the books. */
static void book_by_policy(struct step *s, uint64_t upto, enum lane_reason reason)
{
	struct lane_class *c = s->c;
	uint64_t ids = upto - c->settled, n = ids - lane_take_flushed(c, ids);
	bool shut = lane_shuts(&c->config, reason);

	if (c->pool || c->hiding)
		lane_pool(c, reason, shut, n);
	else
		lane_book_policy(c, reason, shut, n);
	if (reason == REASON_LATE || reason == REASON_HUNG)
		c->window_late += n;
	left(c, upto, ids);
}

static void settle_by_policy(struct step *s, uint64_t upto, enum lane_reason reason)
{
	lane_emit_batch(s, (uint32_t)upto, policy_code(lane_shuts(&s->c->config, reason)));
	book_by_policy(s, upto, reason);
}

/* One at a time, each with its mark: a batch verdict carries no connection. */
static void settle_one_marked(struct step *s, uint64_t upto, enum lane_reason reason)
{
	(void)upto;
	emit_spilled(s, (uint32_t)(s->c->settled + 1));
	book_by_policy(s, s->c->settled + 1, reason);
}

static void book_answer(struct step *s, const struct channel_answer *a, uint64_t packets)
{
	struct lane_books *b = &s->c->books;

	if (a->verdict == CHANNEL_POISONED) {
		lane_book_policy(s->c, REASON_POISON, lane_shuts(&s->c->config, REASON_POISON), packets);
		return;
	}
	if (a->set & CHANNEL_TRUSTED) {
		b->trusted += packets;
		return;
	}
	if (a->verdict == SPW_DROP)
		b->dropped += packets;
	else if (a->verdict != SPW_ACCEPT)
		b->requeued += packets;
	else if (a->set & SPW_VERDICT_PAYLOAD)
		b->modified += packets;
	else
		b->accepted += packets;
	b->bytes_inspected += a->bytes;
}

/* The kernel takes no mask: the packet's own mark, by the inspector's word, with the class's bits in it. */
static uint32_t marked(const struct lane_config *config, uint32_t mark)
{
	return (mark & ~config->mark_mask) | (config->mark & config->mark_mask);
}

/* Of an inspector that only reports, nothing is set; and where it wants another mark, it does not tell the packet's. */
static uint32_t what_is_set(const struct step *s, const struct channel_answer *a, uint32_t code)
{
	uint32_t set = s->l->report_only ? 0 : a->set & ~CHANNEL_TRUSTED;

	if (a->verdict == CHANNEL_POISONED)
		return 0;
	if (!s->c->config.mark_mask || code == SPW_DROP || (s->l->report_only && (a->set & SPW_VERDICT_MARK)))
		return set;
	return set | SPW_VERDICT_MARK;
}

static uint32_t code_of(const struct step *s, const struct channel_answer *a)
{
	if (a->verdict == CHANNEL_POISONED)
		return policy_code(lane_shuts(&s->c->config, REASON_POISON));
	return s->l->report_only ? SPW_ACCEPT : a->verdict;
}

static void emit_answer(struct step *s, const struct channel_answer *a, uint64_t last)
{
	const struct lane_config *config = &s->c->config;
	uint32_t code = code_of(s, a), set = what_is_set(s, a, code);

	if (!set && (code == SPW_ACCEPT || code == SPW_DROP)) {
		lane_emit_batch(s, (uint32_t)last, code);
		return;
	}
	s->out->payloads += set & SPW_VERDICT_PAYLOAD ? 1 : 0;
	s->out->order[s->out->count++] = (struct lane_order){
	    .kind = ORDER_ONE,
	    .class = (uint8_t)s->class,
	    .id = (uint32_t)last,
	    .verdict = code,
	    .set = set,
	    .mark = config->mark_mask ? marked(config, a->mark) : a->mark,
	    .priority = a->priority,
	    .queue = a->queue,
	    .payload = a->payload,
	    .payload_len = a->payload_len,
	    .conntrack = a->conntrack,
	};
}

void lane_settle_answer(struct step *s, const struct channel_answer *a, uint64_t first, uint64_t last)
{
	struct lane_class *c = s->c;
	uint64_t packets = last - first + 1, gone = lane_take_flushed(c, packets);

	emit_answer(s, a, last);
	c->books.late_answers += gone;
	book_answer(s, a, packets - gone);
	c->window_good += packets - gone;
	left(c, last, packets);
}

/* A packet that was held without any doubt, but whose answer there is not. */
static void settle_unanswered(struct step *s, const struct lane_early *e, enum lane_reason reason)
{
	struct lane_class *c = s->c;
	bool shut = lane_shuts(&c->config, reason);
	uint64_t n = 1 - lane_take_flushed(c, 1);

	if (marks_spilled(s, reason))
		emit_spilled(s, (uint32_t)e->id);
	else
		lane_emit_batch(s, (uint32_t)e->id, policy_code(shut));
	lane_book_policy(c, reason, shut, n);
	c->window_late += n;
	left(c, e->id, 1);
}

/* A payload that is wanted lies in the page of who wrote it: another inspector's slot holds another packet. */
static bool payload_is_gone(const struct step *s, const struct lane_early *e)
{
	return (e->answer.set & SPW_VERDICT_PAYLOAD) && !s->l->report_only && e->inspector != s->l->inspector;
}

static void settle_early(struct step *s, const struct lane_early *e)
{
	if (!e->inspector) /* its message was thrown away */
		settle_unanswered(s, e, e->reason);
	else if (payload_is_gone(s, e))
		settle_unanswered(s, e, s->l->down_reason);
	else
		lane_settle_answer(s, &e->answer, e->id, e->id);
}

/* Early answers that follow on what is settled have their turn. */
void lane_release_early(struct step *s)
{
	const struct lane_early *e;

	/* A message that was thrown away may be newer than the last look. */
	while (s->c->settled < s->c->ids && lane_room(s->out) && (e = lane_early_at(s, s->c->settled + 1)))
		settle_early(s, e);
}

/* Goes through the ids up to `upto` in order: early ones by their answers, the others as `others` says. False: out of
 * room before the end. */
static bool advance(struct step *s, uint64_t upto, enum lane_reason reason,
		    void (*others)(struct step *s, uint64_t upto, enum lane_reason reason))
{
	while (s->c->settled < upto) {
		uint64_t next = next_early(s, s->c->settled + 1, upto);

		if (!lane_room(s->out))
			return false;
		if (next == s->c->settled + 1)
			settle_early(s, lane_early_at(s, next));
		else
			others(s, next - 1, reason);
	}
	return true;
}

/*
 * For an id that is not held, some kernels look through all that is: where gaps may be among the ids, none is named by
 * itself, and no flow marked. Its next late packet marks it.
 */
bool lane_settle(struct step *s, uint64_t upto, enum lane_reason reason)
{
	bool all, singly = marks_spilled(s, reason) && !s->c->hiding;

	if (!lane_pool_takes(s->c, reason, lane_shuts(&s->c->config, reason)))
		return false;
	all = advance(s, upto, reason, singly ? settle_one_marked : settle_by_policy);
	s->c->owed = most(s->c->owed, s->c->settled);
	lane_release_early(s);
	return all;
}

static void gaps_until(struct step *s, uint64_t upto, enum lane_reason reason)
{
	uint64_t gaps = upto - s->c->settled;

	(void)reason;
	/* The message of a packet that the kernel threw away is still read: only what is more than a gap is one. */
	if (gaps > s->c->hiding)
		gaps -= lane_take_flushed(s->c, gaps - s->c->hiding);
	lane_book_gaps(s->c, upto, gaps);
	left(s->c, upto, 0);
}

/* Ids up to `upto` were never held, but for those that were answered early. */
bool lane_skip_gaps(struct step *s, uint64_t upto)
{
	return advance(s, upto, REASON_FULL, gaps_until);
}

void lane_discarded(struct lane_class *c, struct lane_early *early, uint64_t id, enum lane_reason reason)
{
	if (id <= c->settled)
		return;
	if (id > c->settled + CHANNEL_WINDOW) {
		c->due = most(c->due, id);
		c->due_reason = reason;
		return;
	}
	early[id % CHANNEL_WINDOW] = (struct lane_early){.id = id, .reason = reason};
	c->early_upto = most(c->early_upto, id);
}

void lane_unread(struct lane_class *c, uint64_t id)
{
	c->owed = least(c->owed, id - 1);
}
