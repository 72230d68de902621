/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Very many TCP connections whose sizes have a heavy tail: each sends what it has as fast as TCP lets it, and is
 * finished when the server has read all and said so by closing.
 *
 *     crowd serve PORT SECONDS                                prints "ready", then {"bytes":N,"ms":N}
 *     crowd connect ADDRESS PORT PER_SECOND SECONDS PATIENCE SEED UNIT    prints JSON
 *
 * Connections begin by Poisson for SECONDS; PATIENCE seconds later those that are not finished are given up. Sizes:
 * bounded Pareto, alpha 1.2, 1 to 10,000 times UNIT bytes. SIGTERM: the server tells.
 */
#include "chance.h"
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST   8192 /* descriptors */
#define EVENTS 256
#define PIECE  65536u
#define WAIT   5 /* ms */

volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

/* By descriptor. */
static struct connection {
	uint64_t left; /* bytes to send, or to come */
	uint64_t begun_ns;
	bool known; /* the server knows how many will come */
	bool used;
} connection[MOST];

static uint8_t piece[PIECE];

static bool watch(int epoll, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

static bool rest(int epoll, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e) == 0;
}

static void forget(int fd)
{
	connection[fd].used = false;
	close(fd);
}

/* The server: the first eight bytes say how many follow. */

static void accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (fd >= MOST || !watch(epoll, fd, EPOLLIN)) {
			close(fd);
			continue;
		}
		connection[fd] = (struct connection){.left = sizeof(uint64_t), .used = true};
	}
}

/* Returns the bytes read. */
static uint64_t serve(int fd)
{
	struct connection *c = &connection[fd];
	uint64_t bytes = 0;

	for (;;) {
		const ssize_t n = read(fd, piece, c->left < PIECE ? c->left : PIECE);

		if (n <= 0) {
			if (n == 0 || errno != EAGAIN)
				forget(fd);
			return bytes;
		}
		bytes += (uint64_t)n;
		c->left -= (uint64_t)n;
		if (c->left)
			continue;
		if (c->known) {
			forget(fd);
			return bytes;
		}
		memcpy(&c->left, piece, sizeof(c->left));
		c->known = true;
	}
}

static int run_server(char **argv)
{
	const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[2]))};
	const uint64_t end = now_ns() + number(argv[3]) * NS;
	struct epoll_event events[EVENTS];
	const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t bytes = 0, first = 0, last = 0;

	if (listener < 0 || epoll < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
	    bind(listener, (const struct sockaddr *)&at, sizeof(at)) || listen(listener, 4096) ||
	    !watch(epoll, listener, EPOLLIN)) {
		perror("crowd: serve");
		return 1;
	}
	say_ready();
	while (!told_to_stop && now_ns() < end) {
		const int n = epoll_wait(epoll, events, EVENTS, 50);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_all(epoll, listener);
			else
				bytes += serve(events[i].data.fd);
		}
		last = n > 0 ? now_ns() : last;
		first = first ? first : last;
	}
	stop_no_more();
	printf("{\"bytes\":%llu,\"ms\":%llu}\n", (unsigned long long)bytes,
	       (unsigned long long)(last - first) / 1000000);
	return 0;
}

struct crowd {
	struct sockaddr_in to;
	struct chance chance;
	int epoll;
	uint64_t unit, begun, refused, reset, finished, active;
	uint32_t *took; /* microseconds, of the finished ones */
};

static void begin(struct crowd *w)
{
	const uint64_t bytes = w->unit * pareto(&w->chance);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	w->begun++;
	if (fd < 0 || fd >= MOST ||
	    (connect(fd, (const struct sockaddr *)&w->to, sizeof(w->to)) && errno != EINPROGRESS) ||
	    !watch(w->epoll, fd, EPOLLOUT)) {
		w->refused++;
		if (fd >= 0)
			close(fd);
		return;
	}
	connection[fd] = (struct connection){.left = bytes, .begun_ns = now_ns(), .used = true};
	w->active++;
}

static void end_of(struct crowd *w, int fd, bool well)
{
	if (well)
		w->took[w->finished++] = (uint32_t)((now_ns() - connection[fd].begun_ns) / 1000);
	else
		w->reset++;
	w->active--;
	forget(fd);
}

/* As much as fits. False: the connection has failed. */
static bool send_some(int fd)
{
	struct connection *c = &connection[fd];
	ssize_t n;

	if (!c->known) {
		/* Eight bytes are always taken whole by an empty buffer. */
		if (send(fd, &c->left, sizeof(c->left), MSG_MORE | MSG_NOSIGNAL) != sizeof(c->left))
			return false;
		c->known = true;
	}
	while (c->left) {
		n = send(fd, piece, c->left < PIECE ? c->left : PIECE, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		c->left -= (uint64_t)n;
	}
	return true;
}

static void step(struct crowd *w, int fd, uint32_t events)
{
	char byte;
	ssize_t n;

	if (!connection[fd].used)
		return;
	if (events & (EPOLLOUT | EPOLLERR)) {
		if (!send_some(fd))
			return end_of(w, fd, false);
		if (!connection[fd].left)
			rest(w->epoll, fd, EPOLLIN);
	}
	if (events & (EPOLLIN | EPOLLHUP)) {
		n = recv(fd, &byte, 1, MSG_DONTWAIT);
		if (n == 0 || errno != EAGAIN)
			end_of(w, fd, n == 0 && !connection[fd].left);
	}
}

static int run_client(char **argv)
{
	static struct crowd w = {.to = {.sin_family = AF_INET}};
	const uint64_t start = now_ns(), begun_until = start + number(argv[5]) * NS;
	const uint64_t end = begun_until + number(argv[6]) * NS;
	const double rate = (double)number(argv[4]);
	struct epoll_event events[EVENTS];
	uint64_t next = start, now;

	w.to.sin_port = htons((uint16_t)number(argv[3]));
	w.chance = chance_from(number(argv[7]));
	w.unit = number(argv[8]);
	w.epoll = epoll_create1(EPOLL_CLOEXEC);
	w.took = need((uint64_t)(rate * (double)number(argv[5]) * 2) + 1000, sizeof(*w.took));
	if (rate < 1 || w.epoll < 0 || inet_pton(AF_INET, argv[2], &w.to.sin_addr) != 1)
		return 1;
	while (!told_to_stop && (now = now_ns()) < end && (now < begun_until || w.active)) {
		for (; next <= now && next < begun_until; next += (uint64_t)exponential(&w.chance, NS / rate))
			begin(&w);
		for (int n = epoll_wait(w.epoll, events, EVENTS, WAIT), i = 0; i < n; i++)
			step(&w, events[i].data.fd, events[i].events);
	}
	stop_no_more();
	qsort(w.took, w.finished, sizeof(*w.took), ascending);
	printf("{\"begun\":%llu,\"finished\":%llu,\"refused\":%llu,\"reset\":%llu,\"unfinished\":%llu,\"median_us\":%u,"
	       "\"p99_us\":%u}\n",
	       (unsigned long long)w.begun, (unsigned long long)w.finished, (unsigned long long)w.refused,
	       (unsigned long long)w.reset, (unsigned long long)w.active, w.finished ? w.took[w.finished / 2] : 0,
	       w.finished ? w.took[w.finished * 99 / 100] : 0);
	return 0;
}

int main(int argc, char **argv)
{
	allow_descriptors();
	stop_in_order(on_stop);
	if (argc == 9 && !strcmp(argv[1], "connect"))
		return run_client(argv);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return run_server(argv);
	return 2;
}
