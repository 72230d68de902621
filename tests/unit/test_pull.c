/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pull interface against a fake engine: verdicts in any order, the window and its bounds, what is settled
 * meanwhile, payload slots, trust, the hand. Every answer is judged by the rules that the engine goes by.
 */
#include "fake_lane.h"

#include <errno.h>
#include <poll.h>

#define EVENTS 1024u

static struct spw_lane *lane;
static struct spw_event event[EVENTS];

static void attach(unsigned window)
{
	/* The process has to go on after the lane's end. */
	const struct spw_lane_config config = {
	    .size = sizeof(config), .window = window, .copy_range = 128, .sandbox = SPW_SANDBOX_WIDE};

	assert_int_equal(spw_lane_attach(&lane, &config), 0);
	assert_int_equal(spw_lane_ready(lane), 0);
	assert_int_equal(fake.answers->copy_range, 128);
}

static int before_each(void **unused)
{
	(void)unused;
	fake_start(2, 1);
	attach(EVENTS);
	return 0;
}

static int after_each(void **unused)
{
	(void)unused;
	spw_lane_detach(lane);
	fake_end();
	return 0;
}

/* Another lane instead, with ids from `first` on and so many packets in hand at most. */
static void start_anew(uint64_t first, unsigned window)
{
	spw_lane_detach(lane);
	fake_end();
	fake_start(2, first);
	attach(window);
}

static int say(unsigned i, struct spw_verdict v)
{
	v.size = sizeof(v);
	return spw_lane_verdict(lane, event[i].handle, &v);
}

static void say_code(unsigned i, uint32_t code)
{
	assert_int_equal(say(i, (struct spw_verdict){.code = code}), 0);
}

static unsigned flush(void)
{
	spw_lane_flush(lane);
	return fake_take();
}

/* Sends so many to class 0 and takes them in hand, behind those that are there already. */
static void in_hand(unsigned from, unsigned n)
{
	while (n) {
		const unsigned some = n < 64 ? n : 64;

		for (unsigned i = 0; i < some; i++)
			fake_send(0, 53);
		assert_int_equal(spw_lane_next(lane, event + from, some, 0), some);
		from += some;
		n -= some;
	}
}

static void verdicts_come_in_any_order(void **unused)
{
	(void)unused;
	in_hand(0, 5);
	assert_int_equal(fake.answers->hand.busy, 1);
	assert_int_equal(fake.answers->hand.id, 1);
	say_code(2, SPW_DROP);
	say_code(4, SPW_ACCEPT);
	assert_int_equal(flush(), 2);
	assert_int_equal(fake.class[0].fate[3], FATE_EARLY);
	assert_int_equal(fake.class[0].fate[5], FATE_EARLY);
	assert_int_equal(fake.answers->hand.id, 1);
	say_code(0, SPW_ACCEPT);
	assert_int_equal(fake.answers->hand.id, 2);
	say_code(1, SPW_ACCEPT);
	say_code(3, SPW_ACCEPT);
	assert_int_equal(fake.answers->hand.busy, 0);
	assert_int_equal(flush(), 2); /* 1 to 2; 4, for 3 was answered */
	assert_int_equal(fake.state->class[0].settled, 5);
	assert_int_equal(fake_verdict(0, 3), SPW_DROP);
	assert_int_equal(fake_verdict(0, 4), SPW_ACCEPT);
}

static void a_handle_serves_once(void **unused)
{
	(void)unused;
	in_hand(0, 1);
	say_code(0, SPW_ACCEPT);
	assert_int_equal(say(0, (struct spw_verdict){.code = SPW_ACCEPT}), -ENOENT);
	in_hand(1, 1);
	assert_int_equal(say(0, (struct spw_verdict){.code = SPW_ACCEPT}), -ENOENT);
	event[2].handle = 0;
	assert_int_equal(say(2, (struct spw_verdict){.code = SPW_ACCEPT}), -ENOENT);
	say_code(1, SPW_ACCEPT);
}

