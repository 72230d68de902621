/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading, pinning and opening the gate, on libbpf. Touches the BPF file system below the directory that it is given,
 * and at gate_attach_tc() the device.
 */
#include "gate/gate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "gate.skel.h"

#define NOT_WHOLE                                                                                                      \
	"%s is a gate of another version, or not whole; take its rules out with spillway rules --remove, then rm -r "  \
	"%s, and start again"
#define FLOWS_MOST  (1u << 24)
#define TCX_INGRESS 46 /* BPF_TCX_INGRESS, unknown to older headers */
#define PATH_SIZE   (PATH_MAX + 64)

__attribute__((format(printf, 3, 4))) static int fail(struct gate_why *why, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return error;
}

/* What libbpf says is what the kernel says, over many lines: errno tells enough. */
static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* Names below the directory, with the objects' shapes. */
static const struct {
	const char *name;
	uint32_t type, value_size;
} pins[GATE_FDS] = {
    [GATE_FD_PAGE] = {"page", BPF_MAP_TYPE_ARRAY, sizeof(struct gate_page)},
    [GATE_FD_CPUS] = {"cpus", BPF_MAP_TYPE_ARRAY, sizeof(struct gate_cpu)},
    [GATE_FD_ONEWAY] = {"oneway", BPF_MAP_TYPE_LRU_HASH, sizeof(struct gate_flow)},
    [GATE_FD_TWOWAY] = {"twoway", BPF_MAP_TYPE_LRU_HASH, sizeof(struct gate_flow)},
    [GATE_FD_BELL] = {"bell", BPF_MAP_TYPE_RINGBUF, 0},
    [GATE_FD_TELL] = {"tell", 0, 0},
};

static size_t mapped(size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

/* "dir/name" in PATH_SIZE bytes. */
static int path_of(char *path, const char *dir, const char *name)
{
	return snprintf(path, PATH_SIZE, "%s/%s", dir, name) < PATH_SIZE ? 0 : -ENAMETOOLONG;
}

/* mkdir -p: what leads to `dir`, and not that itself. */
static int make_parents(const char *dir)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/* Whether the directory in which `dir` stands, as far as there is one, belongs to a BPF file system. */
static bool on_bpffs(const char *dir)
{
	char path[PATH_MAX];
	char *slash;

	if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return false;
	while ((slash = strrchr(path, '/')) && slash != path) {
		*slash = '\0';
		if (!access(path, F_OK))
			return is_bpffs(path);
	}
	return false;
}

static int pin(const char *dir, const char *name, int fd)
{
	char path[PATH_SIZE];
	const int error = path_of(path, dir, name);

	if (error)
		return error;
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

static int pin_all(const struct gate_bpf *skel, const char *dir)
{
	const struct {
		const char *name;
		int fd;
	} objects[] = {
	    {"page", bpf_map__fd(skel->maps.bss)},       {"cpus", bpf_map__fd(skel->maps.cpus)},
	    {"oneway", bpf_map__fd(skel->maps.oneway)},  {"twoway", bpf_map__fd(skel->maps.twoway)},
	    {"bell", bpf_map__fd(skel->maps.bell)},      {"pass", bpf_program__fd(skel->progs.pass)},
	    {"shut", bpf_program__fd(skel->progs.shut)}, {"gate_tc", bpf_program__fd(skel->progs.gate_tc)},
	    {"tell", bpf_program__fd(skel->progs.tell)},
	};
	int error = 0;

	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]) && !error; i++)
		error = pin(dir, objects[i].name, objects[i].fd);
	return error;
}

/* Highest number of a CPU that may ever be, and one: "0-3,8-11" has a hole, which libbpf's count would overlook. */
static unsigned possible_cpus(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned number, most = 0;
	char between;

	while (f && fscanf(f, "%u", &number) == 1) {
		most = number;
		if (fscanf(f, "%c", &between) != 1)
			break;
	}
	if (f)
		fclose(f);
	return most + 1;
}

