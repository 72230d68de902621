/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In the place of conntrack.c where the build lacked libnetfilter_conntrack: says so.
 */
#include <errno.h>

#include "internal.h"

#include <spillway/conntrack.h>

const char *spw_conntrack_absent(void)
{
	return SPW_CONNTRACK_ABSENT;
}

int spw_packet_conntrack(const struct spw_packet *packet, struct spw_conntrack *conntrack)
{
	(void)packet;
	(void)conntrack;
	return -EOPNOTSUPP;
}
