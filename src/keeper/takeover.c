/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lanes that outlive their keeper: each has a socket of its own, where its engine accepts a new keeper once the old one
 * is dead, and hands over everything. Speaks in messages of fixed size.
 */
#include "keeper/internal.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define KNOCK_S 2

static int lane_address(const struct keeper *k, uint16_t number, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (snprintf(a->sun_path, sizeof(a->sun_path), "%s.lane-%u", k->config.control, number) >=
	    (int)sizeof(a->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

int keeper_listen(struct keeper *k, struct keeper_lane *l)
{
	struct sockaddr_un a;
	struct stat st;
	mode_t mask;
	int error = lane_address(k, l->number, &a);

	if (error)
		return error;
	/* A dead engine's; what is no socket is none of ours. */
	if (!lstat(a.sun_path, &st) && S_ISSOCK(st.st_mode))
		(void)unlink(a.sun_path);
	l->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0177);
	if (l->listener < 0 || bind(l->listener, (const struct sockaddr *)&a, sizeof(a)) || listen(l->listener, 1))
		error = -errno;
	umask(mask);
	if (error && l->listener >= 0) {
		close(l->listener);
		l->listener = -1; /* the name is another's, and stays when this lane goes */
	}
	return error;
}

void keeper_unlist(struct keeper *k, const struct keeper_lane *l)
{
	struct sockaddr_un a;

	if (l->listener >= 0 && !lane_address(k, l->number, &a))
		(void)unlink(a.sun_path);
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

/* Knocks; returns the connection, and the descriptors that came over it. -1: nobody opened. */
static int knock(const struct sockaddr_un *a, int *fds, unsigned *count)
{
	const struct timeval limit = {.tv_sec = KNOCK_S};
	struct engine_knock k = {.magic = ENGINE_KNOCK_MAGIC, .version = ENGINE_PAGE_VERSION};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE((CHANNEL_CLASSES + GIFTS_MAX) * sizeof(int))];
	struct iovec iov = {.iov_base = &k, .iov_len = sizeof(k)};
	struct msghdr msg = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const struct cmsghdr *c;
	ssize_t n;

	*count = 0;
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) || !engine_peer_trusted(fd, geteuid()) ||
	    send(fd, &k, sizeof(k), MSG_NOSIGNAL) != sizeof(k) || (n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC)) < 0) {
		close(fd);
		return -1;
	}
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), *count * sizeof(int));
	}
	if (n == sizeof(k) && k.magic == ENGINE_KNOCK_MAGIC)
		return fd;
	close_all(fds, *count);
	close(fd);
	return -1;
}

static pid_t pid_of(int pidfd)
{
	char path[64], line[128];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pid: %d", &pid) == 1)
			break;
	if (f)
		fclose(f);
	return pid > 0 ? pid : 0;
}

struct keeper_process keeper_adopt_process(int pidfd)
{
	return (struct keeper_process){.pid = pid_of(pidfd), .pidfd = pidfd, .adopted = true, .started_ns = clock_ns()};
}

static void take_inspector(struct keeper_lane *l, const int *gift)
{
	struct lane lane;

	engine_snapshot(l->page, &lane);
	l->seat = (struct keeper_seat){.answers_fd = gift[GIFT_ANSWERS],
				       .answers = keeper_map_page(gift[GIFT_ANSWERS], sizeof(*l->seat.answers)),
				       .number = l->page->inspectors,
				       .process = keeper_adopt_process(gift[GIFT_INSPECTOR])};
	/* Between two of them, the one that is active is meant. */
	if (lane.inspector)
		l->seat.number = lane.inspector;
	l->was_ready = true;
	/* It died while there was no keeper: the engine has not been told. */
	l->gone = !l->seat.process.pid;
	if (!l->seat.answers)
		keeper_clear_seat(&l->seat);
}

/* Ours is the socket that the queue is bound to. */
static bool bound(struct spw_queue *queue)
{
	struct sockaddr_nl addr = {0};
	socklen_t len = sizeof(addr);
	struct spw_queue_stat stat;

	return !spw_queue_stat(queue, &stat) && !getsockname(spw_queue_fd(queue), (struct sockaddr *)&addr, &len) &&
	       addr.nl_pid == stat.portid;
}

