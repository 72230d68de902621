/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing an inspector: code that looks at packets and says what becomes of each.
 *
 * The usual way is a function (SPW_INSPECTOR() below). One source serves twice: compiled as a shared object it is a
 * plug-in of `spillway run --inspect ./my.so`; linked with `pkg-config --libs spillway-main` it is a program, for
 * `spillway run --inspect exec:./my`, or started by hand with the options of `spillway run`. Either way it runs in a
 * process of its own without any privilege, and it may crash or hang without taking the traffic down.
 *
 * A program with a loop of its own, or that answers packets in another order than they came, pulls them: spw_lane_*().
 *
 * Structs carry their size; new fields are only ever added at the end. Functions return 0 (or a number) or a negative
 * errno. One thread at a time may use a lane, and a process has one lane. What the
 * library needs is fixed when it attaches: 1 MiB for trusted flows, 110 KiB a class, and receive buffers of 68 KiB for
 * each packet that may be in hand, of which the kernel gives only the pages that packets have touched.
 */
#ifndef SPILLWAY_INSPECTOR_H
#define SPILLWAY_INSPECTOR_H

#include <spillway/conntrack.h>
#include <spillway/packet.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/*
 * Raised when the interface grows or changes. 2: gap, copy_range and sandbox; modified packets are mended; trust. An
 * inspector compiled with API 1 still works, in the wide sandbox.
 */
#define SPW_INSPECTOR_API 2u

/* Bits of spw_gap.causes. */
#define SPW_GAP_MISSED (1u << 0) /* packets that never reached the inspector, because its socket was full: `missed` */
#define SPW_GAP_STALE  (1u << 1) /* packets that reached it too late, when they were decided already: `stale` */
#define SPW_GAP_ROUND  (1u << 2) /* packets may have gone round the inspector; how many, it can't know */

/* Packets of a class that were not shown, between the one shown before and the one shown next. */
struct spw_gap {
	size_t size;     /* sizeof(struct spw_gap) as the library knows it */
	uint32_t causes; /* SPW_GAP_* */
	uint16_t queue;  /* queue number of the class */
	uint64_t missed; /* ids skipped: at most so many packets, for the kernel may have thrown away some of them */
	uint64_t stale;
};

/* What the process may still do once it is ready. */
enum spw_sandbox {
	SPW_SANDBOX_NARROW = 0, /* receive, poll, ring its own bell, memory, clock, futex, exit */
	SPW_SANDBOX_WIDE = 1,   /* as it was started: for one that opens files or talks to others while it inspects */
};

/* Counts since the lane was attached. */
struct spw_counts {
	size_t size;       /* sizeof(struct spw_counts) as the caller knows it */
	uint64_t shown;    /* packets that the user's code was shown */
	uint64_t trusted;  /* accepted for their flow's sake, unseen */
	uint64_t poisoned; /* left to the policy, because their flow is said to have killed inspectors */
	uint64_t stale;    /* read too late */
	uint64_t missed;   /* ids skipped */
	uint64_t late;     /* verdicts that came when newer packets had been answered, and were not sent */
	uint64_t refused;  /* verdicts that could not be carried out; in the push interface they became drops */
};

/*
 * What an inspector offers. It is found under the name `spillway_inspector`; see SPW_INSPECTOR() for the usual way to
 * write it. All functions are called by the same thread.
 */
struct spw_inspector {
	uint32_t api;     /* SPW_INSPECTOR_API of the header it was compiled with */
	uint32_t size;    /* sizeof(struct spw_inspector), likewise */
	const char *name; /* for people: log lines and status */

	/*
	 * Called for every packet, in the order of arrival within its class (queue). `verdict` comes in as plain
	 * SPW_ACCEPT; what it holds at the return is the answer. Packet and payload are valid until the return. While
	 * it runs, the packets behind it wait. A verdict that can't be carried out (see the errors of
	 * spw_lane_verdict()) becomes a drop and is counted.
	 */
	void (*packet)(void *self, const struct spw_packet *packet, struct spw_verdict *verdict);

	/*
	 * Optional. Called once before the first packet; *self is handed to every later call. Returns 0, or a negative
	 * errno: then no packet is delivered and the process ends. The last moment to open or map a file and to start a
	 * thread: after it, a system call filter ends the process with SIGSYS for that.
	 */
	int (*start)(void **self);

	/* Optional. Called once after the last packet, when the inspector is asked to leave (not when it is killed). */
	void (*stop)(void *self);

	/* Since API 2. */

	/*
	 * Optional. Called before `packet` where packets of the same class have gone by unseen since the last one:
	 * whoever follows streams has a hole there. The gap is valid until the return.
	 */
	void (*gap)(void *self, const struct spw_gap *gap);

	uint32_t
	    copy_range; /* bytes of each packet that are wanted; 0: all. Fewer cost less; a cut one can't be modified */
	uint32_t sandbox; /* enum spw_sandbox */
};

/* Defines this program's or plug-in's inspector: SPW_INSPECTOR(.name = "mine", .packet = my_function) */
#define SPW_INSPECTOR(...)                                                                                             \
	extern const struct spw_inspector spillway_inspector;                                                          \
	__attribute__((visibility("default"))) const struct spw_inspector spillway_inspector = {                       \
	    .api = SPW_INSPECTOR_API, .size = sizeof(struct spw_inspector), __VA_ARGS__}

