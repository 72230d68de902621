/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libFuzzer target: any bytes into the decoder; whatever it accepts must point into them. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/queue.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

/* Inside the message, and readable. */
static void touch(const uint8_t *msg, size_t size, const void *at, size_t len)
{
	const uint8_t *bytes = at;

	if (!at) {
		assert(len == 0);
		return;
	}
	assert(bytes >= msg && bytes <= msg + size && len <= (size_t)(msg + size - bytes));
	for (size_t i = 0; i < len; i++)
		sink ^= bytes[i];
}

static void check(const uint8_t *msg, size_t size)
{
	struct spw_packet packet = {.size = sizeof(packet)};

	if (spw_packet_decode(msg, size, &packet) < 0)
		return;
	assert(packet.size == sizeof(packet));
	assert(packet.hwaddr_len <= sizeof(packet.hwaddr));
	assert(packet.length >= packet.payload_len);
	assert(packet.has < SPW_PACKET_HAS_CONNTRACK << 1);
	touch(msg, size, packet.payload, packet.payload_len);
	touch(msg, size, packet.l2hdr, packet.l2hdr_len);
	touch(msg, size, packet.secctx, packet.secctx_len);
	touch(msg, size, packet.conntrack, packet.conntrack_len);
}

/* As it is; and with a true header in front, so that the attributes are reached at once. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint32_t len = (uint32_t)size + 20;
	const uint8_t head[20] = {[4] = 0, [5] = 3, [16] = 2};
	uint8_t *msg;

	check(data, size);
	msg = malloc(len + 1);
	if (!msg)
		return 0;
	memcpy(msg + 1, head, sizeof(head));
	memcpy(msg + 1, &len, sizeof(len));
	memcpy(msg + 21, data, size);
	check(msg + 1, len);
	free(msg);
	return 0;
}
