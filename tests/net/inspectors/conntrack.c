/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells what it sees of each packet's connection, a line each, and answers by the port that the packet goes to: 9001
 * sets mark 5 in four bits, 9002 also two labels, 9003 trusts, 9004 drops with a mark.
 */
#include <spillway/inspector.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_tuple(const char *name, const struct spw_conntrack_tuple *t)
{
	char from[INET6_ADDRSTRLEN] = "", to[INET6_ADDRSTRLEN] = "";
	const int family = t->family == 6 ? AF_INET6 : AF_INET;

	inet_ntop(family, t->source, from, sizeof(from));
	inet_ntop(family, t->destination, to, sizeof(to));
	printf(" %s=%u,%s,%u,%s,%u,%u", name, t->protocol, from, t->source_port, to, t->destination_port, t->zone);
}

static void print(const struct spw_packet *p)
{
	struct spw_conntrack c = {.size = sizeof(c)};
	const int error = spw_packet_conntrack(p, &c);

	if (error) {
		printf("ct error=%d\n", -error);
		return;
	}
	printf("ct has=%" PRIu32 " info=%" PRIu32 " id=%" PRIu32 " status=%" PRIu32 " mark=%" PRIu32 " zone=%u", c.has,
	       c.info, c.id, c.status, c.mark, c.zone);
	print_tuple("original", &c.original);
	print_tuple("reply", &c.reply);
	printf(" labels=%" PRIx32 ",%" PRIx32 ",%" PRIx32 ",%" PRIx32, c.labels[0], c.labels[1], c.labels[2],
	       c.labels[3]);
	printf(" tcp=%d\n", c.has & SPW_CONNTRACK_TCP ? c.state.tcp.state : -1);
}

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	struct spw_headers h = {.size = sizeof(h)};

	(void)self;
	print(p);
	fflush(stdout);
	if (spw_packet_headers(p, &h))
		return;
	if (h.destination_port == 9001 || h.destination_port == 9002) {
		v->set = SPW_VERDICT_CT_MARK;
		v->ct_mark = 0xf5; /* bits outside the mask are nobody's affair */
		v->ct_mark_mask = 0x0f;
	}
	if (h.destination_port == 9002) {
		v->set |= SPW_VERDICT_CT_LABELS;
		v->ct_labels[0] = v->ct_labels_mask[0] = 1u << 3;
		v->ct_labels[3] = v->ct_labels_mask[3] = 1u << 31;
	}
	if (h.destination_port == 9003)
		v->set = SPW_VERDICT_TRUST;
	if (h.destination_port == 9004) {
		v->code = SPW_DROP;
		v->set = SPW_VERDICT_CT_MARK;
		v->ct_mark = v->ct_mark_mask = 0x40;
	}
}

SPW_INSPECTOR(.name = "conntrack", .packet = inspect, .sandbox = SPW_SANDBOX_WIDE);
