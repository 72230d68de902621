/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: see keeper.h. Holds the privileges and the descriptors; reads neither packets nor text.
 */
#include "keeper/keeper.h"

#include "keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFER_BYTES (32u << 20)
#define REPLY_MS     5000 /* an engine answers in microseconds; settling 60,000 held packets takes a tenth of a second */

__attribute__((format(printf, 3, 4))) static int fail(struct keeper *k, int status, const char *format, ...)
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
		return EXIT_KERNEL;
	default:
		return EXIT_FAILED;
	}
}

/* A page of fixed size that nobody can resize, as a descriptor and mapped. */
static void *make_page(const char *name, size_t size, int *fd)
{
	void *p;

	*fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0 || ftruncate(*fd, (off_t)size) || fchmod(*fd, 0600) ||
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int reopen_read_only(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int make_pages(struct keeper *k, struct keeper_lane *l)
{
	struct channel_state *state = make_page("spillway-state", sizeof(*state), &l->state_fd);
	int lease[2];

	l->page = make_page("spillway-ledger", sizeof(*l->page), &l->page_fd);
	l->answers = make_page("spillway-answers", sizeof(*l->answers), &l->answers_fd);
	l->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!state || !l->page || !l->answers || l->bell < 0 || pipe2(lease, O_CLOEXEC) < 0)
		return fail(k, EXIT_FAILED, "shared memory: %s; free some memory or descriptors", strerror(errno));
	state->version = CHANNEL_VERSION;
	munmap(state, sizeof(*state));
	l->state_ro_fd = reopen_read_only(l->state_fd);
	l->lease_read = lease[0];
	l->lease_write = lease[1];
	if (l->state_ro_fd < 0)
		return fail(k, EXIT_FAILED, "shared memory: %s; is /proc mounted?", strerror(errno));
	return 0;
}

static int bind_queue(struct keeper *k, struct keeper_lane *l, uint16_t number)
{
	const struct keeper_config *c = &k->config;
	struct spw_queue_config q = {
	    .size = sizeof(q),
	    .copy_mode = SPW_COPY_PACKET,
	    .length = c->length,
	    .mask = SPW_FAIL_OPEN | SPW_GSO,
	    .flags = (c->fail_open ? SPW_FAIL_OPEN : 0) | (c->gso ? SPW_GSO : 0),
	};
	int error = spw_queue_open(&l->queue, number);

	if (!error) {
		l->buffer = spw_queue_set_buffer(l->queue, BUFFER_BYTES);
		error = spw_queue_bind(l->queue, &q);
	}
	if (error)
		return fail(k, exit_status(l->queue, error), "%s",
			    l->queue ? spw_queue_error(l->queue) : strerror(-error));
	clock_gettime(CLOCK_REALTIME, &l->state_since);
	l->page->version = ENGINE_PAGE_VERSION;
	l->page->queue = number;
	l->page->config.size = sizeof(l->page->config);
	spw_queue_config(l->queue, &l->page->config);
	lane_class_init(&l->page->class, c->fail_open, c->gso, c->length);
	return 0;
}

static int start_engine(struct keeper *k, struct keeper_lane *l)
{
	char name[32], *argv[] = {"spillway", "_engine", name, NULL};
	int pair[2];
	struct spawn_fd fds[] = {
	    {spw_queue_fd(l->queue), ENGINE_FD_SOCKET},
	    {spw_queue_proc_fd(l->queue), ENGINE_FD_PROC},
	    {l->page_fd, ENGINE_FD_PAGE},
	    {l->answers_fd, ENGINE_FD_ANSWERS},
	    {l->state_fd, ENGINE_FD_STATE},
	    {l->bell, ENGINE_FD_BELL},
	    {-1, ENGINE_FD_KEEPER},
	    {l->lease_write, ENGINE_FD_LEASE},
	};
	struct spawn s = {.role = SPAWN_ENGINE,
			  .exe = k->exe,
			  .path = "/proc/self/exe",
			  .argv = argv,
			  .fds = fds,
			  .fd_count = sizeof(fds) / sizeof(*fds)};

	snprintf(name, sizeof(name), "queue=%u", l->page->queue);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	fds[6].from = pair[1];
	l->engine.pid = spawn_process(&s, &l->engine.pidfd);
	close(pair[1]);
	l->engine_socket = pair[0];
	return l->engine.pid < 0 ? l->engine.pid : 0;
}

static int start_inspector(struct keeper *k, struct keeper_lane *l)
{
	const struct keeper_config *c = &k->config;
	char env[256], queue[32], what[64];
	char *builtin[] = {"spillway", "_inspector", queue, what, NULL};
	char *program[] = {(char *)c->inspect, NULL};
	struct spawn_fd fds[] = {
	    {spw_queue_fd(l->queue), INSPECTOR_FD_SOCKET}, {l->answers_fd, INSPECTOR_FD_ANSWERS},
	    {l->state_ro_fd, INSPECTOR_FD_STATE},          {l->bell, INSPECTOR_FD_BELL},
	    {l->lease_read, INSPECTOR_FD_LEASE},           {k->plugin, INSPECTOR_FD_PLUGIN},
	};
	struct spawn s = {.role = SPAWN_INSPECTOR, .exe = k->exe, .env = env, .fds = fds, .argv = builtin};

	s.fd_count = c->kind == INSPECT_PLUGIN ? 6 : 5;
	s.path = c->kind == INSPECT_BUILTIN ? "/proc/self/exe" : c->inspect;
	snprintf(queue, sizeof(queue), "queue=%u", l->page->queue);
	snprintf(env, sizeof(env), CHANNEL_ENV "=" CHANNEL_ENV_FORMAT, CHANNEL_VERSION, INSPECTOR_FD_ANSWERS,
		 INSPECTOR_FD_STATE, INSPECTOR_FD_BELL, INSPECTOR_FD_LEASE, INSPECTOR_FD_SOCKET, l->page->queue);
	if (c->kind == INSPECT_EXEC) {
		s.exe = k->plugin;
		s.argv = program;
	} else if (c->kind == INSPECT_PLUGIN) {
		snprintf(what, sizeof(what), "/proc/self/fd/%d", INSPECTOR_FD_PLUGIN);
	} else {
		snprintf(what, sizeof(what), "%s", c->inspect);
	}
	l->inspector.pid = spawn_process(&s, &l->inspector.pidfd);
	return l->inspector.pid < 0 ? l->inspector.pid : 0;
}

static int start_lane(struct keeper *k, uint16_t number)
{
	struct keeper_lane *l = &k->lane[k->lanes++];
	int status, error;

	*l = (struct keeper_lane){.page_fd = -1,
				  .answers_fd = -1,
				  .state_fd = -1,
				  .state_ro_fd = -1,
				  .bell = -1,
				  .engine_socket = -1,
				  .lease_read = -1,
				  .lease_write = -1,
				  .engine.pidfd = -1,
				  .inspector.pidfd = -1};
	status = make_pages(k, l);
	if (!status)
		status = bind_queue(k, l, number);
	if (status)
		return status;
	error = start_engine(k, l);
	if (!error)
		error = start_inspector(k, l);
	if (error)
		return fail(k, EXIT_FAILED,
			    "queue %u: starting its processes: %s; raise the limit on processes or memory", number,
			    strerror(-error));
	return EXIT_DONE;
}

static int open_program(struct keeper *k)
{
	const struct keeper_config *c = &k->config;

	k->plugin = -1;
	k->exe = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (k->exe < 0)
		return fail(k, EXIT_FAILED, "/proc/self/exe: %s; mount /proc", strerror(errno));
	if (c->kind == INSPECT_BUILTIN)
		return 0;
	k->plugin = open(c->inspect, (c->kind == INSPECT_EXEC ? O_PATH : O_RDONLY) | O_CLOEXEC);
	if (k->plugin < 0)
		return fail(k, EXIT_USAGE, "--inspect: %s: %s; name an inspector that exists", c->inspect,
			    strerror(errno));
	return 0;
}

int keeper_start(struct keeper *k, const struct keeper_config *config)
{
	int status;

	*k = (struct keeper){.config = *config};
	clock_gettime(CLOCK_REALTIME, &k->since);
	status = open_program(k);
	for (unsigned n = config->first; !status && n <= config->last; n++)
		status = start_lane(k, (uint16_t)n);
	return status;
}

/* True where the process has ended; then its status is known and its pid is not used any more. */
static bool ended(struct keeper_process *p)
{
	if (p->pid <= 0 || waitpid(p->pid, &p->status, WNOHANG) != p->pid)
		return false;
	p->pid = 0;
	close(p->pidfd);
	p->pidfd = -1;
	return true;
}

static void say_ended(struct keeper *k, const struct keeper_lane *l, const char *who, int status)
{
	const char *policy = l->page->class.fail_open ? "accepted" : "dropped";
	char how[64];

	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(status));
	fail(k, EXIT_FAILED, "queue %u: the %s %s; what was held is %s, start spillway run again", l->page->queue, who,
	     how, policy);
}

