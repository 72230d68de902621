/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verb rules: options into a rule, which is printed, put into the firewall, or taken out of it.
 */
#include "cli/cli.h"

#include "keeper/keeper.h"
#include "rules/filter.h"
#include "rules/firewall.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define GATE_MARK 0x40000000u /* a bit that seldom means something to others */

struct rules_options {
	struct rule rule;
	bool queue_given, hook_given, traffic_given, apply, remove, help;
};

enum {
	OPT_QUEUE = 256,
	OPT_HOOK,
	OPT_MATCH,
	OPT_FILTER,
	OPT_BACKEND,
	OPT_POLICY,
	OPT_STATE,
	OPT_PROTOCOL,
	OPT_PORT,
	OPT_SET,
	OPT_FAMILY,
	OPT_DEVICE,
	OPT_GATE,
	OPT_MARK,
	OPT_TRUSTED,
	OPT_SPILLED,
	OPT_APPLY,
	OPT_REMOVE,
	OPT_HELP
};

static const struct option options[] = {
    {"queue", required_argument, NULL, OPT_QUEUE},
    {"hook", required_argument, NULL, OPT_HOOK},
    {"match", required_argument, NULL, OPT_MATCH},
    {"filter", required_argument, NULL, OPT_FILTER},
    {"backend", required_argument, NULL, OPT_BACKEND},
    {"policy", required_argument, NULL, OPT_POLICY},
    {"state", required_argument, NULL, OPT_STATE},
    {"protocol", required_argument, NULL, OPT_PROTOCOL},
    {"port", required_argument, NULL, OPT_PORT},
    {"set", required_argument, NULL, OPT_SET},
    {"family", required_argument, NULL, OPT_FAMILY},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"gate", no_argument, NULL, OPT_GATE},
    {"mark", required_argument, NULL, OPT_MARK},
    {"connmark-trust", required_argument, NULL, OPT_TRUSTED},
    {"connmark-spill", required_argument, NULL, OPT_SPILLED},
    {"apply", no_argument, NULL, OPT_APPLY},
    {"remove", no_argument, NULL, OPT_REMOVE},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void print_help(void)
{
	printf("spillway rules --queue N --hook HOOK [what sorts the traffic] [options] [--apply|--remove]\n\n"
	       "Prints the firewall's commands that bring packets to the queue and count them; or runs them.\n\n"
	       "  --queue N               the queue\n"
	       "  --hook input|forward|output|prerouting\n"
	       "  --policy spill|shut     while nobody listens at the queue: packets pass (default), or are dropped\n"
	       "  --backend iptables|nft  (default iptables: iptables and ip6tables)\n"
	       "  --family ipv4|ipv6|both (default both)\n"
	       "  --gate                  the queue's gate (spillway run --gate on) decides what is queued\n"
	       "  --mark V/M              nft with the gate: bits of the mark that it uses (default "
	       "0x40000000/0x40000000)\n"
	       "  --connmark-trust V/M    what has these bits in its connection's mark passes before the queue and is "
	       "counted: "
	       "as\n"
	       "  --connmark-spill V/M    spillway run with the same option sets them\n"
	       "  --apply                 make the rule, unless it is there; with and without --gate: bring the gate "
	       "in, or\n"
	       "                          take it out, while packets go on\n"
	       "  --remove                take it out; without anything that sorts: all of this queue at this hook\n\n"
	       "What sorts the traffic; all that is given has to fit:\n"
	       "  --state new|established as conntrack sees the connection\n"
	       "  --protocol NAME|NUMBER  tcp, udp, udplite, sctp, icmp, esp, ah\n"
	       "  --port N[,N...][:src]   the receiver's port, or with :src the sender's\n"
	       "  --set NAME[:src|:dst]   the address is in this set (ipset, or a set of nft's table inet spillway)\n"
	       "  --device NAME[,NAME...] it came in by one of these (nft only; with --gate needed)\n"
	       "  --match 'TEXT'          in the words of the backend\n"
	       "  --filter 'EXPRESSION'   a pcap filter, like 'udp port 9000' (iptables only)\n\n"
	       "The first rule that fits has the packet: make the special ones first.\n");
}

/* Which of the names text is; -1: none. */
static int one_of(const char *text, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(text, names[i]))
			return i;
	return -1;
}

static int parse_hook(struct rules_options *o, const char *text)
{
	for (enum rule_hook h = 0; h < RULE_HOOKS; h++) {
		if (!strcmp(text, rule_hook_name(h))) {
			o->rule.hook = h;
			o->hook_given = true;
			return 0;
		}
	}
	return usage_error("rules: --hook %s: not known; input, forward, output or prerouting", text);
}

/* Cuts ":src" or ":dst" off a copy of text. False: something else comes after a colon, or it does not fit. */
static bool split_side(const char *text, char *copy, size_t size, bool *source, bool *destination)
{
	char *colon;

	if ((size_t)snprintf(copy, size, "%s", text) >= size)
		return false;
	colon = strchr(copy, ':');
	*source = colon && !strcmp(colon, ":src");
	*destination = colon && !strcmp(colon, ":dst");
	if (colon)
		*colon = '\0';
	return !colon || *source || *destination;
}

