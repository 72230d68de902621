/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control process, and the socket that the keeper makes for it.
 */
#ifndef SPW_CONTROL_SERVER_H
#define SPW_CONTROL_SERVER_H

#include <stddef.h>

/*
 * The control process: `spillway _control`. Needs no privilege; all that it works with are the descriptors of enum
 * control_fd (keeper/board.h): board and pages are filled in already, the keeper's socketpair was made by the keeper
 * itself (its credentials say whose requests are served), and both live in the same user namespace. Leaves when the
 * keeper's end is closed. Returns an exit status.
 */
int control_main(void);

/*
 * For the keeper, before the control process: a listening socket at path, mode 0600. A stale name there is replaced, a
 * living one is not. Returns the descriptor, or a negative errno: -EADDRINUSE: somebody answers there; -ENOTSOCK: what
 * lies there is no socket, and stays; -ENAMETOOLONG; else what bind(2) said.
 */
int control_listen(const char *path);

/* After -ENOTSOCK: what lies there, in words ("a directory"). */
const char *control_in_the_way(const char *path);

/* Takes the name away again. */
void control_unlist(const char *path);

/* Where the control socket is by default, for this user. Returns buf. */
const char *control_default_path(char *buf, size_t size);

#endif
