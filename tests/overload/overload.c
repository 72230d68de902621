/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does the controller that sheds load keep its promises? Steady overload, and what changes suddenly, each under fixed
 * seeds; the facts are checks. Reads nothing but its arguments.
 *
 * overload                        the checks
 * overload --seed FIRST           the same under other seeds
 * overload --compare              other laws, and other gates and looks, in steady overload: a table
 * overload --trace SCENE [SEED]   one scene, a line for each 100 ms
 */
#include "world.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS 2u /* of the checks */
#define ROWS  4u /* seeds of a row in the table */

static struct world world;
static const struct plan usual = {
    .flows = 20000,
    .alpha = 1.2,
    .slow = 0.5,
    .cut_off = 32,
    .batch = 1,
    .deadline_ns = 20 * MS,
    .looks = 24,
    .cut_short_ns = 5 * MS,
    .control = load_step,
};
static const char *scene;
static uint64_t seed;
static unsigned failed;

static double offer(const struct plan *plan)
{
	return plan->flows * world_mean_size(plan, MOST_SIZE + plan->longer);
}

static double seconds(void)
{
	return (double)(world.now_ns - world.counts.since_ns) / 1e9;
}

static double idle(void)
{
	return (double)world.counts.idle_ns / 1e9 / seconds();
}

/* Flows inspected whole, of those possible: the packets that the inspector could do, by the mean of what is wanted. */
static double whole(void)
{
	const struct counts *c = &world.counts;
	double possible = (double)c->inspected / (1 - idle()) / ((double)c->wanted / (double)c->flows);

	return (double)c->whole / fmin(possible, (double)c->flows);
}

static double late(void)
{
	return (double)world.counts.late / (double)(world.counts.late + world.counts.inspected);
}

static double share(void)
{
	return world.counts.share_sum / world.counts.looks;
}

/* Standard deviation of the means over 100 ms, by the mean. */
static double unsteady(void)
{
	const struct counts *c = &world.counts;
	double mean = c->window_sum / c->windows;

	return sqrt(fmax(0, c->window_squares / c->windows - mean * mean)) / mean;
}

__attribute__((format(printf, 2, 3))) static void check(bool so, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	printf("%s  %s, seed %llu: ", so ? "ok  " : "FAIL", scene, (unsigned long long)seed);
	vprintf(format, values);
	printf("\n");
	va_end(values);
	failed += !so;
}

static void run(double for_s)
{
	world_reset_counts(&world);
	world_run(&world, for_s);
}

/* In steady overload: an inspector that can do this part of the offer. */
static void start(const struct plan *like, double part)
{
	struct plan plan = *like;

	plan.capacity = offer(&plan) * part;
	world_start(&world, seed, &plan);
	world_run(&world, 6);
}

static void check_steady(double least, double late_most)
{
	check(whole() >= least, "%.3f of the possible flows whole (at least %.2f)", whole(), least);
	check(late() <= late_most, "%.5f of the packets late; longest wait %.1f ms, mean %.1f ms", late(),
	      (double)world.counts.wait_max_ns / 1e6, world.counts.wait_s * 1e3 / (double)world.counts.inspected);
}

static void steady(const struct plan *like, double part, double least, double late_most, double deviation)
{
	uint64_t changes;

	start(like, part);
	changes = world.load.changes;
	run(6);
	check_steady(least, late_most);
	check(world.load.changes == changes && world.load.level == LOAD_SHED_FLOWS, "the level stays");
	check(unsteady() < deviation, "share %.3f, its means over 100 ms deviate by %.3f", share(), unsteady());
}

static void half(void)
{
	steady(&usual, 1 / 2.0, 0.95, 1e-4, 0.2);
}

static void quarter(void)
{
	steady(&usual, 1 / 4.0, 0.95, 1e-4, 0.2);
}

static void tenth(void)
{
	steady(&usual, 1 / 10.0, 0.95, 1e-4, 0.2);
}

/* The inspector answers sixteen at once. */
static void batches(void)
{
	struct plan plan = usual;

	plan.batch = 16;
	steady(&plan, 1 / 4.0, 0.95, 1e-4, 0.2);
}

