/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Binding and configuring. The kernel checks a config message as a whole before it applies any of it, and has done so
 * when sendmsg() returns. Whether it did is read off /proc, since a reply on the queue's own socket may be crowded out
 * by packets or read by another process. Knows nothing of packets.
 */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "internal.h"

#define ALL_FLAGS (NFQA_CFG_F_MAX - 1u)

static int send_change(struct spw_queue *queue, const struct spw_change *change)
{
	uint32_t buf[SPW_CONFIG_BYTES / sizeof(uint32_t)];
	const struct nlmsghdr *nlh = spw_nl_config(buf, queue->number, change);

	return spw_nl_send(queue->fd, nlh, nlh->nlmsg_len);
}

/*
 * What the kernel says to the same flags elsewhere: on a socket that nobody else reads, to a queue number that nobody
 * has. It looks at capability and flags before it looks for the queue, so -ENODEV means that both are fine.
 */
static int ask_elsewhere(struct spw_queue *queue, const struct spw_change *change)
{
	const struct spw_change same = {.set_flags = change->set_flags, .mask = change->mask, .flags = change->flags};
	uint32_t buf[SPW_CONFIG_BYTES / sizeof(uint32_t)];
	uint16_t number;
	uint32_t portid;
	int fd;
	int err;

	err = spw_proc_unused(queue->proc_fd, &number);
	if (err < 0)
		return err;
	fd = spw_nl_socket(&portid);
	if (fd < 0)
		return fd;
	err = spw_nl_ask(fd, spw_nl_config(buf, number, &same));
	close(fd);
	return err;
}

/* Finds out why a change did not happen: in the order in which the kernel checks. */
static int diagnose(struct spw_queue *queue, const struct spw_change *change)
{
	struct spw_queue_stat stat;
	int err = ask_elsewhere(queue, change);

	if (err < 0 && err != -ENODEV)
		return spw_fail_change(queue, err, change);
	err = spw_proc_find(queue->proc_fd, queue->number, &stat);
	if (err == -ENODEV && change->command == NFQNL_CFG_CMD_BIND)
		return spw_fail_change(queue, -ENOMEM, change);
	if (err == -ENODEV)
		return spw_fail_unbound(queue);
	if (err < 0)
		return spw_fail_proc(queue, err);
	if (stat.portid != queue->portid)
		return spw_fail_taken(queue, stat.portid);
	if (change->command == NFQNL_CFG_CMD_BIND)
		return spw_fail(queue, -EBUSY,
				"queue %u is bound by this object already: configure it, or unbind it first",
				queue->number);
	return spw_fail(queue, -EAGAIN, "queue %u was configured by somebody else at the same moment: try again",
			queue->number);
}

/* The number is ours, and *stat its line; else why not. */
static int find_own(struct spw_queue *queue, const struct spw_change *change, struct spw_queue_stat *stat)
{
	const int err = spw_proc_find(queue->proc_fd, queue->number, stat);

	if (err < 0 && err != -ENODEV)
		return spw_fail_proc(queue, err);
	if (err == -ENODEV || stat->portid != queue->portid)
		return diagnose(queue, change);
	return 0;
}

/* Sends a change that carries mode and range, and looks whether they arrived. */
static int apply(struct spw_queue *queue, const struct spw_change *change)
{
	const uint32_t range = change->copy_mode == NFQNL_COPY_PACKET ? change->copy_range : 0;
	struct spw_queue_stat stat;
	int err = send_change(queue, change);

	if (err < 0)
		return spw_fail_change(queue, err, change);
	err = spw_proc_find(queue->proc_fd, queue->number, &stat);
	if (err < 0 && err != -ENODEV)
		return spw_fail_proc(queue, err);
	if (err == 0 && stat.portid == queue->portid && stat.copy_mode == change->copy_mode && stat.copy_range == range)
		return 0;
	return diagnose(queue, change);
}

/*
 * Changes a bound queue so that it shows: the copy range goes to the other one of `range` and one more. In META mode
 * there is no range to see, so the change goes with a range in PACKET mode first, and then the mode alone.
 */
static int change_visibly(struct spw_queue *queue, struct spw_change *change, uint32_t range)
{
	const uint8_t mode = change->copy_mode;
	struct spw_queue_stat stat;
	int err = find_own(queue, change, &stat);

	if (err < 0)
		return err;
	if (mode == NFQNL_COPY_META && stat.copy_mode != NFQNL_COPY_PACKET)
		range = 1;
	change->copy_mode = NFQNL_COPY_PACKET;
	change->copy_range = stat.copy_mode == NFQNL_COPY_PACKET && stat.copy_range == range ? range + 1 : range;
	err = apply(queue, change);
	if (err < 0 || mode != NFQNL_COPY_META)
		return err;
	return apply(queue, &(struct spw_change){.copy_mode = NFQNL_COPY_META});
}

/* A caller's config with its defaults filled in. -EINVAL: its size field doesn't fit. */
int spw_config_complete(struct spw_queue_config *ours, const struct spw_queue_config *config)
{
	if (spw_sized_in(ours, sizeof(*ours), config, offsetof(struct spw_queue_config, flags) + sizeof(config->flags)))
		return -EINVAL;
	ours->size = sizeof(*ours);
	if (!ours->copy_mode)
		ours->copy_mode = SPW_COPY_PACKET;
	if (!ours->copy_range)
		ours->copy_range = SPW_COPY_RANGE_MAX;
	return 0;
}

