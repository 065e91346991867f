/* SPDX-License-Identifier: MIT */
/* Which operations there are. */
#ifndef EXEC_OPERATIONS_H
#define EXEC_OPERATIONS_H

#include "request.h"

/* How many numbers the kernel of the newest level knows. */
#define OPERATIONS 65U

/* NULL: not one of ours. */
const struct operation *operation_of(uint8_t opcode);

#endif /* EXEC_OPERATIONS_H */
