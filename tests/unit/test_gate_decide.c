/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the gate decides: by mode, engine, limits and load, and by what a flow has become.
 */
#include "gate_world.h"

#include <arpa/inet.h>
#include <poll.h>

/* What is decided from mode, flow, engine and policy, one by one. */
static void verdicts(void **state)
{
	static const struct {
		enum gate_mode mode;
		enum lane_reason reason;
		enum gate_state flow;
		bool down, shut; /* no engine; the policy drops */
		enum gate_column column;
	} table[] = {
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_INSPECT, false, false, GATE_ADMITTED},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_TRUSTED, false, false, GATE_TRUSTED},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_SPILLED, false, false, GATE_SPILLED_BY + REASON_POISON},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_SHUT, false, false, GATE_SHUT_BY + REASON_POISON},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_SPILLED, false, true, GATE_SPILLED_BY + REASON_POISON},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_INSPECT, true, false, GATE_SPILLED_BY + REASON_DOWN},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_TRUSTED, true, false, GATE_SPILLED_BY + REASON_DOWN},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_SHUT, true, false, GATE_SPILLED_BY + REASON_DOWN},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_INSPECT, true, true, GATE_SHUT_BY + REASON_DOWN},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_TRUSTED, true, true, GATE_TRUSTED},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_SPILLED, true, true, GATE_SHUT_BY + REASON_DOWN},
	    {GATE_MODE_ADMIT, 0, GATE_FLOW_SHUT, true, true, GATE_SHUT_BY + REASON_POISON},
	    {GATE_MODE_SPILL, REASON_LATE, GATE_FLOW_INSPECT, false, false, GATE_SPILLED_BY + REASON_LATE},
	    {GATE_MODE_SPILL, REASON_LATE, GATE_FLOW_SHUT, true, true, GATE_SPILLED_BY + REASON_LATE},
	    {GATE_MODE_SHUT, REASON_HUNG, GATE_FLOW_INSPECT, false, false, GATE_SHUT_BY + REASON_HUNG},
	    {GATE_MODE_SHUT, REASON_HUNG, GATE_FLOW_TRUSTED, false, false, GATE_TRUSTED},
	    {GATE_MODE_SHUT, REASON_HUNG, GATE_FLOW_SPILLED, true, false, GATE_SHUT_BY + REASON_HUNG},
	    {GATE_MODE_SHUT, REASON_MANUAL, GATE_FLOW_TRUSTED, false, false, GATE_SHUT_BY + REASON_MANUAL},
	};
	const uint64_t alive = gate.page->ticked_ns;

	(void)state;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const bool shut = table[i].shut || table[i].mode == GATE_MODE_SHUT || table[i].flow == GATE_FLOW_SHUT;
		struct bytes b = udp_packet(i, true);

		gate_set_mode(gate.page, GATE_MODE_ADMIT, 0);
		gate.page->ticked_ns = alive;
		pass(b);
		settle_all();
		if (table[i].flow)
			assert_int_equal(gate_flow_set(&gate, key_of(17, i), table[i].flow, REASON_POISON), 0);
		gate_set_mode(gate.page, table[i].mode, table[i].reason);
		gate_set_policy(gate.page, table[i].shut ? (1u << REASONS) - 1 : 0);
		if (table[i].down)
			gate.page->ticked_ns = now_ns() - 2 * SECOND;
		if (shut)
			assert_int_equal(gate.page->shuts, 1);
		if (pass(b) != table[i].column)
			fail_msg("row %u: not column %u", i, table[i].column);
		/* The second rule takes the same packet for the same. */
		if (table[i].column != GATE_ADMITTED)
			assert_int_equal(run(fd_shut, &b), table[i].column >= GATE_SHUT_BY);
		assert_int_equal(sum().slot_missed, 0);
	}
}

