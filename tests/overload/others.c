/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What load_step() is compared with. These write the same outputs; Spillway uses none of them.
 */
#include "world.h"

static double between(double value, double lowest, double highest)
{
	return value < lowest ? lowest : value > highest ? highest : value;
}

static void shed(struct load *l, double share)
{
	l->level = LOAD_SHED_FLOWS;
	l->tail = true;
	l->share = (uint32_t)(between(share, 0, 1) * LOAD_ALL);
}

/* Nothing is shed: what is late goes by the deadline. */
void control_none(struct load *l, uint64_t now_ns, const struct load_sample *now)
{
	(void)l;
	(void)now_ns;
	(void)now;
}

/* New flows while the oldest packet has waited for less than a quarter of the deadline, else none. */
void control_switch(struct load *l, uint64_t now_ns, const struct load_sample *now)
{
	(void)now_ns;
	shed(l, now->age_ns < l->config.deadline_ns / 4);
}

/* Proportional and integral, on the share; the error is the waiting time's. `packets` holds the integral. */
void control_integral(struct load *l, uint64_t now_ns, const struct load_sample *now)
{
	double target = (double)l->config.deadline_ns / 8, error = between(1 - (double)now->age_ns / target, -3, 1);
	double seconds = l->begun ? (double)(now_ns - l->last_ns) / 1e9 : 0;

	if (!l->begun)
		l->packets = 1;
	l->begun = true;
	l->last_ns = now_ns;
	l->packets = between(l->packets * (1 + error * seconds / 2), 0.001, 1);
	shed(l, l->packets * (1 + 0.3 * error));
}

/* The rate that fits, whatever the waiting time is. */
void control_rate(struct load *l, uint64_t now_ns, const struct load_sample *now)
{
	load_step(l, now_ns, now);
	if (l->packets > 0 && l->offered > 0)
		shed(l, l->capacity / l->packets / l->offered);
}
