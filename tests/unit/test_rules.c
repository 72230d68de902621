/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of the rules that bring packets to a queue, and how they are known again.
 */
#include "unit.h"

#include "gate/gate.h"
#include "rules/rule.h"

#include <stdlib.h>
#include <string.h>

/* What rule_print() writes, less the comment's number; to be freed. */
static char *print(const struct rule *r)
{
	char *text = NULL, *number;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_null(rule_check(r));
	rule_print(r, out);
	fclose(out);
	for (number = text; (number = strstr(number, " traffic=")); number++)
		memmove(number, number + strlen(" traffic=01234567"), strlen(number + strlen(" traffic=01234567")) + 1);
	return text;
}

static void prints(const struct rule *r, const char *expected)
{
	char *text = print(r);

	assert_string_equal(text, expected);
	free(text);
}

#define MAKE(n) "nfacct get spillway-" n " > /dev/null 2>&1 || nfacct add spillway-" n "\n"
#define TARGET(n, p)                                                                                                   \
	"-m comment --comment 'spillway queue=" n " policy=" p "' -m nfacct --nfacct-name spillway-" n                 \
	" -j NFQUEUE --queue-num " n
#define SPILL(n)  TARGET(n, "spill") " --queue-bypass\n"
#define SHUT(n)   TARGET(n, "shut") "\n"
#define V4(chain) "iptables -w -t mangle -A " chain " "
#define V6(chain) "ip6tables -w -t mangle -A " chain " "

static void plain(void **state)
{
	struct rule r = {.queue = 3, .hook = RULE_INPUT, .family = RULE_BOTH};

	(void)state;
	prints(&r, MAKE("3") V4("INPUT") SPILL("3") V6("INPUT") SPILL("3"));
	r.shut = true;
	r.family = RULE_IPV6;
	r.hook = RULE_PREROUTING;
	r.queue = 65535;
	prints(&r, MAKE("65535") V6("PREROUTING") SHUT("65535"));
}

static void sorted(void **state)
{
	struct rule r = {.queue = 0, .hook = RULE_FORWARD, .family = RULE_IPV4};

	(void)state;
	r.protocol = "tcp";
	r.port_count = 2;
	r.ports[0] = 22;
	r.ports[1] = 65535;
	prints(&r, MAKE("0") V4("FORWARD") "-p tcp -m multiport --dports 22,65535 " SPILL("0"));
	r.source_port = true;
	r.state = RULE_ESTABLISHED;
	strcpy(r.set, "bad.hosts");
	prints(&r, MAKE("0") V4("FORWARD") "-p tcp -m multiport --sports 22,65535 -m set --match-set bad.hosts src "
					   "-m conntrack --ctstate ESTABLISHED,RELATED " SPILL("0"));
	r = (struct rule){.hook = RULE_OUTPUT, .family = RULE_BOTH, .protocol = "icmp", .state = RULE_NEW};
	prints(&r, MAKE("0") V4("OUTPUT") "-p icmp -m conntrack --ctstate NEW " SPILL("0")
		       V6("OUTPUT") "-p ipv6-icmp -m conntrack --ctstate NEW " SPILL("0"));
}

/* A shell is to read the words that were meant. */
static void quoted(void **state)
{
	struct rule r = {.hook = RULE_INPUT, .family = RULE_IPV4};

	(void)state;
	r.match = "! -s 192.0.2.1  -m string --string \"it's; $(x)\" --algo 'b m' -m x --y '' \\\"";
	prints(&r,
	       MAKE("0") V4("INPUT") "'!' -s 192.0.2.1 -m string --string 'it'\\''s; $(x)' --algo 'b m' -m x --y '' "
				     "'\"' " SPILL("0"));
}

static void filtered(void **state)
{
	struct rule r = {.hook = RULE_INPUT, .family = RULE_BOTH, .filter = "whatever"};

	(void)state;
	strcpy(r.bytecode[1], "1,6 0 0 1");
	assert_false(rule_has(&r, RULE_IPV4));
	assert_true(rule_has(&r, RULE_IPV6));
	prints(&r, MAKE("0") V6("INPUT") "-m bpf --bytecode '1,6 0 0 1' " SPILL("0"));
	r.family = RULE_IPV4;
	assert_false(rule_has(&r, RULE_IPV6));
}

