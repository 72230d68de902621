/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch file: see switch.h. Reads one file and its directory's events; changes nothing.
 *
 * A file is taken at its word when its writer has finished: closed it, moved it into place, or ended the line. What
 * stands there without any of these is taken after a moment of quiet.
 */
#include "keeper/switch.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SETTLE_MS   10
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE)
#define DIR_EVENTS  (FILE_EVENTS | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

enum switch_reading switch_parse(const char *text, long len)
{
	if (len == 0)
		return SWITCH_EMPTY;
	if (text[0] != '0' && text[0] != '1')
		return SWITCH_NONSENSE;
	if (len == 1)
		return SWITCH_UNFINISHED;
	if (text[1] != '\n' || len != 2)
		return SWITCH_NONSENSE;
	return text[0] == '1' ? SWITCH_ON : SWITCH_OFF;
}

static enum switch_reading read_file(const struct switch_file *s, int *value)
{
	char text[8];
	int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return SWITCH_ABSENT;
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n < 0)
		return SWITCH_ABSENT;
	*value = n > 0 && text[0] == '1';
	return switch_parse(text, n);
}

/* `finished`: nothing more is to be expected from the writer. */
static bool look_at_file(struct switch_file *s, bool finished)
{
	int value = 0;
	enum switch_reading r = read_file(s, &value);

	s->settle_at = 0;
	/* A file replaced is another inode; the same one is not watched twice. */
	(void)inotify_add_watch(s->inotify, s->path, FILE_EVENTS);
	if (r == SWITCH_OFF || r == SWITCH_ON || (r == SWITCH_UNFINISHED && finished)) {
		s->value = value;
		return true;
	}
	if (!finished)
		s->settle_at = clock_ms() + SETTLE_MS;
	else if (r == SWITCH_EMPTY || r == SWITCH_NONSENSE)
		log_line("%s: holds neither 0 nor 1; fail-open stays as it is, write 0 or 1 into it", s->path);
	return false;
}

int switch_open(struct switch_file *s, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	size_t len = slash ? (size_t)(slash - path) : 0;

	*s = (struct switch_file){.path = path, .name = slash ? slash + 1 : path, .value = -1, .inotify = -1};
	if (len >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, len);
	dir[len] = '\0';
	if (!len)
		snprintf(dir, sizeof(dir), "%s", slash ? "/" : ".");
	s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (s->inotify < 0)
		return -errno;
	s->dir_watch = inotify_add_watch(s->inotify, dir, DIR_EVENTS);
	if (s->dir_watch < 0)
		return -errno;
	look_at_file(s, true);
	return 0;
}

void switch_close(struct switch_file *s)
{
	if (s->inotify >= 0)
		close(s->inotify);
	s->inotify = -1;
}

static bool concerns_us(const struct switch_file *s, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return true;
	return e->wd != s->dir_watch || (e->len && !strcmp(e->name, s->name));
}

bool switch_look(struct switch_file *s)
{
	_Alignas(struct inotify_event) char buf[8192];
	bool look = false, finished = false;
	ssize_t n;

	while ((n = read(s->inotify, buf, sizeof(buf))) > 0) {
		const struct inotify_event *e;

		for (char *p = buf; p < buf + n; p += sizeof(*e) + e->len) {
			e = (const struct inotify_event *)p;
			if (e->wd == s->dir_watch && (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF)))
				log_line("%s: its directory is gone; fail-open stays as it is, use spillway set",
					 s->path);
			if (!concerns_us(s, e))
				continue;
			look = true;
			finished = e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_Q_OVERFLOW);
		}
	}
	if (s->settle_at && clock_ms() >= s->settle_at)
		look = finished = true;
	return look && look_at_file(s, finished);
}

int switch_timeout(const struct switch_file *s)
{
	uint64_t now = clock_ms();

	if (!s->settle_at)
		return -1;
	return s->settle_at > now ? (int)(s->settle_at - now) : 0;
}
