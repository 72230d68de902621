/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's packet queue (nfnetlink_queue) as one object: bind, configure, receive, answer.
 * For programs that talk to the queue themselves; an inspector under `spillway run` includes
 * <spillway/inspector.h> instead. Mechanism only, no policy.
 *
 * Unless a function says otherwise it returns 0 or a negative errno, sets no global errno, and
 * blocks on nothing but the kernel's own work. An object may be used by one thread at a time.
 */
#ifndef SPILLWAY_QUEUE_H
#define SPILLWAY_QUEUE_H

#include <spillway/packet.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Queue flags; values of NFQA_CFG_F_* in linux/netfilter/nfnetlink_queue.h. */
#define SPW_FAIL_OPEN (1u << 0) /* when the queue is full: accept (kernel 3.6) */
#define SPW_CONNTRACK (1u << 1) /* conntrack attributes with each packet (3.6) */
#define SPW_GSO       (1u << 2) /* packets larger than the MTU arrive whole (3.10) */
#define SPW_UID_GID   (1u << 3) /* the local socket's owner */
#define SPW_SECCTX    (1u << 4) /* the local socket's security context */

enum spw_copy_mode {
	SPW_COPY_META = 1,   /* no payload */
	SPW_COPY_PACKET = 2, /* up to copy_range bytes of it */
};

#define SPW_COPY_RANGE_MAX 65530u /* one less than the kernel's: see spw_queue_set_flags() */

struct spw_queue; /* opaque */

struct spw_queue_config {
	size_t size;          /* sizeof(struct spw_queue_config) as the caller knows it */
	uint32_t copy_mode;   /* enum spw_copy_mode; 0: SPW_COPY_PACKET */
	uint32_t copy_range;  /* bytes of payload; 0: SPW_COPY_RANGE_MAX */
	uint32_t length;      /* packets that the queue holds at most; any number, 0 is one */
	uint32_t mask, flags; /* only flags whose bit in mask is set are changed */
};

/* A look at the kernel's line for one queue in /proc/net/netfilter/nfnetlink_queue. */
struct spw_queue_stat {
	uint32_t portid;    /* netlink port of the owner */
	uint32_t held;      /* packets that wait for a verdict, read or not */
	uint32_t copy_mode; /* 0: bound but never configured */
	uint32_t copy_range;
	uint32_t queue_dropped; /* queue full, fail-open off; wraps */
	uint32_t user_dropped;  /* message did not fit into the socket, fail-open off; wraps */
	uint32_t id_sequence;   /* the last id assigned; wraps */
};

/* What the socket itself says, from getsockopt(SO_MEMINFO). */
struct spw_socket_stat {
	uint32_t used;  /* bytes of receive buffer in use */
	uint32_t limit; /* its size, as the kernel counts it */
	uint32_t drops; /* messages that did not fit: packets, and replies too; wraps */
};

/*
 * Makes a netlink socket for one queue (close-on-exec, NETLINK_NO_ENOBUFS, NETLINK_CAP_ACK), looks whether the
 * kernel has nfnetlink_queue (loading its module) and whether the caller may use it. Binds nothing.
 * *queue is set also on failure where memory allows it (else it is NULL), so that spw_queue_error() can be asked;
 * either way it is the caller's, who ends it with spw_queue_close().
 * -EPERM: no CAP_NET_ADMIN; -EPROTONOSUPPORT: no kernel support; -EACCES: /proc/net/netfilter/nfnetlink_queue can't be
 * read; -ENOMEM, -EMFILE, -ENFILE.
 */
int spw_queue_open(struct spw_queue **queue, uint16_t number);

/*
 * The same object around descriptors that somebody else has opened, of a queue that is bound already: `fd` the
 * netlink socket, `proc_fd` /proc/net/netfilter/nfnetlink_queue open for reading. `now` says how the queue is
 * configured. Takes both descriptors over, on failure too. No capability is needed until something is sent.
 */
int spw_queue_adopt(struct spw_queue **queue, uint16_t number, int fd, int proc_fd, const struct spw_queue_config *now);

/* Frees the object and closes its descriptors. With the last copy of the socket the kernel drops what is held. NULL:
 * nothing. */
void spw_queue_close(struct spw_queue *queue);