/* Nobody has ever looked: everything goes round; so it does when the engine stops looking, and no longer when not. */
static void heartbeat(void **state)
{
	struct gate_engine engine = {0};
	struct gate_look look = {.now_ns = now_ns()};

	(void)state;
	gate.page->ticked_ns = 0;
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_DOWN);
	assert_int_equal(sum().flows, 0);
	gate_look(gate.page, &engine, &look);
	gate.page->limit_tick_ns = 60 * SECOND;
	assert_int_equal(pass(udp_packet(1, true)), GATE_ADMITTED);
	gate.page->ticked_ns -= 61 * SECOND;
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_DOWN);
	gate.page->limit_tick_ns = 0;
	assert_int_equal(pass(udp_packet(1, true)), GATE_ADMITTED);
}

/* From the limit on no new flow, from twice that on nobody; what the kernel has dropped is forgotten at the next look.
 */
static void packets_in_flight(void **state)
{
	struct gate_engine engine = {0};

	(void)state;
	gate.page->limit_packets = 4;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pass(udp_packet(1, true)), GATE_ADMITTED);
	assert_int_equal(pass(udp_packet(2, true)), GATE_SPILLED_BY + REASON_FULL);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pass(udp_packet(1, true)), GATE_ADMITTED);
	assert_int_equal(sum().cut_short, 0);
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_FULL);
	assert_int_equal(sum().cut_short, 1);
	gate_look(gate.page, &engine, &(struct gate_look){.now_ns = now_ns(), .admitted = 8, .held = 3});
	/* Once spilled, they stay so. */
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_FULL);
	assert_int_equal(pass(udp_packet(2, true)), GATE_SPILLED_BY + REASON_FULL);
	assert_int_equal(pass(udp_packet(3, true)), GATE_ADMITTED);
	assert_int_equal(pass(udp_packet(4, true)), GATE_SPILLED_BY + REASON_FULL);
	gate_set_policy(gate.page, 1u << REASON_FULL);
	assert_int_equal(pass(udp_packet(5, true)), GATE_SHUT_BY + REASON_FULL);
	/* What can't be read counts as new. */
	assert_int_equal(pass((struct bytes){.len = 4}), GATE_SHUT_BY + REASON_FULL);
}

static void bytes_in_flight(void **state)
{
	(void)state;
	gate.page->limit_bytes = 100; /* a packet has 32 */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pass(udp_packet(i, true)), GATE_ADMITTED);
	assert_int_equal(pass(udp_packet(4, true)), GATE_SPILLED_BY + REASON_FULL);
	forget(1);
	assert_int_equal(pass(udp_packet(5, true)), GATE_ADMITTED);
	assert_int_equal(pass(udp_packet(6, true)), GATE_SPILLED_BY + REASON_FULL);
	settle_all();
	assert_int_equal(pass(udp_packet(7, true)), GATE_ADMITTED);
	/* Further back than the ring reaches. */
	forget(gate.page->admitted - GATE_RING);
	assert_int_equal(pass(udp_packet(8, true)), GATE_SPILLED_BY + REASON_FULL);
	/* An engine that says more than was admitted. */
	forget(gate.page->admitted + 5);
	assert_int_equal(pass(udp_packet(9, true)), GATE_ADMITTED);
}

/* The ring's sums are those of the packets, beyond its own length too. */
static void ring(void **state)
{
	const struct bytes b = udp_packet(1, true);
	const struct gate_key two = key_of(17, 2);
	struct bytes frame = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.at, .repeat = (int)GATE_RING + 10);

	(void)state;
	ADD(&frame, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0);
	add(&frame, b.at, b.len);
	opts.data_size_in = (uint32_t)frame.len;
	assert_int_equal(bpf_prog_test_run_opts(fd_pass, &opts), 0);
	assert_int_equal(gate.page->admitted_bytes, (GATE_RING + 10) * b.len);
	before = sum();
	/* By any number of packets back. */
	for (uint64_t back = 1; back < GATE_RING; back += back < 100 ? 1 : 997) {
		forget(gate.page->admitted - back);
		gate.page->limit_bytes = back * b.len;
		assert_int_equal(pass(udp_packet(2, true)), GATE_SPILLED_BY + REASON_FULL);
		gate.page->limit_bytes++;
		assert_int_equal(bpf_map_delete_elem(gate.fd[GATE_FD_ONEWAY], &two), 0);
		assert_int_equal(pass(udp_packet(2, true)), GATE_ADMITTED);
		assert_int_equal(bpf_map_delete_elem(gate.fd[GATE_FD_ONEWAY], &two), 0);
	}
}