static void nft(void **state)
{
	struct rule r = {.queue = 5, .hook = RULE_FORWARD, .nft = true, .family = RULE_BOTH};
	char text[RULE_NFT_TEXT];

	(void)state;
	prints(&r,
	       "nft 'add table inet spillway'\n"
	       "nft 'add counter inet spillway spillway-5'\n"
	       "nft 'add chain inet spillway forward { type filter hook forward priority mangle; policy accept; }'\n"
	       "nft 'add rule inet spillway forward counter name \"spillway-5\" queue flags bypass to 5 "
	       "comment \"spillway queue=5 policy=spill\"'\n");
	r.shut = true;
	r.family = RULE_IPV6;
	r.protocol = "udp";
	r.port_count = 2;
	r.ports[0] = 53;
	r.state = RULE_NEW;
	strcpy(r.set, "resolvers");
	r.set_destination = true;
	r.match = "meta mark 1";
	rule_nft(&r, RULE_NFT_RULE, "here", text);
	assert_true(strstr(text, "add rule inet spillway here meta l4proto udp th dport { 53, 0 } ip6 daddr @resolvers "
				 "ct state new meta mark 1 counter name \"spillway-5\" queue to 5 comment") == text);
	r = (struct rule){.nft = true, .family = RULE_BOTH, .protocol = "icmp"};
	rule_nft(&r, RULE_NFT_RULE, "c", text);
	assert_non_null(strstr(text, "c meta l4proto { icmp, ipv6-icmp } counter"));
	r.family = RULE_IPV6;
	rule_nft(&r, RULE_NFT_RULE, "c", text);
	assert_non_null(strstr(text, "c meta nfproto ipv6 meta l4proto ipv6-icmp counter"));
}

#define CHAIN(program, name, n, bypass)                                                                                \
	"printf '%s\\n' '*mangle' ':" name " - [0:0]' '-A " name " "                                                   \
	"-m bpf --object-pinned /sys/fs/bpf/spillway/queue-" n "/pass -j ACCEPT' '-A " name                            \
	" -m bpf --object-pinned /sys/fs/bpf/spillway/queue-" n "/shut -j DROP' '-A " name                             \
	" -j NFQUEUE --queue-num " n bypass "' 'COMMIT' | " program "-restore -w --noflush\n"
#define JUMP(n, p, name) "-m comment --comment 'spillway queue=" n " policy=" p "' -j " name "\n"

/* The chain, which is made in one step, then the rule that goes there. */
static void gated(void **state)
{
	struct rule r = {.queue = 3, .hook = RULE_INPUT, .gate = true, .family = RULE_BOTH, .protocol = "udp"};
	struct words w;
	char dir[GATE_DIR];

	(void)state;
	prints(&r, CHAIN("iptables", "SPILLWAY-GATE-3", "3", " --queue-bypass")
		       V4("INPUT") "-p udp " JUMP("3", "spill", "SPILLWAY-GATE-3")
			   CHAIN("ip6tables", "SPILLWAY-GATE-3", "3", " --queue-bypass")
			       V6("INPUT") "-p udp " JUMP("3", "spill", "SPILLWAY-GATE-3"));
	r.queue = 65535;
	r.shut = true;
	r.family = RULE_IPV6;
	prints(&r, CHAIN("ip6tables", "SPILLWAY-GATE-65535-SHUT", "65535", "")
		       V6("INPUT") "-p udp " JUMP("65535", "shut", "SPILLWAY-GATE-65535-SHUT"));
	rule_iptables(&r, RULE_IPV6, 7, &w);
	assert_string_equal(w.at[4], "-I");
	assert_string_equal(w.at[5], "INPUT");
	assert_string_equal(w.at[6], "7");
	assert_string_equal(w.at[7], "-p");
	gate_directory(65535, dir);
	assert_string_equal(dir, "/sys/fs/bpf/spillway/queue-65535");
}

/* With the gate or without, it is the same rule: so the one can take the other's place. */
static void gate_known_again(void **state)
{
	struct rule r = {.queue = 1, .family = RULE_BOTH, .protocol = "tcp"}, with = r;
	char comment[RULE_COMMENT];

	(void)state;
	with.gate = true;
	rule_comment(&r, comment);
	assert_int_equal(rule_own(&with, comment), RULE_SAME);
	r = (struct rule){.queue = 1, .family = RULE_BOTH, .nft = true, .device_count = 1, .devices = {"eth0"}};
	with = r;
	with.gate = true;
	rule_comment(&r, comment);
	assert_int_equal(rule_own(&with, comment), RULE_SAME);
	strcpy(with.devices[0], "eth1");
	assert_int_equal(rule_own(&with, comment), RULE_OF_QUEUE);
}