/*
 * Runs an inspector in this process until it is asked to stop: attaches to the lane that the environment variable
 * SPILLWAY_INSPECTOR names, receives, calls, answers. What libspillway_main's main() calls; for a program with a main()
 * of its own. Returns 0 after an orderly stop, or a negative errno: those of spw_lane_attach(); -EINVAL: *inspector
 * does not fit this library; else what start() returned.
 */
int spw_inspector_run(const struct spw_inspector *inspector);

/* The counts of the inspector that spw_inspector_run() runs; for use in its functions. -ENOENT: none runs. */
int spw_inspector_counts(struct spw_counts *counts);

/*
 * Pulling packets.
 *
 *     attach, ready, { next, verdict … } until next says -ESHUTDOWN, answer what is in hand, detach
 *
 * Packets stay where they were received, readable, until they are answered. Verdicts may come in any order; the packets
 * of a class leave in the order they came, when all older ones are answered or settled. A verdict is with the engine at
 * once, and holds whatever becomes of this process, as far as 1,023 ids behind the oldest packet that is not answered,
 * for 512 packets; one beyond that waits in the library. A packet whose deadline has passed is settled by its class's
 * policy.
 */
struct spw_lane; /* opaque: this process's end of a lane */

struct spw_lane_config {
	size_t size;         /* sizeof(struct spw_lane_config) as the caller knows it */
	uint32_t copy_range; /* bytes of each packet that are wanted; 0: all */
	uint32_t window;     /* packets in hand at most, 1 to 1,024; 0: 256 */
	uint32_t sandbox;    /* enum spw_sandbox */
};

/* A packet in hand. This struct never grows: it comes in arrays. */
struct spw_event {
	const struct spw_packet *packet; /* until its verdict */
	const struct spw_gap *gap;       /* what was not shown right before it; NULL: nothing. Until its verdict */
	uint64_t handle;                 /* for the verdict; no two packets have the same */
};

/*
 * Attaches to the lane that the environment variable SPILLWAY_INSPECTOR names and allocates all that it needs. config
 * may be NULL: all of it 0. -ENOENT: not started by `spillway run`; -EPROTO: started by a version that this library
 * doesn't understand; -EINVAL: *config does not fit; -ENOMEM; or what mapping the pages failed with.
 */
int spw_lane_attach(struct spw_lane **lane, const struct spw_lane_config *config);

/*
 * Says that packets may come, and puts the narrow sandbox on: nothing can be opened after it. Before it none does, and
 * time is nobody's delay. A negative errno: the sandbox could not be put on.
 */
int spw_lane_ready(struct spw_lane *lane);

/*
 * Sends the verdicts given so far and receives at most `max` packets (at least 1), waiting up to timeout_ms for the
 * first (negative: without end; 0: not at all). The class with the highest priority comes first. Returns their number;
 * 0: the time is up, or nothing can be received before something is answered (as many packets are in hand as the window
 * holds, or so many lie behind an unanswered one); -ESHUTDOWN: nothing will come any more, answer what is in hand and
 * detach; -EINTR: a signal came; or another negative errno.
 */
int spw_lane_next(struct spw_lane *lane, struct spw_event *events, unsigned max, int timeout_ms);

/*
 * Answers a packet in hand: accept, drop, repeat or to another queue; with mark, priority, payload, trust, and what is
 * to be set in its connection. The verdict
 * leaves with spw_lane_next() or spw_lane_flush() at the latest. May wait for the engine's next step where it has not
 * yet taken thousands of answers, or the payload of dozens. Packet and gap are gone after 0 only. -ENOENT: no packet in
 * hand has this handle; -EINVAL: unknown code or bit in `set`, a payload of no or too many bytes, or a size that
 * doesn't fit; -EMSGSIZE: a payload where the packet was cut (spw_packet.payload_len < length); -EAGAIN: a payload
 * while 56 others wait, and older packets are unanswered; -EBADMSG, -EOPNOTSUPP: the payload can't be mended, see
 * spw_packet_repair(); -EOPNOTSUPP also: a connection's mark or labels without `run --conntrack on`; -ESHUTDOWN: the
 * engine takes no more answers.
 */
int spw_lane_verdict(struct spw_lane *lane, uint64_t handle, const struct spw_verdict *verdict);

/* Sends the verdicts given so far: before waiting on anything but spw_lane_next(). */
void spw_lane_flush(struct spw_lane *lane);

/*
 * For a loop of one's own: fills in what to poll now (at most SPW_LANE_POLL_MAX; what may be received changes with what
 * is in hand, so ask before each poll). When one of them is ready, and every 100 ms until the first packet has come,
 * call spw_lane_next(). Returns how many. The descriptors stay the lane's.
 */
#define SPW_LANE_POLL_MAX 10
struct pollfd;
unsigned spw_lane_poll(const struct spw_lane *lane, struct pollfd *fds);

/* Counts since the attachment. counts->size must say how much room there is; no more is written. -EINVAL: none. */
int spw_lane_counts(const struct spw_lane *lane, struct spw_counts *counts);

/* Sends the verdicts given so far, and lets go of everything. Packets unanswered go by policy. NULL: nothing. */
void spw_lane_detach(struct spw_lane *lane);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
