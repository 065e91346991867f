/* SPDX-License-Identifier: MIT */
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abandoned.h"
#include "descriptor.h"
#include "pinned.h"
#include "settings.h"
#include "space.h"
#include "wire/shm.h"

#define SQ_ENTRIES_MAX 32768U
#define FEATURES                                                                        \
	(IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |     \
	 IORING_FEAT_FAST_POLL | IORING_FEAT_POLL_32BITS | IORING_FEAT_EXT_ARG |        \
	 IORING_FEAT_NATIVE_WORKERS | IORING_FEAT_CQE_SKIP | IORING_FEAT_REG_REG_RING | \
	 IORING_FEAT_RW_CUR_POS | IORING_FEAT_RSRC_TAGS | IORING_FEAT_LINKED_FILE |     \
	 IORING_FEAT_RECVSEND_BUNDLE | IORING_FEAT_MIN_TIMEOUT)

const struct io_uring_query_opcode ring_opcodes = {
	.nr_request_opcodes = OPERATIONS,
	.nr_register_opcodes = REGISTER_OPCODES,
	.feature_flags = FEATURES,
	.ring_setup_flags = SETUP_FLAGS,
	.enter_flags = ENTER_FLAGS,
	.sqe_flags = SQE_FLAGS,
};

static shm_u32 *word(const struct ring *ring, uint32_t offset)
{
	return (shm_u32 *)(void *)(ring->file.rings + offset);
}

static shm_u32 *cq_word(const struct ring *ring, uint32_t offset)
{
	return (shm_u32 *)(void *)(ring->file.cq + offset);
}

/* ---- making one --------------------------------------------------------------------------- */

static void *share(void *context, uint64_t size, uint64_t *offset)
{
	struct ring *ring = context;

	return file_region(&ring->file, size, offset);
}

static int install(void *context, int fd)
{
	struct kernel *kernel = context;

	return notify_install(kernel->listener, kernel->call, fd, O_CLOEXEC);
}

static void remove_again(void *context, int fd)
{
	descriptor_close(context, fd);
}

static int fetch(void *context, int fd)
{
	struct kernel *kernel = context;

	return task_fetch(kernel->task, fd);
}

static void report(void *context, const struct zcrx_emu_report *report)
{
	tally_report(context, report);
}

static int set_cq(struct ring *ring)
{
	const struct file *file = &ring->file;
	const struct zcrx_emu_cq cq = {
		.head = (uint32_t *)(void *)(file->cq + ring->params.cq_off.head),
		.tail = (uint32_t *)(void *)(file->cq + ring->params.cq_off.tail),
		.cqes = file->cq + ring->params.cq_off.cqes,
		.entries = ring->params.cq_entries,
		.sq_flags = (uint32_t *)(void *)(file->rings + ring->params.sq_off.flags),
	};

	return zcrx_emu_set_cq(ring->emu, &cq);
}

static int make_instance(struct ring *ring)
{
	struct kernel *kernel = ring->kernel;
	const struct zcrx_emu_memory memory = {
		.context = ring->space,
		.read = pinned_read,
		.write = pinned_write,
		.pin = pinned_pin,
		.read_pieces = pinned_read_pieces,
		.write_pieces = pinned_write_pieces,
	};
	const struct zcrx_emu_descriptors descriptors = {
		.context = kernel,
		.install = install,
		.fetch = fetch,
		.remove = remove_again,
	};
	const struct zcrx_emu_options options = {
		.size = sizeof(options),
		.kernel = kernel->level,
		.seed = kernel->seed,
		/* Without any flag it would be taken for a ring as zcrx needs it. */
		.ring_flags = ring->params.flags | IORING_SETUP_CQSIZE,
		.flags = kernel->emu_flags | (kernel->is_lazy ? 0 : ZCRX_EMU_HOT),
		.memory = &memory,
		.descriptors = &descriptors,
		.machine = kernel->machine,
		.context = ring,
		.on_report = report,
		.rx_descriptors = kernel->rx_descriptors,
		.mtu = kernel->mtu,
		.buffers_max = kernel->buffers_max,
		.rq_entries_max = kernel->rq_entries_max,
		.share = share,
		.opcodes = &ring_opcodes,
	};
	int error = zcrx_emu_create(&options, &ring->emu);

	if (!error)
		error = zcrx_emu_plan(ring->emu, kernel->faults, NULL, 0);
	return error ? error : set_cq(ring);
}

/* Of what a ring may have we have less than the kernel: it is refused as what a kernel lacks. */
static int check_params(const struct io_uring_params *params)
{
	const uint32_t flags = params->flags;
	const uint32_t sizes = IORING_SETUP_CQE32 | IORING_SETUP_CQE_MIXED;
	const uint32_t lazy = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN;

	if (flags & ~SETUP_FLAGS || params->resv[0] || params->resv[1] || params->resv[2])
		return -EINVAL;
	if (flags & IORING_SETUP_DEFER_TASKRUN && !(flags & IORING_SETUP_SINGLE_ISSUER))
		return -EINVAL;
	if (flags & IORING_SETUP_TASKRUN_FLAG && !(flags & lazy))
		return -EINVAL;
	return (flags & sizes) == sizes ? -EINVAL : 0;
}

