/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Wants as many bytes of each packet as the file "range" beside it says, and is ready once there is a file "go";
 * accepts all.
 */
#include <spillway/inspector.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static FILE *beside(const char *self, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%.*s/%s", (int)(strrchr(self, '/') - self), self, name);
	return fopen(path, "r");
}

int main(int argc, char **argv)
{
	struct spw_lane_config config = {.size = sizeof(config)};
	struct spw_event events[8];
	struct spw_lane *lane = NULL;
	FILE *f = argc ? beside(argv[0], "range") : NULL;

	if (!f || fscanf(f, "%u", &config.copy_range) != 1 || spw_lane_attach(&lane, &config))
		return 1;
	while (!beside(argv[0], "go"))
		usleep(1000);
	if (spw_lane_ready(lane))
		return 1;
	for (;;) {
		int n = spw_lane_next(lane, events, 8, -1);

		if (n < 0)
			return 0;
		for (int i = 0; i < n; i++)
			(void)spw_lane_verdict(
			    lane, events[i].handle,
			    &(struct spw_verdict){.size = sizeof(struct spw_verdict), .code = SPW_ACCEPT});
		spw_lane_flush(lane);
	}
}
