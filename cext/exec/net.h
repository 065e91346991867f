/* SPDX-License-Identifier: MIT */
/* Operations on sockets, by copies of the program's descriptors. None blocks. */
#ifndef EXEC_NET_H
#define EXEC_NET_H

#include "request.h"

extern const struct operation op_accept, op_connect, op_shutdown, op_socket, op_poll_add;

#endif /* EXEC_NET_H */
