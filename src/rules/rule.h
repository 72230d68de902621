/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rule that brings packets to a queue, and the firewall's commands that make it. Pure: runs nothing.
 *
 * All rules stand in the mangle table (nft: in the table inet spillway, with mangle's priority): it has every hook, and
 * comes before the filter table, whose rules so still see what was accepted, passed uninspected or not queued at all.
 */
#ifndef SPW_RULES_RULE_H
#define SPW_RULES_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "nfqueue/counter.h"
#include "rules/words.h"

enum rule_hook { RULE_INPUT, RULE_FORWARD, RULE_OUTPUT, RULE_PREROUTING, RULE_HOOKS };
/* What becomes of the traffic: it is queued, or passes by its connection's mark and is counted. */
enum rule_kind { RULE_QUEUE, RULE_TRUSTED, RULE_SPILLED, RULE_KINDS };
enum rule_state { RULE_ANY, RULE_NEW, RULE_ESTABLISHED };
enum rule_family { RULE_IPV4 = 1, RULE_IPV6 = 2, RULE_BOTH = 3 };

enum {
	RULE_PORTS = 15,      /* as many as one match of iptables takes */
	RULE_SET = 32,        /* bytes of a set's name, its end included, as of the following */
	RULE_COMMENT = 88,    /* a comment */
	RULE_BYTECODE = 2048, /* a filter's bytecode as text: 64 instructions */
	RULE_NFT_TEXT = 4096, /* a command of nft */
	RULE_MATCH = 2000,    /* a match */
	RULE_MATCH_WORDS = 100,
	RULE_DEVICES = 8,
	RULE_DEVICE = 16,     /* an interface's name */
	RULE_GATE_CHAIN = 28, /* the name of a gate's chain */
	RULE_GATE_LINES = 3,
};

struct rule {
	enum rule_kind kind;
	uint16_t queue;
	enum rule_hook hook;
	bool nft;         /* nft, else iptables and ip6tables */
	bool shut;        /* packets are dropped, not passed, while nobody listens at the queue */
	bool gate;        /* they come to the queue's gate, which decides what is queued */
	uint32_t program; /* the kernel's id of the gate's program, which iptables' rules hold; 0: not known */
	enum rule_family family;
	/* What sorts the traffic; all of it has to fit. */
	enum rule_state state;
	const char *protocol; /* one that rule_protocol() knows; NULL: any */
	unsigned port_count;
	uint16_t ports[RULE_PORTS];
	bool source_port;   /* the ports are the sender's, else the receiver's */
	char set[RULE_SET]; /* "": none */
	bool set_destination;
	unsigned device_count; /* by which interfaces they came, nft only; 0: any */
	char devices[RULE_DEVICES][RULE_DEVICE];
	uint32_t mark, mark_mask; /* nft with the gate: on what it has admitted */
	/* By kind: the connection's mark, by which packets pass before the queue; mask 0: none do */
	uint32_t connmark[RULE_KINDS], connmark_mask[RULE_KINDS];
	const char *match;  /* words of the backend; NULL: none */
	const char *filter; /* as it was given; NULL: none */
	/* The filter compiled, by family (0: IPv4, 1: IPv6): "LEN,instructions". "": it takes no packet of that family.
	 */
	char bytecode[2][RULE_BYTECODE];
};

/* Whose a rule in the firewall is, by its comment. */
enum rule_own {
	RULE_FOREIGN,
	RULE_OF_QUEUE,     /* Spillway's, for the same queue, of other traffic */
	RULE_OF_TRAFFIC,   /* of the same traffic, and another kind: it queues where this one passes, or the reverse */
	RULE_OTHER_POLICY, /* of the same traffic, with the other policy; of one that passes: by another mark */
	RULE_SAME,
};

/* "input" and so on. */
const char *rule_hook_name(enum rule_hook hook);

/* True for a protocol by a name that every iptables knows, or by number; *ports: it has such. */
bool rule_protocol(const char *name, bool *ports);

/* NULL where the parts of the rule go together; else a sentence: what: why; what to do. */
const char *rule_check(const struct rule *r);

/*
 * The comment that the rule has in the firewall: queue, policy, and a number made of what sorts the traffic, as it was
 * given. By it the rule is found again, whatever the firewall made of its words.
 */
void rule_comment(const struct rule *r, char comment[RULE_COMMENT]);
enum rule_own rule_own(const struct rule *r, const char *comment);

/* iptables' name of the rule's chain. */
const char *rule_chain(const struct rule *r);

/* False where the rule's filter takes no packet of this family (RULE_IPV4 or RULE_IPV6), or it wasn't asked for. */
bool rule_has(const struct rule *r, enum rule_family family);

/* The beginning of every command to the mangle table of iptables (RULE_IPV4) or ip6tables (RULE_IPV6). */
void rule_iptables_begin(enum rule_family family, struct words *w);

/* The counter that the rule counts with. */
enum spw_counter_kind rule_counter(const struct rule *r);

/* The command that makes the rule, which rule_check() has found fine: in front of the chain's rule of that number, or
 * last (0). */
void rule_iptables(const struct rule *r, enum rule_family family, unsigned before, struct words *w);

/*
 * With the gate, iptables' rule goes to a chain of the gate's own, one for a queue and a policy; nft's to one in its
 * table. Nothing but rules with the gate goes there.
 */
#define RULE_GATE_IPTABLES "SPILLWAY-GATE-"
#define RULE_GATE_NFT      "gate-"
/* The comment of the rule that asks the program, before its id: where others are pinned later, it shows. */
#define RULE_GATE_PROGRAM  "spillway-program="
void rule_gate_chain(const struct rule *r, char name[RULE_GATE_CHAIN]);

/* The n-th line, of RULE_GATE_LINES, of iptables' chain as iptables-restore takes it; no word needs quotes. */
void rule_gate_line(const struct rule *r, unsigned n, struct words *w);

/* What iptables-restore --noflush makes the chain of, all at once, also where it is there and in use. */
void rule_gate_write(const struct rule *r, FILE *out);

/* nft's commands for the rule, in the order in which they are needed. */
enum rule_nft { RULE_NFT_TABLE, RULE_NFT_COUNTER, RULE_NFT_GATE, RULE_NFT_CHAIN, RULE_NFT_RULE, RULE_NFT_COMMANDS };

/* One of them, in nft's language, "" where the rule needs none; rule_check() has found it fine. `chain`: to which it is
 * added, and where there. */
void rule_nft(const struct rule *r, enum rule_nft command, const char *chain, char text[RULE_NFT_TEXT]);

/* The same rule as another kind. */
struct rule rule_as(const struct rule *r, enum rule_kind kind);

/* All commands, one a line, ready for a shell. */
void rule_print(const struct rule *r, FILE *out);

#endif
