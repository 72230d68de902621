/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target: any bytes as a packet, captured whole or in part. What is told about it must lie within it; what is
 * mended must stay the same when it is mended again, and what can't be mended must stay as it was.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/packet.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t key[2] = {1, 2};

static void check(const uint8_t *data, size_t size, uint16_t ethertype)
{
	struct spw_packet p = {.size = sizeof(p), .hw_protocol = ethertype, .payload = data, .payload_len = size};
	struct spw_headers h = {.size = sizeof(h)};
	const struct spw_headers was = h;

	if (spw_packet_headers(&p, &h)) {
		assert(!memcmp(&h, &was, sizeof(h)));
		return;
	}
	assert(h.family == (ethertype == 0x0800 ? 4 : 6));
	assert(h.has < SPW_HEADERS_ROUTED << 1);
	assert(h.end <= size && h.transport <= h.payload && h.payload <= size);
	assert(h.destination + (h.family == 4 ? 4 : 16) <= size);
	assert(!(h.has & SPW_HEADERS_TRANSPORT) || (h.payload > h.transport && h.payload <= h.end));
	assert(!(h.has & SPW_HEADERS_PORTS) || h.transport + 4 <= h.end);
	assert(!(h.has & SPW_HEADERS_LATER) || !(h.has & (SPW_HEADERS_PORTS | SPW_HEADERS_TRANSPORT)));
	assert(!h.flow.family == !spw_flow_hash(&h.flow, key));
	assert(memcmp(h.flow.address[0], h.flow.address[1], 16) <= 0);
}

static void mend(const uint8_t *data, size_t size, uint16_t ethertype)
{
	uint8_t *once = malloc(size + 1), *twice = malloc(size + 1);

	assert(once && twice);
	memcpy(once, data, size);
	if (spw_packet_repair(once, size, ethertype)) {
		assert(!memcmp(once, data, size));
	} else {
		memcpy(twice, once, size);
		assert(!spw_packet_repair(twice, size, ethertype));
		assert(!memcmp(once, twice, size));
	}
	free(once);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* As the first byte says, so that the version seldom contradicts. */
	const uint16_t ethertype = size && data[0] >> 4 == 6 ? 0x86dd : 0x0800;

	check(data, size, ethertype);
	mend(data, size, ethertype);
	return 0;
}
