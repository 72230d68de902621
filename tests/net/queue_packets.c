/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Real packets through the library on the real kernel: what is decoded, and what each verdict does. The script has made
 * a bridge with two hosts behind it, and the rules:
 *   mangle OUTPUT, datagrams for 9999: queue 5 (not with mark 77); mangle POSTROUTING, datagrams for 9999: queue 6.
 */
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include "queue.h"

#define FIRST    5
#define SECOND   6
#define DATA     "0123456789abcdef"
#define LOCALOUT 3
#define POSTROUT 4

struct side {
	struct spw_queue *queue;
	struct spw_batch *batch;
};

static struct side first;
static struct side second;
static struct spw_verdicts *list;
static uid_t owner_uid; /* of the sending socket */
static gid_t owner_gid;

static struct side side(uint16_t number, uint32_t flags)
{
	const struct side side = {.queue = bind_queue(number, SPW_COPY_PACKET, 1000, flags),
				  .batch = spw_batch_new(16)};

	TRUE(side.batch);
	TRUE(spw_queue_set_buffer(side.queue, 4 << 20) > 0);
	return side;
}

static void end(struct side *side)
{
	spw_batch_free(side->batch);
	spw_queue_close(side->queue);
}

/* The one packet that waits. */
static const struct spw_packet *one(struct side *side)
{
	EQUAL(spw_batch_receive(side->batch, spw_queue_fd(side->queue), 16), 1);
	EQUAL(spw_batch_skipped(side->batch), 0);
	EQUAL(spw_batch_packet(side->batch, 0)->queue, spw_queue_number(side->queue));
	return spw_batch_packet(side->batch, 0);
}

static void nothing(struct side *side)
{
	EQUAL(spw_batch_receive(side->batch, spw_queue_fd(side->queue), 16), -EAGAIN);
}

static void answer(struct side *side, uint32_t id, struct spw_verdict verdict)
{
	verdict.size = sizeof(verdict);
	EQUAL(spw_verdicts_add(list, spw_queue_number(side->queue), id, &verdict), 0);
	EQUAL(spw_verdicts_send(list, spw_queue_fd(side->queue)), 0);
}

static void accept_one(struct side *side)
{
	answer(side, one(side)->id, (struct spw_verdict){.code = SPW_ACCEPT});
}

static void send_data(int fd)
{
	EQUAL(send(fd, DATA, 16, 0), 16);
}

