/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "offload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "briefly.h"
#include "backing.h"
#include "buffers.h"
#include "files.h"
#include "fixed.h"
#include "numbers.h"
#include "operations.h"
#include "path.h"
#include "space.h"
#include "transfer.h"

#define BYTES_MAX (64U << 20) /* of one request: more is moved by the next one */
#define VECTOR_MAX 1024U
#define EPOLL_EVENT_SIZE 12U
#define SPLICE_F_FD_IN_FIXED (1U << 31)

/* What a word of a submission is. */
enum part {
	VALUE, /* itself */
	BYTES_IN, /* where `size` bytes are */
	BYTES_OUT, /* where they are to be */
	VECTOR_IN, /* where `len` buffers are told, with bytes, or for them */
	VECTOR_OUT,
	PATH,
	TEXT, /* any other */
};

/* How large what is named is. */
enum size { LENGTH, STATX, EVENTS };

struct form {
	struct operation operation;
	uint8_t opcode; /* there; 0: the same */
	enum part addr, off;
	enum size size;
	bool is_at, is_at_too; /* `fd` is a directory or AT_FDCWD, `len` is */
	bool is_fixed; /* its memory is in a registered buffer */
	bool has_mode; /* the program's mask has a say in `len` */
	bool has_two; /* another file, in the place of a slot */
};

enum { ADDR, OFF, PARTS };

struct work {
	struct job job;
	struct request *request; /* NULL: it has ended otherwise */
	bool is_done;
	int32_t res;
	struct io_uring_sqe sqe;
	int fds[PARTS]; /* copies of those it names so, -1: none */
	uint8_t *blocks[PARTS];
	size_t sizes[PARTS];
	struct iovec *vector; /* the program's */
	uint32_t vector_count;
};

static const struct form *form_of(const struct request *request)
{
	return (const struct form *)(const void *)((const char *)request->operation -
						   offsetof(struct form, operation));
}

static void free_work(struct work *work)
{
	for (int i = 0; i < PARTS; i++) {
		free(work->blocks[i]);
		if (work->fds[i] >= 0)
			briefly_close(work->fds[i]);
	}
	free(work->vector);
	free(work);
}

/* ---- there ---------------------------------------------------------------------------------- */

static uint64_t size_of(const struct request *request)
{
	uint64_t length = request->sqe.len;

	switch (form_of(request)->size) {
	case STATX:
		return sizeof(struct statx);
	case EVENTS:
		return length * EPOLL_EVENT_SIZE;
	case LENGTH:
		break;
	}
	return length < BYTES_MAX ? length : BYTES_MAX;
}

static uint64_t *word_of(struct io_uring_sqe *sqe, int part)
{
	return part == ADDR ? &sqe->addr : &sqe->off;
}

static int add_block(struct work *work, int part, size_t size)
{
	if (size > BYTES_MAX)
		return -EINVAL;
	work->blocks[part] = malloc(size + !size);
	if (!work->blocks[part])
		return -ENOMEM;
	work->sizes[part] = size;
	*word_of(&work->sqe, part) = (uint64_t)(uintptr_t)work->blocks[part];
	return 0;
}

static int copy_bytes(struct work *work, int part, bool is_in)
{
	struct request *request = work->request;
	uint64_t at = *word_of(&request->sqe, part);
	int error = add_block(work, part, size_of(request));

	if (!error && is_in)
		error = space_read(request->space, work->blocks[part], at, work->sizes[part]);
	if (part == ADDR && form_of(request)->size == LENGTH)
		work->sqe.len = (uint32_t)work->sizes[part];
	return error;
}

static int copy_text(struct work *work, int part, bool is_path)
{
	struct request *request = work->request;
	char text[PATH_SIZE];
	int error = path_read(request->space, *word_of(&request->sqe, part), text, is_path);

	if (!error)
		error = add_block(work, part, strlen(text) + 1);
	if (!error)
		memcpy(work->blocks[part], text, work->sizes[part]);
	return error;
}

