/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Differential test: the same random operations on the real kernel and on the model of tests/sim, in both of its forms,
 * and after each of them everything that shows is compared. A sequence that ends in a difference is made as short as it
 * can be.
 *
 *   differential SEED COUNT [MISTAKE]   sequences SEED to SEED + COUNT - 1
 *   differential mistakes               the names of mistakes, a line each
 *
 * With MISTAKE, the name of a wrong rule, that rule is planted in the model, and the test passes where it is noticed.
 * Exit status: 0 no difference, 1 a difference, 2 wrong usage, 77 the kernel lacks something. Needs a network namespace
 * of its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "differential/differential.h"

#define ENOUGH 5000 /* sequences that meet everything */

/* Where two views differ first, in words. */
struct difference {
	char what[96];
	int64_t kernel, model;
	enum form form;
};

static struct view kernel_view;
static struct view model_view[FORMS];

__attribute__((format(printf, 4, 5))) static bool differ(struct difference *d, int64_t kernel, int64_t model,
							 const char *format, ...)
{
	va_list args;

	if (kernel == model)
		return false;
	d->kernel = kernel;
	d->model = model;
	va_start(args, format);
	vsnprintf(d->what, sizeof(d->what), format, args);
	va_end(args);
	return true;
}

#define DIFFER(field, ...) differ(d, (int64_t)k->field, (int64_t)m->field, __VA_ARGS__)

static bool queue_differs(struct difference *d, const struct view *k, const struct view *m, unsigned q)
{
	return DIFFER(bound[q], "queue %u bound", q + 1) || DIFFER(queue[q].portid, "queue %u owner's port", q + 1) ||
	       DIFFER(queue[q].held, "queue %u held", q + 1) ||
	       DIFFER(queue[q].copy_mode, "queue %u copy mode", q + 1) ||
	       DIFFER(queue[q].copy_range, "queue %u copy range", q + 1) ||
	       DIFFER(queue[q].queue_dropped, "queue %u queue_dropped", q + 1) ||
	       DIFFER(queue[q].user_dropped, "queue %u user_dropped", q + 1) ||
	       DIFFER(queue[q].id_sequence, "queue %u last id", q + 1);
}

static bool socket_differs(struct difference *d, const struct view *k, const struct view *m, unsigned s)
{
	return DIFFER(socket[s].used, "socket %u bytes used", s) || DIFFER(socket[s].limit, "socket %u buffer", s) ||
	       DIFFER(socket[s].drops, "socket %u drops", s);
}

static bool arrivals_differ(struct difference *d, const struct view *k, const struct view *m)
{
	const unsigned both = k->arrivals < m->arrivals ? k->arrivals : m->arrivals;

	for (unsigned i = 0; i < both; i++)
		if (DIFFER(arrival[i].number, "arrival %u number", i) ||
		    DIFFER(arrival[i].length, "arrival %u length", i) || DIFFER(arrival[i].mark, "arrival %u mark", i))
			return true;
	return DIFFER(arrivals, "datagrams that arrived");
}

/* Of a packet's message only what the kernel shows: no length without payload, no number that wasn't copied. */
static bool packet_differs(struct difference *d, const struct view *k, const struct view *m, unsigned i)
{
	const bool payload = k->reception[i].message.copied > 0;

	return DIFFER(reception[i].message.queue, "message %u queue", i) ||
	       DIFFER(reception[i].message.id, "message %u id", i) ||
	       DIFFER(reception[i].message.copied, "message %u bytes of payload", i) ||
	       DIFFER(reception[i].message.packet.mark, "message %u mark", i) ||
	       (payload && DIFFER(reception[i].message.packet.length, "message %u packet's length", i)) ||
	       (k->reception[i].message.copied >= NUMBERED &&
		DIFFER(reception[i].message.packet.number, "message %u packet's number", i));
}

static bool receptions_differ(struct difference *d, const struct view *k, const struct view *m)
{
	const unsigned both = k->receptions < m->receptions ? k->receptions : m->receptions;

	for (unsigned i = 0; i < both; i++)
		if (DIFFER(reception[i].err, "receive %u", i) ||
		    DIFFER(reception[i].message.error, "message %u is an error", i) ||
		    DIFFER(reception[i].message.err, "message %u errno", i) ||
		    DIFFER(reception[i].message.tag, "message %u request", i) || packet_differs(d, k, m, i))
			return true;
	return DIFFER(receptions, "receives");
}

static bool views_differ(struct difference *d, const struct view *k, const struct view *m)
{
	if (receptions_differ(d, k, m) || arrivals_differ(d, k, m))
		return true;
	for (unsigned q = 0; q < QUEUES; q++)
		if (queue_differs(d, k, m, q))
			return true;
	for (unsigned s = 0; s < SOCKETS; s++)
		if (socket_differs(d, k, m, s))
			return true;
	for (unsigned hook = 0; hook < HOOKS; hook++)
		for (unsigned i = 0; i < KERNEL_RULES; i++)
			if (DIFFER(hits[hook][i], "packets that matched rule %u-%u", hook, i))
				return true;
	return false;
}

/* Not the events, which are many. */
static void clear(struct view *view)
{
	memset(view, 0, offsetof(struct view, arrival));
}

