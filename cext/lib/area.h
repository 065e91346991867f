/* SPDX-License-Identifier: MIT */
/*
 * Where the buffers are: each area is a stretch of a program's memory. The pieces that
 * there are one of for each buffer grow with it.
 */
#ifndef ZCRX_LIB_AREA_H
#define ZCRX_LIB_AREA_H

#include "instance.h"

/* One area, and how it is reached: the ring that added it may be another than the queue's. */
struct zcrx_lib_area {
	struct zcrx_emu_memory memory;
	struct zcrx_lib_window bytes;
};

/* The buffers of `len` bytes at `at` are the queue's next area. Its id, or -ENOMEM. */
int zcrx_lib_area_add(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, uint64_t at, uint64_t len);
void zcrx_lib_areas_free(struct zcrx_lib_ifq *queue);

/* Where a buffer begins in its area's stretch of memory; *bytes is that stretch. */
static inline uint64_t zcrx_lib_area_at(const struct zcrx_lib_ifq *queue, uint32_t niov,
					const struct zcrx_lib_window **bytes)
{
	uint64_t off;

	if (queue->area_count == 1) { /* as nearly always */
		*bytes = &queue->areas[0]->bytes;
		return (uint64_t)niov << queue->area.niov_shift;
	}
	off = zcrx_area_offset(&queue->area, niov);
	*bytes = &queue->areas[off >> IORING_ZCRX_AREA_SHIFT]->bytes;
	return off & ~IORING_ZCRX_AREA_MASK;
}

#endif /* ZCRX_LIB_AREA_H */
