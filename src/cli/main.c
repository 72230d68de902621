/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command: a table of verbs, and the roles that it executes itself in.
 */
#include "cli/cli.h"

#include "control/server.h"
#include "engine/engine.h"
#include "inspect/role.h"
#include "keeper/keeper.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
    {"run", run_verb, "stand between the kernel's queue and an inspector"},
    {"set", set_verb, "change a running one: fail-open, length; open it by hand"},
    {"status", status_verb, "show a running one's state and books"},
    {"audit", audit_verb, "compare a running one's two books"},
    {"upgrade", upgrade_verb, "replace a running one by its new version while packets go on"},
    {"rules", rules_verb, "the firewall rules that bring packets to the queue and count them"},
    {"doctor", doctor_verb, "what is wrong with the kernel, the rules and the queues here, and what to do"},
    {"lab", lab_verb, "run an experiment on this machine's kernel, in namespaces of its own"},
};

static int help(void)
{
	printf("Spillway %s: inline packet inspection that never becomes the outage.\n\nspillway VERB [options]\n\n",
	       SPW_VERSION);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		printf("  %-8s %s\n", verbs[i].name, verbs[i].help);
	printf(
	    "\nspillway VERB --help tells its options. Exit status: 0 done; 1 failed; 2 wrong usage; 3 no permission;\n"
	    "4 the kernel lacks something; 5 the queue or the control socket is somebody else's.\n");
	return 0;
}

static int print_layout(void)
{
	char line[128];

	keeper_layout(line, sizeof(line));
	fputs(line, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "help";

	if (!strcmp(verb, "_engine"))
		return engine_main();
	if (!strcmp(verb, "_control"))
		return control_main();
	if (!strcmp(verb, "_layout"))
		return print_layout();
	if (!strcmp(verb, "_inspector") && argc == 4)
		return inspector_main(argv[3]);
	if (!strcmp(verb, "help") || !strcmp(verb, "--help") || !strcmp(verb, "-h"))
		return help();
	if (!strcmp(verb, "--version")) {
		printf("spillway %s\n", SPW_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (!strcmp(verb, verbs[i].name))
			return verbs[i].run(argc - 1, argv + 1);
	return usage_error("%s: no such verb; spillway help lists them", verb);
}
