/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing an inspector: a function that looks at a packet and says what becomes of it.
 *
 * One source serves twice. Compiled as a shared object it is a plug-in of `spillway run --inspect ./my.so`;
 * linked with `pkg-config --libs spillway-main` it is a program, for `spillway run --inspect exec:./my`, or started by
 * hand with the options of `spillway run`. Either way it runs in a process of its own without any privilege, and it may
 * crash or hang without taking the traffic down.
 */
#ifndef SPILLWAY_INSPECTOR_H
#define SPILLWAY_INSPECTOR_H

#include <spillway/packet.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define SPW_INSPECTOR_API 1u /* raised when an old inspector would no longer work */

/*
 * What an inspector offers. It is found under the name `spillway_inspector`; see SPW_INSPECTOR() for the usual way to
 * write it.
 */
struct spw_inspector {
	uint32_t api;     /* SPW_INSPECTOR_API of the header it was compiled with */
	uint32_t size;    /* sizeof(struct spw_inspector), likewise */
	const char *name; /* for people: log lines and status */

	/*
	 * Called for every packet, in the order of arrival. `verdict` comes in as plain SPW_ACCEPT; what it holds at
	 * the return is the answer. Packet and payload are valid until the return. While it runs, the packets behind it
	 * wait.
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
};

/* Defines this program's or plug-in's inspector: SPW_INSPECTOR(.name = "mine", .packet = my_function) */
#define SPW_INSPECTOR(...)                                                                                             \
	extern const struct spw_inspector spillway_inspector;                                                          \
	__attribute__((visibility("default"))) const struct spw_inspector spillway_inspector = {                       \
	    .api = SPW_INSPECTOR_API, .size = sizeof(struct spw_inspector), __VA_ARGS__}

/*
 * Runs an inspector in this process until it is asked to stop: attaches to the lane that the environment variable
 * SPILLWAY_INSPECTOR names, receives, calls, answers. What libspillway_main's main() calls; for a program with a main()
 * of its own. Returns 0 after an orderly stop, or a negative errno: -ENOENT: not started by `spillway run`; -EPROTO:
 * started by a version that this library doesn't understand; -EINVAL: *inspector does not fit this library; else what
 * start() returned.
 */
int spw_inspector_run(const struct spw_inspector *inspector);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
