/* SPDX-License-Identifier: MIT */
/* Operations that need no socket. */
#ifndef EXEC_BASIC_H
#define EXEC_BASIC_H

#include "request.h"

extern const struct operation op_nop, op_close, op_timeout, op_timeout_remove, op_link_timeout,
	op_async_cancel, op_msg_ring;

#endif /* EXEC_BASIC_H */