/*
 * Binds the queue and configures it in one message: either all of it holds afterwards, or nothing is bound.
 * -EPERM: no capability, or the number is somebody else's (spw_queue_error() says which; spw_queue_taken() tells);
 * -EBUSY: bound already by this object; -EOPNOTSUPP (kernels from 7.1 on may say -EINVAL): a flag that the kernel
 * lacks, whatever the mask; -EINVAL: a copy mode or range out of bounds, or a size field that doesn't fit.
 * Flags outside the mask change nothing.
 */
int spw_queue_bind(struct spw_queue *queue, const struct spw_queue_config *config);

/* True where the last failure was that another socket owns the queue number. */
bool spw_queue_taken(const struct spw_queue *queue);

/* Gives the number back. The kernel drops what is still held. -ENODEV: not bound. */
int spw_queue_unbind(struct spw_queue *queue);

/*
 * Changes the flags whose bit is set in mask, and only these; the semantics of NFQA_CFG_MASK and NFQA_CFG_FLAGS.
 * Works at any time, also while packets flood the socket or another process reads it: success is read off /proc
 * (the copy range is moved by one byte for that), never waited for on the socket.
 * A queue in SPW_COPY_META copies one byte of payload for the moment between two messages, the second of which is the
 * mode alone.
 * -EOPNOTSUPP (7.1 on: -EINVAL): an unknown flag, whatever the mask, or one that this kernel can't do (SPW_CONNTRACK);
 * -ENODEV: not bound; -EPERM: no capability, or somebody else's queue; -EAGAIN: another holder of the same socket
 * configured it at the same moment.
 */
int spw_queue_set_flags(struct spw_queue *queue, uint32_t mask, uint32_t flags);

/* Changes how many packets the queue holds at most. Errors as spw_queue_set_flags(). */
int spw_queue_set_length(struct spw_queue *queue, uint32_t length);

/* Both of the above, mode and range too, in one message. Errors as spw_queue_set_flags() and spw_queue_bind(). */
int spw_queue_configure(struct spw_queue *queue, const struct spw_queue_config *config);

/*
 * How the queue is configured now, as far as this object set it: flags as they are, mask with every flag it ever named.
 * config->size must say how much room there is; no more is written.
 */
void spw_queue_config(const struct spw_queue *queue, struct spw_queue_config *config);

/*
 * Asks for a receive buffer of `bytes` (as the kernel counts: what getsockopt(SO_RCVBUF) reports), by SO_RCVBUFFORCE
 * or, where that is not allowed, SO_RCVBUF up to net.core.rmem_max. Returns the bytes really got, or a negative errno.
 */
int64_t spw_queue_set_buffer(struct spw_queue *queue, uint32_t bytes);

/* The kernel's numbers for this queue. -ENODEV: not bound. */
int spw_queue_stat(struct spw_queue *queue, struct spw_queue_stat *stat);

/*
 * The same for `count` queues, at most 64, of one network namespace: the kernel writes its whole table at each reading,
 * so one is cheaper than one for each. stats[i] is of queues[i]. -ENODEV: one of them is not bound, and says so in its
 * spw_queue_error(); then as upon every failure nothing holds that stands in stats. -EINVAL: none, or too many.
 */
int spw_queue_stat_all(struct spw_queue *const *queues, unsigned count, struct spw_queue_stat *stats);

/* The socket's numbers. */
int spw_queue_socket_stat(struct spw_queue *queue, struct spw_socket_stat *stat);

/* The descriptors, for polling and for handing on; still the object's. */
int spw_queue_fd(const struct spw_queue *queue);
int spw_queue_proc_fd(const struct spw_queue *queue);
uint16_t spw_queue_number(const struct spw_queue *queue);

/* The last failure in one sentence that ends with what to do about it. "" before any. The object's own memory. */
const char *spw_queue_error(const struct spw_queue *queue);

/*
 * Receiving. A batch is a set of buffers, each big enough for one message of 64 KiB, that recvmmsg() fills.
 */
struct spw_batch; /* opaque */

/* Allocates a batch of at most `messages` (1 to 1024). NULL: no memory, or out of bounds. spw_batch_free(NULL) does
 * nothing. */
struct spw_batch *spw_batch_new(unsigned messages);
void spw_batch_free(struct spw_batch *batch);