static int load(struct gate_bpf *skel, uint32_t flows)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -errno;
	gate_page_begin(&skel->bss->page, flows, seed);
	bpf_map__set_max_entries(skel->maps.cpus, possible_cpus());
	bpf_map__set_max_entries(skel->maps.bell, (uint32_t)mapped(1));
	bpf_map__set_max_entries(skel->maps.oneway, flows);
	bpf_map__set_max_entries(skel->maps.twoway, flows);
	return gate_bpf__load(skel);
}

/* Into a directory beside it, which becomes `dir` in one step. No dots: this file system refuses them. */
static int pin_whole(const struct gate_bpf *skel, const char *dir)
{
	char part[PATH_SIZE];
	int error;

	if (snprintf(part, sizeof(part), "%s-part", dir) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	gate_unpin(part);
	error = make_parents(dir);
	if (error)
		return error;
	if (mkdir(part, 0700))
		return -errno;
	error = pin_all(skel, part);
	if (!error && rename(part, dir))
		error = errno == ENOTEMPTY ? -EEXIST : -errno;
	if (error)
		gate_unpin(part);
	return error;
}

/* What makes the kernel refuse a program: -EOPNOTSUPP where that is the kernel itself. */
static int refused(int error)
{
	switch (error) {
	case -EPERM:
	case -ENOMEM:
	case -EAGAIN:
	case -EINTR:
	case -EMFILE:
	case -ENFILE:
		return error;
	default:
		return -EOPNOTSUPP;
	}
}

int gate_load(const char *dir, uint32_t flows, struct gate *g, struct gate_why *why)
{
	struct gate_bpf *skel;
	int error;

	if (flows < 1 || flows > FLOWS_MOST)
		return fail(why, -EINVAL, "flows: %u: must be 1 to %u", flows, FLOWS_MOST);
	if (!on_bpffs(dir))
		return fail(why, -ENOTSUP, "%s: there is no BPF file system; mount -t bpf bpf /sys/fs/bpf", dir);
	if (!access(dir, F_OK))
		return fail(why, -EEXIST, "%s: there is a gate already", dir);
	libbpf_set_print(silent);
	skel = gate_bpf__open();
	if (!skel)
		return fail(why, -errno, "the program can't be read: %s", strerror(errno));
	error = load(skel, flows);
	if (error)
		error = fail(why, refused(error),
			     "the kernel does not take the program: %s; needs Linux 5.15, CAP_BPF and CAP_NET_ADMIN",
			     strerror(-error));
	else if ((error = pin_whole(skel, dir)))
		fail(why, error, "%s: can't be pinned: %s", dir, strerror(-error));
	gate_bpf__destroy(skel);
	return error ? error : gate_open(dir, false, g, why);
}

/* What another version has pinned, or somebody else. */
static int check_map(int fd, enum gate_fd which, uint32_t *entries)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.type != pins[which].type || info.value_size != pins[which].value_size)
		return -EPROTO;
	*entries = info.max_entries;
	return 0;
}

int gate_refresh(struct gate *g)
{
	if (!g->readonly)
		return 0;
	for (uint32_t i = 0; i < g->cpu_count; i++)
		if (bpf_map_lookup_elem(g->fd[GATE_FD_CPUS], &i, (void *)&g->cpu[i]))
			return -errno;
	return bpf_map_lookup_elem(g->fd[GATE_FD_PAGE], &(uint32_t){0}, g->page) ? -errno : 0;
}

/* The kernel keeps reader's and writer's place in a page each. */
static int map_bell(struct gate *g)
{
	const size_t size = mapped(sizeof(*g->bell_heard));
	void *heard = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd[GATE_FD_BELL], 0);
	void *rung;

	if (heard == MAP_FAILED)
		return -errno;
	g->bell_heard = heard;
	rung = mmap(NULL, size, PROT_READ, MAP_SHARED, g->fd[GATE_FD_BELL], (off_t)size);
	if (rung == MAP_FAILED)
		return -errno;
	g->bell_rung = rung;
	return 0;
}

