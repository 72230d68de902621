/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the firewall's commands list, as far as queues are concerned: rules that queue, and base chains. Pure: parses
 * text that others made, of any size; what does not fit is left out and told.
 */
#ifndef SPW_DOCTOR_RULESET_H
#define SPW_DOCTOR_RULESET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
	RULESET_RULES = 256,
	RULESET_CHAINS = 256,
	RULESET_LINES = 200000, /* of one command's output */
	RULESET_JUMPS = 4096,   /* of one command's output: rules that lead to chains of somebody's own */
	RULESET_LISTED = 1024,  /* likewise: chains */
	RULESET_NAME = 40,
	RULESET_WHERE = 160,
};

/* A rule that brings packets to queues; one in a chain of somebody's own once for each way from a base chain to it. */
struct queue_rule {
	char where[RULESET_WHERE]; /* for people: "iptables mangle INPUT", "iptables mangle INPUT, chain mine" */
	char family[RULESET_NAME]; /* ip, ip6, inet, bridge */
	char hook[RULESET_NAME];   /* of its base chain, as nft has it; "": not known */
	int priority;              /* likewise */
	bool numbered;             /* its queues are known: */
	uint16_t first, last;
	bool bypass;
	bool everything;  /* it looks at nothing: no packet gets behind it */
	bool shut;        /* made by `spillway rules --policy shut` */
	bool gate;        /* it asks its queue's gate: */
	bool by_mark;     /* not itself, but by the mark that the gate has put on the packet at its device */
	uint32_t program; /* else the kernel's id of the program that was pinned when it was made; 0: not known */
	bool unreached;   /* no rule was seen that leads to its chain */
	unsigned behind;  /* later rules of its chains that lead to no queue */
};

/* A base chain that is not one of iptables' own. */
struct base_chain {
	char where[RULESET_WHERE];
	char family[RULESET_NAME];
	char hook[RULESET_NAME];
	int priority;
};

struct ruleset {
	unsigned rules, chains;
	bool cut; /* something did not fit, or was not understood */
	struct queue_rule rule[RULESET_RULES];
	struct base_chain chain[RULESET_CHAINS];
};

/* Adds what iptables-save (family "ip") or ip6tables-save ("ip6") has written. */
void ruleset_iptables(struct ruleset *r, const char *family, FILE *text);

/* Adds what `nft -j list ruleset` has written. Rules of iptables' own in it are passed over. */
void ruleset_nft(struct ruleset *r, const json_t *root);

/* True where packets of this rule may have come through this chain before. */
bool ruleset_before(const struct base_chain *chain, const struct queue_rule *rule);

#endif
