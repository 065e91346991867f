/* SPDX-License-Identifier: MIT */
/*
 * The rest of io_uring's ABI, as far as programs of zero-copy receive use it: what is set up,
 * submitted and registered. Compare with include/uapi/linux/io_uring.h. The machine's own
 * header may be older than what is emulated, so that it is not used.
 */
#ifndef EXEC_URING_H
#define EXEC_URING_H

#include "wire/abi.h"

/* ---- setting up -------------------------------------------------------------------- */

enum {
	IORING_SETUP_CQSIZE = 1 << 3,
	IORING_SETUP_CLAMP = 1 << 4,
	IORING_SETUP_ATTACH_WQ = 1 << 5,
	IORING_SETUP_R_DISABLED = 1 << 6,
	IORING_SETUP_SUBMIT_ALL = 1 << 7,
	IORING_SETUP_COOP_TASKRUN = 1 << 8,
	IORING_SETUP_TASKRUN_FLAG = 1 << 9,
	IORING_SETUP_CQE32 = 1 << 11,
	IORING_SETUP_SINGLE_ISSUER = 1 << 12,
	IORING_SETUP_DEFER_TASKRUN = 1 << 13,
	IORING_SETUP_NO_SQARRAY = 1 << 16,
	IORING_SETUP_CQE_MIXED = 1 << 18,
};

enum {
	IORING_FEAT_SINGLE_MMAP = 1 << 0,
	IORING_FEAT_NODROP = 1 << 1,
	IORING_FEAT_SUBMIT_STABLE = 1 << 2,
	IORING_FEAT_RW_CUR_POS = 1 << 3,
	IORING_FEAT_FAST_POLL = 1 << 5,
	IORING_FEAT_POLL_32BITS = 1 << 6,
	IORING_FEAT_EXT_ARG = 1 << 8,
	IORING_FEAT_NATIVE_WORKERS = 1 << 9,
	IORING_FEAT_RSRC_TAGS = 1 << 10,
	IORING_FEAT_CQE_SKIP = 1 << 11,
	IORING_FEAT_LINKED_FILE = 1 << 12,
	IORING_FEAT_REG_REG_RING = 1 << 13,
	IORING_FEAT_RECVSEND_BUNDLE = 1 << 14,
	IORING_FEAT_MIN_TIMEOUT = 1 << 15,
};

/* Those that we take of all there are. */
#define SETUP_FLAGS                                                                      \
	(IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_ATTACH_WQ |             \
	 IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | \
	 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQE32 | IORING_SETUP_SINGLE_ISSUER |   \
	 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQE_MIXED)

#define IORING_OFF_CQ_RING 0x8000000U
#define IORING_OFF_SQES 0x10000000U
#define IORING_OFF_PBUF_RING 0x80000000U
#define IORING_OFF_PBUF_SHIFT 16
#define IORING_SQ_CQ_OVERFLOW (1U << 1)
#define IORING_SQ_TASKRUN (1U << 2)

struct io_sqring_offsets {
	uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
	uint64_t user_addr;
};

struct io_cqring_offsets {
	uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
	uint64_t user_addr;
};

struct io_uring_params {
	uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
	uint32_t resv[3];
	struct io_sqring_offsets sq_off;
	struct io_cqring_offsets cq_off;
};

_Static_assert(sizeof(struct io_uring_params) == 120, "params");

/* ---- submitting -------------------------------------------------------------------- */

struct io_uring_sqe {
	uint8_t opcode, flags;
	uint16_t ioprio;
	int32_t fd;
	uint64_t off; /* or addr2 */
	uint64_t addr;
	uint32_t len;
	uint32_t op_flags; /* the operation's own */
	uint64_t user_data;
	uint16_t buf_index, personality;
	uint32_t file_index; /* or the zcrx id */
	uint64_t addr3;
	uint64_t pad2;
};

_Static_assert(sizeof(struct io_uring_sqe) == 64, "sqe");
_Static_assert(offsetof(struct io_uring_sqe, user_data) == 32, "sqe.user_data");

