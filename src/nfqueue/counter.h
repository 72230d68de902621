/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The counters of a queue's rules: spillway-N in front of queue N, spillway-N-trusted and spillway-N-spilled of what
 * passes it by the mark of its connection. Made, read and removed over netlink.
 * Knows no rule and never sets a counter back.
 */
#ifndef SPW_NFQUEUE_COUNTER_H
#define SPW_NFQUEUE_COUNTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPW_COUNTER_NAME 24 /* bytes that a name takes, its end included */

enum spw_counter_kind { SPW_COUNTER_QUEUE, SPW_COUNTER_TRUSTED, SPW_COUNTER_SPILLED, SPW_COUNTER_KINDS };

struct spw_counter {
	int fd;       /* the netlink socket; its own, since replies belong to whoever reads first */
	uint32_t seq; /* of the last request */
	bool no_acct; /* the kernel has said that it knows none of this kind: not asked again, */
	bool no_nft;  /* since it would look for a module each time */
};

/* What a reply has to be. */
struct spw_counter_want {
	uint32_t seq;
	uint16_t type; /* of the message; 0: an acknowledgement */
	char name[SPW_COUNTER_NAME];
};

/* The name of a queue's counter. */
void spw_counter_name(uint16_t queue, enum spw_counter_kind kind, char name[SPW_COUNTER_NAME]);

/* Opens the socket, in the calling thread's network namespace. 0 or a negative errno. */
int spw_counter_open(struct spw_counter *c);
void spw_counter_close(struct spw_counter *c);

/*
 * What came to the queue's rules since the counter was made: packets (an aggregate is one) and their bytes from the
 * network header on. Looks for an nfacct object (iptables), then for nft's counter in the table inet spillway. Does not
 * wait: the kernel has answered when the request is sent. -ENOENT: there is neither; -EPERM: needs CAP_NET_ADMIN;
 * -EPROTO: the answer is none. packets and bytes are written only where it returns 0.
 */
int spw_counter_read(struct spw_counter *c, uint16_t queue, enum spw_counter_kind kind, uint64_t *packets,
		     uint64_t *bytes);

/* Makes the nfacct object. -EEXIST: it is there, and stays as it is; -EINVAL: this kernel has none; -EPERM. */
int spw_counter_make(struct spw_counter *c, uint16_t queue, enum spw_counter_kind kind);

/* Removes the nfacct object. -ENOENT: there is none; -EBUSY: a rule still counts with it; -EINVAL, -EPERM as above. */
int spw_counter_delete(struct spw_counter *c, uint16_t queue, enum spw_counter_kind kind);

/*
 * What `len` bytes from the kernel (aligned as a nlmsghdr is) say. 0; the errno that the kernel tells, negative;
 * -EAGAIN: nothing in them answers this request; -EPROTO: what does is malformed, or of another kind or name. Pure.
 */
int spw_counter_answer(const void *buf, size_t len, const struct spw_counter_want *want, uint64_t *packets,
		       uint64_t *bytes);

#endif