static void packets_stay_readable(void **unused)
{
	uint8_t packet[36];

	(void)unused;
	for (unsigned i = 0; i < 40; i++) {
		fake_send(0, (uint16_t)(1000 + i));
		assert_int_equal(spw_lane_next(lane, event + i, 8, 0), 1);
		if (i % 3 == 1)
			say_code(i, SPW_ACCEPT);
	}
	for (unsigned i = 0; i < 40; i++) {
		if (i % 3 == 1)
			continue;
		assert_int_equal(event[i].packet->id, i + 1);
		assert_int_equal(event[i].packet->payload_len, fake_udp(packet, (uint16_t)(1000 + i)));
		assert_memory_equal(event[i].packet->payload, packet, sizeof(packet));
	}
}

static void early_ones_are_bounded(void **unused)
{
	(void)unused;
	in_hand(0, 1000);
	for (unsigned i = 1; i < 1000; i++)
		say_code(i, SPW_ACCEPT);
	assert_int_equal(flush(), CHANNEL_WINDOW / 2);
	assert_int_equal(flush(), 0);
	say_code(0, SPW_ACCEPT);
	assert_int_equal(flush(), 2); /* in order now: the first, then what had been kept */
	assert_int_equal(fake.state->class[0].settled, 1000);
}

static void the_window_is_bounded(void **unused)
{
	(void)unused;
	in_hand(0, 2);
	fake_skip(0, 1021);
	in_hand(2, 2); /* 1024 is the last id of the window that begins at 1 */
	say_code(2, SPW_ACCEPT);
	say_code(3, SPW_ACCEPT);
	assert_int_equal(flush(), 1);
	assert_int_equal(fake_verdict(0, 1024), SPW_ACCEPT);
	assert_int_equal(fake_verdict(0, 1025), -1);
	say_code(0, SPW_ACCEPT);
	assert_int_equal(flush(), 2); /* one further, and the one kept overtakes the second */
	assert_int_equal(fake.class[0].fate[1025], FATE_EARLY);
	say_code(1, SPW_ACCEPT);
	assert_int_equal(flush(), 1);
}

static void the_window_moves_with_what_is_settled(void **unused)
{
	(void)unused;
	in_hand(0, 2);
	fake_skip(0, 1500);
	in_hand(2, 2);
	say_code(3, SPW_ACCEPT);
	assert_int_equal(flush(), 0);
	fake.state->class[0].settled = 1000;
	assert_int_equal(flush(), 2); /* 1 and 2 are passed by as stale, 1504 overtakes 1503 */
	assert_int_equal(fake_verdict(0, 1), CHANNEL_STALE);
	assert_int_equal(fake_verdict(0, 2), CHANNEL_STALE);
	assert_int_equal(fake.class[0].fate[1504], FATE_EARLY);
}

static void a_full_window_is_said_so(void **unused)
{
	unsigned i = 0;

	(void)unused;
	start_anew(1, 4);
	for (unsigned n = 0; n < 6; n++)
		fake_send(0, 53);
	assert_int_equal(spw_lane_next(lane, event, EVENTS, -1), 4);
	assert_int_equal(spw_lane_next(lane, event + 4, EVENTS - 4, -1), 0);
	say_code(2, SPW_ACCEPT);
	assert_int_equal(spw_lane_next(lane, event + 4, EVENTS - 4, -1), 1);
	for (; i < 5; i++) {
		if (i != 2)
			say_code(i, SPW_ACCEPT);
	}
	assert_int_equal(spw_lane_next(lane, event + 5, EVENTS - 5, -1), 1);
	assert_int_equal(event[5].packet->id, 6);
}