static void gated_nft(void **state)
{
	struct rule r = {.queue = 5,
			 .hook = RULE_PREROUTING,
			 .nft = true,
			 .gate = true,
			 .family = RULE_BOTH,
			 .device_count = 2,
			 .devices = {"eth0", "eth1"},
			 .mark = 0x100,
			 .mark_mask = 0x300};

	(void)state;
	prints(
	    &r,
	    "# --apply also tells the gate of queue 5 its mark, and puts it where the devices receive.\n"
	    "nft 'add table inet spillway'\n"
	    "nft 'add counter inet spillway spillway-5'\n"
	    "nft 'add chain inet spillway gate-5; flush chain inet spillway gate-5; "
	    "add rule inet spillway gate-5 counter name \"spillway-5\"; "
	    "add rule inet spillway gate-5 meta mark & 0x300 == 0x100 queue flags bypass to 5; "
	    "add rule inet spillway gate-5 accept'\n"
	    "nft 'add chain inet spillway prerouting { type filter hook prerouting priority mangle; policy accept; }'\n"
	    "nft 'add rule inet spillway prerouting iifname { \"eth0\", \"eth1\" } jump gate-5 "
	    "comment \"spillway queue=5 policy=spill\"'\n");
	r.shut = true;
	prints(
	    &r,
	    "# --apply also tells the gate of queue 5 its mark, and puts it where the devices receive.\n"
	    "nft 'add table inet spillway'\n"
	    "nft 'add counter inet spillway spillway-5'\n"
	    "nft 'add chain inet spillway gate-5-shut; flush chain inet spillway gate-5-shut; "
	    "add rule inet spillway gate-5-shut counter name \"spillway-5\"; "
	    "add rule inet spillway gate-5-shut meta mark & 0x300 == 0x100 queue to 5; "
	    "add rule inet spillway gate-5-shut accept'\n"
	    "nft 'add chain inet spillway prerouting { type filter hook prerouting priority mangle; policy accept; }'\n"
	    "nft 'add rule inet spillway prerouting iifname { \"eth0\", \"eth1\" } jump gate-5-shut "
	    "comment \"spillway queue=5 policy=shut\"'\n");
	r.hook = RULE_OUTPUT;
	assert_non_null(rule_check(&r));
	r.hook = RULE_INPUT;
	assert_null(rule_check(&r));
	r.protocol = "tcp";
	assert_non_null(rule_check(&r));
	r.protocol = NULL;
	r.family = RULE_IPV4;
	assert_non_null(rule_check(&r));
	r.family = RULE_BOTH;
	r.gate = false;
	assert_non_null(rule_check(&r)); /* a mark without the gate */
	r.mark_mask = 0;
	assert_null(rule_check(&r));
	r.nft = false;
	assert_non_null(rule_check(&r)); /* devices without nft */
}

static void refused(void **state)
{
	static const char *const iptables[] = {"-t nat",   "-tnat", "--table nat", "--tab=nat", "-p tcp --ta nat",
					       "\"-t\" x", "-m 'x", "-m \"x",      "a\nb",      "a\x7f"};
	static const char *const fine[] = {"--tcp-flags SYN SYN", "-m tos --tos 1", "-m ttl --ttl-eq 1", "--t x", ""};
	static const char *const in_nft[] = {"tcp dport 1; add x", "tcp dport 1 #", "tcp \\ x", "a\nb"};
	struct rule r = {.family = RULE_BOTH};
	static char longer[RULE_MATCH + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(iptables) / sizeof(*iptables); i++) {
		r.match = iptables[i];
		assert_non_null(rule_check(&r));
	}
	for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++) {
		r.match = fine[i];
		assert_null(rule_check(&r));
	}
	r.nft = true;
	for (size_t i = 0; i < sizeof(in_nft) / sizeof(*in_nft); i++) {
		r.match = in_nft[i];
		assert_non_null(rule_check(&r));
	}
	memset(longer, 'x', RULE_MATCH);
	r.match = longer;
	assert_non_null(rule_check(&r));
	for (size_t i = 1; i < RULE_MATCH; i += 2)
		longer[i] = ' ';
	longer[RULE_MATCH - 1] = '\0';
	r.nft = false;
	assert_non_null(rule_check(&r));
	r = (struct rule){.family = RULE_BOTH, .match = "x", .filter = "x"};
	assert_non_null(rule_check(&r));
	r = (struct rule){.family = RULE_BOTH, .nft = true, .filter = "x"};
	assert_non_null(rule_check(&r));
	r = (struct rule){.family = RULE_BOTH, .nft = true, .set = "x"};
	assert_non_null(rule_check(&r));
	r.family = RULE_IPV4;
	assert_null(rule_check(&r));
	r = (struct rule){.family = RULE_BOTH, .port_count = 1};
	assert_non_null(rule_check(&r));
	r.protocol = "icmp";
	assert_non_null(rule_check(&r));
	r.protocol = "sctp";
	assert_null(rule_check(&r));
}