/*
 * Flows of 41 packets and more, slowly: what is admitted comes in over seconds, and a new flow's first packet weighs
 * little, so that the share has to move a lot to move the waiting time.
 */
static struct plan slow_plan(void)
{
	struct plan plan = usual;

	plan.flows = 3000;
	plan.longer = 40;
	plan.slow = 1;
	plan.cut_off = 64;
	return plan;
}

static void slow(void)
{
	struct plan plan = slow_plan();

	steady(&plan, 1 / 4.0, 0.9, 2e-3, 0.7);
}

static void onset(void)
{
	start(&usual, 2);
	check(world.load.level == LOAD_INSPECT_ALL && !world.load.changes, "nothing is shed before");
	world.plan.capacity = offer(&usual) / 4;
	run(1);
	check(late() <= 0.1, "%.4f of the packets late in the first second", late());
	world_run(&world, 2);
	run(3);
	check_steady(0.94, 1e-4);
	check(world.load.changes == 2, "%llu changes of the level", (unsigned long long)world.load.changes);
}

static void capacity(void)
{
	start(&usual, 1 / 2.0);
	world.plan.capacity /= 4;
	run(1);
	check(late() <= 0.05, "a quarter of the capacity: %.4f late in the first second", late());
	run(3);
	check_steady(0.93, 1e-4);
	world.plan.capacity *= 4;
	run(1);
	check(idle() <= 0.15, "back: %.3f of the first second unused", idle());
	run(3);
	check_steady(0.95, 1e-4);
	check(world.load.changes == 2, "%llu changes of the level", (unsigned long long)world.load.changes);
}

/* Ten times as many new flows for a second. */
static void burst(void)
{
	start(&usual, 1 / 2.0);
	world.plan.flows *= 10;
	run(1);
	check_steady(0.93, 1e-4);
	world.plan.flows = usual.flows;
	run(2);
	check_steady(0.93, 1e-4);
	check(world.load.changes == 2, "%llu changes of the level", (unsigned long long)world.load.changes);
}

/* Ten times as many flows of one packet. */
static void flood(void)
{
	start(&usual, 1 / 2.0);
	world.plan.singles = 10 * usual.flows;
	run(1);
	check(late() <= 1e-4 && idle() <= 0.35, "%.5f late, %.3f of the first second unused", late(), idle());
	world_run(&world, 1);
	run(3);
	check_steady(0.95, 1e-4);
	world.plan.singles = 0;
	run(3);
	check_steady(0.93, 1e-4);
	check(world.load.changes == 2, "%llu changes of the level", (unsigned long long)world.load.changes);
}

static void end(void)
{
	start(&usual, 1 / 4.0);
	world.plan.capacity = 2 * offer(&usual);
	run(1);
	check(world.load.share == LOAD_ALL && late() <= 0, "all new flows are admitted after a second; %.5f late",
	      late());
	world_run(&world, 4);
	check(world.load.level == LOAD_INSPECT_ALL && !world.load.tail, "everything is inspected after five");
	run(5);
	check(world.load.changes == 4 && late() <= 0, "%llu changes of the level",
	      (unsigned long long)world.load.changes);
	/* Those that began before the end were not all whole. */
	check(whole() > 0.999, "%.4f of all flows whole", whole());
}

/* What is possible goes on being tried, ever more seldom. */
static void exact(void)
{
	uint64_t changes;

	start(&usual, 1);
	run(20);
	check(world.load.changes <= 16, "%llu changes of the level in 26 s", (unsigned long long)world.load.changes);
	check(whole() >= 0.99 && late() <= 1e-3, "%.4f of all flows whole, %.5f late", whole(), late());
	changes = world.load.changes;
	run(40);
	check(world.load.changes - changes <= 8, "%llu more in 40 s",
	      (unsigned long long)(world.load.changes - changes));
	check(whole() >= 0.99 && late() <= 1e-3, "%.4f of all flows whole, %.5f late", whole(), late());
}

