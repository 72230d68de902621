/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs that talk to a running spillway: set and status.
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

/* Options of both verbs; the words that are left start at optind. 0 or an exit status. */
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

/* What could not be said whole is no answer: nobody is to take a part of it for all. */
static int show(json_t *reply, bool json)
{
	int error = 0;

	if (json)
		error = json_dumpf(reply, stdout, JSON_INDENT(2)) || putchar('\n') == EOF;
	else
		status_table(reply, stdout);
	json_decref(reply);
	if (!error && !fflush(stdout) && !ferror(stdout))
		return 0;
	fprintf(stderr, "spillway: status: could not be written: %s; free some memory, or room where it goes\n",
		errno ? strerror(errno) : "no memory");
	return EXIT_FAILED;
}

int status_verb(int argc, char **argv)
{
	struct client_options o;
	json_t *reply;
	int status = parse_options(argc, argv, &o);

	if (status)
		return status;
	if (o.help) {
		printf("spillway status [--json] [--control PATH]\n");
		return 0;
	}
	if (optind < argc || o.queue)
		return usage_error("status: %s: not expected; spillway status --help",
				   optind < argc ? argv[optind] : "--queue");
	status = client_ask(o.control, json_pack("{s:i, s:s}", "version", 1, "request", "status"), &reply);
	return status ? status : show(reply, o.json);
}

/* The request that the words name; NULL and told where they don't. */
static json_t *set_request(char **words, int count, uint64_t queue)
{
	json_t *r = json_pack("{s:i, s:s, s:I}", "version", 1, "request", "set", "queue", (json_int_t)queue);
	uint64_t length;
	bool on;

	if (count == 2 && !strcmp(words[0], "fail-open") && parse_switch(words[1], "on", "off", &on)) {
		json_object_set_new(r, "fail_open", json_boolean(on));
		return r;
	}
	if (count == 2 && !strcmp(words[0], "length") && parse_number(words[1], UINT32_MAX, &length)) {
		json_object_set_new(r, "length", json_integer((json_int_t)length));
		return r;
	}
	json_decref(r);
	usage_error("set: %s: not understood; say fail-open on, fail-open off, or length N",
		    count ? words[0] : "nothing");
	return NULL;
}

int set_verb(int argc, char **argv)
{
	struct client_options o;
	json_t *request, *reply;
	uint64_t queue;
	int status = parse_options(argc, argv, &o);

	if (status)
		return status;
	if (o.help) {
		printf("spillway set --queue N fail-open on|off [--control PATH]\n"
		       "spillway set --queue N length N [--control PATH]\n");
		return 0;
	}
	if (!o.queue || !parse_number(o.queue, 65535, &queue))
		return usage_error("set: --queue %s: name one queue by its number, 0 to 65535",
				   o.queue ? o.queue : "missing");
	request = set_request(argv + optind, argc - optind, queue);
	if (!request)
		return EXIT_USAGE;
	status = client_ask(o.control, request, &reply);
	if (!status)
		json_decref(reply);
	return status;
}
