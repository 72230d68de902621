/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine's files share: its own view of the lane, between two commits.
 */
#ifndef SPW_ENGINE_INTERNAL_H
#define SPW_ENGINE_INTERNAL_H

#include "engine/engine.h"

struct engine {
	struct engine_page *page;
	struct channel_state *state;
	const struct channel_answers *answers; /* of the present inspector; NULL: none */
	uint32_t inspector;                    /* its number; active once it is ready */
	unsigned inspector_fds;                /* how many of its two descriptors are here */
	bool dead;                             /* it is; its answers are still to be taken */
	struct spw_queue *queue[CHANNEL_CLASSES];
	struct lane lane; /* what the next commit will write */
	struct lane_early *early[CHANNEL_CLASSES];
	struct gate gate[CHANNEL_CLASSES]; /* page NULL: none */
	struct gate_engine gate_engine[CHANNEL_CLASSES];
	uint64_t gate_seen[CHANNEL_CLASSES]; /* admissions, at the last look */
	bool gate_told[CHANNEL_CLASSES];     /* whether its class passes: engine_gate_mode() */
	uint64_t trusts;                     /* of the present inspector's, that were taken */
	struct lane_orders orders;
	struct spw_verdicts *list;
	int arrivals;     /* epoll: readable where something has come to an awaited class; -1: none */
	uint32_t awaited; /* bits of classes */
	uint32_t rings;   /* the same: whose gate's bell is heard there */
	uint64_t looked_ns;
	uint64_t answered_ns;    /* the last answer was taken */
	uint64_t look_failed_ns; /* since then no look has succeeded; 0: they do */
	uint64_t orphan_ns;      /* the keeper is gone; leave then. 0: it is there */
	/* From then on the class's configuration is sent again: the kernel may have another one. 0: it has that one */
	uint64_t configure_ns[CHANNEL_CLASSES];
	uint32_t told; /* bits: words that the keeper has had */
	bool changed;  /* the lane differs from the page */
	bool failed;
	bool blind[CHANNEL_CLASSES]; /* a filter on its socket lets no message in */
};

/* arrival.c */

/* Once, before anything is awaited. */
void engine_arrivals_open(struct engine *e);
/* Awaits the next arrival at each class that is calm, and no longer at the others. True where one is awaited anew: what
 * came just before is seen by one more look. */
bool engine_await_arrivals(struct engine *e);
/* Tells the inspector to ring the bell: bits of enum channel_ring, beside what is awaited. */
void engine_ring(struct engine *e, uint32_t when);
/* Hears the bell of class i's gate, too. */
void engine_await_bell(struct engine *e, unsigned i);
/* Something has come: e->arrivals is readable. */
void engine_arrived(struct engine *e);

/* commit.c */

/* Carries the orders out and makes the lane as it is the one that holds. 0 or a negative errno: nothing is committed.
 */
int engine_commit(struct engine *e);
/* An engine before us died between intent and commit: does what it intended. 0 or a negative errno. */
int engine_repeat(struct engine *e);
/* An errno of a call that may well succeed a little later. */
bool engine_passing(int error);
/* Shows the inspector what holds now. */
void engine_publish(struct engine *e);
void engine_wake_inspector(void);

/* config.c */

/* What the kernel shall have for a class that is in this state and treated like this. */
struct spw_queue_config engine_config(const struct engine *e, unsigned class, enum lane_state state,
				      const struct lane_config *how);
/* Tells the kernel what holds for the class; where that fails, it is told once, and engine_heal() tries again. */
void engine_configure(struct engine *e, unsigned class);
/* The same where the kernel's line shows, or a failure before makes likely, that it has something else. */
void engine_heal(struct engine *e, unsigned class, const struct spw_queue_stat *line);
/* A new policy or length. 0 or a negative errno: then what was holds, and spw_queue_error() says why. */
int engine_change(struct engine *e, unsigned class, const struct lane_config *config);
/* After engine_repeat(), before anything is decided: an engine before us may have died in the middle of a change. 0 or
 * a negative errno. */
int engine_undo_changes(struct engine *e);

/* gate.c: nothing where no gate stands before class i */

void engine_gate_attach(struct engine *e);
/* The class's policy or length is another. */
void engine_gate_policy(struct engine *e, unsigned i);
/* Admissions so far: to be read before a look, and given to engine_gate_looked() after it. */
uint64_t engine_gate_admitted(const struct engine *e, unsigned i);
/* Before the first engine_gate_mode() the gate learns nothing of it: woken by it, it would go by its former mode. */
void engine_gate_looked(struct engine *e, unsigned i, uint64_t admitted);
/* Whether the class passes, as the lane says. */
void engine_gate_mode(struct engine *e, unsigned i);
/* How soon it wants a look: without end where it sheds no load. */
uint64_t engine_gate_step_ns(const struct engine *e, unsigned i);
/* Takes the flows that the inspector trusts. */
void engine_gate_trust(struct engine *e);
/*
 * Nothing waits in any class, nothing was admitted since the last look, and each has a gate that can ring: then they do
 * at the next admission, until engine_gate_wake(). False: not so, look on.
 */
bool engine_gate_sleep(struct engine *e);
void engine_gate_wake(struct engine *e);

/* step.c */

/* The active inspector has written answers that are not yet taken. */
bool engine_answers_wait(const struct engine *e);

/* At the start: a predecessor may have left a filter on a socket, or messages thrown away that it had not noted. What
 * nobody was shown goes by policy. */
void engine_open_eyes(struct engine *e);
/* Looks at all classes. 0 or a negative errno. */
int engine_look_all(struct engine *e);
/* One round of answers, time, verdicts. True where there is more to do at once. */
bool engine_step(struct engine *e);
/* The inspector's remaining answers, then what it had in hand. It is forgotten, and its page with it. */
void engine_inspector_gone(struct engine *e, enum lane_reason reason);
/* Opens or shuts everything and gives the numbers back. 0 or a negative errno. */
int engine_stop(struct engine *e, enum lane_reason reason);

/* filter.c */

/* Takes away every system call that an engine at work does not need, for good; no_new_privs is set. 0 or a negative
 * errno: -EOPNOTSUPP: not in this build (AddressSanitizer, another architecture); -EINVAL: not in this kernel. */
int engine_filter(void);

/* serve.c */

/* The inspector whose descriptors we were born with. 0 or a negative errno. */
int engine_adopt_inspector(struct engine *e);
/* One request of the keeper, if there is one. True where the engine is to leave. */
bool engine_serve(struct engine *e);
/* Tells the keeper to look at the page; `what` is told once until engine_untell(). */
void engine_tell(struct engine *e, uint32_t what);
/* Somebody knocks while we have no keeper. */
void engine_adopt_keeper(struct engine *e);

#endif
