/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The status as JSON, from the pages: see status.h. Reads them and changes nothing. What can't be known is null.
 */
#include "control/status.h"

#include <inttypes.h>
#include <time.h>

#define SECOND_NS 1000000000

/* A field of a page that somebody else may be writing: loaded once. */
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

static json_t *rfc3339(int64_t seconds, int64_t ns)
{
	const time_t t = (time_t)seconds;
	char date[32], text[48];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03dZ", date, (int)(ns / 1000000));
	return json_string(text);
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *number_unless(bool unknown, uint64_t n)
{
	return unknown ? json_null() : number(n);
}

static json_t *by_reason(const uint64_t *column)
{
	json_t *o = json_object();

	for (int i = 0; i < REASONS; i++)
		json_object_set_new(o, lane_reason_names[i], number(column[i]));
	return o;
}

static const char *state_name(const struct lane_class *c)
{
	return (unsigned)c->state < STATES ? lane_state_names[c->state] : NULL;
}

static const char *reason_name(const struct lane_class *c)
{
	return c->state != STATE_INSPECTING && (unsigned)c->reason < REASONS ? lane_reason_names[c->reason] : NULL;
}

static json_t *class_name(unsigned class, unsigned queue)
{
	return class ? json_sprintf("class-%u", queue) : json_string("default");
}

/* What a gate before the queue has decided itself belongs into the same columns. */
static void add_gate(struct lane_class *c, const struct board_gate *g)
{
	c->passed += board_gate_passed(g);
	c->beyond += (int64_t)board_gate_passed(g);
	c->books.trusted += LOAD(g->trusted);
	for (int r = 0; r < REASONS; r++) {
		c->books.spilled[r] += LOAD(g->spilled[r]);
		c->books.shut[r] += LOAD(g->shut[r]);
	}
}

/* So does what the rules have let pass by its connection's mark. */
static void add_marked(struct lane_class *c, const struct engine_marked marked[ENGINE_MARKED])
{
	const uint64_t trusted = LOAD(marked[ENGINE_MARKED_TRUSTED].passed);
	const uint64_t spilled = LOAD(marked[ENGINE_MARKED_SPILLED].passed);

	c->passed += trusted + spilled;
	c->beyond += (int64_t)(trusted + spilled);
	c->books.trusted += trusted;
	c->books.spilled[REASON_LOAD] += spilled;
}

/* null: none stands there. */
static json_t *gate_json(const struct board_gate *g, const struct load *load)
{
	static const char *const levels[LOAD_LEVELS] = {"everything", "tail", "new"};
	unsigned level = LOAD(load->level);
	uint64_t cutoff = LOAD(g->cutoff);

	if (!LOAD(g->there))
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:s?, s:o}", "admitted",
			 number(LOAD(g->admitted)), "admitted_bytes", number(LOAD(g->admitted_bytes)), "passed",
			 number(board_gate_passed(g)), "slot_missed", number(LOAD(g->slot_missed)), "cut_short",
			 number(LOAD(g->cut_short)), "flows", number(LOAD(g->flows)), "flows_shed",
			 number(LOAD(g->flows_shed)), "share", (double)LOAD(g->share) / GATE_ALL, "cutoff",
			 number_unless(!cutoff, cutoff), "level", level < LOAD_LEVELS ? levels[level] : NULL, "changes",
			 number(LOAD(load->changes)));
}

/* How the class is to be treated, and how it is. */
static json_t *class_json(const struct lane_class *c, unsigned class, unsigned queue, int64_t wall_ns)
{
	int64_t since = (int64_t)c->since_ns + wall_ns;
	const struct lane_config *k = &c->config;

	return json_pack("{s:i, s:o, s:s?, s:o, s:s?, s:o, s:b, s:o, s:b, s:o, s:i}", "queue", (int)queue, "class",
			 class_name(class, queue), "state", state_name(c), "since",
			 rfc3339(since / SECOND_NS, since % SECOND_NS), "reason", reason_name(c), "changes",
			 number(c->changes), "fail_open", k->fail_open, "length", number(k->length), "gso", k->gso,
			 "deadline_us", number_unless(!k->deadline_ns, k->deadline_ns / 1000), "priority",
			 (int)k->priority);
}

static json_t *inspected_json(const struct lane_books *b)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "accepted", number(b->accepted), "dropped", number(b->dropped),
			 "modified", number(b->modified), "requeued", number(b->requeued));
}

static json_t *kernel_json(const struct lane_class *c)
{
	return json_pack("{s:o, s:o, s:o}", "queue_dropped", number(c->queue_dropped), "user_dropped",
			 number(c->user_dropped), "socket_drops", number(c->socket_drops));
}

