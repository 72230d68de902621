/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch file: holds 0 or 1, and says whether fail-open is on.
 */
#ifndef SPW_KEEPER_SWITCH_H
#define SPW_KEEPER_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

struct switch_file {
	const char *path;
	const char *name; /* its last component */
	int inotify;
	int dir_watch;
	int value;          /* 0, 1, or -1: not known yet */
	uint64_t settle_at; /* CLOCK_MONOTONIC ms: look again then, for a writer that keeps the file open; 0: no need */
};

enum switch_reading { SWITCH_OFF, SWITCH_ON, SWITCH_EMPTY, SWITCH_ABSENT, SWITCH_NONSENSE, SWITCH_UNFINISHED };

/* What the `len` bytes of a switch file mean. UNFINISHED: a 0 or 1 without a newline, to which more may come. */
enum switch_reading switch_parse(const char *text, long len);

/* Watches path's directory and the file, and reads it. The string must live on. 0 or a negative errno (of watching, not
 * of the file). */
int switch_open(struct switch_file *s, const char *path);
void switch_close(struct switch_file *s);

/* Takes in what inotify has, or a settle time that has come. True: the file says s->value, which may be what it said
 * before. Reports nonsense on stderr. */
bool switch_look(struct switch_file *s);

/* Milliseconds until switch_look() should be called even without an event; -1: no need. */
int switch_timeout(const struct switch_file *s);

#endif
