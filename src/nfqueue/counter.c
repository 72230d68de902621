/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The counter in front of a queue's rules: see counter.h. Touches a netlink socket of its own and nothing else.
 */
#include "nfqueue/counter.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink_acct.h>

#include "internal.h"

#define NFT_TABLE     "spillway"
#define ACCT_TYPE(m)  ((uint16_t)((NFNL_SUBSYS_ACCT << 8) | (m)))
#define NFT_TYPE(m)   ((uint16_t)((NFNL_SUBSYS_NFTABLES << 8) | (m)))
#define REQUEST_BYTES 128
#define REPLY_BYTES   1024
/* Messages that may lie in the socket before the answer: replies that an earlier call did not get to. */
#define STRAY         16

void spw_counter_name(uint16_t queue, enum spw_counter_kind kind, char name[SPW_COUNTER_NAME])
{
	static const char *const ends[SPW_COUNTER_KINDS] = {"", "-trusted", "-spilled"};

	snprintf(name, SPW_COUNTER_NAME, "spillway-%u%s", (unsigned)queue, ends[kind]);
}

int spw_counter_open(struct spw_counter *c)
{
	uint32_t portid;

	*c = (struct spw_counter){.fd = spw_nl_socket(&portid)};
	return c->fd < 0 ? c->fd : 0;
}

void spw_counter_close(struct spw_counter *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static bool take_u64(const struct nlattr *attr, uint64_t *value)
{
	uint64_t be;

	if (mnl_attr_get_payload_len(attr) != sizeof(be))
		return false;
	memcpy(&be, mnl_attr_get_payload(attr), sizeof(be));
	*value = be64toh(be);
	return true;
}

static bool take_type(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) == sizeof(uint32_t) &&
	       ntohl(mnl_attr_get_u32(attr)) == NFT_OBJECT_COUNTER;
}

static bool take_name(const struct nlattr *attr, const char *name)
{
	const size_t len = strlen(name) + 1;

	return mnl_attr_get_payload_len(attr) == len && !memcmp(mnl_attr_get_payload(attr), name, len);
}

/* Everything that a reply has to hold, a bit each. */
enum { HAS_NAME = 1, HAS_PACKETS = 2, HAS_BYTES = 4, HAS_TYPE = 8 };

static unsigned acct_attr(const struct nlattr *attr, const char *name, uint64_t *packets, uint64_t *bytes)
{
	switch (mnl_attr_get_type(attr)) {
	case NFACCT_NAME:
		return take_name(attr, name) ? HAS_NAME : 0;
	case NFACCT_PKTS:
		return take_u64(attr, packets) ? HAS_PACKETS : 0;
	case NFACCT_BYTES:
		return take_u64(attr, bytes) ? HAS_BYTES : 0;
	default:
		return 0;
	}
}

static unsigned nft_data(const struct nlattr *data, uint64_t *packets, uint64_t *bytes)
{
	const struct nlattr *attr;
	unsigned has = 0;

	mnl_attr_for_each_nested (attr, data) {
		if (mnl_attr_get_type(attr) == NFTA_COUNTER_PACKETS)
			has |= take_u64(attr, packets) ? HAS_PACKETS : 0;
		else if (mnl_attr_get_type(attr) == NFTA_COUNTER_BYTES)
			has |= take_u64(attr, bytes) ? HAS_BYTES : 0;
	}
	return has;
}

static unsigned nft_attr(const struct nlattr *attr, const char *name, uint64_t *packets, uint64_t *bytes)
{
	switch (mnl_attr_get_type(attr)) {
	case NFTA_OBJ_NAME:
		return take_name(attr, name) ? HAS_NAME : 0;
	case NFTA_OBJ_TYPE:
		return take_type(attr) ? HAS_TYPE : 0;
	case NFTA_OBJ_DATA:
		return nft_data(attr, packets, bytes);
	default:
		return 0;
	}
}

static int take_object(const struct nlmsghdr *nlh, const struct spw_counter_want *want, uint64_t *packets,
		       uint64_t *bytes)
{
	const bool nft = want->type == NFT_TYPE(NFT_MSG_NEWOBJ);
	const unsigned all = HAS_NAME | HAS_PACKETS | HAS_BYTES | (nft ? HAS_TYPE : 0);
	const void *attrs = mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg));
	const struct nlattr *attr;
	uint64_t p = 0, b = 0;
	unsigned has = 0;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
		return -EPROTO;
	/* Not mnl_attr_for_each(), which rounds the end of the message up. */
	mnl_attr_for_each_payload(attrs, (nlh->nlmsg_len - MNL_NLMSG_HDRLEN - sizeof(struct nfgenmsg)))
	{
		has |= nft ? nft_attr(attr, want->name, &p, &b) : acct_attr(attr, want->name, &p, &b);
	}
	if (has != all)
		return -EPROTO;
	*packets = p;
	*bytes = b;
	return 0;
}

static int take_error(const struct nlmsghdr *nlh, bool wanted)
{
	struct nlmsgerr answer;

	if (nlh->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(answer))
		return -EPROTO;
	memcpy(&answer, mnl_nlmsg_get_payload(nlh), sizeof(answer));
	/* Success where an object was asked for is no answer; nor is a positive errno, or one that is none. */
	if (answer.error > 0 || answer.error < -4095 || (!answer.error && !wanted))
		return -EPROTO;
	return answer.error;
}

