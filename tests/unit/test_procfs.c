/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reader of the kernel's table, on tables that lie in a file: many rows, near misses, cut and foreign lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <spillway/queue.h>

/* As the kernel writes a line. */
#define ROW "%5u %6u %5u %1u %5u %5u %5u %8u %2d\n"

static struct spw_queue *queue_with(uint16_t number, const char *table)
{
	const struct spw_queue_config config = {.size = sizeof(config)};
	const int file = memfd_create("table", MFD_CLOEXEC);
	const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct spw_queue *queue;

	assert_int_equal(write(file, table, strlen(table)), strlen(table));
	assert_int_equal(spw_queue_adopt(&queue, number, fd, file, &config), 0);
	assert_int_equal(spw_queue_number(queue), number);
	assert_int_equal(spw_queue_fd(queue), fd);
	assert_int_equal(spw_queue_proc_fd(queue), file);
	return queue;
}

static int look(uint16_t number, const char *table, struct spw_queue_stat *stat)
{
	struct spw_queue *queue = queue_with(number, table);
	const int err = spw_queue_stat(queue, stat);

	assert_int_equal(spw_queue_error(queue)[0] != '\0', err < 0);
	spw_queue_close(queue);
	return err;
}

static void test_row(void **state)
{
	struct spw_queue_stat stat;
	char table[256];

	(void)state;
	snprintf(table, sizeof(table), ROW, 7, 4294967295u, 70000, 2, 65531, 123456, 4000000000u, 4294967295u, 1);
	assert_int_equal(look(7, table, &stat), 0);
	assert_int_equal(stat.portid, 4294967295u);
	assert_int_equal(stat.held, 70000);
	assert_int_equal(stat.copy_mode, 2);
	assert_int_equal(stat.copy_range, 65531);
	assert_int_equal(stat.queue_dropped, 123456);
	assert_int_equal(stat.user_dropped, 4000000000u);
	assert_int_equal(stat.id_sequence, 4294967295u);
}

/* Several queues of one reading, in the caller's order. */
static void test_several(void **state)
{
	struct spw_queue_stat stat[3];
	struct spw_queue *queue[65];
	char table[512];
	int at = 0;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		at += snprintf(table + at, sizeof(table) - (size_t)at, ROW, i, 100 + i, i, 2, 0, 0, 0, i, 1);
	queue[0] = queue_with(4, table);
	queue[1] = queue_with(0, table);
	queue[2] = queue_with(4, table);
	assert_int_equal(spw_queue_stat_all(queue, 3, stat), 0);
	assert_int_equal(stat[0].portid, 104);
	assert_int_equal(stat[1].portid, 100);
	assert_int_equal(stat[2].portid, 104);
	spw_queue_close(queue[2]);
	queue[2] = queue_with(5, table);
	assert_int_equal(spw_queue_stat_all(queue, 3, stat), -ENODEV);
	assert_int_equal(spw_queue_error(queue[1])[0], '\0');
	assert_int_not_equal(spw_queue_error(queue[2])[0], '\0');
	assert_int_equal(spw_queue_stat_all(queue, 0, stat), -EINVAL);
	assert_int_equal(spw_queue_stat_all(queue, 65, stat), -EINVAL);
	for (unsigned i = 0; i < 3; i++)
		spw_queue_close(queue[i]);
}

static void test_exact_number(void **state)
{
	struct spw_queue_stat stat;
	char table[512];

	(void)state;
	snprintf(table, sizeof(table), ROW ROW ROW, 15, 5, 5, 2, 5, 5, 5, 5, 1, 50, 5, 5, 2, 5, 5, 5, 5, 1, 65535, 5, 5,
		 2, 5, 5, 5, 5, 1);
	assert_int_equal(look(5, table, &stat), -ENODEV);
	assert_int_equal(look(1, table, &stat), -ENODEV);
	assert_int_equal(look(0, table, &stat), -ENODEV);
	assert_int_equal(look(50, table, &stat), 0);
	assert_int_equal(look(65535, table, &stat), 0);
	assert_int_equal(look(5, "", &stat), -ENODEV);
}

static void test_many_rows(void **state)
{
	enum { ROWS = 1000 };
	static char table[ROWS * 64];
	struct spw_queue_stat stat;
	size_t len = 0;

	(void)state;
	for (unsigned i = 0; i < ROWS; i++)
		len += (size_t)snprintf(table + len, sizeof(table) - len, ROW, 2 * i, i, i, 2, 65531, 0, 0, i, 1);
	for (unsigned i = 0; i < ROWS; i += 37) {
		assert_int_equal(look((uint16_t)(2 * i), table, &stat), 0);
		assert_int_equal(stat.id_sequence, i);
		assert_int_equal(look((uint16_t)(2 * i + 1), table, &stat), -ENODEV);
	}
}

/* Never taken for a row: what begins in the middle of one, lacks columns, or is something else. */
static void test_cut_rows(void **state)
{
	struct spw_queue_stat stat;
	char table[128];

	(void)state;
	snprintf(table, sizeof(table), ROW, 12345, 123456, 1, 2, 65531, 0, 0, 1, 1);
	for (const char *cut = table + 1; *cut; cut++) {
		for (unsigned number = 0; number < 5; number++) {
			static const uint16_t part[] = {2345, 345, 45, 5, 23456};

			assert_true(look(part[number], cut, &stat) < 0);
		}
	}
	for (size_t len = strlen(table) - 1; len > 0; len--) {
		table[len] = '\0';
		assert_true(look(12345, table, &stat) < 0);
	}
	assert_true(look(1, "    1 and so on\n", &stat) < 0);
	assert_true(look(1, "    1\n", &stat) < 0);
	assert_true(look(1, "\n\n\n", &stat) < 0);
}

static void test_adopt_refuses(void **state)
{
	const struct spw_queue_config config = {.size = sizeof(config), .copy_mode = 3};
	struct spw_queue *queue;

	(void)state;
	assert_true(
	    spw_queue_adopt(&queue, 1, memfd_create("no", MFD_CLOEXEC), memfd_create("no", MFD_CLOEXEC), &config) < 0);
	assert_non_null(strstr(spw_queue_error(queue), "netlink"));
	spw_queue_close(queue);
	assert_int_equal(spw_queue_adopt(&queue, 1, socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE),
					 memfd_create("no", MFD_CLOEXEC), &config),
			 -EINVAL);
	assert_non_null(strstr(spw_queue_error(queue), "copy mode"));
	spw_queue_close(queue);
	spw_queue_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_row),       cmocka_unit_test(test_several),  cmocka_unit_test(test_exact_number),
	    cmocka_unit_test(test_many_rows), cmocka_unit_test(test_cut_rows), cmocka_unit_test(test_adopt_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