enum {
	IOSQE_FIXED_FILE = 1 << 0,
	IOSQE_IO_DRAIN = 1 << 1,
	IOSQE_IO_LINK = 1 << 2,
	IOSQE_IO_HARDLINK = 1 << 3,
	IOSQE_ASYNC = 1 << 4,
	IOSQE_BUFFER_SELECT = 1 << 5,
	IOSQE_CQE_SKIP_SUCCESS = 1 << 6,
};

#define SQE_FLAGS                                                                              \
	(IOSQE_FIXED_FILE | IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC | \
	 IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS)

enum {
	IORING_OP_NOP = 0,
	IORING_OP_READV,
	IORING_OP_WRITEV,
	IORING_OP_FSYNC,
	IORING_OP_READ_FIXED,
	IORING_OP_WRITE_FIXED,
	IORING_OP_POLL_ADD,
	IORING_OP_POLL_REMOVE,
	IORING_OP_SYNC_FILE_RANGE,
	IORING_OP_SENDMSG,
	IORING_OP_RECVMSG,
	IORING_OP_TIMEOUT,
	IORING_OP_TIMEOUT_REMOVE,
	IORING_OP_ACCEPT,
	IORING_OP_ASYNC_CANCEL,
	IORING_OP_LINK_TIMEOUT,
	IORING_OP_CONNECT,
	IORING_OP_FALLOCATE,
	IORING_OP_OPENAT,
	IORING_OP_CLOSE,
	IORING_OP_FILES_UPDATE,
	IORING_OP_STATX,
	IORING_OP_READ,
	IORING_OP_WRITE,
	IORING_OP_FADVISE,
	IORING_OP_MADVISE,
	IORING_OP_SEND,
	IORING_OP_RECV,
	IORING_OP_OPENAT2,
	IORING_OP_EPOLL_CTL,
	IORING_OP_SPLICE,
	IORING_OP_PROVIDE_BUFFERS,
	IORING_OP_REMOVE_BUFFERS,
	IORING_OP_TEE,
	IORING_OP_SHUTDOWN,
	IORING_OP_RENAMEAT,
	IORING_OP_UNLINKAT,
	IORING_OP_MKDIRAT,
	IORING_OP_SYMLINKAT,
	IORING_OP_LINKAT,
	IORING_OP_MSG_RING,
	IORING_OP_FSETXATTR,
	IORING_OP_SETXATTR,
	IORING_OP_FGETXATTR,
	IORING_OP_GETXATTR,
	IORING_OP_SOCKET,
	IORING_OP_URING_CMD,
	IORING_OP_SEND_ZC,
	IORING_OP_SENDMSG_ZC,
	IORING_OP_READ_MULTISHOT,
	IORING_OP_WAITID,
	IORING_OP_FUTEX_WAIT,
	IORING_OP_FUTEX_WAKE,
	IORING_OP_FUTEX_WAITV,
	IORING_OP_FIXED_FD_INSTALL,
	IORING_OP_FTRUNCATE,
	IORING_OP_BIND,
	IORING_OP_LISTEN,
	IORING_OP_RECV_ZC,
	IORING_OP_EPOLL_WAIT,
	IORING_OP_READV_FIXED,
	IORING_OP_WRITEV_FIXED,
	IORING_OP_PIPE,
};
_Static_assert(IORING_OP_RECV_ZC == 58, "numbers of operations");
#define OPERATIONS 65U /* numbers that the kernel of the newest level knows */

