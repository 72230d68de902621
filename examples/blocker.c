/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An inspector: drops UDP to port 9999 (IPv4), lets everything else pass. Touches nothing but the packet that it is
 * shown. */
#include <spillway/inspector.h>

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	const uint8_t *ip = p->payload;
	size_t header = p->payload_len >= 20 ? (ip[0] & 15) * 4u : 0;

	(void)self;
	if (p->hw_protocol == 0x0800 && header >= 20 && ip[9] == 17 && p->payload_len >= header + 4 &&
	    (ip[header + 2] << 8 | ip[header + 3]) == 9999)
		v->code = SPW_DROP;
}

SPW_INSPECTOR(.name = "blocker", .packet = inspect);
