/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages on stderr, for processes that packets wait for: nobody waits for the log.
 */
#ifndef SPW_LOG_LOG_H
#define SPW_LOG_LOG_H

/* Where stderr is a pipe, makes it one that never blocks: for this process and its children, not for others who have
 * the same pipe. */
void log_open(void);

/* "spillway: ...\n" in one write, cut to a thousand bytes. A line that nobody takes at once, or that finds the disk
 * full, is dropped; the next that gets through says how many were. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

#endif
