/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated world: one lane's pure core, a small driver in the engine's order of things, inspectors, a keeper, the
 * kernel's model, and the truth about every packet. Everything follows from one seed. No system call but to print.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "kernel.h"
#include "lane/lane.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#define CLASSES  3u     /* of a lane, at most */
#define IDS      65536u /* ids of a class that are remembered; a power of two */
#define REQUESTS 64u    /* of the keeper, not yet served */
#define QUEUE(i) ((uint16_t)(10 + (i)))
#define US       1000ull
#define MS       (1000 * US)
#define PASS_BIT 0x80000000u /* a packet with this mark is not queued (again) */
#define MILLION  1000000u

/* Where a packet that an inspector answered has to stand. */
enum column { COLUMN_NONE, ACCEPTED, DROPPED, MODIFIED, REQUEUED, TRUSTED, POISONED, COLUMNS };

/* What is true of one id. */
struct id_record {
	uint64_t id, number; /* number of its packet */
	uint64_t arrived;
	uint64_t dead, starved; /* what world.dead_ns and .starved_ns were then */
	enum { ID_GAP, ID_HELD, ID_OUT, ID_LOST } kind;
	enum column column;
	bool read;            /* its message has left the socket */
	bool discarded;       /* by the engine */
	bool payload_gone;    /* with the inspector that had answered it */
	uint32_t answered;    /* published by this inspector, */
	uint64_t answered_at; /* in this many steps of the engine */
};

/* What is true of one class; columns as the books should have them. */
struct truth {
	uint64_t column[COLUMNS];
	uint64_t policy_spilled, policy_shut;
	uint64_t gap_spilled, gap_shut;
	uint64_t queue_dropped;
	uint64_t round;    /* passed without an id */
	uint64_t vanished; /* segments that no counter shows */
	uint64_t lost;
	uint64_t overtaken; /* packets that a later one passed by at an opening */
	uint64_t blur;      /* flushed packets of which nobody can tell what they were booked as */
	bool changed;       /* the policy, at some time */
	uint64_t guessed;   /* packets that may stand under another reason or policy: two pools met between looks */
	uint64_t mixed;     /* gaps of which nobody can tell under which policy they arose */
};

struct class_world {
	int socket;
	uint64_t seq;      /* last id assigned, 64 bits */
	uint64_t out;      /* every id up to here is out, lost or a gap */
	uint64_t round_at; /* ids assigned when a packet last went round the queue */
	struct truth truth;
	struct lane_books books; /* of the last commit */
	uint64_t pool;
	enum lane_reason pool_reason;
	bool pool_shut;
	bool open;   /* the kernel lets everything pass */
	bool exempt; /* what is being settled need not be late */
	uint64_t due;
	uint64_t pressed_upto, habit_upto; /* ids up to here went early: no room in the socket, lateness as a habit */
	uint64_t number;                   /* of the last packet */
	struct id_record id[IDS];
};

enum entry_state { ENTRY_WAITING, ENTRY_DECIDED, ENTRY_EARLY };

/* A packet in an inspector's hand. */
struct entry {
	uint64_t id;
	enum entry_state state;
	bool overtakes;
	struct channel_answer answer;
};

/* The packets of one class in an inspector's hand: src/inspect/window.h in small. */
struct hand {
	uint64_t head, tail;
	uint64_t base; /* ids below are answered, as the engine knows it too */
	unsigned waiting;
	bool early[CHANNEL_WINDOW];
	unsigned early_count;
	struct entry entry[CHANNEL_WINDOW];
};

struct inspector {
	uint32_t number;
	bool alive, ready, hung;
	bool lies, lied;
	bool was_active;
	uint64_t lie_at; /* the first lie's place in the ring */
	uint64_t consumed;
	uint64_t ready_ns;
	uint64_t written, produced; /* answers in the ring, published */
	bool open;                  /* the last one may still grow */
	struct channel_answer run;
	struct hand hand[CLASSES];
	struct channel_answer ring[CHANNEL_ANSWERS];
};

enum op {
	OP_INSPECTOR,
	OP_GONE,
	OP_LEAVE,
	OP_DOWN_LONG,
	OP_NOT_HUNG,
	OP_COUNTER,
	OP_FAIL_OPEN,
	OP_LENGTH,
	OP_TURN,
	OP_STOP
};

struct request {
	enum op op;
	unsigned class;
	uint32_t value;
};

/* What survives the engine. */
struct page {
	uint64_t commit; /* bit 0: which snapshot holds; bit 1: an intent is open */
	uint32_t lied;
	struct lane snapshot[2];
	struct lane_orders intent;
	struct spw_queue_config config[CLASSES];
	struct lane_early early[CLASSES][CHANNEL_WINDOW];
};

/* What the inspectors see. */
struct state {
	uint64_t settled[CLASSES];
	uint64_t consumed;
	uint32_t active;
	bool engine_sleeps;
};

/* What dies with the engine. */
struct engine {
	bool alive, attached, word, failed, changed, repeating;
	bool dead; /* the inspector: the keeper says so at once */
	struct lane lane;
	struct lane_early *early[CHANNEL_CLASSES];
	struct lane_orders orders;
	struct inspector *answers;
	uint32_t inspector;
	uint64_t looked_ns, look_failed_ns;
	uint32_t awaited, arrived; /* bits of classes whose next message wakes it, and that had one */
};

