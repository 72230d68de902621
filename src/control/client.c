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

#define REPLY_MAX (1u << 20)

static int connect_to(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = 10};
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

static int exchange(int fd, const char *line, char *reply, size_t size)
{
	size_t used = 0;
	ssize_t n;

	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		return -errno;
	while (used < size - 1 && (n = recv(fd, reply + used, size - 1 - used, 0)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		used += (size_t)n;
	}
	reply[used] = '\0';
	return used ? 0 : -ECONNRESET;
}

static int say(const char *path, int error)
{
	if (error == -ENOENT || error == -ECONNREFUSED)
		fprintf(stderr,
			"spillway: %s: nobody answers there; start spillway run, or name its socket with --control\n",
			path);
	else if (error == -EACCES || error == -EPERM || error == -ECONNRESET)
		fprintf(stderr, "spillway: %s: %s; it is another user's, ask as that user or as root\n", path,
			strerror(-error));
	else if (error == -ENOMEM || error == -EMFILE || error == -ENFILE)
		fprintf(stderr, "spillway: %s: %s; free some memory or descriptors and try again\n", path,
			strerror(-error));
	else
		fprintf(stderr, "spillway: %s: %s; is it the control socket of spillway run?\n", path,
			strerror(-error));
	return error == -EACCES || error == -EPERM || error == -ECONNRESET ? EXIT_TAKEN : EXIT_FAILED;
}

int client_ask(const char *path, json_t *request, json_t **reply)
{
	char *line = request_line(request), *text = malloc(REPLY_MAX);
	int fd = connect_to(path), error = fd;
	json_error_t where = {.line = 0};
	const char *sentence;

	if (fd >= 0) {
		error = line && text ? exchange(fd, line, text, REPLY_MAX) : -ENOMEM;
		close(fd);
	}
	*reply = error ? NULL : json_loads(text, 0, &where);
	free(line);
	free(text);
	if (error)
		return say(path, error);
	if (!json_is_object(*reply))
		return say(path, json_error_code(&where) == json_error_out_of_memory ? -ENOMEM : -EPROTO);
	sentence = json_string_value(json_object_get(*reply, "error"));
	if (!sentence)
		return EXIT_DONE;
	error = (int)json_integer_value(json_object_get(*reply, "exit"));
	fprintf(stderr, "spillway: %s\n", sentence);
	json_decref(*reply);
	return error > 0 && error <= EXIT_TAKEN ? error : EXIT_FAILED;
}
