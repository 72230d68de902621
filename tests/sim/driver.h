/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the engine in small share.
 */
#ifndef TESTS_SIM_DRIVER_H
#define TESTS_SIM_DRIVER_H

#include "world.h"

/* driver.c */
void driver_moment(struct world *w, uint64_t ns); /* others act; the engine may lose its processor or its life */
void driver_stop_here(struct world *w);

/* driver_look.c: false where the kernel could not be told, or seen */
bool driver_commit(struct world *w);
bool driver_repeat(struct world *w);
bool driver_same(const struct lane_sample *a, const struct lane_sample *b);
bool driver_look_at(struct world *w, unsigned class, struct lane_sample *s, bool careful);
bool driver_look(struct world *w, unsigned class);
bool driver_look_all(struct world *w);

/* driver_answers.c */
bool driver_has_answers(const struct world *w);
unsigned driver_take_answers(struct world *w); /* how many */

/* driver_step.c; true: more is to be done at once */
bool driver_tick(struct world *w);
bool driver_step(struct world *w);
/* The first id that is still unread. */
uint64_t driver_discard_stale(struct world *w, unsigned class);

/* driver_serve.c */
void driver_serve_inspector(struct world *w, uint32_t number);
void driver_serve_one(struct world *w);

#endif
