/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection that the kernel attached to a packet, decoded by libnetfilter_conntrack. Its bytes are the kernel's,
 * but a program may feed anything to the decoder, and the library ends the process over an attribute that is not as it
 * knows it. So it is shown a copy, where it finds nothing but attributes whose lengths have been checked. No I/O.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>

#include <spillway/conntrack.h>

#define ENTRY_MOST  4096u /* the kernel's are a few hundred bytes */
#define ETHER_IPV6  0x86ddu
#define LABEL_WORDS 4u
#define NOBODYS     0x3fffu /* the largest type that there can be */

/* An attribute that is taken: one of this length, or a nest of others. */
struct known {
	uint16_t type, len; /* 0: no more */
	const struct known *nest;
};

static const struct known addresses[] = {
    {CTA_IP_V4_SRC, 4, NULL}, {CTA_IP_V4_DST, 4, NULL}, {CTA_IP_V6_SRC, 16, NULL}, {CTA_IP_V6_DST, 16, NULL}, {0}};
static const struct known ends[] = {{CTA_PROTO_NUM, 1, NULL},         {CTA_PROTO_SRC_PORT, 2, NULL},
				    {CTA_PROTO_DST_PORT, 2, NULL},    {CTA_PROTO_ICMP_ID, 2, NULL},
				    {CTA_PROTO_ICMP_TYPE, 1, NULL},   {CTA_PROTO_ICMP_CODE, 1, NULL},
				    {CTA_PROTO_ICMPV6_ID, 2, NULL},   {CTA_PROTO_ICMPV6_TYPE, 1, NULL},
				    {CTA_PROTO_ICMPV6_CODE, 1, NULL}, {0}};
static const struct known tuple[] = {
    {CTA_TUPLE_IP, 0, addresses}, {CTA_TUPLE_PROTO, 0, ends}, {CTA_TUPLE_ZONE, 2, NULL}, {0}};
static const struct known tcp[] = {
    {CTA_PROTOINFO_TCP_STATE, 1, NULL},        {CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, 1, NULL},
    {CTA_PROTOINFO_TCP_WSCALE_REPLY, 1, NULL}, {CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, 2, NULL},
    {CTA_PROTOINFO_TCP_FLAGS_REPLY, 2, NULL},  {0}};
static const struct known sctp[] = {{CTA_PROTOINFO_SCTP_STATE, 1, NULL},
				    {CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, 4, NULL},
				    {CTA_PROTOINFO_SCTP_VTAG_REPLY, 4, NULL},
				    {0}};
static const struct known dccp[] = {{CTA_PROTOINFO_DCCP_STATE, 1, NULL},
				    {CTA_PROTOINFO_DCCP_ROLE, 1, NULL},
				    {CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ, 8, NULL},
				    {0}};
static const struct known protoinfo[] = {
    {CTA_PROTOINFO_TCP, 0, tcp}, {CTA_PROTOINFO_SCTP, 0, sctp}, {CTA_PROTOINFO_DCCP, 0, dccp}, {0}};
static const struct known entry[] = {{CTA_TUPLE_ORIG, 0, tuple},    {CTA_TUPLE_REPLY, 0, tuple},
				     {CTA_STATUS, 4, NULL},         {CTA_MARK, 4, NULL},
				     {CTA_TIMEOUT, 4, NULL},        {CTA_ID, 4, NULL},
				     {CTA_ZONE, 2, NULL},           {CTA_LABELS, LABEL_WORDS * 4, NULL},
				     {CTA_PROTOINFO, 0, protoinfo}, {0}};

static const struct known *find(const struct known *known, uint16_t type)
{
	while (known->type && known->type != type)
		known++;
	return known->type ? known : NULL;
}

static int sift(uint8_t *at, size_t len, const struct known *known);

/* One attribute, its header included. One that is not known becomes one that nobody knows. */
static int sift_one(uint8_t *at, struct nlattr attr, const struct known *known)
{
	const struct known *k = find(known, attr.nla_type & NLA_TYPE_MASK);
	const size_t len = attr.nla_len - sizeof(attr);

	attr.nla_type = k ? k->type : NOBODYS;
	memcpy(at, &attr, sizeof(attr));
	if (k && k->nest)
		return sift(at + sizeof(attr), len, k->nest);
	return k && len != k->len ? -EBADMSG : 0;
}

