/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control request: text of somebody's into what is asked, and replies as text: docs/control.md.
 */
#ifndef SPW_CONTROL_REQUEST_H
#define SPW_CONTROL_REQUEST_H

#include "keeper/board.h"

#include <jansson.h>
#include <stddef.h>

#define REQUEST_SENTENCE 256

enum request_kind {
	REQUEST_WRONG,  /* can't be understood */
	REQUEST_STATUS, /* answered from the pages */
	REQUEST_ASK     /* something for the keeper */
};

/* Once, before anything else here: what is written is whole from now on. */
void request_init(void);

/*
 * Reads a request of `len` bytes, which may be anything. REQUEST_WRONG: `sentence` says why. REQUEST_ASK: *ask holds
 * it, but for its number.
 */
enum request_kind request_parse(const char *text, size_t len, struct ask *ask, char sentence[REQUEST_SENTENCE]);

/* An object as one line, to be freed; the reference is taken over. NULL: no memory for all of it.
 */
char *request_line(json_t *object);

/* The same for a reply: where there is no memory, one that says so. */
char *request_reply(json_t *object);

/* A reply as a line: what was asked is done. */
char *request_done(void);

/* A reply as a line: what is wrong. `status` is what a command that gets it should exit with. */
char *request_error(int status, const char *sentence);

#endif