static int map_pages(struct gate *g)
{
	const int access = PROT_READ | PROT_WRITE;
	void *page, *cpu;

	page = mmap(NULL, mapped(sizeof(*g->page)), access, MAP_SHARED, g->fd[GATE_FD_PAGE], 0);
	if (page == MAP_FAILED)
		return -errno;
	g->page = page;
	cpu = mmap(NULL, mapped(g->cpu_count * sizeof(*g->cpu)), PROT_READ, MAP_SHARED, g->fd[GATE_FD_CPUS], 0);
	if (cpu == MAP_FAILED)
		return -errno;
	g->cpu = cpu;
	return map_bell(g);
}

static int copy_pages(struct gate *g)
{
	g->page = aligned_alloc(64, sizeof(*g->page));
	g->cpu = aligned_alloc(64, g->cpu_count * sizeof(*g->cpu));
	return g->page && g->cpu ? gate_refresh(g) : -ENOMEM;
}

int gate_adopt(const int fd[GATE_FDS], bool readonly, struct gate *g, struct gate_why *why)
{
	int error = 0;

	*g = (struct gate){.readonly = readonly};
	memcpy(g->fd, fd, sizeof(g->fd));
	for (unsigned i = 0; i < GATE_FD_TELL && !error; i++) {
		uint32_t entries = 0;

		if (i == GATE_FD_BELL && readonly)
			continue;
		error = check_map(fd[i], i, &entries);
		if (i == GATE_FD_CPUS)
			g->cpu_count = entries;
	}
	if (!error)
		error = readonly ? copy_pages(g) : map_pages(g);
	if (!error && g->page->version != GATE_VERSION)
		error = -EPROTO;
	if (error == -EPROTO)
		fail(why, error, NOT_WHOLE, "this", GATE_ROOT "/queue-N");
	else if (error)
		fail(why, error, "the gate can't be mapped: %s", strerror(-error));
	if (error)
		gate_close(g);
	return error;
}

int gate_open(const char *dir, bool readonly, struct gate *g, struct gate_why *why)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = readonly ? BPF_F_RDONLY : 0);
	int fd[GATE_FDS] = {-1, -1, -1, -1, -1, -1};
	int error = 0;

	for (unsigned i = 0; i < GATE_FDS && !error; i++) {
		char path[PATH_SIZE];

		if (i >= GATE_FD_BELL && readonly)
			continue;
		if (path_of(path, dir, pins[i].name)) {
			error = fail(why, -ENAMETOOLONG, "%s: %s", dir, strerror(ENAMETOOLONG));
			break;
		}
		fd[i] = i == GATE_FD_TELL ? bpf_obj_get(path) : bpf_obj_get_opts(path, &opts);
		if (fd[i] < 0 && errno == ENOENT && i > 0)
			error = fail(why, -EPROTO, NOT_WHOLE, dir, dir);
		else if (fd[i] < 0 && errno == ENOSYS)
			error = fail(why, -errno, "this kernel has no BPF; use one with CONFIG_BPF_SYSCALL");
		else if (fd[i] < 0)
			error = fail(why, -errno, "%s: %s", path, strerror(errno));
	}
	if (!error)
		return gate_adopt(fd, readonly, g, why);
	for (unsigned i = 0; i < GATE_FDS; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return error;
}

int gate_program(const char *dir, uint32_t *id)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	char path[PATH_SIZE];
	int fd, error = path_of(path, dir, "pass");

	if (error)
		return error;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	error = bpf_obj_get_info_by_fd(fd, &info, &len) ? -errno : 0;
	close(fd);
	*id = info.id;
	return error;
}

int gate_devices(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	int count = 0;

	if (!d)
		return -errno;
	while ((entry = readdir(d)))
		count += !strncmp(entry->d_name, "tcx-", 4) || !strncmp(entry->d_name, "clsact-", 7);
	closedir(d);
	return count;
}

void gate_close(struct gate *g)
{
	if (g->readonly) {
		free(g->page);
		free((void *)g->cpu);
	} else {
		if (g->page)
			munmap(g->page, mapped(sizeof(*g->page)));
		if (g->cpu)
			munmap((void *)g->cpu, mapped(g->cpu_count * sizeof(*g->cpu)));
		if (g->bell_heard)
			munmap(g->bell_heard, mapped(sizeof(*g->bell_heard)));
		if (g->bell_rung)
			munmap((void *)g->bell_rung, mapped(sizeof(*g->bell_rung)));
	}
	for (unsigned i = 0; i < GATE_FDS; i++)
		if (g->fd[i] >= 0)
			close(g->fd[i]);
	*g = (struct gate){.fd = {-1, -1, -1, -1, -1, -1}};
}

