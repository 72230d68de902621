/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flow of the gate, as the verb flows shows it. Pure.
 */
#ifndef SPW_CLI_FLOWS_H
#define SPW_CLI_FLOWS_H

#include "gate/gate.h"

#include <jansson.h>
#include <stdio.h>

struct flow_shown {
	uint16_t queue;
	struct gate_key key;
	struct gate_flow flow;
	bool answered;
};

/* An object of docs/gate.md, the caller's; NULL: no memory. `now_ns`: CLOCK_MONOTONIC. */
json_t *flow_json(const struct flow_shown *f, uint64_t now_ns);

/* The table's first line, and a flow's. */
void flow_head(FILE *out);
void flow_line(const struct flow_shown *f, uint64_t now_ns, FILE *out);

#endif
