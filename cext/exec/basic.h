/* SPDX-License-Identifier: MIT */
/* Operations that need no socket. */
#ifndef EXEC_BASIC_H
#define EXEC_BASIC_H

#include "request.h"

extern const struct operation op_nop, op_close, op_msg_ring;

#endif /* EXEC_BASIC_H */
