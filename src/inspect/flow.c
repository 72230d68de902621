/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hash of a flow: SipHash-2-4 (Aumasson and Bernstein, 2012). Pure: no memory of its own, no I/O.
 */
#include "inspect/flow.h"

#include <string.h>

static uint64_t rotate(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
	while (rounds--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

/* Up to eight bytes, the first the least significant, whatever this machine's own order is. */
static uint64_t little_endian(const uint8_t *bytes, size_t len)
{
	uint64_t word = 0;

	while (len--)
		word = word << 8 | bytes[len];
	return word;
}

uint64_t flow_siphash(const uint8_t *data, size_t len, const uint64_t key[2])
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
			 key[1] ^ 0x7465646279746573u};
	size_t left = len;
	uint64_t word;

	for (; left >= 8; data += 8, left -= 8) {
		word = little_endian(data, 8);
		v[3] ^= word;
		sip_rounds(v, 2);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56 | little_endian(data, left);
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t spw_flow_hash(const struct spw_flow *flow, const uint64_t key[2])
{
	uint8_t bytes[40] = {0};
	uint64_t hash;

	if (!flow->family)
		return 0;
	memcpy(bytes, flow->address, 32);
	for (unsigned i = 0; i < 2; i++) {
		bytes[32 + 2 * i] = (uint8_t)(flow->port[i] >> 8);
		bytes[33 + 2 * i] = (uint8_t)flow->port[i];
	}
	bytes[36] = flow->protocol;
	bytes[37] = flow->family;
	hash = flow_siphash(bytes, sizeof(bytes), key);
	return hash ? hash : 1;
}
