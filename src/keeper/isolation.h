/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each process may still do. The isolate_ functions are called in the child, between fork and exec, and go through
 * the stages that isolation.c describes. docs/isolation.md is the same as a table.
 */
#ifndef SPW_KEEPER_ISOLATION_H
#define SPW_KEEPER_ISOLATION_H

#include <stdint.h>
#include <sys/types.h>

/*
 * The engine must be able to send verdicts; it must not be able to do anything else that root may. Keeps CAP_NET_ADMIN
 * alone, in the bounding set too, and becomes user `spillway` where there is one. Its filter it loads itself, once it
 * has attached (engine/filter.c). 0 or a negative errno.
 */
int isolate_engine(void);

/*
 * The inspector reads hostile packets: it may look at them, compute, read files, ring, and nothing else. `memory`: how
 * many bytes of private memory it may have, 0: no limit of its own. Its inherited descriptors have the numbers of
 * enum inspector_fd (spawn.h), and it opens none at or above INSPECTOR_FD_FIRST. 0 or a negative errno.
 */
int isolate_inspector(uint64_t memory);

/*
 * The process that keeps an inspector's process namespace (spawn.h) waits, and nothing else: it loses what an inspector
 * loses, and needs no limits and namespaces for it. 0 or a negative errno.
 */
int isolate_process_1(void);

/*
 * The control process parses what clients send: it may accept on the listening socket it was given, answer there, and
 * read the pages it was given. It must not make a socket, change a file, start or signal anything. 0 or a negative
 * errno.
 */
int isolate_control(void);

/*
 * How many system call filters a process has beyond those of the caller, by the kernel's word: for an inspector, 1 is
 * the wide filter, 2 or more that it has put another on top, which can only take more away. A negative errno: -ENOENT:
 * no such process; -ENODATA: this kernel doesn't say (before 5.9).
 */
int isolation_filters(pid_t pid);

#endif
