/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One round of the engine: look at the kernel's numbers, take answers, let time pass in the core, carry out what it
 * orders. Reads no packet: of a message that is thrown away, the id alone.
 */
#include "engine/internal.h"

#include "clock.h"
#include "log/log.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS         1000000u /* looks are at least so far apart while answers come */
#define LOOK_FAILED_NS  1000000000ull
#define ANSWERS_A_STEP  256      /* bounds the work between two looks */
#define TICK_NS         5000000u /* lateness is judged at least so often, whatever answers wait */
#define DISCARDS_A_STEP 512
#define DISCARD_MOST    64  /* messages in one call */
#define UNSEEN_STEPS    64  /* a thousand packets each, 255 where they are marked; the rest stays due before all else */
#define GONE_STEPS      128 /* for the answers of one that is gone, at most */
#define RECEIVE_TRIES   100
#define STOP_ROUNDS     5000 /* of a millisecond each, at most */
#define EXPLAIN_ROUNDS  100  /* of them, until the books may be left with something unexplained */

/* What *line, read behind `admitted`, and the socket show. */
static int take_in(struct engine *e, unsigned i, struct spw_queue_stat *line, uint64_t admitted)
{
	struct lane_class *c = &e->lane.class[i];
	struct lane_sample now;
	/* Packets whose verdicts are not yet sent are held and booked: such a look explains nothing. */
	bool careful = (lane_unreconciled(c) || c->hiding) && !e->orders.count;
	int error = engine_look_behind(e->queue[i], &now, careful, line);

	if (error)
		return error;
	lane_sample(c, &now, clock_ns());
	engine_heal(e, i, line);
	engine_gate_looked(e, i, admitted);
	e->changed = true;
	return 0;
}

/* At one class alone. */
static int look(struct engine *e, unsigned i)
{
	uint64_t admitted = engine_gate_admitted(e, i);
	struct spw_queue_stat line;
	int error = spw_queue_stat(e->queue[i], &line);

	return error ? error : take_in(e, i, &line, admitted);
}

/* The kernel writes its whole table at each reading: one serves all classes. */
int engine_look_all(struct engine *e)
{
	uint64_t admitted[CHANNEL_CLASSES] = {0};
	struct spw_queue_stat line[CHANNEL_CLASSES];
	int error;

	for (unsigned i = 0; i < e->lane.classes; i++)
		admitted[i] = engine_gate_admitted(e, i);
	error = spw_queue_stat_all(e->queue, e->lane.classes, line);
	for (unsigned i = 0; i < e->lane.classes && !error; i++)
		error = take_in(e, i, &line[i], admitted[i]);
	e->looked_ns = clock_ns();
	if (!error)
		e->look_failed_ns = 0;
	else if (!e->look_failed_ns)
		e->look_failed_ns = e->looked_ns;
	if (error && e->looked_ns - e->look_failed_ns < LOOK_FAILED_NS)
		return 0;
	return error;
}

static enum lane_result judge(struct engine *e, const struct channel_answer *a, uint64_t sequence)
{
	enum lane_result r = lane_answer(&e->lane, e->early, a, sequence, &e->orders);

	if (r != ANSWER_NOT_ASSIGNED && r != ANSWER_COUNT)
		return r;
	/* Perhaps newer than our last look: look again before calling it a lie; with nothing booked and not yet sent.
	 */
	if (engine_commit(e) || look(e, a->class))
		return ANSWER_LATER;
	return lane_answer(&e->lane, e->early, a, sequence, &e->orders);
}

static void set_lied(struct engine *e, enum lane_result r)
{
	e->page->lied = r;
	engine_tell(e, 1);
}

bool engine_answers_wait(const struct engine *e)
{
	return e->answers && !e->page->lied && e->lane.inspector == e->inspector &&
	       __atomic_load_n(&e->answers->produced, __ATOMIC_SEQ_CST) != e->lane.consumed;
}