/* The oldest one waits too long: new flows go round, and those under inspection as soon as none of theirs waits. */
static void late(void **state)
{
	(void)state;
	gate.page->limit_wait_ns = SECOND;
	pass(udp_packet(1, true));
	gate.page->oldest_ns = now_ns() - 3 * SECOND;
	assert_int_equal(pass(udp_packet(2, true)), GATE_SPILLED_BY + REASON_LATE);
	/* Nobody has looked for long: that is nobody's lateness. */
	gate.page->ticked_ns = gate.page->oldest_ns + SECOND / 2;
	gate.page->limit_tick_ns = 60 * SECOND;
	assert_int_equal(pass(udp_packet(4, true)), GATE_ADMITTED);
	gate.page->ticked_ns = now_ns();
	gate.page->pending_ns = 60 * SECOND;
	assert_int_equal(pass(udp_packet(1, true)), GATE_ADMITTED);
	settle_all();
	gate.page->oldest_ns = 0;
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_LATE);
	assert_int_equal(pass(udp_packet(3, true)), GATE_ADMITTED);
	/* What is dropped overtakes nobody. */
	gate_set_policy(gate.page, 1u << REASON_LATE);
	gate.page->oldest_ns = now_ns() - 3 * SECOND;
	assert_int_equal(pass(udp_packet(3, true)), GATE_SHUT_BY + REASON_LATE);
	assert_int_equal(sum().cut_short, 0);
}

/* Trust holds from the moment when nothing can be overtaken; or it overtakes, and that is counted. */
static void trust_waits(void **state)
{
	struct gate_flow flow;

	(void)state;
	gate.page->pending_ns = 60 * SECOND;
	pass(tcp_packet(1, true, SYN));
	pass(tcp_packet(1, false, SYN | ACK));
	assert_int_equal(gate_flow_set(&gate, key_of(6, 1), GATE_FLOW_TRUSTED, 0), 0);
	gate.page->settled = 1;
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_ADMITTED);
	gate.page->settled = 2;
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_ADMITTED);
	gate.page->settled = 4;
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_TRUSTED);
	assert_int_equal(pass(tcp_packet(1, false, ACK)), GATE_TRUSTED);
	assert_int_equal(sum().cut_short, 0);
	flow = the_flow(key_of(6, 1));
	assert_int_equal(seen(flow), 6);
	assert_int_equal(flow.queued, 4);

	pass(tcp_packet(2, true, SYN));
	gate.page->pending_ns = 0;
	assert_int_equal(gate_flow_set(&gate, key_of(6, 2), GATE_FLOW_TRUSTED, 0), 0);
	flow = the_flow(key_of(6, 2));
	flow.asked_ns -= SECOND;
	edit_flow(key_of(6, 2), &flow);
	assert_int_equal(pass(tcp_packet(2, true, ACK)), GATE_TRUSTED);
	assert_int_equal(sum().cut_short, 1);
	/* And back. */
	assert_int_equal(gate_flow_set(&gate, key_of(6, 2), GATE_FLOW_INSPECT, 0), 0);
	assert_int_equal(pass(tcp_packet(2, true, ACK)), GATE_ADMITTED);
}

/* A flow that is not known when it is told about: whatever waits may be its own. */
static void told_before(void **state)
{
	(void)state;
	gate.page->pending_ns = 60 * SECOND;
	pass(udp_packet(1, true));
	assert_int_equal(gate_flow_set(&gate, key_of(17, 2), GATE_FLOW_TRUSTED, 0), 0);
	assert_int_equal(pass(udp_packet(2, true)), GATE_ADMITTED);
	settle_all();
	assert_int_equal(pass(udp_packet(2, true)), GATE_TRUSTED);
	assert_int_equal(gate_flow_set(&gate, key_of(17, 3), GATE_FLOW_INSPECT, 0), 0);
	assert_false(flow_of(key_of(17, 3), &(struct gate_flow){0}));
	assert_int_equal(gate_flow_set(&gate, key_of(17, 3), GATE_FLOW_STATES, 0), -EINVAL);
	assert_int_equal(gate_flow_set(&gate, key_of(17, 3), GATE_FLOW_SHUT, REASONS), -EINVAL);
}

