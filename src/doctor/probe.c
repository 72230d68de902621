/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The probes: see probe.h. Each runs in a namespace apart.
 */
#include "doctor/probe.h"

#include "doctor/scratch.h"
#include "doctor/try.h"
#include "nfqueue/counter.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <spillway/queue.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a probe found: 0: it is there; -ENOENT: a program is missing; else a negative errno. */
typedef int (*probe_fn)(char detail[PROBE_DETAIL]);

/* Binds a queue with these flags. */
static int bind_with(uint32_t flags, char detail[PROBE_DETAIL])
{
	const struct spw_queue_config config = {.size = sizeof(config), .length = 16, .mask = flags, .flags = flags};
	struct spw_queue *queue = NULL;
	int err = spw_queue_open(&queue, TRY_QUEUE);

	if (!err)
		err = spw_queue_bind(queue, &config);
	if (err)
		snprintf(detail, PROBE_DETAIL, "%s", queue ? spw_queue_error(queue) : strerror(-err));
	spw_queue_close(queue);
	return err;
}

static int nfqueue(char detail[PROBE_DETAIL])
{
	return bind_with(0, detail);
}

static int gso(char detail[PROBE_DETAIL])
{
	return bind_with(SPW_GSO, detail);
}

static int conntrack(char detail[PROBE_DETAIL])
{
	return bind_with(SPW_CONNTRACK, detail);
}

static int xt_nfqueue(char detail[PROBE_DETAIL])
{
	return try_command("iptables -w -A OUTPUT -p udp -j NFQUEUE --queue-num 0 --queue-bypass", detail);
}

static int nft_queue(char detail[PROBE_DETAIL])
{
	return try_nft("output", detail);
}

static int nfacct(char detail[PROBE_DETAIL])
{
	struct spw_counter c;
	int err = spw_counter_open(&c);

	if (!err) {
		err = spw_counter_make(&c, TRY_QUEUE, SPW_COUNTER_QUEUE);
		spw_counter_close(&c);
	}
	if (!err)
		return try_command("iptables -w -A OUTPUT -m nfacct --nfacct-name spillway-0", detail);
	snprintf(detail, PROBE_DETAIL, "%s", strerror(-err));
	return err;
}

static int bpf(unsigned command, union bpf_attr *attr)
{
	const long got = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return got < 0 ? -errno : (int)got;
}

/* A program that takes every packet, under a name in /run. */
static int pin_program(const char *path)
{
	static const struct bpf_insn program[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
			       .insn_cnt = sizeof(program) / sizeof(*program),
			       .insns = (uintptr_t)program,
			       .license = (uintptr_t) "GPL"};
	const int fd = bpf(BPF_PROG_LOAD, &load);
	union bpf_attr pin = {.pathname = (uintptr_t)path, .bpf_fd = (uint32_t)fd};
	int err;

	if (fd < 0)
		return fd;
	err = bpf(BPF_OBJ_PIN, &pin);
	close(fd);
	return err;
}

static int xt_bpf(char detail[PROBE_DETAIL])
{
	int err = 0;

	if (mkdir("/run/bpf", 0700) || mount("bpf", "/run/bpf", "bpf", MS_NOSUID, NULL))
		err = -errno;
	if (!err)
		err = pin_program("/run/bpf/program");
	if (!err)
		return try_command("iptables -w -A OUTPUT -m bpf --object-pinned /run/bpf/program -j ACCEPT", detail);
	snprintf(detail, PROBE_DETAIL, "loading and pinning a program: %s", strerror(-err));
	return err;
}

static int btf(char detail[PROBE_DETAIL])
{
	if (!access("/sys/kernel/btf/vmlinux", R_OK))
		return 0;
	snprintf(detail, PROBE_DETAIL, "/sys/kernel/btf/vmlinux: %s", strerror(errno));
	return errno == ENOENT ? -EOPNOTSUPP : -errno;
}

static int seccomp(char detail[PROBE_DETAIL])
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
		return 0;
	snprintf(detail, PROBE_DETAIL, "%s", strerror(errno));
	return -EOPNOTSUPP;
}

static int landlock(char detail[PROBE_DETAIL])
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0)
		return 0;
	snprintf(detail, PROBE_DETAIL, "%s", strerror(errno));
	return -EOPNOTSUPP;
}

static int user_namespaces(char detail[PROBE_DETAIL])
{
	if (!unshare(CLONE_NEWUSER))
		return 0;
	snprintf(detail, PROBE_DETAIL, "%s", strerror(errno));
	return -EOPNOTSUPP;
}

