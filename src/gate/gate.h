/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate from user space: the keeper loads and pins it, engine and control map its page. What it does to packets:
 * docs/gate.md. On failure all functions that return int return a negative errno; those with `why` put a sentence
 * without "spillway:" and without a full stop there.
 */
#ifndef SPW_GATE_GATE_H
#define SPW_GATE_GATE_H

#include <spillway/packet.h>

#include "gate/layout.h"

#include <stdbool.h>
#include <stddef.h>

#define GATE_FLOWS   262144u /* flows, where nobody says otherwise */
#define GATE_ROOT    "/sys/fs/bpf/spillway"
#define GATE_DIR     64u
#define GATE_WHY     256u
#define GATE_TRANSIT 1000000u /* ns: a packet gets from the gate into the kernel's queue in less */

/* Where it says why. */
struct gate_why {
	char text[GATE_WHY];
};

/* The descriptors of an instance, in the order in which they are handed on; close-on-exec. */
enum gate_fd { GATE_FD_PAGE, GATE_FD_CPUS, GATE_FD_ONEWAY, GATE_FD_TWOWAY, GATE_FD_BELL, GATE_FD_TELL, GATE_FDS };

/* An instance as one process has it. */
struct gate {
	int fd[GATE_FDS]; /* read-only: the last two are -1 */
	bool readonly;
	unsigned cpu_count;
	struct gate_page *page;     /* shared with the program; write by gate_set_*() and gate_look() alone */
	uint64_t *bell_heard;       /* how far the bell's ring was read, */
	const uint64_t *bell_rung;  /* and written. Read-only: both NULL */
	const struct gate_cpu *cpu; /* rows of counters: gate_books(). Read-only: both are copies, see gate_refresh() */
};

/*
 * Loads the programs, with tables for `flows` flows each (1 to 16,777,216), and pins all of it into the new directory
 * `dir` on a BPF file system: the programs pass, shut, gate_tc and tell, the maps page, cpus, oneway, twoway and bell.
 * It queues nothing at first: nobody has looked yet, so everything goes by the policy for `down`. All of it is there,
 * or on failure nothing; what a gate_load() that was killed has left is cleared up. Needs CAP_BPF and CAP_NET_ADMIN (or
 * CAP_SYS_ADMIN). -EEXIST: `dir` is there; -ENOTSUP: it is on no BPF file system; -EOPNOTSUPP: this build has no gate,
 * or the kernel can't do what the program needs; whatever else the kernel says.
 */
int gate_load(const char *dir, uint32_t flows, struct gate *g, struct gate_why *why);

/* What is pinned in `dir`. -ENOENT: nothing; -EPROTO: another version's; -ENOSYS: the kernel has no BPF. */
int gate_open(const char *dir, bool readonly, struct gate *g, struct gate_why *why);

/* The same from descriptors that somebody has handed on; takes them over, on failure too. */
int gate_adopt(const int fd[GATE_FDS], bool readonly, struct gate *g, struct gate_why *why);

/*
 * Takes new copies where `g` is read-only: the kernel maps nothing from a descriptor that may not write. (It asks it,
 * without privileges from Linux 5.19 on; before, or where kernel.unprivileged_bpf_disabled is not set: CAP_BPF.) Else
 * does nothing.
 */
int gate_refresh(struct gate *g);

/* The kernel's id of the program that is pinned in `dir` for rules: it tells programs apart, also after a new pinning.
 * -ENOENT: there is none. */
int gate_program(const char *dir, uint32_t *id);

/* How many devices the gate in `dir` was put at, by its pins: gate_attach_tc(). A negative errno: there is none. */
int gate_devices(const char *dir);

/* Closes and unmaps; what is pinned stays. */
void gate_close(struct gate *g);

/*
 * Detaches it from devices and removes the pins. Rules that were made with them keep their programs, which keep what
 * they use. -ENOENT: there is none; -ENOTSUP: `dir` is on no BPF file system.
 */
int gate_unpin(const char *dir);

/*
 * The program at a device's ingress (tcx, or clsact where the kernel has no tcx), and away. In the network namespace of
 * the caller. Attached it stays until it is detached, or until gate_unpin(). -ENOENT: it is not attached there.
 */
int gate_attach_tc(const char *dir, unsigned ifindex, struct gate_why *why);
int gate_detach_tc(const char *dir, unsigned ifindex);

