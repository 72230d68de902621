/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's side of the differential test: carries operations out in the network namespace that the test was started
 * in, which must be one of its own, and looks at everything that shows there. All on one processor, so that a packet
 * has gone its whole way when the call that set it off returns.
 */
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink_acct.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "../queue.h"
#include "differential.h"
#include "nfqueue/internal.h"

#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#define HOLDERS      64 /* duplicates of one socket, at most */
#define MESSAGE      (128 * 1024)
#define EARLY        (-500) /* the priority of OP_CHAIN_ADD's chain: in front of all others */
#define EARLY_TABLE  "early"
#define BACKLOG      256
#define LEAST_BUFFER (2u << 20) /* takes all that a sequence can bring at once */

static const char *const tables[HOOKS] = {"mangle", "filter", "security"};

static struct {
	int receiver;
	int sender[FLOWS];
	int marker; /* sends what nothing queues */
	int counters;
	int proc;
	int interface;
	bool chain;
	int socket[SOCKETS][HOLDERS];
	unsigned holders[SOCKETS];
	uint64_t hits_before[HOOKS][KERNEL_RULES];
	char message[MESSAGE];
} real;

/* Above the limit for everybody where that is allowed. */
static void set_buffer(int fd, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		EQUAL(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
}

static uint32_t buffer_of(int fd)
{
	int bytes = 0;

	EQUAL(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &(socklen_t){sizeof(bytes)}), 0);
	return (uint32_t)bytes;
}

