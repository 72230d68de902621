/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting the lane's processes: see spawn.h. The child between fork and exec; the keeper before and after.
 */
#include "keeper/spawn.h"

#include "engine/engine.h"
#include "keeper/board.h"
#include "keeper/isolation.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

_Static_assert(ENGINE_FD_SOCKET >= SPAWN_PLACES_FIRST && ENGINE_FD_GATE_END <= SPAWN_PLACES_END, "an engine's do");
_Static_assert(INSPECTOR_FD_FIRST >= SPAWN_PLACES_FIRST && INSPECTOR_FD_END <= SPAWN_PLACES_END, "an inspector's do");
_Static_assert(CONTROL_FD_LISTENER >= SPAWN_PLACES_FIRST && CONTROL_FD_END <= SPAWN_PLACES_END, "control's do");

/* The same descriptor where none is placed: with many lanes, the caller's own reach up there. -1 and errno. */
static int out_of_the_way(int fd)
{
	return fd < SPAWN_PLACES_FIRST || fd >= SPAWN_PLACES_END ? fd : fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_PLACES_END);
}

static int place_descriptors(const struct spawn *s, int *exe)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), from[SPAWN_FDS];

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return -errno;
	*exe = fcntl(s->exe, F_DUPFD_CLOEXEC, SPAWN_PLACES_END);
	for (unsigned i = 0; i < s->fd_count; i++) {
		from[i] = out_of_the_way(s->fds[i].from);
		if (from[i] < 0 || *exe < 0)
			return -errno;
	}
	for (unsigned i = 0; i < s->fd_count; i++)
		if (dup2(from[i], s->fds[i].to) < 0)
			return -errno;
	/* What is to come needs some, and may soon have none above. Before Linux 5.9 they stay until exec. */
	(void)close_range(STDERR_FILENO + 1, SPAWN_PLACES_FIRST - 1, 0);
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
	signal(SIGPIPE, SIG_IGN); /* nobody dies of a log whose reader has gone, */
	signal(SIGXFSZ, SIG_IGN); /* or that has reached its size */
}

static const char *const role_names[] = {
    [SPAWN_ENGINE] = "engine", [SPAWN_INSPECTOR] = "inspector", [SPAWN_CONTROL] = "control process"};

static int isolate(const struct spawn *s)
{
	switch (s->role) {
	case SPAWN_ENGINE:
		return isolate_engine();
	case SPAWN_CONTROL:
		return isolate_control();
	default:
		return isolate_inspector(s->memory);
	}
}

/* The keeper's limit may be a large one; an inspector's is smaller already. */
static int limit_descriptors(const struct spawn *s)
{
	const struct rlimit l = {.rlim_cur = SPAWN_PLACES_END, .rlim_max = SPAWN_PLACES_END};

	return s->role == SPAWN_INSPECTOR || !setrlimit(RLIMIT_NOFILE, &l) ? 0 : -errno;
}

/* Where it can't be had, the process runs anywhere: slower, not wrong. */
static void pin(int cpu)
{
	cpu_set_t may, one;
	int seen = 0;

	if (cpu < 0 || sched_getaffinity(0, sizeof(may), &may) || !CPU_COUNT(&may))
		return;
	cpu %= CPU_COUNT(&may);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &may) || seen++ != cpu)
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		(void)sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void run_child(const struct spawn *s)
{
	const char *what = "descriptors";
	int exe = -1, error = place_descriptors(s, &exe);

	pin(s->cpu);
	if (!error) {
		what = "dropping privileges";
		error = isolate(s);
	}
	if (!error) {
		what = "limit on descriptors";
		error = limit_descriptors(s);
	}
	if (!error && s->env && putenv((char *)s->env)) {
		what = "environment";
		error = -ENOMEM;
	}
	if (!error) {
		what = s->path;
		child_signals(s);
		syscall(SYS_execveat, exe, "", s->argv, environ, AT_EMPTY_PATH);
		/* A script's interpreter can't open what closes on exec. */
		if (errno == ENOENT)
			execve(s->path, s->argv, environ);
		error = -errno;
	}
	if (s->role == SPAWN_INSPECTOR && what == s->path && error == -EACCES)
		log_line("starting the inspector: %s: %s; let the user that inspectors run as (spillway, else nobody) "
			 "execute it",
			 what, strerror(-error));
	else
		log_line("starting the %s: %s: %s; it ends", role_names[s->role], what, strerror(-error));
	_exit(126);
}

