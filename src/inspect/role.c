/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inspectors that ship: see role.h. Runs without privileges.
 */
#include "inspect/role.h"

#include "log/log.h"

#include <spillway/inspector.h>

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEADERS 128u /* bytes: those who look at nothing need not have all of a packet copied */

#define SHIPPED(its_name, function, bytes)                                                                             \
	{                                                                                                              \
		.api = SPW_INSPECTOR_API, .size = sizeof(struct spw_inspector), .name = (its_name),                    \
		.copy_range = (bytes), .packet = (function)                                                            \
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

/* The keeper hands a plug-in on as a descriptor: people know it by its path. */
static const char *path_of(const char *file, char *buf, size_t size)
{
	ssize_t len = readlink(file, buf, size - 1);

	if (len <= 0)
		return file;
	buf[len] = '\0';
	return buf;
}

/* dlerror() begins with the file where that is the one that it is about. */
static const char *why(const char *file)
{
	const char *text = dlerror();
	size_t len = strlen(file);

	if (!text)
		return "has no such symbol";
	return !strncmp(text, file, len) && !strncmp(text + len, ": ", 2) ? text + len + 2 : text;
}

static const struct spw_inspector *load(const char *file)
{
	char buf[PATH_MAX];
	const char *path = path_of(file, buf, sizeof(buf));
	void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const struct spw_inspector *insp = lib ? dlsym(lib, "spillway_inspector") : NULL;

	if (!lib && access(file, R_OK) && errno == EACCES)
		log_line("inspector: %s: %s; let the user that inspectors run as (spillway, else nobody) read it", path,
			 strerror(EACCES));
	else if (!lib)
		log_line("inspector: %s: %s; compile it for this machine as a shared object, linked with all it needs",
			 path, why(file));
	else if (!insp)
		log_line("inspector: %s: %s; a plug-in has SPW_INSPECTOR(...)", path, why(file));
	return insp;
}

int inspector_main(const char *what)
{
	static const struct spw_inspector acceptor = SHIPPED("accept", accept_packet, HEADERS);
	static const struct spw_inspector dropper = SHIPPED("drop", drop_packet, HEADERS);
	/* In place of one that inspects: it is to cost what that costs. */
	static const struct spw_inspector delayer = SHIPPED("delay", delay_packet, 0);
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