/* What load, a limit or somebody's hand has taken away stays so: trust is for what is inspected. */
static void trust_undoes_nothing(void **state)
{
	const enum gate_state taken[] = {GATE_FLOW_SPILLED, GATE_FLOW_SHUT};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const struct gate_key key = key_of(17, i);

		gate_set_policy(gate.page, i ? 1u << REASON_LOAD : 0);
		gate_set_shedding(gate.page, 0, 0);
		pass(udp_packet(i, true));
		assert_int_equal(the_flow(key).state, taken[i]);
		assert_int_equal(gate_flow_set(&gate, key, GATE_FLOW_TRUSTED, 0), 0);
		settle_all();
		assert_int_equal(pass(udp_packet(i, true)), (i ? GATE_SHUT_BY : GATE_SPILLED_BY) + REASON_LOAD);
		assert_int_equal(the_flow(key).state, taken[i]);
		/* Inspected again by somebody's word, it may be trusted. */
		assert_int_equal(gate_flow_set(&gate, key, GATE_FLOW_INSPECT, 0), 0);
		assert_int_equal(gate_flow_set(&gate, key, GATE_FLOW_TRUSTED, 0), 0);
		assert_int_equal(pass(udp_packet(i, true)), GATE_TRUSTED);
	}
}

static void trusted_flow(unsigned n)
{
	settle_all();
	pass(tcp_packet(n, true, SYN));
	pass(tcp_packet(n, false, SYN | ACK));
	settle_all();
	assert_int_equal(gate_flow_set(&gate, key_of(6, n), GATE_FLOW_TRUSTED, 0), 0);
	assert_int_equal(pass(tcp_packet(n, true, ACK)), GATE_TRUSTED);
}

/* Trust ends with the connection, with its time, and with silence; the last packet itself still has it. */
static void trust_ends(void **state)
{
	struct gate_flow flow;

	(void)state;
	trusted_flow(1);
	assert_int_equal(pass(tcp_packet(1, true, FIN | ACK)), GATE_TRUSTED);
	assert_int_equal(pass(tcp_packet(1, true, FIN | ACK)), GATE_TRUSTED);
	assert_int_equal(pass(tcp_packet(1, false, ACK)), GATE_TRUSTED);
	assert_int_equal(pass(tcp_packet(1, false, FIN | ACK)), GATE_TRUSTED);
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_ADMITTED);
	trusted_flow(2);
	assert_int_equal(pass(tcp_packet(2, false, RST)), GATE_TRUSTED);
	assert_int_equal(pass(tcp_packet(2, true, ACK)), GATE_ADMITTED);
	trusted_flow(3);
	assert_int_equal(pass(tcp_packet(3, true, SYN)), GATE_ADMITTED);
	assert_int_equal(pass(tcp_packet(3, true, ACK)), GATE_ADMITTED);
	assert_int_equal(seen(the_flow(key_of(6, 3))), 2);
	trusted_flow(4);
	flow = the_flow(key_of(6, 4));
	flow.since_ns -= gate.page->trust_ns + SECOND;
	edit_flow(key_of(6, 4), &flow);
	assert_int_equal(pass(tcp_packet(4, true, ACK)), GATE_ADMITTED);
	trusted_flow(5);
	flow = the_flow(key_of(6, 5));
	flow.last_ns -= gate.page->idle_ns + SECOND;
	edit_flow(key_of(6, 5), &flow);
	assert_int_equal(pass(tcp_packet(5, true, ACK)), GATE_ADMITTED);
	assert_int_equal(seen(the_flow(key_of(6, 5))), 1);
	/* Asked to open a connection again, while it opens: nothing has ended. */
	pass(tcp_packet(6, true, SYN));
	pass(tcp_packet(6, true, SYN));
	assert_int_equal(seen(the_flow(key_of(6, 6))), 2);
}

