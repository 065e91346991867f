/* SPDX-License-Identifier: MIT */
/* Which operations there are. */
#ifndef EXEC_OPERATIONS_H
#define EXEC_OPERATIONS_H

#include "request.h"

/* NULL: neither we nor this machine has it. */
const struct operation *operation_of(const struct kernel *kernel, uint8_t opcode);

#endif /* EXEC_OPERATIONS_H */
