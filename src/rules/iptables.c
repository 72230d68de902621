/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules by iptables and ip6tables: see firewall.h. Appends rules to the built-in chains of mangle and deletes single
 * ones; makes no chain and takes none away. The nfacct object comes and goes over netlink.
 */
#include "rules/firewall.h"

#include "nfqueue/counter.h"
#include "rules/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where rule_iptables() puts -A. */
#define OPERATION 4

static const char *program(enum rule_family family)
{
	return family == RULE_IPV6 ? "ip6tables" : "iptables";
}

/* What a failure means, by exit status and text: iptables has one status for many things. */
static int meaning(const struct command *c)
{
	static const char *const lacks[] = {"missing kernel module", "(No such file or directory): rule",
					    "No chain/target/match", "can't initialize", "(Not supported)"};

	if (strstr(c->error, "ermission denied") || strstr(c->error, "not permitted"))
		return -EPERM;
	if (c->status == 2 || strstr(c->error, "(Invalid argument)"))
		return -EINVAL;
	for (size_t i = 0; i < sizeof(lacks) / sizeof(*lacks); i++)
		if (strstr(c->error, lacks[i]))
			return -EOPNOTSUPP;
	return -EIO;
}

static int fail(const struct command *c, enum rule_family family, char error[FIREWALL_ERROR])
{
	const char *other = family == RULE_IPV6 ? ", or leave IPv6 out with --family ipv4" : "";
	const char *what = c->error[0] ? c->error : "it failed without a word";
	const int err = meaning(c);

	if (err == -EPERM)
		return firewall_fail(error, err, "%s: %s; start as root or with CAP_NET_ADMIN", program(family), what);
	if (err == -EINVAL)
		return firewall_fail(error, err, "%s: %s; correct what sorts the traffic", program(family), what);
	if (err == -EOPNOTSUPP)
		return firewall_fail(
		    error, err,
		    "%s: the kernel refuses the rule: %s; load xt_NFQUEUE, xt_nfacct and the modules of its matches%s",
		    program(family), what, other);
	return firewall_fail(error, err, "%s: %s; put that right and try again%s", program(family), what, other);
}

/* Runs a command that is to succeed. 0: command_end() is left to do. */
static int run(const struct words *w, enum rule_family family, struct command *c, char error[FIREWALL_ERROR])
{
	int err = command_run(w, c);

	if (err)
		return firewall_no_command(error, err, program(family),
					   family == RULE_IPV6 ? ", or leave IPv6 out with --family ipv4" : "");
	if (!c->status)
		return 0;
	err = fail(c, family, error);
	command_end(c);
	return err;
}

static int list(const struct rule *r, enum rule_family family, struct command *c, char error[FIREWALL_ERROR])
{
	struct words w;

	rule_iptables_begin(family, &w);
	words_add(&w, "-S");
	words_add(&w, "%s", rule_chain(r));
	return run(&w, family, c, error);
}

static bool uses_conntrack(const struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (!strcmp(w->at[i], "conntrack"))
			return true;
	return false;
}

static enum rule_own read_line(const struct rule *r, const char *line, struct firewall_listed *listed)
{
	struct words *w = &listed->words;

	words_begin(w);
	if (!words_split(w, line) || !w->count || strcmp(w->at[0], "-A") != 0)
		return RULE_FOREIGN;
	listed->conntrack = uses_conntrack(w);
	for (size_t i = 1; i + 1 < w->count; i++)
		if (!strcmp(w->at[i], "--comment"))
			return rule_own(r, w->at[i + 1]);
	return RULE_FOREIGN;
}

/* What is there for the same traffic, or RULE_FOREIGN; a negative errno. */
static int find(const struct rule *r, enum rule_family family, char error[FIREWALL_ERROR])
{
	struct command c;
	int found = list(r, family, &c, error);

	if (found)
		return found;
	found = (int)firewall_nearest(r, c.out, read_line);
	command_end(&c);
	return found;
}

/* 1: made; 0: it is there; a negative errno. */
static int apply_family(const struct rule *r, enum rule_family family, FILE *out, char error[FIREWALL_ERROR])
{
	struct command c;
	struct words w;
	int err = find(r, family, error);

	if (err == RULE_SAME) {
		fprintf(out, "%s: the rule is there already\n", program(family));
		return 0;
	}
	if (err == RULE_OTHER_POLICY)
		return firewall_other_policy(error, r, program(family));
	if (err < 0)
		return err;
	rule_iptables(r, family, &w);
	err = run(&w, family, &c, error);
	if (err)
		return err;
	command_end(&c);
	fprintf(out, "%s: the rule is made\n", program(family));
	return 1;
}

