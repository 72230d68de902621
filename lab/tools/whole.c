/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plug-in that accepts, and has all of each packet copied, as one that inspects payload does; beside the shipped
 * `accept`, which takes the headers alone.
 */
#include <spillway/inspector.h>

static void inspect(void *self, const struct spw_packet *packet, struct spw_verdict *verdict)
{
	(void)self;
	(void)packet;
	verdict->code = SPW_ACCEPT;
}

SPW_INSPECTOR(.name = "whole", .packet = inspect);