static int sift(uint8_t *at, size_t len, const struct known *known)
{
	while (len) {
		struct nlattr attr;
		size_t step;

		if (len < sizeof(attr))
			return -EBADMSG;
		memcpy(&attr, at, sizeof(attr));
		if (attr.nla_len < sizeof(attr) || attr.nla_len > len || sift_one(at, attr, known))
			return -EBADMSG;
		step = NLA_ALIGN((size_t)attr.nla_len);
		step = step < len ? step : len;
		at += step;
		len -= step;
	}
	return 0;
}

const char *spw_conntrack_absent(void)
{
	return NULL;
}

/* The library's names of what both directions have. */
struct direction {
	enum nf_conntrack_attr ipv4_source, ipv4_destination, ipv6_source, ipv6_destination;
	enum nf_conntrack_attr source_port, destination_port, protocol, zone;
};

static const struct direction forth = {
    .ipv4_source = ATTR_ORIG_IPV4_SRC,
    .ipv4_destination = ATTR_ORIG_IPV4_DST,
    .ipv6_source = ATTR_ORIG_IPV6_SRC,
    .ipv6_destination = ATTR_ORIG_IPV6_DST,
    .source_port = ATTR_ORIG_PORT_SRC,
    .destination_port = ATTR_ORIG_PORT_DST,
    .protocol = ATTR_ORIG_L4PROTO,
    .zone = ATTR_ORIG_ZONE,
};

static const struct direction back = {
    .ipv4_source = ATTR_REPL_IPV4_SRC,
    .ipv4_destination = ATTR_REPL_IPV4_DST,
    .ipv6_source = ATTR_REPL_IPV6_SRC,
    .ipv6_destination = ATTR_REPL_IPV6_DST,
    .source_port = ATTR_REPL_PORT_SRC,
    .destination_port = ATTR_REPL_PORT_DST,
    .protocol = ATTR_REPL_L4PROTO,
    .zone = ATTR_REPL_ZONE,
};

/* What is not there stays as it is: 0. False: it is not there. `bytes`: what the library keeps it in. */
static bool take(const struct nf_conntrack *ct, enum nf_conntrack_attr attr, void *to, size_t bytes)
{
	const void *from = nfct_get_attr(ct, attr);

	if (from)
		memcpy(to, from, bytes);
	return from != NULL;
}

#define TAKE(ct, attr, to) take(ct, attr, to, sizeof(*(to)))

/* Ports are in network byte order there. */
static void take_port(const struct nf_conntrack *ct, enum nf_conntrack_attr attr, uint16_t *to)
{
	if (TAKE(ct, attr, to))
		*to = ntohs(*to);
}

/* The library tells type, code and identifier of the original direction alone. */
static void take_icmp(const struct nf_conntrack *ct, struct spw_conntrack_tuple *t)
{
	TAKE(ct, ATTR_ICMP_TYPE, &t->icmp_type);
	TAKE(ct, ATTR_ICMP_CODE, &t->icmp_code);
	take_port(ct, ATTR_ICMP_ID, &t->source_port);
	t->destination_port = t->source_port;
}

/* False: the direction was not told. */
static bool take_tuple(const struct nf_conntrack *ct, const struct direction *d, struct spw_conntrack_tuple *t)
{
	if (take(ct, d->ipv4_source, t->source, 4) && take(ct, d->ipv4_destination, t->destination, 4))
		t->family = 4;
	else if (take(ct, d->ipv6_source, t->source, 16) && take(ct, d->ipv6_destination, t->destination, 16))
		t->family = 6;
	TAKE(ct, d->protocol, &t->protocol);
	TAKE(ct, d->zone, &t->zone);
	take_port(ct, d->source_port, &t->source_port);
	take_port(ct, d->destination_port, &t->destination_port);
	if (d == &forth && (t->protocol == IPPROTO_ICMP || t->protocol == IPPROTO_ICMPV6))
		take_icmp(ct, t);
	return t->family;
}

static uint32_t take_labels(const struct nf_conntrack *ct, uint32_t labels[LABEL_WORDS])
{
	const struct nfct_bitmask *mask = nfct_get_attr(ct, ATTR_CONNLABELS);

	if (!mask)
		return 0;
	for (unsigned bit = 0; bit <= nfct_bitmask_maxbit(mask) && bit < LABEL_WORDS * 32; bit++) {
		if (nfct_bitmask_test_bit(mask, bit))
			labels[bit / 32] |= 1u << bit % 32;
	}
	return SPW_CONNTRACK_LABELS;
}

