/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this kernel, with the programs installed beside it, can do: found out by doing it in a namespace apart, never
 * guessed from a version. The tests ask here too.
 */
#ifndef SPW_DOCTOR_PROBE_H
#define SPW_DOCTOR_PROBE_H

#include <stdbool.h>

enum probe_answer { PROBE_NO, PROBE_YES, PROBE_UNKNOWN };

struct probe {
	const char *name;
	bool needed;        /* Spillway can't do without it */
	const char *what;   /* what it is, for people */
	const char *remedy; /* where it is missing */
};

/* The name of the one that the proof answers. */
#define PROBE_FAIL_OPEN "fail-open"

/* All probes; the last one has no name. */
extern const struct probe probes[];

enum { PROBE_DETAIL = 200 };

/* The answer of one that has this name; `detail` says what the kernel or the program said, or why it is not known. */
enum probe_answer probe_ask(const char *name, char detail[PROBE_DETAIL]);

/*
 * Proof that fail-open acts: a queue of `length`, an inspector that never answers, `sent` datagrams; how many came out
 * with the flag and without.
 */
struct probe_proof {
	unsigned length, sent, passed_with, passed_without;
	int error; /* 0, or why the proof could not be made: a negative errno */
	char detail[PROBE_DETAIL];
};

/* What a proof's error means: it did not act, or nobody knows. */
enum probe_answer probe_answer(int error);

/* Makes it, in a namespace apart. proof->error says whether it could be made. */
void probe_fail_open(struct probe_proof *proof);

#endif
