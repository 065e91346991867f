/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "buffers.h"
#include "calls.h"
#include "cancel.h"
#include "files.h"
#include "groups.h"
#include "operations.h"
#include "ring.h"
#include "settings.h"
#include "space.h"

/* ---- what there is ---------------------------------------------------------------------------- */

static int64_t probe(const struct kernel *kernel, uint64_t at, uint32_t nr_args)
{
	struct {
		struct io_uring_probe head;
		struct io_uring_probe_op ops[OPERATIONS];
	} answer = {.head = {.last_op = OPERATIONS - 1, .ops_len = OPERATIONS}};
	uint32_t count = nr_args < OPERATIONS ? nr_args : OPERATIONS;

	if (nr_args > 256)
		return -EINVAL;
	answer.head.ops_len = (uint8_t)count;
	for (uint32_t op = 0; op < count; op++) {
		answer.ops[op].op = (uint8_t)op;
		answer.ops[op].flags = operation_of(kernel, (uint8_t)op) ? IO_URING_OP_SUPPORTED :
									   0;
	}
	return space_write(kernel->task->space, at, &answer,
			   sizeof(answer.head) + count * sizeof(answer.ops[0]));
}

/* ---- descriptors of rings ---------------------------------------------------------------------- */

static int find_slot(const struct task *task, uint32_t wanted)
{
	if (wanted != UINT32_MAX)
		return wanted < RING_FDS_MAX ? (int)wanted : -EINVAL;
	for (int slot = 0; slot < RING_FDS_MAX; slot++) {
		if (!task->registered[slot])
			return slot;
	}
	return -EBUSY;
}

static int register_ring_fd(struct kernel *kernel, struct io_uring_rsrc_update *update)
{
	struct ring *ring = ring_of_fd(kernel, kernel->task, (int)update->data);
	int slot = find_slot(kernel->task, update->offset);

	if (update->resv)
		return -EINVAL;
	if (slot < 0)
		return slot;
	if (!ring)
		return -EBADF;
	kernel->task->registered[slot] = ring;
	update->offset = (uint32_t)slot;
	return 0;
}

/* As many as can be: what was done before the first that could not counts. */
static int64_t register_ring_fds(struct kernel *kernel, uint64_t at, uint32_t count)
{
	uint32_t done = 0;
	int error = count == 0 || count > RING_FDS_MAX ? -EINVAL : 0;

	while (!error && done < count) {
		struct io_uring_rsrc_update update;
		uint64_t here = at + done * sizeof(update);

		if (space_read(kernel->task->space, &update, here, sizeof(update)))
			error = -EFAULT;
		else
			error = register_ring_fd(kernel, &update);
		if (!error && space_write(kernel->task->space, here, &update, sizeof(update)))
			error = -EFAULT;
		done += !error;
	}
	return done ? (int64_t)done : error;
}

static int64_t unregister_ring_fds(struct kernel *kernel, uint64_t at, uint32_t count)
{
	uint32_t done = 0;

	if (count == 0 || count > RING_FDS_MAX)
		return -EINVAL;
	while (done < count) {
		struct io_uring_rsrc_update update;

		if (space_read(kernel->task->space, &update, at + done * sizeof(update),
			       sizeof(update)))
			return done ? (int64_t)done : -EFAULT;
		if (update.resv || update.data || update.offset >= RING_FDS_MAX)
			return done ? (int64_t)done : -EINVAL;
		kernel->task->registered[update.offset] = NULL;
		done++;
	}
	return done;
}

/* ---- a ring's ----------------------------------------------------------------------------------- */

static int64_t enable(struct ring *ring)
{
	if (!ring->is_disabled)
		return -EBADFD;
	ring->is_disabled = false;
	settings_restrict(ring);
	if (ring->params.flags & IORING_SETUP_SINGLE_ISSUER)
		ring->owner = ring->kernel->task->tid;
	return 0;
}

/* A queue was registered. What the program writes there meanwhile harms nobody but itself. */
static void note_queue(struct ring *ring, uint64_t at)
{
	struct io_uring_zcrx_ifq_reg reg;
	struct io_uring_zcrx_area_reg area = {0};
	struct io_uring_region_desc region = {0};
	struct ring_queue *queue;

	if (space_read(ring->space, &reg, at, sizeof(reg)) || reg.zcrx_id >= RING_QUEUES_MAX)
		return;
	queue = &ring->queues[reg.zcrx_id];
	queue->has_no_device = (reg.flags & ZCRX_REG_NODEV) != 0;
	if (reg.area_ptr && space_read(ring->space, &area, reg.area_ptr, sizeof(area)) == 0) {
		queue->area_at = area.addr;
		queue->area_size = area.len;
	}
	if (reg.region_ptr && space_read(ring->space, &region, reg.region_ptr, sizeof(region)) == 0)
		queue->region_at = region.user_addr;
}

