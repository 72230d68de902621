/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting the lane's processes: which descriptors a child is born with, what it may still do, what it executes.
 */
#ifndef SPW_KEEPER_SPAWN_H
#define SPW_KEEPER_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Descriptors that an inspector is born with; an engine's are in engine/engine.h, control's in keeper/board.h. The
 * system call filter knows them by these numbers: it may write() to the bell alone; the guarded ones can be neither
 * duplicated nor changed.
 */
enum inspector_fd {
	INSPECTOR_FD_FIRST = 640, /* none below is inherited beside 0, 1 and 2; none at or above is opened later */
	INSPECTOR_FD_BELL = INSPECTOR_FD_FIRST,
	/* may be duplicated: mapping a page does so in Python */
	INSPECTOR_FD_ANSWERS,
	INSPECTOR_FD_STATE,
	INSPECTOR_FD_PLUGIN,
	INSPECTOR_FD_GUARDED = 648,
	INSPECTOR_FD_LEASE = INSPECTOR_FD_GUARDED,
	INSPECTOR_FD_WAKE,
	INSPECTOR_FD_SOCKET = 656, /* the classes' netlink sockets, one after the other */
	INSPECTOR_FD_END = 680,
};

#define SPAWN_FDS 64 /* at most */

/* All numbers at which children's descriptors are placed lie between these. */
#define SPAWN_PLACES_FIRST 600
#define SPAWN_PLACES_END   800

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
	int cpu;         /* to run on, of those that the caller may use, round and round; -1: any */
	uint64_t memory; /* an inspector's private memory at most, in bytes; 0: no limit */
};

/*
 * Starts a process, which lets go of privileges by role (see isolation.h) and executes. *pidfd becomes readable when it
 * ends. Returns the pid, or a negative errno. What fails in the child is told on stderr, and the child exits with 126.
 * The caller has one thread and does not ignore SIGCHLD.
 *
 * An inspector gets a process namespace where the kernel lets it. Process 1 there is a small one that does nothing but
 * keep the namespace until the inspector ends: as process 1 itself it could not die of abort() or SIGTERM. It is a
 * child of the caller, too; the next call of spawn_process() reaps those that have ended.
 */
pid_t spawn_process(const struct spawn *s, int *pidfd);

#endif
