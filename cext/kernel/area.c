/* SPDX-License-Identifier: MIT */
/*
 * The freelist. A stack, because a buffer used a moment ago is still in a
 * cache; one lock, because provider (refill, release), NIC (copy fallback) and
 * control process (scrub) all come here, seldom.
 *
 * Its two ends are counted, not asserted: a provider of somebody else's can free
 * twice, and that has to end as a finding of the run, not as our own abort.
 */
#include "area.h"

#include <errno.h>

void zcrx_area_format(struct zcrx_area *area)
{
	for (uint32_t niov = 0; niov < area->num_niovs; niov++) {
		shm_store_relaxed_u32(&area->niovs[niov].user_refs, 0, POINT_USER_REF_STORE);
		shm_store_relaxed_u32(&area->niovs[niov].pp_refs, 0, POINT_PP_REF_STORE);
		shm_store_relaxed_u32(&area->niovs[niov].pool, ZCRX_NO_POOL, POINT_NIOV_POOL);
		shm_store_relaxed_u32(&area->freelist[niov], niov, POINT_FREELIST);
	}
	/* Relaxed: whoever else has it gets it from its creator afterwards. */
	shm_store_relaxed_u32(&area->shared->free_count, area->num_niovs, POINT_FREE_COUNT);
}

uint32_t zcrx_area_pop_free(struct zcrx_area *area, uint32_t *niovs, uint32_t max)
{
	struct zcrx_area_shared *shared = area->shared;
	uint32_t free_count, count;

	/* An empty list is the normal case under load; no need to lock to see that. */
	if (shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT) == 0)
		return 0;
	if (!zcrx_lock(&shared->freelist_lock, area->aborted))
		return 0;
	free_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);
	for (count = 0; count < max && free_count > 0; count++) {
		free_count--;
		niovs[count] = shm_load_relaxed_u32(&area->freelist[free_count], POINT_FREELIST);
	}
	shm_store_relaxed_u32(&shared->free_count, free_count, POINT_FREE_COUNT);
	zcrx_unlock(&shared->freelist_lock);
	return count;
}

int zcrx_area_push_free(struct zcrx_area *area, uint32_t niov)
{
	struct zcrx_area_shared *shared = area->shared;
	uint32_t free_count;
	int error = 0;

	if (!zcrx_lock(&shared->freelist_lock, area->aborted))
		return -EOWNERDEAD;
	free_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);
	if (free_count < area->num_niovs) {
		shm_store_relaxed_u32(&area->freelist[free_count], niov, POINT_FREELIST);
		shm_store_relaxed_u32(&shared->free_count, free_count + 1, POINT_FREE_COUNT);
	} else {
		shm_add_relaxed_u64(&shared->freelist_overflows, 1, POINT_COUNTER);
		error = -EOVERFLOW;
	}
	zcrx_unlock(&shared->freelist_lock);
	return error;
}
