/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What came to a host that passes packets on, and what left it, packet by packet: is the order kept within each flow,
 * and what of it is missing? Changes nothing, sends nothing.
 *
 *     wire SECONDS    prints "ready"; after SIGTERM, or so many seconds, what it saw, as JSON
 *
 * Looks at TCP and UDP over IPv4 on all devices but the loopback: what is for this host's address on the wire has come
 * (`before`), what it sends has left (`behind`). Packets are the same where all is the same that passing on leaves as
 * it was: everything but time to live and header checksum. Two that are the same (the network doubles some) are told
 * apart by nobody: they are paired so that the order is kept, where any pairing keeps it.
 */
#include "tool.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ETHERTYPE_ALL 3
#define ETHERTYPE_IP  0x0800
#define BUFFER        (64 << 20)
#define MOST          (1u << 20) /* packets kept, of each side */
#define IP_HEADER     20u
#define TTL           8u
#define PROTOCOL      9u
#define CHECKSUM      10u
#define ADDRESSES     12u

struct packet {
	uint64_t flow, digest;
	uint32_t index;
	/* In the first one of those that are the same: how many there are, are taken, and may be left out. */
	uint32_t same, taken, spare;
};

struct side {
	struct packet *packets;
	uint32_t count, left_out;
};

struct wire {
	struct side before, behind;
	uint32_t damaged; /* came with a wrong TCP or UDP checksum */
	uint32_t twice, missing, strange, reordered;
};

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

static int open_wire(void)
{
	struct timeval idle = {.tv_usec = 50000};
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETHERTYPE_ALL)), bytes = BUFFER;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)))
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return fd;
}

static uint64_t mixed(uint64_t sum, const uint8_t *p, size_t size)
{
	while (size--)
		sum = (sum ^ *p++) * 1099511628211u;
	return sum;
}

/* The Internet's checksum goes on over these bytes. */
static uint32_t summed(uint32_t sum, const uint8_t *p, size_t size)
{
	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	return size & 1 ? sum + (uint32_t)(p[size - 1] << 8) : sum;
}

static bool adds_up(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

/* A whole TCP or UDP packet with a sound header. `size`: what was captured; becomes its length. */
static bool whole(const uint8_t *ip, size_t *size)
{
	size_t header, length;

	if (*size < IP_HEADER || ip[0] >> 4 != 4)
		return false;
	header = (size_t)(ip[0] & 15) * 4;
	length = (size_t)(ip[2] << 8 | ip[3]);
	if (header < IP_HEADER || length < header + 8 || length > *size || !adds_up(summed(0, ip, header)))
		return false;
	*size = length;
	return ip[PROTOCOL] == IPPROTO_TCP || ip[PROTOCOL] == IPPROTO_UDP;
}

/* Its own checksum is wrong: the receiver won't take it, but nobody on the way looks. */
static bool is_damaged(const uint8_t *ip, size_t size)
{
	const size_t header = (size_t)(ip[0] & 15) * 4;
	const uint32_t pseudo = summed(ip[PROTOCOL] + (uint32_t)(size - header), ip + ADDRESSES, 8);

	return !adds_up(summed(pseudo, ip + header, size - header));
}

static void keep(struct side *s, uint8_t *ip, size_t size)
{
	const size_t header = (size_t)(ip[0] & 15) * 4;
	struct packet *p = &s->packets[s->count];

	if (s->count == MOST) {
		s->left_out++;
		return;
	}
	p->flow = mixed(mixed(14695981039346656037u, ip + ADDRESSES, 8), ip + header, 4) ^ ip[PROTOCOL];
	ip[TTL] = ip[CHECKSUM] = ip[CHECKSUM + 1] = 0;
	p->digest = mixed(14695981039346656037u, ip, size);
	p->index = s->count++;
}

static void take(struct wire *w, uint8_t *ip, size_t size, const struct sockaddr_ll *from)
{
	if (from->sll_hatype == ARPHRD_LOOPBACK || ntohs(from->sll_protocol) != ETHERTYPE_IP || !whole(ip, &size))
		return;
	if (from->sll_pkttype == PACKET_HOST) {
		w->damaged += is_damaged(ip, size);
		keep(&w->before, ip, size);
	} else if (from->sll_pkttype == PACKET_OUTGOING) {
		keep(&w->behind, ip, size);
	}
}

/* Until it is told to stop, and then until nothing more is there. */
static void watch(struct wire *w, int fd, uint64_t end)
{
	static uint8_t data[65536];

	while (now_ns() < end) {
		struct sockaddr_ll from = {0};
		socklen_t len = sizeof(from);
		ssize_t size = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);

		if (size >= 0)
			take(w, data, (size_t)size, &from);
		else if (told_to_stop && errno != EINTR)
			break;
	}
}

