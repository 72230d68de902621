/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control process with a keeper that the test plays: the protocol, and clients that mean no good.
 */
#include "unit.h"

#include "fake_keeper.h"

#include "cli/cli.h"

#include <jansson.h>

#define STATUS   "{\"version\":1,\"request\":\"status\"}\n"
#define FAIL_OFF "{\"version\":1,\"request\":\"set\",\"queue\":10,\"fail_open\":false}\n"
#define DONE     "{\"version\":1,\"done\":true}\n"

static struct fake f;

static int start(void **state)
{
	(void)state;
	fake_start(&f, 0, geteuid());
	return 0;
}

static int stop(void **state)
{
	(void)state;
	return fake_stop(&f);
}

static void status_is_served(void)
{
	json_t *status = json_loads(fake_hear(fake_say(&f, STATUS)), 0, NULL);

	assert_int_equal(json_integer_value(json_object_get(json_object_get(status, "keeper"), "pid")), 4711);
	assert_int_equal(json_array_size(json_object_get(status, "lanes")), 2);
	json_decref(status);
}

static void refused(const char *bytes, size_t len, const char *part)
{
	int fd = fake_send(&f, bytes, len);
	json_t *reply;

	shutdown(fd, SHUT_WR);
	reply = json_loads(fake_hear(fd), 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 2);
	assert_non_null(strstr(json_string_value(json_object_get(reply, "error")), part));
	json_decref(reply);
}

static void logged(const char *line)
{
	char text[1024];
	ssize_t n = read(f.log, text, sizeof(text) - 1);

	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, line);
}

static void a_change(void **state)
{
	int fd = fake_say(&f, FAIL_OFF);
	struct ask a = fake_asked(&f);

	(void)state;
	assert_int_equal(a.op, ASK_FAIL_OPEN);
	assert_int_equal(a.queue, 10);
	assert_int_equal(a.value, 0);
	fake_reply(&f, a.number, 0, "");
	assert_string_equal(fake_hear(fd), DONE);
	logged("spillway: queue 10: fail-open off (control socket)\n");
}

static void a_refusal(void **state)
{
	int fd = fake_say(&f, FAIL_OFF);

	(void)state;
	fake_reply(&f, fake_asked(&f).number, 4, "queue 10: no flag; take another kernel");
	assert_string_equal(fake_hear(fd),
			    "{\"version\":1,\"error\":\"queue 10: no flag; take another kernel\",\"exit\":4}\n");
}

static void replies_swapped(void **state)
{
	int upgrade = fake_say(&f, "{\"version\":1,\"request\":\"upgrade\"}\n");
	struct ask first = fake_asked(&f), second;
	int set = fake_say(&f, "{\"version\":1,\"request\":\"set\",\"queue\":0,\"length\":4294967295}\n");

	(void)state;
	second = fake_asked(&f);
	assert_int_equal(first.op, ASK_UPGRADE);
	assert_int_equal(second.value, UINT32_MAX);
	assert_int_not_equal(first.number, second.number);
	status_is_served();
	fake_reply(&f, second.number + 1000, 3, "nobody's");
	fake_reply(&f, second.number, 0, "");
	assert_string_equal(fake_hear(set), DONE);
	fake_reply(&f, second.number, 3, "twice");
	status_is_served();
	fake_reply(&f, first.number, 1, "the first one's");
	assert_non_null(strstr(fake_hear(upgrade), "the first one's"));
}

/* A keeper that does not listen for a while gets all that was asked, later. */
static void keeper_busy(void **state)
{
	int fd[40];

	(void)state;
	for (int i = 0; i < 40; i++)
		fd[i] = fake_say(&f, FAIL_OFF);
	status_is_served();
	for (int i = 0; i < 40; i++)
		fake_reply(&f, fake_asked(&f).number, 0, "");
	for (int i = 0; i < 40; i++)
		assert_string_equal(fake_hear(fd[i]), DONE);
}

/* The keeper asks whether it is there, amid other things. */
static void there(void **state)
{
	int fd = fake_say(&f, FAIL_OFF);
	struct ask a = fake_asked(&f), b;

	(void)state;
	for (int i = 0; i < 3; i++) {
		fake_reply(&f, ASK_REPLY_THERE, 0, "");
		b = fake_asked(&f);
		assert_int_equal(b.op, ASK_NOTHING);
	}
	assert_int_equal(a.op, ASK_FAIL_OPEN);
	fake_reply(&f, a.number, 0, "");
	assert_string_equal(fake_hear(fd), DONE);
}

static void client_leaves(void **state)
{
	struct ask a;

	(void)state;
	close(fake_say(&f, "{\"version\":1,\"request\":\"set\",\"queue\":1,\"open\":true}\n"));
	a = fake_asked(&f);
	assert_int_equal(a.op, ASK_TURN);
	fake_reply(&f, a.number, 0, "");
	status_is_served();
	logged("spillway: queue 1: open by hand (control socket)\n");
}

