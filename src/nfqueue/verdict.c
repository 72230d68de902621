/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists of verdicts, built in memory and sent in one sendmsg(). Reads nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LEAST_BYTES   ((size_t)128 * 1024)
#define PAYLOAD_MAX   65531u
#define CODE_MASK     0xffu
#define QUEUE_SHIFT   16
#define ATTR_BYTES(n) (MNL_ATTR_HDRLEN + MNL_ALIGN(n))
#define CT_BITS       (SPW_VERDICT_CT_MARK | SPW_VERDICT_CT_LABELS)
#define KNOWN_BITS    (SPW_VERDICT_MARK | SPW_VERDICT_PRIORITY | SPW_VERDICT_PAYLOAD | SPW_VERDICT_BYPASS | CT_BITS)

/* What every verdict message begins with, and most consist of. */
struct head {
	struct nlmsghdr nlh;
	struct nfgenmsg nfg;
	struct nlattr attr;
	struct nfqnl_msg_verdict_hdr verdict;
};
_Static_assert(sizeof(struct head) == 32, "the kernel's layout has no holes");

struct spw_verdicts {
	size_t size;
	size_t used;
	unsigned count;
	uint8_t *memory; /* messages, each a multiple of four bytes */
	uint8_t *own;    /* allocated with the list */
};

struct spw_verdicts *spw_verdicts_new(size_t bytes)
{
	struct spw_verdicts *list = calloc(1, sizeof(*list));

	if (!list)
		return NULL;
	list->size = bytes < LEAST_BYTES ? LEAST_BYTES : bytes;
	list->memory = list->own = malloc(list->size);
	if (!list->memory) {
		free(list);
		return NULL;
	}
	return list;
}

void spw_verdicts_free(struct spw_verdicts *list)
{
	if (!list)
		return;
	free(list->own);
	free(list);
}

void spw_verdicts_place(struct spw_verdicts *list, void *memory, size_t bytes)
{
	list->memory = memory;
	list->size = bytes;
	list->used = 0;
	list->count = 0;
}

/* The kernel's number for a verdict. -EINVAL: none that it may get: high bits would turn ACCEPT into STOP. */
static int encode(const struct spw_verdict *verdict, uint32_t *value)
{
	*value = verdict->code & CODE_MASK;
	switch (*value) {
	case NF_DROP:
	case NF_ACCEPT:
	case NF_REPEAT:
		return 0;
	case NF_QUEUE:
		*value |= (uint32_t)verdict->queue << QUEUE_SHIFT;
		if (verdict->set & SPW_VERDICT_BYPASS)
			*value |= NF_VERDICT_FLAG_QUEUE_BYPASS;
		return 0;
	default:
		return -EINVAL;
	}
}

static size_t message_bytes(const struct spw_verdict *verdict)
{
	size_t bytes = sizeof(struct head);

	if (verdict->set & SPW_VERDICT_MARK)
		bytes += ATTR_BYTES(sizeof(verdict->mark));
	if (verdict->set & SPW_VERDICT_PRIORITY)
		bytes += ATTR_BYTES(sizeof(verdict->priority));
	if (verdict->set & SPW_VERDICT_PAYLOAD)
		bytes += ATTR_BYTES(verdict->payload_len);
	if (verdict->set & CT_BITS)
		bytes += MNL_ATTR_HDRLEN;
	if (verdict->set & SPW_VERDICT_CT_MARK)
		bytes += ATTR_BYTES(sizeof(verdict->ct_mark)) + ATTR_BYTES(sizeof(verdict->ct_mark_mask));
	if (verdict->set & SPW_VERDICT_CT_LABELS)
		bytes += ATTR_BYTES(sizeof(verdict->ct_labels)) + ATTR_BYTES(sizeof(verdict->ct_labels_mask));
	return bytes;
}

/* The kernel clears the bits of the mask and flips those of the value: bits outside would be flipped, too. */
static void put_labels(struct nlmsghdr *nlh, const struct spw_verdict *verdict)
{
	uint32_t labels[4];

	for (unsigned i = 0; i < 4; i++)
		labels[i] = verdict->ct_labels[i] & verdict->ct_labels_mask[i];
	mnl_attr_put(nlh, CTA_LABELS, sizeof(labels), labels);
	mnl_attr_put(nlh, CTA_LABELS_MASK, sizeof(verdict->ct_labels_mask), verdict->ct_labels_mask);
}

static void put_conntrack(struct nlmsghdr *nlh, const struct spw_verdict *verdict)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, NFQA_CT);

	if (verdict->set & SPW_VERDICT_CT_MARK) {
		mnl_attr_put_u32(nlh, CTA_MARK, htonl(verdict->ct_mark & verdict->ct_mark_mask));
		mnl_attr_put_u32(nlh, CTA_MARK_MASK, htonl(verdict->ct_mark_mask));
	}
	if (verdict->set & SPW_VERDICT_CT_LABELS)
		put_labels(nlh, verdict);
	mnl_attr_nest_end(nlh, nest);
}

static void put_attrs(struct nlmsghdr *nlh, const struct spw_verdict *verdict)
{
	if (verdict->set & SPW_VERDICT_MARK)
		mnl_attr_put_u32(nlh, NFQA_MARK, htonl(verdict->mark));
	if (verdict->set & SPW_VERDICT_PRIORITY)
		mnl_attr_put_u32(nlh, NFQA_PRIORITY, htonl(verdict->priority));
	if (verdict->set & SPW_VERDICT_PAYLOAD)
		mnl_attr_put(nlh, NFQA_PAYLOAD, verdict->payload_len, verdict->payload);
	if (verdict->set & CT_BITS)
		put_conntrack(nlh, verdict);
}

