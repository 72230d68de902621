/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that the service manager keeps for the next run, so that what the kernel holds outlives a death of
 * everybody at once. Stored is only what can't be made anew: each queue's socket, the ledger, the inspector's answers;
 * and pidfds, to be sure that the dead are dead. Not the lease: an inspector would outlive its run by it. Not the
 * lane's socket: a knock there would wait for nobody. Starts no process, reads no packet.
 *
 * A name is spillway-LANE-WHAT-NUMBER. The queue's number is in its socket's name: what an unknown version has left
 * can be settled without its ledger.
 */
#include "keeper/internal.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PREFIX "spillway-"
#define NAME   64

static const char *const words[STORED_KINDS] = {[STORED_QUEUE] = "queue",
						[STORED_PAGE] = "page",
						[STORED_ENGINE] = "engine",
						[STORED_ANSWERS] = "answers",
						[STORED_INSPECTOR] = "inspector"};

static void name_of(const struct keeper_stored *s, char name[NAME])
{
	snprintf(name, NAME, PREFIX "%u-%s-%u", s->lane, words[s->what], s->number);
}

static bool parse_name(const char *name, struct keeper_stored *s)
{
	char word[16], again[NAME];

	if (sscanf(name, PREFIX "%hu-%15[a-z]-%u", &s->lane, word, &s->number) != 3)
		return false;
	for (s->what = 0; s->what < STORED_KINDS; s->what++)
		if (!strcmp(word, words[s->what]))
			break;
	if (s->what == STORED_KINDS || (s->what == STORED_QUEUE && s->number > UINT16_MAX))
		return false;
	name_of(s, again);
	return !strcmp(name, again);
}

static struct keeper_stored *find(struct keeper_stored *list, unsigned count, const struct keeper_stored *s)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i].lane == s->lane && list[i].what == s->what && list[i].number == s->number)
			return &list[i];
	return NULL;
}

/* Taking */

static void take_one(void *arg, int fd, const char *name)
{
	struct keeper_service *v = &((struct keeper *)arg)->service;
	struct keeper_stored s = {.fd = fd};

	if (!parse_name(name, &s) || v->stored == KEEPER_STORED || find(v->store, v->stored, &s)) {
		log_line("stored descriptor '%.60s': nothing of ours; it is closed", name);
		close(fd);
		if (!strncmp(name, PREFIX, strlen(PREFIX)))
			(void)notify_send(&v->notify, -1, "FDSTOREREMOVE=1\nFDNAME=%s", name);
		return;
	}
	v->store[v->stored++] = s;
}

/* The next descriptor of a lane's that is not used yet; NULL: none. */
static struct keeper_stored *next_of(struct keeper *k, uint16_t lane, enum keeper_stored_what what)
{
	for (unsigned i = 0; i < k->service.stored; i++) {
		struct keeper_stored *s = &k->service.store[i];

		if (s->lane == lane && s->what == what && s->fd >= 0)
			return s;
	}
	return NULL;
}

static int use(struct keeper_stored *s)
{
	int fd = s ? s->fd : -1;

	if (s)
		s->fd = -1;
	return fd;
}

/* Once told to end, neither will run another instruction of its own. */
static void end_process(struct keeper_stored *s)
{
	struct keeper_process p = keeper_adopt_process(s->fd);

	keeper_kill_and_wait(&p);
	if (p.pidfd >= 0)
		close(p.pidfd);
	s->fd = -1;
	s->stale = true;
}

static void end_processes(struct keeper *k, uint16_t lane)
{
	struct keeper_stored *s;

	/* The engine before: it alone has the inspector's lease. */
	while ((s = next_of(k, lane, STORED_ENGINE)))
		end_process(s);
	while ((s = next_of(k, lane, STORED_INSPECTOR)))
		end_process(s);
}

/* The kernel's table of queues, by way of a queue object that binds nothing. -1: it can't be read. */
static int open_table(uint16_t queue)
{
	struct spw_queue *q;
	int fd = spw_queue_open(&q, queue) ? -1 : fcntl(spw_queue_proc_fd(q), F_DUPFD_CLOEXEC, 0);

	spw_queue_close(q);
	return fd;
}

/* The policy that holds for a queue now; that of the first class where it has none any more. */
static const struct lane_config *config_of(const struct keeper *k, uint16_t queue)
{
	for (unsigned i = 0; i < k->config.classes; i++)
		if (queue >= k->config.queue[i] && queue - k->config.queue[i] <= k->config.last - k->config.first)
			return &k->config.class[i];
	return &k->config.class[0];
}

