/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine does for its keeper: one table of requests; and how it gets a new keeper when the old one is dead.
 * Requests are of fixed size; no text is read.
 */
#include "engine/internal.h"

#include "clock.h"
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KNOCK_MS       1000
#define REPLY_TRIES    20
#define REPLY_PAUSE_US 1000

/* The page lies at ENGINE_FD_ANSWERS. What the active one had in hand is due where it is another. */
static int take_inspector(struct engine *e, uint32_t number)
{
	const struct channel_answers *page = NULL;

	if (number)
		page = page_map(ENGINE_FD_ANSWERS, sizeof(*page), PROT_READ);
	if (number && !page)
		return -errno;
	if (e->lane.inspector && e->lane.inspector != number)
		engine_inspector_gone(e, REASON_DOWN);
	if (e->answers)
		munmap((void *)e->answers, sizeof(*e->answers));
	e->answers = page;
	e->inspector = number;
	e->trusts = page ? __atomic_load_n(&page->trusts, __ATOMIC_RELAXED) : 0;
	return 0;
}

static int set_inspector(struct engine *e, const struct engine_request *q)
{
	int error = take_inspector(e, q->value);

	if (error)
		return error;
	e->dead = q->long_value != 0;
	e->page->lied = 0;
	e->told = 0;
	return 0;
}

/*
 * The keeper's first word says the same; but it may never come. Between two inspectors, the one that is active is
 * meant. Where there is no page, the active one is dead and its page lost: its answers, and the payloads of those that
 * were taken early.
 */
int engine_adopt_inspector(struct engine *e)
{
	const int fds[] = {ENGINE_FD_ANSWERS, ENGINE_FD_INSPECTOR};

	while (e->inspector_fds < 2 && fcntl(fds[e->inspector_fds], F_GETFD) >= 0)
		e->inspector_fds++;
	e->dead = e->inspector_fds < 2;
	if (!e->inspector_fds)
		return take_inspector(e, 0);
	return take_inspector(e, e->lane.inspector ? e->lane.inspector : e->page->inspectors);
}

static int gone(struct engine *e, const struct engine_request *q)
{
	if (q->value != REASON_DOWN && q->value != REASON_HUNG)
		return -EINVAL;
	engine_inspector_gone(e, q->value);
	close(ENGINE_FD_ANSWERS);
	close(ENGINE_FD_INSPECTOR);
	e->inspector_fds = 0;
	return 0;
}

static int leave(struct engine *e, const struct engine_request *q)
{
	(void)q;
	e->lane.leaving = true;
	return 0;
}

static int down_long(struct engine *e, const struct engine_request *q)
{
	e->lane.down_long = q->value != 0;
	return 0;
}

static int not_hung(struct engine *e, const struct engine_request *q)
{
	(void)q;
	e->lane.wait_ns = 0;
	e->lane.stalled = false;
	return 0;
}

static int poison(struct engine *e, const struct engine_request *q)
{
	if (q->value >= CHANNEL_POISON)
		return -EINVAL;
	__atomic_store_n(&e->state->poison[q->value], (uint64_t)q->long_value, __ATOMIC_RELAXED);
	return 0;
}

static int counter(struct engine *e, const struct engine_request *q)
{
	struct lane_class *c = &e->lane.class[q->class];

	if (q->value == COUNTER_NONE)
		lane_uncounted(c);
	else
		lane_counted(c, q->long_value, q->value == COUNTER_OTHER);
	return 0;
}

static int set_fail_open(struct engine *e, const struct engine_request *q)
{
	struct lane_config config = e->lane.class[q->class].config;

	config.fail_open = q->value != 0;
	return engine_change(e, q->class, &config);
}

static int set_length(struct engine *e, const struct engine_request *q)
{
	struct lane_config config = e->lane.class[q->class].config;

	config.length = q->value;
	return engine_change(e, q->class, &config);
}

static int turn(struct engine *e, const struct engine_request *q)
{
	struct lane_class *c = &e->lane.class[q->class];

	if (q->value)
		lane_turn(c, REASON_MANUAL);
	else
		lane_return(c);
	return 0;
}

static int stop(struct engine *e, const struct engine_request *q)
{
	return q->value < REASONS ? engine_stop(e, q->value) : -EINVAL;
}

static int hand_over(struct engine *e, const struct engine_request *q)
{
	(void)q;
	return engine_commit(e);
}

static const struct {
	int (*serve)(struct engine *e, const struct engine_request *q);
	bool leaves;
} requests[ENGINE_OPS] = {
    [ENGINE_INSPECTOR] = {set_inspector, false},
    [ENGINE_GONE] = {gone, false},
    [ENGINE_LEAVE] = {leave, false},
    [ENGINE_DOWN_LONG] = {down_long, false},
    [ENGINE_NOT_HUNG] = {not_hung, false},
    [ENGINE_POISON] = {poison, false},
    [ENGINE_COUNTER] = {counter, false},
    [ENGINE_SET_FAIL_OPEN] = {set_fail_open, false},
    [ENGINE_SET_LENGTH] = {set_length, false},
    [ENGINE_TURN] = {turn, false},
    [ENGINE_STOP] = {stop, true},
    [ENGINE_HANDOVER] = {hand_over, true},
};