static void behind_one_packet_there_is_room_for_so_many(void **unused)
{
	(void)unused;
	in_hand(0, EVENTS);
	for (unsigned i = 1; i < EVENTS; i++)
		say_code(i, SPW_ACCEPT);
	assert_int_equal(flush(), CHANNEL_WINDOW / 2);
	fake_send(0, 53);
	fake_send(1, 53);
	assert_int_equal(spw_lane_next(lane, event + 1, 8, 0), 1); /* the other class goes on */
	assert_int_equal(event[1].packet->queue, 11);
	say_code(1, SPW_ACCEPT);
	fake.state->class[0].settled = 1;
	assert_int_equal(spw_lane_next(lane, event + 1, 8, 0), 1);
	assert_int_equal(event[1].packet->id, EVENTS + 1);
	flush();
	assert_int_equal(fake_verdict(0, 1), CHANNEL_STALE);
	assert_int_equal(fake.state->class[0].settled, EVENTS);
}

static void what_is_no_packet_is_skipped(void **unused)
{
	const struct nlmsghdr reply = {.nlmsg_len = sizeof(reply), .nlmsg_type = NLMSG_ERROR};

	(void)unused;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(send(fake.class[0].peer, &reply, sizeof(reply), 0), sizeof(reply));
		assert_int_equal(send(fake.class[0].peer, "?", 1, 0), 1);
		fake_send(0, 53);
	}
	assert_int_equal(spw_lane_next(lane, event, 16, 0), 3);
	for (unsigned i = 0; i < 3; i++)
		say_code(i, SPW_ACCEPT);
	assert_int_equal(flush(), 1);
}

static void late_verdicts(void **unused)
{
	struct spw_counts counts = {.size = sizeof(counts)};

	(void)unused;
	in_hand(0, 4);
	fake.state->class[0].settled = 2;
	say_code(0, SPW_DROP); /* nothing newer is answered: the engine hears it, and counts it as late */
	assert_int_equal(flush(), 1);
	assert_int_equal(fake_verdict(0, 1), SPW_DROP);
	say_code(2, SPW_ACCEPT); /* passes 2 by */
	assert_int_equal(flush(), 2);
	assert_int_equal(fake_verdict(0, 2), CHANNEL_STALE);
	assert_int_equal(event[1].packet->id, 2); /* still in hand */
	assert_int_equal(fake.answers->hand.id, 2);
	say_code(1, SPW_DROP);
	assert_int_equal(flush(), 0);
	assert_int_equal(fake_verdict(0, 2), CHANNEL_STALE);
	say_code(3, SPW_ACCEPT);
	assert_int_equal(flush(), 1);
	assert_int_equal(spw_lane_counts(lane, &counts), 0);
	assert_int_equal(counts.late, 1);
	assert_int_equal(counts.shown, 4);
}

static void gaps_come_with_the_next_packet(void **unused)
{
	(void)unused;
	in_hand(0, 1);
	assert_null(event[0].gap);
	fake_skip(0, 2);
	in_hand(1, 1);
	assert_non_null(event[1].gap);
	assert_int_equal(event[1].gap->causes, SPW_GAP_MISSED);
	assert_int_equal(event[1].gap->missed, 2);
	fake_send(0, 53);
	fake_send(0, 53);
	fake.state->class[0].settled = 5;
	fake.state->class[0].rounds++;
	fake_send(1, 53);
	in_hand(2, 1);
	assert_int_equal(event[2].packet->queue, 10);
	assert_int_equal(event[2].gap->causes, SPW_GAP_STALE | SPW_GAP_ROUND);
	assert_int_equal(event[2].gap->stale, 1);
}

static const struct spw_verdict replaced = {.code = SPW_ACCEPT,
					    .set = SPW_VERDICT_PAYLOAD,
					    .payload =
						"\x45\0\0\0\0\0\0\0\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2\0\1\0\2\0\0\0\0xy",
					    .payload_len = 30};