enum actor {
	ACTOR_SOURCE,
	ACTOR_INSPECTOR = ACTOR_SOURCE + CLASSES,
	ACTOR_KEEPER = ACTOR_INSPECTOR + 2,
	ACTOR_CHAOS,
	ACTOR_ENGINE,
	ACTORS
};

/* How likely each thing is, in millionths of the occasions for it. */
struct odds {
	unsigned engine_dies, engine_starves, send_fails, look_fails, look_torn;
	unsigned inspector_dies, inspector_hangs, inspector_stalls, inspector_leaves, lies;
	unsigned defer, drop, modify, mark, trust, poison, repeat, requeue;
	unsigned change, turn, flush, counter, gso;
};

struct class_plan {
	struct lane_config config;
	uint32_t buffer;
	uint32_t first;  /* last id before the first */
	uint64_t gap_ns; /* between arrivals, in the mean */
	unsigned burst;
	uint32_t bytes;
};

struct plan {
	unsigned classes;
	bool breaker, report_only, counted;
	uint64_t hung_ns;
	uint64_t service_ns; /* of the inspector, for a packet */
	unsigned batch;
	struct odds odds;
	struct class_plan class[CLASSES];
};

struct world {
	uint64_t seed, random, events, now;
	uint64_t limit; /* events of the time of faults */
	bool tracing;
	struct plan plan;
	struct kernel *kernel;
	struct class_world class[CLASSES];
	struct inspector inspector[2]; /* by number */
	uint32_t inspectors;           /* ever made */
	uint32_t current;              /* the inspector that the keeper has; 0: none */
	bool gone_asked;
	enum lane_reason gone_reason;
	uint64_t start_ns; /* of the next inspector */
	struct request request[REQUESTS];
	unsigned request_first, requests;
	struct page page;
	struct state state;
	struct engine engine;
	jmp_buf death;
	bool immortal; /* the engine, for the moment */
	uint64_t engine_start_ns;
	uint64_t steps;
	uint64_t last_step_ns;        /* the engine was last there */
	uint64_t dead_ns, starved_ns; /* time without an engine; with one that got no processor */
	uint64_t next[ACTORS];
	bool stopped;

	/* What the model is being told to do: where fates belong. */
	enum { CALL_NONE, CALL_SEND, CALL_BATCH, CALL_ONE, CALL_FLUSH } call;
	unsigned call_class;
	uint64_t call_opened, call_socket, call_aggregate, call_full;
};

/* world.c: the dice, the kernel and the truth */
void world_begin(struct world *w, uint64_t seed, const struct plan *plan); /* NULL: what the seed means */
_Noreturn __attribute__((format(printf, 2, 3))) void world_fail(const struct world *w, const char *format, ...);
__attribute__((format(printf, 2, 3))) void world_trace(const struct world *w, const char *format, ...);
uint64_t world_below(struct world *w, uint64_t n);
uint64_t world_about(struct world *w, uint64_t mean);
bool world_chance(struct world *w, unsigned millionths);
struct id_record *world_id(struct world *w, unsigned class, uint64_t id);
void world_send(struct world *w, unsigned class, const struct kernel_packet *packet);
void world_order(struct world *w, const struct lane_order *order);
void world_flush(struct world *w, uint16_t device);
void world_configure(struct world *w, unsigned class, const struct spw_queue_config *config);
bool world_receive(struct world *w, unsigned class, bool peek, struct kernel_message *message);
#define TRACE(w, ...)                                                                                                  \
	do {                                                                                                           \
		if ((w)->tracing)                                                                                      \
			world_trace(w, __VA_ARGS__);                                                                   \
	} while (0)

/* plan.c: what a seed means */
void plan_make(struct world *w);
void plan_heal(struct world *w);

/* driver.c: the engine */
void driver_run(struct world *w);
void driver_poke(struct world *w, uint64_t latency_ns);
/* A message came into the class's socket. */
void driver_arrived(struct world *w, unsigned class);
struct spw_queue_config driver_config(const struct world *w, unsigned class, enum lane_state state);

/* inspector.c */
void inspector_start(struct world *w, uint32_t number);
void inspector_run(struct world *w, struct inspector *in);
void inspector_die(struct world *w, struct inspector *in);

/* actors.c: sources, keeper, chaos, and who is next */
void actors_begin(struct world *w);
void actors_others(struct world *w);
void actors_run(struct world *w);
void actors_run_for(struct world *w, uint64_t ns);
void actors_gone(struct world *w);
void actors_ask(struct world *w, enum op op, unsigned class, uint32_t value);

/* check.c */
void check_call(const struct world *w, const struct lane *l);
void check_commit(struct world *w, const struct lane *l);
void check_event(struct world *w);
void check_gone(struct world *w, const struct lane *l);
void check_policy(struct world *w, unsigned class, const struct id_record *r);
void check_quiet(struct world *w);
void check_inspecting(struct world *w);

/* scenes.c: fixed courses of events */
int scenes_run(struct world *w);

#endif