/* What the rule's counter says, as of its last reading and the ids assigned since. null: no counter stands there. */
static json_t *counter_json(const struct lane_class *c)
{
	int64_t packets = (int64_t)(c->ids + c->queue_dropped) + c->beyond;

	if (!c->counted)
		return json_null();
	return json_pack("{s:I, s:I, s:o}", "packets", (json_int_t)packets, "before",
			 (json_int_t)(c->beyond - (int64_t)c->passed), "passed", number(c->passed));
}

/* Share of the packets decided so far that were really inspected; null where some were never counted. */
static json_t *coverage_json(const struct lane_class *c)
{
	uint64_t decided = lane_seen(c) - lane_held(c) - lane_unreconciled(c);
	json_t *packets =
	    c->books.uncounted || !decided ? json_null() : json_real((double)lane_inspected(c) / (double)decided);

	return json_pack("{s:o, s:n}", "packets", packets, "flows");
}

static json_t *books_json(const struct lane_class *c)
{
	const struct lane_books *b = &c->books;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o}, s:o, s:o, s:o, s:o, s:o}", "seen",
			 number(lane_seen(c)), "held", number(lane_held(c)), "inspected", inspected_json(b), "trusted",
			 number(b->trusted), "spilled", by_reason(b->spilled), "shut", by_reason(b->shut), "lost",
			 number(b->lost), "unreconciled", number(lane_unreconciled(c)), "late_answers",
			 number(b->late_answers), "bytes", "inspected", number(b->bytes_inspected), "overtaken",
			 number(c->overtaken), "uncounted", number_unless(b->uncounted, 0), "counter", counter_json(c),
			 "kernel", kernel_json(c), "coverage", coverage_json(c));
}

static json_t *queue_json(const struct engine_page *page, const struct lane_class *inspected, unsigned i,
			  const struct board_lane *b, int64_t wall_ns)
{
	struct lane_class c = *inspected;
	int64_t buffer = LOAD(b->buffer[i]);
	json_t *q, *books;

	add_gate(&c, &b->gate[i]);
	add_marked(&c, page->marked[i]);
	q = class_json(&c, i, page->queue[i], wall_ns);
	books = books_json(&c);

	json_object_set_new(q, "socket_buffer", number_unless(buffer <= 0, (uint64_t)buffer));
	json_object_update(q, books);
	json_object_set_new(q, "gate", gate_json(&b->gate[i], &page->load[i]));
	json_decref(books);
	return q;
}

static json_t *queues_json(const struct engine_page *page, const struct board_lane *b, int64_t wall_ns)
{
	json_t *queues = json_array();
	struct lane l;

	engine_snapshot(page, &l);
	for (unsigned i = 0; i < l.classes; i++)
		json_array_append_new(queues, queue_json(page, &l.class[i], i, b, wall_ns));
	return queues;
}

static json_t *process_json(const struct board_process *p)
{
	int32_t pid = LOAD(p->pid);

	return json_pack("{s:o, s:o}", "pid", pid > 0 ? json_integer(pid) : json_null(), "restarts",
			 number(LOAD(p->restarts)));
}

static json_t *engine_json(const struct board_lane *b)
{
	static const char *const states[] = {"down", "running", "looping"};
	_Static_assert(sizeof(states) / sizeof(*states) == BOARD_ENGINES, "a word for each state");
	uint32_t state = LOAD(b->engine_state);
	json_t *o = process_json(&b->engine);

	json_object_set_new(o, "state", state < BOARD_ENGINES ? json_string(states[state]) : json_null());
	return o;
}

static json_t *inspector_json(const struct board_lane *b)
{
	static const char *const states[] = {"down", "starting", "running", "hung", "looping"};
	_Static_assert(sizeof(states) / sizeof(*states) == INSPECTOR_STATES, "a word for each state");
	uint32_t state = LOAD(b->inspector_state);
	int32_t filters = LOAD(b->filters);
	json_t *o = process_json(&b->inspector);

	json_object_set_new(o, "state", state < INSPECTOR_STATES ? json_string(states[state]) : json_null());
	json_object_set_new(o, "filters", filters >= 0 ? json_integer(filters) : json_null());
	return o;
}

static json_t *lane_json(const struct engine_page *page, const struct board_lane *b, int64_t wall_ns)
{
	return json_pack("{s:i, s:o, s:o, s:o}", "lane", (int)LOAD(b->lane), "engine", engine_json(b), "inspector",
			 inspector_json(b), "queues", queues_json(page, b, wall_ns));
}

json_t *status_json(const struct pages *p, int64_t wall_ns)
{
	const struct board *b = p->board;
	json_t *lanes = json_array();

	for (unsigned i = 0; i < pages_lanes(p); i++)
		json_array_append_new(lanes, lane_json(p->page[i], &b->lane[i], wall_ns));
	return json_pack("{s:i, s:{s:i, s:o}, s:b, s:o}", "version", 1, "keeper", "pid", (int)LOAD(b->keeper_pid),
			 "since", rfc3339(LOAD(b->since_s), LOAD(b->since_ns)), "report_only",
			 LOAD(b->report_only) != 0, "lanes", lanes);
}
