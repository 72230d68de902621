/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: holds every descriptor and page, starts a lane's engine and inspector, notices their end. Parses no
 * packet.
 */
#ifndef SPW_KEEPER_KEEPER_H
#define SPW_KEEPER_KEEPER_H

#include "engine/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define KEEPER_LANES 32u /* at most: 13 descriptors each stay below the numbers that children are given */
#define KEEPER_TEXT  512

enum keeper_inspector { INSPECT_BUILTIN, INSPECT_PLUGIN, INSPECT_EXEC };

struct keeper_config {
	uint16_t first, last; /* queue numbers, a lane each */
	uint32_t length;
	bool fail_open, gso;
	enum keeper_inspector kind;
	const char *inspect; /* "accept", "delay=50000000" (nanoseconds), or a file */
};

struct keeper_process {
	pid_t pid; /* 0: none */
	int pidfd;
	int status; /* of waitpid(), once it has ended */
};

/* One lane as the keeper holds it. */
struct keeper_lane {
	struct spw_queue *queue;
	struct engine_page *page;
	struct channel_answers *answers; /* looked at for `ready` alone */
	int page_fd, answers_fd, state_fd, state_ro_fd, bell, engine_socket, lease_read, lease_write;
	struct keeper_process engine, inspector;
	int64_t buffer;              /* bytes of socket buffer got */
	struct timespec state_since; /* CLOCK_REALTIME, for people */
	uint32_t requests;           /* sent to the engine so far */
};

struct keeper {
	struct keeper_config config;
	struct keeper_lane lane[KEEPER_LANES];
	unsigned lanes;
	int exe, plugin;
	struct timespec since;
	char error[KEEPER_TEXT]; /* "what: why; what to do" of the last failure */
};

/* Exit statuses: the contract's. */
enum keeper_exit { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_PERMISSION, EXIT_KERNEL, EXIT_TAKEN };

/*
 * Binds the queues and starts engines and inspectors. Returns an exit status; not EXIT_DONE: k->error says why, and
 * keeper_stop() still has to be called.
 */
int keeper_start(struct keeper *k, const struct keeper_config *config);

/* True (and k->error) where an engine or inspector has ended or lied: the lane can't go on. Never waits. */
bool keeper_failed(struct keeper *k);

/* Settles by policy all that is held (reason of the lane that failed: down), lets go of the queues, ends the children.
 */
void keeper_stop(struct keeper *k);

/* Asks the lane's engine for a change. 0, or a negative errno and k->error; -ENOENT: no such queue here. */
int keeper_set(struct keeper *k, uint16_t queue, enum engine_op op, uint32_t value);

/* A copy of a class's state, whole even while the engine writes. */
void keeper_read_class(const struct keeper_lane *l, struct lane_class *copy);

/* Descriptors to poll: readable where keeper_failed() should look. Returns how many were written; at most 3 a lane. */
unsigned keeper_descriptors(const struct keeper *k, int *fds);

#endif
