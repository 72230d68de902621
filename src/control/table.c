/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The status for people. Reads JSON that may come from another version: what is missing prints as "-".
 */
#include "control/status.h"

#include "lane/lane.h"

static json_int_t sum(const json_t *object)
{
	json_int_t total = 0;
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value)
		total += json_integer_value(value);
	return total;
}

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "-";
}

static json_int_t count(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_process(const json_t *lane, const char *who, FILE *out)
{
	const json_t *p = json_object_get(lane, who);
	const json_t *pid = json_object_get(p, "pid");

	if (json_is_integer(pid))
		fprintf(out, "%s %" JSON_INTEGER_FORMAT, who, json_integer_value(pid));
	else
		fprintf(out, "%s none", who);
	if (json_object_get(p, "state"))
		fprintf(out, " (%s)", text(p, "state"));
}

static void print_reasons(const char *column, const json_t *reasons, FILE *out)
{
	for (int i = 0; i < REASONS; i++)
		if (count(reasons, lane_reason_names[i]))
			fprintf(out, "    %s, %s: %" JSON_INTEGER_FORMAT "\n", column, lane_reason_names[i],
				count(reasons, lane_reason_names[i]));
}

static void print_coverage(const json_t *q, FILE *out)
{
	const json_t *share = json_object_get(json_object_get(q, "coverage"), "packets");

	if (json_is_number(share))
		fprintf(out, "    inspected %.2f %% of the packets decided\n", 100 * json_number_value(share));
	if (json_is_null(json_object_get(q, "uncounted")))
		fprintf(
		    out,
		    "    passed uncounted: unknown: the queue may have been full with fail-open on, which the kernel "
		    "does not count;\n      a longer queue (spillway set --queue %" JSON_INTEGER_FORMAT
		    " length N), or compare with the counter of the rule\n",
		    count(q, "queue"));
}

static void print_queue(const json_t *q, FILE *out)
{
	const json_t *kernel = json_object_get(q, "kernel");

	fprintf(out,
		"%5" JSON_INTEGER_FORMAT "  %-10s  %-9s  %6" JSON_INTEGER_FORMAT "  %10" JSON_INTEGER_FORMAT
		"  %6" JSON_INTEGER_FORMAT "  %10" JSON_INTEGER_FORMAT "  %9" JSON_INTEGER_FORMAT
		"  %9" JSON_INTEGER_FORMAT "  %5" JSON_INTEGER_FORMAT "  %12" JSON_INTEGER_FORMAT "\n",
		count(q, "queue"), text(q, "state"), json_is_true(json_object_get(q, "fail_open")) ? "on" : "off",
		count(q, "length"), count(q, "seen"), count(q, "held"), sum(json_object_get(q, "inspected")),
		sum(json_object_get(q, "spilled")), sum(json_object_get(q, "shut")), count(q, "lost"),
		count(q, "unreconciled"));
	print_reasons("spilled", json_object_get(q, "spilled"), out);
	print_reasons("shut", json_object_get(q, "shut"), out);
	print_coverage(q, out);
	if (sum(kernel))
		fprintf(out,
			"    kernel: %" JSON_INTEGER_FORMAT " dropped at the queue, %" JSON_INTEGER_FORMAT
			" at the socket; socket drops %" JSON_INTEGER_FORMAT "\n",
			count(kernel, "queue_dropped"), count(kernel, "user_dropped"), count(kernel, "socket_drops"));
}

void status_table(const json_t *status, FILE *out)
{
	const json_t *keeper = json_object_get(status, "keeper");
	size_t i, j;
	json_t *lane, *queue;

	fprintf(out, "keeper %" JSON_INTEGER_FORMAT " since %s\n", count(keeper, "pid"), text(keeper, "since"));
	json_array_foreach (json_object_get(status, "lanes"), i, lane) {
		fprintf(out, "lane %" JSON_INTEGER_FORMAT ": ", count(lane, "lane"));
		print_process(lane, "engine", out);
		fprintf(out, ", ");
		print_process(lane, "inspector", out);
		fprintf(out, "\n");
	}
	fprintf(out, "\n%5s  %-10s  %-9s  %6s  %10s  %6s  %10s  %9s  %9s  %5s  %12s\n", "QUEUE", "STATE", "FAIL-OPEN",
		"LENGTH", "SEEN", "HELD", "INSPECTED", "SPILLED", "SHUT", "LOST", "UNRECONCILED");
	json_array_foreach (json_object_get(status, "lanes"), i, lane)
		json_array_foreach (json_object_get(lane, "queues"), j, queue)
			print_queue(queue, out);
}
