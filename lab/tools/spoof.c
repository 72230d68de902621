/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flood: datagrams of very many flows, each from an address and a port of its own that are nobody's.
 *
 *     spoof ADDRESS PORT FIRST FLOWS COUNT PER_SECOND BYTES    prints {"sent":N,"refused":N,"ms":N}
 *
 * The flows FIRST to FIRST + FLOWS - 1, in turn, COUNT datagrams in all; PER_SECOND 0: as fast as possible. SIGTERM: it
 * stops and tells.
 */
#include "raw.h"

#define NETWORK 0xc6130000u /* 198.19.0.0 */
#define TICK_NS 500000u

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

static void flood(struct raw_sender *s, uint32_t first, uint32_t flows, uint64_t count, uint64_t rate)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	const uint64_t start = now_ns();

	for (uint64_t i = 0; i < count && !told_to_stop;) {
		const uint64_t due = rate ? (now_ns() - start) * rate / NS : count;

		for (; i < due && i < count && !told_to_stop; i++)
			memset(raw_next(s, first + (uint32_t)(i % flows)), 0, s->bytes);
		raw_flush(s);
		if (rate)
			nanosleep(&tick, NULL);
	}
}

int main(int argc, char **argv)
{
	static struct raw_sender s;
	uint64_t start;

	if (argc != 8 || !number(argv[4]))
		return 2;
	stop_in_order(on_stop);
	if (!raw_open(&s, argv[1], argv[2], NETWORK, number(argv[7]))) {
		perror("spoof: socket");
		return 1;
	}
	start = now_ns();
	flood(&s, (uint32_t)number(argv[3]), (uint32_t)number(argv[4]), number(argv[5]), number(argv[6]));
	stop_no_more();
	printf("{\"sent\":%llu,\"refused\":%llu,\"ms\":%llu}\n", (unsigned long long)s.sent,
	       (unsigned long long)s.refused, (unsigned long long)(now_ns() - start) / 1000000);
	return 0;
}
