/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pure core: what the ids mean, which answers hold, what is late, when a class is opened, and the books. No system
 * call, no clock, no allocation. Its state is plain data that lies in a shared page, so that whoever comes after the
 * engine can go on with it. What it decides comes out as orders.
 */
#ifndef SPW_LANE_LANE_H
#define SPW_LANE_LANE_H

#include "lane/channel.h"

#include <stdbool.h>
#include <stdint.h>

#define LANE_ORDERS   256u  /* of one step, at most */
#define LANE_PAYLOADS 16u   /* of these, with a payload */
#define LANE_PIECE    1024u /* ids settled by policy in one step: about a millisecond of the kernel's work */
#define LANE_MARKS    32u

enum lane_reason {
	REASON_FULL,
	REASON_LATE,
	REASON_DOWN,
	REASON_HUNG,
	REASON_POISON,
	REASON_LOAD,
	REASON_MANUAL,
	REASONS
};

/* The names that contract and people know; indexed by enum lane_reason. */
extern const char *const lane_reason_names[REASONS];

enum lane_state { STATE_INSPECTING, STATE_PROBING, STATE_OPEN, STATE_SHUT, STATES };
extern const char *const lane_state_names[STATES];

/* One look at the kernel: /proc and SO_MEMINFO. 32-bit counters as the kernel has them; they wrap. */
struct lane_sample {
	uint32_t ids;  /* last id assigned */
	uint32_t held; /* packets that wait for a verdict */
	uint32_t queue_dropped;
	uint32_t user_dropped;
	uint32_t socket_drops;
	bool coherent; /* nothing moved while these were read */
	bool pressed;  /* the socket's buffer is nearly full */
};

/* The columns of the ledger: every packet seen stands in exactly one. */
struct lane_books {
	uint64_t accepted, dropped, modified, requeued; /* inspected */
	uint64_t trusted;
	uint64_t spilled[REASONS];
	uint64_t shut[REASONS];
	uint64_t lost;
	uint64_t late_answers;    /* answers that came after the packet was settled */
	uint64_t bytes_inspected; /* by the inspectors' word */
	bool uncounted;           /* packets may have passed where nobody counts */
};

/* How a class is to be treated. */
struct lane_config {
	uint32_t length;
	bool fail_open; /* the policy where `decided` has no word on a reason */
	bool gso;
	uint8_t decided, shut; /* bits 1 << enum lane_reason: a policy of its own, and which */
	uint64_t deadline_ns;  /* 0: none */
	int32_t priority;
	uint32_t mark, mark_mask; /* on every inspected packet; mask 0: none */
	bool never_shed;
	bool conntrack; /* packets come with their connections, and verdicts may set mark and labels in these */
	/* In the connection's mark: of a flow that is trusted; of one that was spilled because it was late. Mask 0:
	 * none */
	uint32_t trust_mark, trust_mask, spill_mark, spill_mask;
};

/* "Every id up to this had arrived by then." */
struct lane_mark {
	uint64_t id, ns;
};

/* One class: ids widened to 64 bits, where its verdicts stand, its clock, its breaker and its books. */
struct lane_class {
	struct lane_config config;

	enum lane_state state;
	enum lane_reason reason; /* of open, shut, probing; or of the turn under way */
	bool turning;            /* what is held is being settled; then the class is opened (or shut) */
	bool looked;             /* since the state began */
	uint64_t since_ns;
	uint64_t changes;   /* of state so far */
	uint64_t overtaken; /* packets that may have been overtaken at openings: the bound, summed up */
	uint64_t rounds;    /* times that packets may have gone round the inspector */

	uint64_t ids;        /* last id assigned, of the last sample */
	uint64_t settled;    /* every id up to here is decided and told to the kernel */
	uint64_t answered;   /* every id up to here was answered, or belonged to an inspector that is gone */
	uint64_t early_upto; /* highest id that was answered early */
	uint64_t told;       /* what was settled when nothing was left to be carried out: here a successor begins */
	uint64_t due;        /* ids up to here are to be settled by policy at once */
	uint64_t owed;       /* ids up to here were settled by policy with an inspector that may have read them */
	enum lane_reason due_reason;
	uint64_t held;        /* of the last sample */
	unsigned still;       /* samples on end that found nothing held and nothing new */
	uint64_t gaps;        /* ids booked as never held */
	uint64_t gaps_shut;   /* of these, the ones booked as shut */
	uint64_t switched_at; /* ids up to here met the policy before the last change */
	bool switched_from;   /* which was this */
	uint64_t queue_dropped, user_dropped, socket_drops;
	uint64_t hiding;       /* gaps not yet booked: at most so many hide among the ids that nobody has explained */
	uint64_t counted_gaps; /* the same, as the kernel counts each of them where its flag is off */
	bool flag_was_on;      /* some of the time since the last look at which nothing moved */
	uint64_t guessed;      /* gaps of both that are booked already, by a look at which something moved */
	uint64_t flushed;      /* lost packets whose messages the inspector may still read and answer */
	uint64_t missing;      /* least number of unexplained ids over the last samples */
	unsigned missing_for;  /* so many samples */
	uint64_t pool;         /* ids settled by policy of which some may have been gaps, */
	enum lane_reason pool_reason;
	bool pool_shut;   /* for this reason, by this policy */
	bool pool_looked; /* since then, though something moved */