static void reply(const struct engine_request *q, int error, const char *text)
{
	struct engine_reply r = {.op = q->op, .number = q->number, .error = error};

	snprintf(r.text, sizeof(r.text), "%s", text);
	/* A keeper that is gone shows as end of file at the next poll. One that gets no answer takes us for hung. */
	for (int i = 0; i < REPLY_TRIES; i++) {
		if (send(ENGINE_FD_KEEPER, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 || !engine_passing(errno))
			break;
		usleep(REPLY_PAUSE_US);
	}
}

void engine_tell(struct engine *e, uint32_t what)
{
	const struct engine_reply r = {.op = ENGINE_WORD};

	if (!(e->told & what) && send(ENGINE_FD_KEEPER, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(r))
		e->told |= what;
}

/* Descriptors that came with a request; those that nothing awaits are closed. Returns how many have a place now. */
static unsigned place_descriptors(const struct msghdr *msg, uint32_t op)
{
	static const int places[] = {ENGINE_FD_ANSWERS, ENGINE_FD_INSPECTOR};
	unsigned placed = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (op == ENGINE_INSPECTOR && placed < 2 && dup3(fd, places[placed], O_CLOEXEC) >= 0)
				placed++;
			close(fd);
		}
	}
	/* Those of the inspector before. */
	for (unsigned i = placed; op == ENGINE_INSPECTOR && i < 2; i++)
		close(places[i]);
	return placed;
}

static ssize_t receive(struct engine *e, struct engine_request *q)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = {.iov_base = q, .iov_len = sizeof(*q)};
	struct msghdr msg = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(ENGINE_FD_KEEPER, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	unsigned placed = n > 0 ? place_descriptors(&msg, q->op) : 0;

	if (n > 0 && q->op == ENGINE_INSPECTOR)
		e->inspector_fds = placed;
	return n;
}

bool engine_serve(struct engine *e)
{
	struct engine_request q = {0};
	ssize_t n = receive(e, &q);
	int error = -EINVAL;

	if (n < 0 && errno != ECONNRESET)
		return false;
	if (n <= 0) { /* the keeper is dead */
		close(ENGINE_FD_KEEPER);
		e->orphan_ns = clock_ns() + e->page->orphan_ns;
		return false;
	}
	if (n != sizeof(q) || q.op >= ENGINE_OPS || !requests[q.op].serve || q.class >= e->lane.classes) {
		reply(&q, error, "");
		return false;
	}
	error = requests[q.op].serve(e, &q);
	e->changed = true;
	if (engine_commit(e))
		e->failed = true;
	reply(&q, error, error ? spw_queue_error(e->queue[q.class]) : "");
	return requests[q.op].leaves;
}

static bool peer(int fd, struct ucred *u)
{
	socklen_t len = sizeof(*u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, u, &len);
}

bool engine_peer_trusted(int fd, uid_t ours)
{
	struct ucred u;

	return peer(fd, &u) && (u.uid == 0 || u.uid == ours);
}

/* Our own user need not be the keeper's, who made the listening socket. */
static bool may_take_over(int fd)
{
	struct ucred keeper;

	return peer(ENGINE_FD_LISTENER, &keeper) && engine_peer_trusted(fd, keeper.uid);
}

static bool knocks_well(int fd)
{
	const struct timeval limit = {.tv_sec = KNOCK_MS / 1000};
	struct engine_knock k;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return recv(fd, &k, sizeof(k), 0) == sizeof(k) && k.magic == ENGINE_KNOCK_MAGIC &&
	       k.version == ENGINE_PAGE_VERSION;
}

static int give(int to, const struct engine *e)
{
	struct engine_knock k = {.magic = ENGINE_KNOCK_MAGIC, .version = ENGINE_PAGE_VERSION};
	int fds[CHANNEL_CLASSES + GIFTS_MAX], self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fds))] = {0};
	struct iovec iov = {.iov_base = &k, .iov_len = sizeof(k)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
	const int rest[GIFTS_MAX] = {
	    [GIFT_PROC] = ENGINE_FD_PROC,         [GIFT_PAGE] = ENGINE_FD_PAGE,
	    [GIFT_STATE] = ENGINE_FD_STATE,       [GIFT_STATE_READ] = ENGINE_FD_STATE_READ,
	    [GIFT_BELL] = ENGINE_FD_BELL,         [GIFT_WAKE] = ENGINE_FD_WAKE,
	    [GIFT_LEASE] = ENGINE_FD_LEASE,       [GIFT_LEASE_READ] = ENGINE_FD_LEASE_READ,
	    [GIFT_LISTENER] = ENGINE_FD_LISTENER, [GIFT_ENGINE] = self,
	    [GIFT_ANSWERS] = ENGINE_FD_ANSWERS,   [GIFT_INSPECTOR] = ENGINE_FD_INSPECTOR,
	};
	unsigned n = 0;
	struct cmsghdr *c;
	ssize_t sent;

	for (unsigned i = 0; i < e->lane.classes; i++)
		fds[n++] = ENGINE_FD_SOCKET + (int)i;
	for (unsigned i = 0; i < GIFTS + (e->inspector ? e->inspector_fds : 0); i++)
		fds[n++] = rest[i];
	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	sent = sendmsg(to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(self);
	return sent == sizeof(k) ? 0 : -errno;
}

void engine_adopt_keeper(struct engine *e)
{
	int fd = accept4(ENGINE_FD_LISTENER, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (may_take_over(fd) && knocks_well(fd) && !give(fd, e) && dup3(fd, ENGINE_FD_KEEPER, O_CLOEXEC) >= 0) {
		e->orphan_ns = 0;
		e->told = 0;
	}
	close(fd);
}