static void keeper_gone(void **state)
{
	int fd = fake_say(&f, FAIL_OFF);

	(void)state;
	fake_asked(&f);
	assert_int_equal(fake_stop(&f), 0);
	assert_non_null(strstr(fake_hear(fd), "has ended"));
	fake_start(&f, 0, geteuid());
}

static void nonsense(void **state)
{
	static const char huge[8192] = {[0 ... 8191] = 'x'};
	static char deep[4000];

	(void)state;
	memset(deep, '[', sizeof(deep));
	refused("\n", 1, "column");
	refused("{}\n", 3, "version");
	refused("[]\n", 3, "not an object");
	refused("\0\n", 2, "column");
	refused("{\"version\":1,\"request\":\"sta\0tus\"}\n", 34, "column");
	refused("{\"version\":1,\"request\":\"\xff\xfe\"}\n", 29, "0xff");
	refused("\xff\xfe\n", 3, "column");
	refused("{\"version\":1", 12, "column");
	refused(deep, sizeof(deep), "column");
	refused(huge, 4096, "4096");
	refused(huge, sizeof(huge), "4096");
	status_is_served();
}

static void half_close(void **state)
{
	int fd = fake_send(&f, STATUS, strlen(STATUS) - 1);

	(void)state;
	shutdown(fd, SHUT_WR);
	assert_non_null(strstr(fake_hear(fd), "\"lanes\""));
	fd = fake_say(&f, FAIL_OFF);
	shutdown(fd, SHUT_WR);
	fake_reply(&f, fake_asked(&f).number, 0, "");
	assert_string_equal(fake_hear(fd), DONE);
}

/* What stands behind the line is not looked at, and does not cost the reply. */
static void two_lines(void **state)
{
	(void)state;
	assert_string_equal(strstr(fake_hear(fake_say(&f, "nonsense\n" STATUS)), "\"exit\":2"), "\"exit\":2}\n");
	assert_non_null(strstr(fake_hear(fake_say(&f, STATUS FAIL_OFF)), "\"lanes\""));
	status_is_served();
}

static void thousand_clients(void **state)
{
	static int fd[1000];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		fd[i] = fake_say(&f, "{");
		if (i % 100 == 0)
			status_is_served();
	}
	status_is_served();
	for (int i = 0; i < 1000; i++)
		close(fd[i]);
	status_is_served();
}

/* With fewer descriptors than places, those that say nothing give theirs back. */
static void no_descriptors(void **state)
{
	int fd[40];

	(void)state;
	fake_start(&f, 140, geteuid());
	for (int i = 0; i < 40; i++)
		fd[i] = fake_say(&f, "{");
	status_is_served();
	for (int i = 0; i < 40; i++)
		close(fd[i]);
	status_is_served();
	assert_int_equal(fake_stop(&f), 0);
}

static const char *heard_as(uid_t uid)
{
	int fd;

	assert_int_equal(seteuid(uid), 0);
	fd = fake_say(&f, STATUS);
	assert_int_equal(seteuid(getuid()), 0);
	return fake_hear(fd);
}

static void flood_as(uid_t uid, int *fd, int count)
{
	assert_int_equal(seteuid(uid), 0);
	for (int i = 0; i < count; i++)
		fd[i] = fake_connect(&f);
	assert_int_equal(seteuid(getuid()), 0);
}

static void other_users(void **state)
{
	int fd[400], root;

	(void)state;
	if (getuid() != 0)
		skip();
	fake_start(&f, 0, 1234);
	assert_int_equal(chmod(f.directory, 0755), 0);
	assert_int_equal(chmod(f.path, 0666), 0);
	assert_string_equal(heard_as(4321), "");
	assert_non_null(strstr(heard_as(1234), "lanes"));
	root = fake_connect(&f);
	flood_as(1234, fd, 200);
	usleep(200000); /* from now on they may be pushed out */
	flood_as(1234, fd + 200, 200);
	status_is_served();
	assert_int_equal(send(root, STATUS, strlen(STATUS), MSG_NOSIGNAL), (ssize_t)strlen(STATUS));
	assert_non_null(strstr(fake_hear(root), "lanes"));
	for (int i = 0; i < 400; i++)
		close(fd[i]);
	assert_int_equal(fake_stop(&f), 0);
}

/* Whoever is too slow is disconnected; whoever waits too long is told. */
static void too_slow(void **state)
{
	int silent = fake_connect(&f), asking = fake_say(&f, FAIL_OFF), slow = fake_connect(&f);
	struct ask a = fake_asked(&f);

	(void)state;
	for (size_t i = 0; i < 60 && send(slow, STATUS + i, 1, MSG_NOSIGNAL) == 1; i++)
		usleep(200000);
	assert_string_equal(fake_hear(slow), "");
	assert_string_equal(fake_hear(silent), "");
	status_is_served();
	assert_non_null(strstr(fake_hear(asking), "in time"));
	fake_reply(&f, a.number, 0, "");
	status_is_served();
}