static int fail_open(char detail[PROBE_DETAIL]);

/* The order is that of probes[] below. */
static const probe_fn functions[] = {nfqueue,   fail_open, gso, xt_nfqueue, nft_queue, nfacct,
				     conntrack, xt_bpf,    btf, seccomp,    landlock,  user_namespaces};
#define PROBES (sizeof(functions) / sizeof(*functions))

const struct probe probes[PROBES + 1] = {
    {"nfqueue", true, "packet queues (nfnetlink_queue)",
     "modprobe nfnetlink_queue, or a kernel with CONFIG_NETFILTER_NETLINK_QUEUE"},
    {PROBE_FAIL_OPEN, true, "fail-open: a full queue lets packets pass", "a kernel from 3.6 on"},
    {"gso", true, "aggregates queued whole (NFQA_CFG_F_GSO)", "a kernel from 3.10 on"},
    {"xt-nfqueue", false, "iptables rules that queue (xt_NFQUEUE)",
     "modprobe xt_NFQUEUE, or spillway rules --backend nft"},
    {"nft-queue", false, "nftables rules that queue (nft_queue)",
     "modprobe nft_queue, a kernel with CONFIG_NFT_QUEUE, or spillway rules --backend iptables"},
    {"nfacct", false, "named counters before iptables rules (xt_nfacct)",
     "modprobe xt_nfacct nfnetlink_acct, or spillway rules --backend nft"},
    {"conntrack", false, "conntrack attributes on queued packets (NFQA_CFG_F_CONNTRACK)",
     "modprobe nf_conntrack_netlink, or a kernel with CONFIG_NETFILTER_NETLINK_GLUE_CT; without it, run --conntrack "
     "off"},
    {"xt-bpf", false, "pinned eBPF programs in iptables rules (xt_bpf)",
     "modprobe xt_bpf, a kernel with CONFIG_BPF_SYSCALL, iptables from 1.6.2 on; only the gate in iptables rules needs "
     "it"},
    {"btf", false, "type information for eBPF (BTF)", "a kernel with CONFIG_DEBUG_INFO_BTF; nothing here needs it yet"},
    {"seccomp", true, "system call filters (seccomp)", "a kernel with CONFIG_SECCOMP_FILTER, from 4.14 on"},
    {"landlock", false, "file access rules (Landlock), by which inspectors can change no file",
     "a kernel from 5.13 on with landlock among its security modules (lsm=)"},
    {"user-namespaces", false, "user namespaces, by which ordinary users can try Spillway",
     "sysctl user.max_user_namespaces=10000, and what the distribution restricts them by"},
    {0},
};

struct asked {
	unsigned index;
	int error;
	char detail[PROBE_DETAIL];
};

static void ask(void *result)
{
	struct asked *a = result;

	a->error = functions[a->index](a->detail);
}

/* Makes its own namespace. */
static int fail_open(char detail[PROBE_DETAIL])
{
	struct probe_proof p;

	probe_fail_open(&p);
	if (p.error) {
		memcpy(detail, p.detail, sizeof(p.detail));
		return p.error;
	}
	snprintf(detail, PROBE_DETAIL, "%u of %u passed a full queue of %u with the flag, %u without", p.passed_with,
		 p.sent, p.length, p.passed_without);
	return p.passed_with == p.sent - p.length && !p.passed_without ? 0 : -EOPNOTSUPP;
}

enum probe_answer probe_answer(int error)
{
	switch (error) {
	case 0:
		return PROBE_YES;
	case -ENOENT:
	case -EPERM:
	case -EACCES:
	case -ECHILD:
	case -ENOMEM:
		return PROBE_UNKNOWN;
	default:
		return PROBE_NO;
	}
}

enum probe_answer probe_ask(const char *name, char detail[PROBE_DETAIL])
{
	struct asked a = {0};
	int err;

	while (probes[a.index].name && strcmp(probes[a.index].name, name) != 0)
		a.index++;
	if (!probes[a.index].name) {
		snprintf(detail, PROBE_DETAIL, "there is no such probe");
		return PROBE_UNKNOWN;
	}
	err = scratch_run(ask, &a, sizeof(a));
	if (err) {
		snprintf(detail, PROBE_DETAIL, "private namespaces: %s", strerror(-err));
		return PROBE_UNKNOWN;
	}
	memcpy(detail, a.detail, sizeof(a.detail));
	return probe_answer(a.error);
}
