/* SPDX-License-Identifier: MIT */
/* Buffers that a ring has by numbers of its own: where they are in the program's memory. */
#ifndef EXEC_BUFFERS_H
#define EXEC_BUFFERS_H

#include "ring.h"

/* Is all of it in that one? 0 or -EFAULT. */
int buffers_check(const struct ring *ring, uint16_t number, uint64_t addr, uint64_t size);
void buffers_free(struct ring *ring);

/* What io_uring_register() is asked for, of buffers. Its result. */
int64_t buffers_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args);

#endif /* EXEC_BUFFERS_H */
