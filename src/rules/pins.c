/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue's gate, as rules see it: see pins.h. Writes nothing of its page but the mark.
 */
#include "rules/pins.h"

#include "gate/gate.h"

#include <spillway/queue.h>

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <net/if.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPFFS "/sys/fs/bpf"

static bool mounted(void)
{
	struct statfs fs;

	return !statfs(BPFFS, &fs) && fs.f_type == BPF_FS_MAGIC;
}

static int fail(uint16_t queue, int err, const char *why, char error[FIREWALL_ERROR])
{
	if (err == -EOPNOTSUPP)
		return firewall_fail(error, err, "--gate: %s; build it with that, or leave --gate out", why);
	if (err == -ENOSYS)
		return firewall_fail(error, -EOPNOTSUPP, "--gate: %s, or leave --gate out", why);
	if (err == -EPERM || err == -EACCES)
		return firewall_fail(error, -EPERM, "--gate: %s; start as root or with CAP_BPF and CAP_NET_ADMIN", why);
	if (err == -ENOENT && !mounted())
		return firewall_fail(error, err,
				     "--gate: " BPFFS " is no BPF file system; mount -t bpf bpf " BPFFS
				     ", then start spillway run --gate on");
	if (err == -ENOENT)
		return firewall_fail(error, err, "--gate: queue %u has no gate: %s; start spillway run --gate on first",
				     queue, why);
	return firewall_fail(error, err, "--gate: queue %u: %s; stop spillway run, --remove the rules, begin anew",
			     queue, why);
}

static int open_gate(uint16_t queue, bool readonly, struct gate *g, char error[FIREWALL_ERROR])
{
	struct gate_why why;
	char dir[GATE_DIR];
	int err;

	gate_directory(queue, dir);
	err = gate_open(dir, readonly, g, &why);
	return err ? fail(queue, err, why.text, error) : 0;
}

int pins_check(struct rule *r, char error[FIREWALL_ERROR])
{
	char dir[GATE_DIR];
	struct gate g;
	int err = open_gate(r->queue, true, &g, error);

	if (err)
		return err;
	gate_close(&g);
	gate_directory(r->queue, dir);
	err = gate_program(dir, &r->program);
	return err ? fail(r->queue, err, strerror(-err), error) : 0;
}

/* Where it stands at a device, it is pinned under a name that begins so. Twice there, it would decide twice. */
static bool attached(const char *path, unsigned index)
{
	char tcx[32], clsact[32];
	DIR *dir = opendir(path);
	const struct dirent *entry;
	bool found = false;

	snprintf(tcx, sizeof(tcx), "tcx-%u-", index);
	snprintf(clsact, sizeof(clsact), "clsact-%u-", index);
	while (dir && !found && (entry = readdir(dir)))
		found = !strncmp(entry->d_name, tcx, strlen(tcx)) || !strncmp(entry->d_name, clsact, strlen(clsact));
	if (dir)
		closedir(dir);
	return found;
}

static int attach(const char *dir, const char *device, char error[FIREWALL_ERROR])
{
	const unsigned index = if_nametoindex(device);
	struct gate_why why;
	int err;

	if (!index)
		return firewall_fail(error, -ENODEV, "--device %s: %s; name one that is there", device,
				     strerror(errno));
	err = attached(dir, index) ? 0 : gate_attach_tc(dir, index, &why);
	return err ? firewall_fail(error, err, "--device %s: %s; put that right and try again", device, why.text) : 0;
}

int pins_attach(const struct rule *r, char error[FIREWALL_ERROR])
{
	struct gate g;
	char dir[GATE_DIR];
	int err = open_gate(r->queue, false, &g, error);

	if (err)
		return err;
	gate_set_mark(g.page, r->mark, r->mark_mask);
	gate_close(&g);
	gate_directory(r->queue, dir);
	for (unsigned i = 0; i < r->device_count && !err; i++)
		err = attach(dir, r->devices[i], error);
	return err;
}

void pins_detach(uint16_t queue)
{
	struct if_nameindex *devices = if_nameindex();
	char dir[GATE_DIR];

	gate_directory(queue, dir);
	for (const struct if_nameindex *d = devices; d && d->if_index; d++)
		gate_detach_tc(dir, d->if_index);
	if_freenameindex(devices);
}

/* Where it can't be known: yes. */
static bool bound(uint16_t queue)
{
	struct spw_queue *q = NULL;
	struct spw_queue_stat stat;
	const bool unbound = !spw_queue_open(&q, queue) && spw_queue_stat(q, &stat) == -ENODEV;

	spw_queue_close(q);
	return !unbound;
}

void pins_release(uint16_t queue, FILE *out)
{
	char dir[GATE_DIR];

	gate_directory(queue, dir);
	if (!bound(queue) && !gate_unpin(dir))
		fprintf(out, "the gate of queue %u is unpinned\n", queue);
}
