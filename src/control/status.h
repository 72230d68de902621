/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `spillway status` and `spillway audit` show: the JSON, and the tables for people made from it.
 */
#ifndef SPW_CONTROL_STATUS_H
#define SPW_CONTROL_STATUS_H

#include "control/pages.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/*
 * The whole status as JSON; the caller's reference. NULL: no memory. `wall_ns`: what is to be added to CLOCK_MONOTONIC
 * to get the wall's time of now.
 */
json_t *status_json(const struct pages *p, int64_t wall_ns);

/* These tolerate missing fields: the status may come from another version. */

/* Prints who is there: keeper, lanes, their processes. */
void status_processes(const json_t *status, FILE *out);

/* Prints a whole status as a table. */
void status_table(const json_t *status, FILE *out);

/* Sum of an object's numbers. */
json_int_t status_sum(const json_t *object);

/* The two books of each queue side by side, as JSON; the caller's reference. NULL: no memory. */
json_t *audit_json(const json_t *status);

/* True where they agree, in each queue. */
bool audit_agrees(const json_t *audit);

/* Prints them as a table, and what does not agree. */
void audit_table(const json_t *audit, FILE *out);

#endif
