/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In place of load.c and flows.c, where the build has no gate: says why (SPW_GATE_ABSENT, from the Makefile).
 */
#include "gate/gate.h"

#include <errno.h>
#include <stdio.h>

static int absent(struct gate_why *why)
{
	snprintf(why->text, sizeof(why->text), "%s", SPW_GATE_ABSENT);
	return -EOPNOTSUPP;
}

int gate_load(const char *dir, uint32_t flows, struct gate *g, struct gate_why *why)
{
	(void)dir;
	(void)flows;
	(void)g;
	return absent(why);
}

int gate_open(const char *dir, bool readonly, struct gate *g, struct gate_why *why)
{
	(void)dir;
	(void)readonly;
	(void)g;
	return absent(why);
}

int gate_adopt(const int fd[GATE_FDS], bool readonly, struct gate *g, struct gate_why *why)
{
	(void)fd;
	(void)readonly;
	(void)g;
	return absent(why);
}

int gate_refresh(struct gate *g)
{
	(void)g;
	return -EOPNOTSUPP;
}

int gate_program(const char *dir, uint32_t *id)
{
	(void)dir;
	(void)id;
	return -EOPNOTSUPP;
}

int gate_devices(const char *dir)
{
	(void)dir;
	return -EOPNOTSUPP;
}

void gate_close(struct gate *g)
{
	(void)g;
}

int gate_unpin(const char *dir)
{
	(void)dir;
	return -EOPNOTSUPP;
}

int gate_attach_tc(const char *dir, unsigned ifindex, struct gate_why *why)
{
	(void)dir;
	(void)ifindex;
	return absent(why);
}

int gate_detach_tc(const char *dir, unsigned ifindex)
{
	(void)dir;
	(void)ifindex;
	return -EOPNOTSUPP;
}

int gate_flow_set(struct gate *g, struct gate_key key, enum gate_state state, enum lane_reason reason)
{
	(void)g;
	(void)key;
	(void)state;
	(void)reason;
	return -EOPNOTSUPP;
}

int gate_walk_begin(struct gate_walk *walk, struct gate *g)
{
	(void)walk;
	(void)g;
	return -EOPNOTSUPP;
}

int gate_walk_next(struct gate_walk *walk, struct gate_key *key, struct gate_flow *flow, bool *answered)
{
	(void)walk;
	(void)key;
	(void)flow;
	(void)answered;
	return -EOPNOTSUPP;
}

void gate_walk_end(struct gate_walk *walk)
{
	(void)walk;
}
