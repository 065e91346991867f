/* SPDX-License-Identifier: MIT */
/* Operations that hand buffers over, and take them back. */
#ifndef EXEC_PROVIDE_H
#define EXEC_PROVIDE_H

#include "request.h"

extern const struct operation op_provide_buffers, op_remove_buffers;

#endif /* EXEC_PROVIDE_H */
