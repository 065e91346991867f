/* SPDX-License-Identifier: MIT */
/* The program that is run: started with our filter in front of its system calls. */
#ifndef EXEC_LAUNCH_H
#define EXEC_LAUNCH_H

#include <signal.h>
#include <sys/types.h>

/* OPEN: what the gateway itself needs. LOOK, CALL: see trial.h. */
enum launch_step {
	LAUNCH_OPEN,
	LAUNCH_FORK,
	LAUNCH_FILTER,
	LAUNCH_LOOK,
	LAUNCH_CALL,
	LAUNCH_EXEC,
};

struct launch {
	pid_t pid;
	int listener; /* where its calls arrive */
	enum launch_step step; /* what failed */
};

/*
 * Start `command`, found as execvp() does, with `mask` as its blocked signals. 0 or -errno;
 * then nothing is left of it.
 */
int launch(struct launch *launch, char *const *command, const sigset_t *mask);

#endif /* EXEC_LAUNCH_H */
