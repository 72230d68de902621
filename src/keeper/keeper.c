/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: see keeper.h. Binds, starts, stops; what may be asked of it. Holds the privileges and the descriptors;
 * reads neither packets nor text.
 */
#include "keeper/internal.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES     (32u << 20)
#define BUFFER_MAX       (128u << 20)
#define TEND_SOON_MS     10
#define STOP_PATIENCE_MS 500
#define TEND_MS          100
#define FIRST_START_NS   900000000ull  /* the first inspector has so much longer than others before a class opens */
#define LINE_RATE        1250000000ull /* bytes a second: 10 Gbit/s */

int keeper_fail(struct keeper *k, int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(k->error, sizeof(k->error), format, args);
	va_end(args);
	return status;
}

static int exit_status(const struct spw_queue *queue, int error)
{
	if (queue && spw_queue_taken(queue))
		return EXIT_TAKEN;
	switch (error) {
	case -EPERM:
	case -EACCES:
		return EXIT_PERMISSION;
	case -EPROTONOSUPPORT:
	case -EOPNOTSUPP:
	case -EINVAL: /* 7.1's word for a flag that it lacks */
		return EXIT_KERNEL;
	default:
		return EXIT_FAILED;
	}
}

/* What arrives at line rate until it is late must fit into the socket, else packets go uninspected before their time.
 */
static uint32_t buffer_for(const struct lane_config *c)
{
	uint64_t bytes = LINE_RATE / 1000 * (c->deadline_ns / 1000000) * 9 / 8;

	if (bytes > BUFFER_MAX)
		return BUFFER_MAX;
	return bytes > BUFFER_BYTES ? (uint32_t)bytes : BUFFER_BYTES;
}

/* Less buffer than a deadline needs is told: the oldest then go before their time. */
static void say_small_buffer(const struct keeper_lane *l, unsigned i, const struct lane_config *c)
{
	if (!c->deadline_ns || l->buffer[i] >= (int64_t)buffer_for(c))
		return;
	log_line("queue %u: socket buffer: %lld KiB instead of %u: at 10 Gbit/s it is three quarters full after "
		 "%llu ms, and then the oldest packets go uninspected; run as root, or raise net.core.rmem_max",
		 l->page->queue[i], (long long)l->buffer[i] / 1024, buffer_for(c) / 1024,
		 (unsigned long long)l->buffer[i] * 3 / 4 / (LINE_RATE / 1000));
}

static int bind_class(struct keeper *k, struct keeper_lane *l, unsigned i)
{
	const struct lane_config *c = &k->config.class[i];
	struct spw_queue_config q = {
	    .size = sizeof(q),
	    .copy_mode = SPW_COPY_PACKET,
	    .length = c->length,
	    .mask = SPW_FAIL_OPEN | SPW_GSO | (c->conntrack ? SPW_CONNTRACK : 0),
	    .flags = (lane_shuts(c, REASON_FULL) ? 0 : SPW_FAIL_OPEN) | (c->gso ? SPW_GSO : 0) |
		     (c->conntrack ? SPW_CONNTRACK : 0),
	};
	int error = spw_queue_open(&l->queue[i], l->page->queue[i]);

	if (!error) {
		l->buffer[i] = spw_queue_set_buffer(l->queue[i], buffer_for(c));
		error = spw_queue_bind(l->queue[i], &q);
	}
	if (error)
		return keeper_fail(k, exit_status(l->queue[i], error), l->queue[i] ? "%s" : "memory: %s; free some",
				   l->queue[i] ? spw_queue_error(l->queue[i]) : strerror(-error));
	say_small_buffer(l, i, c);
	l->page->config[i].size = sizeof(l->page->config[i]);
	spw_queue_config(l->queue[i], &l->page->config[i]);
	return EXIT_DONE;
}

static int bind_classes(struct keeper *k, struct keeper_lane *l)
{
	struct lane *lane = &l->page->snapshot[0];
	uint64_t now = clock_ns();
	int status = EXIT_DONE;

	*lane = (struct lane){.classes = l->classes,
			      .breaker = k->config.breaker,
			      .report_only = k->config.report_only,
			      .hung_ns = k->config.hung_ns,
			      .now_ns = now,
			      .down_ns = now + FIRST_START_NS,
			      .down_reason = REASON_DOWN};
	l->page->orphan_ns = k->config.orphan_ns;
	l->page->busy_ns = k->config.busy_ns;
	for (unsigned i = 0; i < l->classes && !status; i++) {
		lane_class_init(&lane->class[i], &k -> config.class[i], now);
		keeper_begin_counting(k, l, i, &lane->class[i]);
		status = bind_class(k, l, i);
	}
	if (!status)
		l->proc_fd = fcntl(spw_queue_proc_fd(l->queue[0]), F_DUPFD_CLOEXEC, 0);
	return status;
}

