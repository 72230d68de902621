/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small world for the controller that sheds load: flows of heavy-tailed sizes, a gate that obeys, a queue with a
 * deadline, one inspector. Everything follows from a seed; no clock, no system call.
 */
#ifndef SPW_TESTS_OVERLOAD_WORLD_H
#define SPW_TESTS_OVERLOAD_WORLD_H

#include "lane/load.h"

#define US 1000ull
#define MS 1000000ull
#define S  1000000000ull

#define FLOWS     (1u << 18) /* at once */
#define QUEUE     (1u << 16)
#define MOST_SIZE 10000.0 /* packets of a flow */

/* The controller: load_step(), or one of those that it is compared with. */
typedef void control_fn(struct load *l, uint64_t now_ns, const struct load_sample *now);
control_fn control_none, control_switch, control_integral, control_rate;

struct plan {
	double flows;    /* new ones a second */
	double singles;  /* flows of one packet beside them, a second */
	double alpha;    /* of the sizes' bounded Pareto distribution */
	unsigned longer; /* than the distribution says, by so many packets */
	double slow;     /* part that sends 20 to 200 packets a second; the others 500 to 5000 */
	unsigned cut_off;
	double capacity; /* packets a second */
	unsigned batch;  /* packets that the inspector takes at once, and answers at once, at most */
	uint64_t deadline_ns;
	unsigned looks;        /* in a deadline, while load is shed; else 8 */
	uint64_t cut_short_ns; /* a tail of which packets are always held leaves after so long all the same; 0: never */
	control_fn *control;
};

struct flow {
	uint64_t next_ns, gap_ns;
	uint64_t last;       /* number of its last packet that came into the queue */
	uint64_t leaving_ns; /* since then it is to leave; 0: is not */
	uint32_t size, sent, inspected;
	bool used, spilled, broken;
};

/* Of the time since world_reset_counts(). */
struct counts {
	uint64_t since_ns;
	uint64_t flows, wanted; /* that came; their packets up to the cut-off */
	uint64_t whole;         /* flows inspected up to the cut-off, or their end, without a gap */
	uint64_t packets, inspected, late;
	uint64_t beyond;    /* inspected beyond the cut-off while tails were to be shed */
	uint64_t cut_short; /* flows of which packets may have been overtaken */
	uint64_t idle_ns, wait_max_ns;
	double wait_s;                         /* summed up */
	double share_sum, share_window;        /* of looks; of those in the window */
	unsigned looks, window_looks, windows; /* a window: 100 ms */
	double window_sum, window_squares;     /* of the windows' means */
};

struct world {
	uint64_t random;
	struct plan plan;
	uint64_t now_ns;
	struct load load;
	struct load_sample sample; /* as the engine sees it */
	struct counts counts;
	double accumulator; /* the gate's */

	uint64_t next_flow_ns, next_single_ns, next_look_ns, next_done_ns, next_window_ns;
	uint64_t idle_since_ns;
	unsigned in_hand, in_vain; /* packets that the inspector has; that it had, and were late */
	uint64_t settled, arrived; /* numbers of packets */
	struct {
		uint64_t ns;
		uint32_t flow;
	} queue[QUEUE];
	struct flow flow[FLOWS];
	uint32_t heap[FLOWS], heaped, free[FLOWS], frees;
	bool trace; /* a line for each window */
};

void world_start(struct world *w, uint64_t seed, const struct plan *plan);
void world_run(struct world *w, double seconds);
void world_reset_counts(struct world *w);

/* Mean of a flow's packets, or of the first `most` of them. */
double world_mean_size(const struct plan *plan, double most);

#endif
