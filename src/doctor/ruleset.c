/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules and base chains out of what iptables-save and nft list: see ruleset.h.
 */
#include "doctor/ruleset.h"

#include "doctor/chains.h"
#include "gate/gate.h"
#include "rules/rule.h"
#include "rules/words.h"

#include <stdlib.h>
#include <string.h>

/* As much of it as there is room for. */
static void name(char to[RULESET_NAME], const char *from)
{
	const size_t len = strnlen(from, RULESET_NAME - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

/* What was listed, into what is judged. */
static void ruleset_close(struct ruleset *r, struct chains *c)
{
	r->cut |= !c;
	if (!c)
		return;
	chains_resolve(c, r);
	chains_end(c);
}

/* iptables */

/* Where iptables' chains hang: the hook of a built-in one, and the table's priority. */
static void iptables_hook(struct listed_chain *listed, const char *table, const char *chain)
{
	static const char *const chains[][2] = {{"PREROUTING", "prerouting"},
						{"INPUT", "input"},
						{"FORWARD", "forward"},
						{"OUTPUT", "output"},
						{"POSTROUTING", "postrouting"}};
	static const struct {
		const char *table;
		int priority;
	} tables[] = {{"raw", -300}, {"mangle", -150}, {"nat", -100}, {"filter", 0}, {"security", 50}};

	int priority = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		if (!strcmp(table, tables[i].table))
			priority = tables[i].priority;
	for (size_t i = 0; i < sizeof(chains) / sizeof(*chains); i++)
		if (!strcmp(chain, chains[i][0]))
			chains_hook(listed, chains[i][1], priority);
}

/* "N" or "N:M". */
static bool iptables_queues(struct queue_rule *rule, const char *text)
{
	char *end;
	const unsigned long first = strtoul(text, &end, 10), last = *end == ':' ? strtoul(end + 1, &end, 10) : first;

	if (*end || end == text || first > last || last > UINT16_MAX)
		return false;
	rule->first = (uint16_t)first;
	rule->last = (uint16_t)last;
	rule->numbered = true;
	return true;
}

/* By the comment that `spillway rules` gives its rules. */
static bool made_to_shut(const char *comment)
{
	return !strncmp(comment, "spillway queue=", 15) && strstr(comment, " policy=shut");
}

/* A chain that `spillway rules --gate` makes: it takes every packet that comes to it. */
static bool is_gate_chain(const char *chain, const char *prefix)
{
	return !strncmp(chain, prefix, strlen(prefix));
}

static bool ends_with(const char *text, const char *end)
{
	const size_t len = strlen(text), tail = strlen(end);

	return len > tail && !strcmp(text + len - tail, end);
}

/* The queue of a pin of this program; -1: it is another's, or none. */
static int queue_of_pin(const char *path, const char *program)
{
	char dir[GATE_DIR], pin[GATE_DIR + 8];
	unsigned queue;

	if (sscanf(path, GATE_ROOT "/queue-%u/", &queue) != 1 || queue > UINT16_MAX)
		return -1;
	gate_directory((uint16_t)queue, dir);
	snprintf(pin, sizeof(pin), "%s/%s", dir, program);
	return strcmp(path, pin) ? -1 : (int)queue;
}

/* The value of an option; "": it is not there. A comment may say anything. */
static const char *value_of(const struct words *w, const char *option)
{
	for (size_t i = 2; i + 1 < w->count; i++) {
		if (!strcmp(w->at[i], option))
			return w->at[i + 1];
		i += !strcmp(w->at[i], "--comment");
	}
	return "";
}

/* An option with a value that sorts nothing. */
static bool sorts_nothing(const char *word, const char *value)
{
	if (!strcmp(word, "-m"))
		return !strcmp(value, "comment") || !strcmp(value, "nfacct");
	return !strcmp(word, "--comment") || !strcmp(word, "--nfacct-name");
}

/* Does the rule look at nothing before it goes to its target? */
static bool takes_all(const struct words *w)
{
	for (size_t i = 2; i < w->count && strcmp(w->at[i], "-j") != 0 && strcmp(w->at[i], "-g") != 0; i += 2)
		if (!sorts_nothing(w->at[i], i + 1 < w->count ? w->at[i + 1] : ""))
			return false;
	return true;
}

/* What the target is told, and what stands before it. */
static void iptables_queue(struct queue_rule *rule, const char *chain, const struct listed_chain *listed,
			   const struct words *w)
{
	const char *number = value_of(w, "--queue-num"), *balance = value_of(w, "--queue-balance");
	const bool ends = is_gate_chain(chain, RULE_GATE_IPTABLES);

	rule->numbered = true; /* without a number it is queue 0 */
	for (size_t i = 2; i < w->count; i++) {
		rule->bypass |= !strcmp(w->at[i], "--queue-bypass");
		if (!strcmp(w->at[i], "--queue-num") || !strcmp(w->at[i], "--queue-balance"))
			rule->numbered = iptables_queues(rule, *number ? number : balance);
	}
	rule->gate = rule->numbered && rule->first == rule->last && chains_gated(listed, rule->first, &rule->program);
	rule->shut = made_to_shut(value_of(w, "--comment")) || (ends && ends_with(chain, "-SHUT"));
	rule->everything = ends || takes_all(w);
}

/* The second word of "-A CHAIN ...", as the line has it; false: it is none, or too long. */
static bool chain_of(const char *line, char chain[RULESET_NAME])
{
	size_t len;

	if (strncmp(line, "-A ", 3) != 0)
		return false;
	len = strcspn(line + 3, " \n");
	if (!len || len >= RULESET_NAME)
		return false;
	memcpy(chain, line + 3, len);
	chain[len] = '\0';
	return true;
}

/* A line that leads somewhere, by its words: not by what stands in a comment. */
static const char *target_of(const char *line, struct words *w)
{
	const char *target;

	words_begin(w);
	if (!words_split(w, line))
		return "";
	target = value_of(w, "-j");
	return *target ? target : value_of(w, "-g");
}

static void iptables_where(char where[RULESET_WHERE], const char *family, const char *table, const char *chain)
{
	snprintf(where, RULESET_WHERE, "%s %s %s", !strcmp(family, "ip6") ? "ip6tables" : "iptables", table, chain);
}

/* A rule of a gate: one that asks it, or one that only looks up what it has decided. */
static bool iptables_gate(struct listed_chain *chain, const struct words *w)
{
	const char *pin = value_of(w, "--object-pinned"), *comment = value_of(w, "--comment");
	const int queue = queue_of_pin(pin, "pass");
	uint32_t program = 0;

	if (!strncmp(comment, RULE_GATE_PROGRAM, strlen(RULE_GATE_PROGRAM)))
		program = (uint32_t)strtoul(comment + strlen(RULE_GATE_PROGRAM), NULL, 10);
	if (queue >= 0)
		chains_gate(chain, (uint16_t)queue, program);
	return queue >= 0 || queue_of_pin(pin, "shut") >= 0;
}

/* A rule that queues nothing. */
static void iptables_other(struct chains *c, struct listed_chain *chain, const char *where, const char *target,
			   const struct words *w)
{
	char named[2 * RULESET_WHERE];
	struct listed_chain *to;

	if (iptables_gate(chain, w))
		return;
	snprintf(named, sizeof(named), "%.*s%s", (int)(strrchr(where, ' ') + 1 - where), where, target);
	to = chains_find(c, named);
	if (to)
		chains_jump(c, chain, to, takes_all(w));
	chains_rule(chain);
}

/* ":CHAIN POLICY [counters]": all of them stand before the table's rules. */
static void iptables_declared(struct chains *c, const char *family, const char *table, char *line)
{
	char where[2 * RULESET_WHERE];
	struct listed_chain *chain;

	line[strcspn(line, " ")] = '\0';
	if (!line[1] || strlen(line + 1) >= RULESET_NAME)
		return;
	iptables_where(where, family, table, line + 1);
	chain = chains_add(c, where);
	if (chain)
		iptables_hook(chain, table, line + 1);
}

static void iptables_line(struct ruleset *r, struct chains *c, const char *family, const char *table, const char *line)
{
	char name_of[RULESET_NAME], where[RULESET_WHERE];
	struct listed_chain *chain;
	struct queue_rule *rule;
	const char *target;
	struct words w;

	if (!chain_of(line, name_of)) {
		r->cut |= line[0] == '-';
		return;
	}
	iptables_where(where, family, table, name_of);
	chain = chains_add(c, where);
	if (!chain)
		return;
	iptables_hook(chain, table, name_of);
	target = target_of(line, &w);
	if (strcmp(target, "NFQUEUE") != 0) {
		iptables_other(c, chain, where, target, &w);
		return;
	}
	rule = chains_queue(c, chain, is_gate_chain(name_of, RULE_GATE_IPTABLES));
	if (!rule)
		return;
	name(rule->family, family);
	iptables_queue(rule, name_of, chain, &w);
}

void ruleset_iptables(struct ruleset *r, const char *family, FILE *text)
{
	char table[RULESET_NAME] = "", *line = NULL;
	struct chains *c = chains_begin();
	unsigned lines = 0;
	size_t room = 0;

	while (c && getline(&line, &room, text) > 0) {
		if (++lines > RULESET_LINES) {
			r->cut = true;
			break;
		}
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '*')
			name(table, line + 1);
		else if (line[0] == ':')
			iptables_declared(c, family, table, line);
		else
			iptables_line(r, c, family, table, line);
	}
	free(line);
	ruleset_close(r, c);
}

/* nft */

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

/* "nft inet filter input" of a rule or a chain. */
static void nft_where(char where[RULESET_WHERE], const json_t *o, const char *chain)
{
	snprintf(where, RULESET_WHERE, "nft %s %s %s", text_of(o, "family"), text_of(o, "table"), text_of(o, chain));
}

/* Made by iptables on top of nf_tables: it has these tables and chains to itself. */
static bool iptables_own(const json_t *o, const char *chain)
{
	static const char *const tables[] = {"raw", "mangle", "nat", "filter", "security"};
	const char *family = text_of(o, "family"), *table = text_of(o, "table"), *c = text_of(o, chain);

	if (strcmp(family, "ip") != 0 && strcmp(family, "ip6") != 0)
		return false;
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		if (!strcmp(table, tables[i]))
			return *c >= 'A' && *c <= 'Z';
	return false;
}

static void nft_chain(struct ruleset *r, struct chains *c, const json_t *o)
{
	const int priority = (int)json_integer_value(json_object_get(o, "prio"));
	struct listed_chain *listed;
	struct base_chain *chain;
	char where[RULESET_WHERE];

	nft_where(where, o, "name");
	listed = chains_add(c, where);
	if (!*text_of(o, "hook"))
		return;
	if (listed)
		chains_hook(listed, text_of(o, "hook"), priority);
	/* Told as iptables' own; but nft may have put rules there. */
	if (iptables_own(o, "name"))
		return;
	if (r->chains == RULESET_CHAINS) {
		r->cut = true;
		return;
	}
	chain = &r->chain[r->chains++];
	*chain = (struct base_chain){.priority = priority};
	memcpy(chain->where, where, sizeof(where));
	name(chain->family, text_of(o, "family"));
	name(chain->hook, text_of(o, "hook"));
}

static bool has_flag(const json_t *flags, const char *flag)
{
	const json_t *each;
	size_t i;

	if (json_is_string(flags))
		return !strcmp(json_string_value(flags), flag);
	json_array_foreach (flags, i, each)
		if (json_is_string(each) && !strcmp(json_string_value(each), flag))
			return true;
	return false;
}

/* A number, or {"range": [N, M]}; without one it is queue 0. Anything else is worked out packet by packet. */
static void nft_queues(struct queue_rule *rule, const json_t *queue)
{
	const json_t *number = json_object_get(queue, "num"), *range = json_object_get(number, "range");
	const json_int_t first = json_integer_value(range ? json_array_get(range, 0) : number),
			 last = json_integer_value(range ? json_array_get(range, 1) : number);

	rule->numbered =
	    (!number || json_is_integer(number) || range) && first >= 0 && first <= last && last <= UINT16_MAX;
	if (!rule->numbered)
		return;
	rule->first = (uint16_t)first;
	rule->last = (uint16_t)last;
}

/* True where a statement sorts nothing: every packet goes on to the next one. */
static bool passes_all(const json_t *statement)
{
	static const char *const all[] = {"counter", "log", "mangle", "notrack", NULL};

	for (unsigned i = 0; all[i]; i++)
		if (json_object_get(statement, all[i]))
			return true;
	return false;
}

/* The queue statement of a rule; *everything: all packets come to it. NULL: it has none. */
static const json_t *queue_of(const json_t *rule, bool *everything)
{
	const json_t *expressions = json_object_get(rule, "expr"), *each;
	size_t i;

	*everything = true;
	json_array_foreach (expressions, i, each) {
		const json_t *queue = json_object_get(each, "queue");

		if (queue)
			return queue;
		*everything &= passes_all(each);
	}
	return NULL;
}

/* All chains that a part of a rule leads to, also by a map. `everything`: all packets come there, if by no map. */
static void nft_jumps(struct chains *c, struct listed_chain *from, const json_t *rule, json_t *part, bool everything)
{
	const char *key;
	json_t *each;
	size_t i;

	json_object_foreach (part, key, each) {
		const char *target = text_of(each, "target");
		char where[RULESET_WHERE];
		struct listed_chain *to;

		if (*target && (!strcmp(key, "jump") || !strcmp(key, "goto"))) {
			snprintf(where, sizeof(where), "nft %s %s %s", text_of(rule, "family"), text_of(rule, "table"),
				 target);
			to = chains_find(c, where);
			if (to)
				chains_jump(c, from, to, everything);
		} else {
			nft_jumps(c, from, rule, each, false);
		}
	}
	json_array_foreach (part, i, each)
		nft_jumps(c, from, rule, each, false);
}

/* A rule that queues nothing. */
static void nft_other(struct chains *c, struct listed_chain *chain, const json_t *o)
{
	bool everything = true;
	json_t *each;
	size_t i;

	json_array_foreach (json_object_get(o, "expr"), i, each) {
		nft_jumps(c, chain, o, each, everything);
		everything &= passes_all(each);
	}
	chains_rule(chain);
}

static void nft_rule(struct chains *c, const json_t *o)
{
	const char *name_of = text_of(o, "chain");
	const bool ends = !strcmp(text_of(o, "family"), "inet") && !strcmp(text_of(o, "table"), "spillway") &&
			  is_gate_chain(name_of, RULE_GATE_NFT);
	char where[RULESET_WHERE];
	struct listed_chain *chain;
	struct queue_rule *rule;
	bool everything;
	const json_t *queue = queue_of(o, &everything);

	nft_where(where, o, "chain");
	chain = chains_add(c, where);
	if (!chain)
		return;
	if (!queue) {
		nft_other(c, chain, o);
		return;
	}
	rule = chains_queue(c, chain, ends);
	if (!rule)
		return;
	name(rule->family, text_of(o, "family"));
	nft_queues(rule, queue);
	rule->bypass = has_flag(json_object_get(queue, "flags"), "bypass");
	rule->everything = everything || ends;
	rule->gate = rule->by_mark = ends;
	rule->shut = made_to_shut(text_of(o, "comment")) || (ends && ends_with(name_of, "-shut"));
}

void ruleset_nft(struct ruleset *r, const json_t *root)
{
	const json_t *list = json_object_get(root, "nftables"), *each, *o;
	struct chains *c = chains_begin();
	size_t i;

	r->cut |= !json_is_array(list);
	/* nft lists a table's chains before its rules, but does not promise it. */
	json_array_foreach (list, i, each)
		if (c && (o = json_object_get(each, "chain")))
			nft_chain(r, c, o);
	json_array_foreach (list, i, each)
		if (c && (o = json_object_get(each, "rule")))
			nft_rule(c, o);
	ruleset_close(r, c);
}

/* Both */

static bool families_meet(const char *a, const char *b)
{
	if (!strcmp(a, b))
		return true;
	return (!strcmp(a, "inet") && !strncmp(b, "ip", 2)) || (!strcmp(b, "inet") && !strncmp(a, "ip", 2));
}

bool ruleset_before(const struct base_chain *chain, const struct queue_rule *rule)
{
	return rule->hook[0] && !strcmp(chain->hook, rule->hook) && families_meet(chain->family, rule->family) &&
	       chain->priority < rule->priority;
}
