/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop that everybody writes: libnetfilter_queue, a recv() and a verdict a packet, in one process. Spillway is
 * measured beside it. plain QUEUE LENGTH FAIL_OPEN(0|1) GSO(0|1) BUFFER_BYTES(0: as it is) Prints how many packets it
 * inspected when it is told to stop (SIGTERM).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static unsigned long inspected;
static volatile sig_atomic_t stopping;

static void stop(int sig)
{
	(void)sig;
	stopping = 1;
}

static int packet(struct nfq_q_handle *qh, struct nfgenmsg *msg, struct nfq_data *data, void *unused)
{
	const struct nfqnl_msg_packet_hdr *h = nfq_get_msg_packet_hdr(data);

	(void)msg;
	(void)unused;
	inspected++;
	return nfq_set_verdict(qh, h ? ntohl(h->packet_id) : 0, NF_ACCEPT, 0, NULL);
}

static struct nfq_q_handle *bind_queue(struct nfq_handle *h, char **argv)
{
	struct nfq_q_handle *qh = nfq_create_queue(h, (uint16_t)atoi(argv[1]), packet, NULL);
	uint32_t flags = (atoi(argv[3]) ? NFQA_CFG_F_FAIL_OPEN : 0) | (atoi(argv[4]) ? NFQA_CFG_F_GSO : 0);

	if (!qh || nfq_set_mode(qh, NFQNL_COPY_PACKET, 0xffff) || nfq_set_queue_maxlen(qh, (uint32_t)atoi(argv[2])) ||
	    nfq_set_queue_flags(qh, NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO, flags))
		return NULL;
	return qh;
}

int main(int argc, char **argv)
{
	static char buf[0xffff + 4096] __attribute__((aligned));
	struct sigaction act = {.sa_handler = stop};
	struct nfq_handle *h;
	int fd, half;

	if (argc != 6)
		return 2;
	h = nfq_open();
	if (!h || !bind_queue(h, argv)) {
		perror("plain: queue");
		return 1;
	}
	fd = nfq_fd(h);
	half = atoi(argv[5]) / 2;
	if (half && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof(half)))
		perror("plain: buffer");
	sigaction(SIGTERM, &act, NULL);
	puts("ready");
	fflush(stdout);
	while (!stopping) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n >= 0)
			nfq_handle_packet(h, buf, (int)n);
		else if (errno != ENOBUFS && errno != EINTR)
			break;
	}
	printf("%lu\n", inspected);
	return 0;
}
