/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop that everybody writes: libnetfilter_queue, a recv() and a verdict a packet, in one process. Spillway is
 * measured beside it.
 *
 *     plain QUEUE LENGTH FAIL_OPEN(0|1) GSO(0|1) BUFFER_BYTES(0: as it is)
 *
 * Told to stop (SIGTERM), it prints how many packets it inspected, and how many bytes of TCP data were in them: without
 * GSO the kernel cuts packets behind the rule's counter, so that packets can't be compared, but data can.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static unsigned long inspected, tcp_bytes;
static volatile sig_atomic_t stopping;

static void stop(int sig)
{
	(void)sig;
	stopping = 1;
}

/* Bytes of TCP data in an IPv4 packet; 0 if it is none. */
static unsigned tcp_data(const unsigned char *ip, int len)
{
	int head = len >= 20 ? (ip[0] & 15) * 4 : 0;

	if (head < 20 || ip[9] != IPPROTO_TCP || len < head + 20)
		return 0;
	head += (ip[head + 12] >> 4) * 4;
	return len > head ? (unsigned)(len - head) : 0;
}

static int packet(struct nfq_q_handle *qh, struct nfgenmsg *msg, struct nfq_data *data, void *unused)
{
	const struct nfqnl_msg_packet_hdr *h = nfq_get_msg_packet_hdr(data);

	unsigned char *payload;
	int len = nfq_get_payload(data, &payload);

	(void)msg;
	(void)unused;
	inspected++;
	tcp_bytes += tcp_data(payload, len);
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
	struct timeval look = {.tv_usec = 100000}; /* for a stop that came just before recv() */
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
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof(look)) || sigaction(SIGTERM, &act, NULL))
		perror("plain: stopping");
	puts("ready");
	fflush(stdout);
	while (!stopping) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n >= 0)
			nfq_handle_packet(h, buf, (int)n);
		else if (errno != ENOBUFS && errno != EINTR && errno != EAGAIN)
			break;
	}
	printf("%lu %lu\n", inspected, tcp_bytes);
	return 0;
}
