/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Status and audit: known values in the pages, and what becomes of them as JSON and as tables; requests as text.
 */
#include "unit.h"

#include "control/request.h"
#include "control/status.h"

#include <stdlib.h>
#include <string.h>

static struct board board;
static struct engine_page page[2];
static const struct pages pages = {.board = &board, .page = {&page[0], &page[1]}};

/* 2001-09-09T01:46:40Z is the billionth second. */
#define WALL_NS 1000000000000000000

static const struct lane_books some_books = {
    .accepted = 1,
    .dropped = 2,
    .modified = 3,
    .requeued = 4,
    .trusted = 5,
    .spilled = {6, 7, 8, 9, 10, 11, 12},
    .shut = {13, 14, 15, 16, 17, 18, 19},
    .lost = 20,
    .late_answers = 21,
    .bytes_inspected = 22,
};
#define SOME_COLUMNS (1 + 2 + 3 + 4 + 5 + 63 + 112 + 20)

/* Lane 0: queue 0, full of known values; its class 7, open. Lane 3: queue 3, fresh. */
static int fill(void **state)
{
	struct lane_class *c = &page[0].snapshot[1].class[0];
	struct lane_config config = {.length = 1024, .fail_open = true, .gso = true, .deadline_ns = 20000000};

	(void)state;
	board = (struct board){.version = BOARD_VERSION, .keeper_pid = 11, .since_s = 1000000000, .since_ns = 7000000};
	board.lanes = 2;
	board.lane[0] = (struct board_lane){.engine = {.pid = 12, .restarts = 1},
					    .engine_state = BOARD_ENGINE_RUNNING,
					    .inspector = {.pid = 13, .restarts = 2},
					    .inspector_state = INSPECTOR_RUNNING,
					    .filters = 2,
					    .buffer = {33554432, 1000}};
	board.lane[1] = (struct board_lane){
	    .lane = 3, .engine_state = BOARD_ENGINE_LOOPING, .inspector_state = INSPECTOR_LOOPING, .filters = -1};
	memset(page, 0, sizeof(page));
	page[0].commit = 1;
	page[0].classes = page[0].snapshot[1].classes = 2;
	page[0].queue[1] = 7;
	lane_class_init(c, &config, 1500000000);
	c->books = some_books;
	c->held = 30;
	c->settled = SOME_COLUMNS;
	c->ids = SOME_COLUMNS + 30 + 40;
	c->queue_dropped = 5;
	c->books.shut[REASON_FULL] += 5;
	c->user_dropped = 6;
	c->socket_drops = 8;
	c->overtaken = 9;
	config = (struct lane_config){.length = 16, .priority = -2};
	lane_class_init(c + 1, &config, 2000000000);
	c[1].state = STATE_OPEN;
	c[1].reason = REASON_LATE;
	c[1].changes = 3;
	c[1].books.uncounted = true;
	config = (struct lane_config){.length = 60000, .fail_open = true};
	page[1].queue[0] = 3;
	page[1].snapshot[0].classes = 1;
	lane_class_init(&page[1].snapshot[0].class[0], &config, 0);
	return 0;
}

static json_t *status;

static int make(void **state)
{
	fill(state);
	status = status_json(&pages, WALL_NS);
	assert_non_null(status);
	return 0;
}

static int release(void **state)
{
	(void)state;
	json_decref(status);
	return 0;
}

static json_t *queue(size_t lane, size_t class)
{
	return json_array_get(json_object_get(json_array_get(json_object_get(status, "lanes"), lane), "queues"), class);
}

/* The parts of the object that `expected` names are so. */
static void has(const json_t *object, const char *expected)
{
	json_t *all = json_loads(expected, 0, NULL), *value;
	const char *key;

	assert_non_null(all);
	json_object_foreach (all, key, value)
		if (!json_equal(value, json_object_get(object, key)))
			fail_msg("%s is not as in %s", key, expected);
	json_decref(all);
}

