/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules in a namespace apart, by iptables or nft, for the probes.
 */
#ifndef SPW_DOCTOR_TRY_H
#define SPW_DOCTOR_TRY_H

#include "doctor/probe.h"

/* The queue that the probes' rules lead to. */
#define TRY_QUEUE 0

/*
 * Each returns 0; -ENOENT: the program is not installed; -EOPNOTSUPP: the rule was refused; or another negative errno.
 * `detail` says why.
 */

/* One command line of words separated by blanks. */
int try_command(const char *line, char detail[PROBE_DETAIL]);

/* UDP to the queue, natively by nft. */
int try_nft(const char *hook, char detail[PROBE_DETAIL]);

/* UDP to the queue, by iptables or, where that doesn't work, by nft. */
int try_any(const char *chain, const char *hook, char detail[PROBE_DETAIL]);

#endif
