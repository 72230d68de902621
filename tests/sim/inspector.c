/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faked inspectors, in the order of things of src/inspect: packets in hand, which answer may leave now, which
 * overtakes, which waits. An honest one keeps every rule by what the engine has told; a lying one breaks one of them.
 * Sends no verdict.
 */
#include "world.h"

#include <stddef.h>
#include <string.h>

#include <spillway/packet.h>

void inspector_start(struct world *w, uint32_t number)
{
	struct inspector *in = &w->inspector[number % 2];

	memset(in, 0, offsetof(struct inspector, ring));
	in->number = number;
	in->alive = true;
	in->lies = world_chance(w, w->plan.odds.lies);
	in->ready_ns = w->now + world_about(w, 2 * MS);
	w->next[ACTOR_INSPECTOR + number % 2] = in->ready_ns;
	TRACE(w, "inspector %u begins%s", number, in->lies ? ", a liar" : "");
}

void inspector_die(struct world *w, struct inspector *in)
{
	TRACE(w, "inspector %u dies", in->number);
	in->alive = false;
	w->next[ACTOR_INSPECTOR + in->number % 2] = UINT64_MAX;
}

/* The pen. */

static bool has_room(const struct world *w, struct inspector *in)
{
	if (w->state.active == in->number)
		in->consumed = w->state.consumed;
	return in->written + 2 - in->consumed <= CHANNEL_ANSWERS;
}

static void close_run(struct inspector *in)
{
	if (in->open)
		in->ring[in->written++ % CHANNEL_ANSWERS] = in->run;
	in->open = false;
}

static bool joinable(const struct world *w, const struct channel_answer *a)
{
	if (a->early || (a->set & ~CHANNEL_TRUSTED) || w->plan.class[a->class].config.mark_mask)
		return false;
	return a->verdict == SPW_ACCEPT || a->verdict == SPW_DROP || a->verdict == CHANNEL_STALE;
}

static void put(const struct world *w, struct inspector *in, const struct channel_answer *a)
{
	const struct channel_answer *run = &in->run;

	if (in->open && run->class == a->class && run->verdict == a->verdict && run->set == a->set &&
	    run->last + 1 == a->first && joinable(w, run) && joinable(w, a)) {
		in->run.last = a->last;
		in->run.bytes += a->bytes;
		return;
	}
	close_run(in);
	in->run = *a;
	in->open = true;
}

/* Notes what is answered from now on, whatever becomes of the inspector. */
static void note_published(struct world *w, const struct inspector *in, const struct channel_answer *a)
{
	uint64_t last = lane_widen(w->class[a->class].seq, a->last);

	for (uint64_t id = last - (a->last - a->first); id <= last; id++) {
		struct id_record *r = world_id(w, a->class, id);

		if (!r || a->verdict == CHANNEL_STALE)
			continue;
		r->answered = in->number;
		r->answered_at = w->steps;
	}
}

static void publish(struct world *w, struct inspector *in)
{
	close_run(in);
	for (; in->produced < in->written && !in->lies; in->produced++)
		note_published(w, in, &in->ring[in->produced % CHANNEL_ANSWERS]);
	in->produced = in->written;
	driver_poke(w, world_about(w, 20 * US));
}

/* What is in hand. */

static struct entry *entry_of(struct hand *h, uint64_t number)
{
	return &h->entry[number % CHANNEL_WINDOW];
}

static void move_base(struct hand *h, uint64_t base)
{
	for (uint64_t id = h->base; id < base && h->early_count; id++) {
		h->early_count -= h->early[id % CHANNEL_WINDOW];
		h->early[id % CHANNEL_WINDOW] = false;
	}
	if (base > h->base)
		h->base = base;
	for (; h->early[h->base % CHANNEL_WINDOW]; h->base++) {
		h->early[h->base % CHANNEL_WINDOW] = false;
		h->early_count--;
	}
}

static void put_oldest(const struct world *w, struct inspector *in, struct hand *h, const struct channel_answer *a)
{
	put(w, in, a);
	move_base(h, entry_of(h, h->head)->id + 1);
	h->head++;
}

static bool decided_behind(struct hand *h)
{
	for (uint64_t n = h->head + 1; n < h->tail; n++)
		if (entry_of(h, n)->state == ENTRY_DECIDED)
			return true;
	return false;
}

