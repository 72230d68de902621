/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parser behind spw_packet_headers(), for the library's own files.
 */
#ifndef SPW_INSPECT_HEADERS_H
#define SPW_INSPECT_HEADERS_H

#include <spillway/packet.h>

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_IPV6 0x86ddu

/* As spw_packet_headers(), of `len` bytes that begin with the IP header; *h is overwritten also on failure. */
int headers_find(const uint8_t *ip, size_t len, uint16_t hw_protocol, struct spw_headers *h);

#endif
