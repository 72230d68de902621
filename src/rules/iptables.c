/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules by iptables and ip6tables: see firewall.h. Adds rules to the built-in chains of mangle and deletes single
 * ones; of chains, makes and takes away those of gates alone. The nfacct object comes and goes over netlink.
 */
#include "rules/firewall.h"

#include "nfqueue/counter.h"
#include "rules/command.h"
#include "rules/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
		    "%s: the kernel refuses the rule: %s; load xt_NFQUEUE, xt_nfacct and the modules of its "
		    "matches%s%s",
		    program(family), what,
		    /* The older backend hands the whole table over each time, and the kernel looks up all pins anew. */
		    strstr(c->error, "No chain/target/match")
			? "; where a gate's pins are gone that rules use, start its spillway run --gate on"
			: "",
		    other);
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
		if (!strcmp(w->at[i], "conntrack") || !strcmp(w->at[i], "connmark"))
			return true;
	return false;
}

static enum rule_own read_line(const struct rule *r, const char *line, struct firewall_listed *listed)
{
	struct words *w = &listed->words;

	words_begin(w);
	if (!words_split(w, line) || !w->count || strcmp(w->at[0], "-A") != 0)
		return RULE_FOREIGN;
	listed->position++;
	listed->conntrack = uses_conntrack(w);
	listed->gate = w->count > 2 && !strncmp(w->at[w->count - 1], RULE_GATE_IPTABLES, strlen(RULE_GATE_IPTABLES));
	for (size_t i = 1; i + 1 < w->count; i++)
		if (!strcmp(w->at[i], "--comment"))
			return rule_own(r, w->at[i + 1]);
	return RULE_FOREIGN;
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

/* The gate's chain: made, or made anew, in one step. All that its rules need besides pins is in the kernel. */
static int make_gate_chain(const struct rule *r, enum rule_family family, char error[FIREWALL_ERROR])
{
	const int fd = memfd_create("rules", MFD_CLOEXEC);
	FILE *lines = fd < 0 ? NULL : fdopen(fd, "w");
	struct command c;
	struct words w;
	int err;

	if (!lines) {
		if (fd >= 0)
			close(fd);
		return firewall_fail(error, -ENOMEM, "%s: no memory; free some", program(family));
	}
	rule_gate_write(r, lines);
	fflush(lines);
	words_begin(&w);
	words_add(&w, "%s-restore", program(family));
	words_add(&w, "-w");
	words_add(&w, "--noflush");
	words_add(&w, "/proc/%d/fd/%d", (int)getpid(), fd);
	err = command_run(&w, &c);
	fclose(lines);
	if (err)
		return firewall_no_command(error, err, w.at[0], "");
	if (c.status)
		err = firewall_fail(
		    error, -EOPNOTSUPP,
		    "%s: the kernel refuses the gate's rules: %s; load xt_bpf (CONFIG_NETFILTER_XT_MATCH_BPF) "
		    "and xt_NFQUEUE",
		    w.at[0], c.error[0] ? c.error : "it says no more");
	command_end(&c);
	return err;
}

/* What a list of the table says of a chain. */
struct chain_use {
	bool there, used;
};

static void look_at(const struct words *w, const char *chain, struct chain_use *use)
{
	if (w->count < 2)
		return;
	if (!strcmp(w->at[0], "-N") && !strcmp(w->at[1], chain))
		use->there = true;
	if (!strcmp(w->at[0], "-A") && strcmp(w->at[1], chain) != 0 && !strcmp(w->at[w->count - 1], chain))
		use->used = true;
}

static int find_chain(const char *chain, enum rule_family family, struct chain_use *use, char error[FIREWALL_ERROR])
{
	struct command c;
	struct words w;
	char *line = NULL;
	size_t room = 0;
	int err;

	*use = (struct chain_use){.there = false};
	rule_iptables_begin(family, &w);
	words_add(&w, "-S");
	err = run(&w, family, &c, error);
	if (err)
		return err;
	while (getline(&line, &room, c.out) > 0) {
		words_begin(&w);
		if (words_split(&w, line))
			look_at(&w, chain, use);
	}
	free(line);
	command_end(&c);
	return 0;
}

static int chain_command(const char *operation, const char *chain, enum rule_family family, char error[FIREWALL_ERROR])
{
	struct command c;
	struct words w;
	int err;

	rule_iptables_begin(family, &w);
	words_add(&w, "%s", operation);
	words_add(&w, "%s", chain);
	err = run(&w, family, &c, error);
	if (!err)
		command_end(&c);
	return err;
}

/* Takes the gate's chain away where nothing goes there any more. 1: taken away; 0; a negative errno. */
static int drop_gate_chain(const struct rule *r, enum rule_family family, char error[FIREWALL_ERROR])
{
	char chain[RULE_GATE_CHAIN];
	struct chain_use use;
	int err;

	rule_gate_chain(r, chain);
	err = find_chain(chain, family, &use, error);
	if (err || !use.there || use.used)
		return err;
	err = chain_command("-F", chain, family, error);
	if (!err)
		err = chain_command("-X", chain, family, error);
	return err ? err : 1;
}

/* Both policies' chains. How many were taken away, or a negative errno. */
static int drop_gate_chains(const struct rule *r, enum rule_family family, char error[FIREWALL_ERROR])
{
	struct rule with = *r;
	int count = 0;

	for (unsigned i = 0; i < 2; i++) {
		int err;

		with.shut = i;
		err = drop_gate_chain(&with, family, error);
		if (err < 0)
			return err;
		count += err;
	}
	return count;
}

static int find(const struct rule *r, enum rule_family family, struct firewall_found *found, char error[FIREWALL_ERROR])
{
	struct command c;
	int err = list(r, family, &c, error);

	if (err)
		return err;
	firewall_find(r, c.out, read_line, found);
	command_end(&c);
	return 0;
}

static int put_rule(const struct rule *r, enum rule_family family, unsigned before, char error[FIREWALL_ERROR])
{
	struct command c;
	struct words w;
	int err;

	rule_iptables(r, family, before, &w);
	err = run(&w, family, &c, error);
	if (!err)
		command_end(&c);
	return err;
}

/* Deletes the rules of r's traffic that have the gate where r has not, or the reverse; of one that passes, those that
 * do so by another mark. */
static int delete_others(const struct rule *r, enum rule_family family, char error[FIREWALL_ERROR])
{
	const enum rule_own least = r->kind == RULE_QUEUE ? RULE_SAME : RULE_OTHER_POLICY;
	enum rule_own own;
	struct firewall_listed listed = {.position = 0};
	struct command c;
	int err = list(r, family, &c, error);

	if (err)
		return err;
	while (!err && (own = firewall_next(r, c.out, read_line, least, &listed)) != RULE_FOREIGN)
		if (own == RULE_OTHER_POLICY || listed.gate != r->gate)
			err = delete_rule(&listed.words, family, error);
	command_end(&c);
	return err;
}

/* The rule that leads there could not be made: the chain goes again, unless others use it. */
static void forget_gate_chain(const struct rule *r, enum rule_family family)
{
	char error[FIREWALL_ERROR];

	drop_gate_chain(r, family, error);
}

/*
 * In this order, so that each packet meets the old rule or the new one: the gate's chain, the rule in front of the old
 * one, the old one away, its chain.
 */
static int apply_family(const struct rule *r, enum rule_family family, struct firewall_found *found, FILE *out,
			char error[FIREWALL_ERROR])
{
	int err = find(r, family, found, error);

	if (!err && found->policy)
		return firewall_other_policy(error, r, program(family));
	if (!err && r->gate)
		err = make_gate_chain(r, family, error);
	if (!err && !found->same)
		err = put_rule(r, family, found->other ? found->position : 0, error);
	if (err && r->gate)
		forget_gate_chain(r, family);
	if (!err && found->other)
		err = delete_others(r, family, error);
	if (!err && found->other && !r->gate)
		err = drop_gate_chain(r, family, error);
	if (err < 0)
		return err;
	firewall_tell(r, found, program(family), out);
	return 0;
}

/* Takes back what an apply_family() has done; there is nobody left to tell where that fails. */
static void take_back(const struct rule *r, enum rule_family family, const struct firewall_found *found, FILE *out)
{
	struct rule before = *r;
	struct firewall_found now;
	char error[FIREWALL_ERROR];
	struct command c;
	struct words w;

	before.gate = !r->gate;
	if (found->other) {
		apply_family(&before, family, &now, out, error);
		return;
	}
	if (found->same)
		return;
	rule_iptables(r, family, 0, &w);
	w.at[OPERATION][1] = 'D';
	if (command_run(&w, &c))
		return;
	if (!c.status)
		fprintf(out, "%s: the rule is taken back\n", program(family));
	command_end(&c);
	if (r->gate)
		drop_gate_chain(r, family, error);
}

static int apply_rules(const struct rule *r, FILE *out, char error[FIREWALL_ERROR])
{
	struct firewall_found v4 = {.same = true}, v6;
	int err = rule_has(r, RULE_IPV4) ? apply_family(r, RULE_IPV4, &v4, out, error) : 0;

	if (err || !rule_has(r, RULE_IPV6))
		return err;
	err = apply_family(r, RULE_IPV6, &v6, out, error);
	if (err)
		take_back(r, RULE_IPV4, &v4, out);
	return err;
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
	struct rule with = *r;
	struct spw_counter c;
	bool made;
	int err = firewall_permission(r->queue, error);

	if (!err && r->gate)
		err = pins_check(&with, error);
	if (err)
		return err;
	if (r->gate) /* which counts itself */
		return apply_rules(&with, out, error);
	err = spw_counter_open(&c);
	if (!err)
		err = spw_counter_make(&c, r->queue, rule_counter(r));
	made = !err;
	if (err && err != -EEXIST) {
		err = fail_counter(err, error);
	} else {
		err = apply_rules(&with, out, error);
		if (err && made)
			spw_counter_delete(&c, r->queue, rule_counter(r));
	}
	spw_counter_close(&c);
	return err;
}

static int pass_family(const struct rule *r, enum rule_family family, FILE *out, char error[FIREWALL_ERROR])
{
	const bool wanted = r->connmark_mask[r->kind];
	struct firewall_found found;
	int err = find(r, family, &found, error);

	if (!err && wanted && !found.same)
		err = put_rule(r, family, found.traffic ? found.position : 0, error);
	if (!err && found.policy)
		err = delete_others(r, family, error);
	if (!err && (wanted || found.policy))
		firewall_tell(r, &found, program(family), out);
	return err;
}

int iptables_pass(const struct rule *r, FILE *out, char error[FIREWALL_ERROR])
{
	struct spw_counter c;
	int err = r->connmark_mask[r->kind] ? spw_counter_open(&c) : 0;

	if (!err && r->connmark_mask[r->kind]) {
		err = spw_counter_make(&c, r->queue, rule_counter(r));
		spw_counter_close(&c);
	}
	if (err && err != -EEXIST)
		return fail_counter(err, error);
	err = 0;
	for (enum rule_family f = RULE_IPV4; !err && f <= RULE_IPV6; f++)
		if (rule_has(r, f))
			err = pass_family(r, f, out, error);
	return err;
}

static int remove_family(const struct rule *r, enum rule_family family, bool all, FILE *out, char error[FIREWALL_ERROR])
{
	const enum rule_own least = all ? RULE_OF_QUEUE : RULE_OF_TRAFFIC;
	struct firewall_listed listed = {.position = 0};
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
static void remove_counters(uint16_t queue)
{
	struct spw_counter c;

	if (!spw_counter_open(&c))
		for (enum spw_counter_kind kind = 0; kind < SPW_COUNTER_KINDS; kind++)
			spw_counter_delete(&c, queue, kind);
	spw_counter_close(&c);
}

/* Is a gate's chain left in either family? Where it can't be known: yes. */
static bool gate_in_use(const struct rule *r)
{
	struct rule with = *r;

	for (unsigned i = 0; i < 4; i++) {
		const enum rule_family family = i / 2 ? RULE_IPV6 : RULE_IPV4;
		char chain[RULE_GATE_CHAIN], error[FIREWALL_ERROR];
		struct chain_use use;
		int err;

		with.shut = i % 2;
		rule_gate_chain(&with, chain);
		err = find_chain(chain, family, &use, error);
		if (use.there || (err && err != -ENOEXEC))
			return true;
	}
	return false;
}

int iptables_remove(const struct rule *r, bool all, FILE *out, char error[FIREWALL_ERROR])
{
	int chains = 0, err = firewall_permission(r->queue, error);

	for (enum rule_family f = RULE_IPV4; !err && f <= RULE_IPV6; f++) {
		if (!(r->family & f))
			continue;
		err = remove_family(r, f, all, out, error);
		if (!err)
			err = drop_gate_chains(r, f, error);
		if (err > 0) {
			chains += err;
			err = 0;
		}
	}
	if (err)
		return err;
	remove_counters(r->queue);
	if (chains && !gate_in_use(r))
		pins_release(r->queue, out);
	return 0;
}
