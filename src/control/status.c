/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The status as JSON, from the pages. Reads the keeper's state and changes nothing.
 */
#include "control/status.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

static json_t *rfc3339(const struct timespec *t)
{
	char date[32], text[48];
	struct tm tm;

	gmtime_r(&t->tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03ldZ", date, t->tv_nsec / 1000000);
	return json_string(text);
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *by_reason(const uint64_t *column)
{
	json_t *o = json_object();

	for (int i = 0; i < REASONS; i++)
		json_object_set_new(o, lane_reason_names[i], number(column[i]));
	return o;
}

/* Share of the packets decided so far that were really inspected; null where some were never counted. */
static json_t *coverage(const struct lane_class *c)
{
	uint64_t decided = lane_seen(c) - lane_held(c) - lane_unreconciled(c);
	json_t *packets =
	    c->books.uncounted || !decided ? json_null() : json_real((double)lane_inspected(c) / (double)decided);

	return json_pack("{s:o, s:n}", "packets", packets, "flows");
}

static json_t *queue_json(const struct keeper_lane *l)
{
	struct lane_class c;
	json_t *q, *books;

	keeper_read_class(l, &c);
	q = json_pack("{s:i, s:s, s:s, s:o, s:n, s:b, s:I, s:b, s:n, s:I}", "queue", (int)l->page->queue, "class",
		      "default", "state", lane_state_names[c.state], "since", rfc3339(&l->state_since), "reason",
		      "fail_open", c.fail_open, "length", (json_int_t)c.length, "gso", c.gso, "deadline_us",
		      "socket_buffer", (json_int_t)l->buffer);
	books = json_pack(
	    "{s:o, s:o, s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o}, s:o}", "seen",
	    number(lane_seen(&c)), "held", number(lane_held(&c)), "inspected", "accepted", number(c.books.accepted),
	    "dropped", number(c.books.dropped), "modified", number(c.books.modified), "requeued",
	    number(c.books.requeued), "trusted", number(c.books.trusted), "spilled", by_reason(c.books.spilled), "shut",
	    by_reason(c.books.shut), "lost", number(c.books.lost), "unreconciled", number(lane_unreconciled(&c)),
	    "late_answers", number(c.books.late_answers), "bytes", "inspected", number(c.books.bytes_inspected),
	    "uncounted", c.books.uncounted ? json_null() : number(0));
	json_object_update(q, books);
	json_decref(books);
	json_object_set_new(q, "kernel",
			    json_pack("{s:o, s:o, s:o}", "queue_dropped", number(c.queue_dropped), "user_dropped",
				      number(c.user_dropped), "socket_drops", number(c.socket_drops)));
	json_object_set_new(q, "coverage", coverage(&c));
	return q;
}

static const char *inspector_state(const struct keeper_lane *l)
{
	if (l->inspector.pid <= 0)
		return "down";
	return __atomic_load_n(&l->answers->ready, __ATOMIC_ACQUIRE) == 1 ? "running" : "starting";
}

static json_t *process_json(const struct keeper_process *p)
{
	json_t *o = json_object();

	json_object_set_new(o, "pid", p->pid > 0 ? json_integer(p->pid) : json_null());
	json_object_set_new(o, "restarts", json_integer(0));
	return o;
}

json_t *status_json(const struct keeper *k)
{
	json_t *lanes = json_array();

	for (unsigned i = 0; i < k->lanes; i++) {
		const struct keeper_lane *l = &k->lane[i];
		json_t *inspector = process_json(&l->inspector);

		json_object_set_new(inspector, "state", json_string(inspector_state(l)));
		json_array_append_new(lanes, json_pack("{s:i, s:o, s:o, s:[o]}", "lane", (int)l->page->queue, "engine",
						       process_json(&l->engine), "inspector", inspector, "queues",
						       queue_json(l)));
	}
	return json_pack("{s:i, s:{s:i, s:o}, s:o}", "version", 1, "keeper", "pid", (int)getpid(), "since",
			 rfc3339(&k->since), "lanes", lanes);
}
