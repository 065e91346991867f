/* SPDX-License-Identifier: MIT */
/*
 * Which buffers went through a queue's rings last: what completions named, as far back as the
 * ring has them, and what the provider found that entries named. For those who draw it: nothing
 * is judged by it. When NIC and provider have stopped.
 */
#ifndef ZCRX_TRAIL_H
#define ZCRX_TRAIL_H

#include "run/layout.h"

struct zcrx_delivered {
	uint32_t niov; /* UINT32_MAX: it is of no buffer */
	uint32_t starts; /* bool: it lies at the buffer's start: it is the first of its grant */
	uint32_t flow, seq;
	uint32_t generation; /* how often the buffer was granted by then */
};

/*
 * The completions before `tail`, an index of the completion queue that the NIC has recorded, the
 * oldest first; one ring at most. They and what is noted of them stand where the user can write.
 */
void zcrx_trail_delivered(const struct zcrx_queue *queue, uint32_t tail, uint32_t count,
			  struct zcrx_delivered *to);

/*
 * What the provider made of the entries from a position on, which it has consumed: verdicts and
 * the accounts (see area.h) of the buffers that they named. No more than the log has.
 */
void zcrx_trail_judged(const struct zcrx_queue *queue, uint64_t position, uint32_t count,
		       uint8_t *verdicts, uint16_t *accounts);

#endif /* ZCRX_TRAIL_H */
