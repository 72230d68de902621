/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What time does to a lane: lateness, the circuit breaker, an inspector that is gone or makes no progress. Gets the
 * time as an argument and works on its arguments alone.
 */
#include "lane/internal.h"

#include <spillway/packet.h>

#define MS 1000000ull

/* The breaker: a class is opened when most of its packets were late in four windows on end, or all in two. */
#define WINDOW_NS     (50 * MS)
#define BAD_WINDOWS   4u
/* Then it is left in peace for a pause, that doubles with each probe that fails. */
#define PAUSE_NS      (100 * MS)
#define PAUSE_MAX_NS  (600 * MS)
/* A probe queues again. It has failed as soon as more than a twentieth is late, and is over after so long. */
#define PROBE_NS      (100 * MS)
#define PROBE_MAX_NS  (400 * MS)
#define TWENTIETH     20u
/* Inspecting for so long makes past failures forgotten. */
#define GOOD_NS       (5000 * MS)
/* Deadlines without lateness until it is no habit any more; of so many, one is a trial. */
#define HABIT         16u
#define TRIAL         33u
/* Between two looks, at most. */
#define STEP_MAX_NS   (5 * MS)
/* The same where nothing comes to any class; at most a deadline where its next arrival is awaited, since it is the
 * inspector's word that is relied on. */
#define STEP_QUIET_NS (25 * MS)
/* Looks without an arrival, until one is a surprise. */
#define CALM          2u
/* Without an inspector for so long, a class is opened. */
#define DOWN_NS       (100 * MS)
/* Above any id that is assigned while the opening is carried out. */
#define FAR_AHEAD     (1u << 30)

bool lane_turned(const struct lane_class *c)
{
	return lane_passing(c) && !c->held;
}

void lane_turn(struct lane_class *c, enum lane_reason reason)
{
	c->reason = reason;
	c->turning = !lane_passing(c) || lane_shuts(&c->config, reason) != (c->state == STATE_SHUT);
}

static void begin_window(struct lane_class *c, uint64_t now)
{
	c->window_ns = now;
	c->good_before = c->window_good;
	c->window_late = c->window_good = 0;
}

static void enter(struct lane_class *c, enum lane_state state, uint64_t now)
{
	c->state = state;
	c->looked = false;
	c->since_ns = now;
	c->changes++;
	c->rounds++;
	c->bad_windows = 0;
	c->mark_count = 0;
	c->late_first_ns = 0;
	begin_window(c, now);
}

/* The pause before the next probe: longer each time, most of all where nothing was in time, until a long good time
 * makes a new beginning. */
static void plan_probe(struct lane_class *c, uint64_t now)
{
	bool anew = !c->pause_ns || (c->state == STATE_INSPECTING && now - c->since_ns > GOOD_NS);

	c->pause_ns = anew ? PAUSE_NS : least(c->pause_ns * (c->window_good ? 2 : 4), PAUSE_MAX_NS);
	c->probe_ns = now + c->pause_ns;
}

static void emit(struct step *s, enum lane_order_kind kind)
{
	s->out->order[s->out->count++] = (struct lane_order){.kind = kind, .class = (uint8_t)s->class};
}

static enum lane_reason why_late(const struct lane *l)
{
	if (!l->inspector)
		return l->down_reason;
	return l->stalled ? REASON_HUNG : REASON_LATE;
}

static void begin_passing(struct lane_class *c, uint64_t now)
{
	bool shut = lane_shuts(&c->config, c->reason);

	plan_probe(c, now);
	enter(c, shut ? STATE_SHUT : STATE_OPEN, now);
	c->turning = false;
	if (!shut && !c->counted)
		c->books.uncounted = true;
	c->passed_reason = c->reason;
}

void lane_turned_outside(struct lane_class *c, enum lane_reason reason, uint64_t now_ns)
{
	if (lane_passing(c))
		return;
	c->reason = reason;
	begin_passing(c, now_ns);
}

/*
 * All that is held has been settled and ordered: now the class passes (or drops) everything. What arrives while this is
 * carried out is let go by the verdict behind it; a later packet may overtake those few.
 */
