/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What t-isolation has its inspectors try: one function a forbidden thing, which returns 0 where it worked and the
 * errno where not. Included by the program (wide filter) and the plug-in (narrow filter).
 */
#ifndef SPW_TESTS_ISOLATION_PROBE_H
#define SPW_TESTS_ISOLATION_PROBE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct lane_fds {
	int socket, answers, state, bell, wake, lease;
};

static struct lane_fds fds;

static int read_fds(void)
{
	return sscanf(getenv("SPILLWAY_INSPECTOR"),
		      "version=%*u inspector=%*u classes=%*u socket=%d answers=%d state=%d bell=%d wake=%d lease=%d",
		      &fds.socket, &fds.answers, &fds.state, &fds.bell, &fds.wake, &fds.lease) == 6
		   ? 0
		   : -EPROTO;
}

/* An int with dirt in the upper half of its register: the kernel does not look there. */
#define DIRTY(x) ((long)(uint32_t)(x) | 0x5a00000000L)

#define CALL(...)   (syscall(__VA_ARGS__) < 0 ? errno : 0)
#define PROBE(name) static int name(void)
#define SIMPLE(name, ...)                                                                                              \
	PROBE(name)                                                                                                    \
	{                                                                                                              \
		return CALL(__VA_ARGS__);                                                                              \
	}

static int reopened(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags) < 0 ? errno : 0;
}

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? errno : 0;
}

/* files */
SIMPLE(create_file, SYS_openat, AT_FDCWD, "/tmp/spillway-probe", O_WRONLY | O_CREAT, 0600)
SIMPLE(write_null, SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY)
SIMPLE(open_tmpfile, SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600)
SIMPLE(make_directory, SYS_mkdirat, AT_FDCWD, "/tmp/spillway-probe", 0700)
SIMPLE(change_mode, SYS_fchmodat, AT_FDCWD, "/proc/self/fd/2", 0777)
SIMPLE(change_mode2, 452, AT_FDCWD, "/proc/self/fd/2", 0777, 0)
SIMPLE(open_how, SYS_openat2, AT_FDCWD, "/dev/null", NULL, 0)
PROBE(reopen_state)
{
	return reopened(fds.state, O_RDWR);
}
PROBE(reopen_lease)
{
	return reopened(fds.lease, O_WRONLY);
}
PROBE(map_state)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds.state, 0) == MAP_FAILED ? errno : 0;
}
PROBE(protect_state)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fds.state, 0);

	return p == MAP_FAILED || mprotect(p, 4096, PROT_READ | PROT_WRITE) ? errno : 0;
}
SIMPLE(resize_answers, SYS_ftruncate, fds.answers, 0)
SIMPLE(punch_answers, SYS_fallocate, fds.answers, 3, 0, 4096)
PROBE(remove_mapping)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds.answers, 0);

	return p == MAP_FAILED || madvise(p, 4096, MADV_REMOVE) ? errno : 0;
}