/* The ring whose workers it would share: there are none, but it has to be one. */
static int check_attached(struct kernel *kernel, const struct io_uring_params *params)
{
	struct stat status;

	if (!(params->flags & IORING_SETUP_ATTACH_WQ) ||
	    ring_of_fd(kernel, kernel->task, (int)params->wq_fd))
		return 0;
	return task_stat(kernel->task, (int)params->wq_fd, &status) ? -EINVAL : -ENXIO;
}

static uint32_t round_up(uint32_t entries)
{
	uint32_t power = 1;

	while (power < entries)
		power *= 2;
	return power;
}

/* A power of two up to `most`; 0: it cannot be. */
static uint32_t size_of(uint32_t entries, uint32_t most, bool clamps)
{
	if (entries > most && !clamps)
		return 0;
	return entries == 0 ? 0 : round_up(entries > most ? most : entries);
}

static int choose_sizes(struct io_uring_params *params, uint32_t most)
{
	bool clamps = (params->flags & IORING_SETUP_CLAMP) != 0;
	bool asks = (params->flags & IORING_SETUP_CQSIZE) != 0;

	params->sq_entries = size_of(params->sq_entries, SQ_ENTRIES_MAX, clamps);
	params->cq_entries = asks ? size_of(params->cq_entries, 2 * SQ_ENTRIES_MAX, clamps) :
				    2 * params->sq_entries;
	if (params->sq_entries == 0 || params->cq_entries < params->sq_entries)
		return -EINVAL;
	/* By the shape: fewer than asked for, which the program is told. */
	if (most && params->cq_entries > most)
		params->cq_entries = most > params->sq_entries ? most : params->sq_entries;
	return 0;
}

static void closed(struct lifetime *lifetime)
{
	struct ring *ring =
		(struct ring *)(void *)((char *)lifetime - offsetof(struct ring, lifetime));

	ring->is_closed = true;
}

static int make(struct ring *ring, struct io_uring_params *params)
{
	struct kernel *kernel = ring->kernel;
	int error = file_create(&ring->file, params);

	ring->params = *params;
	if (!error)
		error = make_instance(ring);
	ring->lifetime.closed = closed;
	/* Its own description counts as the program's from here on. */
	return error ? error : lifetime_start(&kernel->lifetimes, &ring->lifetime, ring->file.fd);
}

int ring_create(struct kernel *kernel, struct io_uring_params *params, struct ring **result)
{
	struct ring *ring;
	int error = check_params(params);

	if (!error)
		error = check_attached(kernel, params);
	if (!error)
		error = choose_sizes(params, kernel->cq_entries_max);
	if (error)
		return error;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	ring->kernel = kernel;
	ring->space = kernel->task->space;
	ring->requests_end = &ring->requests;
	ring->is_disabled = (params->flags & IORING_SETUP_R_DISABLED) != 0;
	if (params->flags & IORING_SETUP_SINGLE_ISSUER && !ring->is_disabled)
		ring->owner = kernel->task->tid;
	params->features = FEATURES;
	ring->settings = settings_create(params);
	error = ring->settings ? make(ring, params) : -ENOMEM;
	if (error) {
		lifetime_stop(&kernel->lifetimes, &ring->lifetime);
		zcrx_emu_destroy(ring->emu);
		file_close(&ring->file);
		settings_free(ring->settings);
		free(ring);
		return error;
	}
	ring->number = kernel->ring_count++;
	ring->next = kernel->rings;
	kernel->rings = ring;
	*result = ring;
	return 0;
}

void ring_finish(struct ring *ring)
{
	if (!ring->is_finished) {
		abandoned_look(ring);
		zcrx_emu_finish(ring->emu);
	}
	ring->is_finished = true;
}

/* Its memory may be something else by now: it is read, with care, and not written. */
static void finish_late(struct ring *ring)
{
	space_freeze(ring->space, true);
	if (!ring->is_finished)
		zcrx_emu_finish_late(ring->emu);
	tally_ring(ring);
	zcrx_emu_destroy(ring->emu);
	space_freeze(ring->space, false);
}

void ring_free(struct ring *ring)
{
	struct kernel *kernel = ring->kernel;
	struct ring **link = &kernel->rings;

	while (*link != ring)
		link = &(*link)->next;
	*link = ring->next;
	lifetime_stop(&kernel->lifetimes, &ring->lifetime);
	tasks_forget_ring(&kernel->tasks, ring);
	abandoned_free(ring);
	finish_late(ring);
	file_close(&ring->file);
	free(ring);
}

