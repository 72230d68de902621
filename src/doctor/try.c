/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules for the probes: see try.h. To be called in a namespace apart only.
 */
#include "doctor/try.h"

#include "rules/command.h"

#include <errno.h>
#include <string.h>

static int run(const struct words *w, char detail[PROBE_DETAIL])
{
	struct command c;
	int err = command_run(w, &c);

	if (err) {
		snprintf(detail, PROBE_DETAIL, "%s: %s", w->at[0], err == -ENOENT ? "not installed" : strerror(-err));
		return err;
	}
	if (c.status) {
		snprintf(detail, PROBE_DETAIL, "%s: %.150s", w->at[0], c.error[0] ? c.error : "failed without a word");
		err = -EOPNOTSUPP;
	}
	command_end(&c);
	return err;
}

int try_command(const char *line, char detail[PROBE_DETAIL])
{
	struct words w;

	words_begin(&w);
	return words_split(&w, line) ? run(&w, detail) : -EINVAL;
}

int try_nft(const char *hook, char detail[PROBE_DETAIL])
{
	struct words w;

	words_begin(&w);
	words_add(&w, "nft");
	words_add(&w,
		  "add table inet t; add chain inet t c { type filter hook %s priority 0; }; "
		  "add rule inet t c meta l4proto udp queue flags bypass to %u",
		  hook, TRY_QUEUE);
	return run(&w, detail);
}

int try_any(const char *chain, const char *hook, char detail[PROBE_DETAIL])
{
	char line[128], first[PROBE_DETAIL];
	int err;

	snprintf(line, sizeof(line), "iptables -w -A %s -p udp -j NFQUEUE --queue-bypass --queue-num %u", chain,
		 TRY_QUEUE);
	err = try_command(line, detail);
	if (!err)
		return 0;
	memcpy(first, detail, sizeof(first));
	if (!try_nft(hook, detail))
		return 0;
	memcpy(detail, first, sizeof(first));
	return err;
}
