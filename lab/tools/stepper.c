/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kills a process at one instruction: follows it (ptrace) to the entry of its next sendto() or sendmsg(), or of the
 * NTH from now on, lets it do so many instructions more, and kills it there.
 *
 *     stepper PID STEPS SECONDS [NTH]     prints {"reached":true,"steps":N,"at":"0x…"}
 *
 * STEPS 0: killed before the kernel has carried the call out. 1: just after it. More: in what follows it. Not reached
 * in SECONDS: the process goes on, and the exit status is 3.
 */
#include "tool.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

/* Waits for its next stop. False: it has ended, or time is up. */
static bool stopped(pid_t pid, int *status, uint64_t end)
{
	const struct timespec tick = {.tv_nsec = 20000};

	while (!told_to_stop && now_ns() < end) {
		pid_t got = waitpid(pid, status, WNOHANG | __WALL);

		if (got == pid)
			return WIFSTOPPED(*status);
		if (got < 0 && errno != EINTR)
			return false;
		nanosleep(&tick, NULL);
	}
	return false;
}

static bool sends(pid_t pid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	return info.entry.nr == SYS_sendto || info.entry.nr == SYS_sendmsg || info.entry.nr == SYS_sendmmsg;
}

static bool to_send(pid_t pid, uint64_t nth, uint64_t end)
{
	int status;

	if (!stopped(pid, &status, end))
		return false;
	while (nth) {
		if (ptrace(PTRACE_SYSCALL, pid, 0, 0) || !stopped(pid, &status, end))
			return false;
		nth -= sends(pid);
	}
	return true;
}

static uint64_t walk(pid_t pid, uint64_t steps, uint64_t end)
{
	uint64_t done = 0;
	int status;

	while (done < steps && !ptrace(PTRACE_SINGLESTEP, pid, 0, 0) && stopped(pid, &status, end))
		done++;
	return done;
}

static unsigned long long place(pid_t pid)
{
	struct __ptrace_syscall_info info = {0};

	(void)ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
	return info.instruction_pointer;
}

/* The traced process has to stand still before it can be let go. */
static void let_go(pid_t pid)
{
	int status;

	if (!ptrace(PTRACE_INTERRUPT, pid, 0, 0))
		(void)stopped(pid, &status, now_ns() + NS);
	(void)ptrace(PTRACE_DETACH, pid, 0, 0);
}

int main(int argc, char **argv)
{
	pid_t pid = argc == 4 || argc == 5 ? (pid_t)number(argv[1]) : 0;
	uint64_t steps, end, nth;

	if (pid <= 0)
		return 2;
	stop_in_order(on_stop);
	steps = number(argv[2]);
	end = now_ns() + number(argv[3]) * NS;
	nth = argc == 5 ? number(argv[4]) : 1;
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) || ptrace(PTRACE_INTERRUPT, pid, 0, 0)) {
		fprintf(stderr, "stepper: %d: %s; it takes CAP_SYS_PTRACE\n", pid, strerror(errno));
		return 1;
	}
	if (!to_send(pid, nth, end)) {
		let_go(pid);
		puts("{\"reached\":false}");
		return 3;
	}
	steps = walk(pid, steps, end);
	printf("{\"reached\":true,\"steps\":%llu,\"at\":\"0x%llx\"}\n", (unsigned long long)steps, place(pid));
	return kill(pid, SIGKILL) ? 1 : 0;
}
