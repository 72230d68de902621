/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting the lane's processes: which descriptors a child is born with, what it may still do, what it executes.
 */
#ifndef SPW_KEEPER_SPAWN_H
#define SPW_KEEPER_SPAWN_H

#include <sys/types.h>

/* Descriptors that an inspector is born with; an engine's are in engine/engine.h, control's in keeper/board.h. */
enum inspector_fd {
	INSPECTOR_FD_FIRST = 640,
	INSPECTOR_FD_BELL = INSPECTOR_FD_FIRST,
	INSPECTOR_FD_ANSWERS,
	INSPECTOR_FD_STATE,
	INSPECTOR_FD_PLUGIN,
	INSPECTOR_FD_GUARDED = 648,
	INSPECTOR_FD_LEASE = INSPECTOR_FD_GUARDED,
	INSPECTOR_FD_WAKE,
	INSPECTOR_FD_SOCKET = 656,
	INSPECTOR_FD_END = 680,
};

struct spawn_fd {
	int from, to;
};

enum spawn_role { SPAWN_ENGINE, SPAWN_INSPECTOR, SPAWN_CONTROL };

struct spawn {
	enum spawn_role role;
	int exe;          /* what to execute, open with O_PATH */
	const char *path; /* its name, for a script, whose interpreter opens it anew */
	char *const *argv;
	const char *env;            /* one more NAME=VALUE, or NULL */
	const struct spawn_fd *fds; /* all that it gets beside 0, 1 and 2 */
	unsigned fd_count;
};

/*
 * Forks, lets go of privileges by role (see isolation.h), executes. *pidfd becomes readable when it ends.
 * Returns the pid, or a negative errno. What fails in the child is told on stderr, and the child exits with 126.
 */
pid_t spawn_process(const struct spawn *s, int *pidfd);

#endif
