/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting the lane's processes: see spawn.h. The child between fork and exec; the keeper before and after.
 */
#include "keeper/spawn.h"

#include "keeper/isolation.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int place_descriptors(const struct spawn *s)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return -errno;
	for (unsigned i = 0; i < s->fd_count; i++)
		if (dup2(s->fds[i].from, s->fds[i].to) < 0)
			return -errno;
	return 0;
}

static void child_signals(const struct spawn *s)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* What is sent to the whole group is the keeper's to handle: its children leave when it says so. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, s->role == SPAWN_ENGINE ? SIG_IGN : SIG_DFL);
	/* Who reads our log may be gone; an inspector's program expects what programs expect. */
	signal(SIGPIPE, s->role == SPAWN_INSPECTOR ? SIG_DFL : SIG_IGN);
}

static const char *const role_names[] = {
    [SPAWN_ENGINE] = "engine", [SPAWN_INSPECTOR] = "inspector", [SPAWN_CONTROL] = "control process"};

static int isolate(enum spawn_role role)
{
	return role == SPAWN_ENGINE ? isolate_engine() : isolate_inspector();
}

/*
 * When nobody holds the lease's other end any more, the kernel kills the inspector, whatever it is doing then: one that
 * hangs would hold the queue for ever, and everything in it.
 */
static int die_with_the_lease(void)
{
	const int fd = INSPECTOR_FD_LEASE;

	if (fcntl(fd, F_SETSIG, SIGKILL) || fcntl(fd, F_SETOWN, getpid()) || fcntl(fd, F_SETFL, O_ASYNC))
		return -errno;
	return 0;
}

static void run_child(const struct spawn *s)
{
	const char *what = "descriptors";
	int error = place_descriptors(s);

	if (!error && s->role == SPAWN_INSPECTOR)
		error = die_with_the_lease();
	if (!error) {
		what = "dropping privileges";
		error = isolate(s->role);
	}
	if (!error && s->env && putenv((char *)s->env)) {
		what = "environment";
		error = -ENOMEM;
	}
	if (!error) {
		what = s->path;
		child_signals(s);
		syscall(SYS_execveat, s->exe, "", s->argv, environ, AT_EMPTY_PATH);
		/* A script's interpreter can't open what closes on exec. */
		if (errno == ENOENT)
			execve(s->path, s->argv, environ);
		error = -errno;
	}
	log_line("starting the %s: %s: %s; it ends", role_names[s->role], what, strerror(-error));
	_exit(126);
}

pid_t spawn_process(const struct spawn *s, int *pidfd)
{
	pid_t pid = fork();
	int error;

	if (pid < 0)
		return -errno;
	if (!pid)
		run_child(s);
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*pidfd >= 0)
		return pid;
	/* Nobody would see after it. */
	error = -errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return error;
}