#define IORING_NOP_INJECT_RESULT (1U << 0)
#define IORING_NOP_TW (1U << 4)
#define IORING_RECVSEND_POLL_FIRST (1U << 0)
#define IORING_RECV_MULTISHOT (1U << 1)
#define IORING_RECVSEND_FIXED_BUF (1U << 2)
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#define IORING_RECVSEND_BUNDLE (1U << 4)
#define IORING_ACCEPT_MULTISHOT (1U << 0)
#define IORING_ACCEPT_DONTWAIT (1U << 1)
#define IORING_ACCEPT_POLL_FIRST (1U << 2)
#define IORING_POLL_ADD_MULTI (1U << 0)
#define IORING_POLL_UPDATE_EVENTS (1U << 1)
#define IORING_POLL_UPDATE_USER_DATA (1U << 2)
#define IORING_TIMEOUT_ABS (1U << 0)
#define IORING_TIMEOUT_UPDATE (1U << 1)
#define IORING_TIMEOUT_BOOTTIME (1U << 2)
#define IORING_TIMEOUT_REALTIME (1U << 3)
#define IORING_LINK_TIMEOUT_UPDATE (1U << 4)
#define IORING_TIMEOUT_ETIME_SUCCESS (1U << 5)
#define IORING_TIMEOUT_MULTISHOT (1U << 6)
#define IORING_ASYNC_CANCEL_ALL (1U << 0)
#define IORING_ASYNC_CANCEL_FD (1U << 1)
#define IORING_ASYNC_CANCEL_ANY (1U << 2)
#define IORING_ASYNC_CANCEL_FD_FIXED (1U << 3)
#define IORING_ASYNC_CANCEL_USERDATA (1U << 4)
#define IORING_ASYNC_CANCEL_OP (1U << 5)
#define IORING_MSG_RING_CQE_SKIP (1U << 0)
#define IORING_MSG_RING_FLAGS_PASS (1U << 1)
#define IORING_MSG_DATA 0U
#define IORING_MSG_SEND_FD 1U
#define SOCKET_URING_OP_SIOCINQ 0U
#define SOCKET_URING_OP_SIOCOUTQ 1U
#define SOCKET_URING_OP_GETSOCKOPT 2U
#define SOCKET_URING_OP_SETSOCKOPT 3U
#define IORING_FIXED_FD_NO_CLOEXEC (1U << 0)
/* Of a file_index: any slot that is free. */
#define IORING_FILE_INDEX_ALLOC UINT32_MAX

/* ---- entering ---------------------------------------------------------------------- */

enum {
	IORING_ENTER_GETEVENTS = 1 << 0,
	IORING_ENTER_SQ_WAKEUP = 1 << 1,
	IORING_ENTER_SQ_WAIT = 1 << 2,
	IORING_ENTER_EXT_ARG = 1 << 3,
	IORING_ENTER_REGISTERED_RING = 1 << 4,
	IORING_ENTER_ABS_TIMER = 1 << 5,
};

#define ENTER_FLAGS                                                               \
	(IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT | \
	 IORING_ENTER_EXT_ARG | IORING_ENTER_REGISTERED_RING | IORING_ENTER_ABS_TIMER)

struct io_uring_getevents_arg {
	uint64_t sigmask;
	uint32_t sigmask_sz;
	uint32_t min_wait_usec;
	uint64_t ts;
};

struct io_uring_timespec {
	int64_t tv_sec;
	int64_t tv_nsec;
};

/* ---- registering ------------------------------------------------------------------- */