/* The structs are read and written where the ring's memory is: nowhere else can they be. */
static int64_t register_zcrx(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args)
{
	struct kernel *kernel = ring->kernel;
	int result;

	if (kernel->task->space != ring->space)
		return -EFAULT;
	result = zcrx_emu_register(ring->emu, opcode, (void *)(uintptr_t)at, nr_args);
	if (result == 0 && opcode == IORING_REGISTER_ZCRX_IFQ)
		note_queue(ring, at);
	if (result < 0 && kernel->explains)
		tally_refusal(ring, result);
	return result;
}

static int64_t register_with_ring(struct ring *ring, uint32_t opcode)
{
	struct kernel *kernel = ring->kernel;
	uint64_t at = kernel->call->args[2];
	uint32_t nr_args = (uint32_t)kernel->call->args[3];

	if (ring->owner && ring->owner != kernel->task->tid)
		return -EEXIST;
	if (settings_check_call(ring, opcode))
		return -EACCES;
	switch (opcode) {
	case IORING_REGISTER_PROBE:
		return probe(kernel, at, nr_args);
	case IORING_REGISTER_ENABLE_RINGS:
		return at || nr_args ? -EINVAL : enable(ring);
	case IORING_REGISTER_RING_FDS:
		return register_ring_fds(kernel, at, nr_args);
	case IORING_UNREGISTER_RING_FDS:
		return unregister_ring_fds(kernel, at, nr_args);
	case IORING_REGISTER_FILES:
	case IORING_REGISTER_FILES2:
	case IORING_REGISTER_FILES_UPDATE:
	case IORING_REGISTER_FILES_UPDATE2:
	case IORING_UNREGISTER_FILES:
	case IORING_REGISTER_FILE_ALLOC_RANGE:
		return files_register(ring, opcode, at, nr_args);
	case IORING_REGISTER_SYNC_CANCEL:
		return cancel_register(ring, at, nr_args);
	case IORING_REGISTER_EVENTFD:
	case IORING_UNREGISTER_EVENTFD:
	case IORING_REGISTER_EVENTFD_ASYNC:
	case IORING_REGISTER_RESTRICTIONS:
	case IORING_REGISTER_IOWQ_AFF:
	case IORING_UNREGISTER_IOWQ_AFF:
	case IORING_REGISTER_IOWQ_MAX_WORKERS:
	case IORING_REGISTER_NAPI:
	case IORING_UNREGISTER_NAPI:
	case IORING_REGISTER_CLOCK:
		return settings_register(ring, opcode, at, nr_args);
	case IORING_REGISTER_BUFFERS:
	case IORING_UNREGISTER_BUFFERS:
	case IORING_REGISTER_BUFFERS2:
	case IORING_REGISTER_BUFFERS_UPDATE:
		return buffers_register(ring, opcode, at, nr_args);
	case IORING_REGISTER_PBUF_RING:
	case IORING_UNREGISTER_PBUF_RING:
	case IORING_REGISTER_PBUF_STATUS:
		return groups_register(ring, opcode, at, nr_args);
	case IORING_REGISTER_ZCRX_IFQ:
	case IORING_REGISTER_ZCRX_CTRL:
	case IORING_REGISTER_QUERY:
		return register_zcrx(ring, opcode, at, nr_args);
	default:
		return -EINVAL;
	}
}

/* ---- without a ring ------------------------------------------------------------------------------- */

static int64_t query(struct kernel *kernel)
{
	const struct zcrx_emu_memory memory = {
		.context = kernel->task->space,
		.read = space_read,
		.write = space_write,
	};
	const struct zcrx_emu_options options = {
		.size = sizeof(options),
		.kernel = kernel->level,
		.memory = &memory,
		.opcodes = &ring_opcodes,
	};
	struct zcrx_emu *emu;
	int result = zcrx_emu_create(&options, &emu);

	if (result)
		return result;
	result = zcrx_emu_register(emu, IORING_REGISTER_QUERY,
				   (void *)(uintptr_t)kernel->call->args[2],
				   (uint32_t)kernel->call->args[3]);
	zcrx_emu_destroy(emu);
	return result;
}

void call_register(struct kernel *kernel)
{
	const struct call *call = kernel->call;
	uint32_t opcode = (uint32_t)call->args[1] & ~IORING_REGISTER_USE_REGISTERED_RING;
	bool is_registered = (call->args[1] & IORING_REGISTER_USE_REGISTERED_RING) != 0;
	bool has_none = (int32_t)call->args[0] == -1;
	struct ring *ring = has_none ? NULL : call_ring(kernel, call->args[0], is_registered);

	if (ring)
		notify_answer(kernel->listener, call, register_with_ring(ring, opcode));
	else if (has_none && opcode == IORING_REGISTER_QUERY)
		notify_answer(kernel->listener, call, query(kernel));
	else
		notify_pass(kernel->listener, call);
}
