/* SPDX-License-Identifier: MIT */
/*
 * Calls that wait for completions. They have the results that the kernel's have: how many were
 * submitted if any were; else 0 as soon as there are enough, or once there are some when the
 * time is over or a signal comes; else -ETIME or -EINTR.
 */
#ifndef EXEC_WAIT_H
#define EXEC_WAIT_H

#include "ring.h"

/* How a call waits. */
struct wait_limits {
	uint32_t least; /* completions */
	uint64_t deadline;
	uint64_t
		patience; /* until then fewer are not enough; from then on any are. 0: they never are */
	uint64_t blocked; /* signals that do not end it, besides those that its thread blocks */
};

struct wait {
	struct wait *next;
	struct call call;
	struct wait_limits limits;
	uint32_t submitted;
};

/* The call that is worked on waits from now on. 0, or -ENOMEM. */
int wait_start(struct ring *ring, const struct wait_limits *limits, uint32_t submitted);
/* The call that is worked on has started to wait: it is over already, or goes on, or the plan ends it. */
void waits_begin(struct ring *ring);
/* Answer those that are over. */
void waits_settle(struct ring *ring, uint64_t now);
/* Answer those whose threads have a signal to attend to, forget those that are gone. */
void waits_interrupt(struct ring *ring);
/* When the first of them is over, or NEVER. */
uint64_t waits_deadline(const struct ring *ring);
/* The ring is closed. */
void waits_drop(struct ring *ring);

#endif /* EXEC_WAIT_H */
