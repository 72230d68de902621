/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trying things apart: see scratch.h.
 */
#include "doctor/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_SECONDS 20

static int write_file(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	const ssize_t len = (ssize_t)strlen(text);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)len) != len)
		err = -errno;
	close(fd);
	return err;
}

/* An ordinary user becomes root of a user namespace. Mapped before the network namespace is made: files below /proc/net
 * belong to whoever was mapped then. */
static int become_root(void)
{
	const unsigned uid = geteuid(), gid = getegid();
	char map[32];
	int err;

	if (unshare(CLONE_NEWUSER))
		return -errno;
	(void)write_file("/proc/self/setgroups", "deny"); /* missing before 3.19 */
	snprintf(map, sizeof(map), "0 %u 1", uid);
	err = write_file("/proc/self/uid_map", map);
	if (err)
		return err;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

static int loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	request.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		err = -errno;
	close(fd);
	return err;
}

static int enter(void)
{
	int err = 0;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS)) {
		if (errno != EPERM)
			return -errno;
		err = become_root();
		if (!err && unshare(CLONE_NEWNET | CLONE_NEWNS))
			err = -errno;
	}
	if (err)
		return err;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("scratch", "/run", "tmpfs", MS_NOSUID, "mode=755"))
		return -errno;
	return loopback_up();
}

/* In the child: the errno of entering first, then the result. */
__attribute__((noreturn)) static void child(scratch_fn fn, void *result, size_t size, int out)
{
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(LIMIT_SECONDS);
	err = enter();
	if (!err)
		fn(result);
	if (write(out, &err, sizeof(err)) != sizeof(err) || (!err && write(out, result, size) != (ssize_t)size))
		_exit(1);
	_exit(0);
}

/* What the child has written; -ECHILD: not all of it. Writes of this size come whole. */
static int take(int in, void *result, size_t size)
{
	char copy[4096];
	int err;

	if (size > sizeof(copy) || read(in, &err, sizeof(err)) != sizeof(err))
		return -ECHILD;
	if (err)
		return err;
	if (read(in, copy, size) != (ssize_t)size)
		return -ECHILD;
	memcpy(result, copy, size);
	return 0;
}

int scratch_run(scratch_fn fn, void *result, size_t size)
{
	int pipes[2], err;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid)
		child(fn, result, size, pipes[1]);
	err = pid < 0 ? -errno : 0;
	close(pipes[1]);
	if (!err)
		err = take(pipes[0], result, size);
	close(pipes[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err;
}
