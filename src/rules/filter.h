/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pcap filter expression into the bytecode that iptables' bpf match runs. Loads libpcap, only when it is called: that
 * brings a dozen libraries, which no process that has to do with packets shall have.
 */
#ifndef SPW_RULES_FILTER_H
#define SPW_RULES_FILTER_H

#include "rules/rule.h"

/*
 * Compiles r->filter into r->bytecode, once for each family of the rule. 0; -EINVAL: the expression is wrong, or takes
 * no packet at all; -ENOENT: no libpcap here; other errnos. Not 0: `error` says it: what: why; what to do.
 */
int filter_compile(struct rule *r, char error[512]);

#endif
