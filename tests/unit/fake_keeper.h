/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A keeper for tests of the control process: makes its pages and sockets, starts it, and answers by the test's word.
 */
#ifndef SPW_TESTS_FAKE_KEEPER_H
#define SPW_TESTS_FAKE_KEEPER_H

#include "control/pages.h"
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAKE_LANES 2

struct fake {
	char directory[64], path[80];
	struct board *board;
	struct engine_page *page[FAKE_LANES];
	int listener, keeper, log; /* log: what control says on stderr */
	int board_fd, page_fd[FAKE_LANES];
	pid_t control;
};

static inline void *fake_page(size_t size, int *fd)
{
	void *p;

	*fd = memfd_create("page", MFD_CLOEXEC);
	assert_int_equal(ftruncate(*fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* A board of two lanes: queue 0 and its class 10; queue 1. */
static inline void fake_pages(struct fake *f)
{
	f->board = fake_page(sizeof(*f->board), &f->board_fd);
	f->board->version = BOARD_VERSION;
	f->board->keeper_pid = 4711;
	f->board->lanes = FAKE_LANES;
	for (unsigned i = 0; i < FAKE_LANES; i++) {
		struct engine_page *p = fake_page(sizeof(*p), &f->page_fd[i]);
		const struct lane_config config = {.length = 60000, .fail_open = true, .gso = true};

		f->page[i] = p;
		f->board->lane[i].lane = (uint16_t)i;
		p->version = ENGINE_PAGE_VERSION;
		p->classes = p->snapshot[0].classes = i ? 1 : 2;
		p->queue[0] = (uint16_t)i;
		p->queue[1] = 10;
		for (unsigned k = 0; k < p->classes; k++)
			lane_class_init(&p->snapshot[0].class[k], &config, 1000000000);
	}
}

static inline void fake_unmap(struct fake *f)
{
	munmap(f->board, sizeof(*f->board));
	close(f->board_fd);
	for (unsigned i = 0; i < FAKE_LANES; i++) {
		munmap(f->page[i], sizeof(*f->page[i]));
		close(f->page_fd[i]);
	}
}

static inline void fake_place(int from, int to)
{
	if (dup2(from, to) < 0)
		_exit(125);
}

static inline void fake_child(const struct fake *f, int keeper, int log, rlim_t descriptors)
{
	struct rlimit l = {.rlim_cur = descriptors, .rlim_max = descriptors};

	fake_place(f->listener, CONTROL_FD_LISTENER);
	fake_place(keeper, CONTROL_FD_KEEPER);
	fake_place(f->board_fd, CONTROL_FD_BOARD);
	for (unsigned i = 0; i < FAKE_LANES; i++)
		fake_place(f->page_fd[i], CONTROL_FD_PAGE + (int)i);
	fake_place(log, STDERR_FILENO);
	for (int fd = 3; fd < CONTROL_FD_LISTENER; fd++)
		close(fd);
	/* Limits this low leave few descriptors beside those that poll() may be given at all. */
	for (rlim_t fd = 3; descriptors && fd < descriptors - 8; fd++)
		fake_place(STDIN_FILENO, (int)fd);
	if (descriptors)
		setrlimit(RLIMIT_NOFILE, &l);
	exit(control_main());
}

/* `descriptors`: limit of the control process; 0: none. `owner`: the keeper's user. */
static inline void fake_start(struct fake *f, rlim_t descriptors, uid_t owner)
{
	int pair[2], log[2];

	fake_pages(f);
	snprintf(f->directory, sizeof(f->directory), "/tmp/spillway-test-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/control", f->directory);
	f->listener = control_listen(f->path);
	assert_true(f->listener >= 0);
	assert_int_equal(seteuid(owner), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(seteuid(getuid()), 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	fflush(NULL);
	f->control = fork();
	if (!f->control)
		fake_child(f, pair[1], log[1], descriptors);
	close(pair[1]);
	close(log[1]);
	f->keeper = pair[0];
	f->log = log[0];
}

/* Closes the keeper's end; returns the exit status of the control process. */
static inline int fake_stop(struct fake *f)
{
	int status;

	close(f->keeper);
	assert_int_equal(waitpid(f->control, &status, 0), f->control);
	control_unlist(f->path);
	assert_int_equal(rmdir(f->directory), 0);
	close(f->listener);
	close(f->log);
	fake_unmap(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline int fake_connect(const struct fake *f)
{
	const struct timeval limit = {.tv_sec = 20};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, f->path, sizeof(f->path));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static inline int fake_send(const struct fake *f, const char *bytes, size_t len)
{
	int fd = fake_connect(f);

	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
	return fd;
}

static inline int fake_say(const struct fake *f, const char *line)
{
	return fake_send(f, line, strlen(line));
}

/* All that comes until the end; closes. "" where there was nothing or the connection broke. */
static inline const char *fake_hear(int fd)
{
	static char reply[1 << 16];
	size_t used = 0;
	ssize_t n;

	while ((n = recv(fd, reply + used, sizeof(reply) - 1 - used, 0)) > 0)
		used += (size_t)n;
	close(fd);
	reply[n < 0 ? 0 : used] = '\0';
	return reply;
}

/* What the control process asks for next. */
static inline struct ask fake_asked(const struct fake *f)
{
	struct pollfd p = {.fd = f->keeper, .events = POLLIN};
	struct ask a;

	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(recv(f->keeper, &a, sizeof(a), 0), sizeof(a));
	return a;
}

static inline void fake_reply(const struct fake *f, uint32_t number, int exit_status, const char *text)
{
	struct ask_reply r = {.number = number, .exit = exit_status};

	snprintf(r.text, sizeof(r.text), "%s", text);
	assert_int_equal(send(f->keeper, &r, sizeof(r), 0), sizeof(r));
}

#endif
