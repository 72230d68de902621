/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pages that the control process reads: the keeper's board, and each lane's page that its engine writes.
 */
#ifndef SPW_CONTROL_PAGES_H
#define SPW_CONTROL_PAGES_H

#include "engine/engine.h"
#include "keeper/board.h"

struct pages {
	const struct board *board;
	const struct engine_page *page[KEEPER_LANES]; /* NULL from the first lane on that has none */
};

/* Maps what lies at CONTROL_FD_BOARD and from CONTROL_FD_PAGE on. 0 or a negative errno; -EPROTO: another layout. */
int pages_map(struct pages *p);

/* Lanes that there are, and whose page is mapped. */
unsigned pages_lanes(const struct pages *p);

#endif