/* The walk's count of a flow: what its table has, and what CPUs have counted beside. */
static uint64_t walked(struct gate_key key)
{
	struct gate_walk walk;
	struct gate_key found;
	struct gate_flow flow;
	bool answered;
	uint64_t count = 0;

	gate_key_sort(&key);
	assert_int_equal(gate_walk_begin(&walk, &gate), 0);
	while (gate_walk_next(&walk, &found, &flow, &answered) == 1)
		if (!memcmp(&found, &key, sizeof(key)))
			count = seen(flow);
	gate_walk_end(&walk);
	return count;
}

static const struct gate_memo *stay_on_one_cpu(void)
{
	const int number = sched_getcpu();
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(number, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	return &gate.cpu[number].memo;
}

/* Passes `b` until its flow is not looked up. Returns how often. */
static unsigned until_recalled(struct bytes b, const struct gate_memo *memo)
{
	for (unsigned n = 1; n < 100; n++) {
		assert_int_equal(pass(b), GATE_TRUSTED);
		if (memo->packets)
			return n;
	}
	fail_msg("a hundred packets of one flow, and each was looked up");
	return 0;
}

/* A flow that passes is not looked up for each packet; it is counted all the same, and all that ends it ends that. */
static void remembered(void **state)
{
	const struct gate_memo *memo = stay_on_one_cpu();
	const struct bytes here = tcp_packet(1, true, ACK);
	struct bytes b;
	unsigned n = 3, tries = 0; /* trusted_flow() */

	(void)state;
	trusted_flow(1);
	n += until_recalled(here, memo);
	assert_true(seen(the_flow(key_of(6, 1))) < n);
	assert_int_equal(walked(key_of(6, 1)), n);
	/* Another flow that passes takes its place, and what it has counted goes to it. */
	n += until_recalled(here, memo);
	trusted_flow(2);
	assert_int_equal(seen(the_flow(key_of(6, 1))), n);
	assert_int_equal(walked(key_of(6, 2)), 3);
	/* None of these is that flow's packet, though much of it is alike; nor while the memo holds. */
	do {
		n += until_recalled(here, memo);
		b = here;
		b.at[23]++; /* the other end's port */
		assert_int_equal(pass(b), GATE_ADMITTED);
		b = here;
		b.at[19]++;
		assert_int_equal(pass(b), GATE_ADMITTED);
		b = here;
		b.at[9] = 17;
		assert_int_equal(pass(b), GATE_ADMITTED);
		b = ipv4(6, 1, 2, 0, 7);
		add(&b, here.at + 20, here.len - 20);
		assert_int_equal(pass(b), GATE_ADMITTED);
	} while (memo->now_ns != now_ns() && ++tries < 1000);
	assert_true(tries < 1000);
	b = ipv4(6, 1, 2, 1, 0);
	add(&b, here.at + 20, here.len - 20);
	assert_int_equal(pass(b), GATE_TRUSTED); /* options; the ports are elsewhere */
	assert_int_equal(walked(key_of(6, 1)), ++n);
}

/* However the flow ends or turns, no packet goes by what was remembered. */
static void remembered_no_longer(void **state)
{
	const struct gate_memo *memo = stay_on_one_cpu();

	(void)state;
	trusted_flow(1);
	until_recalled(tcp_packet(1, true, ACK), memo);
	assert_int_equal(pass(tcp_packet(1, false, RST)), GATE_TRUSTED);
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_ADMITTED);
	trusted_flow(2);
	until_recalled(tcp_packet(2, true, ACK), memo);
	assert_int_equal(gate_flow_set(&gate, key_of(6, 2), GATE_FLOW_INSPECT, 0), 0);
	assert_int_equal(pass(tcp_packet(2, true, ACK)), GATE_ADMITTED);
	trusted_flow(3);
	until_recalled(tcp_packet(3, true, ACK), memo);
	assert_int_equal(pass(tcp_packet(3, true, SYN)), GATE_ADMITTED);
	assert_int_equal(pass(tcp_packet(3, true, ACK)), GATE_ADMITTED);
	assert_int_equal(walked(key_of(6, 3)), 2);
	trusted_flow(4);
	until_recalled(tcp_packet(4, true, ACK), memo);
	gate_set_mode(gate.page, GATE_MODE_SPILL, REASON_MANUAL);
	assert_int_equal(pass(tcp_packet(4, true, ACK)), GATE_SPILLED_BY + REASON_MANUAL);
	gate_set_mode(gate.page, GATE_MODE_ADMIT, 0);
	until_recalled(tcp_packet(4, true, ACK), memo);
	assert_int_equal(gate_flow_set(&gate, key_of(6, 4), GATE_FLOW_SHUT, REASON_POISON), 0);
	assert_int_equal(pass(tcp_packet(4, true, ACK)), GATE_SHUT_BY + REASON_POISON);
}

