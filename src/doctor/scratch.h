/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child in network and mount namespaces of its own, where things may be tried: nothing it does is seen outside, and
 * all of it goes with the child.
 */
#ifndef SPW_DOCTOR_SCRATCH_H
#define SPW_DOCTOR_SCRATCH_H

#include <stddef.h>

/* Runs in the child: loopback is up, /run is an empty tmpfs. `result` starts as the caller's. */
typedef void (*scratch_fn)(void *result);

/*
 * Runs it to its end, 20 s at most, and takes over the `size` bytes of result (PIPE_BUF at most). 0; -EPERM: private
 * namespaces are not permitted; -ECHILD: the child died or ran out of time; or another negative errno. result is
 * changed only where it returns 0.
 */
int scratch_run(scratch_fn fn, void *result, size_t size);

#endif
