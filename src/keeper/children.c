/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's children: what each is born with, and how its end is noticed. Decides nothing about when.
 */
#include "keeper/internal.h"

#include "clock.h"
#include "keeper/spawn.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct places {
	struct spawn_fd fd[SPAWN_FDS];
	unsigned count;
};

static void place(struct places *p, int from, int to)
{
	p->fd[p->count++] = (struct spawn_fd){from, to};
}

static int start(struct keeper_process *p, const struct spawn *s)
{
	pid_t pid;

	*p = (struct keeper_process){.pidfd = -1, .started_ns = clock_ns()};
	pid = spawn_process(s, &p->pidfd);
	if (pid < 0)
		return (int)pid;
	p->pid = pid;
	return 0;
}

/* Several lanes have a CPU for each of their processes, as far as there are as many; a single one runs anywhere. */
static int cpu_of(const struct keeper *k, const struct keeper_lane *l, int process)
{
	return k->config.first == k->config.last ? -1 : 2 * (l->number - k->config.first) + process;
}

int keeper_start_engine(struct keeper *k, struct keeper_lane *l)
{
	char name[32], *argv[] = {"spillway", "_engine", name, NULL};
	struct places p = {.count = 0};
	struct spawn s = {.role = SPAWN_ENGINE, .exe = k->exe, .path = "/proc/self/exe", .argv = argv, .fds = p.fd};
	int pair[2], error;

	s.cpu = cpu_of(k, l, 0);
	snprintf(name, sizeof(name), "queue=%u", l->number);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	for (unsigned i = 0; i < l->classes; i++)
		place(&p, spw_queue_fd(l->queue[i]), ENGINE_FD_SOCKET + (int)i);
	place(&p, l->proc_fd, ENGINE_FD_PROC);
	place(&p, l->page_fd, ENGINE_FD_PAGE);
	place(&p, l->state_fd, ENGINE_FD_STATE);
	place(&p, l->state_read_fd, ENGINE_FD_STATE_READ);
	place(&p, l->bell, ENGINE_FD_BELL);
	place(&p, l->wake, ENGINE_FD_WAKE);
	place(&p, pair[1], ENGINE_FD_KEEPER);
	place(&p, l->lease, ENGINE_FD_LEASE);
	place(&p, l->lease_read, ENGINE_FD_LEASE_READ);
	place(&p, l->listener, ENGINE_FD_LISTENER);
	if (l->seat.answers_fd >= 0)
		place(&p, l->seat.answers_fd, ENGINE_FD_ANSWERS);
	if (l->seat.process.pidfd >= 0)
		place(&p, l->seat.process.pidfd, ENGINE_FD_INSPECTOR);
	for (unsigned i = 0; i < l->classes; i++) {
		l->page->gate_bytes[i] = l->buffer[i] > 0 ? (uint64_t)l->buffer[i] / 2 : 0;
		for (unsigned g = 0; l->gate[i].page && g < GATE_FDS; g++)
			place(&p, l->gate[i].fd[g], ENGINE_FD_GATE + (int)(i * GATE_FDS + g));
	}
	s.fd_count = p.count;
	l->page->ticked_ns = clock_ns();
	l->engine_watch.since_ns = 0;
	l->silent_ns = 0;
	error = start(&l->engine, &s);
	close(pair[1]);
	if (l->engine_socket >= 0)
		close(l->engine_socket);
	l->engine_socket = pair[0];
	return error;
}

/* An inspector that is stuck in the user's code does not look at its lease: when that ends, the kernel kills it. */
static void arm_lease(int lease, pid_t pid)
{
	if (!fcntl(lease, F_SETOWN, pid) && !fcntl(lease, F_SETSIG, SIGKILL))
		(void)fcntl(lease, F_SETFL, O_ASYNC);
}

