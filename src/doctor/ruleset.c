/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules and base chains out of what iptables-save and nft list: see ruleset.h.
 */
#include "doctor/ruleset.h"

#include "rules/words.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more; NULL: there is none, or the text for people does not fit. */
static struct queue_rule *new_rule(struct ruleset *r)
{
	if (r->rules == RULESET_RULES) {
		r->cut = true;
		return NULL;
	}
	r->rule[r->rules] = (struct queue_rule){0};
	return &r->rule[r->rules++];
}

/* As much of it as there is room for. */
static void name(char to[RULESET_NAME], const char *from)
{
	const size_t len = strnlen(from, RULESET_NAME - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

/* iptables */

/* Where iptables' chains hang: the hook of a built-in one, and the table's priority. */
static void iptables_hook(struct queue_rule *rule, const char *table, const char *chain)
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

	for (size_t i = 0; i < sizeof(chains) / sizeof(*chains); i++)
		if (!strcmp(chain, chains[i][0]))
			name(rule->hook, chains[i][1]);
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		if (!strcmp(table, tables[i].table))
			rule->priority = tables[i].priority;
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

/* An option with a value that sorts nothing. */
static bool sorts_nothing(const char *word, const char *value)
{
	if (!strcmp(word, "-m"))
		return !strcmp(value, "comment") || !strcmp(value, "nfacct");
	return !strcmp(word, "--comment") || !strcmp(word, "--nfacct-name");
}

/* The words behind "-A CHAIN": which of them sort, and what the target is told. */
static void iptables_words(struct queue_rule *rule, const struct words *w)
{
	bool sorts = false, target = false;

	rule->numbered = true; /* without a number it is queue 0 */
	for (size_t i = 2; i < w->count; i++) {
		const char *word = w->at[i], *value = i + 1 < w->count ? w->at[i + 1] : "";

		if (!strcmp(word, "-j")) {
			target = true;
			i++;
		} else if (!strcmp(word, "--queue-num") || !strcmp(word, "--queue-balance")) {
			rule->numbered = iptables_queues(rule, value);
			i++;
		} else if (!strcmp(word, "--queue-bypass")) {
			rule->bypass = true;
		} else if (sorts_nothing(word, value)) {
			if (!strcmp(word, "--comment"))
				rule->shut = made_to_shut(value);
			i++;
		} else if (!target) {
			sorts = true;
		}
	}
	rule->everything = !sorts;
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

/* Is it the target, and not a word in a comment? Leaves the words. */
static bool queues(const char *line, struct words *w)
{
	if (!strstr(line, "NFQUEUE"))
		return false;
	words_begin(w);
	if (!words_split(w, line))
		return false;
	for (size_t i = 2; i + 1 < w->count; i++)
		if (!strcmp(w->at[i], "-j") && !strcmp(w->at[i + 1], "NFQUEUE"))
			return true;
	return false;
}

/* One line of the table; `first`: the first of this table's rules. */
static void iptables_line(struct ruleset *r, const char *family, const char *table, unsigned first, const char *line)
{
	char chain[RULESET_NAME], where[RULESET_WHERE];
	struct queue_rule *rule;
	struct words w;

	if (!chain_of(line, chain)) {
		r->cut |= line[0] == '-';
		return;
	}
	snprintf(where, sizeof(where), "%s %s %s", !strcmp(family, "ip6") ? "ip6tables" : "iptables", table, chain);
	if (!queues(line, &w)) {
		for (unsigned i = first; i < r->rules; i++)
			r->rule[i].behind += !strcmp(r->rule[i].where, where);
		return;
	}
	rule = new_rule(r);
	if (!rule)
		return;
	name(rule->family, family);
	memcpy(rule->where, where, sizeof(where));
	iptables_hook(rule, table, chain);
	iptables_words(rule, &w);
}

void ruleset_iptables(struct ruleset *r, const char *family, FILE *text)
{
	char table[RULESET_NAME] = "", *line = NULL;
	unsigned first = r->rules, lines = 0;
	size_t room = 0;

	while (getline(&line, &room, text) > 0) {
		if (++lines > RULESET_LINES) {
			r->cut = true;
			break;
		}
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '*') {
			name(table, line + 1);
			first = r->rules;
		} else {
			iptables_line(r, family, table, first, line);
		}
	}
	free(line);
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

static void nft_chain(struct ruleset *r, const json_t *o)
{
	struct base_chain *chain;

	if (!*text_of(o, "hook") || iptables_own(o, "name"))
		return;
	if (r->chains == RULESET_CHAINS) {
		r->cut = true;
		return;
	}
	chain = &r->chain[r->chains++];
	*chain = (struct base_chain){.priority = (int)json_integer_value(json_object_get(o, "prio"))};
	nft_where(chain->where, o, "name");
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

static void nft_rule(struct ruleset *r, const json_t *o)
{
	char where[RULESET_WHERE];
	struct queue_rule *rule;
	bool everything;
	const json_t *queue = queue_of(o, &everything);

	nft_where(where, o, "chain");
	if (!queue) {
		for (unsigned i = 0; i < r->rules; i++)
			r->rule[i].behind += !strcmp(r->rule[i].where, where);
		return;
	}
	rule = new_rule(r);
	if (!rule)
		return;
	memcpy(rule->where, where, sizeof(where));
	name(rule->family, text_of(o, "family"));
	nft_queues(rule, queue);
	rule->bypass = has_flag(json_object_get(queue, "flags"), "bypass");
	rule->everything = everything;
	rule->shut = made_to_shut(text_of(o, "comment"));
	for (unsigned i = 0; i < r->chains; i++) {
		if (!strcmp(r->chain[i].where, where)) {
			name(rule->hook, r->chain[i].hook);
			rule->priority = r->chain[i].priority;
		}
	}
}

void ruleset_nft(struct ruleset *r, const json_t *root)
{
	const json_t *list = json_object_get(root, "nftables"), *each, *o;
	size_t i;

	r->cut |= !json_is_array(list);
	/* nft lists a table's chains before its rules, but does not promise it. */
	json_array_foreach (list, i, each)
		if ((o = json_object_get(each, "chain")))
			nft_chain(r, o);
	json_array_foreach (list, i, each)
		if ((o = json_object_get(each, "rule")))
			nft_rule(r, o);
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