/* Loading a gate takes its time, and packets that are queued would wait for it; as a counter it is read before binding.
 */
static int make_new_lane(struct keeper *k, struct keeper_lane *l)
{
	int status;

	l->classes = k->config.classes;
	status = keeper_make_ledger(k, l);
	if (!status)
		status = keeper_open_gates(k, l);
	return status ? status : bind_classes(k, l);
}

/* A dead inspector's answers come first: then keeper_tend() starts the next one. */
static int start_processes(struct keeper *k, struct keeper_lane *l)
{
	int error = keeper_listen(k, l);

	if (error == -EADDRINUSE) /* a socket would have been replaced */
		return keeper_fail(k, EXIT_USAGE,
				   "%s.lane-%u: what lies there is no socket; move it away, or choose another place "
				   "with --control",
				   k->config.control, l->number);
	if (error)
		return keeper_fail(k, EXIT_FAILED, "%s.lane-%u: %s; choose another place with --control",
				   k->config.control, l->number, strerror(-error));
	error = keeper_start_engine(k, l);
	if (!error && !l->gone)
		error = keeper_start_inspector(k, l, &l->seat);
	if (!error)
		error = keeper_introduce_inspector(l);
	/* Slow, on a machine with much else to do, is not failed: keeper_tend() tells it again, or replaces it. */
	if (error && error != -EINPROGRESS)
		return keeper_fail(k, EXIT_FAILED,
				   "queue %u: starting its processes: %s; raise the limit on processes or memory",
				   l->number, error == -EPIPE ? "its engine ended at once" : strerror(-error));
	return EXIT_DONE;
}

static bool same_class(const struct lane_config *a, const struct lane_config *b)
{
	return a->length == b->length && a->fail_open == b->fail_open && a->gso == b->gso && a->decided == b->decided &&
	       a->shut == b->shut && a->deadline_ns == b->deadline_ns && a->priority == b->priority &&
	       a->mark == b->mark && a->mark_mask == b->mark_mask && a->never_shed == b->never_shed &&
	       a->conntrack == b->conntrack && a->trust_mark == b->trust_mark && a->trust_mask == b->trust_mask &&
	       a->spill_mark == b->spill_mark && a->spill_mask == b->spill_mask;
}

/* A lane that was taken over keeps what it was started with. Where that is not what this command asks for, it is told.
 */
static void say_former_options(const struct keeper *k, const struct keeper_lane *l)
{
	const struct keeper_config *c = &k->config;
	struct lane lane;
	bool same;

	engine_snapshot(l->page, &lane);
	same = l->classes == c->classes && lane.breaker == c->breaker && lane.report_only == c->report_only &&
	       lane.hung_ns == c->hung_ns && l->page->orphan_ns == c->orphan_ns && l->page->busy_ns == c->busy_ns &&
	       !l->page->gated == !c->gate;
	for (unsigned i = 0; same && i < l->classes; i++)
		same = l->page->queue[i] == c->queue[i] + l->number - c->first &&
		       same_class(&lane.class[i].config, &c->class[i]);
	if (!same)
		log_line("queue %u: keeps the classes and options that it had, which are not those of this command; "
			 "stop and start to change them",
			 l->number);
}

static int start_lane(struct keeper *k, uint16_t number)
{
	struct keeper_lane *l = &k->lane[k->lanes++];
	int status;

	keeper_lane_blank(l);
	l->number = number;
	if (keeper_take_over(k, l, number)) {
		keeper_drop_stored(k, number);
		say_former_options(k, l);
		if (keeper_open_gates(k, l))
			log_line("%s", k->error);
		return EXIT_DONE;
	}
	l->number = number;
	if (keeper_take_stored(k, l, number)) {
		say_former_options(k, l);
		status = keeper_open_gates(k, l);
	} else {
		status = make_new_lane(k, l);
	}
	if (!status)
		status = keeper_make_channels(k, l);
	return status ? status : start_processes(k, l);
}

