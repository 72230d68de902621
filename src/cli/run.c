/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verb run: options, then one loop over signals, the switch file, the control socket and the keeper's processes.
 */
#include "cli/cli.h"

#include "control/server.h"
#include "keeper/keeper.h"
#include "keeper/switch.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/*
 * So long that the flag does not act beside held packets (that reorders), and short of 65,536, where the kernel's
 * table of held packets ends.
 */
#define DEFAULT_LENGTH 60000u

struct run_options {
	struct keeper_config keeper;
	const char *switch_path;
	char control[256];
	char inspect[64];
	bool queue_given, help;
};

struct run {
	struct keeper keeper;
	struct control control;
	struct switch_file sw;
	int signals;
};

enum {
	OPT_QUEUE = 256,
	OPT_LENGTH,
	OPT_FAIL,
	OPT_GSO,
	OPT_INSPECT,
	OPT_SWITCH,
	OPT_CONTROL,
	OPT_DEADLINE,
	OPT_BREAKER,
	OPT_HUNG,
	OPT_HELP
};

static const struct option options[] = {
    {"queue", required_argument, NULL, OPT_QUEUE},
    {"length", required_argument, NULL, OPT_LENGTH},
    {"fail", required_argument, NULL, OPT_FAIL},
    {"gso", required_argument, NULL, OPT_GSO},
    {"inspect", required_argument, NULL, OPT_INSPECT},
    {"switch", required_argument, NULL, OPT_SWITCH},
    {"control", required_argument, NULL, OPT_CONTROL},
    {"deadline", required_argument, NULL, OPT_DEADLINE},
    {"breaker", required_argument, NULL, OPT_BREAKER},
    {"hung", required_argument, NULL, OPT_HUNG},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void print_help(void)
{
	printf("spillway run --queue N[-M] [options]\n\n"
	       "  --queue N|N-M     the kernel's queues, a lane each\n"
	       "  --inspect WHAT    accept (default), drop, delay=50ms, FILE.so, exec:PROGRAM\n"
	       "  --fail open|closed  what becomes of packets that can't be inspected (default open)\n"
	       "  --length N        packets that the queue holds (default %u)\n"
	       "  --gso on|off      packets larger than the MTU arrive whole (default on)\n"
	       "  --switch FILE     holds 0 or 1: fail-open off or on, at any time\n"
	       "  --control PATH    the control socket\n"
	       "  --deadline off --breaker off --hung off   accepted; there are no others yet\n\n"
	       "The rule that brings packets here: iptables -I INPUT -j NFQUEUE --queue-num N --queue-bypass\n",
	       DEFAULT_LENGTH);
}

/* A relative or absolute FILE.so, PROGRAM, or one of the inspectors that ship. */
static int parse_inspect(struct run_options *o, const char *text)
{
	size_t len = strlen(text);
	uint64_t ns;

	o->keeper.kind = INSPECT_BUILTIN;
	o->keeper.inspect = text;
	if (!strcmp(text, "accept") || !strcmp(text, "drop"))
		return 0;
	if (!strncmp(text, "delay=", 6)) {
		if (!parse_duration(text + 6, &ns))
			return usage_error("run: --inspect %s: not a duration; write it with a unit, like delay=50ms",
					   text);
		snprintf(o->inspect, sizeof(o->inspect), "delay=%llu", (unsigned long long)ns);
		o->keeper.inspect = o->inspect;
		return 0;
	}
	if (!strncmp(text, "exec:", 5) && len > 5) {
		o->keeper.kind = INSPECT_EXEC;
		o->keeper.inspect = text + 5;
		return 0;
	}
	if (len > 3 && !strcmp(text + len - 3, ".so")) {
		o->keeper.kind = INSPECT_PLUGIN;
		return 0;
	}
	return usage_error("run: --inspect %s: not known; accept, drop, delay=50ms, FILE.so or exec:PROGRAM", text);
}

static int off_only(const char *name, const char *value)
{
	return strcmp(value, "off") ? usage_error("run: --%s %s: this version knows only off", name, value) : 0;
}

static int parse_queue(struct run_options *o, const char *text)
{
	o->queue_given = true;
	if (!parse_range(text, &o->keeper.first, &o->keeper.last))
		return usage_error("run: --queue %s: give a number or a range, 0 to 65535, like 0 or 0-3", text);
	if (o->keeper.last - o->keeper.first >= (int)KEEPER_LANES)
		return usage_error("run: --queue %s: too many; at most %u in one run", text, KEEPER_LANES);
	return 0;
}

static int parse_option(struct run_options *o, int opt, const char *value)
{
	uint64_t n;

	switch (opt) {
	case OPT_QUEUE:
		return parse_queue(o, value);
	case OPT_LENGTH:
		if (!parse_number(value, UINT32_MAX, &n))
			return usage_error("run: --length %s: give a number of packets, 0 to 4294967295", value);
		o->keeper.length = (uint32_t)n;
		return 0;
	case OPT_FAIL:
		return parse_switch(value, "open", "closed", &o->keeper.fail_open)
			   ? 0
			   : usage_error("run: --fail %s: say open or closed", value);
	case OPT_GSO:
		return parse_switch(value, "on", "off", &o->keeper.gso)
			   ? 0
			   : usage_error("run: --gso %s: say on or off", value);
	case OPT_INSPECT:
		return parse_inspect(o, value);
	case OPT_SWITCH:
		o->switch_path = value;
		return 0;
	case OPT_CONTROL:
		if (snprintf(o->control, sizeof(o->control), "%s", value) >= 108)
			return usage_error(
			    "run: --control: the path is too long; a unix socket's is 107 bytes at most");
		return 0;
	case OPT_DEADLINE:
		return off_only("deadline", value);
	case OPT_BREAKER:
		return off_only("breaker", value);
	case OPT_HUNG:
		return off_only("hung", value);
	default:
		o->help = true;
		return 0;
	}
}

static int parse_options(int argc, char **argv, struct run_options *o)
{
	int opt, status = 0;

	*o = (struct run_options){
	    .keeper = {.length = DEFAULT_LENGTH, .fail_open = true, .gso = true, .inspect = "accept"}};
	control_default_path(o->control, sizeof(o->control));
	opterr = 0;
	optind = 0;
	while (!status && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?')
			return usage_error("run: %s: unknown, or its value is missing; spillway run --help",
					   argv[optind - 1]);
		status = parse_option(o, opt, optarg);
	}
	if (status || o->help)
		return status;
	if (optind < argc)
		return usage_error("run: %s: not expected; spillway run --help", argv[optind]);
	if (!o->queue_given)
		return usage_error("run: --queue: missing; name the number that the firewall rule queues to");
	return 0;
}

static void apply_switch(struct run *r)
{
	const struct keeper_config *c = &r->keeper.config;

	for (unsigned q = c->first; q <= c->last; q++) {
		struct lane_class now;

		keeper_read_class(&r->keeper.lane[q - c->first], &now);
		if (now.fail_open == r->sw.value)
			continue;
		if (keeper_set(&r->keeper, (uint16_t)q, ENGINE_SET_FAIL_OPEN, (uint32_t)r->sw.value))
			fprintf(stderr, "spillway: queue %u: switching: %s\n", q, r->keeper.error);
		else
			fprintf(stderr, "spillway: queue %u: fail-open %s (%s)\n", q, r->sw.value ? "on" : "off",
				r->sw.path);
	}
}

static int open_switch(struct run *r, struct run_options *o)
{
	int error;

	r->sw.inotify = -1;
	if (!o->switch_path)
		return 0;
	error = switch_open(&r->sw, o->switch_path);
	if (error)
		return usage_error("run: --switch %s: %s; its directory must exist", o->switch_path, strerror(-error));
	if (r->sw.value >= 0)
		o->keeper.fail_open = r->sw.value;
	return 0;
}

static int open_control(struct run *r, const char *path)
{
	int error = control_open(&r->control, path);

	if (!error)
		return 0;
	if (error == -EADDRINUSE)
		fprintf(stderr,
			"spillway: %s: another program has it; end that one, or choose a socket with --control\n",
			path);
	else
		fprintf(stderr, "spillway: %s: %s; choose another place with --control\n", path, strerror(-error));
	if (error == -EADDRINUSE)
		return EXIT_TAKEN;
	return error == -EACCES || error == -EPERM ? EXIT_PERMISSION : EXIT_FAILED;
}

static int open_signals(struct run *r)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return r->signals < 0 ? EXIT_FAILED : 0;
}

