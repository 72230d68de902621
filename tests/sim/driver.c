/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine in small, in the order of things of src/engine: intent before send, commit by one store, answers before
 * time. The world goes on between any two of its calls into the kernel, and it may die there. Judges nothing.
 */
#include "world.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define LOOK_NS         (1 * MS)
#define LOOK_FAILED_NS  (1000 * MS)
#define ANSWERS_A_STEP  256u
#define DISCARDS_A_STEP 512
#define TRIES           200
#define STOP_ROUNDS     5000

static bool passing(const struct lane_class *c)
{
	return c->state == STATE_OPEN || c->state == STATE_SHUT;
}

/* A moment passes: others act, and the engine may lose its processor or its life. */
static void moment(struct world *w, uint64_t ns)
{
	uint64_t starved = world_chance(w, w->plan.odds.engine_starves) ? world_about(w, 10 * MS) : 0;

	w->starved_ns += starved;
	w->now += world_about(w, ns) + starved;
	actors_others(w);
	if (!w->immortal && world_chance(w, w->plan.odds.engine_dies)) {
		TRACE(w, "engine    is killed");
		longjmp(w->death, 1);
	}
}

struct spw_queue_config driver_config(const struct world *w, unsigned class, enum lane_state state)
{
	struct spw_queue_config config = w->page.config[class];

	config.mask = SPW_FAIL_OPEN | SPW_GSO;
	if (state == STATE_OPEN || state == STATE_SHUT) {
		config.copy_mode = SPW_COPY_META;
		config.length = 0;
		config.flags = SPW_GSO | (state == STATE_OPEN ? SPW_FAIL_OPEN : 0);
	}
	return config;
}

/* Committing: commit.c. */

static void copy_lane(struct lane *to, const struct lane *from)
{
	memcpy(to, from, offsetof(struct lane, class) + from->classes * sizeof(from->class[0]));
}

static bool send_class(struct world *w, unsigned class)
{
	const struct lane_orders *out = &w->page.intent;

	for (int i = 0; i < TRIES && world_chance(w, w->plan.odds.send_fails); i++) {
		w->starved_ns += 1 * MS;
		moment(w, 1 * MS);
		if (i == TRIES - 1)
			return false;
	}
	for (unsigned i = 0; i < out->count; i++) {
		if (out->order[i].class != class)
			continue;
		moment(w, 1 * US);
		world_order(w, &out->order[i]);
	}
	return true;
}

static bool send_intent(struct world *w)
{
	for (unsigned i = 0; i < w->plan.classes; i++)
		if (!send_class(w, i))
			return false;
	return true;
}

static void commit_is(struct world *w, uint64_t commit)
{
	w->page.commit = commit;
	w->last_step_ns = w->page.snapshot[commit & 1].now_ns;
	check_commit(w, &w->page.snapshot[commit & 1]);
}

static bool commit(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t before = w->page.commit, other = (before & 1) ^ 1, count = before >> 2;

	if (!e->orders.count && !e->changed)
		return true;
	moment(w, 0);
	copy_lane(&w->page.snapshot[other], &e->lane);
	if (e->orders.count) {
		w->page.intent.count = e->orders.count;
		memcpy(w->page.intent.order, e->orders.order, e->orders.count * sizeof(e->orders.order[0]));
		moment(w, 0);
		w->page.commit = ++count << 2 | 2 | (before & 1);
		if (!send_intent(w))
			return false;
		moment(w, 0);
	}
	commit_is(w, ++count << 2 | other);
	e->orders.count = e->orders.payloads = 0;
	e->changed = false;
	moment(w, 0);
	return true;
}

static bool repeat(struct world *w)
{
	uint64_t before = w->page.commit;

	if (before & 2) {
		TRACE(w, "engine    repeats an intent");
		w->engine.repeating = true;
		if (!send_intent(w))
			return false;
		w->engine.repeating = false;
		commit_is(w, ((before >> 2) + 1) << 2 | ((before & 1) ^ 1));
	}
	copy_lane(&w->engine.lane, &w->page.snapshot[w->page.commit & 1]);
	return true;
}

