/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a look at the kernel means for the books: gaps, losses, arrivals, switches. Works on its arguments alone.
 *
 * The kernel numbers packets 1, 2, 3 …; an id whose message did not fit into the socket is used up and never held. What
 * the kernel holds is never more than the ids that are not settled; what is fewer is a gap that nobody has come across
 * yet, or packets that the kernel threw away. What the socket has dropped since tells the two apart. That counts
 * replies too, so it is only a bound, and is taken back to what is missing at each look at which nothing moved.
 */
#include "lane/internal.h"

#include <assert.h>

#define STABLE 8u /* samples that must agree: the kernel's line is printed without its lock */

/* The kernel's flag, as the policy for `full` sets it. */
static bool flag_open(const struct lane_class *c)
{
	return !lane_shuts(&c->config, REASON_FULL);
}

void lane_book_gaps(struct lane_class *c, uint64_t upto, uint64_t gaps)
{
	bool open = upto <= c->switched_at ? c->switched_from : flag_open(c);

	c->gaps += gaps;
	c->hiding -= least(c->hiding, gaps);
	c->counted_gaps -= least(c->counted_gaps, gaps);
	if (open) {
		c->books.spilled[REASON_FULL] += gaps;
	} else {
		c->books.shut[REASON_FULL] += gaps;
		c->gaps_shut += gaps;
	}
}

void lane_book_policy(struct lane_class *c, enum lane_reason reason, bool shut, uint64_t packets)
{
	*(shut ? &c->books.shut[reason] : &c->books.spilled[reason]) += packets;
}

static bool pool_mixes(const struct lane_class *c, enum lane_reason reason, bool shut)
{
	return c->pool && (c->pool_reason != reason || c->pool_shut != shut);
}

/* False: a look comes first, so that nobody has to guess what of the pool was what. */
bool lane_pool_takes(const struct lane_class *c, enum lane_reason reason, bool shut)
{
	return c->pool_looked || !pool_mixes(c, reason, shut);
}

/* Of `ids` now accounted for, those whose packets the kernel had thrown away: they stand in the books as lost already.
 */
uint64_t lane_take_flushed(struct lane_class *c, uint64_t ids)
{
	uint64_t gone = least(c->flushed, ids);

	c->flushed -= gone;
	return gone;
}

/* With everything settled, the kernel's own count of drops says which gaps were shut: put right what a switch blurred.
 */
static void reconcile_gaps(struct lane_class *c)
{
	if (c->ids != c->settled || c->pool || c->user_dropped > c->gaps)
		return;
	c->books.shut[REASON_FULL] += c->user_dropped - c->gaps_shut;
	c->books.spilled[REASON_FULL] -= c->user_dropped - c->gaps_shut;
	c->gaps_shut = c->user_dropped;
}

static uint64_t missing(const struct lane_class *c)
{
	return lane_unreconciled(c) - c->pool;
}

/* Unexplained ids that stay so over several looks: gaps at the end of the line, or packets that the kernel threw away.
 */
static void explain_missing(struct lane_class *c)
{
	uint64_t now = missing(c), lost;

	if (!now || c->pool) {
		c->missing_for = 0;
		return;
	}
	if (!c->missing_for || now < c->missing)
		c->missing = now;
	if (++c->missing_for < STABLE)
		return;
	c->missing_for = 0;
	if (c->missing > c->hiding && c->config.length < TABLE_END) {
		lost = c->missing - c->hiding;
		c->books.lost += lost;
		c->flushed += lost;
	} else if (!c->held && !c->flushed && c->missing == c->ids - c->settled && c->early_upto <= c->settled) {
		lane_book_gaps(c, c->ids, c->missing);
		c->settled = c->ids;
	}
}

/*
 * With the flag off the kernel counts each gap by itself; but its line may show an id before the count. The socket's
 * count is complete and too high: replies are in it.
 */
static void count_gaps(struct lane_class *c, const struct lane_sample *now)
{
	uint32_t drops = now->socket_drops - c->last.socket_drops, shut = now->user_dropped - c->last.user_dropped;

	c->user_dropped += shut;
	c->socket_drops += drops;
	c->hiding += drops;
	c->counted_gaps += shut;
	c->flag_was_on |= flag_open(c);
}

static uint64_t known_gaps(const struct lane_class *c)
{
	return c->flag_was_on ? c->hiding : least(c->hiding, c->counted_gaps);
}

/* What hid and is not missing now was in the pool. Exact where nothing moved at the last look. Returns the gaps. */
static uint64_t empty_pool(struct lane_class *c)
{
	uint64_t elsewhere = missing(c) + c->guessed, all = known_gaps(c);
	uint64_t gaps = all > elsewhere ? least(all - elsewhere, c->pool) : 0;

	lane_book_gaps(c, c->settled, gaps);
	lane_book_policy(c, c->pool_reason, c->pool_shut, c->pool - gaps);
	c->pool = 0;
	return gaps;
}

/* Two kinds of ids meet before a look at which nothing moved. That must not make honest answers implausible: what may
 * hide stays what it was. */
