/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hash behind spw_flow_hash(), for its test vectors.
 */
#ifndef SPW_INSPECT_FLOW_H
#define SPW_INSPECT_FLOW_H

#include <spillway/packet.h>

/* SipHash-2-4; the key's words as the paper's k0 and k1. */
uint64_t flow_siphash(const uint8_t *data, size_t len, const uint64_t key[2]);

#endif
