/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much the push interface receives at a time, and when it waits for more to come. Pure: times come in as arguments.
 *
 * Under load a nap after a batch lets several packets come for one wake-up, which costs most of what a packet costs. On
 * a quiet queue, or where the sender waits for the packet in hand, it is nothing but delay. So there is a nap only
 * where the last millisecond says that several packets will come in it, and not where a nap was in vain just now.
 */
#ifndef SPW_INSPECT_PACE_H
#define SPW_INSPECT_PACE_H

#include <stdint.h>

#define PACE_BATCH_MOST 256u
#define PACE_NAP_NS     50000u
#define PACE_NAP_FOR    10u /* packets that are to come in a nap */

struct pace {
	unsigned batch;       /* packets to receive at a time */
	uint64_t begun;       /* the batch that is being shown */
	uint64_t window;      /* when the measurement began */
	uint64_t packets;     /* since then */
	unsigned expected;    /* packets in a nap's time, as of the last measurement */
	unsigned vain, pause; /* naps in vain in a row; batches until the next one is tried */
	unsigned napped;      /* 1: a nap preceded this batch */
};

void pace_start(struct pace *p);

/* A batch begins to be shown. */
void pace_begin(struct pace *p, uint64_t now_ns);

/* It has been, `n` messages: how long to nap before the next is received; 0: not at all. */
uint64_t pace_end(struct pace *p, unsigned n, uint64_t now_ns);

#endif