static bool parse_ports(struct rule *r, const char *text)
{
	char copy[128], *at = copy, *word;
	bool destination;

	r->port_count = 0;
	if (!split_side(text, copy, sizeof(copy), &r->source_port, &destination) || destination)
		return false;
	while ((word = strsep(&at, ","))) {
		uint64_t port;

		if (r->port_count == RULE_PORTS || !parse_number(word, 65535, &port))
			return false;
		r->ports[r->port_count++] = (uint16_t)port;
	}
	return true;
}

static bool parse_set(struct rule *r, const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	char copy[RULE_SET + 4];
	bool source;

	if (!split_side(text, copy, sizeof(copy), &source, &r->set_destination))
		return false;
	if (!*copy || *copy == '-' || copy[strspn(copy, allowed)] || strlen(copy) >= sizeof(r->set))
		return false;
	memcpy(r->set, copy, strlen(copy) + 1);
	return true;
}

static bool parse_devices(struct rule *r, const char *text)
{
	char copy[RULE_DEVICES * RULE_DEVICE], *at = copy, *word;

	r->device_count = 0;
	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy))
		return false;
	while ((word = strsep(&at, ","))) {
		const size_t len = strlen(word);

		/* What an interface's name can't have, and what nft would take for more than a name. */
		if (r->device_count == RULE_DEVICES || !len || len >= RULE_DEVICE || strpbrk(word, " \t\n/\"*\\;{}"))
			return false;
		memcpy(r->devices[r->device_count++], word, len + 1);
	}
	return true;
}

/* What sorts the traffic. */
static int parse_traffic(struct rules_options *o, int opt, const char *value)
{
	static const char *const states[] = {"new", "established", NULL};
	struct rule *r = &o->rule;
	bool ports;
	int n;

	o->traffic_given = true;
	switch (opt) {
	case OPT_STATE:
		n = one_of(value, states);
		r->state = n ? RULE_ESTABLISHED : RULE_NEW;
		return n < 0 ? usage_error("rules: --state %s: not known; new or established", value) : 0;
	case OPT_PROTOCOL:
		r->protocol = value;
		return rule_protocol(value, &ports)
			   ? 0
			   : usage_error("rules: --protocol %s: not known; tcp, udp, udplite, sctp, icmp, esp, ah, or "
					 "a number from 1 to 255",
					 value);
	case OPT_PORT:
		return parse_ports(r, value)
			   ? 0
			   : usage_error("rules: --port %s: give at most %d numbers, like 22,443 or 53:src", value,
					 RULE_PORTS);
	case OPT_SET:
		return parse_set(r, value)
			   ? 0
			   : usage_error("rules: --set %s: give a name of at most %d letters, digits, _ . and -, then "
					 ":src or :dst",
					 value, RULE_SET - 1);
	case OPT_DEVICE:
		return parse_devices(r, value)
			   ? 0
			   : usage_error("rules: --device %s: give at most %d names of interfaces, like eth0,eth1",
					 value, RULE_DEVICES);
	case OPT_MATCH:
		r->match = value;
		return 0;
	default:
		r->filter = value;
		return 0;
	}
}

static int parse_connmark(struct rules_options *o, enum rule_kind kind, const char *value)
{
	struct rule *r = &o->rule;

	if (parse_mark(value, &r->connmark[kind], &r->connmark_mask[kind]) && r->connmark[kind])
		return 0;
	return usage_error("rules: --connmark-%s %s: give bits and a mask that has them, like 0x100/0x300",
			   kind == RULE_TRUSTED ? "trust" : "spill", value);
}

static int parse_option(struct rules_options *o, int opt, const char *value)
{
	static const char *const families[] = {"ipv4", "ipv6", "both", NULL};
	struct rule *r = &o->rule;
	uint64_t number;
	int n;

	switch (opt) {
	case OPT_QUEUE:
		o->queue_given = parse_number(value, 65535, &number);
		r->queue = (uint16_t)number;
		return o->queue_given ? 0 : usage_error("rules: --queue %s: give a number, 0 to 65535", value);
	case OPT_HOOK:
		return parse_hook(o, value);
	case OPT_BACKEND:
		return parse_switch(value, "nft", "iptables", &r->nft)
			   ? 0
			   : usage_error("rules: --backend %s: not known; iptables or nft", value);
	case OPT_POLICY:
		return parse_switch(value, "shut", "spill", &r->shut)
			   ? 0
			   : usage_error("rules: --policy %s: not known; spill or shut", value);
	case OPT_FAMILY:
		n = one_of(value, families);
		r->family = (enum rule_family)(n + 1);
		return n < 0 ? usage_error("rules: --family %s: not known; ipv4, ipv6 or both", value) : 0;
	case OPT_GATE:
		r->gate = true;
		return 0;
	case OPT_MARK:
		return parse_mark(value, &r->mark, &r->mark_mask) && r->mark
			   ? 0
			   : usage_error("rules: --mark %s: give bits and a mask that has them, like 0x100/0x100",
					 value);
	case OPT_TRUSTED:
	case OPT_SPILLED:
		return parse_connmark(o, opt == OPT_TRUSTED ? RULE_TRUSTED : RULE_SPILLED, value);
	case OPT_APPLY:
		o->apply = true;
		return 0;
	case OPT_REMOVE:
		o->remove = true;
		return 0;
	case OPT_HELP:
		o->help = true;
		return 0;
	default:
		return parse_traffic(o, opt, value);
	}
}