static uint32_t take_state(const struct nf_conntrack *ct, struct spw_conntrack *c)
{
	if (TAKE(ct, ATTR_TCP_STATE, &c->state.tcp.state)) {
		TAKE(ct, ATTR_TCP_WSCALE_ORIG, &c->state.tcp.wscale[0]);
		TAKE(ct, ATTR_TCP_WSCALE_REPL, &c->state.tcp.wscale[1]);
		TAKE(ct, ATTR_TCP_FLAGS_ORIG, &c->state.tcp.flags[0]);
		TAKE(ct, ATTR_TCP_FLAGS_REPL, &c->state.tcp.flags[1]);
		return SPW_CONNTRACK_TCP;
	}
	if (TAKE(ct, ATTR_SCTP_STATE, &c->state.sctp.state)) {
		TAKE(ct, ATTR_SCTP_VTAG_ORIG, &c->state.sctp.vtag[0]);
		TAKE(ct, ATTR_SCTP_VTAG_REPL, &c->state.sctp.vtag[1]);
		return SPW_CONNTRACK_SCTP;
	}
	if (TAKE(ct, ATTR_DCCP_STATE, &c->state.dccp.state)) {
		TAKE(ct, ATTR_DCCP_ROLE, &c->state.dccp.role);
		TAKE(ct, ATTR_DCCP_HANDSHAKE_SEQ, &c->state.dccp.handshake_seq);
		return SPW_CONNTRACK_DCCP;
	}
	return 0;
}

static void take_entry(const struct nf_conntrack *ct, struct spw_conntrack *c)
{
	c->has |= TAKE(ct, ATTR_ID, &c->id) ? SPW_CONNTRACK_ID : 0;
	c->has |= TAKE(ct, ATTR_STATUS, &c->status) ? SPW_CONNTRACK_STATUS : 0;
	c->has |= TAKE(ct, ATTR_MARK, &c->mark) ? SPW_CONNTRACK_MARK : 0;
	c->has |= TAKE(ct, ATTR_TIMEOUT, &c->timeout) ? SPW_CONNTRACK_TIMEOUT : 0;
	c->has |= take_labels(ct, c->labels);
	TAKE(ct, ATTR_ZONE, &c->zone);
	c->has |= take_tuple(ct, &forth, &c->original) ? SPW_CONNTRACK_ORIGINAL : 0;
	c->has |= take_tuple(ct, &back, &c->reply) ? SPW_CONNTRACK_REPLY : 0;
	c->has |= take_state(ct, c);
}

/* The attributes may begin anywhere; the library reads them as aligned ones. */
static int parse(const struct spw_packet *packet, struct spw_conntrack *ours)
{
	_Alignas(8) uint8_t copy[ENTRY_MOST];
	struct nf_conntrack *ct;
	int err;

	if (packet->conntrack_len > sizeof(copy))
		return -EBADMSG;
	memcpy(copy, packet->conntrack, packet->conntrack_len);
	if (sift(copy, packet->conntrack_len, entry))
		return -EBADMSG;
	ct = nfct_new();
	if (!ct)
		return -ENOMEM;
	err =
	    nfct_payload_parse(copy, packet->conntrack_len, packet->hw_protocol == ETHER_IPV6 ? AF_INET6 : AF_INET, ct);
	if (!err)
		take_entry(ct, ours);
	nfct_destroy(ct);
	return err || !(ours->has & SPW_CONNTRACK_ORIGINAL) ? -EBADMSG : 0;
}

int spw_packet_conntrack(const struct spw_packet *packet, struct spw_conntrack *conntrack)
{
	struct spw_conntrack ours = {.size = sizeof(ours)};
	int err;

	if (conntrack->size < sizeof(conntrack->size) ||
	    packet->size < offsetof(struct spw_packet, conntrack_info) + sizeof(packet->conntrack_info))
		return -EINVAL;
	if (!(packet->has & SPW_PACKET_HAS_CONNTRACK))
		return -ENODATA;
	ours.info = packet->conntrack_info;
	err = parse(packet, &ours);
	if (err < 0)
		return err;
	spw_sized_out(conntrack, conntrack->size, &ours, sizeof(ours));
	return 0;
}
