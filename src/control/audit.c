/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two books side by side, from a status that may come from another version: what the kernel has numbered and the
 * rule's counter counted (`seen`), and what was decided (the columns). Reads JSON, changes nothing.
 */
#include "control/status.h"

static const char *const columns[] = {"held", "inspected", "trusted", "spilled", "shut", "lost", "unreconciled"};
#define COLUMNS (sizeof(columns) / sizeof(*columns))

static json_int_t total(const json_t *value)
{
	return json_is_object(value) ? status_sum(value) : json_integer_value(value);
}

static json_t *columns_json(const json_t *queue)
{
	json_t *o = json_object();

	for (size_t i = 0; i < COLUMNS; i++)
		json_object_set_new(o, columns[i], json_integer(total(json_object_get(queue, columns[i]))));
	return o;
}

static json_t *shared(const json_t *queue, const char *key)
{
	json_t *value = json_object_get(queue, key);

	return value ? json_incref(value) : json_null();
}

static json_t *audit_queue(const json_t *queue)
{
	json_t *each = columns_json(queue);
	json_int_t seen = total(json_object_get(queue, "seen")), sum = status_sum(each);

	return json_pack("{s:o, s:o, s:I, s:o, s:I, s:I, s:b, s:o, s:o}", "queue", shared(queue, "queue"), "class",
			 shared(queue, "class"), "seen", seen, "columns", each, "sum", sum, "difference", seen - sum,
			 "agree", seen == sum, "counter", shared(queue, "counter"), "uncounted",
			 shared(queue, "uncounted"));
}

json_t *audit_json(const json_t *status)
{
	json_t *queues = json_array(), *lane, *queue;
	bool agree = true;
	size_t i, j;

	json_array_foreach (json_object_get(status, "lanes"), i, lane) {
		json_array_foreach (json_object_get(lane, "queues"), j, queue) {
			json_t *q = audit_queue(queue);

			agree &= json_is_true(json_object_get(q, "agree"));
			json_array_append_new(queues, q);
		}
	}
	return json_pack("{s:i, s:b, s:o}", "version", 1, "agree", agree, "queues", queues);
}

bool audit_agrees(const json_t *audit)
{
	return json_is_true(json_object_get(audit, "agree"));
}

static json_int_t count(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_counter(const json_t *q, FILE *out)
{
	const json_t *counter = json_object_get(q, "counter");

	if (json_is_object(counter))
		fprintf(out,
			"       the rule's counter: %" JSON_INTEGER_FORMAT ", of these before the first reading: "
			"%" JSON_INTEGER_FORMAT ", past the queue since: %" JSON_INTEGER_FORMAT "\n",
			count(counter, "packets"), count(counter, "before"), count(counter, "passed"));
	else
		fprintf(out, "       the rule's counter: unknown: none stands before the queue\n");
	if (json_is_null(json_object_get(q, "uncounted")))
		fprintf(out,
			"       passed uncounted: unknown; spillway rules --queue %" JSON_INTEGER_FORMAT
			" --hook HOOK --apply puts a counter before the queue\n",
			count(q, "queue"));
}

void audit_table(const json_t *audit, FILE *out)
{
	json_t *q;
	size_t i;

	fprintf(out, "%5s  %12s  %12s  %12s\n", "QUEUE", "SEEN", "COLUMNS", "DIFFERENCE");
	json_array_foreach (json_object_get(audit, "queues"), i, q) {
		fprintf(out,
			"%5" JSON_INTEGER_FORMAT "  %12" JSON_INTEGER_FORMAT "  %12" JSON_INTEGER_FORMAT
			"  %12" JSON_INTEGER_FORMAT "\n",
			count(q, "queue"), count(q, "seen"), count(q, "sum"), count(q, "difference"));
		print_counter(q, out);
	}
}