static void settle_queue(const struct keeper *k, struct keeper_stored *s)
{
	const struct spw_queue_config any = {.size = sizeof(any)};
	uint16_t queue = (uint16_t)s->number;
	bool shut = lane_shuts(config_of(k, queue), REASON_DOWN);
	struct spw_queue *q;
	uint64_t held = 0;
	int error = spw_queue_adopt(&q, queue, use(s), open_table(queue), &any);

	s->stale = true;
	if (!error)
		error = keeper_release(q, shut, &held);
	if (error)
		log_line("queue %u: stored by a run before: %s; nothing is settled", queue,
			 q && error != -ENODEV ? spw_queue_error(q) : "it is bound no more");
	else
		log_line("queue %u: stored by a run before: %llu packets held are %s uninspected", queue,
			 (unsigned long long)held, shut ? "dropped" : "accepted");
	spw_queue_close(q);
}

/* What can't be gone on with. */
static void settle_stored(struct keeper *k, uint16_t lane)
{
	struct keeper_stored *s;

	end_processes(k, lane);
	while ((s = next_of(k, lane, STORED_QUEUE)))
		settle_queue(k, s);
	keeper_drop_stored(k, lane);
}

void keeper_drop_stored(struct keeper *k, uint16_t number)
{
	for (unsigned i = 0; i < k->service.stored; i++) {
		struct keeper_stored *s = &k->service.store[i];

		if (s->lane != number)
			continue;
		if (s->fd >= 0)
			close(use(s));
		s->stale = true;
	}
}

void keeper_store_open(struct keeper *k)
{
	struct keeper_service *v = &k->service;

	notify_open(&v->notify);
	v->started_ns = v->alive_ns = clock_ns();
	notify_received(take_one, k);
	for (unsigned i = 0; i < v->stored; i++)
		if (v->store[i].fd >= 0 && (v->store[i].lane < k->config.first || v->store[i].lane > k->config.last))
			settle_stored(k, v->store[i].lane);
}

/* Copies of the classes' sockets in the page's order. 0: what is there is no lane of this version. */
static unsigned collect_sockets(struct keeper *k, uint16_t lane, int page_fd, int *sockets)
{
	struct engine_page *page = keeper_map_page(page_fd, sizeof(*page));
	struct keeper_stored s = {.lane = lane, .what = STORED_QUEUE};
	const struct keeper_stored *found;
	unsigned count = 0, classes = 0;

	if (page && page->version == ENGINE_PAGE_VERSION && page->classes <= CHANNEL_CLASSES)
		classes = page->classes;
	while (count < classes) {
		s.number = page->queue[count];
		found = find(k->service.store, k->service.stored, &s);
		if (!found || found->fd < 0)
			break;
		sockets[count++] = fcntl(found->fd, F_DUPFD_CLOEXEC, 0);
	}
	if (page)
		munmap(page, sizeof(*page));
	if (count == classes)
		return count;
	while (count)
		close(sockets[--count]);
	return 0;
}

/*
 * The inspector that had the packets is dead; the engine has to take the answers that it left, and to be told. Where
 * they are lost, it has no seat: an engine that finds none knows what that means.
 */
static void seat_the_dead(struct keeper *k, struct keeper_lane *l)
{
	struct keeper_stored s = {.lane = l->number, .what = STORED_ANSWERS};
	struct keeper_stored *found;
	struct lane lane;

	engine_snapshot(l->page, &lane);
	l->was_ready = true;
	s.number = lane.inspector;
	found = lane.inspector ? find(k->service.store, k->service.stored, &s) : NULL;
	if (!found)
		return;
	l->seat.number = lane.inspector;
	l->seat.answers_fd = use(found);
	l->seat.answers = keeper_map_page(l->seat.answers_fd, sizeof(*l->seat.answers));
	l->gone = l->seat.answers;
	if (l->gone)
		return;
	keeper_clear_seat(&l->seat);
	found->stale = true;
}

static void close_rest(struct keeper *k, uint16_t lane)
{
	struct keeper_stored *s;

	for (unsigned what = 0; what < STORED_KINDS; what++)
		while ((s = next_of(k, lane, what)))
			close(use(s));
}

