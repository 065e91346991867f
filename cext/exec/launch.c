/* SPDX-License-Identifier: MIT */
/*
 * The child hands us its listener, and waits until we have it: else its first call could come
 * before there is anybody to answer. That exec() went well is told by the pipe's end, which
 * closes by itself then.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "launch.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filter.h"
#include "trial.h"

#define GATEWAY 0
#define CHILD 1

/* What the child says: with a listener and without error, or which step failed. */
struct word {
	enum launch_step step;
	int error;
};

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static int say(int to, const struct word *word, int fd)
{
	union control control = {0};
	struct iovec bytes = {(void *)word, sizeof(*word)};
	struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* False: the other side is gone. */
static bool hear(int from, struct word *word, int *fd)
{
	union control control;
	struct iovec bytes = {word, sizeof(*word)};
	struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t size;

	do {
		size = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	*fd = -1;
	if (size != sizeof(*word))
		return false;
	if (message.msg_controllen >= CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(&control.header), sizeof(*fd));
	return true;
}

static void fail(int to, enum launch_step step, int error)
{
	const struct word word = {step, error};

	say(to, &word, -1);
	_exit(127);
}

static void run_child(int gateway, char *const *command, const sigset_t *mask)
{
	const struct word ready = {LAUNCH_FILTER, 0};
	char go;
	int listener = filter_install(), error;

	if (listener < 0)
		fail(gateway, LAUNCH_FILTER, listener);
	if (say(gateway, &ready, listener) || read(gateway, &go, 1) != 1)
		_exit(127);
	close(listener);
	error = trial_call();
	if (error)
		fail(gateway, LAUNCH_CALL, error);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	fail(gateway, LAUNCH_EXEC, -errno);
}

/* The child's part is over: it runs, or says why not. `its_end` is a descriptor of its own. */
static int conduct(struct launch *launch, int child, int its_end)
{
	struct word word;
	int none, error;

	if (!hear(child, &word, &launch->listener)) {
		launch->step = LAUNCH_FILTER;
		return -ECHILD;
	}
	launch->step = word.step;
	if (word.error)
		return word.error;
	launch->step = LAUNCH_LOOK;
	error = trial_look(launch->pid, its_end);
	if (error)
		return error;
	if (write(child, "", 1) != 1)
		return -errno;
	trial_answer(launch->listener, child);
	if (!hear(child, &word, &none))
		return 0;
	launch->step = word.step;
	return word.error;
}

int launch(struct launch *launch, char *const *command, const sigset_t *mask)
{
	int ends[2], error;

	*launch = (struct launch){.listener = -1, .step = LAUNCH_FORK};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	launch->pid = fork();
	if (launch->pid < 0) {
		error = -errno;
		close(ends[GATEWAY]);
		close(ends[CHILD]);
		return error;
	}
	if (launch->pid == 0) {
		close(ends[GATEWAY]);
		run_child(ends[CHILD], command, mask);
	}
	close(ends[CHILD]);
	error = conduct(launch, ends[GATEWAY], ends[CHILD]);
	close(ends[GATEWAY]);
	if (error) {
		/* Its exit would be a call that waits for our answer. */
		kill(launch->pid, SIGKILL);
		waitpid(launch->pid, NULL, 0);
		if (launch->listener >= 0)
			close(launch->listener);
	}
	return error;
}
