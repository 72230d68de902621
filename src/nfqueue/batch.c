/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Receiving many messages with one system call, and decoding them. Sends nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "internal.h"

#define BATCH_MAX    1024
/* 64 KiB of payload and 4 KiB for the attributes before it. */
#define BUFFER_BYTES ((size_t)68 * 1024)
/* Buffers that all began at the same place of a page would push each other out of the processor's cache. */
#define STRIDE       (BUFFER_BYTES + 320)

struct spw_batch {
	unsigned size;
	unsigned skipped;
	uint8_t *memory; /* size buffers, STRIDE apart */
	struct mmsghdr *header;
	struct iovec *iov;
	struct spw_packet *packet;
};

/* Pages are the kernel's to give only when a message touches them: small packets use one of seventeen. */
static uint8_t *map_buffers(unsigned messages)
{
	const size_t bytes = (size_t)messages * STRIDE;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

struct spw_batch *spw_batch_new(unsigned messages)
{
	struct spw_batch *batch;

	if (messages < 1 || messages > BATCH_MAX)
		return NULL;
	batch = calloc(1, sizeof(*batch));
	if (!batch)
		return NULL;
	batch->size = messages;
	batch->memory = map_buffers(messages);
	batch->header = calloc(messages, sizeof(*batch->header));
	batch->iov = calloc(messages, sizeof(*batch->iov));
	batch->packet = calloc(messages, sizeof(*batch->packet));
	if (!batch->memory || !batch->header || !batch->iov || !batch->packet) {
		spw_batch_free(batch);
		return NULL;
	}
	for (unsigned i = 0; i < messages; i++) {
		batch->iov[i] = (struct iovec){.iov_base = batch->memory + (size_t)i * STRIDE, .iov_len = BUFFER_BYTES};
		batch->header[i].msg_hdr = (struct msghdr){.msg_iov = &batch->iov[i], .msg_iovlen = 1};
	}
	return batch;
}

void spw_batch_free(struct spw_batch *batch)
{
	if (!batch)
		return;
	if (batch->memory)
		munmap(batch->memory, (size_t)batch->size * STRIDE);
	free(batch->header);
	free(batch->iov);
	free(batch->packet);
	free(batch);
}

int spw_batch_receive(struct spw_batch *batch, int fd, unsigned max)
{
	const unsigned room = max < batch->size ? max : batch->size;
	unsigned packets = 0;
	int messages;

	batch->skipped = 0;
	messages = recvmmsg(fd, batch->header, room, MSG_DONTWAIT, NULL);
	if (messages < 0)
		return -errno;
	for (int i = 0; i < messages; i++) {
		const struct mmsghdr *header = &batch->header[i];

		if (!(header->msg_hdr.msg_flags & MSG_TRUNC) &&
		    spw_decode(batch->iov[i].iov_base, header->msg_len, &batch->packet[packets]) == 0)
			packets++;
	}
	batch->skipped = (unsigned)messages - packets;
	return (int)packets;
}

const struct spw_packet *spw_batch_packet(const struct spw_batch *batch, unsigned i)
{
	return &batch->packet[i];
}

unsigned spw_batch_skipped(const struct spw_batch *batch)
{
	return batch->skipped;
}