static bool inspector_lied(struct keeper *k, const struct keeper_lane *l)
{
	uint32_t lie = __atomic_load_n(&l->page->lied, __ATOMIC_ACQUIRE);
	struct engine_reply r;

	/* What the engine says unasked only wakes us; so does a reply that came too late. */
	while (recv(l->engine_socket, &r, sizeof(r), MSG_DONTWAIT) > 0)
		;
	if (!lie)
		return false;
	fail(k, EXIT_FAILED, "queue %u: the inspector's answer does not hold: %s; it is ended, mend it and start again",
	     l->page->queue, lie < ANSWER_RESULTS ? lane_result_texts[lie] : "?");
	return true;
}

bool keeper_failed(struct keeper *k)
{
	bool failed = false;

	for (unsigned i = 0; i < k->lanes && !failed; i++) {
		struct keeper_lane *l = &k->lane[i];

		failed = inspector_lied(k, l);
		if (!failed && (failed = ended(&l->inspector)))
			say_ended(k, l, "inspector", l->inspector.status);
		else if (!failed && (failed = ended(&l->engine)))
			say_ended(k, l, "engine", l->engine.status);
	}
	return failed;
}

/* The reply to request `number`; what else the engine has said is skipped: the page says it too. */
static int wait_for_reply(const struct keeper_lane *l, uint32_t number, struct engine_reply *r)
{
	struct pollfd p = {.fd = l->engine_socket, .events = POLLIN};

	do {
		int n;

		while ((n = poll(&p, 1, REPLY_MS)) < 0 && errno == EINTR)
			;
		if (n <= 0)
			return -ETIMEDOUT;
		if (recv(l->engine_socket, r, sizeof(*r), 0) != sizeof(*r))
			return -EPIPE;
	} while (r->op == ENGINE_LIED || r->number != number);
	r->text[sizeof(r->text) - 1] = '\0';
	return r->error;
}

