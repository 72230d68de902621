/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An inspector's life: attach to the lane that `spillway run` prepared, read packets from the kernel, call the user's
 * code, answer. Runs without any privilege; reads packets, and never sends a verdict.
 */
#include "clock.h"
#include "inspect/answer.h"
#include "inspect/narrow.h"

#include <spillway/inspector.h>
#include <spillway/queue.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define BATCH         256
#define PUBLISH_NS    100000 /* a slow inspector's answers leave at least this often */
#define COALESCE_NS   50000  /* under load, a short nap triples the size of the batches */
#define COALESCE_FROM 2      /* messages in the last batch that count as load */

struct attachment {
	struct channel_answers *answers;
	const struct channel_state *state;
	int bell, lease, socket;
	unsigned queue;
};

static void nap(long ns)
{
	struct timespec t = {.tv_nsec = ns};

	nanosleep(&t, NULL);
}

static int attach(struct attachment *at)
{
	const char *env = getenv(CHANNEL_ENV);
	unsigned version;
	int answers, state;
	void *map;

	if (!env)
		return -ENOENT;
	if (sscanf(env, CHANNEL_ENV_FORMAT, &version, &answers, &state, &at->bell, &at->lease, &at->socket,
		   &at->queue) != 7 ||
	    version != CHANNEL_VERSION)
		return -EPROTO;
	map = mmap(NULL, sizeof(struct channel_answers), PROT_READ | PROT_WRITE, MAP_SHARED, answers, 0);
	if (map == MAP_FAILED)
		return -errno;
	at->answers = map;
	map = mmap(NULL, sizeof(struct channel_state), PROT_READ, MAP_SHARED, state, 0);
	if (map == MAP_FAILED)
		return -errno;
	at->state = map;
	close(answers);
	close(state);
	return at->state->version == CHANNEL_VERSION ? 0 : -EPROTO;
}

static bool lease_ended(const struct attachment *at)
{
	struct pollfd p = {.fd = at->lease};

	return poll(&p, 1, 0) > 0;
}

/* Waits for packets. False: the lease has ended, leave. */
static bool wait_for_packets(const struct attachment *at)
{
	struct pollfd p[2] = {{.fd = at->socket, .events = POLLIN}, {.fd = at->lease}};

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	return !p[1].revents;
}

/* Waits until the engine has taken enough answers. False: leave. */
static bool wait_for_room(struct answerer *pen, const struct attachment *at, const struct spw_verdict *v)
{
	while (!answer_room(pen, v)) {
		answer_publish(pen);
		if (lease_ended(at))
			return false;
		nap(COALESCE_NS);
	}
	return true;
}

static bool inspect_batch(const struct spw_inspector *insp, void *self, struct answerer *pen,
			  const struct attachment *at, const struct spw_batch *batch, unsigned n)
{
	uint64_t published = clock_ns();

	for (unsigned i = 0; i < n; i++) {
		const struct spw_packet *p = spw_batch_packet(batch, i);
		struct spw_verdict v = {.size = sizeof(v), .code = SPW_ACCEPT};

		insp->packet(self, p, &v);
		if (!wait_for_room(pen, at, &v))
			return false;
		answer_put(pen, p, &v);
		if (clock_ns() - published > PUBLISH_NS) {
			answer_publish(pen);
			if (lease_ended(at))
				return false;
			published = clock_ns();
		}
	}
	answer_publish(pen);
	return true;
}

/* From here on the user's code can do little but look at packets. */
static int narrow(const struct attachment *at)
{
	int error = spw_narrow_filter(at->bell);

	if (error == -EOPNOTSUPP) {
		fputs("spillway: inspector: no narrow filter with AddressSanitizer or for this architecture; the wide "
		      "one stays\n",
		      stderr);
		error = 0;
	}
	return error;
}

static int serve(const struct spw_inspector *insp, void *self, const struct attachment *at)
{
	struct spw_batch *batch = spw_batch_new(BATCH);
	struct answerer pen;
	int n = 0, error = 0;

	if (!batch)
		return -ENOMEM;
	error = narrow(at);
	if (error) {
		spw_batch_free(batch);
		return error;
	}
	answer_start(&pen, at->answers, at->state, at->bell);
	__atomic_store_n(&at->answers->ready, 1, __ATOMIC_RELEASE);
	answer_publish(&pen); /* rings: the engine sees that we are ready */
	for (;;) {
		if (n >= COALESCE_FROM && n < BATCH) /* a full batch has more behind it */
			nap(COALESCE_NS);
		n = spw_batch_receive(batch, at->socket, BATCH);
		if (n > 0 && !inspect_batch(insp, self, &pen, at, batch, (unsigned)n))
			break;
		if (n == -EAGAIN && !wait_for_packets(at))
			break;
		if (n < 0 && n != -EAGAIN && n != -EINTR && n != -ENOBUFS) {
			error = n;
			break;
		}
	}
	spw_batch_free(batch);
	return error;
}

int spw_inspector_run(const struct spw_inspector *insp)
{
	struct attachment at = {0};
	void *self = NULL;
	int error;

	if (insp->api != SPW_INSPECTOR_API || insp->size < sizeof(*insp) || !insp->packet)
		return -EINVAL;
	error = attach(&at);
	if (!error && insp->start)
		error = insp->start(&self);
	if (error)
		return error;
	/* The nap is meant to be 50 microseconds, not 50 and the default slack of 50 more. */
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	error = serve(insp, self, &at);
	if (insp->stop)
		insp->stop(self);
	return error;
}
