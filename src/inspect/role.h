/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inspectors that ship: accept, drop, delay, and the one that loads a plug-in.
 */
#ifndef SPW_INSPECT_ROLE_H
#define SPW_INSPECT_ROLE_H

/*
 * The inspector process of `spillway run`, already without privileges. `what`: "accept", "drop", "delay=NANOSECONDS",
 * or the file of a plug-in. Returns an exit status; what fails is told on stderr.
 */
int inspector_main(const char *what);

#endif
