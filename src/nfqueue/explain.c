/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An errno and the one sentence that goes with it: what is wrong, and what to do about it.
 * Decides nothing: the callers have found out what happened.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* The latest call went well. The sentence of an earlier failure stays to be read, `taken` doesn't. */
int spw_done(struct spw_queue *queue)
{
	queue->taken = false;
	return 0;
}

/* Keeps the sentence and returns err, a negative errno. */
int spw_fail(struct spw_queue *queue, int err, const char *format, ...)
{
	va_list args;

	queue->taken = false;
	va_start(args, format);
	vsnprintf(queue->error, sizeof(queue->error), format, args);
	va_end(args);
	return err;
}

/* What any call may fail with; `doing` says at what. */
static int fail_any(struct spw_queue *queue, int err, const char *doing)
{
	const unsigned n = queue->number;

	switch (-err) {
	case EPERM:
		return spw_fail(queue, err,
				"queue %u can't be used without CAP_NET_ADMIN: start as root or with that capability",
				n);
	case EMFILE:
	case ENFILE:
		return spw_fail(queue, err,
				"queue %u: %s: too many open files: raise the limit (ulimit -n, fs.file-max)", n,
				doing);
	case ENOMEM:
	case ENOBUFS:
		return spw_fail(queue, err, "queue %u: %s: the kernel has no memory left: free some and try again", n,
				doing);
	default:
		return spw_fail(queue, err, "queue %u: %s: %s: look at the kernel's log", n, doing, strerror(-err));
	}
}

/* The socket or the first message failed. */
int spw_fail_open(struct spw_queue *queue, int err)
{
	switch (-err) {
	case EINVAL:
	case ENOENT:
	case EOPNOTSUPP:
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
		return spw_fail(
		    queue, -EPROTONOSUPPORT,
		    "this kernel has no packet queue: load the module nfnetlink_queue, or use a kernel with "
		    "CONFIG_NETFILTER_NETLINK_QUEUE");
	default:
		return fail_any(queue, err, "opening the netlink socket");
	}
}

/* The table in /proc can't be opened or read. */
int spw_fail_proc(struct spw_queue *queue, int err)
{
	switch (-err) {
	case EACCES:
		return spw_fail(
		    queue, err,
		    "/proc/net/netfilter/nfnetlink_queue can't be read by this user: open it as root; in a user "
		    "namespace, map the user before the network namespace is made");
	case ENOENT:
		return spw_fail(queue, err, "/proc/net/netfilter/nfnetlink_queue is missing: mount /proc");
	default:
		return fail_any(queue, err, "reading /proc/net/netfilter/nfnetlink_queue");
	}
}

/* The kernel refused a config message on a scratch queue too, so for what it asks. */
int spw_fail_change(struct spw_queue *queue, int err, const struct spw_change *change)
{
	const unsigned n = queue->number;

	if (err != -EOPNOTSUPP && err != -EINVAL)
		return fail_any(queue, err, "configuring");
	if (change->flags >= NFQA_CFG_F_MAX)
		return spw_fail(queue, err,
				"queue %u: this kernel doesn't know all of the flags 0x%x: leave out what it lacks", n,
				(unsigned)change->flags);
	if (change->flags & change->mask & NFQA_CFG_F_CONNTRACK)
		return spw_fail(queue, err,
				"queue %u: this kernel can't attach conntrack entries: load nf_conntrack_netlink, or "
				"leave the flag "
				"out",
				n);
	return spw_fail(
	    queue, err,
	    "queue %u: this kernel can't do all of the flags 0x%x (fail-open 1, GSO 4): use one from 3.10 on, or "
	    "leave out what it lacks",
	    n, (unsigned)change->flags);
}

/* Another socket owns the number. */
int spw_fail_taken(struct spw_queue *queue, uint32_t portid)
{
	spw_fail(queue, -EPERM,
		 "queue %u belongs to netlink port %u (another program's): stop that program or choose another number",
		 queue->number, (unsigned)portid);
	queue->taken = true;
	return -EPERM;
}

/* Nobody owns the number. */
int spw_fail_unbound(struct spw_queue *queue)
{
	return spw_fail(queue, -ENODEV, "queue %u is not bound: bind it first", queue->number);
}
