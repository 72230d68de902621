/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's side of NFQUEUE as a model: hooks and their rules, queues, what they hold, netlink sockets and their
 * buffers. For a simulator, and for holding it against the real kernel. Makes no system call, knows no clock, allocates
 * nothing after kernel_new(); the same calls give the same results.
 *
 * It is as if there were one processor: a call has done everything it causes, deliveries included, when it returns.
 * Not in it: connection tracking (so no packet is refused for an unconfirmed connection), checksums, routing.
 */
#ifndef TESTS_SIM_KERNEL_H
#define TESTS_SIM_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <spillway/queue.h>

#define KERNEL_HOOKS   12     /* in the chain, at most */
#define KERNEL_RULES   8      /* of one hook, at most */
#define KERNEL_QUEUES  16     /* bound at one time, at most */
#define KERNEL_SOCKETS 16     /* open at one time, at most */
#define KERNEL_TABLE   65536u /* packets that one queue can hold where it has a table of ids */
#define KERNEL_RANGE   65531u /* the largest copy range, and the one that a bind begins with */
#define KERNEL_LENGTH  1024u  /* the length that a bind begins with */

/* A packet. The model looks at the numbers and never at content. */
struct kernel_packet {
	uint64_t number;  /* the caller's own; segment i of an aggregate carries number + i */
	uint32_t length;  /* bytes from the network header on; of an aggregate, of the whole */
	uint32_t claimed; /* bytes that its own headers say it has; 0: as many as it has */
	uint32_t linear;  /* bytes that don't lie in page fragments; 0: all */
	uint32_t mark;
	uint32_t priority;
	uint16_t flow;  /* what rules match: a port, say */
	uint16_t indev; /* interfaces; 0: none */
	uint16_t outdev;
	uint16_t segments;    /* packets that it will be cut into (GSO); 0 and 1: an ordinary one */
	uint32_t segment_len; /* bytes of each of these, from the network header on */

	/* What the kernel counts nowhere; written by the model, to be read when the packet has met its end. */
	uint16_t inspected; /* verdicts it got from user space */
	uint16_t opened;    /* times a queue failed open for it */
	uint16_t bypassed;  /* times a queue rule was passed because nobody was bound */
};

/* How a packet ended. Only the ones with a counter behind them show in the kernel's numbers. */
enum kernel_fate {
	FATE_DELIVERED, /* passed every hook */
	FATE_RULE,      /* a rule dropped it; the rule's own counter */
	FATE_VERDICT,   /* user space dropped it */
	FATE_FULL,      /* as many held as may be, not fail-open; queue_dropped */
	FATE_TABLE,     /* the table of ids has no room, not fail-open; queue_dropped */
	FATE_SOCKET,    /* its message found no room, not fail-open; user_dropped */
	FATE_AGGREGATE, /* the segments behind one that was dropped; nothing counts them */
	FATE_NO_QUEUE,  /* nobody bound, and no bypass */
	FATE_NO_MODE,   /* bound, but never configured */
	FATE_NO_MEMORY, /* no memory for its message: drops even where the queue fails open */
	FATE_UNBIND,    /* held by a queue that was given back */
	FATE_CLOSE,     /* held by a queue whose last socket was closed */
	FATE_DEVICE,    /* held while its device went down */
	FATE_CHAIN,     /* held while a base chain, any at all, was deleted */
	FATE_MALFORMED, /* a verdict left it shorter than its own headers say */
	FATES
};
extern const char *const kernel_fate_names[FATES];

enum kernel_action {
	ACTION_COUNT, /* nothing but the counter */
	ACTION_MARK,  /* sets the whole mark */
	ACTION_QUEUE,
	ACTION_ACCEPT, /* leaves this hook */
	ACTION_DROP,
};

/* A rule matches where flow and mark do. */
struct kernel_rule {
	uint16_t flow; /* 0: any */
	uint32_t mark_mask, mark_value;
	bool mark_differs; /* matches where (mark & mark_mask) is not mark_value */
	enum kernel_action action;
	uint32_t mark;  /* ACTION_MARK */
	uint16_t queue; /* ACTION_QUEUE */
	bool bypass;    /* ACTION_QUEUE: accept where nobody is bound */
	uint64_t hits;  /* packets it matched; segments that a verdict sent on count one each. The model's to write */
};

