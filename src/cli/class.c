/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of --class and --mark into a class's configuration. Pure.
 */
#include "cli/cli.h"

#include "lane/lane.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* V/M, decimal or 0x…; the value must lie within the mask. */
bool parse_mark(const char *text, uint32_t *mark, uint32_t *mask)
{
	char *end;
	unsigned long v, m;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	v = strtoul(text, &end, 0);
	if (*end != '/' || end[1] < '0' || end[1] > '9')
		return false;
	m = strtoul(end + 1, &end, 0);
	if (*end || errno || v > UINT32_MAX || m > UINT32_MAX || !m || (v & ~m))
		return false;
	*mark = (uint32_t)v;
	*mask = (uint32_t)m;
	return true;
}

static bool contains(uint32_t mark, uint32_t mask, uint32_t other, uint32_t other_mask)
{
	return !(other_mask & ~mask) && (mark & other_mask) == other;
}

bool marks_differ(uint32_t mark, uint32_t mask, uint32_t other, uint32_t other_mask)
{
	return !mask || !other_mask ||
	       !(contains(mark, mask, other, other_mask) || contains(other, other_mask, mark, mask));
}

static void decide(struct lane_config *c, enum lane_reason reason, bool shut)
{
	uint8_t bit = (uint8_t)(1u << reason);

	c->decided |= bit;
	c->shut = (uint8_t)((c->shut & ~bit) | (shut ? bit : 0));
}

/* late, down, hung, full, poison, manual: a policy of its own for this reason. */
static bool parse_reason(struct lane_config *c, const char *key, const char *value)
{
	bool shut;

	for (int r = 0; r < REASONS; r++) {
		if (r == REASON_LOAD || strcmp(key, lane_reason_names[r]) != 0)
			continue;
		if (!parse_switch(value, "shut", "spill", &shut))
			return false;
		decide(c, (enum lane_reason)r, shut);
		return true;
	}
	return false;
}

static bool parse_priority(const char *text, int32_t *priority)
{
	uint64_t n;
	bool minus = text[0] == '-';

	if (!parse_number(text + minus, 1000000, &n))
		return false;
	*priority = minus ? -(int32_t)n : (int32_t)n;
	return true;
}

bool parse_deadline(const char *text, uint64_t *ns)
{
	if (!strcmp(text, "off")) {
		*ns = 0;
		return true;
	}
	return parse_duration(text, ns) && *ns >= 1000000 && *ns <= 60000000000ull;
}

static bool parse_pair(struct lane_config *c, uint16_t *queue, bool *named, const char *key, const char *value)
{
	bool never;
	uint64_t n;

	if (!strcmp(key, "queue")) {
		*named = parse_number(value, 65535, &n);
		*queue = (uint16_t)n;
		return *named;
	}
	if (!strcmp(key, "policy"))
		return parse_switch(value, "spill", "shut", &c->fail_open);
	if (!strcmp(key, "deadline"))
		return parse_deadline(value, &c->deadline_ns);
	if (!strcmp(key, "priority"))
		return parse_priority(value, &c->priority);
	if (!strcmp(key, "mark"))
		return parse_mark(value, &c->mark, &c->mark_mask);
	if (!strcmp(key, "load")) {
		if (!parse_switch(value, "never", "shed", &never))
			return false;
		c->never_shed = never;
		return true;
	}
	return parse_reason(c, key, value);
}

/* True where more than one word of text begins with key=. */
static bool given_twice(const char *text, const char *key)
{
	size_t len = strlen(key);
	unsigned count = 0;

	for (const char *word = text; word; word = strchr(word, ',')) {
		word += *word == ',';
		count += !strncmp(word, key, len) && word[len] == '=';
	}
	return count > 1;
}

int parse_class(const char *text, struct lane_config *config, uint16_t *queue)
{
	char copy[512], *rest = copy, *word;
	bool named = false;

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return usage_error("run: --class: longer than %zu characters", sizeof(copy) - 1);
	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		if (!*word)
			return usage_error("run: --class '%s': an empty word; write queue=N,key=value,...", text);
		if (!value)
			return usage_error("run: --class: %s: has no value; write %s=…", word, word);
		*value++ = '\0';
		if (given_twice(text, word))
			return usage_error("run: --class: %s=: given twice; say it once, and name another queue in a "
					   "--class of its own",
					   word);
		if (!parse_pair(config, queue, &named, word, value))
			return usage_error(
			    "run: --class: %s=%s: not understood; queue=N, policy=spill|shut, late=, down=, hung=, "
			    "full=, "
			    "poison=, manual= spill|shut, load=shed|never, deadline=1ms..60s|off, "
			    "priority=-1000000..1000000, mark=V/M",
			    word, value);
	}
	if (!named)
		return usage_error("run: --class: %s: queue=N is missing", text);
	return 0;
}
