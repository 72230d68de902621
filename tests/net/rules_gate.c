/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For t-rules-gate: a lane with a gate, and numbered datagrams through it while a command changes its rules. It stands
 * in for `spillway run --gate on`, which loads the gate and looks; some packets always wait. The last line tells the
 * counts.
 *
 * rules_gate load QUEUE            loads the gate and pins it
 * rules_gate bound QUEUE COMMAND…    runs the command while it is bound to the queue
 * rules_gate traffic QUEUE COMMAND…  carries datagrams until the command has ended well
 */
#include "gate/gate.h"

#include "queue.h"

#include <sys/mman.h>
#include <time.h>

#include "clock.h"

#define SKIPPED 77
#define WAITING 200u    /* packets that always wait, once so many have come */
#define MOST    400000u /* datagrams */
#define PAUSE   100000  /* ns between two */

/* Between sender and receiver. */
struct shared {
	unsigned sent;
	int stop;
};

static struct gate gate;
static struct shared *shared;
static uint16_t number;

static const char *pins(void)
{
	static char dir[GATE_DIR];

	gate_directory(number, dir);
	return dir;
}

static int load(void)
{
	struct gate_why why;
	const int error = gate_load(pins(), 1024, &gate, &why);

	if (error == -EOPNOTSUPP || error == -EPERM) {
		printf("SKIP: %s\n", why.text);
		return SKIPPED;
	}
	if (error)
		fprintf(stderr, "%s\n", why.text);
	return error != 0;
}

static pid_t start_sender(void)
{
	const struct timespec pause = {.tv_nsec = PAUSE};
	const int bytes = 64 << 20;
	const pid_t child = fork();
	int fd;

	TRUE(child >= 0);
	if (child)
		return child;
	fd = udp_socket(0);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE) && shared->sent < MOST) {
		uint32_t data[25] = {shared->sent};

		if (send(fd, data, sizeof(data), 0) == sizeof(data))
			__atomic_store_n(&shared->sent, shared->sent + 1, __ATOMIC_RELEASE);
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

static pid_t start_command(char **argv)
{
	const pid_t child = fork();

	TRUE(child >= 0);
	if (!child) {
		execvp(argv[0], argv);
		_exit(127);
	}
	return child;
}

/* One turn of an engine: a look, and verdicts for all but the youngest. */
static void turn(struct spw_queue *queue, unsigned waiting, struct gate_engine *engine, uint32_t *settled)
{
	const struct spw_verdict verdict = {.size = sizeof(verdict), .code = SPW_ACCEPT};
	struct spw_verdicts *list = spw_verdicts_new(0);
	const uint64_t admitted = gate_admitted(gate.page);
	const struct spw_queue_stat stat = stat_of(queue);
	char data[512];

	gate_look(gate.page, engine, &(struct gate_look){clock_ns(), admitted, stat.held, 0});
	while (recv(spw_queue_fd(queue), data, sizeof(data), MSG_DONTWAIT) >= 0)
		;
	if (stat.held > waiting) {
		*settled = stat.id_sequence - waiting;
		EQUAL(spw_verdicts_add_batch(list, number, *settled, &verdict), 0);
		EQUAL(spw_verdicts_send(list, spw_queue_fd(queue)), 0);
	}
	spw_verdicts_free(list);
}

/* All that has arrived, each the one after the last. */
static void receive(int fd, unsigned *next)
{
	uint32_t data[25];

	while (recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0) {
		EQUAL(data[0], *next);
		++*next;
	}
}

static uint64_t booked(unsigned from, unsigned to)
{
	return gate_packets(&gate, from, to);
}

static bool ended(pid_t child, int *status)
{
	return waitpid(child, status, WNOHANG) == child;
}

static int traffic(char **command)
{
	const int to = udp_socket(1);
	struct spw_queue *queue = bind_queue(number, SPW_COPY_META, 60000, 0);
	const struct timespec pause = {.tv_nsec = 500000};
	struct gate_engine engine = {0};
	struct gate_why why;
	unsigned next = 0;
	uint32_t settled = 0;
	int status = -1;
	pid_t sender, child;

	if (gate_open(pins(), false, &gate, &why)) {
		fprintf(stderr, "%s\n", why.text);
		return 1;
	}
	/* Before the first look everything goes round. */
	turn(queue, WAITING, &engine, &settled);
	/* What comes while this process waits for a processor has to fit, or the kernel drops it. */
	TRUE(spw_queue_set_buffer(queue, 32u << 20) > 0);
	sender = start_sender();
	/* Something waits before anything changes. */
	while (stat_of(queue).held < WAITING)
		turn(queue, WAITING, &engine, &settled);
	child = start_command(command);
	while (!ended(child, &status)) {
		turn(queue, WAITING, &engine, &settled);
		receive(to, &next);
		nanosleep(&pause, NULL);
	}
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
	EQUAL(waitpid(sender, NULL, 0), sender);
	EQUAL(status, 0);
	while (stat_of(queue).held > 0)
		turn(queue, 0, &engine, &settled);
	receive(to, &next);
	TRUE(shared->sent < MOST);
	EQUAL(next, shared->sent);
	EQUAL(booked(GATE_TRUSTED, GATE_COLUMNS), 0);
	printf("sent %u queued %u admitted %llu\n", shared->sent, stat_of(queue).id_sequence,
	       (unsigned long long)booked(GATE_ADMITTED, GATE_TRUSTED));
	spw_queue_close(queue);
	return 0;
}

static int bound(char **command)
{
	struct spw_queue *queue = bind_queue(number, SPW_COPY_META, 1, 0);
	const pid_t child = start_command(command);
	int status = -1;

	EQUAL(waitpid(child, &status, 0), child);
	spw_queue_close(queue);
	return status != 0;
}

int main(int argc, char **argv)
{
	TRUE(argc >= 3);
	number = (uint16_t)atoi(argv[2]);
	if (!strcmp(argv[1], "load"))
		return load();
	TRUE(argc >= 4);
	if (!strcmp(argv[1], "bound"))
		return bound(argv + 3);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TRUE(shared != MAP_FAILED);
	return traffic(argv + 3);
}