enum {
	IORING_REGISTER_BUFFERS = 0,
	IORING_UNREGISTER_BUFFERS = 1,
	IORING_REGISTER_FILES = 2,
	IORING_UNREGISTER_FILES = 3,
	IORING_REGISTER_EVENTFD = 4,
	IORING_UNREGISTER_EVENTFD = 5,
	IORING_REGISTER_FILES_UPDATE = 6,
	IORING_REGISTER_EVENTFD_ASYNC = 7,
	IORING_REGISTER_PROBE = 8,
	IORING_REGISTER_RESTRICTIONS = 11,
	IORING_REGISTER_ENABLE_RINGS = 12,
	IORING_REGISTER_FILES2 = 13,
	IORING_REGISTER_FILES_UPDATE2 = 14,
	IORING_REGISTER_BUFFERS2 = 15,
	IORING_REGISTER_BUFFERS_UPDATE = 16,
	IORING_REGISTER_IOWQ_AFF = 17,
	IORING_UNREGISTER_IOWQ_AFF = 18,
	IORING_REGISTER_IOWQ_MAX_WORKERS = 19,
	IORING_REGISTER_RING_FDS = 20,
	IORING_UNREGISTER_RING_FDS = 21,
	IORING_REGISTER_PBUF_RING = 22,
	IORING_UNREGISTER_PBUF_RING = 23,
	IORING_REGISTER_SYNC_CANCEL = 24,
	IORING_REGISTER_FILE_ALLOC_RANGE = 25,
	IORING_REGISTER_PBUF_STATUS = 26,
	IORING_REGISTER_NAPI = 27,
	IORING_UNREGISTER_NAPI = 28,
	IORING_REGISTER_CLOCK = 29,
	IORING_REGISTER_ZCRX_IFQ = 32,
	IORING_REGISTER_QUERY = 35,
	IORING_REGISTER_ZCRX_CTRL = 36,
	REGISTER_OPCODES, /* how many numbers there are */
};
#define ZCRX_REG_NODEV (1U << 1)
#define IORING_REGISTER_USE_REGISTERED_RING (1U << 31)

struct io_uring_probe_op {
	uint8_t op, resv;
	uint16_t flags;
	uint32_t resv2;
};

struct io_uring_probe {
	uint8_t last_op, ops_len;
	uint16_t resv;
	uint32_t resv2[3];
};
#define IO_URING_OP_SUPPORTED (1U << 0)

struct io_uring_rsrc_register {
	uint32_t nr, flags;
	uint64_t resv2;
	uint64_t data, tags; /* addresses of as many words */
};
#define IORING_RSRC_REGISTER_SPARSE (1U << 0)

struct io_uring_rsrc_update {
	uint32_t offset, resv;
	uint64_t data;
};

struct io_uring_rsrc_update2 {
	uint32_t offset, resv;
	uint64_t data, tags;
	uint32_t nr, resv2;
};
#define IORING_REGISTER_FILES_SKIP (-2)

struct io_uring_file_index_range {
	uint32_t off, len;
	uint64_t resv;
};

struct io_uring_sync_cancel_reg {
	uint64_t addr;
	int32_t fd;
	uint32_t flags;
	struct io_uring_timespec timeout;
	uint8_t opcode, pad[7];
	uint64_t pad2[3];
};

struct io_uring_napi {
	uint32_t busy_poll_to;
	uint8_t prefer_busy_poll, opcode, pad[2];
	uint32_t op_param, resv;
};

struct io_uring_restriction {
	uint16_t opcode;
	uint8_t what, resv;
	uint32_t resv2[3];
};

enum {
	IORING_RESTRICTION_REGISTER_OP,
	IORING_RESTRICTION_SQE_OP,
	IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
	IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
};
#define IORING_CQ_EVENTFD_DISABLED (1U << 0)

_Static_assert(sizeof(struct io_uring_sync_cancel_reg) == 64 &&
		       sizeof(struct io_uring_napi) == 16 &&
		       sizeof(struct io_uring_restriction) == 16,
	       "arguments of calls");

/* A ring of buffers: the tail stands in what is reserved of the first entry. */
struct io_uring_buf {
	uint64_t addr;
	uint32_t len;
	uint16_t bid, resv;
};

struct io_uring_buf_reg {
	uint64_t ring_addr;
	uint32_t ring_entries;
	uint16_t bgid, flags;
	uint64_t resv[3];
};
#define IOU_PBUF_RING_MMAP (1U << 0)
#define IOU_PBUF_RING_INC (1U << 1)

struct io_uring_buf_status {
	uint32_t buf_group, head;
	uint32_t resv[8];
};

_Static_assert(sizeof(struct io_uring_buf) == 16 && sizeof(struct io_uring_buf_reg) == 40,
	       "rings of buffers");

#endif /* EXEC_URING_H */
