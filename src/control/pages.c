/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapping the pages: see pages.h. Reads them only.
 */
#include "control/pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* A page that is too short would end us at the first look. */
static int map(int fd, size_t size, const void **page)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < (off_t)size)
		return -EPROTO;
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*page = p;
	return 0;
}

static int map_lane(struct pages *p, unsigned lane)
{
	const void *page;
	int error = map(CONTROL_FD_PAGE + (int)lane, sizeof(struct engine_page), &page);

	if (error)
		return error;
	p->page[lane] = page;
	return p->page[lane]->version == ENGINE_PAGE_VERSION ? 0 : -EPROTO;
}

int pages_map(struct pages *p)
{
	const void *board;
	int error = map(CONTROL_FD_BOARD, sizeof(struct board), &board);

	*p = (struct pages){0};
	if (error)
		return error;
	p->board = board;
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
