/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The examination: see doctor.h. Gathers; judge.c and lanes.c judge.
 */
#include "doctor/doctor.h"

#include "control/client.h"
#include "gate/gate.h"
#include "keeper/keeper.h"
#include "rules/command.h"

#include <errno.h>
#include <spillway/queue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a class's socket buffer is by default. */
#define BUFFER_BYTES (32u << 20)
/* Of what a command has listed. */
#define LIST_BYTES   (64 << 20)

/* One that Spillway can do without is no more than worth knowing. */
static void tell_feature(const struct probe *p, enum probe_answer answer, const char *detail, struct findings *f)
{
	if (answer == PROBE_YES)
		findings_add(f, LEVEL_FINE, p->name, "%s", p->what);
	else if (answer == PROBE_NO)
		finding_remedy(
		    findings_add(f, p->needed ? LEVEL_LACKS : LEVEL_NOTE, p->name, "%s: missing: %s", p->what, detail),
		    "%s", p->remedy);
	else
		finding_remedy(findings_add(f, p->needed ? LEVEL_UNSEEN : LEVEL_NOTE, p->name, "%s: not known: %s",
					    p->what, detail),
			       "run it as root, with iptables and nft installed");
}

static void look_at_features(struct findings *f)
{
	for (const struct probe *p = probes; p->name; p++) {
		char detail[PROBE_DETAIL] = "";

		/* The proof tells more of it. */
		if (strcmp(p->name, PROBE_FAIL_OPEN) != 0)
			tell_feature(p, probe_ask(p->name, detail), detail, f);
	}
}

static void look_at_fail_open(struct probe_proof *proof, struct findings *f)
{
	probe_fail_open(proof);
	if (proof->error && probe_answer(proof->error) == PROBE_NO)
		finding_remedy(findings_add(f, LEVEL_LACKS, PROBE_FAIL_OPEN,
					    "nothing can be brought to a queue with it: %s", proof->detail),
			       "a kernel from 3.6 on, with xt_NFQUEUE or nft_queue");
	else if (proof->error)
		finding_remedy(
		    findings_add(f, LEVEL_UNSEEN, PROBE_FAIL_OPEN, "no proof could be made: %s", proof->detail),
		    "run it as root, with iptables or nft installed");
	else if (proof->passed_with == proof->sent - proof->length && !proof->passed_without)
		findings_add(
		    f, LEVEL_FINE, PROBE_FAIL_OPEN,
		    "it acts: of %u packets to a queue of %u whose inspector never answers, %u passed with the "
		    "flag, %u without",
		    proof->sent, proof->length, proof->passed_with, proof->passed_without);
	else
		finding_remedy(
		    findings_add(f, LEVEL_LACKS, PROBE_FAIL_OPEN,
				 "it does not act: of %u packets to a queue of %u whose inspector never answers, "
				 "%u passed with the flag (expected %u), %u without (expected 0)",
				 proof->sent, proof->length, proof->passed_with, proof->sent - proof->length,
				 proof->passed_without),
		    "a kernel from 3.6 on");
}

/* Whether the queues of this namespace can be seen and used, and how large a socket's buffer may be. */
static bool look_at_socket(struct findings *f)
{
	struct spw_queue *queue = NULL;
	const int err = spw_queue_open(&queue, 0);
	const int64_t got = err ? 0 : spw_queue_set_buffer(queue, BUFFER_BYTES);

	if (err == -EPROTONOSUPPORT)
		findings_add(f, LEVEL_LACKS, "queues", "%s", spw_queue_error(queue));
	else if (err)
		finding_remedy(
		    findings_add(f, LEVEL_UNSEEN, "queues", "%s", queue ? spw_queue_error(queue) : strerror(-err)),
		    "run it as root, or with CAP_NET_ADMIN");
	else if (got < BUFFER_BYTES)
		finding_remedy(
		    findings_add(f, LEVEL_HURTS, "small-buffer",
				 "this user gets a socket buffer of %lld KiB and not %u: some %lld packets of "
				 "1400 bytes fill it, and those that come then are not inspected",
				 (long long)got / 1024, BUFFER_BYTES / 1024, (long long)got / 2304),
		    "run it as root, or sysctl net.core.rmem_max=%u", BUFFER_BYTES / 2);
	else
		findings_add(f, LEVEL_FINE, "buffer", "socket buffers of %u KiB", BUFFER_BYTES / 1024);
	spw_queue_close(queue);
	return !err;
}

static enum queue_state look(uint16_t number)
{
	struct spw_queue_stat stat;
	struct spw_queue *queue = NULL;
	int err = spw_queue_open(&queue, number);

