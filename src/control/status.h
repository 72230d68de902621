/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `spillway status` shows: the JSON of the contract, and the table for people made from it.
 */
#ifndef SPW_CONTROL_STATUS_H
#define SPW_CONTROL_STATUS_H

#include "keeper/keeper.h"

#include <jansson.h>
#include <stdio.h>

/* The whole status as JSON; the caller's reference. NULL: no memory. */
json_t *status_json(const struct keeper *k);

/* Prints a status (as status_json() makes it) as a table. Tolerates missing fields: it may come from another version.
 */
void status_table(const json_t *status, FILE *out);

#endif
