/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapping the pages: see pages.h. Reads them only.
 */
#include "control/pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* NULL and errno where it can't be; a page that is too short would end us at the first look. */
static const void *map(int fd, size_t size)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return NULL;
	if (st.st_size < (off_t)size) {
		errno = EPROTO;
		return NULL;
	}
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int map_lane(struct pages *p, unsigned lane)
{
	p->page[lane] = map(CONTROL_FD_PAGE + (int)lane, sizeof(struct engine_page));
	if (!p->page[lane])
		return -errno;
	return p->page[lane]->version == ENGINE_PAGE_VERSION ? 0 : -EPROTO;
}

int pages_map(struct pages *p)
{
	int error = 0;

	*p = (struct pages){.board = map(CONTROL_FD_BOARD, sizeof(struct board))};
	if (!p->board)
		return -errno;
	if (p->board->version != BOARD_VERSION)
		return -EPROTO;
	for (unsigned i = 0; i < KEEPER_LANES && !error; i++)
		error = map_lane(p, i);
	return error == -EBADF ? 0 : error;
}

unsigned pages_lanes(const struct pages *p)
{
	unsigned told = __atomic_load_n(&p->board->lanes, __ATOMIC_ACQUIRE), n = 0;

	while (n < told && n < KEEPER_LANES && p->page[n])
		n++;
	return n;
}
