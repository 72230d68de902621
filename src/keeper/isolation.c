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
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

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

/* True where this user namespace maps more than one uid: else nobody has another one to go to. */
static int change_user(void)
{
	const struct passwd *pw = getpwnam("spillway");

	if (!pw)
		pw = getpwnam("nobody");
	if (!pw || geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) && errno != EPERM) /* EPERM: a user namespace with setgroups denied */
		return -errno;
	if ((setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) || setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid)) &&
	    errno != EINVAL) /* EINVAL: not mapped here */
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
