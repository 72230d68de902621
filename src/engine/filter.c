/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's system call filter: a list of what it needs once it has attached. Touches nothing but the calling
 * process.
 *
 * What is not listed fails with EPERM. An engine that makes one call more than we know of, by another libc, goes on as
 * far as it can: no packet's way shall end for that.
 */
#include "engine/internal.h"

#include "allow.h"

#include <linux/bpf.h>
#include <linux/netlink.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef ALLOW_ARCH

int engine_filter(void)
{
	return -EOPNOTSUPP;
}

#else

/* System calls that may be made with any arguments. */
static const unsigned int allowed[] = {
    /* the queues: verdicts, looks, messages that are thrown away; requests, replies, a new keeper */
    SYS_sendto,
    SYS_pread64,
    SYS_getsockopt,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_sendmsg,
    SYS_getsockname,
    SYS_bind,
    SYS_accept4,
    SYS_dup3,
    SYS_close,
    /* waiting */
    SYS_ppoll,
    SYS_epoll_ctl,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    SYS_epoll_pwait,
    SYS_sched_yield,
    SYS_read,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_restart_syscall,
    /* memory; mmap and mprotect are below. Whichever libc asks for a page's size by: it tells nothing that is secret */
    SYS_fstat,
    SYS_newfstatat,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_futex,
    SYS_getrandom,
    /* itself, and its end */
    SYS_getpid,
    SYS_gettid,
    SYS_rt_sigreturn,
    SYS_rt_sigprocmask,
    SYS_rt_sigaction,
    SYS_exit,
    SYS_exit_group,
};

#define YES           ALLOW_RETURN(SECCOMP_RET_ALLOW)
#define NO            ALLOW_RETURN(SECCOMP_RET_ERRNO | EPERM)
#define CALL(nr, end) ALLOW_EQUAL(SYS_##nr, 0, (end))
#define ARGUMENT(n)   ALLOW_LOAD(ALLOW_ARGUMENT(n))

/* The inspector's bell and the log; libc's last words by writev(). */
static void check_writes(struct allow_program *p)
{
	ALLOW_APPEND(p, CALL(write, 5), ARGUMENT(0), ALLOW_EQUAL(ENGINE_FD_WAKE, 2, 0),
		     ALLOW_EQUAL(STDERR_FILENO, 1, 0), NO, YES);
	ALLOW_APPEND(p, CALL(writev, 4), ARGUMENT(0), ALLOW_EQUAL(STDERR_FILENO, 1, 0), NO, YES);
}

static void check_memory(struct allow_program *p)
{
	ALLOW_APPEND(p, CALL(mmap, 4), ARGUMENT(2), ALLOW_BITS(PROT_EXEC, 0, 1), NO, YES);
	ALLOW_APPEND(p, CALL(mprotect, 4), ARGUMENT(2), ALLOW_BITS(PROT_EXEC, 0, 1), NO, YES);
}

/* One more netlink socket, to ask why a configuration was refused (src/nfqueue/config.c); how long a knock may last;
 * the filter of step.c.
 */
static void check_sockets(struct allow_program *p)
{
	ALLOW_APPEND(p, CALL(socket, 6), ARGUMENT(0), ALLOW_EQUAL(AF_NETLINK, 0, 2), ARGUMENT(2),
		     ALLOW_EQUAL(NETLINK_NETFILTER, 1, 0), NO, YES);
	ALLOW_APPEND(p, CALL(setsockopt, 12), ARGUMENT(1), ALLOW_EQUAL(SOL_NETLINK, 5, 0),
		     ALLOW_EQUAL(SOL_SOCKET, 0, 7), ARGUMENT(2), ALLOW_EQUAL(SO_RCVTIMEO, 6, 0),
		     ALLOW_EQUAL(SO_ATTACH_FILTER, 5, 0), ALLOW_EQUAL(SO_DETACH_FILTER, 4, 3), ARGUMENT(2),
		     ALLOW_EQUAL(NETLINK_NO_ENOBUFS, 2, 0), ALLOW_EQUAL(NETLINK_CAP_ACK, 1, 0), NO, YES);
}

/* Its own pidfd, for whoever takes over; abort(). */
static void check_itself(struct allow_program *p)
{
	const unsigned int self = (unsigned int)getpid();

	ALLOW_APPEND(p, CALL(pidfd_open, 4), ARGUMENT(0), ALLOW_EQUAL(self, 1, 0), NO, YES);
	ALLOW_APPEND(p, CALL(tgkill, 4), ARGUMENT(0), ALLOW_EQUAL(self, 1, 0), NO, YES);
}

/* A flow's state, for the gate, by its own program. */
static void check_gate(struct allow_program *p)
{
	ALLOW_APPEND(p, CALL(bpf, 4), ARGUMENT(0), ALLOW_EQUAL(BPF_PROG_RUN, 1, 0), NO, YES);
}

int engine_filter(void)
{
	struct allow_program p;

	allow_begin(&p, ALLOW_ARCH, allowed, sizeof(allowed) / sizeof(*allowed));
	check_writes(&p);
	check_memory(&p);
	check_sockets(&p);
	check_itself(&p);
	check_gate(&p);
	return allow_load(&p, SECCOMP_RET_ERRNO | EPERM);
}

#endif
