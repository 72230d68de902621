/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's table of queues, /proc/net/netfilter/nfnetlink_queue, read through a descriptor that stays open.
 * Reads and parses; keeps nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* One read() of /proc returns at most a page. */
#define PAGE         4096
/* A queue number has five columns, also where it is shorter: so a line that was cut in front shows. */
#define NUMBER_WIDTH 5
#define COLUMNS      9
/* How often to look again when queues came or went between two pages. */
#define TRIES        4

/* What to do with each line; returning true ends the reading. */
typedef bool (*row_fn)(void *arg, const uint32_t column[COLUMNS]);

/* Opens the table of the calling thread's network namespace. Returns the descriptor or a negative errno. */
int spw_proc_open(void)
{
	const int fd = open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Reads the nine numbers of the line that begins at `line` and ends before `end`. */
static bool parse_row(const char *line, const char *end, uint32_t column[COLUMNS])
{
	const char *at = line;

	if (end - line <= NUMBER_WIDTH || line[NUMBER_WIDTH] != ' ')
		return false;
	for (unsigned i = 0; i < COLUMNS; i++) {
		uint32_t value = 0;
		const char *digits;

		while (at < end && *at == ' ')
			at++;
		for (digits = at; at < end && *at >= '0' && *at <= '9'; at++)
			value = value * 10 + (uint32_t)(*at - '0');
		if (at == digits)
			return false;
		column[i] = value;
	}
	return at == end;
}

/* Goes through the lines of one page, the last of them whole. 1: ended by the function; 0: all seen; -EAGAIN: a line
 * that is none. */
static int walk_page(const char *page, const char *end, row_fn row, void *arg)
{
	const char *newline;

	for (const char *line = page; line < end; line = newline + 1) {
		uint32_t column[COLUMNS];

		newline = memchr(line, '\n', (size_t)(end - line));
		if (!parse_row(line, newline, column))
			return -EAGAIN;
		if (row(arg, column))
			return 1;
	}
	return 0;
}

/* The whole table once. As walk_page(), or another negative errno; *pages says how many reads it took. */
static int walk(int proc_fd, row_fn row, void *arg, unsigned *pages)
{
	char page[PAGE];
	off_t offset = 0;

	for (*pages = 0;; ++*pages) {
		const ssize_t len = pread(proc_fd, page, sizeof(page), offset);
		const char *last;
		int err;

		if (len < 0)
			return -errno;
		if (len == 0)
			return 0;
		last = memrchr(page, '\n', (size_t)len);
		if (!last)
			return -EAGAIN;
		err = walk_page(page, last + 1, row, arg);
		if (err)
			return err;
		offset += last + 1 - page;
	}
}

/* The same number may be looked for twice. */
static bool find_row(void *arg, const uint32_t column[COLUMNS])
{
	struct spw_proc_rows *rows = arg;
	bool all = true;

	for (unsigned i = 0; i < rows->count; i++) {
		if (column[0] == rows->numbers[i]) {
			rows->found |= 1ull << i;
			rows->stats[i] = (struct spw_queue_stat){
			    .portid = column[1],
			    .held = column[2],
			    .copy_mode = column[3],
			    .copy_range = column[4],
			    .queue_dropped = column[5],
			    .user_dropped = column[6],
			    .id_sequence = column[7],
			};
		}
		all &= rows->found >> i & 1;
	}
	return all;
}

/*
 * The lines of some queues. -ENODEV: one has none, see rows->found. A page is a true picture, several are not: a queue
 * that goes in between moves the others, so that one may be missed. Then the reading begins anew.
 */
int spw_proc_find_all(int proc_fd, struct spw_proc_rows *rows)
{
	int err = -EAGAIN;

	for (unsigned i = 0; i < TRIES; i++) {
		unsigned pages;

		rows->found = 0;
		err = walk(proc_fd, find_row, rows, &pages);
		if (err == 1)
			return 0;
		if (err != -EAGAIN && (err < 0 || pages < 2))
			break;
	}
	return err ? err : -ENODEV;
}

int spw_proc_find(int proc_fd, uint16_t number, struct spw_queue_stat *stat)
{
	return spw_proc_find_all(proc_fd, &(struct spw_proc_rows){.count = 1, .numbers = &number, .stats = stat});
}

static bool mark_row(void *arg, const uint32_t column[COLUMNS])
{
	uint8_t *used = arg;

	used[(column[0] & UINT16_MAX) / 8] |= (uint8_t)(1u << (column[0] % 8));
	return false;
}

/* A queue number that nobody has bound. -ENOSPC: all are. */
int spw_proc_unused(int proc_fd, uint16_t *number)
{
	uint8_t used[(UINT16_MAX + 1) / 8] = {0};
	unsigned pages;
	const int err = walk(proc_fd, mark_row, used, &pages);

	if (err < 0 && err != -EAGAIN)
		return err;
	/* From above: people count from 0. */
	for (unsigned n = UINT16_MAX + 1; n-- > 0;) {
		if (!(used[n / 8] & (1u << (n % 8)))) {
			*number = (uint16_t)n;
			return 0;
		}
	}
	return -ENOSPC;
}