static int by_flow_and_digest(const void *a, const void *b)
{
	const struct packet *x = a, *y = b;

	if (x->flow != y->flow)
		return x->flow < y->flow ? -1 : 1;
	if (x->digest != y->digest)
		return x->digest < y->digest ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static int by_flow(const void *a, const void *b)
{
	const struct packet *x = a, *y = b;

	if (x->flow != y->flow)
		return x->flow < y->flow ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static bool are_same(const struct packet *x, const struct packet *y)
{
	return x->flow == y->flow && x->digest == y->digest;
}

/* Notes in the first of each group of packets that are the same how many they are. */
static void group(struct side *s)
{
	qsort(s->packets, s->count, sizeof(*s->packets), by_flow_and_digest);
	for (uint32_t first = 0, i = 0; i < s->count; i++) {
		if (!are_same(&s->packets[first], &s->packets[i]))
			first = i;
		s->packets[first].same++;
	}
}

static struct packet *find(const struct side *s, const struct packet *p)
{
	uint32_t low = 0, high = s->count;

	while (low < high) {
		const uint32_t middle = (low + high) / 2;
		const struct packet *m = &s->packets[middle];

		if (m->flow < p->flow || (m->flow == p->flow && m->digest < p->digest))
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->count && are_same(&s->packets[low], p) ? &s->packets[low] : NULL;
}

/* Both sides are grouped: what is missing of each group, and what left that never came. */
static void count_groups(struct wire *w)
{
	for (uint32_t i = 0; i < w->before.count; i += w->before.packets[i].same) {
		struct packet *came = &w->before.packets[i];
		const struct packet *left = find(&w->behind, came);
		const uint32_t gone = left ? left->same : 0;

		came->spare = came->same > gone ? came->same - gone : 0;
		w->missing += came->spare;
		w->twice += came->same - 1;
	}
}

/* The one that came as this one that left: of those that are the same the next, or a later one, where that keeps the
 * order and enough of them remain. NULL: none came. */
static const struct packet *origin(struct packet *came, int64_t last)
{
	if (!came || came->taken == came->same)
		return NULL;
	while (came->spare && came[came->taken].index < last) {
		came->spare--;
		came->taken++;
	}
	return &came[came->taken++];
}

/* Goes through what left, flow by flow, in order. */
static void compare(struct wire *w)
{
	struct side *behind = &w->behind;
	int64_t last = -1;

	group(&w->before);
	group(behind);
	count_groups(w);
	qsort(behind->packets, behind->count, sizeof(*behind->packets), by_flow);
	for (uint32_t i = 0; i < behind->count; i++) {
		const struct packet *p = &behind->packets[i], *from;

		if (i && p->flow != behind->packets[i - 1].flow)
			last = -1;
		from = origin(find(&w->before, p), last);
		w->strange += !from;
		if (!from)
			continue;
		w->reordered += from->index < last;
		last = from->index > last ? from->index : last;
	}
}

static uint32_t dropped(int fd)
{
	struct tpacket_stats stats = {0};
	socklen_t len = sizeof(stats);

	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) ? 0 : stats.tp_drops;
}

int main(int argc, char **argv)
{
	static struct wire w;
	int fd;

	if (argc != 2)
		return 2;
	stop_in_order(on_stop);
	w.before.packets = need(MOST, sizeof(struct packet));
	w.behind.packets = need(MOST, sizeof(struct packet));
	fd = open_wire();
	if (fd < 0) {
		perror("wire: packet socket");
		return 1;
	}
	say_ready();
	watch(&w, fd, now_ns() + number(argv[1]) * NS);
	stop_no_more();
	compare(&w);
	printf(
	    "{\"before\":%u,\"behind\":%u,\"missing\":%u,\"strange\":%u,\"reordered\":%u,\"twice\":%u,\"damaged\":%u,"
	    "\"unseen\":%u}\n",
	    w.before.count, w.behind.count, w.missing, w.strange, w.reordered, w.twice, w.damaged,
	    dropped(fd) + w.before.left_out + w.behind.left_out);
	return 0;
}
