/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane without a kernel and an engine: pages in memfds, a socketpair a class, and a judge that holds answers against
 * the rules of docs/protocol.md as the engine would. For the tests of the inspector's side.
 */
#ifndef TESTS_UNIT_FAKE_LANE_H
#define TESTS_UNIT_FAKE_LANE_H

#include "lane/channel.h"
#include "message.h"
#include "unit.h"

#include <fcntl.h>
#include <spillway/inspector.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKE_IDS     65536u /* ids of a class that the judge can tell apart */
#define FAKE_SOCKETS 700    /* descriptors follow each other from here on */
#define FAKE_NUMBER  5u     /* of the inspector */

enum fake_fate { FATE_NONE, FATE_SENT, FATE_ANSWERED, FATE_EARLY };

struct fake_class {
	int peer;          /* where the kernel would be */
	uint64_t ids;      /* the last one assigned */
	uint64_t answered; /* the last one answered in order */
	unsigned early;    /* early ones ahead of what is answered */
	uint8_t fate[FAKE_IDS];
	uint32_t verdict[FAKE_IDS];
	uint32_t set[FAKE_IDS];
	uint32_t mark[FAKE_IDS];
	struct channel_conntrack conntrack[FAKE_IDS];
	uint32_t payload[FAKE_IDS];
};

struct fake_lane {
	struct channel_answers *answers;
	struct channel_state *state;
	int bell, wake, lease; /* lease: the end that the keeper would hold */
	int lease_read;
	unsigned classes;
	uint64_t consumed;
	uint64_t runs; /* answers taken */
	struct fake_class class[CHANNEL_CLASSES];
};

static struct fake_lane fake;

static inline void *fake_page(const char *name, size_t size, int *fd)
{
	void *page;

	*fd = memfd_create(name, 0);
	assert_true(*fd >= 0);
	assert_int_equal(ftruncate(*fd, (off_t)size), 0);
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	return page;
}

/* A lane of so many classes, queues 10, 11 …, priorities all 0, ids from first_id on; the environment says so. */
static inline void fake_start(unsigned classes, uint64_t first_id)
{
	int answers, state, pipes[2], pair[2];
	char env[256];

	memset(&fake, 0, sizeof(fake));
	fake.answers = fake_page("answers", sizeof(*fake.answers), &answers);
	fake.state = fake_page("state", sizeof(*fake.state), &state);
	fake.bell = eventfd(0, EFD_NONBLOCK);
	fake.wake = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(pipe(pipes), 0);
	fake.lease_read = pipes[0];
	fake.lease = pipes[1];
	fake.classes = classes;
	fake.state->version = CHANNEL_VERSION;
	fake.state->classes = classes;
	fake.state->active = FAKE_NUMBER;
	fake.state->key[0] = 0x0123456789abcdef;
	fake.state->key[1] = 0xfedcba9876543210;
	for (unsigned i = 0; i < classes; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
		assert_int_equal(dup2(pair[0], FAKE_SOCKETS + (int)i), FAKE_SOCKETS + (int)i);
		close(pair[0]);
		fake.class[i].peer = pair[1];
		fake.class[i].ids = fake.class[i].answered = first_id - 1;
		fake.state->class[i].settled = first_id - 1;
		fake.state->class[i].queue = 10 + i;
	}
	snprintf(env, sizeof(env), CHANNEL_ENV_FORMAT, CHANNEL_VERSION, FAKE_NUMBER, classes, FAKE_SOCKETS, answers,
		 state, fake.bell, fake.wake, fake.lease_read);
	setenv(CHANNEL_ENV, env, 1);
}

static inline void fake_end(void)
{
	munmap(fake.answers, sizeof(*fake.answers));
	munmap(fake.state, sizeof(*fake.state));
	close(fake.bell);
	close(fake.wake);
	close(fake.lease);
	close(fake.lease_read);
	for (unsigned i = 0; i < fake.classes; i++) {
		close(FAKE_SOCKETS + (int)i);
		close(fake.class[i].peer);
	}
	unsetenv(CHANNEL_ENV);
}

/* The next `n` ids never come out of the socket. */
static inline void fake_skip(unsigned class, unsigned n)
{
	fake.class[class].ids += n;
}

/* Sends a packet under the next id, with these bytes from the network header on; returns the id. */
static inline uint64_t fake_send_bytes(unsigned class, uint16_t ethertype, const void *payload, size_t len,
				       size_t length)
{
	static struct message m;
	struct fake_class *c = &fake.class[class];
	const struct nfqnl_msg_packet_hdr hdr = {.packet_id = htonl((uint32_t)++c->ids),
						 .hw_protocol = htons(ethertype)};

	message_begin(&m, PACKET_TYPE, (uint16_t)(10 + class));
	message_attr(&m, NFQA_PACKET_HDR, &hdr, sizeof(hdr));
	message_u32(&m, NFQA_MARK, 0x100 + (uint32_t)c->ids % 16);
	if (length != len)
		message_u32(&m, NFQA_CAP_LEN, (uint32_t)length);
	if (fake.state->class[class].conntrack)
		message_attr(&m, NFQA_CT, "a connection", 12);
	message_attr(&m, NFQA_PAYLOAD, payload, len);
	message_end(&m);
	assert_int_equal(send(c->peer, m.data, m.len, 0), m.len);
	c->fate[c->ids % FAKE_IDS] = FATE_SENT;
	return c->ids;
}

