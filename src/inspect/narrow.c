/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The narrow system call filter: see narrow.h. A small BPF program written by hand, so that programs that link the
 * library need no other one for it. Touches nothing but the calling process.
 */
#include "inspect/narrow.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__x86_64__) && defined(__LP64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#if defined(SANITIZED) || !defined(ARCH)

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

#define ALLOWED     (sizeof(allowed) / sizeof(*allowed))

/* The lower half of an argument: the kernel looks at no more where the argument is an int, or a set of flags. */
#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))

#define LOAD(offset)          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define BITS(mask, yes, no)   BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (mask), (yes), (no))
#define ALLOW                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

struct program {
	struct sock_filter code[2 * ALLOWED + 48];
	unsigned short len;
};

static void append(struct program *p, const struct sock_filter *code, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p->code[p->len++] = code[i];
}

#define APPEND(p, ...)                                                                                                 \
	do {                                                                                                           \
		const struct sock_filter code[] = {__VA_ARGS__};                                                       \
		append((p), code, sizeof(code) / sizeof(*code));                                                       \
	} while (0)

/* Each of these lets a number that is not its own pass on to what follows, still loaded. */

static void check_memory(struct program *p)
{
	APPEND(p, EQUAL(SYS_mprotect, 0, 4), LOAD(ARGUMENT(2)), BITS(PROT_EXEC, 0, 1), KILL, ALLOW);
	APPEND(p, EQUAL(SYS_mmap, 0, 6), LOAD(ARGUMENT(2)), BITS(PROT_EXEC, 2, 0), LOAD(ARGUMENT(3)),
	       BITS(MAP_ANONYMOUS, 1, 0), KILL, ALLOW);
}

/* writev: libc's last words. */
static void check_writes(struct program *p, int bell)
{
	APPEND(p, EQUAL(SYS_write, 0, 5), LOAD(ARGUMENT(0)), EQUAL((uint32_t)bell, 2, 0), EQUAL(STDERR_FILENO, 1, 0),
	       KILL, ALLOW);
	APPEND(p, EQUAL(SYS_writev, 0, 4), LOAD(ARGUMENT(0)), EQUAL(STDERR_FILENO, 1, 0), KILL, ALLOW);
}

static void check_signals(struct program *p)
{
	APPEND(p, EQUAL(SYS_tgkill, 0, 4), LOAD(ARGUMENT(0)), EQUAL((uint32_t)getpid(), 1, 0), KILL, ALLOW);
}

/* The most frequent first. x32 system calls have other numbers, and so are not allowed. */
static void write_program(struct program *p, int bell)
{
	APPEND(p, LOAD(offsetof(struct seccomp_data, arch)), EQUAL(ARCH, 1, 0), KILL,
	       LOAD(offsetof(struct seccomp_data, nr)));
	for (size_t i = 0; i < ALLOWED; i++)
		APPEND(p, EQUAL(allowed[i], 0, 1), ALLOW);
	check_writes(p, bell);
	check_memory(p);
	check_signals(p);
	APPEND(p, KILL);
}

int spw_narrow_filter(int bell)
{
	struct program p = {.len = 0};
	struct sock_fprog f;
	long thread;

	write_program(&p, bell);
	f = (struct sock_fprog){.len = p.len, .filter = p.code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	thread = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &f);
	if (thread > 0)
		return -EBUSY;
	return thread ? -errno : 0;
}

#endif
