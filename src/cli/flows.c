/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verb flows: what the gates of the queues know of their flows, read from the pinned maps. Changes nothing, and
 * asks no running spillway.
 */
#include "cli/flows.h"

#include "cli/cli.h"
#include "clock.h"
#include "keeper/keeper.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <string.h>

enum { OPT_QUEUE = 256, OPT_JSON, OPT_HELP };

#define ADDRESS 48                    /* bytes of an address as text, its end included */
#define END     ((size_t)ADDRESS + 8) /* with brackets and a port */

struct flows_options {
	bool queue_given, json, help;
	uint16_t queue;
};

static const char *const states[GATE_FLOW_STATES] = {"inspect", "trusted", "spilled", "shut"};

static const char *state_name(uint8_t state)
{
	return state < GATE_FLOW_STATES ? states[state] : "unknown";
}

/* NULL: the state has none. */
static const char *reason_name(const struct gate_flow *f)
{
	return f->state >= GATE_FLOW_SPILLED && f->reason < REASONS ? lane_reason_names[f->reason] : NULL;
}

static const char *protocol_name(uint8_t protocol, char text[8])
{
	static const struct {
		uint8_t number;
		const char *name;
	} known[] = {{IPPROTO_TCP, "tcp"},      {IPPROTO_UDP, "udp"},   {IPPROTO_UDPLITE, "udplite"},
		     {IPPROTO_SCTP, "sctp"},    {IPPROTO_DCCP, "dccp"}, {IPPROTO_ICMP, "icmp"},
		     {IPPROTO_ICMPV6, "icmpv6"}};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].number == protocol)
			return known[i].name;
	snprintf(text, 8, "%u", protocol);
	return text;
}

static void address_text(const struct gate_key *key, unsigned end, char text[ADDRESS])
{
	struct in6_addr address;

	memcpy(&address, key->address[end], sizeof(address));
	if (IN6_IS_ADDR_V4MAPPED(&address))
		inet_ntop(AF_INET, &address.s6_addr[12], text, ADDRESS);
	else
		inet_ntop(AF_INET6, &address, text, ADDRESS);
}

