/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking a running spillway: see client.h. Talks to the control socket alone.
 */
#include "control/client.h"

#include "control/request.h"
#include "keeper/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_MAX    (1u << 20)
#define STATUS_TRIES 3

static int connect_to(const char *path, unsigned seconds)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = seconds};
	int fd, error;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* Nobody answered. Whoever made the socket says by its credentials whether he ever would. */
static int disconnected(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	if (geteuid() != 0 && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) && u.uid != geteuid())
		return -EPERM;
	return -ECONNRESET;
}

static int exchange(int fd, const char *line, char *reply, size_t size)
{
	size_t used = 0;
	ssize_t n;

	/* Whoever is turned away has his answer, and nobody to send to. */
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 && errno != EPIPE)
		return -errno;
	while (used < size - 1 && (n = recv(fd, reply + used, size - 1 - used, 0)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ECONNRESET)
			return -errno;
		if (n < 0)
			break;
		used += (size_t)n;
	}
	reply[used] = '\0';
	return used ? 0 : disconnected(fd);
}

static int say(const char *path, int error)
{
	if (error == -ENOENT || error == -ECONNREFUSED)
		fprintf(stderr,
			"spillway: %s: nobody answers there; start spillway run, or name its socket with --control\n",
			path);
	else if (error == -EACCES || error == -EPERM)
		fprintf(stderr, "spillway: %s: %s; it is another user's, ask as that user or as root\n", path,
			strerror(-error));
	else if (error == -ENOMEM || error == -EMFILE || error == -ENFILE)
		fprintf(stderr, "spillway: %s: %s; free some memory or descriptors and try again\n", path,
			strerror(-error));
	else if (error == -EAGAIN)
		fprintf(stderr, "spillway: %s: no answer in time; look at the messages of spillway run\n", path);
	else if (error == -ECONNRESET)
		fprintf(stderr, "spillway: %s: disconnected without an answer; look at the messages of spillway run\n",
			path);
	else
		fprintf(stderr, "spillway: %s: %s; is it the control socket of spillway run?\n", path,
			strerror(-error));
	return error == -EACCES || error == -EPERM ? EXIT_TAKEN : EXIT_FAILED;
}

/* One connection. *text: the reply, to be freed. 0 or a negative errno. */
static int ask_once(const char *path, const char *line, unsigned seconds, char **text)
{
	int fd = connect_to(path, seconds), error = fd;

	*text = NULL;
	if (fd < 0)
		return error;
	*text = malloc(REPLY_MAX);
	error = line && *text ? exchange(fd, line, *text, REPLY_MAX) : -ENOMEM;
	close(fd);
	return error;
}

/* What the reply says; takes the text over. */
static int understand(const char *path, char *text, json_t **reply)
{
	json_error_t where = {.line = 0};
	const char *sentence;
	int status;

	*reply = json_loads(text, 0, &where);
	free(text);
	if (!json_is_object(*reply)) {
		json_decref(*reply);
		return say(path, json_error_code(&where) == json_error_out_of_memory ? -ENOMEM : -EPROTO);
	}
	sentence = json_string_value(json_object_get(*reply, "error"));
	if (!sentence)
		return EXIT_DONE;
	status = (int)json_integer_value(json_object_get(*reply, "exit"));
	fprintf(stderr, "spillway: %s\n", sentence);
	json_decref(*reply);
	return status > 0 && status <= EXIT_TAKEN ? status : EXIT_FAILED;
}

static int ask(const char *path, json_t *request, unsigned seconds, int tries, json_t **reply)
{
	char *line = request_line(request), *text;
	int error = ask_once(path, line, seconds, &text);

	while (error == -ECONNRESET && --tries > 0) {
		free(text);
		error = ask_once(path, line, seconds, &text);
	}
	free(line);
	if (!error)
		return understand(path, text, reply);
	free(text);
	return say(path, error);
}

int client_ask(const char *path, json_t *request, unsigned seconds, json_t **reply)
{
	return ask(path, request, seconds, 1, reply);
}

int client_status(const char *path, json_t **reply)
{
	return ask(path, json_pack("{s:i, s:s}", "version", 1, "request", "status"), CLIENT_SECONDS, STATUS_TRIES,
		   reply);
}
