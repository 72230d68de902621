/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verb doctor: what is wrong here, and what to do about it.
 */
#include "cli/cli.h"

#include "control/request.h"
#include "control/server.h"
#include "doctor/doctor.h"
#include "keeper/keeper.h"

#include <getopt.h>
#include <stdlib.h>
#include <sys/utsname.h>

enum { OPT_CONTROL = 256, OPT_JSON, OPT_HELP };

static void print_help(void)
{
	printf(
	    "spillway doctor [--json] [--control PATH]\n\n"
	    "Looks at the kernel, the firewall's rules, the queues of this network namespace and a running spillway;\n"
	    "prints what it finds, each with its remedy; proves with packets of its own, in a namespace apart, that\n"
	    "fail-open acts. Changes nothing.\n\n"
	    "Exit status: 0 nothing hurts; 1 something does; 3 something could not be looked at; 4 the kernel lacks\n"
	    "what Spillway needs.\n");
}

static json_t *proof_json(const struct probe_proof *p)
{
	if (p->error)
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i}", "length", (int)p->length, "sent", (int)p->sent, "passed_with_flag",
			 (int)p->passed_with, "passed_without_flag", (int)p->passed_without);
}

/* True where it was written whole. */
static bool print_json(const struct findings *f, const struct probe_proof *proof)
{
	struct utsname u = {0};
	json_t *o;
	bool whole;

	uname(&u);
	o = json_pack("{s:i, s:s, s:o, s:o}", "version", 1, "kernel", u.release, "findings", findings_json(f),
		      "fail_open_proof", proof_json(proof));
	whole = o && !json_dumpf(o, stdout, JSON_INDENT(2)) && putchar('\n') != EOF;
	json_decref(o);
	return whole;
}

/* An exit status. */
static int examine(const char *control, bool json)
{
	struct findings *f = calloc(1, sizeof(*f));
	struct probe_proof proof;
	int status;
	bool whole = true;

	if (!f) {
		fprintf(stderr, "spillway: doctor: no memory; free some\n");
		return EXIT_FAILED;
	}
	doctor_examine(control, f, &proof);
	status = findings_status(f);
	if (json)
		whole = print_json(f, &proof);
	else
		findings_print(f, stdout);
	free(f);
	if (whole && !fflush(stdout) && !ferror(stdout))
		return status;
	fprintf(stderr, "spillway: doctor: could not be written; free some memory, or room where it goes\n");
	return EXIT_FAILED;
}

int doctor_verb(int argc, char **argv)
{
	static const struct option options[] = {
	    {"control", required_argument, NULL, OPT_CONTROL},
	    {"json", no_argument, NULL, OPT_JSON},
	    {"help", no_argument, NULL, OPT_HELP},
	    {NULL, 0, NULL, 0},
	};
	char control[256];
	bool json = false;
	int opt;

	request_init();
	control_default_path(control, sizeof(control));
	opterr = 0;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_CONTROL)
			snprintf(control, sizeof(control), "%s", optarg);
		else if (opt == OPT_JSON)
			json = true;
		else if (opt == OPT_HELP)
			return print_help(), EXIT_DONE;
		else
			return usage_error("doctor: %s: unknown, or its value is missing; spillway doctor --help",
					   argv[optind - 1]);
	}
	if (optind < argc)
		return usage_error("doctor: %s: not expected; spillway doctor --help", argv[optind]);
	return examine(control, json);
}