static void finish_turn(struct step *s, uint64_t now)
{
	struct lane_class *c = s->c;
	bool shut = lane_shuts(&c->config, c->reason);

	emit(s, shut ? ORDER_SHUT : ORDER_OPEN);
	lane_emit_batch(s, (uint32_t)c->ids + FAR_AHEAD, shut ? SPW_DROP : SPW_ACCEPT);
	begin_passing(c, now);
}

static bool turn(struct step *s, uint64_t now)
{
	struct lane_class *c = s->c;

	if (!lane_settle(s, least(c->ids, c->settled + LANE_PIECE), c->reason))
		return true;
	if (c->settled < c->ids || s->out->count + 3 > LANE_ORDERS)
		return true;
	finish_turn(s, now);
	return false;
}

static void take_mark(struct lane_class *c)
{
	c->late_upto = c->marks[c->mark_first].id;
	c->mark_first = (c->mark_first + 1) % LANE_MARKS;
	c->mark_count--;
}

/* True where a packet waits that arrived at least `age` ago. */
static bool oldest_is(const struct lane_class *c, uint64_t now, uint64_t age)
{
	return c->mark_count && c->marks[c->mark_first].ns + age <= now;
}

/* Lateness has gone on for more than two deadlines, without a long pause. */
static bool late_by_habit(const struct lane_class *c, uint64_t now)
{
	uint64_t deadline = c->config.deadline_ns;

	return c->late_first_ns && now - c->late_last_ns <= HABIT * deadline && now - c->late_first_ns > 2 * deadline;
}

/* By habit, and nothing was in time of late: waiting is in vain. Every 33rd deadline that is tried anew. */
static bool hopeless(const struct lane_class *c, uint64_t now)
{
	return late_by_habit(c, now) && !c->window_good && !c->good_before &&
	       (now - c->late_first_ns) / c->config.deadline_ns % TRIAL;
}

/*
 * Without a breaker, packets that are late in any case need not be shown to anybody: that costs most of what they cost.
 * Nobody waits for the inspector meanwhile; one that hangs has to show at trials that are not too far apart.
 */
static bool in_vain(const struct lane *l, const struct lane_class *c, uint64_t now)
{
	return !l->breaker && (!l->hung_ns || 3ull * TRIAL * c->config.deadline_ns < 2 * l->hung_ns) &&
	       hopeless(c, now);
}

static void note_lateness(struct lane_class *c, uint64_t now)
{
	if (!c->late_first_ns || now - c->late_last_ns > HABIT * c->config.deadline_ns)
		c->late_first_ns = now;
	c->late_last_ns = now;
}

/*
 * Time for marks to come due. An inspector that is a little too slow for long would get only packets that are about to
 * be late, and finish each of them in vain: so, when lateness has become a habit, what waits is cut down to half a
 * deadline, and it has time for those behind. Where it finishes none in time, packets wait only an eighth. Where the
 * socket is nearly full, the oldest go, else newer ones would find no room.
 */
static void find_late(struct lane_class *c, uint64_t now)
{
	uint64_t deadline = c->config.deadline_ns, limit;

	while (c->mark_count && c->marks[c->mark_first].id <= c->settled)
		take_mark(c);
	if (!c->mark_count)
		return;
	limit = hopeless(c, now) ? deadline / 8 : deadline;
	if (oldest_is(c, now, limit)) {
		note_lateness(c, now);
		if (limit == deadline && late_by_habit(c, now))
			limit = deadline / 2;
		while (oldest_is(c, now, limit))
			take_mark(c);
	} else if (c->pressed) {
		take_mark(c);
	}
}

bool lane_calm(const struct lane_class *c)
{
	return c->state == STATE_INSPECTING && !c->turning && !c->blind && c->still >= CALM && c->settled == c->ids &&
	       !c->pool && !c->hiding;
}

void lane_stirred(struct lane_class *c)
{
	c->still = 0;
}

/* Nothing comes to the queue of an open class, and nothing of it is held: there is little to see. */
static bool quiet(const struct lane_class *c)
{
	return lane_passing(c) && c->looked && !c->held && !c->turning;
}

bool lane_at_rest(const struct lane_class *c)
{
	return quiet(c) && c->reason == REASON_MANUAL;
}