/* An IPv6 flow whose addresses end like those of an IPv4 one is another flow. */
static void remembered_v6(void **state)
{
	struct bytes six = {0}, four = tcp_packet(1, true, ACK);
	struct gate_key key = {.protocol = 6, .port = {htons(1025), htons(80)}};

	(void)state;
	(void)stay_on_one_cpu();
	ADD(&six, 0x60, 0, 0, 0, 0, 20, 6, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
	    0, 0, 0, 0, 10, 0, 0, 2);
	tcp(&six, 1025, 80, ACK);
	memcpy((uint8_t *)&key.address[0][1] + 4, &six.at[20], 4);
	memcpy((uint8_t *)&key.address[1][1] + 4, &six.at[36], 4);
	pass(four);
	assert_int_equal(gate_flow_set(&gate, key_of(6, 1), GATE_FLOW_SHUT, REASON_POISON), 0);
	pass(six);
	assert_int_equal(gate_flow_set(&gate, key, GATE_FLOW_TRUSTED, 0), 0);
	settle_all();
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(pass(six), GATE_TRUSTED);
		assert_int_equal(pass(four), GATE_SHUT_BY + REASON_POISON);
	}
}

static bool rings(void)
{
	struct pollfd p = {.fd = gate.fd[GATE_FD_BELL], .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* The bell rings once, at the first admission after the engine fell asleep, and at nothing that passes. */
static void bell(void **state)
{
	(void)state;
	trusted_flow(1);
	gate_wake(&gate);
	assert_false(rings());
	pass(udp_packet(1, true));
	assert_false(rings());
	gate_sleep(&gate);
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_TRUSTED);
	assert_false(rings());
	for (unsigned i = 0; i < 1000; i++) {
		gate_sleep(&gate);
		pass(udp_packet(1, true));
		pass(udp_packet(2, true));
		assert_true(rings());
		gate_wake(&gate);
		assert_false(rings());
	}
}

/* Its sender can't end what is shut; only silence does. */
static void shut_stays(void **state)
{
	struct gate_flow flow;

	(void)state;
	pass(tcp_packet(1, true, SYN));
	pass(tcp_packet(1, false, SYN | ACK));
	pass(tcp_packet(1, true, ACK));
	assert_int_equal(gate_flow_set(&gate, key_of(6, 1), GATE_FLOW_SHUT, REASON_POISON), 0);
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_SHUT_BY + REASON_POISON);
	assert_int_equal(pass(tcp_packet(1, true, RST)), GATE_SHUT_BY + REASON_POISON);
	assert_int_equal(pass(tcp_packet(1, true, SYN)), GATE_SHUT_BY + REASON_POISON);
	flow = the_flow(key_of(6, 1));
	flow.last_ns -= gate.page->idle_ns + SECOND;
	edit_flow(key_of(6, 1), &flow);
	assert_int_equal(pass(tcp_packet(1, true, SYN)), GATE_ADMITTED);
}

