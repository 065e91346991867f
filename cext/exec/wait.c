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

#include "settings.h"

int wait_start(struct ring *ring, const struct wait_limits *limits, uint32_t submitted)
{
	struct wait *wait = malloc(sizeof(*wait)), **end = &ring->waits;

	if (!wait)
		return -ENOMEM;
	*wait = (struct wait){
		.call = *ring->kernel->call,
		.limits = *limits,
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
	settings_tell(ring, false);
	notify_answer(ring->kernel->listener, &wait->call, result);
	drop(link);
}

static bool is_enough(const struct ring *ring, const struct wait_limits *limits, uint64_t now)
{
	uint32_t ready = ring_ready(ring);

	return ready >= limits->least || (ready > 0 && limits->patience && now >= limits->patience);
}

void waits_settle(struct ring *ring, uint64_t now)
{
	struct wait **link = &ring->waits;

	/* Whoever waits for completions has those that found no room first. */
	if (ring->waits && ring_overflows(ring))
		zcrx_emu_step(ring->emu);
	while (*link) {
		if (is_enough(ring, &(*link)->limits, now))
			answer(ring, link, 0);
		else if ((*link)->limits.deadline <= now)
			answer(ring, link, -ETIME);
		else
			link = &(*link)->next;
	}
}

/* Is there a signal for the thread that neither it blocks nor its call? */
static bool has_signal(pid_t tid, uint64_t masked)
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
	return ((own | shared) & ~blocked & ~masked) != 0;
}

void waits_interrupt(struct ring *ring)
{
	struct wait **link = &ring->waits;

	while (*link) {
		if (!notify_is_valid(ring->kernel->listener, &(*link)->call))
			drop(link);
		else if (has_signal((*link)->call.tid, (*link)->limits.blocked))
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

/* A patience that has passed is nothing to wake up for any more. */
static uint64_t next_of(const struct ring *ring, const struct wait_limits *limits)
{
	bool matters = limits->patience && ring_ready(ring) > 0;

	return matters && limits->patience < limits->deadline ? limits->patience : limits->deadline;
}

uint64_t waits_deadline(const struct ring *ring)
{
	uint64_t first = NEVER;

	for (const struct wait *wait = ring->waits; wait; wait = wait->next) {
		uint64_t next = next_of(ring, &wait->limits);

		if (next < first)
			first = next;
	}
	return first;
}

void waits_drop(struct ring *ring)
{
	while (ring->waits)
		drop(&ring->waits);
}