/* sockets */
SIMPLE(make_socket, SYS_socket, AF_INET, SOCK_DGRAM, 0)
SIMPLE(make_netlink, SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)
PROBE(make_pair)
{
	int pair[2];

	return CALL(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
}
PROBE(shrink_buffer)
{
	return set_option(fds.socket, SOL_SOCKET, SO_RCVBUF, 1);
}
PROBE(want_enobufs)
{
	return set_option(fds.socket, SOL_NETLINK, NETLINK_NO_ENOBUFS, 0);
}
PROBE(attach_filter)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog f = {1, &none};

	return setsockopt(fds.socket, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)) < 0 ? errno : 0;
}
SIMPLE(socket_write, SYS_write, fds.socket, "0123456789abcdef", 16)
SIMPLE(socket_write_dirty, SYS_write, DIRTY(fds.socket), "0123456789abcdef", 16)
PROBE(socket_writev)
{
	struct iovec v = {"0123456789abcdef", 16};

	return CALL(SYS_writev, fds.socket, &v, 1);
}
SIMPLE(socket_send, SYS_sendto, fds.socket, "0123456789abcdef", 16, 0, NULL, 0)
PROBE(socket_sendmsg)
{
	struct msghdr m = {0};

	return CALL(SYS_sendmsg, fds.socket, &m, 0);
}
SIMPLE(socket_bind, SYS_bind, fds.socket, NULL, 0)
SIMPLE(socket_connect, SYS_connect, fds.socket, NULL, 0)
SIMPLE(socket_shutdown, SYS_shutdown, fds.socket, 2)
SIMPLE(socket_ioctl, SYS_ioctl, fds.socket, FIONBIO, NULL)
SIMPLE(socket_dup, SYS_dup, fds.socket)
SIMPLE(socket_dup_dirty, SYS_dup, DIRTY(fds.socket))
SIMPLE(socket_dup3, SYS_dup3, fds.socket, 20, 0)
SIMPLE(socket_dupfd, SYS_fcntl, fds.socket, F_DUPFD, 10)
SIMPLE(socket_dupfd_dirty, SYS_fcntl, DIRTY(fds.socket), DIRTY(F_DUPFD), 10)
SIMPLE(socket_dupfd_cloexec, SYS_fcntl, fds.socket, F_DUPFD_CLOEXEC, 10)
SIMPLE(socket_block, SYS_fcntl, fds.socket, F_SETFL, 0)
SIMPLE(socket_setfd, SYS_fcntl, fds.socket, F_SETFD, 1)
SIMPLE(bell_block, SYS_fcntl, fds.bell, F_SETFL, 0)
SIMPLE(bell_dup, SYS_dup, fds.bell)
SIMPLE(bell_dup_dirty, SYS_dup, DIRTY(fds.bell))
SIMPLE(bell_ioctl, SYS_ioctl, fds.bell, FIONBIO, NULL)
PROBE(wake_write)
{
	uint64_t one = 1;

	return CALL(SYS_write, fds.wake, &one, sizeof(one));
}
SIMPLE(wake_block, SYS_fcntl, fds.wake, F_SETFL, 0)
SIMPLE(wake_dup, SYS_dup, fds.wake)
SIMPLE(lease_dup, SYS_dup, fds.lease)
SIMPLE(lease_close, SYS_close, fds.lease)
SIMPLE(lease_close_dirty, SYS_close, DIRTY(fds.lease))
SIMPLE(close_many, SYS_close_range, fds.lease, fds.lease, 0)
SIMPLE(dup_onto, SYS_dup3, 2, fds.lease, 0)
SIMPLE(move_bytes, SYS_splice, fds.lease, NULL, fds.socket, NULL, 1, 0)

/* other processes */
SIMPLE(more_fork, SYS_clone, SIGCHLD, 0, 0, 0, 0)
SIMPLE(more_clone3, SYS_clone3, NULL, 0)
SIMPLE(kill_keeper, SYS_kill, getppid(), 0)
SIMPLE(kill_process_1, SYS_kill, 1, 0)
SIMPLE(kill_all, SYS_kill, -1, 0)
SIMPLE(kill_dirty, SYS_kill, DIRTY(1), 0)
SIMPLE(tgkill_other, SYS_tgkill, 1, 1, 0)
SIMPLE(queue_signal, SYS_rt_sigqueueinfo, 1, SIGTERM, NULL)
SIMPLE(trace, SYS_ptrace, 16, getppid(), 0, 0)
SIMPLE(write_memory, SYS_process_vm_writev, 1, NULL, 0, NULL, 0, 0)
SIMPLE(compare, SYS_kcmp, 1, 1, 0, 0, 0)
SIMPLE(open_pidfd, SYS_pidfd_open, 1, 0)
SIMPLE(steal_fd, SYS_pidfd_getfd, 0, 0, 0)
SIMPLE(signal_pidfd, SYS_pidfd_send_signal, 0, 0, NULL, 0)
SIMPLE(limit_other, SYS_prlimit64, 1, RLIMIT_NOFILE, NULL, NULL)
SIMPLE(own_signals, SYS_fcntl, 0, F_SETOWN, 1)
SIMPLE(type_into_terminal, SYS_ioctl, 2, TIOCSTI, "x")
SIMPLE(type_dirty, SYS_ioctl, 2, DIRTY(TIOCSTI), "x")

/* the kernel and the machine */
SIMPLE(ring, SYS_io_uring_setup, 1, NULL)
SIMPLE(aio, SYS_io_setup, 1, NULL)
SIMPLE(load_bpf, SYS_bpf, 0, NULL, 0)
SIMPLE(perf, SYS_perf_event_open, NULL, 0, -1, -1, 0)
SIMPLE(fault, SYS_userfaultfd, 0)
SIMPLE(key, SYS_keyctl, 0, 0)
SIMPLE(unshare_user, SYS_unshare, CLONE_NEWUSER)
SIMPLE(enter_namespace, SYS_setns, 0, 0)
SIMPLE(mount_proc, SYS_mount, "proc", "/proc", "proc", 0, NULL)
SIMPLE(unmount, SYS_umount2, "/proc", 2)
SIMPLE(open_fs, SYS_fsopen, "proc", 0)
SIMPLE(open_a_tree, SYS_open_tree, AT_FDCWD, "/", 1)
SIMPLE(change_root, SYS_chroot, "/")
SIMPLE(restart_machine, SYS_reboot, 0, 0, 0, NULL)
SIMPLE(set_clock, SYS_settimeofday, NULL, NULL)
SIMPLE(lock_memory, SYS_mlockall, 1)

