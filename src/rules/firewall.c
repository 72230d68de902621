/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What iptables and nft share: see firewall.h.
 */
#include "rules/firewall.h"

#include "nfqueue/counter.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

int firewall_fail(char error[FIREWALL_ERROR], int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, FIREWALL_ERROR, format, args);
	va_end(args);
	return err;
}

int firewall_no_command(char error[FIREWALL_ERROR], int err, const char *name, const char *otherwise)
{
	return firewall_fail(error, err == -ENOENT ? -ENOEXEC : err, "%s: %s; install it%s", name,
			     err == -ENOENT ? "not found" : strerror(-err), otherwise);
}

int firewall_permission(uint16_t queue, char error[FIREWALL_ERROR])
{
	struct spw_counter c;
	uint64_t packets, bytes;
	int err = spw_counter_open(&c);

	if (!err)
		err = spw_counter_read(&c, queue, &packets, &bytes);
	spw_counter_close(&c);
	if (err != -EPERM)
		return 0;
	return firewall_fail(error, err,
			     "the firewall: no permission to change it; start as root or with CAP_NET_ADMIN");
}
