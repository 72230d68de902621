/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pure core: names, sums and beginnings; see lane.h. Works on its arguments alone.
 */
#include "lane/internal.h"

const char *const lane_reason_names[] = {"full", "late", "down", "hung", "poison", "load", "manual"};
_Static_assert(sizeof(lane_reason_names) / sizeof(*lane_reason_names) == REASONS, "a name for each reason");

const char *const lane_state_names[] = {"inspecting", "probing", "open", "shut"};
_Static_assert(sizeof(lane_state_names) / sizeof(*lane_state_names) == STATES, "a name for each state");

const char *const lane_result_texts[] = {
    "taken",
    "late",
    "no room",
    "an id that the kernel has not assigned",
    "an id that goes backwards",
    "ids that were never read",
    "an unknown verdict",
    "a payload outside its area",
    "a class that the lane does not have",
    "a second answer for one id",
};
_Static_assert(sizeof(lane_result_texts) / sizeof(*lane_result_texts) == ANSWER_RESULTS, "a text for each result");

uint64_t lane_widen(uint64_t near, uint32_t low)
{
	return near + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)near);
}

bool lane_shuts(const struct lane_config *config, enum lane_reason reason)
{
	return config->decided & (1u << reason) ? config->shut & (1u << reason) : !config->fail_open;
}

void lane_class_init(struct lane_class *c, const struct lane_config *config, uint64_t now_ns)
{
	*c = (struct lane_class){.config = *config, .since_ns = now_ns, .window_ns = now_ns};
}

static uint64_t unsettled(const struct lane_class *c)
{
	return c->ids - c->settled - c->flushed;
}

uint64_t lane_held(const struct lane_class *c)
{
	return least(c->held, unsettled(c));
}

uint64_t lane_unreconciled(const struct lane_class *c)
{
	return unsettled(c) - lane_held(c) + c->pool;
}

uint64_t lane_seen(const struct lane_class *c)
{
	return c->ids + c->queue_dropped + c->passed;
}

uint64_t lane_inspected(const struct lane_class *c)
{
	return c->books.accepted + c->books.dropped + c->books.modified + c->books.requeued;
}
