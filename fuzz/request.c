/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libFuzzer target: any bytes as a control request; what it is taken for must be one of those that there are. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
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

static const char *const words[] = {
    "{",
    "}",
    ",",
    "[",
    "]",
    "\"version\":",
    "\"request\":",
    "\"queue\":",
    "\"length\":",
    "\"open\":",
    "1",
    "0",
    "-1",
    "65536",
    "4294967296",
    "1.5",
    "true",
    "false",
    "null",
    "\"set\"",
    "\"status\"",
    "\"upgrade\"",
    "\"fail_open\":",
    "\"\"",
    "\\u0000",
    "\"\xff\"",
    "{\"version\":1,\"request\":\"set\",\"queue\":",
};
#define WORDS   (sizeof(words) / sizeof(*words))
#define LONGEST 64u

/* As it is; and each byte as a word that requests are made of, so that whole ones come about. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size * LONGEST + 1);
	size_t len = 0;

	if (!text)
		return 0;
	memcpy(text, data, size);
	check(text, size);
	for (size_t i = 0; i < size; i++) {
		const char *word = words[data[i] % WORDS];

		assert(strlen(word) < LONGEST);
		memcpy(text + len, word, strlen(word));
		len += strlen(word);
	}
	check(text, len);
	free(text);
	return 0;
}
