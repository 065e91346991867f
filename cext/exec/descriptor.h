/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that an operation gives the program or takes from it. Both are done while a call
 * of the process waits for its answer.
 */
#ifndef EXEC_DESCRIPTOR_H
#define EXEC_DESCRIPTOR_H

#include "kernel.h"

/* The program gets `fd`, which is closed here. Its number there, or -errno. */
int descriptor_give(struct kernel *kernel, int fd, int flags);
/*
 * The program's is closed. Nobody but itself can free the number: until it is given again what
 * stands there can be neither read nor written (-EBADF). 0 or -errno.
 */
int descriptor_close(struct kernel *kernel, int number);

#endif /* EXEC_DESCRIPTOR_H */
