/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapping the pages: see pages.h. Reads them only.
 */
#include "control/pages.h"

#include "page.h"

#include <errno.h>

static int map_lane(struct pages *p, unsigned lane)
{
	p->page[lane] = page_map(CONTROL_FD_PAGE + (int)lane, sizeof(struct engine_page), PROT_READ);
	if (!p->page[lane])
		return -errno;
	return p->page[lane]->version == ENGINE_PAGE_VERSION ? 0 : -EPROTO;
}

int pages_map(struct pages *p)
{
	int error = 0;

	*p = (struct pages){.board = page_map(CONTROL_FD_BOARD, sizeof(struct board), PROT_READ)};
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
