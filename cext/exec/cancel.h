/* SPDX-License-Identifier: MIT */
/* Requests that are ended by others, and by a call. */
#ifndef EXEC_CANCEL_H
#define EXEC_CANCEL_H

#include "request.h"

extern const struct operation op_async_cancel, op_timeout_remove, op_poll_remove;

/* IORING_REGISTER_SYNC_CANCEL: its result. */
int64_t cancel_register(struct ring *ring, uint64_t at, uint32_t nr_args);

#endif /* EXEC_CANCEL_H */
