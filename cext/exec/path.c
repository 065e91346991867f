/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "space.h"
#include "task.h"

#define PAGE 4096U
#define LINE_SIZE 128

/* Page by page: what is behind its end may not be mapped. */
static int read_text(struct space *space, uint64_t at, char text[PATH_SIZE])
{
	size_t done = 0;

	while (done < PATH_SIZE) {
		size_t here = PAGE - (at + done) % PAGE;

		if (here > PATH_SIZE - done)
			here = PATH_SIZE - done;
		if (space_read(space, text + done, at + done, here))
			return -EFAULT;
		if (memchr(text + done, 0, here))
			return 0;
		done += here;
	}
	return -ENAMETOOLONG;
}

int path_read(struct space *space, uint64_t at, char text[PATH_SIZE], bool is_path)
{
	static const char self[] = "/proc/self/";
	char own[PATH_SIZE];
	int error = read_text(space, at, text);

	if (error || !is_path || strncmp(text, self, sizeof(self) - 1) != 0)
		return error;
	if (snprintf(own, sizeof(own), "/proc/%d/%s", space->pid, text + sizeof(self) - 1) >=
	    PATH_SIZE)
		return -ENAMETOOLONG;
	memcpy(text, own, sizeof(own));
	return 0;
}

/* The line of a thread's status that begins so; empty: there is none. */
static void read_status(pid_t tid, const char *name, char line[LINE_SIZE])
{
	char path[32];
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	line[0] = 0;
	status = fopen(path, "re");
	if (!status)
		return;
	while (fgets(line, LINE_SIZE, status) && strncmp(line, name, strlen(name)) != 0)
		line[0] = 0;
	fclose(status);
}

static bool has_our(pid_t tid, const char *name)
{
	char ours[LINE_SIZE], theirs[LINE_SIZE];

	read_status(getpid(), name, ours);
	read_status(tid, name, theirs);
	return ours[0] && strcmp(ours, theirs) == 0;
}

static bool is_same_root(pid_t tid)
{
	struct stat ours, theirs;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/root", tid);
	return stat("/", &ours) == 0 && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
	       ours.st_ino == theirs.st_ino;
}

int path_check(const struct task *task)
{
	return has_our(task->tid, "Uid:") && has_our(task->tid, "Gid:") &&
			       has_our(task->tid, "CapEff:") && is_same_root(task->tid) ?
		       0 :
		       -EPERM;
}

int path_directory(const struct task *task, int fd)
{
	char path[32];
	int here;

	if (fd != AT_FDCWD)
		return task_fetch(task, fd);
	snprintf(path, sizeof(path), "/proc/%d/cwd", task->tid);
	here = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return here < 0 ? -errno : here;
}

uint32_t path_mask(const struct task *task)
{
	char line[LINE_SIZE];
	unsigned int mask = 0;

	read_status(task->tid, "Umask:", line);
	sscanf(line, "Umask: %o", &mask);
	return mask;
}
