/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command as its words: see words.h. Pure.
 */
#include "rules/words.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

void words_begin(struct words *w)
{
	w->count = 0;
	w->used = 0;
	w->full = false;
	w->at[0] = NULL;
}

/* The word that stands at the end of text is a whole one now. */
static void finish(struct words *w, size_t len)
{
	w->at[w->count++] = w->text + w->used;
	w->at[w->count] = NULL;
	w->used += len + 1;
}

void words_add(struct words *w, const char *format, ...)
{
	const size_t room = sizeof(w->text) - w->used;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(w->text + w->used, room, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= room || w->count == WORDS_MAX)
		w->full = true;
	else
		finish(w, (size_t)len);
}

/* Copies one word to `to`, which has room for all of text. Returns what comes after it; NULL: a quotation is open. */
static const char *take_word(const char *text, char *to)
{
	char quote = 0;

	for (; *text && (quote || !isspace((unsigned char)*text)); text++) {
		if (*text == quote)
			quote = 0;
		else if (!quote && (*text == '"' || *text == '\''))
			quote = *text;
		else if (*text == '\\' && quote != '\'' && text[1])
			*to++ = *++text;
		else
			*to++ = *text;
	}
	*to = '\0';
	return quote ? NULL : text;
}

bool words_split(struct words *w, const char *text)
{
	for (;;) {
		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			return true;
		if (w->count == WORDS_MAX || strlen(text) >= sizeof(w->text) - w->used) {
			w->full = true;
			return false;
		}
		text = take_word(text, w->text + w->used);
		if (!text)
			return false;
		finish(w, strlen(w->text + w->used));
	}
}

static void write_word(const char *word, FILE *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+.,:/@%";

	if (*word && !word[strspn(word, plain)]) {
		fputs(word, out);
		return;
	}
	putc('\'', out);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", out);
		else
			putc(*word, out);
	}
	putc('\'', out);
}

void words_write(const struct words *w, FILE *out)
{
	for (size_t i = 0; i < w->count; i++) {
		if (i)
			putc(' ', out);
		write_word(w->at[i], out);
	}
}
