/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For plug-ins that take as long over a packet as a file says at that moment: 64 bits of nanoseconds, mapped once at
 * the start, because an inspector may open nothing later.
 */
#ifndef SPW_LAB_DELAY_H
#define SPW_LAB_DELAY_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_NAME "/run/spillway-lab/delay"

static const volatile uint64_t *delay_ns;

static int start(void **self)
{
	int fd = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*delay_ns), PROT_READ, MAP_SHARED, fd, 0);
	int error = errno;

	(void)self;
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return -error;
	delay_ns = map;
	return 0;
}

#endif
