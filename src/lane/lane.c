/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pure core: see lane.h. Works on its arguments alone.
 *
 * The kernel numbers packets 1, 2, 3 …; an id whose message did not fit into the socket is used up and never held. The
 * inspector reads messages in the order of the ids, so an answer "up to `last`, of which `count` were read" accounts
 * for every id of its range: read, or gap. What the kernel holds is never more than the ids after the last answered
 * one; what is fewer is a gap that nobody has come across yet, or packets that the kernel threw away. The socket's drop
 * count tells the two apart.
 */
#include "lane/lane.h"

#include <spillway/packet.h>

#include <assert.h>

const char *const lane_reason_names[] = {"full", "late", "down", "hung", "poison", "load", "manual"};
_Static_assert(sizeof(lane_reason_names) / sizeof(*lane_reason_names) == REASONS, "a name for each reason");

const char *const lane_state_names[] = {"inspecting", "probing", "open", "shut"};
_Static_assert(sizeof(lane_state_names) / sizeof(*lane_state_names) == STATES, "a name for each state");

const char *const lane_result_texts[] = {
    "taken",
    "late",
    "an id that the kernel has not assigned",
    "a range that goes backwards",
    "a number of packets that does not fit its range",
    "an unknown verdict",
    "a payload outside its area",
    "a class that the lane does not have",
};
_Static_assert(sizeof(lane_result_texts) / sizeof(*lane_result_texts) == ANSWER_RESULTS, "a text for each result");

/* From so many held packets on, the kernel drops some without counting them at the socket. */
#define TABLE_END 65536u
#define STABLE    8u /* samples that must agree: the kernel's line is printed without its lock */

/* The 64-bit number nearest to `near` whose low half is `low`: serial arithmetic (RFC 1982). */
static uint64_t widen(uint64_t near, uint32_t low)
{
	return near + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)near);
}

void lane_class_init(struct lane_class *c, bool fail_open, bool gso, uint32_t length)
{
	*c = (struct lane_class){.fail_open = fail_open, .gso = gso, .length = length};
}

static void book_gaps(struct lane_class *c, uint64_t upto, uint64_t gaps)
{
	bool open = upto <= c->switched_at ? c->switched_from : c->fail_open;

	c->gaps += gaps;
	if (open) {
		c->books.spilled[REASON_FULL] += gaps;
	} else {
		c->books.shut[REASON_FULL] += gaps;
		c->gaps_shut += gaps;
	}
}

/* Drops of the socket that are not yet found as gaps: the most that can still hide among the unanswered ids. */
static uint64_t hidden_gaps(const struct lane_class *c)
{
	return c->socket_drops > c->gaps ? c->socket_drops - c->gaps : 0;
}

static uint64_t unanswered(const struct lane_class *c)
{
	return c->ids - c->settled;
}

uint64_t lane_held(const struct lane_class *c)
{
	uint64_t room = unanswered(c) - c->flushed;

	return c->held < room ? c->held : room;
}

uint64_t lane_unreconciled(const struct lane_class *c)
{
	return unanswered(c) - c->flushed - lane_held(c);
}

uint64_t lane_seen(const struct lane_class *c)
{
	return c->ids + c->queue_dropped;
}

uint64_t lane_inspected(const struct lane_class *c)
{
	return c->books.accepted + c->books.dropped + c->books.modified + c->books.requeued;
}

/* With everything answered, the kernel's own count of drops says which gaps were shut: put right what a switch blurred.
 */
static void reconcile_gaps(struct lane_class *c)
{
	if (unanswered(c) || c->user_dropped > c->gaps)
		return;
	c->books.shut[REASON_FULL] += c->user_dropped - c->gaps_shut;
	c->books.spilled[REASON_FULL] -= c->user_dropped - c->gaps_shut;
	c->gaps_shut = c->user_dropped;
}

/* Unexplained ids that stay so over several looks: gaps at the end of the line, or packets that the kernel threw away.
 */
static void explain_missing(struct lane_class *c)
{
	uint64_t missing = lane_unreconciled(c);

	if (!missing) {
		c->missing_for = 0;
		return;
	}
	if (!c->missing_for || missing < c->missing)
		c->missing = missing;
	if (++c->missing_for < STABLE)
		return;
	c->missing_for = 0;
	if (c->missing > hidden_gaps(c) && c->length < TABLE_END) {
		uint64_t lost = c->missing - hidden_gaps(c);

		c->books.lost += lost;
		c->flushed += lost;
	} else if (!c->held && !c->flushed && c->missing == unanswered(c)) {
		book_gaps(c, c->ids, c->missing);
		c->settled = c->policy_upto = c->ids;
	}
}

/* Could the kernel's flag have acted on queue length, which leaves no trace? Between two looks, no more was ever held
 * than this. */
static void watch_length(struct lane_class *c, uint64_t ids, uint64_t queue_dropped)
{
	bool may_be_full = c->held + (ids - c->ids) >= c->length;

	if (c->fail_open && may_be_full)
		c->books.uncounted = true;
	/* Without F_GSO the kernel counts one drop for a whole aggregate of segments. */
	if (!c->gso && queue_dropped != c->queue_dropped)
		c->books.uncounted = true;
}

