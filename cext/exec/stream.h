/* SPDX-License-Identifier: MIT */
/* Bytes of sockets, as they go by io_uring everywhere: from and to buffers of the program. */
#ifndef EXEC_STREAM_H
#define EXEC_STREAM_H

#include "request.h"

extern const struct operation op_recv, op_send, op_send_zc;

/* Does the socket have more? The completion's flag. TCP's end counts as more, too. */
uint32_t stream_rest(int fd, bool has_ended);

#endif /* EXEC_STREAM_H */
