/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each process may still do: see isolation.h. Runs in a child just forked (isolation_filters(): in the keeper);
 * changes nothing but the calling process.
 *
 * The stages, in their order; each needs what the later ones take away.
 *
 *   user        finds out whom to become. May do all that the keeper may.
 *   limits      no core file, few descriptors, no locked memory, first to go when memory runs out. From here on it must
 *               not need a descriptor above its limit.
 *   namespaces  a network, IPC, names and mounts of its own (and processes: spawn.c), each where the kernel lets it. It
 *               must not reach anybody by an address any more, but through what it inherited.
 *   privileges  another uid, no groups, no capabilities, nothing executed gives any. It must not do what needs one.
 *   files       Landlock, where the kernel has it: it may read and execute, must not change any file, and must not
 *               signal anybody who is not under the same rules.
 *   filter      the wide system call filter (filter.c), last, because it forbids most of the above.
 *
 * After exec, an inspector in C adds the narrow filter (inspect/narrow.c) before the first packet.
 */
#include "keeper/isolation.h"

#include "keeper/filter.h"
#include "keeper/spawn.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How much sooner than the keeper the kernel is to kill them for want of memory, of 1000. */
#define OOM_ENGINE    100
#define OOM_INSPECTOR 500
#define OOM_MAX       1000

#define NOBODY 65534

/* Stage user */

struct user {
	bool known;
	bool ours; /* it is user `spillway` */
	uid_t uid;
	gid_t gid;
};

/*
 * User `spillway`, else `nobody`, else nobody's usual number. From the file alone: what else getpwnam() would ask may
 * be in the network, and ends the process where memory is short.
 */
static struct user find_user(void)
{
	struct user u = {.known = geteuid() == 0, .uid = NOBODY, .gid = NOBODY};
	FILE *f = u.known ? fopen("/etc/passwd", "re") : NULL;
	const struct passwd *pw;

	while (f && !u.ours && (pw = fgetpwent(f))) {
		u.ours = !strcmp(pw->pw_name, "spillway");
		if (u.ours || !strcmp(pw->pw_name, "nobody")) {
			u.uid = pw->pw_uid;
			u.gid = pw->pw_gid;
		}
	}
	if (f)
		(void)fclose(f);
	return u;
}

/* Stage limits */

/* Raising is always allowed. Where /proc is missing, the order of dying is left to the kernel. */
static void die_sooner(int more)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "r+e");
	int now;

	if (!f)
		return;
	if (fscanf(f, "%d", &now) == 1) {
		rewind(f);
		fprintf(f, "%d", now + more < OOM_MAX ? now + more : OOM_MAX);
	}
	(void)fclose(f);
}

static int limit(int resource, rlim_t most)
{
	struct rlimit l;

	if (getrlimit(resource, &l))
		return -errno;
	if (most < l.rlim_max)
		l.rlim_max = most;
	if (l.rlim_max < l.rlim_cur)
		l.rlim_cur = l.rlim_max;
	return setrlimit(resource, &l) ? -errno : 0;
}

/* No limit on the size of files: stderr may be one. */
static int set_limits(rlim_t descriptors, uint64_t memory)
{
	int error = limit(RLIMIT_CORE, 0);

	if (!error)
		error = limit(RLIMIT_MEMLOCK, 0);
	if (!error)
		error = limit(RLIMIT_NOFILE, descriptors);
	if (!error && memory)
		error = limit(RLIMIT_DATA, memory);
	return error;
}

/* Stage namespaces */

/* One by one: what is refused (an ordinary user, a limit, a container) leaves the others. */
static void own_namespaces(void)
{
	static const int kinds[] = {CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		(void)unshare(kinds[i]);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return;
	/* In a process namespace of its own, this /proc shows nobody else. */
	(void)mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* Stage privileges */

static int no_new_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* Without this, executing a program as uid 0 fills the permitted set again from the bounding set. */
static void root_is_nobody_special(void)
{
	(void)prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE, 0, 0, 0);
}

static int change_user(const struct user *u)
{
	if (!u->known)
		return 0;
	if (setgroups(0, NULL) && errno != EPERM) /* EPERM: a user namespace with setgroups denied */
		return -errno;
	if ((setresgid(u->gid, u->gid, u->gid) || setresuid(u->uid, u->uid, u->uid)) &&
	    errno != EINVAL) /* EINVAL: not mapped here */
		return -errno;
	return 0;
}

static int drop_privileges(const struct user *u)
{
	int error;

	root_is_nobody_special();
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_BOUNDS) || capng_apply(CAPNG_SELECT_AMBIENT))
		return -EPERM;
	error = change_user(u);
	if (error)
		return error;
	if (capng_apply(CAPNG_SELECT_CAPS))
		return -EPERM;
	return no_new_privileges();
}

