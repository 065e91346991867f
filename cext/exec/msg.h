/* SPDX-License-Identifier: MIT */
/* Messages of sockets: bytes with a name, and with control data, which may be descriptors. */
#ifndef EXEC_MSG_H
#define EXEC_MSG_H

#include "request.h"

extern const struct operation op_sendmsg, op_sendmsg_zc, op_recvmsg;

#endif /* EXEC_MSG_H */