/* A packet that was settled while the user's code has it is passed by as soon as a newer one is answered. */
static bool pump_oldest(const struct world *w, struct inspector *in, unsigned class)
{
	struct hand *h = &in->hand[class];
	struct entry *e = entry_of(h, h->head);
	struct channel_answer stale = {
	    .first = (uint32_t)e->id, .last = (uint32_t)e->id, .verdict = CHANNEL_STALE, .class = (uint8_t) class};

	if (e->state == ENTRY_EARLY) {
		h->head++;
		return true;
	}
	if (!has_room(w, in))
		return false;
	if (e->state == ENTRY_DECIDED) {
		put_oldest(w, in, h, &e->answer);
		return true;
	}
	if (e->id > w->state.settled[class] || !decided_behind(h))
		return false;
	h->waiting--;
	put_oldest(w, in, h, &stale);
	return true;
}

static void pump_early(const struct world *w, struct inspector *in, struct hand *h)
{
	for (uint64_t n = h->head + 1; n < h->tail; n++) {
		struct entry *e = entry_of(h, n);

		if (e->id >= h->base + CHANNEL_WINDOW || !has_room(w, in))
			return;
		if (e->state != ENTRY_DECIDED || !e->overtakes)
			continue;
		e->state = ENTRY_EARLY;
		e->answer.early = 1;
		put(w, in, &e->answer);
		h->early[e->id % CHANNEL_WINDOW] = true;
		h->early_count++;
	}
}

static void pump(const struct world *w, struct inspector *in, unsigned class)
{
	struct hand *h = &in->hand[class];

	if (w->state.settled[class] >= h->base)
		move_base(h, w->state.settled[class] + 1);
	while (h->head != h->tail && pump_oldest(w, in, class))
		;
	pump_early(w, in, h);
}

/* The user's code. */

static void choose_verdict(struct world *w, struct channel_answer *a)
{
	const struct odds *o = &w->plan.odds;

	a->verdict = SPW_ACCEPT;
	if (world_chance(w, o->trust)) {
		a->set = CHANNEL_TRUSTED;
	} else if (world_chance(w, o->drop)) {
		a->verdict = SPW_DROP;
	} else if (world_chance(w, o->modify)) {
		a->set = SPW_VERDICT_PAYLOAD;
		a->payload = (uint32_t)world_below(w, CHANNEL_PAYLOADS);
		a->payload_len = 100;
	} else if (world_chance(w, o->repeat)) {
		a->verdict = SPW_REPEAT;
	} else if (world_chance(w, o->requeue)) {
		a->verdict = SPW_QUEUE;
		a->queue = QUEUE(world_below(w, w->plan.classes));
	}
	if (a->set != CHANNEL_TRUSTED && world_chance(w, o->mark)) {
		a->set |= SPW_VERDICT_MARK;
		a->mark = PASS_BIT | (uint32_t)world_below(w, 100);
	}
}

static void decide(struct world *w, struct inspector *in, unsigned class, struct entry *e)
{
	struct hand *h = &in->hand[class];

	e->state = ENTRY_DECIDED;
	e->overtakes = true;
	choose_verdict(w, &e->answer);
	h->waiting--;
	w->events++;
	TRACE(w, "inspector %u class %u: id %llu verdict %u set %x", in->number, class, (unsigned long long)e->id,
	      e->answer.verdict, e->answer.set);
}

/* The next packet that the user's code is done with: mostly the oldest one. */
static struct entry *pick(struct world *w, struct hand *h)
{
	for (uint64_t n = h->head; n < h->tail; n++) {
		struct entry *e = entry_of(h, n);

		if (e->state == ENTRY_WAITING && (n + 1 == h->tail || !world_chance(w, w->plan.odds.defer)))
			return e;
	}
	return NULL;
}

/* Receiving. */

static void take(struct world *w, struct inspector *in, unsigned class, const struct kernel_message *m)
{
	struct hand *h = &in->hand[class];
	uint64_t settled = w->state.settled[class], id = lane_widen(settled, m->id);
	struct entry *e = entry_of(h, h->tail++);

	*e = (struct entry){.id = id,
			    .state = ENTRY_DECIDED,
			    .answer = {.first = m->id,
				       .last = m->id,
				       .class = (uint8_t) class,
				       .bytes = m->packet.length,
				       .verdict = CHANNEL_STALE,
				       .mark = w->plan.class[class].config.mark_mask ? m->packet.mark : 0}};
	w->events++;
	if (id <= settled)
		return;
	e->answer.verdict = CHANNEL_POISONED;
	if (world_chance(w, w->plan.odds.poison))
		return;
	e->state = ENTRY_WAITING;
	h->waiting++;
}

static void receive(struct world *w, struct inspector *in)
{
	unsigned class = (unsigned)world_below(w, w->plan.classes), left = 1 + (unsigned)world_below(w, w->plan.batch);
	struct kernel_message m;

	for (unsigned i = 0; i < w->plan.classes; i++, class = (class + 1) % w->plan.classes) {
		struct hand *h = &in->hand[class];

		while (left && h->tail - h->head < CHANNEL_WINDOW && world_receive(w, class, false, &m)) {
			left--;
			if (!m.error)
				take(w, in, class, &m);
		}
	}
}

