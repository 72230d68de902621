/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of the gate: a BPF file system of their own, an instance, packets that are made here and run by the kernel
 * (BPF_PROG_TEST_RUN), and what was booked.
 */
#ifndef SPW_TESTS_GATE_WORLD_H
#define SPW_TESTS_GATE_WORLD_H

#include "bytes.h"
#include "unit.h"

#include "gate/gate.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/if_ether.h>

#define FLOWS  1024u
#define SECOND 1000000000ull

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

static char bpffs[] = "/tmp/spillway-gate-XXXXXX", dir[64];
static struct gate gate;
static struct gate_cpu base;   /* as booked when the test began */
static struct gate_cpu before; /* and at the last booked() */
static int fd_pass, fd_shut, fd_tc;

/* From 10.0.0.`from` to 10.0.0.`to`. */
static inline struct bytes ipv4(uint8_t protocol, uint8_t from, uint8_t to, uint8_t options, uint16_t fragment)
{
	struct bytes b = {0};

	ADD(&b, (uint8_t)(0x45 + options), 0, 0, 0, 0x12, 0x34, (uint8_t)(fragment >> 8), (uint8_t)fragment, 64,
	    protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to);
	for (uint8_t i = 0; i < options; i++)
		ADD(&b, 1, 1, 1, 0);
	return b;
}

static inline struct bytes ipv6(uint8_t next, uint8_t from, uint8_t to)
{
	struct bytes b = {0};

	ADD(&b, 0x60, 0, 0, 0, 0, 0, next, 64, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, from, 0x20, 1,
	    0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, to);
	return b;
}

static inline void ports(struct bytes *b, uint16_t from, uint16_t to)
{
	ADD(b, (uint8_t)(from >> 8), (uint8_t)from, (uint8_t)(to >> 8), (uint8_t)to);
}

static inline void tcp(struct bytes *b, uint16_t from, uint16_t to, uint8_t flags)
{
	ports(b, from, to);
	ADD(b, 0, 0, 0, 1, 0, 0, 0, 2, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0);
}

static inline void udp(struct bytes *b, uint16_t from, uint16_t to)
{
	ports(b, from, to);
	ADD(b, 0, 12, 0, 0, 1, 2, 3, 4);
}

/* The two ends of connection `n`: 10.0.0.1 from a port of its own, 10.0.0.2 port 80. Client: speaks. */
static inline struct bytes tcp_packet(unsigned n, bool client, uint8_t flags)
{
	struct bytes b = client ? ipv4(6, 1, 2, 0, 0) : ipv4(6, 2, 1, 0, 0);

	if (client)
		tcp(&b, (uint16_t)(1024 + n), 80, flags);
	else
		tcp(&b, 80, (uint16_t)(1024 + n), flags);
	return b;
}

