/* SPDX-License-Identifier: MIT */
/*
 * Stacks of one's own and a switch between them: a dozen instructions and no
 * system call, since a search makes millions of switches a second.
 */
#ifndef ZCRX_SIM_FIBER_H
#define ZCRX_SIM_FIBER_H

#include <stddef.h>

#define FIBER_STACK (128U * 1024U)

struct fiber {
	void *stack_pointer; /* saved while it does not run */
	unsigned char *stack; /* [FIBER_STACK], with a guard page below */
	void (*entry)(void *argument);
	void *argument;
};

/* 0 or -ENOMEM. */
int fiber_make(struct fiber *fiber);
void fiber_free(struct fiber *fiber);

/* Have it begin at `entry` when it is switched to next. `entry` must not return. */
void fiber_start(struct fiber *fiber, void (*entry)(void *argument), void *argument);

/* Leave one and go on in another. */
void fiber_switch(struct fiber *from, struct fiber *to);

#endif /* ZCRX_SIM_FIBER_H */
