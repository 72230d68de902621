/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate in real rules: iptables' two backends at OUTPUT, with senders on every CPU, and tc at a device's ingress.
 * The gate's books, the rules' counters, the queue's ids and what arrives agree to the packet. In a network namespace
 * that its script has made.
 */
#include "gate/gate.h"

#include "queue.h"

#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "clock.h"

#define NUMBER  5
#define SENT    5000u
#define SENDERS 4u
#define SKIPPED 77

static char bpffs[128], dir[192];
static struct gate gate;

static void skip(const char *why)
{
	printf("SKIP: %s\n", why);
	exit(SKIPPED);
}

/* All that it pins goes with its own mount namespace. */
static void load(const char *parent)
{
	struct gate_why why;
	int error;

	snprintf(bpffs, sizeof(bpffs), "%s/bpf", parent);
	EQUAL(mkdir(bpffs, 0700), 0);
	snprintf(dir, sizeof(dir), "%s/queue-%u", bpffs, NUMBER);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", bpffs, "bpf", 0, NULL))
		skip("a BPF file system of one's own");
	error = gate_load(dir, 1024, &gate, &why);
	if (error)
		skip(error == -EOPNOTSUPP || error == -EPERM ? why.text : "BPF");
}

/* An engine that has just looked, and does not for an hour. */
static void look(uint64_t held)
{
	static struct gate_engine engine;
	const uint64_t admitted = gate_admitted(gate.page);

	gate_look(gate.page, &engine, &(struct gate_look){clock_ns() + 3600000000000u, admitted, held, 0});
}

static uint64_t booked(unsigned from, unsigned to)
{
	return gate_packets(&gate, from, to);
}

/* Packets that the n-th rule of OUTPUT in mangle has matched. */
static uint64_t matched(const char *iptables, unsigned n)
{
	char command[128];
	unsigned long long packets = 0;
	FILE *f;

	snprintf(command, sizeof(command), "%s -t mangle -w -L OUTPUT %u -vnx", iptables, n);
	f = popen(command, "re");
	TRUE(f);
	EQUAL(fscanf(f, "%llu", &packets), 1);
	pclose(f);
	return packets;
}

static bool rule(const char *iptables, const char *what)
{
	char command[512];

	snprintf(command, sizeof(command), "%s -w -t mangle %s", iptables, what);
	return system(command) == 0;
}

static bool rules(const char *iptables)
{
	char queued[384], dropped[384], passed[384];

	snprintf(queued, sizeof(queued), "-A OUTPUT -p udp --dport %u -j NFQUEUE --queue-num %u", PORT, NUMBER);
	snprintf(passed, sizeof(passed), "-A OUTPUT -p udp --dport %u -m bpf --object-pinned %s/pass -j ACCEPT", PORT,
		 dir);
	snprintf(dropped, sizeof(dropped), "-A OUTPUT -p udp --dport %u -m bpf --object-pinned %s/shut -j DROP", PORT,
		 dir);
	return rule(iptables, passed) && rule(iptables, dropped) && rule(iptables, queued);
}

/* A sender with a port of its own, which makes it a flow. */
static int sender(unsigned n)
{
	const struct sockaddr_in from = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)(20000 + n)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int bytes = 64 << 20;

	TRUE(fd >= 0);
	/* What is held counts as the sender's. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	EQUAL(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
	EQUAL(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static struct gate_key flow(unsigned n)
{
	const struct spw_flow f = {.address = {{127, 0, 0, 1}, {127, 0, 0, 1}},
				   .port = {(uint16_t)(20000 + n), PORT},
				   .family = 4,
				   .protocol = IPPROTO_UDP};

	return gate_key_from(&f, 0);
}

/* All at once, each flow from another process. */
static void send_all(void)
{
	pid_t child[SENDERS];

	for (unsigned n = 0; n < SENDERS; n++) {
		child[n] = fork();
		TRUE(child[n] >= 0);
		if (!child[n]) {
			udp_send(sender(n), SENT, 100);
			_exit(0);
		}
	}
	for (unsigned n = 0; n < SENDERS; n++)
		EQUAL(waitpid(child[n], NULL, 0), child[n]);
}

