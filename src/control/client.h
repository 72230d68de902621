/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking a running spillway.
 */
#ifndef SPW_CONTROL_CLIENT_H
#define SPW_CONTROL_CLIENT_H

#include <jansson.h>

/* Longer than the control process lets a request wait for the keeper: so it is that process that says why. */
#define CLIENT_SECONDS         15
#define CLIENT_UPGRADE_SECONDS 65

/*
 * Sends a request to the control socket at path and waits for the reply, at most so many seconds. Takes over the
 * reference to request. 0: *reply is the caller's. Else an exit status, and what is wrong was told on stderr.
 */
int client_ask(const char *path, json_t *request, unsigned seconds, json_t **reply);

/* The same for the status, which is asked for again where the process that had the request was replaced meanwhile. */
int client_status(const char *path, json_t **reply);

#endif
