/* SPDX-License-Identifier: MIT */
#include "cancel.h"

#include <errno.h>

#include "space.h"
#include "timeout.h"
#include "watch.h"

#define BY_OTHERS (IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP)
#define CANCEL_FLAGS                                                                  \
	(IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ANY | \
	 IORING_ASYNC_CANCEL_FD_FIXED | IORING_ASYNC_CANCEL_USERDATA | IORING_ASYNC_CANCEL_OP)

/* Which are meant. */
struct meant {
	const struct request *but; /* who asks for it; NULL: a call */
	uint64_t user_data;
	uint32_t flags;
	int32_t fd;
	bool is_fixed;
	uint32_t opcode;
};

/* Descriptors of one file are many: it is the number that tells, and where it is one. */
static bool is_same_file(const struct meant *meant, const struct request *other)
{
	bool is_fixed = (other->sqe.flags & IOSQE_FIXED_FILE) != 0;

	return other->operation->has_fd && other->sqe.fd == meant->fd &&
	       is_fixed == meant->is_fixed;
}

static bool is_meant(const struct meant *meant, const struct request *other)
{
	if (other == meant->but)
		return false;
	if (meant->flags & IORING_ASYNC_CANCEL_ANY)
		return true;
	if (meant->flags & IORING_ASYNC_CANCEL_FD && !is_same_file(meant, other))
		return false;
	if (meant->flags & IORING_ASYNC_CANCEL_OP && other->sqe.opcode != meant->opcode)
		return false;
	if (meant->flags & IORING_ASYNC_CANCEL_USERDATA || !(meant->flags & BY_OTHERS))
		return other->sqe.user_data == meant->user_data;
	return true;
}

static struct request *find(const struct ring *ring, const struct meant *meant)
{
	struct request *other = ring->requests;

	while (other && !is_meant(meant, other))
		other = other->next;
	return other;
}

/* How many, if all are; else 0. -ENOENT: there is none. */
static int64_t cancel(struct ring *ring, const struct meant *meant)
{
	bool all = (meant->flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY)) != 0;
	struct request *other = find(ring, meant);
	int64_t count = 0;

	if (!other && !all)
		return -ENOENT;
	while (other && (all || count == 0)) {
		request_cancel(other, -ECANCELED);
		count++;
		other = find(ring, meant);
	}
	return all ? count : 0;
}

/* ---- by an operation ---------------------------------------------------------------------------- */

static int prepare_cancel(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->off || sqe->file_index || sqe->op_flags & ~CANCEL_FLAGS)
		return -EINVAL;
	return sqe->op_flags & IORING_ASYNC_CANCEL_ANY && sqe->op_flags & BY_OTHERS ? -EINVAL : 0;
}

static int64_t attempt_cancel(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const struct meant meant = {
		.but = request,
		.user_data = sqe->addr,
		.flags = sqe->op_flags,
		.fd = sqe->fd,
		.is_fixed = sqe->op_flags & IORING_ASYNC_CANCEL_FD_FIXED ||
			    sqe->flags & IOSQE_FIXED_FILE,
		.opcode = sqe->len,
	};

	return cancel(request->ring, &meant);
}

/* The one with the user data that is of this operation. NULL: there is none. */
static struct request *find_one(const struct request *request, uint8_t opcode)
{
	const struct meant meant = {
		.but = request,
		.user_data = request->sqe.addr,
		.flags = IORING_ASYNC_CANCEL_USERDATA | IORING_ASYNC_CANCEL_OP,
		.opcode = opcode,
	};

	return find(request->ring, &meant);
}

/* ---- timeouts ----------------------------------------------------------------------------------- */

static int prepare_timeout_remove(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint32_t update = IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE;
	const uint32_t known = update | IORING_TIMEOUT_ABS | IORING_TIMEOUT_BOOTTIME |
			       IORING_TIMEOUT_REALTIME;

	if (sqe->buf_index || sqe->len || sqe->file_index)
		return -EINVAL;
	if (sqe->op_flags & update)
		return sqe->op_flags & ~known || !timeout_has_one_clock(sqe->op_flags) ? -EINVAL :
											 0;
	return sqe->op_flags ? -EINVAL : 0;
}

