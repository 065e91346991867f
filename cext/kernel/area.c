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

static void format_niovs(struct zcrx_area *area, uint32_t first, uint32_t count)
{
	for (uint32_t niov = first; niov < first + count; niov++) {
		shm_store_relaxed_u32(&area->niovs[niov].user_refs, 0, POINT_USER_REF_STORE);
		shm_store_relaxed_u32(&area->niovs[niov].pp_refs, 0, POINT_PP_REF_STORE);
		shm_store_relaxed_u32(&area->niovs[niov].pool, ZCRX_NO_POOL, POINT_NIOV_POOL);
		shm_store_relaxed_u32(&area->freelist[niov], niov, POINT_FREELIST);
	}
}

void zcrx_area_format(struct zcrx_area *area)
{
	/* Relaxed: whoever else has it gets it from its creator afterwards. */
	if (area->extents) {
		shm_store_relaxed_u32(&area->shared->area_count, 0, POINT_AREA_COUNT);
		return;
	}
	format_niovs(area, 0, area->num_niovs);
	shm_store_relaxed_u32(&area->shared->free_count, area->num_niovs, POINT_FREE_COUNT);
}

/* Of one of several areas: they stay as they are from when it is counted. */
static inline uint32_t first_of(const struct zcrx_extent *extent)
{
	return shm_load_relaxed_u32(&extent->first, POINT_AREA_EXTENT);
}

uint32_t zcrx_area_niovs(const struct zcrx_area *area)
{
	uint32_t count = zcrx_area_count(area);
	if (!area->extents)
		return area->num_niovs;
	if (count == 0)
		return 0;
	return first_of(&area->extents[count - 1]) + zcrx_area_size(area, count - 1);
}

uint32_t zcrx_area_id(const struct zcrx_area *area, uint32_t niov)
{
	uint32_t low = 0, high = zcrx_area_count(area);

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (first_of(&area->extents[middle]) <= niov)
			low = middle;
		else
			high = middle;
	}
	return low;
}

uint64_t zcrx_area_offset(const struct zcrx_area *area, uint32_t niov)
{
	uint32_t id = zcrx_area_id(area, niov);
	uint32_t first = area->extents ? first_of(&area->extents[id]) : 0;

	return (uint64_t)id << IORING_ZCRX_AREA_SHIFT | (uint64_t)(niov - first)
								<< area->niov_shift;
}

int zcrx_area_add(struct zcrx_area *area, uint32_t num_niovs)
{
	struct zcrx_area_shared *shared = area->shared;
	uint32_t id = zcrx_area_count(area), first = zcrx_area_niovs(area);
	struct zcrx_extent *extent;

	if (!area->extents || id == area->areas_max || num_niovs == 0 ||
	    (uint64_t)num_niovs << area->niov_shift > (uint64_t)1 << IORING_ZCRX_AREA_SHIFT)
		return -EINVAL;
	if (num_niovs > area->num_niovs - first)
		return -ENOMEM;
	if (!zcrx_lock(&shared->freelist_lock, area->aborted))
		return -EOWNERDEAD;
	extent = &area->extents[id];
	format_niovs(area, first, num_niovs);
	shm_store_relaxed_u32(&extent->first, first, POINT_AREA_EXTENT);
	shm_store_relaxed_u32(&extent->num_niovs, num_niovs, POINT_AREA_EXTENT);
	shm_store_relaxed_u32(&extent->free_count, num_niovs, POINT_FREE_COUNT);
	/* Last. Pairs with the acquire in zcrx_area_count(): its extent is there. */
	shm_store_release_u32(&shared->area_count, id + 1, POINT_AREA_COUNT);
	zcrx_unlock(&shared->freelist_lock);
	return (int)id;
}

/* The free buffers of one area, a stack; for who holds the freelist's lock. */
struct stack {
	shm_u32 *niovs;
	shm_u32 *count;
	uint32_t size;
};

static struct stack stack_of(const struct zcrx_area *area, uint32_t id)
{
	struct zcrx_extent *extent = area->extents ? &area->extents[id] : NULL;

	return (struct stack){
		.niovs = area->freelist + (extent ? first_of(extent) : 0),
		.count = extent ? &extent->free_count : &area->shared->free_count,
		.size = zcrx_area_size(area, id),
	};
}

static uint32_t pop(struct stack stack, uint32_t *niovs, uint32_t max)
{
	uint32_t free_count = shm_load_relaxed_u32(stack.count, POINT_FREE_COUNT);
	uint32_t count;

	for (count = 0; count < max && free_count > 0; count++) {
		free_count--;
		niovs[count] = shm_load_relaxed_u32(&stack.niovs[free_count], POINT_FREELIST);
	}
	shm_store_relaxed_u32(stack.count, free_count, POINT_FREE_COUNT);
	return count;
}

uint32_t zcrx_area_pop_free(struct zcrx_area *area, uint32_t *niovs, uint32_t max)
{
	struct zcrx_area_shared *shared = area->shared;
	uint32_t areas, count = 0;

	/* An empty list is the normal case under load; no need to lock to see that. */
	if (zcrx_area_free_count(area) == 0)
		return 0;
	if (!zcrx_lock(&shared->freelist_lock, area->aborted))
		return 0;
	areas = zcrx_area_count(area);
	for (uint32_t id = 0; id < areas && count < max; id++)
		count += pop(stack_of(area, id), niovs + count, max - count);
	zcrx_unlock(&shared->freelist_lock);
	return count;
}

int zcrx_area_push_free(struct zcrx_area *area, uint32_t niov)
{
	struct zcrx_area_shared *shared = area->shared;
	struct stack stack;
	uint32_t free_count;
	int error = 0;

	if (!zcrx_lock(&shared->freelist_lock, area->aborted))
		return -EOWNERDEAD;
	stack = stack_of(area, zcrx_area_id(area, niov));
	free_count = shm_load_relaxed_u32(stack.count, POINT_FREE_COUNT);
	if (free_count < stack.size) {
		shm_store_relaxed_u32(&stack.niovs[free_count], niov, POINT_FREELIST);
		shm_store_relaxed_u32(stack.count, free_count + 1, POINT_FREE_COUNT);
	} else {
		shm_add_relaxed_u64(&shared->freelist_overflows, 1, POINT_COUNTER);
		error = -EOVERFLOW;
	}
	zcrx_unlock(&shared->freelist_lock);
	return error;
}

uint32_t zcrx_area_free_count(const struct zcrx_area *area)
{
	uint32_t areas = zcrx_area_count(area), free_count = 0;

	for (uint32_t id = 0; id < areas; id++)
		free_count += shm_load_relaxed_u32(stack_of(area, id).count, POINT_FREE_COUNT);
	return free_count;
}

uint32_t zcrx_area_free_snapshot(const struct zcrx_area *area, uint32_t *niovs, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t id = zcrx_area_count(area); id-- > 0;) {
		struct stack stack = stack_of(area, id);
		uint32_t free_count = shm_load_relaxed_u32(stack.count, POINT_FREE_COUNT);

		for (uint32_t i = 0; i < free_count && i < stack.size && count < max; i++)
			niovs[count++] = shm_load_relaxed_u32(&stack.niovs[i], POINT_FREELIST);
	}
	return count;
}
