/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of the kernel's queue, rule by rule; what the differential test can't bring about on a real kernel (ids
 * that wrap, no memory); and that fail-open as it was told in 2012 can't be told from today's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "../sim/kernel.h"

#define ACCEPT 1u
#define QUEUE  3u
#define REPEAT 4u
#define STOP   5u
#define SMALL  832u /* what the message of a small packet takes */

#define ALL (KERNEL_COMMAND | KERNEL_PARAMS | KERNEL_MAXLEN | KERNEL_MASK | KERNEL_FLAGS)

/* What has become of packets, in order. */
struct end {
	enum kernel_fate fate;
	struct kernel_packet packet;
};
struct world {
	struct kernel *kernel;
	unsigned ends;
	struct end end[4096];
};

static struct world world;
static struct kernel *k;
static int s; /* the socket that most tests need */

static void note(void *context, const struct kernel_packet *packet, enum kernel_fate fate)
{
	struct world *w = context;

	assert_true(w->ends < sizeof(w->end) / sizeof(w->end[0]));
	w->end[w->ends++] = (struct end){fate, *packet};
}

/* Queue 1 (bypass) at the first hook, except for mark 0x77; behind it a hook that counts mark 2 and drops mark 6. */
static void make_hooks(struct kernel *kernel)
{
	const struct kernel_hook first = {.rules = 1,
					  .rule = {{.mark_mask = ~0u,
						    .mark_value = 0x77,
						    .mark_differs = true,
						    .action = ACTION_QUEUE,
						    .queue = 1,
						    .bypass = true}}};
	const struct kernel_hook second = {.rules = 3,
					   .rule = {{.action = ACTION_COUNT},
						    {.mark_mask = ~0u, .mark_value = 2, .action = ACTION_COUNT},
						    {.mark_mask = ~0u, .mark_value = 6, .action = ACTION_DROP}}};

	kernel_hook_insert(kernel, 0, &first);
	kernel_hook_insert(kernel, 1, &second);
}

static void open_world(struct world *w, bool enospc)
{
	const struct kernel_options options = {.packets = 256, .enospc = enospc, .fate = note, .context = w};

	w->ends = 0;
	w->kernel = kernel_new(&options);
	assert_non_null(w->kernel);
	make_hooks(w->kernel);
}

static int before_each(void **state)
{
	(void)state;
	open_world(&world, false);
	k = world.kernel;
	s = kernel_socket(k, 100, 1 << 20);
	kernel_set_no_enobufs(k, s, true);
	return 0;
}

static int after_each(void **state)
{
	(void)state;
	kernel_free(k);
	return 0;
}

static int configure(int socket, uint16_t queue, struct kernel_config config)
{
	return kernel_configure(k, &(struct kernel_request){.socket = socket, .queue = queue}, &config);
}

static void bind_queue(uint32_t length, uint32_t flags)
{
	assert_int_equal(configure(s, 1,
				   (struct kernel_config){.set = ALL,
							  .command = KERNEL_BIND,
							  .copy_mode = SPW_COPY_PACKET,
							  .length = length,
							  .mask = flags,
							  .flags = flags}),
			 0);
}

static void send_some(unsigned n, uint32_t mark)
{
	static uint64_t number;
	struct kernel_packet packet = {.length = 92, .mark = mark, .indev = 1};

	for (unsigned i = 0; i < n; i++) {
		packet.number = ++number;
		kernel_send(k, &packet);
	}
}

static void send_aggregate(unsigned segments)
{
	const struct kernel_packet packet = {
	    .length = 28 + 400 * segments, .linear = 28, .segments = (uint16_t)segments, .segment_len = 428};

	kernel_send(k, &packet);
}

static int verdict(uint32_t id, uint32_t value)
{
	return kernel_verdict(k, &(struct kernel_request){.socket = s, .queue = 1}, id,
			      &(struct kernel_verdict){.value = value});
}