static int take_class(struct keeper_lane *l, unsigned i, int fd)
{
	struct spw_socket_stat stat;
	int error = spw_queue_adopt(&l->queue[i], l->page->queue[i], fd, fcntl(l->proc_fd, F_DUPFD_CLOEXEC, 0),
				    &l->page->config[i]);

	if (!error)
		error = spw_queue_socket_stat(l->queue[i], &stat);
	if (error)
		return error;
	l->buffer[i] = stat.limit;
	return bound(l->queue[i]) ? 0 : -ENODEV;
}

int keeper_make_lane(struct keeper_lane *l, const int *sockets, unsigned count, const int *gift)
{
	int error = 0;

	l->classes = count;
	l->proc_fd = gift[GIFT_PROC];
	l->page_fd = gift[GIFT_PAGE];
	l->state_fd = gift[GIFT_STATE];
	l->state_read_fd = gift[GIFT_STATE_READ];
	l->bell = gift[GIFT_BELL];
	l->wake = gift[GIFT_WAKE];
	l->lease = gift[GIFT_LEASE];
	l->lease_read = gift[GIFT_LEASE_READ];
	l->listener = gift[GIFT_LISTENER];
	if (gift[GIFT_ENGINE] >= 0)
		l->engine = keeper_adopt_process(gift[GIFT_ENGINE]);
	l->page = keeper_map_page(l->page_fd, sizeof(*l->page));
	if (!l->page || l->page->version != ENGINE_PAGE_VERSION || l->page->classes != count)
		error = -EPROTO;
	for (unsigned i = 0; i < count; i++) {
		if (error)
			close(sockets[i]);
		else
			error = take_class(l, i, sockets[i]);
	}
	return error;
}

/* How many of these are sockets: a page of the right size lies at its place behind them. 0: it can't be told. */
static unsigned count_sockets(const int *fds, unsigned count)
{
	for (unsigned sockets = 1; sockets <= CHANNEL_CLASSES && sockets + GIFTS <= count; sockets++) {
		unsigned rest = count - sockets;
		struct stat st;

		if (rest <= GIFTS_MAX && !fstat(fds[sockets + GIFT_PAGE], &st) &&
		    st.st_size == sizeof(struct engine_page))
			return sockets;
	}
	return 0;
}

/* 0: the lane is whole. */
static int take_gifts(struct keeper_lane *l, const int *fds, unsigned count)
{
	unsigned sockets = count_sockets(fds, count), rest = count - sockets;
	int gift[GIFTS_MAX], error;

	if (!sockets) {
		close_all(fds, count);
		return -EPROTO;
	}
	memset(gift, -1, sizeof(gift));
	memcpy(gift, fds + sockets, rest * sizeof(*gift));
	error = keeper_make_lane(l, fds, sockets, gift);
	if (error)
		close_all(gift + GIFTS, rest - GIFTS); /* the inspector's */
	else if (rest > GIFTS)
		take_inspector(l, gift);
	return error;
}

bool keeper_take_over(struct keeper *k, struct keeper_lane *l, uint16_t number)
{
	int fds[CHANNEL_CLASSES + GIFTS_MAX];
	struct sockaddr_un a;
	unsigned count;

	if (lane_address(k, number, &a))
		return false;
	l->engine_socket = knock(&a, fds, &count);
	if (l->engine_socket < 0)
		return false;
	if (take_gifts(l, fds, count)) {
		log_line("queue %u: taking over: the engine is of another version; it settles what is held and "
			 "leaves",
			 number);
		keeper_close_lane(l);
		return false;
	}
	l->number = number;
	keeper_adopt_poison(l);
	log_line("queue %u: taken over from a keeper that is dead: engine %d%s", number, l->engine.pid,
		 l->seat.process.pid ? ", its inspector and what is held" : " and what is held");
	return true;
}
