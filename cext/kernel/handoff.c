/* SPDX-License-Identifier: MIT */
#include "handoff.h"

static uint32_t after(uint32_t slot)
{
	return slot + 1 < ZCRX_HANDOFF_ENTRIES ? slot + 1 : 0;
}

/*
 * Ordering: the acquire of a free slot pairs with the release that freed it in
 * zcrx_handoff_take(); the release of the note with the acquire there: the page-pool
 * references behind these fragments are visible to whoever takes it.
 */
bool zcrx_handoff_put(struct zcrx_handoff *handoff, uint32_t niov, uint32_t count)
{
	uint32_t tail = shm_load_relaxed_u32(&handoff->shared->tail, POINT_HANDOFF_INDEX);

	if (shm_load_acquire_u64(&handoff->slots[tail], POINT_HANDOFF_SLOT))
		return false;
	shm_store_relaxed_u32(&handoff->shared->tail, after(tail), POINT_HANDOFF_INDEX);
	shm_store_release_u64(&handoff->slots[tail], (uint64_t)(niov + 1) << 32 | count,
			      POINT_HANDOFF_SLOT);
	return true;
}

/* Ordering: the acquire of a note, and the release of its slot, pair with zcrx_handoff_put(). */
void zcrx_handoff_take(struct zcrx_handoff *handoff)
{
	uint32_t head = shm_load_relaxed_u32(&handoff->shared->head, POINT_HANDOFF_INDEX);

	for (uint32_t i = 0; i < ZCRX_HANDOFF_ENTRIES; i++) {
		uint64_t note = shm_load_acquire_u64(&handoff->slots[head], POINT_HANDOFF_SLOT);

		if (note == 0)
			break;
		handoff->counts[(note >> 32) - 1] += (uint32_t)note;
		shm_store_release_u64(&handoff->slots[head], 0, POINT_HANDOFF_SLOT);
		head = after(head);
	}
	shm_store_relaxed_u32(&handoff->shared->head, head, POINT_HANDOFF_INDEX);
}

void zcrx_handoff_fold(struct zcrx_handoff *handoff, struct zcrx_area *area)
{
	uint32_t niovs = zcrx_area_niovs(area);

	for (uint32_t niov = 0; niov < niovs; niov++) {
		uint32_t count = handoff->counts[niov];

		if (count == 0)
			continue;
		handoff->counts[niov] = 0;
		/* Pairs with the acquire in zcrx_user_ref_take_all(), as the NIC's own would. */
		shm_fetch_add_u32(&area->niovs[niov].user_refs, count, POINT_USER_REF_ADD);
	}
}

uint32_t zcrx_handoff_held(const struct zcrx_handoff *handoff, uint32_t niov)
{
	uint32_t at, held;

	if (!handoff->slots)
		return 0;
	at = shm_load_relaxed_u32(&handoff->shared->head, POINT_HANDOFF_INDEX);
	held = handoff->counts[niov];
	for (uint32_t i = 0; i < ZCRX_HANDOFF_ENTRIES; i++, at = after(at)) {
		/* Pairs with the release in zcrx_handoff_put(). */
		uint64_t note = shm_load_acquire_u64(&handoff->slots[at], POINT_HANDOFF_SLOT);

		if (note == 0)
			break;
		if ((note >> 32) - 1 == niov)
			held += (uint32_t)note;
	}
	return held;
}
