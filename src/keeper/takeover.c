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
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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
	mode_t mask;
	int error = lane_address(k, l->number, &a);

	if (error)
		return error;
	(void)unlink(a.sun_path);
	l->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0177);
	if (l->listener < 0 || bind(l->listener, (const struct sockaddr *)&a, sizeof(a)) || listen(l->listener, 1))
		error = -errno;
	umask(mask);
	return error;
}

void keeper_unlist(struct keeper *k, const struct keeper_lane *l)
{
	struct sockaddr_un a;

	if (l->listener >= 0 && !lane_address(k, l->number, &a))
		(void)unlink(a.sun_path);
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

	*count = 0;
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) || send(fd, &k, sizeof(k), MSG_NOSIGNAL) != sizeof(k) ||
	    recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) != sizeof(k) || k.magic != ENGINE_KNOCK_MAGIC) {
		close(fd);
		return -1;
	}
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), *count * sizeof(int));
	}
	return fd;
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

static struct keeper_process adopted(int pidfd)
{
	return (struct keeper_process){.pid = pid_of(pidfd), .pidfd = pidfd, .adopted = true, .started_ns = clock_ns()};
}

static void *map(int fd, size_t size)
{
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) || st.st_size != (off_t)size)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void take_inspector(struct keeper_lane *l, const int *gift)
{
	struct lane lane;

	engine_snapshot(l->page, &lane);
	l->seat = (struct keeper_seat){.answers_fd = gift[GIFT_ANSWERS],
				       .answers = map(gift[GIFT_ANSWERS], sizeof(*l->seat.answers)),
				       .number = l->page->inspectors,
				       .process = adopted(gift[GIFT_INSPECTOR])};
	/* Between two of them, the one that is active is meant. */
	if (lane.inspector)
		l->seat.number = lane.inspector;
	l->was_ready = true;
	if (!l->seat.answers)
		keeper_clear_seat(&l->seat);
}

/* 0: the lane is whole. */
static int take_gifts(struct keeper_lane *l, const int *fds, unsigned count)
{
	unsigned rest, sockets;
	int error = 0;

	l->page = NULL;
	for (sockets = 1; sockets <= CHANNEL_CLASSES && !l->page; sockets++) {
		rest = count - sockets;
		if (count > sockets && (rest == GIFTS || rest == GIFTS_MAX))
			l->page = map(fds[sockets + GIFT_PAGE], sizeof(*l->page));
		if (l->page)
			break;
	}
	if (!l->page || l->page->version != ENGINE_PAGE_VERSION || l->page->classes != sockets)
		return -EPROTO;
	l->classes = sockets;
	const int *gift = fds + sockets;
	l->proc_fd = gift[GIFT_PROC];
	l->page_fd = gift[GIFT_PAGE];
	l->state_fd = gift[GIFT_STATE];
	l->state_read_fd = gift[GIFT_STATE_READ];
	l->bell = gift[GIFT_BELL];
	l->wake = gift[GIFT_WAKE];
	l->lease = gift[GIFT_LEASE];
	l->lease_read = gift[GIFT_LEASE_READ];
	l->listener = gift[GIFT_LISTENER];
	l->engine = adopted(gift[GIFT_ENGINE]);
	for (unsigned i = 0; i < sockets && !error; i++)
		error = spw_queue_adopt(&l->queue[i], l->page->queue[i], fds[i], fcntl(l->proc_fd, F_DUPFD_CLOEXEC, 0),
					&l->page->config[i]);
	if (!error && count - sockets == GIFTS_MAX)
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
	log_line("queue %u: taken over from a keeper that is dead: engine %d%s", number, l->engine.pid,
		 l->seat.process.pid ? ", its inspector and what is held" : " and what is held");
	return true;
}
