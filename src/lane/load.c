/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measures what the inspector can do and what a flow brings, and sheds what does not fit: see load.h. Works on its
 * arguments alone.
 */
#include "lane/load.h"

#include "lane/internal.h"

#define MS 1000000ull

/* The waiting time that is aimed at: what so many packets take, since fewer run out by chance; */
#define TARGET_PACKETS    20.0
/* but at least and at most these parts of the deadline. */
#define TARGET_LEAST_PART 10.0
#define TARGET_MOST_PART  4.0
/* A level is raised when the waiting time has been above target for so many deadlines, */
#define INTERVAL          2u
/* or at once, where the oldest has waited for one part of the deadline and the next would have to for the other. */
#define URGENT_AGE_PART   4u
#define URGENT_PART       2u
/* So much more than the rate that fits is admitted where nobody waits, */
#define MORE              0.8
/* and none at so many times the target. */
#define CLOSED_AT         2.0

/* A level is lowered after a calm of so long. Twice as long where the load was too much again within so many calms. */
#define CALM_NS     (1000 * MS)
#define CALM_MAX_NS (64000 * MS)
#define MISTAKE     4u
/* Where all that comes to the gate is at most this part of the capacity, a part of the calm will do. */
#define FITS        0.85
#define FITS_PART   8u

/* Time constants of what is measured, in seconds. Flows bring their packets over a time. */
#define CAPACITY_S  0.1
#define FLOWS_S     2.0
#define OFFER_S     0.02
#define LOAD_S      1.0
/* Fewer tell nothing of the mean. */
#define FLOWS_LEAST 32.0
/* A look each so small a part of the deadline, while load is shed: more seldom, capacity goes unused. */
#define STEP_PART   24u
/* What happened in a longer pause between two looks, and when, is unknown. */
#define PAUSE_NS    (20 * MS)

const char *const load_level_names[LOAD_LEVELS] = {"inspecting everything", "tail shed", "new flows shed"};

/* What has come since the last look. */
struct news {
	double seconds, arrived, inspected, admitted, offered, passed;
	bool late;
};

void load_start(struct load *l, const struct load_config *config)
{
	*l = (struct load){.config = *config, .share = LOAD_ALL, .calm_ns = CALM_NS};
}

static uint64_t counted(uint64_t now, uint64_t before)
{
	return now - before > INT64_MAX ? 0 : now - before;
}

static double limited(double value, double lowest, double highest)
{
	return value < lowest ? lowest : value > highest ? highest : value;
}

/* What is left of a sum that fades with this time constant. */
static double fading(double seconds, double constant)
{
	return constant / (constant + seconds);
}

static struct news compare(const struct load *l, uint64_t now_ns, const struct load_sample *now)
{
	const struct load_sample *last = &l->last;
	struct news n = {
	    .seconds = (double)(now_ns - l->last_ns) / 1e9,
	    .arrived = (double)counted(now->arrived, last->arrived),
	    .inspected = (double)counted(now->inspected, last->inspected),
	    .admitted = (double)counted(now->admitted, last->admitted),
	    .passed = (double)counted(now->passed, last->passed),
	    .late = counted(now->late, last->late) > 0,
	};

	n.offered = n.admitted + (double)counted(now->refused, last->refused);
	return n;
}

/*
 * Packets done by the time in which something waited, as far as looks can tell: too little rather than too much, where
 * answers take their time on an inspector that is not busy.
 */
static void measure_capacity(struct load *l, const struct news *n, const struct load_sample *now)
{
	double keep = fading(n->seconds, CAPACITY_S), busy = (l->last.held > 0) + (now->held > 0);

	l->done = l->done * keep + n->inspected;
	l->busy_s = l->busy_s * keep + n->seconds * busy / 2;
	if (l->busy_s > CAPACITY_S / 50)
		l->capacity = l->done / l->busy_s;
}

/* Packets that came by flows that were admitted, over so long a time that the latter have brought most of theirs. */
static void measure_flows(struct load *l, const struct news *n)
{
	double keep = fading(n->seconds, FLOWS_S);

	l->arrived = l->arrived * keep + n->arrived;
	l->admitted = l->admitted * keep + n->admitted;
	if (l->admitted >= FLOWS_LEAST)
		l->packets = limited(l->arrived / l->admitted, 1, 1e9);
}

static void measure_offer(struct load *l, const struct news *n)
{
	double keep = fading(n->seconds, OFFER_S), all = fading(n->seconds, LOAD_S);
	double expected = l->offered * n->seconds, more = n->offered - expected - 4;

	/* More than four standard deviations: what was is no guide. */
	if (more > 0 && more * more > 16 * expected)
		keep = 0;
	l->offered = l->offered * keep + n->offered / n->seconds * (1 - keep);
	l->load = l->load * all + (n->arrived + n->passed) / n->seconds * (1 - all);
}

static uint64_t expected_wait(const struct load *l, const struct news *n, const struct load_sample *now)
{
	uint64_t wait = now->age_ns;

	if (n->late)
		wait = most(wait, l->config.deadline_ns);
	if (l->capacity > 0)
		wait = most(wait, (uint64_t)limited((double)now->held / l->capacity * 1e9, 0, 1e18));
	return wait;
}

static double target_ns(const struct load *l)
{
	double deadline = (double)l->config.deadline_ns, few = l->capacity > 0 ? TARGET_PACKETS / l->capacity * 1e9 : 0;

	return limited(few, deadline / TARGET_LEAST_PART, deadline / TARGET_MOST_PART);
}

