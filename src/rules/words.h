/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command as its words: put together, taken apart, written so that a shell reads the same words. Pure; no memory of
 * its own but the struct.
 */
#ifndef SPW_RULES_WORDS_H
#define SPW_RULES_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { WORDS_MAX = 160, WORDS_TEXT = 8192 };

struct words {
	size_t count, used;
	bool full;               /* something did not fit and is not there: the command must not be run */
	char *at[WORDS_MAX + 1]; /* into text, NULL after the last; so a struct can't be copied */
	char text[WORDS_TEXT];
};

/* Makes it empty. Comes before everything else. */
void words_begin(struct words *w);

/* Adds one word. */
__attribute__((format(printf, 2, 3))) void words_add(struct words *w, const char *format, ...);

/*
 * Adds the words of text, which are as a shell reads them: "a b", 'a b' and a\ b are one word each; nothing is
 * expanded. iptables writes its rules so. False where a quotation does not end, or not all fits.
 */
bool words_split(struct words *w, const char *text);

/* Writes them as one line for a shell, without the newline. */
void words_write(const struct words *w, FILE *out);

#endif
