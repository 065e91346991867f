/*
 * The producer's private book of the area's buffers: those that are free, a stack so
 * that the hottest is used next, or a queue; and how often each of the others is
 * referred to. Nobody else touches it, nothing is checked.
 */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <stdint.h>
#include <stdlib.h>

#include "pair.h"

#define BUFFER_BYTES 4096u
#define BUFFER_SHIFT 12

/* Payloads up to this size share buffers; larger ones start a fresh one. */
#define SHARED_PAYLOAD_BYTES 1024u

struct pool {
	uint32_t *free;		/* buffer indices */
	uint32_t free_count;
	uint32_t num_buffers;
	uint32_t oldest;	/* of a queue: where in `free` the next one stands */
	bool fifo;
	uint32_t *references;	/* one a buffer */
	uint32_t open;		/* the buffer that small payloads now share */
	uint32_t open_used;	/* bytes of it; BUFFER_BYTES: none is open */
};

static inline struct pool pool_create(uint32_t num_buffers, bool fifo)
{
	struct pool pool = {
		.free = malloc(num_buffers * sizeof(uint32_t)),
		.free_count = num_buffers,
		.num_buffers = num_buffers,
		.fifo = fifo,
		.references = calloc(num_buffers, sizeof(uint32_t)),
		.open_used = BUFFER_BYTES,
	};

	if (!pool.free || !pool.references)
		die("a pool's memory");
	for (uint32_t i = 0; i < num_buffers; i++)
		pool.free[i] = num_buffers - 1 - i;
	return pool;
}

static inline void pool_push(struct pool *pool, uint32_t buffer)
{
	uint32_t at = pool->free_count++;

	if (pool->fifo) {
		at += pool->oldest;
		at -= at < pool->num_buffers ? 0 : pool->num_buffers;
	}
	pool->free[at] = buffer;
}

static inline uint32_t pool_pop(struct pool *pool)
{
	uint32_t at = --pool->free_count;

	if (pool->fifo) {
		at = pool->oldest++;
		pool->oldest -= pool->oldest < pool->num_buffers ? 0 : pool->num_buffers;
	}
	return pool->free[at];
}

static inline void pool_put(struct pool *pool, uint32_t buffer)
{
	if (--pool->references[buffer] == 0)
		pool_push(pool, buffer);
}

/* How many buffers a payload may take that are not taken yet. */
static inline uint32_t pool_wants(const struct pool *pool, uint32_t size)
{
	if (size <= SHARED_PAYLOAD_BYTES)
		return pool->open_used + size > BUFFER_BYTES;
	return (size + BUFFER_BYTES - 1) / BUFFER_BYTES;
}

/*
 * A place for one fragment of up to BUFFER_BYTES, as an offset in the area.
 * It has one reference, for pool_put(). An open buffer has one more, of the
 * pool's own, so that it is not free while it is still cut.
 *
 * The caller has made sure that pool_wants() buffers are free.
 */
static inline uint64_t pool_place(struct pool *pool, uint32_t size, bool shared)
{
	uint32_t offset = 0;

	if (!shared) {
		uint32_t buffer = pool_pop(pool);

		pool->references[buffer] = 1;
		return (uint64_t)buffer << BUFFER_SHIFT;
	}
	if (pool->open_used + size > BUFFER_BYTES) {
		pool->open = pool_pop(pool);
		pool->references[pool->open] = 1;
		pool->open_used = 0;
	}
	offset = pool->open_used;
	pool->open_used += (size + 63) & ~63u;
	pool->references[pool->open]++;
	if (pool->open_used + size > BUFFER_BYTES) {
		pool->open_used = BUFFER_BYTES;
		pool->references[pool->open]--;	/* not the last: see above */
	}
	return (uint64_t)pool->open << BUFFER_SHIFT | offset;
}

#endif