/* Two that look while a flow moves may both enter it; what has become of the elder holds. */
static void entered_twice(void **state)
{
	const struct gate_key key = key_of(6, 1);
	struct gate_flow young;

	(void)state;
	(void)stay_on_one_cpu();
	pass(tcp_packet(1, true, SYN));
	young = the_flow(key);
	pass(tcp_packet(1, false, SYN | ACK));
	assert_int_equal(gate_flow_set(&gate, key, GATE_FLOW_SHUT, REASON_POISON), 0);
	assert_int_equal(bpf_map_update_elem(gate.fd[GATE_FD_ONEWAY], &key, &young, BPF_NOEXIST), 0);
	/* This CPU's last flow is one of one way. */
	pass(udp_packet(2, true));
	pass(udp_packet(2, true));
	assert_int_equal(pass(tcp_packet(1, false, ACK)), GATE_SHUT_BY + REASON_POISON);
	assert_int_equal(bpf_map_lookup_elem(gate.fd[GATE_FD_ONEWAY], &key, &young), -ENOENT);
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_SHUT_BY + REASON_POISON);
}

/* New flows by their share, whole; established connections and classes that are never shed keep their inspection. */
static void shedding_new(void **state)
{
	unsigned inspected = 0;

	(void)state;
	pass(udp_packet(1000, true));
	gate_set_shedding(gate.page, GATE_ALL / 4, 0);
	for (unsigned n = 0; n < 400; n++) {
		const enum gate_column column = pass(udp_packet(n, true));

		inspected += column == GATE_ADMITTED;
		if (column != GATE_ADMITTED)
			assert_int_equal(column, GATE_SPILLED_BY + REASON_LOAD);
	}
	/* A quarter, by a draw from 64 bits of chance: ten standard deviations are left. */
	assert_in_range(inspected, 20, 180);
	assert_int_equal(sum().flows_shed, 400 - inspected);
	assert_int_equal(sum().flows_refused, 400 - inspected);
	gate_set_shedding(gate.page, 0, 0);
	assert_int_equal(pass(udp_packet(1000, true)), GATE_ADMITTED);
	assert_int_equal(pass(tcp_packet(1, true, SYN)), GATE_SPILLED_BY + REASON_LOAD);
	assert_int_equal(pass(tcp_packet(2, true, ACK)), GATE_ADMITTED);
	/* There is room again: for new ones. A flow once spilled stays so until it ends. */
	gate_set_shedding(gate.page, GATE_ALL, 0);
	assert_int_equal(pass(tcp_packet(1, false, SYN | ACK)), GATE_SPILLED_BY + REASON_LOAD);
	assert_int_equal(pass(tcp_packet(1, true, ACK)), GATE_SPILLED_BY + REASON_LOAD);
	assert_int_equal(pass(tcp_packet(1, true, RST)), GATE_SPILLED_BY + REASON_LOAD);
	assert_int_equal(pass(tcp_packet(1, true, SYN)), GATE_ADMITTED);
	gate_set_shedding(gate.page, 0, 1);
	gate_set_never_shed(gate.page, true);
	settle_all();
	assert_int_equal(pass(udp_packet(1001, true)), GATE_ADMITTED);
	assert_int_equal(pass(udp_packet(1001, true)), GATE_ADMITTED);
	/* With a policy that drops, they are dropped, by the second rule too, and in the middle of nothing. */
	gate_set_never_shed(gate.page, false);
	gate_set_policy(gate.page, 1u << REASON_LOAD);
	assert_int_equal(pass(udp_packet(1002, true)), GATE_SHUT_BY + REASON_LOAD);
}

