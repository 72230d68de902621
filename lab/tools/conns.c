/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP connections that live long, exchange data and check every byte of it.
 *
 *     conns serve ADDRESS PORT SECONDS                                 echoes; prints "ready"
 *     conns hold ADDRESS PORT CONNECTIONS SECONDS BYTES PAUSE_MS EACH  prints "ready" once all are connected, then JSON
 *
 * Each connection sends BYTES, reads them back, compares, waits PAUSE_MS, and so on; after EACH exchanges (0: never) it
 * ends in order and connects anew. SIGTERM: it ends them in order and tells.
 */
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_CONNECTIONS 1024u
#define MOST_BYTES       65536u
#define TICK_MS          5
#define CLOSING_NS       (5ull * NS) /* for the orderly end */

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

static int open_socket(const char *address, const char *port, struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port))};
	if (fd < 0 || inet_pton(AF_INET, address, &at->sin_addr) != 1)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd;
}

/* --- the side that echoes */

struct echo {
	uint8_t data[MOST_BYTES];
	size_t begin, end;
	bool ended; /* the other side sends no more */
};

static void forget(struct pollfd *p, struct echo **e)
{
	close(p->fd);
	p->fd = -1;
	free(*e);
	*e = NULL;
}

/* False: this connection is over. */
static bool echo_some(int fd, struct echo *e)
{
	ssize_t n;

	if (e->begin == e->end && !e->ended) {
		n = read(fd, e->data, sizeof(e->data));
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		e->ended = n == 0;
		e->begin = 0;
		e->end = (size_t)n;
	}
	if (e->begin < e->end) {
		n = send(fd, e->data + e->begin, e->end - e->begin, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		e->begin += (size_t)n;
	}
	return !(e->ended && e->begin == e->end);
}

static void admit(int listener, struct pollfd *p, struct echo **e)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		unsigned i = 1;
		int on = 1;

		while (i < MOST_CONNECTIONS && p[i].fd >= 0)
			i++;
		if (i == MOST_CONNECTIONS || !(e[i] = calloc(1, sizeof(**e)))) {
			close(fd);
			return;
		}
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		p[i].fd = fd;
	}
}

static int run_server(char **argv)
{
	static struct pollfd p[MOST_CONNECTIONS];
	static struct echo *e[MOST_CONNECTIONS];
	uint64_t end = now_ns() + number(argv[4]) * NS;
	struct sockaddr_in at;

	for (unsigned i = 0; i < MOST_CONNECTIONS; i++)
		p[i].fd = -1;
	p[0] = (struct pollfd){.fd = open_socket(argv[2], argv[3], &at), .events = POLLIN};
	if (p[0].fd < 0 || bind(p[0].fd, (struct sockaddr *)&at, sizeof(at)) || listen(p[0].fd, 1024)) {
		perror("conns: listen");
		return 1;
	}
	say_ready();
	while (!told_to_stop && now_ns() < end) {
		for (unsigned i = 1; i < MOST_CONNECTIONS; i++)
			p[i].events = e[i] && e[i]->begin < e[i]->end ? POLLOUT : POLLIN;
		if (poll(p, MOST_CONNECTIONS, 50) <= 0)
			continue;
		for (unsigned i = 1; i < MOST_CONNECTIONS; i++)
			if (p[i].fd >= 0 && p[i].revents && !echo_some(p[i].fd, e[i]))
				forget(&p[i], &e[i]);
		if (p[0].revents)
			admit(p[0].fd, p, e);
	}
	return 0;
}

/* --- the side that asks */

enum phase { CONNECTING, EXCHANGING, PAUSING, CLOSING, OVER };

struct conn {
	enum phase phase;
	int fd;
	uint64_t offset;    /* of the stream's first byte of this exchange */
	size_t sent, back;  /* bytes of this exchange */
	uint64_t due, done; /* next exchange at; exchanges of this connection */
	uint64_t asked;     /* when this exchange began */
};

struct holder {
	char **argv;
	unsigned count;
	size_t bytes;
	uint64_t pause_ns, each;
	struct conn *c;
	uint8_t *out, *in;
	uint32_t *waits; /* microseconds of each exchange, the last WAITS of them */
	bool closing;
	uint64_t connected, exchanges, wrong, reset, refused, ended_early, unfinished, longest_ns;
};

#define WAITS (1u << 20)

/* The stream of a connection: any byte of it can be told from its place. */
static uint8_t stream_byte(unsigned conn, uint64_t at)
{
	return (uint8_t)((at * 2654435761u >> 7) + 31ull * conn);
}

static void begin_connection(struct holder *h, struct conn *c)
{
	struct sockaddr_in at;

	*c = (struct conn){.phase = CONNECTING, .fd = open_socket(h->argv[2], h->argv[3], &at)};
	if (connect(c->fd, (struct sockaddr *)&at, sizeof(at)) && errno != EINPROGRESS) {
		h->refused++;
		c->phase = OVER;
	}
}

static void over(struct conn *c)
{
	close(c->fd);
	c->fd = -1;
	c->phase = OVER;
}

static void broken(struct holder *h, struct conn *c)
{
	if (c->phase == CONNECTING)
		h->refused++;
	else
		h->reset++;
	over(c);
}

static void begin_exchange(struct conn *c, uint64_t now)
{
	c->phase = EXCHANGING;
	c->sent = c->back = 0;
	c->asked = now;
}

static void end_exchange(struct holder *h, struct conn *c, uint64_t now)
{
	h->waits[h->exchanges++ % WAITS] = (uint32_t)((now - c->asked) / 1000);
	h->longest_ns = now - c->asked > h->longest_ns ? now - c->asked : h->longest_ns;
	c->offset += h->bytes;
	c->done++;
	c->phase = PAUSING;
	c->due = now + h->pause_ns;
}

