/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An inspector: turns the data of UDP datagrams into upper case. The library mends the checksum. Aggregates of UDP
 * can't be changed (the verdict would become a drop), and so pass as they are; `spillway run --gso off` has the kernel
 * cut them before they are queued. Fragments pass as they are, too: their checksum covers what is elsewhere.
 */
#include <ctype.h>
#include <netinet/in.h>
#include <spillway/inspector.h>
#include <string.h>

static uint8_t changed[SPW_PAYLOAD_MAX];

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	struct spw_headers h = {.size = sizeof(h)};

	(void)self;
	if (spw_packet_headers(p, &h) || h.protocol != IPPROTO_UDP || !(h.has & SPW_HEADERS_TRANSPORT))
		return;
	if (p->skb_info & SPW_PACKET_GSO || h.has & SPW_HEADERS_FRAGMENT || p->payload_len < p->length ||
	    p->payload_len > sizeof(changed))
		return;
	memcpy(changed, p->payload, p->payload_len);
	for (size_t i = h.payload; i < h.end; i++)
		changed[i] = (uint8_t)toupper(changed[i]);
	v->set = SPW_VERDICT_PAYLOAD;
	v->payload = changed;
	v->payload_len = p->payload_len;
}

SPW_INSPECTOR(.name = "modifier", .packet = inspect);
