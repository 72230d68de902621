/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules by nft: see firewall.h. They stand in base chains of the table inet spillway, named as the hooks. A transaction
 * that fails takes a base chain away that it has just made, and with it all that waits in the queues. So the rule is
 * tried first, in a chain without a hook; then table, counter, a gate's chain and base chain are made, then the rule. A
 * base chain once made stays.
 */
#include "rules/firewall.h"

#include "nfqueue/counter.h"
#include "rules/command.h"
#include "rules/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL       "spillway-try"
/* Bytes of a transaction: one rule, a gate's chain, and some short commands. */
#define TRANSACTION (RULE_NFT_TEXT + 2048)

static int run(const char *option, const char *text, struct command *c, char error[FIREWALL_ERROR])
{
	struct words w;
	int err;

	words_begin(&w);
	words_add(&w, "nft");
	if (option)
		words_add(&w, "%s", option);
	words_add(&w, "%s", text);
	err = command_run(&w, c);
	return err ? firewall_no_command(error, err, "nft", ", or use --backend iptables") : 0;
}

/* Runs a transaction; what nft says is left in `said`. 0, -EIO: it was refused; or another negative errno. */
static int transaction(const char *option, const char *text, char said[256], char error[FIREWALL_ERROR])
{
	struct command c;
	int err = run(option, text, &c, error);

	if (err)
		return err;
	snprintf(said, 256, "%s", c.error);
	err = c.status ? firewall_fail(error, -EIO, "nft: %s; put that right and try again", said) : 0;
	command_end(&c);
	return err;
}

/* Appends one of the rule's commands to a transaction. */
static void append(char text[TRANSACTION], const struct rule *r, enum rule_nft command, const char *chain)
{
	const size_t len = strlen(text);
	char part[RULE_NFT_TEXT];

	rule_nft(r, command, chain, part);
	if (!part[0])
		return;
	snprintf(text + len, TRANSACTION - len, "%s%s", len ? "; " : "", part);
}

/* Is there a queue statement in this kernel, and does it take this rule? Changes nothing. */
static int try_rule(const struct rule *r, char error[FIREWALL_ERROR])
{
	struct rule tried = *r;
	char text[TRANSACTION] = "", said[256];
	int err = transaction("-c",
			      "add table inet spillway; add chain inet spillway " TRIAL
			      "; add rule inet spillway " TRIAL " queue to 0",
			      said, error);

	if (err == -EIO)
		return firewall_fail(error, -EOPNOTSUPP,
				     "nft: the kernel refuses a queue rule: %s; load nft_queue, use a kernel with "
				     "CONFIG_NFT_QUEUE, or use --backend iptables",
				     said);
	if (err)
		return err;
	/* A trial that were the only one to use conntrack would take its hooks away at the end. */
	tried.state = RULE_ANY;
	append(text, &tried, RULE_NFT_TABLE, TRIAL);
	append(text, &tried, RULE_NFT_COUNTER, TRIAL);
	append(text, &tried, RULE_NFT_GATE, TRIAL);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "; add chain inet spillway " TRIAL);
	append(text, &tried, RULE_NFT_RULE, TRIAL);
	err = transaction("-c", text, said, error);
	return err == -EIO
		   ? firewall_fail(
			 error, -EINVAL,
			 "nft: %s; correct what sorts the traffic; a set has to be in the table inet spillway", said)
		   : err;
}

static enum rule_own read_line(const struct rule *r, const char *line, struct firewall_listed *listed)
{
	static const char comment[] = " comment \"", end[] = "\" # handle ";
	const char *from = strstr(line, comment), *to = from ? strstr(from, end) : NULL;
	char text[RULE_COMMENT];

	if (!to)
		return RULE_FOREIGN;
	from += strlen(comment);
	snprintf(text, sizeof(text), "%.*s", (int)(to - from), from);
	listed->handle = strtoull(to + strlen(end), NULL, 10);
	listed->conntrack = strstr(line, "ct ") != NULL;
	listed->gate = strstr(line, " jump " RULE_GATE_NFT) != NULL;
	return rule_own(r, text);
}

/* Lists the hook's chain. 0: command_end() is left to do; -ENOENT: there is no such chain. */
static int list(const struct rule *r, struct command *c, char error[FIREWALL_ERROR])
{
	char text[64];
	int err;

	snprintf(text, sizeof(text), "list chain inet spillway %s", rule_hook_name(r->hook));
	err = run("-a", text, c, error);
	if (err || !c->status)
		return err;
	err = strstr(c->error, "No such file") ? -ENOENT : -EIO;
	firewall_fail(error, err, "nft: %s; put that right and try again", c->error);
	command_end(c);
	return err;
}

static int find(const struct rule *r, struct firewall_found *found, char error[FIREWALL_ERROR])
{
	struct command c;
	int err = list(r, &c, error);

	*found = (struct firewall_found){.same = false};
	if (err)
		return err == -ENOENT ? 0 : err;
	firewall_find(r, c.out, read_line, found);
	command_end(&c);
	return 0;
}

/* Where a rule still counts with it, the kernel keeps it. */
static void remove_counters(const struct rule *r)
{
	char text[96], name[SPW_COUNTER_NAME], said[256], error[FIREWALL_ERROR];

	for (enum spw_counter_kind kind = 0; kind < SPW_COUNTER_KINDS; kind++) {
		spw_counter_name(r->queue, kind, name);
		snprintf(text, sizeof(text), "delete counter inet spillway %s", name);
		transaction(NULL, text, said, error);
	}
}