static void close_in_order(struct conn *c)
{
	(void)shutdown(c->fd, SHUT_WR);
	c->phase = CLOSING;
}

static bool send_rest(struct holder *h, struct conn *c, unsigned index)
{
	ssize_t n;

	for (size_t i = c->sent; i < h->bytes; i++)
		h->out[i] = stream_byte(index, c->offset + i);
	n = send(c->fd, h->out + c->sent, h->bytes - c->sent, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->sent += (size_t)n;
	return true;
}

static bool read_back(struct holder *h, struct conn *c, unsigned index)
{
	ssize_t n = read(c->fd, h->in, h->bytes);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0) {
		h->ended_early += c->phase != CLOSING;
		over(c);
		return true;
	}
	for (ssize_t i = 0; i < n; i++)
		h->wrong += h->in[i] != stream_byte(index, c->offset + c->back + (uint64_t)i);
	c->back += (size_t)n;
	return true;
}

static bool connect_result(struct holder *h, struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
		return false;
	h->connected++;
	c->phase = PAUSING;
	return true;
}

static void on_event(struct holder *h, unsigned i, short events)
{
	struct conn *c = &h->c[i];
	bool good = true;

	if (c->phase == CONNECTING)
		good = connect_result(h, c);
	else if (events & (POLLIN | POLLHUP | POLLERR))
		good = read_back(h, c, i);
	else if (events & POLLOUT)
		good = send_rest(h, c, i);
	if (!good)
		broken(h, c);
	else if (c->phase == EXCHANGING && c->back == h->bytes)
		end_exchange(h, c, now_ns());
}

static void on_time(struct holder *h, struct conn *c, uint64_t now)
{
	if (c->phase == PAUSING && (h->closing || (h->each && c->done >= h->each)))
		close_in_order(c);
	else if (c->phase == PAUSING && now >= c->due)
		begin_exchange(c, now);
	else if (c->phase == OVER && h->each && !h->closing)
		begin_connection(h, c);
}

static unsigned step(struct holder *h, struct pollfd *p)
{
	uint64_t now = now_ns();
	unsigned alive = 0;

	for (unsigned i = 0; i < h->count; i++) {
		struct conn *c = &h->c[i];

		on_time(h, c, now);
		p[i] = (struct pollfd){.fd = c->phase == OVER ? -1 : c->fd, .events = POLLIN};
		if (c->phase == CONNECTING || (c->phase == EXCHANGING && c->sent < h->bytes))
			p[i].events |= POLLOUT;
		alive += c->phase != OVER;
	}
	if (poll(p, h->count, TICK_MS) > 0)
		for (unsigned i = 0; i < h->count; i++)
			if (p[i].fd >= 0 && p[i].revents)
				on_event(h, i, p[i].revents);
	return alive;
}

static void tell_held(struct holder *h)
{
	uint64_t kept = h->exchanges < WAITS ? h->exchanges : WAITS;

	for (unsigned i = 0; i < h->count; i++)
		h->unfinished += h->c[i].phase != OVER;
	qsort(h->waits, kept, sizeof(*h->waits), ascending);
	printf("{\"connected\":%llu,\"exchanges\":%llu,\"wrong_bytes\":%llu,\"reset\":%llu,\"refused\":%llu,"
	       "\"ended_early\":%llu,\"unfinished\":%llu,\"median_us\":%u,\"p99_us\":%u,\"longest_us\":%llu}\n",
	       (unsigned long long)h->connected, (unsigned long long)h->exchanges, (unsigned long long)h->wrong,
	       (unsigned long long)h->reset, (unsigned long long)h->refused, (unsigned long long)h->ended_early,
	       (unsigned long long)h->unfinished, kept ? h->waits[kept / 2] : 0, kept ? h->waits[kept * 99 / 100] : 0,
	       (unsigned long long)h->longest_ns / 1000);
}

static void hold(struct holder *h, struct pollfd *p, uint64_t end)
{
	bool said = false;

	while (!told_to_stop && now_ns() < end) {
		if (!step(h, p) && !h->each)
			break;
		if (!said && h->connected + h->refused >= h->count) {
			say_ready();
			said = true;
		}
	}
	h->closing = true;
	for (end = now_ns() + CLOSING_NS; step(h, p) && now_ns() < end;)
		;
}

static int run_holder(char **argv)
{
	static struct holder h;
	static struct pollfd p[MOST_CONNECTIONS];

	h.argv = argv;
	h.count = (unsigned)number(argv[4]);
	h.bytes = number(argv[6]);
	h.pause_ns = number(argv[7]) * 1000000u;
	h.each = number(argv[8]);
	if (!h.count || h.count > MOST_CONNECTIONS || !h.bytes || h.bytes > MOST_BYTES)
		return 2;
	h.c = need(h.count, sizeof(*h.c));
	h.out = need(MOST_BYTES, 1);
	h.in = need(MOST_BYTES, 1);
	h.waits = need(WAITS, sizeof(*h.waits));
	for (unsigned i = 0; i < h.count; i++)
		begin_connection(&h, &h.c[i]);
	hold(&h, p, now_ns() + number(argv[5]) * NS);
	stop_no_more();
	tell_held(&h);
	return 0;
}

int main(int argc, char **argv)
{
	allow_descriptors();
	stop_in_order(on_stop);
	if (argc == 5 && !strcmp(argv[1], "serve"))
		return run_server(argv);
	if (argc == 9 && !strcmp(argv[1], "hold"))
		return run_holder(argv);
	return 2;
}
