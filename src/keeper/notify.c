/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's protocol: see notify.h. Touches the environment and one socket of its own; never waits.
 */
#include "keeper/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3
#define FDS_MOST 4096

/* A path, or an abstract name behind "@". */
static void set_address(struct notify *n, const char *text)
{
	size_t len = strlen(text);

	if ((*text != '/' && *text != '@') || len < 2 || len >= sizeof(n->to.sun_path))
		return;
	memcpy(n->address, text, len + 1);
	n->to.sun_family = AF_UNIX;
	memcpy(n->to.sun_path, text, len);
	n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (*text == '@')
		n->to.sun_path[0] = '\0';
	else
		n->to_len++;
}

/* A variable that names a process is for that one alone. */
static int is_ours(const char *variable)
{
	const char *pid = getenv(variable);

	return pid && strtol(pid, NULL, 10) == getpid();
}

void notify_open(struct notify *n)
{
	const char *address = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");

	*n = (struct notify){.fd = -1};
	if (address)
		set_address(n, address);
	if (usec && (!getenv("WATCHDOG_PID") || is_ours("WATCHDOG_PID")))
		n->watchdog_ns = strtoull(usec, NULL, 10) * 1000;
	notify_forget();
	if (n->to_len)
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void notify_restore(const struct notify *n)
{
	char text[32];

	if (!n->to_len)
		return;
	setenv("NOTIFY_SOCKET", n->address, 1);
	if (!n->watchdog_ns)
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(n->watchdog_ns / 1000));
	setenv("WATCHDOG_USEC", text, 1);
	snprintf(text, sizeof(text), "%d", getpid());
	setenv("WATCHDOG_PID", text, 1);
}

void notify_forget(void)
{
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

int notify_send(const struct notify *n, int fd, const char *format, ...)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fd))] = {0};
	char text[512];
	struct iovec iov = {.iov_base = text};
	struct msghdr msg = {.msg_name = (void *)&n->to, .msg_namelen = n->to_len, .msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	va_list args;

	if (!n->to_len)
		return 0;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	iov.iov_len = strlen(text);
	if (fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(n->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void notify_received(void (*take)(void *arg, int fd, const char *name), void *arg)
{
	const char *fds = is_ours("LISTEN_PID") ? getenv("LISTEN_FDS") : NULL, *text = getenv("LISTEN_FDNAMES");
	long count = fds ? strtol(fds, NULL, 10) : 0;
	char *names = strdup(text ? text : ""), *rest = names, *name;

	for (int fd = FIRST_FD; fd < FIRST_FD + count && fd < FDS_MOST; fd++) {
		name = rest ? strsep(&rest, ":") : NULL;
		if (!fcntl(fd, F_SETFD, FD_CLOEXEC))
			take(arg, fd, name ? name : "");
	}
	free(names);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}
