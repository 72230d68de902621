/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's own numbers: its table of queues in /proc, and what the socket says of itself. Reads only.
 */
#include "nfqueue/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COLUMNS 8

int nfq_open_proc(void)
{
	int fd = open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Columns of nfqnl's seq_show() in net/netfilter/nfnetlink_queue.c. */
static bool parse_line(const char *line, uint16_t number, struct spw_queue_stat *s)
{
	unsigned long v[COLUMNS];
	char *end;

	for (int i = 0; i < COLUMNS; i++, line = end) {
		v[i] = strtoul(line, &end, 10);
		if (end == line || (i == 0 && v[0] != number))
			return false;
	}
	*s = (struct spw_queue_stat){
	    .portid = (uint32_t)v[1],
	    .held = (uint32_t)v[2],
	    .copy_mode = (uint32_t)v[3],
	    .copy_range = (uint32_t)v[4],
	    .queue_dropped = (uint32_t)v[5],
	    .user_dropped = (uint32_t)v[6],
	    .id_sequence = (uint32_t)v[7],
	};
	return true;
}

int nfq_read_line(int proc_fd, uint16_t number, struct spw_queue_stat *stat)
{
	char buf[4096];
	off_t offset = 0;

	/* A read returns whole lines, a page of them at most. */
	for (;;) {
		ssize_t n = pread(proc_fd, buf, sizeof(buf) - 1, offset);
		char *line, *next;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		buf[n] = '\0';
		for (line = buf; (next = strchr(line, '\n')); line = next + 1) {
			*next = '\0';
			if (parse_line(line, number, stat))
				return 1;
		}
		if (line == buf)
			return -EBADMSG;
		offset += line - buf;
	}
}

int spw_queue_stat(struct spw_queue *q, struct spw_queue_stat *stat)
{
	int found = nfq_read_line(q->proc_fd, q->number, stat);

	if (found < 0)
		return nfq_explain(q, found);
	return found ? 0 : nfq_explain(q, -ENODEV);
}

int spw_queue_socket_stat(struct spw_queue *q, struct spw_socket_stat *stat)
{
	uint32_t m[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(m);

	if (getsockopt(q->fd, SOL_SOCKET, SO_MEMINFO, m, &len))
		return nfq_explain(q, -errno);
	*stat = (struct spw_socket_stat){
	    .used = m[SK_MEMINFO_RMEM_ALLOC], .limit = m[SK_MEMINFO_RCVBUF], .drops = m[SK_MEMINFO_DROPS]};
	return 0;
}
