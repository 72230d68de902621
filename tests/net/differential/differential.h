/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The differential test's parts: operations, the kernel that carries them out, the model that does, and what of each
 * can be looked at afterwards. main() is ../differential.c.
 */
#ifndef TESTS_NET_DIFFERENTIAL_H
#define TESTS_NET_DIFFERENTIAL_H

#include <stdio.h>

#include "../../sim/kernel.h"

#define SOCKETS       3    /* that operations name */
#define QUEUES        4    /* numbers 1 to 4; no rule leads to 4, only verdicts do */
#define FLOWS         3    /* source ports from FIRST_FLOW on */
#define FIRST_FLOW    7001 /* the one below is never queued: it tells that all before it has arrived */
#define PORT          9999 /* where everything goes */
#define LOOPBACK      1    /* the interface's index, in any namespace */
#define HEADERS       28u  /* IPv4 and UDP */
#define NUMBERED      36u  /* headers and the datagram's number */
#define SEGMENT       400u /* payload of each segment of an aggregate */
#define MOST_SEGMENTS 10u
#define HOOKS         3     /* base chains that carry rules: mangle, filter, security INPUT */
#define EVENTS        4096u /* datagrams, or messages, that one operation may bring */

enum op_kind {
	OP_SOCKET,  /* opens it, where it isn't open */
	OP_DUP,     /* one more holder */
	OP_CLOSE,   /* one holder less */
	OP_BUFFER,  /* `amount` bytes asked for */
	OP_ENOBUFS, /* NETLINK_NO_ENOBUFS to `amount` */
	OP_FILTER,  /* a filter that lets nothing through; 0: none */
	OP_CONFIG,
	OP_SEND,      /* `amount` datagrams */
	OP_AGGREGATE, /* one of `amount` segments */
	OP_RECEIVE,   /* up to `amount` messages */
	OP_VERDICT,   /* `amount` of them in one message to the kernel, for ids that follow each other */
	OP_BATCH,
	OP_DEVICE,       /* the loopback interface goes down, and up again */
	OP_CHAIN_ADD,    /* an empty base chain in front of all others, where there is none */
	OP_CHAIN_DELETE, /* and its end */
	OP_KINDS
};

/* One operation. It means something whatever came before it, so that others can be left out. */
struct op {
	enum op_kind kind;
	unsigned socket; /* who asks, receives … */
	uint16_t queue;
	bool ack;
	uint32_t amount;
	uint16_t flow;
	uint32_t mark, payload; /* of datagrams */
	int32_t back; /* of a verdict: its id is so many before the queue's last one; negative: not yet assigned */
	struct kernel_config config;
	struct kernel_verdict verdict;

	/* Filled in before it is carried out, from where the model stands. */
	uint64_t number; /* of its first datagram */
	uint32_t id;
	uint16_t verdict_flow; /* of the packet that it is for */
};

/* A datagram that has arrived. */
struct arrival {
	uint64_t number;
	uint32_t length, mark;
};

/* One attempt to receive. */
struct reception {
	int err; /* of the attempt: 0, -EAGAIN, -ENOBUFS */
	struct kernel_message message;
};

/* What an operation has left behind, on either side. */
struct view {
	bool bound[QUEUES];
	struct spw_queue_stat queue[QUEUES];
	struct spw_socket_stat socket[SOCKETS]; /* all 0: not open */
	uint64_t hits[HOOKS][KERNEL_RULES];
	unsigned arrivals, receptions;
	struct arrival arrival[EVENTS];
	struct reception reception[EVENTS];
};

/* operation.c: pure */
struct kernel_hook rules_of(unsigned hook); /* the rules that both sides have */
#define LONGEST 48
unsigned generate(uint64_t seed, struct op ops[LONGEST]);
unsigned fill_table(struct op ops[LONGEST]); /* to where the table of ids ends, with the flag and without */
void print_op(FILE *to, const struct op *op);

/*
 * What differs from kernel to kernel, measured before the first sequence: how much of a receive buffer a message takes,
 * by the bytes of payload that go along, and the like.
 */
#define MEASURED 4096u
struct measures {
	uint32_t error;               /* an error message */
	uint32_t plain[2][MEASURED];  /* of a datagram; [1]: with SPW_UID_GID */
	uint32_t pieces[2][MEASURED]; /* of an aggregate, whose payload lies in page fragments; 0: not measured */
	bool conntrack;               /* as in struct kernel_options */
	uint32_t table;
};

/* model.c: two models, that of today's form and that of 2012 */
enum form { FORM_TODAY, FORM_2012, FORMS };
bool model_open(enum kernel_mistake mistake, const struct measures *measures);
void model_close(void);
void model_reset(void);
void model_resolve(struct op *op); /* fills in what depends on where things stand */
void model_socket_opened(unsigned socket, uint32_t portid, uint32_t buffer);
void model_buffer_set(unsigned socket, uint32_t buffer);
void model_do(enum form form, const struct op *op, struct view *view);
uint64_t model_ended(enum kernel_fate fate); /* packets that met this end so far */

/* real.c; ends the test where something fails that can't */
void real_open(void);
void real_reset(void);
bool real_is_open(unsigned socket);
uint32_t real_portid(unsigned socket);
uint32_t real_buffer(unsigned socket);
void real_do(const struct op *op, struct view *view);

/* measure.c; on the kernel, by real.c's means */
void measure(struct measures *measures);

#endif