static int batch(uint32_t id, uint32_t value)
{
	return kernel_verdict_batch(k, &(struct kernel_request){.socket = s, .queue = 1}, id,
				    &(struct kernel_verdict){.value = value});
}

static struct spw_queue_stat stat_of(uint16_t queue)
{
	struct spw_queue_stat stat;

	assert_int_equal(kernel_queue_stat(k, queue, &stat), 0);
	return stat;
}

static struct spw_socket_stat socket_of(int socket)
{
	struct spw_socket_stat stat;

	kernel_socket_stat(k, socket, &stat);
	return stat;
}

static unsigned ended(enum kernel_fate fate)
{
	unsigned n = 0;

	for (unsigned i = 0; i < world.ends; i++)
		n += world.end[i].fate == fate;
	return n;
}

static void configurations(void **state)
{
	const struct kernel_config bad = {.set = ALL, .command = KERNEL_BIND, .flags = 0x20};
	struct spw_queue_stat stat;

	(void)state;
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_MAXLEN}), -ENODEV);
	assert_int_equal(configure(s, 1, (struct kernel_config){0}), -ENODEV);
	assert_int_equal(configure(s, 1, bad), -EOPNOTSUPP);
	assert_int_equal(kernel_queue_stat(k, 1, &stat), -ENODEV);
	bind_queue(8, SPW_FAIL_OPEN);
	assert_int_equal(stat_of(1).copy_range, KERNEL_RANGE);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_COMMAND, .command = KERNEL_BIND}),
			 -EBUSY);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_COMMAND, .command = 9}), -EOPNOTSUPP);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_COMMAND, .command = 3}), 0);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_FLAGS}), -EINVAL);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_MASK, .mask = ~0u}), 0);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_PARAMS, .copy_mode = 7}), 0);
	assert_int_equal(stat_of(1).copy_mode, SPW_COPY_PACKET);
	assert_int_equal(configure(s, 1,
				   (struct kernel_config){.set = KERNEL_FLAGS | KERNEL_MASK,
							  .mask = SPW_CONNTRACK,
							  .flags = SPW_CONNTRACK}),
			 -EOPNOTSUPP);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_COMMAND, .command = KERNEL_UNBIND}), 0);
	assert_int_equal(configure(s, 1, (struct kernel_config){.set = KERNEL_COMMAND, .command = KERNEL_UNBIND}),
			 -ENODEV);
}

static void owners(void **state)
{
	const int other = kernel_socket(k, 200, 1 << 20);
	const struct kernel_request request = {.socket = other, .queue = 1};
	const struct kernel_verdict accept = {.value = ACCEPT};

	(void)state;
	assert_int_equal(kernel_socket(k, 100, 1), -EADDRINUSE);
	bind_queue(8, 0);
	send_some(1, 0);
	assert_int_equal(configure(other, 1, (struct kernel_config){.set = KERNEL_COMMAND, .command = KERNEL_BIND}),
			 -EPERM);
	assert_int_equal(configure(other, 1, (struct kernel_config){0}), -EPERM);
	assert_int_equal(kernel_verdict(k, &request, 1, &accept), -EPERM);
	assert_int_equal(kernel_verdict_batch(k, &request, 1, &accept), -EPERM);
	/* The refusals lie on the socket of whoever asked. */
	assert_int_equal(socket_of(other).used, 4 * SMALL);
	kernel_dup(k, s);
	kernel_close(k, s);
	assert_int_equal(stat_of(1).held, 1);
	kernel_close(k, s);
	assert_int_equal(ended(FATE_CLOSE), 1);
	assert_int_equal(kernel_verdict(k, &request, 1, &accept), -ENODEV);
}