/* A filter of clsact has no object of its own to be pinned: the program is, under a name that says which filter. */
static int attach_clsact(const char *dir, int prog, unsigned ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog);
	char name[64];
	int error = bpf_tc_hook_create(&hook);

	if (error && error != -EEXIST)
		return error;
	error = bpf_tc_attach(&hook, &opts);
	if (error)
		return error;
	snprintf(name, sizeof(name), "clsact-%u-%u-%u", ifindex, opts.priority, opts.handle);
	error = pin(dir, name, prog);
	if (error) {
		opts.prog_fd = 0;
		opts.prog_id = 0;
		opts.flags = 0;
		bpf_tc_detach(&hook, &opts);
	}
	return error;
}

static int attach(const char *dir, int prog, unsigned ifindex)
{
	const int link = bpf_link_create(prog, (int)ifindex, TCX_INGRESS, NULL);
	char name[64];
	int error;

	/* What it says where there is no such link. */
	if (link < 0)
		return link == -EINVAL ? attach_clsact(dir, prog, ifindex) : link;
	snprintf(name, sizeof(name), "tcx-%u-", ifindex);
	error = pin(dir, name, link);
	close(link);
	return error;
}

int gate_attach_tc(const char *dir, unsigned ifindex, struct gate_why *why)
{
	char path[PATH_SIZE];
	int prog, error = path_of(path, dir, "gate_tc");

	if (error)
		return fail(why, error, "%s: %s", dir, strerror(-error));
	libbpf_set_print(silent);
	prog = bpf_obj_get(path);
	if (prog < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	error = attach(dir, prog, ifindex);
	close(prog);
	if (error)
		fail(why, error, "device %u: %s", ifindex, strerror(-error));
	return error;
}

/* Takes away what a pin stands for. 0: it stands for nothing beyond itself. */
static int detach_pin(const char *path, const char *name)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, 0);
	unsigned ifindex, priority, handle;
	int link, error = 0;

	if (!strncmp(name, "tcx-", 4)) {
		link = bpf_obj_get(path);
		if (link < 0)
			return -errno;
		error = bpf_link_detach(link);
		close(link);
	} else if (sscanf(name, "clsact-%u-%u-%u", &ifindex, &priority, &handle) == 3) {
		hook.ifindex = (int)ifindex;
		opts.priority = priority;
		opts.handle = handle;
		error = bpf_tc_detach(&hook, &opts);
	}
	/* The device, or the filter, went before. */
	return error == -ENOENT || error == -ENODEV || error == -EINVAL || error == -ENOLINK ? 0 : error;
}

/* Removes the pins whose names begin so. How many, or a negative errno. */
static int remove_pins(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int removed = 0, error = 0;

	if (!d)
		return -errno;
	/* Whatever the caller was told: files of other kinds are nobody's here. */
	if (!is_bpffs(dir))
		error = -ENOTSUP;
	while (!error && (entry = readdir(d))) {
		char path[PATH_SIZE];

		if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		error = path_of(path, dir, entry->d_name);
		if (!error)
			error = detach_pin(path, entry->d_name);
		if (!error && unlink(path))
			error = -errno;
		removed++;
	}
	closedir(d);
	return error ? error : removed;
}

int gate_detach_tc(const char *dir, unsigned ifindex)
{
	char prefix[32];
	int tcx, clsact;

	snprintf(prefix, sizeof(prefix), "clsact-%u-", ifindex);
	clsact = remove_pins(dir, prefix);
	if (clsact < 0)
		return clsact;
	snprintf(prefix, sizeof(prefix), "tcx-%u-", ifindex);
	tcx = remove_pins(dir, prefix);
	if (tcx < 0)
		return tcx;
	return tcx + clsact ? 0 : -ENOENT;
}

int gate_unpin(const char *dir)
{
	const int removed = remove_pins(dir, "");

	if (removed < 0)
		return removed;
	return rmdir(dir) ? -errno : 0;
}
