/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rule and the commands that make it: see rule.h. Pure.
 */
#include "rules/rule.h"

#include "nfqueue/counter.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *chain;
} hooks[RULE_HOOKS] = {
    [RULE_INPUT] = {"input", "INPUT"},
    [RULE_FORWARD] = {"forward", "FORWARD"},
    [RULE_OUTPUT] = {"output", "OUTPUT"},
    [RULE_PREROUTING] = {"prerouting", "PREROUTING"},
};

const char *rule_hook_name(enum rule_hook hook)
{
	return hooks[hook].name;
}

const char *rule_chain(const struct rule *r)
{
	return hooks[r->hook].chain;
}

bool rule_protocol(const char *name, bool *ports)
{
	static const struct {
		const char *name;
		bool ports;
	} known[] = {{"tcp", true},   {"udp", true},  {"udplite", true}, {"sctp", true},
		     {"icmp", false}, {"esp", false}, {"ah", false}};
	char *end;
	long n;

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!strcmp(name, known[i].name)) {
			*ports = known[i].ports;
			return true;
		}
	}
	*ports = false;
	n = strtol(name, &end, 10);
	return isdigit((unsigned char)*name) && !*end && n > 0 && n < 256;
}

/* -t and its long form, however shortened: the table is not the match's to choose, and iptables would let it. */
static bool names_table(const char *word)
{
	const size_t len = strcspn(word, "=");

	return !strncmp(word, "-t", 2) || (len > 3 && len <= strlen("--table") && !strncmp(word, "--table", len));
}

static const char *check_iptables_match(const char *match)
{
	struct words w;

	words_begin(&w);
	if (!words_split(&w, match) && !w.full)
		return "--match: a quotation does not end; close it";
	for (size_t i = 0; i < w.count; i++)
		if (names_table(w.at[i]))
			return "--match: it names a table; leave -t out, the rules stand in mangle";
	return w.full || w.count > RULE_MATCH_WORDS ? "--match: too many words; shorten it, or use a set" : NULL;
}

static const char *check_match(const struct rule *r)
{
	for (const char *c = r->match; *c; c++)
		if (iscntrl((unsigned char)*c))
			return "--match: it contains a control character; write it on one line";
	if (strlen(r->match) >= RULE_MATCH)
		return "--match: too long; shorten it, or use a set";
	if (!r->nft)
		return check_iptables_match(r->match);
	if (strpbrk(r->match, ";#\\"))
		return "--match: ; # and \\ would end nft's rule; leave them out";
	return NULL;
}

const char *rule_check(const struct rule *r)
{
	bool ports = false;

	if (r->match && r->filter)
		return "--match and --filter exclude each other; write both as one --match or one --filter";
	if (r->nft && r->filter)
		return "--filter: nft runs no pcap filter; use --match in nft's words, or --backend iptables";
	if (r->nft && r->set[0] && r->family == RULE_BOTH)
		return "--set: a set of nft is of one family; add --family ipv4 or --family ipv6";
	if (r->protocol)
		rule_protocol(r->protocol, &ports);
	if (r->port_count && !ports)
		return "--port: ports are tcp's, udp's, udplite's and sctp's; add --protocol with one of these";
	return r->match ? check_match(r) : NULL;
}

/* FNV-1a over a string and its end. */
static uint32_t hash(uint32_t h, const char *text)
{
	do
		h = (h ^ (uint8_t)*text) * UINT32_C(16777619);
	while (*text++);
	return h;
}

/* A number for what sorts the traffic. With iptables the family is told by where the rule stands. */
static uint32_t number_of(const struct rule *r)
{
	uint32_t h = UINT32_C(2166136261);
	char text[16];

	h = hash(h, r->match ? r->match : "");
	h = hash(h, r->filter ? r->filter : "");
	h = hash(h, r->protocol ? r->protocol : "");
	h = hash(h, r->set);
	snprintf(text, sizeof(text), "%u %u %u %u", (unsigned)r->state, r->source_port, r->set_destination,
		 r->nft ? (unsigned)r->family : 0);
	h = hash(h, text);
	for (unsigned i = 0; i < r->port_count; i++) {
		snprintf(text, sizeof(text), "%u", r->ports[i]);
		h = hash(h, text);
	}
	return h;
}

