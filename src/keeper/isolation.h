/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each process may still do. Called in the child, between fork and exec.
 */
#ifndef SPW_KEEPER_ISOLATION_H
#define SPW_KEEPER_ISOLATION_H

/*
 * The engine must be able to send verdicts; it must not be able to do anything else that root may. Keeps CAP_NET_ADMIN
 * alone, in the bounding set too. 0 or a negative errno.
 */
int isolate_engine(void);

/*
 * The inspector reads hostile packets; it must not be able to do anything that needs a privilege, nor get one back.
 * Another uid where root starts it (user `spillway` if there is one, else `nobody`), no supplementary groups, no
 * capabilities, none in the bounding set, no_new_privs. In a user namespace without another uid it keeps its uid. 0 or
 * a negative errno.
 */
int isolate_inspector(void);

#endif
