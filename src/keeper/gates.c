/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gates before a lane's queues: loaded and pinned here, or found where an earlier run has left them in the rules.
 * What a gate decides is the engine's affair (engine/gate.c).
 */
#include "keeper/internal.h"

#include "log/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int exit_status(int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return EXIT_PERMISSION;
	case -EOPNOTSUPP:
	case -ENOSYS:
		return EXIT_KERNEL;
	default:
		return EXIT_FAILED;
	}
}

/* An earlier run's counts are not this lane's; but those from before a takeover are. */
static void note_base(struct keeper_lane *l, unsigned i)
{
	if (!(l->page->gated & 1ull << i))
		gate_books(&l->gate[i], &l->page->gate_base[i]);
	l->page->gated |= 1ull << i;
}

/*
 * A lane's gate whose pins are gone while it was at work: its engine has it, and rules may still ask it. A new one
 * would know nothing of what comes.
 */
static int take_from_engine(const struct keeper_lane *l, unsigned i, struct gate *g, struct gate_why *why)
{
	int fd[GATE_FDS], error = l->engine.pidfd < 0 ? -ESRCH : 0;

	for (unsigned n = 0; n < GATE_FDS; n++) {
		fd[n] = -1;
		if (error)
			continue;
		fd[n] = (int)syscall(SYS_pidfd_getfd, l->engine.pidfd, ENGINE_FD_GATE + (int)(i * GATE_FDS + n), 0);
		if (fd[n] < 0)
			error = -errno;
	}
	if (!error)
		return gate_adopt(fd, false, g, why);
	for (unsigned n = 0; n < GATE_FDS; n++)
		if (fd[n] >= 0)
			close(fd[n]);
	return error;
}

/* Nothing is pinned: a new one, unless the lane has one at work. */
static int open_unpinned(const struct keeper *k, struct keeper_lane *l, unsigned i, const char *dir,
			 struct gate_why *why)
{
	const bool had = l->page->gated & 1ull << i;
	int error;

	if (had && !take_from_engine(l, i, &l->gate[i], why)) {
		log_line(
		    "queue %u: gate: its pins are gone; it goes on, but only as long as its rules and this run do; "
		    "start anew when that suits, and then spillway rules --gate --apply",
		    l->page->queue[i]);
		return 0;
	}
	if (had)
		log_line(
		    "queue %u: gate: its pins are gone; a new one is loaded, while rules may still ask the old one, "
		    "which lets nothing in; spillway rules --gate --apply puts the new one there",
		    l->page->queue[i]);
	l->page->gated &= ~(1ull << i);
	error = gate_load(dir, k->config.flows, &l->gate[i], why);
	l->gates_made |= error ? 0 : 1ull << i;
	return error;
}

/* One that rules refer to already goes on: else they would keep another one, that nobody tells anything. */
static int open_gate(const struct keeper *k, struct keeper_lane *l, unsigned i, struct gate_why *why)
{
	char dir[GATE_DIR];
	int error;

	gate_directory(l->page->queue[i], dir);
	error = gate_open(dir, false, &l->gate[i], why);
	if (error == -ENOENT)
		error = open_unpinned(k, l, i, dir, why);
	l->decided[i] = UINT64_MAX;
	if (!error)
		note_base(l, i);
	if (!error && l->gate[i].page->flows != k->config.flows)
		log_line("queue %u: gate: the one that is there has room for %u flows, and goes on; take it out with "
			 "spillway rules --gate --remove before the start to have another",
			 l->page->queue[i], l->gate[i].page->flows);
	return error;
}

/* Rules that still ask a gate that nobody tells anything: everything goes by its policy for `down`. */
static void say_left_behind(const struct keeper_lane *l, unsigned i)
{
	char dir[GATE_DIR];
	struct stat st;

	gate_directory(l->page->queue[i], dir);
	if (!stat(dir, &st))
		log_line("queue %u: an earlier run's gate may still stand before it, and lets nothing in; run with "
			 "--gate on, or take it out with spillway rules --gate --remove",
			 l->page->queue[i]);
}

/* A lane that was taken over keeps its gates: what they have decided is in its books. */
static bool has_gate(const struct keeper *k, const struct keeper_lane *l, unsigned i)
{
	return k->config.gate || l->page->gated & 1ull << i;
}

int keeper_open_gates(struct keeper *k, struct keeper_lane *l)
{
	struct gate_why why = {""};
	int error = 0;

	l->page->cutoff = k->config.cutoff;
	for (unsigned i = 0; i < l->classes && !error; i++)
		if (has_gate(k, l, i))
			error = open_gate(k, l, i, &why);
		else
			say_left_behind(l, i);
	if (!error)
		return EXIT_DONE;
	keeper_close_gates(l);
	return keeper_fail(k, exit_status(error), "queue %u: gate: %s; or run with --gate off", l->number, why.text);
}

void keeper_unmake_gates(struct keeper_lane *l)
{
	for (unsigned i = 0; l->gates_made; i++, l->gates_made >>= 1) {
		char dir[GATE_DIR];

		if (!(l->gates_made & 1))
			continue;
		gate_directory(l->page->queue[i], dir);
		gate_unpin(dir);
	}
}

void keeper_close_gates(struct keeper_lane *l)
{
	for (unsigned i = 0; i < CHANNEL_CLASSES; i++)
		if (l->gate[i].page)
			gate_close(&l->gate[i]);
}

static void store(uint64_t *to, uint64_t value)
{
	__atomic_store_n(to, value, __ATOMIC_RELAXED);
}

static void since(struct gate_cpu *sum, const struct gate_cpu *base)
{
	for (unsigned c = 0; c < GATE_COLUMNS; c++) {
		sum->column[c].packets -= base->column[c].packets;
		sum->column[c].bytes -= base->column[c].bytes;
	}
	sum->slot_missed -= base->slot_missed;
	sum->cut_short -= base->cut_short;
	sum->flows -= base->flows;
	sum->flows_shed -= base->flows_shed;
}

static void show(struct board_gate *b, const struct gate *g, const struct gate_cpu *base)
{
	const struct gate_page *page = g->page;
	const bool never_shed = __atomic_load_n(&page->never_shed, __ATOMIC_RELAXED);
	struct gate_cpu sum;

	store(&b->share, never_shed ? GATE_ALL : __atomic_load_n(&page->share, __ATOMIC_RELAXED));
	store(&b->cutoff, never_shed ? 0 : __atomic_load_n(&page->cutoff, __ATOMIC_RELAXED));
	gate_books(g, &sum);
	since(&sum, base);
	store(&b->admitted, sum.column[GATE_ADMITTED].packets);
	store(&b->admitted_bytes, sum.column[GATE_ADMITTED].bytes);
	store(&b->trusted, sum.column[GATE_TRUSTED].packets);
	for (unsigned r = 0; r < REASONS; r++) {
		store(&b->spilled[r], sum.column[GATE_SPILLED_BY + r].packets);
		store(&b->shut[r], sum.column[GATE_SHUT_BY + r].packets);
	}
	store(&b->slot_missed, sum.slot_missed);
	store(&b->cut_short, sum.cut_short);
	store(&b->flows, sum.flows);
	store(&b->flows_shed, sum.flows_shed);
	store(&b->there, 1);
}

void keeper_show_gates(struct keeper *k, const struct keeper_lane *l)
{
	for (unsigned i = 0; i < l->classes; i++)
		if (l->gate[i].page)
			show(&k->board->lane[l - k->lane].gate[i], &l->gate[i], &l->page->gate_base[i]);
}