static void full_queue(void **state)
{
	(void)state;
	bind_queue(3, 0);
	send_some(5, 0);
	assert_int_equal(ended(FATE_FULL), 2);
	assert_int_equal(stat_of(1).queue_dropped, 2);
	assert_int_equal(stat_of(1).id_sequence, 3);
	configure(s, 1,
		  (struct kernel_config){
		      .set = KERNEL_MASK | KERNEL_FLAGS, .mask = SPW_FAIL_OPEN, .flags = SPW_FAIL_OPEN | SPW_GSO});
	send_some(5, 0);
	assert_int_equal(ended(FATE_DELIVERED), 5);
	assert_int_equal(world.end[2].packet.opened, 1);
	assert_int_equal(stat_of(1).queue_dropped, 2);
	assert_int_equal(stat_of(1).id_sequence, 3);
	/* Reading makes no room. */
	while (kernel_receive(k, s, NULL) == 0)
		;
	send_some(1, 0);
	assert_int_equal(ended(FATE_DELIVERED), 6);
	configure(s, 1, (struct kernel_config){.set = KERNEL_MAXLEN, .length = 0});
	assert_int_equal(batch(3, ACCEPT), 0);
	send_some(1, 0);
	assert_int_equal(ended(FATE_DELIVERED), 10);
	assert_int_equal(kernel_hook(k, 1)->rule[0].hits, 10);
}

static void full_socket(void **state)
{
	(void)state;
	bind_queue(100, SPW_FAIL_OPEN);
	kernel_set_buffer(k, s, 3 * SMALL);
	send_some(5, 0);
	assert_int_equal(ended(FATE_DELIVERED), 2);
	assert_int_equal(stat_of(1).held, 3);
	assert_int_equal(stat_of(1).id_sequence, 5);
	assert_int_equal(stat_of(1).user_dropped, 0);
	assert_int_equal(socket_of(s).drops, 2);
	configure(s, 1, (struct kernel_config){.set = KERNEL_MASK | KERNEL_FLAGS, .mask = SPW_FAIL_OPEN});
	send_some(1, 0);
	assert_int_equal(stat_of(1).user_dropped, 1);
	assert_int_equal(ended(FATE_SOCKET), 1);
	/* A refusal finds no room either. */
	assert_int_equal(verdict(99, ACCEPT), -ENOENT);
	assert_int_equal(socket_of(s).drops, 4);
	/* Without NO_ENOBUFS nothing comes in until all has been read. */
	kernel_set_no_enobufs(k, s, false);
	send_some(1, 0);
	assert_int_equal(kernel_receive(k, s, NULL), -ENOBUFS);
	assert_int_equal(kernel_receive(k, s, NULL), 0);
	send_some(1, 0);
	assert_int_equal(stat_of(1).held, 3);
	while (kernel_receive(k, s, NULL) == 0)
		;
	send_some(1, 0);
	assert_int_equal(stat_of(1).held, 4);
}

static void huge_message(void **state)
{
	(void)state;
	bind_queue(100, SPW_GSO);
	kernel_set_buffer(k, s, SMALL);
	send_aggregate(10);
	send_some(1, 0);
	assert_int_equal(stat_of(1).held, 1);
	assert_int_equal(socket_of(s).used, SMALL + 4000);
}

static void filtered_socket(void **state)
{
	(void)state;
	bind_queue(100, 0);
	kernel_set_filter(k, s, true);
	send_some(3, 0);
	assert_int_equal(stat_of(1).held, 3);
	assert_int_equal(socket_of(s).drops, 0);
	assert_int_equal(kernel_receive(k, s, NULL), -EAGAIN);
	assert_int_equal(batch(3, ACCEPT), 0);
	assert_int_equal(ended(FATE_DELIVERED), 3);
}

/* 65,536 packets are what the table of ids takes. */
static void full_table(void **state)
{
	const struct kernel_options options = {.fate = note, .context = &world};

	(void)state;
	kernel_free(k);
	k = world.kernel = kernel_new(&options);
	make_hooks(k);
	s = kernel_socket(k, 100, ~0u);
	bind_queue(~0u, SPW_FAIL_OPEN);
	send_some(KERNEL_TABLE + 2, 0);
	assert_int_equal(ended(FATE_DELIVERED), 2);
	assert_int_equal(stat_of(1).id_sequence, KERNEL_TABLE + 2);
	assert_int_equal(socket_of(s).drops, 0);
	configure(s, 1, (struct kernel_config){.set = KERNEL_MASK | KERNEL_FLAGS, .mask = SPW_FAIL_OPEN});
	send_some(1, 0);
	assert_int_equal(stat_of(1).queue_dropped, 1);
	assert_int_equal(ended(FATE_TABLE), 1);
}