/* The longest that rule_check() lets through has room. */
static void longest(void **state)
{
	static char match[RULE_MATCH];
	struct rule r = {.queue = 65535,
			 .hook = RULE_PREROUTING,
			 .family = RULE_IPV4,
			 .protocol = "udplite",
			 .port_count = RULE_PORTS,
			 .state = RULE_ESTABLISHED,
			 .match = match};
	struct words w;
	char text[RULE_NFT_TEXT];

	(void)state;
	memset(match, 'x', RULE_MATCH - 1);
	for (size_t i = 1; i < 2 * RULE_MATCH_WORDS - 1; i += 2)
		match[i] = ' ';
	for (size_t i = 0; i < RULE_PORTS; i++)
		r.ports[i] = 65535;
	memset(r.set, 's', sizeof(r.set) - 1);
	memset(r.bytecode, 'b', sizeof(r.bytecode[0]) - 1);
	assert_null(rule_check(&r));
	rule_iptables(&r, RULE_IPV4, 0, &w);
	assert_true(!w.full && w.at[w.count] == NULL);
	r.gate = true;
	r.shut = true;
	rule_iptables(&r, RULE_IPV4, 4000000000u, &w);
	assert_true(!w.full && w.at[w.count] == NULL);
	r.gate = false;
	r.nft = true;
	r.device_count = RULE_DEVICES;
	memset(r.devices, 'd', sizeof(r.devices));
	for (size_t i = 0; i < RULE_DEVICES; i++)
		r.devices[i][RULE_DEVICE - 1] = '\0';
	rule_nft(&r, RULE_NFT_RULE, "prerouting position 18446744073709551615", text);
	assert_non_null(strstr(text, "traffic="));
}

static void known_again(void **state)
{
	struct rule r = {.queue = 1, .family = RULE_BOTH, .protocol = "tcp"}, other;
	char comment[RULE_COMMENT];

	(void)state;
	rule_comment(&r, comment);
	assert_int_equal(rule_own(&r, comment), RULE_SAME);
	other = r;
	other.shut = true;
	assert_int_equal(rule_own(&other, comment), RULE_OTHER_POLICY);
	other = r;
	other.queue = 12;
	assert_int_equal(rule_own(&other, comment), RULE_FOREIGN);
	other = r;
	other.protocol = "udp";
	assert_int_equal(rule_own(&other, comment), RULE_OF_QUEUE);
	other = r;
	other.port_count = 1;
	assert_int_equal(rule_own(&other, comment), RULE_OF_QUEUE);
	/* Words do not run into each other. */
	other = r;
	other.protocol = NULL;
	other.filter = "tcp";
	assert_int_equal(rule_own(&other, comment), RULE_OF_QUEUE);
	assert_int_equal(rule_own(&r, ""), RULE_FOREIGN);
	assert_int_equal(rule_own(&r, "spillway"), RULE_FOREIGN);
	assert_int_equal(rule_own(&r, "spillway queue=1"), RULE_FOREIGN);
	assert_int_equal(rule_own(&r, "spillway queue=12 policy=spill"), RULE_FOREIGN);
	assert_int_equal(rule_own(&r, "spillway queue=1 by hand"), RULE_OF_QUEUE);
}