static void who_is_there(void **state)
{
	json_t *lanes = json_object_get(status, "lanes");

	(void)state;
	has(status, "{\"version\":1,\"report_only\":false,"
		    "\"keeper\":{\"pid\":11,\"since\":\"2001-09-09T01:46:40.007Z\"}}");
	has(json_array_get(lanes, 0), "{\"lane\":0,\"engine\":{\"pid\":12,\"restarts\":1,\"state\":\"running\"},"
				      "\"inspector\":{\"pid\":13,\"restarts\":2,\"state\":\"running\",\"filters\":2}}");
	has(json_array_get(lanes, 1),
	    "{\"lane\":3,\"engine\":{\"pid\":null,\"restarts\":0,\"state\":\"looping\"},"
	    "\"inspector\":{\"pid\":null,\"restarts\":0,\"state\":\"looping\",\"filters\":null}}");
	assert_int_equal(json_array_size(lanes), 2);
}

static void columns(void **state)
{
	(void)state;
	has(queue(0, 0), "{\"queue\":0,\"class\":\"default\",\"state\":\"inspecting\",\"reason\":null,"
			 "\"since\":\"2001-09-09T01:46:41.500Z\",\"fail_open\":true,\"length\":1024,\"gso\":true,"
			 "\"deadline_us\":20000,\"socket_buffer\":33554432,\"changes\":0,\"priority\":0}");
	has(queue(0, 0),
	    "{\"seen\":285,\"held\":30,\"trusted\":5,\"lost\":20,\"unreconciled\":40,"
	    "\"inspected\":{\"accepted\":1,\"dropped\":2,\"modified\":3,\"requeued\":4},"
	    "\"spilled\":{\"full\":6,\"late\":7,\"down\":8,\"hung\":9,\"poison\":10,\"load\":11,\"manual\":12},"
	    "\"shut\":{\"full\":18,\"late\":14,\"down\":15,\"hung\":16,\"poison\":17,\"load\":18,\"manual\":19}}");
	has(queue(0, 0), "{\"late_answers\":21,\"bytes\":{\"inspected\":22},\"overtaken\":9,\"uncounted\":0,"
			 "\"counter\":null,\"kernel\":{\"queue_dropped\":5,\"user_dropped\":6,\"socket_drops\":8}}");
	assert_true(json_real_value(json_object_get(json_object_get(queue(0, 0), "coverage"), "packets")) ==
		    10.0 / 215);
}

static void what_is_unknown(void **state)
{
	(void)state;
	has(queue(0, 1),
	    "{\"queue\":7,\"class\":\"class-7\",\"state\":\"open\",\"reason\":\"late\",\"fail_open\":false,"
	    "\"since\":\"2001-09-09T01:46:42.000Z\",\"gso\":false,\"deadline_us\":null,\"changes\":3,"
	    "\"priority\":-2,\"uncounted\":null,\"coverage\":{\"packets\":null,\"flows\":null}}");
	has(queue(1, 0), "{\"queue\":3,\"class\":\"default\",\"seen\":0,\"uncounted\":0,\"socket_buffer\":null,"
			 "\"coverage\":{\"packets\":null,\"flows\":null}}");
}

static void a_counter(void **state)
{
	struct lane_class *c = &page[0].snapshot[1].class[0];
	json_t *s;

	(void)state;
	c->counted = true;
	c->beyond = -10;
	c->passed = 15;
	c->books.spilled[REASON_LATE] += 15;
	s = status_json(&pages, WALL_NS);
	has(json_array_get(json_object_get(json_array_get(json_object_get(s, "lanes"), 0), "queues"), 0),
	    "{\"seen\":300,\"counter\":{\"packets\":275,\"before\":-25,\"passed\":15}}");
	json_decref(s);
}

/* Numbers that no healthy page has end nobody. */
/* What the gate goes by now, whatever the engine or a command has in mind. */
static void a_gate(void **state)
{
	struct board_gate *g = &board.lane[0].gate[0];

	(void)state;
	*g = (struct board_gate){.there = 1, .admitted = 5, .share = GATE_ALL};
	page[0].load[0] = (struct load){0};
	page[0].cutoff = 1 << 20;
	status = status_json(&pages, WALL_NS);
	has(json_object_get(queue(0, 0), "gate"),
	    "{\"admitted\":5,\"share\":1.0,\"cutoff\":null,\"level\":\"everything\"}");
	has(queue(0, 1), "{\"gate\":null}");
	json_decref(status);
	g->share = GATE_ALL / 4;
	g->cutoff = 4096;
	status = status_json(&pages, WALL_NS);
	has(json_object_get(queue(0, 0), "gate"), "{\"share\":0.25,\"cutoff\":4096}");
	json_decref(status);
}