/* Its buffers, in a row: it is moved as one. */
static int copy_vector(struct work *work, bool is_in)
{
	struct request *request = work->request;
	const struct io_uring_sqe *sqe = &request->sqe;
	uint64_t size = 0, done = 0;
	int error;

	if (sqe->len > VECTOR_MAX)
		return -EINVAL;
	work->vector = calloc(sqe->len + 1, sizeof(*work->vector));
	if (!work->vector)
		return -ENOMEM;
	work->vector_count = sqe->len;
	error = space_read(request->space, work->vector, sqe->addr,
			   sqe->len * sizeof(*work->vector));
	for (uint32_t i = 0; !error && i < sqe->len; i++) {
		if (work->vector[i].iov_len > BYTES_MAX - size)
			work->vector[i].iov_len = BYTES_MAX - size;
		size += work->vector[i].iov_len;
	}
	if (!error)
		error = add_block(work, ADDR, size);
	for (uint32_t i = 0; !error && is_in && i < sqe->len; i++) {
		error = space_read(request->space, work->blocks[ADDR] + done,
				   (uint64_t)(uintptr_t)work->vector[i].iov_base,
				   work->vector[i].iov_len);
		done += work->vector[i].iov_len;
	}
	work->sqe.len = (uint32_t)size;
	return error;
}

static int copy_part(struct work *work, int part, enum part kind)
{
	switch (kind) {
	case VALUE:
		return 0;
	case BYTES_IN:
		return copy_bytes(work, part, true);
	case BYTES_OUT:
		return copy_bytes(work, part, false);
	case VECTOR_IN:
		return copy_vector(work, true);
	case VECTOR_OUT:
		return copy_vector(work, false);
	case PATH:
		return copy_text(work, part, true);
	case TEXT:
		break;
	}
	return copy_text(work, part, false);
}

static int copy_parts(struct work *work)
{
	const struct form *form = form_of(work->request);
	int error = copy_part(work, ADDR, form->addr);

	return error ? error : copy_part(work, OFF, form->off);
}

static int keep_fd(struct work *work, int part, int fd)
{
	work->fds[part] = fd;
	return fd < 0 ? fd : 0;
}

static int find_second(struct work *work)
{
	const struct request *request = work->request;
	uint32_t number = request->sqe.file_index;
	int error;

	if (request->sqe.op_flags & SPLICE_F_FD_IN_FIXED)
		error = keep_fd(work, OFF, files_fetch(request->ring, number));
	else
		error = keep_fd(work, OFF, task_fetch(request->ring->kernel->task, (int)number));
	work->sqe.op_flags &= ~SPLICE_F_FD_IN_FIXED;
	work->sqe.file_index = (uint32_t)work->fds[OFF];
	return error;
}

static int find_files(struct work *work)
{
	struct request *request = work->request;
	const struct form *form = form_of(request);
	const struct task *task = request->ring->kernel->task;
	int error = 0;

	if (!task)
		return -EBADF;
	if (form->operation.has_fd)
		work->sqe.fd = request->watch.fd;
	if (form->is_at) {
		error = path_check(task);
		if (!error)
			error = keep_fd(work, ADDR, path_directory(task, request->sqe.fd));
		work->sqe.fd = work->fds[ADDR];
	}
	if (!error && form->is_at_too) {
		error = keep_fd(work, OFF, path_directory(task, (int)request->sqe.len));
		work->sqe.len = (uint32_t)work->fds[OFF];
	}
	if (!error && form->has_two)
		error = find_second(work);
	return error;
}

/* New files have the rights that the program's mask leaves: the gateway has no mask of its own. */
static void mask_mode(struct work *work)
{
	const struct request *request = work->request;
	uint32_t mask = path_mask(request->ring->kernel->task);
	struct open_how *how = (void *)work->blocks[OFF];

	if (form_of(request)->has_mode)
		work->sqe.len &= ~mask;
	if (request->sqe.opcode == IORING_OP_OPENAT2 && work->sizes[OFF] >= sizeof(*how))
		how->mode &= ~(uint64_t)mask;
}

static void done(struct job *job, int32_t res)
{
	struct work *work = (struct work *)(void *)((char *)job - offsetof(struct work, job));

	work->is_done = true;
	work->res = res;
	if (work->request)
		work->request->is_ready = true;
	else
		free_work(work);
}

