/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's clients: see clients.h. What they send is hostile here: it is stored, not looked into.
 */
#include "control/clients.h"

#include "control/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READING_MS  5000
#define GRACE_MS    100 /* a newcomer's to send its line, before another one may take its place */
#define PAUSE_MS    50
#define ACCEPTS     32 /* at a time: then those who are in are served */
#define FOR_ROOT    8  /* places that the owner's clients can't have */
#define PARKED_MAX  64 /* the others can always be pushed out by newcomers */
#define DISCARD_MAX 16

/*
 * Closing a socket with unread bytes in it makes the other side lose what we said: they are thrown away, up to a limit.
 */
static void discard(int fd)
{
	char bytes[4096];

	for (int i = 0; i < DISCARD_MAX && recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
		;
}

void client_drop(struct client *cl)
{
	if (cl->state == CLIENT_FREE)
		return;
	discard(cl->fd);
	close(cl->fd);
	free(cl->reply);
	cl->reply = NULL;
	cl->state = CLIENT_FREE;
}

struct pollfd client_poll(const struct client *cl)
{
	static const short events[] = {[CLIENT_READING] = POLLIN, [CLIENT_WRITING] = POLLOUT};
	bool waits = cl->state == CLIENT_READING || cl->state == CLIENT_WRITING;

	return (struct pollfd){.fd = waits ? cl->fd : -1, .events = waits ? events[cl->state] : 0};
}

static void connected(struct client *cl, int fd, bool root, uint64_t now)
{
	cl->state = CLIENT_READING;
	cl->fd = fd;
	cl->root = root;
	cl->used = cl->sent = 0;
	cl->since = now;
	cl->deadline = now + READING_MS;
}

/* Disconnects; whoever was to send a request is told why, if he takes it at once. */
static void push_out(struct client *cl)
{
	if (cl->state == CLIENT_READING)
		client_reply(cl, request_error(1, "control socket: too many clients; try again in a moment"), 0);
	client_drop(cl);
}

static bool may_be_pushed_out(const struct client *cl, uint64_t now)
{
	return (cl->state == CLIENT_READING || cl->state == CLIENT_WRITING) && now - cl->since >= GRACE_MS;
}

/* The oldest one of those that a newcomer may push out: root anybody, the owner only his own. NULL: none. */
static struct client *find_oldest(struct clients *c, bool root, uint64_t now)
{
	struct client *oldest = NULL;

	for (int i = 0; i < CLIENTS; i++) {
		struct client *cl = &c->client[i];

		if (may_be_pushed_out(cl, now) && (root || !cl->root) && (!oldest || cl->since < oldest->since))
			oldest = cl;
	}
	return oldest;
}

/* A free place or the oldest's: a newcomer must not be locked out by clients that say nothing. NULL: none. */
static struct client *find_place(struct clients *c, bool root, uint64_t now)
{
	struct client *vacant = NULL;
	unsigned owners = 0;

	for (int i = 0; i < CLIENTS; i++) {
		if (c->client[i].state == CLIENT_FREE)
			vacant = &c->client[i];
		else
			owners += !c->client[i].root;
	}
	return vacant && (root || owners < CLIENTS - FOR_ROOT) ? vacant : find_oldest(c, root, now);
}

/* The owner, or root. The mode of the socket says so too; this also holds where its directory was opened up. */
static bool may_ask(const struct clients *c, int fd, bool *root)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len))
		return false;
	*root = u.uid == 0;
	return *root || u.uid == c->owner;
}

static void take_in(struct clients *c, int fd, uint64_t now)
{
	struct client nowhere = {.reply = NULL}, *cl;
	bool root;

	if (!may_ask(c, fd, &root)) {
		close(fd);
		return;
	}
	cl = find_place(c, root, now);
	if (cl) {
		push_out(cl);
		connected(cl, fd, root, now);
	} else {
		connected(&nowhere, fd, root, now);
		push_out(&nowhere);
	}
}

bool clients_listening(const struct clients *c, uint64_t now)
{
	return now >= c->listen_again;
}

/*
 * Without a place or a descriptor, whoever knocks goes on knocking: listening on would spin. Where the descriptors are
 * fewer than the places, the oldest gives his back.
 */
static void stop_listening(struct clients *c, bool place, uint64_t now)
{
	struct client *oldest = place ? find_oldest(c, true, now) : NULL;

	c->listen_again = now + PAUSE_MS;
	if (oldest)
		push_out(oldest);
}

void clients_accept(struct clients *c, uint64_t now)
{
	for (int i = 0; i < ACCEPTS; i++) {
		bool place = find_place(c, true, now) != NULL;
		int fd = place ? accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;

		if (fd >= 0) {
			take_in(c, fd, now);
			continue;
		}
		if (!place || (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED))
			stop_listening(c, place, now);
		return;
	}
}

bool client_read(struct client *cl)
{
	ssize_t n = recv(cl->fd, cl->request + cl->used, sizeof(cl->request) - cl->used, MSG_DONTWAIT);
	const char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0 || (n == 0 && !cl->used)) {
		client_drop(cl);
		return false;
	}
	cl->used += (size_t)n;
	end = memchr(cl->request, '\n', cl->used);
	if (end)
		cl->used = (size_t)(end - cl->request);
	if (end || n == 0)
		return true;
	if (cl->used == sizeof(cl->request))
		client_reply(
		    cl, request_error(2, "control request: longer than 4096 bytes; send one JSON object and a newline"),
		    cl->deadline);
	return false;
}

bool clients_park(struct clients *c, struct client *cl, const struct ask *ask, uint64_t deadline)
{
	unsigned parked = 0;

	for (int i = 0; i < CLIENTS; i++)
		parked += c->client[i].state == CLIENT_PARKED;
	if (parked >= (cl->root ? PARKED_MAX : PARKED_MAX - FOR_ROOT)) {
		client_reply(cl, request_error(1, "control request: too many under way; try again in a moment"),
			     cl->deadline);
		return false;
	}
	cl->state = CLIENT_PARKED;
	cl->ask = *ask;
	cl->asked = false;
	cl->deadline = deadline;
	return true;
}

void client_reply(struct client *cl, char *reply, uint64_t deadline)
{
	if (!reply) {
		client_drop(cl);
		return;
	}
	cl->state = CLIENT_WRITING;
	cl->reply = reply;
	cl->reply_len = strlen(reply);
	cl->deadline = deadline;
	client_write(cl);
}

void client_write(struct client *cl)
{
	ssize_t n = send(cl->fd, cl->reply + cl->sent, cl->reply_len - cl->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (cl->sent += (size_t)n) == cl->reply_len)
		client_drop(cl);
}
