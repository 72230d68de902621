/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the differential test measures on the kernel before it begins: how much room messages take, and which of the
 * ways that kernels have gone this one goes. On socket 0 and queue 1, by operations like any others.
 */
#include <stdlib.h>
#include <string.h>

#include "../queue.h"
#include "differential.h"

static struct view view;

/* Carries one operation out; what shows afterwards is in `view`. */
static void perform(struct op op)
{
	memset(&view, 0, offsetof(struct view, arrival));
	op.queue = 1;
	real_do(&op, &view);
}

static void receive_all(void)
{
	perform((struct op){.kind = OP_RECEIVE, .amount = EVENTS});
}

static void configure(uint32_t copy_mode, uint32_t copy_range, uint32_t flags)
{
	perform((struct op){.kind = OP_CONFIG,
			    .config = {.set = KERNEL_PARAMS | KERNEL_MASK | KERNEL_FLAGS,
				       .copy_mode = (uint8_t)copy_mode,
				       .copy_range = copy_range,
				       .mask = SPW_GSO | SPW_UID_GID,
				       .flags = flags}});
}

/* The room that one message takes on the empty socket. */
static uint32_t used_by(enum op_kind kind, uint32_t amount)
{
	uint32_t used;

	perform((struct op){.kind = kind, .flow = FIRST_FLOW, .amount = amount, .payload = 1400});
	used = view.socket[0].used;
	EQUAL(view.queue[0].held, 1);
	perform((struct op){.kind = OP_BATCH, .id = view.queue[0].id_sequence});
	receive_all();
	EQUAL(view.socket[0].used, 0);
	return used;
}

static void measure_plain(struct measures *m, uint32_t owner)
{
	/* Every number of bytes that operations can have copied. */
	static const uint32_t copied[] = {1, 28, 36, 64, 80, 92, 428, 528, 600, 1400, 1428};
	const uint32_t flags = owner ? SPW_UID_GID : 0;

	configure(SPW_COPY_META, 0, flags);
	m->plain[owner][0] = used_by(OP_SEND, 1);
	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		configure(SPW_COPY_PACKET, copied[i], flags);
		m->plain[owner][copied[i]] = used_by(OP_SEND, 1);
	}
}

static void measure_pieces(struct measures *m, uint32_t owner)
{
	static const uint32_t copied[] = {64, 80, 600};
	const uint32_t flags = SPW_GSO | (owner ? SPW_UID_GID : 0);

	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		configure(SPW_COPY_PACKET, copied[i], flags);
		m->pieces[owner][copied[i]] = used_by(OP_AGGREGATE, 2);
	}
	configure(SPW_COPY_PACKET, 0, flags);
	for (uint32_t segments = 2; segments <= MOST_SEGMENTS; segments++)
		m->pieces[owner][HEADERS + segments * SEGMENT] = used_by(OP_AGGREGATE, segments);
}

static uint32_t measure_table(void)
{
	struct op ops[LONGEST];
	const unsigned n = fill_table(ops);
	uint32_t drops;

	real_reset();
	for (unsigned i = 0; i < n; i++)
		perform(ops[i]);
	drops = view.socket[0].drops;
	if (drops)
		puts("the socket's buffer is too small to fill the table of ids");
	return drops || view.queue[0].held == view.queue[0].id_sequence ? ~0u : view.queue[0].held;
}

/* The model's own formula, that a simulator goes by, holds for the kernels it was read off. */
static void tell(const struct measures *m)
{
	unsigned other = 0;

	for (uint32_t owner = 0; owner < 2; owner++)
		for (uint32_t copied = 0; copied < MEASURED; copied++) {
			const uint32_t flags = owner ? SPW_UID_GID : 0;

			if (m->plain[owner][copied])
				other += m->plain[owner][copied] != kernel_truesize(copied, copied, flags);
			if (m->pieces[owner][copied])
				other += m->pieces[owner][copied] != kernel_truesize(copied, HEADERS, flags);
		}
	printf("%u sizes of messages differ from the model's; table of ids: %u\n", other, m->table);
}

void measure(struct measures *m)
{
	memset(m, 0, sizeof(*m));
	perform((struct op){.kind = OP_SOCKET});
	perform((struct op){.kind = OP_CONFIG, .config = {.set = KERNEL_COMMAND, .command = KERNEL_BIND}});
	perform((struct op){.kind = OP_CONFIG, .config = {.set = KERNEL_COMMAND, .command = KERNEL_BIND}});
	m->error = view.socket[0].used;
	receive_all();
	for (uint32_t owner = 0; owner < 2; owner++) {
		measure_plain(m, owner);
		measure_pieces(m, owner);
	}
	perform(
	    (struct op){.kind = OP_CONFIG,
			.config = {.set = KERNEL_MASK | KERNEL_FLAGS, .mask = SPW_CONNTRACK, .flags = SPW_CONNTRACK}});
	m->conntrack = view.socket[0].used == 0;
	m->table = measure_table();
	real_reset();
	tell(m);
}