static void publish(struct world *w)
{
	const struct lane *l = &w->engine.lane;
	uint32_t active = l->leaving ? 0 : l->inspector;

	for (unsigned i = 0; i < l->classes; i++)
		w->state.settled[i] = l->class[i].settled;
	w->state.consumed = l->consumed;
	w->state.active = active;
}

/* Looking: look.c. */

static bool look_once(struct world *w, unsigned i, struct lane_sample *s)
{
	struct spw_queue_stat line, later;
	struct spw_socket_stat sock;

	moment(w, 500);
	if (world_chance(w, w->plan.odds.look_fails))
		return false;
	(void)kernel_queue_stat(w->kernel, QUEUE(i), &line);
	/* The line is printed without the queue's lock. */
	if (world_chance(w, w->plan.odds.look_torn)) {
		moment(w, 500);
		(void)kernel_queue_stat(w->kernel, QUEUE(i), &later);
		if (world_chance(w, MILLION / 2))
			line.id_sequence = later.id_sequence;
		else
			line.held = later.held;
	}
	moment(w, 200);
	kernel_socket_stat(w->kernel, w->class[i].socket, &sock);
	*s = (struct lane_sample){.ids = line.id_sequence,
				  .held = line.held,
				  .queue_dropped = line.queue_dropped,
				  .user_dropped = line.user_dropped,
				  .socket_drops = sock.drops,
				  .pressed = sock.used > sock.limit / 4 * 3};
	return true;
}

static bool same(const struct lane_sample *a, const struct lane_sample *b)
{
	return a->ids == b->ids && a->held == b->held && a->queue_dropped == b->queue_dropped &&
	       a->user_dropped == b->user_dropped && a->socket_drops == b->socket_drops;
}

static bool look_at(struct world *w, unsigned i, struct lane_sample *s, bool careful)
{
	struct lane_sample again;

	if (!look_once(w, i, s))
		return false;
	if (!careful)
		return true;
	if (!look_once(w, i, &again))
		return false;
	again.coherent = same(s, &again);
	*s = again;
	return true;
}

/* What is booked must have been sent before: else the kernel still counts as held what is settled here. */
static bool look(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	struct lane_sample now;
	uint64_t lost;

	if (w->engine.orders.count && !commit(w))
		return false;
	if (!look_at(w, i, &now, lane_unreconciled(c) || c->hiding))
		return false;
	lost = c->books.lost;
	lane_sample(c, &now, w->now);
	if (c->books.lost != lost)
		TRACE(w, "engine    class %u: lost %llu: ids %llu settled %llu held %llu hiding %llu", i,
		      (unsigned long long)(c->books.lost - lost), (unsigned long long)c->ids,
		      (unsigned long long)c->settled, (unsigned long long)c->held, (unsigned long long)c->hiding);
	check_call(w, &w->engine.lane);
	w->engine.changed = true;
	return true;
}

static bool look_all(struct world *w)
{
	struct engine *e = &w->engine;
	bool ok = true;

	for (unsigned i = 0; i < e->lane.classes && ok; i++)
		ok = look(w, i);
	if (!ok)
		w->starved_ns += lane_step_ns(&e->lane) + (w->now - e->looked_ns);
	e->looked_ns = w->now;
	if (ok)
		e->look_failed_ns = 0;
	else if (!e->look_failed_ns)
		e->look_failed_ns = e->looked_ns;
	return ok || e->looked_ns - e->look_failed_ns < LOOK_FAILED_NS;
}

/* Answers: step.c. */