/* A local datagram over IPv4: owner, mark, devices, hook, payload. */
static void decode_v4(int from)
{
	const uint32_t mark = 0x00c0ffee;
	const struct spw_packet *p;

	EQUAL(setsockopt(from, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	send_data(from);
	p = one(&first);
	EQUAL(p->id, 1);
	EQUAL(p->family, AF_INET);
	EQUAL(p->hw_protocol, 0x0800);
	EQUAL(p->hook, LOCALOUT);
	EQUAL(p->mark, mark);
	EQUAL(p->indev, 0);
	EQUAL(p->outdev, if_nametoindex("lo"));
	EQUAL(p->uid, owner_uid);
	EQUAL(p->gid, owner_gid);
	EQUAL(p->has & (SPW_PACKET_HAS_UID | SPW_PACKET_HAS_GID | SPW_PACKET_HAS_MARK | SPW_PACKET_HAS_PAYLOAD),
	      SPW_PACKET_HAS_UID | SPW_PACKET_HAS_GID | SPW_PACKET_HAS_MARK | SPW_PACKET_HAS_PAYLOAD);
	EQUAL(p->payload_len, 20 + 8 + 16);
	EQUAL(p->length, p->payload_len);
	EQUAL(p->payload[0], 0x45);
	EQUAL(memcmp(p->payload + 28, DATA, 16), 0);
	answer(&first, p->id, (struct spw_verdict){.code = SPW_ACCEPT});
	p = one(&second);
	EQUAL(p->hook, POSTROUT);
	answer(&second, p->id, (struct spw_verdict){.code = SPW_ACCEPT});
	EQUAL(setsockopt(from, SOL_SOCKET, SO_MARK, &(uint32_t){0}, sizeof(mark)), 0);
}

static void decode_v6(void)
{
	const struct sockaddr_in6 addr = {
	    .sin6_family = AF_INET6, .sin6_port = htons(PORT), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	const struct spw_packet *p;

	EQUAL(sendto(fd, DATA, 16, 0, (const struct sockaddr *)&addr, sizeof(addr)), 16);
	p = one(&first);
	EQUAL(p->family, AF_INET6);
	EQUAL(p->hw_protocol, 0x86dd);
	EQUAL(p->payload[0] >> 4, 6);
	EQUAL(p->payload_len, 40 + 8 + 16);
	EQUAL(memcmp(p->payload + 48, DATA, 16), 0);
	answer(&first, p->id, (struct spw_verdict){.code = SPW_DROP});
	close(fd);
}

/* An aggregate of nearly 64 KiB arrives as one packet, cut where the copy range says so. */
static void decode_gso(int from)
{
	static uint8_t data[60 * 1024];
	const int segment = 1024;
	struct spw_queue_config config = {.size = sizeof(config), .length = 1000, .copy_range = 100};
	const struct spw_packet *p;

	memset(data, 0x5a, sizeof(data));
	EQUAL(setsockopt(from, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
	EQUAL(send(from, data, sizeof(data), 0), (long long)sizeof(data));
	p = one(&first);
	EQUAL(p->payload_len, 28 + sizeof(data));
	EQUAL(p->length, p->payload_len);
	TRUE(p->skb_info & SPW_PACKET_GSO);
	EQUAL(memcmp(p->payload + 28, data, sizeof(data)), 0);
	answer(&first, p->id, (struct spw_verdict){.code = SPW_DROP});
	good(first.queue, spw_queue_configure(first.queue, &config));
	EQUAL(send(from, data, sizeof(data), 0), (long long)sizeof(data));
	p = one(&first);
	EQUAL(p->payload_len, 100);
	EQUAL(p->length, 28 + sizeof(data));
	answer(&first, p->id, (struct spw_verdict){.code = SPW_DROP});
	config.copy_range = 0;
	good(first.queue, spw_queue_configure(first.queue, &config));
	EQUAL(setsockopt(from, IPPROTO_UDP, UDP_SEGMENT, &(int){0}, sizeof(int)), 0);
}

static void verdict_mark_and_priority(int from, int to)
{
	const struct spw_packet *p;

	send_data(from);
	answer(&first, one(&first)->id,
	       (struct spw_verdict){.code = SPW_ACCEPT,
				    .set = SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY,
				    .mark = 0xabcdef01,
				    .priority = 0x10005});
	p = one(&second);
	EQUAL(p->mark, 0xabcdef01);
	if (p->has & SPW_PACKET_HAS_PRIORITY)
		EQUAL(p->priority, 0x10005);
	EQUAL(udp_count(to), 0);
	answer(&second, p->id, (struct spw_verdict){.code = SPW_ACCEPT});
	EQUAL(udp_count(to), 1);
}

static void verdict_drop(int from, int to)
{
	send_data(from);
	answer(&first, one(&first)->id, (struct spw_verdict){.code = SPW_DROP});
	nothing(&second);
	EQUAL(udp_count(to), 0);
	EQUAL(stat_of(first.queue).held, 0);
}

/* Round again with a new id, until the rule's mark lets it out. */
static void verdict_repeat(int from, int to)
{
	uint32_t id;

	send_data(from);
	id = one(&first)->id;
	answer(&first, id, (struct spw_verdict){.code = SPW_REPEAT});
	EQUAL(one(&first)->id, id + 1);
	answer(&first, id + 1, (struct spw_verdict){.code = SPW_REPEAT, .set = SPW_VERDICT_MARK, .mark = 77});
	nothing(&first);
	accept_one(&second);
	EQUAL(udp_count(to), 1);
}

/* To another number, held there; to one that nobody has, with and without bypass. */
static void verdict_queue(int from, int to)
{
	const struct spw_packet *p;

	send_data(from);
	answer(&first, one(&first)->id, (struct spw_verdict){.code = SPW_QUEUE, .queue = SECOND});
	EQUAL(stat_of(first.queue).held, 0);
	p = one(&second);
	EQUAL(p->hook, LOCALOUT);
	answer(&second, p->id, (struct spw_verdict){.code = SPW_ACCEPT});
	accept_one(&second);
	EQUAL(udp_count(to), 1);
	send_data(from);
	answer(&first, one(&first)->id, (struct spw_verdict){.code = SPW_QUEUE, .queue = 999});
	nothing(&second);
	send_data(from);
	answer(&first, one(&first)->id,
	       (struct spw_verdict){.code = SPW_QUEUE, .queue = 999, .set = SPW_VERDICT_BYPASS});
	accept_one(&second);
	EQUAL(udp_count(to), 1);
}

/* The datagram *p with `more` bytes instead of its own; the UDP checksum left out, as IPv4 allows. */
static void change(uint8_t *data, const struct spw_packet *p, const void *more, size_t bytes)
{
	uint16_t total = htons((uint16_t)(28 + bytes));
	uint16_t udp = htons((uint16_t)(8 + bytes));
	uint32_t sum = 0;

	memcpy(data, p->payload, 28);
	memcpy(data + 28, more, bytes);
	memcpy(data + 2, &total, 2);
	memset(data + 10, 0, 2);
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)(data[i] << 8 | data[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	data[10] = (uint8_t)(~sum >> 8);
	data[11] = (uint8_t)~sum;
	memcpy(data + 24, &udp, 2);
	memset(data + 26, 0, 2);
}

/* Longer than it was. */
static void verdict_payload(int from, int to)
{
	const struct spw_packet *p;
	uint8_t data[64];
	char got[64];

	send_data(from);
	p = one(&first);
	change(data, p, "changed by a verdict", 20);
	answer(
	    &first, p->id,
	    (struct spw_verdict){.code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = data, .payload_len = 48});
	accept_one(&second);
	EQUAL(recv(to, got, sizeof(got), MSG_DONTWAIT), 20);
	EQUAL(memcmp(got, "changed by a verdict", 20), 0);
}

/* More than the kernel takes at once where the send buffer is what any user may have: one by one, and twice is once. */
static void payloads_beyond_the_send_buffer(int from, int to)
{
	static _Alignas(4) uint8_t memory[8 * 60128];
	static uint8_t data[60028], more[60000];
	struct spw_verdict v = {.size = sizeof(v), .code = SPW_ACCEPT, .set = SPW_VERDICT_PAYLOAD, .payload = data};
	struct spw_verdicts *large = spw_verdicts_new(0);
	const int fd = spw_queue_fd(first.queue), bytes = 212992;

	spw_verdicts_place(large, memory, sizeof(memory));
	EQUAL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
	for (unsigned i = 0; i < 8; i++) {
		const struct spw_packet *p;

		send_data(from);
		p = one(&first);
		change(data, p, more, sizeof(more));
		v.payload_len = sizeof(data);
		EQUAL(spw_verdicts_add(large, FIRST, p->id, &v), 0);
	}
	EQUAL(spw_verdicts_send(large, fd), -EMSGSIZE);
	EQUAL(stat_of(first.queue).held, 8);
	EQUAL(spw_verdicts_resend(fd, memory, spw_verdicts_bytes(large)), 0);
	EQUAL(stat_of(first.queue).held, 0);
	EQUAL(stat_of(second.queue).held, 8);
	EQUAL(spw_verdicts_resend(fd, memory, spw_verdicts_bytes(large)), 0);
	EQUAL(stat_of(second.queue).held, 8);
	settle(first.queue, SPW_ACCEPT);
	settle(second.queue, SPW_ACCEPT);
	EQUAL(udp_count(to), 8);
	spw_verdicts_free(large);
}

/* High bits would make it STOP, and no later hook would see it. */
static void verdict_masked(int from, int to)
{
	send_data(from);
	answer(&first, one(&first)->id, (struct spw_verdict){.code = SPW_ACCEPT | 0x10000});
	accept_one(&second);
	EQUAL(udp_count(to), 1);
}

/* Many in one sendmsg(), an id that nobody holds among them: the rest is carried out, the error is skipped. */
static void many_and_unknown(int from, int to)
{
	const struct spw_verdict accept = {.size = sizeof(accept), .code = SPW_ACCEPT};

	for (unsigned i = 0; i < 10; i++)
		send_data(from);
	EQUAL(spw_batch_receive(first.batch, spw_queue_fd(first.queue), 4), 4);
	EQUAL(spw_batch_receive(first.batch, spw_queue_fd(first.queue), 1000), 6);
	EQUAL(spw_verdicts_add(list, FIRST, 1u << 31, &accept), 0);
	for (unsigned i = 0; i < 6; i++)
		EQUAL(spw_verdicts_add(list, FIRST, spw_batch_packet(first.batch, i)->id, &accept), 0);
	EQUAL(spw_verdicts_count(list), 7);
	EQUAL(spw_verdicts_send(list, spw_queue_fd(first.queue)), 0);
	EQUAL(stat_of(first.queue).held, 4);
	EQUAL(spw_batch_receive(first.batch, spw_queue_fd(first.queue), 16), 0);
	EQUAL(spw_batch_skipped(first.batch), 1);
	settle(first.queue, SPW_DROP);
	settle(second.queue, SPW_ACCEPT);
	EQUAL(udp_count(to), 6);
}

/* Without the capability nothing happens; the refusal is a message that readers skip. */
static void unprivileged_verdict(int from, int to)
{
	pid_t child;
	uint32_t id;
	int status;

	send_data(from);
	id = one(&first)->id;
	child = fork();
	TRUE(child >= 0);
	if (child == 0) {
		EQUAL(setresuid(65534, 65534, 65534), 0);
		answer(&first, id, (struct spw_verdict){.code = SPW_ACCEPT});
		exit(0);
	}
	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(status, 0);
	EQUAL(stat_of(first.queue).held, 1);
	EQUAL(spw_batch_receive(first.batch, spw_queue_fd(first.queue), 16), 0);
	EQUAL(spw_batch_skipped(first.batch), 1);
	settle(first.queue, SPW_DROP);
	EQUAL(udp_count(to), 0);
}

/* Bridged from one host to the other, seen by iptables: ports beside the bridge, and the sender's address. */
static void bridged(void)
{
	struct side forward = side(7, 0);
	const struct spw_packet *p;
	uint8_t want[6];

	shell("nsenter -n -t \"$HOST_A\" bash -c 'echo hello > /dev/udp/198.51.100.2/9998'");
	EQUAL(sscanf(getenv("MAC_A"), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", want, want + 1, want + 2, want + 3, want + 4,
		     want + 5),
	      6);
	p = one(&forward);
	EQUAL(p->indev, if_nametoindex("br0"));
	EQUAL(p->outdev, if_nametoindex("br0"));
	EQUAL(p->physindev, if_nametoindex("port-a"));
	EQUAL(p->physoutdev, if_nametoindex("port-b"));
	EQUAL(p->hook, 2);
	EQUAL(p->hwaddr_len, 6);
	EQUAL(memcmp(p->hwaddr, want, 6), 0);
	EQUAL(p->payload_len, 20 + 8 + 6);
	answer(&forward, p->id, (struct spw_verdict){.code = SPW_ACCEPT});
	end(&forward);
}

/* Somebody else's socket, where there is somebody else. */
static int owned_socket(void)
{
	int fd;

	/* The kernel tells the owner as the machine's own users know it. */
	if (!real_root()) {
		EQUAL(sscanf(getenv("USER_NAMESPACE"), "%u:%u", &owner_uid, &owner_gid), 2);
		return udp_socket(0);
	}
	owner_uid = 4242;
	owner_gid = 4243;
	EQUAL(setegid(owner_gid), 0);
	EQUAL(seteuid(owner_uid), 0);
	fd = udp_socket(0);
	EQUAL(seteuid(0), 0);
	EQUAL(setegid(0), 0);
	return fd;
}

int main(void)
{
	const int to = udp_socket(1);
	const int from = owned_socket();

	first = side(FIRST, SPW_GSO | SPW_UID_GID);
	second = side(SECOND, SPW_GSO);
	list = spw_verdicts_new(0);
	nothing(&first);
	decode_v4(from);
	EQUAL(udp_count(to), 1);
	decode_v6();
	decode_gso(from);
	verdict_mark_and_priority(from, to);
	verdict_drop(from, to);
	verdict_repeat(from, to);
	verdict_queue(from, to);
	verdict_payload(from, to);
	payloads_beyond_the_send_buffer(from, to);
	verdict_masked(from, to);
	many_and_unknown(from, to);
	if (real_root())
		unprivileged_verdict(from, to);
	if (getenv("MAC_A"))
		bridged();
	spw_verdicts_free(list);
	end(&first);
	end(&second);
	return 0;
}