static void a_payload_is_mended_and_waits_for_a_slot(void **unused)
{
	const uint8_t *slot;

	(void)unused;
	in_hand(0, 70);
	for (unsigned i = 1; i <= CHANNEL_PAYLOADS - CHANNEL_CLASSES; i++)
		assert_int_equal(say(i, replaced), 0);
	assert_int_equal(say(60, replaced), -EAGAIN);
	assert_int_equal(say(0, replaced), 0); /* for the oldest there is always one */
	flush();
	assert_int_equal(fake.state->class[0].settled, 57);
	slot = fake.answers->payload[fake.class[0].payload[5]];
	assert_int_equal(slot[3], 30);  /* total length */
	assert_int_equal(slot[25], 10); /* UDP length */
	assert_true(slot[10] || slot[11]);
	assert_true(slot[26] || slot[27]);
	assert_int_equal(say(60, replaced), 0);
}

static void what_can_t_be_carried_out_is_refused(void **unused)
{
	struct spw_counts counts = {.size = sizeof(counts)};
	struct spw_verdict v = replaced;
	uint8_t packet[36];

	(void)unused;
	fake_send_bytes(0, 0x0800, packet, fake_udp(packet, 1), 1000);
	assert_int_equal(spw_lane_next(lane, event, 1, 0), 1);
	assert_int_equal(event[0].packet->length, 1000);
	assert_int_equal(say(0, v), -EMSGSIZE);
	assert_int_equal(say(0, (struct spw_verdict){.code = 2}), -EINVAL);
	assert_int_equal(spw_lane_verdict(lane, event[0].handle, &(struct spw_verdict){.size = 8}), -EINVAL);
	say_code(0, SPW_DROP);
	in_hand(0, 1);
	v.payload_len = 12;
	assert_int_equal(say(0, v), -EBADMSG);
	say_code(0, SPW_DROP);
	assert_int_equal(spw_lane_counts(lane, &counts), 0);
	assert_int_equal(counts.refused, 4);
	flush();
	assert_int_equal(fake_verdict(0, 2), SPW_DROP);
}

static size_t tcp(uint8_t *at, uint8_t flags, int back)
{
	static const uint8_t packet[40] = {0x45, 0, 0, 40, 0, 0, 0, 0,    64,   6, 0,  0,          10,
					   0,    0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0, 80, [32] = 0x50};

	memcpy(at, packet, sizeof(packet));
	at[33] = flags;
	if (back) {
		memcpy(at + 12, packet + 16, 4);
		memcpy(at + 16, packet + 12, 4);
		memcpy(at + 20, packet + 22, 2);
		memcpy(at + 22, packet + 20, 2);
	}
	return sizeof(packet);
}

static int sent_tcp(uint8_t flags, int back)
{
	uint8_t packet[40];
	int n;

	fake_send_bytes(0, 0x0800, packet, tcp(packet, flags, back), sizeof(packet));
	n = spw_lane_next(lane, event, 1, 0);
	flush();
	return n;
}

static void trusted_flows_pass_unseen_until_they_end(void **unused)
{
	(void)unused;
	assert_int_equal(sent_tcp(2, 0), 1);
	assert_int_equal(say(0, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_TRUST}), 0);
	assert_int_equal(sent_tcp(2 | 16, 1), 0);
	assert_int_equal(sent_tcp(16, 0), 0);
	assert_int_equal(fake_verdict(0, 1), SPW_ACCEPT);
	assert_int_equal(fake.class[0].set[1], 0);
	assert_int_equal(fake_verdict(0, 3), SPW_ACCEPT);
	assert_int_equal(fake.class[0].set[3], CHANNEL_TRUSTED);
	assert_int_equal(sent_tcp(1 | 16, 1), 0); /* its FIN is still its own */
	assert_int_equal(sent_tcp(16, 0), 1);
	say_code(0, SPW_ACCEPT);
	assert_int_equal(sent_tcp(16, 0), 1);
	assert_int_equal(say(0, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_TRUST}), 0);
	assert_int_equal(sent_tcp(16, 0), 0);
	assert_int_equal(sent_tcp(2, 0), 1); /* a new connection is none that was trusted */
	say_code(0, SPW_ACCEPT);
	assert_int_equal(sent_tcp(16, 0), 1);
	assert_int_equal(say(0, (struct spw_verdict){.code = SPW_DROP, .set = SPW_VERDICT_TRUST}), 0);
	assert_int_equal(sent_tcp(16, 0), 1);
}