static enum column column_of(const struct channel_answer *a)
{
	if (a->verdict == CHANNEL_POISONED)
		return POISONED;
	if (a->set & CHANNEL_TRUSTED)
		return TRUSTED;
	if (a->verdict == SPW_DROP)
		return DROPPED;
	if (a->verdict != SPW_ACCEPT)
		return REQUEUED;
	return a->set & SPW_VERDICT_PAYLOAD ? MODIFIED : ACCEPTED;
}

/* An answer holds: its packets are inspected, as far as nobody had decided about them. */
static void note_taken(struct world *w, const struct channel_answer *a, uint64_t settled)
{
	uint64_t last = lane_widen(w->class[a->class].seq, a->last), n = a->last - a->first + (uint64_t)1;

	for (uint64_t id = last - n + 1; id <= last; id++) {
		struct id_record *r = world_id(w, a->class, id);

		if (r && id > settled)
			r->column = column_of(a);
	}
}

static enum lane_result judge_once(struct world *w, const struct channel_answer *a, uint64_t sequence)
{
	struct engine *e = &w->engine;
	struct lane_class *c = a->class < e->lane.classes ? &e->lane.class[a->class] : NULL;
	struct lane_books books = c ? c->books : (struct lane_books){0};
	uint64_t settled = c ? c->settled : 0;
	enum lane_result r;

	if (c)
		w->class[a->class].due = c->due;
	r = lane_answer(&e->lane, e->early, a, sequence, &e->orders);

	check_call(w, &e->lane);
	if (r < ANSWER_LATER && e->answers->lied && e->answers->lie_at == sequence)
		world_fail(w, "a lie is believed: class %u, %u to %u", a->class, a->first, a->last);
	TRACE(w, "answer    class %u, %u to %u, verdict %u, early %u: %s", a->class, a->first, a->last, a->verdict,
	      a->early, lane_result_texts[r]);
	if (r == ANSWER_TAKEN)
		note_taken(w, a, settled);
	else if (r > ANSWER_LATER && c && memcmp(&books, &c->books, sizeof(books)) != 0)
		world_fail(w, "a lie has changed the books");
	return r;
}

static enum lane_result judge(struct world *w, const struct channel_answer *a, uint64_t sequence)
{
	enum lane_result r = judge_once(w, a, sequence);

	if (r != ANSWER_NOT_ASSIGNED && r != ANSWER_COUNT)
		return r;
	if (!look(w, a->class))
		return ANSWER_LATER;
	return judge_once(w, a, sequence);
}

static void lied(struct world *w, const struct channel_answer *a, enum lane_result r)
{
	TRACE(w, "engine    was lied to: class %u, %u to %u: %s", a->class, a->first, a->last, lane_result_texts[r]);
	if (!w->engine.answers->lies)
		world_fail(w, "class %u: an honest answer (%u to %u, verdict %u, early %u) is called: %s", a->class,
			   a->first, a->last, a->verdict, a->early, lane_result_texts[r]);
	w->page.lied = r;
}

static bool has_answers(const struct world *w)
{
	const struct engine *e = &w->engine;

	return e->answers && e->lane.inspector == e->inspector && !w->page.lied &&
	       e->answers->produced != e->lane.consumed;
}

static unsigned take_answers(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t produced, before = e->lane.consumed;
	unsigned taken = 0;

	if (!e->answers || e->lane.inspector != e->inspector || w->page.lied)
		return 0;
	e->lane.busy = false;
	for (unsigned i = 0; i < e->lane.classes; i++)
		e->lane.busy |= e->answers->hand[i].waiting != 0;
	produced = e->answers->produced;
	for (; e->lane.consumed != produced && taken < ANSWERS_A_STEP; taken++) {
		struct channel_answer a = e->answers->ring[e->lane.consumed % CHANNEL_ANSWERS];
		enum lane_result r = judge(w, &a, e->lane.consumed);

		if (r == ANSWER_LATER)
			break;
		if (r > ANSWER_LATER) {
			lied(w, &a, r);
			break;
		}
		e->lane.consumed++;
	}
	e->changed |= e->lane.consumed != before;
	return taken;
}