/* A program that was replaced while it ran: the kernel says so behind its name. The next one lies at the name itself.
 */
static void cut_deleted(char *path)
{
	static const char mark[] = " (deleted)";
	size_t len = strlen(path);

	if (len > sizeof(mark) - 1 && !strcmp(path + len - (sizeof(mark) - 1), mark) && access(path, F_OK))
		path[len - (sizeof(mark) - 1)] = '\0';
}

int keeper_open_program(struct keeper *k)
{
	const struct keeper_config *c = &k->config;
	struct stat st;
	ssize_t len = readlink("/proc/self/exe", k->path, sizeof(k->path) - 1);

	k->path[len > 0 ? len : 0] = '\0';
	cut_deleted(k->path);
	if (spw_counter_open(&k->counter))
		k->counter.fd = -1;
	k->exe = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (k->exe < 0)
		return keeper_fail(k, EXIT_FAILED, "/proc/self/exe: %s; mount /proc", strerror(errno));
	if (c->kind == INSPECT_BUILTIN)
		return 0;
	k->plugin = open(c->inspect, (c->kind == INSPECT_EXEC ? O_PATH : O_RDONLY | O_NONBLOCK) | O_CLOEXEC);
	if (k->plugin < 0)
		return keeper_fail(k, EXIT_USAGE, "--inspect: %s: %s; name an inspector that exists", c->inspect,
				   strerror(errno));
	if (c->kind == INSPECT_PLUGIN && (fstat(k->plugin, &st) || !S_ISREG(st.st_mode)))
		return keeper_fail(k, EXIT_USAGE, "--inspect: %s: no plain file; name a plug-in", c->inspect);
	return 0;
}

static int make_board(struct keeper *k)
{
	struct timespec now;

	k->board = keeper_make_page("spillway-board", sizeof(*k->board), &k->board_fd);
	k->board_read_fd = k->board ? keeper_reopen_read_only(k->board_fd) : -1;
	if (k->board_read_fd < 0)
		return keeper_fail(k, EXIT_FAILED, "shared memory: %s; free some memory or descriptors",
				   strerror(errno));
	clock_gettime(CLOCK_REALTIME, &now);
	k->board->version = BOARD_VERSION;
	k->board->keeper_pid = getpid();
	k->board->since_s = now.tv_sec;
	k->board->since_ns = now.tv_nsec;
	return EXIT_DONE;
}

static void show_lane(struct keeper *k, const struct keeper_lane *l)
{
	struct board_lane *b = &k->board->lane[l - k->lane];
	struct lane lane;

	/* By the lane's word, not the command's: it may have been taken over. */
	engine_snapshot(l->page, &lane);
	k->board->report_only = lane.report_only && (l == k->lane || k->board->report_only);
	b->lane = l->number;
	b->engine.pid = l->engine.pid;
	b->engine_state = BOARD_ENGINE_RUNNING;
	b->inspector.pid = l->seat.process.pid;
	b->inspector_state = INSPECTOR_STARTING;
	b->filters = -1;
	for (unsigned i = 0; i < l->classes; i++)
		b->buffer[i] = l->buffer[i];
}

/* What would be left of a start that failed and goes with no descriptor. Returns the status. */
static int start_failed(struct keeper *k, int status)
{
	for (unsigned i = 0; i < k->lanes; i++)
		keeper_unmake_gates(&k->lane[i]);
	return status;
}

int keeper_start(struct keeper *k, const struct keeper_config *config, int listener)
{
	int status, error = 0;

	*k = (struct keeper){.config = *config,
			     .exe = -1,
			     .plugin = -1,
			     .board_fd = -1,
			     .board_read_fd = -1,
			     .control_listener = listener,
			     .control = {.process.pidfd = -1, .socket = -1},
			     .old_control = {.process.pidfd = -1, .socket = -1},
			     .upgrade = {.old_exe = -1, .old_plugin = -1}};
	/* First: what a run before has left may have to be settled. */
	status = keeper_reserve(k);
	if (status)
		return status;
	keeper_store_open(k);
	status = keeper_open_program(k);
	if (!status)
		status = make_board(k);
	for (unsigned n = config->first; !status && n <= config->last; n++)
		status = start_lane(k, (uint16_t)n);
	if (status)
		return start_failed(k, status);
	keeper_read_counters(k, clock_ns());
	for (unsigned i = 0; i < k->lanes; i++)
		show_lane(k, &k->lane[i]);
	k->board->lanes = k->lanes;
	error = keeper_start_control(k);
	if (error) {
		keeper_fail(k, 0, "starting the control process: %s; raise the limit on processes", strerror(-error));
		return start_failed(k, EXIT_FAILED);
	}
	keeper_tend_store(k);
	return EXIT_DONE;
}

