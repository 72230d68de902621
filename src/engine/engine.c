/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine process: attaches to what its keeper (or an engine before it) has left, and goes round until it is told to
 * leave. Holds CAP_NET_ADMIN; reads no packet and no text, and never waits for the inspector.
 */
#include "engine/internal.h"

#include "clock.h"
#include "log/log.h"
#include "page.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FIRST_WORD_MS 5000
#define ASLEEP_NS     200000000u

static uint64_t next_look_ns(const struct engine *e)
{
	uint64_t step = lane_step_ns(&e->lane, e->awaited);

	for (unsigned i = 0; i < e->lane.classes; i++) {
		uint64_t gate_step = engine_gate_step_ns(e, i);

		if (gate_step < step)
			step = gate_step;
	}
	return e->looked_ns + step;
}

/* Asleep, too, it shows that it lives: gate and keeper wait for seconds. */
static uint64_t until_next_look(const struct engine *e, bool asleep)
{
	uint64_t now = clock_ns(), next = asleep ? e->looked_ns + ASLEEP_NS : next_look_ns(e);

	return next > now ? next - now : 0;
}

/* Being woken costs more than an answer does: while answers come, it may be worth a processor's time to watch for them.
 */
static void watch(struct engine *e)
{
	uint64_t until = e->answered_ns + e->page->busy_ns, next = next_look_ns(e);

	if (next < until)
		until = next;
	while (!engine_answers_wait(e) && clock_ns() < until)
		sched_yield();
}

/* Sleeps until there is an answer, a request or the next step of the clock. True where the engine is to leave. */
static bool rest(struct engine *e, bool more)
{
	struct pollfd p[3] = {{.fd = e->orphan_ns ? ENGINE_FD_LISTENER : ENGINE_FD_KEEPER, .events = POLLIN},
			      {.fd = ENGINE_FD_BELL, .events = POLLIN},
			      {.fd = e->awaited ? e->arrivals : -1, .events = POLLIN}};
	struct timespec timeout = {0};
	uint64_t rings;
	bool asleep;

	if (e->page->busy_ns && !more)
		watch(e);
	engine_ring(e, CHANNEL_RING_ANSWER);
	asleep = !more && engine_gate_sleep(e);
	if (!more && !engine_answers_wait(e))
		timeout.tv_nsec = (long)until_next_look(e, asleep);
	(void)ppoll(p, 3, &timeout, NULL);
	engine_ring(e, 0);
	if (p[1].revents)
		(void)!read(ENGINE_FD_BELL, &rings, sizeof(rings));
	if (p[2].revents)
		engine_arrived(e);
	/* Also one that rang late, or that a predecessor never heard: it would ring for ever. */
	if (asleep || p[2].revents)
		engine_gate_wake(e);
	if (!p[0].revents)
		return false;
	if (!e->orphan_ns)
		return engine_serve(e);
	engine_adopt_keeper(e);
	return false;
}

static int loop(struct engine *e)
{
	bool leave = false;

	while (!leave && !e->failed) {
		bool more = engine_step(e);

		leave = rest(e, more);
		if (e->orphan_ns && clock_ns() >= e->orphan_ns) {
			(void)engine_stop(e, REASON_DOWN);
			leave = true;
		}
	}
	return e->failed ? 1 : 0;
}

static int adopt_queues(struct engine *e)
{
	int error = 0;

	for (unsigned i = 0; i < e->page->classes && !error; i++) {
		e->early[i] = e->page->early[i];
		error = spw_queue_adopt(&e->queue[i], e->page->queue[i], ENGINE_FD_SOCKET + (int)i, ENGINE_FD_PROC,
					&e->page->config[i]);
	}
	return error;
}

static int attach(struct engine *e)
{
	int error;

	e->page = page_map(ENGINE_FD_PAGE, sizeof(*e->page), PROT_READ | PROT_WRITE);
	e->state = page_map(ENGINE_FD_STATE, sizeof(*e->state), PROT_READ | PROT_WRITE);
	e->list = spw_verdicts_new(0);
	if (!e->page || !e->state || !e->list)
		return -ENOMEM;
	if (e->page->version != ENGINE_PAGE_VERSION || e->page->classes > CHANNEL_CLASSES)
		return -EPROTO;
	error = adopt_queues(e);
	if (!error)
		error = engine_repeat(e);
	if (!error)
		error = engine_undo_changes(e);
	engine_arrivals_open(e);
	engine_gate_attach(e);
	lane_resume(&e->lane, clock_ns());
	if (!error)
		error = engine_look_all(e);
	if (!error)
		engine_open_eyes(e);
	if (!error)
		error = engine_adopt_inspector(e);
	return error;
}

/* Before anything is judged late: the keeper says which inspector there is, and its answers are taken. */
static bool await_first_word(struct engine *e)
{
	struct pollfd p = {.fd = ENGINE_FD_KEEPER, .events = POLLIN};
	bool leave;

	while (poll(&p, 1, FIRST_WORD_MS) < 0 && errno == EINTR)
		;
	leave = p.revents && engine_serve(e);
	lane_resume(&e->lane, clock_ns());
	return leave;
}

int engine_main(void)
{
	static struct engine e; /* big, and once a process */
	int error = attach(&e);

	if (error) {
		log_line("engine: %s; it ends", strerror(-error));
		return 1;
	}
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	error = engine_filter();
	if (error && error != -EOPNOTSUPP) {
		log_line("engine: its system call filter: %s; it ends", strerror(-error));
		return 1;
	}
	error = await_first_word(&e) ? 0 : loop(&e);
	/* The descriptors and pages are the keeper's too: nothing ends with this process. */
	return error;
}
