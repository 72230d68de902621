/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control process's stages and the engine's filter, in children: what they must be able to do works, what they must
 * not fails; and counting filters from outside.
 */
#include "unit.h"

#include "engine/internal.h"
#include "keeper/isolation.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a function in a child that is isolated first; returns the line of its first wrong fact, or 0. */
static int isolated_by(int (*isolate)(void), int (*f)(int), int fd)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int error = isolate();

		_exit(error ? 255 : f(fd));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int isolated(int (*f)(int), int fd)
{
	return isolated_by(isolate_control, f, fd);
}

#define WANT(fact)                                                                                                     \
	do {                                                                                                           \
		if (!(fact))                                                                                           \
			return __LINE__;                                                                               \
	} while (0)

static int refused(int unused)
{
	(void)unused;
	WANT(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM);
	WANT(open("/tmp/spillway-unit", O_CREAT | O_WRONLY, 0600) < 0 && errno == EPERM);
	WANT(open("/dev/null", O_RDWR) < 0 && errno == EPERM);
	WANT(open("/dev/null", O_RDONLY) >= 0);
	WANT(unlink("/tmp/spillway-unit") < 0 && errno == EPERM);
	WANT(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0 && errno == EPERM);
	WANT(kill(1, 0) < 0 && errno == EPERM);
	WANT(setuid(0) < 0 || geteuid() == getuid());
	return 0;
}

static int answers_client(int listener)
{
	char c;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	WANT(fd >= 0);
	WANT(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && peer.pid == getppid());
	WANT(recv(fd, &c, 1, 0) == 1 && c == 'q');
	WANT(send(fd, "a", 1, MSG_NOSIGNAL) == 1);
	return 0;
}

static int maps_page(int page)
{
	const char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, page, 0);

	WANT(p != MAP_FAILED && *p == 'p');
	return 0;
}

static void control_may_not(void **state)
{
	(void)state;
	assert_int_equal(isolated(refused, -1), 0);
}

static void control_accepts(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	char c = 0;

	(void)state;
	/* An abstract name that the kernel chooses. */
	assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
	len = sizeof(a);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&a, len), 0);
	assert_int_equal(send(client, "q", 1, 0), 1);
	assert_int_equal(isolated(answers_client, listener), 0);
	assert_int_equal(recv(client, &c, 1, 0), 1);
	assert_int_equal(c, 'a');
	close(client);
	close(listener);
}

static void control_reads_pages(void **state)
{
	int page = memfd_create("unit", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(page, "p", 1), 1);
	assert_int_equal(ftruncate(page, 4096), 0);
	assert_int_equal(isolated(maps_page, page), 0);
	close(page);
}

#define REFUSED(call) WANT((call) < 0 && errno == EPERM)

static int refused_to_engine(int fd)
{
	char *const none[] = {NULL};
	const int big = 1 << 20;
	pid_t self = getpid();

	REFUSED(socket(AF_INET, SOCK_DGRAM, 0));
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
	REFUSED(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	REFUSED(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)));
	REFUSED(setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &big, sizeof(big)));
	REFUSED(open("/dev/null", O_RDONLY));
	REFUSED(unlink("/tmp/spillway-unit"));
	REFUSED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	REFUSED(execve("/bin/true", none, none));
	REFUSED(kill(getppid(), 0));
	REFUSED(syscall(SYS_tgkill, getppid(), getppid(), 0));
	REFUSED(syscall(SYS_pidfd_open, getppid(), 0));
	REFUSED(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	REFUSED(write(fd, "", 1));
	REFUSED(setuid(0));
	WANT(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
	     errno == EPERM);
	REFUSED(mprotect((void *)((uintptr_t)&refused_to_engine & ~(uintptr_t)4095), 4096, PROT_READ | PROT_EXEC));
	WANT(syscall(SYS_tgkill, self, self, 0) == 0);
	return 0;
}

static int left_to_engine(int page)
{
	const struct timeval limit = {.tv_sec = 1};
	const int on = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	WANT(fd >= 0);
	WANT(!setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on)));
	WANT(!setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)));
	WANT(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	WANT(syscall(SYS_pidfd_open, getpid(), 0) >= 0);
	WANT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0) != MAP_FAILED);
	WANT(write(STDERR_FILENO, "", 0) == 0);
	return 0;
}

/* Asked in a child: the filter is for good. */
static bool no_engine_filter(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(engine_filter() == -EOPNOTSUPP);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void engine_may_not(void **state)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	(void)state;
	if (no_engine_filter())
		skip();
	assert_int_equal(isolated_by(engine_filter, refused_to_engine, fd), 0);
	close(fd);
}

static void engine_may(void **state)
{
	int page = memfd_create("unit", MFD_CLOEXEC);

	(void)state;
	if (no_engine_filter())
		skip();
	assert_int_equal(ftruncate(page, 4096), 0);
	assert_int_equal(isolated_by(engine_filter, left_to_engine, page), 0);
	close(page);
}

static void filters_are_counted(void **state)
{
	int ready[2], own = isolation_filters(getpid());
	char c;
	pid_t pid;

	(void)state;
	if (own == -ENODATA)
		skip();
	assert_int_equal(own, 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		c = isolate_control() ? 'n' : 'y';
		(void)!write(ready[1], &c, 1);
		pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(c, 'y');
	assert_int_equal(isolation_filters(pid), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(isolation_filters(pid), -ENOENT);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(control_may_not), cmocka_unit_test(control_accepts), cmocka_unit_test(control_reads_pages),
	    cmocka_unit_test(engine_may_not),  cmocka_unit_test(engine_may),      cmocka_unit_test(filters_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