/* The same, with a sentence; and within bounds. */
static int take_config(struct spw_queue *queue, const struct spw_queue_config *config, struct spw_queue_config *ours)
{
	if (spw_config_complete(ours, config))
		return spw_fail(queue, -EINVAL,
				"queue %u: the config's size field doesn't fit this library: set it to sizeof",
				queue->number);
	if (ours->copy_mode > SPW_COPY_PACKET)
		return spw_fail(queue, -EINVAL, "queue %u: copy mode %u is none: use SPW_COPY_META or SPW_COPY_PACKET",
				queue->number, (unsigned)ours->copy_mode);
	if (ours->copy_range > SPW_COPY_RANGE_MAX)
		return spw_fail(queue, -EINVAL, "queue %u: a copy range of %u is too much: use at most %u",
				queue->number, (unsigned)ours->copy_range, (unsigned)SPW_COPY_RANGE_MAX);
	return 0;
}

static struct spw_change change_of(const struct spw_queue_config *config)
{
	return (struct spw_change){
	    .copy_mode = (uint8_t)config->copy_mode,
	    .set_length = true,
	    .length = config->length,
	    /* A kernel older than the flags still takes a config that names none. */
	    .set_flags = config->mask || config->flags,
	    .mask = config->mask,
	    .flags = config->flags,
	};
}

static void note_flags(struct spw_queue_config *now, uint32_t mask, uint32_t flags)
{
	mask &= ALL_FLAGS;
	now->mask |= mask;
	now->flags = (now->flags & ~mask) | (flags & mask);
}

/* What the object was told about a queue that somebody else has configured. */
int spw_config_adopt(struct spw_queue *queue, const struct spw_queue_config *now)
{
	return take_config(queue, now, &queue->now);
}

int spw_queue_bind(struct spw_queue *queue, const struct spw_queue_config *config)
{
	struct spw_queue_config ours;
	struct spw_queue_stat stat;
	struct spw_change change;
	int err = take_config(queue, config, &ours);

	if (err < 0)
		return err;
	change = change_of(&ours);
	change.command = NFQNL_CFG_CMD_BIND;
	change.copy_range = ours.copy_range;
	err = spw_proc_find(queue->proc_fd, queue->number, &stat);
	if (err == 0)
		return diagnose(queue, &change);
	if (err != -ENODEV)
		return spw_fail_proc(queue, err);
	err = apply(queue, &change);
	if (err < 0)
		return err;
	queue->now = ours;
	queue->now.mask = 0;
	queue->now.flags = 0;
	note_flags(&queue->now, ours.mask, ours.flags);
	return spw_done(queue);
}

bool spw_queue_taken(const struct spw_queue *queue)
{
	return queue->taken;
}

int spw_queue_unbind(struct spw_queue *queue)
{
	const struct spw_change change = {.command = NFQNL_CFG_CMD_UNBIND};
	struct spw_queue_stat stat;
	int err = find_own(queue, &change, &stat);

	if (err < 0)
		return err;
	err = send_change(queue, &change);
	if (err < 0)
		return spw_fail_change(queue, err, &change);
	err = spw_proc_find(queue->proc_fd, queue->number, &stat);
	if (err == 0 && stat.portid == queue->portid)
		return diagnose(queue, &change);
	if (err < 0 && err != -ENODEV)
		return spw_fail_proc(queue, err);
	return spw_done(queue);
}

int spw_queue_set_flags(struct spw_queue *queue, uint32_t mask, uint32_t flags)
{
	struct spw_change change = {
	    .copy_mode = (uint8_t)queue->now.copy_mode, .set_flags = true, .mask = mask, .flags = flags};
	const int err = change_visibly(queue, &change, queue->now.copy_range);

	if (err < 0)
		return err;
	note_flags(&queue->now, mask, flags);
	return spw_done(queue);
}

int spw_queue_set_length(struct spw_queue *queue, uint32_t length)
{
	struct spw_change change = {.copy_mode = (uint8_t)queue->now.copy_mode, .set_length = true, .length = length};
	const int err = change_visibly(queue, &change, queue->now.copy_range);

	if (err < 0)
		return err;
	queue->now.length = length;
	return spw_done(queue);
}

int spw_queue_configure(struct spw_queue *queue, const struct spw_queue_config *config)
{
	struct spw_queue_config ours;
	struct spw_change change;
	uint32_t mask;
	uint32_t flags;
	int err = take_config(queue, config, &ours);

	if (err < 0)
		return err;
	change = change_of(&ours);
	err = change_visibly(queue, &change, ours.copy_range);
	if (err < 0)
		return err;
	mask = ours.mask;
	flags = ours.flags;
	ours.mask = queue->now.mask;
	ours.flags = queue->now.flags;
	queue->now = ours;
	note_flags(&queue->now, mask, flags);
	return spw_done(queue);
}

void spw_queue_config(const struct spw_queue *queue, struct spw_queue_config *config)
{
	spw_sized_out(config, config->size, &queue->now, sizeof(queue->now));
}