/* A time of the program's clock, which is behind by a tick, may be ahead of nothing: an age is never negative. */
static uint64_t age(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static json_t *end_json(const struct gate_key *key, unsigned end)
{
	char text[ADDRESS];

	address_text(key, end, text);
	return json_pack("{s:s, s:i}", "address", text, "port", ntohs(key->port[end]));
}

/* Packets and bytes. */
static json_t *count_json(uint64_t packets, uint64_t bytes)
{
	return json_pack("{s:I, s:I}", "packets", (json_int_t)packets, "bytes", (json_int_t)bytes);
}

json_t *flow_json(const struct flow_shown *f, uint64_t now_ns)
{
	const struct gate_flow *flow = &f->flow;
	const uint64_t packets = flow->queued + flow->passed, bytes = flow->queued_bytes + flow->passed_bytes;
	const uint64_t since_ms = age(now_ns, flow->since_ns) / 1000000, last_ms = age(now_ns, flow->last_ns) / 1000000;
	char protocol[8];

	return json_pack("{s:i, s:s, s:i, s:[o, o], s:s, s:s?, s:s?, s:I, s:I, s:o, s:o, s:o, s:b}", "queue", f->queue,
			 "protocol", protocol_name(f->key.protocol, protocol), "vlan", f->key.vlan, "ends",
			 end_json(&f->key, 0), end_json(&f->key, 1), "state", state_name(flow->state), "reason",
			 reason_name(flow), "pending", flow->pending ? state_name(flow->pending) : NULL, "since_ms",
			 (json_int_t)since_ms, "last_ms", (json_int_t)last_ms, "seen", count_json(packets, bytes),
			 "queued", count_json(flow->queued, flow->queued_bytes), "not_queued",
			 count_json(flow->passed, flow->passed_bytes), "answered", f->answered);
}

void flow_head(FILE *out)
{
	fprintf(out, "%5s  %-7s  %-21s  %-21s  %-8s  %-7s  %9s  %9s  %10s  %12s  %10s  %10s  %s\n", "QUEUE", "PROTO",
		"END", "END", "STATE", "REASON", "SINCE", "LAST", "PACKETS", "BYTES", "QUEUED", "NOT QUEUED",
		"ANSWERED");
}

/* "192.0.2.1:80", "[2001:db8::1]:80"; without a port where the protocol has none. */
static void end_text(const struct gate_key *key, unsigned end, char text[END])
{
	char address[ADDRESS];
	const bool v6 = (address_text(key, end, address), strchr(address, ':'));

	if (!key->port[0] && !key->port[1])
		snprintf(text, END, "%s", address);
	else
		snprintf(text, END, "%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", ntohs(key->port[end]));
}

void flow_line(const struct flow_shown *f, uint64_t now_ns, FILE *out)
{
	const struct gate_flow *flow = &f->flow;
	char protocol[8], first[END], second[END];
	const char *reason = reason_name(flow);

	end_text(&f->key, 0, first);
	end_text(&f->key, 1, second);
	fprintf(out, "%5u  %-7s  %-21s  %-21s  %-8s  %-7s  %8.1fs  %8.1fs  %10llu  %12llu  %10llu  %10llu  %s\n",
		f->queue, protocol_name(f->key.protocol, protocol), first, second, state_name(flow->state),
		reason ? reason : "-", (double)age(now_ns, flow->since_ns) / 1e9,
		(double)age(now_ns, flow->last_ns) / 1e9, (unsigned long long)flow->queued + flow->passed,
		(unsigned long long)flow->queued_bytes + flow->passed_bytes, (unsigned long long)flow->queued,
		(unsigned long long)flow->passed, f->answered ? "yes" : "no");
}

/* What has been written so far. */
struct output {
	bool json, begun;
	unsigned long long flows;
};

/* Only when a gate is there: an answer that can't be whole is not to look like one. */
static void begin(struct output *o)
{
	if (o->begun)
		return;
	o->begun = true;
	if (o->json)
		printf("{\"version\":1,\"flows\":[");
	else
		flow_head(stdout);
}

static int write_flow(struct output *o, const struct flow_shown *f)
{
	json_t *object;

	if (!o->json) {
		flow_line(f, clock_ns(), stdout);
		return 0;
	}
	object = flow_json(f, clock_ns());
	fputs(o->flows ? ",\n  " : "\n  ", stdout);
	if (!object || json_dumpf(object, stdout, JSON_COMPACT)) {
		json_decref(object);
		return -ENOMEM;
	}
	json_decref(object);
	return 0;
}

/* One by one as the tables give them: there may be millions. */
static int write_flows(struct output *o, struct gate *g, uint16_t queue)
{
	struct flow_shown f = {.queue = queue};
	struct gate_walk walk;
	int more = gate_walk_begin(&walk, g);

	while (!more && (more = gate_walk_next(&walk, &f.key, &f.flow, &f.answered)) == 1) {
		more = write_flow(o, &f);
		o->flows++;
	}
	gate_walk_end(&walk);
	return more;
}

/* What a negative errno means to whoever called. */
static int failed(int err, const char *why)
{
	const char *remedy = err == -EOPNOTSUPP                ? "build it with that"
			     : err == -EPERM || err == -EACCES ? "start as root or with CAP_BPF"
			     : err == -ENOENT                  ? "start spillway run --gate on first"
			     : err == -ENOSYS                  ? "without it there is no gate"
							       : "put that right and try again";

	fprintf(stderr, "spillway: flows: %s; %s\n", why, remedy);
	if (err == -EOPNOTSUPP || err == -ENOSYS)
		return EXIT_KERNEL;
	return err == -EPERM || err == -EACCES ? EXIT_PERMISSION : EXIT_FAILED;
}

static int show_queue(struct output *o, uint16_t queue)
{
	struct gate_why why;
	struct gate g;
	char dir[GATE_DIR];
	int err;

	gate_directory(queue, dir);
	err = gate_open(dir, true, &g, &why);
	if (err)
		return failed(err, why.text);
	begin(o);
	err = write_flows(o, &g, queue);
	gate_close(&g);
	return err ? failed(err, strerror(-err)) : EXIT_DONE;
}

/* The queue of a directory's name. */
static bool queue_of(const char *name, uint16_t *queue)
{
	uint64_t number;

	if (strncmp(name, "queue-", 6) != 0 || !parse_number(name + 6, 65535, &number))
		return false;
	*queue = (uint16_t)number;
	return true;
}

static int by_queue(const struct dirent **a, const struct dirent **b)
{
	uint16_t first = 0, second = 0;

	queue_of((*a)->d_name, &first);
	queue_of((*b)->d_name, &second);
	return (first > second) - (first < second);
}

static int is_gate(const struct dirent *entry)
{
	uint16_t queue;

	return queue_of(entry->d_name, &queue);
}

/* All that there are. */
static int show_all(struct output *o)
{
	struct dirent **entries;
	const int n = scandir(GATE_ROOT, &entries, is_gate, by_queue);
	const int err = n < 0 ? -errno : 0;
	int status = EXIT_DONE;

	for (int i = 0; i < n; i++) {
		uint16_t queue;

		if (!status && queue_of(entries[i]->d_name, &queue))
			status = show_queue(o, queue);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	if (err && err != -ENOENT)
		return failed(err, GATE_ROOT " can't be read");
	return n > 0 ? status : failed(-ENOENT, "no queue has a gate in " GATE_ROOT);
}

/* A build without the gate is to say so, whatever is pinned. */
static int check_build(void)
{
	struct gate_why why;
	struct gate g;
	const int err = gate_open(GATE_ROOT "/none", true, &g, &why);

	return err == -EOPNOTSUPP ? failed(err, why.text) : EXIT_DONE;
}

static int parse_options(int argc, char **argv, struct flows_options *o)
{
	static const struct option options[] = {
	    {"queue", required_argument, NULL, OPT_QUEUE},
	    {"json", no_argument, NULL, OPT_JSON},
	    {"help", no_argument, NULL, OPT_HELP},
	    {NULL, 0, NULL, 0},
	};
	uint64_t number;
	int opt;

	*o = (struct flows_options){.json = false};
	opterr = 0;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_QUEUE) {
			if (!parse_number(optarg, 65535, &number))
				return usage_error("flows: --queue %s: give a number, 0 to 65535", optarg);
			o->queue_given = true;
			o->queue = (uint16_t)number;
		} else if (opt == OPT_JSON) {
			o->json = true;
		} else if (opt == OPT_HELP) {
			o->help = true;
		} else {
			return usage_error("flows: %s: unknown, or its value is missing; spillway flows --help",
					   argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("flows: %s: not expected; spillway flows --help", argv[optind]);
	return EXIT_DONE;
}

int flows_verb(int argc, char **argv)
{
	struct flows_options o;
	struct output out;
	int status = parse_options(argc, argv, &o);

	if (status)
		return status;
	if (o.help) {
		printf("spillway flows [--queue N] [--json]\n\nThe flows that the gates know (spillway run --gate on): "
		       "of one "
		       "queue, or of all.\n");
		return EXIT_DONE;
	}
	status = check_build();
	if (status)
		return status;
	out = (struct output){.json = o.json};
	status = o.queue_given ? show_queue(&out, o.queue) : show_all(&out);
	if (!status && o.json)
		printf("]}\n");
	if (!status && (fflush(stdout) || ferror(stdout)))
		status = failed(-EIO, "could not be written");
	return status;
}
