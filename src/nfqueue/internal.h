/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of src/nfqueue share: the queue object, one config message, one line of /proc.
 * Private to this directory; nothing here knows a policy.
 */
#ifndef SPW_NFQUEUE_INTERNAL_H
#define SPW_NFQUEUE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* netinet/in.h goes before the kernel's own headers, which else define the same things. */
#include <netinet/in.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include <spillway/queue.h>

struct spw_queue {
	uint16_t number;
	bool taken;      /* the last failure: somebody else owns the number */
	int fd;          /* the netlink socket */
	int proc_fd;     /* /proc/net/netfilter/nfnetlink_queue */
	uint32_t portid; /* of fd */
	struct spw_queue_config now;
	char error[256];
};

/* One config message: what it is to change. */
struct spw_change {
	uint8_t command;     /* NFQNL_CFG_CMD_*; 0: none */
	uint8_t copy_mode;   /* 0: mode and range stay */
	uint32_t copy_range; /* as the kernel shall have it */
	bool set_length;
	bool set_flags;
	uint32_t length;
	uint32_t mask;
	uint32_t flags;
};

/* Big enough for any config message. */
#define SPW_CONFIG_BYTES 128

/* netlink.c: sockets and messages */
int spw_nl_socket(uint32_t *portid);
int spw_nl_portid(int fd, uint32_t *portid);
int spw_nl_send(int fd, const void *msgs, size_t len);
int spw_nl_ask(int fd, struct nlmsghdr *nlh);
struct nlmsghdr *spw_nl_config(void *buf, uint16_t number, const struct spw_change *change);

/* procfs.c: the kernel's table */
int spw_proc_open(void);
int spw_proc_find(int proc_fd, uint16_t number, struct spw_queue_stat *stat);
/* Queues whose lines are looked for in one reading. */
struct spw_proc_rows {
	unsigned count; /* at most 64 */
	const uint16_t *numbers;
	struct spw_queue_stat *stats;
	uint64_t found; /* bits */
};
int spw_proc_find_all(int proc_fd, struct spw_proc_rows *rows);
int spw_proc_unused(int proc_fd, uint16_t *number);

/* config.c: a caller's config with its defaults filled in; taking over what somebody else has configured */
int spw_config_complete(struct spw_queue_config *ours, const struct spw_queue_config *config);
int spw_config_adopt(struct spw_queue *queue, const struct spw_queue_config *now);

/* explain.c: an errno and its sentence */
int spw_done(struct spw_queue *queue);
int spw_fail(struct spw_queue *queue, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
int spw_fail_open(struct spw_queue *queue, int err);
int spw_fail_proc(struct spw_queue *queue, int err);
int spw_fail_change(struct spw_queue *queue, int err, const struct spw_change *change);
int spw_fail_taken(struct spw_queue *queue, uint32_t portid);
int spw_fail_unbound(struct spw_queue *queue);

/* decode.c: like spw_packet_decode(), into a struct of this library's own size */
int spw_decode(const void *msg, size_t len, struct spw_packet *packet);

/* conntrack.c: why this build can't decode connections; NULL: it can */
const char *spw_conntrack_absent(void);

/* sized.c: structs that carry their size */
int spw_sized_in(void *ours, size_t our_size, const void *theirs, size_t least);
void spw_sized_out(void *theirs, size_t their_size, const void *ours, size_t our_size);

#endif
