/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which chains lead to a rule that queues: see chains.h. Bounded, whatever the list looks like.
 */
#include "doctor/chains.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH 16u    /* as deep as nf_tables lets chains lead to chains */
#define STEPS 20000u /* of the ways back */

struct listed_chain {
	char where[RULESET_WHERE], hook[RULESET_NAME];
	int priority;
	unsigned rules; /* that queue nothing */
	bool leads;     /* to a queue */
	bool gated;     /* by this queue's gate, with this program */
	uint16_t queue;
	uint32_t program;
};

struct jump {
	struct listed_chain *from, *to;
	unsigned place; /* rules of `from` before it */
	bool everything;
};

struct queueing {
	struct listed_chain *chain;
	unsigned place;
	bool ends;
	struct queue_rule rule;
};

struct chains {
	unsigned chains, jumps, queueings, steps;
	bool cut;
	uint32_t hash[RULESET_LISTED];
	struct listed_chain chain[RULESET_LISTED];
	struct jump jump[RULESET_JUMPS];
	struct queueing queueing[RULESET_RULES];
};

struct chains *chains_begin(void)
{
	return calloc(1, sizeof(struct chains));
}

void chains_end(struct chains *c)
{
	free(c);
}

/* Compared before names are, which begin alike. */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

struct listed_chain *chains_find(struct chains *c, const char *where)
{
	const uint32_t h = hash(where);

	for (unsigned i = 0; i < c->chains; i++)
		if (c->hash[i] == h && !strcmp(c->chain[i].where, where))
			return &c->chain[i];
	return NULL;
}

struct listed_chain *chains_add(struct chains *c, const char *where)
{
	struct listed_chain *chain = chains_find(c, where);

	if (chain)
		return chain;
	if (c->chains == RULESET_LISTED) {
		c->cut = true;
		return NULL;
	}
	c->hash[c->chains] = hash(where);
	chain = &c->chain[c->chains++];
	snprintf(chain->where, sizeof(chain->where), "%s", where);
	return chain;
}

void chains_hook(struct listed_chain *chain, const char *hook, int priority)
{
	snprintf(chain->hook, sizeof(chain->hook), "%s", hook);
	chain->priority = priority;
}

void chains_rule(struct listed_chain *chain)
{
	chain->rules++;
}

void chains_gate(struct listed_chain *chain, uint16_t queue, uint32_t program)
{
	chain->gated = true;
	chain->queue = queue;
	chain->program = program;
}

bool chains_gated(const struct listed_chain *chain, uint16_t queue, uint32_t *program)
{
	if (!chain->gated || chain->queue != queue)
		return false;
	*program = chain->program;
	return true;
}

void chains_jump(struct chains *c, struct listed_chain *from, struct listed_chain *to, bool everything)
{
	if (c->jumps < RULESET_JUMPS)
		c->jump[c->jumps++] = (struct jump){from, to, from->rules, everything};
	else
		c->cut = true;
}

struct queue_rule *chains_queue(struct chains *c, struct listed_chain *chain, bool ends)
{
	struct queueing *q;

	if (c->queueings == RULESET_RULES) {
		c->cut = true;
		return NULL;
	}
	q = &c->queueing[c->queueings++];
	*q = (struct queueing){.chain = chain, .place = chain->rules, .ends = ends};
	return &q->rule;
}

/* A rule may lead to several chains: is this the first of its jumps that leads to a queue? */
static bool first_that_leads(const struct chains *c, unsigned i)
{
	const struct jump *j = &c->jump[i];

	for (unsigned k = i; k > 0 && c->jump[k - 1].from == j->from && c->jump[k - 1].place == j->place; k--)
		if (c->jump[k - 1].to->leads)
			return false;
	return j->to->leads;
}

/* Rules of a chain from `place` on that lead to no queue. */
static unsigned behind(const struct chains *c, const struct listed_chain *chain, unsigned place)
{
	unsigned count = chain->rules - place;

	for (unsigned i = 0; i < c->jumps; i++)
		if (c->jump[i].from == chain && c->jump[i].place >= place && first_that_leads(c, i))
			count--;
	return count;
}

static void mark(struct chains *c)
{
	bool more = true;

	for (unsigned i = 0; i < c->queueings; i++)
		c->queueing[i].chain->leads = true;
	while (more) {
		more = false;
		for (unsigned i = 0; i < c->jumps; i++) {
			if (!c->jump[i].to->leads || c->jump[i].from->leads)
				continue;
			c->jump[i].from->leads = true;
			more = true;
		}
	}
}

/* A way to `own` is found, or there is none. */
static void add(struct ruleset *r, const struct queue_rule *rule, const struct listed_chain *base,
		const struct listed_chain *own)
{
	const char *name = strrchr(own->where, ' ');
	struct queue_rule *to;

	if (r->rules == RULESET_RULES) {
		r->cut = true;
		return;
	}
	to = &r->rule[r->rules++];
	*to = *rule;
	snprintf(to->hook, sizeof(to->hook), "%s", base->hook);
	to->priority = base->priority;
	/* Both names are cut where they are too long together. */
	if (base == own)
		snprintf(to->where, sizeof(to->where), "%s", base->where);
	else
		snprintf(to->where, sizeof(to->where), "%.110s, chain%.40s", base->where, name ? name : "");
}

/* From a chain back to the base chains that lead to it. True where there is one. */
static bool back(struct chains *c, struct ruleset *r, const struct queue_rule *rule, const struct listed_chain *chain,
		 const struct listed_chain *own, unsigned depth)
{
	bool found = *chain->hook;

	if (found)
		add(r, rule, chain, own);
	for (unsigned i = 0; depth < DEPTH && i < c->jumps; i++) {
		const struct jump *j = &c->jump[i];
		struct queue_rule before = *rule;

		if (j->to != chain)
			continue;
		if (++c->steps > STEPS || r->rules == RULESET_RULES) {
			r->cut = true;
			break;
		}
		before.behind += behind(c, j->from, j->place);
		before.everything &= j->everything;
		found |= back(c, r, &before, j->from, own, depth + 1);
	}
	return found;
}

void chains_resolve(struct chains *c, struct ruleset *r)
{
	mark(c);
	for (unsigned i = 0; i < c->queueings; i++) {
		struct queueing *q = &c->queueing[i];

		q->rule.behind = q->ends ? 0 : behind(c, q->chain, q->place);
		if (back(c, r, &q->rule, q->chain, q->chain, 0))
			continue;
		q->rule.unreached = c->steps <= STEPS; /* else not all the ways were gone */
		add(r, &q->rule, q->chain, q->chain);
	}
	r->cut |= c->cut;
}