	struct lane_mark marks[LANE_MARKS]; /* a ring, oldest first */
	uint32_t mark_first, mark_count;
	bool pressed;       /* of the last sample */
	uint64_t late_upto; /* ids up to here are past their deadline */
	bool blind;         /* what comes is not to be shown to the inspector: it would be late anyhow */
	uint64_t late_first_ns, late_last_ns; /* lateness without a long pause: began, was last seen; 0: none yet */

	uint64_t window_ns; /* the breaker's window: begun then, */
	uint64_t window_late, window_good;
	uint64_t good_before; /* in the window before */
	unsigned bad_windows;
	uint64_t probe_ns; /* the next probe; while probing: when this one began */
	uint64_t pause_ns; /* before the next probe */

	bool counted;    /* a counter stands before the queue */
	int64_t beyond;  /* what it has counted more than ids and drops show, at its last reading */
	uint64_t passed; /* how much of that came since the first reading: packets that went round the queue */
	enum lane_reason passed_reason;

	struct lane_sample last;
	struct lane_books books;
};

/* An answer that waits until those before it are settled; slots by id modulo CHANNEL_WINDOW. Beside the lane. */
struct lane_early {
	uint64_t id; /* 0: none */
	uint64_t sequence;
	uint32_t inspector; /* 0: nobody will answer; goes by policy */
	enum lane_reason reason;
	struct channel_answer answer;
};

/* A lane: its classes, and what is known of its inspector. */
struct lane {
	uint32_t classes;
	uint32_t first; /* the class that the next tick begins at */
	bool breaker, report_only;
	uint64_t hung_ns; /* 0: never */
	uint64_t now_ns;  /* of the last tick */

	uint32_t inspector; /* the active one's number; 0: none */
	uint64_t consumed;  /* answers of it taken */
	uint64_t answered;  /* packets that it has answered */
	uint64_t down_ns;   /* no inspector since then; 0: there is one */
	enum lane_reason down_reason;
	bool down_long;                 /* no new one soon: open at once */
	bool leaving;                   /* it finishes what is in hand and leaves */
	bool busy;                      /* its word: the user's code has a packet in hand */
	uint64_t wait_ns, wait_last_ns; /* packets waited then, first and last, without an answer since; 0: none */
	bool stalled;                   /* the two lie hung_ns apart */

	struct lane_class class[CHANNEL_CLASSES]; /* last: only `classes` of them need copying */
};

enum lane_order_kind {
	ORDER_BATCH,   /* every held packet up to id: accept or drop */
	ORDER_ONE,     /* one packet */
	ORDER_OPEN,    /* let everything pass uninspected from now on */
	ORDER_SHUT,    /* drop everything from now on */
	ORDER_INSPECT, /* queue again */
};

/* What the kernel is to be told. Ids as the kernel has them; the order of orders counts. */
struct lane_order {
	enum lane_order_kind kind;
	uint8_t class;
	uint32_t id;
	uint32_t verdict; /* enum spw_verdict_code */
	uint32_t set;     /* SPW_VERDICT_* */
	uint32_t mark, priority, payload, payload_len;
	struct channel_conntrack conntrack;
	uint16_t queue;
};

struct lane_orders {
	unsigned count, payloads;
	struct lane_order order[LANE_ORDERS];
};

/* What became of an answer. Everything from ANSWER_NOT_ASSIGNED on is a lie: its sender is not to be trusted again. */
enum lane_result {
	ANSWER_TAKEN,
	ANSWER_LATE,
	ANSWER_LATER,        /* no room among the orders: carry them out and ask again */
	ANSWER_NOT_ASSIGNED, /* an id that the kernel has not assigned */
	ANSWER_BACKWARDS,
	ANSWER_COUNT, /* ids that were never read, or several where one verdict is for one packet */
	ANSWER_VERDICT,
	ANSWER_PAYLOAD,
	ANSWER_CLASS,
	ANSWER_TWICE,
	ANSWER_RESULTS
};
extern const char *const lane_result_texts[ANSWER_RESULTS];

/* Starts the books of a freshly bound queue. */
void lane_class_init(struct lane_class *c, const struct lane_config *config, uint64_t now_ns);

