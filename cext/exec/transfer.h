/* SPDX-License-Identifier: MIT */
/*
 * Bytes of any file without this machine's io_uring: what takes its buffer from a group when it
 * has bytes for it, and all else where there is none for us.
 */
#ifndef EXEC_TRANSFER_H
#define EXEC_TRANSFER_H

#include "request.h"

extern const struct operation op_read, op_write, op_read_multishot;

/* One attempt at a READ whose buffer is of a group. */
int64_t transfer_read(struct request *request);

#endif /* EXEC_TRANSFER_H */