static int prepare_work(struct work *work)
{
	struct request *request = work->request;
	const struct form *form = form_of(request);
	struct io_uring_sqe *sqe = &work->sqe;
	int error = 0;

	*sqe = request->sqe;
	sqe->flags &= IOSQE_ASYNC;
	if (form->opcode)
		sqe->opcode = form->opcode;
	if (form->operation.gives_fd)
		sqe->file_index = 0;
	if (form->is_fixed) {
		error = buffers_check(request->ring, sqe->buf_index, sqe->addr, sqe->len);
		sqe->buf_index = 0;
	}
	if (!error)
		error = find_files(work);
	if (!error)
		error = copy_parts(work);
	if (!error && (form->has_mode || form->operation.gives_fd))
		mask_mode(work);
	return error;
}

static int begin(struct request *request)
{
	struct work *work = calloc(1, sizeof(*work));
	int error;

	if (!work)
		return -ENOMEM;
	work->job.done = done;
	work->request = request;
	for (int i = 0; i < PARTS; i++)
		work->fds[i] = -1;
	error = prepare_work(work);
	if (error) {
		free_work(work);
		return error;
	}
	request->work = work;
	return backing_submit(request->ring->kernel->backing, &work->sqe, &work->job);
}

/* ---- and back --------------------------------------------------------------------------------- */

static int scatter(const struct work *work, uint64_t size)
{
	struct space *space = work->request->space;
	uint64_t from = 0;

	for (uint32_t i = 0; i < work->vector_count && from < size; i++) {
		uint64_t here = work->vector[i].iov_len;

		if (here > size - from)
			here = size - from;
		if (space_write(space, (uint64_t)(uintptr_t)work->vector[i].iov_base,
				work->blocks[ADDR] + from, here))
			return -EFAULT;
		from += here;
	}
	return 0;
}

/* How much of what was to be written there is. */
static uint64_t result_size(const struct work *work, int part)
{
	uint64_t size = (uint32_t)work->res;

	if (form_of(work->request)->size == STATX)
		return sizeof(struct statx);
	if (form_of(work->request)->size == EVENTS)
		size *= EPOLL_EVENT_SIZE;
	return size < work->sizes[part] ? size : work->sizes[part];
}

static int copy_back(const struct work *work, int part, enum part kind)
{
	struct request *request = work->request;

	if (kind == VECTOR_OUT)
		return scatter(work, result_size(work, part));
	if (kind != BYTES_OUT)
		return 0;
	return space_write(request->space, *word_of(&request->sqe, part), work->blocks[part],
			   result_size(work, part));
}

static int64_t finish(struct request *request)
{
	const struct form *form = form_of(request);
	struct work *work = request->work;
	int error = 0, flags = (int)request->sqe.op_flags;

	if (work->res < 0)
		return work->res;
	if (form->operation.gives_fd) {
		if (request->sqe.opcode == IORING_OP_OPENAT2)
			flags = (int)((const struct open_how *)(void *)work->blocks[OFF])->flags;
		return fixed_give(request, work->res, flags & O_CLOEXEC);
	}
	error = copy_back(work, ADDR, form->addr);
	if (!error)
		error = copy_back(work, OFF, form->off);
	return error ? error : work->res;
}

static int64_t attempt(struct request *request)
{
	int error;

	if (request->sqe.flags & IOSQE_BUFFER_SELECT)
		return transfer_read(request);
	error = request->work ? 0 : begin(request);
	if (error)
		return error;
	if (request->work->is_done)
		return finish(request);
	request->events = 0;
	return REQUEST_WAITS;
}

/* What is done already is told as it went: bytes may have been moved. */
static bool cancel(struct request *request, int error)
{
	struct work *work = request->work;
	int64_t result = error;

	if (work && !work->is_done)
		backing_cancel(request->ring->kernel->backing, &work->job);
	if (work && work->is_done && !form_of(request)->operation.gives_fd) {
		result = finish(request);
		ring_post(request->ring, request->sqe.user_data, (int32_t)result, 0);
		return true;
	}
	return false;
}

static void release(struct request *request)
{
	struct work *work = request->work;

	request->work = NULL;
	if (!work)
		return;
	work->request = NULL;
	if (work->is_done)
		free_work(work);
	else
		backing_cancel(request->ring->kernel->backing, &work->job);
}

