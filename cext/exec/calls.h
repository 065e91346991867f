/* SPDX-License-Identifier: MIT */
/*
 * The system calls. Each answers `kernel->call` of `kernel->task`, now or later; what
 * concerns no ring of ours is left to the kernel.
 */
#ifndef EXEC_CALLS_H
#define EXEC_CALLS_H

#include "kernel.h"

void call_setup(struct kernel *kernel);
void call_enter(struct kernel *kernel);
void call_register(struct kernel *kernel);
/*
 * exit_group(): the process ends, and the kernel goes on with that when we have looked. Whose
 * it is may be anybody, who never had a ring, or may not be looked at: there is no task.
 */
void call_exit(struct kernel *kernel);

/* The ring that the number stands for: a descriptor, or with `is_registered` one of the task's own. */
struct ring *call_ring(struct kernel *kernel, uint64_t number, bool is_registered);

#endif /* EXEC_CALLS_H */