static pid_t start_verb(int (*verb)(int, char **), const char *const *words)
{
	char *argv[8] = {NULL};
	int argc = 0;
	pid_t pid;

	while (words[argc])
		argc++;
	memcpy(argv, words, (size_t)argc * sizeof(*argv));
	fflush(NULL);
	pid = fork();
	if (pid)
		return pid;
	fake_place(open("/dev/null", O_WRONLY), STDOUT_FILENO);
	fake_place(open("/dev/null", O_WRONLY), STDERR_FILENO);
	exit(verb(argc, argv));
}

static int ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

static void verb_asks(int (*verb)(int, char **), const char *const *words, struct ask expected)
{
	pid_t pid = start_verb(verb, words);
	struct ask a = fake_asked(&f);

	assert_int_equal(a.op, expected.op);
	assert_int_equal(a.queue, expected.queue);
	assert_int_equal(a.value, expected.value);
	fake_reply(&f, a.number, 0, "");
	assert_int_equal(ended(pid), 0);
	pid = start_verb(verb, words);
	fake_reply(&f, fake_asked(&f).number, 4, "x");
	assert_int_equal(ended(pid), 4);
}

#define SET(...)  ((const char *const[]){"set", "--control", f.path, "--queue", __VA_ARGS__, NULL})
#define ASK(verb) ((const char *const[]){verb, "--control", f.path, NULL})

static void verbs(void **state)
{
	(void)state;
	verb_asks(set_verb, SET("10", "fail-open", "on"), (struct ask){.op = ASK_FAIL_OPEN, .queue = 10, .value = 1});
	verb_asks(set_verb, SET("65535", "length", "16"), (struct ask){.op = ASK_LENGTH, .queue = 65535, .value = 16});
	verb_asks(set_verb, SET("0", "open"), (struct ask){.op = ASK_TURN, .value = 1});
	verb_asks(set_verb, SET("0", "inspect"), (struct ask){.op = ASK_TURN});
	verb_asks(upgrade_verb, ASK("upgrade"), (struct ask){.op = ASK_UPGRADE});
	assert_int_equal(ended(start_verb(set_verb, SET("0", "open", "wide"))), 2);
	assert_int_equal(ended(start_verb(set_verb, SET("0", "shut"))), 2);
	assert_int_equal(ended(start_verb(status_verb, ASK("status"))), 0);
	assert_int_equal(ended(start_verb(audit_verb, ASK("audit"))), 0);
	f.page[1]->snapshot[0].class[0].books.lost = 1;
	assert_int_equal(ended(start_verb(audit_verb, ASK("audit"))), 1);
}

static void the_name(void **state)
{
	char stale[96], file[96], longer[200];
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(stat(f.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(control_listen(f.path), -EADDRINUSE);
	snprintf(stale, sizeof(stale), "%s/stale", f.directory);
	close(control_listen(stale));
	fd = control_listen(stale);
	assert_true(fd >= 0);
	close(fd);
	control_unlist(stale);
	snprintf(file, sizeof(file), "%s/file", f.directory);
	fd = open(file, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(control_listen(file), -ENOTSOCK);
	unlink(file);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(control_listen(longer), -ENAMETOOLONG);
	status_is_served();
}

/* Pages of another layout are not looked into. */
static void other_layout(void **state)
{
	int status;

	(void)state;
	fake_start(&f, 0, geteuid());
	fake_stop(&f);
	fake_pages(&f);
	f.page[1]->version++;
	f.listener = f.keeper = f.log = open("/dev/null", O_RDWR);
	fflush(NULL);
	f.control = fork();
	if (!f.control)
		fake_child(&f, f.keeper, f.log, 0);
	assert_int_equal(waitpid(f.control, &status, 0), f.control);
	assert_int_equal(WEXITSTATUS(status), 1);
	close(f.listener);
	fake_unmap(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_change, start, stop),
	    cmocka_unit_test_setup_teardown(a_refusal, start, stop),
	    cmocka_unit_test_setup_teardown(replies_swapped, start, stop),
	    cmocka_unit_test_setup_teardown(keeper_busy, start, stop),
	    cmocka_unit_test_setup_teardown(there, start, stop),
	    cmocka_unit_test_setup_teardown(client_leaves, start, stop),
	    cmocka_unit_test_setup_teardown(keeper_gone, start, stop),
	    cmocka_unit_test_setup_teardown(nonsense, start, stop),
	    cmocka_unit_test_setup_teardown(half_close, start, stop),
	    cmocka_unit_test_setup_teardown(two_lines, start, stop),
	    cmocka_unit_test_setup_teardown(thousand_clients, start, stop),
	    cmocka_unit_test(no_descriptors),
	    cmocka_unit_test(other_users),
	    cmocka_unit_test_setup_teardown(too_slow, start, stop),
	    cmocka_unit_test_setup_teardown(verbs, start, stop),
	    cmocka_unit_test_setup_teardown(the_name, start, stop),
	    cmocka_unit_test(other_layout),
	};
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max < 2048 ? l.rlim_max : 2048;
	setrlimit(RLIMIT_NOFILE, &l);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
