/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Binding and configuring on the real kernel: every refusal as its errno, also where packets fill the socket or another
 * process reads it; masks by what they do to packets. The script's rule sends datagrams for PORT to queue 5.
 */
#include <fcntl.h>
#include <signal.h>

#include "queue.h"

#define NUMBER    5
#define ALL_FLAGS 0x1fu
#define UNKNOWN   0x20u

/* Kernels from 7.1 on say EINVAL. */
static int unsupported(int err)
{
	return err == -EOPNOTSUPP || err == -EINVAL;
}

static struct spw_queue_config config_of(struct spw_queue *queue)
{
	struct spw_queue_config config = {.size = sizeof(config)};

	spw_queue_config(queue, &config);
	return config;
}

static void unbound(void)
{
	struct spw_queue *queue = open_queue(NUMBER);
	struct spw_queue_stat stat;

	EQUAL(spw_queue_stat(queue, &stat), -ENODEV);
	EQUAL(spw_queue_set_flags(queue, 1, 1), -ENODEV);
	TRUE(strstr(spw_queue_error(queue), "not bound"));
	EQUAL(spw_queue_set_flags(queue, UNKNOWN, 0), -ENODEV);
	TRUE(unsupported(spw_queue_set_flags(queue, 0, UNKNOWN)));
	EQUAL(spw_queue_set_length(queue, 16), -ENODEV);
	EQUAL(spw_queue_unbind(queue), -ENODEV);
	EQUAL(spw_queue_taken(queue), 0);
	spw_queue_close(queue);
}

/* What fails binds nothing. */
static void failed_bind(void)
{
	struct spw_queue *queue = open_queue(NUMBER);
	struct spw_queue_config config = {.size = sizeof(config), .length = 16, .flags = UNKNOWN};
	struct spw_queue_stat stat;

	TRUE(unsupported(spw_queue_bind(queue, &config)));
	EQUAL(spw_queue_stat(queue, &stat), -ENODEV);
	config.mask = config.flags = UNKNOWN | SPW_FAIL_OPEN;
	TRUE(unsupported(spw_queue_bind(queue, &config)));
	EQUAL(spw_queue_stat(queue, &stat), -ENODEV);
	config.flags = 0;
	config.copy_mode = 3;
	EQUAL(spw_queue_bind(queue, &config), -EINVAL);
	config.copy_mode = 0;
	config.copy_range = SPW_COPY_RANGE_MAX + 1;
	EQUAL(spw_queue_bind(queue, &config), -EINVAL);
	config.copy_range = 0;
	config.size = 8;
	EQUAL(spw_queue_bind(queue, &config), -EINVAL);
	EQUAL(spw_queue_stat(queue, &stat), -ENODEV);
	config.size = sizeof(config);
	good(queue, spw_queue_bind(queue, &config));
	EQUAL(stat_of(queue).copy_mode, SPW_COPY_PACKET);
	spw_queue_close(queue);
}

static void owners(void)
{
	struct spw_queue *mine = bind_queue(NUMBER, SPW_COPY_PACKET, 16, SPW_FAIL_OPEN);
	struct spw_queue *other = open_queue(NUMBER);
	const struct spw_queue_config config = {.size = sizeof(config)};
	char port[16];

	EQUAL(spw_queue_bind(mine, &config), -EBUSY);
	EQUAL(spw_queue_taken(mine), 0);
	EQUAL(spw_queue_bind(other, &config), -EPERM);
	EQUAL(spw_queue_taken(other), 1);
	snprintf(port, sizeof(port), "port %u ", stat_of(mine).portid);
	TRUE(strstr(spw_queue_error(other), port));
	EQUAL(spw_queue_set_flags(other, 1, 0), -EPERM);
	EQUAL(spw_queue_taken(other), 1);
	TRUE(unsupported(spw_queue_set_flags(other, 0, UNKNOWN)));
	EQUAL(spw_queue_taken(other), 0);
	EQUAL(spw_queue_unbind(other), -EPERM);
	EQUAL(stat_of(mine).copy_range, SPW_COPY_RANGE_MAX);
	EQUAL(config_of(mine).flags, SPW_FAIL_OPEN);
	good(mine, spw_queue_unbind(mine));
	good(other, spw_queue_bind(other, &config));
	spw_queue_close(mine);
	spw_queue_close(other);
}