int spw_counter_answer(const void *buf, size_t len, const struct spw_counter_want *want, uint64_t *packets,
		       uint64_t *bytes)
{
	const struct nlmsghdr *nlh = buf;
	int left = (int)len;

	/* libmnl takes a length of 2^31 and more for a negative one, and so for fitting. */
	for (; mnl_nlmsg_ok(nlh, left) && nlh->nlmsg_len <= (uint32_t)left; nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_seq != want->seq)
			continue;
		if (nlh->nlmsg_type == NLMSG_ERROR)
			return take_error(nlh, !want->type);
		if (!want->type || nlh->nlmsg_type != want->type)
			return -EPROTO;
		return take_object(nlh, want, packets, bytes);
	}
	return -EAGAIN;
}

/* Takes messages off the socket until one answers. Never waits. */
static int receive(const struct spw_counter *c, const struct spw_counter_want *want, uint64_t *packets, uint64_t *bytes)
{
	for (unsigned i = 0; i < STRAY; i++) {
		char buf[REPLY_BYTES] __attribute__((aligned(8)));
		struct sockaddr_nl from = {0};
		socklen_t from_len = sizeof(from);
		const ssize_t len =
		    recvfrom(c->fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
		int err;

		if (len < 0)
			return errno == EAGAIN ? -EPROTO : -errno;
		if (from.nl_pid) /* not the kernel */
			continue;
		err = spw_counter_answer(buf, (size_t)len, want, packets, bytes);
		if (err != -EAGAIN)
			return err;
	}
	return -EPROTO;
}

static struct nlmsghdr *request(struct spw_counter *c, void *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++c->seq;
	nfg->nfgen_family = type >> 8 == NFNL_SUBSYS_NFTABLES ? NFPROTO_INET : AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

/* Sends and takes the answer, which is of the type `answer`; 0: an acknowledgement. */
static int ask(struct spw_counter *c, const struct nlmsghdr *nlh, uint16_t answer, const char *name, uint64_t *packets,
	       uint64_t *bytes)
{
	struct spw_counter_want want = {.seq = nlh->nlmsg_seq, .type = answer};
	const int err = spw_nl_send(c->fd, nlh, nlh->nlmsg_len);

	if (err < 0)
		return err;
	memcpy(want.name, name, sizeof(want.name));
	return receive(c, &want, packets, bytes);
}

static int ask_acct(struct spw_counter *c, uint8_t message, uint16_t flags, const char *name, uint64_t *packets,
		    uint64_t *bytes)
{
	uint32_t buf[REQUEST_BYTES / sizeof(uint32_t)];
	struct nlmsghdr *nlh = request(c, buf, ACCT_TYPE(message), flags);

	mnl_attr_put_strz(nlh, NFACCT_NAME, name);
	return ask(c, nlh, flags & NLM_F_ACK ? 0 : ACCT_TYPE(NFNL_MSG_ACCT_NEW), name, packets, bytes);
}

static int ask_nft(struct spw_counter *c, const char *name, uint64_t *packets, uint64_t *bytes)
{
	uint32_t buf[REQUEST_BYTES / sizeof(uint32_t)];
	struct nlmsghdr *nlh = request(c, buf, NFT_TYPE(NFT_MSG_GETOBJ), 0);

	mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_OBJ_NAME, name);
	mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	return ask(c, nlh, NFT_TYPE(NFT_MSG_NEWOBJ), name, packets, bytes);
}

/* The kernel's word for a subsystem that it lacks. */
static bool lacks(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP;
}

int spw_counter_read(struct spw_counter *c, uint16_t queue, enum spw_counter_kind kind, uint64_t *packets,
		     uint64_t *bytes)
{
	char name[SPW_COUNTER_NAME];
	int err = -ENOENT;

	spw_counter_name(queue, kind, name);
	if (!c->no_acct) {
		err = ask_acct(c, NFNL_MSG_ACCT_GET, 0, name, packets, bytes);
		c->no_acct = lacks(err);
	}
	if (err != -ENOENT && !c->no_acct)
		return err;
	if (c->no_nft)
		return -ENOENT;
	err = ask_nft(c, name, packets, bytes);
	c->no_nft = lacks(err);
	return c->no_nft ? -ENOENT : err;
}

int spw_counter_make(struct spw_counter *c, uint16_t queue, enum spw_counter_kind kind)
{
	uint64_t packets, bytes; /* an acknowledgement brings none */
	char name[SPW_COUNTER_NAME];

	spw_counter_name(queue, kind, name);
	return ask_acct(c, NFNL_MSG_ACCT_NEW, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, name, &packets, &bytes);
}

int spw_counter_delete(struct spw_counter *c, uint16_t queue, enum spw_counter_kind kind)
{
	uint64_t packets, bytes;
	char name[SPW_COUNTER_NAME];

	spw_counter_name(queue, kind, name);
	return ask_acct(c, NFNL_MSG_ACCT_DEL, NLM_F_ACK, name, &packets, &bytes);
}
