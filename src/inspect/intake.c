/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Receiving: many messages with one system call, each into a buffer that stays until its packet is answered. Sends
 * nothing, answers nothing.
 */
#include "inspect/inspect.h"

#include <spillway/queue.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* 64 KiB of payload and 4 KiB for the attributes before it. */
#define BUFFER_BYTES ((size_t)68 * 1024)
/* Buffers that all began at the same place of a page would push each other out of the processor's cache. */
#define STRIDE       (BUFFER_BYTES + 320)

int intake_new(struct spw_lane *lane, unsigned slots)
{
	const size_t bytes = slots * STRIDE;
	/* Pages are the kernel's to give only when a message touches them: small packets use one of seventeen. */
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	lane->memory = memory;
	lane->slots = slots;
	lane->slot = calloc(slots, sizeof(*lane->slot));
	lane->header = calloc(slots, sizeof(*lane->header));
	lane->iov = calloc(slots, sizeof(*lane->iov));
	lane->batch = calloc(slots, sizeof(struct slot *));
	if (!lane->slot || !lane->header || !lane->iov || !lane->batch)
		return -ENOMEM;
	for (unsigned i = 0; i < slots; i++) {
		lane->iov[i] = (struct iovec){.iov_base = lane->memory + i * STRIDE, .iov_len = BUFFER_BYTES};
		lane->header[i].msg_hdr = (struct msghdr){.msg_iov = &lane->iov[i], .msg_iovlen = 1};
	}
	return 0;
}

void intake_free(struct spw_lane *lane)
{
	if (lane->memory)
		munmap(lane->memory, lane->slots * STRIDE);
	free(lane->slot);
	free(lane->header);
	free(lane->iov);
	free(lane->batch);
}

void intake_release(struct spw_lane *lane, struct slot *slot)
{
	lane->iov[--lane->free].iov_base = lane->memory + (size_t)(slot - lane->slot) * STRIDE;
}

/* Decodes what came. Replies and what doesn't parse are no packets: their buffers are free again. */
static void decode(struct spw_lane *lane, unsigned class, const struct mmsghdr *header, unsigned messages)
{
	lane->batch_len = lane->batch_next = 0;
	for (unsigned i = 0; i < messages; i++) {
		uint8_t *at = header[i].msg_hdr.msg_iov->iov_base;
		struct slot *slot = &lane->slot[(size_t)(at - lane->memory) / STRIDE];

		slot->packet.size = sizeof(slot->packet);
		slot->class = (uint8_t) class;
		lane->batch[i] = slot;
		if (header[i].msg_hdr.msg_flags & MSG_TRUNC || spw_packet_decode(at, header[i].msg_len, &slot->packet))
			slot->packet.size = 0;
	}
	for (unsigned i = 0; i < messages; i++) {
		struct slot *slot = lane->batch[i];

		if (slot->packet.size)
			lane->batch[lane->batch_len++] = slot;
		else
			intake_release(lane, slot);
	}
}

static void note_poison(struct spw_lane *lane)
{
	lane->poisons = 0;
	for (unsigned i = 0; i < CHANNEL_POISON; i++) {
		const uint64_t flow = __atomic_load_n(&lane->state->poison[i], __ATOMIC_RELAXED);

		if (flow)
			lane->poison[lane->poisons++] = flow;
	}
}

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec;
}

/* The class to receive from: of those that may have packets and may have more of them in hand, the first by priority.
 */
static int choose(struct spw_lane *lane)
{
	int best = -1;
	int32_t best_priority = 0;

	for (unsigned i = 0; i < lane->classes; i++) {
		const int32_t priority = __atomic_load_n(&lane->state->class[i].priority, __ATOMIC_RELAXED);

		if (!(lane->ready & 1u << i) || window_full(&lane->window[i]))
			continue;
		if (best < 0 || priority > best_priority) {
			best = (int)i;
			best_priority = priority;
		}
	}
	return best;
}

static unsigned window_left(const struct window *w)
{
	return (unsigned)(CHANNEL_WINDOW - (w->tail - w->head));
}

/* Receives from one class. Returns the number of messages, or -EAGAIN with its `ready` bit cleared. */
static int receive_class(struct spw_lane *lane, unsigned class, unsigned max)
{
	struct mmsghdr *header = &lane->header[lane->free];
	const unsigned left = window_left(&lane->window[class]);
	int n;

	if (max > lane->slots - lane->free)
		max = lane->slots - lane->free;
	if (max > left)
		max = left;
	n = recvmmsg(lane->socket + (int)class, header, max, MSG_DONTWAIT, NULL);
	if (n < (int)max)
		lane->ready &= ~(1u << class);
	if (n < 0)
		return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
	lane->free += (unsigned)n;
	decode(lane, class, header, (unsigned)n);
	return n;
}

int intake_receive(struct spw_lane *lane, unsigned max)
{
	int class, n = 0;

	lane->batch_len = lane->batch_next = 0;
	if (lane->free == lane->slots)
		return 0;
	/* Another class may have got packets since the last batch, perhaps a more urgent one. */
	if (lane->classes > 1 && !lane->ready_known)
		(void)lane_wait(lane, 0);
	lane->ready_known = false;
	class = choose(lane);
	if (class < 0)
		return 0;
	answer_ring(&lane->pen, CHANNEL_RING_ARRIVAL);
	n = receive_class(lane, (unsigned)class, max);
	if (n > 0) {
		note_poison(lane);
		lane->now_s = now_s();
	}
	return n == -EAGAIN ? 0 : n;
}
