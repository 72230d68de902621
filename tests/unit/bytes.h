/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet put together from its bytes.
 */
#ifndef SPW_TESTS_BYTES_H
#define SPW_TESTS_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	size_t len;
	uint8_t at[256];
};

static inline void add(struct bytes *b, const void *data, size_t len)
{
	memcpy(b->at + b->len, data, len);
	b->len += len;
}

#define ADD(b, ...)                                                                                                    \
	do {                                                                                                           \
		const uint8_t part[] = {__VA_ARGS__};                                                                  \
		add(b, part, sizeof(part));                                                                            \
	} while (0)

#endif
