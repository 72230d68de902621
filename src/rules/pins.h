/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a rule needs of a queue's gate: that it is pinned, that it stands at the devices, and that it goes when nobody
 * wants it any more. Loads none: `spillway run --gate on` does.
 */
#ifndef SPW_RULES_PINS_H
#define SPW_RULES_PINS_H

#include "rules/firewall.h"

/* Notes in *r which program its queue's gate is. 0; -ENOENT: there is no gate for the queue, or no place for one;
 * -EOPNOTSUPP: this build has none; -EPROTO: another version's; or another negative errno. Not 0: `error` says it. */
int pins_check(struct rule *r, char error[FIREWALL_ERROR]);

/* Tells the gate the rule's mark and puts it at the ingress of the rule's devices, where it is not yet. As above. */
int pins_attach(const struct rule *r, char error[FIREWALL_ERROR]);

/* Takes the queue's gate away from all devices of this network namespace. */
void pins_detach(uint16_t queue);

/* Removes the pins, and tells `out`, where nobody is bound to the queue in this network namespace. */
void pins_release(uint16_t queue, FILE *out);

#endif
