/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An inspector as plug-in: at the first packet, under the narrow filter, it does the forbidden thing that TRY names.
 */
#include "probe.h"

#include <spillway/inspector.h>

SIMPLE(open_file, SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)
SIMPLE(write_stdout, SYS_write, 1, "x", 1)
SIMPLE(map_code, SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
SIMPLE(map_file, SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, 0, 0)
SIMPLE(protect_code, SYS_mprotect, 0, 4096, PROT_EXEC)
SIMPLE(execute, SYS_execve, "/bin/true", NULL, NULL)
SIMPLE(thread, SYS_clone, CLONE_THREAD, 0, 0, 0, 0)
SIMPLE(control, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)

/* What an inspector in C may well do. */
PROBE(ok_work)
{
	struct timespec t = {.tv_nsec = 1000};
	char *big = calloc(1, 64u << 20);
	int bad = !big || !(big = realloc(big, 96u << 20));

	free(big);
	fprintf(stderr, "a line of the plug-in's\n");
	return bad || nanosleep(&t, NULL) || clock_gettime(CLOCK_REALTIME, &t) || raise(0) ? 1 : 0;
}
PROBE(dies_of_abort)
{
	abort();
}

static const struct probe more[] = {P(open_file), P(write_stdout), P(map_code), P(map_file), P(protect_code),
				    P(execute),   P(thread),       P(control),  P(ok_work),  P(dies_of_abort)};

static void try_one(const struct probe *list, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(list[i].name, name))
			fprintf(stderr, "survived %s %d\n", name, list[i].run());
}

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	const char *name = getenv("TRY");

	(void)self;
	(void)p;
	(void)v;
	if (!name)
		return;
	try_one(probes, PROBES, name);
	try_one(more, sizeof(more) / sizeof(*more), name);
}

static int start(void **self)
{
	(void)self;
	return read_fds();
}

SPW_INSPECTOR(.name = "probe", .packet = inspect, .start = start);