/* Runs in a child: nobody's uid, no capability. */
static void as_nobody(struct spw_queue *queue)
{
	const struct spw_queue_config config = config_of(queue);
	struct spw_queue *adopted = NULL;
	struct spw_queue *own = NULL;

	EQUAL(setresuid(65534, 65534, 65534), 0);
	EQUAL(spw_queue_open(&own, NUMBER + 1), -EPERM);
	TRUE(strstr(spw_queue_error(own), "CAP_NET_ADMIN"));
	spw_queue_close(own);
	EQUAL(spw_queue_adopt(&adopted, NUMBER, dup(spw_queue_fd(queue)), dup(spw_queue_proc_fd(queue)), &config), 0);
	EQUAL(spw_queue_set_flags(adopted, 1, 1), -EPERM);
	EQUAL(spw_queue_taken(adopted), 0);
	TRUE(strstr(spw_queue_error(adopted), "CAP_NET_ADMIN"));
	EQUAL(spw_queue_set_length(adopted, 99), -EPERM);
	EQUAL(spw_queue_unbind(adopted), -EPERM);
	EQUAL(stat_of(adopted).copy_range, SPW_COPY_RANGE_MAX);
	spw_queue_close(adopted);
	exit(0);
}

static void no_capability(void)
{
	struct spw_queue *queue = bind_queue(NUMBER, SPW_COPY_PACKET, 16, 0);
	const pid_t child = fork();
	int status;

	TRUE(child >= 0);
	if (child == 0)
		as_nobody(queue);
	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(status, 0);
	/* The refusals lie on the socket; they must not confuse whoever calls next. */
	good(queue, spw_queue_set_flags(queue, 1, 1));
	spw_queue_close(queue);
}

/* Every pair over the defined bits and one more; conntrack may be missing in this kernel. */
static void every_pair(struct spw_queue *queue)
{
	const int conntrack = spw_queue_set_flags(queue, SPW_CONNTRACK, SPW_CONNTRACK);
	const int secctx = spw_queue_set_flags(queue, SPW_SECCTX, SPW_SECCTX);
	uint32_t now = 0;

	good(queue, spw_queue_set_flags(queue, ALL_FLAGS, 0));
	for (uint32_t pair = 0; pair < 64 * 64; pair++) {
		const uint32_t mask = pair % 64;
		const uint32_t flags = pair / 64;
		const int err = spw_queue_set_flags(queue, mask, flags);

		if (flags & UNKNOWN || (conntrack && (mask & flags & SPW_CONNTRACK)) ||
		    (secctx && (mask & flags & SPW_SECCTX))) {
			TRUE(unsupported(err));
		} else {
			good(queue, err);
			now = (now & ~mask) | (flags & mask);
		}
		EQUAL(config_of(queue).flags, now & ALL_FLAGS);
	}
	good(queue, spw_queue_set_flags(queue, ALL_FLAGS, 0));
}

static void pairs(void)
{
	struct spw_queue *queue = bind_queue(NUMBER, SPW_COPY_PACKET, 16, 0);

	every_pair(queue);
	good(queue, spw_queue_configure(queue, &(struct spw_queue_config){.size = sizeof(struct spw_queue_config),
									  .copy_mode = SPW_COPY_META}));
	EQUAL(stat_of(queue).copy_mode, SPW_COPY_META);
	every_pair(queue);
	EQUAL(stat_of(queue).copy_mode, SPW_COPY_META);
	spw_queue_close(queue);
}

/* What flags do: length 16, 40 datagrams. */
static void behaviour(uint32_t copy_mode)
{
	struct spw_queue *queue = bind_queue(NUMBER, copy_mode, 16, 0);
	const int to = udp_socket(1);
	const int from = udp_socket(0);
	/* mask, flags, and whether the queue fails open then */
	const uint32_t step[][3] = {
	    {0, 1, 0}, {2, 1, 0},          {1, 1, 1}, {0, 0, 1}, {4, 4, 1},
	    {4, 0, 1}, {8, 0x1e & ~2u, 1}, {1, 0, 0}, {9, 1, 1}, {1, 8, 0},
	};
	uint32_t dropped = 0;

	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		good(queue, spw_queue_set_flags(queue, step[i][0], step[i][1]));
		udp_send(from, 40, 100);
		EQUAL(stat_of(queue).held, 16);
		EQUAL(udp_count(to), step[i][2] ? 24 : 0);
		dropped += step[i][2] ? 0 : 24;
		EQUAL(stat_of(queue).queue_dropped, dropped);
		settle(queue, SPW_ACCEPT);
		EQUAL(udp_count(to), 16);
	}
	good(queue, spw_queue_set_length(queue, 7));
	udp_send(from, 40, 100);
	EQUAL(stat_of(queue).held, 7);
	settle(queue, SPW_DROP);
	EQUAL(udp_count(to), 0);
	close(from);
	close(to);
	spw_queue_close(queue);
}