static int udp(uint16_t port)
{
	const struct sockaddr_in addr = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int on = 1;

	TRUE(fd >= 0);
	EQUAL(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	set_buffer(fd, 8 << 20);
	EQUAL(setsockopt(fd, SOL_SOCKET, SO_RCVMARK, &on, sizeof(on)), 0);
	return fd;
}

static int udp_sender(uint16_t port)
{
	const struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int fd = udp(port);

	EQUAL(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Counters of rules: nfacct objects, one a rule, that the kernel shows over netlink. */

static struct nlmsghdr *counter_message(void *buf, uint8_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = (NFNL_SUBSYS_ACCT << 8) | type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nfg->nfgen_family = AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

static void make_counter(unsigned hook, unsigned rule)
{
	uint32_t buf[64];
	struct nlmsghdr *nlh = counter_message(buf, NFNL_MSG_ACCT_NEW, NLM_F_CREATE);
	char name[16];

	snprintf(name, sizeof(name), "r%u-%u", hook, rule);
	mnl_attr_put_strz(nlh, NFACCT_NAME, name);
	if (spw_nl_ask(real.counters, nlh) == 0)
		return;
	puts("SKIP: nfacct");
	exit(77);
}

static void take_counter(const struct nlmsghdr *nlh, uint64_t hits[HOOKS][KERNEL_RULES])
{
	const struct nlattr *attr;
	const char *name = "";
	uint64_t packets = 0;

	mnl_attr_for_each (attr, nlh, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFACCT_NAME)
			name = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == NFACCT_PKTS)
			packets = be64toh(mnl_attr_get_u64(attr));
	}
	hits[name[1] - '0'][name[3] - '0'] = packets;
}

static void read_counters(uint64_t hits[HOOKS][KERNEL_RULES])
{
	uint32_t buf[64];
	const struct nlmsghdr *nlh = counter_message(buf, NFNL_MSG_ACCT_GET, NLM_F_DUMP);

	EQUAL(spw_nl_send(real.counters, nlh, nlh->nlmsg_len), 0);
	for (;;) {
		int len = (int)recv(real.counters, real.message, sizeof(real.message), 0);

		TRUE(len > 0);
		for (nlh = (const void *)real.message; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			if (nlh->nlmsg_type == NLMSG_DONE)
				return;
			TRUE(nlh->nlmsg_type != NLMSG_ERROR);
			take_counter(nlh, hits);
		}
	}
}

/* Rules. */

static void rule_target(const struct kernel_rule *rule, char *to, size_t size)
{
	switch (rule->action) {
	case ACTION_MARK:
		snprintf(to, size, "-j MARK --set-mark %u", rule->mark);
		break;
	case ACTION_QUEUE:
		snprintf(to, size, "-j NFQUEUE --queue-num %u%s", rule->queue, rule->bypass ? " --queue-bypass" : "");
		break;
	case ACTION_ACCEPT:
		snprintf(to, size, "-j ACCEPT");
		break;
	case ACTION_DROP:
		snprintf(to, size, "-j DROP");
		break;
	default:
		*to = '\0';
	}
}

static void make_rule(unsigned hook, unsigned i)
{
	const struct kernel_hook rules = rules_of(hook);
	const struct kernel_rule *rule = &rules.rule[i];
	char target[64];
	char mark[64] = "";
	char ports[32];
	char command[512];

	snprintf(ports, sizeof(ports), rule->flow ? "%u" : "%u:%u", rule->flow ? rule->flow : FIRST_FLOW,
		 FIRST_FLOW + FLOWS - 1);
	if (rule->mark_mask)
		snprintf(mark, sizeof(mark), "-m mark %s--mark 0x%x/0x%x", rule->mark_differs ? "! " : "",
			 rule->mark_value, rule->mark_mask);
	rule_target(rule, target, sizeof(target));
	snprintf(command, sizeof(command),
		 "iptables -w -t %s -A INPUT -p udp --sport %s --dport %u %s -m nfacct --nfacct-name r%u-%u %s",
		 tables[hook], ports, PORT, mark, hook, i, target);
	if (system(command) == 0)
		return;
	puts("SKIP: iptables NFQUEUE, MARK, nfacct");
	exit(77);
}

static void make_rules(void)
{
	for (unsigned hook = 0; hook < HOOKS; hook++)
		for (unsigned i = 0; i < rules_of(hook).rules; i++) {
			make_counter(hook, i);
			make_rule(hook, i);
		}
}

/* The table is there once the kernel's module is, which the first queue brings. */
static void load_module(void)
{
	struct spw_queue *queue;

	EQUAL(spw_queue_open(&queue, 0), 0);
	spw_queue_close(queue);
}

void real_open(void)
{
	const struct timeval limit = {.tv_sec = 20};
	cpu_set_t one;
	uint32_t portid;

	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	EQUAL(sched_setaffinity(0, sizeof(one), &one), 0);
	EQUAL(if_nametoindex("lo"), LOOPBACK);
	load_module();
	real.proc = spw_proc_open();
	real.counters = spw_nl_socket(&portid);
	TRUE(real.proc >= 0 && real.counters >= 0);
	real.interface = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	real.receiver = udp(PORT);
	/* What doesn't come shall end the test, not hang it. */
	EQUAL(setsockopt(real.receiver, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	EQUAL(setsockopt(real.counters, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	if (buffer_of(real.receiver) < LEAST_BUFFER) {
		puts("SKIP: large receive buffers (net.core.rmem_max)");
		exit(77);
	}
	real.marker = udp_sender(FIRST_FLOW - 1);
	for (unsigned i = 0; i < FLOWS; i++)
		real.sender[i] = udp_sender((uint16_t)(FIRST_FLOW + i));
	make_rules();
}

/* Sockets. */

bool real_is_open(unsigned socket)
{
	return real.holders[socket] > 0;
}

static int fd_of(unsigned socket)
{
	return real.socket[socket][0];
}

uint32_t real_portid(unsigned socket)
{
	uint32_t portid = 0;

	EQUAL(spw_nl_portid(fd_of(socket), &portid), 0);
	return portid;
}

uint32_t real_buffer(unsigned socket)
{
	return buffer_of(fd_of(socket));
}

static void open_socket(unsigned socket)
{
	uint32_t portid;

	real.socket[socket][0] = spw_nl_socket(&portid);
	TRUE(fd_of(socket) >= 0);
	real.holders[socket] = 1;
}

static void dup_socket(unsigned socket)
{
	const int fd = dup(fd_of(socket));

	TRUE(fd >= 0 && real.holders[socket] < HOLDERS);
	real.socket[socket][real.holders[socket]++] = fd;
}

static void set_filter(int fd, bool on)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog program = {.len = 1, .filter = &nothing};

	if (on)
		EQUAL(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
	else
		setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int));
}

/* Requests. */

static struct nlmsghdr *request(void *buf, const struct op *op, uint8_t type)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (op->ack ? NLM_F_ACK : 0));
	nfg->nfgen_family = AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(op->queue);
	return nlh;
}

/* Not the library's: it never sends what is illegal. */
static void configure(const struct op *op)
{
	uint32_t buf[SPW_CONFIG_BYTES / sizeof(uint32_t)];
	struct nlmsghdr *nlh = request(buf, op, NFQNL_MSG_CONFIG);
	const struct kernel_config *c = &op->config;

	if (c->set & KERNEL_COMMAND)
		mnl_attr_put(nlh, NFQA_CFG_CMD, sizeof(struct nfqnl_msg_config_cmd),
			     &(struct nfqnl_msg_config_cmd){.command = c->command});
	if (c->set & KERNEL_PARAMS)
		mnl_attr_put(
		    nlh, NFQA_CFG_PARAMS, sizeof(struct nfqnl_msg_config_params),
		    &(struct nfqnl_msg_config_params){.copy_range = htonl(c->copy_range), .copy_mode = c->copy_mode});
	if (c->set & KERNEL_MAXLEN)
		mnl_attr_put_u32(nlh, NFQA_CFG_QUEUE_MAXLEN, htonl(c->length));
	if (c->set & KERNEL_MASK)
		mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(c->mask));
	if (c->set & KERNEL_FLAGS)
		mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(c->flags));
	EQUAL(spw_nl_send(fd_of(op->socket), nlh, nlh->nlmsg_len), 0);
}

