/* SPDX-License-Identifier: MIT */
/*
 * One io_uring ring of the program: its file, its requests, and the library's instance, whose
 * completion queue it is. All indices that we go by are private; the shared words are written
 * for the program, or read once and clamped.
 */
#ifndef EXEC_RING_H
#define EXEC_RING_H

#include "file.h"
#include "kernel.h"

struct files;
struct group;
struct buffers;
struct abandoned;
struct request;
struct settings;
struct wait;

#define RING_QUEUES_MAX 64U

/* What its registration said of an interface queue. */
struct ring_queue {
	uint64_t area_at, area_size; /* in the space; 0: imported, or there is none */
	bool has_no_device; /* all is copied, and its refill ring is looked at when asked for */
	uint64_t region_at; /* the refill ring; 0: ours */
};

struct ring {
	struct ring *next;
	struct kernel *kernel;
	struct lifetime lifetime;
	struct file file;
	struct io_uring_params params;
	struct zcrx_emu *emu;
	struct space *space; /* of the process that made it, and where zcrx's memory is */
	uint32_t number; /* for people: the first one is 0 */
	pid_t owner; /* the one thread that may submit (SINGLE_ISSUER); 0: any */
	bool is_disabled;
	bool was_entered; /* by a call, ever */
	bool is_finished; /* its checker has said all */
	bool is_closed; /* nobody has it: to be ended */
	uint32_t sq_head;
	struct request *requests; /* in flight, oldest first */
	struct request **requests_end;
	struct request *deferred; /* chains that start when those before are done, oldest first */
	bool drains; /* one that others wait for is in flight */
	struct wait *waits; /* calls that wait for completions */
	struct ring_queue queues[RING_QUEUES_MAX]; /* its interface queues, by id */
	struct group *groups; /* of buffers */
	struct files *files; /* by numbers of its own; NULL: it has no table */
	struct buffers *buffers; /* the same */
	struct abandoned *abandoned; /* sockets whose last receive ended by an error that passes */
	struct settings *settings;
	uint64_t turn; /* of requests_run() */
	uint64_t posted; /* completions that it was ever given */
};

/* What rings have, for whoever asks. */
extern const struct io_uring_query_opcode ring_opcodes;

/* A ring of the calling task; flags and sizes are checked, offsets are filled in. 0 or -errno. */
int ring_create(struct kernel *kernel, struct io_uring_params *params, struct ring **ring);
/* A call is about to submit to it, or to wait: the first one shows how the program has mapped it. */
void ring_enter(struct ring *ring);
/* Its process ends: what it still holds is reported. */
void ring_finish(struct ring *ring);
/* It is closed: without requests, which are the caller's to end before. */
void ring_free(struct ring *ring);
/* The ring that the file is of, or the task's descriptor. NULL: it is none. */
struct ring *ring_of_file(struct kernel *kernel, int fd);
struct ring *ring_of_fd(struct kernel *kernel, const struct task *task, int fd);

void ring_post(struct ring *ring, uint64_t user_data, int32_t res, uint32_t flags);
/* Completions that the program has not taken yet. */
uint32_t ring_ready(const struct ring *ring);
/* Do completions wait for room, as far as the program has not hidden it from itself? */
bool ring_overflows(const struct ring *ring);
/* Copy the next submission; false: there is none, or what it names is none. */
bool ring_next_sqe(struct ring *ring, struct io_uring_sqe *sqe);
/* Submissions that wait. */
uint32_t ring_submissions(const struct ring *ring);
/* Whether deferred work waits, for a program that asked to be told (TASKRUN_FLAG). */
void ring_tell_work(struct ring *ring, bool waits);
/* The program sees how far we are. */
void ring_publish_head(struct ring *ring);

/* Would one more completion be seen at once? */
static inline bool ring_has_room(const struct ring *ring)
{
	return ring_ready(ring) < ring->params.cq_entries;
}

static inline bool ring_defers(const struct ring *ring)
{
	return (ring->params.flags & IORING_SETUP_DEFER_TASKRUN) != 0;
}

#endif /* EXEC_RING_H */
