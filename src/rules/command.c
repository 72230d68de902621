/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running a firewall's command: see command.h.
 */
#include "rules/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the command's output goes: a memory file, so that nothing has to be read while it runs. */
static FILE *output_file(void)
{
	const int fd = memfd_create("output", MFD_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

static void execute(const struct words *w)
{
	char path[64];

	setenv("LC_ALL", "C", 1);
	execvp(w->at[0], w->at);
	/* An ordinary user's PATH lacks where they are. */
	for (unsigned i = 0; errno == ENOENT && i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", i ? "/sbin" : "/usr/sbin", w->at[0]);
		execv(path, w->at);
	}
}

/* In the child: tells the parent through `failed` why there is no program, if so. */
static void run_child(const struct words *w, int out, int err, int failed)
{
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int error;

	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    dup2(err, STDERR_FILENO) >= 0)
		execute(w);
	error = errno;
	_exit(write(failed, &error, sizeof(error)) == sizeof(error) ? 126 : 127);
}

/* Warnings are passed over, but for those that name what the kernel lacks. */
static bool telling(const char *line)
{
	if (strstr(line, "missing kernel module"))
		return true;
	return *line && *line != '#' && strncmp(line, "Warning", 7) != 0;
}

/* The first telling line, without the program's name and "Error" in front. */
static void take_error(FILE *err, const char *program, char *error, size_t size)
{
	char *line = NULL;
	size_t room = 0;

	error[0] = '\0';
	while (!error[0] && getline(&line, &room, err) > 0) {
		const char *text = line;

		line[strcspn(line, "\n")] = '\0';
		if (!telling(line))
			continue;
		if (!strncmp(text, program, strlen(program)) && strstr(text, ": "))
			text = strstr(text, ": ") + 2;
		if (!strncmp(text, "Error: ", 7))
			text += 7;
		snprintf(error, size, "%s", text + strspn(text, " "));
	}
	free(line);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Its exit status, or a negative errno. */
static int run(const struct words *w, int out, int err)
{
	int failed[2], error = 0, status;
	pid_t pid;

	if (pipe2(failed, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (!pid)
		run_child(w, out, err, failed[1]);
	if (pid < 0)
		error = errno;
	close(failed[1]);
	/* End of file: the program runs. */
	if (pid > 0 && read(failed[0], &error, sizeof(error)) < 0)
		error = errno;
	close(failed[0]);
	status = pid > 0 ? wait_for(pid) : 0;
	return error ? -error : status;
}

int command_run(const struct words *w, struct command *c)
{
	FILE *out = output_file(), *err = output_file();
	const int status = out && err ? run(w, fileno(out), fileno(err)) : -ENOMEM;

	*c = (struct command){.status = status, .out = out};
	if (status >= 0) {
		rewind(out);
		rewind(err);
		take_error(err, w->at[0], c->error, sizeof(c->error));
	} else if (out) {
		command_end(c);
	}
	if (err)
		fclose(err);
	return status < 0 ? status : 0;
}

void command_end(struct command *c)
{
	fclose(c->out);
	c->out = NULL;
}