static int64_t attempt_timeout_remove(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	bool is_linked = (sqe->op_flags & IORING_LINK_TIMEOUT_UPDATE) != 0;
	struct request *other =
		find_one(request, is_linked ? IORING_OP_LINK_TIMEOUT : IORING_OP_TIMEOUT);
	uint64_t deadline;
	int error;

	if (sqe->op_flags) {
		error = timeout_read(request->space, sqe->off, sqe->op_flags, &deadline);
		if (error)
			return error;
	}
	if (!other)
		return -ENOENT;
	if (sqe->op_flags)
		other->deadline = deadline;
	else
		request_cancel(other, -ECANCELED);
	return 0;
}

/* ---- polls -------------------------------------------------------------------------------------- */

static int prepare_poll_remove(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const uint32_t known = IORING_POLL_ADD_MULTI | IORING_POLL_UPDATE_EVENTS |
			       IORING_POLL_UPDATE_USER_DATA;

	if (sqe->buf_index || sqe->file_index || sqe->len & ~known ||
	    sqe->len == IORING_POLL_ADD_MULTI)
		return -EINVAL;
	if (!(sqe->len & IORING_POLL_UPDATE_USER_DATA) && sqe->off)
		return -EINVAL;
	return !(sqe->len & IORING_POLL_UPDATE_EVENTS) && sqe->op_flags ? -EINVAL : 0;
}

/* It waits anew, for what is asked now. */
static void update_poll(const struct request *request, struct request *other)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	if (sqe->len & IORING_POLL_UPDATE_USER_DATA)
		other->sqe.user_data = sqe->off;
	if (!(sqe->len & IORING_POLL_UPDATE_EVENTS))
		return;
	other->sqe.op_flags = sqe->op_flags;
	other->sqe.len = sqe->len & IORING_POLL_ADD_MULTI;
	if (other->is_watched)
		watch_remove(other->ring->kernel->queue, &other->watch);
	other->is_watched = false;
	other->seen = 0;
	other->is_ready = true;
}

static int64_t attempt_poll_remove(struct request *request)
{
	struct request *other = find_one(request, IORING_OP_POLL_ADD);

	if (!other)
		return -ENOENT;
	if (request->sqe.len)
		update_poll(request, other);
	else
		request_cancel(other, -ECANCELED);
	return 0;
}

/* ---- by a call ---------------------------------------------------------------------------------- */

/* What is ended is ended at once: nothing has to be waited for. */
int64_t cancel_register(struct ring *ring, uint64_t at, uint32_t nr_args)
{
	struct io_uring_sync_cancel_reg asked;
	struct meant meant;

	if (!at || nr_args != 1)
		return -EINVAL;
	if (space_read(ring->kernel->task->space, &asked, at, sizeof(asked)))
		return -EFAULT;
	for (size_t i = 0; i < sizeof(asked.pad); i++) {
		if (asked.pad[i])
			return -EINVAL;
	}
	if (asked.pad2[0] || asked.pad2[1] || asked.pad2[2] || asked.flags & ~CANCEL_FLAGS)
		return -EINVAL;
	meant = (struct meant){
		.user_data = asked.addr,
		.flags = asked.flags,
		.fd = asked.fd,
		.is_fixed = (asked.flags & IORING_ASYNC_CANCEL_FD_FIXED) != 0,
		.opcode = asked.opcode,
	};
	return cancel(ring, &meant);
}

const struct operation op_async_cancel = {
	.name = "ASYNC_CANCEL",
	.prepare = prepare_cancel,
	.attempt = attempt_cancel,
};
const struct operation op_timeout_remove = {
	.name = "TIMEOUT_REMOVE",
	.prepare = prepare_timeout_remove,
	.attempt = attempt_timeout_remove,
};
const struct operation op_poll_remove = {
	.name = "POLL_REMOVE",
	.prepare = prepare_poll_remove,
	.attempt = attempt_poll_remove,
};
