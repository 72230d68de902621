/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue that holds tens of thousands of packets, and verdicts in several orders: each packet is released once, when
 * its verdict comes and at no other time. What a verdict costs in each order is told and never judged. Where the kernel
 * looks for a packet from the oldest on (6.1), that grows with what is held.
 *
 *     verdict_order [HELD [OUT]]    60,000 unless told otherwise; so many (all) are released out of order, the rest as
 *                                   they came. The script's rule sends datagrams for PORT to queue 5.
 */
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <time.h>

#include "queue.h"

#define NUMBER  5
#define LENGTH  65535u
#define SENDERS 256u /* one socket's send buffer would not hold them all */
#define BUNCH   64u  /* verdicts in a sendmsg() */
#define STRAY   1000u

struct world {
	struct spw_queue *queue;
	struct spw_verdicts *list;
	int to, from[SENDERS];
	uint32_t held, base; /* packets; the id before the first one */
	uint32_t out;        /* packets released out of order, before the others */
	uint32_t *order;     /* numbers of the packets, as they are released */
	uint64_t ns;         /* in sendmsg(), since it was set to 0 */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Messages about packets, and errors: nobody wants to read them here. */
static void forget_messages(const struct world *w)
{
	char data[64];

	while (recv(spw_queue_fd(w->queue), data, sizeof(data), MSG_DONTWAIT) >= 0)
		;
}

/* Packet i has id base + 1 + i. */
static void hold(struct world *w)
{
	w->base = stat_of(w->queue).id_sequence;
	for (uint32_t i = 0; i < w->held; i++) {
		EQUAL(send(w->from[i % SENDERS], &i, sizeof(i), MSG_DONTWAIT), sizeof(i));
		if (i % BUNCH == 0)
			forget_messages(w);
	}
	forget_messages(w);
	EQUAL(stat_of(w->queue).held, w->held);
	EQUAL(stat_of(w->queue).id_sequence, w->base + w->held);
}

static void send_list(struct world *w)
{
	const uint64_t begun = now_ns();

	EQUAL(spw_verdicts_send(w->list, spw_queue_fd(w->queue)), 0);
	w->ns += now_ns() - begun;
}

/* What has just been released has arrived, as it was released. Places `from` to `end` of the order. */
static void arrived(const struct world *w, uint32_t from, uint32_t end)
{
	uint32_t number;

	for (; from < end; from++) {
		EQUAL(recv(w->to, &number, sizeof(number), MSG_DONTWAIT), sizeof(number));
		EQUAL(number, w->order[from]);
	}
	EQUAL(recv(w->to, &number, sizeof(number), MSG_DONTWAIT), -1);
}

/* Places `from` to `end` of the order: one verdict a packet; or, where they are as they came, one for a bunch. */
static void release(struct world *w, uint32_t from, uint32_t end, bool batch)
{
	const struct spw_verdict accept = {.size = sizeof(accept), .code = SPW_ACCEPT};

	for (uint32_t next; from < end; from = next) {
		next = end - from > BUNCH ? from + BUNCH : end;
		for (uint32_t n = from; n < next && !batch; n++)
			EQUAL(spw_verdicts_add(w->list, NUMBER, w->base + 1 + w->order[n], &accept), 0);
		if (batch)
			EQUAL(spw_verdicts_add_batch(w->list, NUMBER, w->base + next, &accept), 0);
		send_list(w);
		arrived(w, from, next);
	}
}

static void as_they_came(struct world *w)
{
	for (uint32_t i = 0; i < w->held; i++)
		w->order[i] = i;
}

static void newest_first(struct world *w)
{
	for (uint32_t i = 0; i < w->held; i++)
		w->order[i] = i < w->out ? w->held - 1 - i : i - w->out;
}

static int ascending(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The same each time. */
static void at_random(struct world *w)
{
	uint32_t dice = 2508;

	as_they_came(w);
	for (uint32_t i = 0; i < w->out; i++) {
		uint32_t other, swapped = w->order[i];

		dice = dice * 1664525u + 1013904223u;
		other = i + (uint32_t)((uint64_t)dice * (w->held - i) >> 32);
		w->order[i] = w->order[other];
		w->order[other] = swapped;
	}
	qsort(w->order + w->out, w->held - w->out, sizeof(*w->order), ascending);
}

/* Verdicts for ids that are settled: nothing happens, and the kernel has looked in vain. */
static void stray(struct world *w)
{
	const struct spw_verdict accept = {.size = sizeof(accept), .code = SPW_ACCEPT};

	hold(w);
	for (uint32_t i = 0; i < STRAY; i++) {
		EQUAL(spw_verdicts_add(w->list, NUMBER, w->base - i, &accept), 0);
		if (i % BUNCH == BUNCH - 1 || i == STRAY - 1)
			send_list(w);
		forget_messages(w);
	}
	EQUAL(stat_of(w->queue).held, w->held);
	arrived(w, 0, 0);
}

/* A migration to another processor between two verdicts could let the second packet overtake. */
static void stay_on_one_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	EQUAL(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* Holds, releases; tells what one of the first packets took, while nearly all are held. Returns that. */
static double try_way(struct world *w, const char *name, void (*order)(struct world *w), bool batch, double first)
{
	double ns;

	hold(w);
	order(w);
	w->ns = 0;
	release(w, 0, w->out, batch);
	ns = (double)w->ns / w->out;
	release(w, w->out, w->held, batch);
	EQUAL(stat_of(w->queue).held, 0);
	printf("%u held, the first %u released %s: %.0f ns a packet, %.2f times as they came\n", w->held, w->out, name,
	       ns, ns / (first > 0 ? first : ns));
	fflush(stdout);
	return ns;
}

int main(int argc, char **argv)
{
	struct world w = {.held = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 60000};
	double first;

	w.out = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : w.held;
	TRUE(w.held < LENGTH && w.out > 0 && w.out <= w.held);
	stay_on_one_processor();
	w.order = calloc(w.held, sizeof(*w.order));
	w.list = spw_verdicts_new(0);
	TRUE(w.order && w.list);
	w.queue = bind_queue(NUMBER, SPW_COPY_META, LENGTH, 0);
	TRUE(spw_queue_set_buffer(w.queue, 4 << 20) > 0);
	w.to = udp_socket(1);
	for (unsigned i = 0; i < SENDERS; i++)
		w.from[i] = udp_socket(0);
	first = try_way(&w, "as they came", as_they_came, false, 0);
	try_way(&w, "as they came, 64 by one batch verdict", as_they_came, true, first);
	try_way(&w, "at random", at_random, false, first);
	try_way(&w, "the newest first", newest_first, false, first);
	w.ns = 0;
	stray(&w);
	printf("%u held, verdicts for ids that are settled: %.0f ns each\n", w.held, (double)w.ns / STRAY);
	as_they_came(&w);
	release(&w, 0, w.held, false);
	EQUAL(stat_of(w.queue).held, 0);
	EQUAL(stat_of(w.queue).queue_dropped, 0);
	EQUAL(stat_of(w.queue).user_dropped, 0);
	spw_verdicts_free(w.list);
	spw_queue_close(w.queue);
	free(w.order);
	return 0;
}