/* Takes in a look at the kernel. Verdicts sent before it must have been booked before it. */
void lane_sample(struct lane_class *c, const struct lane_sample *now, uint64_t now_ns);

/*
 * Checks one answer (the caller's own copy) and books it; `sequence` is its number among the inspector's answers.
 * early[i]: the CHANNEL_WINDOW slots of class i. ANSWER_NOT_ASSIGNED and ANSWER_COUNT may merely mean that the last
 * sample is old: take a fresh one and ask again.
 */
enum lane_result lane_answer(struct lane *l, struct lane_early *const *early, const struct channel_answer *a,
			     uint64_t sequence, struct lane_orders *out);

/* Can more be ordered? Else a tick settles nothing: carry the orders out before it. */
bool lane_room(const struct lane_orders *out);

/*
 * Time goes on: settles what is late or due, opens, probes and closes. `early[i]`: the slots of class i. True where
 * more is to be done at once: carry the orders out and call again.
 */
bool lane_tick(struct lane *l, struct lane_early *const *early, uint64_t now_ns, struct lane_orders *out);

/* It inspects, and nothing has come for a while: where an arrival would wake the caller, looks may be far apart. */
bool lane_calm(const struct lane_class *c);

/* It was opened or shut by hand, and nothing of it is held: no time changes that. */
bool lane_at_rest(const struct lane_class *c);

/* Something has come to its socket: it is not calm. */
void lane_stirred(struct lane_class *c);

/* How long may pass between two looks at the kernel: a small part of the shortest deadline. `awaited`: bits of the
 * classes whose next arrival wakes the caller. */
uint64_t lane_step_ns(const struct lane *l, uint32_t awaited);

/* Nobody was there between the last tick and now: that time is nobody's delay. */
void lane_resume(struct lane *l, uint64_t now_ns);

/* Inspector `number` is ready and gets the packets from now on. */
void lane_inspector_active(struct lane *l, uint32_t number, uint64_t now_ns);

/*
 * The inspector is gone, all its answers were taken, and nobody else reads. unread[i]: the first id that is still in
 * the socket of class i (the caller's ids are fresh; `ids` plus one: none). What it had in hand is due; the next one
 * starts there. `reason`: REASON_DOWN or REASON_HUNG.
 */
void lane_inspector_gone(struct lane *l, const uint64_t *unread, enum lane_reason reason, uint64_t now_ns);

/* The message of this id, thrown away by the engine: nobody will inspect it. */
void lane_discarded(struct lane_class *c, struct lane_early *early, uint64_t id, enum lane_reason reason);

/* Nobody was shown what has come until now (`ids` are fresh): it is due at once. */
void lane_unseen(struct lane_class *c);

/* The first id that is still unread: nobody owes an answer from there on. */
void lane_unread(struct lane_class *c, uint64_t id);

/*
 * The policy or the length has changed; `now` was looked at just before the kernel was told. With the config as it was:
 * the kernel may have had another one for a while.
 */
void lane_switch(struct lane_class *c, const struct lane_sample *now, const struct lane_config *config,
		 uint64_t now_ns);

/*
 * The counter before the queue, read when nothing moved: what it has counted more than ids and queue drops. `fresh`: it
 * is another counter than before.
 */
void lane_counted(struct lane_class *c, int64_t beyond, bool fresh);

/* There is no such counter, or none that sees all. */
void lane_uncounted(struct lane_class *c);

/* Opens the class (or shuts it, by its policy) for this reason: the next ticks settle what is held and then turn. */
void lane_turn(struct lane_class *c, enum lane_reason reason);

/*
 * Somebody else has opened the class (or shut it, by its policy) and let go all that was held, for there was nobody to
 * order it: the next look books what is not settled.
 */
void lane_turned_outside(struct lane_class *c, enum lane_reason reason, uint64_t now_ns);

/* After an opening by hand (REASON_MANUAL): the next tick inspects again. */
void lane_return(struct lane_class *c);

/* Everything passes it, or is dropped, uninspected. */
static inline bool lane_passing(const struct lane_class *c)
{
	return c->state == STATE_OPEN || c->state == STATE_SHUT;
}

/* True where no tick is to be waited for: the class is open or shut and nothing is held. */
bool lane_turned(const struct lane_class *c);

/* What happens to packets that meet this reason: true: dropped, false: accepted. */
bool lane_shuts(const struct lane_config *config, enum lane_reason reason);

/* The kernel's 32-bit number as the 64-bit one nearest to `near`: serial arithmetic (RFC 1982). */
uint64_t lane_widen(uint64_t near, uint32_t low);

/* Sums that the books give. */
uint64_t lane_seen(const struct lane_class *c);
uint64_t lane_held(const struct lane_class *c);
uint64_t lane_inspected(const struct lane_class *c);
uint64_t lane_unreconciled(const struct lane_class *c);

#endif
