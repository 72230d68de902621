/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libFuzzer target: any bytes as a control request; what it is taken for must be one of those that there are. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ask(const struct ask *a)
{
	assert(a->op < ASK_OPS);
	assert(a->queue <= 65535);
	assert(a->op == ASK_LENGTH || a->value <= 1);
	assert(a->op != ASK_UPGRADE || (!a->queue && !a->value));
}

/* Whatever is wrong can be told as one line. */
static void check_sentence(const char *sentence)
{
	char *line;

	assert(strlen(sentence) > 0 && strlen(sentence) < REQUEST_SENTENCE);
	line = request_error(2, sentence);
	assert(line && strchr(line, '\n') == line + strlen(line) - 1);
	free(line);
}

static void check(const char *text, size_t size)
{
	char sentence[REQUEST_SENTENCE];
	struct ask ask;

	switch (request_parse(text, size, &ask, sentence)) {
	case REQUEST_ASK:
		check_ask(&ask);
		break;
	case REQUEST_WRONG:
		check_sentence(sentence);
		break;
	default:
		break;
	}
}

static const char *const keys[] = {"version", "request", "queue", "fail_open", "length", "open", "", "\xff"};
static const char *const values[] = {
    "1",       "0",          "-1",    "65535", "65536",    "4294967295",  "4294967296",
    "1.5",     "1e3",        "true",  "false", "null",     "[]",          "{\"open\":1}",
    "\"set\"", "\"status\"", "\"1\"", "\"\"",  "\"\xff\"", "\"\\u0000\"", "\"upgrade\""};
#define KEYS   (sizeof(keys) / sizeof(*keys))
#define VALUES (sizeof(values) / sizeof(*values))
#define MEMBER 64u /* longer than any */

/* Each byte is a member of an object, behind those that a request begins with. */
static size_t build(char *text, const uint8_t *data, size_t size)
{
	static const char *const heads[] = {"{", "{\"version\":1,\"request\":\"set\"",
					    "{\"version\":1,\"request\":\"set\",\"queue\":7",
					    "{\"version\":1,\"request\":\"upgrade\""};
	size_t len = (size_t)sprintf(text, "%s", heads[size % 4]);

	for (size_t i = 0; i < size; i++)
		len += (size_t)snprintf(text + len, MEMBER, "%s\"%s\":%s", text[len - 1] == '{' ? "" : ",",
					keys[data[i] % KEYS], values[data[i] / KEYS % VALUES]);
	return len + (size_t)sprintf(text + len, "}");
}

/* As it is; and as members of an object. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc((size + 2) * MEMBER);

	if (!text)
		return 0;
	memcpy(text, data, size);
	check(text, size);
	check(text, build(text, data, size));
	free(text);
	return 0;
}
