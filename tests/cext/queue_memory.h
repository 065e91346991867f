/* SPDX-License-Identifier: MIT */
/*
 * One queue on private memory, formatted as the control process would do it,
 * and what the tests do on it in the place of the NIC and of the user.
 */
#ifndef QUEUE_MEMORY_H
#define QUEUE_MEMORY_H

#include "check.h"
#include "run/control.h"
#include "run/layout.h"

struct queue_memory {
	struct zcrx_mapping mapping;
	struct zcrx_queue queue;
};

static inline struct zcrx_shape small_shape(void)
{
	return (struct zcrx_shape){
		.num_niovs = 8,
		.niov_shift = 12,
		.rq_entries = 128,
		.cq_entries = 64,
		.ptr_ring_size = 16,
		.grant_entries = 8,
		.log_entries = 1024,
		.flows_max = 4,
		.initial_index = UINT32_MAX - 5,
	};
}

static inline void *zeroed(size_t size)
{
	size_t whole = (size + SHM_CACHE_LINE - 1) & ~(size_t)(SHM_CACHE_LINE - 1);
	void *memory = aligned_alloc(SHM_CACHE_LINE, whole);

	REQUIRE(memory);
	memset(memory, 0, whole);
	return memory;
}

/* Objects of a queue, of a run that it shares with others. */
static inline struct zcrx_mapping queue_objects(const struct zcrx_shape *shape, void *run,
						void *bells)
{
	struct zcrx_sizes sizes;

	REQUIRE(zcrx_layout_sizes(shape, &sizes) == 0);
	return (struct zcrx_mapping){
		.run = run,
		.bells = bells,
		.kern = zeroed(sizes.kern),
		.rings = zeroed(sizes.rings),
		.area = zeroed(sizes.area),
		.notes = zeroed(sizes.notes),
	};
}

static inline void queue_objects_free(struct zcrx_mapping *mapping)
{
	free(mapping->kern);
	free(mapping->rings);
	free(mapping->area);
	free(mapping->notes);
}

static inline void queue_memory_format(struct queue_memory *memory, const struct zcrx_shape *shape)
{
	REQUIRE(zcrx_queue_attach(&memory->queue, shape, 0, &memory->mapping) == 0);
	zcrx_run_format(memory->queue.run, 1);
	REQUIRE(zcrx_queue_format(&memory->queue) == 0);
}

static inline void queue_memory_init(struct queue_memory *memory, const struct zcrx_shape *shape)
{
	memory->mapping = queue_objects(shape, zeroed(zcrx_run_size()), zeroed(zcrx_bells_size()));
	queue_memory_format(memory, shape);
}

/*
 * The same memory, of the same shape, as it was in the beginning. For scenes that are set
 * thousands of times: a sanitizer maps what is so large anew each time, page by page.
 */
static inline void queue_memory_renew(struct queue_memory *memory, const struct zcrx_shape *shape)
{
	struct zcrx_sizes sizes;

	REQUIRE(zcrx_layout_sizes(shape, &sizes) == 0);
	memset(memory->mapping.run, 0, zcrx_run_size());
	memset(memory->mapping.bells, 0, zcrx_bells_size());
	memset(memory->mapping.kern, 0, sizes.kern);
	memset(memory->mapping.rings, 0, sizes.rings);
	memset(memory->mapping.area, 0, sizes.area);
	memset(memory->mapping.notes, 0, sizes.notes);
	queue_memory_format(memory, shape);
}

static inline void queue_memory_free(struct queue_memory *memory)
{
	free(memory->mapping.run);
	free(memory->mapping.bells);
	queue_objects_free(&memory->mapping);
}

/* The refill ring as its user sees it. */
static inline struct zcrx_rq_user user_of(const struct zcrx_queue *queue)
{
	return (struct zcrx_rq_user){
		.head = queue->ifq.rq.head,
		.tail = queue->ifq.rq.tail,
		.rqes = queue->ifq.rq.rqes,
		.entries = queue->ifq.rq.entries,
		.mask = queue->ifq.rq.mask,
		.cached_head = queue->shape.initial_index,
		.cached_tail = queue->shape.initial_index,
	};
}

/* The stack hands `fragments` of a buffer to the user and keeps its own reference. */
static inline void hand_out(struct zcrx_queue *queue, uint32_t niov, uint32_t fragments)
{
	zcrx_pp_ref_get(&queue->area, niov, fragments);
	zcrx_user_ref_give(&queue->area, niov, fragments);
}

/* The same, and the stack is done with the buffer. */
static inline void deliver(struct zcrx_queue *queue, uint32_t niov, uint32_t fragments)
{
	hand_out(queue, niov, fragments);
	zcrx_ifq_drop(&queue->ifq, niov, 1);
}

/* The provider grants up to `count` buffers; how many it had. */
static inline uint32_t grant(struct zcrx_queue *queue, uint32_t count)
{
	uint32_t granted = 0;

	while (granted < count && zcrx_grant_room(&queue->grants) > 0) {
		int64_t niov = zcrx_pp_alloc(zcrx_ifq_pool(&queue->ifq));

		if (niov < 0)
			break;
		zcrx_grant_put(&queue->grants, (uint32_t)niov);
		zcrx_grant_publish(&queue->grants);
		granted++;
	}
	return granted;
}

static inline uint64_t count_of(const shm_u64 *counter)
{
	return shm_load_relaxed_u64(counter, POINT_COUNTER);
}

static inline uint32_t word_of(const shm_u32 *word)
{
	return shm_load_acquire_u32(word, POINT_COUNTER);
}

#endif /* QUEUE_MEMORY_H */
