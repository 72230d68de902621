/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wide system call filters, with which a process is born: what it is never to do, whatever program it is.
 * isolation.h says where they stand among the stages.
 */
#ifndef SPW_KEEPER_FILTER_H
#define SPW_KEEPER_FILTER_H

/*
 * Each loads a filter for good, over exec too: what is forbidden fails with EPERM, what libc can do without (clone3,
 * openat2) with ENOSYS, and a system call of another architecture kills. The calling process must have no_new_privs,
 * and keeps its pid: it may send signals to itself only. 0 or a negative errno (-EINVAL: no filters in this kernel).
 */
int filter_inspector(void);
int filter_control(void);

#endif
