/* SPDX-License-Identifier: MIT */
/*
 * Operations that this machine's io_uring does: on files, and by path. All that they name of the
 * program's is copied there, and what comes of it back; wrong fields are the kernel's to find.
 */
#ifndef EXEC_OFFLOAD_H
#define EXEC_OFFLOAD_H

#include "request.h"

/* The operation of that number, if it is one of these and the machine has it. */
const struct operation *offload_operation(const struct kernel *kernel, uint8_t opcode);

#endif /* EXEC_OFFLOAD_H */
