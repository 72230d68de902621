/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Netlink sockets and the config message. Reads a reply only where nobody else can: on a socket without a queue.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

/* The netlink port of a socket. -EINVAL: it is no netlink socket. */
int spw_nl_portid(int fd, uint32_t *portid)
{
	struct sockaddr_nl addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	if (len != sizeof(addr) || addr.nl_family != AF_NETLINK)
		return -EINVAL;
	*portid = addr.nl_pid;
	return 0;
}

static int prepare(int fd, uint32_t *portid)
{
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	const int on = 1;

	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0)
		return -errno;
	return spw_nl_portid(fd, portid);
}

/* A new socket with a port of its own. Returns the descriptor or a negative errno. */
int spw_nl_socket(uint32_t *portid)
{
	const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	int err;

	if (fd < 0)
		return -errno;
	err = prepare(fd, portid);
	if (err < 0) {
		close(fd);
		return err;
	}
	return fd;
}

/*
 * Hands messages to the kernel, which has carried them out when this returns. The destination is spelled out: without
 * it, the kernel also wants the capability of whoever opened the socket.
 */
int spw_nl_send(int fd, const void *msgs, size_t len)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	if (sendto(fd, msgs, len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return 0;
}

/* Sends a message that wants an acknowledgement and returns what it says; -EPROTO: none came. */
int spw_nl_ask(int fd, struct nlmsghdr *nlh)
{
	char buf[512] __attribute__((aligned(8)));
	const struct nlmsghdr *reply = (const void *)buf;
	struct nlmsgerr answer;
	ssize_t len;
	int err;

	nlh->nlmsg_flags |= NLM_F_ACK;
	err = spw_nl_send(fd, nlh, nlh->nlmsg_len);
	if (err < 0)
		return err;
	/* The kernel replies before sendto() returns: there is nothing to wait for. */
	len = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (len < 0)
		return errno == EAGAIN ? -EPROTO : -errno;
	if ((size_t)len < sizeof(*reply) + sizeof(answer) || reply->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	memcpy(&answer, buf + sizeof(*reply), sizeof(answer));
	return answer.error;
}

/*
 * Writes a config message into buf (SPW_CONFIG_BYTES, aligned as a nlmsghdr is). It wants no acknowledgement: that
 * would come on the socket, where packets may crowd it out or another process read it.
 */
struct nlmsghdr *spw_nl_config(void *buf, uint16_t number, const struct spw_change *change)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_CONFIG;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nfg->nfgen_family = AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(number);
	if (change->command) {
		const struct nfqnl_msg_config_cmd cmd = {.command = change->command, .pf = htons(AF_UNSPEC)};

		mnl_attr_put(nlh, NFQA_CFG_CMD, sizeof(cmd), &cmd);
	}
	if (change->copy_mode) {
		const struct nfqnl_msg_config_params params = {.copy_range = htonl(change->copy_range),
							       .copy_mode = change->copy_mode};

		mnl_attr_put(nlh, NFQA_CFG_PARAMS, sizeof(params), &params);
	}
	if (change->set_length)
		mnl_attr_put_u32(nlh, NFQA_CFG_QUEUE_MAXLEN, htonl(change->length));
	if (change->set_flags) {
		mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(change->mask));
		mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(change->flags));
	}
	return nlh;
}
