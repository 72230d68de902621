/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Status and audit for people. Reads JSON that may come from another version: what is missing or null prints as "-".
 */
#include "control/status.h"

#include "lane/lane.h"

#include <inttypes.h>
#include <string.h>

json_int_t status_sum(const json_t *object)
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

/* A cell: the number, or the sum of an object's numbers. */
static void print_cell(const json_t *object, const char *key, int width, FILE *out)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value) || json_is_object(value))
		fprintf(out, "  %*" JSON_INTEGER_FORMAT, width,
			json_is_object(value) ? status_sum(value) : json_integer_value(value));
	else
		fprintf(out, "  %*s", width, "-");
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
		fprintf(out, ", %s", text(p, "state"));
	if (json_object_get(p, "filters"))
		fprintf(out, ", system call filters: ");
	if (json_is_integer(json_object_get(p, "filters")))
		fprintf(out, "%" JSON_INTEGER_FORMAT, count(p, "filters"));
	else if (json_object_get(p, "filters"))
		fprintf(out, "unknown");
	if (count(p, "restarts"))
		fprintf(out, ", restarted: %" JSON_INTEGER_FORMAT, count(p, "restarts"));
}

/* What the inspector's state means where it is not the usual one. */
static void print_trouble(const json_t *lane, FILE *out)
{
	const char *state = text(json_object_get(lane, "inspector"), "state");

	if (!strcmp(text(json_object_get(lane, "engine"), "state"), "looping"))
		fprintf(out,
			"  each engine dies soon after its start: packets go by policy, the next one is started after "
			"a pause; its messages say why\n");
	if (!strcmp(state, "looping"))
		fprintf(out, "  each inspector dies soon after its start: the next one is started after a pause; its "
			     "messages say why\n");
	else if (!strcmp(state, "hung"))
		fprintf(out, "  the inspector makes no progress while packets wait: it is being replaced\n");
}

void status_processes(const json_t *status, FILE *out)
{
	const json_t *keeper = json_object_get(status, "keeper");
	size_t i;
	json_t *lane;

	fprintf(out, "keeper %" JSON_INTEGER_FORMAT " since %s%s\n", count(keeper, "pid"), text(keeper, "since"),
		json_is_true(json_object_get(status, "report_only")) ? ", report only" : "");
	json_array_foreach (json_object_get(status, "lanes"), i, lane) {
		fprintf(out, "lane %" JSON_INTEGER_FORMAT ": ", count(lane, "lane"));
		print_process(lane, "engine", out);
		fprintf(out, "; ");
		print_process(lane, "inspector", out);
		fprintf(out, "\n");
		print_trouble(lane, out);
	}
}

/* Since when the class is not simply inspecting, and why. */
static void print_state(const json_t *q, FILE *out)
{
	if (json_is_string(json_object_get(q, "reason")))
		fprintf(out, "    %s since %s: %s\n", text(q, "state"), text(q, "since"), text(q, "reason"));
}

static void print_reasons(const char *column, const json_t *reasons, FILE *out)
{
	for (int i = 0; i < REASONS; i++)
		if (count(reasons, lane_reason_names[i]))
			fprintf(out, "    %s, %s: %" JSON_INTEGER_FORMAT "\n", column, lane_reason_names[i],
				count(reasons, lane_reason_names[i]));
}

static void print_unknown(const json_t *q, FILE *out)
{
	fprintf(out,
		"    passed uncounted: unknown: nothing counted while the queue was open or as full as it may be;\n"
		"      spillway rules --queue %" JSON_INTEGER_FORMAT
		" --hook HOOK --apply makes a rule that counts; take the other rule out\n",
		count(q, "queue"));
}

static void print_coverage(const json_t *q, FILE *out)
{
	const json_t *share = json_object_get(json_object_get(q, "coverage"), "packets");

	if (json_is_number(share))
		fprintf(out, "    inspected %.2f %% of the packets decided\n", 100 * json_number_value(share));
	if (json_is_null(json_object_get(q, "uncounted")))
		print_unknown(q, out);
}

/* So much more often than anything else that some packets come to the inspector for ever. */
static void print_rounds(const json_t *inspected, FILE *out)
{
	json_int_t requeued = count(inspected, "requeued"), others = status_sum(inspected) - requeued;

	if (requeued > 1000 && requeued / 10 > others)
		fprintf(out,
			"    repeated or sent to a queue: %" JSON_INTEGER_FORMAT
			", all other verdicts: %" JSON_INTEGER_FORMAT
			": unless that is another queue, they may go round for ever;\n"
			"      set a mark with that verdict, and let the queue's rule leave out packets that have it\n",
			requeued, others);
}

static void print_kernel(const json_t *kernel, FILE *out)
{
	if (status_sum(kernel))
		fprintf(out,
			"    kernel: %" JSON_INTEGER_FORMAT " dropped at the queue, %" JSON_INTEGER_FORMAT
			" at the socket; socket drops %" JSON_INTEGER_FORMAT "\n",
			count(kernel, "queue_dropped"), count(kernel, "user_dropped"), count(kernel, "socket_drops"));
}

static void print_queue(const json_t *q, FILE *out)
{
	const json_t *fail_open = json_object_get(q, "fail_open");

	print_cell(q, "queue", 3, out);
	fprintf(out, "  %-10s  %-9s", text(q, "state"),
		json_is_boolean(fail_open) ? (json_is_true(fail_open) ? "on" : "off") : "-");
	print_cell(q, "length", 6, out);
	print_cell(q, "seen", 10, out);
	print_cell(q, "held", 6, out);
	print_cell(q, "inspected", 10, out);
	print_cell(q, "trusted", 9, out);
	print_cell(q, "spilled", 9, out);
	print_cell(q, "shut", 9, out);
	print_cell(q, "lost", 5, out);
	print_cell(q, "unreconciled", 12, out);
	fprintf(out, "\n");
	print_state(q, out);
	print_reasons("spilled", json_object_get(q, "spilled"), out);
	print_reasons("shut", json_object_get(q, "shut"), out);
	print_rounds(json_object_get(q, "inspected"), out);
	print_coverage(q, out);
	print_kernel(json_object_get(q, "kernel"), out);
}

void status_table(const json_t *status, FILE *out)
{
	size_t i, j;
	json_t *lane, *queue;

	status_processes(status, out);
	fprintf(out, "\n%5s  %-10s  %-9s  %6s  %10s  %6s  %10s  %9s  %9s  %9s  %5s  %12s\n", "QUEUE", "STATE",
		"FAIL-OPEN", "LENGTH", "SEEN", "HELD", "INSPECTED", "TRUSTED", "SPILLED", "SHUT", "LOST",
		"UNRECONCILED");
	json_array_foreach (json_object_get(status, "lanes"), i, lane)
		json_array_foreach (json_object_get(lane, "queues"), j, queue)
			print_queue(queue, out);
}
