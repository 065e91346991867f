/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "trial.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "notify.h"
#include "numbers.h"

int trial_call(void)
{
	static const long calls[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (syscall(calls[i], 0, 0, 0, 0, 0, 0))
			return -errno;
	}
	return 0;
}

/*
 * The child's end is looked at last: what the program calls comes after it was closed, and is
 * not ours to answer yet.
 */
void trial_answer(int listener, int child)
{
	struct pollfd ready[] = {{listener, POLLIN, 0}, {child, POLLIN, 0}};
	struct call call;

	while (poll(ready, 2, -1) > 0 && !ready[1].revents) {
		if (!notify_receive(listener, &call))
			return;
		notify_answer(listener, &call, 0);
	}
}

static int look_at_files(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return access(path, R_OK) ? -errno : 0;
}

static int look_at_memory(pid_t pid)
{
	static char byte; /* where ours is the child's is */
	char copy = 0;
	const struct iovec ours = {&copy, 1}, theirs = {&byte, 1};

	if (process_vm_readv(pid, &ours, 1, &theirs, 1, 0) != 1 ||
	    process_vm_writev(pid, &ours, 1, &theirs, 1, 0) != 1)
		return -errno;
	return 0;
}

static int look_at_descriptor(pid_t pid, int fd)
{
	long pidfd = syscall(SYS_pidfd_open, pid, 0U), copy;
	int error = 0;

	if (pidfd < 0)
		return -errno;
	copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0U);
	if (copy < 0)
		error = -errno;
	else
		close((int)copy);
	close((int)pidfd);
	return error;
}

int trial_look(pid_t pid, int fd)
{
	int error = look_at_files(pid);

	if (!error)
		error = look_at_memory(pid);
	return error ? error : look_at_descriptor(pid, fd);
}
