/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "briefly.h"
#include "files.h"

static void ready(struct watch *watch, uint32_t events)
{
	struct request *request =
		(struct request *)(void *)((char *)watch - offsetof(struct request, watch));

	request->seen |= events;
	request->is_ready = true;
}

struct request *request_new(struct ring *ring, const struct operation *operation,
			    const struct io_uring_sqe *sqe)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->ring = ring;
	request->operation = operation;
	request->sqe = *sqe;
	request->space = ring->kernel->task->space;
	request->watch = (struct watch){.fd = -1, .ready = ready};
	request->deadline = request->after = NEVER;
	return request;
}

/* ---- in flight ---------------------------------------------------------------------------- */

static void enlist(struct request *request)
{
	struct ring *ring = request->ring;

	request->next = NULL;
	*ring->requests_end = request;
	ring->requests_end = &request->next;
}

static void delist(struct request *request)
{
	struct ring *ring = request->ring;
	struct request **link = &ring->requests;

	while (*link && *link != request)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = request->next;
	if (ring->requests_end == &request->next)
		ring->requests_end = link;
}

static void free_request(struct request *request)
{
	delist(request);
	if (request->is_watched)
		watch_remove(request->ring->kernel->queue, &request->watch);
	if (request->operation->release)
		request->operation->release(request);
	if (request->watch.fd >= 0)
		briefly_close(request->watch.fd);
	free(request);
}

/*
 * Once each time, but for what goes by edges: there nothing would be told twice. A regular file
 * is always ready: what waits for it only waits for its turn.
 */
static void await(struct request *request)
{
	int queue = request->ring->kernel->queue;
	uint32_t events = request->events;

	if (events == 0 || (events & EPOLLET && request->is_watched))
		return;
	if (!(events & EPOLLET))
		events |= EPOLLONESHOT;
	if (request->is_watched)
		watch_again(queue, &request->watch, events);
	else if (watch_add(queue, &request->watch, events))
		request->is_ready = true;
	else
		request->is_watched = true;
}

/* Who submitted it, whoever's call we work on. */
static struct task *task_of(const struct request *request)
{
	struct kernel *kernel = request->ring->kernel;

	if (kernel->task && kernel->task->space == request->space)
		return kernel->task;
	return tasks_in(&kernel->tasks, request->space);
}

static int64_t attempt_as_its_task(struct request *request)
{
	struct kernel *kernel = request->ring->kernel;
	struct task *task = kernel->task;
	int64_t result;

	kernel->task = task_of(request);
	result = request->operation->attempt(request);
	kernel->task = task;
	return result;
}

static void end(struct request *request, int32_t res);

static void attempt(struct request *request)
{
	int64_t result;

	request->is_ready = false;
	request->turn = request->ring->turn;
	result = attempt_as_its_task(request);
	if (result == REQUEST_WAITS)
		await(request);
	else if (result == REQUEST_OVER)
		end(request, request->over);
	else
		request_finish(request, (int32_t)result);
}

static int fetch(struct request *request)
{
	const struct io_uring_sqe *sqe = &request->sqe;
	const struct task *task;
	int fd;

	if (!request->operation->has_fd)
		return 0;
	task = task_of(request);
	if (sqe->flags & IOSQE_FIXED_FILE)
		fd = files_fetch(request->ring, (uint32_t)sqe->fd);
	else
		fd = task ? task_fetch(task, sqe->fd) : -EBADF;
	if (fd < 0)
		return fd;
	request->watch.fd = fd;
	return 0;
}

static bool may_go_on(const struct request *request)
{
	bool gives_fd = request->operation->gives_fd && !request->sqe.file_index;
	bool needs_call = gives_fd || request->needs_call;

	return request->is_ready && (!needs_call || request->ring->kernel->call != NULL);
}

static bool is_timeout(const struct request *linked)
{
	return linked && linked->sqe.opcode == IORING_OP_LINK_TIMEOUT;
}

void request_start(struct request *request)
{
	int error;

	enlist(request);
	if (is_timeout(request->linked)) {
		request->linked->guarded = request;
		enlist(request->linked);
		/* It notes its deadline: that cannot have passed. */
		request->linked->operation->attempt(request->linked);
	}
	error = fetch(request);
	request->is_ready = true;
	if (error)
		request_finish(request, error);
	else if (may_go_on(request))
		attempt(request);
}

static bool drains(const struct request *chain)
{
	while (chain && !(chain->sqe.flags & IOSQE_IO_DRAIN))
		chain = chain->linked;
	return chain != NULL;
}

/* May it start now, if nothing is deferred before it? */
static bool may_start(struct ring *ring, const struct request *chain)
{
	if (!ring->requests)
		ring->drains = false;
	return !ring->drains && (!ring->requests || !drains(chain));
}