/* One request, one reply. -EPIPE: the engine is dead; -ETIMEDOUT: it hung, and was killed: its lane ends. */
static int ask(struct keeper_lane *l, enum engine_op op, uint32_t value, struct engine_reply *r)
{
	struct engine_request q = {.op = op, .value = value, .number = ++l->requests};
	int error;

	if (l->engine.pid <= 0 || send(l->engine_socket, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q))
		return -EPIPE;
	error = wait_for_reply(l, q.number, r);
	if (error == -ETIMEDOUT)
		kill(l->engine.pid, SIGKILL);
	return error;
}

int keeper_set(struct keeper *k, uint16_t queue, enum engine_op op, uint32_t value)
{
	struct engine_reply r = {0};
	int error;

	if (queue < k->config.first || queue > k->config.last) {
		fail(k, 0, "queue %u: not one of this command's; it has %u to %u", queue, k->config.first,
		     k->config.last);
		return -ENOENT;
	}
	error = ask(&k->lane[queue - k->config.first], op, value, &r);
	if (error)
		fail(k, 0, "%s", r.text[0] ? r.text : strerror(-error));
	return error;
}

static void kill_process(struct keeper_process *p)
{
	if (p->pid <= 0)
		return;
	kill(p->pid, SIGKILL);
	waitpid(p->pid, &p->status, 0);
	p->pid = 0;
	close(p->pidfd);
	p->pidfd = -1;
}

