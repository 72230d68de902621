/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Words of the command line into values. Pure.
 */
#include "cli/cli.h"

#include "keeper/keeper.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits at the start of text; NULL where there are none or too many. */
static const char *digits(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return NULL;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno || *value > max ? NULL : end;
}

bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	const char *end = digits(text, max, value);

	return end && !*end;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
	const char *end = digits(text, UINT32_MAX, bytes);

	for (size_t i = 0; end && i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		*bytes <<= units[i].shift;
		return true;
	}
	return false;
}

bool parse_range(const char *text, uint16_t *first, uint16_t *last)
{
	uint64_t a, b;
	const char *end = digits(text, 65535, &a);

	if (!end)
		return false;
	b = a;
	if (*end == '-')
		end = digits(end + 1, 65535, &b);
	if (!end || *end || b < a)
		return false;
	*first = (uint16_t)a;
	*last = (uint16_t)b;
	return true;
}

bool parse_duration(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
	uint64_t n;
	const char *end = digits(text, 1000000000000u, &n);

	for (size_t i = 0; end && i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		*ns = n * units[i].ns;
		return n <= UINT64_C(86400000000000) / units[i].ns; /* a day */
	}
	return false;
}

bool parse_switch(const char *text, const char *yes, const char *no, bool *value)
{
	*value = !strcmp(text, yes);
	return *value || !strcmp(text, no);
}

int usage_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("spillway: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return EXIT_USAGE;
}
