/* SPDX-License-Identifier: MIT */
/*
 * The areas of a queue as its shape plans them: which buffer an offset names, and what an
 * offset says of a buffer. For those who map no extents, as a user does, and for those who
 * judge and must not ask the core. Which of the areas are there yet the shape does not say.
 */
#ifndef ZCRX_AREAS_H
#define ZCRX_AREAS_H

#include "layout.h"

/* The two below where there are several: one alone is no call in what is done for each fragment. */
uint32_t zcrx_areas_planned_size(const struct zcrx_shape *shape, uint32_t id);
uint32_t zcrx_areas_planned_first(const struct zcrx_shape *shape, uint32_t id);

/* Buffers of one of them. */
static inline uint32_t zcrx_areas_size(const struct zcrx_shape *shape, uint32_t id)
{
	return shape->areas_max > 1 ? zcrx_areas_planned_size(shape, id) : shape->num_niovs;
}

/* The number of its first buffer. */
static inline uint32_t zcrx_areas_first(const struct zcrx_shape *shape, uint32_t id)
{
	return shape->areas_max > 1 ? zcrx_areas_planned_first(shape, id) : 0;
}

/* Which one a buffer is in. */
uint32_t zcrx_areas_id(const struct zcrx_shape *shape, uint32_t niov);

/* What an RQE says that returns this buffer, a CQE that delivers its first byte. */
uint64_t zcrx_areas_offset(const struct zcrx_shape *shape, uint32_t niov);

/* How many there are at most; ids are below it. */
static inline uint32_t zcrx_areas_max(const struct zcrx_shape *shape)
{
	return shape->areas_max > 1 ? shape->areas_max : 1;
}

/* How many there are from the beginning. */
static inline uint32_t zcrx_areas_at_start(const struct zcrx_shape *shape)
{
	return shape->areas_max > 1 ? shape->areas : 1;
}

/* The buffer that an offset names which was delivered, so that it names one. */
static inline uint32_t zcrx_areas_niov(const struct zcrx_shape *shape, uint64_t off)
{
	uint32_t index = (uint32_t)((off & ~IORING_ZCRX_AREA_MASK) >> shape->niov_shift);

	if (shape->areas_max > 1)
		index += zcrx_areas_first(shape, (uint32_t)(off >> IORING_ZCRX_AREA_SHIFT));
	return index;
}

/* Where its byte is in the memory of all areas. */
static inline uint64_t zcrx_areas_byte(const struct zcrx_shape *shape, uint64_t off)
{
	uint64_t in_niov = off & (((uint64_t)1 << shape->niov_shift) - 1);

	return ((uint64_t)zcrx_areas_niov(shape, off) << shape->niov_shift) + in_niov;
}

#endif /* ZCRX_AREAS_H */
