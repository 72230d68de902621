/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System call filters that list what is allowed: small BPF programs written by hand, which take neither memory nor a
 * library, and no time at a start that others wait for. What is listed is up to the files that include this.
 *
 * A rule looks at the lower half of an argument: the kernel looks at no more where the argument is an int, or a set of
 * flags. x32 system calls have other numbers, and so are not allowed.
 */
#ifndef SPW_ALLOW_H
#define SPW_ALLOW_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* ALLOW_ARCH is not defined where there is no such filter: AddressSanitizer makes calls of its own. */
#if defined(__SANITIZE_ADDRESS__)
#define ALLOW_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALLOW_SANITIZED 1
#endif
#endif

#if defined(ALLOW_SANITIZED)
#elif defined(__x86_64__) && defined(__LP64__)
#define ALLOW_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ALLOW_ARCH AUDIT_ARCH_AARCH64
#endif

#define ALLOW_ARGUMENT(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))

/* Instructions; `yes` and `no` are how many to skip. */
#define ALLOW_LOAD(offset)          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define ALLOW_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define ALLOW_BITS(mask, yes, no)   BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (mask), (yes), (no))
#define ALLOW_RETURN(what)          BPF_STMT(BPF_RET | BPF_K, (what))

struct allow_program {
	struct sock_filter code[256];
	unsigned short len;
};

static inline void allow_append(struct allow_program *p, const struct sock_filter *code, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p->code[p->len++] = code[i];
}

#define ALLOW_APPEND(p, ...)                                                                                           \
	do {                                                                                                           \
		const struct sock_filter code[] = {__VA_ARGS__};                                                       \
		allow_append((p), code, sizeof(code) / sizeof(*code));                                                 \
	} while (0)

/* Begins it: a call of another architecture kills; these may be made with any arguments, the most frequent first. What
 * follows finds the call's number loaded, and lets one that is not its own pass on, still loaded. */
static inline void allow_begin(struct allow_program *p, unsigned int arch, const unsigned int *calls, size_t n)
{
	p->len = 0;
	ALLOW_APPEND(p, ALLOW_LOAD(offsetof(struct seccomp_data, arch)), ALLOW_EQUAL(arch, 1, 0),
		     ALLOW_RETURN(SECCOMP_RET_KILL_PROCESS), ALLOW_LOAD(offsetof(struct seccomp_data, nr)));
	for (size_t i = 0; i < n; i++)
		ALLOW_APPEND(p, ALLOW_EQUAL(calls[i], 0, 1), ALLOW_RETURN(SECCOMP_RET_ALLOW));
}

/* Ends it with what becomes of all other calls (SECCOMP_RET_*), and loads it for all threads, for good. 0 or a negative
 * errno. */
static inline int allow_load(struct allow_program *p, unsigned int other)
{
	struct sock_fprog f;
	long thread;

	ALLOW_APPEND(p, ALLOW_RETURN(other));
	f = (struct sock_fprog){.len = p->len, .filter = p->code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	thread = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &f);
	if (thread > 0)
		return -EBUSY;
	return thread ? -errno : 0;
}

#endif