static uint16_t ip_checksum(const struct iphdr *ip)
{
	uint16_t half[sizeof(*ip) / 2];
	uint32_t sum = 0;

	memcpy(half, ip, sizeof(half));
	for (size_t i = 0; i < sizeof(half) / sizeof(half[0]); i++)
		sum += half[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

/* A whole packet with headers that claim what they shall. */
static void write_packet(uint8_t *to, const struct op *op)
{
	const uint32_t claimed = op->verdict.payload_claimed;
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .tot_len = htons((uint16_t)claimed),
			   .ttl = 64,
			   .protocol = IPPROTO_UDP,
			   .saddr = htonl(INADDR_LOOPBACK),
			   .daddr = htonl(INADDR_LOOPBACK)};
	/* No checksum: UDP may do without over IPv4. */
	const struct udphdr udp = {
	    .source = htons(op->verdict_flow), .dest = htons(PORT), .len = htons((uint16_t)(claimed - sizeof(ip)))};

	ip.check = ip_checksum(&ip);
	memcpy(to, &ip, sizeof(ip));
	memcpy(to + sizeof(ip), &udp, sizeof(udp));
	memcpy(to + HEADERS, &op->verdict.payload_number, sizeof(op->verdict.payload_number));
}

static struct nlmsghdr *put_verdict(void *at, const struct op *op, uint32_t id)
{
	uint8_t packet[2048] = {0};
	const struct kernel_verdict *v = &op->verdict;
	const struct nfqnl_msg_verdict_hdr head = {.verdict = htonl(v->value), .id = htonl(id)};
	struct nlmsghdr *nlh = request(at, op, op->kind == OP_BATCH ? NFQNL_MSG_VERDICT_BATCH : NFQNL_MSG_VERDICT);

	mnl_attr_put(nlh, NFQA_VERDICT_HDR, sizeof(head), &head);
	if (v->set & SPW_VERDICT_MARK)
		mnl_attr_put_u32(nlh, NFQA_MARK, htonl(v->mark));
	if (v->set & SPW_VERDICT_PAYLOAD) {
		write_packet(packet, op);
		mnl_attr_put(nlh, NFQA_PAYLOAD, v->payload_len, packet);
	}
	return nlh;
}

static void send_verdicts(const struct op *op)
{
	const uint32_t messages = op->kind == OP_BATCH ? 1 : op->amount;
	uint8_t buf[4096] __attribute__((aligned(8))) = {0};
	size_t len = 0;

	for (uint32_t i = 0; i < messages; i++)
		len += put_verdict(buf + len, op, op->id + i)->nlmsg_len;
	EQUAL(spw_nl_send(fd_of(op->socket), buf, len), 0);
}

/* What lies in the socket. */

static void take_error(const struct nlmsghdr *nlh, struct kernel_message *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(nlh);

	message->error = true;
	/* Older kernels answer with a number that user space has no name for, ENOTSUPP. */
	message->err = error->error == -524 ? -EOPNOTSUPP : error->error;
	message->tag = nlh->nlmsg_seq;
}

static void take_packet(const void *data, size_t len, struct kernel_message *message)
{
	struct spw_packet packet = {.size = sizeof(packet)};

	EQUAL(spw_packet_decode(data, len, &packet), 0);
	message->queue = packet.queue;
	message->id = packet.id;
	message->copied = (uint32_t)packet.payload_len;
	message->packet.mark = packet.mark;
	message->packet.length = (uint32_t)packet.length;
	if (packet.payload_len >= NUMBERED)
		memcpy(&message->packet.number, packet.payload + HEADERS, sizeof(message->packet.number));
}

static void receive(const struct op *op, struct view *view)
{
	for (uint32_t i = 0; i < op->amount && view->receptions < EVENTS; i++) {
		struct reception *r = &view->reception[view->receptions++];
		const ssize_t len = recv(fd_of(op->socket), real.message, sizeof(real.message), MSG_DONTWAIT);
		const struct nlmsghdr *nlh = (const void *)real.message;

		*r = (struct reception){.err = len < 0 ? -errno : 0};
		if (len >= 0 && nlh->nlmsg_type == NLMSG_ERROR)
			take_error(nlh, &r->message);
		else if (len >= 0)
			take_packet(real.message, (size_t)len, &r->message);
		if (r->err == -EAGAIN)
			return;
	}
}

/* Traffic. */

static void send_aggregate(const struct op *op, int fd)
{
	const uint16_t size = SEGMENT;
	char data[16 * SEGMENT] = {0};
	union {
		char bytes[CMSG_SPACE(sizeof(size))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = data, .iov_len = (size_t)op->amount * SEGMENT};
	const struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	for (uint32_t i = 0; i < op->amount; i++) {
		const uint64_t number = op->number + i;

		memcpy(data + (size_t)i * SEGMENT, &number, sizeof(number));
	}
	cmsg->cmsg_level = SOL_UDP;
	cmsg->cmsg_type = UDP_SEGMENT;
	cmsg->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(cmsg), &size, sizeof(size));
	EQUAL(sendmsg(fd, &message, 0), iov.iov_len);
}

/* One datagram; false where it is the marker's. */
static bool take_arrival(struct view *view)
{
	union {
		char bytes[256];
		struct cmsghdr align;
	} control;
	char data[2048];
	struct sockaddr_in from;
	struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
	struct msghdr message = {.msg_name = &from,
				 .msg_namelen = sizeof(from),
				 .msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const ssize_t len = recvmsg(real.receiver, &message, 0);
	struct arrival arrival = {.length = (uint32_t)len};

	TRUE(len >= 0);
	if (from.sin_port == htons(FIRST_FLOW - 1))
		return false;
	memcpy(&arrival.number, data, sizeof(arrival.number));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_MARK)
			memcpy(&arrival.mark, CMSG_DATA(c), sizeof(arrival.mark));
	TRUE(view->arrivals < EVENTS);
	view->arrival[view->arrivals++] = arrival;
	return true;
}

/* Everything that has arrived: the marker goes the same way behind it, and nothing can keep it back. */
static void take_arrivals(struct view *view)
{
	const uint64_t number = 0;

	EQUAL(send(real.marker, &number, sizeof(number), 0), sizeof(number));
	while (take_arrival(view))
		;
}

/* Not more at a time than may wait for a processor that is busy (net.core.netdev_max_backlog). */
static void send_datagrams(const struct op *op, int fd, struct view *view)
{
	char data[2048] = {0};

	for (uint32_t i = 0; i < op->amount; i++) {
		const uint64_t number = op->number + i;

		memcpy(data, &number, sizeof(number));
		EQUAL(send(fd, data, op->payload, 0), op->payload);
		if (i % BACKLOG == BACKLOG - 1)
			take_arrivals(view);
	}
}

static void send_traffic(const struct op *op, struct view *view)
{
	const int fd = real.sender[op->flow - FIRST_FLOW];

	EQUAL(setsockopt(fd, SOL_SOCKET, SO_MARK, &op->mark, sizeof(op->mark)), 0);
	if (op->kind == OP_AGGREGATE)
		send_aggregate(op, fd);
	else
		send_datagrams(op, fd, view);
}

/* What drops held packets behind everybody's back. */

static void device(bool up)
{
	struct ifreq request = {.ifr_name = "lo"};

	EQUAL(ioctl(real.interface, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
	EQUAL(ioctl(real.interface, SIOCSIFFLAGS, &request), 0);
}

/* A message of an nf_tables transaction, or one of its ends. */
static struct nlmsghdr *table_message(struct mnl_nlmsg_batch *batch, uint16_t type, uint16_t flags)
{
	const bool end = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END;
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(mnl_nlmsg_batch_current(batch));
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = end ? type : (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nfg->nfgen_family = end ? AF_UNSPEC : AF_INET;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(end ? NFNL_SUBSYS_NFTABLES : 0);
	return nlh;
}

/* A table of its own with an empty base chain in INPUT. */
static void put_chain(struct mnl_nlmsg_batch *batch)
{
	struct nlmsghdr *nlh = table_message(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	struct nlattr *hook;

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, EARLY_TABLE);
	mnl_nlmsg_batch_next(batch);
	nlh = table_message(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, EARLY_TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, "input");
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(NF_INET_LOCAL_IN));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)EARLY));
	mnl_attr_nest_end(nlh, hook);
	mnl_nlmsg_batch_next(batch);
}