/* A base chain: its rules in order; behind the last one it accepts. */
struct kernel_hook {
	unsigned rules;
	struct kernel_rule rule[KERNEL_RULES];
};

/* One wrong rule to plant, for tests that must notice it. */
enum kernel_mistake {
	MISTAKE_NONE,
	MISTAKE_OPEN_TAKES_ID,     /* a full queue that fails open uses up an id */
	MISTAKE_SPILL_SPARES_ID,   /* a message that didn't fit gives its id back */
	MISTAKE_READ_FREES_SLOT,   /* reading a message makes room in the queue */
	MISTAKE_BATCH_WANTS_READ,  /* a batch verdict leaves unread packets alone */
	MISTAKE_BATCH_EXACT,       /* a batch verdict takes ids below its own, not its own */
	MISTAKE_MARK_MERGES,       /* a verdict's mark is or'ed into the packet's */
	MISTAKE_MASK_IGNORED,      /* flags outside the mask are changed too */
	MISTAKE_OTHER_BUSY,        /* BIND of somebody else's queue is EBUSY */
	MISTAKE_UNBIND_ACCEPTS,    /* what an unbound queue held goes on */
	MISTAKE_REPEAT_ACCEPTS,    /* REPEAT goes on with the next hook */
	MISTAKE_AGGREGATE_COUNTED, /* every segment of a dropped aggregate is counted */
	MISTAKE_CONGESTION_ENDS,   /* any read ends congestion, not only the last */
	MISTAKE_ERROR_FREE,        /* error messages take no room in the socket */
	MISTAKES
};
extern const char *const kernel_mistake_names[MISTAKES];

struct kernel_options {
	unsigned packets; /* that can be held at one time, all queues together; 0: KERNEL_TABLE + 16. More: no memory */
	unsigned messages; /* that can lie in sockets at one time, together; 0: as many. More: no room */
	uint32_t table; /* packets that one queue can hold, however long it may be; 0: KERNEL_TABLE. Old kernels: ~0 */
	bool enospc; /* fail-open as the patch of 2012 told it: enqueueing returns -ENOSPC and the caller goes on with
			the remaining hooks, instead of the queue reinjecting by itself */
	bool conntrack; /* the kernel can attach conntrack entries: else its flag is refused */
	enum kernel_mistake mistake;

	/* Every packet meets its end here, exactly once; a held one not before it is settled. An aggregate that was
	 * never cut ends as one. The model must not be called from it. NULL: nobody looks. */
	void (*fate)(void *context, const struct kernel_packet *packet, enum kernel_fate fate);
	/* Receive buffer that the message of a packet takes, of which `copied` bytes go along, at most `linear` of them
	 * from outside page fragments. NULL: kernel_truesize(). */
	uint32_t (*truesize)(void *context, uint32_t copied, uint32_t linear, uint32_t queue_flags);
	uint32_t error_truesize; /* of an error message or acknowledgement; 0: kernel_truesize(0, 0, 0) */
	void *context;
};

/* Subsets of a config message. */
#define KERNEL_COMMAND (1u << 0)
#define KERNEL_PARAMS  (1u << 1)
#define KERNEL_MAXLEN  (1u << 2)
#define KERNEL_MASK    (1u << 3)
#define KERNEL_FLAGS   (1u << 4)

/* NFQNL_CFG_CMD_* */
#define KERNEL_BIND   1u
#define KERNEL_UNBIND 2u

/* A config message. It is checked as a whole before any of it is applied. */
struct kernel_config {
	uint32_t set;    /* KERNEL_*: which attributes it has */
	uint8_t command; /* any number: KERNEL_BIND, KERNEL_UNBIND, the obsolete 3 and 4, others are refused */
	uint8_t copy_mode;
	uint32_t copy_range;
	uint32_t length;
	uint32_t mask, flags;
};

/* A verdict as it stands in the message: NF_* in the low byte, above it what NF_QUEUE takes. */
struct kernel_verdict {
	uint32_t value;
	uint32_t set; /* SPW_VERDICT_MARK, _PRIORITY, _PAYLOAD */
	uint32_t mark;
	uint32_t priority;
	uint32_t payload_len;     /* the packet's length from now on */
	uint32_t payload_claimed; /* what the new content says that it has; 0: as many */
	uint64_t payload_number;  /* and its number */
};

