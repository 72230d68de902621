/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fail-open call under the name that its authors proposed in 2012, for programs on libnetfilter_queue.
 * Needs libnetfilter_queue 1.0.2 or later in the program's own link; libspillway itself does not depend on it.
 */
#ifndef SPILLWAY_NFQ_H
#define SPILLWAY_NFQ_H

#include <stdint.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Changes the flags (NFQA_CFG_F_*, host byte order) of a queue whose bit is set in mask, and only these. Returns 0, or
 * -1 with errno: EOPNOTSUPP (kernels from 7.1 on may say EINVAL) unknown or unsupported flag, ENODEV not bound, EPERM
 * no capability or somebody else's queue. It is what the library of today calls nfq_set_queue_flags(): like that call
 * it waits for the kernel's reply on the program's own socket, handing packets that come first to their callback. Where
 * replies can be lost (full socket, another reader), use spw_queue_set_flags().
 */
static inline int nfq_set_flags(struct nfq_q_handle *qh, uint32_t mask, uint32_t flags)
{
	return nfq_set_queue_flags(qh, mask, flags);
}

#ifdef __cplusplus
}
#endif
#endif
