/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Upgrading: the keeper executes its new self with the descriptors that it has; that one replaces engines, then
 * inspectors, and only then lets go of the old program. What fails before leads back to the old one. Reads no text but
 * the version line of the new program.
 */
#include "keeper/internal.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND    1000000000ull
#define LAYOUT_MS 2000
#define READY_NS  (10 * SECOND)
#define LEAVE_NS  (2 * SECOND)

extern char **environ;

struct handover_process {
	int32_t pid, pidfd, adopted;
};

struct handover_lane {
	uint32_t number, classes, requests;
	int32_t socket[CHANNEL_CLASSES];
	int32_t proc, page, state, state_read, bell, wake, lease, lease_read, listener, engine_socket, answers;
	struct handover_process engine, inspector;
	uint32_t inspector_number;
	int64_t buffer[CHANNEL_CLASSES];
	struct keeper_suspect suspect[KEEPER_SUSPECTS];
};

/* Everything that the next program needs beside its command line; in a memfd. Its version is KEEPER_LAYOUT. */
struct handover {
	uint32_t layout, lanes;
	uint32_t number; /* of the request that began it */
	uint32_t back;   /* 1: the new program has failed, this is the old one again */
	int32_t exe;     /* of the program that ran before, */
	int32_t plugin;  /* and its plug-in or inspector's program */
	int32_t board, control_socket, control_listener;
	struct handover_process control;
	char why[KEEPER_TEXT]; /* it failed */
	struct handover_lane lane[KEEPER_LANES];
};

void keeper_layout(char *buf, size_t size)
{
	snprintf(buf, size, "spillway layout keeper=%u page=%u channel=%u board=%u\n", KEEPER_LAYOUT,
		 ENGINE_PAGE_VERSION, CHANNEL_VERSION, BOARD_VERSION);
}

