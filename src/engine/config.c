/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel has of a class: copy mode and range, length, flags. Openings and their ends go with the verdicts
 * (commit.c); here is every other way by which the kernel comes to have what the lane says. Decides nothing.
 */
#include "engine/internal.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>

#define PAUSE_NS   100000000u /* before a configuration that failed is sent again */
#define LOOK_TRIES 100

struct spw_queue_config engine_config(const struct engine *e, unsigned class, enum lane_state state,
				      const struct lane_config *how)
{
	/* A kernel that lacks it would refuse to hear of it. */
	const uint32_t conntrack = how->conntrack ? SPW_CONNTRACK : 0;
	const struct spw_queue_config open = {.size = sizeof(open),
					      .copy_mode = SPW_COPY_META,
					      .mask = SPW_FAIL_OPEN | SPW_GSO | conntrack,
					      .flags = SPW_GSO | (state == STATE_OPEN ? SPW_FAIL_OPEN : 0)};
	struct spw_queue_config config = e->page->config[class];

	if (state == STATE_OPEN || state == STATE_SHUT)
		return open;
	config.length = how->length;
	config.mask = SPW_FAIL_OPEN | SPW_GSO | conntrack;
	config.flags = (lane_shuts(how, REASON_FULL) ? 0 : SPW_FAIL_OPEN) | (how->gso ? SPW_GSO : 0) | conntrack;
	return config;
}

static struct spw_queue_config present_config(const struct engine *e, unsigned class)
{
	return engine_config(e, class, e->lane.class[class].state, &e->lane.class[class].config);
}

void engine_configure(struct engine *e, unsigned class)
{
	const struct spw_queue_config config = present_config(e, class);
	int error = spw_queue_configure(e->queue[class], &config);

	if (error && !e->configure_ns[class])
		log_line("%s; it is tried again", spw_queue_error(e->queue[class]));
	e->configure_ns[class] = error ? clock_ns() + PAUSE_NS : 0;
}

/* Of what the kernel's line shows: the copy range is one of two, so that each change can be seen
 * (src/nfqueue/config.c).
 */
static bool shows(const struct spw_queue_stat *line, const struct spw_queue_config *config)
{
	if (line->copy_mode != config->copy_mode)
		return false;
	return config->copy_mode != SPW_COPY_PACKET || line->copy_range == config->copy_range ||
	       line->copy_range == config->copy_range + 1;
}

void engine_heal(struct engine *e, unsigned class, const struct spw_queue_stat *line)
{
	const struct spw_queue_config config = present_config(e, class);

	/* What is ordered is not yet carried out. */
	if (e->orders.count || (shows(line, &config) && !e->configure_ns[class]))
		return;
	if (clock_ns() >= e->configure_ns[class])
		engine_configure(e, class);
}

static void note(struct engine *e, unsigned class, const struct lane_config *how)
{
	const struct spw_queue_config config = engine_config(e, class, STATE_INSPECTING, how);

	e->page->config[class].length = config.length;
	e->page->config[class].flags = config.flags;
}

/* An open class keeps it for the time when it inspects again. */
int engine_change(struct engine *e, unsigned class, const struct lane_config *config)
{
	struct lane_class *c = &e->lane.class[class];
	const struct lane_config was = c->config;
	const struct spw_queue_config next = engine_config(e, class, c->state, config);
	bool differs = config->length != was.length || lane_shuts(config, REASON_FULL) != lane_shuts(&was, REASON_FULL);
	struct lane_sample before;
	int error = engine_look(e->queue[class], &before);

	if (error)
		return error;
	note(e, class, config);
	if (differs && !lane_passing(c))
		error = spw_queue_configure(e->queue[class], &next);
	lane_switch(c, &before, error ? &was : config, clock_ns());
	if (error) {
		note(e, class, &was);
		e->configure_ns[class] = clock_ns(); /* perhaps it was carried out all the same */
	}
	engine_gate_policy(e, class);
	return error;
}

/* A look just now may fail; without one the books could not be right. */
static int look_patiently(struct engine *e, unsigned class, struct lane_sample *sample)
{
	int error = -EAGAIN;

	for (int i = 0; i < LOOK_TRIES && error; i++)
		error = engine_look(e->queue[class], sample);
	return error;
}

static int undo_change(struct engine *e, unsigned class)
{
	struct lane_class *c = &e->lane.class[class];
	const struct spw_queue_config was = engine_config(e, class, STATE_INSPECTING, &c->config);
	const struct spw_queue_config *told = &e->page->config[class];
	bool half = told->length != was.length || ((told->flags ^ was.flags) & SPW_FAIL_OPEN);
	struct lane_sample before;
	int error = half ? look_patiently(e, class, &before) : 0;

	if (error)
		return error;
	engine_configure(e, class);
	if (!half)
		return 0;
	/* The kernel may have had the other one for a while. */
	lane_switch(c, &before, &c->config, clock_ns());
	e->changed = true;
	error = engine_commit(e);
	if (!error)
		note(e, class, &c->config);
	return error;
}

int engine_undo_changes(struct engine *e)
{
	int error = 0;

	/* Also where nothing is half done, as far as the page shows: it costs two messages, and heals whatever it was.
	 */
	for (unsigned i = 0; i < e->lane.classes && !error; i++)
		error = undo_change(e, i);
	return error;
}
