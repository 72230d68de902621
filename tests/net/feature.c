/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For scripts of tests: feature NAME... asks the doctor's probes. Exit status 0: all are there; 77, and a line that
 * names the first which is not.
 */
#include "doctor/probe.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char detail[PROBE_DETAIL] = "";

		if (probe_ask(argv[i], detail) != PROBE_YES) {
			printf("SKIP: %s: %s\n", argv[i], detail);
			return 77;
		}
	}
	return 0;
}
