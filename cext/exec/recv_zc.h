/* SPDX-License-Identifier: MIT */
/* Zero-copy receive, from the program's real sockets into its area, by way of the library. */
#ifndef EXEC_RECV_ZC_H
#define EXEC_RECV_ZC_H

#include "request.h"

extern const struct operation op_recv_zc;

#endif /* EXEC_RECV_ZC_H */
