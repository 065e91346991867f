/* SPDX-License-Identifier: MIT */
/* What else is done to sockets, and to sets of them: all of it at once. */
#ifndef EXEC_SOCKET_H
#define EXEC_SOCKET_H

#include "request.h"

extern const struct operation op_bind, op_listen, op_uring_cmd, op_epoll_ctl, op_pipe;

#endif /* EXEC_SOCKET_H */
