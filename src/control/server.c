/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control process: see server.h. Answers `status` from the pages, puts the rest to the keeper, and waits for
 * neither clients nor keeper. The only process that reads what clients send; it has no privilege.
 */
#include "control/server.h"

#include "clock.h"
#include "control/clients.h"
#include "control/pages.h"
#include "control/request.h"
#include "control/status.h"
#include "log/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define WRITING_MS 5000
#define ASK_MS     10000
#define UPGRADE_MS 60000

enum { POLL_LISTENER, POLL_KEEPER, POLL_CLIENT, POLLED = POLL_CLIENT + CLIENTS };

struct server {
	struct pages pages;
	struct clients clients;
	uint32_t asks; /* number of the last one */
	bool there;    /* the keeper has asked whether we are, and was not told yet */
};

static void say_changed(const struct ask *a)
{
	switch (a->op) {
	case ASK_FAIL_OPEN:
		log_line("queue %u: fail-open %s (control socket)", a->queue, a->value ? "on" : "off");
		break;
	case ASK_LENGTH:
		log_line("queue %u: length %u (control socket)", a->queue, a->value);
		break;
	case ASK_TURN:
		log_line("queue %u: %s (control socket)", a->queue,
			 a->value ? "open by hand" : "to be inspected again");
		break;
	default:
		log_line("upgraded (control socket)");
	}
}

static int attach(struct server *s)
{
	struct ucred keeper;
	socklen_t len = sizeof(keeper);
	int error = pages_map(&s->pages);

	if (error)
		return error;
	if (getsockopt(CONTROL_FD_KEEPER, SOL_SOCKET, SO_PEERCRED, &keeper, &len))
		return -errno;
	s->clients.listener = CONTROL_FD_LISTENER;
	s->clients.owner = keeper.uid;
	return 0;
}

static int64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec - (int64_t)clock_ns();
}

static uint32_t next_number(struct server *s)
{
	do
		s->asks++;
	while (s->asks == ASK_REPLY_LEAVE || s->asks == ASK_REPLY_THERE);
	return s->asks;
}

static void answer(struct server *s, struct client *cl, uint64_t now)
{
	char sentence[REQUEST_SENTENCE];
	struct ask ask;

	switch (request_parse(cl->request, cl->used, &ask, sentence)) {
	case REQUEST_STATUS:
		client_reply(cl, request_reply(status_json(&s->pages, wall_ns())), now + WRITING_MS);
		break;
	case REQUEST_ASK:
		ask.number = next_number(s);
		clients_park(&s->clients, cl, &ask, now + (ask.op == ASK_UPGRADE ? UPGRADE_MS : ASK_MS));
		break;
	default:
		client_reply(cl, request_error(2, sentence), now + WRITING_MS);
	}
}

