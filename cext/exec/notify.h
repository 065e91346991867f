/* SPDX-License-Identifier: MIT */
/* System calls of the program that wait for our answer. */
#ifndef EXEC_NOTIFY_H
#define EXEC_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct call {
	uint64_t id;
	pid_t tid; /* as we see it */
	int nr;
	uint64_t args[6];
};

/* Whoever is answered runs at once, where the kernel can arrange that. */
void notify_prepare(int listener);
/* The next one. False: none, or its thread is gone. */
bool notify_receive(int listener, struct call *call);
/* Does its thread still wait? */
bool notify_is_valid(int listener, const struct call *call);
/* What it returns: a number, or -errno. */
void notify_answer(int listener, const struct call *call, int64_t result);
/* The kernel itself is to answer it. */
void notify_pass(int listener, const struct call *call);
/* The program gets a copy of `fd`, with `flags` (O_CLOEXEC or 0): its number there, or -errno. */
int notify_install(int listener, const struct call *call, int fd, int flags);
/* The same, under a number that it has already: what that was is closed. */
int notify_replace(int listener, const struct call *call, int fd, int number, int flags);
/* The same, and the number is what the call returns. On an error it is not answered. */
int notify_answer_with(int listener, const struct call *call, int fd);

#endif /* EXEC_NOTIFY_H */