/* An IPv4 datagram of 10.0.0.1 to 10.0.0.2, ports 1000 and `port`, with eight bytes of data. */
static inline size_t fake_udp(uint8_t *at, uint16_t port)
{
	static const uint8_t packet[36] = {0x45, 0,  0, 36, 0,   0,   0,   0,   64,   17,   0x66, 0xc7,
					   10,   0,  0, 1,  10,  0,   0,   2,   0x03, 0xe8, 0,    0,
					   0,    16, 0, 0,  'p', 'a', 'y', 'l', 'o',  'a',  'd',  '.'};

	memcpy(at, packet, sizeof(packet));
	at[22] = (uint8_t)(port >> 8);
	at[23] = (uint8_t)port;
	return sizeof(packet);
}

static inline uint64_t fake_send(unsigned class, uint16_t port)
{
	uint8_t packet[36];
	const size_t len = fake_udp(packet, port);

	return fake_send_bytes(class, 0x0800, packet, len, len);
}

static inline uint64_t fake_widen(uint64_t near, uint32_t id)
{
	return near + (uint64_t)(int64_t)(int32_t)(id - (uint32_t)near);
}

static inline void fake_note(struct fake_class *c, const struct channel_answer *a, uint64_t id)
{
	assert_int_equal(c->fate[id % FAKE_IDS], FATE_SENT); /* read, and answered once */
	c->fate[id % FAKE_IDS] = a->early ? FATE_EARLY : FATE_ANSWERED;
	c->verdict[id % FAKE_IDS] = a->verdict;
	c->set[id % FAKE_IDS] = a->set;
	c->mark[id % FAKE_IDS] = a->mark;
	c->conntrack[id % FAKE_IDS] = a->conntrack;
	c->payload[id % FAKE_IDS] = a->payload;
}

/* The oldest id that may be undecided, as an engine is sure to know. */
static inline uint64_t fake_oldest(const struct fake_class *c, uint64_t settled)
{
	return (c->answered > settled ? c->answered : settled) + 1;
}

static inline void fake_judge(const struct channel_answer *a)
{
	struct fake_class *c = &fake.class[a->class];
	const uint64_t settled = fake.state->class[a->class].settled;
	const uint64_t first = fake_widen(c->answered, a->first), last = fake_widen(c->answered, a->last);
	const uint64_t oldest = fake_oldest(c, settled);

	assert_true(a->class < fake.classes);
	assert_true(first <= last && last <= c->ids);
	if (a->early) {
		c->early = 0;
		for (uint64_t id = oldest; id < oldest + CHANNEL_WINDOW && id <= c->ids; id++)
			c->early += c->fate[id % FAKE_IDS] == FATE_EARLY;
		assert_int_equal(first, last);
		assert_true(first < oldest + CHANNEL_WINDOW);
		assert_true(c->early < CHANNEL_WINDOW / 2);
	} else {
		assert_true(first > c->answered);
		c->answered = last;
	}
	if (first != last)
		assert_true(!fake.state->class[a->class].has_mark && !(a->set & ~CHANNEL_TRUSTED) &&
			    (a->verdict == SPW_ACCEPT || a->verdict == SPW_DROP || a->verdict == CHANNEL_STALE));
	if (a->verdict == CHANNEL_STALE)
		assert_true(last <= settled);
	for (uint64_t id = first; id <= last; id++)
		fake_note(c, a, id);
}

/* Takes all answers there are and judges them; settles what is answered. */
static inline unsigned fake_take(void)
{
	const uint64_t produced = __atomic_load_n(&fake.answers->produced, __ATOMIC_ACQUIRE);
	unsigned n = 0;

	assert_true(produced - fake.consumed <= CHANNEL_ANSWERS);
	for (; fake.consumed != produced; n++)
		fake_judge(&fake.answers->ring[fake.consumed++ % CHANNEL_ANSWERS]);
	fake.runs += n;
	fake.state->consumed = fake.consumed;
	for (unsigned i = 0; i < fake.classes; i++) {
		uint64_t done = fake_oldest(&fake.class[i], fake.state->class[i].settled) - 1;

		while (fake.class[i].fate[(done + 1) % FAKE_IDS] == FATE_EARLY)
			done++;
		fake.state->class[i].settled = done;
	}
	return n;
}

/* What was said of an id; -1: nothing yet. */
static inline int fake_verdict(unsigned class, uint64_t id)
{
	const struct fake_class *c = &fake.class[class];

	return c->fate[id % FAKE_IDS] >= FATE_ANSWERED ? (int)c->verdict[id % FAKE_IDS] : -1;
}

#endif