static void passing_by_marks(void **state)
{
	const struct rule r = {.queue = 1,
			       .family = RULE_IPV4,
			       .protocol = "tcp",
			       .connmark = {[RULE_TRUSTED] = 1, [RULE_SPILLED] = 2},
			       .connmark_mask = {[RULE_TRUSTED] = 3, [RULE_SPILLED] = 3}};
	struct rule trusted = rule_as(&r, RULE_TRUSTED), spilled = rule_as(&r, RULE_SPILLED), other;
	char comment[RULE_COMMENT], queued[RULE_COMMENT], text[RULE_NFT_TEXT], line[1024] = "";
	FILE *file = fmemopen(line, sizeof(line), "w");
	struct words w;

	(void)state;
	assert_non_null(file);
	rule_comment(&r, queued);
	rule_comment(&trusted, comment);
	assert_int_equal(rule_own(&trusted, comment), RULE_SAME);
	assert_int_equal(rule_own(&spilled, comment), RULE_OF_QUEUE);
	assert_int_equal(rule_own(&r, comment), RULE_OF_TRAFFIC);
	assert_int_equal(rule_own(&trusted, queued), RULE_OF_TRAFFIC);
	other = trusted;
	other.shut = true; /* it passes whatever the policy */
	assert_int_equal(rule_own(&other, comment), RULE_SAME);
	assert_int_equal(rule_own(&other, queued), RULE_OF_TRAFFIC);
	other = trusted;
	other.connmark[RULE_TRUSTED] = 2;
	assert_int_equal(rule_own(&other, comment), RULE_OTHER_POLICY);
	other = trusted;
	other.protocol = "udp";
	assert_int_equal(rule_own(&other, comment), RULE_OF_QUEUE);
	rule_nft(&trusted, RULE_NFT_RULE, "input position 7", text);
	assert_memory_equal(text, "insert rule inet spillway input position 7 ct mark & 0x3 == 0x1 ", 64);
	assert_non_null(strstr(text, "counter name \"spillway-1-trusted\" accept comment"));
	/* What another connection has announced was born with its mark. */
	assert_non_null(strstr(text, " ct status & expected == 0 "));
	rule_iptables(&spilled, RULE_IPV4, 1, &w);
	words_write(&w, file);
	fclose(file);
	assert_non_null(strstr(line, "--mark 0x2/0x3 -m conntrack '!' --ctstatus EXPECTED "));
	rule_nft(&trusted, RULE_NFT_RULE, "input", text);
	assert_memory_equal(text, "add rule inet spillway input ct mark", 36);
	/* The longest comment there is. */
	other.queue = 65535;
	other.connmark[RULE_TRUSTED] = other.connmark_mask[RULE_TRUSTED] = ~0u;
	rule_comment(&other, comment);
	assert_int_equal(rule_own(&other, comment), RULE_SAME);
	assert_non_null(strstr(comment, "connmark=0xffffffff/0xffffffff"));
	other.nft = other.gate = true;
	other.protocol = NULL;
	other.family = RULE_BOTH;
	assert_non_null(strstr(rule_check(&other), "--connmark"));
}

static void words_of_text(void **state)
{
	static char text[WORDS_TEXT + 10];
	struct words w;

	(void)state;
	words_begin(&w);
	words_add(&w, "%s", "first");
	assert_true(words_split(&w, "  a \"b c\"d 'e\\' f\\ g \"h\\\"\\'\" \"\" "));
	assert_int_equal(w.count, 7);
	assert_string_equal(w.at[0], "first");
	assert_string_equal(w.at[2], "b cd");
	assert_string_equal(w.at[3], "e\\");
	assert_string_equal(w.at[4], "f g");
	assert_string_equal(w.at[5], "h\"'");
	assert_string_equal(w.at[6], "");
	assert_null(w.at[7]);
	assert_false(words_split(&w, "\"x"));
	memset(text, 'x', sizeof(text) - 1);
	words_begin(&w);
	assert_false(words_split(&w, text));
	assert_true(w.full);
	words_begin(&w);
	words_add(&w, "%s", text);
	assert_true(w.full && w.count == 0);
	for (size_t i = 0; i < sizeof(text) - 1; i += 2)
		text[i] = ' ';
	text[2 * WORDS_MAX] = '\0';
	words_begin(&w);
	assert_true(words_split(&w, text));
	assert_int_equal(w.count, WORDS_MAX);
	words_add(&w, "more");
	assert_true(w.full && w.count == WORDS_MAX);
}

static void protocols(void **state)
{
	bool ports;

	(void)state;
	assert_true(rule_protocol("tcp", &ports) && ports);
	assert_true(rule_protocol("esp", &ports) && !ports);
	assert_true(rule_protocol("255", &ports) && !ports);
	assert_false(rule_protocol("256", &ports));
	assert_false(rule_protocol("0", &ports));
	assert_false(rule_protocol("", &ports));
	assert_false(rule_protocol("6x", &ports));
	assert_false(rule_protocol("all", &ports));
	assert_false(rule_protocol("-1", &ports));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain),
	    cmocka_unit_test(sorted),
	    cmocka_unit_test(quoted),
	    cmocka_unit_test(filtered),
	    cmocka_unit_test(nft),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(longest),
	    cmocka_unit_test(known_again),
	    cmocka_unit_test(passing_by_marks),
	    cmocka_unit_test(words_of_text),
	    cmocka_unit_test(protocols),
	    cmocka_unit_test(gated),
	    cmocka_unit_test(gated_nft),
	    cmocka_unit_test(gate_known_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