/* What a socket receives. */
struct kernel_message {
	bool error;     /* an error message (or an acknowledgement, with err 0), not a packet */
	int err;        /* its negative errno */
	uint32_t tag;   /* of the request that it answers */
	uint16_t queue; /* of a packet: */
	uint32_t id;
	uint32_t copied; /* bytes of payload that came along */
	struct kernel_packet packet;
};

struct kernel; /* opaque */

/* NULL: no memory. kernel_free(NULL) does nothing; what is held ends without a fate. */
struct kernel *kernel_new(const struct kernel_options *options);
void kernel_free(struct kernel *k);

/* As fresh from kernel_new(), at little cost; the hooks go too. */
void kernel_reset(struct kernel *k);

/*
 * The chain of hooks. Inserting one in front of held packets shifts what "the next hook" means to them: the kernel
 * remembers a position. Deleting any drops everything that any queue holds.
 */
void kernel_hook_insert(struct kernel *k, unsigned at, const struct kernel_hook *hook);
void kernel_hook_delete(struct kernel *k, unsigned at);
const struct kernel_hook *kernel_hook(const struct kernel *k, unsigned at);

/* A packet enters the chain. Its last three fields and `claimed` may be 0. */
void kernel_send(struct kernel *k, const struct kernel_packet *packet);

/* What is held and came in or goes out by this device is dropped. */
void kernel_device_down(struct kernel *k, uint16_t device);

/* The next n messages for packets find no memory. */
void kernel_starve(struct kernel *k, unsigned n);

/*
 * Netlink sockets. A handle stays valid until the last holder has closed. -EADDRINUSE: the port is taken;
 * -EMFILE: KERNEL_SOCKETS are open. `buffer` is the limit as getsockopt(SO_RCVBUF) shows it.
 */
int kernel_socket(struct kernel *k, uint32_t portid, uint32_t buffer);
void kernel_dup(struct kernel *k, int s);
void kernel_close(struct kernel *k, int s);
void kernel_set_buffer(struct kernel *k, int s, uint32_t buffer);
void kernel_set_no_enobufs(struct kernel *k, int s, bool on); /* as NETLINK_NO_ENOBUFS; off at first */
void kernel_set_filter(struct kernel *k, int s, bool on);     /* a socket filter that lets nothing through */

/*
 * Receives a message; kernel_peek() leaves it there. -EAGAIN: none; -ENOBUFS: once after an overrun, without
 * NO_ENOBUFS. `message` may be NULL.
 */
int kernel_receive(struct kernel *k, int s, struct kernel_message *message);
int kernel_peek(struct kernel *k, int s, struct kernel_message *message);

/*
 * Requests, by a sender with CAP_NET_ADMIN. They return what the kernel answers; it also comes as a message to the
 * socket if it is an error or if `ack`, under the tag, where there is room.
 */
struct kernel_request {
	int socket;
	uint16_t queue;
	uint32_t tag;
	bool ack;
};
int kernel_configure(struct kernel *k, const struct kernel_request *request, const struct kernel_config *config);
int kernel_verdict(struct kernel *k, const struct kernel_request *request, uint32_t id,
		   const struct kernel_verdict *verdict);
int kernel_verdict_batch(struct kernel *k, const struct kernel_request *request, uint32_t id,
			 const struct kernel_verdict *verdict);

/* The line in /proc/net/netfilter/nfnetlink_queue. -ENODEV: not bound. */
int kernel_queue_stat(const struct kernel *k, uint16_t queue, struct spw_queue_stat *stat);

/* getsockopt(SO_MEMINFO). */
void kernel_socket_stat(const struct kernel *k, int s, struct spw_socket_stat *stat);

/* A held packet; NULL: none has this id. */
const struct kernel_packet *kernel_held(const struct kernel *k, uint16_t queue, uint32_t id);

/* Makes the next id of a bound queue `last` + 1: to come near the point where ids wrap. */
void kernel_set_sequence(struct kernel *k, uint16_t queue, uint32_t last);

/* How much of a receive buffer a message takes on Linux 6.18: see struct kernel_options. */
uint32_t kernel_truesize(uint32_t copied, uint32_t linear, uint32_t queue_flags);

#endif
