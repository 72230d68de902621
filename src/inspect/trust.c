/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trusted flows: see trust.h. The hash is keyed and nobody outside knows the key, so that two flows that share one are
 * as good as impossible, and nobody can aim at a set.
 */
#include "inspect/trust.h"

#include <stddef.h>

static struct trusted *find(struct trust *t, uint64_t flow)
{
	struct trusted *set = t->set[flow % TRUST_SETS];

	for (unsigned i = 0; i < TRUST_WAYS; i++) {
		if (set[i].flow == flow)
			return &set[i];
	}
	return NULL;
}

static struct trusted *oldest(struct trust *t, uint64_t flow)
{
	struct trusted *set = t->set[flow % TRUST_SETS], *old = set;

	for (unsigned i = 1; i < TRUST_WAYS && old->flow; i++) {
		if (!set[i].flow || set[i].seen < old->seen)
			old = &set[i];
	}
	return old;
}

void trust_add(struct trust *t, uint64_t flow, uint64_t now_s)
{
	struct trusted *e = find(t, flow);

	if (!e) {
		e = oldest(t, flow);
		t->flows += !e->flow;
		*e = (struct trusted){.flow = flow, .since = (uint32_t)now_s};
	}
	e->seen = (uint32_t)now_s;
}

bool trust_has(struct trust *t, uint64_t flow, uint64_t now_s)
{
	struct trusted *e = t->flows ? find(t, flow) : NULL;

	if (!e)
		return false;
	if (now_s - e->seen > TRUST_IDLE_S) {
		trust_forget(t, flow);
		return false;
	}
	e->seen = (uint32_t)now_s;
	return true;
}

uint64_t trust_age(struct trust *t, uint64_t flow, uint64_t now_s)
{
	const struct trusted *e = t->flows ? find(t, flow) : NULL;

	return e ? now_s - e->since : 0;
}

void trust_forget(struct trust *t, uint64_t flow)
{
	struct trusted *e = t->flows ? find(t, flow) : NULL;

	if (!e)
		return;
	e->flow = 0;
	t->flows--;
}
