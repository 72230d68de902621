/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to an engine and their replies; of fixed size. An engine answers in microseconds; where one does not, nobody
 * waits for it here: it is silent until the reply comes, or until whoever watches it has it replaced.
 */
#include "keeper/internal.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_MS      20
#define FIRST_WORD_MS 2000 /* to start and answer */
#define STOP_MS       6000
#define STUCK_NS      2000000000ull /* its loop has not turned: not worth asking to stop */

/* The reply to request `number`; what else the engine has said is skipped: the page says it too. */
static int wait_for_reply(const struct keeper_lane *l, const struct engine_request *q, struct engine_reply *r)
{
	struct pollfd p = {.fd = l->engine_socket, .events = POLLIN};
	int limit = q->op == ENGINE_STOP ? STOP_MS : REPLY_MS;

	do {
		int n;

		while ((n = poll(&p, 1, limit)) < 0 && errno == EINTR)
			;
		if (n <= 0)
			return -ETIMEDOUT;
		if (recv(l->engine_socket, r, sizeof(*r), 0) != sizeof(*r))
			return -EPIPE;
	} while (r->op == ENGINE_WORD || r->number != q->number);
	r->text[sizeof(r->text) - 1] = '\0';
	return r->error;
}

static ssize_t send_with(const struct keeper_lane *l, const struct engine_request *q, const int *fds, unsigned count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)q, .iov_len = sizeof(*q)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (count) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	return sendmsg(l->engine_socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int ask_with(struct keeper_lane *l, const struct engine_request *request, const int *fds, unsigned count,
		    struct engine_reply *r)
{
	struct engine_request q = *request;
	int error;

	*r = (struct engine_reply){.op = ENGINE_WORD};
	if (l->engine.pid <= 0)
		return -EPIPE;
	if (l->silent_ns)
		return -EINPROGRESS;
	q.number = ++l->requests;
	if (send_with(l, &q, fds, count) == sizeof(q))
		error = wait_for_reply(l, &q, r);
	else
		error = errno == EAGAIN ? -ETIMEDOUT : -EPIPE;
	if (error != -ETIMEDOUT)
		return error;
	l->silent_ns = clock_ns();
	return -EINPROGRESS;
}

/*
 * One request, one reply. -EPIPE: the engine is dead; -EINPROGRESS: it does not answer just now, this request or one
 * before: ask again. What is asked twice is done twice, which must not matter.
 */
int keeper_ask(struct keeper_lane *l, const struct engine_request *q, struct engine_reply *r)
{
	return ask_with(l, q, NULL, 0, r);
}

int keeper_ask_value(struct keeper_lane *l, enum engine_op op, uint32_t value)
{
	struct engine_reply r;

	return keeper_ask(l, &(struct engine_request){.op = op, .value = value}, &r);
}

/* Which inspector there is, with its page: an engine's first word, and at every change. */
int keeper_tell_inspector(struct keeper_lane *l)
{
	const int fds[] = {l->seat.answers_fd, l->seat.process.pidfd};
	const struct engine_request q = {
	    .op = ENGINE_INSPECTOR, .value = l->seat.answers_fd >= 0 ? l->seat.number : 0, .long_value = l->gone};
	unsigned count = !q.value ? 0 : l->seat.process.pidfd >= 0 ? 2 : 1;
	struct engine_reply r;
	int error = ask_with(l, &q, fds, count, &r);

	l->untold = error != 0;
	return error;
}

/* Unasked words only wake us. A reply that came late ends the silence: whoever asked asks again. */
void keeper_hear_engine(struct keeper_lane *l)
{
	struct engine_reply r;

	if (l->engine_socket < 0)
		return;
	while (recv(l->engine_socket, &r, sizeof(r), MSG_DONTWAIT) > 0)
		if (r.op != ENGINE_WORD && r.number == l->requests)
			l->silent_ns = 0;
}

/* Its first word, waited for. */
int keeper_introduce_inspector(struct keeper_lane *l)
{
	struct pollfd p = {.fd = l->engine_socket, .events = POLLIN};
	int error = keeper_tell_inspector(l);

	for (int ms = 0; error == -EINPROGRESS && ms < FIRST_WORD_MS; ms += REPLY_MS) {
		(void)poll(&p, 1, REPLY_MS);
		keeper_hear_engine(l);
		error = keeper_tell_inspector(l);
	}
	return error;
}

/*
 * Settles what is held and gives the queues back; waited for. -EPIPE: the engine is dead; -ETIMEDOUT: it hangs, and was
 * killed.
 */
int keeper_ask_to_stop(struct keeper_lane *l, enum lane_reason reason)
{
	uint64_t ticked = __atomic_load_n(&l->page->ticked_ns, __ATOMIC_RELAXED);
	int error = -EINPROGRESS;

	keeper_hear_engine(l);
	if (clock_ns() < ticked + STUCK_NS)
		error = keeper_ask_value(l, ENGINE_STOP, reason);
	if (error != -EINPROGRESS)
		return error;
	keeper_kill(&l->engine);
	return -ETIMEDOUT;
}
