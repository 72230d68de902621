/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libFuzzer target: any bytes as a packet's connection; what is said to be there has to make sense. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/conntrack.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spw_packet packet = {.size = sizeof(packet), .has = SPW_PACKET_HAS_CONNTRACK, .conntrack_len = size};
	struct spw_conntrack c = {.size = sizeof(c)};
	uint8_t *copy = malloc(size + 1);

	if (!copy)
		return 0;
	/* At an odd address, and with its end where the bytes end. */
	memcpy(copy + 1, data, size);
	packet.conntrack = copy + 1;
	if (!spw_packet_conntrack(&packet, &c)) {
		assert(c.size == sizeof(c) && c.has & SPW_CONNTRACK_ORIGINAL);
		assert(c.original.family == 4 || c.original.family == 6);
		assert(c.has < SPW_CONNTRACK_DCCP << 1);
	}
	free(copy);
	return 0;
}