static void take_chain_away(struct mnl_nlmsg_batch *batch)
{
	struct nlmsghdr *nlh = table_message(batch, NFT_MSG_DELTABLE, NLM_F_ACK);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, EARLY_TABLE);
	mnl_nlmsg_batch_next(batch);
}

static void chain(bool add)
{
	char buf[2048];
	struct mnl_nlmsg_batch *batch;
	const struct nlmsghdr *reply = (const void *)real.message;

	if (add == real.chain)
		return;
	real.chain = add;
	batch = mnl_nlmsg_batch_start(buf, sizeof(buf) / 2);
	TRUE(batch);
	table_message(batch, NFNL_MSG_BATCH_BEGIN, 0);
	mnl_nlmsg_batch_next(batch);
	if (add)
		put_chain(batch);
	else
		take_chain_away(batch);
	table_message(batch, NFNL_MSG_BATCH_END, 0);
	mnl_nlmsg_batch_next(batch);
	EQUAL(spw_nl_send(real.counters, mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch)), 0);
	mnl_nlmsg_batch_stop(batch);
	TRUE(recv(real.counters, real.message, sizeof(real.message), 0) > 0);
	EQUAL(reply->nlmsg_type, NLMSG_ERROR);
	EQUAL(((const struct nlmsgerr *)mnl_nlmsg_get_payload(reply))->error, 0);
}

