/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verb run: options, then one loop over signals, the switch file, the control socket and the keeper's processes.
 */
#include "cli/cli.h"

#include "control/server.h"
#include "keeper/keeper.h"
#include "keeper/switch.h"
#include "log/log.h"
#include "nfqueue/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/*
 * So long that the flag does not act beside held packets (that reorders), and short of 65,536, where the kernel's
 * table of held packets ends.
 */
#define DEFAULT_LENGTH 60000u
#define DEFAULT_CUTOFF (1ull << 20)
#define BUSY_MAX       100000000ull
#define FLOWS_MAX      (1u << 24)

#define DEFAULT_DEADLINE 20000000ull
#define DEFAULT_HUNG     1000000000ull
#define DEFAULT_ORPHAN   10000000000ull
#define DEFAULT_BUSY     10000ull /* being woken takes longer */

struct run_options {
	struct keeper_config keeper;
	struct lane_config common; /* what every class begins with */
	const char *classes[CHANNEL_CLASSES];
	unsigned class_count;
	const char *switch_path;
	char control[256];
	char inspect[64];
	bool queue_given, help;
};

struct run {
	struct keeper keeper;
	struct switch_file sw;
	bool unswitched; /* what it says has not reached every engine */
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
	OPT_ORPHAN,
	OPT_BUSY,
	OPT_CLASS,
	OPT_MARK,
	OPT_REPORT,
	OPT_GATE,
	OPT_FLOWS,
	OPT_CUTOFF,
	OPT_CONNTRACK,
	OPT_TRUST_MARK,
	OPT_SPILL_MARK,
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
    {"orphan", required_argument, NULL, OPT_ORPHAN},
    {"busy-poll", required_argument, NULL, OPT_BUSY},
    {"class", required_argument, NULL, OPT_CLASS},
    {"mark", required_argument, NULL, OPT_MARK},
    {"report-only", no_argument, NULL, OPT_REPORT},
    {"gate", required_argument, NULL, OPT_GATE},
    {"flows", required_argument, NULL, OPT_FLOWS},
    {"cutoff", required_argument, NULL, OPT_CUTOFF},
    {"conntrack", required_argument, NULL, OPT_CONNTRACK},
    {"connmark-trust", required_argument, NULL, OPT_TRUST_MARK},
    {"connmark-spill", required_argument, NULL, OPT_SPILL_MARK},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void print_help(void)
{
	printf(
	    "spillway run --queue N[-M] [options]\n\n"
	    "  --queue N|N-M     the kernel's queues, a lane each\n"
	    "  --inspect WHAT    accept (default), drop, delay=50ms, FILE.so, exec:PROGRAM\n"
	    "  --fail open|closed  what becomes of packets that can't be inspected (default open)\n"
	    "  --deadline DUR|off  no packet waits longer (default 20ms)\n"
	    "  --breaker on|off  open (or shut) a class that is late all the time (default on)\n"
	    "  --hung DUR|off    replace an inspector that makes no progress for so long (default 1s)\n"
	    "  --orphan DUR      how long engines wait for another run when this one is killed (default 10s)\n"
	    "  --busy-poll DUR|off  so long after an answer, watch for the next without sleeping (default 10us)\n"
	    "  --class 'queue=N,policy=spill|shut,late=,down=,hung=,full=,poison=,manual=spill|shut,\n"
	    "           deadline=DUR|off,priority=P,mark=V/M,load=shed|never'  a further class, or more about the "
	    "first; "
	    "repeatable\n"
	    "  --mark V/M        set these bits of the mark on every inspected packet (default none)\n"
	    "  --report-only     inspect and count, but accept everything\n"
	    "  --length N        packets that a queue holds (default %u)\n"
	    "  --gso on|off      packets larger than the MTU arrive whole (default on)\n"
	    "  --switch FILE     holds 0 or 1: fail-open off or on, at any time\n"
	    "  --control PATH    the control socket (default /run/spillway/control)\n"
	    "  --gate on|off     an eBPF program in the rule decides by flow, before the kernel copies (default off)\n"
	    "  --flows N         flows that it knows (default %u)\n"
	    "  --cutoff SIZE|off  under load, bytes after which a flow is not inspected any more (default 1MiB)\n"
	    "  --conntrack on|off  packets come with their connections, in which verdicts may set mark and labels "
	    "(default off)\n"
	    "  --connmark-trust V/M  set these bits of the connection's mark once its flow is trusted (default none)\n"
	    "  --connmark-spill V/M  the same once packets of it were spilled for being late\n\n"
	    "The rule that brings packets here: spillway rules --queue N --hook input --apply\n",
	    DEFAULT_LENGTH, GATE_FLOWS);
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

static int parse_queue(struct run_options *o, const char *text)
{
	if (o->queue_given)
		return usage_error("run: --queue %s: given twice; name a range, like 0-1, or use --class", text);
	o->queue_given = true;
	if (!parse_range(text, &o->keeper.first, &o->keeper.last))
		return usage_error("run: --queue %s: give a number or a range, 0 to 65535, like 0 or 0-3", text);
	if (o->keeper.last - o->keeper.first >= (int)KEEPER_LANES)
		return usage_error("run: --queue %s: too many; at most %u in one run", text, KEEPER_LANES);
	return 0;
}

static int parse_gate(struct run_options *o, int opt, const char *value)
{
	uint64_t n = 0;

	if (opt == OPT_FLOWS) {
		if (!parse_number(value, FLOWS_MAX, &n) || !n)
			return usage_error("run: --flows %s: give a number, 1 to %u", value, FLOWS_MAX);
		o->keeper.flows = (uint32_t)n;
		return 0;
	}
	if (strcmp(value, "off") != 0 && (!parse_size(value, &n) || !n))
		return usage_error("run: --cutoff %s: give a size like 64KiB or 65536, or off", value);
	o->keeper.cutoff = n;
	return 0;
}

/* What has to do with connections. */
static int parse_conntrack(struct run_options *o, int opt, const char *value)
{
	struct lane_config *c = &o->common;

	if (opt == OPT_CONNTRACK)
		return parse_switch(value, "on", "off", &c->conntrack)
			   ? 0
			   : usage_error("run: --conntrack %s: say on or off", value);
	if (opt == OPT_TRUST_MARK ? parse_mark(value, &c->trust_mark, &c->trust_mask) && c->trust_mark
				  : parse_mark(value, &c->spill_mark, &c->spill_mask) && c->spill_mark)
		return 0;
	return usage_error("run: --connmark-%s %s: give bits and a mask that has them, like 0x100/0x300",
			   opt == OPT_TRUST_MARK ? "trust" : "spill", value);
}

/* How long things may take, and what then. */
static int parse_care(struct run_options *o, int opt, const char *value)
{
	switch (opt) {
	case OPT_DEADLINE:
		return parse_deadline(value, &o->common.deadline_ns)
			   ? 0
			   : usage_error("run: --deadline %s: give 1ms to 60s with a unit, or off", value);
	case OPT_BREAKER:
		return parse_switch(value, "on", "off", &o->keeper.breaker)
			   ? 0
			   : usage_error("run: --breaker %s: say on or off", value);
	case OPT_HUNG:
		o->keeper.hung_ns = 0;
		return !strcmp(value, "off") || (parse_duration(value, &o->keeper.hung_ns) && o->keeper.hung_ns)
			   ? 0
			   : usage_error("run: --hung %s: give a duration like 1s, or off", value);
	case OPT_ORPHAN:
		return parse_duration(value, &o->keeper.orphan_ns)
			   ? 0
			   : usage_error("run: --orphan %s: give a duration like 10s", value);
	case OPT_BUSY:
		o->keeper.busy_ns = 0;
		return !strcmp(value, "off") ||
			       (parse_duration(value, &o->keeper.busy_ns) && o->keeper.busy_ns <= BUSY_MAX)
			   ? 0
			   : usage_error("run: --busy-poll %s: give a duration up to 100ms, like 1ms, or off", value);
	case OPT_CLASS:
		if (o->class_count == CHANNEL_CLASSES)
			return usage_error("run: --class: at most %u classes a lane", CHANNEL_CLASSES);
		o->classes[o->class_count++] = value;
		return 0;
	case OPT_MARK:
		return parse_mark(value, &o->common.mark, &o->common.mark_mask)
			   ? 0
			   : usage_error(
				 "run: --mark %s: give VALUE/MASK, like 0x100/0xff00, the value within the mask",
				 value);
	case OPT_REPORT:
		o->keeper.report_only = true;
		return 0;
	case OPT_GATE:
		return parse_switch(value, "on", "off", &o->keeper.gate)
			   ? 0
			   : usage_error("run: --gate %s: say on or off", value);
	case OPT_FLOWS:
	case OPT_CUTOFF:
		return parse_gate(o, opt, value);
	case OPT_CONNTRACK:
	case OPT_TRUST_MARK:
	case OPT_SPILL_MARK:
		return parse_conntrack(o, opt, value);
	default:
		o->help = true;
		return 0;
	}
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
		o->common.length = (uint32_t)n;
		return 0;
	case OPT_FAIL:
		return parse_switch(value, "open", "closed", &o->common.fail_open)
			   ? 0
			   : usage_error("run: --fail %s: say open or closed", value);
	case OPT_GSO:
		return parse_switch(value, "on", "off", &o->common.gso)
			   ? 0
			   : usage_error("run: --gso %s: say on or off", value);
	case OPT_INSPECT:
		return parse_inspect(o, value);
	case OPT_SWITCH:
		o->switch_path = value;
		return 0;
	case OPT_CONTROL:
		if (!*value)
			return usage_error("run: --control: empty; give the path of a socket");
		if (snprintf(o->control, sizeof(o->control), "%s", value) >= 108)
			return usage_error(
			    "run: --control: the path is too long; a unix socket's is 107 bytes at most");
		return 0;
	default:
		return parse_care(o, opt, value);
	}
}

static bool taken(const struct keeper_config *k, uint16_t queue)
{
	unsigned lanes = k->last - k->first;

	for (unsigned i = 0; i < k->classes; i++)
		if (queue + lanes >= k->queue[i] && queue <= k->queue[i] + lanes)
			return true;
	return false;
}

/* The first class is --queue's own; a --class of the same number says more about it. */
static int set_classes(struct run_options *o)
{
	struct keeper_config *k = &o->keeper;
	bool first_told = false;

	k->classes = 1;
	k->queue[0] = k->first;
	k->class[0] = o->common;
	for (unsigned i = 0; i < o->class_count; i++) {
		struct lane_config config = o->common;
		uint16_t queue;
		int status = parse_class(o->classes[i], &config, &queue);

		if (status)
			return status;
		if (queue == k->first && !first_told) {
			k->class[0] = config;
			first_told = true;
			continue;
		}
		if (queue + (k->last - k->first) > 65535 || taken(k, queue))
			return usage_error("run: --class: queue %u: has a class already (a lane's classes follow its "
					   "number); choose another",
					   queue);
		if (k->classes == CHANNEL_CLASSES)
			return usage_error("run: --class: at most %u classes a lane", CHANNEL_CLASSES);
		k->queue[k->classes] = queue;
		k->class[k->classes++] = config;
	}
	/* Everything is accepted then, whatever a policy says. */
	for (unsigned i = 0; k->report_only && i < k->classes; i++) {
		k->class[i].fail_open = true;
		k->class[i].decided = 0;
	}
	return 0;
}

static int parse_options(int argc, char **argv, struct run_options *o)
{
	int opt, status = 0;

	*o = (struct run_options){
	    .keeper = {.inspect = "accept",
		       .breaker = true,
		       .hung_ns = DEFAULT_HUNG,
		       .orphan_ns = DEFAULT_ORPHAN,
		       .busy_ns = DEFAULT_BUSY,
		       .flows = GATE_FLOWS,
		       .cutoff = DEFAULT_CUTOFF,
		       .control = o->control},
	    .common = {.length = DEFAULT_LENGTH, .fail_open = true, .gso = true, .deadline_ns = DEFAULT_DEADLINE}};
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
	if ((o->common.trust_mask || o->common.spill_mask) && !o->common.conntrack)
		return usage_error("run: --connmark-%s: needs connections; add --conntrack on",
				   o->common.trust_mask ? "trust" : "spill");
	if (!marks_differ(o->common.trust_mark, o->common.trust_mask, o->common.spill_mark, o->common.spill_mask))
		return usage_error("run: " SAME_MARKS);
	return set_classes(o);
}

/* False: an engine does not answer just now; to be done again. */
static bool switch_queue(struct run *r, uint16_t queue)
{
	int error = keeper_set(&r->keeper, queue, ENGINE_SET_FAIL_OPEN, (uint32_t)r->sw.value);

	if (error == -EINPROGRESS || error == -EPIPE)
		return false;
	if (error)
		log_line("queue %u: switching: %s", queue, r->keeper.error);
	else
		log_line("queue %u: fail-open %s (%s)", queue, r->sw.value ? "on" : "off", r->sw.path);
	return true;
}

static bool apply_switch(struct run *r)
{
	const struct keeper *k = &r->keeper;
	bool all = true;

	for (unsigned i = 0; i < k->lanes; i++) {
		struct lane now;

		engine_snapshot(k->lane[i].page, &now);
		for (unsigned c = 0; c < k->lane[i].classes; c++)
			if (now.class[c].config.fail_open != r->sw.value)
				all &= switch_queue(r, k->lane[i].page->queue[c]);
	}
	return all;
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
	for (unsigned i = 0; r->sw.value >= 0 && i < o->keeper.classes; i++)
		o->keeper.class[i].fail_open = r->sw.value;
	return 0;
}

/* The control socket's descriptor in *fd, or an exit status. */
static int open_control(const char *path, int *fd)
{
	const struct timespec pause = {.tv_nsec = 50000000};

	/* The control process of a keeper that was just killed is about to leave. */
	for (int i = 0; i < 20 && (*fd = control_listen(path)) == -EADDRINUSE; i++)
		nanosleep(&pause, NULL);
	if (*fd >= 0)
		return 0;
	if (*fd == -EADDRINUSE)
		log_line("%s: another program has it; end that one, or choose a socket with --control", path);
	else if (*fd == -ENOTSOCK)
		log_line("%s: is %s, no socket; move it away, or choose another place with --control", path,
			 control_in_the_way(path));
	else
		log_line("%s: %s; %schoose another place with --control", path, strerror(-*fd),
			 *fd == -EACCES ? "start as root, or " : "");
	if (*fd == -EADDRINUSE)
		return EXIT_TAKEN;
	if (*fd == -ENOTSOCK)
		return EXIT_USAGE;
	return *fd == -EACCES || *fd == -EPERM ? EXIT_PERMISSION : EXIT_FAILED;
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
	signal(SIGXFSZ, SIG_IGN); /* a log that may not grow any more is no reason to die */
	r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return r->signals < 0 ? EXIT_FAILED : 0;
}

/* What whoever started us has left open concerns no child, and may lie where a child's own are placed. */
static void keep_from_children(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *entry;
	uint64_t fd;

	while (d && (entry = readdir(d)))
		if (parse_number(entry->d_name, INT_MAX, &fd) && fd > STDERR_FILENO)
			(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	if (d)
		closedir(d);
}

/* Where the hard limit is in the way too, it is raised by whoever may do that. */
static int raise_descriptor_limit(const struct keeper_config *config)
{
	unsigned needed = keeper_descriptors_needed(config);
	struct rlimit l, more;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= needed)
		return EXIT_DONE;
	more = (struct rlimit){.rlim_cur = needed, .rlim_max = l.rlim_max > needed ? l.rlim_max : needed};
	if (!setrlimit(RLIMIT_NOFILE, &more))
		return EXIT_DONE;
	log_line("run: open files: the limit is %llu, %u are needed; raise it (ulimit -n, LimitNOFILE=), or run fewer "
		 "lanes or classes",
		 (unsigned long long)l.rlim_max, needed);
	return EXIT_FAILED;
}

static void say_deadline(uint64_t ns, char *buf, size_t size)
{
	if (ns)
		snprintf(buf, size, "%llu ms", (unsigned long long)(ns / 1000000));
	else
		snprintf(buf, size, "off");
}

static void say_lane(const struct keeper_lane *l, const char *inspect)
{
	struct lane now;
	char deadline[32];

	engine_snapshot(l->page, &now);
	for (unsigned i = 0; i < l->classes; i++) {
		const struct lane_config *c = &now.class[i].config;

		say_deadline(c->deadline_ns, deadline, sizeof(deadline));
		log_line("queue %u: bound: fail-open %s, length %u, gso %s, deadline %s, socket buffer %lld KiB, "
			 "inspector %s",
			 l->page->queue[i], c->fail_open ? "on" : "off", c->length, c->gso ? "on" : "off", deadline,
			 (long long)l->buffer[i] / 1024, inspect);
	}
}

static void say_running(const struct run *r)
{
	for (unsigned i = 0; i < r->keeper.lanes; i++)
		say_lane(&r->keeper.lane[i], r->keeper.config.inspect);
	if (r->keeper.config.class[0].conntrack && spw_conntrack_absent())
		log_line("%s; inspectors see their bytes alone, marks and labels can be set", spw_conntrack_absent());
	log_line("control socket %s", r->keeper.config.control);
}

static unsigned collect(const struct run *r, struct pollfd *p)
{
	int fds[KEEPER_FDS_A_LANE * KEEPER_LANES + 4];
	unsigned n = 0, m = keeper_descriptors(&r->keeper, fds);

	p[n++] = (struct pollfd){.fd = r->signals, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = r->sw.inotify, .events = POLLIN};
	for (unsigned i = 0; i < m; i++)
		p[n++] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	return n;
}

/* True where we were told to stop. */
static bool told_to_stop(const struct run *r)
{
	struct signalfd_siginfo info;

	if (read(r->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	log_line("%s: stopping", strsignal((int)info.ssi_signo));
	return true;
}

/* Until a signal (EXIT_DONE), or until the run can't go on (EXIT_FAILED). */
static int loop(struct run *r)
{
	struct pollfd p[6 + KEEPER_FDS_A_LANE * KEEPER_LANES];

	for (;;) {
		int wait = keeper_tend(&r->keeper), settle = r->sw.inotify >= 0 ? switch_timeout(&r->sw) : -1;

		if (r->keeper.ends) {
			log_line("%s", r->keeper.error);
			return EXIT_FAILED;
		}
		(void)poll(p, collect(r, p), settle >= 0 && settle < wait ? settle : wait);
		if (told_to_stop(r))
			return EXIT_DONE;
		if ((r->sw.inotify >= 0 && switch_look(&r->sw)) || r->unswitched)
			r->unswitched = !apply_switch(r);
	}
}

/* Where the program before this one left everything for us (an upgrade); -1: there was none. */
static int resumed(void)
{
	const char *descriptor = getenv(KEEPER_RESUME);
	uint64_t n;

	return descriptor && parse_number(descriptor, INT_MAX, &n) ? (int)n : -1;
}

int run_verb(int argc, char **argv)
{
	static struct run r; /* big, and once a process */
	struct run_options o;
	int listener = -1, status = parse_options(argc, argv, &o);
	int resume = resumed();

	if (status)
		return status;
	if (o.help) {
		print_help();
		return 0;
	}
	unsetenv(KEEPER_RESUME);
	o.keeper.argv = argv - 1; /* the verb has one word before it */
	log_open();
	if (resume < 0) { /* else the program before has done it */
		keep_from_children();
		status = raise_descriptor_limit(&o.keeper);
	}
	if (!status)
		status = open_switch(&r, &o);
	if (!status)
		status = open_signals(&r);
	if (!status && resume < 0)
		status = open_control(o.control, &listener);
	if (status)
		return status;
	status =
	    resume >= 0 ? keeper_resume(&r.keeper, &o.keeper, resume) : keeper_start(&r.keeper, &o.keeper, listener);
	if (status) {
		log_line("%s", r.keeper.error);
	} else {
		say_running(&r);
		status = loop(&r);
	}
	keeper_stop(&r.keeper, status ? REASON_DOWN : REASON_MANUAL);
	control_unlist(o.control);
	switch_close(&r.sw);
	return status;
}