/* Stage files */

/* The kernel's own struct of today: the headers that we are built with may have a shorter one. */
struct landlock_rules {
	uint64_t files, network, scoped;
};

#define LANDLOCK_CHANGES                                                                                               \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |              \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                    \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                 \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)
#define LANDLOCK_REFER    (1u << 13) /* from version 2 */
#define LANDLOCK_TRUNCATE (1u << 14) /* 3 */
#define LANDLOCK_IOCTL    (1u << 15) /* 5: on devices opened from now on */
#define LANDLOCK_SCOPES   3u         /* 6: abstract unix sockets, signals */

static struct landlock_rules rules_of_version(long version)
{
	struct landlock_rules r = {.files = LANDLOCK_CHANGES};

	if (version >= 2)
		r.files |= LANDLOCK_REFER;
	if (version >= 3)
		r.files |= LANDLOCK_TRUNCATE;
	if (version >= 5)
		r.files |= LANDLOCK_IOCTL;
	if (version >= 6)
		r.scoped = LANDLOCK_SCOPES;
	return r;
}

/* Rights that are named, and given to no file, are nobody's. 0 also where there is no Landlock. */
static int read_only_files(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_rules r = rules_of_version(version);
	int fd, error = 0;

	if (version < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	fd = (int)syscall(SYS_landlock_create_ruleset, &r, sizeof(r), 0);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_restrict_self, fd, 0))
		error = -errno;
	close(fd);
	return error;
}

/* The processes */

/*
 * Over the change of user the capability is kept by a wish that ends at exec, over exec by the ambient set, which needs
 * the inheritable one.
 */
static int keep_net_admin(const struct user *u)
{
	int error;

	capng_clear(CAPNG_SELECT_ALL);
	capng_updatev(CAPNG_ADD,
		      CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET | CAPNG_INHERITABLE | CAPNG_AMBIENT,
		      CAP_NET_ADMIN, -1);
	if (capng_apply(CAPNG_SELECT_BOUNDS) || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return -EPERM;
	error = change_user(u);
	if (error)
		return error;
	return capng_apply(CAPNG_SELECT_CAPS) || capng_apply(CAPNG_SELECT_AMBIENT) ? -EPERM : no_new_privileges();
}

int isolate_engine(void)
{
	struct user user = find_user();
	int error;

	/* Whoever runs as nobody could end or stop it, and many do; so it becomes no one but our own user. */
	user.known &= user.ours;
	die_sooner(OOM_ENGINE);
	error = keep_net_admin(&user);
	return error ? error : read_only_files();
}

/* The last three stages. */
static int take_away(const struct user *u, int (*filter)(void))
{
	int error = drop_privileges(u);

	if (!error)
		error = read_only_files();
	return error ? error : filter();
}

int isolate_inspector(uint64_t memory)
{
	const struct user user = find_user();
	int error;

	die_sooner(OOM_INSPECTOR);
	/* No number is free above the limit: what has one there was inherited, and stays what it is. */
	error = set_limits(INSPECTOR_FD_FIRST, memory);
	if (error)
		return error;
	own_namespaces();
	return take_away(&user, filter_inspector);
}

int isolate_process_1(void)
{
	const struct user user = find_user();

	die_sooner(OOM_INSPECTOR);
	return take_away(&user, filter_inspector);
}

int isolate_control(void)
{
	const struct user user = find_user();
	int error;

	die_sooner(OOM_ENGINE);
	error = limit(RLIMIT_CORE, 0);
	if (error)
		return error;
	own_namespaces();
	return take_away(&user, filter_control);
}

/* Seen from outside */

static int count_filters(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int n = -ENODATA;

	if (!f)
		return -errno;
	while (n < 0 && fgets(line, sizeof(line), f))
		(void)sscanf(line, "Seccomp_filters: %d", &n);
	(void)fclose(f);
	return n;
}

int isolation_filters(pid_t pid)
{
	char path[32];
	int ours = count_filters("/proc/self/status"), theirs;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	theirs = count_filters(path);
	if (theirs < 0 || ours < 0)
		return theirs < 0 ? theirs : ours;
	return theirs - ours;
}
