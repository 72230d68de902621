/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wrong with a running spillway: see doctor.h. Reads its status, which may lack fields.
 */
#include "doctor/doctor.h"

/* The kernel's own length for a queue of which nothing is said. */
#define SMALL_LENGTH 1024

static void judge_length(const json_t *q, json_int_t number, struct findings *f)
{
	const json_int_t length = json_integer_value(json_object_get(q, "length"));

	if (json_is_integer(json_object_get(q, "length")) && json_is_false(json_object_get(q, "fail_open")) &&
	    length < SMALL_LENGTH)
		finding_remedy(findings_add(f, LEVEL_HURTS, "small-length",
					    "queue %" JSON_INTEGER_FORMAT ": fail-open is off and its length is "
					    "%" JSON_INTEGER_FORMAT
					    ": the packets beyond it are dropped in every burst",
					    number, length),
			       "spillway set --queue %" JSON_INTEGER_FORMAT " length 60000, or fail-open on", number);
}

static void judge_counter(const json_t *q, json_int_t number, struct findings *f)
{
	if (json_is_null(json_object_get(q, "counter")))
		finding_remedy(findings_add(f, LEVEL_HURTS, "no-counter",
					    "queue %" JSON_INTEGER_FORMAT
					    ": no counter stands before it: what passes while it is open is unknown",
					    number),
			       "spillway rules --queue %" JSON_INTEGER_FORMAT
			       " --hook HOOK --apply, and take the other "
			       "rule out",
			       number);
}

void judge_status(const json_t *status, struct findings *f)
{
	const json_t *lane, *q;
	unsigned queues = 0;
	size_t i, j;

	json_array_foreach (json_object_get(status, "lanes"), i, lane) {
		json_array_foreach (json_object_get(lane, "queues"), j, q) {
			const json_int_t number = json_integer_value(json_object_get(q, "queue"));

			queues++;
			judge_length(q, number, f);
			judge_counter(q, number, f);
		}
	}
	findings_add(f, LEVEL_FINE, "running", "a running spillway has %u queues", queues);
}
