/* SPDX-License-Identifier: MIT */
/*
 * A call that we have seen is interrupted by no signal but one that kills: else the kernel
 * would start it again where the handler asks for that, with a fresh timeout, and would forget
 * what was submitted. So we look for signals ourselves.
 */
#include "wait.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int wait_start(struct ring *ring, uint32_t least, uint64_t deadline, uint32_t submitted)
{
	struct wait *wait = malloc(sizeof(*wait)), **end = &ring->waits;

	if (!wait)
		return -ENOMEM;
	*wait = (struct wait){
		.call = *ring->kernel->call,
		.least = least,
		.deadline = deadline,
		.submitted = submitted,
	};
	while (*end)
		end = &(*end)->next;
	*end = wait;
	return 0;
}

static void drop(struct wait **link)
{
	struct wait *wait = *link;

	*link = wait->next;
	free(wait);
}

static void answer(struct ring *ring, struct wait **link, int error)
{
	const struct wait *wait = *link;
	int64_t result = wait->submitted;

	if (result == 0 && ring_ready(ring) == 0)
		result = error;
	notify_answer(ring->kernel->listener, &wait->call, result);
	drop(link);
}

void waits_settle(struct ring *ring, uint64_t now)
{
	struct wait **link = &ring->waits;

	/* Whoever waits for completions has those that found no room first. */
	if (ring->waits && ring_overflows(ring))
		zcrx_emu_step(ring->emu);
	while (*link) {
		if (ring_ready(ring) >= (*link)->least)
			answer(ring, link, 0);
		else if ((*link)->deadline <= now)
			answer(ring, link, -ETIME);
		else
			link = &(*link)->next;
	}
}

/* Is there a signal for the thread that it does not block? */
static bool has_signal(pid_t tid)
{
	unsigned long long own = 0, shared = 0, blocked = 0;
	char path[32], line[128];
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	status = fopen(path, "re");
	if (!status)
		return false;
	while (fgets(line, sizeof(line), status)) {
		sscanf(line, "SigPnd: %llx", &own);
		sscanf(line, "ShdPnd: %llx", &shared);
		sscanf(line, "SigBlk: %llx", &blocked);
	}
	fclose(status);
	return ((own | shared) & ~blocked) != 0;
}

void waits_interrupt(struct ring *ring)
{
	struct wait **link = &ring->waits;

	while (*link) {
		if (!notify_is_valid(ring->kernel->listener, &(*link)->call))
			drop(link);
		else if (has_signal((*link)->call.tid))
			answer(ring, link, -EINTR);
		else
			link = &(*link)->next;
	}
}

void waits_begin(struct ring *ring)
{
	struct wait **link = &ring->waits;

	waits_settle(ring, now_ns());
	while (*link && (*link)->call.id != ring->kernel->call->id)
		link = &(*link)->next;
	if (*link && zcrx_emu_wait(ring->emu))
		answer(ring, link, -EINTR);
}

uint64_t waits_deadline(const struct ring *ring)
{
	uint64_t first = NEVER;

	for (const struct wait *wait = ring->waits; wait; wait = wait->next) {
		if (wait->deadline < first)
			first = wait->deadline;
	}
	return first;
}

void waits_drop(struct ring *ring)
{
	while (ring->waits)
		drop(&ring->waits);
}
