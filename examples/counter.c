/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An inspector: counts packets and bytes of each flow, and prints the counts when it is stopped, and what it has not
 * seen. It keeps the wide sandbox, since it writes at a time of its own choosing. Its table is fixed: flows beyond it
 * are counted together.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <spillway/inspector.h>
#include <stdio.h>
#include <string.h>

#define FLOWS 4096u

struct count {
	struct spw_flow flow;
	uint64_t packets, bytes;
};

static struct count counts[FLOWS], others;

/* Its place, or the next free one behind: spw_packet.flow is a keyed hash that nobody outside can aim. */
static struct count *place(const struct spw_flow *flow, uint64_t hash)
{
	for (unsigned i = 0; i < FLOWS; i++) {
		struct count *c = &counts[(hash + i) % FLOWS];

		if (!c->packets)
			c->flow = *flow;
		if (!memcmp(&c->flow, flow, sizeof(*flow)))
			return c;
	}
	return &others;
}

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	struct spw_headers h = {.size = sizeof(h)};
	struct count *c = &others;

	(void)self;
	(void)v;
	if (!spw_packet_headers(p, &h) && h.flow.family)
		c = place(&h.flow, p->flow);
	c->packets++;
	c->bytes += p->length;
}

static void missed(void *self, const struct spw_gap *gap)
{
	(void)self;
	printf("queue %u: %" PRIu64 " missed, %" PRIu64 " too late%s\n", gap->queue, gap->missed, gap->stale,
	       gap->causes & SPW_GAP_ROUND ? ", others went round" : "");
	fflush(stdout);
}

static void print(const struct count *c)
{
	char text[2][INET6_ADDRSTRLEN] = {"", ""};

	for (unsigned i = 0; i < 2; i++)
		inet_ntop(c->flow.family == 4 ? AF_INET : AF_INET6, c->flow.address[i], text[i], sizeof(text[i]));
	printf("protocol %u, %s port %u and %s port %u: %" PRIu64 " packets, %" PRIu64 " bytes\n", c->flow.protocol,
	       text[0], c->flow.port[0], text[1], c->flow.port[1], c->packets, c->bytes);
}

static void stop(void *self)
{
	(void)self;
	for (unsigned i = 0; i < FLOWS; i++) {
		if (counts[i].packets)
			print(&counts[i]);
	}
	if (others.packets)
		printf("all others: %" PRIu64 " packets, %" PRIu64 " bytes\n", others.packets, others.bytes);
	fflush(stdout);
}

SPW_INSPECTOR(.name = "counter", .packet = inspect, .gap = missed, .stop = stop, .copy_range = 256,
	      .sandbox = SPW_SANDBOX_WIDE);
