/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The narrow system call filter: see narrow.h. A small BPF program written by hand, so that programs that link the
 * library need no other one for it. Touches nothing but the calling process.
 */
#include "inspect/narrow.h"

#include "allow.h"

#include <sys/mman.h>

#ifndef ALLOW_ARCH

int spw_narrow_filter(int bell)
{
	(void)bell;
	return -EOPNOTSUPP;
}

#else

/* System calls that may be made with any arguments. */
static const unsigned int allowed[] = {
    /* receiving and waiting */
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_recvfrom,
    SYS_read,
    SYS_ppoll,
    SYS_epoll_pwait,
#ifdef SYS_poll
    SYS_poll,
    SYS_epoll_wait,
#endif
#ifdef SYS_epoll_pwait2
    SYS_epoll_pwait2,
#endif
    SYS_restart_syscall,
    /* clock and sleep */
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
#ifdef SYS_time
    SYS_time,
#endif
    /* memory; mmap and mprotect are below */
    SYS_futex,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    /* threads; libc counts processors when it gives a thread a heap */
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_membarrier,
    SYS_set_robust_list,
#ifdef SYS_rseq
    SYS_rseq,
#endif
    SYS_getrandom,
    SYS_getpid,
    SYS_gettid,
    /* signals; tgkill is below */
    SYS_rt_sigreturn,
    SYS_rt_sigprocmask,
    SYS_rt_sigaction,
    SYS_sigaltstack,
    /* leaving */
    SYS_close,
    SYS_exit,
    SYS_exit_group,
};

#define LOAD  ALLOW_LOAD
#define EQUAL ALLOW_EQUAL
#define BITS  ALLOW_BITS
#define ALLOW ALLOW_RETURN(SECCOMP_RET_ALLOW)
#define KILL  ALLOW_RETURN(SECCOMP_RET_KILL_PROCESS)

static void check_memory(struct allow_program *p)
{
	ALLOW_APPEND(p, EQUAL(SYS_mprotect, 0, 4), LOAD(ALLOW_ARGUMENT(2)), BITS(PROT_EXEC, 0, 1), KILL, ALLOW);
	ALLOW_APPEND(p, EQUAL(SYS_mmap, 0, 6), LOAD(ALLOW_ARGUMENT(2)), BITS(PROT_EXEC, 2, 0), LOAD(ALLOW_ARGUMENT(3)),
		     BITS(MAP_ANONYMOUS, 1, 0), KILL, ALLOW);
}

/* writev: libc's last words. */
static void check_writes(struct allow_program *p, int bell)
{
	ALLOW_APPEND(p, EQUAL(SYS_write, 0, 5), LOAD(ALLOW_ARGUMENT(0)), EQUAL((uint32_t)bell, 2, 0),
		     EQUAL(STDERR_FILENO, 1, 0), KILL, ALLOW);
	ALLOW_APPEND(p, EQUAL(SYS_writev, 0, 4), LOAD(ALLOW_ARGUMENT(0)), EQUAL(STDERR_FILENO, 1, 0), KILL, ALLOW);
}

static void check_signals(struct allow_program *p)
{
	ALLOW_APPEND(p, EQUAL(SYS_tgkill, 0, 4), LOAD(ALLOW_ARGUMENT(0)), EQUAL((uint32_t)getpid(), 1, 0), KILL, ALLOW);
}

int spw_narrow_filter(int bell)
{
	struct allow_program p;

	allow_begin(&p, ALLOW_ARCH, allowed, sizeof(allowed) / sizeof(*allowed));
	check_writes(&p, bell);
	check_memory(&p);
	check_signals(&p);
	return allow_load(&p, SECCOMP_RET_KILL_PROCESS);
}

#endif
