/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control requests: see request.h. The table below is all that can be asked. Works on its arguments alone; the bytes
 * may be anybody's.
 */
#include "control/request.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static enum request_kind wrong(char *sentence, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, REQUEST_SENTENCE, format, args);
	va_end(args);
	return REQUEST_WRONG;
}

static enum request_kind parse_status(const json_t *request, struct ask *ask, char *sentence)
{
	(void)request;
	(void)ask;
	(void)sentence;
	return REQUEST_STATUS;
}

/* What of a class is set. Where the value is no boolean it is a number. */
static const struct {
	const char *name;
	enum ask_op op;
	bool boolean;
} settings[] = {
    {"fail_open", ASK_FAIL_OPEN, true},
    {"length", ASK_LENGTH, false},
    {"open", ASK_TURN, true},
};
#define SETTINGS (sizeof(settings) / sizeof(*settings))

static enum request_kind parse_value(const json_t *value, size_t setting, struct ask *ask, char *sentence)
{
	json_int_t n = json_integer_value(value);

	ask->op = settings[setting].op;
	if (settings[setting].boolean) {
		if (!json_is_boolean(value))
			return wrong(sentence, "set: %s: neither true nor false; give one of them",
				     settings[setting].name);
		ask->value = json_is_true(value);
	} else {
		if (!json_is_integer(value) || n < 0 || n > UINT32_MAX)
			return wrong(sentence, "set: %s: not a number in range; give 0 to 4294967295",
				     settings[setting].name);
		ask->value = (uint32_t)n;
	}
	return REQUEST_ASK;
}

static enum request_kind parse_set(const json_t *request, struct ask *ask, char *sentence)
{
	const json_t *queue = json_object_get(request, "queue"), *value = NULL;
	size_t setting = 0, given = 0;

	if (!json_is_integer(queue) || json_integer_value(queue) < 0 || json_integer_value(queue) > 65535)
		return wrong(sentence, "set: queue: missing or not a queue number; give one from 0 to 65535");
	ask->queue = (uint32_t)json_integer_value(queue);
	for (size_t i = 0; i < SETTINGS; i++) {
		const json_t *v = json_object_get(request, settings[i].name);

		if (!v)
			continue;
		value = v;
		setting = i;
		given++;
	}
	if (given != 1)
		return wrong(sentence, "set: %s; give exactly one of fail_open, length, open",
			     given ? "several changes at once" : "nothing to change");
	return parse_value(value, setting, ask, sentence);
}

static enum request_kind parse_upgrade(const json_t *request, struct ask *ask, char *sentence)
{
	(void)request;
	(void)sentence;
	ask->op = ASK_UPGRADE;
	return REQUEST_ASK;
}

static const struct {
	const char *name;
	enum request_kind (*parse)(const json_t *request, struct ask *ask, char *sentence);
} requests[] = {
    {"status", parse_status},
    {"set", parse_set},
    {"upgrade", parse_upgrade},
};

static enum request_kind parse_object(const json_t *request, struct ask *ask, char *sentence)
{
	const char *name = json_string_value(json_object_get(request, "request"));

	if (json_integer_value(json_object_get(request, "version")) != 1)
		return wrong(sentence, "control request: version: missing or unknown; this program speaks version 1");
	for (size_t i = 0; name && i < sizeof(requests) / sizeof(*requests); i++)
		if (!strcmp(name, requests[i].name))
			return requests[i].parse(request, ask, sentence);
	return wrong(sentence, "control request: unknown; status, set and upgrade are known");
}

enum request_kind request_parse(const char *text, size_t len, struct ask *ask, char sentence[REQUEST_SENTENCE])
{
	json_error_t where;
	json_t *request = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	enum request_kind kind;

	*ask = (struct ask){0};
	if (json_is_object(request))
		kind = parse_object(request, ask, sentence);
	else
		kind = wrong(sentence, "control request: column %d: %s; send one JSON object and a newline",
			     request ? 1 : where.column, request ? "not an object" : where.text);
	json_decref(request);
	return kind;
}

/* jansson goes on without what it had no memory for: a line with something missing would not be the truth. */
static bool memory_short;

static void *allocate(size_t size)
{
	void *p = malloc(size);

	memory_short |= !p;
	return p;
}

void request_init(void)
{
	json_set_alloc_funcs(allocate, free);
}

char *request_line(json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	char *line = NULL;

	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	json_decref(json);
	if (memory_short) {
		free(line);
		line = NULL;
	}
	memory_short = false;
	return line;
}

static json_t *error_json(int status, json_t *sentence)
{
	return json_pack("{s:i, s:o, s:i}", "version", 1, "error", sentence, "exit", status);
}

char *request_reply(json_t *json)
{
	char *line = request_line(json);

	if (!line)
		line = request_line(error_json(1, json_string("control request: out of memory; try again")));
	return line;
}

char *request_done(void)
{
	return request_reply(json_pack("{s:i, s:b}", "version", 1, "done", 1));
}

char *request_error(int status, const char *sentence)
{
	json_t *text = json_string(sentence);

	/* A file's name in it may be no UTF-8. */
	if (!text)
		text = json_string("the reason can't be written as UTF-8; look at the messages of spillway run");
	return request_reply(error_json(status, text));
}