/* Takes the answers that are there, at most one step's worth. Returns their number. */
static unsigned take_answers(struct engine *e)
{
	uint64_t produced, before = e->lane.consumed;
	unsigned taken = 0;

	if (!engine_answers_wait(e))
		return 0;
	produced = __atomic_load_n(&e->answers->produced, __ATOMIC_ACQUIRE);
	if (produced - before > CHANNEL_ANSWERS) {
		set_lied(e, ANSWER_COUNT);
		return 0;
	}
	for (; e->lane.consumed != produced && taken < ANSWERS_A_STEP; taken++) {
		struct channel_answer a;
		enum lane_result r;

		/* One copy: the inspector may go on writing there. */
		memcpy(&a, &e->answers->ring[e->lane.consumed % CHANNEL_ANSWERS], sizeof(a));
		__asm__ __volatile__("" ::: "memory");
		r = judge(e, &a, e->lane.consumed);
		if (r == ANSWER_LATER)
			break;
		if (r > ANSWER_LATER) {
			set_lied(e, r);
			break;
		}
		e->lane.consumed++;
	}
	if (e->lane.consumed != before) {
		e->changed = true;
		e->answered_ns = clock_ns();
	}
	return taken;
}

/* The id in the first bytes of a packet message; false: it is another message. The kernel puts the header's attribute
 * first (nfqnl_build_packet_message). */
static bool packet_id(const void *head, ssize_t len, uint32_t *id)
{
	struct {
		struct nlmsghdr nlh;
		struct nfgenmsg nfg;
		struct nlattr attr;
		uint32_t id;
	} h;
	_Static_assert(sizeof(h) == 28, "the kernel's layout has no holes");

	if (len < (ssize_t)sizeof(h))
		return false;
	memcpy(&h, head, sizeof(h));
	if (h.nlh.nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) || h.attr.nla_type != NFQA_PACKET_HDR)
		return false;
	*id = ntohl(h.id);
	return true;
}

enum unread { UNREAD_NONE, UNREAD_REPLY, UNREAD_PACKET };

/* The first message in the socket, left there. */
static enum unread first_message(int fd, uint32_t *id)
{
	uint8_t head[32];
	ssize_t n = -1;

	/* That there is none is a fact to go by; that it could not be had just now is not. */
	for (int i = 0; n < 0 && i < RECEIVE_TRIES; i++) {
		n = recv(fd, head, sizeof(head), MSG_DONTWAIT | MSG_PEEK);
		if (n < 0 && errno == EAGAIN)
			break;
	}
	if (n < 0)
		return UNREAD_NONE;
	return packet_id(head, n, id) ? UNREAD_PACKET : UNREAD_REPLY;
}

/* At once: its message is gone, and a successor has to know. */
static void note_discarded(struct engine *e, unsigned i, uint64_t id)
{
	struct lane_class *c = &e->lane.class[i];

	if (id <= c->settled)
		return;
	lane_discarded(c, e->early[i], id, REASON_LATE);
	e->changed = true;
	if (engine_commit(e))
		e->failed = true;
}

/* Throws away the first messages, at most so many; one that is not settled yet is noted. */
static void throw_away(struct engine *e, unsigned i, unsigned many)
{
	struct lane_class *c = &e->lane.class[i];
	static uint8_t head[DISCARD_MOST][32];
	struct iovec iov[DISCARD_MOST];
	struct mmsghdr m[DISCARD_MOST] = {0};
	uint32_t id;
	int n;

	for (unsigned k = 0; k < many; k++) {
		iov[k] = (struct iovec){.iov_base = head[k], .iov_len = sizeof(head[k])};
		m[k].msg_hdr = (struct msghdr){.msg_iov = &iov[k], .msg_iovlen = 1};
	}
	e->page->discarding |= 1ull << i;
	n = recvmmsg(spw_queue_fd(e->queue[i]), m, many, MSG_DONTWAIT, NULL);
	for (int k = 0; k < n; k++)
		if (packet_id(head[k], m[k].msg_len, &id))
			note_discarded(e, i, lane_widen(c->settled, id));
	if (!e->failed)
		e->page->discarding &= ~(1ull << i);
}

/*
 * Throws away what is unread and settled already, else it fills the buffer: half of what there may be at a time, since
 * somebody may read in between. What is thrown away unsettled all the same is noted: nobody will inspect it. Returns
 * the first id that is still unread; the one after the last assigned where there is none.
 */
