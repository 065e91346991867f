/* SPDX-License-Identifier: MIT */
/*
 * What a program can see of a kernel level when it registers. How that level judges the
 * refill ring is said by kernel/contract.h; a level is played if both know it.
 */
#ifndef ZCRX_LIB_LEVEL_H
#define ZCRX_LIB_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

#define IORING_SETUP_CLAMP (1U << 4)
#define IORING_SETUP_CQE32 (1U << 11)
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#define IORING_SETUP_CQE_MIXED (1U << 18)

#define ZCRX_REG_IMPORT 1U
#define ZCRX_REG_NODEV 2U
#define ZCRX_AREA_DMABUF 1U

struct zcrx_lib_level {
	const char *name;
	uint32_t tail_at, rqes_at; /* from the region's start; the head is at 0 */
	uint32_t cqe_flags; /* one of these the ring must have been made with */
	uint32_t reg_flags; /* of an interface queue, that exist */
	uint32_t area_flags;
	uint32_t query_ops; /* questions 0 .. query_ops - 1 exist; 0: none can be asked */
	uint32_t ctrl_ops; /* operations 0 .. ctrl_ops - 1 exist; 0: the call does not */
	bool has_many_queues; /* a ring may have several */
	bool has_rx_buf_len;
	bool has_events; /* what was the first reserved word points to their description */
	bool zeroes_header;
	bool looks_for_device_first; /* before the area is looked at */
	bool wants_range_first; /* of an area, before that it begins and ends with a page */
};

/* By name, with its number in kernel/contract.h; NULL if this build does not play it. */
const struct zcrx_lib_level *zcrx_lib_level_of(const char *name, uint32_t *number);

/* Those that can be played, from 0 on; NULL behind the last. */
const char *zcrx_lib_level_name(uint32_t index);

#endif /* ZCRX_LIB_LEVEL_H */