static bool tell_keeper(const struct ask *a)
{
	return send(CONTROL_FD_KEEPER, a, sizeof(*a), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/* Puts to the keeper what was not yet put. True where some had to stay, because it does not listen just now. */
static bool ask_keeper(struct server *s)
{
	const struct ask there = {.op = ASK_NOTHING};

	if (s->there && !tell_keeper(&there))
		return true;
	s->there = false;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *cl = &s->clients.client[i];

		if (cl->state != CLIENT_PARKED || cl->asked)
			continue;
		if (!tell_keeper(&cl->ask))
			return true;
		cl->asked = true;
	}
	return false;
}

static void pass_on(struct server *s, struct ask_reply *r, uint64_t now)
{
	r->text[sizeof(r->text) - 1] = '\0';
	for (int i = 0; i < CLIENTS; i++) {
		struct client *cl = &s->clients.client[i];

		if (cl->state != CLIENT_PARKED || !cl->asked || cl->ask.number != r->number)
			continue;
		if (!r->exit)
			say_changed(&cl->ask);
		client_reply(cl, r->exit ? request_error(r->exit, r->text) : request_done(), now + WRITING_MS);
		return;
	}
}

/* False: it has closed its end. */
static bool hear_keeper(struct server *s, uint64_t now)
{
	struct ask_reply r;
	ssize_t n;

	while ((n = recv(CONTROL_FD_KEEPER, &r, sizeof(r), MSG_DONTWAIT)) == (ssize_t)sizeof(r)) {
		if (r.number == ASK_REPLY_LEAVE)
			s->clients.listen_again = UINT64_MAX;
		else if (r.number == ASK_REPLY_THERE)
			s->there = true;
		else
			pass_on(s, &r, now);
	}
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void expire(struct client *cl, uint64_t now)
{
	if (cl->state != CLIENT_PARKED)
		client_drop(cl);
	else
		client_reply(cl,
			     request_error(1, "control request: spillway run does not answer in time; look at spillway "
					      "status, it may still be done"),
			     now + WRITING_MS);
}

static void serve_client(struct server *s, struct client *cl, bool ready, uint64_t now)
{
	if (ready && cl->state == CLIENT_READING && client_read(cl))
		answer(s, cl, now);
	else if (ready && cl->state == CLIENT_WRITING)
		client_write(cl);
	if (cl->state != CLIENT_FREE && now >= cl->deadline)
		expire(cl, now);
}

/* Milliseconds until somebody's time is up; -1: nobody's. */
static int until_next(const struct server *s, uint64_t now)
{
	uint64_t next = clients_listening(&s->clients, now) ? UINT64_MAX : s->clients.listen_again;

	for (int i = 0; i < CLIENTS; i++)
		if (s->clients.client[i].state != CLIENT_FREE && s->clients.client[i].deadline < next)
			next = s->clients.client[i].deadline;
	if (next == UINT64_MAX)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

static int wait_for_any(const struct server *s, struct pollfd *p, bool unasked)
{
	uint64_t now = clock_ms();
	int listener = clients_listening(&s->clients, now) ? s->clients.listener : -1;

	p[POLL_LISTENER] = (struct pollfd){.fd = listener, .events = POLLIN};
	p[POLL_KEEPER] = (struct pollfd){.fd = CONTROL_FD_KEEPER, .events = unasked ? POLLIN | POLLOUT : POLLIN};
	for (int i = 0; i < CLIENTS; i++)
		p[POLL_CLIENT + i] = client_poll(&s->clients.client[i]);
	return poll(p, POLLED, until_next(s, now)) < 0 && errno != EINTR ? -errno : 0;
}

/* Another control process takes over, and nobody is connected to this one any more. */
static bool replaced(const struct server *s)
{
	if (s->clients.listen_again != UINT64_MAX)
		return false;
	for (int i = 0; i < CLIENTS; i++)
		if (s->clients.client[i].state != CLIENT_FREE)
			return false;
	return true;
}

/* 0: the keeper has gone, or another process has taken over; or a negative errno. */
static int loop(struct server *s)
{
	struct pollfd p[POLLED];
	bool unasked = false;

	for (;;) {
		int error = wait_for_any(s, p, unasked);
		uint64_t now = clock_ms();

		if (error)
			return error;
		if (p[POLL_KEEPER].revents & (POLLIN | POLLHUP | POLLERR) && !hear_keeper(s, now))
			return 0;
		for (int i = 0; i < CLIENTS; i++)
			serve_client(s, &s->clients.client[i], p[POLL_CLIENT + i].revents != 0, now);
		unasked = ask_keeper(s);
		if (p[POLL_LISTENER].revents && clients_listening(&s->clients, now))
			clients_accept(&s->clients, now);
		if (replaced(s))
			return 0;
	}
}

/* Whoever still waits is told, if he takes it at once. */
static void leave(struct server *s)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct client *cl = &s->clients.client[i];

		if (cl->state == CLIENT_PARKED)
			client_reply(
			    cl, request_error(1, "control request: spillway run has ended; look at its messages"), 0);
		client_drop(cl);
	}
}

int control_main(void)
{
	static struct server s; /* big, and once a process */
	int error = attach(&s);

	request_init();
	if (!error)
		error = loop(&s);
	leave(&s);
	if (error)
		log_line("control: %s; it ends", error == -EPROTO ? "a page of another layout" : strerror(-error));
	return error ? 1 : 0;
}