/* One flow of each kind, at the same time. A packet that the slot does not know goes by its flow all the same. */
static void at_output(const char *iptables, int to)
{
	const uint64_t all = booked(0, GATE_COLUMNS), admitted = booked(GATE_ADMITTED, GATE_TRUSTED);
	const uint64_t shut = booked(GATE_SHUT_BY, GATE_COLUMNS);
	struct spw_queue *queue = bind_queue(NUMBER, SPW_COPY_META, 60000, 0);

	if (!rules(iptables))
		skip(iptables);
	look(0);
	EQUAL(gate_flow_set(&gate, flow(1), GATE_FLOW_TRUSTED, 0), 0);
	EQUAL(gate_flow_set(&gate, flow(2), GATE_FLOW_SPILLED, REASON_LOAD), 0);
	EQUAL(gate_flow_set(&gate, flow(3), GATE_FLOW_SHUT, REASON_POISON), 0);
	gate.page->settled = gate.page->admitted;
	send_all();
	EQUAL(booked(0, GATE_COLUMNS) - all, SENDERS * SENT);
	EQUAL(booked(GATE_ADMITTED, GATE_TRUSTED) - admitted, SENT);
	EQUAL(booked(GATE_SHUT_BY, GATE_COLUMNS) - shut, SENT);
	EQUAL(matched(iptables, 1), 2 * SENT);
	EQUAL(matched(iptables, 2), SENT);
	EQUAL(matched(iptables, 3), SENT);
	EQUAL(stat_of(queue).id_sequence, SENT);
	EQUAL(stat_of(queue).held + stat_of(queue).user_dropped, SENT);
	EQUAL(udp_count(to), 2 * SENT);
	for (unsigned n = 0; n < SENDERS; n++)
		EQUAL(gate_flow_set(&gate, flow(n), GATE_FLOW_INSPECT, 0), 0);
	settle(queue, SPW_DROP);
	spw_queue_close(queue);
	TRUE(rule(iptables, "-F OUTPUT"));
}

/* Nobody listens, nobody looks, and the rule has no bypass: everything goes round. Then shut, by hand. */
static void alone(const char *iptables, int to)
{
	const int from = sender(9);

	TRUE(rules(iptables));
	gate.page->ticked_ns = 0;
	udp_send(from, 100, 50);
	EQUAL(udp_count(to), 100);
	EQUAL(matched(iptables, 3), 0);
	gate_set_mode(gate.page, GATE_MODE_SHUT, REASON_MANUAL);
	udp_send(from, 100, 50);
	EQUAL(udp_count(to), 0);
	EQUAL(matched(iptables, 2), 100);
	gate_set_mode(gate.page, GATE_MODE_ADMIT, 0);
	TRUE(rule(iptables, "-F OUTPUT"));
	close(from);
}

static void at_tc(int to)
{
	const uint64_t before = booked(0, GATE_COLUMNS);
	const int from = sender(10);
	struct gate_why why;

	look(0);
	gate_set_mark(gate.page, 0x500, 0xf00);
	shell("iptables -w -t mangle -A INPUT -p udp --dport 9999 -m mark --mark 0x500/0xf00 -j DROP");
	good(NULL, gate_attach_tc(dir, if_nametoindex("lo"), &why));
	udp_send(from, 100, 50);
	EQUAL(udp_count(to), 0);
	EQUAL(booked(0, GATE_COLUMNS) - before, 100);
	gate_set_mode(gate.page, GATE_MODE_SPILL, REASON_MANUAL);
	udp_send(from, 100, 50);
	EQUAL(udp_count(to), 100);
	gate_set_mode(gate.page, GATE_MODE_SHUT, REASON_MANUAL);
	udp_send(from, 100, 50);
	EQUAL(udp_count(to), 0);
	EQUAL(booked(0, GATE_COLUMNS) - before, 300);
	EQUAL(gate_detach_tc(dir, if_nametoindex("lo")), 0);
	EQUAL(gate_detach_tc(dir, if_nametoindex("lo")), -ENOENT);
	udp_send(from, 100, 50);
	EQUAL(udp_count(to), 100);
	EQUAL(booked(0, GATE_COLUMNS) - before, 300);
	/* What is still there goes with the pins. */
	good(NULL, gate_attach_tc(dir, if_nametoindex("lo"), &why));
	udp_send(from, 1, 50);
	EQUAL(udp_count(to), 0);
	gate_unpin(dir);
	udp_send(from, 1, 50);
	EQUAL(udp_count(to), 1);
	close(from);
}

/* argv[1]: a directory of one's own. */
int main(int argc, char **argv)
{
	static const char *const backends[] = {"iptables-nft", "iptables-legacy"};
	int to;

	if (!real_root())
		skip("BPF needs root of the machine");
	EQUAL(argc, 2);
	load(argv[1]);
	to = udp_socket(1);
	for (unsigned i = 0; i < 2; i++) {
		at_output(backends[i], to);
		alone(backends[i], to);
	}
	at_tc(to);
	gate_close(&gate);
	return 0;
}
