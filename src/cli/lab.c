/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verb lab: executes an experiment's own program. Knows where they are and nothing of what they do.
 */
#include "cli/cli.h"

#include "keeper/keeper.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside a command that was not installed, else where they were installed. */
static const char *lab_directory(const char *self, char *buf, size_t size)
{
	const char *slash = strrchr(self, '/');

	snprintf(buf, size, "%.*s/../lab", slash ? (int)(slash - self) : 0, self);
	if (access(buf, X_OK))
		snprintf(buf, size, "%s", SPW_DATADIR "/lab");
	return buf;
}

int lab_verb(int argc, char **argv)
{
	char self[PATH_MAX] = "", dir[PATH_MAX + 16], program[PATH_MAX + 64];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return usage_error("lab: /proc/self/exe: %s; mount /proc", strerror(errno));
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		printf("spillway lab NAME [--json FILE] [--chart FILE] [--quick] [more: spillway lab NAME "
		       "--help]\nExperiments: seed\n");
		return 0;
	}
	if (argc < 2 || argv[1][0] == '-' || strchr(argv[1], '/'))
		return usage_error("lab: name an experiment; seed is one");
	snprintf(program, sizeof(program), "%s/%.40s/run", lab_directory(self, dir, sizeof(dir)), argv[1]);
	if (access(program, X_OK))
		return usage_error("lab: %s: %s; seed is one", argv[1], strerror(errno));
	setenv("SPILLWAY", self, 1);
	execv(program, argv + 1);
	fprintf(stderr, "spillway: lab: %s: %s; install python3\n", program, strerror(errno));
	return EXIT_FAILED;
}