/*
 * Says what is to become of a flow: trusted, spilled or shut (then with the reason), or inspected again. Shut and
 * inspect hold at once; the others as soon as none of the flow's packets waits, or after pending_ns. A flow that the
 * gate does not know is entered; one that is spilled or shut is not trusted, and stays as it is. In any order of its
 * ends. -EINVAL: no such state.
 */
int gate_flow_set(struct gate *g, struct gate_key key, enum gate_state state, enum lane_reason reason);

/* A walk over all flows. */
struct gate_walk {
	struct gate *g;
	unsigned table, next, count;
	bool begun, last;
	uint32_t token;
	struct gate_key *keys;
	struct gate_flow *flows;
};

/*
 * Goes through the tables while they change: each flow that stays is seen, one that moves perhaps twice or not. Next
 * returns 1 with a flow, 0 at the end. answered: it was seen in both directions. End also after a failure.
 */
int gate_walk_begin(struct gate_walk *walk, struct gate *g);
int gate_walk_next(struct gate_walk *walk, struct gate_key *key, struct gate_flow *flow, bool *answered);
void gate_walk_end(struct gate_walk *walk);

/* What follows works on mapped pages alone, also without a gate in the build: no system call. */

/* A page as gate_load() begins with it: nothing is limited, nobody has looked. */
void gate_page_begin(struct gate_page *page, uint32_t flows, uint64_t seed);

/*
 * Each of these is one store, or several that hold one by one; a packet that is decided meanwhile goes by either. The
 * second rule is told to look before anything can be shut.
 */
void gate_set_mode(struct gate_page *page, enum gate_mode mode, enum lane_reason reason);
void gate_set_policy(struct gate_page *page, uint32_t shut_reasons);
void gate_set_mark(struct gate_page *page, uint32_t mark, uint32_t mask);

struct gate_limits {
	uint64_t packets, bytes;    /* in flight */
	uint64_t wait_ns, tick_ns;  /* the oldest one's; without a look */
	uint64_t trust_ns, idle_ns; /* trust, a silent flow */
	uint64_t pending_ns;        /* a change of state that waits */
};
void gate_set_limits(struct gate_page *page, const struct gate_limits *limits);

/* Load: the share of new flows that are inspected (GATE_ALL: all), and from how many bytes on a flow is not (0: never).
 */
void gate_set_shedding(struct gate_page *page, uint32_t share, uint64_t cutoff);
void gate_set_never_shed(struct gate_page *page, bool never);

/* Admissions so far. Read before the kernel's table, and given to gate_look() with what was read there. */
uint64_t gate_admitted(const struct gate_page *page);

/* One look of the engine. */
struct gate_look {
	uint64_t now_ns;
	uint64_t admitted;  /* gate_admitted() */
	uint64_t held;      /* read after it */
	uint64_t oldest_ns; /* arrival of the oldest that waits; 0: none does */
};

/* What an engine keeps between two looks; zeros at first. A successor begins anew, and is a look behind. */
struct gate_engine {
	uint64_t ns, admitted;
};

/*
 * Tells the program what waits. In flight is what was held, and what was admitted since: so that packets which the
 * kernel dropped behind our back are forgotten at the next look. Settled are the admissions of GATE_TRANSIT ago that
 * can't be among the held ones, since these are the youngest.
 */
void gate_look(struct gate_page *page, struct gate_engine *engine, const struct gate_look *look);

/*
 * The engine falls asleep: from now on an admission makes fd[GATE_FD_BELL] readable. Then look at gate_admitted(): what
 * came before rings nothing. And it wakes: the bell is silent again.
 */
void gate_sleep(struct gate *g);
void gate_wake(struct gate *g);

/* Sums up the rows; the slot stays empty. Each word is whole, but a packet may be in `packets` and not yet in `bytes`.
 */
void gate_books(const struct gate *g, struct gate_cpu *sum);

/* The packets of the columns from `from` on, before `to`, at this moment. */
uint64_t gate_packets(const struct gate *g, unsigned from, unsigned to);

/* Where a queue's gate is pinned. */
void gate_directory(uint16_t queue, char dir[GATE_DIR]);

/* A flow's key, as user space knows it. */
struct gate_key gate_key_from(const struct spw_flow *flow, uint16_t vlan);

#endif