/* Takes the rule of an apply_family() back; there is nobody left to tell where that fails. */
static void take_back(const struct rule *r, enum rule_family family, FILE *out)
{
	struct command c;
	struct words w;

	rule_iptables(r, family, &w);
	w.at[OPERATION][1] = 'D';
	if (command_run(&w, &c))
		return;
	if (!c.status)
		fprintf(out, "%s: the rule is taken back\n", program(family));
	command_end(&c);
}

static int apply_rules(const struct rule *r, FILE *out, char error[FIREWALL_ERROR])
{
	int made = rule_has(r, RULE_IPV4) ? apply_family(r, RULE_IPV4, out, error) : 0, err;

	if (made < 0 || !rule_has(r, RULE_IPV6))
		return made < 0 ? made : 0;
	err = apply_family(r, RULE_IPV6, out, error);
	if (err < 0 && made)
		take_back(r, RULE_IPV4, out);
	return err < 0 ? err : 0;
}

static int fail_counter(int err, char error[FIREWALL_ERROR])
{
	if (err == -EINVAL || err == -EOPNOTSUPP || err == -EPROTONOSUPPORT)
		return firewall_fail(error, -EOPNOTSUPP,
				     "the kernel has no nfacct objects, with which the rules count; load "
				     "nfnetlink_acct, or use a kernel with CONFIG_NETFILTER_NETLINK_ACCT");
	return firewall_fail(error, err, "making the counter: %s; put that right and try again", strerror(-err));
}

int iptables_apply(const struct rule *r, FILE *out, char error[FIREWALL_ERROR])
{
	struct spw_counter c;
	bool made;
	int err = firewall_permission(r->queue, error);

	if (err)
		return err;
	err = spw_counter_open(&c);
	if (!err)
		err = spw_counter_make(&c, r->queue);
	made = !err;
	if (err && err != -EEXIST) {
		err = fail_counter(err, error);
	} else {
		err = apply_rules(r, out, error);
		if (err && made)
			spw_counter_delete(&c, r->queue);
	}
	spw_counter_close(&c);
	return err;
}

/* Deletes a rule that was listed as these words. */
static int delete_rule(const struct words *listed, enum rule_family family, char error[FIREWALL_ERROR])
{
	struct command c;
	struct words w;
	int err;

	rule_iptables_begin(family, &w);
	words_add(&w, "-D");
	for (size_t i = 1; i < listed->count; i++)
		words_add(&w, "%s", listed->at[i]);
	if (w.full)
		return firewall_fail(error, -E2BIG, "%s: a rule is too long; delete it by hand", program(family));
	err = run(&w, family, &c, error);
	if (!err)
		command_end(&c);
	return err;
}

static int remove_family(const struct rule *r, enum rule_family family, bool all, FILE *out, char error[FIREWALL_ERROR])
{
	const enum rule_own least = all ? RULE_OF_QUEUE : RULE_OTHER_POLICY;
	struct firewall_listed listed;
	struct command c;
	unsigned count = 0;
	bool conntrack = false;
	int err = list(r, family, &c, error);

	if (err)
		return err;
	while (!err && firewall_next(r, c.out, read_line, least, &listed) != RULE_FOREIGN) {
		err = delete_rule(&listed.words, family, error);
		count += !err;
		conntrack |= !err && listed.conntrack;
	}
	command_end(&c);
	if (count)
		fprintf(out, "%s: %u removed%s\n", program(family), count, conntrack ? FIREWALL_CONNTRACK : "");
	else if (!err)
		fprintf(out, "%s: no such rule; nothing to remove\n", program(family));
	return err;
}

/* Where a rule still counts with it, the kernel keeps it. */
static void remove_counter(uint16_t queue)
{
	struct spw_counter c;

	if (!spw_counter_open(&c))
		spw_counter_delete(&c, queue);
	spw_counter_close(&c);
}

int iptables_remove(const struct rule *r, bool all, FILE *out, char error[FIREWALL_ERROR])
{
	int err = firewall_permission(r->queue, error);

	if (!err && (r->family & RULE_IPV4))
		err = remove_family(r, RULE_IPV4, all, out, error);
	if (!err && (r->family & RULE_IPV6))
		err = remove_family(r, RULE_IPV6, all, out, error);
	if (!err)
		remove_counter(r->queue);
	return err;
}
