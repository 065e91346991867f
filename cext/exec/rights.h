/* SPDX-License-Identifier: MIT */
/* Descriptors that are passed in a message's control data (SCM_RIGHTS). */
#ifndef EXEC_RIGHTS_H
#define EXEC_RIGHTS_H

#include <sys/socket.h>

#include "kernel.h"

#define RIGHTS_MAX 253U /* of one message */

struct rights {
	int fds[RIGHTS_MAX];
	unsigned int count;
};

/* What is to be sent names the task's: ours take their places, until they are dropped. 0 or -errno. */
int rights_fetch(struct rights *rights, const struct task *task, struct msghdr *message);
void rights_drop(struct rights *rights);
/* What was received names ours: the program gets them, in the call that is worked on. */
void rights_give(struct kernel *kernel, struct msghdr *message, int flags);

#endif /* EXEC_RIGHTS_H */
