/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The queue object: opened, adopted, looked at, closed. Sends nothing but the first harmless message.
 */
#include <errno.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

/* Room for any list of verdicts: the kernel takes no more than this less 32 bytes in one sendmsg(). In a user namespace
 * it stays what net.core.wmem_max allows. */
#define SEND_BYTES (4 << 20)

static struct spw_queue *make(uint16_t number)
{
	struct spw_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->number = number;
	queue->fd = -1;
	queue->proc_fd = -1;
	queue->now = (struct spw_queue_config){
	    .size = sizeof(queue->now), .copy_mode = SPW_COPY_PACKET, .copy_range = SPW_COPY_RANGE_MAX};
	return queue;
}

/*
 * A config command that has done nothing since kernel 3.8. Sending it loads the module, and the reply tells
 * whether the caller may use the queue. Nobody else has the socket yet, so the reply can't get lost.
 */
static int probe(int fd)
{
	const struct spw_change nothing = {.command = NFQNL_CFG_CMD_PF_BIND};
	uint32_t buf[SPW_CONFIG_BYTES / sizeof(uint32_t)];

	return spw_nl_ask(fd, spw_nl_config(buf, 0, &nothing));
}

static void enlarge_send_buffer(int fd)
{
	const int bytes = SEND_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int spw_queue_open(struct spw_queue **queue, uint16_t number)
{
	struct spw_queue *new = make(number);
	int err;

	*queue = new;
	if (!new)
		return -ENOMEM;
	new->fd = spw_nl_socket(&new->portid);
	if (new->fd < 0)
		return spw_fail_open(new, new->fd);
	err = probe(new->fd);
	if (err < 0)
		return spw_fail_open(new, err);
	new->proc_fd = spw_proc_open();
	if (new->proc_fd < 0)
		return spw_fail_proc(new, new->proc_fd);
	enlarge_send_buffer(new->fd);
	return 0;
}

int spw_queue_adopt(struct spw_queue **queue, uint16_t number, int fd, int proc_fd, const struct spw_queue_config *now)
{
	struct spw_queue *new = make(number);
	int err;

	*queue = new;
	if (!new) {
		close(fd);
		close(proc_fd);
		return -ENOMEM;
	}
	new->fd = fd;
	new->proc_fd = proc_fd;
	err = spw_nl_portid(fd, &new->portid);
	if (err < 0)
		return spw_fail(new, err, "queue %u: descriptor %d is no netlink socket: hand over the queue's own",
				number, fd);
	return spw_config_adopt(new, now);
}

void spw_queue_close(struct spw_queue *queue)
{
	if (!queue)
		return;
	if (queue->fd >= 0)
		close(queue->fd);
	if (queue->proc_fd >= 0)
		close(queue->proc_fd);
	free(queue);
}

int64_t spw_queue_set_buffer(struct spw_queue *queue, uint32_t bytes)
{
	/* The kernel doubles what it is told, to make room for its own bookkeeping, and reports the double. */
	const int half = (int)(bytes / 2 + bytes % 2);
	int got = 0;
	socklen_t len = sizeof(got);

	if (setsockopt(queue->fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof(half)) < 0 &&
	    (errno != EPERM || setsockopt(queue->fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof(half)) < 0))
		return spw_fail_open(queue, -errno);
	if (getsockopt(queue->fd, SOL_SOCKET, SO_RCVBUF, &got, &len) < 0)
		return spw_fail_open(queue, -errno);
	spw_done(queue);
	return got;
}

int spw_queue_stat(struct spw_queue *queue, struct spw_queue_stat *stat)
{
	return spw_queue_stat_all(&queue, 1, stat);
}

int spw_queue_stat_all(struct spw_queue *const *queues, unsigned count, struct spw_queue_stat *stats)
{
	uint16_t numbers[64];
	struct spw_proc_rows rows = {.count = count, .numbers = numbers, .stats = stats};
	int err;

	if (!count || count > sizeof(numbers) / sizeof(*numbers))
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		numbers[i] = queues[i]->number;
	err = spw_proc_find_all(queues[0]->proc_fd, &rows);
	if (err != -ENODEV)
		return err < 0 ? spw_fail_proc(queues[0], err) : 0;
	for (unsigned i = 0; i < count; i++)
		if (!(rows.found >> i & 1))
			spw_fail_unbound(queues[i]);
	return err;
}

int spw_queue_socket_stat(struct spw_queue *queue, struct spw_socket_stat *stat)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(queue->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
		return spw_fail_open(queue, -errno);
	*stat = (struct spw_socket_stat){
	    .used = info[SK_MEMINFO_RMEM_ALLOC],
	    .limit = info[SK_MEMINFO_RCVBUF],
	    .drops = info[SK_MEMINFO_DROPS],
	};
	return 0;
}

int spw_queue_fd(const struct spw_queue *queue)
{
	return queue->fd;
}

int spw_queue_proc_fd(const struct spw_queue *queue)
{
	return queue->proc_fd;
}

uint16_t spw_queue_number(const struct spw_queue *queue)
{
	return queue->number;
}

const char *spw_queue_error(const struct spw_queue *queue)
{
	return queue->error;
}