	if (!err)
		err = spw_queue_stat(queue, &stat);
	spw_queue_close(queue);
	if (err)
		return err == -ENODEV ? QUEUE_UNBOUND : QUEUE_UNSEEN;
	return stat.copy_mode ? QUEUE_BOUND : QUEUE_UNCONFIGURED;
}

/* Runs a command that lists rules. 0: c->out is to be read, and command_end() left to do; -ENOENT: it is not installed;
 * else a negative errno, and it was told. */
static int list(const char *line, struct command *c, struct findings *f)
{
	struct words w;
	struct stat st;
	int err;

	words_begin(&w);
	words_split(&w, line);
	err = command_run(&w, c);
	if (err == -ENOENT)
		return err;
	if (err) {
		findings_add(f, LEVEL_UNSEEN, "rules", "%s: %s", w.at[0], strerror(-err));
		return err;
	}
	if (!c->status && (fstat(fileno(c->out), &st) || st.st_size <= LIST_BYTES))
		return 0;
	finding_remedy(findings_add(f, LEVEL_UNSEEN, "rules", "%s: %s", w.at[0],
				    c->status ? c->error : "more output than is looked at"),
		       "run it as root, or with CAP_NET_ADMIN");
	command_end(c);
	return -EIO;
}

/* True where the command is installed, whatever came of it. */
static bool read_iptables(const char *command, const char *family, struct ruleset *r, struct findings *f)
{
	struct command c;
	const int err = list(command, &c, f);

	if (!err) {
		ruleset_iptables(r, family, c.out);
		command_end(&c);
	}
	return err != -ENOENT;
}

/* Both backends of iptables; where they have no names of their own, what there is. */
static bool read_family(const char *const commands[3], const char *family, struct ruleset *r, struct findings *f)
{
	const bool nft = read_iptables(commands[0], family, r, f), legacy = read_iptables(commands[1], family, r, f);

	return nft || legacy || read_iptables(commands[2], family, r, f);
}

static bool read_nft(struct ruleset *r, struct findings *f)
{
	struct command c;
	const int err = list("nft -j list ruleset", &c, f);
	json_t *root;

	if (err)
		return err != -ENOENT;
	root = json_loadf(c.out, 0, NULL);
	command_end(&c);
	ruleset_nft(r, root);
	json_decref(root);
	return true;
}

static struct gate_pins look_at_pins(uint16_t number)
{
	struct gate_pins pins = {.error = 0};
	char dir[GATE_DIR];
	int devices;

	gate_directory(number, dir);
	pins.error = gate_program(dir, &pins.program);
	devices = gate_devices(dir);
	pins.devices = devices > 0 ? (unsigned)devices : 0;
	return pins;
}

/* What is to be judged together with what runs; NULL: no rules could be read. */
static struct ruleset *look_at_rules(struct findings *f)
{
	static const char *const v4[3] = {"iptables-nft-save", "iptables-legacy-save", "iptables-save"},
				 *const v6[3] = {"ip6tables-nft-save", "ip6tables-legacy-save", "ip6tables-save"};
	struct ruleset *r = calloc(1, sizeof(*r));
	bool any;

	if (!r) {
		findings_add(f, LEVEL_UNSEEN, "rules", "no memory is left");
		return NULL;
	}
	any = read_family(v4, "ip", r, f);
	any |= read_family(v6, "ip6", r, f);
	any |= read_nft(r, f);
	if (any)
		judge_rules(r, look, f);
	else
		finding_remedy(findings_add(f, LEVEL_UNSEEN, "rules", "neither iptables nor nft is installed"),
			       "install one of them");
	return r;
}

/* A spillway need not run; one whose socket is there has to answer. NULL: no status. */
static json_t *look_at_running(const char *control, struct findings *f)
{
	json_t *status;
	int err;

	if (access(control, F_OK) && errno == ENOENT) {
		findings_add(f, LEVEL_NOTE, "running", "no spillway runs with the control socket %s", control);
		return NULL;
	}
	err = client_status(control, &status);
	if (err) {
		finding_remedy(findings_add(f, err == EXIT_PERMISSION ? LEVEL_UNSEEN : LEVEL_NOTE, "running",
					    "%s gives no status", control),
			       "run it as the user who started spillway run, or name its socket with --control");
		return NULL;
	}
	judge_status(status, f);
	return status;
}

void doctor_examine(const char *control, struct findings *f, struct probe_proof *proof)
{
	struct ruleset *rules = NULL;
	json_t *status;

	look_at_features(f);
	look_at_fail_open(proof, f);
	if (look_at_socket(f))
		rules = look_at_rules(f);
	status = look_at_running(control, f);
	if (rules)
		judge_gates(rules, status, look_at_pins, f);
	json_decref(status);
	free(rules);
}
