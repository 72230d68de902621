/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wrong with the kernel, the firewall's rules and the queues of this network namespace, as far as Spillway is
 * concerned. Changes nothing; tries things in namespaces apart.
 */
#ifndef SPW_DOCTOR_DOCTOR_H
#define SPW_DOCTOR_DOCTOR_H

#include "doctor/findings.h"
#include "doctor/probe.h"
#include "doctor/ruleset.h"

/* A queue as /proc shows it. */
enum queue_state { QUEUE_UNBOUND, QUEUE_UNCONFIGURED, QUEUE_BOUND, QUEUE_UNSEEN, QUEUE_STATES };

/* Asks the kernel about one queue. */
typedef enum queue_state (*queue_look)(uint16_t number);

/* judge.c, pure: what is wrong with the rules, where queues are as look() says. */
void judge_rules(const struct ruleset *r, queue_look look, struct findings *f);

/* A queue's gate, as it is pinned. */
struct gate_pins {
	int error;        /* 0; -ENOENT: there is none; another negative errno: it could not be looked at */
	uint32_t program; /* the kernel's id */
	unsigned devices; /* that it stands at */
};
typedef struct gate_pins (*pins_look)(uint16_t number);

/* Rules without a gate, to queues that have one: before others of their rules, or in a running spillway, by its status
 * (NULL: there is none). Rules with a gate that is not the one that is pinned. */
void judge_gates(const struct ruleset *r, const json_t *status, pins_look look, struct findings *f);

/* lanes.c, pure: what is wrong with a running spillway, by its status, that may come from another version. */
void judge_status(const json_t *status, struct findings *f);

/*
 * Looks at everything. `control`: the control socket of a running spillway; there need not be one. *proof is what the
 * proof of fail-open came to.
 */
void doctor_examine(const char *control, struct findings *f, struct probe_proof *proof);

#endif
