/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rule and the commands that make it: see rule.h. Pure.
 */
#include "rules/rule.h"

#include "gate/gate.h"

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

/* Where nft's gate stands, no rule has sorted anything yet. */
static const char *check_nft_gate(const struct rule *r)
{
	if (r->hook == RULE_OUTPUT)
		return "--gate: with nft it stands where devices receive; use another --hook, or --backend iptables";
	if (r->state || r->protocol || r->set[0] || r->match || r->family != RULE_BOTH)
		return "--gate: with nft it decides before rules can sort; leave out all but --device, or use "
		       "--backend "
		       "iptables";
	return NULL;
}

const char *rule_check(const struct rule *r)
{
	bool ports = false;

	if (r->device_count && !r->nft)
		return "--device: nft's; with iptables write --match '-i NAME'";
	if (r->device_count && r->hook == RULE_OUTPUT)
		return "--device: a packet at output came in by no device; leave it out, or write --match 'oifname "
		       "\"eth0\"'";
	if (r->mark_mask && !(r->nft && r->gate))
		return "--mark: the gate's with nft; add --gate --backend nft, or leave it out";
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
	if (r->nft && r->gate && check_nft_gate(r))
		return check_nft_gate(r);
	if (r->nft && r->gate && (r->connmark_mask[RULE_TRUSTED] || r->connmark_mask[RULE_SPILLED]))
		return "--connmark-trust, --connmark-spill: with nft the gate decides before a connection is known, "
		       "and knows its flows "
		       "itself; "
		       "leave it out, or use --backend iptables";
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
	for (unsigned i = 0; i < r->device_count; i++)
		h = hash(h, r->devices[i]);
	return h;
}

static void comment_with(const struct rule *r, bool shut, char comment[RULE_COMMENT])
{
	snprintf(comment, RULE_COMMENT, "spillway queue=%u policy=%s traffic=%08x", r->queue, shut ? "shut" : "spill",
		 (unsigned)number_of(r));
}

/* Of a rule that passes: what its comment begins with, whatever its mark. */
static void pass_begin(const struct rule *r, enum rule_kind kind, char begin[RULE_COMMENT])
{
	snprintf(begin, RULE_COMMENT, "spillway queue=%u pass=%s traffic=%08x ", r->queue,
		 kind == RULE_TRUSTED ? "trusted" : "spilled", (unsigned)number_of(r));
}

static void pass_comment(const struct rule *r, char comment[RULE_COMMENT])
{
	size_t len;

	pass_begin(r, r->kind, comment);
	len = strlen(comment);
	snprintf(comment + len, RULE_COMMENT - len, "connmark=0x%x/0x%x", (unsigned)r->connmark[r->kind],
		 (unsigned)r->connmark_mask[r->kind]);
}

void rule_comment(const struct rule *r, char comment[RULE_COMMENT])
{
	if (r->kind == RULE_QUEUE)
		comment_with(r, r->shut, comment);
	else
		pass_comment(r, comment);
}

/* A rule that passes r's traffic by a mark of this kind. */
static bool passes(const struct rule *r, enum rule_kind kind, const char *comment)
{
	char begin[RULE_COMMENT];

	pass_begin(r, kind, begin);
	return !strncmp(comment, begin, strlen(begin));
}

static bool queues(const struct rule *r, const char *comment)
{
	char ours[2][RULE_COMMENT];

	comment_with(r, false, ours[0]);
	comment_with(r, true, ours[1]);
	return !strcmp(comment, ours[0]) || !strcmp(comment, ours[1]);
}

enum rule_own rule_own(const struct rule *r, const char *comment)
{
	char ours[RULE_COMMENT];

	snprintf(ours, sizeof(ours), "spillway queue=%u ", r->queue);
	if (strncmp(comment, ours, strlen(ours)) != 0)
		return RULE_FOREIGN;
	rule_comment(r, ours);
	if (!strcmp(comment, ours))
		return RULE_SAME;
	if (r->kind == RULE_QUEUE ? queues(r, comment) : passes(r, r->kind, comment))
		return RULE_OTHER_POLICY;
	if (r->kind == RULE_QUEUE)
		return passes(r, RULE_TRUSTED, comment) || passes(r, RULE_SPILLED, comment) ? RULE_OF_TRAFFIC
											    : RULE_OF_QUEUE;
	return queues(r, comment) ? RULE_OF_TRAFFIC : RULE_OF_QUEUE;
}

enum spw_counter_kind rule_counter(const struct rule *r)
{
	static const enum spw_counter_kind kinds[RULE_KINDS] = {[RULE_QUEUE] = SPW_COUNTER_QUEUE,
								[RULE_TRUSTED] = SPW_COUNTER_TRUSTED,
								[RULE_SPILLED] = SPW_COUNTER_SPILLED};

	return kinds[r->kind];
}

struct rule rule_as(const struct rule *r, enum rule_kind kind)
{
	struct rule as = *r;