static int append(struct spw_verdicts *list, uint8_t type, uint16_t queue, uint32_t id,
		  const struct spw_verdict *verdict)
{
	const size_t bytes = message_bytes(verdict);
	uint8_t *at = list->memory + list->used;
	uint32_t value;
	struct head head;
	const int err = encode(verdict, &value);

	if (err < 0)
		return err;
	if (bytes > list->size - list->used)
		return -ENOSPC;
	head = (struct head){
	    .nlh = {.nlmsg_len = sizeof(head),
		    .nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type),
		    .nlmsg_flags = NLM_F_REQUEST},
	    .nfg = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(queue)},
	    .attr = {.nla_len = sizeof(head.attr) + sizeof(head.verdict), .nla_type = NFQA_VERDICT_HDR},
	    .verdict = {.verdict = htonl(value), .id = htonl(id)},
	};
	memcpy(at, &head, sizeof(head));
	if (verdict->set)
		put_attrs((struct nlmsghdr *)at, verdict);
	list->used += bytes;
	list->count++;
	return 0;
}

/* A caller's verdict as this library knows it; the usual case copies nothing. NULL: its size or bits don't fit. */
static const struct spw_verdict *take(const struct spw_verdict *theirs, struct spw_verdict *copy)
{
	const size_t least = offsetof(struct spw_verdict, payload_len) + sizeof(copy->payload_len);

	if (theirs->size != sizeof(*copy)) {
		if (spw_sized_in(copy, sizeof(*copy), theirs, least))
			return NULL;
		theirs = copy;
	}
	if (theirs->set & ~KNOWN_BITS)
		return NULL;
	return theirs;
}

int spw_verdicts_add(struct spw_verdicts *list, uint16_t queue, uint32_t id, const struct spw_verdict *verdict)
{
	struct spw_verdict copy;
	const struct spw_verdict *ours = take(verdict, &copy);

	if (!ours)
		return -EINVAL;
	if ((ours->set & SPW_VERDICT_PAYLOAD) && (!ours->payload || ours->payload_len > PAYLOAD_MAX))
		return -EINVAL;
	return append(list, NFQNL_MSG_VERDICT, queue, id, ours);
}

int spw_verdicts_add_batch(struct spw_verdicts *list, uint16_t queue, uint32_t id, const struct spw_verdict *verdict)
{
	struct spw_verdict copy;
	const struct spw_verdict *ours = take(verdict, &copy);
	uint32_t code;

	if (!ours || (ours->set & (SPW_VERDICT_PAYLOAD | CT_BITS)))
		return -EINVAL;
	code = ours->code & CODE_MASK;
	if (code != SPW_ACCEPT && code != SPW_DROP)
		return -EINVAL;
	return append(list, NFQNL_MSG_VERDICT_BATCH, queue, id, ours);
}

int spw_verdicts_add_config(struct spw_verdicts *list, uint16_t queue, const struct spw_queue_config *config)
{
	uint32_t buf[SPW_CONFIG_BYTES / sizeof(uint32_t)];
	struct spw_queue_config ours;
	const struct nlmsghdr *nlh;

	if (spw_config_complete(&ours, config))
		return -EINVAL;
	nlh = spw_nl_config(buf, queue,
			    &(struct spw_change){
				.copy_mode = (uint8_t)ours.copy_mode,
				.copy_range = ours.copy_range,
				.set_length = true,
				.length = ours.length,
				.set_flags = ours.mask || ours.flags,
				.mask = ours.mask,
				.flags = ours.flags,
			    });
	if (nlh->nlmsg_len > list->size - list->used)
		return -ENOSPC;
	memcpy(list->memory + list->used, nlh, nlh->nlmsg_len);
	list->used += nlh->nlmsg_len;
	list->count++;
	return 0;
}

unsigned spw_verdicts_count(const struct spw_verdicts *list)
{
	return list->count;
}

size_t spw_verdicts_bytes(const struct spw_verdicts *list)
{
	return list->used;
}

/* Each message by itself. The first failure ends it. */
static int send_singly(int fd, const uint8_t *at, size_t bytes)
{
	int err = 0;

	while (bytes && !err) {
		struct nlmsghdr nlh = {0};

		if (bytes >= sizeof(nlh))
			memcpy(&nlh, at, sizeof(nlh));
		if (nlh.nlmsg_len < sizeof(nlh) || nlh.nlmsg_len > bytes || nlh.nlmsg_len % NLMSG_ALIGNTO)
			return -EPROTO;
		err = spw_nl_send(fd, at, nlh.nlmsg_len);
		at += nlh.nlmsg_len;
		bytes -= nlh.nlmsg_len;
	}
	return err;
}

/* A user namespace can't force the send buffer: seven changed packets of 64 KiB are more than it takes at once. */
int spw_verdicts_resend(int fd, const void *messages, size_t bytes)
{
	const int err = spw_nl_send(fd, messages, bytes);

	return err == -EMSGSIZE ? send_singly(fd, messages, bytes) : err;
}

int spw_verdicts_send(struct spw_verdicts *list, int fd)
{
	int err;

	if (!list->count)
		return 0;
	err = spw_nl_send(fd, list->memory, list->used);
	if (err < 0)
		return err;
	list->used = 0;
	list->count = 0;
	return 0;
}