static void garbage(void **state)
{
	json_t *s;

	fill(state);
	board.lanes = UINT32_MAX;
	memset(&board.lane, 0xff, sizeof(board.lane));
	memset(&page[0].snapshot[1].class[0].state, 0xff, sizeof(enum lane_state));
	memset(&page[0].snapshot[1].class[0].reason, 0xff, sizeof(enum lane_reason));
	page[0].snapshot[1].class[0].ids = UINT64_MAX;
	page[0].snapshot[1].class[0].since_ns = UINT64_MAX;
	page[0].snapshot[1].classes = CHANNEL_CLASSES;
	s = status_json(&pages, WALL_NS);
	assert_int_equal(json_array_size(json_object_get(s, "lanes")), 2);
	json_decref(s);
	page[0].snapshot[1].classes = UINT32_MAX;
	s = status_json(&pages, WALL_NS);
	assert_non_null(s);
	json_decref(s);
}

static void shows(const json_t *object, void (*table)(const json_t *, FILE *), const char *const *parts)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	table(object, out);
	fclose(out);
	for (; *parts; parts++)
		if (!strstr(text, *parts))
			fail_msg("%s is not in %s", *parts, text);
	free(text);
}

static void tables(void **state)
{
	json_t *empty = json_object();

	(void)state;
	shows(status, status_table,
	      (const char *const[]){
		  "keeper 11 since 2001-09-09T01:46:40.007Z\n",
		  "lane 0: engine 12, running, restarted: 1; inspector 13, running, system call filters: 2, restarted: "
		  "2\n",
		  "lane 3: engine none, looping; inspector none, looping, system call filters: unknown\n",
		  "each engine dies soon", "each inspector dies soon",
		  "    open since 2001-09-09T01:46:42.000Z: late\n", "    spilled, late: 7\n", "    shut, full: 18\n",
		  "unknown", "spillway rules --queue 7 --hook HOOK --apply", "5 dropped at the queue", NULL});
	shows(empty, status_table, (const char *const[]){"QUEUE", NULL});
	shows(empty, audit_table, (const char *const[]){"QUEUE", NULL});
	json_decref(empty);
}

/* One class whose verdicts were these: is it told that packets go round? */
static bool rounds_told(int requeued, int accepted)
{
	json_t *s = json_pack("{s:[{s:[{s:{s:i,s:i}}]}]}", "lanes", "queues", "inspected", "accepted", accepted,
			      "requeued", requeued);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool told;

	status_table(s, out);
	fclose(out);
	told = strstr(text, "go round for ever");
	free(text);
	json_decref(s);
	return told;
}

/* Once or a few times for each packet is what the verdict is for. */
static void a_packet_that_goes_round(void **state)
{
	(void)state;
	assert_true(rounds_told(200000, 0));
	assert_true(rounds_told(200000, 19999));
	assert_false(rounds_told(200000, 20000));
	assert_false(rounds_told(1000, 0));
}

static void the_audit(void **state)
{
	json_t *audit = audit_json(status), *s;

	(void)state;
	assert_true(audit_agrees(audit));
	has(json_array_get(json_object_get(audit, "queues"), 0),
	    "{\"queue\":0,\"class\":\"default\",\"seen\":285,\"sum\":285,\"difference\":0,\"agree\":true,"
	    "\"counter\":null,\"uncounted\":0,\"columns\":{\"held\":30,\"inspected\":10,\"trusted\":5,\"spilled\":63,"
	    "\"shut\":117,\"lost\":20,\"unreconciled\":40}}");
	has(json_array_get(json_object_get(audit, "queues"), 1), "{\"queue\":7,\"agree\":true,\"uncounted\":null}");
	json_decref(audit);
	page[0].snapshot[1].class[0].books.modified--;
	s = status_json(&pages, WALL_NS);
	audit = audit_json(s);
	assert_false(audit_agrees(audit));
	has(json_array_get(json_object_get(audit, "queues"), 0), "{\"difference\":1,\"agree\":false}");
	shows(audit, audit_table,
	      (const char *const[]){"    0           285           284             1\n", "none stands before the queue",
				    "spillway rules --queue 7", NULL});
	json_decref(audit);
	json_decref(s);
}