/* The tail of a flow beyond the cut-off, from a packet on at which none of its own waits. */
static void shedding_tails(void **state)
{
	(void)state;
	gate.page->pending_ns = 60 * SECOND;
	pass(udp_packet(1, true)); /* 32 bytes */
	pass(udp_packet(1, true));
	gate_set_shedding(gate.page, GATE_ALL, 64);
	assert_int_equal(pass(udp_packet(1, true)), GATE_ADMITTED);
	settle_all();
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_LOAD);
	assert_int_equal(pass(udp_packet(2, true)), GATE_ADMITTED);
	settle_all();
	assert_int_equal(pass(udp_packet(2, true)), GATE_ADMITTED);
	gate_set_shedding(gate.page, GATE_ALL, 0);
	settle_all();
	assert_int_equal(pass(udp_packet(2, true)), GATE_ADMITTED);
	assert_int_equal(pass(udp_packet(1, true)), GATE_SPILLED_BY + REASON_LOAD);
	assert_int_equal(sum().flows_shed, 1);
	assert_int_equal(sum().flows_refused, 0);
	assert_int_equal(sum().cut_short, 0);
}

/* What a look finds in the ring is not believed where it is older than what was found before. */
static void looks_at_bytes(void **state)
{
	static struct gate_page page;
	struct gate_engine engine = {0};

	(void)state;
	gate_page_begin(&page, 1, 1);
	for (uint64_t n = 1; n < 10; n++)
		page.ring[n] = 100 * n;
	gate_look(&page, &engine, &(struct gate_look){.admitted = 9, .held = 4});
	assert_int_equal(page.gone_bytes, 500);
	/* Number 10 has been given, its sum is not there yet. */
	gate_look(&page, &engine, &(struct gate_look){.admitted = 10, .held = 0});
	assert_int_equal(page.gone, 10);
	assert_int_equal(page.gone_bytes, 500);
	page.ring[10] = 1000;
	gate_look(&page, &engine, &(struct gate_look){.admitted = 10, .held = 0});
	assert_int_equal(page.gone_bytes, 1000);
}

/* What a look tells: in flight by what is held, settled by what was admitted a while before. */
static void looks(void **state)
{
	static const struct {
		uint64_t ms, admitted, held, gone, settled;
	} look[] = {
	    {10, 100, 40, 60, 0},   /* what was admitted before the first look is not known to have arrived */
	    {20, 150, 30, 120, 70}, /* the 30 youngest of at least 100 wait */
	    {30, 150, 0, 150, 150}, /* nothing does */
	    {40, 150, 0, 150, 150},
	    {40, 200, 10, 190, 150}, /* at once again: what was admitted since may be on its way */
	    {41, 210, 20, 190, 150},
	    {42, 210, 20, 190, 190},
	    {52, 300, 400, (uint64_t)-100, 190}, /* segments: more held than admitted */
	};
	static struct gate_page page;
	struct gate_engine engine = {0};

	(void)state;
	gate_page_begin(&page, 1, 1);
	for (unsigned i = 0; i < sizeof(look) / sizeof(look[0]); i++) {
		gate_look(&page, &engine, &(struct gate_look){look[i].ms * 1000000, look[i].admitted, look[i].held, 5});
		assert_int_equal(page.gone, look[i].gone);
		assert_int_equal(page.settled, look[i].settled);
		assert_int_equal(page.ticked_ns, look[i].ms * 1000000);
		assert_int_equal(page.oldest_ns, 5);
	}
}

int main(void)
{
#define WITH_GATE(test) cmocka_unit_test_setup(test, fresh)
	const struct CMUnitTest tests[] = {
	    WITH_GATE(verdicts),
	    WITH_GATE(heartbeat),
	    WITH_GATE(packets_in_flight),
	    WITH_GATE(bytes_in_flight),
	    WITH_GATE(late),
	    WITH_GATE(trust_waits),
	    WITH_GATE(told_before),
	    WITH_GATE(trust_undoes_nothing),
	    WITH_GATE(trust_ends),
	    WITH_GATE(remembered),
	    WITH_GATE(remembered_no_longer),
	    WITH_GATE(remembered_v6),
	    WITH_GATE(bell),
	    WITH_GATE(shut_stays),
	    WITH_GATE(entered_twice),
	    WITH_GATE(shedding_new),
	    WITH_GATE(shedding_tails),
	    cmocka_unit_test(looks),
	    cmocka_unit_test(looks_at_bytes),
	    /* Last: it leaves sums behind for every number. */
	    WITH_GATE(ring),
	};
	int failed;

	world_begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	world_end();
	return failed;
}
