/* SPDX-License-Identifier: MIT */
/*
 * Everything of a queue is done under one lock, so its arrays may move: an area more is an
 * array that is longer.
 */
#include "area.h"

#include <errno.h>
#include <stdlib.h>

/* An array with room for `count`, those from `old` on zeroed; false: it is as it was. */
static bool resize(void **array, uint32_t old, uint32_t count, size_t size)
{
	uint8_t *resized = realloc(*array, count * size);

	if (!resized)
		return false;
	memset(resized + old * size, 0, (count - old) * size);
	*array = resized;
	return true;
}

#define RESIZE(array, old, count) resize((void **)&(array), (old), (count), sizeof(*(array)))

/* Room for another area of so many buffers. What was made room for and is not used harms nobody. */
static bool grow(struct zcrx_lib_ifq *queue, uint32_t id, uint32_t num_niovs)
{
	struct zcrx_area *area = &queue->area;
	uint32_t old = area->num_niovs, count = old + num_niovs;

	if (!RESIZE(queue->areas, id, id + 1) || !RESIZE(area->niovs, old, count) ||
	    !RESIZE(area->freelist, old, count) || !RESIZE(queue->watch.owed, old, count) ||
	    !RESIZE(queue->watch.owing, old, count))
		return false;
	if (area->areas_max && !RESIZE(area->extents, id, id + 1))
		return false;
	return !zcrx_lib_ifq_checks(queue) || zcrx_lib_ledger_grow(&queue->ledger, count) == 0;
}

static struct zcrx_lib_area *area_of(const struct zcrx_emu *emu, uint64_t at, uint64_t len)
{
	struct zcrx_lib_area *area = calloc(1, sizeof(*area));

	if (!area)
		return NULL;
	area->memory = emu->memory;
	area->bytes = zcrx_lib_window_of(&area->memory, at, len);
	return area;
}

int zcrx_lib_area_add(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, uint64_t at, uint64_t len)
{
	uint32_t num_niovs = (uint32_t)(len >> queue->area.niov_shift);
	uint32_t id = queue->area_count;

	if (num_niovs > UINT32_MAX - queue->area.num_niovs || !grow(queue, id, num_niovs))
		return -ENOMEM;
	queue->areas[id] = area_of(emu, at, len);
	if (!queue->areas[id])
		return -ENOMEM;
	queue->area_count++;
	queue->area.num_niovs += num_niovs;
	if (id == 0)
		zcrx_area_format(&queue->area);
	return queue->area.extents ? zcrx_ifq_add_area(&queue->ifq, num_niovs) : 0;
}

void zcrx_lib_areas_free(struct zcrx_lib_ifq *queue)
{
	for (uint32_t id = 0; id < queue->area_count; id++)
		free(queue->areas[id]);
	free(queue->areas);
	free(queue->area.niovs);
	free(queue->area.freelist);
	free(queue->area.extents);
	free(queue->watch.owed);
	free(queue->watch.owing);
}
