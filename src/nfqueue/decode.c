/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One netlink message into one packet. The message may be cut, misaligned, lying or hostile: every number in it is
 * copied out byte by byte and every length is checked against what is there. No I/O, no memory of its own.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

#define PACKET_TYPE ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET)
/* The id is a must; this bit is used while decoding and never shown. */
#define HAS_HEADER  (1u << 31)
#define HAS_CAP_LEN (1u << 30)

struct bytes {
	const uint8_t *at;
	size_t len;
};

static int take_be32(struct bytes from, uint32_t *value)
{
	if (from.len < sizeof(*value))
		return -EBADMSG;
	memcpy(value, from.at, sizeof(*value));
	*value = ntohl(*value);
	return 0;
}

static int take_be16(struct bytes from, uint16_t *value)
{
	if (from.len < sizeof(*value))
		return -EBADMSG;
	memcpy(value, from.at, sizeof(*value));
	*value = ntohs(*value);
	return 0;
}

/* Takes the next attribute off the front of *rest. 1: there is one; 0: the end; -EBADMSG: its length lies. */
static int next_attr(struct bytes *rest, unsigned *type, struct bytes *data)
{
	struct nlattr attr;
	size_t step;

	if (rest->len == 0)
		return 0;
	if (rest->len < sizeof(attr))
		return -EBADMSG;
	memcpy(&attr, rest->at, sizeof(attr));
	if (attr.nla_len < sizeof(attr) || attr.nla_len > rest->len)
		return -EBADMSG;
	*type = attr.nla_type & NLA_TYPE_MASK;
	data->at = rest->at + sizeof(attr);
	data->len = attr.nla_len - sizeof(attr);
	/* The last one comes without its padding. */
	step = NLA_ALIGN((size_t)attr.nla_len);
	if (step > rest->len)
		step = rest->len;
	rest->at += step;
	rest->len -= step;
	return 1;
}

static int take_header(struct bytes data, struct spw_packet *packet)
{
	struct nfqnl_msg_packet_hdr hdr;

	if (data.len < sizeof(hdr))
		return -EBADMSG;
	memcpy(&hdr, data.at, sizeof(hdr));
	packet->id = ntohl(hdr.packet_id);
	packet->hw_protocol = ntohs(hdr.hw_protocol);
	packet->hook = hdr.hook;
	packet->has |= HAS_HEADER;
	return 0;
}

static int take_hwaddr(struct bytes data, struct spw_packet *packet)
{
	struct nfqnl_msg_packet_hw hw;
	uint16_t len;

	if (data.len < sizeof(hw))
		return -EBADMSG;
	memcpy(&hw, data.at, sizeof(hw));
	len = ntohs(hw.hw_addrlen);
	packet->hwaddr_len = len < sizeof(packet->hwaddr) ? len : sizeof(packet->hwaddr);
	memcpy(packet->hwaddr, hw.hw_addr, packet->hwaddr_len);
	packet->has |= SPW_PACKET_HAS_HWADDR;
	return 0;
}

static int take_timestamp(struct bytes data, struct spw_packet *packet)
{
	uint32_t half[4];

	if (data.len < sizeof(half))
		return -EBADMSG;
	memcpy(half, data.at, sizeof(half));
	packet->timestamp_us = ((uint64_t)ntohl(half[0]) << 32 | ntohl(half[1])) * 1000000 +
			       ((uint64_t)ntohl(half[2]) << 32 | ntohl(half[3]));
	packet->has |= SPW_PACKET_HAS_TIMESTAMP;
	return 0;
}

static int take_vlan(struct bytes nest, struct spw_packet *packet)
{
	struct bytes data;
	unsigned type;
	int err;

	while ((err = next_attr(&nest, &type, &data)) > 0) {
		if (type == NFQA_VLAN_PROTO)
			err = take_be16(data, &packet->vlan_proto);
		else if (type == NFQA_VLAN_TCI)
			err = take_be16(data, &packet->vlan_tci);
		if (err < 0)
			return err;
	}
	packet->has |= SPW_PACKET_HAS_VLAN;
	return err;
}

static int take_bytes(struct bytes data, struct spw_packet *packet, unsigned type)
{
	if (type == NFQA_PAYLOAD) {
		packet->payload = data.at;
		packet->payload_len = data.len;
		packet->has |= SPW_PACKET_HAS_PAYLOAD;
	} else if (type == NFQA_L2HDR) {
		packet->l2hdr = data.at;
		packet->l2hdr_len = data.len;
		packet->has |= SPW_PACKET_HAS_L2HDR;
	} else if (type == NFQA_CT) {
		packet->conntrack = data.at;
		packet->conntrack_len = data.len;
		packet->has |= SPW_PACKET_HAS_CONNTRACK;
	} else {
		packet->secctx = (const char *)data.at;
		packet->secctx_len = data.len;
		packet->has |= SPW_PACKET_HAS_SECCTX;
	}
	return 0;
}

