/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate's program in the kernel, packet by packet: which flow it finds, at rules and at tc; the second rule; and all
 * of it opened by others.
 */
#include "gate_world.h"

/* Packets of every kind: `ports` where the flow has them. */
struct kind {
	const char *name;
	struct bytes packet;
	bool unlike; /* the library makes another flow of it, or none */
};

static unsigned kinds(struct kind k[])
{
	unsigned n = 0;
	struct bytes *b;

#define KIND(what, made) (k[n].name = (what), k[n].packet = (made), b = &k[n].packet, n++)
	KIND("TCP", ipv4(6, 1, 2, 0, 0));
	tcp(b, 1024, 80, SYN);
	KIND("TCP over IPv6", ipv6(6, 1, 2));
	tcp(b, 1024, 80, SYN);
	KIND("TCP, options of IPv4", ipv4(6, 1, 2, 10, 0));
	tcp(b, 1024, 80, SYN);
	KIND("UDP, from the higher end", ipv4(17, 9, 2, 0, 0));
	udp(b, 1024, 53);
	KIND("UDP over IPv6", ipv6(17, 9, 2));
	udp(b, 1024, 53);
	KIND("UDP between equal addresses", ipv4(17, 2, 2, 0, 0));
	udp(b, 53, 52);
	KIND("UDP-Lite", ipv4(136, 1, 2, 0, 0));
	udp(b, 1024, 53);
	KIND("DCCP", ipv4(33, 1, 2, 0, 0));
	udp(b, 1024, 53);
	KIND("SCTP", ipv4(132, 1, 2, 0, 0));
	udp(b, 1024, 53);
	KIND("SCTP over IPv6", ipv6(132, 1, 2));
	udp(b, 1024, 53);
	KIND("echo", ipv4(1, 1, 2, 0, 0));
	ADD(b, 8, 0, 0, 0, 0x12, 0x34, 0, 1);
	KIND("echo over IPv6", ipv6(58, 1, 2));
	ADD(b, 128, 0, 0, 0, 0x12, 0x34, 0, 1);
	KIND("neighbour solicitation", ipv6(58, 1, 2));
	ADD(b, 135, 0, 0, 0, 0, 0, 0, 0);
	KIND("error about nothing", ipv4(1, 1, 2, 0, 0));
	ADD(b, 3, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4);
	KIND("error about an unknown flow", ipv6(58, 1, 2));
	ADD(b, 1, 0, 0, 0, 0, 0, 0, 0);
	add(b, ipv6(17, 2, 3).at, 40);
	KIND("GRE", ipv4(47, 1, 2, 0, 0));
	ADD(b, 0, 0, 8, 0, 1, 2, 3, 4);
	KIND("ESP", ipv6(50, 1, 2));
	ADD(b, 0, 0, 8, 0, 1, 2, 3, 4);
	KIND("unknown", ipv4(253, 1, 2, 0, 0));
	ADD(b, 1, 2, 3, 4);
	KIND("hop by hop, routing, destination", ipv6(0, 1, 2));
	ADD(b, 43, 0, 1, 4, 0, 0, 0, 0, 60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0);
	udp(b, 1024, 53);
	KIND("authentication", ipv6(51, 1, 2));
	ADD(b, 17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2);
	udp(b, 1024, 53);
	KIND("nothing follows", ipv6(59, 1, 2));
	KIND("nine extension headers", ipv6(60, 1, 2));
	for (unsigned i = 0; i < 9; i++)
		ADD(b, i < 8 ? 60 : 17, 0, 1, 4, 0, 0, 0, 0);
	udp(b, 1024, 53);
	k[n - 1].unlike = true;
	KIND("a last fragment alone", ipv4(17, 1, 2, 0, 100));
	ADD(b, 1, 2, 3, 4, 5, 6, 7, 8);
	KIND("the same of IPv6", ipv6(44, 1, 2));
	ADD(b, 17, 0, 0x10, 0, 0, 0, 0, 7, 1, 2, 3, 4);
#undef KIND
	return n;
}

