/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be preloaded by tests: a kernel that lacks something, by FAIL_NETLINK:
 *   socket   no nfnetlink at all, as far as socket() shows
 *   flags    no queue flags: each config message that has any gets one more, which no kernel knows, and the kernel's
 * own refusal is the answer
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define EXPORT   __attribute__((visibility("default")))
#define NEXT(fn) ((__typeof__(&(fn)))dlsym(RTLD_NEXT, #fn))

static bool lacks(const char *what)
{
	const char *given = getenv("FAIL_NETLINK");

	return given && !strcmp(given, what);
}

EXPORT int socket(int domain, int type, int protocol)
{
	if (domain == AF_NETLINK && protocol == NETLINK_NETFILTER && lacks("socket")) {
		errno = EPROTONOSUPPORT;
		return -1;
	}
	return NEXT(socket)(domain, type, protocol);
}

/* Adds the unknown flag to a config message that sets flags. */
static void spoil(struct nlmsghdr *message)
{
	struct nlattr *attribute;

	mnl_attr_for_each (attribute, message, sizeof(struct nfgenmsg)) {
		const uint32_t unknown = htonl(1u << 31);
		uint32_t flags;

		if (mnl_attr_get_type(attribute) != NFQA_CFG_FLAGS)
			continue;
		memcpy(&flags, mnl_attr_get_payload(attribute), sizeof(flags));
		flags |= unknown;
		memcpy(mnl_attr_get_payload(attribute), &flags, sizeof(flags));
	}
}

EXPORT ssize_t sendto(int fd, const void *data, size_t len, int flags, __CONST_SOCKADDR_ARG address, socklen_t size)
{
	const struct nlmsghdr *message = data;
	union {
		struct nlmsghdr header;
		char bytes[4096];
	} copy;

	if (!lacks("flags") || size != sizeof(struct sockaddr_nl) || len < sizeof(*message) || len > sizeof(copy) ||
	    message->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG))
		return NEXT(sendto)(fd, data, len, flags, address, size);
	memcpy(&copy, data, len);
	spoil(&copy.header);
	return NEXT(sendto)(fd, &copy, len, flags, address, size);
}