static void comment_with(const struct rule *r, bool shut, char comment[RULE_COMMENT])
{
	snprintf(comment, RULE_COMMENT, "spillway queue=%u policy=%s traffic=%08x", r->queue, shut ? "shut" : "spill",
		 (unsigned)number_of(r));
}

void rule_comment(const struct rule *r, char comment[RULE_COMMENT])
{
	comment_with(r, r->shut, comment);
}

enum rule_own rule_own(const struct rule *r, const char *comment)
{
	char ours[RULE_COMMENT];

	snprintf(ours, sizeof(ours), "spillway queue=%u ", r->queue);
	if (strncmp(comment, ours, strlen(ours)) != 0)
		return RULE_FOREIGN;
	comment_with(r, r->shut, ours);
	if (!strcmp(comment, ours))
		return RULE_SAME;
	comment_with(r, !r->shut, ours);
	return strcmp(comment, ours) ? RULE_OF_QUEUE : RULE_OTHER_POLICY;
}

bool rule_has(const struct rule *r, enum rule_family family)
{
	return (r->family & family) && (!r->filter || r->bytecode[family == RULE_IPV6][0]);
}

void rule_iptables_begin(enum rule_family family, struct words *w)
{
	words_begin(w);
	words_add(w, family == RULE_IPV6 ? "ip6tables" : "iptables");
	words_add(w, "-w");
	words_add(w, "-t");
	words_add(w, "mangle");
}

static void add_all(struct words *w, const char *const *words)
{
	for (; *words; words++)
		words_add(w, "%s", *words);
}

/* "22,443" into text. */
static const char *ports_text(const struct rule *r, const char *between, char text[128])
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < r->port_count; i++)
		len += (size_t)snprintf(text + len, 128 - len, "%s%u", i ? between : "", r->ports[i]);
	return text;
}

/* What sorts the traffic, the cheapest first: iptables looks no further where one does not fit. */
static void add_traffic(const struct rule *r, enum rule_family family, struct words *w)
{
	char text[128];

	if (r->protocol) {
		const bool icmp6 = family == RULE_IPV6 && !strcmp(r->protocol, "icmp");

		add_all(w, (const char *[]){"-p", icmp6 ? "ipv6-icmp" : r->protocol, NULL});
	}
	if (r->port_count)
		add_all(w, (const char *[]){"-m", "multiport", r->source_port ? "--sports" : "--dports",
					    ports_text(r, ",", text), NULL});
	if (r->set[0])
		add_all(w,
			(const char *[]){"-m", "set", "--match-set", r->set, r->set_destination ? "dst" : "src", NULL});
	if (r->state)
		add_all(w, (const char *[]){"-m", "conntrack", "--ctstate",
					    r->state == RULE_NEW ? "NEW" : "ESTABLISHED,RELATED", NULL});
	if (r->filter)
		add_all(w, (const char *[]){"-m", "bpf", "--bytecode", r->bytecode[family == RULE_IPV6], NULL});
	if (r->match)
		words_split(w, r->match);
}

void rule_iptables(const struct rule *r, enum rule_family family, struct words *w)
{
	char comment[RULE_COMMENT], counter[SPW_COUNTER_NAME];

	rule_iptables_begin(family, w);
	add_all(w, (const char *[]){"-A", rule_chain(r), NULL});
	add_traffic(r, family, w);
	rule_comment(r, comment);
	spw_counter_name(r->queue, counter);
	/* The counter is the last match: it sees what all others let through, and that comes to the queue. */
	add_all(w, (const char *[]){"-m", "comment", "--comment", comment, "-m", "nfacct", "--nfacct-name", counter,
				    "-j", "NFQUEUE", NULL});
	words_add(w, "--queue-num");
	words_add(w, "%u", r->queue);
	if (!r->shut)
		words_add(w, "--queue-bypass");
	assert(!w->full);
}

