/* SPDX-License-Identifier: MIT */
/*
 * A consumer of somebody else's in C: opened, given the raw rings of its queue, and called.
 * Its process maps rings, area and bells; what is judged of it others have noted.
 */
#ifndef ZCRX_RAW_CONSUMER_H
#define ZCRX_RAW_CONSUMER_H

#include "run/layout.h"
#include "zcrx_consumer.h"

/*
 * Open a library. NULL and a line in `why` (at most `size` bytes) when it cannot be opened,
 * lacks the symbol or run(), or has another ABI. Never closed: its threads may go on.
 */
const struct zcrx_consumer_ops *zcrx_raw_open(const char *path, char *why, size_t size);

/* Call its run() on a mapped queue: what that answered. */
int zcrx_raw_run(const struct zcrx_consumer_ops *ops, const struct zcrx_shape *shape,
		 uint32_t index, const struct zcrx_mapping *mapping);

#endif /* ZCRX_RAW_CONSUMER_H */
