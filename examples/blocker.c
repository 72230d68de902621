/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An inspector: drops UDP to port 9999, lets everything else pass. Touches nothing but the packet that it is shown. */
#include <netinet/in.h>
#include <spillway/inspector.h>

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	struct spw_headers h = {.size = sizeof(h)};

	(void)self;
	if (!spw_packet_headers(p, &h) && h.protocol == IPPROTO_UDP && h.destination_port == 9999)
		v->code = SPW_DROP;
}

SPW_INSPECTOR(.name = "blocker", .packet = inspect, .copy_range = 256);
