/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcap filter expressions: see filter.h. Touches libpcap and nothing else; no packet, no interface.
 */
#include "rules/filter.h"

#include <dlfcn.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <string.h>

/* What the kernel's match takes (XT_BPF_MAX_NUM_INSTR). */
#define INSTRUCTIONS 64
/* Longer than any packet: the filter answers with it, and what isn't 0 is a yes. */
#define SNAPLEN      65535

struct pcap_library {
	void *handle;
	pcap_t *(*open_dead)(int link_type, int snaplen);
	int (*compile)(pcap_t *p, struct bpf_program *program, const char *text, int optimize, bpf_u_int32 netmask);
	char *(*geterr)(pcap_t *p);
	void (*freecode)(struct bpf_program *program);
	void (*close)(pcap_t *p);
};

static bool load(struct pcap_library *l)
{
	l->handle = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL); /* Debian's name for it */
	if (!l->handle)
		l->handle = dlopen("libpcap.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!l->handle)
		return false;
	*(void **)&l->open_dead = dlsym(l->handle, "pcap_open_dead");
	*(void **)&l->compile = dlsym(l->handle, "pcap_compile");
	*(void **)&l->geterr = dlsym(l->handle, "pcap_geterr");
	*(void **)&l->freecode = dlsym(l->handle, "pcap_freecode");
	*(void **)&l->close = dlsym(l->handle, "pcap_close");
	if (l->open_dead && l->compile && l->geterr && l->freecode && l->close)
		return true;
	dlclose(l->handle);
	return false;
}

static void write_bytecode(const struct bpf_program *program, char bytecode[RULE_BYTECODE])
{
	size_t len = (size_t)snprintf(bytecode, RULE_BYTECODE, "%u", program->bf_len);

	for (unsigned i = 0; i < program->bf_len; i++) {
		const struct bpf_insn *in = &program->bf_insns[i];

		len += (size_t)snprintf(bytecode + len, RULE_BYTECODE - len, ",%u %u %u %u", in->code, in->jt, in->jf,
					in->k);
	}
}

/* One family's part. 1: it takes no packet of the family, which libpcap calls an error. */
static int compile_family(const struct pcap_library *l, pcap_t *p, const char *family, const char *expression,
			  char bytecode[RULE_BYTECODE], char error[512])
{
	char text[RULE_MATCH + 16];
	struct bpf_program program;
	unsigned len;

	snprintf(text, sizeof(text), "%s and (%s)", family, expression);
	if (l->compile(p, &program, text, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return 1;
	len = program.bf_len;
	if (len <= INSTRUCTIONS)
		write_bytecode(&program, bytecode);
	l->freecode(&program);
	if (len <= INSTRUCTIONS)
		return 0;
	snprintf(error, 512, "--filter: %u instructions, the kernel's match takes %d; split it into several rules", len,
		 INSTRUCTIONS);
	return -EINVAL;
}

/* The whole expression first: what is wrong in it is told in the user's own words. */
static int compile(const struct pcap_library *l, pcap_t *p, struct rule *r, char error[512])
{
	static const char *const families[] = {"ip", "ip6"};
	struct bpf_program program;
	bool any = false;

	if (l->compile(p, &program, r->filter, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		snprintf(error, 512, "--filter: %s; man pcap-filter tells the language", l->geterr(p));
		return -EINVAL;
	}
	l->freecode(&program);
	for (unsigned i = 0; i < 2; i++) {
		const int err = r->family & (i ? RULE_IPV6 : RULE_IPV4)
				    ? compile_family(l, p, families[i], r->filter, r->bytecode[i], error)
				    : 1;

		if (err < 0)
			return err;
		any |= !err;
	}
	if (any)
		return 0;
	snprintf(error, 512, "--filter: it takes no packet of the family; change it, or --family");
	return -EINVAL;
}

int filter_compile(struct rule *r, char error[512])
{
	struct pcap_library l;
	pcap_t *p;
	int err;

	if (!r->filter[strspn(r->filter, " \t")] || strlen(r->filter) >= RULE_MATCH) {
		snprintf(error, 512, "--filter: empty or too long; man pcap-filter tells the language");
		return -EINVAL;
	}
	if (!load(&l)) {
		snprintf(error, 512, "--filter: no libpcap here; install it (Debian: libpcap0.8), or use --match");
		return -ENOENT;
	}
	p = l.open_dead(DLT_RAW, SNAPLEN);
	if (p) {
		err = compile(&l, p, r, error);
		l.close(p);
	} else {
		snprintf(error, 512, "--filter: no memory left; free some and try again");
		err = -ENOMEM;
	}
	dlclose(l.handle);
	return err;
}
