/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chains of one list of rules, and which of them lead to which: so that a rule in a chain of somebody's own is
 * judged as one where packets come from. Pure.
 */
#ifndef SPW_DOCTOR_CHAINS_H
#define SPW_DOCTOR_CHAINS_H

#include "doctor/ruleset.h"

struct chains;

/* NULL: no memory. chains_end() frees. */
struct chains *chains_begin(void);
void chains_end(struct chains *c);

/* The chain of this name, told for people ("iptables mangle INPUT"). Find: NULL: it was not added. Add: it need not be
 * there; NULL: there are too many. */
struct listed_chain *chains_find(struct chains *c, const char *where);
struct listed_chain *chains_add(struct chains *c, const char *where);

/* It hangs at a hook, with this priority. */
void chains_hook(struct listed_chain *chain, const char *hook, int priority);

/* The chain's next rule: one that leads to no queue by itself; also one that leads to another chain: with
 * `everything`, all packets that come to it. */
void chains_rule(struct listed_chain *chain);
void chains_jump(struct chains *c, struct listed_chain *from, struct listed_chain *to, bool everything);

/* Or one that lets pass what the queue's gate lets pass, asked by this program (0: not known); and whether that is so
 * for what comes to the chain's next rule. */
void chains_gate(struct listed_chain *chain, uint16_t queue, uint32_t program);
bool chains_gated(const struct listed_chain *chain, uint16_t queue, uint32_t *program);

/*
 * Or one that queues. `ends`: it and its chain's later rules belong together, and let no packet back. Returns what is
 * to be filled in, but for where, hook, priority, unreached and behind; NULL: there are too many.
 */
struct queue_rule *chains_queue(struct chains *c, struct listed_chain *chain, bool ends);

/* Adds the rules that queue to `r`, once for each way to them; `cut` is set there where not all of it was seen. */
void chains_resolve(struct chains *c, struct ruleset *r);

#endif