/* Throwing messages away: step.c. */

static void stop_here(struct world *w)
{
	TRACE(w, "engine    gives up");
	w->engine.failed = true;
}

/*
 * A message thrown away that was not settled: nobody will inspect its packet, and nobody would know if the engine died
 * before that is committed. The one hole: between two instructions here it may; not so in the simulation.
 */
static void note_discarded(struct world *w, unsigned i, uint64_t id)
{
	TRACE(w, "engine    class %u: has thrown away id %llu, unsettled", i, (unsigned long long)id);
	if (world_id(w, i, id))
		world_id(w, i, id)->discarded = true;
	lane_discarded(&w->engine.lane.class[i], w -> engine.early[i], id, REASON_LATE);
	check_call(w, &w->engine.lane);
	w->engine.changed = true;
	w->immortal = true;
	if (!commit(w))
		stop_here(w);
	w->immortal = false;
}

/* One message, thrown away. It need not be the one that was peeked at: somebody may have read in between. */
static void discard_one(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	struct kernel_message m;

	moment(w, 200);
	if (!world_receive(w, i, false, &m) || m.error)
		return;
	w->events++;
	if (lane_widen(c->settled, m.id) > c->settled)
		note_discarded(w, i, lane_widen(c->settled, m.id));
}

/* Returns the first id that is still unread, settled or not; the one after the last assigned where there is none. */
static uint64_t discard_stale(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	uint64_t none = c->ids + 1;
	struct kernel_message m;

	for (int n = 0; world_receive(w, i, true, &m); n++) {
		uint64_t id = lane_widen(c->settled, m.id);

		if (!m.error && (id > c->settled || n >= DISCARDS_A_STEP))
			return id;
		discard_one(w, i);
	}
	return none;
}

/* Only behind a commit that succeeded: what is not yet valid must not cost a message. */
static void discard(struct world *w)
{
	for (unsigned i = 0; i < w->engine.lane.classes; i++) {
		struct lane_class *c = &w->engine.lane.class[i];
		uint64_t unread;

		if (c->owed <= c->answered && !passing(c))
			continue;
		unread = discard_stale(w, i);
		if (unread > c->settled)
			lane_unread(c, unread);
	}
}

static void look_for_inspector(struct world *w)
{
	struct engine *e = &w->engine;

	if (!e->answers || e->dead || e->lane.inspector == e->inspector || w->page.lied || !e->answers->ready)
		return;
	TRACE(w, "engine    inspector %u is active", e->inspector);
	lane_inspector_active(&e->lane, e->inspector, w->now);
	check_call(w, &e->lane);
	e->changed = true;
}

/* Why ids are late that were not before this tick. */
static void note_late(struct world *w, unsigned i, uint64_t before)
{
	const struct lane_class *c = &w->engine.lane.class[i];

	if (c->late_upto <= before)
		return;
	if (c->pressed)
		w->class[i].pressed_upto = c->late_upto;
	else if (c->late_first_ns && w->now - c->late_first_ns > 2 * c->config.deadline_ns)
		w->class[i].habit_upto = c->late_upto;
}

static bool tick(struct world *w)
{
	struct engine *e = &w->engine;
	uint64_t settled[CLASSES], late[CLASSES];
	unsigned orders = e->orders.count;
	bool more;

	for (unsigned i = 0; i < e->lane.classes; i++) {
		struct lane_class *c = &e->lane.class[i];

		settled[i] = c->settled;
		late[i] = c->late_upto;
		w->class[i].exempt = c->turning || passing(c);
		w->class[i].due = c->due;
	}
	more = lane_tick(&e->lane, e->early, w->now, &e->orders);
	check_call(w, &e->lane);
	if (e->orders.count > LANE_ORDERS || e->orders.payloads > LANE_PAYLOADS)
		world_fail(w, "%u orders in one step", e->orders.count);
	for (unsigned i = 0; i < e->lane.classes; i++) {
		struct lane_class *c = &e->lane.class[i];

		note_late(w, i, late[i]);
		w->class[i].exempt |= c->turning || passing(c);
		if (c->settled - settled[i] > LANE_PIECE + CHANNEL_WINDOW)
			world_fail(w, "class %u: %llu ids in one step", i,
				   (unsigned long long)(c->settled - settled[i]));
	}
	e->changed |= more || e->orders.count != orders;
	return more;
}

