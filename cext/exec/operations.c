/* SPDX-License-Identifier: MIT */
#include "operations.h"

#include "basic.h"
#include "cancel.h"
#include "fixed.h"
#include "msg.h"
#include "net.h"
#include "offload.h"
#include "provide.h"
#include "recv_zc.h"
#include "socket.h"
#include "stream.h"
#include "timeout.h"
#include "transfer.h"

static const struct operation *const operations[OPERATIONS] = {
	[IORING_OP_NOP] = &op_nop,
	[IORING_OP_POLL_ADD] = &op_poll_add,
	[IORING_OP_POLL_REMOVE] = &op_poll_remove,
	[IORING_OP_SENDMSG] = &op_sendmsg,
	[IORING_OP_RECVMSG] = &op_recvmsg,
	[IORING_OP_TIMEOUT] = &op_timeout,
	[IORING_OP_TIMEOUT_REMOVE] = &op_timeout_remove,
	[IORING_OP_ACCEPT] = &op_accept,
	[IORING_OP_ASYNC_CANCEL] = &op_async_cancel,
	[IORING_OP_LINK_TIMEOUT] = &op_link_timeout,
	[IORING_OP_CONNECT] = &op_connect,
	[IORING_OP_CLOSE] = &op_close,
	[IORING_OP_FILES_UPDATE] = &op_files_update,
	[IORING_OP_SEND] = &op_send,
	[IORING_OP_RECV] = &op_recv,
	[IORING_OP_EPOLL_CTL] = &op_epoll_ctl,
	[IORING_OP_PROVIDE_BUFFERS] = &op_provide_buffers,
	[IORING_OP_REMOVE_BUFFERS] = &op_remove_buffers,
	[IORING_OP_SHUTDOWN] = &op_shutdown,
	[IORING_OP_MSG_RING] = &op_msg_ring,
	[IORING_OP_SOCKET] = &op_socket,
	[IORING_OP_SEND_ZC] = &op_send_zc,
	[IORING_OP_URING_CMD] = &op_uring_cmd,
	[IORING_OP_READ_MULTISHOT] = &op_read_multishot,
	[IORING_OP_BIND] = &op_bind,
	[IORING_OP_LISTEN] = &op_listen,
	[IORING_OP_PIPE] = &op_pipe,
	[IORING_OP_FIXED_FD_INSTALL] = &op_fixed_fd_install,
	[IORING_OP_SENDMSG_ZC] = &op_sendmsg_zc,
	[IORING_OP_RECV_ZC] = &op_recv_zc,
};

/* Where this machine has no io_uring for us. */
static const struct operation *const without_machine[OPERATIONS] = {
	[IORING_OP_READ] = &op_read,
	[IORING_OP_WRITE] = &op_write,
};

const struct operation *operation_of(const struct kernel *kernel, uint8_t opcode)
{
	const struct operation *operation;

	if (opcode < OPERATIONS && operations[opcode])
		return operations[opcode];
	operation = offload_operation(kernel, opcode);
	if (!operation && opcode < OPERATIONS)
		operation = without_machine[opcode];
	return operation;
}