/*
 * Receives what the socket has now, at most `max` messages and the batch's size, and decodes the packets among it;
 * never waits. Replies, other netlink messages and packets that don't parse are skipped and counted; an unreadable
 * packet is no reason to stop reading. Returns the number of packets (0 where messages were read but none was a
 * packet), or -EAGAIN where the socket is empty, or another negative errno. What an earlier call returned is
 * overwritten.
 */
int spw_batch_receive(struct spw_batch *batch, int fd, unsigned max);

/* Packet i of the last receive, 0 <= i < its result. */
const struct spw_packet *spw_batch_packet(const struct spw_batch *batch, unsigned i);

/* Messages of the last receive that were no packets: replies, and what did not parse. */
unsigned spw_batch_skipped(const struct spw_batch *batch);

/*
 * Decodes one netlink message of `len` bytes, that may be cut, misaligned, lying or hostile. Unknown attributes are
 * skipped; one that is shorter than it must be spoils the message. packet->size must hold sizeof(struct spw_packet) as
 * the caller knows it; no more is written. Pointers in *packet lead into msg. -EBADMSG: not a well-formed packet
 * message; -ENOMSG: well-formed, but not a packet; -EINVAL: packet->size is none. On failure *packet is as it was.
 */
int spw_packet_decode(const void *msg, size_t len, struct spw_packet *packet);

/*
 * Answering. A list of verdicts collects messages, for any queues of one socket, and sends them in one sendmsg().
 */
struct spw_verdicts; /* opaque */

/* Allocates a list that holds `bytes` of messages (at least 128 KiB are made of it). NULL: no memory. */
struct spw_verdicts *spw_verdicts_new(size_t bytes);
void spw_verdicts_free(struct spw_verdicts *list);

/*
 * Adds a verdict for one packet. The code is masked: bits outside SPW_DROP … SPW_REPEAT never reach the kernel.
 * -ENOSPC: the list is full (send it and add again); -EINVAL: unknown code or bit in `set`, a payload of
 * more than 65,531 bytes, or a size field that doesn't fit.
 */
int spw_verdicts_add(struct spw_verdicts *list, uint16_t queue, uint32_t id, const struct spw_verdict *verdict);

/*
 * Adds one verdict for every held packet up to `id` (serial arithmetic), read or not: NFQNL_MSG_VERDICT_BATCH.
 * Mark and priority apply to all. -EINVAL with a payload, a connection's mark or labels, SPW_QUEUE or SPW_REPEAT.
 */
int spw_verdicts_add_batch(struct spw_verdicts *list, uint16_t queue, uint32_t id, const struct spw_verdict *verdict);

/*
 * Adds a config message, carried out in its place among the verdicts: what follows meets the new configuration. Unlike
 * spw_queue_configure() it looks at nothing, and the object of the queue does not know of it: mode, range, length and
 * flags are sent as they are. -ENOSPC, -EINVAL as above.
 */
int spw_verdicts_add_config(struct spw_verdicts *list, uint16_t queue, const struct spw_queue_config *config);

/*
 * Empties the list and builds in the caller's memory from now on (aligned to 4; it must live as long as the list, or
 * until the next call). For messages that are to outlive the process.
 */
void spw_verdicts_place(struct spw_verdicts *list, void *memory, size_t bytes);

/*
 * Sends messages that an earlier list has left in memory, in one sendmsg(); where that is more than the socket's send
 * buffer takes at once, each by itself, in their order. Errors as spw_verdicts_send(): where a message was refused,
 * those before it are carried out, and sending all again does nothing about them. -EMSGSIZE: one message alone is too
 * large; -EPROTO: these are no whole messages.
 */
int spw_verdicts_resend(int fd, const void *messages, size_t bytes);

/* Messages and bytes in the list. */
unsigned spw_verdicts_count(const struct spw_verdicts *list);
size_t spw_verdicts_bytes(const struct spw_verdicts *list);

/*
 * Sends the list in one sendmsg() and empties it. The kernel carries all of it out, in order, before this returns; an
 * id that is not held costs an error message on the socket and nothing else. Needs CAP_NET_ADMIN at this moment;
 * without it nothing happens here and the EPERM comes back as a message on the socket. On failure the list is kept.
 * -EMSGSIZE: the list is larger than the socket's send buffer, which spw_queue_open() makes 8 MiB, or what
 * net.core.wmem_max allows (200 KiB always fit).
 */
int spw_verdicts_send(struct spw_verdicts *list, int fd);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