/*
 * All that are there before time is judged: what is answered is not late. Looks go on meanwhile, so that arrivals get
 * their time; and where an answer waits for a look, others of other classes stand behind it. False: a commit has
 * failed, or nothing can be seen any more.
 */
static bool take_all_answers(struct world *w, unsigned *taken)
{
	uint64_t begun = w->now;
	bool ok = true, stuck = false;

	while (ok && has_answers(w) && *taken < CHANNEL_ANSWERS) {
		unsigned n = take_answers(w);
		bool waits = !n && !w->engine.orders.count;

		if (waits && stuck)
			break;
		stuck = waits;
		*taken += n;
		ok = commit(w);
		if (ok && (waits || w->now - w->engine.looked_ns >= LOOK_NS))
			ok = look_all(w);
	}
	/* So long was spent on packets that were not late. */
	w->starved_ns += w->now - begun;
	return ok;
}

/* Behind a commit that failed, nothing of the lane as it is here may be seen or acted on. */
static bool step(struct world *w)
{
	struct engine *e = &w->engine;
	unsigned taken = 0;
	bool more, ok = true;

	w->steps++;
	w->events++;
	look_for_inspector(w);
	if (!has_answers(w) || w->now - e->looked_ns >= LOOK_NS)
		ok = look_all(w);
	ok = ok && take_all_answers(w, &taken);
	more = tick(w);
	if (!ok || !commit(w)) {
		stop_here(w);
		return false;
	}
	discard(w);
	publish(w);
	return more || taken >= CHANNEL_ANSWERS;
}

/* Requests: serve.c. */

static void serve_gone(struct world *w, enum lane_reason reason)
{
	struct engine *e = &w->engine;
	uint64_t unread[CHANNEL_CLASSES];

	/* What it has answered counts, however many pieces that takes. */
	while (has_answers(w) && !e->failed) {
		(void)take_answers(w);
		(void)tick(w);
		if (!commit(w))
			stop_here(w);
	}
	/* Without fresh ids nobody knows what it had in hand. */
	while (!e->failed && e->inspector && e->lane.inspector == e->inspector && !look_all(w))
		;
	if (e->failed)
		return;
	e->answers = NULL;
	w->page.lied = 0;
	if (e->lane.inspector != e->inspector || !e->inspector) {
		e->inspector = 0;
		return;
	}
	e->inspector = 0;
	for (unsigned i = 0; i < e->lane.classes; i++)
		unread[i] = discard_stale(w, i);
	lane_inspector_gone(&e->lane, unread, reason, w->now);
	check_call(w, &e->lane);
	check_gone(w, &e->lane);
	e->changed = true;
}

static void serve_change(struct world *w, unsigned class, const struct lane_config *config)
{
	struct lane_class *c = &w->engine.lane.class[class];
	struct spw_queue_config *page = &w->page.config[class];
	bool open = !lane_shuts(config, REASON_FULL), differs = open == lane_shuts(&c->config, REASON_FULL);
	uint64_t ids = w->class[class].seq;
	struct lane_sample before;

	while (!look_at(w, class, &before, false))
		;
	page->length = config->length;
	page->flags = (page->flags & ~SPW_FAIL_OPEN) | (open ? SPW_FAIL_OPEN : 0);
	if (!passing(c) && (differs || config->length != c->config.length)) {
		moment(w, 1 * US);
		world_configure(w, class, page);
	}
	moment(w, 1 * US);
	/* What overflowed between the look and now met one policy or the other. */
	w->class[class].truth.mixed += differs ? w->class[class].seq - ids : 0;
	w->class[class].truth.changed = true;
	lane_switch(c, &before, config, w->now);
	check_call(w, &w->engine.lane);
}