int keeper_start_inspector(struct keeper *k, struct keeper_lane *l, struct keeper_seat *seat)
{
	const struct keeper_config *c = &k->config;
	char env[256], queue[32], what[64];
	char *builtin[] = {"spillway", "_inspector", queue, what, NULL};
	char *program[] = {(char *)c->inspect, NULL};
	struct places p = {.count = 0};
	struct spawn s = {.role = SPAWN_INSPECTOR, .exe = k->exe, .env = env, .fds = p.fd, .argv = builtin};
	int lease = keeper_reopen_read_only(l->lease_read), error = keeper_make_seat(seat, ++l->page->inspectors);

	if (error || lease < 0) {
		close(lease);
		return error ? error : -EMFILE;
	}
	s.cpu = cpu_of(k, l, 1);
	s.path = c->kind == INSPECT_BUILTIN ? "/proc/self/exe" : c->inspect;
	snprintf(queue, sizeof(queue), "queue=%u", l->number);
	snprintf(env, sizeof(env), CHANNEL_ENV "=" CHANNEL_ENV_FORMAT, CHANNEL_VERSION, seat->number, l->classes,
		 INSPECTOR_FD_SOCKET, INSPECTOR_FD_ANSWERS, INSPECTOR_FD_STATE, INSPECTOR_FD_BELL, INSPECTOR_FD_WAKE,
		 INSPECTOR_FD_LEASE);
	snprintf(what, sizeof(what), "%s", c->inspect);
	place(&p, l->bell, INSPECTOR_FD_BELL);
	place(&p, seat->answers_fd, INSPECTOR_FD_ANSWERS);
	place(&p, l->state_read_fd, INSPECTOR_FD_STATE);
	place(&p, lease, INSPECTOR_FD_LEASE);
	place(&p, l->wake, INSPECTOR_FD_WAKE);
	for (unsigned i = 0; i < l->classes; i++)
		place(&p, spw_queue_fd(l->queue[i]), INSPECTOR_FD_SOCKET + (int)i);
	if (c->kind == INSPECT_EXEC) {
		s.exe = k->plugin;
		s.argv = program;
	} else if (c->kind == INSPECT_PLUGIN) {
		place(&p, k->plugin, INSPECTOR_FD_PLUGIN);
		snprintf(what, sizeof(what), "/proc/self/fd/%d", INSPECTOR_FD_PLUGIN);
	}
	s.fd_count = p.count;
	error = start(&seat->process, &s);
	if (!error)
		arm_lease(lease, seat->process.pid);
	close(lease);
	return error;
}

int keeper_start_control(struct keeper *k)
{
	char *argv[] = {"spillway", "_control", NULL};
	struct places p = {.count = 0};
	struct spawn s = {.role = SPAWN_CONTROL, .exe = k->exe, .path = "/proc/self/exe", .argv = argv, .fds = p.fd};
	const unsigned lanes = k->lanes;
	int pair[2], pages[KEEPER_LANES], error = 0;

	s.cpu = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	place(&p, k->control_listener, CONTROL_FD_LISTENER);
	place(&p, pair[1], CONTROL_FD_KEEPER);
	place(&p, k->board_read_fd, CONTROL_FD_BOARD);
	for (unsigned i = 0; i < lanes; i++) {
		pages[i] = keeper_reopen_read_only(k->lane[i].page_fd);
		if (pages[i] < 0)
			error = -errno;
		place(&p, pages[i], CONTROL_FD_PAGE + (int)i);
	}
	s.fd_count = p.count;
	if (!error)
		error = start(&k->control.process, &s);
	for (unsigned i = 0; i < lanes; i++)
		if (pages[i] >= 0)
			close(pages[i]);
	close(pair[1]);
	if (k->control.socket >= 0)
		close(k->control.socket);
	k->control.socket = pair[0];
	memset(k->control.pending, 0, sizeof(k->control.pending)); /* their numbers were the former one's */
	return error;
}

/* The present one serves who is connected, and leaves; one of this program takes in the others. */
void keeper_replace_control(struct keeper *k)
{
	const struct ask_reply leave = {.number = ASK_REPLY_LEAVE};

	k->old_control = k->control;
	k->control = (struct keeper_control){.process.pidfd = -1, .socket = -1};
	(void)send(k->old_control.socket, &leave, sizeof(leave), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (keeper_start_control(k))
		log_line("starting the control process: it is tried again");
}

bool keeper_ended(struct keeper_process *p)
{
	struct pollfd f = {.fd = p->pidfd, .events = POLLIN};

	if (p->pid <= 0)
		return false;
	/* A pidfd is readable once the process has ended; one that could not be had is asked after by waitpid(). */
	if (p->pidfd >= 0 && poll(&f, 1, 0) <= 0)
		return false;
	p->status = -1;
	if (!p->adopted && waitpid(p->pid, &p->status, WNOHANG) == 0)
		return false;
	p->pid = 0;
	if (p->pidfd >= 0)
		close(p->pidfd);
	p->pidfd = -1;
	return true;
}

void keeper_kill(struct keeper_process *p)
{
	if (p->pid > 0 && p->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
}

void keeper_await_end(const struct keeper_process *p, int ms)
{
	struct pollfd f = {.fd = p->pidfd, .events = POLLIN};

	while (p->pid > 0 && poll(&f, 1, ms) < 0 && errno == EINTR)
		;
}

void keeper_kill_and_wait(struct keeper_process *p)
{
	if (p->pid <= 0)
		return;
	keeper_kill(p);
	keeper_await_end(p, 2000);
	(void)keeper_ended(p);
}

const char *keeper_how_ended(const struct keeper_process *p, char *buf, size_t size)
{
	if (p->status == -1)
		snprintf(buf, size, "ended");
	else if (WIFSIGNALED(p->status))
		snprintf(buf, size, "was killed by signal %d (%s)", WTERMSIG(p->status),
			 strsignal(WTERMSIG(p->status)));
	else
		snprintf(buf, size, "exited with status %d", WEXITSTATUS(p->status));
	return buf;
}
