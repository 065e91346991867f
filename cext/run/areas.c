/* SPDX-License-Identifier: MIT */
#include "areas.h"

/* So many of the sizes are given; those behind them are as the last. */
static uint32_t sizes_given(const struct zcrx_shape *shape)
{
	uint32_t count = 0;

	while (count < ZCRX_AREA_SIZES && shape->area_niovs[count])
		count++;
	return count;
}

uint32_t zcrx_areas_planned_size(const struct zcrx_shape *shape, uint32_t id)
{
	uint32_t given = sizes_given(shape);

	return shape->area_niovs[id < given ? id : given - 1];
}

uint32_t zcrx_areas_planned_first(const struct zcrx_shape *shape, uint32_t id)
{
	uint32_t given = sizes_given(shape), first = 0;

	for (uint32_t before = 0; before < id && before < given; before++)
		first += shape->area_niovs[before];
	return id > given && given ? first + (id - given) * shape->area_niovs[given - 1] : first;
}

uint32_t zcrx_areas_id(const struct zcrx_shape *shape, uint32_t niov)
{
	uint32_t given = shape->areas_max > 1 ? sizes_given(shape) : 0;
	uint32_t id = 0;

	while (id + 1 < given && niov >= shape->area_niovs[id])
		niov -= shape->area_niovs[id++];
	return id + 1 == given ? id + niov / shape->area_niovs[id] : id;
}

uint64_t zcrx_areas_offset(const struct zcrx_shape *shape, uint32_t niov)
{
	uint32_t id = zcrx_areas_id(shape, niov);
	uint64_t index = niov - zcrx_areas_first(shape, id);

	return (uint64_t)id << IORING_ZCRX_AREA_SHIFT | index << shape->niov_shift;
}