static void carry_out(struct op *op)
{
	const bool was_open = real_is_open(op->socket);

	clear(&kernel_view);
	model_resolve(op);
	real_do(op, &kernel_view);
	if (op->kind == OP_SOCKET && !was_open)
		model_socket_opened(op->socket, real_portid(op->socket), real_buffer(op->socket));
	if (op->kind == OP_BUFFER && was_open)
		model_buffer_set(op->socket, real_buffer(op->socket));
	for (unsigned form = 0; form < FORMS; form++) {
		clear(&model_view[form]);
		model_do(form, op, &model_view[form]);
	}
}

static bool outcome_differs(struct difference *d)
{
	for (unsigned form = 0; form < FORMS; form++) {
		d->form = form;
		if (views_differ(d, &kernel_view, &model_view[form]))
			return true;
	}
	return false;
}

/* Runs a sequence on fresh sockets and queues. The operation after which the two differ; n: none. */
static unsigned run(struct op *ops, unsigned n, struct difference *d)
{
	unsigned i;

	real_reset();
	model_reset();
	for (i = 0; i < n; i++) {
		carry_out(&ops[i]);
		if (outcome_differs(d))
			break;
	}
	return i;
}

/* Leaves out whatever the difference doesn't need: halves, quarters, … single operations, until none can go. */
static unsigned shrink(struct op *ops, unsigned n, struct difference *d)
{
	struct op shorter[LONGEST];
	struct difference found;
	unsigned chunk = n;

	while (chunk) {
		bool shrunk = false;

		for (unsigned at = 0; at + chunk <= n;) {
			const unsigned rest = n - chunk;
			unsigned end;

			memcpy(shorter, ops, at * sizeof(*ops));
			memcpy(shorter + at, ops + at + chunk, (rest - at) * sizeof(*ops));
			end = run(shorter, rest, &found);
			if (end == rest) {
				at++;
				continue;
			}
			n = end + 1;
			memcpy(ops, shorter, n * sizeof(*ops));
			*d = found;
			shrunk = true;
		}
		if (!shrunk || chunk > n)
			chunk = chunk > n ? n : chunk / 2;
	}
	return n;
}

static void tell_difference(FILE *to, const struct difference *d)
{
	fprintf(to, "%s: kernel %" PRId64 ", model%s %" PRId64 "\n", d->what, d->kernel,
		d->form == FORM_2012 ? " (form of 2012)" : "", d->model);
}

static void tell(FILE *to, const char *name, const struct op *ops, unsigned n, const struct difference *d)
{
	fprintf(to, "%s, made short: kernel and model differ after\n", name);
	for (unsigned i = 0; i < n; i++) {
		fprintf(to, "  %2u ", i + 1);
		print_op(to, &ops[i]);
	}
	fputs("  ", to);
	tell_difference(to, d);
}

/* Runs a sequence; where it differs, shrinks and tells it. */
static bool differs(const char *name, struct op *ops, unsigned n)
{
	struct difference d;
	const unsigned end = run(ops, n, &d);

	if (end == n)
		return false;
	printf("%s: ", name);
	tell_difference(stdout, &d);
	tell(stdout, name, ops, shrink(ops, end + 1, &d), &d);
	return true;
}

static bool table_differs(void)
{
	struct op ops[LONGEST];

	return differs("end of the table", ops, fill_table(ops));
}

static bool seed_differs(uint64_t seed)
{
	struct op ops[LONGEST];
	char name[32];

	snprintf(name, sizeof(name), "seed %" PRIu64, seed);
	return differs(name, ops, generate(seed, ops));
}

/*
 * Where packets ended. Many sequences together meet every end but the ones that only the model can bring about and the
 * table's, which not every kernel has.
 */
static bool ends_missing(uint64_t sequences)
{
	bool missing = false;

	printf("packets:");
	for (unsigned fate = 0; fate < FATES; fate++) {
		printf(" %s %" PRIu64, kernel_fate_names[fate], model_ended(fate));
		if (sequences >= ENOUGH && fate != FATE_NO_MEMORY && fate != FATE_TABLE && !model_ended(fate))
			missing = true;
	}
	puts(missing ? "; these sequences miss some" : "");
	return missing;
}

/* The mistake of this name; MISTAKES: there is none. */
static enum kernel_mistake find_mistake(const char *name)
{
	unsigned i = 0;

	while (i < MISTAKES && strcmp(kernel_mistake_names[i], name) != 0)
		i++;
	return (enum kernel_mistake)i;
}

static int list_mistakes(void)
{
	for (unsigned i = MISTAKE_NONE + 1; i < MISTAKES; i++)
		puts(kernel_mistake_names[i]);
	return 0;
}

/* True: a difference. */
static bool run_seeds(uint64_t seed, uint64_t count)
{
	uint64_t i = 0;
	bool found = false;

	while (i < count && !found)
		found = seed_differs(seed + i++);
	printf("%" PRIu64 " sequences from seed %" PRIu64 "\n", i, seed);
	return found;
}

int main(int argc, char **argv)
{
	const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	const uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	const enum kernel_mistake mistake = argc > 3 ? find_mistake(argv[3]) : MISTAKE_NONE;
	static struct measures measures;
	bool failed;

	if (argc == 2 && strcmp(argv[1], "mistakes") == 0)
		return list_mistakes();
	if (argc < 3 || argc > 4 || mistake == MISTAKES) {
		fprintf(stderr, "usage: differential SEED COUNT [MISTAKE] | mistakes\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	real_open();
	measure(&measures);
	if (!model_open(mistake, &measures))
		return 1;
	if (mistake == MISTAKE_NONE)
		failed = table_differs() || run_seeds(seed, count) || ends_missing(count);
	else
		failed = !run_seeds(seed, count);
	real_reset();
	model_close();
	return failed;
}