static void set_level(struct load *l, enum load_level level)
{
	/* Without tails, a flow brings fewer packets. */
	if (level == LOAD_INSPECT_ALL || l->level == LOAD_INSPECT_ALL)
		l->arrived = l->admitted = 0;
	l->level = level;
	l->tail = level >= LOAD_SHED_TAILS;
	l->changes++;
	l->above_ns = l->calm_since_ns = 0;
}

/* Giving back too early is to become rare. */
static void raise_level(struct load *l, uint64_t now_ns)
{
	if (l->given_back_ns) {
		bool mistake = now_ns - l->given_back_ns < MISTAKE * l->calm_ns;

		l->calm_ns = mistake ? least(2 * l->calm_ns, CALM_MAX_NS) : CALM_NS;
	}
	l->given_back_ns = 0;
	set_level(l, l->level + 1);
}

static void lower_level(struct load *l, uint64_t now_ns)
{
	l->given_back_ns = now_ns;
	set_level(l, l->level - 1);
}

static void note_since(uint64_t *since_ns, bool so, uint64_t now_ns)
{
	if (!so)
		*since_ns = 0;
	else if (!*since_ns)
		*since_ns = now_ns;
}

/* The age must tell it as well: a burst is soon done by an inspector whose capacity was never seen. */
static bool urgent(const struct load *l, const struct load_sample *now)
{
	return now->age_ns > l->config.deadline_ns / URGENT_AGE_PART &&
	       l->wait_ns > l->config.deadline_ns / URGENT_PART;
}

static bool above_for(const struct load *l, uint64_t now_ns, uint64_t ns)
{
	return l->above_ns && now_ns - l->above_ns >= ns;
}

static bool calm_enough(const struct load *l, uint64_t now_ns)
{
	bool fits = l->load < FITS * l->capacity;
	uint64_t calm_ns = fits ? most(l->calm_ns / FITS_PART, CALM_NS) : l->calm_ns;

	return l->calm_since_ns && now_ns - l->calm_since_ns >= calm_ns;
}

static void judge(struct load *l, const struct load_sample *now, uint64_t before_ns, uint64_t now_ns)
{
	uint64_t interval_ns = INTERVAL * l->config.deadline_ns;
	bool last = l->level == LOAD_SHED_FLOWS;

	note_since(&l->above_ns, (double)l->wait_ns > target_ns(l), now_ns);
	/* While flows are shed, packets always wait: there, calm is that all are admitted. Short bursts disturb none.
	 */
	note_since(&l->calm_since_ns, last ? l->share == LOAD_ALL : !above_for(l, now_ns, interval_ns / 4), now_ns);
	/* Where it falls again, what was done before suffices. */
	if (!last && (above_for(l, now_ns, interval_ns) || (urgent(l, now) && l->wait_ns >= before_ns)))
		raise_level(l, now_ns);
	else if (l->level > LOAD_INSPECT_ALL && calm_enough(l, now_ns))
		lower_level(l, now_ns);
}

/* How much of the rate that fits is admitted at this waiting time: all of it at the target. */
static double trim(const struct load *l)
{
	double wait = (double)l->wait_ns / target_ns(l);

	if (wait < 1)
		return 1 + MORE * (1 - wait);
	return limited((CLOSED_AT - wait) / (CLOSED_AT - 1), 0, 1);
}

static uint32_t admit(const struct load *l)
{
	double much = trim(l), rate;

	if (l->capacity <= 0 || l->packets <= 0 || l->offered <= 0)
		return much > 0 ? LOAD_ALL : 0;
	rate = l->capacity / l->packets * much;
	return (uint32_t)limited(rate / l->offered * LOAD_ALL, 0, LOAD_ALL);
}

/* Nobody looked for so long: what was to last for a time begins no earlier for it. */
static void pause_for(struct load *l, uint64_t ns)
{
	l->above_ns += l->above_ns ? ns : 0;
	l->calm_since_ns += l->calm_since_ns ? ns : 0;
	l->given_back_ns += l->given_back_ns ? ns : 0;
}

static void step(struct load *l, uint64_t now_ns, const struct load_sample *now)
{
	struct news n = compare(l, now_ns, now);
	uint64_t before_ns = l->wait_ns;

	if (now_ns - l->last_ns > PAUSE_NS) {
		pause_for(l, now_ns - l->last_ns);
		n.late = false;
	} else {
		measure_capacity(l, &n, now);
		measure_flows(l, &n);
		measure_offer(l, &n);
	}
	l->wait_ns = expected_wait(l, &n, now);
	judge(l, now, before_ns, now_ns);
	l->share = l->level == LOAD_SHED_FLOWS ? admit(l) : LOAD_ALL;
}

uint64_t load_step_ns(const struct load *l)
{
	return l->level == LOAD_INSPECT_ALL ? UINT64_MAX : most(l->config.deadline_ns / STEP_PART, LANE_STEP_LEAST_NS);
}

void load_step(struct load *l, uint64_t now_ns, const struct load_sample *now)
{
	if (!l->config.deadline_ns || l->config.never_shed || (l->begun && now_ns <= l->last_ns))
		return;
	if (l->begun)
		step(l, now_ns, now);
	l->begun = true;
	l->last = *now;
	l->last_ns = now_ns;
}