#define KINDS 32

/* Each has the flow that the library gives it, and is admitted. */
static void every_kind(void **state)
{
	static struct kind k[KINDS];
	const unsigned n = kinds(k);

	(void)state;
	assert_true(n <= KINDS);
	for (unsigned i = 0; i < n; i++) {
		const struct spw_packet packet = {.hw_protocol = k[i].packet.at[0] >> 4 == 6 ? 0x86dd : 0x0800,
						  .payload = k[i].packet.at,
						  .payload_len = k[i].packet.len};
		struct spw_headers headers = {.size = sizeof(headers)};
		struct gate_flow flow = {0};

		assert_int_equal(pass(k[i].packet), GATE_ADMITTED);
		assert_int_equal(spw_packet_headers(&packet, &headers), 0);
		if (!k[i].unlike && !flow_of(gate_key_from(&headers.flow, 0), &flow))
			fail_msg("%s: another flow than the library's", k[i].name);
	}
	assert_int_equal(sum().unparsed, 0);
	assert_int_equal(sum().alone, 2);
}

/* Cut anywhere, all are admitted and booked once; without a whole IP header there is no flow. */
static void every_length(void **state)
{
	static struct kind k[KINDS];
	const unsigned n = kinds(k);
	uint64_t runs = 0, bytes = 0, unparsed = 0;

	(void)state;
	for (unsigned i = 0; i < n; i++)
		for (size_t len = 1; len < k[i].packet.len; len++) {
			struct bytes cut = k[i].packet;

			cut.len = len;
			assert_int_equal(run(fd_pass, &cut), 0);
			runs++;
			bytes += len;
			unparsed += len < (cut.at[0] >> 4 == 6 ? 40u : 20u);
		}
	assert_int_equal(sum().column[GATE_ADMITTED].packets, runs);
	assert_int_equal(sum().column[GATE_ADMITTED].bytes, bytes);
	assert_int_equal(sum().unparsed, unparsed);
	assert_int_equal(gate.page->admitted, runs);
	assert_int_equal(gate.page->admitted_bytes, bytes);
	assert_int_equal(total(), runs);
}

