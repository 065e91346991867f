/* SPDX-License-Identifier: MIT */
/*
 * A submission that was taken: it is attempted until it is done, each time that what it waits
 * for is ready. No attempt blocks.
 */
#ifndef EXEC_REQUEST_H
#define EXEC_REQUEST_H

#include "watch.h"
#include "ring.h"

/* Results of an attempt that complete nothing; all others are the completion's. */
#define REQUEST_WAITS INT64_MIN /* for `events` of its descriptor, its deadline, or a call */
#define REQUEST_OVER (INT64_MIN + 1) /* its last completion was given already */

struct operation {
	const char *name;
	bool has_fd; /* on a descriptor of the program */
	bool has_priority; /* has a use for `ioprio` */
	bool selects; /* may take its buffer from a group */
	bool gives_fd; /* gives it one: only while a call of it waits for an answer, or a file index */
	/* What is wrong with the submission itself: -errno, or 0. NULL: nothing can be. */
	int (*prepare)(struct request *request);
	int64_t (*attempt)(struct request *request);
	/* It ends by `error` from outside. True: that gave its last completion. NULL: nothing to do. */
	bool (*cancel)(struct request *request, int error);
	/* It is gone, whatever the way: what it has elsewhere is undone. NULL: nothing is. */
	void (*release)(struct request *request);
};

struct work;

struct request {
	struct request *next;
	struct ring *ring;
	const struct operation *operation;
	struct io_uring_sqe sqe;
	struct space *space; /* of whoever submitted it: its addresses are there */
	struct watch watch; /* a copy of its descriptor, where it has one */
	uint32_t events; /* of epoll_ctl(2), to be waited for */
	bool is_watched;
	bool is_ready; /* to be attempted */
	uint64_t turn; /* of requests_run(), in which it was attempted last */
	uint64_t deadline; /* in ns, or NEVER */
	struct request *linked; /* starts when this one is done, or is its timeout */
	struct request *guarded; /* of a linked timeout: which it ends */
	uint64_t after; /* so many completions of the ring it is ready, or NEVER */
	/* The operation's own. */
	struct work *work;
	uint64_t count, total;
	uint32_t cqe_flags; /* of its last completion */
	int32_t over; /* with REQUEST_OVER: the result that counts for what is linked */
	uint32_t flow; /* the library's name of its connection */
	uint32_t seen; /* events that its descriptor had */
	bool is_begun;
	bool needs_call; /* goes on only while a call of its process waits for an answer */
};

/* One for the submission, not started. NULL: no memory. */
struct request *request_new(struct ring *ring, const struct operation *operation,
			    const struct io_uring_sqe *sqe);
/* It is in flight from now on: it is attempted at once. */
void request_start(struct request *request);
/*
 * The same for a chain, as soon as all in flight before it are done, if it or one before it asks
 * for that (IOSQE_IO_DRAIN): what comes later waits for it, too.
 */
void request_queue(struct request *first);
/* Not the last completion of it. */
void request_post_more(struct request *request, int32_t res, uint32_t flags);
/* Done: completed by `res`, and what is linked starts or is cancelled. It is gone. */
void request_finish(struct request *request, int32_t res);
/* It is ended from outside, with `error` as its result. It is gone. */
void request_cancel(struct request *request, int32_t error);

/* Attempt all of the ring's that may go on, once. */
void requests_run(struct ring *ring);
/* Is there one that may go on? */
bool requests_are_ready(struct ring *ring);
/* Is there one that would, in a call of its process? */
bool requests_wait_for_call(const struct ring *ring);
/* When the first of the ring's deadlines is. */
uint64_t requests_deadline(const struct ring *ring);
/* Those whose deadline has passed are ready, or that waited for others' completions. */
void requests_expire(struct ring *ring, uint64_t now);
/* The ring is closed: all are gone, without completions. */
void requests_drop(struct ring *ring);

#endif /* EXEC_REQUEST_H */