static uint64_t class_step_ns(const struct lane *l, const struct lane_class *c, bool awaited)
{
	uint64_t deadline = c->config.deadline_ns, part = deadline / (late_by_habit(c, l->now_ns) ? 24 : 8);

	if (quiet(c))
		return STEP_QUIET_NS;
	if (awaited && lane_calm(c))
		return deadline ? least(deadline, STEP_QUIET_NS) : STEP_QUIET_NS;
	return part ? least(part, STEP_MAX_NS) : STEP_MAX_NS;
}

uint64_t lane_step_ns(const struct lane *l, uint32_t awaited)
{
	uint64_t least_ns = STEP_QUIET_NS;

	for (unsigned i = 0; i < l->classes; i++)
		least_ns = least(least_ns, class_step_ns(l, &l->class[i], awaited & 1u << i));
	return most(least_ns, LANE_STEP_LEAST_NS);
}

/* One piece of what is due or late. True where more is left. */
static bool settle_late(struct step *s)
{
	struct lane_class *c = s->c;
	bool due = c->due > c->settled;
	uint64_t upto = due ? least(c->due, c->ids) : c->late_upto;

	if (upto <= c->settled)
		return false;
	if (!due && s->l->inspector && !c->blind) {
		s->l->wait_last_ns = s->l->now_ns;
		if (!s->l->wait_ns)
			s->l->wait_ns = s->l->now_ns;
	}
	return !lane_settle(s, least(upto, c->settled + LANE_PIECE), due ? c->due_reason : why_late(s->l)) ||
	       most(c->due, c->late_upto) > c->settled;
}

static bool window_bad(const struct lane_class *c, uint64_t part)
{
	return c->window_late * part > c->window_late + c->window_good;
}

static void judge_window(struct step *s, uint64_t now)
{
	struct lane_class *c = s->c;

	if (now - c->window_ns < WINDOW_NS)
		return;
	if (c->window_late || c->window_good)
		c->bad_windows = window_bad(c, 2) ? c->bad_windows + (c->window_good ? 1 : 2) : 0;
	begin_window(c, now);
	if (s->l->breaker && c->bad_windows >= BAD_WINDOWS)
		lane_turn(c, REASON_LATE);
}

static void judge_probe(struct lane_class *c, uint64_t now)
{
	uint64_t lasted = now - c->since_ns;
	bool bad = window_bad(c, TWENTIETH);

	if (bad && (c->window_late > 1 || lasted >= PROBE_NS)) {
		lane_turn(c, REASON_LATE);
	} else if (lasted >= (c->window_good ? PROBE_NS : PROBE_MAX_NS)) {
		c->state = STATE_INSPECTING;
		c->since_ns = now;
		c->changes++;
		begin_window(c, now);
	}
}

static bool owes(const struct step *s)
{
	return s->l->busy && s->c->answered < s->c->owed;
}

static bool may_inspect(const struct step *s, uint64_t now)
{
	/* What was let go behind the opening is to be known first. */
	if (!s->l->inspector || s->l->leaving || !s->c->looked)
		return false;
	switch (s->c->reason) {
	case REASON_LATE:
		return now >= s->c->probe_ns && !owes(s);
	case REASON_DOWN:
	case REASON_HUNG:
		return true;
	default:
		return false;
	}
}

static void tick_passing(struct step *s, uint64_t now)
{
	struct lane_class *c = s->c;

	if (may_inspect(s, now)) {
		emit(s, ORDER_INSPECT);
		enter(c, c->reason == REASON_LATE ? STATE_PROBING : STATE_INSPECTING, now);
		c->owed = c->answered;
	} else if (c->turning) {
		finish_turn(s, now);
	} else if (c->held) {
		lane_emit_batch(s, (uint32_t)c->ids, c->state == STATE_SHUT ? SPW_DROP : SPW_ACCEPT);
	}
}

void lane_return(struct lane_class *c)
{
	if (c->turning)
		c->turning = false;
	else if (lane_passing(c) && c->reason == REASON_MANUAL)
		c->reason = REASON_DOWN;
}

static bool down_for_long(const struct lane *l, uint64_t now)
{
	return !l->inspector && (l->down_long || now >= l->down_ns + DOWN_NS);
}

