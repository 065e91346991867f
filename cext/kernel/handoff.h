/* SPDX-License-Identifier: MIT */
/*
 * References that are handed over: an experimental series, not merged, on top of 7.3. The
 * stack does not count what it gives the user. It leaves a note in a ring; whoever judges
 * returns takes the notes first, and counts them in words of its own. So a buffer's words
 * stay where the refill is, and do not travel with each fragment.
 *
 * The notes lie in a ptr ring: a slot of 0 is free, the NIC alone puts, and whoever holds the
 * refill ring's lock takes. The counts are plain words under the same lock.
 *
 * What it all hangs on: the tail of the refill ring is loaded with acquire, and the notes are
 * taken after that. A user returns what it was shown, and the NIC leaves its note before it
 * shows it; so the note of each honest entry before that tail is there. Taken earlier it need
 * not be, and a good return would be rejected, its buffer lost to the traffic.
 */
#ifndef ZCRX_HANDOFF_H
#define ZCRX_HANDOFF_H

#include "area.h"

#define ZCRX_HANDOFF_ENTRIES 1024U

struct zcrx_handoff_shared {
	_Alignas(SHM_CACHE_LINE) shm_u32 tail; /* next slot to fill; the NIC's */
	_Alignas(SHM_CACHE_LINE) shm_u32 head; /* next slot to take; under the refill ring's lock */
};

/* All NULL where references are not handed over. */
struct zcrx_handoff {
	struct zcrx_handoff_shared *shared;
	shm_u64 *slots; /* [ZCRX_HANDOFF_ENTRIES]: niov + 1 above 32 bits of a count; 0 = free */
	uint32_t *counts; /* [num_niovs]: taken and not returned; under the refill ring's lock */
};

/* Leave a note of `count` fragments; false if there is no room for it. The NIC. */
bool zcrx_handoff_put(struct zcrx_handoff *handoff, uint32_t niov, uint32_t count);

/* Take all notes that are there. Caller holds the refill ring's lock. */
void zcrx_handoff_take(struct zcrx_handoff *handoff);

/* Give what is counted here back to the buffers' own words. Caller holds the same lock. */
void zcrx_handoff_fold(struct zcrx_handoff *handoff, struct zcrx_area *area);

/* References of a buffer that are here or on their way; exact only while nobody moves them. */
uint32_t zcrx_handoff_held(const struct zcrx_handoff *handoff, uint32_t niov);

#endif /* ZCRX_HANDOFF_H */