static void a_trusted_packet_waits_for_its_turn(void **unused)
{
	uint8_t packet[40];

	(void)unused;
	assert_int_equal(sent_tcp(16, 0), 1);
	event[9] = event[0];
	assert_int_equal(sent_tcp(16, 0), 1);
	assert_int_equal(say(0, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_TRUST}), 0);
	fake_send_bytes(0, 0x0800, packet, tcp(packet, 16, 0), sizeof(packet));
	assert_int_equal(spw_lane_next(lane, event, 1, 0), 0);
	flush();
	assert_int_equal(fake_verdict(0, 2), SPW_ACCEPT); /* as the user said, ahead of 1 */
	assert_int_equal(fake_verdict(0, 3), -1);
	say_code(9, SPW_ACCEPT);
	flush();
	assert_int_equal(fake_verdict(0, 3), SPW_ACCEPT);
}

/* The mark waits for a packet behind which nothing does; but not for ever. */
static void trust_is_told_by_the_connection_s_mark(void **unused)
{
	struct spw_event two[2];
	uint8_t packet[40];
	uint64_t id;

	(void)unused;
	fake.state->class[0].conntrack = 1;
	fake.state->class[0].trust_mark = 0x100;
	fake.state->class[0].trust_mask = 0x300;
	assert_int_equal(sent_tcp(2, 0), 1);
	assert_int_equal(say(0, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_TRUST}), 0);
	/* Whether more waits behind one that was asked for singly is not known. */
	assert_int_equal(sent_tcp(16, 0), 0);
	assert_int_equal(fake.class[0].set[2], CHANNEL_TRUSTED);
	for (unsigned i = 0; i < 2; i++)
		id = fake_send_bytes(0, 0x0800, packet, tcp(packet, 16, 0), sizeof(packet));
	assert_int_equal(spw_lane_next(lane, event, 8, 0), 0);
	flush();
	assert_int_equal(fake.class[0].set[id - 1], CHANNEL_TRUSTED);
	assert_int_equal(fake.class[0].set[id], CHANNEL_TRUSTED | SPW_VERDICT_CT_MARK);
	assert_int_equal(fake.class[0].conntrack[id].mark, 0x100);
	assert_int_equal(fake.class[0].conntrack[id].mark_mask, 0x300);
	/* Others' packets are not marked. */
	fake_send(0, 53);
	assert_int_equal(spw_lane_next(lane, two, 2, 0), 1);
	assert_int_equal(
	    spw_lane_verdict(lane, two[0].handle,
			     &(struct spw_verdict){.size = sizeof(struct spw_verdict), .code = SPW_ACCEPT}),
	    0);
	flush();
	assert_int_equal(fake.class[0].set[id + 1], 0);
	sleep(3);
	assert_int_equal(sent_tcp(16, 0), 0);
	assert_int_equal(fake.class[0].set[id + 2], CHANNEL_TRUSTED | SPW_VERDICT_CT_MARK);
}

