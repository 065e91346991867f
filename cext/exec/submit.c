/* SPDX-License-Identifier: MIT */
#include "submit.h"

#include <errno.h>

#include "operations.h"
#include "settings.h"

#define LINKS (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)

/* A chain that is being put together: nothing of it starts before its last one was taken. */
struct chain {
	struct request *first, *last;
	int error; /* of one of them: then none starts */
};

/* What no request of any operation may have here, and what only some may. */
static int check_sqe(const struct ring *ring, const struct io_uring_sqe *sqe,
		     const struct operation *operation)
{
	if (sqe->flags & ~SQE_FLAGS)
		return -EINVAL;
	if (sqe->flags & IOSQE_BUFFER_SELECT && !operation->selects)
		return -EOPNOTSUPP;
	if (settings_check_sqe(ring, sqe))
		return -EACCES;
	return (sqe->ioprio && !operation->has_priority) || sqe->personality ? -EINVAL : 0;
}

/* The request for it, or NULL and `error`. */
static struct request *prepare(struct ring *ring, const struct io_uring_sqe *sqe, int *error)
{
	static const struct operation none = {.name = "none"};
	const struct operation *operation = operation_of(ring->kernel, sqe->opcode);
	struct request *request = request_new(ring, operation ? operation : &none, sqe);

	if (!request) {
		*error = -ENOMEM;
		return NULL;
	}
	*error = operation ? check_sqe(ring, sqe, operation) : -EINVAL;
	if (!*error && operation->prepare)
		*error = operation->prepare(request);
	return request;
}

static void append(struct chain *chain, struct request *request, int error)
{
	if (chain->last)
		chain->last->linked = request;
	else
		chain->first = request;
	chain->last = request;
	if (error)
		chain->error = error;
}

/* One of them is wrong: its own result says so, the others are cancelled. */
static void start(struct chain *chain, const struct request *wrong)
{
	struct request *request = chain->first;
	int error = chain->error;

	*chain = (struct chain){0};
	if (!error) {
		request_queue(request);
		return;
	}
	while (request) {
		struct request *next = request->linked;
		int32_t res = request == wrong ? error : -ECANCELED;

		request->linked = NULL;
		request_finish(request, res);
		request = next;
	}
}

uint32_t submit(struct ring *ring, uint32_t count)
{
	bool goes_on = true, submits_all = (ring->params.flags & IORING_SETUP_SUBMIT_ALL) != 0;
	uint32_t waiting = ring_submissions(ring), taken = 0;
	const struct request *wrong = NULL;
	struct chain chain = {0};
	struct io_uring_sqe sqe;

	if (count > waiting)
		count = waiting;
	while (taken < count && goes_on && ring_next_sqe(ring, &sqe)) {
		int error;
		struct request *request = prepare(ring, &sqe, &error);

		if (!request)
			break;
		taken++;
		append(&chain, request, error);
		if (error)
			wrong = request;
		goes_on = !error || submits_all;
		if (!(sqe.flags & LINKS) || !goes_on)
			start(&chain, wrong);
	}
	/* A chain ends with the submission. */
	if (chain.first)
		start(&chain, wrong);
	ring_publish_head(ring);
	return taken;
}
