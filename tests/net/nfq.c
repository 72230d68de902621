/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nfq_set_flags() of <spillway/nfq.h> in a program on the real libnetfilter_queue: errnos, and what the masked bits do
 * to packets. The script's rule sends datagrams for PORT to queue 5.
 */
#include <netinet/in.h>

#include <linux/netfilter.h>

#include <spillway/nfq.h>

#include "queue.h"

#define NUMBER 5

static uint32_t last_id;

static int note(struct nfq_q_handle *qh, struct nfgenmsg *nfg, struct nfq_data *data, void *arg)
{
	(void)qh;
	(void)nfg;
	(void)arg;
	last_id = ntohl(nfq_get_msg_packet_hdr(data)->packet_id);
	return 0;
}

/* Reads what waits and accepts all of it. */
static void accept_all(struct nfq_handle *h, struct nfq_q_handle *qh)
{
	char data[4096] __attribute__((aligned(8)));
	ssize_t len;

	while ((len = recv(nfq_fd(h), data, sizeof(data), MSG_DONTWAIT)) > 0)
		nfq_handle_packet(h, data, (int)len);
	TRUE(nfq_set_verdict_batch(qh, last_id, NF_ACCEPT) >= 0);
}

static void refused(struct nfq_q_handle *qh, uint32_t mask, uint32_t flags)
{
	errno = 0;
	EQUAL(nfq_set_flags(qh, mask, flags), -1);
	/* Kernels from 7.1 on say EINVAL. */
	TRUE(errno == EOPNOTSUPP || errno == EINVAL);
}

int main(void)
{
	/* mask, flags, and whether the queue fails open then */
	const uint32_t step[][3] = {{0, 0, 0}, {2, 1, 0}, {1, 1, 1}, {0, 0, 1}, {4, 4, 1}, {1, 0, 0}, {5, 1, 1}};
	struct nfq_handle *h = nfq_open();
	struct nfq_q_handle *qh;
	const int to = udp_socket(1);
	const int from = udp_socket(0);

	TRUE(h);
	qh = nfq_create_queue(h, NUMBER, note, NULL);
	TRUE(qh);
	EQUAL(nfq_set_mode(qh, NFQNL_COPY_PACKET, 64), 0);
	EQUAL(nfq_set_queue_maxlen(qh, 16), 0);
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		EQUAL(nfq_set_flags(qh, step[i][0], step[i][1]), 0);
		refused(qh, 0, 0x20);
		refused(qh, 0x3f, 0x21);
		udp_send(from, 40, 100);
		EQUAL(udp_count(to), step[i][2] ? 24 : 0);
		accept_all(h, qh);
		EQUAL(udp_count(to), 16);
	}
	nfq_destroy_queue(qh);
	nfq_close(h);
	return 0;
}
