/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plug-in that has seen enough of a flow with its first packet: accepts, and trusts all that follows.
 */
#include <spillway/inspector.h>

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	(void)self;
	(void)p;
	v->code = SPW_ACCEPT;
	v->set = SPW_VERDICT_TRUST;
}

SPW_INSPECTOR(.name = "trusting", .packet = inspect);
