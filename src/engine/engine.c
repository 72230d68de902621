/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine process: takes answers, lets the core check and book them, sends the verdicts, looks at the kernel's
 * numbers. Holds CAP_NET_ADMIN; reads no packet and no text, and never waits for the inspector.
 */
#include "engine/engine.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEP_MS        5        /* the clock: a look at the kernel at least this often */
#define LOOK_NS        1000000u /* and at most this often while answers come */
#define ANSWERS_A_STEP 256      /* bounds the work between two looks */
#define LIST_BYTES     (256u << 10)

struct engine {
	struct engine_page *page;
	struct lane_class *class;
	struct spw_queue *queue;
	const struct channel_answers *answers;
	struct channel_state *state;
	struct spw_verdicts *list;
	struct spw_verdict run; /* plain verdicts up to run_upto that are not yet in the list */
	uint32_t run_upto;
	bool running;
	uint64_t looked_at;
	uint64_t consumed; /* answers taken; the page's copy is for the inspector */
	bool lied;         /* the inspector's answers are no longer taken */
};

static void page_begin(struct engine *e)
{
	__atomic_store_n(&e->page->sequence, e->page->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void page_end(struct engine *e)
{
	__atomic_store_n(&e->page->sequence, e->page->sequence + 1, __ATOMIC_RELEASE);
}

static int look(struct engine *e)
{
	struct lane_sample now;
	int error = engine_look(e->queue, &now);

	if (error)
		return error;
	page_begin(e);
	lane_sample(e->class, &now);
	page_end(e);
	e->looked_at = clock_ns();
	return 0;
}

static void tell_keeper(const struct engine_request *q, int error, const char *text)
{
	struct engine_reply r = {.op = q->op, .value = q->value, .number = q->number, .error = error};

	snprintf(r.text, sizeof(r.text), "%s", text);
	/* A keeper that is gone shows as end of file at the next poll. */
	(void)send(ENGINE_FD_KEEPER, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int send_list(struct engine *e)
{
	int error;

	do {
		error = spw_verdicts_send(e->list, spw_queue_fd(e->queue));
	} while (error == -EINTR);
	return error;
}

static int end_run(struct engine *e)
{
	int error;

	if (!e->running)
		return 0;
	e->running = false;
	error = spw_verdicts_add_batch(e->list, e->page->queue, e->run_upto, &e->run);
	if (error == -ENOSPC && !(error = send_list(e)))
		error = spw_verdicts_add_batch(e->list, e->page->queue, e->run_upto, &e->run);
	return error;
}

static int add_single(struct engine *e, const struct channel_answer *a)
{
	struct spw_verdict v = {
	    .size = sizeof(v),
	    .code = a->verdict,
	    .set = a->set,
	    .mark = a->mark,
	    .priority = a->priority,
	    .queue = a->queue,
	    .payload = a->set & SPW_VERDICT_PAYLOAD ? e->answers->payload[a->payload] : NULL,
	    .payload_len = a->payload_len,
	};
	int error = spw_verdicts_add(e->list, e->page->queue, a->last, &v);

	if (error == -ENOSPC && !(error = send_list(e)))
		error = spw_verdicts_add(e->list, e->page->queue, a->last, &v);
	return error;
}

/* Runs of plain accepts or drops leave as one batch verdict: everything before them in the list is settled first. */
static int add_answer(struct engine *e, const struct channel_answer *a)
{
	bool plain = !a->set && (a->verdict == SPW_ACCEPT || a->verdict == SPW_DROP);
	int error = 0;

	if (!plain || (e->running && e->run.code != a->verdict))
		error = end_run(e);
	if (error)
		return error;
	if (!plain)
		return add_single(e, a);
	e->run.code = a->verdict;
	e->run_upto = a->last;
	e->running = true;
	return 0;
}

static enum lane_result judge(struct engine *e, const struct channel_answer *a)
{
	enum lane_result r;

	if (a->class != 0)
		return ANSWER_CLASS;
	r = lane_answer(e->class, a);
	if (r != ANSWER_NOT_ASSIGNED && r != ANSWER_COUNT)
		return r;
	/* Perhaps newer than our last look: look again before calling it a lie. */
	page_end(e);
	(void)look(e);
	page_begin(e);
	return lane_answer(e->class, a);
}

static void set_lied(struct engine *e, enum lane_result r)
{
	const struct engine_request wake = {.op = ENGINE_LIED, .value = r};

	e->lied = true;
	__atomic_store_n(&e->page->lied, r, __ATOMIC_RELEASE);
	tell_keeper(&wake, 0, "");
}

/* Takes the answers that are there, at most one step's worth. Returns their number, or a negative errno. */
static int take_answers(struct engine *e)
{
	uint64_t produced = __atomic_load_n(&e->answers->produced, __ATOMIC_ACQUIRE);
	uint64_t consumed = e->consumed;
	int taken = 0, error = 0;

	if (e->lied || produced == consumed)
		return 0;
	if (produced - consumed > CHANNEL_ANSWERS) {
		set_lied(e, ANSWER_COUNT);
		return 0;
	}
	page_begin(e);
	while (!error && consumed != produced && taken < ANSWERS_A_STEP) {
		struct channel_answer a;
		enum lane_result r;

		/* One copy: the inspector may go on writing there. */
		memcpy(&a, &e->answers->ring[consumed % CHANNEL_ANSWERS], sizeof(a));
		__asm__ __volatile__("" ::: "memory");
		r = judge(e, &a);
		if (r == ANSWER_TAKEN)
			error = add_answer(e, &a);
		else if (r != ANSWER_LATE) {
			set_lied(e, r);
			break;
		}
		consumed++;
		taken++;
	}
	if (!error)
		error = end_run(e);
	if (!error)
		error = send_list(e);
	page_end(e);
	e->consumed = consumed;
	__atomic_store_n(&e->state->consumed, consumed, __ATOMIC_RELEASE);
	return error ? error : taken;
}

static int change(struct engine *e, bool fail_open, uint32_t length)
{
	struct lane_sample before;
	int error = engine_look(e->queue, &before);

	if (!error && fail_open != e->class->fail_open)
		error = spw_queue_set_flags(e->queue, SPW_FAIL_OPEN, fail_open ? SPW_FAIL_OPEN : 0);
	if (!error && length != e->class->length)
		error = spw_queue_set_length(e->queue, length);
	if (error)
		return error;
	page_begin(e);
	lane_switch(e->class, &before, fail_open, length);
	spw_queue_config(e->queue, &e->page->config);
	page_end(e);
	return 0;
}

static int stop(struct engine *e, enum lane_reason reason)
{
	int error;

	/* What the inspector has answered counts as inspected. */
	for (unsigned i = 0; i < CHANNEL_ANSWERS / ANSWERS_A_STEP && take_answers(e) > 0; i++)
		;
	page_begin(e);
	error = engine_settle(e->queue, e->class, reason);
	page_end(e);
	return error;
}

/* One request of the keeper. Returns true where the engine is to leave. */
static bool serve_keeper(struct engine *e)
{
	struct engine_request q;
	ssize_t n = recv(ENGINE_FD_KEEPER, &q, sizeof(q), MSG_DONTWAIT);
	bool leave = false;
	int error = -EINVAL;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) { /* the keeper is dead */
		(void)stop(e, REASON_DOWN);
		return true;
	}
	if (n == sizeof(q) && q.op == ENGINE_SET_FAIL_OPEN)
		error = change(e, q.value != 0, e->class->length);
	else if (n == sizeof(q) && q.op == ENGINE_SET_LENGTH)
		error = change(e, e->class->fail_open, q.value);
	else if (n == sizeof(q) && q.op == ENGINE_STOP && q.value < REASONS) {
		error = stop(e, q.value);
		leave = true;
	}
	tell_keeper(&q, error, error ? spw_queue_error(e->queue) : "");
	return leave;
}

/* Sleeps until there is an answer, a request or the next step of the clock. Returns true where the engine is to leave.
 */
static bool rest(struct engine *e)
{
	struct pollfd p[2] = {{.fd = ENGINE_FD_KEEPER, .events = POLLIN}, {.fd = ENGINE_FD_BELL, .events = POLLIN}};
	uint64_t rings;
	int timeout = STEP_MS;

	__atomic_store_n(&e->state->engine_sleeps, 1, __ATOMIC_SEQ_CST);
	if (!e->lied && __atomic_load_n(&e->answers->produced, __ATOMIC_SEQ_CST) != e->consumed)
		timeout = 0;
	(void)poll(p, 2, timeout);
	__atomic_store_n(&e->state->engine_sleeps, 0, __ATOMIC_RELAXED);
	if (p[1].revents)
		(void)!read(ENGINE_FD_BELL, &rings, sizeof(rings));
	return p[0].revents && serve_keeper(e);
}

static int loop(struct engine *e)
{
	bool leave = false;
	int n = 0;

	while (!leave) {
		n = take_answers(e);
		if (n < 0)
			break;
		if (clock_ns() - e->looked_at >= LOOK_NS && (n = look(e)) < 0)
			break;
		leave = rest(e);
	}
	if (n < 0)
		fprintf(stderr, "spillway: engine: queue %u: %s; the lane ends\n", e->page->queue, strerror(-n));
	return n < 0 ? 1 : 0;
}

static void *map(int fd, size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int attach(struct engine *e)
{
	int error;

	e->page = map(ENGINE_FD_PAGE, sizeof(*e->page), PROT_READ | PROT_WRITE);
	e->answers = map(ENGINE_FD_ANSWERS, sizeof(*e->answers), PROT_READ);
	e->state = map(ENGINE_FD_STATE, sizeof(*e->state), PROT_READ | PROT_WRITE);
	e->list = spw_verdicts_new(LIST_BYTES);
	if (!e->page || !e->answers || !e->state || !e->list)
		return -ENOMEM;
	if (e->page->version != ENGINE_PAGE_VERSION)
		return -EPROTO;
	e->class = &e->page->class;
	e->consumed = e->state->consumed;
	e->run = (struct spw_verdict){.size = sizeof(e->run)};
	error = spw_queue_adopt(&e->queue, e->page->queue, ENGINE_FD_SOCKET, ENGINE_FD_PROC, &e->page->config);
	return error ? error : look(e);
}

int engine_main(void)
{
	struct engine e = {0};
	int error = attach(&e);

	if (error) {
		fprintf(stderr, "spillway: engine: %s; the lane ends\n", strerror(-error));
		return 1;
	}
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	error = loop(&e);
	spw_verdicts_free(e.list);
	spw_queue_close(e.queue);
	return error;
}