static unsigned waiting(const struct world *w, const struct inspector *in)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->plan.classes; i++)
		n += in->hand[i].waiting;
	return n;
}

/* An answer that breaks a rule which the engine can always know. */
static void lie(struct world *w, struct inspector *in)
{
	unsigned class = (unsigned)world_below(w, w->plan.classes);
	uint32_t seq = (uint32_t)w->class[class].seq;
	struct channel_answer a = {.first = seq + 1, .last = seq + 1, .verdict = SPW_ACCEPT, .class = (uint8_t) class};

	switch (world_below(w, 8)) {
	case 0: /* an id far in the future */
		a.first = a.last = seq + 1 + 100000 + (uint32_t)world_below(w, 1u << 30);
		break;
	case 1:
		a.verdict = 2 + (uint32_t)world_below(w, 2) * 97;
		break;
	case 2:
		a.class = (uint8_t)(w->plan.classes + world_below(w, 250));
		break;
	case 3: /* one verdict for several packets */
		a.first = seq - 3;
		a.last = seq;
		a.verdict = SPW_REPEAT;
		break;
	case 4:
		a.set = SPW_VERDICT_PAYLOAD;
		a.payload = CHANNEL_PAYLOADS + (uint32_t)world_below(w, 100);
		a.payload_len = 10;
		break;
	case 5: /* more ids than there are */
		a.first = seq + 1;
		a.last = seq;
		break;
	case 6: /* an unknown bit */
		a.set = 1u << 20;
		break;
	default: /* the answer before this one, again */
		if (!in->written)
			return;
		a = in->ring[(in->written - 1) % CHANNEL_ANSWERS];
		if (a.early)
			return;
	}
	TRACE(w, "inspector %u lies: class %u, %u to %u", in->number, a.class, a.first, a.last);
	if (!in->lied)
		in->lie_at = in->written;
	in->lied = true;
	in->ring[in->written++ % CHANNEL_ANSWERS] = a;
}

/* A piece of work: some packets are read, some answered. Returns the time that it takes. */
static uint64_t work(struct world *w, struct inspector *in)
{
	uint64_t ns = 1 * US;

	if (w->state.active == in->number && (!waiting(w, in) || world_chance(w, MILLION / 4)))
		receive(w, in);
	for (unsigned n = 1 + (unsigned)world_below(w, 8); n && waiting(w, in); n--) {
		unsigned class = (unsigned)world_below(w, w->plan.classes);
		struct entry *e;

		while (!in->hand[class].waiting)
			class = (class + 1) % w->plan.classes;
		e = pick(w, &in->hand[class]);
		if (!e)
			continue;
		decide(w, in, class, e);
		ns += world_about(w, w->plan.service_ns);
	}
	for (unsigned i = 0; i < w->plan.classes; i++)
		pump(w, in, i);
	if (in->lies && world_chance(w, MILLION / 50) && has_room(w, in)) {
		close_run(in);
		lie(w, in);
	}
	if (!waiting(w, in) || world_chance(w, MILLION / 2))
		publish(w, in);
	return ns + (waiting(w, in) ? 0 : world_about(w, 20 * US));
}

static bool empty_handed(const struct world *w, const struct inspector *in)
{
	for (unsigned i = 0; i < w->plan.classes; i++)
		if (in->hand[i].head != in->hand[i].tail)
			return false;
	return true;
}

void inspector_run(struct world *w, struct inspector *in)
{
	uint64_t *next = &w->next[ACTOR_INSPECTOR + in->number % 2];

	if (!in->ready) {
		in->ready = true;
		driver_poke(w, 0);
	}
	if (w->state.active == in->number && !in->was_active) {
		in->was_active = true;
		for (unsigned i = 0; i < w->plan.classes; i++)
			in->hand[i].base = w->state.settled[i] + 1;
	}
	if (!in->was_active) {
		*next = w->now + 100 * US;
		return;
	}
	*next = w->now + work(w, in);
	if (w->state.active == 0 && empty_handed(w, in)) {
		publish(w, in);
		inspector_die(w, in);
	} else if (world_chance(w, w->plan.odds.inspector_dies)) {
		inspector_die(w, in);
	} else if (world_chance(w, w->plan.odds.inspector_hangs)) {
		TRACE(w, "inspector %u hangs", in->number);
		in->hung = true;
		*next = UINT64_MAX;
	} else if (world_chance(w, w->plan.odds.inspector_stalls)) {
		*next += world_about(w, 30 * MS);
		TRACE(w, "inspector %u stalls for %llu us", in->number, (unsigned long long)((*next - w->now) / US));
	}
}