/* what is allowed, so that a filter that forbids everything is no success */
SIMPLE(ok_read_file, SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)
SIMPLE(ok_getfl, SYS_fcntl, fds.socket, F_GETFL)
SIMPLE(ok_getfd, SYS_fcntl, fds.bell, F_GETFD)
SIMPLE(ok_dup_page, SYS_fcntl, fds.answers, F_DUPFD_CLOEXEC, 10)
SIMPLE(ok_dup_stderr, SYS_dup, 2)
SIMPLE(ok_signal_self, SYS_kill, getpid(), 0)
PROBE(ok_getsockopt)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(fds.socket, SOL_SOCKET, SO_RCVBUF, &value, &len) < 0 ? errno : 0;
}
PROBE(ok_bell)
{
	uint64_t one = 1;

	return CALL(SYS_write, fds.bell, &one, sizeof(one));
}
PROBE(ok_map_answers)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds.answers, 0) == MAP_FAILED ? errno : 0;
}

struct probe {
	const char *name;
	int (*run)(void);
};

#define P(name)                                                                                                        \
	{                                                                                                              \
#name, name                                                                                            \
	}

static const struct probe probes[] = {P(create_file),
				      P(write_null),
				      P(open_tmpfile),
				      P(make_directory),
				      P(change_mode),
				      P(change_mode2),
				      P(open_how),
				      P(reopen_state),
				      P(reopen_lease),
				      P(map_state),
				      P(protect_state),
				      P(resize_answers),
				      P(punch_answers),
				      P(remove_mapping),
				      P(make_socket),
				      P(make_netlink),
				      P(make_pair),
				      P(shrink_buffer),
				      P(want_enobufs),
				      P(attach_filter),
				      P(socket_write),
				      P(socket_write_dirty),
				      P(socket_writev),
				      P(socket_send),
				      P(socket_sendmsg),
				      P(socket_bind),
				      P(socket_connect),
				      P(socket_shutdown),
				      P(socket_ioctl),
				      P(socket_dup),
				      P(socket_dup_dirty),
				      P(socket_dup3),
				      P(socket_dupfd),
				      P(socket_dupfd_dirty),
				      P(socket_dupfd_cloexec),
				      P(socket_block),
				      P(socket_setfd),
				      P(bell_block),
				      P(bell_dup),
				      P(bell_dup_dirty),
				      P(bell_ioctl),
				      P(wake_write),
				      P(wake_block),
				      P(wake_dup),
				      P(lease_dup),
				      P(lease_close),
				      P(lease_close_dirty),
				      P(close_many),
				      P(dup_onto),
				      P(move_bytes),
				      P(more_fork),
				      P(more_clone3),
				      P(kill_keeper),
				      P(kill_process_1),
				      P(kill_all),
				      P(kill_dirty),
				      P(tgkill_other),
				      P(queue_signal),
				      P(trace),
				      P(write_memory),
				      P(compare),
				      P(open_pidfd),
				      P(steal_fd),
				      P(signal_pidfd),
				      P(limit_other),
				      P(own_signals),
				      P(type_into_terminal),
				      P(type_dirty),
				      P(ring),
				      P(aio),
				      P(load_bpf),
				      P(perf),
				      P(fault),
				      P(key),
				      P(unshare_user),
				      P(enter_namespace),
				      P(mount_proc),
				      P(unmount),
				      P(open_fs),
				      P(open_a_tree),
				      P(change_root),
				      P(restart_machine),
				      P(set_clock),
				      P(lock_memory),
				      P(ok_read_file),
				      P(ok_getfl),
				      P(ok_getfd),
				      P(ok_dup_page),
				      P(ok_dup_stderr),
				      P(ok_signal_self),
				      P(ok_getsockopt),
				      P(ok_bell),
				      P(ok_map_answers)};

#define PROBES (sizeof(probes) / sizeof(*probes))

#endif