static struct ring *find(const struct kernel *kernel, const struct stat *status)
{
	struct ring *ring = kernel->rings;

	while (ring && (ring->file.inode != status->st_ino || ring->file.device != status->st_dev))
		ring = ring->next;
	return ring;
}

struct ring *ring_of_file(struct kernel *kernel, int fd)
{
	struct stat status;

	return fstat(fd, &status) ? NULL : find(kernel, &status);
}

struct ring *ring_of_fd(struct kernel *kernel, const struct task *task, int fd)
{
	struct stat status;

	return task_stat(task, fd, &status) ? find(kernel, &status) : NULL;
}

void ring_enter(struct ring *ring)
{
	if (ring->was_entered)
		return;
	ring->was_entered = true;
	/* What another ring's message left there already has been read where it is. */
	if (ring->posted == 0 && file_part_cq(&ring->file, ring->kernel->task->tgid))
		set_cq(ring);
}

/* ---- completions ----------------------------------------------------------------------------- */

void ring_post(struct ring *ring, uint64_t user_data, int32_t res, uint32_t flags)
{
	const struct zcrx_emu_cqe cqe = {.user_data = user_data, .res = res, .flags = flags};

	zcrx_emu_post(ring->emu, &cqe);
	ring->posted++;
}

/* Ordering: pairs with zcrx_cq_user_release(), or the program's own. The tail is ours. */
uint32_t ring_ready(const struct ring *ring)
{
	uint32_t tail =
		shm_load_relaxed_u32(cq_word(ring, ring->params.cq_off.tail), POINT_CQ_TAIL_LOAD);
	uint32_t head =
		shm_load_acquire_u32(cq_word(ring, ring->params.cq_off.head), POINT_CQ_HEAD_LOAD);
	uint32_t ready = tail - head;

	return ready < ring->params.cq_entries ? ready : ring->params.cq_entries;
}

void ring_tell_work(struct ring *ring, bool waits)
{
	shm_u32 *flags = word(ring, ring->params.sq_off.flags);
	uint32_t now;

	if (!(ring->params.flags & IORING_SETUP_TASKRUN_FLAG))
		return;
	/* Relaxed: only a hint that a call would find something. */
	now = shm_load_relaxed_u32(flags, POINT_COUNTER) & ~IORING_SQ_TASKRUN;
	shm_store_relaxed_u32(flags, now | (waits ? IORING_SQ_TASKRUN : 0), POINT_COUNTER);
}

bool ring_overflows(const struct ring *ring)
{
	uint32_t flags = shm_load_relaxed_u32(word(ring, ring->params.sq_off.flags), POINT_COUNTER);

	return (flags & IORING_SQ_CQ_OVERFLOW) != 0;
}

/* ---- submissions ------------------------------------------------------------------------------- */

/*
 * Ordering: pairs with the program's publishing, which is to submissions what
 * zcrx_rq_user_publish() is to returned buffers: entries below the tail that we saw hold what
 * was stored before.
 */
uint32_t ring_submissions(const struct ring *ring)
{
	uint32_t tail = shm_load_acquire_u32(word(ring, ring->params.sq_off.tail), POINT_COUNTER);
	uint32_t count = tail - ring->sq_head;

	return count < ring->params.sq_entries ? count : ring->params.sq_entries;
}

/* Each word is loaded once: what is checked is what is used, whatever is written meanwhile. */
static void copy_sqe(const struct ring *ring, uint32_t index, struct io_uring_sqe *sqe)
{
	shm_u64 *from = (shm_u64 *)(void *)&ring->file.sqes[index];
	uint64_t words[sizeof(*sqe) / sizeof(uint64_t)];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		words[i] = shm_load_relaxed_u64(&from[i], POINT_COUNTER);
	memcpy(sqe, words, sizeof(*sqe));
}

bool ring_next_sqe(struct ring *ring, struct io_uring_sqe *sqe)
{
	uint32_t entries = ring->params.sq_entries;
	uint32_t index = ring->sq_head++ & (entries - 1);
	shm_u32 *dropped = word(ring, ring->params.sq_off.dropped);

	if (!(ring->params.flags & IORING_SETUP_NO_SQARRAY)) {
		uint32_t at = ring->params.sq_off.array + index * (uint32_t)sizeof(uint32_t);

		index = shm_load_relaxed_u32(word(ring, at), POINT_COUNTER);
	}
	if (index < entries) {
		copy_sqe(ring, index, sqe);
		return true;
	}
	shm_store_relaxed_u32(dropped, shm_load_relaxed_u32(dropped, POINT_COUNTER) + 1,
			      POINT_COUNTER);
	return false;
}

/*
 * Ordering: pairs with the program's look for room, as zcrx_rq_user_room() has it: an entry may
 * be written anew once we have copied it.
 */
void ring_publish_head(struct ring *ring)
{
	shm_store_release_u32(word(ring, ring->params.sq_off.head), ring->sq_head, POINT_COUNTER);
}