bool keeper_take_stored(struct keeper *k, struct keeper_lane *l, uint16_t number)
{
	struct keeper_stored *page = next_of(k, number, STORED_PAGE);
	int gift[GIFTS_MAX], sockets[CHANNEL_CLASSES], error = -EPROTO;
	unsigned count;

	if (!page && !next_of(k, number, STORED_QUEUE))
		return false;
	end_processes(k, number);
	count = page ? collect_sockets(k, number, page->fd, sockets) : 0;
	if (count) {
		memset(gift, -1, sizeof(gift));
		gift[GIFT_PAGE] = fcntl(page->fd, F_DUPFD_CLOEXEC, 0);
		gift[GIFT_PROC] = open_table(number);
		error = keeper_make_lane(l, sockets, count, gift);
	}
	if (!error) {
		seat_the_dead(k, l);
		close_rest(k, number);
		log_line("queue %u: taken over from the service manager, with what is held", number);
		return true;
	}
	log_line("queue %u: what the service manager has kept is %s; what is held is settled, the lane begins "
		 "anew",
		 number, error == -EPROTO ? "of another version, or not whole" : strerror(-error));
	keeper_close_lane(l);
	l->number = number;
	settle_stored(k, number);
	return false;
}

/* Storing */

static void want(struct keeper_stored *list, unsigned *count, const struct keeper_lane *l, enum keeper_stored_what what,
		 uint32_t number, int fd)
{
	if (fd >= 0 && *count < KEEPER_STORED)
		list[(*count)++] = (struct keeper_stored){.lane = l->number, .what = what, .number = number, .fd = fd};
}

static void want_seat(struct keeper_stored *list, unsigned *count, const struct keeper_lane *l,
		      const struct keeper_seat *seat)
{
	want(list, count, l, STORED_ANSWERS, seat->number, seat->answers_fd);
	want(list, count, l, STORED_INSPECTOR, seat->number, seat->process.pid > 0 ? seat->process.pidfd : -1);
}

static unsigned all_wanted(const struct keeper *k, struct keeper_stored *list)
{
	unsigned count = 0;

	for (unsigned n = 0; n < k->lanes; n++) {
		const struct keeper_lane *l = &k->lane[n];

		if (!l->page)
			continue;
		/* Killed amid an orderly stop, nobody is to go on with a lane that was opened for it. */
		if (!k->service.stopping)
			want(list, &count, l, STORED_PAGE, ENGINE_PAGE_VERSION, l->page_fd);
		for (unsigned i = 0; i < l->classes; i++)
			want(list, &count, l, STORED_QUEUE, l->page->queue[i],
			     l->queue[i] ? spw_queue_fd(l->queue[i]) : -1);
		want(list, &count, l, STORED_ENGINE, (uint32_t)l->engine.pid, l->engine.pid > 0 ? l->engine.pidfd : -1);
		want_seat(list, &count, l, &l->seat);
		want_seat(list, &count, l, &l->next);
	}
	return count;
}

/* What is not used yet stays: it is what the next run gets, should this one fail to start. */
static int give_up(struct keeper_service *v, struct keeper_stored *wanted, unsigned count)
{
	char name[NAME];

	for (unsigned i = v->stored; i-- > 0;) {
		struct keeper_stored *s = &v->store[i];
		int error;

		if (s->fd >= 0 || (!s->stale && find(wanted, count, s)))
			continue;
		name_of(s, name);
		error = notify_send(&v->notify, -1, "FDSTOREREMOVE=1\nFDNAME=%s", name);
		if (error)
			return error;
		*s = v->store[--v->stored];
	}
	return 0;
}

/*
 * FDPOLL=0: the manager drops what shows an error, as a netlink socket may whose buffer overran (ours report no such
 * thing). What it has already under this name or another it keeps once.
 */
void keeper_tend_store(struct keeper *k)
{
	struct keeper_service *v = &k->service;
	static struct keeper_stored wanted[KEEPER_STORED];
	unsigned count;
	char name[NAME];

	if (!v->notify.to_len)
		return;
	count = all_wanted(k, wanted);
	if (give_up(v, wanted, count))
		return;
	for (unsigned i = 0; i < count; i++) {
		struct keeper_stored *s = &wanted[i];

		if (v->stored == KEEPER_STORED || find(v->store, v->stored, s))
			continue;
		name_of(s, name);
		if (notify_send(&v->notify, s->fd, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name))
			return;
		v->store[v->stored] = *s;
		v->store[v->stored++].fd = -1;
	}
}
