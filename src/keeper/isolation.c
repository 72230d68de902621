/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each process may still do: see isolation.h. Runs in a child just forked; touches nothing but credentials.
 */
#include "keeper/isolation.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NOBODY 65534

static int no_new_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* Without this, executing a program as uid 0 fills the permitted set again from the bounding set. */
static void root_is_nobody_special(void)
{
	(void)prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE, 0, 0, 0);
}

int isolate_engine(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET | CAPNG_INHERITABLE,
		      CAP_NET_ADMIN, -1);
	if (geteuid() != 0) /* kept over exec by the ambient set, which needs the inheritable one */
		capng_update(CAPNG_ADD, CAPNG_AMBIENT, CAP_NET_ADMIN);
	if (capng_apply(CAPNG_SELECT_ALL))
		return -EPERM;
	return no_new_privileges();
}

/*
 * User `spillway`, else `nobody`, else nobody's usual number. From the file alone: what else getpwnam() would ask may
 * be in the network, and ends the process where memory is short.
 */
static void find_user(uid_t *uid, gid_t *gid)
{
	FILE *f = fopen("/etc/passwd", "re");
	const struct passwd *pw;
	bool ours = false;

	*uid = *gid = NOBODY;
	while (f && !ours && (pw = fgetpwent(f))) {
		ours = !strcmp(pw->pw_name, "spillway");
		if (ours || !strcmp(pw->pw_name, "nobody")) {
			*uid = pw->pw_uid;
			*gid = pw->pw_gid;
		}
	}
	if (f)
		(void)fclose(f);
}

/* In a user namespace that maps one uid alone, nobody has another one to go to. */
static int change_user(void)
{
	uid_t uid;
	gid_t gid;

	if (geteuid() != 0)
		return 0;
	find_user(&uid, &gid);
	if (setgroups(0, NULL) && errno != EPERM) /* EPERM: a user namespace with setgroups denied */
		return -errno;
	if ((setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) && errno != EINVAL) /* EINVAL: not mapped here */
		return -errno;
	return 0;
}

int isolate_inspector(void)
{
	int error;

	root_is_nobody_special();
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_BOUNDS) || capng_apply(CAPNG_SELECT_AMBIENT))
		return -EPERM;
	error = change_user();
	if (error)
		return error;
	if (capng_apply(CAPNG_SELECT_CAPS))
		return -EPERM;
	return no_new_privileges();
}