static void guess_pool(struct lane_class *c)
{
	uint64_t gaps = empty_pool(c);

	c->hiding += gaps;
	c->counted_gaps += gaps;
	c->guessed += gaps;
}

/* Ids settled by policy, some of which may never have been held: which, the next looks will tell. */
void lane_pool(struct lane_class *c, enum lane_reason reason, bool shut, uint64_t ids)
{
	if (pool_mixes(c, reason, shut))
		guess_pool(c);
	c->pool_looked = false;
	c->pool_reason = reason;
	c->pool_shut = shut;
	c->pool += ids;
}

/* Nothing moved: what is missing now is all that still hides. */
static void find_gaps(struct lane_class *c)
{
	uint64_t elsewhere = missing(c);

	(void)empty_pool(c);
	c->hiding = c->config.length >= TABLE_END ? elsewhere : least(known_gaps(c), elsewhere);
	c->counted_gaps = c->hiding;
	c->flag_was_on = false;
	c->guessed = 0;
}

/* Could the kernel's flag have acted on queue length, which leaves no trace? Between two looks, no more was ever held
 * than this. */
static void watch_length(struct lane_class *c, uint64_t ids, const struct lane_sample *now)
{
	bool may_be_full = c->last.held + (ids - c->ids) >= c->config.length;

	if (c->counted || lane_passing(c))
		return;
	if (flag_open(c) && may_be_full)
		c->books.uncounted = true;
	/* Without F_GSO the kernel counts one drop for all of an aggregate's segments that are left. */
	if (!c->config.gso &&
	    (now->queue_dropped != c->last.queue_dropped || now->user_dropped != c->last.user_dropped))
		c->books.uncounted = true;
}

/* The clock: every id up to `ids` has arrived by now. Marks closer than a 24th of the deadline are one. */
static void mark_arrivals(struct lane_class *c, uint64_t ids, uint64_t now_ns)
{
	struct lane_mark *newest = &c->marks[(c->mark_first + c->mark_count - 1) % LANE_MARKS];

	if (!c->config.deadline_ns || ids == c->ids)
		return;
	if (c->mark_count && (c->mark_count == LANE_MARKS || now_ns - newest->ns < c->config.deadline_ns / 24)) {
		newest->id = ids;
		return;
	}
	c->marks[(c->mark_first + c->mark_count++) % LANE_MARKS] = (struct lane_mark){.id = ids, .ns = now_ns};
}

/* What arrived while the class was being opened has been let go by the verdict behind the opening. */
static void settle_passing(struct lane_class *c)
{
	uint64_t n = c->ids - c->settled;

	if (!n)
		return;
	n -= lane_take_flushed(c, n);
	c->overtaken += n;
	lane_pool(c, c->reason, c->state == STATE_SHUT, n);
	c->settled = c->ids;
}

static void book_queue_drops(struct lane_class *c, uint32_t now)
{
	uint64_t drops = now - c->last.queue_dropped;

	c->books.shut[lane_passing(c) ? c->reason : REASON_FULL] += drops;
	c->queue_dropped += drops;
}

void lane_sample(struct lane_class *c, const struct lane_sample *now, uint64_t now_ns)
{
	uint64_t ids = lane_widen(c->ids, now->ids);

	watch_length(c, ids, now);
	mark_arrivals(c, ids, now_ns);
	book_queue_drops(c, now->queue_dropped);
	count_gaps(c, now);
	c->looked = true;
	c->still = ids == c->ids && !now->held ? c->still + 1 : 0;
	c->ids = ids;
	c->held = now->held;
	c->pressed = now->pressed;
	c->last = *now;
	assert(c->settled <= c->ids);
	if (lane_passing(c))
		settle_passing(c);
	if (now->coherent)
		find_gaps(c);
	else
		c->pool_looked = true;
	explain_missing(c);
	reconcile_gaps(c);
}

void lane_switch(struct lane_class *c, const struct lane_sample *now, const struct lane_config *config, uint64_t now_ns)
{
	bool was = flag_open(c);

	lane_sample(c, now, now_ns);
	c->config = *config;
	if (flag_open(c) != was) {
		c->switched_at = c->ids;
		c->switched_from = was;
	}
	c->flag_was_on = true;
	/* A shorter queue may be full already. */
	if (flag_open(c) && !c->counted && !lane_passing(c) && c->held >= c->config.length)
		c->books.uncounted = true;
}

void lane_uncounted(struct lane_class *c)
{
	c->books.uncounted |= lane_passing(c);
	c->counted = false;
}

void lane_counted(struct lane_class *c, int64_t beyond, bool fresh)
{
	uint64_t *column = &c->books.spilled[c->passed_reason];
	int64_t more = beyond - c->beyond;

	if (fresh || !c->counted) {
		c->books.uncounted |= c->counted || lane_passing(c);
		c->counted = true;
	} else if (more >= 0 || (uint64_t)-more <= least(*column, c->passed)) {
		*column += (uint64_t)more;
		c->passed += (uint64_t)more;
	}
	c->beyond = beyond;
	/* What is counted from now on passed for this reason. */
	c->passed_reason = lane_passing(c) ? c->reason : REASON_FULL;
}