/* Table, counter, chains, all of which may be there; then the rule, behind the one that it replaces. */
static int make(const struct rule *r, const struct firewall_found *found, char error[FIREWALL_ERROR])
{
	const char *hook = rule_hook_name(r->hook);
	char text[TRANSACTION] = "", said[256], place[64];
	int err;

	for (enum rule_nft c = RULE_NFT_TABLE; c < RULE_NFT_RULE; c++)
		append(text, r, c, hook);
	err = transaction(NULL, text, said, error);
	if (err || found->same)
		return err;
	if (found->other)
		snprintf(place, sizeof(place), "%s position %llu", hook, found->handle);
	else
		snprintf(place, sizeof(place), "%s", hook);
	rule_nft(r, RULE_NFT_RULE, place, text);
	err = transaction(NULL, text, said, error);
	if (err && !found->other)
		remove_counters(r);
	return err;
}

static int delete_rule(const struct rule *r, unsigned long long handle, char error[FIREWALL_ERROR])
{
	char text[128], said[256];

	snprintf(text, sizeof(text), "delete rule inet spillway %s handle %llu", rule_hook_name(r->hook), handle);
	return transaction(NULL, text, said, error);
}

/* Deletes the rules of r's traffic that have the gate where r has not, or the reverse; of one that passes, those that
 * do so by another mark. */
static int delete_others(const struct rule *r, char error[FIREWALL_ERROR])
{
	const enum rule_own least = r->kind == RULE_QUEUE ? RULE_SAME : RULE_OTHER_POLICY;
	enum rule_own own;
	struct firewall_listed listed;
	struct command c;
	int err = list(r, &c, error);

	if (err)
		return err;
	while (!err && (own = firewall_next(r, c.out, read_line, least, &listed)) != RULE_FOREIGN)
		if (own == RULE_OTHER_POLICY || listed.gate != r->gate)
			err = delete_rule(r, listed.handle, error);
	command_end(&c);
	return err;
}

/* Takes the gate's chain away, if there is one and nothing goes there any more: else the transaction fails as a whole.
 */
static bool drop_gate_chain(const struct rule *r)
{
	char chain[RULE_GATE_CHAIN], text[160], said[256], error[FIREWALL_ERROR];

	rule_gate_chain(r, chain);
	snprintf(text, sizeof(text), "flush chain inet spillway %s; delete chain inet spillway %s", chain, chain);
	return !transaction(NULL, text, said, error);
}

/* Both policies' chains; with the last one the gate leaves the devices. */
static void drop_gate(const struct rule *r, bool unpin, FILE *out)
{
	struct rule with = *r, other = *r;

	other.shut = !r->shut;
	if (!drop_gate_chain(&with) && !drop_gate_chain(&other))
		return;
	pins_detach(r->queue);
	if (unpin)
		pins_release(r->queue, out);
}

int nft_apply(const struct rule *r, FILE *out, char error[FIREWALL_ERROR])
{
	struct rule with = *r; /* its rules hold no program: nothing is made of which it is */
	struct firewall_found found;
	int err = firewall_permission(r->queue, error);

	if (!err && r->gate)
		err = pins_check(&with, error);
	if (!err)
		err = try_rule(r, error);
	if (!err)
		err = find(r, &found, error);
	if (!err && found.policy)
		return firewall_other_policy(error, r, "nft");
	/* The marks come before the rule that looks for them. */
	if (!err && r->gate)
		err = pins_attach(r, error);
	if (!err && (r->gate || !found.same))
		err = make(r, &found, error);
	if (!err && found.other)
		err = delete_others(r, error);
	if (err)
		return err;
	if (found.other && !r->gate)
		drop_gate(r, false, out);
	firewall_tell(r, &found, "nft", out);
	return 0;
}

/* The queue's rule is there, so table and chain are, and a failure takes none away. */
int nft_pass(const struct rule *r, FILE *out, char error[FIREWALL_ERROR])
{
	const bool wanted = r->connmark_mask[r->kind];
	char text[TRANSACTION] = "", said[256], place[64];
	struct firewall_found found;
	int err = find(r, &found, error);

	if (!err && wanted && !found.same) {
		snprintf(place, sizeof(place), "%s position %llu", rule_hook_name(r->hook), found.handle);
		append(text, r, RULE_NFT_COUNTER, NULL);
		append(text, r, RULE_NFT_RULE, found.traffic ? place : rule_hook_name(r->hook));
		err = transaction(NULL, text, said, error);
	}
	if (!err && found.policy)
		err = delete_others(r, error);
	if (!err && (wanted || found.policy))
		firewall_tell(r, &found, "nft", out);
	return err;
}

int nft_remove(const struct rule *r, bool all, FILE *out, char error[FIREWALL_ERROR])
{
	const enum rule_own least = all ? RULE_OF_QUEUE : RULE_OF_TRAFFIC;
	struct firewall_listed listed;
	struct command c;
	unsigned count = 0;
	bool conntrack = false;
	int err = firewall_permission(r->queue, error);

	if (!err)
		err = list(r, &c, error);
	if (err == -ENOENT)
		fprintf(out, "nft: no such rule; nothing to remove\n");
	if (err)
		return err == -ENOENT ? 0 : err;
	while (!err && firewall_next(r, c.out, read_line, least, &listed) != RULE_FOREIGN) {
		err = delete_rule(r, listed.handle, error);
		count += !err;
		conntrack |= !err && listed.conntrack;
	}
	command_end(&c);
	if (count)
		fprintf(out,
			"nft: %u removed%s; the table inet spillway and its chain %s stay, since taking a chain away "
			"drops every packet that waits in a queue\n",
			count, conntrack ? FIREWALL_CONNTRACK : "", rule_hook_name(r->hook));
	else if (!err)
		fprintf(out, "nft: no such rule; nothing to remove\n");
	if (err)
		return err;
	drop_gate(r, true, out);
	remove_counters(r);
	return 0;
}
