/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Datagrams of many flows at a fixed rate, and what became of each: lost, twice, overtaken within its flow, damaged;
 * when nothing came, and for how long. Sender and receiver share a clock (one machine).
 *
 *     flows send ADDRESS PORT FLOWS COUNT PER_SECOND BYTES    prints {"sent":N,"refused":N,"longest_pause_us":N}
 *     flows receive PORT FLOWS COUNT SECONDS SILENCE_US       prints "ready", then what came, as JSON
 *
 * A flow is a source port. SIGTERM: the sender stops sending and tells; the receiver waits until nothing has come for
 * 0.7 s, and tells.
 */
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_NS  500000u /* a paced sender sends what is due this often */
#define LEAST    48u     /* bytes of a datagram */
#define MOST     65000u
#define BATCH    64u
#define FLOWS    4096u
#define SILENCES 65536u /* that are kept */
#define HOLES    32u    /* runs of missing datagrams that are told */
#define BUFFER   (64 << 20)

struct datagram {
	uint64_t sum; /* of everything behind it */
	uint64_t serial, sent_ns;
	uint32_t flow, number; /* number: within the flow */
	uint8_t rest[MOST - 32];
};

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

/* FNV-1a over words; what is left over at the end is bytes. */
static uint64_t sum_of(const struct datagram *d, size_t size)
{
	const uint8_t *p = (const uint8_t *)d + sizeof(d->sum);
	uint64_t sum = 14695981039346656037u;

	for (size -= sizeof(d->sum); size >= 8; size -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, 8);
		sum = (sum ^ word) * 1099511628211u;
	}
	while (size--)
		sum = (sum ^ *p++) * 1099511628211u;
	return sum;
}

static int open_flow(const char *address, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port))};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = 4 << 20;

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return fd;
}

static bool open_flows(const char *address, const char *port, uint32_t flows, int *fds)
{
	for (uint32_t i = 0; i < flows; i++) {
		fds[i] = open_flow(address, port);
		if (fds[i] < 0) {
			perror("flows: socket");
			return false;
		}
	}
	return true;
}

/* False: the kernel did not take it. A socket's refused port is told by the next send: then again. */
static bool send_one(int fd, struct datagram *d, size_t size)
{
	d->sent_ns = now_ns();
	d->sum = sum_of(d, size);
	for (int i = 0; i < 3; i++) {
		if (send(fd, d, size, 0) == (ssize_t)size)
			return true;
		if (errno != ECONNREFUSED && errno != EINTR)
			break;
	}
	return false;
}

static int run_sender(char **argv)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	uint32_t flows = (uint32_t)number(argv[4]);
	uint64_t count = number(argv[5]), rate = number(argv[6]), start, last, pause = 0, refused = 0;
	size_t size = number(argv[7]) < LEAST ? LEAST : number(argv[7]);
	static struct datagram d;
	static int fds[FLOWS];

	if (!flows || flows > FLOWS || size > MOST || !open_flows(argv[2], argv[3], flows, fds))
		return 1;
	start = last = now_ns();
	while (d.serial < count && !told_to_stop) {
		uint64_t now = now_ns(), due = rate ? (now - start) * rate / NS : count;

		pause = now - last > pause ? now - last : pause;
		last = now;
		for (; d.serial < due && d.serial < count && !told_to_stop; d.serial++) {
			d.flow = (uint32_t)(d.serial % flows);
			d.number = (uint32_t)(d.serial / flows);
			refused += !send_one(fds[d.flow], &d, size);
		}
		if (rate)
			nanosleep(&tick, NULL);
	}
	stop_no_more();
	printf("{\"sent\":%llu,\"refused\":%llu,\"longest_pause_us\":%llu}\n", (unsigned long long)d.serial,
	       (unsigned long long)refused, (unsigned long long)pause / 1000);
	return 0;
}

struct silence {
	uint64_t begin_ns;
	uint32_t us, sender_us; /* how long nothing came; how long the sender sent nothing meanwhile */
};

struct receiver {
	uint64_t count, silence_ns; /* datagrams expected, least silence that is kept */
	uint32_t flows;
	uint8_t *seen;     /* a bit for each serial */
	uint32_t *highest; /* of each flow, number + 1 */
	uint32_t *late;    /* microseconds, of each received */
	struct silence *silences;
	uint64_t received, twice, reordered, overtaken, damaged, top, silent, last_ns, last_sent_ns;
};

static int open_receiver(const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port))};
	struct timeval idle = {.tv_usec = 50000};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = BUFFER;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return fd;
}

static bool sound(const struct receiver *r, const struct datagram *d, size_t size)
{
	return size >= LEAST && d->sum == sum_of(d, size) && d->serial < r->count && d->flow < r->flows;
}