/* All together. */

static void close_socket(unsigned socket)
{
	close(real.socket[socket][--real.holders[socket]]);
}

/* Operations that need an open socket. */
static void do_socket(const struct op *op, struct view *view)
{
	const int fd = fd_of(op->socket);
	const int amount = (int)op->amount;

	switch (op->kind) {
	case OP_DUP:
		dup_socket(op->socket);
		break;
	case OP_CLOSE:
		close_socket(op->socket);
		break;
	case OP_BUFFER:
		set_buffer(fd, amount);
		break;
	case OP_ENOBUFS:
		EQUAL(setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &amount, sizeof(amount)), 0);
		break;
	case OP_FILTER:
		set_filter(fd, op->amount);
		break;
	case OP_CONFIG:
		configure(op);
		break;
	case OP_VERDICT:
	case OP_BATCH:
		send_verdicts(op);
		break;
	case OP_RECEIVE:
		receive(op, view);
		break;
	default:
		break;
	}
}

static void look_at_socket(unsigned socket, struct spw_socket_stat *stat)
{
	uint32_t info[9] = {0}; /* SK_MEMINFO_* of linux/sock_diag.h */

	EQUAL(getsockopt(fd_of(socket), SOL_SOCKET, SO_MEMINFO, info, &(socklen_t){sizeof(info)}), 0);
	*stat = (struct spw_socket_stat){.used = info[0], .limit = info[1], .drops = info[8]};
}

static void look(struct view *view)
{
	/* First: until the marker has come, packets may still be on their way. */
	take_arrivals(view);
	for (unsigned q = 0; q < QUEUES; q++)
		view->bound[q] = spw_proc_find(real.proc, (uint16_t)(q + 1), &view->queue[q]) == 0;
	for (unsigned s = 0; s < SOCKETS; s++)
		if (real_is_open(s))
			look_at_socket(s, &view->socket[s]);
	read_counters(view->hits);
	for (unsigned hook = 0; hook < HOOKS; hook++)
		for (unsigned i = 0; i < KERNEL_RULES; i++)
			view->hits[hook][i] -= real.hits_before[hook][i];
}

void real_do(const struct op *op, struct view *view)
{
	if (op->kind == OP_SOCKET && !real_is_open(op->socket))
		open_socket(op->socket);
	else if (op->kind == OP_SEND || op->kind == OP_AGGREGATE)
		send_traffic(op, view);
	else if (op->kind == OP_CHAIN_ADD || op->kind == OP_CHAIN_DELETE)
		chain(op->kind == OP_CHAIN_ADD);
	else if (op->kind == OP_DEVICE) {
		device(false);
		device(true);
	} else if (real_is_open(op->socket))
		do_socket(op, view);
	look(view);
}

void real_reset(void)
{
	for (unsigned s = 0; s < SOCKETS; s++)
		while (real.holders[s])
			close_socket(s);
	chain(false);
	read_counters(real.hits_before);
}