/* The children's descriptors have high numbers, so that the keeper's own never lie in their way. */
static void raise_descriptor_limit(void)
{
	struct rlimit l;

	if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < 1024 && l.rlim_max >= 1024) {
		l.rlim_cur = 1024;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

static void say_running(const struct run *r)
{
	const struct keeper_config *c = &r->keeper.config;

	for (unsigned i = 0; i < r->keeper.lanes; i++)
		fprintf(stderr,
			"spillway: queue %u: bound: fail-open %s, length %u, gso %s, socket buffer %lld KiB, inspector "
			"%s\n",
			c->first + i, c->fail_open ? "on" : "off", c->length, c->gso ? "on" : "off",
			(long long)r->keeper.lane[i].buffer / 1024, c->inspect);
	fprintf(stderr, "spillway: control socket %s\n", r->control.path);
}

static unsigned collect(const struct run *r, struct pollfd *p)
{
	int fds[3 * KEEPER_LANES];
	unsigned n = 0, m = keeper_descriptors(&r->keeper, fds);

	p[n++] = (struct pollfd){.fd = r->signals, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = r->sw.inotify, .events = POLLIN};
	for (unsigned i = 0; i < m; i++)
		p[n++] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	return n + control_descriptors(&r->control, p + n);
}

/* True where we were told to stop. */
static bool told_to_stop(const struct run *r)
{
	struct signalfd_siginfo info;

	if (read(r->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	fprintf(stderr, "spillway: %s: stopping\n", strsignal((int)info.ssi_signo));
	return true;
}

/* Until a signal (EXIT_DONE) or a lane's end (EXIT_FAILED). */
static int loop(struct run *r)
{
	struct pollfd p[2 + 3 * KEEPER_LANES + CONTROL_CLIENTS + 1];

	for (;;) {
		int timeout = r->sw.inotify >= 0 ? switch_timeout(&r->sw) : -1;

		(void)poll(p, collect(r, p), timeout >= 0 ? timeout : 1000);
		if (told_to_stop(r))
			return EXIT_DONE;
		if (keeper_failed(&r->keeper)) {
			/* A signal to the whole group has killed the inspector, too: that is no failure. */
			if (told_to_stop(r))
				return EXIT_DONE;
			fprintf(stderr, "spillway: %s\n", r->keeper.error);
			return EXIT_FAILED;
		}
		if (r->sw.inotify >= 0 && switch_look(&r->sw))
			apply_switch(r);
		control_serve(&r->control, &r->keeper);
	}
}

int run_verb(int argc, char **argv)
{
	static struct run r; /* big, and once a process */
	struct run_options o;
	int status = parse_options(argc, argv, &o);

	if (status)
		return status;
	if (o.help) {
		print_help();
		return 0;
	}
	setvbuf(stderr, NULL, _IOLBF, 0);
	raise_descriptor_limit();
	status = open_switch(&r, &o);
	if (!status)
		status = open_control(&r, o.control);
	if (status)
		return status;
	status = open_signals(&r);
	if (!status)
		status = keeper_start(&r.keeper, &o.keeper);
	if (status) {
		fprintf(stderr, "spillway: %s\n", r.keeper.error);
	} else {
		say_running(&r);
		status = loop(&r);
	}
	keeper_stop(&r.keeper);
	control_close(&r.control);
	switch_close(&r.sw);
	return status;
}
