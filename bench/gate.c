/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the gate costs: nanoseconds a packet by the kernel's own statistics of BPF programs, less what an empty program
 * shows there; and the memory of its tables. Packets are made here and run by BPF_PROG_TEST_RUN, so nothing of a
 * network is in it. Needs root and a BPF file system: `unshare -m sh -c 'mount -t bpf bpf /sys/fs/bpf &&
 * build/bench/gate'`.
 */
#include "gate/gate.h"
#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#define DIR     "/sys/fs/bpf/spillway-bench"
#define PACKETS 300000u
#define HOUR_NS 3600000000000ull
#define COLD    30000u
#define COPIED  (64u << 10) /* what an aggregate has, */
#define PLACES  64u         /* and where it may lie */

static struct gate gate;
static uint8_t frame[14 + 40] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, [23] = 6, [46] = 5 << 4, [47] = 16};

static void die(const char *what)
{
	fprintf(stderr, "bench: gate: %s: %s\n", what, strerror(errno));
	gate_unpin(DIR);
	exit(1);
}

/* Flow n of as many as there are; from either end; so many times. */
static void run(int prog, uint32_t n, bool answer, uint32_t times)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .repeat = (int)times);
	uint8_t *from = frame + 14 + (answer ? 16 : 12), *to = frame + 14 + (answer ? 12 : 16);

	memcpy(from, (uint8_t[]){10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}, 4);
	memcpy(to, (uint8_t[]){192, 0, 2, 1}, 4);
	if (bpf_prog_test_run_opts(prog, &opts))
		die("BPF_PROG_TEST_RUN");
}

static struct bpf_prog_info info_of(int prog)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		die("the program's statistics");
	return info;
}

/* ns of one packet; the flows in an order that no cache foresees. Beyond the flows that are there: each is new. */
static double cost(int prog, uint32_t flows, bool miss)
{
	const struct bpf_prog_info before = info_of(prog);
	struct bpf_prog_info after;
	uint64_t chance = 88172645463325252u;

	if (flows == 1 && !miss)
		run(prog, 0, false, PACKETS);
	else
		for (uint32_t i = 0; i < PACKETS; i++) {
			chance ^= chance << 13;
			chance ^= chance >> 7;
			chance ^= chance << 17;
			run(prog, miss ? flows + i : (uint32_t)(chance % flows), false, 1);
		}
	after = info_of(prog);
	return (double)(after.run_time_ns - before.run_time_ns) / (double)(after.run_cnt - before.run_cnt);
}

/* The same of one flow, where before each packet so much was copied as one that the program decides on has. */
static double cold(int prog)
{
	static uint8_t from[COPIED], to[PLACES][COPIED];
	const struct bpf_prog_info before = info_of(prog);
	struct bpf_prog_info after;

	for (uint32_t i = 0; i < COLD; i++) {
		memcpy(to[i % PLACES], from, COPIED);
		memcpy(to[(i + PLACES / 2) % PLACES], from, COPIED);
		run(prog, 0, false, 1);
	}
	after = info_of(prog);
	return (double)(after.run_time_ns - before.run_time_ns) / (double)(after.run_cnt - before.run_cnt);
}

/* What the kernel says that a map takes. */
static unsigned long long memory_of(int fd)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "memlock: %llu", &bytes);
	if (f)
		fclose(f);
	return bytes;
}

static void look(void)
{
	gate.page->ticked_ns = clock_ns() + HOUR_NS;
}

static void load(uint32_t flows, int *prog, int *second)
{
	struct gate_why why;

	if (gate_load(DIR, flows < 1024 ? 1024 : 2 * flows, &gate, &why)) {
		fprintf(stderr, "bench: gate: %s\n", why.text);
		exit(1);
	}
	*prog = bpf_obj_get(DIR "/pass");
	*second = bpf_obj_get(DIR "/shut");
	if (*prog < 0 || *second < 0)
		die(DIR);
	look();
}

static void unload(int prog, int second)
{
	close(prog);
	close(second);
	gate_close(&gate);
	gate_unpin(DIR);
}

/* One flow, with the caches full of other things. */
static void measure_cold(void)
{
	double empty;
	int prog, second;

	load(1, &prog, &second);
	run(prog, 0, false, 1);
	empty = cold(second);
	gate_set_mode(gate.page, GATE_MODE_SPILL, REASON_MANUAL);
	printf("   1 flow, out of the cache: empty program %.0f ns; beyond that: open %.0f", empty, cold(prog) - empty);
	gate_set_mode(gate.page, GATE_MODE_ADMIT, 0);
	printf(", hit %.0f", cold(prog) - empty);
	gate.page->settled = UINT64_MAX / 2;
	gate.page->cutoff = 1;
	run(prog, 0, false, 1);
	printf(", hit that is spilled %.0f\n", cold(prog) - empty);
	unload(prog, second);
}

static void measure(uint32_t flows)
{
	double empty;
	int prog, second;

	load(flows, &prog, &second);
	for (uint32_t i = 0; i < flows; i++) {
		run(prog, i, false, 1);
		run(prog, i, true, 1);
	}
	empty = cost(second, flows, false);
	gate_set_mode(gate.page, GATE_MODE_SPILL, REASON_MANUAL);
	printf("%8u flows: empty program %.0f ns; beyond that: open %.0f", flows, empty,
	       cost(prog, flows, false) - empty);
	gate_set_mode(gate.page, GATE_MODE_ADMIT, 0);
	printf(", hit %.0f", cost(prog, flows, false) - empty);
	gate.page->settled = UINT64_MAX / 2;
	gate.page->cutoff = 1;
	cost(prog, flows, false);
	printf(", hit that is spilled %.0f", cost(prog, flows, false) - empty);
	gate_set_shedding(gate.page, GATE_ALL, 0);
	printf(", miss %.0f ns; tables of %u: 2 x %.1f MiB\n", cost(prog, flows, true) - empty, gate.page->flows,
	       (double)memory_of(gate.fd[GATE_FD_ONEWAY]) / (1 << 20));
	unload(prog, second);
}

int main(void)
{
	const int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (stats < 0)
		die("BPF_ENABLE_STATS");
	measure_cold();
	measure(1);
	measure(10000);
	measure(1000000);
	close(stats);
	return 0;
}
