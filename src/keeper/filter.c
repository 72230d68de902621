/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wide system call filters: see filter.h. Lists, and the few rules that look at arguments. Touches nothing but the
 * calling process.
 *
 * The kernel looks at the lower half of an int argument, a comparison here at all of it. So a rule says what is
 * forbidden with "at least" and "other than", where a dirty upper half is forbidden too, or masks it off.
 */
#include "keeper/filter.h"

#include "keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(*(list)))
#define INT_MASK    0xffffffffu

/* Newer than the library's list; a number since 424 is the same on every architecture. */
enum {
	NR_QUOTACTL_FD = 443,
	NR_PROCESS_MRELEASE = 448,
	NR_FCHMODAT2 = 452,
	NR_SETXATTRAT = 463,
	NR_REMOVEXATTRAT = 466,
	NR_OPEN_TREE_ATTR = 467,
	NR_FILE_SETATTR = 469,
};

/* What no program needs that only looks at packets, or only answers on a socket it was given. */
static const int forbidden[] = {
    /* ways to others: sockets, queues, their memory, descriptors and scheduling */
    SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(shmget), SCMP_SYS(msgget), SCMP_SYS(semget), SCMP_SYS(mq_open),
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
    NR_PROCESS_MRELEASE, SCMP_SYS(kcmp), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(migrate_pages), SCMP_SYS(move_pages), SCMP_SYS(setpriority), SCMP_SYS(ioprio_set),
    SCMP_SYS(sched_setparam), SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_setattr),
    /* more processes */
    SCMP_SYS(fork), SCMP_SYS(vfork),
    /* parts of the kernel with a history; io_uring and aio would also go round every rule about descriptors */
    SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(io_setup),
    SCMP_SYS(io_submit), SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(keyctl),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(fanotify_init), SCMP_SYS(open_by_handle_at),
    /* other namespaces and roots */
    SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
    SCMP_SYS(move_mount), SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick),
    SCMP_SYS(open_tree), NR_OPEN_TREE_ATTR, SCMP_SYS(mount_setattr),
    /* the machine */
    SCMP_SYS(quotactl), NR_QUOTACTL_FD, SCMP_SYS(reboot), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(swapon), SCMP_SYS(swapoff),
    SCMP_SYS(acct), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
    SCMP_SYS(syslog), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(vhangup),
    /* changing files; also those that Landlock leaves out, and where there is no Landlock */
    SCMP_SYS(creat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(rmdir),
    SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(link),
    SCMP_SYS(linkat), SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat),
    NR_FCHMODAT2, SCMP_SYS(chown), SCMP_SYS(fchown), SCMP_SYS(lchown), SCMP_SYS(fchownat), SCMP_SYS(truncate),
    SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(utime), SCMP_SYS(utimes), SCMP_SYS(futimesat),
    SCMP_SYS(utimensat), SCMP_SYS(setxattr), SCMP_SYS(lsetxattr), SCMP_SYS(fsetxattr), NR_SETXATTRAT,
    SCMP_SYS(removexattr), SCMP_SYS(lremovexattr), SCMP_SYS(fremovexattr), NR_REMOVEXATTRAT, NR_FILE_SETATTR};

/* An inspector has no socket but the kernel's, and that one it only reads; sendmsg() could also give it away. */
static const int only_received[] = {
    SCMP_SYS(setsockopt), SCMP_SYS(bind),     SCMP_SYS(connect), SCMP_SYS(listen),   SCMP_SYS(accept),
    SCMP_SYS(accept4),    SCMP_SYS(shutdown), SCMP_SYS(sendto),  SCMP_SYS(sendmsg),  SCMP_SYS(sendmmsg),
    SCMP_SYS(sendfile),   SCMP_SYS(splice),   SCMP_SYS(tee),     SCMP_SYS(vmsplice), SCMP_SYS(copy_file_range)};

/* Typing into the terminal; signals by way of a descriptor; and what changes a file that is open for reading. */
static const unsigned int forbidden_ioctls[] = {TIOCSTI,   TIOCLINUX,       FIOSETOWN,
						SIOCSPGRP, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR};
static const int forbidden_fcntls[] = {F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE};

/* One more rule; after an error no more. At most two comparisons. */
struct filter {
	scmp_filter_ctx ctx;
	int error;
};

static void refuse(struct filter *f, uint32_t action, int nr, unsigned comparisons, const struct scmp_arg_cmp *c)
{
	if (!f->error)
		f->error = seccomp_rule_add_array(f->ctx, action, nr, comparisons, c);
}

static void forbid(struct filter *f, int nr)
{
	refuse(f, SCMP_ACT_ERRNO(EPERM), nr, 0, NULL);
}

static void forbid_if(struct filter *f, int nr, struct scmp_arg_cmp c)
{
	refuse(f, SCMP_ACT_ERRNO(EPERM), nr, 1, &c);
}