/* Kernels without the table hold as many as the queue is long. */
static void no_table(void **state)
{
	const struct kernel_options options = {
	    .packets = KERNEL_TABLE + 8, .table = ~0u, .fate = note, .context = &world};

	(void)state;
	kernel_free(k);
	k = world.kernel = kernel_new(&options);
	make_hooks(k);
	s = kernel_socket(k, 100, ~0u);
	bind_queue(KERNEL_TABLE + 8, SPW_FAIL_OPEN);
	send_some(KERNEL_TABLE + 8, 0);
	assert_int_equal(stat_of(1).held, KERNEL_TABLE + 8);
	assert_int_equal(world.ends, 0);
}

static void no_memory(void **state)
{
	(void)state;
	bind_queue(100, SPW_FAIL_OPEN);
	kernel_starve(k, 2);
	send_some(3, 0);
	assert_int_equal(ended(FATE_NO_MEMORY), 2);
	assert_int_equal(stat_of(1).held, 1);
	assert_int_equal(stat_of(1).id_sequence, 1);
	assert_int_equal(stat_of(1).queue_dropped + stat_of(1).user_dropped, 0);
}

static void aggregates(void **state)
{
	(void)state;
	bind_queue(4, SPW_FAIL_OPEN);
	send_aggregate(10);
	assert_int_equal(stat_of(1).held, 4);
	assert_int_equal(ended(FATE_DELIVERED), 6);
	assert_int_equal(world.end[0].packet.number, 4);
	assert_int_equal(batch(4, ACCEPT), 0);
	assert_int_equal(ended(FATE_DELIVERED), 10);
	configure(s, 1, (struct kernel_config){.set = KERNEL_MASK | KERNEL_FLAGS, .mask = SPW_FAIL_OPEN});
	send_aggregate(10);
	assert_int_equal(stat_of(1).queue_dropped, 1);
	assert_int_equal(ended(FATE_FULL), 1);
	assert_int_equal(ended(FATE_AGGREGATE), 5);
	assert_int_equal(batch(~0u, 0), -ENOENT);
	assert_int_equal(batch(8, 0), 0);
	configure(s, 1, (struct kernel_config){.set = KERNEL_MASK | KERNEL_FLAGS, .mask = SPW_GSO, .flags = SPW_GSO});
	send_aggregate(10);
	assert_int_equal(stat_of(1).held, 1);
	assert_int_equal(kernel_held(k, 1, 9)->segments, 10);
}

static void nobody(void **state)
{
	const struct kernel_hook strict = {.rules = 1, .rule = {{.action = ACTION_QUEUE, .queue = 2}}};

	(void)state;
	send_some(1, 0);
	assert_int_equal(world.end[0].packet.bypassed, 1);
	assert_int_equal(ended(FATE_DELIVERED), 1);
	/* Bound, but never configured: neither bypass nor the flag helps. */
	assert_int_equal(configure(s, 1,
				   (struct kernel_config){.set = KERNEL_COMMAND | KERNEL_MASK | KERNEL_FLAGS,
							  .command = KERNEL_BIND,
							  .mask = SPW_FAIL_OPEN,
							  .flags = SPW_FAIL_OPEN}),
			 0);
	send_some(1, 0);
	assert_int_equal(ended(FATE_NO_MODE), 1);
	kernel_hook_insert(k, 0, &strict);
	send_some(1, 0);
	assert_int_equal(ended(FATE_NO_QUEUE), 1);
}

