/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Very many flows of datagrams at once, whose sizes have a heavy tail, and what became of each flow: how many packets
 * came, in which order, and how many from its first one on without a gap were inspected, which their mark tells.
 *
 *     pareto send ADDRESS PORT PER_SECOND WARM SECONDS AFTER SEED BYTES     prints JSON
 *     pareto receive PORT FLOWS SECONDS FILE      prints "ready", then JSON; a row for each flow is in FILE
 *
 * PER_SECOND flows begin by Poisson, as they do during WARM + SECONDS + AFTER seconds; `first` and `last` are those
 * that begin in SECONDS. A flow is an address and a port. Its packets: bounded Pareto, alpha 1.2, 1 to 10,000. Half of
 * the flows send 20 to 200 packets a second, half 500 to 5,000, at random moments; none is longer than about four
 * seconds, so that a large one is faster.
 *
 * SIGTERM: the sender stops and tells; the receiver waits until nothing has come for 0.7 s, and tells.
 */
#include "chance.h"
#include "raw.h"

#include <linux/sock_diag.h>

#define NETWORK   0xc6120000u /* 198.18.0.0 */
#define LONGEST   4.0         /* seconds */
#define TICK_NS   200000u
#define MAGIC     0x70617265746f2121u
#define BUFFER    (64 << 20)
#define ROOM      2048u
#define CONTROL   64u
#define OPEN      1u
#define REORDERED 2u
#define HAS_MARK  75 /* SO_RCVMARK, which older headers lack; Linux 5.19 */

/* What each packet carries. */
struct content {
	uint64_t magic;
	uint32_t flow, number, size;
};

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

/* A flow that has packets left. */
struct flow {
	uint64_t due_ns;
	double gap_ns; /* mean, between two packets */
	uint32_t serial, number, size;
};

struct sender {
	struct raw_sender raw;
	struct chance chance;
	struct flow *heap; /* the earliest first */
	uint32_t active, room, begun;
	double per_second;
};

static double draw_rate(struct sender *s, uint32_t size)
{
	const double least = uniform(&s->chance) < 0.5 ? 20 : 500, rate = least * pow(10, uniform(&s->chance));

	return size / LONGEST > rate ? size / LONGEST : rate;
}

static void push(struct sender *s, struct flow f)
{
	uint32_t i = s->active++;

	for (; i && s->heap[(i - 1) / 2].due_ns > f.due_ns; i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = f;
}

static struct flow pop(struct sender *s)
{
	const struct flow top = s->heap[0], last = s->heap[--s->active];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < s->active) {
		if (child + 1 < s->active && s->heap[child + 1].due_ns < s->heap[child].due_ns)
			child++;
		if (s->heap[child].due_ns >= last.due_ns)
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return top;
}

static void begin_flow(struct sender *s, uint64_t at)
{
	struct flow f = {.due_ns = at, .serial = s->begun++};

	f.size = pareto(&s->chance);
	f.gap_ns = NS / draw_rate(s, f.size);
	if (s->active < s->room)
		push(s, f);
}

/* The next packet of the flow whose turn it is. */
static void send_next(struct sender *s)
{
	struct flow f = pop(s);
	const struct content c = {MAGIC, f.serial, f.number++, f.size};

	memcpy(raw_next(&s->raw, f.serial), &c, sizeof(c));
	f.due_ns += (uint64_t)exponential(&s->chance, f.gap_ns);
	if (f.number < f.size)
		push(s, f);
}

/* Everything that is due; new flows until `end`. Returns when the next flow begins. */
static uint64_t send_due(struct sender *s, uint64_t now, uint64_t next, uint64_t end)
{
	while (!told_to_stop) {
		if (next <= now && next < end && (!s->active || next <= s->heap[0].due_ns)) {
			begin_flow(s, next);
			next += (uint64_t)exponential(&s->chance, NS / s->per_second);
		} else if (s->active && s->heap[0].due_ns <= now) {
			send_next(s);
		} else {
			break;
		}
	}
	raw_flush(&s->raw);
	return next;
}

static int run_sender(char **argv)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	const uint64_t warm = number(argv[5]) * NS, window = number(argv[6]) * NS, after = number(argv[7]) * NS;
	static struct sender s;
	uint64_t start, now, last, next, pause = 0;
	uint32_t first_flow = 0, last_flow = 0;

	s.chance = chance_from(number(argv[8]));
	s.per_second = (double)number(argv[4]);
	s.room = (uint32_t)(s.per_second * (LONGEST + 2)) + 1;
	s.heap = need(s.room, sizeof(*s.heap));
	if (number(argv[9]) < sizeof(struct content) || s.per_second < 1 ||
	    !raw_open(&s.raw, argv[2], argv[3], NETWORK, number(argv[9]))) {
		perror("pareto: send");
		return 1;
	}
	start = next = last = now_ns();
	while (!told_to_stop && (now = now_ns()) < start + warm + window + after) {
		pause = now - last > pause ? now - last : pause;
		last = now;
		next = send_due(&s, now, next, start + warm + window + after);
		if (now < start + warm)
			first_flow = s.begun;
		if (now < start + warm + window)
			last_flow = s.begun;
		nanosleep(&tick, NULL);
	}
	stop_no_more();
	printf("{\"flows\":%u,\"first\":%u,\"last\":%u,\"sent\":%llu,\"refused\":%llu,\"longest_pause_us\":%llu}\n",
	       s.begun, first_flow, last_flow, (unsigned long long)s.raw.sent, (unsigned long long)s.raw.refused,
	       (unsigned long long)pause / 1000);
	return 0;
}

