/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What iptables and nft share: see firewall.h.
 */
#include "rules/firewall.h"

#include "nfqueue/counter.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int firewall_fail(char error[FIREWALL_ERROR], int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, FIREWALL_ERROR, format, args);
	va_end(args);
	return err;
}

int firewall_no_command(char error[FIREWALL_ERROR], int err, const char *name, const char *otherwise)
{
	return firewall_fail(error, err == -ENOENT ? -ENOEXEC : err, "%s: %s; install it%s", name,
			     err == -ENOENT ? "not found" : strerror(-err), otherwise);
}

int firewall_other_policy(char error[FIREWALL_ERROR], const struct rule *r, const char *name)
{
	return firewall_fail(error, -EEXIST,
			     "%s: there is a rule for the same traffic with --policy %s; --remove it first", name,
			     r->shut ? "spill" : "shut");
}

enum rule_own firewall_next(const struct rule *r, FILE *rules, firewall_reader *read, enum rule_own least,
			    struct firewall_listed *listed)
{
	enum rule_own own = RULE_FOREIGN;
	char *line = NULL;
	size_t room = 0;

	while (own < least && getline(&line, &room, rules) > 0)
		own = read(r, line, listed);
	free(line);
	return own < least ? RULE_FOREIGN : own;
}

static void note_place(struct firewall_found *found, const struct firewall_listed *listed)
{
	found->position = listed->position;
	found->handle = listed->handle;
}

void firewall_find(const struct rule *r, FILE *rules, firewall_reader *read, struct firewall_found *found)
{
	struct firewall_listed listed = {.position = 0};
	enum rule_own own;

	*found = (struct firewall_found){.same = false};
	while ((own = firewall_next(r, rules, read, RULE_OF_TRAFFIC, &listed)) != RULE_FOREIGN) {
		const bool passes = r->kind != RULE_QUEUE;

		if (own == RULE_OF_TRAFFIC && passes && !found->traffic) {
			found->traffic = true;
			note_place(found, &listed);
		} else if (own == RULE_OTHER_POLICY) {
			found->policy = true;
		} else if (own == RULE_SAME && (passes || listed.gate == r->gate)) {
			found->same = true;
		} else if (own == RULE_SAME && !found->other) {
			found->other = true;
			note_place(found, &listed);
		}
	}
}

void firewall_tell(const struct rule *r, const struct firewall_found *found, const char *name, FILE *out)
{
	if (r->kind != RULE_QUEUE)
		fprintf(out, "%s: %s connections %s by their mark%s\n", name,
			r->kind == RULE_TRUSTED ? "trusted" : "spilled",
			r->connmark_mask[r->kind] ? "pass" : "do not pass any more",
			!r->connmark_mask[r->kind] ? FIREWALL_CONNTRACK
			: found->same              ? " already"
						   : "");
	else if (found->other)
		fprintf(out, "%s: the gate is %s\n", name, r->gate ? "in" : "out");
	else if (found->same)
		fprintf(out, "%s: the rule is there already\n", name);
	else
		fprintf(out, "%s: the rule is made\n", name);
}

int firewall_permission(uint16_t queue, char error[FIREWALL_ERROR])
{
	struct spw_counter c;
	uint64_t packets, bytes;
	int err = spw_counter_open(&c);

	if (!err)
		err = spw_counter_read(&c, queue, SPW_COUNTER_QUEUE, &packets, &bytes);
	spw_counter_close(&c);
	if (err != -EPERM)
		return 0;
	return firewall_fail(error, err,
			     "the firewall: no permission to change it; start as root or with CAP_NET_ADMIN");
}