static void connections_are_set_where_the_lane_has_them(void **unused)
{
	struct spw_verdict v = {.code = SPW_DROP,
				.set = SPW_VERDICT_CT_MARK,
				.ct_mark = 5,
				.ct_mark_mask = 15,
				.ct_labels = {1, 2, 3, 4},
				.ct_labels_mask = {5, 6, 7, 8}};

	(void)unused;
	assert_int_equal(sent_tcp(2, 0), 1);
	assert_int_equal(say(0, v), -EOPNOTSUPP);
	fake.state->class[0].conntrack = 1;
	assert_int_equal(say(0, v), 0);
	assert_int_equal(sent_tcp(16, 0), 1);
	v.set = SPW_VERDICT_CT_LABELS;
	assert_int_equal(say(0, v), 0);
	flush();
	assert_int_equal(fake.class[0].set[1], SPW_VERDICT_CT_MARK);
	assert_int_equal(fake.class[0].conntrack[1].mark, 5);
	assert_int_equal(fake.class[0].conntrack[1].labels[0], 0);
	assert_int_equal(fake.class[0].conntrack[2].mark_mask, 0);
	assert_memory_equal(fake.class[0].conntrack[2].labels_mask, v.ct_labels_mask, 16);
}

static void fragments_are_not_trusted(void **unused)
{
	uint8_t packet[36];

	(void)unused;
	for (int i = 0; i < 2; i++) {
		fake_udp(packet, 53);
		packet[6] = 0x20; /* more fragments */
		fake_send_bytes(0, 0x0800, packet, sizeof(packet), sizeof(packet));
		assert_int_equal(spw_lane_next(lane, event, 1, 0), 1);
		assert_int_equal(say(0, (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_TRUST}), 0);
	}
}

static void it_is_told_to_leave(void **unused)
{
	struct pollfd fds[SPW_LANE_POLL_MAX];

	(void)unused;
	in_hand(0, 2);
	fake_send(0, 53);
	assert_int_equal(spw_lane_poll(lane, fds), 4);
	fake.state->active = FAKE_NUMBER + 1;
	assert_int_equal(spw_lane_next(lane, event + 2, 1, -1), -ESHUTDOWN);
	say_code(1, SPW_ACCEPT);
	say_code(0, SPW_ACCEPT);
	assert_int_equal(spw_lane_next(lane, event + 2, 1, -1), -ESHUTDOWN);
	fake_take();
	assert_int_equal(fake.state->class[0].settled, 2);
	assert_int_equal(spw_lane_poll(lane, fds), 2);
}

static void only_the_active_one_silences_the_bell(void **unused)
{
	const uint64_t one = 1;
	uint64_t rings = 0;

	(void)unused;
	fake.state->active = FAKE_NUMBER + 1;
	fake_send(0, 53);
	assert_int_equal(write(fake.wake, &one, sizeof(one)), sizeof(one));
	assert_int_equal(spw_lane_next(lane, event, 1, 5), 0);
	fake.state->active = FAKE_NUMBER;
	assert_int_equal(spw_lane_next(lane, event, 1, 5), 1);
	say_code(0, SPW_ACCEPT);
	assert_int_equal(spw_lane_next(lane, event, 1, 0), 0);
	assert_int_equal(read(fake.wake, &rings, sizeof(rings)), -1);
	assert_int_equal(write(fake.wake, &one, sizeof(one)), sizeof(one));
	fake.state->active = 0;
	assert_int_equal(spw_lane_next(lane, event, 1, 0), -ESHUTDOWN);
	assert_int_equal(read(fake.wake, &rings, sizeof(rings)), sizeof(rings));
}

static void a_ring_that_is_full_waits_for_the_engine(void **unused)
{
	unsigned said = 0;

	(void)unused;
	fake.state->class[0].has_mark = 1;
	while (said < CHANNEL_ANSWERS - 64) {
		in_hand(0, 64);
		for (unsigned i = 0; i < 64; i++, said++)
			say_code(i, SPW_ACCEPT);
		spw_lane_flush(lane);
		fake.state->class[0].settled = said; /* settled, though not one answer was taken */
	}
	in_hand(0, 65);
	for (unsigned i = 0; i < 64; i++)
		say_code(i, SPW_ACCEPT);
	fake.state->active = 0; /* else it would wait */
	assert_int_equal(say(64, (struct spw_verdict){.code = SPW_ACCEPT}), -ESHUTDOWN);
	fake.state->active = FAKE_NUMBER;
	fake.state->class[0].settled = 0;
	fake_take();
}

