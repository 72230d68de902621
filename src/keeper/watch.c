/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hung, or merely without a CPU? By the kernel's word: process state, time on a CPU, time spent waiting for one
 * (/proc/PID/stat, /proc/PID/schedstat). Reads these two files.
 */
#include "keeper/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool read_file(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* The letter behind the command's name, which may hold anything. */
static char process_state(pid_t pid)
{
	char text[512];
	const char *paren;

	if (!read_file(pid, "stat", text, sizeof(text)))
		return '?';
	paren = strrchr(text, ')');
	return paren && paren[1] ? paren[2] : '?';
}

/* A kernel without schedstat tells nothing: then only the state counts. */
static void times(pid_t pid, uint64_t *cpu_ns, uint64_t *waited_ns)
{
	char text[128];
	unsigned long long cpu = 0, waited = 0;

	if (read_file(pid, "schedstat", text, sizeof(text)))
		(void)sscanf(text, "%llu %llu", &cpu, &waited);
	*cpu_ns = cpu;
	*waited_ns = waited;
}

/*
 * Asked again and again while a process makes no progress. It must not have wanted a CPU for a quarter of `limit_ns`,
 * or have had one for so long.
 */
enum keeper_stuck keeper_stuck(struct keeper_watch *w, pid_t pid, uint64_t now_ns, uint64_t limit_ns)
{
	uint64_t cpu, waited, lasted = now_ns - w->since_ns;

	times(pid, &cpu, &waited);
	if (!w->since_ns) {
		*w = (struct keeper_watch){.since_ns = now_ns, .cpu_ns = cpu, .waited_ns = waited};
		return STUCK_NOT_YET;
	}
	if (lasted < limit_ns / 4)
		return STUCK_NOT_YET;
	if (process_state(pid) == 'R' && cpu)
		return cpu - w->cpu_ns < limit_ns / 4 ? STUCK_NOT_YET : STUCK_YES;
	if (waited - w->waited_ns > lasted / 2) {
		w->since_ns = 0;
		return STUCK_NO_CPU;
	}
	return STUCK_YES;
}
