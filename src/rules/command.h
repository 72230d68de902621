/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a firewall's command, without a shell, to its end. Knows nothing of what it does.
 */
#ifndef SPW_RULES_COMMAND_H
#define SPW_RULES_COMMAND_H

#include "rules/words.h"

struct command {
	int status;      /* its exit status; 128 and more: killed by a signal */
	FILE *out;       /* what it wrote to standard output, to be read from the start */
	char error[256]; /* the line of its standard error that tells most; "": it wrote none */
};

/*
 * Runs it and waits. 0: it ran, whatever its status, and command_end() has to be called; else a negative errno, -ENOENT
 * where there is no such program (in PATH, /usr/sbin and /sbin).
 */
int command_run(const struct words *w, struct command *c);
void command_end(struct command *c);

#endif
