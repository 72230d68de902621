/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control process's stages, in children: what it must be able to do works, what it must not fails; and counting
 * filters from outside.
 */
#include "unit.h"

#include "keeper/isolation.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a function in a child that is isolated first; returns the line of its first wrong fact, or 0. */
static int isolated(int (*f)(int), int fd)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int error = isolate_control();

		_exit(error ? 255 : f(fd));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
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
	    cmocka_unit_test(control_may_not),
	    cmocka_unit_test(control_accepts),
	    cmocka_unit_test(control_reads_pages),
	    cmocka_unit_test(filters_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
