/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verb lab: executes an experiment's own program. Knows where they are and nothing of what they do.
 */
#include "cli/cli.h"

#include "keeper/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside a command that was not installed, else where they were installed with it, else where they were meant to be. */
static const char *lab_directory(const char *self, char *buf, size_t size)
{
	static const char *const beside[] = {"../lab", "../share/spillway/lab"};
	const char *slash = strrchr(self, '/');

	for (unsigned i = 0; slash && i < 2; i++) {
		snprintf(buf, size, "%.*s/%s", (int)(slash - self), self, beside[i]);
		if (!access(buf, X_OK))
			return buf;
	}
	snprintf(buf, size, "%s", SPW_DATADIR "/lab");
	return buf;
}

/* The experiments: folders with an executable `run`. */
static int is_experiment(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
}

/* Writes their names, each behind a space, or as much as fits; in the order of the alphabet. */
static const char *list_experiments(const char *dir, char *buf, size_t size)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_experiment, alphasort);
	size_t len = 0;

	buf[0] = '\0';
	for (int i = 0; i < n; i++) {
		char run[PATH_MAX + 300];

		snprintf(run, sizeof(run), "%s/%s/run", dir, entries[i]->d_name);
		if (!access(run, X_OK) && len + strlen(entries[i]->d_name) + 2 < size)
			len += (size_t)snprintf(buf + len, size - len, " %s", entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return buf;
}

int lab_verb(int argc, char **argv)
{
	char self[PATH_MAX] = "", dir[PATH_MAX + 32], program[PATH_MAX + 80], names[1024];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return usage_error("lab: /proc/self/exe: %s; mount /proc", strerror(errno));
	list_experiments(lab_directory(self, dir, sizeof(dir)), names, sizeof(names));
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		printf("spillway lab NAME [--quick] [--only PART] [--seed N] [--backend iptables|nft] [--json FILE] "
		       "[--chart FILE] [more: spillway lab NAME --help]\nExperiments:%s\n",
		       names);
		return 0;
	}
	if (argc < 2 || argv[1][0] == '-')
		return usage_error("lab: name an experiment:%s", names);
	if (strchr(argv[1], '/'))
		return usage_error("lab: %s: not known; there are:%s", argv[1], names);
	snprintf(program, sizeof(program), "%s/%.40s/run", dir, argv[1]);
	if (access(program, X_OK))
		return usage_error("lab: %s: %s; there are:%s", argv[1], strerror(errno), names);
	setenv("SPILLWAY", self, 1);
	execv(program, argv + 1);
	fprintf(stderr, "spillway: lab: %s: %s; install python3\n", program, strerror(errno));
	return EXIT_FAILED;
}