/* ---- which ------------------------------------------------------------------------------------- */

static int prepare_open(struct request *request)
{
	return request->sqe.opcode == IORING_OP_OPENAT ?
		       fixed_check(request, request->sqe.op_flags) :
		       0;
}

#define COMMON(name_) .name = name_, .attempt = attempt, .cancel = cancel, .release = release
#define ON_FILE(name_) .operation = {COMMON(name_), .has_fd = true}
#define ON_DATA(name_) .operation = {COMMON(name_), .has_fd = true, .has_priority = true}
#define BY_PATH(name_) .operation = {COMMON(name_)}, .is_at = true
#define OPENING(name_) \
	.operation = {COMMON(name_), .gives_fd = true, .prepare = prepare_open}, .is_at = true

static const struct form forms[OPERATIONS] = {
	[IORING_OP_READ] = {ON_DATA("READ"), .operation.selects = true, .addr = BYTES_OUT},
	[IORING_OP_WRITE] = {ON_DATA("WRITE"), .addr = BYTES_IN},
	[IORING_OP_READV] = {ON_DATA("READV"), IORING_OP_READ, .addr = VECTOR_OUT},
	[IORING_OP_WRITEV] = {ON_DATA("WRITEV"), IORING_OP_WRITE, .addr = VECTOR_IN},
	[IORING_OP_READ_FIXED] = {ON_DATA("READ_FIXED"), IORING_OP_READ, .addr = BYTES_OUT,
				  .is_fixed = true},
	[IORING_OP_WRITE_FIXED] = {ON_DATA("WRITE_FIXED"), IORING_OP_WRITE, .addr = BYTES_IN,
				   .is_fixed = true},
	[IORING_OP_FSYNC] = {ON_FILE("FSYNC")},
	[IORING_OP_SYNC_FILE_RANGE] = {ON_FILE("SYNC_FILE_RANGE")},
	[IORING_OP_FALLOCATE] = {ON_FILE("FALLOCATE")},
	[IORING_OP_FADVISE] = {ON_FILE("FADVISE")},
	[IORING_OP_FTRUNCATE] = {ON_FILE("FTRUNCATE")},
	[IORING_OP_SPLICE] = {ON_FILE("SPLICE"), .has_two = true},
	[IORING_OP_TEE] = {ON_FILE("TEE"), .has_two = true},
	[IORING_OP_EPOLL_WAIT] = {ON_FILE("EPOLL_WAIT"), .addr = BYTES_OUT, .size = EVENTS},
	[IORING_OP_FSETXATTR] = {ON_FILE("FSETXATTR"), .addr = TEXT, .off = BYTES_IN},
	[IORING_OP_FGETXATTR] = {ON_FILE("FGETXATTR"), .addr = TEXT, .off = BYTES_OUT},
	[IORING_OP_OPENAT] = {OPENING("OPENAT"), .addr = PATH, .has_mode = true},
	[IORING_OP_OPENAT2] = {OPENING("OPENAT2"), .addr = PATH, .off = BYTES_IN},
	[IORING_OP_STATX] = {BY_PATH("STATX"), .addr = PATH, .off = BYTES_OUT, .size = STATX},
	[IORING_OP_RENAMEAT] = {BY_PATH("RENAMEAT"), .addr = PATH, .off = PATH, .is_at_too = true},
	[IORING_OP_UNLINKAT] = {BY_PATH("UNLINKAT"), .addr = PATH},
	[IORING_OP_MKDIRAT] = {BY_PATH("MKDIRAT"), .addr = PATH, .has_mode = true},
	[IORING_OP_SYMLINKAT] = {BY_PATH("SYMLINKAT"), .addr = TEXT, .off = PATH},
	[IORING_OP_LINKAT] = {BY_PATH("LINKAT"), .addr = PATH, .off = PATH, .is_at_too = true},
};

const struct operation *offload_operation(const struct kernel *kernel, uint8_t opcode)
{
	const struct form *form = opcode < OPERATIONS ? &forms[opcode] : NULL;

	if (!form || !form->operation.name)
		return NULL;
	return backing_has(kernel->backing, form->opcode ? form->opcode : opcode) ?
		       &form->operation :
		       NULL;
}
