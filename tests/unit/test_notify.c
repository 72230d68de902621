/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's protocol: what the environment may say, messages and descriptors, a manager that does not read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keeper/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *self(void)
{
	static char text[16];

	snprintf(text, sizeof(text), "%d", getpid());
	return text;
}

/* A manager at an abstract name of its own. */
static int manager(char *address, size_t size)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address, size, "@spillway-unit-%d", getpid());
	memcpy(a.sun_path + 1, address + 1, strlen(address) - 1);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address))), 0);
	return fd;
}

static void addresses(void **state)
{
	static const char *const none[] = {"", "/", "@", "run/notify", "vsock:2:1"};
	char most[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct notify n;

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_open(&n);
	assert_int_equal(n.to_len, 0);
	assert_int_equal(notify_send(&n, -1, "READY=1"), 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		setenv("NOTIFY_SOCKET", none[i], 1);
		notify_open(&n);
		assert_int_equal(n.to_len, 0);
		assert_null(getenv("NOTIFY_SOCKET"));
	}
	memset(most, 'x', sizeof(most));
	most[0] = '/';
	most[sizeof(most) - 1] = '\0';
	setenv("NOTIFY_SOCKET", most, 1);
	notify_open(&n);
	assert_int_equal(n.to_len, 0);
	most[sizeof(most) - 2] = '\0';
	setenv("NOTIFY_SOCKET", most, 1);
	notify_open(&n);
	assert_int_equal(n.to_len, sizeof(n.to));
	assert_int_equal(notify_send(&n, -1, "READY=1"), -ENOENT);
	close(n.fd);
}

static void watchdog(void **state)
{
	struct notify n;

	(void)state;
	setenv("NOTIFY_SOCKET", "@x", 1);
	setenv("WATCHDOG_USEC", "3000000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	notify_open(&n);
	close(n.fd);
	assert_int_equal(n.watchdog_ns, 0);
	setenv("NOTIFY_SOCKET", "@x", 1);
	setenv("WATCHDOG_USEC", "3000000", 1);
	setenv("WATCHDOG_PID", self(), 1);
	notify_open(&n);
	close(n.fd);
	assert_int_equal(n.watchdog_ns, 3000000000ull);
	assert_null(getenv("WATCHDOG_USEC"));
	notify_restore(&n);
	assert_string_equal(getenv("NOTIFY_SOCKET"), "@x");
	assert_string_equal(getenv("WATCHDOG_USEC"), "3000000");
	assert_string_equal(getenv("WATCHDOG_PID"), self());
	notify_forget();
	assert_null(getenv("NOTIFY_SOCKET"));
}

static void messages(void **state)
{
	char address[64], text[600];
	int fd = manager(address, sizeof(address)), error = 0;
	struct notify n;

	(void)state;
	setenv("NOTIFY_SOCKET", address, 1);
	notify_open(&n);
	assert_int_equal(notify_send(&n, fd, "FDSTORE=1\nFDNAME=%s", "a"), 0);
	assert_int_equal(recv(fd, text, sizeof(text), 0), strlen("FDSTORE=1\nFDNAME=a"));
	/* It does not read: no waiting. */
	for (int i = 0; i < 100000 && !error; i++)
		error = notify_send(&n, -1, "READY=1");
	assert_int_equal(error, -EAGAIN);
	close(fd);
	assert_int_equal(notify_send(&n, -1, "READY=1"), -ECONNREFUSED);
	close(n.fd);
}

struct got {
	unsigned count;
	int fd[4];
	char name[4][8];
};

static void take(void *arg, int fd, const char *name)
{
	struct got *g = arg;

	g->fd[g->count] = fd;
	snprintf(g->name[g->count++], sizeof(g->name[0]), "%s", name);
}

static void received(void **state)
{
	struct got g = {0};

	(void)state;
	for (int fd = 3; fd < 6; fd++)
		assert_int_equal(dup2(STDERR_FILENO, fd), fd);
	close(4);
	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "3", 1);
	notify_received(take, &g);
	assert_int_equal(g.count, 0);
	setenv("LISTEN_PID", self(), 1);
	setenv("LISTEN_FDS", "3", 1);
	setenv("LISTEN_FDNAMES", "a:b", 1);
	notify_received(take, &g);
	assert_int_equal(g.count, 2);
	assert_int_equal(g.fd[0], 3);
	assert_string_equal(g.name[0], "a");
	assert_int_equal(g.fd[1], 5);
	assert_string_equal(g.name[1], "");
	assert_int_equal(fcntl(5, F_GETFD), FD_CLOEXEC);
	assert_null(getenv("LISTEN_FDS"));
	notify_received(take, &g);
	assert_int_equal(g.count, 2);
	close(3);
	close(5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(watchdog),
	    cmocka_unit_test(messages),
	    cmocka_unit_test(received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
