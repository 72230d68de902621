/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: holds every descriptor and page, starts a lane's engine and inspector, and another one when they die or
 * hang. Parses neither packets nor text.
 */
#ifndef SPW_KEEPER_KEEPER_H
#define SPW_KEEPER_KEEPER_H

#include "engine/engine.h"
#include "keeper/board.h"
#include "keeper/notify.h"
#include "nfqueue/counter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KEEPER_TEXT       512
#define KEEPER_SUSPECTS   64u /* flows remembered for a death each, a lane */
#define KEEPER_FDS_A_LANE 4u

enum keeper_inspector { INSPECT_BUILTIN, INSPECT_PLUGIN, INSPECT_EXEC };

struct keeper_config {
	uint16_t first, last; /* queue numbers of the first class, a lane each */
	uint32_t classes;
	uint16_t queue[CHANNEL_CLASSES]; /* of the first lane; each further lane's are one higher */
	struct lane_config class[CHANNEL_CLASSES];
	bool breaker, report_only;
	uint64_t hung_ns;   /* 0: off */
	uint64_t busy_ns;   /* busy polling; 0: off */
	uint64_t orphan_ns; /* how long an engine waits for a new keeper */
	enum keeper_inspector kind;
	const char *inspect; /* "accept", "delay=50000000" (nanoseconds), or a file */
	bool gate;
	uint32_t flows;      /* in each of its tables */
	uint64_t cutoff;     /* bytes of a flow from which on it may be shed */
	const char *control; /* the control socket's path; a lane's own is this and ".lane-N" */
	char *const *argv;   /* of this program: its next version is started with the same */
};

struct keeper_process {
	pid_t pid; /* 0: none */
	int pidfd;
	bool adopted; /* another's child: how it ends is not told to us */
	int status;   /* of waitpid(), once it has ended; -1: not known */
	uint64_t started_ns;
};

/* An inspector and the page that is its alone. */
struct keeper_seat {
	struct keeper_process process;
	uint32_t number;
	int answers_fd; /* -1: nobody sits here */
	struct channel_answers *answers;
};

/* What a process did since it was first suspected to hang. */
struct keeper_watch {
	uint64_t since_ns; /* 0: not suspected */
	uint64_t cpu_ns, waited_ns;
};

/* A flow whose packet was in hand when an inspector died by its own fault. */
struct keeper_suspect {
	uint64_t flow, until_ns;
	unsigned deaths;
};

/* One lane as the keeper holds it. */
struct keeper_lane {
	uint16_t number;
	unsigned classes;
	struct spw_queue *queue[CHANNEL_CLASSES];
	struct engine_page *page;
	int proc_fd, page_fd, state_fd, state_read_fd, bell, wake, lease, lease_read, listener, engine_socket;
	struct keeper_process engine;
	struct keeper_seat seat, next; /* the present inspector; one that stands ready to take its place */
	bool gone;                     /* the present one is dead, and the engine has not been told yet */
	enum lane_reason gone_reason;
	bool untold;                              /* the engine does not know the present one yet */
	bool was_ready;                           /* some inspector of this lane has been */
	uint32_t engine_deaths, inspector_deaths; /* in a row, soon after the start */
	uint64_t engine_at_ns, inspector_at_ns;   /* not before then is the next one started */
	struct keeper_watch engine_watch, inspector_watch;
	struct keeper_suspect suspect[KEEPER_SUSPECTS];
	int64_t buffer[CHANNEL_CLASSES];   /* bytes of socket buffer got */
	struct gate gate[CHANNEL_CLASSES]; /* page NULL: none */
	uint64_t gates_made;               /* a bit for each that this process has loaded and pinned */
	uint32_t requests;                 /* sent to the engine so far */
	uint64_t silent_ns;                /* it has not answered the last one since then; 0: it has */
	bool engine_loops;                 /* each one dies soon */
	bool stood_in;                     /* since the last one, packets go by policy without one */
	bool poison_untold;                /* the engine may not know yet which suspects are poison */
	enum lane_state told_state[CHANNEL_CLASSES];
	uint64_t told_lost[CHANNEL_CLASSES];
	uint64_t counted[CHANNEL_CLASSES]; /* what the rule's counter said last */
	uint64_t decided[CHANNEL_CLASSES]; /* by the gate, at the last reading; UINT64_MAX: none yet */
	uint64_t came[CHANNEL_CLASSES];    /* since then: to the queue and the rules' counter */
	bool round[CHANNEL_CLASSES];       /* more come there, and none to the gate */
};

#define KEEPER_ASKS 8u /* of control's requests at a time */

/* A request that waits for an engine. */
struct keeper_pending {
	struct ask ask;
	uint64_t until_ns; /* then it is told that it could not be done; 0: none */
};

