/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be preloaded by tests: a kernel whose BPF lacks something, by FAIL_BPF:
 *   all      no bpf(): CONFIG_BPF_SYSCALL is off
 *   load     it takes no program, as one that is too old for what is in it
 *   match    xt_bpf knows no pinned programs, as far as iptables (the older backend) can tell
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT   __attribute__((visibility("default")))
#define NEXT(fn) ((__typeof__(&(fn)))dlsym(RTLD_NEXT, #fn))

static bool lacks(const char *what)
{
	const char *given = getenv("FAIL_BPF");

	return given && !strcmp(given, what);
}

/* libbpf calls bpf() by this. */
EXPORT long syscall(long number, ...)
{
	long arg[6];
	va_list args;

	va_start(args, number);
	for (unsigned i = 0; i < sizeof(arg) / sizeof(*arg); i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_bpf && lacks("all")) {
		errno = ENOSYS;
		return -1;
	}
	if (number == SYS_bpf && lacks("load") && (int)arg[0] == BPF_PROG_LOAD) {
		errno = EINVAL;
		return -1;
	}
	return NEXT(syscall)(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

EXPORT int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	const struct xt_get_revision *asked = value;

	if (lacks("match") &&
	    ((level == IPPROTO_IP && name == IPT_SO_GET_REVISION_MATCH) ||
	     (level == IPPROTO_IPV6 && name == IP6T_SO_GET_REVISION_MATCH)) &&
	    !strcmp(asked->name, "bpf") && asked->revision > 0) {
		errno = EPROTONOSUPPORT;
		return -1;
	}
	return NEXT(getsockopt)(fd, level, name, value, size);
}
