/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control requests: see request.h. The table below is all that can be asked.
 */
#include "control/request.h"

#include "control/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *to_text(json_t *reply)
{
	char *json = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	char *line = NULL;

	if (json && asprintf(&line, "%s\n", json) < 0)
		line = NULL;
	free(json);
	json_decref(reply);
	return line;
}

char *request_error(int status, const char *sentence)
{
	return to_text(json_pack("{s:i, s:s, s:i}", "version", 1, "error", sentence, "exit", status));
}

static char *answer_status(struct keeper *k, const json_t *request)
{
	(void)request;
	return to_text(status_json(k));
}

static char *changed(struct keeper *k, json_int_t queue, enum engine_op op, uint32_t value)
{
	int error;

	if (queue < 0 || queue > 65535)
		return request_error(2, "set: queue: not a queue number; give one from 0 to 65535");
	error = keeper_set(k, (uint16_t)queue, op, value);
	if (error)
		return request_error(error == -ENOENT ? 2 : 1, k->error);
	if (op == ENGINE_SET_FAIL_OPEN)
		fprintf(stderr, "spillway: queue %d: fail-open %s (control socket)\n", (int)queue,
			value ? "on" : "off");
	else
		fprintf(stderr, "spillway: queue %d: length %u (control socket)\n", (int)queue, value);
	return to_text(json_pack("{s:i, s:b}", "version", 1, "done", 1));
}

static char *answer_set(struct keeper *k, const json_t *request)
{
	const json_t *queue = json_object_get(request, "queue");
	const json_t *fail_open = json_object_get(request, "fail_open");
	const json_t *length = json_object_get(request, "length");

	if (!json_is_integer(queue))
		return request_error(2, "set: queue: missing; name the queue by its number");
	if (json_is_boolean(fail_open) && !length)
		return changed(k, json_integer_value(queue), ENGINE_SET_FAIL_OPEN, json_is_true(fail_open));
	if (!json_is_integer(length) || fail_open)
		return request_error(2, "set: give either fail_open (true or false) or length (a number)");
	if (json_integer_value(length) < 0 || json_integer_value(length) > UINT32_MAX)
		return request_error(2, "set: length: out of range; give 0 to 4294967295");
	return changed(k, json_integer_value(queue), ENGINE_SET_LENGTH, (uint32_t)json_integer_value(length));
}

static const struct {
	const char *name;
	char *(*answer)(struct keeper *k, const json_t *request);
} requests[] = {
    {"status", answer_status},
    {"set", answer_set},
};

char *request_answer(const char *text, size_t len, struct keeper *k)
{
	json_error_t where;
	json_t *request = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	const char *name = json_string_value(json_object_get(request, "request"));
	char sentence[256], *reply = NULL;

	if (!json_is_object(request)) {
		snprintf(sentence, sizeof(sentence),
			 "control request: column %d: %s; send one JSON object and a newline", where.column,
			 request ? "not an object" : where.text);
		json_decref(request);
		return request_error(2, sentence);
	}
	if (json_integer_value(json_object_get(request, "version")) != 1) {
		reply = request_error(2, "control request: version: this program speaks version 1");
	} else {
		for (size_t i = 0; name && i < sizeof(requests) / sizeof(*requests); i++)
			if (!strcmp(name, requests[i].name))
				reply = requests[i].answer(k, request);
		if (!reply)
			reply = request_error(2, "control request: unknown; status and set are known");
	}
	json_decref(request);
	return reply;
}