/* Text of RULE_NFT_TEXT bytes that grows. */
struct text {
	char *at;
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	t->len += (size_t)vsnprintf(t->at + t->len, RULE_NFT_TEXT - t->len, format, args);
	va_end(args);
	assert(t->len < RULE_NFT_TEXT);
}

static void add_nft_family(const struct rule *r, struct text *t)
{
	/* A set's addresses tell the family themselves. */
	if (r->family != RULE_BOTH && !r->set[0])
		add(t, "meta nfproto %s ", r->family == RULE_IPV4 ? "ipv4" : "ipv6");
	if (!r->protocol)
		return;
	if (strcmp(r->protocol, "icmp") != 0)
		add(t, "meta l4proto %s ", r->protocol);
	else if (r->family == RULE_BOTH)
		add(t, "meta l4proto { icmp, ipv6-icmp } ");
	else
		add(t, "meta l4proto %s ", r->family == RULE_IPV4 ? "icmp" : "ipv6-icmp");
}

static void add_nft_rule(const struct rule *r, const char *chain, struct text *t)
{
	char comment[RULE_COMMENT], counter[SPW_COUNTER_NAME], ports[128];

	rule_comment(r, comment);
	spw_counter_name(r->queue, counter);
	add(t, "add rule inet spillway %s ", chain);
	add_nft_family(r, t);
	if (r->port_count)
		add(t, "th %s { %s } ", r->source_port ? "sport" : "dport", ports_text(r, ", ", ports));
	if (r->set[0])
		add(t, "%s %s @%s ", r->family == RULE_IPV4 ? "ip" : "ip6", r->set_destination ? "daddr" : "saddr",
		    r->set);
	if (r->state)
		add(t, "ct state %s ", r->state == RULE_NEW ? "new" : "established,related");
	if (r->match)
		add(t, "%s ", r->match);
	add(t, "counter name \"%s\" queue %sto %u comment \"%s\"", counter, r->shut ? "" : "flags bypass ", r->queue,
	    comment);
}

void rule_nft(const struct rule *r, enum rule_nft command, const char *chain, char text[RULE_NFT_TEXT])
{
	struct text t = {text, 0};
	char counter[SPW_COUNTER_NAME];

	spw_counter_name(r->queue, counter);
	if (command == RULE_NFT_TABLE)
		add(&t, "add table inet spillway");
	else if (command == RULE_NFT_COUNTER)
		add(&t, "add counter inet spillway %s", counter);
	else if (command == RULE_NFT_CHAIN)
		add(&t, "add chain inet spillway %s { type filter hook %s priority mangle; policy accept; }", chain,
		    rule_hook_name(r->hook));
	else
		add_nft_rule(r, chain, &t);
}

static void print_nft(const struct rule *r, FILE *out)
{
	for (enum rule_nft c = RULE_NFT_TABLE; c < RULE_NFT_COMMANDS; c++) {
		char text[RULE_NFT_TEXT];
		struct words w;

		rule_nft(r, c, rule_hook_name(r->hook), text);
		words_begin(&w);
		add_all(&w, (const char *[]){"nft", text, NULL});
		words_write(&w, out);
		putc('\n', out);
	}
}

static void print_iptables(const struct rule *r, FILE *out)
{
	char counter[SPW_COUNTER_NAME];

	spw_counter_name(r->queue, counter);
	/* nfacct calls it an error where the counter is there. */
	fprintf(out, "nfacct get %s > /dev/null 2>&1 || nfacct add %s\n", counter, counter);
	for (enum rule_family f = RULE_IPV4; f <= RULE_IPV6; f++) {
		struct words w;

		if (!rule_has(r, f))
			continue;
		rule_iptables(r, f, &w);
		words_write(&w, out);
		putc('\n', out);
	}
}

void rule_print(const struct rule *r, FILE *out)
{
	if (r->nft)
		print_nft(r, out);
	else
		print_iptables(r, out);
}
