/* SPDX-License-Identifier: MIT */
#include "step.h"

#include <errno.h>
#include <stdlib.h>

#define TRACE_START 1024U

struct zcrx_step {
	struct zcrx_queue queue;
	struct zcrx_trace trace;
	void *kern, *rings, *notes; /* as they were got */
};

/*
 * An aligned place in memory that is got for it. By calloc(), so that its pages are made as
 * they are touched: there may be room for many areas.
 */
static void *zeroed(uint64_t size, void **memory)
{
	uintptr_t at;

	*memory = calloc(1, size + SHM_CACHE_LINE - 1);
	at = (uintptr_t)*memory;
	return (void *)((at + SHM_CACHE_LINE - 1) & ~(uintptr_t)(SHM_CACHE_LINE - 1));
}

struct zcrx_step *zcrx_step_new(const struct zcrx_shape *shape)
{
	return zcrx_step_new_of(shape, NULL);
}

struct zcrx_step *zcrx_step_new_of(const struct zcrx_shape *shape,
				   const struct zcrx_provider_ops *provider)
{
	struct zcrx_step *step = calloc(1, sizeof(*step));
	struct zcrx_mapping mapping = {.provider = provider};
	struct zcrx_sizes sizes;

	if (!step)
		return NULL;
	if (zcrx_layout_sizes(shape, &sizes))
		goto out_free;
	mapping.kern = zeroed(sizes.kern, &step->kern);
	mapping.rings = zeroed(sizes.rings, &step->rings);
	mapping.notes = zeroed(sizes.notes, &step->notes);
	step->trace.entries = calloc(TRACE_START, sizeof(*step->trace.entries));
	step->trace.capacity = TRACE_START;
	if (!step->kern || !step->rings || !step->notes || !step->trace.entries)
		goto out_free;
	if (zcrx_queue_attach(&step->queue, shape, 0, &mapping) || zcrx_queue_format(&step->queue))
		goto out_free;
	step->queue.ifq.trace = &step->trace;
	return step;

out_free:
	zcrx_step_free(step);
	return NULL;
}

void zcrx_step_free(struct zcrx_step *step)
{
	if (!step)
		return;
	free(step->kern);
	free(step->rings);
	free(step->notes);
	free(step->trace.entries);
	free(step);
}

/* Room for so many judgements more, so that none is ever lost. */
static int trace_reserve(struct zcrx_trace *trace, uint32_t wanted)
{
	while (trace->capacity - trace->count < wanted) {
		struct zcrx_judgement *entries =
			realloc(trace->entries, 2 * sizeof(*entries) * trace->capacity);

		if (!entries)
			return -ENOMEM;
		trace->entries = entries;
		trace->capacity *= 2;
	}
	return 0;
}

int64_t zcrx_step_alloc(struct zcrx_step *step)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&step->queue.ifq);

	if (!pool)
		return -ENOENT;
	if (trace_reserve(&step->trace, ZCRX_REFILL_ENTRIES_MAX))
		return -ENOMEM;
	return zcrx_pp_alloc(pool);
}

void zcrx_step_deliver(struct zcrx_step *step, uint32_t niov, uint32_t fragments)
{
	zcrx_pp_ref_get(&step->queue.area, niov, fragments);
	zcrx_ifq_give(&step->queue.ifq, niov, fragments);
}

void zcrx_step_drop(struct zcrx_step *step, uint32_t niov)
{
	zcrx_ifq_drop(&step->queue.ifq, niov, 1);
}

void zcrx_step_write_rqe(struct zcrx_step *step, uint32_t slot, uint64_t off, uint32_t len,
			 uint32_t pad)
{
	struct zcrx_rqe_slot *rqe = &step->queue.ifq.rq.rqes[slot & step->queue.ifq.rq.mask];

	shm_store_relaxed_u64(&rqe->off, off, POINT_RQE_STORE);
	shm_store_relaxed_u64(&rqe->len_pad, (uint64_t)pad << 32 | len, POINT_RQE_STORE);
}

/* Relaxed, all of them: one process does everything here, one thing after the other. */
uint32_t zcrx_step_head(const struct zcrx_step *step)
{
	return shm_load_relaxed_u32(step->queue.ifq.rq.head, POINT_RQ_HEAD_LOAD);
}

uint32_t zcrx_step_tail(const struct zcrx_step *step)
{
	return shm_load_relaxed_u32(step->queue.ifq.rq.tail, POINT_RQ_TAIL_LOAD);
}

uint32_t zcrx_step_cached_head(const struct zcrx_step *step)
{
	return step->queue.ifq.rq.cached_head;
}

void zcrx_step_set_head(struct zcrx_step *step, uint32_t value)
{
	shm_store_relaxed_u32(step->queue.ifq.rq.head, value, POINT_RQ_HEAD_STORE);
}

