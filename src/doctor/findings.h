/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the doctor has found: a list, each with its remedy. Looks at nothing itself.
 */
#ifndef SPW_DOCTOR_FINDINGS_H
#define SPW_DOCTOR_FINDINGS_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

enum level {
	LEVEL_FINE,
	LEVEL_NOTE,   /* worth knowing: nothing is wrong by it alone */
	LEVEL_HURTS,  /* packets are lost, or go uninspected or uncounted */
	LEVEL_LACKS,  /* the kernel has not what Spillway can't do without */
	LEVEL_UNSEEN, /* could not be looked at */
	LEVELS
};

enum { FINDINGS = 512, FINDING_WHAT = 400, FINDING_REMEDY = 300 };

struct finding {
	enum level level;
	const char *check; /* a name for scripts: a literal */
	char what[FINDING_WHAT];
	char remedy[FINDING_REMEDY]; /* "": none is needed */
};

struct findings {
	size_t count;
	size_t dropped; /* for which there was no room */
	struct finding at[FINDINGS];
};

/* Adds one, without a remedy, and returns it; also where there is no room for it. */
__attribute__((format(printf, 4, 5))) struct finding *findings_add(struct findings *f, enum level level,
								   const char *check, const char *format, ...);

/* The remedy of one that was added. */
__attribute__((format(printf, 2, 3))) void finding_remedy(struct finding *finding, const char *format, ...);

/* Makes text that came from elsewhere fit for a terminal, in place: control characters become '?'. Returns it. */
char *finding_printable(char *text);

/* The exit status that they come to: enum keeper_exit. */
int findings_status(const struct findings *f);

/* As a list for people, and as an array. NULL: no memory. */
void findings_print(const struct findings *f, FILE *out);
json_t *findings_json(const struct findings *f);

#endif
