/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An inspector that does everything it must not, to show that engine and traffic survive it. What it does is in its
 * name: a copy called hostile-scribble scribbles. Reads only what it is shown; hurts only its own lane.
 *
 *     scribble  random bytes over the pages shared with the engine, later over all memory that it can write
 *     twice     answers again what it has answered      future    answers what has not come
 *     others    answers for a class that is not there   wild      claims billions of answers
 *     never     never answers                           bell      rings the bell without end
 *     escape    opens files and sockets, traces and kills others, sends verdicts, spoils the queue's socket
 */
#include "lane/channel.h"
#include "tool.h"

#include <spillway/inspector.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#define AREAS   64u
#define CALM    100u /* packets answered in good order before it begins */
#define SHARED  600u /* and before it destroys its own memory, too */
#define FD_FROM 3
#define FD_TO   1024

volatile sig_atomic_t told_to_stop;

struct area {
	uint8_t *begin;
	size_t size;
	bool shared;
};

static struct area areas[AREAS];
static unsigned area_count;
static struct channel_answers *answers; /* the one shared mapping that is as large as that */
static int bell = -1;
static uint64_t dice = 88172645463325252u;

/* xorshift: the same lies each time. */
static uint64_t roll(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice;
}

/* What it can write, read once at the start: later nothing can be opened. */
static void find_memory(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512], rights[5];
	unsigned long begin, end;

	while (f && area_count < AREAS && fgets(line, sizeof(line), f)) {
		struct area *a = &areas[area_count];

		if (sscanf(line, "%lx-%lx %4s", &begin, &end, rights) != 3 || rights[1] != 'w')
			continue;
		*a =
		    (struct area){(uint8_t *)begin, end - begin, rights[3] == 's'}; // NOLINT(performance-no-int-to-ptr)
		if (a->shared && a->size >= sizeof(*answers))
			answers = (struct channel_answers *)a->begin;
		area_count++;
	}
	if (f)
		fclose(f);
}

static int start(void **self)
{
	const char *env = getenv(CHANNEL_ENV), *at = env ? strstr(env, "bell=") : NULL;

	(void)self;
	bell = at ? (int)number(at + 5) : -1;
	find_memory();
	return 0;
}

static void ring(void)
{
	const uint64_t one = 1;

	(void)!write(bell, &one, sizeof(one));
}

static void scribble(bool shared_only)
{
	for (unsigned i = 0; i < 64; i++) {
		const struct area *a = &areas[roll() % area_count];

		if (a->shared || !shared_only)
			a->begin[roll() % a->size] = (uint8_t)roll();
	}
	if (answers && roll() % 4 == 0) /* where it hurts: the first answers and their number */
		((uint8_t *)answers)[roll() % 4096] = (uint8_t)roll();
	ring();
}

static void doze(uint64_t ns)
{
	const struct timespec t = {.tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS)};

	(void)nanosleep(&t, NULL);
}

/* Long enough for the engine to see it before the library puts its own number there. */
static void linger(void)
{
	doze(NS / 200);
}

/* Puts an answer behind the library's back. The library's own takes its place at once, so now and then it lingers. */
static void forge(const struct channel_answer *a)
{
	static unsigned forged;
	uint64_t produced;

	if (!answers)
		return;
	produced = __atomic_load_n(&answers->produced, __ATOMIC_ACQUIRE);
	answers->ring[produced % CHANNEL_ANSWERS] = *a;
	__atomic_store_n(&answers->produced, produced + 1, __ATOMIC_RELEASE);
	ring();
	if (forged++ % 50 == 0)
		linger();
}

static void answer_for(uint32_t id, uint8_t class)
{
	const uint32_t ids[2] = {id, id};
	struct channel_answer a = {.verdict = SPW_ACCEPT, .class = class};

	memcpy(&a, ids, sizeof(ids)); /* its first two words: a range */
	forge(&a);
}

static void spoil_descriptor(int fd)
{
	static const char verdict[64] = {64, 0, 0, 0, 1, 3, 1, 0}; /* NFQNL_MSG_VERDICT, empty */
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int one = 1, off = 0;

	(void)sendto(fd, verdict, sizeof(verdict), MSG_DONTWAIT, (const struct sockaddr *)&kernel, sizeof(kernel));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &off, sizeof(off));
	(void)ftruncate(fd, 0);
}

/* Each of these is refused, or ends it. In turn: what ends it comes another time. */
static void escape(uint32_t turn)
{
	pid_t parent = getppid();

	switch (turn % 6) {
	case 0:
		(void)open("/etc/passwd", O_RDWR | O_CLOEXEC);
		break;
	case 1:
		(void)socket(AF_NETLINK, SOCK_RAW, 12);
		break;
	case 2:
		(void)ptrace(PTRACE_ATTACH, parent, 0, 0);
		break;
	case 3:
		(void)kill(parent, SIGKILL);
		break;
	case 4:
		for (int fd = FD_FROM; fd < FD_TO; fd++)
			spoil_descriptor(fd);
		break;
	default:
		(void)mprotect(areas[0].begin, areas[0].size, PROT_READ | PROT_WRITE | PROT_EXEC);
	}
}

static void claim(uint64_t produced)
{
	__atomic_store_n(&answers->produced, produced, __ATOMIC_RELEASE);
	ring();
	linger();
}

static void misbehave(const char *how, uint32_t id, unsigned packets)
{
	if (!strcmp(how, "scribble"))
		scribble(packets < SHARED);
	else if (!strcmp(how, "twice"))
		answer_for(id - 1, 0);
	else if (!strcmp(how, "future"))
		answer_for(id + 1000000, 0);
	else if (!strcmp(how, "others"))
		answer_for(id, 77);
	else if (!strcmp(how, "wild") && answers)
		claim(roll());
	else if (!strcmp(how, "escape"))
		escape(id);
	while (!strcmp(how, "never"))
		doze(NS);
	while (!strcmp(how, "bell"))
		ring();
}

static void inspect(void *self, const struct spw_packet *p, struct spw_verdict *v)
{
	static unsigned packets;
	const char *dash = strrchr(program_invocation_short_name, '-');

	(void)self;
	v->code = SPW_ACCEPT;
	if (dash && ++packets > CALM)
		misbehave(dash + 1, p->id, packets);
}

SPW_INSPECTOR(.name = "hostile", .packet = inspect, .start = start);