static uint64_t discard_stale(struct engine *e, unsigned i)
{
	struct lane_class *c = &e->lane.class[i];
	int fd = spw_queue_fd(e->queue[i]);
	uint64_t none = c->ids + 1, first = c->settled;
	uint32_t id;

	for (unsigned n = 0; n < DISCARDS_A_STEP;) {
		enum unread what = first_message(fd, &id);
		uint64_t many = 1;

		if (what == UNREAD_NONE)
			return none;
		if (what == UNREAD_PACKET)
			first = lane_widen(c->settled, id);
		if (first > c->settled)
			return first;
		/* Where ids may have no message, there are fewer than that. */
		if (what == UNREAD_PACKET && !c->hiding && !c->pool)
			many += (c->settled - first) / 2;
		if (many > DISCARD_MOST)
			many = DISCARD_MOST;
		throw_away(e, i, (unsigned)many);
		n += (unsigned)many;
	}
	return first_message(fd, &id) == UNREAD_PACKET ? lane_widen(c->settled, id) : none;
}

static void discard(struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++) {
		struct lane_class *c = &e->lane.class[i];
		uint64_t unread;

		if (c->owed <= c->answered && !lane_passing(c))
			continue;
		unread = discard_stale(e, i);
		if (unread > c->settled)
			lane_unread(c, unread);
	}
}

/* A new inspector that says it is ready gets the packets. */
static void look_for_inspector(struct engine *e)
{
	uint32_t range;

	if (!e->answers || e->dead || e->lane.inspector == e->inspector || e->page->lied ||
	    __atomic_load_n(&e->answers->ready, __ATOMIC_ACQUIRE) != 1)
		return;
	range = __atomic_load_n(&e->answers->copy_range, __ATOMIC_RELAXED);
	if (!range || range > SPW_COPY_RANGE_MAX)
		range = SPW_COPY_RANGE_MAX;
	for (unsigned i = 0; i < e->lane.classes; i++) {
		if (e->page->config[i].copy_range == range)
			continue;
		e->page->config[i].copy_range = range;
		/* Of an open class nothing is copied: its opening's end carries the range. */
		if (!lane_passing(&e->lane.class[i]))
			engine_configure(e, i);
	}
	lane_inspector_active(&e->lane, e->inspector, clock_ns());
	e->changed = true;
}

static void fail(struct engine *e, int error)
{
	log_line("engine: queue %u: %s; another engine is started", e->page->queue[0], strerror(-error));
	e->failed = true;
}

/* No packet message comes into the socket while it is set; the kernel holds the packets all the same. */
static void set_filter(struct engine *e, unsigned i)
{
	static struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog program = {.len = 1, .filter = &nothing};

	(void)setsockopt(spw_queue_fd(e->queue[i]), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
	e->blind[i] = true;
}

/* True where there was one. */
static bool clear_filter(struct engine *e, unsigned i)
{
	int none = 0;

	e->blind[i] = false;
	return !setsockopt(spw_queue_fd(e->queue[i]), SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
}

/*
 * What came while there was a filter was shown to nobody and never will be: it is settled before an answer to a later
 * packet can come, which would look like a lie. Where it can't be known what came, that has to wait.
 */
static void see(struct engine *e, unsigned i)
{
	struct lane_class *c = &e->lane.class[i];

	(void)clear_filter(e, i);
	if (look(e, i)) {
		set_filter(e, i);
		return;
	}
	lane_unseen(c);
	for (unsigned n = 0; n < UNSEEN_STEPS && c->due > c->settled && !e->failed; n++) {
		(void)lane_tick(&e->lane, e->early, clock_ns(), &e->orders);
		if (engine_commit(e))
			e->failed = true;
	}
}

static void open_and_shut_eyes(struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++) {
		bool blind = e->lane.class[i].blind;

		if (blind && !e->blind[i])
			set_filter(e, i);
		else if (!blind && e->blind[i])
			see(e, i);
	}
}

/*
 * The socket itself knows of a filter: the page says whether there should be one, and its engine may have died before
 * the change. Or it died over messages that it had thrown away, and whose they were nobody knows: an inspector that has
 * read later ones would seem to lie.
 */
void engine_open_eyes(struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++)
		if (clear_filter(e, i) || e->page->discarding >> i & 1)
			see(e, i);
	e->page->discarding = 0;
}

