/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inspectors that ship: see role.h. Runs without privileges.
 */
#include "inspect/role.h"

#include "log/log.h"

#include <spillway/inspector.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHIPPED(its_name, function)                                                                                    \
	{                                                                                                              \
		.api = SPW_INSPECTOR_API, .size = sizeof(struct spw_inspector), .name = (its_name),                    \
		.packet = (function)                                                                                   \
	}

static uint64_t delay_ns;

static void accept_packet(void *self, const struct spw_packet *packet, struct spw_verdict *verdict)
{
	(void)self;
	(void)packet;
	verdict->code = SPW_ACCEPT;
}

static void drop_packet(void *self, const struct spw_packet *packet, struct spw_verdict *verdict)
{
	(void)self;
	(void)packet;
	verdict->code = SPW_DROP;
}

static void delay_packet(void *self, const struct spw_packet *packet, struct spw_verdict *verdict)
{
	struct timespec t = {.tv_sec = (time_t)(delay_ns / 1000000000u), .tv_nsec = (long)(delay_ns % 1000000000u)};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
	accept_packet(self, packet, verdict);
}

static const struct spw_inspector *load(const char *file)
{
	void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const struct spw_inspector *insp = lib ? dlsym(lib, "spillway_inspector") : NULL;

	if (!lib && access(file, R_OK) && errno == EACCES)
		log_line(
		    "inspector: the plug-in: %s; let the user that inspectors run as (spillway, else nobody) read it",
		    strerror(EACCES));
	else if (!insp)
		log_line("inspector: %s; a plug-in is a shared object that has SPW_INSPECTOR(...)", dlerror());
	return insp;
}

int inspector_main(const char *what)
{
	static const struct spw_inspector acceptor = SHIPPED("accept", accept_packet);
	static const struct spw_inspector dropper = SHIPPED("drop", drop_packet);
	static const struct spw_inspector delayer = SHIPPED("delay", delay_packet);
	const struct spw_inspector *insp;
	int error;

	if (!strcmp(what, "accept")) {
		insp = &acceptor;
	} else if (!strcmp(what, "drop")) {
		insp = &dropper;
	} else if (!strncmp(what, "delay=", 6)) {
		delay_ns = strtoull(what + 6, NULL, 10);
		insp = &delayer;
	} else {
		insp = load(what);
	}
	if (!insp)
		return 1;
	error = spw_inspector_run(insp);
	if (error)
		log_line("inspector: %s; %s", strerror(-error),
			 error == -EINVAL ? "compile the plug-in with this version's headers" : "it ends");
	return error ? 1 : 0;
}
