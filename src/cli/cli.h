/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command's verbs, and the words on the command line that they share.
 */
#ifndef SPW_CLI_CLI_H
#define SPW_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

/* Each takes its own argv (argv[0] is the verb) and returns an exit status. */
int run_verb(int argc, char **argv);
int set_verb(int argc, char **argv);
int status_verb(int argc, char **argv);
int audit_verb(int argc, char **argv);
int upgrade_verb(int argc, char **argv);
int lab_verb(int argc, char **argv);
int rules_verb(int argc, char **argv);
int doctor_verb(int argc, char **argv);
int flows_verb(int argc, char **argv);

/* Parsers: true where all of text is a value of this form. */
bool parse_number(const char *text, uint64_t max, uint64_t *value);
bool parse_range(const char *text, uint16_t *first, uint16_t *last); /* N or N-M */
bool parse_duration(const char *text, uint64_t *ns);                 /* 20ms: a unit of ns us ms s is needed */
bool parse_deadline(const char *text, uint64_t *ns);                 /* 1ms to 60s, or off: 0 */
bool parse_size(const char *text, uint64_t *bytes);                  /* 64KiB, 1MiB, 1GiB, or bytes: 512 or 512B */
bool parse_mark(const char *text, uint32_t *mark, uint32_t *mask);   /* VALUE/MASK */
bool parse_switch(const char *text, const char *yes, const char *no, bool *value);

/* Can a connection's mark have either without the other? True also where a mask is 0: that one is not used. */
bool marks_differ(uint32_t mark, uint32_t mask, uint32_t other, uint32_t other_mask);
#define SAME_MARKS                                                                                                     \
	"--connmark-trust, --connmark-spill: who has the one always has the other; give two values, like 0x100/0x300 " \
	"and 0x200/0x300"

/*
 * The words of one --class, 'queue=N,…', over what *config holds already. 0, or an exit status with the error told.
 */
struct lane_config;
int parse_class(const char *text, struct lane_config *config, uint16_t *queue);

/* Says what is wrong with the command line, and returns the exit status for it. */
__attribute__((format(printf, 1, 2))) int usage_error(const char *format, ...);

#endif