static void start_chain(struct request *first)
{
	if (drains(first))
		first->ring->drains = true;
	request_start(first);
}

void request_queue(struct request *first)
{
	struct ring *ring = first->ring;
	struct request **link = &ring->deferred;

	if (!ring->deferred && may_start(ring, first)) {
		start_chain(first);
		return;
	}
	while (*link)
		link = &(*link)->next;
	*link = first;
}

static bool is_deferred_ready(struct ring *ring)
{
	return ring->deferred && may_start(ring, ring->deferred);
}

static void start_deferred(struct ring *ring)
{
	while (is_deferred_ready(ring)) {
		struct request *first = ring->deferred;

		ring->deferred = first->next;
		start_chain(first);
	}
}

void request_post_more(struct request *request, int32_t res, uint32_t flags)
{
	ring_post(request->ring, request->sqe.user_data, res, flags | IORING_CQE_F_MORE);
}

/* ---- its end --------------------------------------------------------------------------------- */

/* What was to start after it does, or never will. */
static void follow(struct request *linked, bool goes_on)
{
	while (linked && !goes_on) {
		struct request *next = linked->linked;

		ring_post(linked->ring, linked->sqe.user_data, -ECANCELED, 0);
		free_request(linked);
		linked = next;
	}
	if (linked)
		request_start(linked);
}

/* The timeout that guarded it is not needed any more; what is linked behind that. */
static struct request *end_timeout(struct request *timeout)
{
	struct request *behind = timeout->linked;

	ring_post(timeout->ring, timeout->sqe.user_data, -ECANCELED, 0);
	free_request(timeout);
	return behind;
}

/* Does what is linked behind it start? A time that passed may be what was wanted. */
static bool is_success(const struct request *request, int32_t res)
{
	const struct io_uring_sqe *sqe = &request->sqe;

	return res >= 0 || sqe->flags & IOSQE_IO_HARDLINK ||
	       (res == -ETIME && sqe->opcode == IORING_OP_TIMEOUT &&
		sqe->op_flags & IORING_TIMEOUT_ETIME_SUCCESS);
}

static void end(struct request *request, int32_t res)
{
	struct request *linked = request->linked;
	bool goes_on = is_success(request, res);

	if (request->guarded) { /* a timeout that was ended itself: what it guarded goes on */
		request->guarded->linked = linked;
		linked = NULL;
	}
	free_request(request);
	if (is_timeout(linked))
		linked = end_timeout(linked);
	follow(linked, goes_on);
}

void request_finish(struct request *request, int32_t res)
{
	if (!(request->sqe.flags & IOSQE_CQE_SKIP_SUCCESS) || res < 0)
		ring_post(request->ring, request->sqe.user_data, res, request->cqe_flags);
	end(request, res);
}

void request_cancel(struct request *request, int32_t error)
{
	const struct operation *operation = request->operation;

	if (!operation->cancel || !operation->cancel(request, error))
		ring_post(request->ring, request->sqe.user_data, error, 0);
	end(request, error);
}

/* ---- all of a ring's ------------------------------------------------------------------------- */

/* Of those that had no turn yet. */
static struct request *next_ready(const struct ring *ring)
{
	struct request *request = ring->requests;

	while (request && !(may_go_on(request) && request->turn != ring->turn))
		request = request->next;
	return request;
}

bool requests_are_ready(struct ring *ring)
{
	struct request *request = ring->requests;

	if (is_deferred_ready(ring))
		return true;
	while (request && !may_go_on(request))
		request = request->next;
	return request != NULL;
}

bool requests_wait_for_call(const struct ring *ring)
{
	const struct request *request = ring->requests;

	while (request && !request->is_ready)
		request = request->next;
	return request != NULL;
}

/* From the start again after each, since an attempt may end others. */
void requests_run(struct ring *ring)
{
	struct request *request;

	ring->turn++;
	start_deferred(ring);
	while ((request = next_ready(ring))) {
		attempt(request);
		start_deferred(ring);
	}
}

uint64_t requests_deadline(const struct ring *ring)
{
	uint64_t first = NEVER;

	for (const struct request *one = ring->requests; one; one = one->next) {
		if (!one->is_ready && one->deadline < first)
			first = one->deadline;
	}
	return first;
}

void requests_expire(struct ring *ring, uint64_t now)
{
	for (struct request *one = ring->requests; one; one = one->next) {
		if (one->deadline <= now || one->after <= ring->posted)
			one->is_ready = true;
	}
}

void requests_drop(struct ring *ring)
{
	while (ring->deferred) {
		struct request *first = ring->deferred;

		ring->deferred = first->next;
		enlist(first);
	}
	while (ring->requests) {
		struct request *request = ring->requests;
		struct request *linked = request->linked;

		free_request(request);
		while (linked) {
			struct request *next = linked->linked;

			free_request(linked);
			linked = next;
		}
	}
}
