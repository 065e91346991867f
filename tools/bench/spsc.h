/*
 * A bare ring for one producer and one consumer: what is left when nobody
 * checks anything. Entries are written and read in place.
 *
 *	+------------------+------------------+---------------------------+
 *	| head (consumer)  | tail (producer)  | entries, a power of two   |
 *	+------------------+------------------+---------------------------+
 *
 * Each word has one writer, named in brackets. Indices run freely over u32.
 * Each side keeps its own index and the last one it saw of the other side
 * in private memory, and looks at the shared word only when the copy does
 * not suffice.
 */
#ifndef BENCH_SPSC_H
#define BENCH_SPSC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

/* In shared memory; the entries follow. All zero: an empty ring. */
struct spsc_words {
	_Alignas(PAIR_LINE_BYTES) _Atomic uint32_t head;
	_Alignas(PAIR_LINE_BYTES) _Atomic uint32_t tail;
};

/* One side's private view. */
struct spsc_side {
	struct spsc_words *words;
	void *entries;
	uint32_t count;		/* of entries: a power of two */
	uint32_t index;		/* ours, as published or about to be */
	uint32_t cached_other;	/* the other side's, when last looked at */
};

static inline size_t spsc_size(uint32_t count, size_t entry_size)
{
	return sizeof(struct spsc_words) + count * entry_size;
}

static inline struct spsc_side spsc_side(void *memory, uint32_t count)
{
	struct spsc_words *words = memory;

	return (struct spsc_side){ .words = words, .entries = words + 1,
				   .count = count };
}

/*
 * How many entries the producer may write; less than wanted only if that is
 * really so.
 *
 * Ordering: the acquire pairs with the release in spsc_release(): a slot
 * that became free is not written before its old contents were read.
 */
static inline uint32_t spsc_room(struct spsc_side *producer, uint32_t wanted)
{
	uint32_t room = producer->count -
			(producer->index - producer->cached_other);

	if (room >= wanted)
		return room;
	producer->cached_other = atomic_load_explicit(&producer->words->head,
						      memory_order_acquire);
	return producer->count - (producer->index - producer->cached_other);
}

/* Ordering: the release pairs with the acquire in spsc_available(). */
static inline void spsc_publish(struct spsc_side *producer, uint32_t count)
{
	producer->index += count;
	atomic_store_explicit(&producer->words->tail, producer->index,
			      memory_order_release);
}

/*
 * How many entries the consumer may read; less than wanted only if that is
 * really so.
 *
 * Ordering: the acquire pairs with the release in spsc_publish(): entries
 * below the tail that we saw hold what was written before.
 */
static inline uint32_t spsc_available(struct spsc_side *consumer,
				      uint32_t wanted)
{
	uint32_t available = consumer->cached_other - consumer->index;

	if (available >= wanted)
		return available;
	consumer->cached_other = atomic_load_explicit(&consumer->words->tail,
						      memory_order_acquire);
	return consumer->cached_other - consumer->index;
}

/* Ordering: the release pairs with the acquire in spsc_room(). */
static inline void spsc_release(struct spsc_side *consumer, uint32_t count)
{
	consumer->index += count;
	atomic_store_explicit(&consumer->words->head, consumer->index,
			      memory_order_release);
}

#endif
