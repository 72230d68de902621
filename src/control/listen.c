/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's name: see server.h. Runs in the keeper and in commands that look for it; reads nothing from
 * anybody.
 */
#include "control/server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

const char *control_default_path(char *buf, size_t size)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() != 0 && dir && *dir)
		snprintf(buf, size, "%s/spillway/control", dir);
	else
		snprintf(buf, size, "/run/spillway/control");
	return buf;
}

/* True where somebody accepts connections at this name. */
static bool alive(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

/* The default place's own directory; any other is the user's business. */
static void make_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash && slash - dir >= 9 && !strncmp(slash - 9, "/spillway", 9)) {
		*slash = '\0';
		(void)mkdir(dir, 0755);
	}
}

static int bind_and_listen(int fd, const struct sockaddr_un *a)
{
	mode_t mask = umask(0177);
	int error = bind(fd, (const struct sockaddr *)a, sizeof(*a)) || listen(fd, BACKLOG) ? -errno : 0;

	umask(mask);
	return error;
}

int control_listen(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat st;
	int fd, error;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	make_directory(path);
	if (!lstat(path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return -ENOTSOCK;
		if (alive(&a))
			return -EADDRINUSE;
		(void)unlink(path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	error = bind_and_listen(fd, &a);
	if (!error)
		return fd;
	close(fd);
	return error;
}

const char *control_in_the_way(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		return "something";
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return "a plain file";
	case S_IFDIR:
		return "a directory";
	case S_IFLNK:
		return "a symbolic link";
	case S_IFIFO:
		return "a pipe";
	default:
		return "a device";
	}
}

void control_unlist(const char *path)
{
	(void)unlink(path);
}