/*
 * Time passes in the core. Where more answers wait, it waits for them, a little; but no longer, where answers that keep
 * coming fill the orders each time: other packets' deadlines go on. `now`: of this step's beginning.
 */
static bool tick(struct engine *e, unsigned taken, uint64_t now, int *error)
{
	if (taken == ANSWERS_A_STEP && now - e->lane.now_ns < TICK_NS)
		return true;
	if (!*error && !lane_room(&e->orders))
		*error = engine_commit(e);
	return lane_tick(&e->lane, e->early, clock_ns(), &e->orders);
}

bool engine_step(struct engine *e)
{
	uint64_t now = clock_ns();
	unsigned taken;
	bool more, changed;
	int error = 0;

	e->page->ticked_ns = now;
	look_for_inspector(e);
	e->lane.busy = e->answers && __atomic_load_n(&e->answers->hand.busy, __ATOMIC_RELAXED);
	if (!engine_answers_wait(e) || now - e->looked_ns >= LOOK_NS)
		error = engine_look_all(e);
	/* Before time passes: what is answered is not late. */
	taken = take_answers(e);
	changed = e->orders.payloads;
	more = tick(e, taken, now, &error);
	if (e->lane.stalled)
		engine_tell(e, 2);
	else
		e->told &= ~2u;
	e->changed |= more;
	if (changed || e->orders.payloads || taken > ANSWERS_A_STEP / 2)
		engine_wake_inspector();
	if (!error)
		error = engine_commit(e);
	if (error) {
		fail(e, error);
		return false;
	}
	discard(e);
	open_and_shut_eyes(e);
	engine_publish(e);
	engine_gate_trust(e);
	return engine_await_arrivals(e) || more;
}

/* What it had in hand is due. */
static void let_go(struct engine *e, enum lane_reason reason)
{
	uint64_t unread[CHANNEL_CLASSES];

	(void)engine_look_all(e);
	for (unsigned i = 0; i < e->lane.classes; i++)
		unread[i] = discard_stale(e, i);
	lane_inspector_gone(&e->lane, unread, reason, clock_ns());
	e->changed = true;
}

void engine_inspector_gone(struct engine *e, enum lane_reason reason)
{
	/* What it has answered counts. A step may end amid them for want of room among the orders. */
	for (unsigned i = 0; i < GONE_STEPS && !e->failed && (take_answers(e) || e->orders.count); i++) {
		(void)lane_tick(&e->lane, e->early, clock_ns(), &e->orders);
		if (engine_commit(e))
			e->failed = true;
	}
	e->page->lied = 0;
	e->told = 0;
	if (e->lane.inspector)
		let_go(e, reason);
	if (e->answers)
		munmap((void *)e->answers, sizeof(*e->answers));
	e->inspector = 0;
	e->answers = NULL;
}

static bool stopped(const struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++)
		if (!lane_turned(&e->lane.class[i]))
			return false;
	return true;
}

/* Nothing more will come; what is not understood now is looked at once more. */
static bool explained(const struct engine *e)
{
	for (unsigned i = 0; i < e->lane.classes; i++)
		if (lane_unreconciled(&e->lane.class[i]))
			return false;
	return true;
}

int engine_stop(struct engine *e, enum lane_reason reason)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int error = 0;

	for (unsigned i = 0; i < CHANNEL_ANSWERS / ANSWERS_A_STEP && take_answers(e); i++)
		(void)engine_step(e);
	for (unsigned i = 0; i < e->lane.classes; i++)
		lane_turn(&e->lane.class[i], reason);
	e->lane.leaving = true;
	for (int i = 0; i < STOP_ROUNDS && !e->failed; i++) {
		bool more = engine_step(e);

		(void)engine_look_all(e);
		if (!more && stopped(e) && (explained(e) || i >= EXPLAIN_ROUNDS))
			break;
		if (!more)
			nanosleep(&pause, NULL);
	}
	if (e->failed || engine_commit(e) || !stopped(e))
		return -EBUSY;
	/* Whoever else still has the socket open must not keep the number: a bypass rule passes packets only where
	 * nobody is bound. */
	for (unsigned i = 0; i < e->lane.classes && !error; i++)
		error = spw_queue_unbind(e->queue[i]);
	return error;
}
