/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane's shared memory: who may see which page is decided by the descriptors made here. Starts no process.
 */
#include "keeper/internal.h"

#include "keeper/spawn.h"
#include "page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Descriptors open at a time, at most. */
#define FDS_OF_KEEPER 64u  /* programs, board, control, signals, the handover; and for a moment */
#define FDS_OF_LANE   16u  /* of keeper_close_lane(), two inspectors' 4, the page for control */
#define FDS_OF_CLASS  2u   /* the socket, the kernel's table */
#define FDS_OF_CHILD  224u /* SPAWN_FDS on their way, what it opens; with the places, 1024 in all */

/* A page of fixed size that nobody can resize, as a descriptor and mapped. NULL and errno. */
void *keeper_make_page(const char *name, size_t size, int *fd)
{
	void *p = MAP_FAILED;
	int error;

	*fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd >= 0 && !ftruncate(*fd, (off_t)size) && !fchmod(*fd, 0600) &&
	    !fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (p != MAP_FAILED)
		return p;
	error = errno;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = error;
	return NULL;
}

/* Another descriptor of the same file, through which nobody can write. */
int keeper_reopen_read_only(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* By the page's own policies: a lane that was taken over need not have the command line's. */
static int make_state(struct keeper_lane *l)
{
	struct channel_state *state = keeper_make_page("spillway-state", sizeof(*state), &l->state_fd);
	struct lane lane;
	bool keyed;

	if (!state)
		return -errno;
	keyed = getrandom(state->key, sizeof(state->key), 0) == sizeof(state->key);
	state->version = CHANNEL_VERSION;
	state->classes = l->classes;
	engine_snapshot(l->page, &lane);
	for (unsigned i = 0; i < l->classes; i++) {
		const struct lane_config *config = &lane.class[i].config;

		state->class[i] = (struct channel_class){.queue = l->page->queue[i],
							 .priority = config->priority,
							 .has_mark = config->mark_mask != 0,
							 .conntrack = config->conntrack,
							 .trust_mark = config->trust_mark,
							 .trust_mask = config->trust_mask};
	}
	munmap(state, sizeof(*state));
	l->state_read_fd = keeper_reopen_read_only(l->state_fd);
	return l->state_read_fd < 0 || !keyed ? -errno : 0;
}

void *keeper_map_page(int fd, size_t size)
{
	return page_map(fd, size, PROT_READ | PROT_WRITE);
}

/*
 * What is between an engine and its inspectors; made anew where all of these are dead. The ledger has the classes
 * already. An exit status.
 */
int keeper_make_channels(struct keeper *k, struct keeper_lane *l)
{
	int lease[2], error;

	l->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->bell < 0 || l->wake < 0 || pipe2(lease, O_CLOEXEC) < 0)
		return keeper_fail(k, EXIT_FAILED, "channels: %s; free some memory or descriptors", strerror(errno));
	l->lease_read = lease[0];
	l->lease = lease[1];
	error = make_state(l);
	if (error)
		return keeper_fail(k, EXIT_FAILED, "shared memory: %s; is /proc mounted?", strerror(-error));
	return EXIT_DONE;
}

int keeper_make_ledger(struct keeper *k, struct keeper_lane *l)
{
	l->page = keeper_make_page("spillway-ledger", sizeof(*l->page), &l->page_fd);
	if (!l->page)
		return keeper_fail(k, EXIT_FAILED, "shared memory: %s; free some memory or descriptors",
				   strerror(errno));
	l->page->version = ENGINE_PAGE_VERSION;
	l->page->classes = l->classes;
	for (unsigned i = 0; i < l->classes; i++)
		l->page->queue[i] = (uint16_t)(k->config.queue[i] + (l->number - k->config.first));
	return EXIT_DONE;
}

/* Each inspector has a page of its own: what a dead one's threads or children still write concerns nobody. */
int keeper_make_seat(struct keeper_seat *seat, uint32_t number)
{
	*seat = (struct keeper_seat){.number = number, .process.pidfd = -1};
	seat->answers = keeper_make_page("spillway-answers", sizeof(*seat->answers), &seat->answers_fd);
	return seat->answers ? 0 : -errno;
}

void keeper_clear_seat(struct keeper_seat *seat)
{
	if (seat->answers)
		munmap(seat->answers, sizeof(*seat->answers));
	if (seat->answers_fd >= 0)
		close(seat->answers_fd);
	if (seat->process.pidfd >= 0)
		close(seat->process.pidfd);
	*seat = (struct keeper_seat){.answers_fd = -1, .process.pidfd = -1};
}

/* This process's own, with those that whoever started it has left open. */
static unsigned count_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

unsigned keeper_descriptors_needed(const struct keeper_config *config)
{
	unsigned lanes = config->last - config->first + 1u;
	unsigned own = count_open() + FDS_OF_KEEPER +
		       lanes * (FDS_OF_LANE + config->classes * (FDS_OF_CLASS + (config->gate ? GATE_FDS : 0)));

	/* A child just forked has all of these, and room for its own above the places. */
	return (own > SPAWN_PLACES_END ? own : SPAWN_PLACES_END) + FDS_OF_CHILD;
}

void keeper_lane_blank(struct keeper_lane *l)
{
	*l = (struct keeper_lane){
	    .proc_fd = -1,
	    .page_fd = -1,
	    .state_fd = -1,
	    .state_read_fd = -1,
	    .bell = -1,
	    .wake = -1,
	    .lease = -1,
	    .lease_read = -1,
	    .listener = -1,
	    .engine_socket = -1,
	    .engine.pidfd = -1,
	    .gone_reason = REASON_DOWN,
	    .seat = {.answers_fd = -1, .process.pidfd = -1},
	    .next = {.answers_fd = -1, .process.pidfd = -1},
	};
}

void keeper_close_lane(struct keeper_lane *l)
{
	const int fds[] = {l->proc_fd, l->page_fd,    l->state_fd, l->state_read_fd, l->bell,        l->wake,
			   l->lease,   l->lease_read, l->listener, l->engine_socket, l->engine.pidfd};

	keeper_clear_seat(&l->seat);
	keeper_clear_seat(&l->next);
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (unsigned i = 0; i < CHANNEL_CLASSES; i++)
		spw_queue_close(l->queue[i]);
	if (l->page)
		munmap(l->page, sizeof(*l->page));
	keeper_close_gates(l);
	keeper_lane_blank(l);
}