static void no_ip(void **state)
{
	struct bytes b = {0};

	(void)state;
	ADD(&b, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(pass(b), GATE_ADMITTED);
	b.at[0] = 0x44; /* a header of 16 bytes */
	assert_int_equal(pass(b), GATE_ADMITTED);
	assert_int_equal(sum().unparsed, 2);
}

static void fragments(void **state)
{
	struct bytes first = ipv4(17, 1, 2, 0, 0x2000), later = ipv4(17, 1, 2, 0, 0x2002), last = ipv4(17, 1, 2, 0, 4);
	struct bytes other = ipv4(17, 1, 2, 0, 4), six = ipv6(44, 1, 2), six_last = ipv6(44, 1, 2);
	const struct spw_flow v6 = {.address = {{0x20, 1, 0x0d, 0xb8, [15] = 1}, {0x20, 1, 0x0d, 0xb8, [15] = 2}},
				    .port = {1026, 53},
				    .family = 6,
				    .protocol = 17};

	(void)state;
	udp(&first, 1025, 53);
	ADD(&later, 1, 2, 3, 4, 5, 6, 7, 8);
	ADD(&last, 1, 2, 3, 4);
	ADD(&other, 1, 2, 3, 4);
	other.at[5] = 0x35; /* of another packet */
	pass(last);
	assert_int_equal(sum().alone, 1);
	pass(first);
	pass(later);
	pass(last);
	assert_int_equal(sum().alone, 1);
	assert_int_equal(seen(the_flow(key_of(17, 1))), 3);
	pass(other);
	assert_int_equal(sum().alone, 2);
	assert_int_equal(seen(the_flow(key_of(17, 1))), 3);

	ADD(&six, 17, 0, 0, 1, 0, 0, 0, 9);
	udp(&six, 1026, 53);
	ADD(&six_last, 17, 0, 0, 0x10, 0, 0, 0, 9, 1, 2, 3, 4);
	pass(six);
	pass(six_last);
	assert_int_equal(seen(the_flow(gate_key_from(&v6, 0))), 2);
}

/* Both ends' packets are of one flow, which moves on with the first answer and takes its counts along. */
static void both_directions(void **state)
{
	const struct gate_key key = key_of(6, 1);
	struct gate_flow flow;

	(void)state;
	pass(tcp_packet(1, true, SYN));
	assert_true(bpf_map_lookup_elem(gate.fd[GATE_FD_TWOWAY], &key, &flow));
	pass(tcp_packet(1, false, SYN | ACK));
	pass(tcp_packet(1, true, ACK));
	assert_int_equal(bpf_map_lookup_elem(gate.fd[GATE_FD_TWOWAY], &key, &flow), 0);
	assert_int_equal(seen(flow), 3);
	assert_int_equal(flow.queued_bytes + flow.passed_bytes, 120);
	assert_int_equal(flow.queued, 3);
	assert_int_equal(flow.queued_bytes, 120);
	assert_int_equal(flow.last_admitted, 3);
	assert_int_equal(flow.directions, 3);
	assert_true(bpf_map_lookup_elem(gate.fd[GATE_FD_ONEWAY], &key, &flow));
	assert_int_equal(sum().flows, 1);
}

/* An error goes the way of the flow that it is about, and does not count in it. */
static void icmp_errors(void **state)
{
	struct bytes error = ipv4(1, 9, 1, 0, 0), six = ipv6(58, 9, 1), inner = ipv6(17, 1, 2);
	const struct bytes about = udp_packet(1, true);
	struct gate_key key;

	(void)state;
	ADD(&error, 3, 4, 0, 0, 0, 0, 5, 0);
	add(&error, about.at, about.len);
	pass(about);
	assert_int_equal(gate_flow_set(&gate, key_of(17, 1), GATE_FLOW_SHUT, REASON_MANUAL), 0);
	assert_int_equal(pass(error), GATE_SHUT_BY + REASON_MANUAL);
	assert_int_equal(seen(the_flow(key_of(17, 1))), 1);
	/* Cut behind the inner header's ports, then before them: there it is about nothing that is known. */
	error.len = 20 + 8 + 20 + 4;
	assert_int_equal(pass(error), GATE_SHUT_BY + REASON_MANUAL);
	error.len--;
	assert_int_equal(pass(error), GATE_ADMITTED);
	/* While the class is shut, too. */
	error.len++;
	settle_all();
	assert_int_equal(gate_flow_set(&gate, key_of(17, 1), GATE_FLOW_INSPECT, 0), 0);
	assert_int_equal(gate_flow_set(&gate, key_of(17, 1), GATE_FLOW_TRUSTED, 0), 0);
	assert_int_equal(pass(about), GATE_TRUSTED);
	gate_set_mode(gate.page, GATE_MODE_SHUT, REASON_HUNG);
	assert_int_equal(pass(error), GATE_TRUSTED);
	assert_int_equal(gate_flow_set(&gate, key_of(17, 1), GATE_FLOW_INSPECT, 0), 0);
	assert_int_equal(pass(error), GATE_SHUT_BY + REASON_HUNG);
	gate_set_mode(gate.page, GATE_MODE_ADMIT, 0);

	udp(&inner, 1024, 53);
	ADD(&six, 2, 0, 0, 0, 0, 0, 5, 0);
	add(&six, inner.at, inner.len);
	pass(inner);
	key = gate_key_from(
	    &(struct spw_flow){.address = {{0x20, 1, 0x0d, 0xb8, [15] = 1}, {0x20, 1, 0x0d, 0xb8, [15] = 2}},
			       .port = {1024, 53},
			       .family = 6,
			       .protocol = 17},
	    0);
	assert_int_equal(gate_flow_set(&gate, key, GATE_FLOW_SHUT, REASON_POISON), 0);
	assert_int_equal(pass(six), GATE_SHUT_BY + REASON_POISON);
}

/* The second rule trusts the slot only where all of it fits. */
static void slot(void **state)
{
	struct bytes mine = udp_packet(1, true), other = udp_packet(2, true), admitted = udp_packet(3, true);

	(void)state;
	/* Before anything can be shut it does not even look. */
	assert_int_equal(run(fd_shut, &mine), 0);
	assert_int_equal(sum().slot_missed, 0);
	gate_set_policy(gate.page, 1u << REASON_FULL);
	gate.page->limit_packets = 1;
	assert_int_equal(pass(admitted), GATE_ADMITTED);
	assert_int_equal(run(fd_shut, &admitted), 0);
	assert_int_equal(pass(mine), GATE_SHUT_BY + REASON_FULL);
	assert_int_equal(run(fd_shut, &mine), 1);
	assert_int_equal(sum().slot_missed, 0);
	/* Another packet has been decided in between: by the flow. */
	assert_int_equal(pass(mine), GATE_SHUT_BY + REASON_FULL);
	assert_int_equal(pass(admitted), GATE_ADMITTED);
	assert_int_equal(run(fd_shut, &mine), 1);
	assert_int_equal(sum().slot_missed, 1);
	pass(mine);
	assert_int_equal(run(fd_shut, &admitted), 0);
	assert_int_equal(sum().slot_missed, 2);
	/* The same flow, but another packet; the same but its length; the other direction. */
	pass(mine);
	mine.at[5]++;
	assert_int_equal(run(fd_shut, &mine), 1);
	assert_int_equal(sum().slot_missed, 3);
	mine.at[5]--;
	mine.len--;
	assert_int_equal(run(fd_shut, &mine), 1);
	assert_int_equal(sum().slot_missed, 4);
	other = udp_packet(1, false);
	assert_int_equal(run(fd_shut, &other), 1);
	assert_int_equal(sum().slot_missed, 5);
	/* Nobody knows it: it is queued, unless nothing is, and the policy is to drop. */
	other = udp_packet(9, true);
	gate_set_policy(gate.page, 1u << REASON_DOWN);
	assert_int_equal(run(fd_shut, &other), 0);
	gate.page->ticked_ns = 0;
	assert_int_equal(run(fd_shut, &other), 1);
	assert_int_equal(sum().slot_missed, 7);
	/* A mode is decided without a look at the packet; only its length is kept. */
	gate_set_mode(gate.page, GATE_MODE_SHUT, REASON_MANUAL);
	pass(other);
	assert_int_equal(run(fd_shut, &other), 1);
	assert_int_equal(sum().slot_missed, 7);
}

/* A flood of senders that nobody answers pushes out its like alone. */
static void flood(void **state)
{
	struct gate_flow flow;
	unsigned kept = 0;

	(void)state;
	for (unsigned n = 0; n < FLOWS / 4; n++) {
		pass(udp_packet(n, true));
		pass(udp_packet(n, false));
	}
	for (unsigned n = 0; n < 10 * FLOWS; n++)
		pass(udp_packet(1000 + n, true));
	for (unsigned n = 0; n < FLOWS / 4; n++) {
		assert_true(flow_of(key_of(17, n), &flow));
		assert_int_equal(seen(flow), 2);
	}
	for (unsigned n = 0; n < 10 * FLOWS; n++)
		kept += flow_of(key_of(17, 1000 + n), &flow);
	assert_in_range(kept, 1, FLOWS + 128 * gate.cpu_count);
	assert_int_equal(total(), FLOWS / 2 + 10 * FLOWS);
}

static int tc(const struct bytes *frame, uint32_t *mark)
{
	return run_frame(fd_tc, frame->at, frame->len, mark);
}

static struct bytes ethernet(uint16_t type, const struct bytes *packet)
{
	struct bytes b = {0};

	ADD(&b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, (uint8_t)(type >> 8), (uint8_t)type);
	if (type == ETH_P_8021Q)
		ADD(&b, 0x60, 0x07, 8, 0);
	add(&b, packet->at, packet->len);
	return b;
}

/* At tc: the mark under its mask, nothing else of it; VLANs apart; no IP, no business. */
static void at_tc(void **state)
{
	const struct bytes b = udp_packet(1, true), six = ipv6(59, 1, 2);
	struct bytes frame = ethernet(ETH_P_IP, &b), tagged = ethernet(ETH_P_8021Q, &b);
	struct bytes arp = ethernet(ETH_P_ARP, &b), frame6 = ethernet(ETH_P_IPV6, &six);
	struct gate_key key = key_of(17, 1);
	uint32_t mark = 0xabcdef01;

	(void)state;
	assert_int_equal(tc(&frame, &mark), -1);
	assert_int_equal(mark, 0xabcdef01);
	assert_int_equal(booked(), GATE_ADMITTED);
	gate_set_mark(gate.page, 0x500, 0xf00);
	assert_int_equal(tc(&frame, &mark), -1);
	assert_int_equal(mark, 0xabcde501);
	assert_int_equal(booked(), GATE_ADMITTED);
	assert_int_equal(sum().column[GATE_ADMITTED].bytes, 2 * b.len);
	gate_set_mode(gate.page, GATE_MODE_SPILL, REASON_MANUAL);
	assert_int_equal(tc(&frame, &mark), -1);
	assert_int_equal(mark, 0xabcde001);
	assert_int_equal(booked(), GATE_SPILLED_BY + REASON_MANUAL);
	gate_set_mode(gate.page, GATE_MODE_SHUT, REASON_MANUAL);
	assert_int_equal(tc(&frame, &mark), 2);
	assert_int_equal(booked(), GATE_SHUT_BY + REASON_MANUAL);
	gate_set_mode(gate.page, GATE_MODE_ADMIT, 0);
	assert_int_equal(tc(&tagged, &mark), -1);
	assert_int_equal(booked(), GATE_ADMITTED);
	assert_int_equal(seen(the_flow(key)), 2);
	key.vlan = 7;
	assert_int_equal(seen(the_flow(key)), 1);
	assert_int_equal(tc(&frame6, &mark), -1);
	assert_int_equal(booked(), GATE_ADMITTED);
	mark = 0xabcdef01;
	assert_int_equal(tc(&arp, &mark), -1);
	assert_int_equal(mark, 0xabcdef01);
	tagged.at[16] = 8;
	tagged.at[17] = 6;
	assert_int_equal(tc(&tagged, &mark), -1);
	assert_int_equal(total(), 6);
}

/* Another process has the same, may only read, or has another version's. */
static void opened_again(void **state)
{
	const uint64_t base_load = base.column[GATE_SPILLED_BY + REASON_LOAD].packets;
	struct gate again, reader;
	struct gate_cpu books;
	struct gate_why why = {0};

	(void)state;
	pass(udp_packet(1, true));
	assert_int_equal(gate_open(dir, false, &again, &why), 0);
	assert_int_equal(again.page->admitted, 1);
	gate_set_mode(again.page, GATE_MODE_SPILL, REASON_LOAD);
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_LOAD);
	if (gate_open(dir, true, &reader, &why))
		fail_msg("%s", why.text);
	assert_int_equal(reader.page->mode, GATE_MODE_SPILL | REASON_LOAD << 8);
	pass(udp_packet(1, true));
	gate_books(&reader, &books);
	assert_int_equal(books.column[GATE_SPILLED_BY + REASON_LOAD].packets, base_load + 1);
	assert_int_equal(gate_refresh(&reader), 0);
	gate_books(&reader, &books);
	assert_int_equal(books.column[GATE_SPILLED_BY + REASON_LOAD].packets, base_load + 2);
	assert_int_equal(gate_flow_set(&reader, key_of(17, 1), GATE_FLOW_SHUT, 0), -EPERM);
	assert_int_not_equal(bpf_map_delete_elem(reader.fd[GATE_FD_ONEWAY], &(struct gate_key){0}), 0);
	assert_int_equal(errno, EPERM);
	gate_close(&reader);
	again.page->version++;
	assert_int_equal(gate_open(dir, false, &reader, &why), -EPROTO);
	assert_non_null(strstr(why.text, "this is a gate of another version, or not whole; take its rules out"));
	again.page->version--;
	gate_close(&again);
}

