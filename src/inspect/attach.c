/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attaching to the lane that `spillway run` prepared, waiting on its descriptors, and leaving. Reads no packet.
 */
#include "inspect/inspect.h"
#include "inspect/narrow.h"
#include "nfqueue/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SPARE_MS      100     /* one that is not active looks at least this often whether it has become so */
#define WAKE_PAUSE_NS 1000000 /* and at most this often */
#define ROOM_WAIT_NS  50000   /* the engine takes answers within less, but rings only for a ring that was full */

/*
 * Maps a page that has at least the bytes that we know of: a shorter one would end us by a signal. Closes fd where it
 * could. NULL: errno says why.
 */
static void *map(int fd, size_t size, int prot)
{
	struct stat st;
	void *page;

	if (fstat(fd, &st) || st.st_size < (off_t)size) {
		errno = EPROTO;
		return NULL;
	}
	page = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return NULL;
	close(fd);
	return page;
}

static int attach(struct spw_lane *lane)
{
	const char *env = getenv(CHANNEL_ENV);
	unsigned version, inspector;
	int answers, state, bell;

	if (!env)
		return -ENOENT;
	if (sscanf(env, CHANNEL_ENV_FORMAT, &version, &inspector, &lane->classes, &lane->socket, &answers, &state,
		   &bell, &lane->wake, &lane->lease) != 9 ||
	    version != CHANNEL_VERSION || !lane->classes || lane->classes > CHANNEL_CLASSES)
		return -EPROTO;
	lane->answers = map(answers, sizeof(struct channel_answers), PROT_READ | PROT_WRITE);
	if (!lane->answers)
		return -errno;
	lane->state = map(state, sizeof(struct channel_state), PROT_READ);
	if (!lane->state)
		return -errno;
	if (lane->state->version != CHANNEL_VERSION || lane->state->classes != lane->classes)
		return -EPROTO;
	answer_start(&lane->pen, lane->answers, lane->state, inspector, bell);
	return 0;
}

static int allocate(struct spw_lane *lane, unsigned window)
{
	lane->window = calloc(lane->classes, sizeof(*lane->window));
	lane->trust = calloc(1, sizeof(*lane->trust));
	if (!lane->window || !lane->trust)
		return -ENOMEM;
	return intake_new(lane, window ? window : WINDOW_DEFAULT);
}

static void release(struct spw_lane *lane)
{
	intake_free(lane);
	free(lane->window);
	free(lane->trust);
	if (lane->answers)
		munmap(lane->answers, sizeof(struct channel_answers));
	if (lane->state)
		munmap((void *)lane->state, sizeof(struct channel_state));
	free(lane);
}

int spw_lane_attach(struct spw_lane **out, const struct spw_lane_config *theirs)
{
	struct spw_lane_config config = {.size = sizeof(config)};
	struct spw_lane *lane;
	int error;

	if (theirs && spw_sized_in(&config, sizeof(config), theirs, sizeof(config)))
		return -EINVAL;
	if (config.window > WINDOW_MOST || config.sandbox > SPW_SANDBOX_WIDE)
		return -EINVAL;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return -ENOMEM;
	error = attach(lane);
	if (!error)
		error = allocate(lane, config.window);
	if (error) {
		release(lane);
		return error;
	}
	lane->sandbox = config.sandbox;
	lane->answers->copy_range = config.copy_range;
	*out = lane;
	return 0;
}

/* The narrow sandbox: from here on nothing but receiving, polling and ringing. */
static int confine(const struct spw_lane *lane)
{
	int error;

	if (lane->sandbox == SPW_SANDBOX_WIDE)
		return 0;
	error = spw_narrow_filter(lane->pen.bell);
	if (error != -EOPNOTSUPP)
		return error;
	fputs("spillway: inspector: no narrow filter with AddressSanitizer or for this architecture; the wide one "
	      "stays\n",
	      stderr);
	return 0;
}