static int take_number(struct bytes data, struct spw_packet *packet, uint32_t *field, uint32_t bit)
{
	packet->has |= bit;
	return take_be32(data, field);
}

static int take_cap_len(struct bytes data, struct spw_packet *packet)
{
	uint32_t length;
	const int err = take_number(data, packet, &length, HAS_CAP_LEN);

	if (err == 0)
		packet->length = length;
	return err;
}

static int take_attr(unsigned type, struct bytes data, struct spw_packet *packet)
{
	switch (type) {
	case NFQA_PACKET_HDR:
		return take_header(data, packet);
	case NFQA_MARK:
		return take_number(data, packet, &packet->mark, SPW_PACKET_HAS_MARK);
	case NFQA_TIMESTAMP:
		return take_timestamp(data, packet);
	case NFQA_IFINDEX_INDEV:
		return take_be32(data, &packet->indev);
	case NFQA_IFINDEX_OUTDEV:
		return take_be32(data, &packet->outdev);
	case NFQA_IFINDEX_PHYSINDEV:
		return take_be32(data, &packet->physindev);
	case NFQA_IFINDEX_PHYSOUTDEV:
		return take_be32(data, &packet->physoutdev);
	case NFQA_HWADDR:
		return take_hwaddr(data, packet);
	case NFQA_CAP_LEN:
		return take_cap_len(data, packet);
	case NFQA_SKB_INFO:
		return take_be32(data, &packet->skb_info);
	case NFQA_UID:
		return take_number(data, packet, &packet->uid, SPW_PACKET_HAS_UID);
	case NFQA_GID:
		return take_number(data, packet, &packet->gid, SPW_PACKET_HAS_GID);
	case NFQA_PRIORITY:
		return take_number(data, packet, &packet->priority, SPW_PACKET_HAS_PRIORITY);
	case NFQA_CT_INFO:
		return take_be32(data, &packet->conntrack_info);
	case NFQA_VLAN:
		return take_vlan(data, packet);
	case NFQA_PAYLOAD:
	case NFQA_L2HDR:
	case NFQA_SECCTX:
	case NFQA_CT:
		return take_bytes(data, packet, type);
	default:
		return 0;
	}
}

static int take_attrs(struct bytes rest, struct spw_packet *packet)
{
	struct bytes data;
	unsigned type;
	int err;

	while ((err = next_attr(&rest, &type, &data)) > 0) {
		err = take_attr(type, data, packet);
		if (err < 0)
			return err;
	}
	return err;
}

int spw_decode(const void *msg, size_t len, struct spw_packet *packet)
{
	const uint8_t *at = msg;
	struct nlmsghdr nlh;
	struct nfgenmsg nfg;
	int err;

	if (len < sizeof(nlh))
		return -EBADMSG;
	memcpy(&nlh, at, sizeof(nlh));
	if (nlh.nlmsg_len < sizeof(nlh) || nlh.nlmsg_len > len)
		return -EBADMSG;
	if (nlh.nlmsg_type != PACKET_TYPE)
		return -ENOMSG;
	if (nlh.nlmsg_len < sizeof(nlh) + sizeof(nfg))
		return -EBADMSG;
	memcpy(&nfg, at + sizeof(nlh), sizeof(nfg));
	*packet = (struct spw_packet){.size = sizeof(*packet), .family = nfg.nfgen_family, .queue = ntohs(nfg.res_id)};
	err = take_attrs(
	    (struct bytes){.at = at + sizeof(nlh) + sizeof(nfg), .len = nlh.nlmsg_len - sizeof(nlh) - sizeof(nfg)},
	    packet);
	if (err < 0)
		return err;
	if (!(packet->has & HAS_HEADER))
		return -EBADMSG;
	/* The kernel tells the length only where it cut; nothing shorter than what is here can be true. */
	if (!(packet->has & HAS_CAP_LEN) || packet->length < packet->payload_len)
		packet->length = packet->payload_len;
	packet->has &= ~(HAS_HEADER | HAS_CAP_LEN);
	return 0;
}

int spw_packet_decode(const void *msg, size_t len, struct spw_packet *packet)
{
	const size_t size = packet->size;
	struct spw_packet ours;
	int err;

	if (size < sizeof(size))
		return -EINVAL;
	err = spw_decode(msg, len, &ours);
	if (err < 0)
		return err;
	spw_sized_out(packet, size, &ours, sizeof(ours));
	return 0;
}