static void what_fails(void **state)
{
	struct gate other;
	struct gate_why why = {0};
	char path[80];

	(void)state;
	assert_int_equal(gate_load(dir, FLOWS, &other, &why), -EEXIST);
	assert_int_equal(gate_load("/tmp/queue-7", FLOWS, &other, &why), -ENOTSUP);
	assert_int_equal(gate_load(dir, 0, &other, &why), -EINVAL);
	assert_int_equal(gate_unpin("/tmp"), -ENOTSUP);
	snprintf(path, sizeof(path), "%s/spillway/queue-8", bpffs);
	assert_int_equal(gate_open(path, false, &other, &why), -ENOENT);
	assert_int_equal(gate_unpin(path), -ENOENT);
	/* A name that the file system refuses. */
	snprintf(path, sizeof(path), "%s/spillway/queue.8", bpffs);
	assert_int_equal(gate_load(path, FLOWS, &other, &why), -EPERM);
	/* What somebody left who was killed at it is cleared up; and all of it stands under the name, or none. */
	snprintf(path, sizeof(path), "%s/spillway/queue-8-part", bpffs);
	assert_int_equal(mkdir(path, 0700), 0);
	strcat(path, "/page");
	assert_int_equal(bpf_obj_pin(gate.fd[GATE_FD_PAGE], path), 0);
	snprintf(path, sizeof(path), "%s/spillway/queue-8", bpffs);
	assert_int_equal(gate_load(path, FLOWS, &other, &why), 0);
	assert_int_equal(other.page->admitted, 0);
	gate_close(&other);
	strcat(path, "-part");
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(errno, ENOENT);
	snprintf(path, sizeof(path), "%s/spillway/queue-8", bpffs);
	assert_int_equal(gate_unpin(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(errno, ENOENT);
}

static void all_flows(void **state)
{
	struct gate_walk walk;
	struct gate_key key;
	struct gate_flow flow;
	bool answered, found[300] = {false};
	unsigned twice = 0;

	(void)state;
	for (unsigned n = 0; n < 300; n++) {
		pass(udp_packet(n, true));
		if (n % 3 == 0)
			pass(udp_packet(n, false));
	}
	assert_int_equal(gate_walk_begin(&walk, &gate), 0);
	while (gate_walk_next(&walk, &key, &flow, &answered) == 1)
		for (unsigned n = 0; n < 300; n++) {
			const struct gate_key mine = key_of(17, n);

			if (memcmp(&mine, &key, sizeof(key)) != 0)
				continue;
			twice += found[n];
			found[n] = true;
			assert_int_equal(answered, n % 3 == 0);
			assert_int_equal(seen(flow), 1 + answered);
		}
	gate_walk_end(&walk);
	for (unsigned n = 0; n < 300; n++)
		assert_true(found[n]);
	assert_int_equal(twice, 0);
}

int main(void)
{
#define WITH_GATE(test) cmocka_unit_test_setup(test, fresh)
	const struct CMUnitTest tests[] = {
	    WITH_GATE(every_kind),      WITH_GATE(every_length), WITH_GATE(no_ip),      WITH_GATE(fragments),
	    WITH_GATE(both_directions), WITH_GATE(icmp_errors),  WITH_GATE(slot),       WITH_GATE(flood),
	    WITH_GATE(at_tc),           WITH_GATE(opened_again), WITH_GATE(what_fails), WITH_GATE(all_flows),
	};
	int failed;

	world_begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	world_end();
	return failed;
}
