/* SPDX-License-Identifier: MIT */
#include "level.h"

#include <string.h>

#include "kernel/contract.h"

#define CQE_ANY (IORING_SETUP_CQE32 | IORING_SETUP_CQE_MIXED)
#define REG_ANY (ZCRX_REG_IMPORT | ZCRX_REG_NODEV)

/* "seed" is the first version, with a ring that is laid out as this project likes it. */
static const struct zcrx_lib_level rows[] = {
	{
		.name = "seed",
		.tail_at = 64,
		.rqes_at = 128,
		.cqe_flags = IORING_SETUP_CQE32,
		.zeroes_header = true,
	},
	{
		.name = "6.15",
		.tail_at = 4,
		.rqes_at = 8,
		.cqe_flags = IORING_SETUP_CQE32,
	},
	{
		.name = "6.18",
		.tail_at = 4,
		.rqes_at = 64,
		.cqe_flags = CQE_ANY,
		.area_flags = ZCRX_AREA_DMABUF,
		.has_many_queues = true,
		.query_ops = 1,
		.looks_for_device_first = true,
		.wants_range_first = true,
	},
	{
		.name = "7.1",
		.tail_at = 4,
		.rqes_at = 64,
		.cqe_flags = CQE_ANY,
		.reg_flags = REG_ANY,
		.area_flags = ZCRX_AREA_DMABUF,
		.ctrl_ops = 2,
		.has_many_queues = true,
		.has_rx_buf_len = true,
		.zeroes_header = true,
		.query_ops = 3,
		.looks_for_device_first = true,
		.wants_range_first = true,
	},
	{
		.name = "7.2",
		.tail_at = 4,
		.rqes_at = 64,
		.cqe_flags = CQE_ANY,
		.reg_flags = REG_ANY,
		.area_flags = ZCRX_AREA_DMABUF,
		.ctrl_ops = 3,
		.has_many_queues = true,
		.has_rx_buf_len = true,
		.has_events = true,
		.zeroes_header = true,
		.query_ops = 4,
		.looks_for_device_first = true,
		.wants_range_first = true,
	},
	{
		.name = "7.3",
		.tail_at = 64,
		.rqes_at = 128,
		.cqe_flags = CQE_ANY,
		.reg_flags = REG_ANY,
		.area_flags = ZCRX_AREA_DMABUF,
		.ctrl_ops = 4,
		.has_many_queues = true,
		.has_rx_buf_len = true,
		.has_events = true,
		.zeroes_header = true,
		.query_ops = 4,
		.looks_for_device_first = true,
		.wants_range_first = true,
	},
};

const struct zcrx_lib_level *zcrx_lib_level_of(const char *name, uint32_t *number)
{
	for (uint32_t level = 0; level < ZCRX_LEVELS; level++) {
		if (strcmp(zcrx_level_of(level)->name, name) != 0)
			continue;
		*number = level;
		for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
			if (strcmp(rows[row].name, name) == 0)
				return &rows[row];
		}
	}
	return NULL;
}

const char *zcrx_lib_level_name(uint32_t index)
{
	return index < ZCRX_LEVELS ? zcrx_level_of(index)->name : NULL;
}
