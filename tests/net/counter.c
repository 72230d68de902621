/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads queues' counters as the keeper does, twice each over one socket: counter N... prints "N packets bytes" a line;
 * "N none" where there is no counter.
 */
#include "nfqueue/counter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct spw_counter c;
	int err = spw_counter_open(&c);

	for (int i = 1; !err && i < argc; i++) {
		const uint16_t queue = (uint16_t)atoi(argv[i]);
		uint64_t packets = 0, bytes = 0, again = 0;

		err = spw_counter_read(&c, queue, SPW_COUNTER_QUEUE, &packets, &bytes);
		if (err == -ENOENT)
			printf("%u none\n", queue);
		else if (!err)
			printf("%u %llu %llu\n", queue, (unsigned long long)packets, (unsigned long long)bytes);
		if (!err)
			err = spw_counter_read(&c, queue, SPW_COUNTER_QUEUE, &again, &bytes);
		if (err == -ENOENT)
			err = 0;
		else if (!err && again < packets)
			err = -ERANGE;
	}
	spw_counter_close(&c);
	if (err)
		fprintf(stderr, "counter: %s\n", strerror(-err));
	return err ? 1 : 0;
}