/* Like fork(), in namespaces by `flags`; the pidfd comes with it. -1 and errno. */
static pid_t clone_process(uint64_t flags, uint64_t signal, int *pidfd)
{
	struct clone_args a = {.flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)pidfd, .exit_signal = signal};

	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

/* A child that could not be seen after: nobody shall know of it later. */
static int give_up(pid_t pid, int *pidfd, int error)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (*pidfd >= 0)
		close(*pidfd);
	*pidfd = -1;
	return error;
}

static pid_t start_child(const struct spawn *s, int *pidfd)
{
	pid_t pid = clone_process(0, SIGCHLD, pidfd);
	bool forked = pid < 0;

	if (forked) /* before 5.3, or a container whose filter can't look into clone3 */
		pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		run_child(s);
	if (forked)
		*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return *pidfd < 0 ? give_up(pid, pidfd, -errno) : pid;
}

/* The inspector, as its process 1 sees it: the first that is started there. */
#define FIRST_PID 2

/*
 * Process 1 of an inspector's namespace. Holds nothing but the inspector's pidfd, and has no more rights than it. When
 * this one ends, the kernel kills the inspector.
 */
static _Noreturn void be_process_1(int started)
{
	struct pollfd inspector = {.fd = STDERR_FILENO, .events = POLLIN};
	char c;

	prctl(PR_SET_NAME, "spillway-pid1");
	prctl(PR_SET_DUMPABLE, 0); /* a copy of the caller: not to be read by the inspector */
	if (dup2(started, STDIN_FILENO) < 0 || close_range(STDIN_FILENO + 1, ~0U, 0))
		_exit(1);
	if (read(STDIN_FILENO, &c, 1) != 1 || dup2((int)syscall(SYS_pidfd_open, FIRST_PID, 0), STDERR_FILENO) < 0 ||
	    close_range(STDERR_FILENO + 1, ~0U, 0) || isolate_process_1())
		_exit(1);
	while (poll(&inspector, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

/* The caller's next child will be in a new process namespace. -1: it won't. *tell: a byte there when it has started. */
static int enter_own_processes(int *tell)
{
	int started[2], pidfd = -1, error = -1;
	pid_t pid;

	/* Nothing to close up there: asks whether process 1 will be able to let go of all that it inherits. */
	if (close_range(~0U, ~0U, 0) || pipe2(started, O_CLOEXEC))
		return -1;
	/* No exit signal: it is not waited for like the caller's other children, see reap_processes_1(). */
	pid = clone_process(CLONE_NEWPID, 0, &pidfd);
	if (!pid)
		be_process_1(started[0]);
	close(started[0]);
	*tell = started[1];
	if (pid > 0) {
		error = setns(pidfd, CLONE_NEWPID);
		close(pidfd);
	}
	if (error)
		close(*tell);
	return error;
}

static void reap_processes_1(void)
{
	while (waitpid(-1, NULL, __WCLONE | WNOHANG) > 0)
		;
}

static pid_t start_inspector(const struct spawn *s, int *pidfd)
{
	int home = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), tell, error = 0;
	pid_t pid;

	if (home < 0 || enter_own_processes(&tell)) {
		close(home);
		return start_child(s, pidfd);
	}
	pid = start_child(s, pidfd);
	if (setns(home, CLONE_NEWPID) || (pid > 0 && write(tell, "", 1) != 1))
		error = -errno;
	close(tell); /* with no byte in it: process 1 leaves, and takes the inspector with it */
	close(home);
	return error && pid > 0 ? give_up(pid, pidfd, error) : pid;
}

pid_t spawn_process(const struct spawn *s, int *pidfd)
{
	reap_processes_1();
	return s->role == SPAWN_INSPECTOR ? start_inspector(s, pidfd) : start_child(s, pidfd);
}