static bool turned(const struct world *w)
{
	for (unsigned i = 0; i < w->engine.lane.classes; i++)
		if (!lane_turned(&w->engine.lane.class[i]))
			return false;
	return true;
}

static void serve_stop(struct world *w, enum lane_reason reason)
{
	struct engine *e = &w->engine;

	while (has_answers(w) && !e->failed)
		(void)step(w);
	for (unsigned i = 0; i < e->lane.classes; i++)
		lane_turn(&e->lane.class[i], reason);
	e->lane.leaving = true;
	for (int i = 0; i < STOP_ROUNDS && !e->failed && !w->stopped; i++) {
		bool more = step(w);

		w->stopped = !e->failed && look_all(w) && !more && turned(w);
		if (!more)
			moment(w, 1 * MS);
	}
	if (!e->failed && !w->stopped)
		world_fail(w, "stopping takes for ever");
}

static void serve_counter(struct world *w, unsigned class)
{
	struct lane_class *c = &w->engine.lane.class[class];
	uint64_t hits = kernel_hook(w->kernel, 0)->rule[class + 1].hits;
	struct lane_sample before, after;
	int64_t ids, drops;

	if (!look_at(w, class, &before, false))
		return;
	hits = kernel_hook(w->kernel, 0)->rule[class + 1].hits;
	if (!look_at(w, class, &after, false) || !same(&before, &after) ||
	    hits != kernel_hook(w->kernel, 0)->rule[class + 1].hits)
		return;
	ids = (int64_t)(lane_widen(c->ids, after.ids) - w->plan.class[class].first);
	drops = (int64_t)(c->queue_dropped + (after.queue_dropped - c->last.queue_dropped));
	lane_counted(c, (int64_t)hits - ids - drops, false);
	check_call(w, &w->engine.lane);
}

static void serve_inspector(struct world *w, uint32_t number)
{
	struct engine *e = &w->engine;

	e->inspector = number;
	e->answers = number ? &w->inspector[number % 2] : NULL;
	e->dead = number && w->gone_asked;
	w->page.lied = 0;
}

static void serve(struct world *w, const struct request *q)
{
	struct lane *l = &w->engine.lane;
	struct lane_config config = l->class[q->class].config;

	switch (q->op) {
	case OP_INSPECTOR:
		serve_inspector(w, q->value);
		break;
	case OP_GONE:
		serve_gone(w, q->value);
		break;
	case OP_LEAVE:
		l->leaving = true;
		break;
	case OP_DOWN_LONG:
		l->down_long = q->value != 0;
		break;
	case OP_NOT_HUNG:
		l->wait_ns = 0;
		l->stalled = false;
		break;
	case OP_COUNTER:
		serve_counter(w, q->class);
		break;
	case OP_FAIL_OPEN:
		config.fail_open = q->value != 0;
		serve_change(w, q->class, &config);
		break;
	case OP_LENGTH:
		config.length = q->value;
		serve_change(w, q->class, &config);
		break;
	case OP_TURN:
		if (q->value)
			lane_turn(&l->class[q->class], REASON_MANUAL);
		else
			lane_return(&l->class[q->class]);
		break;
	default:
		serve_stop(w, q->value);
	}
}

/* One request; it is the keeper's no more once its outcome holds. */
static void serve_one(struct world *w)
{
	static const char *const names[] = {"inspector", "gone",      "leave",  "down long", "not hung",
					    "counter",   "fail open", "length", "turn",      "stop"};
	struct request q = w->request[w->request_first];

	TRACE(w, "engine    serves: class %u %s %u", q.class, names[q.op], q.value);
	serve(w, &q);
	w->engine.changed = true;
	if (w->engine.failed)
		return;
	if (!commit(w)) {
		stop_here(w);
		return;
	}
	w->request_first = (w->request_first + 1) % REQUESTS;
	w->requests--;
	if (q.op == OP_GONE)
		actors_gone(w);
}

