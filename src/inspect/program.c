/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main() for an inspector that is a program: libspillway_main. Under `spillway run` it inspects; started by hand it
 * starts `spillway run` with itself as the inspector, so that it is protected in the same way.
 */
#include "lane/channel.h"

#include <spillway/inspector.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct spw_inspector spillway_inspector;

static int start_spillway(int argc, char **argv)
{
	char self[PATH_MAX], inspect[PATH_MAX + 8];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char **args = calloc((size_t)argc + 4, sizeof(*args));
	int n = 0;

	if (len < 0 || !args) {
		fprintf(stderr, "%s: starting spillway: %s; is /proc mounted?\n", argv[0], strerror(errno));
		free(args);
		return 1;
	}
	self[len] = '\0';
	snprintf(inspect, sizeof(inspect), "exec:%s", self);
	args[n++] = "spillway";
	args[n++] = "run";
	args[n++] = "--inspect";
	args[n++] = inspect;
	for (int i = 1; i < argc; i++)
		args[n++] = argv[i];
	execvp("spillway", args);
	fprintf(stderr, "%s: spillway: %s; put the directory of the spillway command into PATH\n", argv[0],
		strerror(errno));
	free(args);
	return 1;
}

int main(int argc, char **argv)
{
	int error;

	if (!getenv(CHANNEL_ENV))
		return start_spillway(argc, argv);
	error = spw_inspector_run(&spillway_inspector);
	if (error)
		fprintf(stderr, "%s: inspecting: %s; the inspector ends\n", argv[0], strerror(-error));
	return error ? 1 : 0;
}
