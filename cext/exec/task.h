/* SPDX-License-Identifier: MIT */
/*
 * Threads of the program that have called us. What is kept of one goes when it ends: its
 * number may then be another one's.
 */
#ifndef EXEC_TASK_H
#define EXEC_TASK_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#define RING_FDS_MAX 16

struct ring;
struct space;

struct task {
	struct task *next;
	pid_t tid, tgid;
	int pidfd;
	int files; /* its /proc/TID/fd */
	struct space *space; /* of its process; as we last saw it */
	struct ring *registered[RING_FDS_MAX]; /* ring descriptors by number of its own */
};

struct tasks {
	struct task *first;
	struct space *spaces; /* of all processes, those that are gone too: queues may need them */
};

/* The thread, which waits for an answer. NULL, and errno says why it cannot be looked at. */
struct task *tasks_find(struct tasks *tasks, pid_t tid);
/* Any thread of the process whose memory it is. NULL: we know none. */
struct task *tasks_in(const struct tasks *tasks, const struct space *space);
/* Forget those that have ended. */
void tasks_reap(struct tasks *tasks);
void tasks_free(struct tasks *tasks);
/* A ring is closed: nobody has it any more. */
void tasks_forget_ring(struct tasks *tasks, const struct ring *ring);

/* The process that the thread belongs to; 0 if it is gone. */
pid_t task_process(pid_t tid);
/* A copy of its descriptor in this process, or -errno. */
int task_fetch(const struct task *task, int fd);
/* What file its descriptor is of, without opening it. False: there is none. */
bool task_stat(const struct task *task, int fd, struct stat *status);
/* Could it have one more? Where that is not known it could. */
bool task_has_room(const struct task *task);

#endif /* EXEC_TASK_H */