void lane_sample(struct lane_class *c, const struct lane_sample *now)
{
	uint64_t ids = widen(c->ids, now->ids);
	uint64_t queue_dropped = c->queue_dropped + (now->queue_dropped - c->last.queue_dropped);

	watch_length(c, ids, queue_dropped);
	c->books.shut[REASON_FULL] += queue_dropped - c->queue_dropped;
	c->queue_dropped = queue_dropped;
	c->user_dropped += now->user_dropped - c->last.user_dropped;
	c->socket_drops += now->socket_drops - c->last.socket_drops;
	c->ids = ids;
	c->held = now->held;
	c->last = *now;
	assert(c->settled <= c->ids);
	explain_missing(c);
	reconcile_gaps(c);
}

void lane_switch(struct lane_class *c, const struct lane_sample *now, bool fail_open, uint32_t length)
{
	lane_sample(c, now);
	if (fail_open != c->fail_open) {
		c->switched_at = c->ids;
		c->switched_from = c->fail_open;
	}
	c->fail_open = fail_open;
	c->length = length;
	/* A shorter queue may be full already. */
	if (fail_open && c->held >= length)
		c->books.uncounted = true;
}

static bool one_packet_only(const struct channel_answer *a)
{
	return a->verdict == SPW_QUEUE || a->verdict == SPW_REPEAT || (a->set & SPW_VERDICT_PAYLOAD);
}

/* Each gap has cost a drop at the socket, unless it was a packet that the kernel threw away later. */
static bool gaps_plausible(const struct lane_class *c, uint64_t gaps)
{
	return gaps <= hidden_gaps(c) + c->flushed || c->length >= TABLE_END;
}

static enum lane_result check(const struct lane_class *c, const struct channel_answer *a, uint64_t last)
{
	uint32_t known = SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY | SPW_VERDICT_PAYLOAD | SPW_VERDICT_BYPASS;

	if (a->verdict != SPW_DROP && a->verdict != SPW_ACCEPT && a->verdict != SPW_QUEUE && a->verdict != SPW_REPEAT)
		return ANSWER_VERDICT;
	if (a->set & ~known)
		return ANSWER_VERDICT;
	if ((a->set & SPW_VERDICT_PAYLOAD) &&
	    (a->payload >= CHANNEL_PAYLOADS || !a->payload_len || a->payload_len > SPW_PAYLOAD_MAX))
		return ANSWER_PAYLOAD;
	if (!a->count || (one_packet_only(a) && a->count != 1))
		return ANSWER_COUNT;
	if (last > c->ids)
		return ANSWER_NOT_ASSIGNED;
	if (last <= c->answered)
		return ANSWER_BACKWARDS;
	if (a->count > last - c->answered)
		return ANSWER_COUNT;
	if (last <= c->policy_upto)
		return ANSWER_LATE;
	if (a->count > last - c->settled || !gaps_plausible(c, last - c->settled - a->count))
		return ANSWER_COUNT;
	return ANSWER_TAKEN;
}

static void book_verdict(struct lane_books *b, const struct channel_answer *a, uint64_t count)
{
	if (a->verdict == SPW_DROP)
		b->dropped += count;
	else if (a->verdict != SPW_ACCEPT)
		b->requeued += count;
	else if (a->set & SPW_VERDICT_PAYLOAD)
		b->modified += count;
	else
		b->accepted += count;
	b->bytes_inspected += a->bytes;
}

/* Of `ids` now accounted for, those whose packets the kernel had thrown away: they stand in the books as lost already.
 */
static uint64_t take_flushed(struct lane_class *c, uint64_t ids)
{
	uint64_t gone = c->flushed < ids ? c->flushed : ids;

	c->flushed -= gone;
	return gone;
}

enum lane_result lane_answer(struct lane_class *c, const struct channel_answer *a)
{
	uint64_t last = widen(c->ids, a->last);
	enum lane_result result = check(c, a, last);
	uint64_t gone, gaps;

	if (result == ANSWER_TAKEN || result == ANSWER_LATE)
		c->answered = last;
	if (result == ANSWER_LATE)
		c->books.late_answers += a->count;
	if (result != ANSWER_TAKEN)
		return result;
	gone = take_flushed(c, a->count);
	gaps = last - c->settled - a->count;
	gaps -= take_flushed(c, gaps);
	if (gaps)
		book_gaps(c, last, gaps);
	c->books.late_answers += gone;
	book_verdict(&c->books, a, a->count - gone);
	c->settled = last;
	c->held = c->held > a->count ? c->held - a->count : 0;
	c->missing_for = 0;
	return ANSWER_TAKEN;
}

void lane_settle(struct lane_class *c, const struct lane_sample *before, enum lane_reason reason)
{
	uint64_t held, missing, gaps;

	lane_sample(c, before);
	held = lane_held(c);
	missing = lane_unreconciled(c);
	gaps = missing < hidden_gaps(c) ? missing : hidden_gaps(c);
	*(c->fail_open ? &c->books.spilled[reason] : &c->books.shut[reason]) += held;
	if (gaps)
		book_gaps(c, c->ids, gaps);
	c->held = 0;
	c->flushed = 0;
	/* What nobody can explain stays visible as ids that were never settled. */
	c->settled = c->policy_upto = c->ids - (missing - gaps);
}