/* One message brings all: mode, range, length and flags. */
static void all_in_one(void)
{
	struct spw_queue *queue = open_queue(NUMBER);
	struct spw_queue_config config = {.size = sizeof(config),
					  .copy_mode = SPW_COPY_PACKET,
					  .copy_range = 100,
					  .length = 3,
					  .mask = SPW_FAIL_OPEN,
					  .flags = SPW_FAIL_OPEN};
	const int to = udp_socket(1);
	const int from = udp_socket(0);

	good(queue, spw_queue_bind(queue, &config));
	EQUAL(stat_of(queue).copy_range, 100);
	udp_send(from, 10, 500);
	EQUAL(stat_of(queue).held, 3);
	EQUAL(udp_count(to), 7);
	settle(queue, SPW_DROP);
	config.copy_mode = SPW_COPY_META;
	config.length = 5;
	config.flags = 0;
	good(queue, spw_queue_configure(queue, &config));
	EQUAL(stat_of(queue).copy_mode, SPW_COPY_META);
	udp_send(from, 10, 500);
	EQUAL(stat_of(queue).held, 5);
	EQUAL(udp_count(to), 0);
	EQUAL(config_of(queue).length, 5);
	EQUAL(config_of(queue).mask, SPW_FAIL_OPEN);
	close(from);
	close(to);
	spw_queue_close(queue);
}

static void check_answers(struct spw_queue *queue, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		good(queue, spw_queue_set_flags(queue, SPW_FAIL_OPEN, i % 2));
		TRUE(unsupported(spw_queue_set_flags(queue, 0, UNKNOWN)));
		good(queue, spw_queue_set_length(queue, 100000 + i));
	}
	EQUAL(config_of(queue).length, 100000 + rounds - 1);
}

/* The socket is full of packets, and nobody reads. */
static void full_socket(uint32_t copy_mode)
{
	struct spw_queue *queue = bind_queue(NUMBER, copy_mode, 100000, 0);
	struct spw_socket_stat before;
	struct spw_socket_stat after;
	const int from = udp_socket(0);

	TRUE(spw_queue_set_buffer(queue, 20000) >= 20000);
	udp_send(from, 200, 1000);
	good(queue, spw_queue_socket_stat(queue, &before));
	TRUE(before.drops > 0);
	TRUE(stat_of(queue).held > 0);
	check_answers(queue, 50);
	good(queue, spw_queue_socket_stat(queue, &after));
	/* The refusals really found no room: nothing but the table could have told. */
	TRUE(after.drops > before.drops);
	close(from);
	spw_queue_close(queue);
}

/* Another process reads whatever comes. */
static void another_reader(uint32_t copy_mode)
{
	struct spw_queue *queue = bind_queue(NUMBER, copy_mode, 100000, 0);
	const int from = udp_socket(0);
	const pid_t child = fork();
	char data[256];

	TRUE(child >= 0);
	if (child == 0) {
		for (;;)
			recv(spw_queue_fd(queue), data, sizeof(data), 0);
	}
	for (unsigned i = 0; i < 20; i++) {
		udp_send(from, 20, 1000);
		check_answers(queue, 5);
	}
	kill(child, SIGKILL);
	EQUAL(waitpid(child, NULL, 0), child);
	close(from);
	spw_queue_close(queue);
}

/* More queues than one read of the table shows. */
static void many_queues(void)
{
	enum { MANY = 300 };
	struct spw_queue *queue[MANY];

	for (unsigned i = 0; i < MANY; i++)
		queue[i] = bind_queue((uint16_t)(65535 - 7 * i), SPW_COPY_PACKET, i, 0);
	for (unsigned i = 0; i < MANY; i++) {
		good(queue[i], spw_queue_set_flags(queue[i], 1, 1));
		TRUE(unsupported(spw_queue_set_flags(queue[i], 0, UNKNOWN)));
		EQUAL(spw_queue_bind(queue[i], &(struct spw_queue_config){.size = sizeof(struct spw_queue_config)}),
		      -EBUSY);
	}
	for (unsigned i = 0; i < MANY; i++) {
		struct spw_queue_stat stat;

		good(queue[i], spw_queue_unbind(queue[i]));
		EQUAL(spw_queue_stat(queue[i], &stat), -ENODEV);
		spw_queue_close(queue[i]);
	}
}

static void buffer_and_descriptors(void)
{
	struct spw_queue *queue = open_queue(NUMBER);
	struct spw_socket_stat stat;

	EQUAL(spw_queue_set_buffer(queue, 300000), 300000);
	good(queue, spw_queue_socket_stat(queue, &stat));
	EQUAL(stat.limit, 300000);
	EQUAL(stat.used, 0);
	EQUAL(fcntl(spw_queue_fd(queue), F_GETFD), FD_CLOEXEC);
	EQUAL(fcntl(spw_queue_proc_fd(queue), F_GETFD), FD_CLOEXEC);
	spw_queue_close(queue);
}

int main(void)
{
	unbound();
	failed_bind();
	owners();
	if (real_root())
		no_capability();
	pairs();
	behaviour(SPW_COPY_PACKET);
	behaviour(SPW_COPY_META);
	all_in_one();
	full_socket(SPW_COPY_PACKET);
	full_socket(SPW_COPY_META);
	another_reader(SPW_COPY_PACKET);
	another_reader(SPW_COPY_META);
	many_queues();
	buffer_and_descriptors();
	return 0;
}
