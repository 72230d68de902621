/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs that talk to a running spillway: set, status, audit, upgrade.
 */
#include "cli/cli.h"

#include "control/client.h"
#include "control/request.h"
#include "control/server.h"
#include "control/status.h"
#include "keeper/keeper.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { OPT_CONTROL = 256, OPT_QUEUE, OPT_JSON, OPT_HELP };

struct client_options {
	char control[256];
	const char *queue;
	bool json;
	bool help;
};

/* Options of all of them; the words that are left start at optind. 0 or an exit status. */
static int parse_options(int argc, char **argv, struct client_options *o)
{
	static const struct option options[] = {
	    {"control", required_argument, NULL, OPT_CONTROL},
	    {"queue", required_argument, NULL, OPT_QUEUE},
	    {"json", no_argument, NULL, OPT_JSON},
	    {"help", no_argument, NULL, OPT_HELP},
	    {NULL, 0, NULL, 0},
	};
	int opt;

	request_init();
	*o = (struct client_options){0};
	control_default_path(o->control, sizeof(o->control));
	opterr = 0;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_CONTROL)
			snprintf(o->control, sizeof(o->control), "%s", optarg);
		else if (opt == OPT_QUEUE)
			o->queue = optarg;
		else if (opt == OPT_JSON)
			o->json = true;
		else if (opt == OPT_HELP)
			o->help = true;
		else
			return usage_error("%s: %s: unknown, or its value is missing; spillway %s --help", argv[0],
					   argv[optind - 1], argv[0]);
	}
	return 0;
}

/* For verbs that take neither words nor a queue. True where *status ends them. */
static bool ends(int argc, char **argv, struct client_options *o, const char *help, int *status)
{
	*status = parse_options(argc, argv, o);
	if (*status)
		return true;
	if (o->help)
		fputs(help, stdout);
	else if (optind < argc || o->queue)
		*status = usage_error("%s: %s: not expected; spillway %s --help", argv[0],
				      optind < argc ? argv[optind] : "--queue", argv[0]);
	return o->help || *status;
}

static json_t *request(const char *name)
{
	return json_pack("{s:i, s:s}", "version", 1, "request", name);
}

/* What could not be said whole is no answer: nobody is to take a part of it for all. */
static int finish(const char *verb, bool whole)
{
	if (whole && !fflush(stdout) && !ferror(stdout))
		return EXIT_DONE;
	fprintf(stderr, "spillway: %s: could not be written: %s; free some memory, or room where it goes\n", verb,
		errno ? strerror(errno) : "no memory");
	return EXIT_FAILED;
}

/* As it is, or by its table; the reference is taken over. An exit status. */
static int show(const char *verb, json_t *object, bool json, void (*table)(const json_t *object, FILE *out))
{
	bool whole = true;

	if (json)
		whole = !json_dumpf(object, stdout, JSON_INDENT(2)) && putchar('\n') != EOF;
	else
		table(object, stdout);
	json_decref(object);
	return finish(verb, whole);
}

int status_verb(int argc, char **argv)
{
	struct client_options o;
	json_t *reply;
	int status;

	if (ends(argc, argv, &o, "spillway status [--json] [--control PATH]\n", &status))
		return status;
	status = client_status(o.control, &reply);
	return status ? status : show(argv[0], reply, o.json, status_table);
}

int audit_verb(int argc, char **argv)
{
	struct client_options o;
	json_t *reply, *audit;
	int status, error;

	if (ends(argc, argv, &o,
		 "spillway audit [--json] [--control PATH]\n\n"
		 "Compares what the kernel has numbered, and the rule's counter counted, with the books. Exit status 1 "
		 "where they differ.\n",
		 &status))
		return status;
	status = client_status(o.control, &reply);
	if (status)
		return status;
	audit = audit_json(reply);
	json_decref(reply);
	if (!audit_agrees(audit)) {
		fprintf(stderr, "spillway: audit: the books do not agree; report it with what status --json shows\n");
		status = EXIT_FAILED;
	}
	error = show(argv[0], audit, o.json, audit_table);
	return status ? status : error;
}

int upgrade_verb(int argc, char **argv)
{
	struct client_options o;
	json_t *reply;
	int status;

	if (ends(argc, argv, &o,
		 "spillway upgrade [--json] [--control PATH]\n\n"
		 "Replaces keeper, engines and inspectors by what now lies where they were started from, while packets "
		 "go "
		 "on.\nWaits until it is done, and shows who is there then.\n",
		 &status))
		return status;
	status = client_ask(o.control, request("upgrade"), CLIENT_UPGRADE_SECONDS, &reply);
	if (status)
		return status;
	json_decref(reply);
	if (!o.json)
		printf("upgraded\n");
	status = client_status(o.control, &reply);
	return status ? status : show(argv[0], reply, o.json, status_processes);
}

/* What is to be set; NULL and told where the words name nothing. */
static json_t *parse_change(char **words, int count)
{
	uint64_t length;
	bool on;

	if (count == 2 && !strcmp(words[0], "fail-open")) {
		if (parse_switch(words[1], "on", "off", &on))
			return json_pack("{s:b}", "fail_open", on);
		usage_error("set: fail-open %s: say on or off", words[1]);
		return NULL;
	}
	if (count == 2 && !strcmp(words[0], "length")) {
		if (parse_number(words[1], UINT32_MAX, &length))
			return json_pack("{s:I}", "length", (json_int_t)length);
		usage_error("set: length %s: give a number of packets, 0 to 4294967295", words[1]);
		return NULL;
	}
	if (count == 1 && parse_switch(words[0], "open", "inspect", &on))
		return json_pack("{s:b}", "open", on);
	usage_error("set: %s: not understood; say fail-open on, fail-open off, length N, open, or inspect",
		    count ? words[0] : "nothing");
	return NULL;
}

int set_verb(int argc, char **argv)
{
	struct client_options o;
	json_t *change, *set, *reply;
	uint64_t queue;
	int status = parse_options(argc, argv, &o);

	if (status)
		return status;
	if (o.help) {
		printf("spillway set --queue N fail-open on|off [--control PATH]\n"
		       "spillway set --queue N length N [--control PATH]\n"
		       "spillway set --queue N open [--control PATH]     nothing is inspected until told otherwise\n"
		       "spillway set --queue N inspect [--control PATH]\n");
		return 0;
	}
	if (o.json)
		return usage_error("set: --json: not expected; spillway set --help");
	if (!o.queue)
		return usage_error("set: --queue: missing; name one queue by its number, 0 to 65535");
	if (!parse_number(o.queue, 65535, &queue))
		return usage_error("set: --queue %s: name one queue by its number, 0 to 65535", o.queue);
	change = parse_change(argv + optind, argc - optind);
	if (!change)
		return EXIT_USAGE;
	set = request("set");
	json_object_set_new(set, "queue", json_integer((json_int_t)queue));
	json_object_update(set, change);
	json_decref(change);
	status = client_ask(o.control, set, CLIENT_SECONDS, &reply);
	if (!status)
		json_decref(reply);
	return status;
}
