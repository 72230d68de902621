/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From orders to the kernel, so that a death at any instruction loses nothing: messages and outcome are written down
 * before they are sent, and made valid by one store. Decides nothing.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 200 /* of a message that the kernel has no memory for, a millisecond apart */

/*
 * The page is there: the core lets go an early answer's payload with the inspector that is active, and wherever our
 * e->answers ends, that one has ended before (take_inspector(), engine_inspector_gone()).
 */
static void set_payload(const struct engine *e, const struct lane_order *o, struct spw_verdict *v)
{
	if (!(o->set & SPW_VERDICT_PAYLOAD))
		return;
	v->payload = e->answers->payload[o->payload];
	v->payload_len = o->payload_len;
}

static void set_conntrack(const struct lane_order *o, struct spw_verdict *v)
{
	v->ct_mark = o->conntrack.mark;
	v->ct_mark_mask = o->conntrack.mark_mask;
	memcpy(v->ct_labels, o->conntrack.labels, sizeof(v->ct_labels));
	memcpy(v->ct_labels_mask, o->conntrack.labels_mask, sizeof(v->ct_labels_mask));
}

static int add_order(struct engine *e, const struct lane_order *o)
{
	static const enum lane_state states[] = {
	    [ORDER_OPEN] = STATE_OPEN, [ORDER_SHUT] = STATE_SHUT, [ORDER_INSPECT] = STATE_INSPECTING};
	uint16_t queue = e->page->queue[o->class];
	struct spw_queue_config config;
	struct spw_verdict v = {.size = sizeof(v), .code = o->verdict, .set = o->set};

	switch (o->kind) {
	case ORDER_BATCH:
		return spw_verdicts_add_batch(e->list, queue, o->id, &v);
	case ORDER_ONE:
		v.mark = o->mark;
		v.priority = o->priority;
		v.queue = o->queue;
		set_payload(e, o, &v);
		set_conntrack(o, &v);
		return spw_verdicts_add(e->list, queue, o->id, &v);
	default:
		config = engine_config(e, o->class, states[o->kind], &e->lane.class[o->class].config);
		return spw_verdicts_add_config(e->list, queue, &config);
	}
}

/* All of a class's messages, one after the other, behind `used`. Returns the bytes, or a negative errno. */
static int write_class(struct engine *e, unsigned class, size_t used)
{
	spw_verdicts_place(e->list, e->page->intent + used, sizeof(e->page->intent) - used);
	for (unsigned i = 0; i < e->orders.count; i++) {
		int error = e->orders.order[i].class == class ? add_order(e, &e->orders.order[i]) : 0;

		if (error)
			return error;
	}
	return (int)spw_verdicts_bytes(e->list);
}

bool engine_passing(int error)
{
	return error == EINTR || error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

static int send_patiently(int fd, const void *messages, size_t bytes)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int error = 0;

	for (int i = 0; i < TRIES; i++) {
		error = spw_verdicts_resend(fd, messages, bytes);
		if (!engine_passing(-error))
			break;
		if (error != -EINTR)
			nanosleep(&pause, NULL);
	}
	return error;
}

static int send_intent(struct engine *e)
{
	const uint8_t *at = e->page->intent;

	for (unsigned i = 0; i < e->lane.classes; i++) {
		uint32_t bytes = e->page->intent_bytes[i];
		int error = bytes ? send_patiently(ENGINE_FD_SOCKET + (int)i, at, bytes) : 0;

		if (error)
			return error;
		at += bytes;
	}
	return 0;
}

static int write_intent(struct engine *e)
{
	size_t used = 0;

	for (unsigned i = 0; i < e->lane.classes; i++) {
		int bytes = write_class(e, i, used);

		if (bytes < 0)
			return bytes;
		e->page->intent_bytes[i] = (uint32_t)bytes;
		used += (size_t)bytes;
	}
	return 0;
}

static void copy_lane(struct lane *to, const struct lane *from)
{
	memcpy(to, from, offsetof(struct lane, class) + from->classes * sizeof(from->class[0]));
}

int engine_commit(struct engine *e)
{
	uint64_t commit = e->page->commit, other = (commit & 1) ^ 1, count = commit >> 2;
	int error = 0;

	if (!e->orders.count && !e->changed)
		return 0;
	copy_lane(&e->page->snapshot[other], &e->lane);
	if (e->orders.count) {
		error = write_intent(e);
		if (error)
			return error;
		__atomic_store_n(&e->page->commit, ++count << 2 | 2 | (commit & 1), __ATOMIC_RELEASE);
		error = send_intent(e);
		if (error)
			return error;
	}
	__atomic_store_n(&e->page->commit, ++count << 2 | other, __ATOMIC_RELEASE);
	e->orders.count = e->orders.payloads = 0;
	e->changed = false;
	return 0;
}

int engine_repeat(struct engine *e)
{
	uint64_t commit = e->page->commit;
	int error;

	if (commit & 2) {
		copy_lane(&e->lane, &e->page->snapshot[(commit & 1) ^ 1]);
		error = send_intent(e);
		if (error)
			return error;
		commit = ((commit >> 2) + 1) << 2 | ((commit & 1) ^ 1);
		__atomic_store_n(&e->page->commit, commit, __ATOMIC_RELEASE);
	}
	copy_lane(&e->lane, &e->page->snapshot[commit & 1]);
	return 0;
}

void engine_wake_inspector(void)
{
	const uint64_t one = 1;

	/* A full one is ringing already. */
	(void)!write(ENGINE_FD_WAKE, &one, sizeof(one));
}

void engine_publish(struct engine *e)
{
	struct channel_state *s = e->state;
	uint32_t active = e->lane.leaving ? 0 : e->lane.inspector;

	for (unsigned i = 0; i < e->lane.classes; i++) {
		const struct lane_class *c = &e->lane.class[i];

		__atomic_store_n(&s->class[i].rounds, c->rounds, __ATOMIC_RELAXED);
		__atomic_store_n(&s->class[i].settled, c->settled, __ATOMIC_RELEASE);
		engine_gate_mode(e, i);
	}
	__atomic_store_n(&s->consumed, e->lane.consumed, __ATOMIC_RELEASE);
	if (__atomic_load_n(&s->active, __ATOMIC_RELAXED) != active) {
		__atomic_store_n(&s->active, active, __ATOMIC_SEQ_CST);
		engine_wake_inspector();
	}
}