static void forbid_if_both(struct filter *f, int nr, struct scmp_arg_cmp c, struct scmp_arg_cmp d)
{
	const struct scmp_arg_cmp both[] = {c, d};

	refuse(f, SCMP_ACT_ERRNO(EPERM), nr, 2, both);
}

static void forbid_list(struct filter *f, const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		forbid(f, list[i]);
}

/* A file that is open for reading only can't be changed; that holds for what /proc/self/fd reopens, too. */
static void forbid_opening_to_write(struct filter *f)
{
	static const int flags[] = {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC};

	for (size_t i = 0; i < COUNT(flags); i++) {
		forbid_if(f, SCMP_SYS(open), SCMP_A1(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
		forbid_if(f, SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
	}
	refuse(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0, NULL);
	/* A hole punched by way of a mapping. */
	forbid_if(f, SCMP_SYS(madvise), SCMP_A2(SCMP_CMP_MASKED_EQ, INT_MASK, MADV_REMOVE));
}

/* Threads, no processes; signals and limits for itself only. */
static void forbid_others(struct filter *f)
{
	const pid_t self = getpid();
	static const int signals[] = {SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(tgkill), SCMP_SYS(rt_sigqueueinfo),
				      SCMP_SYS(rt_tgsigqueueinfo)};

	for (size_t i = 0; i < COUNT(signals); i++)
		forbid_if(f, signals[i], SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)self));
	forbid_if(f, SCMP_SYS(prlimit64), SCMP_A0(SCMP_CMP_NE, 0));
	forbid_if(f, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	refuse(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	for (size_t i = 0; i < COUNT(forbidden_ioctls); i++)
		forbid_if(f, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, INT_MASK, forbidden_ioctls[i]));
	for (size_t i = 0; i < COUNT(forbidden_fcntls); i++)
		forbid_if(f, SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_MASKED_EQ, INT_MASK, forbidden_fcntls[i]));
}

/* Of the guarded ones no second name below the guarded numbers, and no change to what others share with us. */
static void guard(struct filter *f, struct scmp_arg_cmp which)
{
	static const int duplicates[] = {SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3)};

	for (size_t i = 0; i < COUNT(duplicates); i++)
		forbid_if(f, duplicates[i], which);
	/* All but F_GETFD and F_GETFL, which are 1 and 3. (Said with "less than", it sends libseccomp 2.5 round for
	 * ever.) */
	forbid_if_both(f, SCMP_SYS(fcntl), which, SCMP_A1(SCMP_CMP_MASKED_EQ, 1, 0));
	forbid_if_both(f, SCMP_SYS(fcntl), which, SCMP_A1(SCMP_CMP_GT, F_GETFL));
}

/*
 * Whoever could close it would outlive keeper and engine, and with it the binding of the queue that nobody reads. Libc
 * does without close_range().
 */
static void forbid_closing_lease(struct filter *f)
{
	forbid_if(f, SCMP_SYS(close), SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, INSPECTOR_FD_LEASE));
	refuse(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(close_range), 0, NULL);
}

static void forbid_on_inherited(struct filter *f)
{
	static const int writes[] = {SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2),
				     SCMP_SYS(ioctl)};

	forbid_list(f, only_received, COUNT(only_received));
	_Static_assert(INSPECTOR_FD_BELL == INSPECTOR_FD_FIRST, "all above the bell is closed to write()");
	forbid_if(f, SCMP_SYS(write), SCMP_A0(SCMP_CMP_GT, INSPECTOR_FD_BELL));
	for (size_t i = 0; i < COUNT(writes); i++)
		forbid_if(f, writes[i], SCMP_A0(SCMP_CMP_GE, INSPECTOR_FD_FIRST));
	forbid_if(f, SCMP_SYS(dup2), SCMP_A1(SCMP_CMP_GE, INSPECTOR_FD_FIRST));
	forbid_if(f, SCMP_SYS(dup3), SCMP_A1(SCMP_CMP_GE, INSPECTOR_FD_FIRST));
	guard(f, SCMP_A0(SCMP_CMP_GE, INSPECTOR_FD_GUARDED));
	guard(f, SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, INSPECTOR_FD_BELL));
	forbid_closing_lease(f);
}

/* Loads what every process has, and what `more` adds. */
static int load(void (*more)(struct filter *))
{
	struct filter f = {.ctx = seccomp_init(SCMP_ACT_ALLOW)};

	if (!f.ctx)
		return -ENOMEM;
	f.error = seccomp_attr_set(f.ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	forbid_list(&f, forbidden, COUNT(forbidden));
	forbid_opening_to_write(&f);
	forbid_others(&f);
	if (more)
		more(&f);
	if (!f.error)
		f.error = seccomp_load(f.ctx);
	seccomp_release(f.ctx);
	return f.error;
}

int filter_inspector(void)
{
	return load(forbid_on_inherited);
}

int filter_control(void)
{
	return load(NULL);
}
