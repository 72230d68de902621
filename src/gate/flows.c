/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate's flows from user space: telling what is to become of one, and going through all. Reads tables; what it
 * changes it asks of the program `tell`.
 */
#include "gate/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#define PIECE 1024u /* flows of one call; more than can meet in one bucket */

int gate_flow_set(struct gate *g, struct gate_key key, enum gate_state state, enum lane_reason reason)
{
	struct gate_ask in = {.key = key, .state = state, .reason = reason};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &in, .ctx_size_in = sizeof(in));

	if (g->fd[GATE_FD_TELL] < 0)
		return -EPERM;
	gate_key_sort(&in.key);
	if (state == GATE_FLOW_SHUT)
		__atomic_store_n(&g->page->shuts, 1, __ATOMIC_RELEASE);
	if (bpf_prog_test_run_opts(g->fd[GATE_FD_TELL], &opts))
		return -errno;
	return (int)opts.retval;
}

/* What CPUs have counted of it and not yet brought there. */
static void add_memos(const struct gate *g, const struct gate_key *key, struct gate_flow *flow)
{
	for (unsigned i = 0; i < g->cpu_count; i++) {
		const struct gate_memo *m = &g->cpu[i].memo;
		const uint64_t packets = __atomic_load_n(&m->packets, __ATOMIC_RELAXED);

		if (!packets || memcmp(&m->key, key, sizeof(*key)) != 0)
			continue;
		flow->passed += packets;
		flow->passed_bytes += __atomic_load_n(&m->bytes, __ATOMIC_RELAXED);
	}
}

int gate_walk_begin(struct gate_walk *walk, struct gate *g)
{
	const int error = gate_refresh(g);

	if (error)
		return error;
	*walk = (struct gate_walk){.g = g, .keys = calloc(PIECE, sizeof(*walk->keys))};
	walk->flows = calloc(PIECE, sizeof(*walk->flows));
	return walk->keys && walk->flows ? 0 : -ENOMEM;
}

/* Fetches a piece. The kernel says ENOENT with the last one. */
static int fetch(struct gate_walk *walk)
{
	const int fd = walk->g->fd[walk->table ? GATE_FD_TWOWAY : GATE_FD_ONEWAY];
	uint32_t count = PIECE;

	walk->next = 0;
	walk->count = 0;
	if (bpf_map_lookup_batch(fd, walk->begun ? &walk->token : NULL, &walk->token, walk->keys, walk->flows, &count,
				 NULL)) {
		if (errno != ENOENT)
			return -errno;
		walk->last = true;
	}
	walk->begun = true;
	walk->count = count;
	return 0;
}

int gate_walk_next(struct gate_walk *walk, struct gate_key *key, struct gate_flow *flow, bool *answered)
{
	while (walk->next == walk->count) {
		int error;

		if (walk->last) {
			if (walk->table == 1)
				return 0;
			walk->table = 1;
			walk->begun = false;
			walk->last = false;
		}
		error = fetch(walk);
		if (error)
			return error;
	}
	*key = walk->keys[walk->next];
	*flow = walk->flows[walk->next];
	*answered = walk->table == 1;
	add_memos(walk->g, key, flow);
	walk->next++;
	return 1;
}

void gate_walk_end(struct gate_walk *walk)
{
	free(walk->keys);
	free(walk->flows);
	*walk = (struct gate_walk){0};
}
