/* SPDX-License-Identifier: MIT */
/*
 * What a sandbox may forbid is tried before the program starts: a filter that was there before
 * ours can refuse a call that ours would hand over, and the program would be told that instead.
 */
#ifndef EXEC_TRIAL_H
#define EXEC_TRIAL_H

#include <sys/types.h>

/* In the child, behind the filter: do io_uring's calls reach who answers them? 0 or -errno. */
int trial_call(void);
/* And who answers them, until `child` has something to say, or closes by itself. */
void trial_answer(int listener, int child);
/*
 * May we look at a child that was forked and nothing else, by /proc, at its memory and at its
 * descriptors (`fd` is one)? 0 or -errno.
 */
int trial_look(pid_t pid, int fd);

#endif /* EXEC_TRIAL_H */