static void verdicts(void **state)
{
	const struct kernel_request request = {.socket = s, .queue = 1};

	(void)state;
	bind_queue(100, 0);
	send_some(9, 0);
	assert_int_equal(verdict(1, 2), -EINVAL);
	assert_int_equal(verdict(1, 6), -EINVAL);
	assert_int_equal(verdict(10, ACCEPT), -ENOENT);
	assert_int_equal(verdict(1, 0), 0);
	assert_int_equal(verdict(1, 0), -ENOENT);
	assert_int_equal(ended(FATE_VERDICT), 1);
	assert_int_equal(verdict(3, REPEAT), 0);
	assert_int_equal(stat_of(1).id_sequence, 10);
	assert_int_equal(verdict(10, REPEAT | 0x100), 0);
	assert_int_equal(ended(FATE_VERDICT), 2);
	/* STOP, and ACCEPT with anything above it, see no further hook. */
	assert_int_equal(verdict(4, STOP), 0);
	assert_int_equal(verdict(5, ACCEPT | 0x100), 0);
	assert_int_equal(kernel_hook(k, 1)->rule[0].hits, 0);
	assert_int_equal(ended(FATE_DELIVERED), 2);
	/* Nobody has queue 7. */
	assert_int_equal(verdict(6, QUEUE | 7u << 16), 0);
	assert_int_equal(ended(FATE_NO_QUEUE), 1);
	assert_int_equal(verdict(7, QUEUE | 7u << 16 | 0x8000), 0);
	assert_int_equal(ended(FATE_DELIVERED), 3);
	/* A mark replaces the whole mark; the hook behind sees it. */
	kernel_verdict(k, &request, 8, &(struct kernel_verdict){.value = ACCEPT, .set = SPW_VERDICT_MARK, .mark = 2});
	assert_int_equal(kernel_hook(k, 1)->rule[1].hits, 1);
	kernel_verdict(k, &request, 9, &(struct kernel_verdict){.value = ACCEPT, .set = SPW_VERDICT_MARK, .mark = 6});
	assert_int_equal(ended(FATE_RULE), 1);
	assert_int_equal(stat_of(1).held, 1);
}

static void payloads(void **state)
{
	const struct kernel_request request = {.socket = s, .queue = 1};
	struct kernel_verdict v = {
	    .value = ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload_len = 64, .payload_claimed = 92};

	(void)state;
	bind_queue(100, 0);
	send_some(3, 0);
	/* Cut: no error, no counter. */
	assert_int_equal(kernel_verdict(k, &request, 1, &v), 0);
	assert_int_equal(ended(FATE_MALFORMED), 1);
	v.payload_claimed = 60;
	v.payload_number = 7;
	assert_int_equal(kernel_verdict(k, &request, 2, &v), 0);
	assert_int_equal(ended(FATE_DELIVERED), 1);
	assert_int_equal(world.end[1].packet.number, 7);
	v.payload_len = 19;
	assert_int_equal(kernel_verdict(k, &request, 3, &v), 0);
	assert_int_equal(ended(FATE_VERDICT), 1);
}

static void batches(void **state)
{
	(void)state;
	bind_queue(100, 0);
	kernel_set_sequence(k, 1, 0xfffffffdu);
	send_some(5, 0);
	assert_int_equal(stat_of(1).id_sequence, 2);
	assert_int_equal(batch(0xfffffffdu, ACCEPT), -ENOENT);
	assert_int_equal(batch(0xffffffffu, ACCEPT), 0);
	assert_int_equal(ended(FATE_DELIVERED), 2);
	assert_int_equal(verdict(0, ACCEPT), 0);
	assert_int_equal(batch(1000, ACCEPT), 0);
	assert_int_equal(ended(FATE_DELIVERED), 5);
	for (unsigned i = 1; i < world.ends; i++)
		assert_true(world.end[i].packet.number == world.end[i - 1].packet.number + 1);
	send_some(3, 0);
	assert_int_equal(batch(~0u, REPEAT), -ENOENT);
	assert_int_equal(batch(5, REPEAT), 0);
	assert_int_equal(stat_of(1).held, 3);
	assert_int_equal(stat_of(1).id_sequence, 8);
}

