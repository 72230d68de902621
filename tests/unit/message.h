/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building netlink messages byte by byte, as the kernel would or never would. For the decoder's tests. */
#ifndef TESTS_UNIT_MESSAGE_H
#define TESTS_UNIT_MESSAGE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#define PACKET_TYPE (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)

struct message {
	size_t len;
	uint8_t data[70 * 1024];
};

static inline void message_add(struct message *m, const void *data, size_t len)
{
	if (len)
		memcpy(m->data + m->len, data, len);
	m->len += len;
}

/* Makes the header's length that of the message. */
static inline void message_end(struct message *m)
{
	const uint32_t len = (uint32_t)m->len;

	memcpy(m->data, &len, sizeof(len));
}

static inline void message_begin(struct message *m, uint16_t type, uint16_t queue)
{
	const struct nlmsghdr nlh = {.nlmsg_type = type};
	const struct nfgenmsg nfg = {.nfgen_family = AF_INET, .res_id = htons(queue)};

	m->len = 0;
	message_add(m, &nlh, sizeof(nlh));
	message_add(m, &nfg, sizeof(nfg));
	message_end(m);
}

/* An attribute that claims a length of its own. */
static inline void message_lie(struct message *m, uint16_t type, uint16_t claimed, const void *data, size_t len)
{
	const struct nlattr attr = {.nla_len = claimed, .nla_type = type};
	const uint8_t zero[3] = {0};

	message_add(m, &attr, sizeof(attr));
	message_add(m, data, len);
	message_add(m, zero, (4 - len % 4) % 4);
	message_end(m);
}

static inline void message_attr(struct message *m, uint16_t type, const void *data, size_t len)
{
	message_lie(m, type, (uint16_t)(sizeof(struct nlattr) + len), data, len);
}

static inline void message_u32(struct message *m, uint16_t type, uint32_t value)
{
	value = htonl(value);
	message_attr(m, type, &value, sizeof(value));
}

static inline void message_header(struct message *m, uint32_t id)
{
	const struct nfqnl_msg_packet_hdr hdr = {.packet_id = htonl(id), .hw_protocol = htons(0x86dd), .hook = 3};

	message_attr(m, NFQA_PACKET_HDR, &hdr, sizeof(hdr));
}

#endif