void zcrx_step_set_tail(struct zcrx_step *step, uint32_t value)
{
	shm_store_relaxed_u32(step->queue.ifq.rq.tail, value, POINT_RQ_TAIL_STORE);
}

uint64_t zcrx_step_scrub(struct zcrx_step *step)
{
	return zcrx_ifq_scrub(&step->queue.ifq, NULL);
}

int64_t zcrx_step_copy_fallback(struct zcrx_step *step)
{
	return zcrx_ifq_take_copy_buffer(&step->queue.ifq);
}

int64_t zcrx_step_flush(struct zcrx_step *step)
{
	/* It ends with the batch that makes it a ring full. */
	if (trace_reserve(&step->trace, step->queue.shape.rq_entries + ZCRX_PP_REFILL))
		return -ENOMEM;
	return zcrx_ifq_flush_rq(&step->queue.ifq);
}

int zcrx_step_add_area(struct zcrx_step *step, uint32_t num_niovs)
{
	return zcrx_ifq_add_area(&step->queue.ifq, num_niovs);
}

int zcrx_step_restart(struct zcrx_step *step)
{
	return zcrx_ifq_restart(&step->queue.ifq);
}

int zcrx_step_retry_release(struct zcrx_step *step, uint32_t slot)
{
	struct zcrx_page_pool *pool = &step->queue.ifq.pools[slot % ZCRX_POOLS_MAX];
	int destroyed;

	if (zcrx_pp_phase(pool) != ZCRX_POOL_DYING)
		return -ENOENT;
	return zcrx_pp_retry_release(pool, &destroyed);
}

int zcrx_step_destroy(struct zcrx_step *step)
{
	return zcrx_ifq_teardown(&step->queue.ifq);
}

uint32_t zcrx_step_niovs(const struct zcrx_step *step)
{
	return zcrx_area_niovs(&step->queue.area);
}

uint64_t zcrx_step_offset(const struct zcrx_step *step, uint32_t niov)
{
	return zcrx_area_offset(&step->queue.area, niov);
}

uint32_t zcrx_step_areas(const struct zcrx_step *step, uint32_t *niovs)
{
	const struct zcrx_area *area = &step->queue.area;
	uint32_t count = zcrx_area_count(area);

	for (uint32_t id = 0; id < count; id++)
		niovs[id] = zcrx_area_size(area, id);
	return count;
}

uint32_t zcrx_step_freelist(const struct zcrx_step *step, uint32_t *niovs)
{
	return zcrx_area_free_snapshot(&step->queue.area, niovs, UINT32_MAX);
}

void zcrx_step_buffers(const struct zcrx_step *step, uint32_t *user_refs, uint32_t *pp_refs,
		       uint32_t *pools)
{
	const struct zcrx_area *area = &step->queue.area;

	for (uint32_t niov = 0; niov < zcrx_area_niovs(area); niov++) {
		user_refs[niov] = zcrx_ifq_user_refs(&step->queue.ifq, niov);
		pp_refs[niov] = shm_load_relaxed_u32(&area->niovs[niov].pp_refs, POINT_PP_REF_LOAD);
		pools[niov] = shm_load_relaxed_u32(&area->niovs[niov].pool, POINT_NIOV_POOL);
	}
}

void zcrx_step_pool_read(const struct zcrx_step *step, uint32_t slot, struct zcrx_step_pool *to,
			 uint32_t *cache, uint32_t *ring)
{
	const struct zcrx_page_pool *pool = &step->queue.ifq.pools[slot % ZCRX_POOLS_MAX];

	memset(to, 0, sizeof(*to));
	to->phase = zcrx_pp_phase(pool);
	if (to->phase == ZCRX_POOL_UNUSED)
		return;
	to->cache_count = zcrx_pp_cache_count(pool);
	memcpy(cache, pool->shared->cache, sizeof(*cache) * to->cache_count);
	to->ring_count = zcrx_pp_ring_snapshot(pool, ring, pool->ring_size);
	to->inflight = zcrx_pp_inflight(pool);
}

uint32_t zcrx_step_current_pool(const struct zcrx_step *step)
{
	return shm_load_relaxed_u32(&step->queue.ifq.shared->current_pool, POINT_POOL_COUNT);
}

uint32_t zcrx_step_take_verdicts(struct zcrx_step *step, struct zcrx_judgement *to, uint32_t max)
{
	struct zcrx_trace *trace = &step->trace;
	uint32_t count = trace->count < max ? trace->count : max;

	memcpy(to, trace->entries, sizeof(*to) * count);
	trace->count -= count;
	memmove(trace->entries, trace->entries + count, sizeof(*to) * trace->count);
	return count;
}

struct zcrx_queue *zcrx_step_queue(struct zcrx_step *step)
{
	return &step->queue;
}
