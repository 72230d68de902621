/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be preloaded by tests: a kernel without nfnetlink, as far as socket() shows.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>

__attribute__((visibility("default"))) int socket(int domain, int type, int protocol)
{
	if (domain == AF_NETLINK && protocol == NETLINK_NETFILTER) {
		errno = EPROTONOSUPPORT;
		return -1;
	}
	return ((__typeof__(&socket))dlsym(RTLD_NEXT, "socket"))(domain, type, protocol);
}