int keeper_set(struct keeper *k, uint16_t queue, enum engine_op op, uint32_t value)
{
	struct engine_reply r = {0};
	int error;

	for (unsigned i = 0; i < k->lanes; i++) {
		struct keeper_lane *l = &k->lane[i];

		for (unsigned c = 0; c < l->classes; c++) {
			if (l->page->queue[c] != queue)
				continue;
			error = keeper_ask(l, &(struct engine_request){.op = op, .class = c, .value = value}, &r);
			if (error && r.text[0])
				keeper_fail(k, 0, "%s", r.text);
			else if (error)
				keeper_fail(k, 0, "queue %u: its engine does not answer; try again", queue);
			return error;
		}
	}
	keeper_fail(k, 0, "queue %u: not one of this command's; spillway status lists them", queue);
	return -ENOENT;
}

/* Something is about to happen that no descriptor tells. */
static bool in_motion(const struct keeper *k)
{
	if (k->upgrade.phase != UPGRADE_NONE || k->control.process.pid <= 0)
		return true;
	for (unsigned i = 0; i < k->lanes; i++) {
		const struct keeper_lane *l = &k->lane[i];

		if (l->engine.pid <= 0 || l->engine_watch.since_ns || l->inspector_watch.since_ns || l->gone ||
		    l->untold || l->silent_ns || l->poison_untold ||
		    k->board->lane[i].inspector_state != INSPECTOR_RUNNING)
			return true;
	}
	return false;
}

int keeper_tend(struct keeper *k)
{
	for (unsigned i = 0; i < k->lanes; i++)
		keeper_tend_lane(k, &k->lane[i], clock_ns());
	keeper_read_counters(k, clock_ns());
	keeper_tend_upgrade(k);
	keeper_tend_control(k, clock_ns());
	keeper_tend_store(k);
	keeper_report(k, clock_ns());
	return in_motion(k) ? TEND_SOON_MS : TEND_MS;
}

/* `before`: the stop itself opens the classes for a moment, which is no unknown of the run. */
static void log_books(struct keeper *k, const struct keeper_lane *l, const struct lane *before)
{
	struct lane lane;

	keeper_show_gates(k, l);
	engine_snapshot(l->page, &lane);
	for (unsigned n = 0; n < lane.classes; n++) {
		const struct lane_class *c = &lane.class[n];
		const struct board_gate *g = &k->board->lane[l - k->lane].gate[n];
		uint64_t spilled = 0, shut = 0, seen = lane_seen(c) + board_gate_passed(g);

		for (int i = 0; i < REASONS; i++) {
			spilled += c->books.spilled[i] + g->spilled[i];
			shut += c->books.shut[i] + g->shut[i];
		}
		log_line("queue %u: ended: %llu seen: %llu inspected, %llu spilled, %llu shut, %llu lost, %llu "
			 "unreconciled%s",
			 l->page->queue[n], (unsigned long long)seen, (unsigned long long)lane_inspected(c),
			 (unsigned long long)spilled, (unsigned long long)shut, (unsigned long long)c->books.lost,
			 (unsigned long long)lane_unreconciled(c),
			 before->class[n].books.uncounted ? "; more may have passed uncounted" : "");
	}
}

/* The engine settles; where it is dead or hangs, another one does. */
static int settle_lane(struct keeper *k, struct keeper_lane *l, enum lane_reason reason)
{
	int error = keeper_ask_to_stop(l, reason);

	if (error != -EPIPE && error != -ETIMEDOUT)
		return error;
	keeper_kill_and_wait(&l->engine);
	error = keeper_start_engine(k, l);
	if (!error)
		error = keeper_introduce_inspector(l);
	return error ? error : keeper_ask_to_stop(l, reason);
}