	as.kind = kind;
	/* What passes does not come to the gate. */
	as.gate = r->gate && kind == RULE_QUEUE;
	return as;
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

void rule_gate_chain(const struct rule *r, char name[RULE_GATE_CHAIN])
{
	snprintf(name, RULE_GATE_CHAIN, "%s%u%s", r->nft ? RULE_GATE_NFT : RULE_GATE_IPTABLES, r->queue,
		 !r->shut ? ""
		 : r->nft ? "-shut"
			  : "-SHUT");
}

static void add_counter(const struct rule *r, struct words *w)
{
	char counter[SPW_COUNTER_NAME];

	spw_counter_name(r->queue, rule_counter(r), counter);
	add_all(w, (const char *[]){"-m", "nfacct", "--nfacct-name", counter, NULL});
}

static void add_queue(const struct rule *r, struct words *w)
{
	add_all(w, (const char *[]){"-j", "NFQUEUE", "--queue-num", NULL});
	words_add(w, "%u", r->queue);
	if (!r->shut)
		words_add(w, "--queue-bypass");
}

static void add_program(const struct rule *r, const char *name, struct words *w)
{
	char dir[GATE_DIR];

	gate_directory(r->queue, dir);
	add_all(w, (const char *[]){"-m", "bpf", "--object-pinned", NULL});
	words_add(w, "%s/%s", dir, name);
}

void rule_gate_line(const struct rule *r, unsigned n, struct words *w)
{
	char chain[RULE_GATE_CHAIN];

	rule_gate_chain(r, chain);
	words_begin(w);
	add_all(w, (const char *[]){"-A", chain, NULL});
	if (n == 0) {
		/* First: what goes on asks one program, and not two. And no counter: the gate has counted, and that
		 * one costs each packet of a stream a fiftieth of its rate. */
		add_program(r, "pass", w);
		if (r->program) {
			add_all(w, (const char *[]){"-m", "comment", "--comment", NULL});
			words_add(w, RULE_GATE_PROGRAM "%u", r->program);
		}
		add_all(w, (const char *[]){"-j", "ACCEPT", NULL});
	} else if (n == 1) {
		/* Right behind it, whose decision it looks up. */
		add_program(r, "shut", w);
		add_all(w, (const char *[]){"-j", "DROP", NULL});
	} else {
		add_queue(r, w);
	}
}

void rule_gate_write(const struct rule *r, FILE *out)
{
	char chain[RULE_GATE_CHAIN];

	rule_gate_chain(r, chain);
	fprintf(out, "*mangle\n:%s - [0:0]\n", chain);
	for (unsigned n = 0; n < RULE_GATE_LINES; n++) {
		struct words w;

		rule_gate_line(r, n, &w);
		words_write(&w, out);
		putc('\n', out);
	}
	fputs("COMMIT\n", out);
}

static void add_connmark(const struct rule *r, struct words *w)
{
	add_all(w, (const char *[]){"-m", "connmark", "--mark", NULL});
	words_add(w, "0x%x/0x%x", (unsigned)r->connmark[r->kind], (unsigned)r->connmark_mask[r->kind]);
	/* One that another has announced (FTP's data) was born with that one's mark: nobody has decided about it. */
	add_all(w, (const char *[]){"-m", "conntrack", "!", "--ctstatus", "EXPECTED", NULL});
}

void rule_iptables(const struct rule *r, enum rule_family family, unsigned before, struct words *w)
{
	char comment[RULE_COMMENT], chain[RULE_GATE_CHAIN];

	rule_iptables_begin(family, w);
	add_all(w, (const char *[]){before ? "-I" : "-A", rule_chain(r), NULL});
	if (before)
		words_add(w, "%u", before);
	/* The cheapest match of all, and the one that seldom fits. */
	if (r->kind != RULE_QUEUE)
		add_connmark(r, w);
	add_traffic(r, family, w);
	rule_comment(r, comment);
	add_all(w, (const char *[]){"-m", "comment", "--comment", comment, NULL});
	if (r->gate) {
		rule_gate_chain(r, chain);
		add_all(w, (const char *[]){"-j", chain, NULL});
	} else if (r->kind != RULE_QUEUE) {
		add_counter(r, w);
		add_all(w, (const char *[]){"-j", "ACCEPT", NULL});
	} else {
		/* The counter is the last match: it sees what all others let through, and that comes to the queue. */
		add_counter(r, w);
		add_queue(r, w);
	}
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

static void add_nft_devices(const struct rule *r, struct text *t)
{
	for (unsigned i = 0; i < r->device_count; i++)
		add(t, "%s\"%s\"", i ? ", " : "iifname { ", r->devices[i]);
	if (r->device_count)
		add(t, " } ");
}

static void add_nft_queue(const struct rule *r, struct text *t)
{
	add(t, "queue %sto %u", r->shut ? "" : "flags bypass ", r->queue);
}

/* All in one transaction, also where the chain is there and in use. What is shut has been dropped at the device. */
static void add_nft_gate(const struct rule *r, struct text *t)
{
	char chain[RULE_GATE_CHAIN], counter[SPW_COUNTER_NAME];

	t->at[0] = '\0';
	if (!r->gate)
		return;
	rule_gate_chain(r, chain);
	spw_counter_name(r->queue, SPW_COUNTER_QUEUE, counter);
	add(t, "add chain inet spillway %s; flush chain inet spillway %s; ", chain, chain);
	add(t, "add rule inet spillway %s counter name \"%s\"; ", chain, counter);
	add(t, "add rule inet spillway %s meta mark & 0x%x == 0x%x ", chain, (unsigned)r->mark_mask, (unsigned)r->mark);
	add_nft_queue(r, t);
	add(t, "; add rule inet spillway %s accept", chain);
}

static void add_nft_rule(const struct rule *r, const char *chain, struct text *t)
{
	char comment[RULE_COMMENT], counter[SPW_COUNTER_NAME], ports[128], gate[RULE_GATE_CHAIN];

	rule_comment(r, comment);
	spw_counter_name(r->queue, rule_counter(r), counter);
	/* Behind the rule at that place, or in front of it. */
	add(t, "%s rule inet spillway %s ", r->kind != RULE_QUEUE && strchr(chain, ' ') ? "insert" : "add", chain);
	if (r->kind != RULE_QUEUE)
		add(t, "ct mark & 0x%x == 0x%x ct status & expected == 0 ", (unsigned)r->connmark_mask[r->kind],
		    (unsigned)r->connmark[r->kind]);
	add_nft_devices(r, t);
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
	if (r->gate) {
		rule_gate_chain(r, gate);
		add(t, "jump %s", gate);
	} else {
		add(t, "counter name \"%s\" ", counter);
		if (r->kind == RULE_QUEUE)
			add_nft_queue(r, t);
		else
			add(t, "accept");
	}
	add(t, " comment \"%s\"", comment);
}

void rule_nft(const struct rule *r, enum rule_nft command, const char *chain, char text[RULE_NFT_TEXT])
{
	struct text t = {text, 0};
	char counter[SPW_COUNTER_NAME];

	spw_counter_name(r->queue, rule_counter(r), counter);
	if (command == RULE_NFT_TABLE)
		add(&t, "add table inet spillway");
	else if (command == RULE_NFT_COUNTER)
		add(&t, "add counter inet spillway %s", counter);
	else if (command == RULE_NFT_GATE)
		add_nft_gate(r, &t);
	else if (command == RULE_NFT_CHAIN)
		add(&t, "add chain inet spillway %s { type filter hook %s priority mangle; policy accept; }", chain,
		    rule_hook_name(r->hook));
	else
		add_nft_rule(r, chain, &t);
}

static void print_nft(const struct rule *r, FILE *out)
{
	if (r->gate)
		fprintf(out,
			"# --apply also tells the gate of queue %u its mark, and puts it where the devices receive.\n",
			r->queue);
	for (enum rule_nft c = RULE_NFT_TABLE; c < RULE_NFT_COMMANDS; c++) {
		char text[RULE_NFT_TEXT];
		struct words w;

		rule_nft(r, c, rule_hook_name(r->hook), text);
		if (!text[0])
			continue;
		words_begin(&w);
		add_all(&w, (const char *[]){"nft", text, NULL});
		words_write(&w, out);
		putc('\n', out);
	}
}

/* A line of iptables-restore is a word of the shell. */
static void print_gate_chain(const struct rule *r, enum rule_family family, FILE *out)
{
	char *text = NULL, *rest, *line;
	size_t len = 0;
	FILE *lines = open_memstream(&text, &len);

	if (!lines)
		return;
	rule_gate_write(r, lines);
	fclose(lines);
	fputs("printf '%s\\n'", out);
	for (rest = text; (line = strsep(&rest, "\n")) && *line;)
		fprintf(out, " '%s'", line);
	free(text);
	fprintf(out, " | %s-restore -w --noflush\n", family == RULE_IPV6 ? "ip6tables" : "iptables");
}

static void print_iptables(const struct rule *r, FILE *out)
{
	char counter[SPW_COUNTER_NAME];

	spw_counter_name(r->queue, rule_counter(r), counter);
	/* nfacct calls it an error where the counter is there. */
	if (!r->gate)
		fprintf(out, "nfacct get %s > /dev/null 2>&1 || nfacct add %s\n", counter, counter);
	for (enum rule_family f = RULE_IPV4; f <= RULE_IPV6; f++) {
		struct words w;

		if (!rule_has(r, f))
			continue;
		if (r->gate)
			print_gate_chain(r, f, out);
		rule_iptables(r, f, 0, &w);
		words_write(&w, out);
		putc('\n', out);
	}
}

static void print_kind(const struct rule *r, enum rule_kind kind, FILE *out)
{
	const struct rule as = rule_as(r, kind);

	if (r->nft)
		print_nft(&as, out);
	else
		print_iptables(&as, out);
}

/* What passes comes first. */
void rule_print(const struct rule *r, FILE *out)
{
	for (enum rule_kind kind = RULE_TRUSTED; kind < RULE_KINDS; kind++)
		if (r->connmark_mask[kind])
			print_kind(r, kind, out);
	print_kind(r, RULE_QUEUE, out);
}