/* Living: engine.c. */

/* For a packet that came meanwhile, the time without an engine begins with its arrival. */
static void shorten_absence(struct world *w)
{
	for (unsigned i = 0; i < w->plan.classes; i++) {
		for (uint64_t id = w->class[i].out + 1; id <= w->class[i].seq; id++) {
			struct id_record *r = world_id(w, i, id);

			if (r && r->arrived > w->last_step_ns)
				r->dead += r->arrived - w->last_step_ns;
		}
	}
}

static void resume(struct world *w)
{
	shorten_absence(w);
	w->dead_ns += w->now - w->last_step_ns;
	w->last_step_ns = w->now;
	lane_resume(&w->engine.lane, w->now);
}

/* The engine before may have died in the middle of a change: the lane knows nothing of it, and the keeper asks again.
 */
static void undo_change(struct world *w, unsigned i)
{
	struct lane_class *c = &w->engine.lane.class[i];
	struct spw_queue_config *page = &w->page.config[i];
	uint32_t open = lane_shuts(&c->config, REASON_FULL) ? 0 : SPW_FAIL_OPEN;
	struct lane_sample before;

	if (page->length == c->config.length && (page->flags & SPW_FAIL_OPEN) == open)
		return;
	while (!look_at(w, i, &before, false))
		;
	page->length = c->config.length;
	page->flags = (page->flags & ~SPW_FAIL_OPEN) | open;
	if (!passing(c))
		world_configure(w, i, page);
	lane_switch(c, &before, &c->config, w->now);
}

static void attach(struct world *w)
{
	struct engine *e = &w->engine;

	for (unsigned i = 0; i < CLASSES; i++)
		e->early[i] = w->page.early[i];
	if (!repeat(w)) {
		stop_here(w);
		return;
	}
	for (unsigned i = 0; i < e->lane.classes; i++)
		undo_change(w, i);
	resume(w);
	e->attached = true;
	if (!look_all(w))
		stop_here(w);
}

/* Which inspector there is comes first: its answers are taken before anything is judged. */
static void hear_first_word(struct world *w)
{
	serve_inspector(w, w->current);
	w->engine.word = true;
	resume(w);
}

static void live(struct world *w)
{
	struct engine *e = &w->engine;
	bool more = false;

	if (!e->attached) {
		attach(w);
	} else if (!e->word) {
		hear_first_word(w);
	} else {
		more = step(w);
		if (!e->failed && w->requests)
			serve_one(w);
	}
	if (e->failed)
		longjmp(w->death, 1);
	w->next[ACTOR_ENGINE] = w->now + 2 * US;
	w->state.engine_sleeps = !more && e->word && !w->requests && !has_answers(w);
	if (w->state.engine_sleeps && e->looked_ns + lane_step_ns(&e->lane) > w->now)
		w->next[ACTOR_ENGINE] = e->looked_ns + lane_step_ns(&e->lane);
}

static void die(struct world *w)
{
	memset(&w->engine, 0, sizeof(w->engine));
	w->engine_start_ns = w->now + world_about(w, 5 * MS);
	w->next[ACTOR_ENGINE] = UINT64_MAX;
	w->next[ACTOR_KEEPER] = w->now;
}

void driver_run(struct world *w)
{
	if (setjmp(w->death))
		die(w);
	else
		live(w);
}

void driver_poke(struct world *w, uint64_t latency_ns)
{
	uint64_t at = w->now + latency_ns;

	if (w->engine.alive && w->state.engine_sleeps && w->next[ACTOR_ENGINE] > at)
		w->next[ACTOR_ENGINE] = at;
}
