/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The narrow system call filter: what an inspector written in C needs once it is set up, and nothing else.
 */
#ifndef SPW_INSPECT_NARROW_H
#define SPW_INSPECT_NARROW_H

/*
 * Loads it for good, for every thread. From now on the process may receive, read and wait on the descriptors it has,
 * write to `bell` and to stderr, take and give back memory that is not executable, look at the clock, sleep, lock, send
 * itself a signal, close and end. All else, opening a file and starting a thread too, kills it with SIGSYS.
 *
 * 0 or a negative errno: -EOPNOTSUPP: built with AddressSanitizer, which needs more, or for an architecture that this
 * file doesn't know; -EBUSY: another thread has a filter of its own; -EINVAL: no filters in this kernel.
 */
int spw_narrow_filter(int bell);

#endif