/* A flow at the receiver, and in FILE. */
struct row {
	uint32_t size;      /* packets that it will have */
	uint32_t received;  /* that came */
	uint32_t inspected; /* of these */
	uint32_t prefix;    /* of these, from the first one on without a gap */
	uint32_t next;      /* highest number + 1 */
	uint32_t open;      /* OPEN: the prefix has ended; REORDERED: one came after a later one */
};

struct receiver {
	int fd;
	struct row *rows;
	uint32_t flows;
	uint64_t received, bytes, inspected, reordered, reordered_flows, strange, first_ns, last_ns;
};

/* Whether an inspector has seen it. */
static bool marked(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		uint32_t mark;

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_MARK) {
			memcpy(&mark, CMSG_DATA(c), sizeof(mark));
			return mark & 1;
		}
	}
	return false;
}

static void take(struct receiver *r, const struct content *c, size_t size, bool inspected, uint64_t now)
{
	struct row *row;

	if (size < sizeof(*c) || c->magic != MAGIC || c->flow >= r->flows) {
		r->strange++;
		return;
	}
	row = &r->rows[c->flow];
	row->size = c->size;
	row->received++;
	row->inspected += inspected;
	/* A gap, or one that was not inspected, ends what a reader of streams can read. */
	if (!inspected || c->number != row->prefix)
		row->open |= OPEN;
	row->prefix += !(row->open & OPEN);
	if (c->number < row->next) {
		r->reordered++;
		r->reordered_flows += !(row->open & REORDERED);
		row->open |= REORDERED;
	}
	row->next = c->number + 1 > row->next ? c->number + 1 : row->next;
	r->received++;
	r->bytes += size;
	r->inspected += inspected;
	r->first_ns = r->first_ns ? r->first_ns : now;
	r->last_ns = now;
}

static bool open_receiver(struct receiver *r, const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port))};
	struct timeval idle = {.tv_usec = 50000};
	int bytes = BUFFER, yes = 1;

	r->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (r->fd < 0 || setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) ||
	    setsockopt(r->fd, SOL_SOCKET, HAS_MARK, &yes, sizeof(yes)))
		return false;
	if (setsockopt(r->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return bind(r->fd, (struct sockaddr *)&at, sizeof(at)) == 0;
}

static void receive_all(struct receiver *r, uint64_t end)
{
	static uint8_t data[RAW_BATCH][ROOM] __attribute__((aligned(8)));
	static uint8_t control[RAW_BATCH][CONTROL] __attribute__((aligned(8)));
	struct iovec v[RAW_BATCH];
	struct mmsghdr m[RAW_BATCH];

	while (now_ns() < end) {
		uint64_t now;
		int n;

		for (unsigned i = 0; i < RAW_BATCH; i++) {
			v[i] = (struct iovec){data[i], ROOM};
			m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &v[i],
							    .msg_iovlen = 1,
							    .msg_control = control[i],
							    .msg_controllen = CONTROL}};
		}
		n = recvmmsg(r->fd, m, RAW_BATCH, MSG_WAITFORONE, NULL);
		now = now_ns();
		for (int i = 0; i < n; i++)
			take(r, (const struct content *)data[i], m[i].msg_len, marked(&m[i].msg_hdr), now);
		if (n <= 0 && told_to_stop && now - r->last_ns > idle_ns())
			break;
	}
}

static bool write_rows(const struct receiver *r, const char *path)
{
	FILE *f = fopen(path, "we");
	bool done = f && fwrite(r->rows, sizeof(*r->rows), r->flows, f) == r->flows;

	return f && fclose(f) == 0 && done;
}

static int run_receiver(char **argv)
{
	static struct receiver r;
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	r.flows = (uint32_t)number(argv[3]);
	r.rows = need(r.flows + 1, sizeof(*r.rows));
	if (!open_receiver(&r, argv[2])) {
		perror("pareto: receive");
		return 1;
	}
	say_ready();
	receive_all(&r, now_ns() + number(argv[4]) * NS);
	stop_no_more();
	(void)getsockopt(r.fd, SOL_SOCKET, SO_MEMINFO, info, &len);
	if (!write_rows(&r, argv[5])) {
		perror("pareto: file");
		return 1;
	}
	printf("{\"received\":%llu,\"bytes\":%llu,\"inspected\":%llu,\"reordered\":%llu,"
	       "\"reordered_flows\":%llu,\"strange\":%llu,"
	       "\"own_drops\":%u,\"ms\":%llu}\n",
	       (unsigned long long)r.received, (unsigned long long)r.bytes, (unsigned long long)r.inspected,
	       (unsigned long long)r.reordered, (unsigned long long)r.reordered_flows, (unsigned long long)r.strange,
	       info[SK_MEMINFO_DROPS], (unsigned long long)(r.last_ns - r.first_ns) / 1000000);
	return 0;
}

int main(int argc, char **argv)
{
	stop_in_order(on_stop);
	if (argc == 10 && !strcmp(argv[1], "send"))
		return run_sender(argv);
	if (argc == 6 && !strcmp(argv[1], "receive"))
		return run_receiver(argv);
	return 2;
}
