/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking a running spillway.
 */
#ifndef SPW_CONTROL_CLIENT_H
#define SPW_CONTROL_CLIENT_H

#include <jansson.h>

/*
 * Sends a request to the control socket at path and waits for the reply, at most ten seconds. Takes over the reference
 * to request. 0: *reply is the caller's. Else an exit status, and what is wrong was told on stderr.
 */
int client_ask(const char *path, json_t *request, json_t **reply);

#endif