static void note_silence(struct receiver *r, const struct datagram *d, uint64_t now)
{
	uint64_t quiet = r->last_ns ? now - r->last_ns : 0;

	if (quiet >= r->silence_ns && r->silent < SILENCES)
		r->silences[r->silent++] = (struct silence){
		    .begin_ns = r->last_ns,
		    .us = (uint32_t)(quiet / 1000),
		    .sender_us = d->sent_ns > r->last_sent_ns ? (uint32_t)((d->sent_ns - r->last_sent_ns) / 1000) : 0,
		};
	r->last_ns = now;
	r->last_sent_ns = d->sent_ns;
}

static void take(struct receiver *r, const struct datagram *d, size_t size, uint64_t now)
{
	uint8_t bit;

	if (!sound(r, d, size)) {
		r->damaged++;
		return;
	}
	note_silence(r, d, now);
	bit = (uint8_t)(1u << (d->serial & 7));
	if (r->seen[d->serial / 8] & bit) {
		r->twice++;
		return;
	}
	r->seen[d->serial / 8] |= bit;
	r->reordered += d->number + 1 < r->highest[d->flow];
	r->highest[d->flow] = d->number + 1 > r->highest[d->flow] ? d->number + 1 : r->highest[d->flow];
	r->overtaken += d->serial + 1 < r->top;
	r->top = d->serial + 1 > r->top ? d->serial + 1 : r->top;
	r->late[r->received++] = (uint32_t)((now - d->sent_ns) / 1000);
}

static void receive_all(struct receiver *r, int fd, uint64_t end)
{
	static struct datagram d[BATCH];
	struct mmsghdr m[BATCH];
	struct iovec v[BATCH];

	for (unsigned i = 0; i < BATCH; i++) {
		v[i] = (struct iovec){&d[i], sizeof(d[i])};
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &v[i], .msg_iovlen = 1}};
	}
	while (r->received < r->count && now_ns() < end) {
		int n = recvmmsg(fd, m, BATCH, MSG_WAITFORONE, NULL);
		uint64_t now = now_ns();

		for (int i = 0; i < n; i++)
			take(r, &d[i], m[i].msg_len, now);
		if (n <= 0 && told_to_stop && now - r->last_ns > idle_ns())
			break;
	}
}

/* What arrived here and did not fit: lost by the receiver, not on the way. */
static uint32_t own_drops(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) ? 0 : info[SK_MEMINFO_DROPS];
}

static bool has(const struct receiver *r, uint64_t serial)
{
	return r->seen[serial / 8] >> (serial & 7) & 1;
}

/* Runs of datagrams that never came, of those before the last that did. */
static void tell_holes(const struct receiver *r)
{
	unsigned told = 0;

	printf("\"holes\":[");
	for (uint64_t i = 0, begin; i < r->top && told < HOLES; i++) {
		if (has(r, i))
			continue;
		for (begin = i; i < r->top && !has(r, i); i++)
			;
		printf("%s[%llu,%llu]", told++ ? "," : "", (unsigned long long)begin, (unsigned long long)(i - begin));
	}
	printf("],");
}

static void tell(struct receiver *r, int fd)
{
	qsort(r->late, r->received, sizeof(*r->late), ascending);
	printf("{\"received\":%llu,\"twice\":%llu,\"reordered\":%llu,\"overtaken\":%llu,\"damaged\":%llu,",
	       (unsigned long long)r->received, (unsigned long long)r->twice, (unsigned long long)r->reordered,
	       (unsigned long long)r->overtaken, (unsigned long long)r->damaged);
	if (r->received)
		printf("\"median_us\":%u,\"p99_us\":%u,\"max_us\":%u,", r->late[r->received / 2],
		       r->late[r->received * 99 / 100], r->late[r->received - 1]);
	tell_holes(r);
	printf("\"own_drops\":%u,", own_drops(fd));
	printf("\"silences\":[");
	for (uint64_t i = 0; i < r->silent; i++)
		printf("%s[%llu,%u,%u]", i ? "," : "", (unsigned long long)r->silences[i].begin_ns, r->silences[i].us,
		       r->silences[i].sender_us);
	puts("]}");
}

static int run_receiver(char **argv)
{
	static struct receiver r;
	uint64_t end = now_ns() + number(argv[5]) * NS;
	int fd = open_receiver(argv[2]);

	if (fd < 0) {
		perror("flows: receive");
		return 1;
	}
	r.count = number(argv[4]);
	r.flows = (uint32_t)number(argv[3]);
	r.silence_ns = number(argv[6]) * 1000;
	r.seen = need(r.count / 8 + 1, 1);
	r.highest = need(r.flows + 1, sizeof(*r.highest));
	r.late = need(r.count + 1, sizeof(*r.late));
	r.silences = need(SILENCES, sizeof(*r.silences));
	say_ready();
	receive_all(&r, fd, end);
	stop_no_more();
	tell(&r, fd);
	return 0;
}

int main(int argc, char **argv)
{
	allow_descriptors();
	stop_in_order(on_stop);
	if (argc == 8 && !strcmp(argv[1], "send"))
		return run_sender(argv);
	if (argc == 7 && !strcmp(argv[1], "receive"))
		return run_receiver(argv);
	return 2;
}
