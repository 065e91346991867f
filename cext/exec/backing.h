/* SPDX-License-Identifier: MIT */
/*
 * The machine's own io_uring, where it lets us use it: what is nothing to us but work goes
 * there, on copies of the program's descriptors and of its memory.
 */
#ifndef EXEC_BACKING_H
#define EXEC_BACKING_H

#include <stdbool.h>

#include "uring.h"

struct backing;

/* Work that is under way there. Whoever it is of keeps it until `done`, which comes once. */
struct job {
	void (*done)(struct job *job, int32_t res);
};

/* Its completions are told in a wait on the queue. NULL: this machine has none for us. */
struct backing *backing_open(int queue);
void backing_close(struct backing *backing);
bool backing_has(const struct backing *backing, uint8_t opcode);
/* Start it; it may be done already on return. 0, or -errno: it was not, and is not. */
int backing_submit(struct backing *backing, const struct io_uring_sqe *sqe, struct job *job);
/* End it, if that can be: it may be done already on return. */
void backing_cancel(struct backing *backing, const struct job *job);

#endif /* EXEC_BACKING_H */
