/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One control request as text, one reply as text: docs/control.md.
 */
#ifndef SPW_CONTROL_REQUEST_H
#define SPW_CONTROL_REQUEST_H

#include "keeper/keeper.h"

#include <stddef.h>

/* Carries out a request of `len` bytes, which may be anything, on k. Returns the reply with a newline, to be freed;
 * NULL: no memory. */
char *request_answer(const char *text, size_t len, struct keeper *k);

/* A reply that says what is wrong. `status` is what a command that gets it should exit with. */
char *request_error(int status, const char *sentence);

#endif
