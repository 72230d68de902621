/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An inspector for t-run-inspectors: turns TCP data into upper case, aggregates too; of an aggregate it takes the last
 * third away where CUT is set, so that its length changes and the sender has to send that part again.
 */
#include <ctype.h>
#include <netinet/in.h>
#include <spillway/inspector.h>
#include <stdlib.h>
#include <string.h>

#define FIN 1u /* it comes behind all data */

static uint8_t changed[SPW_PAYLOAD_MAX];
static int cut;

static int start(void **self)
{
	(void)self;
	cut = getenv("CUT") != NULL;
	return 0;
}

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	struct spw_headers h = {.size = sizeof(h)};

	(void)self;
	if (spw_packet_headers(p, &h) || h.protocol != IPPROTO_TCP || h.payload >= h.end)
		return;
	memcpy(changed, p->payload, p->payload_len);
	for (size_t i = h.payload; i < h.end; i++)
		changed[i] = (uint8_t)toupper(changed[i]);
	v->set = SPW_VERDICT_PAYLOAD;
	v->payload = changed;
	v->payload_len = h.end;
	if (cut && p->skb_info & SPW_PACKET_GSO && !(h.tcp_flags & FIN))
		v->payload_len -= (h.end - h.payload) / 3;
}

SPW_INSPECTOR(.name = "tcp", .packet = inspect, .start = start);