static void thrown_away(void **state)
{
	const struct kernel_hook empty = {0};

	(void)state;
	bind_queue(100, SPW_FAIL_OPEN);
	send_some(2, 0);
	kernel_device_down(k, 2);
	assert_int_equal(stat_of(1).held, 2);
	kernel_device_down(k, 1);
	assert_int_equal(ended(FATE_DEVICE), 2);
	send_some(2, 0);
	/* A hook in front: what is held meets its own hook again. */
	kernel_hook_insert(k, 0, &empty);
	assert_int_equal(batch(4, ACCEPT), 0);
	assert_int_equal(stat_of(1).held, 2);
	assert_int_equal(stat_of(1).id_sequence, 6);
	kernel_hook_delete(k, 0);
	assert_int_equal(ended(FATE_CHAIN), 2);
	send_some(2, 0);
	configure(s, 1, (struct kernel_config){.set = KERNEL_COMMAND, .command = KERNEL_UNBIND});
	assert_int_equal(ended(FATE_UNBIND), 2);
	/* The next binding counts from 1 again; what lies in the socket is the old one's. */
	bind_queue(100, 0);
	assert_int_equal(stat_of(1).id_sequence, 0);
	assert_true(socket_of(s).used > 0);
}

/* Messages in the order in which things happened, acknowledgements among them. */
static void messages(void **state)
{
	const struct kernel_request asked = {.socket = s, .queue = 1, .tag = 42, .ack = true};
	struct kernel_message m;

	(void)state;
	bind_queue(100, 0);
	send_some(1, 9);
	assert_int_equal(
	    kernel_configure(k, &asked,
			     &(struct kernel_config){.set = KERNEL_PARAMS, .copy_mode = 2, .copy_range = 10}),
	    0);
	send_some(1, 0);
	assert_int_equal(kernel_peek(k, s, &m), 0);
	assert_int_equal(kernel_receive(k, s, &m), 0);
	assert_int_equal(m.id, 1);
	assert_int_equal(m.copied, 92);
	assert_int_equal(m.packet.mark, 9);
	assert_int_equal(kernel_receive(k, s, &m), 0);
	assert_true(m.error);
	assert_int_equal(m.err, 0);
	assert_int_equal(m.tag, 42);
	assert_int_equal(kernel_receive(k, s, &m), 0);
	assert_int_equal(m.copied, 10);
	assert_int_equal(kernel_receive(k, s, &m), -EAGAIN);
	assert_int_equal(socket_of(s).used, 0);
}

static void resetting(void **state)
{
	struct spw_queue_stat stat;

	(void)state;
	bind_queue(100, 0);
	send_some(50, 0);
	kernel_reset(k);
	assert_int_equal(kernel_queue_stat(k, 1, &stat), -ENODEV);
	make_hooks(k);
	s = kernel_socket(k, 100, 1 << 20);
	bind_queue(100, 0);
	assert_null(kernel_held(k, 1, 1));
	send_some(1, 0);
	assert_non_null(kernel_held(k, 1, 1));
}

/* The two forms of fail-open: the same calls to both, everything that shows compared. */

static uint32_t next(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*random >> 33);
}

static void step(struct kernel *kernel, int socket, uint64_t random)
{
	const struct kernel_request request = {.socket = socket, .queue = (uint16_t)(1 + next(&random) % 2)};
	struct kernel_config config = {.set = next(&random) % 32,
				       .command = KERNEL_BIND,
				       .copy_mode = (uint8_t)(next(&random) % 3),
				       .length = next(&random) % 6,
				       .mask = next(&random) % 8,
				       .flags = next(&random) % 8 & ~SPW_CONNTRACK};
	struct kernel_packet packet = {.number = random, .length = 92, .mark = next(&random) % 8};
	const struct kernel_verdict v = {.value = next(&random) % 6 | (1 + next(&random) % 3) << 16};
	const uint32_t id = next(&random) % 12;

	switch (next(&random) % 8) {
	case 0:
		kernel_configure(kernel, &request, &config);
		break;
	case 1:
		packet.segments = 5;
		packet.segment_len = 92;
		kernel_send(kernel, &packet);
		break;
	case 2:
		kernel_verdict(kernel, &request, id, &v);
		break;
	case 3:
		kernel_verdict_batch(kernel, &request, id, &v);
		break;
	case 4:
		kernel_receive(kernel, socket, NULL);
		break;
	default:
		kernel_send(kernel, &packet);
	}
}

