/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pinned.h"
#include "space.h"
#include "numbers.h"

#define PIDFD_THREAD ((unsigned int)O_EXCL) /* Linux 6.9 */

pid_t task_process(pid_t tid)
{
	char path[32], line[128];
	pid_t found = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (!found && fgets(line, sizeof(line), status))
		sscanf(line, "Tgid: %d", &found);
	fclose(status);
	return found;
}

/* A thread that does not lead its process has a pidfd from Linux 6.9 on; before, its leader's does. */
static int open_pidfd(pid_t tid, pid_t tgid)
{
	long fd = syscall(SYS_pidfd_open, tid, tid == tgid ? 0U : PIDFD_THREAD);

	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_pidfd_open, tgid, 0U);
	return (int)fd;
}

/* Names of descriptors are looked up from there: the rest of the path takes longer than they do. */
static int open_files(pid_t tid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd", tid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool has_ended(const struct task *task)
{
	return syscall(SYS_pidfd_send_signal, task->pidfd, 0, NULL, 0U) && errno == ESRCH;
}

static struct space *space_of(struct tasks *tasks, pid_t pid, pid_t tid)
{
	struct space *space = tasks->spaces;

	while (space && !(space->pid == pid && space_is_alive(space)))
		space = space->next;
	if (space)
		return space;
	space = space_open(pid, tid);
	if (space) {
		space->next = tasks->spaces;
		tasks->spaces = space;
	}
	return space;
}

static void discard(struct task *task)
{
	if (task->pidfd >= 0)
		close(task->pidfd);
	if (task->files >= 0)
		close(task->files);
	free(task);
}

static void forget(struct task **link)
{
	struct task *task = *link;

	*link = task->next;
	discard(task);
}

void tasks_reap(struct tasks *tasks)
{
	struct task **link = &tasks->first;

	while (*link) {
		if (has_ended(*link))
			forget(link);
		else
			link = &(*link)->next;
	}
	for (struct space *space = tasks->spaces; space; space = space->next) {
		if (!space_is_alive(space))
			space_bury(space);
	}
}

void tasks_free(struct tasks *tasks)
{
	while (tasks->first)
		forget(&tasks->first);
	while (tasks->spaces) {
		struct space *space = tasks->spaces;

		tasks->spaces = space->next;
		pinned_free(space);
		space_close(space);
	}
}

void tasks_forget_ring(struct tasks *tasks, const struct ring *ring)
{
	for (struct task *task = tasks->first; task; task = task->next) {
		for (int i = 0; i < RING_FDS_MAX; i++) {
			if (task->registered[i] == ring)
				task->registered[i] = NULL;
		}
	}
}

static struct task *add(struct tasks *tasks, pid_t tid)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return NULL;
	task->tid = tid;
	task->tgid = task_process(tid);
	task->pidfd = open_pidfd(tid, task->tgid);
	task->files = open_files(tid);
	if (task->pidfd < 0 || task->files < 0) {
		discard(task);
		return NULL;
	}
	task->next = tasks->first;
	tasks->first = task;
	return task;
}

struct task *tasks_find(struct tasks *tasks, pid_t tid)
{
	struct task **link = &tasks->first;
	struct task *task;

	while (*link && (*link)->tid != tid)
		link = &(*link)->next;
	if (*link && has_ended(*link))
		forget(link);
	else if (*link && (*link)->space && space_was_alive((*link)->space))
		return *link;
	task = *link && (*link)->tid == tid ? *link : add(tasks, tid);
	if (task) {
		/* What exec() made of it has no rings of its own any more. */
		memset(task->registered, 0, sizeof(task->registered));
		task->space = space_of(tasks, task->tgid, task->tid);
	}
	return task && task->space ? task : NULL;
}

struct task *tasks_in(const struct tasks *tasks, const struct space *space)
{
	struct task *task = tasks->first;

	while (task && (task->space != space || has_ended(task)))
		task = task->next;
	return task;
}

int task_fetch(const struct task *task, int fd)
{
	long copy = syscall(SYS_pidfd_getfd, task->pidfd, fd, 0U);

	return copy < 0 ? -errno : (int)copy;
}

bool task_stat(const struct task *task, int fd, struct stat *status)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", fd);
	return fstatat(task->files, name, status, 0) == 0;
}

static bool has_descriptor(const struct task *task, unsigned int number)
{
	struct stat status;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/fd/%u", task->tid, number);
	return lstat(path, &status) == 0;
}

/*
 * The size of the folder is the number of descriptors from Linux 6.2 on, and 0 before. As many
 * as there may be are looked at one by one: some may have numbers that are not free for others.
 */
bool task_has_room(const struct task *task)
{
	struct rlimit limit;
	struct stat status;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd", task->tid);
	if (prlimit(task->tgid, RLIMIT_NOFILE, NULL, &limit) || stat(path, &status) ||
	    (rlim_t)status.st_size < limit.rlim_cur)
		return true;
	for (unsigned int number = 0; number < limit.rlim_cur; number++) {
		if (!has_descriptor(task, number))
			return true;
	}
	return false;
}