/* The goals tell laws apart: others miss them. */
static void others(void)
{
	static control_fn *const laws[] = {control_none, control_switch, control_rate};
	struct plan plan = usual;

	for (unsigned i = 0; i < sizeof(laws) / sizeof(laws[0]); i++) {
		plan.control = laws[i];
		start(&plan, 1 / 10.0);
		run(6);
		check(whole() < 0.95 || late() > 1e-4, "law %u: %.3f whole, %.5f late", i, whole(), late());
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} scenes[] = {
    {"half", half},   {"quarter", quarter}, {"tenth", tenth},       {"batches", batches},
    {"slow", slow},   {"onset", onset},     {"capacity", capacity}, {"burst", burst},
    {"flood", flood}, {"end", end},         {"exact", exact},       {"others", others},
};
#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

static void play(unsigned i, uint64_t with)
{
	scene = scenes[i].name;
	seed = with;
	scenes[i].run();
}

static int play_all(uint64_t first)
{
	for (unsigned i = 0; i < SCENES; i++)
		for (unsigned n = 0; n < SEEDS; n++)
			play(i, first + n);
	printf("%u failed\n", failed);
	return failed ? 1 : 0;
}

static int trace(const char *name, uint64_t with)
{
	world.trace = true;
	for (unsigned i = 0; i < SCENES; i++)
		if (!strcmp(scenes[i].name, name))
			return play(i, with), 0;
	fprintf(stderr, "overload: no scene is called %s\n", name);
	return 2;
}

static void row(const char *name, const struct plan *plan)
{
	for (double part = 2; part <= 10; part += part == 2 ? 2 : 6) {
		double sum = 0, unused = 0, beyond = 0, lates = 0, cut = 0, longest = 0, deviates = 0;

		for (seed = 1; seed <= ROWS; seed++) {
			start(plan, 1 / part);
			run(6);
			sum += whole() / ROWS;
			unused += idle() / ROWS;
			beyond += (double)world.counts.beyond / (double)world.counts.inspected / ROWS;
			lates += late() / ROWS;
			cut += (double)world.counts.cut_short / ROWS / 6;
			longest = fmax(longest, (double)world.counts.wait_max_ns / 1e6);
			deviates += unsteady() / ROWS;
		}
		printf("%-28s 1/%-2.0f  whole %.3f  unused %.3f  beyond %.3f  late %.5f  longest %4.1f ms  cut short "
		       "%3.0f/s  share deviates %.3f\n",
		       name, part, sum, unused, beyond, lates, longest, cut, deviates);
	}
}

static int compare(void)
{
	static const struct {
		const char *name;
		control_fn *control;
	} laws[] = {
	    {"none", control_none},       {"switch", control_switch},   {"integral", control_integral},
	    {"rate alone", control_rate}, {"rate and wait", load_step},
	};
	static const struct {
		const char *name;
		uint64_t ns;
	} cuts[] = {{"cut short after 10 ms", 10 * MS}, {"cut short after 20 ms", 20 * MS}, {"never cut short", 0}};
	struct plan plan = usual;

	for (unsigned i = 0; i < sizeof(laws) / sizeof(laws[0]); i++) {
		plan.control = laws[i].control;
		row(laws[i].name, &plan);
	}
	for (unsigned i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		plan.cut_short_ns = cuts[i].ns;
		row(cuts[i].name, &plan);
	}
	plan = usual;
	plan.looks = 8;
	row("looks every 2.5 ms", &plan);
	plan.looks = 4;
	row("looks every 5 ms", &plan);
	plan = usual;
	plan.alpha = 1.1;
	row("alpha 1.1", &plan);
	plan.alpha = 1.3;
	row("alpha 1.3", &plan);
	plan = usual;
	plan.flows = 4000;
	row("4000 flows/s", &plan);
	plan = slow_plan();
	for (unsigned i = 0; i < sizeof(laws) / sizeof(laws[0]); i++) {
		char name[64];

		plan.control = laws[i].control;
		snprintf(name, sizeof(name), "slow: %s", laws[i].name);
		row(name, &plan);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 1)
		return play_all(1);
	if (argc == 3 && !strcmp(argv[1], "--seed"))
		return play_all(strtoull(argv[2], NULL, 0));
	if (argc == 2 && !strcmp(argv[1], "--compare"))
		return compare();
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "--trace"))
		return trace(argv[2], argc == 4 ? strtoull(argv[3], NULL, 0) : 1);
	fprintf(stderr, "usage: overload [--seed FIRST | --compare | --trace SCENE [SEED]]\n");
	return 2;
}