int spw_lane_ready(struct spw_lane *lane)
{
	const int error = confine(lane);

	if (error)
		return error;
	__atomic_store_n(&lane->answers->ready, 1, __ATOMIC_RELEASE);
	answer_publish(&lane->pen); /* rings: the engine sees that we are ready */
	return 0;
}

void spw_lane_detach(struct spw_lane *lane)
{
	if (!lane)
		return;
	if (lane->was_active)
		deliver_publish(lane);
	release(lane);
}

bool lane_leaving(struct spw_lane *lane)
{
	const bool active = answer_active(&lane->pen);

	if (active && !lane->was_active) {
		lane->was_active = true;
		deliver_start(lane);
	}
	if (!active && lane->was_active)
		lane->leaving = true;
	return lane->leaving;
}

bool lane_can_receive(struct spw_lane *lane)
{
	if (lane->free == lane->slots)
		return false;
	for (unsigned i = 0; i < lane->classes; i++) {
		if (!window_full(&lane->window[i]))
			return true;
	}
	return false;
}

/* Fills in what to poll: lease and wake first, then the sockets that may be received from. */
static unsigned poll_set(const struct spw_lane *lane, struct pollfd *fds)
{
	unsigned n = 0;

	fds[n++] = (struct pollfd){.fd = lane->lease};
	fds[n++] = (struct pollfd){.fd = lane->wake, .events = POLLIN};
	for (unsigned i = 0; i < lane->classes; i++) {
		const struct window *w = &lane->window[i];
		const bool room = lane->free < lane->slots && w->tail - w->head < CHANNEL_WINDOW;

		if (lane->was_active && !lane->leaving && room)
			fds[n++] = (struct pollfd){.fd = lane->socket + (int)i, .events = POLLIN};
	}
	return n;
}

unsigned spw_lane_poll(const struct spw_lane *lane, struct pollfd *fds)
{
	return poll_set(lane, fds);
}

/*
 * All inspectors of a lane hear the same bell, so only the active one may silence it: else one that is leaving would
 * take the ring that was for its successor. The others sleep a little where it goes on ringing.
 */
static void hear(const struct spw_lane *lane)
{
	const struct timespec pause = {.tv_nsec = WAKE_PAUSE_NS};
	uint64_t rings;

	if (answer_active(&lane->pen))
		(void)!read(lane->wake, &rings, sizeof(rings));
	else if (!lane->was_active)
		nanosleep(&pause, NULL);
}

/* Takes note of what poll() found. */
static void polled(struct spw_lane *lane, const struct pollfd *fds, unsigned n)
{
	if (fds[0].revents)
		lane->leaving = true;
	if (fds[1].revents)
		hear(lane);
	for (unsigned i = 2; i < n; i++) {
		if (fds[i].revents)
			lane->ready |= 1u << (fds[i].fd - lane->socket);
	}
}

int lane_wait(struct spw_lane *lane, int timeout_ms)
{
	struct pollfd fds[SPW_LANE_POLL_MAX];
	const unsigned n = poll_set(lane, fds);
	int found;

	/* The active one may silence the bell at the very moment that it rings for us. */
	if (!lane->was_active && (timeout_ms < 0 || timeout_ms > SPARE_MS))
		timeout_ms = SPARE_MS;
	found = poll(fds, n, timeout_ms);
	if (found > 0)
		polled(lane, fds, n);
	lane->ready_known = true;
	return found < 0 ? -errno : 0;
}

bool lane_lease_ended(struct spw_lane *lane)
{
	struct pollfd p = {.fd = lane->lease};

	if (poll(&p, 1, 0) > 0)
		lane->leaving = true;
	return lane->leaving;
}

bool lane_wait_for_room(struct spw_lane *lane)
{
	const struct timespec pause = {.tv_nsec = ROOM_WAIT_NS};

	answer_publish(&lane->pen);
	if (lane_lease_ended(lane))
		return false;
	if (!answer_active(&lane->pen)) {
		lane->leaving = true; /* answers of an inspector that is no longer active are not taken for ever */
		return false;
	}
	nanosleep(&pause, NULL);
	return true;
}