static void asks(const char *text, struct ask expected)
{
	char sentence[REQUEST_SENTENCE];
	struct ask a;

	assert_int_equal(request_parse(text, strlen(text), &a, sentence), REQUEST_ASK);
	assert_memory_equal(&a, &expected, sizeof(a));
}

static void is_wrong(const char *text, const char *part)
{
	char sentence[REQUEST_SENTENCE];
	struct ask a;

	assert_int_equal(request_parse(text, strlen(text), &a, sentence), REQUEST_WRONG);
	if (!strstr(sentence, part))
		fail_msg("%s is not in %s", part, sentence);
}

#define SET "{\"version\":1,\"request\":\"set\",\"queue\":7"

static void requests(void **state)
{
	(void)state;
	asks(SET ",\"fail_open\":true}", (struct ask){.op = ASK_FAIL_OPEN, .queue = 7, .value = 1});
	asks(SET ",\"fail_open\":false}", (struct ask){.op = ASK_FAIL_OPEN, .queue = 7});
	asks(SET ",\"length\":0}", (struct ask){.op = ASK_LENGTH, .queue = 7});
	asks(SET ",\"length\":4294967295}", (struct ask){.op = ASK_LENGTH, .queue = 7, .value = UINT32_MAX});
	asks(SET ",\"open\":true}", (struct ask){.op = ASK_TURN, .queue = 7, .value = 1});
	asks(SET ",\"open\":false}", (struct ask){.op = ASK_TURN, .queue = 7});
	asks("{\"request\":\"upgrade\",\"version\":1}", (struct ask){.op = ASK_UPGRADE});
	is_wrong("{\"version\":2,\"request\":\"status\"}", "version");
	is_wrong("{\"version\":1,\"request\":\"reboot\"}", "unknown");
	is_wrong("{\"version\":1,\"request\":1}", "unknown");
	is_wrong("{\"version\":1,\"request\":\"status\",\"request\":\"set\"}", "duplicate");
	is_wrong("{\"version\":1,\"request\":\"set\"}", "queue");
	is_wrong("{\"version\":1,\"request\":\"set\",\"queue\":-1,\"length\":1}", "queue");
	is_wrong("{\"version\":1,\"request\":\"set\",\"queue\":65536,\"length\":1}", "queue");
	is_wrong("{\"version\":1,\"request\":\"set\",\"queue\":\"7\",\"length\":1}", "queue");
	is_wrong("{\"version\":1,\"request\":\"set\",\"queue\":7.0,\"length\":1}", "queue");
	is_wrong(SET "}", "nothing");
	is_wrong(SET ",\"length\":1,\"open\":true}", "several");
	is_wrong(SET ",\"length\":4294967296}", "length");
	is_wrong(SET ",\"length\":99999999999999999999}", "too big");
	is_wrong(SET ",\"length\":-1}", "length");
	is_wrong(SET ",\"length\":true}", "length");
	is_wrong(SET ",\"open\":1}", "open");
	is_wrong(SET ",\"fail_open\":null}", "fail_open");
	is_wrong("{\"version\":1,\"request\":\"sta\\u0000tus\"}", "column");
}

static void replies(void **state)
{
	char *line = request_error(4, "a \"b\": c\n");

	(void)state;
	assert_string_equal(line, "{\"version\":1,\"error\":\"a \\\"b\\\": c\\n\",\"exit\":4}\n");
	free(line);
	line = request_error(1, "file \xff: no");
	assert_non_null(strstr(line, "UTF-8"));
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(who_is_there, make, release),
	    cmocka_unit_test_setup_teardown(columns, make, release),
	    cmocka_unit_test_setup_teardown(what_is_unknown, make, release),
	    cmocka_unit_test_setup(a_counter, fill),
	    cmocka_unit_test_setup(a_gate, fill),
	    cmocka_unit_test(garbage),
	    cmocka_unit_test_setup_teardown(tables, make, release),
	    cmocka_unit_test(a_packet_that_goes_round),
	    cmocka_unit_test_setup_teardown(the_audit, make, release),
	    cmocka_unit_test(requests),
	    cmocka_unit_test(replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
