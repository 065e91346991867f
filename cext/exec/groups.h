/* SPDX-License-Identifier: MIT */
/*
 * Buffers of the program from which a request takes the next one when it has bytes for it: in a
 * ring that the program fills, or handed over one by one by operations.
 */
#ifndef EXEC_GROUPS_H
#define EXEC_GROUPS_H

#include "ring.h"

struct buffer {
	uint64_t addr;
	uint32_t len;
	uint16_t bid;
};

/* The next ones of the group, at most `most`, which stay there. 0: it has none, or there is none. */
uint32_t groups_peek(const struct ring *ring, uint16_t id, struct buffer *buffers, uint32_t most);
/* `size` bytes are in those that were seen last, which are taken. The completion's flags. */
uint32_t groups_take(struct ring *ring, uint16_t id, const struct buffer *buffers, uint64_t size);
void groups_free(struct ring *ring);

/* One after the other, each `first.len` long, by operations. 0 or -errno; how many, or -errno. */
int groups_provide(struct ring *ring, uint16_t id, struct buffer first, uint32_t count);
int64_t groups_remove(struct ring *ring, uint16_t id, uint32_t count);

/* What io_uring_register() is asked for, of rings of buffers. Its result. */
int64_t groups_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args);

#endif /* EXEC_GROUPS_H */
