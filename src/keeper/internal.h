/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the keeper's files share. Private to this directory.
 */
#ifndef SPW_KEEPER_INTERNAL_H
#define SPW_KEEPER_INTERNAL_H

#include "keeper/keeper.h"

/* keeper.c */
__attribute__((format(printf, 3, 4))) int keeper_fail(struct keeper *k, int status, const char *format, ...);

int keeper_open_program(struct keeper *k);
/* Starts the lanes of the command line that there are not; the board shows all. What can't be had is told. */
void keeper_complete_lanes(struct keeper *k);

/* pages.c: shared memory and descriptors */
void *keeper_make_page(const char *name, size_t size, int *fd);
void *keeper_map_page(int fd, size_t size);
int keeper_reopen_read_only(int fd);
int keeper_make_ledger(struct keeper *k, struct keeper_lane *l);
int keeper_make_channels(struct keeper *k, struct keeper_lane *l);
int keeper_make_seat(struct keeper_seat *seat, uint32_t number);
void keeper_clear_seat(struct keeper_seat *seat);
void keeper_lane_blank(struct keeper_lane *l);
void keeper_close_lane(struct keeper_lane *l);

/* children.c: starting, noticing the end of, and killing processes */
int keeper_start_engine(struct keeper *k, struct keeper_lane *l);
int keeper_start_inspector(struct keeper *k, struct keeper_lane *l, struct keeper_seat *seat);
int keeper_start_control(struct keeper *k);
void keeper_replace_control(struct keeper *k);
bool keeper_ended(struct keeper_process *p);
void keeper_kill(struct keeper_process *p);
void keeper_await_end(const struct keeper_process *p, int ms);
void keeper_kill_and_wait(struct keeper_process *p);
const char *keeper_how_ended(const struct keeper_process *p, char *buf, size_t size);

/* ask.c: requests to an engine */
int keeper_ask(struct keeper_lane *l, const struct engine_request *q, struct engine_reply *r);
int keeper_ask_value(struct keeper_lane *l, enum engine_op op, uint32_t value);
int keeper_tell_inspector(struct keeper_lane *l);
int keeper_introduce_inspector(struct keeper_lane *l);
int keeper_ask_to_stop(struct keeper_lane *l, enum lane_reason reason);
void keeper_hear_engine(struct keeper_lane *l);

/* watch.c: hung, or merely without a CPU? */
enum keeper_stuck { STUCK_NOT_YET, STUCK_NO_CPU, STUCK_YES };
enum keeper_stuck keeper_stuck(struct keeper_watch *w, pid_t pid, uint64_t now_ns, uint64_t limit_ns);

/* control.c: serves the control process, and replaces one that is dead or hangs */
void keeper_tend_control(struct keeper *k, uint64_t now_ns);

/* tend.c */

/* Nanoseconds until the next of them is started, after so many that died soon. */
uint64_t keeper_pause(uint32_t deaths);
void keeper_tend_lane(struct keeper *k, struct keeper_lane *l, uint64_t now_ns);
/* Of a lane that was taken over: the flows that are poison, by its state page. */
void keeper_adopt_poison(struct keeper_lane *l);

/* alone.c */

/* The memory that the following need: before there is a queue. Returns an exit status. */
int keeper_reserve(struct keeper *k);
/* Without an engine: lets pass what the policy lets pass for this reason, and gives the queues back. 0, *passed: how
 * many were held; or a negative errno. */
int keeper_settle_alone(struct keeper_lane *l, enum lane_reason reason, uint64_t *passed);
/*
 * Gives one queue's number back. What is held (*held: how many) passes, with what comes meanwhile; `shut`: the kernel
 * drops it. 0 or a negative errno; -ENODEV: not bound.
 */
int keeper_release(struct spw_queue *queue, bool shut, uint64_t *held);

/*
 * In the place of an engine, while there is none: what is held goes by the policy for `down`, and so does what comes;
 * the next engine goes on from there. *held: how many were. 0 or a negative errno: not everything.
 */
int keeper_stand_in(struct keeper_lane *l, uint64_t now_ns, uint64_t *held);

/* gates.c */
/* The gates of a lane's classes: pinned ones, or new ones. Returns an exit status; not EXIT_DONE: k->error. */
int keeper_open_gates(struct keeper *k, struct keeper_lane *l);
void keeper_close_gates(struct keeper_lane *l);
/* For a start that failed: those that it has pinned are unpinned. */
void keeper_unmake_gates(struct keeper_lane *l);
/* What they have counted, for everybody to see. */
void keeper_show_gates(struct keeper *k, const struct keeper_lane *l);

/* counters.c */
/* Class i, `c`, is about to be bound. With length 0 all passes from then on: its counter is read before. */
void keeper_begin_counting(struct keeper *k, struct keeper_lane *l, unsigned i, struct lane_class *c);
void keeper_read_counters(struct keeper *k, uint64_t now_ns);
/* A rules' counter reads so much. A keeper that dies in here at any instruction loses nothing of it. */
void keeper_note_marked(struct engine_marked *m, uint64_t packets);

/* upgrade.c */
int keeper_upgrade(struct keeper *k, uint32_t number);
int keeper_go_back(struct keeper *k, const char *why);
void keeper_tend_upgrade(struct keeper *k);

/* takeover.c */
int keeper_listen(struct keeper *k, struct keeper_lane *l);
void keeper_unlist(struct keeper *k, const struct keeper_lane *l);
/* True where a dead keeper's lane was taken over. */
bool keeper_take_over(struct keeper *k, struct keeper_lane *l, uint16_t number);
/*
 * A lane out of the classes' sockets, in the page's order, and of what enum engine_gift names (-1: not there), but for
 * the inspector; all of these are the lane's then. 0 or a negative errno: -EPROTO: of another version, or no lane;
 * -ENODEV: nothing is bound any more. Then keeper_close_lane().
 */
int keeper_make_lane(struct keeper_lane *l, const int *sockets, unsigned count, const int *gift);
/* Somebody else's child. pid 0: it has ended. */
struct keeper_process keeper_adopt_process(int pidfd);

/* store.c: descriptors that the service manager keeps for the next run */

/* What the manager has passed to this run. What belongs to no lane of ours is settled by policy and given up. */
void keeper_store_open(struct keeper *k);
/* True where l is now made of what was stored, its engine and inspector dead. Else what was held is settled. */
bool keeper_take_stored(struct keeper *k, struct keeper_lane *l, uint16_t number);
/* The lane has come another way: what was passed of it is not needed. */
void keeper_drop_stored(struct keeper *k, uint16_t number);
/* Tells the manager what it lacks, and what it need not keep any more. */
void keeper_tend_store(struct keeper *k);

/* report.c: what the service manager is told about the run */
void keeper_report(struct keeper *k, uint64_t now_ns);

#endif