static int check(const struct rules_options *o)
{
	const char *wrong = rule_check(&o->rule);

	if (!o->queue_given)
		return usage_error("rules: --queue: missing; name the queue by its number, 0 to 65535");
	if (!o->hook_given)
		return usage_error("rules: --hook: missing; input, forward, output or prerouting");
	if (!wrong && o->rule.gate && o->rule.nft && !o->rule.device_count && !o->remove)
		return usage_error(
		    "rules: --device: missing; with nft the gate stands where devices receive: name them");
	if (!marks_differ(o->rule.connmark[RULE_TRUSTED], o->rule.connmark_mask[RULE_TRUSTED],
			  o->rule.connmark[RULE_SPILLED], o->rule.connmark_mask[RULE_SPILLED]))
		return usage_error("rules: " SAME_MARKS);
	if (o->apply && o->remove)
		return usage_error("rules: --apply and --remove exclude each other; give one of them, or none to look");
	return wrong ? usage_error("rules: %s", wrong) : 0;
}

static int parse_options(int argc, char **argv, struct rules_options *o)
{
	int opt, index, status = 0;
	uint32_t given = 0;

	*o = (struct rules_options){.rule = {.family = RULE_BOTH}};
	opterr = 0;
	optind = 0;
	while (!status && (opt = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (opt == '?')
			return usage_error("rules: %s: unknown, or its value is missing; spillway rules --help",
					   argv[optind - 1]);
		/* Whoever says --hook twice would believe that both are covered. */
		if (options[index].has_arg && given >> (opt - OPT_QUEUE) & 1)
			return usage_error("rules: --%s: given twice; make a rule for each", options[index].name);
		given |= 1u << (opt - OPT_QUEUE);
		status = parse_option(o, opt, optarg);
	}
	if (status || o->help)
		return status;
	if (optind < argc)
		return usage_error("rules: %s: not expected; spillway rules --help", argv[optind]);
	if (o->rule.gate && o->rule.nft && !o->rule.mark_mask)
		o->rule.mark = o->rule.mark_mask = GATE_MARK;
	return check(o);
}

/* A family that was asked for and that the filter can't take is not to be missed by accident. */
static void tell_families(const struct rule *r)
{
	for (enum rule_family f = RULE_IPV4; f <= RULE_IPV6; f++)
		if ((r->family & f) && !rule_has(r, f))
			fprintf(stderr,
				"spillway: rules: --filter: it takes no packet of IPv%d; there is no rule for "
				"these, which go past the queue\n",
				f == RULE_IPV4 ? 4 : 6);
}

/* Says what went wrong. Returns the exit status. */
static int failed(int err, const char *error)
{
	fprintf(stderr, "spillway: rules: %s\n", error);
	switch (err) {
	case -EINVAL:
		return EXIT_USAGE;
	case -EPERM:
		return EXIT_PERMISSION;
	case -EOPNOTSUPP:
		return EXIT_KERNEL;
	default:
		return EXIT_FAILED;
	}
}

/* The queue's rule comes first: those that pass stand in front of it. */
static int apply(const struct rule *r, char error[FIREWALL_ERROR])
{
	int err = r->nft ? nft_apply(r, stdout, error) : iptables_apply(r, stdout, error);

	for (enum rule_kind kind = RULE_TRUSTED; !err && kind < RULE_KINDS; kind++) {
		const struct rule as = rule_as(r, kind);

		err = r->nft ? nft_pass(&as, stdout, error) : iptables_pass(&as, stdout, error);
	}
	return err;
}

static int change(const struct rules_options *o, char error[FIREWALL_ERROR])
{
	const struct rule *r = &o->rule;

	if (o->apply)
		return apply(r, error);
	return r->nft ? nft_remove(r, !o->traffic_given, stdout, error)
		      : iptables_remove(r, !o->traffic_given, stdout, error);
}

int rules_verb(int argc, char **argv)
{
	char error[FIREWALL_ERROR] = "";
	struct rules_options o;
	int err = parse_options(argc, argv, &o);

	if (err)
		return err;
	if (o.help) {
		print_help();
		return 0;
	}
	/* What is to go is found by the expression as it was given. */
	if (o.rule.filter && !o.remove)
		err = filter_compile(&o.rule, error);
	if (!err && !o.remove)
		tell_families(&o.rule);
	if (!err && !o.apply && !o.remove)
		rule_print(&o.rule, stdout);
	else if (!err)
		err = change(&o, error);
	return err ? failed(err, error) : 0;
}