/* What the program says to `_layout`, in a child that has nothing of ours. */
static int ask_layout(int exe, char *buf, size_t size)
{
	char *argv[] = {"spillway", "_layout", NULL};
	struct pollfd p;
	int pair[2];
	ssize_t n = -1;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid) {
		(void)dup2(pair[1], STDOUT_FILENO);
		syscall(SYS_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
		_exit(126);
	}
	close(pair[1]);
	p = (struct pollfd){.fd = pair[0], .events = POLLIN};
	if (pid > 0 && poll(&p, 1, LAYOUT_MS) > 0)
		n = read(pair[0], buf, size - 1);
	close(pair[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	buf[n > 0 ? n : 0] = '\0';
	return n > 0 ? 0 : -ENOEXEC;
}

static bool fits(int exe)
{
	char ours[128], theirs[128];

	keeper_layout(ours, sizeof(ours));
	return !ask_layout(exe, theirs, sizeof(theirs)) && !strcmp(ours, theirs);
}

static int keep(int fd)
{
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, 0);
	return fd;
}

static struct handover_process keep_process(const struct keeper_process *p)
{
	return (struct handover_process){.pid = p->pid, .pidfd = keep(p->pidfd), .adopted = p->adopted};
}

static void write_lane(struct handover_lane *h, const struct keeper_lane *l)
{
	*h = (struct handover_lane){
	    .number = l->number,
	    .classes = l->classes,
	    .requests = l->requests,
	    .proc = keep(l->proc_fd),
	    .page = keep(l->page_fd),
	    .state = keep(l->state_fd),
	    .state_read = keep(l->state_read_fd),
	    .bell = keep(l->bell),
	    .wake = keep(l->wake),
	    .lease = keep(l->lease),
	    .lease_read = keep(l->lease_read),
	    .listener = keep(l->listener),
	    .engine_socket = keep(l->engine_socket),
	    .answers = keep(l->seat.answers_fd),
	    .engine = keep_process(&l->engine),
	    .inspector = keep_process(&l->seat.process),
	    .inspector_number = l->seat.number,
	};
	for (unsigned i = 0; i < l->classes; i++) {
		h->socket[i] = keep(spw_queue_fd(l->queue[i]));
		h->buffer[i] = l->buffer[i];
	}
	memcpy(h->suspect, l->suspect, sizeof(h->suspect));
}

/* Becomes another program. Returns only where that fails. */
static int become(struct keeper *k, int exe, bool back, const char *why)
{
	struct handover *h;
	char text[16];
	int fd, error;

	h = keeper_make_page("spillway-handover", sizeof(*h), &fd);
	if (!h)
		return -errno;
	*h = (struct handover){.layout = KEEPER_LAYOUT,
			       .lanes = k->lanes,
			       .number = k->upgrade.number,
			       .back = back,
			       .exe = keep(k->exe),
			       .plugin = keep(back ? k->upgrade.old_plugin : k->plugin),
			       .board = keep(k->board_fd),
			       .control_socket = keep(k->control.socket),
			       .control_listener = keep(k->control_listener),
			       .control = keep_process(&k->control.process)};
	snprintf(h->why, sizeof(h->why), "%s", why);
	for (unsigned i = 0; i < k->lanes; i++)
		write_lane(&h->lane[i], &k->lane[i]);
	snprintf(text, sizeof(text), "%d", keep(fd));
	setenv(KEEPER_RESUME, text, 1);
	notify_restore(&k->service.notify);
	syscall(SYS_execveat, exe, "", k->config.argv, environ, AT_EMPTY_PATH);
	error = -errno;
	notify_forget();
	unsetenv(KEEPER_RESUME);
	munmap(h, sizeof(*h));
	close(fd);
	return error;
}

static int ours(int fd)
{
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

static struct keeper_process resumed(const struct handover_process *p)
{
	return (struct keeper_process){
	    .pid = p->pid, .pidfd = ours(p->pidfd), .adopted = p->adopted, .started_ns = clock_ns()};
}

/* The number of a lane's class: by the ledger, or where that can't be read, by the command line. */
static uint16_t queue_number(const struct keeper *k, const struct keeper_lane *l, unsigned i)
{
	return l->page ? l->page->queue[i] : (uint16_t)(k->config.queue[i] + (l->number - k->config.first));
}

static const char *read_queues(const struct keeper *k, struct keeper_lane *l, const struct handover_lane *h)
{
	const struct spw_queue_config any = {.size = sizeof(any)};
	const char *missing = NULL;

	for (unsigned i = 0; i < l->classes; i++) {
		l->buffer[i] = h->buffer[i];
		if (spw_queue_adopt(&l->queue[i], queue_number(k, l, i), ours(h->socket[i]),
				    fcntl(l->proc_fd, F_DUPFD_CLOEXEC, 0), l->page ? &l->page->config[i] : &any))
			missing = "a socket";
	}
	return missing;
}

/* NULL, or what of it can't be read. */
static const char *read_lane(const struct keeper *k, struct keeper_lane *l, const struct handover_lane *h)
{
	const char *missing;

	keeper_lane_blank(l);
	l->gone_reason = REASON_DOWN;
	l->number = (uint16_t)h->number;
	l->classes = h->classes <= CHANNEL_CLASSES ? h->classes : 0;
	l->requests = h->requests;
	l->proc_fd = ours(h->proc);
	l->page_fd = ours(h->page);
	l->state_fd = ours(h->state);
	l->state_read_fd = ours(h->state_read);
	l->bell = ours(h->bell);
	l->wake = ours(h->wake);
	l->lease = ours(h->lease);
	l->lease_read = ours(h->lease_read);
	l->listener = ours(h->listener);
	l->engine_socket = ours(h->engine_socket);
	l->engine = resumed(&h->engine);
	if (h->answers >= 0)
		l->seat = (struct keeper_seat){.number = h->inspector_number,
					       .answers_fd = ours(h->answers),
					       .answers = keeper_map_page(h->answers, sizeof(*l->seat.answers)),
					       .process = resumed(&h->inspector)};
	l->was_ready = l->poison_untold = true;
	memcpy(l->suspect, h->suspect, sizeof(l->suspect));
	l->page = keeper_map_page(l->page_fd, sizeof(*l->page));
	missing = read_queues(k, l, h);
	if (l->seat.answers_fd >= 0 && !l->seat.answers)
		missing = "its inspector's answers";
	return l->page ? missing : "its ledger";
}

/* By the policy that holds for the class; where the ledger can't be read, by the command line's. */
static void settle_class(const struct keeper *k, struct keeper_lane *l, unsigned i)
{
	const struct lane_config *config = &k->config.class[i];
	uint16_t queue = queue_number(k, l, i);
	struct lane lane;
	uint64_t held;
	bool shut;
	int error = -ENOMEM;

	if (l->page) {
		engine_snapshot(l->page, &lane);
		config = &lane.class[i].config;
	}
	shut = lane_shuts(config, REASON_DOWN);
	if (l->queue[i])
		error = keeper_release(l->queue[i], shut, &held);
	if (error)
		log_line("queue %u: settling what is held: %s; the kernel drops it", queue, strerror(-error));
	else
		log_line("queue %u: %llu packets held are %s uninspected, uncounted", queue, (unsigned long long)held,
			 shut ? "dropped" : "accepted");
}

/* As where there is no engine any more: then the number is free. */
static void give_up_lane(struct keeper *k, struct keeper_lane *l, const char *missing)
{
	log_line("queue %u: upgrade: what the old program left of it can't be read (%s); it begins anew", l->number,
		 missing);
	keeper_kill_and_wait(&l->engine);
	keeper_kill_and_wait(&l->seat.process);
	for (unsigned i = 0; i < l->classes; i++)
		settle_class(k, l, i);
	keeper_unlist(k, l);
	keeper_close_lane(l);
}

/* Each by itself. */
static void read_lanes(struct keeper *k, const struct handover *h)
{
	for (unsigned i = 0; i < h->lanes; i++) {
		struct keeper_lane *l = &k->lane[k->lanes];
		const char *missing = read_lane(k, l, &h->lane[i]);

		if (missing) {
			give_up_lane(k, l, missing);
			continue;
		}
		if (keeper_open_gates(k, l))
			log_line("%s", k->error);
		k->lanes++;
	}
}

int keeper_resume(struct keeper *k, const struct keeper_config *config, int handover)
{
	struct handover *h = keeper_map_page(handover, sizeof(*h));
	int status;

	if (!h || h->layout != KEEPER_LAYOUT || h->lanes > KEEPER_LANES)
		return keeper_fail(k, EXIT_FAILED, "upgrade: what the old program left can't be read; start again");
	*k = (struct keeper){.config = *config,
			     .exe = -1,
			     .plugin = -1,
			     .board_fd = ours(h->board),
			     .control_listener = ours(h->control_listener),
			     .control = {.process = resumed(&h->control), .socket = ours(h->control_socket)},
			     .old_control = {.process.pidfd = -1, .socket = -1}};
	notify_open(&k->service.notify);
	k->service.started_ns = k->service.alive_ns = clock_ns();
	k->upgrade.number = h->number;
	k->upgrade.old_exe = ours(h->exe);
	k->upgrade.back = h->back;
	snprintf(k->upgrade.why, sizeof(k->upgrade.why), "%s", h->why);
	k->board = keeper_map_page(k->board_fd, sizeof(*k->board));
	k->board_read_fd = keeper_reopen_read_only(k->board_fd);
	k->upgrade.old_plugin = -1;
	status = keeper_reserve(k);
	if (!status)
		status = keeper_open_program(k);
	if (h->back && h->plugin >= 0)
		k->plugin = ours(h->plugin);
	else
		k->upgrade.old_plugin = ours(h->plugin);
	read_lanes(k, h);
	munmap(h, sizeof(*h));
	close(handover);
	k->upgrade.phase = UPGRADE_ENGINES;
	/* All of it once more: else what is about to be replaced would never be given up. */
	keeper_tend_store(k);
	if (!k->board)
		return keeper_go_back(k, "the old program's board can't be read");
	if (status)
		return keeper_go_back(k, k->error);
	keeper_complete_lanes(k);
	if (!k->lanes)
		return keeper_fail(k, EXIT_FAILED, "upgrade: no lane is left; start again");
	return EXIT_DONE;
}

/* The new program can't: back to the old one, which replaces what is new. */
int keeper_go_back(struct keeper *k, const char *why)
{
	char text[KEEPER_TEXT];
	int error;

	snprintf(text, sizeof(text), "%.400s", why);
	log_line("upgrade: %s; going back to the old program", text);
	for (unsigned i = 0; i < k->lanes; i++) {
		keeper_kill_and_wait(&k->lane[i].next.process);
		keeper_clear_seat(&k->lane[i].next);
	}
	if (k->upgrade.back || k->upgrade.old_exe < 0)
		return EXIT_FAILED;
	error = become(k, k->upgrade.old_exe, true, text);
	return keeper_fail(k, EXIT_FAILED, "upgrade: going back: %s; going on with what there is", strerror(-error));
}

int keeper_upgrade(struct keeper *k, uint32_t number)
{
	int exe, error;

	if (k->upgrade.phase != UPGRADE_NONE)
		return keeper_fail(k, -EBUSY, "upgrade: one is under way; wait for it");
	exe = open(k->path, O_PATH | O_CLOEXEC);
	if (exe < 0)
		return keeper_fail(k, -ENOEXEC, "upgrade: %s: %s; install the new program where the old one was",
				   k->path, strerror(errno));
	if (!fits(exe)) {
		close(exe);
		return keeper_fail(k, -EPROTO,
				   "upgrade: %s: speaks another layout than this program, or is none; nothing was "
				   "changed, stop and start instead",
				   k->path);
	}
	for (unsigned i = 0; i < k->lanes; i++)
		if (k->lane[i].gone || k->lane[i].engine.pid <= 0 || k->lane[i].silent_ns) {
			close(exe);
			return keeper_fail(k, -EBUSY, "upgrade: queue %u: a process is just being replaced; try again",
					   k->lane[i].number);
		}
	k->upgrade.number = number;
	error = become(k, exe, false, "");
	close(exe);
	return keeper_fail(k, error, "upgrade: %s: %s; nothing was changed", k->path, strerror(-error));
}

static bool replace_engine(struct keeper *k, struct keeper_lane *l)
{
	if (l->engine.pid > 0)
		(void)keeper_ask_value(l, ENGINE_HANDOVER, 0);
	keeper_kill_and_wait(&l->engine);
	return !keeper_start_engine(k, l) && !keeper_introduce_inspector(l);
}

static const char *replace_engines(struct keeper *k)
{
	for (unsigned i = 0; i < k->lanes; i++)
		if (!replace_engine(k, &k->lane[i]))
			return "its engine does not start";
	k->upgrade.phase = UPGRADE_READY;
	k->upgrade.until_ns = clock_ns() + READY_NS;
	for (unsigned i = 0; i < k->lanes; i++)
		if (keeper_start_inspector(k, &k->lane[i], &k->lane[i].next))
			return "its inspector does not start";
	return NULL;
}

static const char *await_ready(struct keeper *k)
{
	bool all = true;

	for (unsigned i = 0; i < k->lanes; i++) {
		struct keeper_seat *s = &k->lane[i].next;

		if (s->answers_fd < 0) /* took a dead one's place already */
			continue;
		if (keeper_ended(&s->process))
			return "its inspector ends before it is ready";
		all &= __atomic_load_n(&s->answers->ready, __ATOMIC_ACQUIRE) == 1;
	}
	if (!all)
		return clock_ns() < k->upgrade.until_ns ? NULL : "its inspector does not get ready in 10 s";
	for (unsigned i = 0; i < k->lanes; i++)
		if (k->lane[i].next.answers_fd >= 0)
			(void)keeper_ask_value(&k->lane[i], ENGINE_LEAVE, 0);
	k->upgrade.phase = UPGRADE_LEAVING;
	k->upgrade.until_ns = clock_ns() + LEAVE_NS;
	return NULL;
}

/* The old inspectors finish what they have in hand; the lanes' own supervision lets the new ones sit down. */
static void await_leaving(struct keeper *k)
{
	bool late = clock_ns() >= k->upgrade.until_ns, all = true;

	for (unsigned i = 0; i < k->lanes; i++) {
		struct keeper_lane *l = &k->lane[i];

		if (l->next.answers_fd < 0)
			continue;
		all = false;
		if (late)
			keeper_kill(&l->seat.process);
	}
	if (all)
		k->upgrade.phase = UPGRADE_DONE;
}

/*
 * A control process of the new program takes the place of the one that passed on the request; then the latter has the
 * reply: whoever reads it finds the new one.
 */
static void finish(struct keeper *k)
{
	struct ask_reply r = {.number = k->upgrade.number, .exit = k->upgrade.back ? EXIT_FAILED : EXIT_DONE};

	if (k->upgrade.back)
		snprintf(r.text, sizeof(r.text), "upgrade: %.150s; the old program goes on, mend the new one",
			 k->upgrade.why);
	log_line("upgrade: %s", k->upgrade.back ? "back at the old program" : "done");
	keeper_replace_control(k);
	(void)send(k->old_control.socket, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(k->upgrade.old_exe);
	close(k->upgrade.old_plugin);
	k->upgrade.old_exe = k->upgrade.old_plugin = -1;
	k->upgrade.phase = UPGRADE_NONE;
}

void keeper_tend_upgrade(struct keeper *k)
{
	const char *why = NULL;

	switch (k->upgrade.phase) {
	case UPGRADE_NONE:
		return;
	case UPGRADE_ENGINES:
		why = replace_engines(k);
		break;
	case UPGRADE_READY:
		why = await_ready(k);
		break;
	case UPGRADE_LEAVING:
		await_leaving(k);
		break;
	case UPGRADE_DONE:
		finish(k);
		break;
	}
	if (why && keeper_go_back(k, why)) {
		/* There is no way back: what runs is what there is, and supervision goes on. */
		snprintf(k->upgrade.why, sizeof(k->upgrade.why), "%s", why);
		k->upgrade.back = true;
		k->upgrade.phase = UPGRADE_DONE;
	}
}