/* The engine settles; where it is dead or hangs, the keeper does, with the books that the engine left. */
static int settle_lane(struct keeper_lane *l, enum lane_reason reason)
{
	struct engine_reply r = {0};
	struct spw_queue *q;
	int error = ask(l, ENGINE_STOP, reason, &r);

	if (!error)
		return 0;
	kill_process(&l->engine);
	error = spw_queue_adopt(&q, l->page->queue, fcntl(spw_queue_fd(l->queue), F_DUPFD_CLOEXEC, 0),
				fcntl(spw_queue_proc_fd(l->queue), F_DUPFD_CLOEXEC, 0), &l->page->config);
	if (!error)
		error = engine_settle(q, &l->page->class, reason);
	spw_queue_close(q);
	return error;
}

static void log_books(const struct keeper_lane *l)
{
	const struct lane_class *c = &l->page->class;
	uint64_t spilled = 0, shut = 0;

	for (int i = 0; i < REASONS; i++) {
		spilled += c->books.spilled[i];
		shut += c->books.shut[i];
	}
	fprintf(stderr,
		"spillway: queue %u: ended: %llu seen: %llu inspected, %llu spilled, %llu shut, %llu lost, %llu "
		"unreconciled%s\n",
		l->page->queue, (unsigned long long)lane_seen(c), (unsigned long long)lane_inspected(c),
		(unsigned long long)spilled, (unsigned long long)shut, (unsigned long long)c->books.lost,
		(unsigned long long)lane_unreconciled(c), c->books.uncounted ? "; more may have passed uncounted" : "");
}

static void stop_lane(struct keeper_lane *l)
{
	bool down = l->engine.pid <= 0 || l->inspector.pid <= 0;
	int error;

	if (l->engine_socket >= 0) {
		error = settle_lane(l, down ? REASON_DOWN : REASON_MANUAL);
		if (error)
			fprintf(stderr, "spillway: queue %u: settling what is held: %s; the kernel drops it\n",
				l->page->queue, strerror(-error));
		log_books(l);
	}
	kill_process(&l->inspector);
	kill_process(&l->engine);
	spw_queue_close(l->queue);
	l->queue = NULL;
}

void keeper_stop(struct keeper *k)
{
	for (unsigned i = 0; i < k->lanes; i++)
		stop_lane(&k->lane[i]);
	k->lanes = 0;
}

void keeper_read_class(const struct keeper_lane *l, struct lane_class *copy)
{
	/* A dead engine may have left the number odd: after some tries, take what there is. */
	for (int i = 0; i < 1000; i++) {
		uint32_t before = __atomic_load_n(&l->page->sequence, __ATOMIC_ACQUIRE);

		memcpy(copy, &l->page->class, sizeof(*copy));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(before & 1) && before == __atomic_load_n(&l->page->sequence, __ATOMIC_RELAXED))
			return;
		usleep(10);
	}
}

unsigned keeper_descriptors(const struct keeper *k, int *fds)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->lanes; i++) {
		fds[n++] = k->lane[i].engine.pidfd;
		fds[n++] = k->lane[i].inspector.pidfd;
		fds[n++] = k->lane[i].engine_socket;
	}
	return n;
}
