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
 * commands made is taken back where a later one fails. 0, or -EINVAL: the firewall does not understand the rule;
 * -EPERM; -EOPNOTSUPP: the kernel lacks something; or another negative errno. Not 0: `error` says: what: why; what to
 * do.
 */
int iptables_apply(const struct rule *r, FILE *out, char error[FIREWALL_ERROR]);
int nft_apply(const struct rule *r, FILE *out, char error[FIREWALL_ERROR]);

/*
 * Takes out the rules that bring the same traffic to the same queue, or with `all` any traffic to the queue, at the
 * rule's hook; then the counter, where no rule is left that counts with it. That there is none is no error. As above.
 */
int iptables_remove(const struct rule *r, bool all, FILE *out, char error[FIREWALL_ERROR]);
int nft_remove(const struct rule *r, bool all, FILE *out, char error[FIREWALL_ERROR]);

/* For both: writes the sentence, returns err. */
__attribute__((format(printf, 3, 4))) int firewall_fail(char error[FIREWALL_ERROR], int err, const char *format, ...);
/* For both: the command could not be run, for err. */
int firewall_no_command(char error[FIREWALL_ERROR], int err, const char *name, const char *otherwise);
/* For both: 0, or -EPERM and its sentence where the caller may not change the firewall. Changes nothing. */
int firewall_permission(uint16_t queue, char error[FIREWALL_ERROR]);

#endif