/* Small enough to be seen through, and the same each time. */
static uint32_t chance(uint32_t below)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x % below;
}

static unsigned held, sent;

static void some_arrive(void)
{
	for (unsigned n = chance(20); n && held < EVENTS - 64; n--) {
		const unsigned class = chance(2);
		unsigned unread = 0;

		for (uint64_t id = fake.class[class].answered + 1; id <= fake.class[class].ids; id++)
			unread += fake.class[class].fate[id % FAKE_IDS] == FATE_SENT;
		if (unread > 1200)
			continue;
		if (!chance(30))
			fake_skip(class, chance(9) ? chance(5) : chance(1500));
		fake_send(class, (uint16_t)chance(4));
		sent++;
	}
}

static void some_are_answered(void)
{
	for (unsigned n = chance(20); n && held; n--) {
		const unsigned i = chance(4) ? chance(held) : 0;
		struct spw_verdict v = chance(9) ? (struct spw_verdict){.code = SPW_ACCEPT} : replaced;

		v.set |= chance(50) ? 0 : SPW_VERDICT_TRUST;
		if (!say(i, v))
			event[i] = event[--held];
	}
}

static void the_engine_moves(void)
{
	const unsigned class = chance(2);
	const struct fake_class *c = &fake.class[class];

	if (chance(3))
		fake_take();
	if (!chance(40) && c->ids > fake.state->class[class].settled)
		fake.state->class[class].settled += chance((uint32_t)(c->ids - fake.state->class[class].settled + 1));
	if (!chance(100))
		fake.state->class[class].rounds++;
}

/* Whatever happens, no rule is broken, and in the end everything read has been answered once. */
static void any_course_of_events(void **unused)
{
	(void)unused;
	start_anew(0xfffff000u, 500);
	held = sent = 0;
	for (unsigned i = 0; i < 4000; i++) {
		int n;

		some_arrive();
		n = spw_lane_next(lane, event + held, EVENTS - held, 0);
		assert_true(n >= 0);
		held += (unsigned)n;
		some_are_answered();
		if (chance(2))
			spw_lane_flush(lane);
		the_engine_moves();
	}
	for (int n = 1; n > 0 || held;) {
		while (held)
			say_code(--held, SPW_ACCEPT);
		flush();
		n = spw_lane_next(lane, event, EVENTS, 0);
		held = (unsigned)n;
	}
	flush();
	assert_true(sent > 10000);
	for (unsigned i = 0; i < 2; i++) {
		for (uint64_t id = fake.class[i].ids - FAKE_IDS + 1; id <= fake.class[i].ids; id++)
			assert_int_not_equal(fake.class[i].fate[id % FAKE_IDS], FATE_SENT);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, before_each, after_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(verdicts_come_in_any_order),
	    CASE(a_handle_serves_once),
	    CASE(packets_stay_readable),
	    CASE(early_ones_are_bounded),
	    CASE(the_window_is_bounded),
	    CASE(the_window_moves_with_what_is_settled),
	    CASE(a_full_window_is_said_so),
	    CASE(behind_one_packet_there_is_room_for_so_many),
	    CASE(what_is_no_packet_is_skipped),
	    CASE(late_verdicts),
	    CASE(gaps_come_with_the_next_packet),
	    CASE(a_payload_is_mended_and_waits_for_a_slot),
	    CASE(what_can_t_be_carried_out_is_refused),
	    CASE(trusted_flows_pass_unseen_until_they_end),
	    CASE(a_trusted_packet_waits_for_its_turn),
	    CASE(trust_is_told_by_the_connection_s_mark),
	    CASE(connections_are_set_where_the_lane_has_them),
	    CASE(fragments_are_not_trusted),
	    CASE(it_is_told_to_leave),
	    CASE(only_the_active_one_silences_the_bell),
	    CASE(a_ring_that_is_full_waits_for_the_engine),
	    CASE(any_course_of_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