static void assert_same_end(const struct end *a, const struct end *b)
{
	assert_int_equal(a->fate, b->fate);
	assert_true(a->packet.number == b->packet.number);
	assert_int_equal(a->packet.mark, b->packet.mark);
	assert_int_equal(a->packet.length, b->packet.length);
	assert_int_equal(a->packet.inspected, b->packet.inspected);
	assert_int_equal(a->packet.opened, b->packet.opened);
	assert_int_equal(a->packet.bypassed, b->packet.bypassed);
}

/* All but the ends, which are many. */
static void assert_same_numbers(const struct world *a, const struct world *b)
{
	struct spw_socket_stat sockets[2];

	assert_int_equal(a->ends, b->ends);
	for (uint16_t queue = 1; queue <= 3; queue++) {
		struct spw_queue_stat queues[2] = {0};

		kernel_queue_stat(a->kernel, queue, &queues[0]);
		kernel_queue_stat(b->kernel, queue, &queues[1]);
		assert_memory_equal(&queues[0], &queues[1], sizeof(queues[0]));
	}
	kernel_socket_stat(a->kernel, 0, &sockets[0]);
	kernel_socket_stat(b->kernel, 0, &sockets[1]);
	assert_memory_equal(&sockets[0], &sockets[1], sizeof(sockets[0]));
	for (unsigned hook = 0; hook < 3; hook++)
		for (unsigned i = 0; i < KERNEL_RULES; i++)
			assert_true(kernel_hook(a->kernel, hook)->rule[i].hits ==
				    kernel_hook(b->kernel, hook)->rule[i].hits);
}

static void forms(void **state)
{
	static struct world form[2];
	const struct kernel_hook again = {
	    .rules = 1, .rule = {{.mark_mask = 1, .mark_value = 1, .action = ACTION_QUEUE, .queue = 2}}};
	uint64_t opened = 0;

	(void)state;
	open_world(&form[0], false);
	open_world(&form[1], true);
	for (uint64_t seed = 0; seed < 500; seed++) {
		uint64_t random = seed;

		for (unsigned i = 0; i < 2; i++) {
			kernel_reset(form[i].kernel);
			make_hooks(form[i].kernel);
			kernel_hook_insert(form[i].kernel, 1, &again);
			kernel_socket(form[i].kernel, 100, 5 * SMALL);
			form[i].ends = 0;
		}
		for (unsigned n = 0; n < 200; n++) {
			next(&random);
			step(form[0].kernel, 0, random);
			step(form[1].kernel, 0, random);
			assert_same_numbers(&form[0], &form[1]);
		}
		for (unsigned i = 0; i < form[0].ends; i++) {
			assert_same_end(&form[0].end[i], &form[1].end[i]);
			opened += form[0].end[i].packet.opened;
		}
	}
	assert_true(opened > 1000);
	kernel_free(form[0].kernel);
	kernel_free(form[1].kernel);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(configurations),  TEST(owners),     TEST(full_queue), TEST(full_socket), TEST(huge_message),
	    TEST(filtered_socket), TEST(full_table), TEST(no_table),   TEST(no_memory),   TEST(aggregates),
	    TEST(nobody),          TEST(verdicts),   TEST(payloads),   TEST(batches),     TEST(thrown_away),
	    TEST(messages),        TEST(resetting),  TEST(forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
