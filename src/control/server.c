/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: see server.h. Reads what clients send as hostile: bounded in size, number and time.
 */
#include "control/server.h"

#include "clock.h"
#include "control/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_MS 5000

const char *control_default_path(char *buf, size_t size)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() != 0 && dir && *dir)
		snprintf(buf, size, "%s/spillway/control", dir);
	else
		snprintf(buf, size, "/run/spillway/control");
	return buf;
}

/* True where somebody accepts connections at this name. */
static bool alive(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

/* The default place's own directory; any other is the user's business. */
static void make_directory(const char *path)
{
	char dir[108];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash && slash - dir >= 9 && !strncmp(slash - 9, "/spillway", 9)) {
		*slash = '\0';
		(void)mkdir(dir, 0755);
	}
}

int control_open(struct control *c, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat st;
	mode_t mask;
	int error = 0;

	c->listener = -1;
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		c->client[i] = (struct control_client){.fd = -1};
	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	memcpy(c->path, a.sun_path, sizeof(c->path));
	make_directory(path);
	if (!lstat(path, &st)) {
		if (!S_ISSOCK(st.st_mode) || alive(&a))
			return -EADDRINUSE;
		(void)unlink(path);
	}
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0177);
	if (c->listener < 0 || bind(c->listener, (const struct sockaddr *)&a, sizeof(a)) ||
	    listen(c->listener, CONTROL_CLIENTS))
		error = -errno;
	umask(mask);
	if (error && c->listener >= 0) {
		close(c->listener);
		c->listener = -1;
	}
	return error;
}

static void drop_client(struct control_client *cl)
{
	if (cl->fd >= 0)
		close(cl->fd);
	free(cl->reply);
	*cl = (struct control_client){.fd = -1};
}

void control_close(struct control *c)
{
	if (c->listener < 0)
		return;
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		drop_client(&c->client[i]);
	(void)unlink(c->path);
	close(c->listener);
	c->listener = -1;
}

unsigned control_descriptors(const struct control *c, struct pollfd *p)
{
	unsigned n = 0;

	p[n++] = (struct pollfd){.fd = c->listener, .events = POLLIN};
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		if (c->client[i].fd >= 0)
			p[n++] =
			    (struct pollfd){.fd = c->client[i].fd, .events = c->client[i].reply ? POLLOUT : POLLIN};
	return n;
}

/* The same user, or root. The mode of the socket says so too; this also holds where its directory was opened up. */
static bool may_ask(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) && (u.uid == 0 || u.uid == geteuid());
}

/* A free place, or the oldest client's: a newcomer must not be locked out by clients that say nothing. */
static struct control_client *place(struct control *c)
{
	struct control_client *oldest = &c->client[0];

	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		if (c->client[i].fd < 0)
			return &c->client[i];
		if (c->client[i].deadline < oldest->deadline)
			oldest = &c->client[i];
	}
	drop_client(oldest);
	return oldest;
}

/* False: nobody is waiting. */
static bool accept_client(struct control *c)
{
	int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct control_client *cl;

	if (fd < 0)
		return false;
	if (!may_ask(fd)) {
		close(fd);
		return true;
	}
	cl = place(c);
	cl->fd = fd;
	cl->deadline = clock_ms() + CLIENT_MS;
	return true;
}

static void set_reply(struct control_client *cl, char *reply)
{
	if (!reply) {
		drop_client(cl);
		return;
	}
	cl->reply = reply;
	cl->reply_len = strlen(reply);
}

static void read_request(struct control_client *cl, struct keeper *k)
{
	ssize_t n = recv(cl->fd, cl->request + cl->used, sizeof(cl->request) - cl->used, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (n == 0 && !cl->used)) {
		drop_client(cl);
		return;
	}
	cl->used += (size_t)n;
	if (memchr(cl->request, '\n', cl->used) || n == 0)
		set_reply(cl, request_answer(cl->request, cl->used, k));
	else if (cl->used == sizeof(cl->request))
		set_reply(cl, request_error(
				  2, "control request: longer than 4096 bytes; send one JSON object and a newline"));
}

static void write_reply(struct control_client *cl)
{
	ssize_t n = send(cl->fd, cl->reply + cl->sent, cl->reply_len - cl->sent, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (cl->sent += (size_t)n) == cl->reply_len)
		drop_client(cl);
}

void control_serve(struct control *c, struct keeper *k)
{
	uint64_t now = clock_ms();

	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *cl = &c->client[i];

		if (cl->fd >= 0 && !cl->reply)
			read_request(cl, k);
		if (cl->fd >= 0 && cl->reply)
			write_reply(cl);
		if (cl->fd >= 0 && now > cl->deadline)
			drop_client(cl);
	}
	for (int i = 0; i < CONTROL_CLIENTS && accept_client(c); i++)
		;
}
