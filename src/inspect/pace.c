/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much at a time, and when to nap: see pace.h.
 */
#include "inspect/pace.h"

#define MEASURE_NS    1000000u /* a rate is that of at least so long */
#define SLOW_NS       1000000u /* a batch that takes longer holds up other classes, and packets that it can't yet decide */
#define BATCH_FIRST   16u
#define VAIN_DOUBLING 6u /* at most 64 batches without a nap after those in vain */

void pace_start(struct pace *p)
{
	*p = (struct pace){.batch = BATCH_FIRST};
}

void pace_begin(struct pace *p, uint64_t now_ns)
{
	p->begun = now_ns;
}

static void fit_batch(struct pace *p, unsigned n, uint64_t took)
{
	if (took > SLOW_NS && p->batch > 1)
		p->batch /= 2;
	else if (n == p->batch && took < SLOW_NS / 2 && p->batch < PACE_BATCH_MOST)
		p->batch *= 2;
}

static void measure(struct pace *p, unsigned n, uint64_t now_ns)
{
	const uint64_t passed = now_ns - p->window;

	p->packets += n;
	if (passed < MEASURE_NS)
		return;
	p->expected = (unsigned)(p->packets * PACE_NAP_NS / passed);
	p->packets = 0;
	p->window = now_ns;
}

static void judge_nap(struct pace *p, unsigned n)
{
	if (!p->napped)
		return;
	p->vain = n >= PACE_NAP_FOR / 2 ? 0 : p->vain + 1;
	if (p->vain)
		p->pause = 1u << (p->vain < VAIN_DOUBLING ? p->vain : VAIN_DOUBLING);
}

uint64_t pace_end(struct pace *p, unsigned n, uint64_t now_ns)
{
	const unsigned batch = p->batch;

	fit_batch(p, n, now_ns - p->begun);
	measure(p, n, now_ns);
	judge_nap(p, n);
	p->napped = 0;
	if (p->pause) {
		p->pause--;
		return 0;
	}
	/* A full batch has more behind it already. */
	if (n >= batch || p->expected < PACE_NAP_FOR)
		return 0;
	p->napped = 1;
	return PACE_NAP_NS;
}