static void settle_alone(struct keeper_lane *l, enum lane_reason reason)
{
	uint64_t passed;
	int error = keeper_settle_alone(l, reason, &passed);

	/* A start that failed has said why; of what never came there is nothing to say. */
	if (error && (passed || l->engine_socket >= 0))
		log_line("queue %u: settling what is held: %s; the kernel drops it", l->number, strerror(-error));
	else if (!error && passed)
		log_line("queue %u: without an engine, %llu packets that were held are accepted, uncounted", l->number,
			 (unsigned long long)passed);
}

static void end_lane(struct keeper *k, struct keeper_lane *l, enum lane_reason reason)
{
	struct lane before;

	if (l->engine_socket >= 0) {
		engine_snapshot(l->page, &before);
		if (settle_lane(k, l, reason))
			settle_alone(l, reason);
		log_books(k, l, &before);
	} else if (l->page) {
		settle_alone(l, reason);
	}
	/* It was told to leave: its stop() may run. */
	keeper_await_end(&l->seat.process, STOP_PATIENCE_MS);
	keeper_kill_and_wait(&l->seat.process);
	keeper_kill_and_wait(&l->next.process);
	keeper_kill_and_wait(&l->engine);
	keeper_unlist(k, l);
	keeper_close_lane(l);
}

void keeper_stop(struct keeper *k, enum lane_reason reason)
{
	(void)notify_send(&k->service.notify, -1, "STOPPING=1\nSTATUS=stopping");
	k->service.stopping = true;
	keeper_tend_store(k);
	k->count_at_ns = 0;
	keeper_read_counters(k, clock_ns());
	for (unsigned i = 0; i < k->lanes; i++)
		end_lane(k, &k->lane[i], reason);
	k->lanes = 0;
	keeper_tend_store(k); /* nothing is bound any more */
	keeper_kill_and_wait(&k->control.process);
	keeper_kill_and_wait(&k->old_control.process);
}

static bool has_lane(const struct keeper *k, uint16_t number)
{
	for (unsigned i = 0; i < k->lanes; i++)
		if (k->lane[i].number == number)
			return true;
	return false;
}

/* One that begins anew while others go on: it must not end them where it can't. */
static void add_lane(struct keeper *k, uint16_t number)
{
	struct keeper_lane *l = &k->lane[k->lanes];

	if (start_lane(k, number)) {
		log_line("%s; the others go on without this lane", k->error);
		end_lane(k, l, REASON_DOWN);
		k->lanes--;
		return;
	}
	l->was_ready = true;
}

/* Rows go by lane; what was counted stays. */
static void show_lanes(struct keeper *k)
{
	struct board_lane old[KEEPER_LANES];
	unsigned count = k->board->lanes < KEEPER_LANES ? k->board->lanes : KEEPER_LANES;

	memcpy(old, k->board->lane, sizeof(old));
	for (unsigned i = 0; i < k->lanes; i++) {
		k->board->lane[i] = (struct board_lane){0};
		for (unsigned o = 0; o < count; o++)
			if (old[o].lane == k->lane[i].number)
				k->board->lane[i] = old[o];
		show_lane(k, &k->lane[i]);
	}
	k->board->lanes = k->lanes;
}

static int by_number(const void *a, const void *b)
{
	return ((const struct keeper_lane *)a)->number - ((const struct keeper_lane *)b)->number;
}

void keeper_complete_lanes(struct keeper *k)
{
	for (unsigned n = k->config.first; n <= k->config.last; n++)
		if (!has_lane(k, (uint16_t)n))
			add_lane(k, (uint16_t)n);
	qsort(k->lane, k->lanes, sizeof(k->lane[0]), by_number);
	show_lanes(k);
}

/* A dead process's socket is at its end, which poll() would tell again and again. */
static int socket_of(const struct keeper_process *p, int fd)
{
	return p->pid > 0 ? fd : -1;
}

unsigned keeper_descriptors(const struct keeper *k, int *fds)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->lanes; i++) {
		fds[n++] = k->lane[i].engine.pidfd;
		fds[n++] = k->lane[i].seat.process.pidfd;
		fds[n++] = k->lane[i].next.process.pidfd;
		fds[n++] = socket_of(&k->lane[i].engine, k->lane[i].engine_socket);
	}
	fds[n++] = k->control.process.pidfd;
	fds[n++] = socket_of(&k->control.process, k->control.socket);
	fds[n++] = k->old_control.process.pidfd;
	fds[n++] = socket_of(&k->old_control.process, k->old_control.socket);
	return n;
}
