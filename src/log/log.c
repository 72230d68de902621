/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages on stderr: see log.h. Makes no system call but poll() and write() after log_open(), since the inspector's
 * filter allows no others.
 */
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE 1024

_Static_assert(2 * LINE <= PIPE_BUF, "a pipe takes it whole or not at all");

static unsigned long dropped; /* since the last line that got through */
static bool torn;             /* the last one was cut short by a disk that is full */

void log_open(void)
{
	struct stat st;
	int fd;

	if (fstat(STDERR_FILENO, &st) || !S_ISFIFO(st.st_mode))
		return;
	/* Open anew: a flag set on the old one would be everybody's who has it. Where it is another user's pipe, poll()
	 * has to do. */
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)dup2(fd, STDERR_FILENO);
	close(fd);
}

static bool put(const char *text, size_t len)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t n = -1;

	if (poll(&p, 1, 0) > 0)
		n = write(STDERR_FILENO, text, len);
	if (n > 0)
		torn = (size_t)n < len;
	return n == (ssize_t)len;
}

/* What has to be told before the next line. */
static size_t preface(char *text, size_t size)
{
	int n = snprintf(text, size, "%s", torn ? "\n" : "");

	if (dropped)
		n += snprintf(
		    text + n, size - (size_t)n,
		    "spillway: log: %lu lines are missing here: nobody read them in time, or there was no room\n",
		    dropped);
	return (size_t)n;
}

void log_line(const char *format, ...)
{
	const int saved = errno;
	char text[2 * LINE];
	size_t len = preface(text, LINE), end = len + LINE - 1;
	va_list args;
	int n;

	len += (size_t)snprintf(text + len, LINE, "spillway: ");
	va_start(args, format);
	n = vsnprintf(text + len, end - len, format, args);
	va_end(args);
	if (n > 0)
		len += (size_t)n < end - len ? (size_t)n : end - len - 1;
	text[len++] = '\n';
	dropped = put(text, len) ? 0 : dropped + 1;
	errno = saved;
}
