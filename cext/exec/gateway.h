/* SPDX-License-Identifier: MIT */
/*
 * The loop: calls of the program, sockets that are ready, rings that are closed, deadlines.
 * One thread does it all, and no part of it waits on behalf of one process.
 */
#ifndef EXEC_GATEWAY_H
#define EXEC_GATEWAY_H

#include <signal.h>

#include "kernel.h"

/* Start `command` and serve it until nobody is left of it. Our exit status. */
int gateway_run(struct kernel *kernel, char *const *command);

#endif /* EXEC_GATEWAY_H */
