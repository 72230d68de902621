/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sheds load by whole flows: measures what the inspector can do and what a flow brings, and says which flows it is not
 * to have. The gate obeys. Pure: no system call, no clock, no allocation; plain data that lies in the engine's page,
 * where a successor goes on with it. The law in words: docs/load.md.
 */
#ifndef SPW_LANE_LOAD_H
#define SPW_LANE_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#define LOAD_ALL 65536u /* a share of new flows: all of them */

/* Of a class. */
struct load_config {
	uint64_t deadline_ns; /* 0: none; then nothing is ever shed, since nothing waits for too long */
	bool never_shed;      /* the class refuses to be shed */
};

/*
 * One look at a class. Counters since whenever, that may wrap: only differences between two looks are used. One that
 * has gone backwards has begun anew (another gate): this look counts nothing for it.
 */
struct load_sample {
	uint64_t arrived;   /* packets that came into the queue */
	uint64_t inspected; /* packets that the inspector has done, also those in vain because they were late */
	uint64_t late;      /* packets settled by policy because they were late */
	uint64_t admitted;  /* new flows that the gate let into the queue */
	uint64_t refused;   /* new flows that it kept away for load */
	uint64_t passed;    /* packets that it kept away for load: all of refused flows, and tails */
	uint64_t held;      /* packets that wait now */
	uint64_t age_ns;    /* for so long the oldest of them has waited; 0: none waits */
};

/* Each includes what the one before it sheds. */
enum load_level { LOAD_INSPECT_ALL, LOAD_SHED_TAILS, LOAD_SHED_FLOWS, LOAD_LEVELS };

/* For people; indexed by enum load_level. */
extern const char *const load_level_names[LOAD_LEVELS];

struct load {
	struct load_config config;

	/* What the gate is to do. */
	enum load_level level;
	bool tail;      /* a flow that was inspected up to the cut-off is let go, for good */
	uint32_t share; /* of the new flows, to be admitted: of LOAD_ALL */

	/* For status and trace. */
	uint64_t changes; /* of the level so far */
	uint64_t wait_ns; /* what a packet that comes now has to expect */
	double capacity;  /* packets a second that the inspector can do; 0: not known yet */
	double packets;   /* that an admitted flow brings; 0: not known yet */
	double offered;   /* new flows a second that come to the gate */
	double load;      /* packets a second that come to the gate, into the queue or not */

	/* What it has in mind. */
	bool begun;
	struct load_sample last;
	uint64_t last_ns;
	double done, busy_s;                   /* packets done in so many seconds of work; fading sums */
	double arrived, admitted;              /* packets, and flows that brought them; fading sums */
	uint64_t above_ns;                     /* the waiting time has been above target since then; 0: it is not */
	uint64_t calm_since_ns, given_back_ns; /* 0: no calm; a level was never lowered, or that was judged already */
	uint64_t calm_ns;                      /* so long must a calm be */
};

/* Begins: everything is inspected, nothing is known. */
void load_start(struct load *l, const struct load_config *config);

/* How long may pass until the next look, in nanoseconds: what is let in is judged by it. Without end where nothing is
 * shed. */
uint64_t load_step_ns(const struct load *l);

/*
 * At each look of the engine while the class inspects: every 5 ms or more often; the more often, the less capacity goes
 * unused. After a pause of more than 20 ms (no engine, an open class) nothing is measured over it. Does nothing where
 * the class has no deadline or is never shed, or time has not gone on.
 */
void load_step(struct load *l, uint64_t now_ns, const struct load_sample *now);

#endif
