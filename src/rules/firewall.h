/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules put into the kernel's firewall and taken out of it, by iptables and by nft. Never takes a base chain away: that
 * drops every packet that waits in any queue of the network namespace.
 */
#ifndef SPW_RULES_FIREWALL_H
#define SPW_RULES_FIREWALL_H

#include "rules/rule.h"

enum { FIREWALL_ERROR = 512 };

/* Told of a removed rule that looked at connections: with the last user of conntrack the kernel takes its hooks away.
 */
#define FIREWALL_CONNTRACK "; if no other rule here uses conntrack, what waited in a queue was dropped with it"

/*
 * Makes the counter and the rule, where they are not there already, and tells `out` what was done; what one of several
 * commands made is taken back where a later one fails. The same rule with the gate where r has none, or without it, is
 * replaced while packets go on: each meets the one or the other. 0, or -EINVAL: the firewall does not understand the
 * rule; -EPERM; -EOPNOTSUPP: the kernel lacks something; or another negative errno. Not 0: `error` says: what: why;
 * what to do.
 */
int iptables_apply(const struct rule *r, FILE *out, char error[FIREWALL_ERROR]);
int nft_apply(const struct rule *r, FILE *out, char error[FIREWALL_ERROR]);

/*
 * Takes out the rules that bring the same traffic to the same queue, or with `all` any traffic to the queue, at the
 * rule's hook; then a gate's chain and the counter, where no rule is left that uses them, and with the chains the pins,
 * where nobody is bound to the queue. That there is none is no error. As above.
 */
int iptables_remove(const struct rule *r, bool all, FILE *out, char error[FIREWALL_ERROR]);
int nft_remove(const struct rule *r, bool all, FILE *out, char error[FIREWALL_ERROR]);

/*
 * For a rule that passes what has a mark in its connection (r->kind): makes it before the rule that queues the same
 * traffic, and takes those away that do the same by another mark; with a mask of 0 that is all. Without it, packets are
 * queued: so nothing is taken back where something fails. Returns as above.
 */
int iptables_pass(const struct rule *r, FILE *out, char error[FIREWALL_ERROR]);
int nft_pass(const struct rule *r, FILE *out, char error[FIREWALL_ERROR]);

/* For both: writes the sentence, returns err. */
__attribute__((format(printf, 3, 4))) int firewall_fail(char error[FIREWALL_ERROR], int err, const char *format, ...);
/* For both: the command could not be run, for err. */
int firewall_no_command(char error[FIREWALL_ERROR], int err, const char *name, const char *otherwise);
/* For both: there is a rule for the same traffic with the other policy. */
int firewall_other_policy(char error[FIREWALL_ERROR], const struct rule *r, const char *name);

/* A rule that a firewall lists, and by what it is deleted. */
struct firewall_listed {
	struct words words;        /* iptables */
	unsigned long long handle; /* nft */
	unsigned position;         /* iptables: its number in the chain; the reader counts from what stands here */
	bool gate;                 /* it goes to a gate's chain */
	bool conntrack;            /* it looks at connections */
};
/* Reads one line of a list: whose rule is it? What it may be deleted by, where it is Spillway's for the queue. */
typedef enum rule_own firewall_reader(const struct rule *r, const char *line, struct firewall_listed *listed);

/* For both: the next rule of a list that is `least` (not RULE_FOREIGN) or nearer to r; RULE_FOREIGN: no more. */
enum rule_own firewall_next(const struct rule *r, FILE *rules, firewall_reader *read, enum rule_own least,
			    struct firewall_listed *listed);

/* What there is of r's traffic. */
struct firewall_found {
	bool same;                 /* the rule itself */
	bool policy;               /* one of the other policy */
	bool traffic;              /* one of another kind */
	bool other;                /* the same rule, but with the gate where r has none, or without it; */
	unsigned position;         /* where the first of the last two stands: iptables, */
	unsigned long long handle; /* nft */
};
/* For both: reads the list. */
void firewall_find(const struct rule *r, FILE *rules, firewall_reader *read, struct firewall_found *found);

/* For both: says what an apply has done. `name`: of the command. */
void firewall_tell(const struct rule *r, const struct firewall_found *found, const char *name, FILE *out);

/* For both: 0, or -EPERM and its sentence where the caller may not change the firewall. Changes nothing. */
int firewall_permission(uint16_t queue, char error[FIREWALL_ERROR]);

#endif
