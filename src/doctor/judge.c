/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wrong with rules that queue: see doctor.h. Pure, but for the look that it is given.
 */
#include "doctor/doctor.h"

#include <errno.h>
#include <string.h>

/* Of one rule: each costs a socket. */
#define QUEUES_LOOKED_AT 256u

/* "queue 3", "queues 0 to 3" or "a queue worked out for each packet". */
static const char *queues(const struct queue_rule *rule, char text[64])
{
	if (!rule->numbered)
		snprintf(text, 64, "a queue worked out for each packet");
	else if (rule->first == rule->last)
		snprintf(text, 64, "queue %u", rule->first);
	else
		snprintf(text, 64, "queues %u to %u", rule->first, rule->last);
	return text;
}

static void judge_bypass(const struct queue_rule *rule, struct findings *f)
{
	char text[64];

	if (rule->bypass || rule->shut)
		return;
	finding_remedy(findings_add(f, LEVEL_HURTS, "no-bypass",
				    "%s, %s: without bypass, packets are dropped while nobody is bound", rule->where,
				    queues(rule, text)),
		       "%s; or, where that is wanted, make the rule by spillway rules --policy shut",
		       strncmp(rule->where, "nft", 3) != 0 ? "make the rule again with --queue-bypass"
							   : "make the rule again with 'queue flags bypass'");
}

static void judge_behind(const struct queue_rule *rule, struct findings *f)
{
	char text[64];
	struct finding *finding;

	if (!rule->behind)
		return;
	finding =
	    rule->everything
		? findings_add(f, LEVEL_HURTS, "never-reached",
			       "%s, %s: the rule takes every packet, so the later rules of this chain (%u) never run",
			       rule->where, queues(rule, text), rule->behind)
		: findings_add(f, LEVEL_NOTE, "skipped-rules",
			       "%s, %s: packets that it takes don't see the later rules of this chain (%u), whatever "
			       "the verdict",
			       rule->where, queues(rule, text), rule->behind);
	finding_remedy(
	    finding, "move those rules before it, or to a chain of a later priority; spillway rules puts its own into "
		     "mangle, before filter");
}

/* How many of a rule's queues are in each state, and the first that is. */
struct states {
	unsigned count[QUEUE_STATES], first[QUEUE_STATES];
};

static struct states look_at(const struct queue_rule *rule, queue_look look)
{
	struct states s = {0};

	for (unsigned n = rule->first; n <= rule->last && n - rule->first < QUEUES_LOOKED_AT; n++) {
		const enum queue_state state = look((uint16_t)n);

		if (!s.count[state]++)
			s.first[state] = n;
	}
	return s;
}

static void judge_queues(const struct queue_rule *rule, queue_look look, struct findings *f)
{
	struct states s;

	if (!rule->numbered)
		return;
	s = look_at(rule, look);
	if (s.count[QUEUE_UNBOUND])
		finding_remedy(
		    findings_add(f, LEVEL_HURTS, "unbound",
				 "%s: nobody is bound to %u of its queues, the first is %u: packets to them are %s",
				 rule->where, s.count[QUEUE_UNBOUND], s.first[QUEUE_UNBOUND],
				 rule->bypass ? "not inspected" : "dropped"),
		    "spillway run --queue %u --inspect ..., or take the rule out", s.first[QUEUE_UNBOUND]);
	if (s.count[QUEUE_UNCONFIGURED])
		finding_remedy(
		    findings_add(
			f, LEVEL_HURTS, "unconfigured",
			"%s: queue %u is bound but was never configured: it drops every packet, also with bypass "
			"and fail-open",
			rule->where, s.first[QUEUE_UNCONFIGURED]),
		    "mend or stop the program that is bound to it");
	if ((unsigned)(rule->last - rule->first) >= QUEUES_LOOKED_AT)
		findings_add(f, LEVEL_NOTE, "rules", "%s: only the first %u of its queues are looked at", rule->where,
			     QUEUES_LOOKED_AT);
}

/* Chains through which a packet of the rule came before. */
static void judge_chains(const struct ruleset *r, const struct queue_rule *rule, struct findings *f)
{
	for (unsigned i = 0; i < r->chains; i++) {
		const struct base_chain *chain = &r->chain[i];

		if (ruleset_before(chain, rule))
			finding_remedy(
			    findings_add(
				f, LEVEL_NOTE, "earlier-chain",
				"%s (hook %s, priority %d) comes before %s (priority %d): loading it anew while "
				"packets are held drops them, or brings them to the queue again",
				chain->where, chain->hook, chain->priority, rule->where, rule->priority),
			    "load it before the queue is bound, or while spillway set --queue %u open; or give it a "
			    "later priority than %d",
			    rule->first, rule->priority);
	}
}