static inline struct bytes udp_packet(unsigned n, bool client)
{
	struct bytes b = client ? ipv4(17, 1, 2, 0, 0) : ipv4(17, 2, 1, 0, 0);

	if (client)
		udp(&b, (uint16_t)(1024 + n), 53);
	else
		udp(&b, 53, (uint16_t)(1024 + n));
	return b;
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Runs a program on a whole frame. */
static inline int run_frame(int prog, const void *frame, size_t len, uint32_t *mark)
{
	struct __sk_buff ctx = {.mark = mark ? *mark : 0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len, .repeat = 1);

	if (mark) {
		opts.ctx_in = &ctx;
		opts.ctx_out = &ctx;
		opts.ctx_size_in = sizeof(ctx);
		opts.ctx_size_out = sizeof(ctx);
	}
	assert_int_equal(bpf_prog_test_run_opts(prog, &opts), 0);
	if (mark)
		*mark = ctx.mark;
	return (int)opts.retval;
}

/* Runs a program on an IP packet as rules see it: the kernel takes the Ethernet header off. */
static inline int run(int prog, const struct bytes *b)
{
	const bool v6 = b->at[0] >> 4 == 6;
	struct bytes frame = {0};

	/* What it takes for IP has to have a whole header; the gate looks at the packet alone. */
	ADD(&frame, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2);
	if (b->len < (v6 ? 40 : 20))
		ADD(&frame, 0x88, 0xb5);
	else
		ADD(&frame, v6 ? 0x86 : 8, v6 ? 0xdd : 0);
	add(&frame, b->at, b->len);
	return run_frame(prog, frame.at, frame.len, NULL);
}

/* What was booked in this test. All of a row are counters of 64 bits, but the slot, which is none of ours. */
static inline struct gate_cpu sum(void)
{
	struct gate_cpu s;

	gate_books(&gate, &s);
	for (unsigned i = 0; i < offsetof(struct gate_cpu, slot) / sizeof(uint64_t); i++)
		((uint64_t *)&s)[i] -= ((const uint64_t *)&base)[i];
	return s;
}

/* The columns in which packets were booked since the last call: exactly one packet. */
static inline enum gate_column booked(void)
{
	const struct gate_cpu after = sum();
	enum gate_column column = GATE_COLUMNS;
	uint64_t packets = 0;

	for (unsigned c = 0; c < GATE_COLUMNS; c++) {
		packets += after.column[c].packets - before.column[c].packets;
		if (after.column[c].packets != before.column[c].packets)
			column = c;
	}
	before = after;
	assert_int_equal(packets, 1);
	return column;
}

/* One packet through the first rule; where it went. */
static inline enum gate_column pass(struct bytes b)
{
	const int passes = run(fd_pass, &b);
	const enum gate_column column = booked();

	assert_int_equal(passes, column != GATE_ADMITTED && column < GATE_SHUT_BY);
	return column;
}

static inline int pinned(const char *name)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

/* No CPU remembers a flow of the test before. */
static inline void forget_memos(void)
{
	for (uint32_t i = 0; i < gate.cpu_count; i++) {
		struct gate_cpu row = gate.cpu[i];

		row.memo = (struct gate_memo){0};
		assert_int_equal(bpf_map_update_elem(gate.fd[GATE_FD_CPUS], &i, &row, BPF_ANY), 0);
	}
}

/* For each test: no flow, an engine that has just looked, and of which the test has the time in hand. */
static inline int fresh(void **state)
{
	(void)state;
	for (unsigned i = GATE_FD_ONEWAY; i <= GATE_FD_TWOWAY; i++) {
		struct gate_key key;

		while (!bpf_map_get_next_key(gate.fd[i], NULL, &key))
			bpf_map_delete_elem(gate.fd[i], &key);
	}
	forget_memos();
	gate_page_begin(gate.page, FLOWS, 12345);
	gate.page->ticked_ns = now_ns() + 3600000000000u;
	gate_books(&gate, &base);
	before = sum();
	return 0;
}

/* Ends the program with 77 where BPF is not to be had here. */
static inline void world_begin(void)
{
	struct gate_why why = {0};

	if (gate_open("/", true, &gate, &why) == -EOPNOTSUPP) {
		printf("SKIP: %s\n", why.text);
		exit(77);
	}
	if (!mkdtemp(bpffs) || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", bpffs, "bpf", 0, NULL)) {
		rmdir(bpffs);
		printf("SKIP: a BPF file system of one's own: %s\n", strerror(errno));
		exit(77);
	}
	snprintf(dir, sizeof(dir), "%s/spillway/queue-7", bpffs);
	if (gate_load(dir, FLOWS, &gate, &why)) {
		umount2(bpffs, MNT_DETACH);
		rmdir(bpffs);
		printf("SKIP: BPF: %s\n", why.text);
		exit(77);
	}
	fd_pass = pinned("pass");
	fd_shut = pinned("shut");
	fd_tc = pinned("gate_tc");
}

static inline void world_end(void)
{
	gate_close(&gate);
	gate_unpin(dir);
	umount2(bpffs, MNT_DETACH);
	rmdir(bpffs);
}

/* The flow, as it stands in either table; and whether it is there. */
static inline bool flow_of(struct gate_key key, struct gate_flow *flow)
{
	gate_key_sort(&key);
	return !bpf_map_lookup_elem(gate.fd[GATE_FD_TWOWAY], &key, flow) ||
	       !bpf_map_lookup_elem(gate.fd[GATE_FD_ONEWAY], &key, flow);
}

/* Key of a connection made by tcp_packet() or udp_packet(). */
static inline struct gate_key key_of(uint8_t protocol, unsigned n)
{
	const struct spw_flow flow = {.address = {{10, 0, 0, 1}, {10, 0, 0, 2}},
				      .port = {(uint16_t)(1024 + n), protocol == 6 ? 80 : 53},
				      .family = 4,
				      .protocol = protocol};

	return gate_key_from(&flow, 0);
}

/* It is there. */
static inline struct gate_flow the_flow(struct gate_key key)
{
	struct gate_flow flow = {0};

	assert_true(flow_of(key, &flow));
	return flow;
}

static inline void edit_flow(struct gate_key key, const struct gate_flow *flow)
{
	struct gate_flow old;
	const int fd =
	    gate.fd[bpf_map_lookup_elem(gate.fd[GATE_FD_TWOWAY], &key, &old) ? GATE_FD_ONEWAY : GATE_FD_TWOWAY];

	assert_int_equal(bpf_map_update_elem(fd, &key, flow, BPF_EXIST), 0);
	gate.page->turned++; /* as whoever turns one does */
}

static inline uint64_t total(void)
{
	const struct gate_cpu s = sum();
	uint64_t packets = 0;

	for (unsigned c = 0; c < GATE_COLUMNS; c++)
		packets += s.column[c].packets;
	return packets;
}

static inline uint64_t seen(struct gate_flow flow)
{
	return flow.queued + flow.passed;
}

/* As many admissions no longer wait. */
static inline void forget(uint64_t number)
{
	gate.page->gone = number;
	gate.page->gone_bytes = gate.page->ring[number % GATE_RING];
}

/* Everything that was admitted has been decided. */
static inline void settle_all(void)
{
	forget(gate.page->admitted);
	gate.page->settled = gate.page->admitted;
}

#endif
