/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chance from a seed, for tools that make many flows: when one begins, how large it is.
 */
#ifndef SPW_LAB_CHANCE_H
#define SPW_LAB_CHANCE_H

#include <math.h>
#include <stdint.h>

/* Sizes: bounded Pareto, alpha 1.2, 1 to 10,000. */
#define ALPHA   1.2
#define LARGEST 10000.0

struct chance {
	uint64_t state;
};

static inline struct chance chance_from(uint64_t seed)
{
	return (struct chance){88172645463325252u ^ seed * 0x9e3779b97f4a7c15u};
}

/* xorshift64*; more than 0, at most 1. */
static inline double uniform(struct chance *c)
{
	c->state ^= c->state >> 12;
	c->state ^= c->state << 25;
	c->state ^= c->state >> 27;
	return (double)((c->state * 0x2545f4914f6cdd1du >> 11) + 1) / 9007199254740992.0;
}

static inline double exponential(struct chance *c, double mean)
{
	return -log(uniform(c)) * mean;
}

static inline uint32_t pareto(struct chance *c)
{
	const double rest = 1 - pow(LARGEST, -ALPHA);

	return (uint32_t)pow(1 - (1 - uniform(c)) * rest, -1 / ALPHA);
}

#endif