static bool tick_class(struct step *s, uint64_t now)
{
	struct lane_class *c = s->c;
	bool more;

	if (lane_passing(c)) {
		c->blind = false;
		tick_passing(s, now);
		return false;
	}
	lane_release_early(s);
	find_late(c, now);
	c->blind = in_vain(s->l, c, now);
	if (down_for_long(s->l, now) && !c->turning)
		lane_turn(c, s->l->down_reason);
	if (c->turning)
		return turn(s, now);
	more = settle_late(s);
	/* Also where more is left each time: a class that late packets keep busy is the one to be opened. */
	if (c->state == STATE_PROBING)
		judge_probe(c, now);
	else
		judge_window(s, now);
	return more || c->turning;
}

/* Does somebody wait for the inspector? */
static void watch_progress(struct lane *l, uint64_t now)
{
	bool waits = false;

	for (unsigned i = 0; i < l->classes; i++) {
		const struct lane_class *c = &l->class[i];

		waits |= (!lane_passing(c) && c->held && !c->blind) || (l->busy && c->answered < c->owed);
	}
	if (!l->inspector || !l->hung_ns) {
		l->wait_ns = 0;
		l->stalled = false;
		return;
	}
	if (waits && !l->wait_ns)
		l->wait_ns = now;
	if (waits)
		l->wait_last_ns = now;
	l->stalled = l->wait_ns && l->wait_last_ns - l->wait_ns >= l->hung_ns;
}

bool lane_tick(struct lane *l, struct lane_early *const *early, uint64_t now_ns, struct lane_orders *out)
{
	bool more = false;

	l->now_ns = now_ns;
	watch_progress(l, now_ns);
	for (unsigned n = 0; n < l->classes; n++) {
		unsigned i = (l->first + n) % l->classes;
		struct step s = {.l = l, .c = &l->class[i], .class = i, .early = early[i], .out = out};

		/* Whoever finds no room is the first one of the next step: no class keeps others waiting. */
		if (!lane_room(out)) {
			l->first = i;
			return true;
		}
		more |= tick_class(&s, now_ns);
	}
	return more;
}

void lane_resume(struct lane *l, uint64_t now_ns)
{
	uint64_t away = now_ns - l->now_ns;

	for (unsigned i = 0; i < l->classes; i++) {
		struct lane_class *c = &l->class[i];

		for (unsigned m = 0; m < LANE_MARKS; m++)
			c->marks[m].ns = least(c->marks[m].ns + away, now_ns);
		c->late_first_ns += c->late_first_ns ? away : 0;
		c->late_last_ns += away;
		c->window_ns += away;
		c->probe_ns += away;
	}
	if (l->wait_ns) {
		l->wait_ns += away;
		l->wait_last_ns += away;
	}
	if (l->down_ns)
		l->down_ns = least(l->down_ns + away, now_ns); /* it went between two ticks */
	l->now_ns = now_ns;
}

void lane_unseen(struct lane_class *c)
{
	if (c->ids <= c->settled)
		return;
	c->due = c->ids;
	c->due_reason = REASON_LATE;
}

void lane_inspector_active(struct lane *l, uint32_t number, uint64_t now_ns)
{
	l->inspector = number;
	l->consumed = l->answered = 0;
	l->leaving = l->busy = l->stalled = l->down_long = false;
	l->wait_ns = l->down_ns = 0;
	l->now_ns = now_ns;
}

void lane_inspector_gone(struct lane *l, const uint64_t *unread, enum lane_reason reason, uint64_t now_ns)
{
	for (unsigned i = 0; i < l->classes; i++) {
		struct lane_class *c = &l->class[i];
		uint64_t in_hand = unread[i] - 1;

		c->owed = 0;
		if (in_hand <= c->answered)
			continue;
		c->answered = in_hand;
		if (in_hand > c->settled) {
			c->due = in_hand;
			c->due_reason = reason;
		}
	}
	l->inspector = 0;
	l->consumed = 0;
	l->busy = l->stalled = l->leaving = false;
	l->wait_ns = 0;
	l->down_ns = now_ns;
	l->down_reason = reason;
}