static void judge_unreached(const struct queue_rule *rule, struct findings *f)
{
	char text[64];

	finding_remedy(
	    findings_add(f, LEVEL_NOTE, "unreached",
			 "%s, %s: no rule was seen that leads to this chain, so no packet comes to the queue "
			 "by it",
			 rule->where, queues(rule, text)),
	    "take the chain away, or make a rule that leads there");
}

void judge_rules(const struct ruleset *r, queue_look look, struct findings *f)
{
	for (unsigned i = 0; i < r->rules; i++) {
		if (r->rule[i].unreached) {
			judge_unreached(&r->rule[i], f);
			continue;
		}
		judge_bypass(&r->rule[i], f);
		judge_behind(&r->rule[i], f);
		judge_queues(&r->rule[i], look, f);
		judge_chains(r, &r->rule[i], f);
	}
	if (r->cut)
		findings_add(f, LEVEL_NOTE, "rules",
			     "there are more rules than are looked at, or some that can't be read");
	findings_add(f, LEVEL_FINE, "rules", "%u rules bring packets to queues", r->rules);
}

/* Does a running spillway say that a gate is loaded for this queue? */
static bool gate_loaded(const json_t *status, json_int_t number)
{
	const json_t *lane, *q;
	size_t i, j;

	json_array_foreach (json_object_get(status, "lanes"), i, lane)
		json_array_foreach (json_object_get(lane, "queues"), j, q)
			if (json_integer_value(json_object_get(q, "queue")) == number &&
			    json_is_object(json_object_get(q, "gate")))
				return true;
	return false;
}

static bool gate_stands(const struct ruleset *r, unsigned number)
{
	for (unsigned i = 0; i < r->rules; i++)
		if (r->rule[i].gate && !r->rule[i].unreached && r->rule[i].first == number)
			return true;
	return false;
}

static void judge_without(const struct queue_rule *rule, unsigned number, bool others, struct findings *f)
{
	finding_remedy(findings_add(f, LEVEL_HURTS, "half-gated",
				    "%s: no gate stands before this rule to queue %u, though %s: it sees nothing of "
				    "these packets, so it neither limits nor sheds them, and while the class is open "
				    "nobody counts them",
				    rule->where, number,
				    others ? "one stands before others" : "spillway run has loaded one"),
		       "spillway rules --queue %u ... --gate --apply for this rule as well; or take the gate out: the "
		       "same without --gate, and spillway run --gate off",
		       number);
}

/* Does the rule ask the gate that is pinned, and so the one that spillway run tells what holds? */
static void judge_pins(const struct queue_rule *rule, const struct gate_pins *pins, struct findings *f)
{
	const unsigned n = rule->first;

	if (pins->error == -ENOENT)
		finding_remedy(
		    findings_add(f, LEVEL_HURTS, "gate-unpinned",
				 "%s: the gate of queue %u is not pinned any more: the next spillway run loads "
				 "another one, of which the rule knows nothing",
				 rule->where, n),
		    "take the rule out with spillway rules --queue %u ... --remove; or spillway run --gate on, "
		    "and then the same with --gate --apply",
		    n);
	else if (!pins->error && !rule->by_mark && rule->program && rule->program != pins->program)
		finding_remedy(
		    findings_add(f, LEVEL_HURTS, "other-gate",
				 "%s: it asks another gate than the one that is pinned for queue %u: nobody tells "
				 "that one what holds, so it lets nothing in",
				 rule->where, n),
		    "spillway rules --queue %u ... --gate --apply", n);
	else if (!pins->error && rule->by_mark && !pins->devices)
		finding_remedy(
		    findings_add(f, LEVEL_HURTS, "other-gate",
				 "%s: the gate of queue %u stands at no device: no packet has its mark, so none "
				 "is queued",
				 rule->where, n),
		    "spillway rules --queue %u ... --gate --apply", n);
}

void judge_gates(const struct ruleset *r, const json_t *status, pins_look look, struct findings *f)
{
	for (unsigned i = 0; i < r->rules; i++) {
		const struct queue_rule *rule = &r->rule[i];

		if (!rule->numbered || rule->unreached)
			continue;
		if (rule->gate) {
			const struct gate_pins pins = look(rule->first);

			judge_pins(rule, &pins, f);
			continue;
		}
		for (unsigned n = rule->first; n <= rule->last && n - rule->first < QUEUES_LOOKED_AT; n++) {
			const bool others = gate_stands(r, n);

			if (!others && !gate_loaded(status, n))
				continue;
			judge_without(rule, n, others, f);
			break;
		}
	}
}
