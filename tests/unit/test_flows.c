/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the verb flows shows a flow.
 */
#include "unit.h"

#include "cli/flows.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000000)

static struct flow_shown udp4(void)
{
	struct flow_shown f = {
	    .queue = 7,
	    .key = {.port = {htons(53), htons(40000)}, .vlan = 12, .protocol = IPPROTO_UDP},
	    .flow = {.since_ns = 5 * S,
		     .last_ns = 9 * S,
		     .queued = 3,
		     .queued_bytes = 300,
		     .passed = 4,
		     .passed_bytes = UINT64_C(5000000000),
		     .state = GATE_FLOW_SPILLED,
		     .reason = REASON_LOAD},
	    .answered = true,
	};

	f.key.address[0][1] = gate_key_v4(htonl(0xc0000201));
	f.key.address[1][1] = gate_key_v4(htonl(0xc0000202));
	return f;
}

static void json_is(const struct flow_shown *f, uint64_t now, const char *want)
{
	json_t *object = flow_json(f, now);
	char *text;

	assert_non_null(object);
	text = json_dumps(object, JSON_COMPACT);
	assert_string_equal(text, want);
	free(text);
	json_decref(object);
}

static void line_has(const struct flow_shown *f, uint64_t now, const char *const *words)
{
	char *text = NULL, *rest, *word;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	flow_line(f, now, out);
	fclose(out);
	rest = text;
	for (; *words; words++) {
		while ((word = strsep(&rest, " \n")) && !*word)
			;
		assert_non_null(word);
		assert_string_equal(word, *words);
	}
	free(text);
}

static void of_ipv4(void **state)
{
	struct flow_shown f = udp4();

	(void)state;
	json_is(
	    &f, 10 * S,
	    "{\"queue\":7,\"protocol\":\"udp\",\"vlan\":12,\"ends\":[{\"address\":\"192.0.2.1\",\"port\":53},"
	    "{\"address\":\"192.0.2.2\",\"port\":40000}],\"state\":\"spilled\",\"reason\":\"load\",\"pending\":null,"
	    "\"since_ms\":5000,\"last_ms\":1000,\"seen\":{\"packets\":7,\"bytes\":5000000300},"
	    "\"queued\":{\"packets\":3,\"bytes\":300},\"not_queued\":{\"packets\":4,\"bytes\":5000000000},"
	    "\"answered\":true}");
	line_has(&f, 10 * S,
		 (const char *[]){"7", "udp", "192.0.2.1:53", "192.0.2.2:40000", "spilled", "load", "5.0s", "1.0s", "7",
				  "5000000300", "3", "4", "yes", NULL});
}

/* No ports, a number for a protocol, no reason, a change that waits; a clock that the program read later. */
static void of_ipv6(void **state)
{
	struct flow_shown f = {.key = {.protocol = 50}, .flow = {.since_ns = 2 * S, .pending = GATE_FLOW_TRUSTED}};

	(void)state;
	inet_pton(AF_INET6, "2001:db8::1", f.key.address[0]);
	inet_pton(AF_INET6, "2001:db8::2", f.key.address[1]);
	json_is(
	    &f, S,
	    "{\"queue\":0,\"protocol\":\"50\",\"vlan\":0,\"ends\":[{\"address\":\"2001:db8::1\",\"port\":0},"
	    "{\"address\":\"2001:db8::2\",\"port\":0}],\"state\":\"inspect\",\"reason\":null,\"pending\":\"trusted\","
	    "\"since_ms\":0,\"last_ms\":1000,\"seen\":{\"packets\":0,\"bytes\":0},\"queued\":{\"packets\":0,"
	    "\"bytes\":0},\"not_queued\":{\"packets\":0,\"bytes\":0},\"answered\":false}");
	line_has(&f, S,
		 (const char *[]){"0", "50", "2001:db8::1", "2001:db8::2", "inspect", "-", "0.0s", "1.0s", NULL});
	f.key.port[1] = htons(443);
	f.key.protocol = IPPROTO_TCP;
	line_has(&f, S, (const char *[]){"0", "tcp", "[2001:db8::1]:0", "[2001:db8::2]:443", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(of_ipv4),
	    cmocka_unit_test(of_ipv6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