struct keeper_control {
	struct keeper_process process;
	int socket;                  /* SOCK_SEQPACKET: struct ask comes, struct ask_reply goes; -1: none */
	uint64_t asked_ns, heard_ns; /* whether it is there; that it is */
	struct keeper_watch watch;
	struct keeper_pending pending[KEEPER_ASKS];
};

/* A change of programs under way: see upgrade.c. */
enum keeper_phase {
	UPGRADE_NONE,
	UPGRADE_ENGINES, /* to be replaced */
	UPGRADE_READY,   /* new inspectors are getting ready beside the old ones */
	UPGRADE_LEAVING, /* old inspectors finish what they have in hand */
	UPGRADE_DONE,
};

struct keeper_upgrade {
	enum keeper_phase phase;
	uint32_t number; /* of the request */
	uint64_t until_ns;
	int old_exe, old_plugin; /* the way back; -1: none */
	bool back;               /* this is the old program again */
	char why[KEEPER_TEXT];
};

/* A descriptor of a lane, as it is named at the service manager: see store.c. */
enum keeper_stored_what { STORED_QUEUE, STORED_PAGE, STORED_ENGINE, STORED_ANSWERS, STORED_INSPECTOR, STORED_KINDS };

struct keeper_stored {
	uint16_t lane;
	uint8_t what;    /* enum keeper_stored_what */
	bool stale;      /* the manager is to give it up, whatever has the same name now */
	uint32_t number; /* of the queue, layout, process or inspector */
	int fd;          /* passed to this run and not yet used; -1 */
};

#define KEEPER_STORED 1024u /* at most; packaging/spillway.service.in says the same */

/* What the service manager knows of us, as far as we were able to tell. */
struct keeper_service {
	struct notify notify;
	bool ready, stopping;
	char status[160];
	uint64_t started_ns, alive_ns; /* the last sign of life */
	unsigned stored;
	struct keeper_stored store[KEEPER_STORED];
};

#define KEEPER_LAYOUT 1u                /* of what one program hands to its next version */
#define KEEPER_RESUME "SPILLWAY_RESUME" /* environment: the descriptor of that */

struct keeper {
	struct keeper_config config;
	struct keeper_upgrade upgrade;
	struct keeper_service service;
	char path[4096]; /* where this program lay when it was started */
	struct keeper_lane lane[KEEPER_LANES];
	unsigned lanes;
	int exe, plugin; /* what is executed as a role; the plug-in or program */
	int board_fd, board_read_fd;
	struct board *board;
	struct keeper_control control, old_control; /* the latter serves who is still connected */
	uint32_t control_deaths;                    /* in a row, soon after the start */
	uint64_t control_at_ns;                     /* not before then is the next one started */
	int control_listener;
	struct spw_counter counter; /* fd -1: can't be read here */
	uint64_t count_at_ns;
	bool ends;               /* the run can't go on: k->error */
	char error[KEEPER_TEXT]; /* "what: why; what to do" of the last failure */
};

/* Exit statuses: the contract's. */
enum keeper_exit { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_PERMISSION, EXIT_KERNEL, EXIT_TAKEN };

/*
 * Binds the queues and starts engines and inspectors, or takes over what a dead keeper's engines still hold; starts the
 * control process on `listener`, a listening socket that is then the keeper's. Returns an exit status; not EXIT_DONE:
 * k->error says why, and keeper_stop() still has to be called.
 */
int keeper_start(struct keeper *k, const struct keeper_config *config, int listener);

/* The same for a program that an older one has turned into. */
int keeper_resume(struct keeper *k, const struct keeper_config *config, int handover);

/* The line by which a program tells whether it can take over from another. */
void keeper_layout(char *buf, size_t size);

/*
 * Sees after everything: deaths, restarts, hung processes, requests of control. Never waits for long. Returns the
 * milliseconds after which to call again at the latest. k->ends: the run can't go on.
 */
int keeper_tend(struct keeper *k);

/* Settles by policy all that is held, lets go of the queues, ends the children. */
void keeper_stop(struct keeper *k, enum lane_reason reason);

/*
 * Asks the engine of a queue's lane for a change. 0, or a negative errno and k->error; -ENOENT: no such queue here;
 * -EINPROGRESS, -EPIPE: the engine does not answer just now, or is being replaced: ask again.
 */
int keeper_set(struct keeper *k, uint16_t queue, enum engine_op op, uint32_t value);

/* Open files that a run of these lanes and classes needs at most, beside those that this process has open now. */
unsigned keeper_descriptors_needed(const struct keeper_config *config);

/* Descriptors to poll. Returns how many were written; at most KEEPER_FDS_A_LANE a lane and four more. */
unsigned keeper_descriptors(const struct keeper *k, int *fds);

#endif
