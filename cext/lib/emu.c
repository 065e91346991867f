/* SPDX-License-Identifier: MIT */
/*
 * What a program calls. Each call holds the instance's lock, so that the kernel may be a
 * thread; the rings are not under it, as they are not in Linux.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "arrival.h"
#include "completion.h"
#include "descriptors.h"
#include "events.h"
#include "late.h"
#include "memory.h"
#include "plan.h"
#include "query.h"
#include "queue.h"
#include "receive.h"
#include "registration.h"
#include "socket.h"
#include "sharing.h"
#include "trouble.h"
#include "turn.h"
#include "watch.h"

#define REGISTER_ZCRX_IFQ 32U
#define REGISTER_QUERY 35U
#define REGISTER_ZCRX_CTRL 36U
#define PAUSE_NS 20000L /* of the thread, when there is nothing to do */

static const struct zcrx_emu_shape whole_buffers;

/* ---- an instance --------------------------------------------------------------------- */

const char *zcrx_emu_level(uint32_t index)
{
	return zcrx_lib_level_name(index);
}

const char *zcrx_emu_version(void)
{
	return ZCRX_LIB_VERSION;
}

/* A caller that knows fewer options than we do has 0 in the others; one that knows more asks too much. */
static int read_options(struct zcrx_emu *emu, const struct zcrx_emu_options *options)
{
	const uint32_t flags = ZCRX_EMU_NO_CHECK | ZCRX_EMU_NO_POISON | ZCRX_EMU_EAGER |
			       ZCRX_EMU_LATE_HEAD | ZCRX_EMU_HOT;

	if (options) {
		if (options->size > sizeof(*options) || options->size < sizeof(options->size))
			return -EINVAL;
		memcpy(&emu->options, options, options->size);
	}
	if (!emu->options.kernel)
		emu->options.kernel = "seed";
	if (!emu->options.ring_flags)
		emu->options.ring_flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQE32;
	emu->memory = emu->options.memory ? *emu->options.memory : zcrx_lib_own_memory;
	emu->options.memory = NULL;
	emu->descriptors = emu->options.descriptors ? *emu->options.descriptors :
						      zcrx_lib_own_descriptors;
	emu->options.descriptors = NULL;
	emu->level = zcrx_lib_level_of(emu->options.kernel, &emu->contract.level);
	if (!emu->level || emu->options.flags & ~flags || !emu->memory.read || !emu->memory.write ||
	    !emu->descriptors.install || !emu->descriptors.fetch ||
	    emu->options.rq_entries_max & (emu->options.rq_entries_max - 1))
		return -EINVAL;
	emu->options.kernel = emu->level->name;
	return 0;
}

static struct zcrx_lib_handles instances = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.size = sizeof(struct zcrx_emu),
};

int zcrx_emu_create(const struct zcrx_emu_options *options, struct zcrx_emu **result)
{
	struct zcrx_emu *emu = zcrx_lib_handle_make(&instances);
	int error;

	if (!emu)
		return -ENOMEM;
	error = read_options(emu, options);
	if (!error)
		error = zcrx_lib_machine_join(emu);
	if (error) {
		zcrx_lib_handle_end(&instances, &emu->handle);
		return error;
	}
	emu->issuer = pthread_self();
	emu->receives_end = &emu->receives;
	emu->rng = zcrx_rng_for(emu->options.seed, 0);
	emu->reports.context = emu->options.context;
	emu->reports.on_report = emu->options.on_report;
	*result = emu;
	return 0;
}

/* 0, or -EBADF for what was destroyed, and no lock is held. */
static int enter(struct zcrx_emu *emu)
{
	if (!emu || !zcrx_lib_handle_is_alive(&emu->handle))
		return -EBADF;
	pthread_mutex_lock(&emu->machine->lock);
	return 0;
}

static int leave(struct zcrx_emu *emu, int result)
{
	pthread_mutex_unlock(&emu->machine->lock);
	return result;
}

const char *zcrx_emu_why(const struct zcrx_emu *emu)
{
	if (!emu || !zcrx_lib_handle_is_alive(&emu->handle))
		return "the instance was destroyed";
	return emu->why;
}

/* For what a callback may not call. 0, or -errno and the lock is not held. */
static int enter_kernel(struct zcrx_emu *emu)
{
	if (enter(emu))
		return -EBADF;
	if (emu->machine->is_busy)
		return leave(emu, zcrx_lib_refuse(emu, -EBUSY,
						  "called by a callback: the kernel is at work"));
	emu->machine->is_busy = true;
	return 0;
}

static int leave_kernel(struct zcrx_emu *emu, int result)
{
	emu->machine->is_busy = false;
	return leave(emu, result);
}

/* Not in a callback: the kernel would go on with what is gone. */
void zcrx_emu_destroy(struct zcrx_emu *emu)
{
	if (zcrx_emu_stop(emu) || enter_kernel(emu))
		return;
	zcrx_lib_exports_reap(emu->machine);
	zcrx_lib_receive_free(emu);
	zcrx_lib_trouble_free(emu);
	zcrx_lib_late_drop_all(emu);
	zcrx_lib_detach_all(emu);
	leave_kernel(emu, 0);
	zcrx_lib_machine_leave(emu);
	zcrx_lib_reports_free(&emu->reports);
	zcrx_lib_handle_end(&instances, &emu->handle);
}

/* ---- registering --------------------------------------------------------------------- */

/* What is the program's to call, one thread of a ring with a single issuer calls. */
static bool is_wrong_thread(const struct zcrx_emu *emu)
{
	return emu->options.ring_flags & IORING_SETUP_SINGLE_ISSUER &&
	       !pthread_equal(emu->issuer, pthread_self());
}

static int refuse_thread(struct zcrx_emu *emu)
{
	return zcrx_lib_refuse(emu, -EEXIST,
			       "called by another thread than made the ring, which has "
			       "IORING_SETUP_SINGLE_ISSUER (0x%x)",
			       IORING_SETUP_SINGLE_ISSUER);
}

static int register_any(struct zcrx_emu *emu, uint32_t opcode, void *arg, uint32_t nr_args)
{
	uint64_t address = (uint64_t)(uintptr_t)arg;

	if (opcode == REGISTER_ZCRX_IFQ) {
		if (!arg || nr_args != 1)
			return zcrx_lib_refuse(emu, -EINVAL, "nr_args: %u; must be 1 and a struct",
					       nr_args);
		return zcrx_lib_register_ifq(emu, address);
	}
	if (opcode == REGISTER_ZCRX_CTRL && emu->level->ctrl_ops)
		return zcrx_lib_register_ctrl(emu, address, nr_args);
	if (opcode == REGISTER_QUERY && emu->level->query_ops)
		return zcrx_lib_query(emu, address, nr_args);
	return zcrx_lib_refuse(emu, -EINVAL, "opcode: %u; level %s has 32%s%s here", opcode,
			       emu->level->name, emu->level->query_ops ? ", 35" : "",
			       emu->level->ctrl_ops ? ", 36" : "");
}

int zcrx_emu_register(struct zcrx_emu *emu, uint32_t opcode, void *arg, uint32_t nr_args)
{
	int result = enter_kernel(emu);

	if (result)
		return result;
	if (is_wrong_thread(emu))
		return leave_kernel(emu, refuse_thread(emu));
	return leave_kernel(emu, register_any(emu, opcode, arg, nr_args));
}

int zcrx_emu_register_ifq(struct zcrx_emu *emu, struct io_uring_zcrx_ifq_reg *reg)
{
	return zcrx_emu_register(emu, REGISTER_ZCRX_IFQ, reg, 1);
}

void *zcrx_emu_mmap(struct zcrx_emu *emu, size_t size, uint64_t offset)
{
	void *found = NULL;

	if (enter(emu))
		return NULL;
	for (uint32_t id = 0; id < emu->ifq_count; id++) {
		const struct zcrx_lib_ifq *queue = emu->ifqs[id];

		if (queue->made && offset == zcrx_lib_region_offset(id) &&
		    size <= queue->region_size)
			found = queue->made;
	}
	if (!found)
		zcrx_lib_refuse(emu, -EINVAL, "offset 0x%llx, size %zu: no such region",
				(unsigned long long)offset, size);
	leave(emu, 0);
	return found;
}

int zcrx_emu_set_cq(struct zcrx_emu *emu, const struct zcrx_emu_cq *cq)
{
	int result = enter_kernel(emu);

	if (result)
		return result;
	if (!cq->head || !cq->tail || !cq->cqes)
		return leave_kernel(
			emu, zcrx_lib_refuse(emu, -EINVAL, "head, tail, cqes: none may be NULL"));
	return leave_kernel(
		emu, zcrx_lib_cq_set(emu, &(struct zcrx_lib_cq){
						  .head = zcrx_lib_window_on(cq->head),
						  .tail = zcrx_lib_window_on(cq->tail),
						  .cqes = zcrx_lib_window_on(cq->cqes),
						  .sq_flags = zcrx_lib_window_on(cq->sq_flags),
						  .entries = cq->entries,
					  }));
}

int zcrx_emu_set_cq_at(struct zcrx_emu *emu, const struct zcrx_emu_cq_at *cq)
{
	int result = enter_kernel(emu);

	return result ? result : leave_kernel(emu, zcrx_lib_cq_set_at(emu, cq));
}

int zcrx_emu_post(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe)
{
	enter(emu);
	zcrx_lib_cq_post_or_keep(emu, cqe);
	return leave(emu, 0);
}

/* ---- receiving ----------------------------------------------------------------------- */

int zcrx_emu_arm(struct zcrx_emu *emu, const struct zcrx_emu_recv *recv)
{
	bool was_busy;
	int result;

	if (enter(emu))
		return -EBADF;
	/* In a callback it stands for the program, whoever runs it; and it may cause one. */
	was_busy = emu->machine->is_busy;
	emu->machine->is_busy = true;
	result = !was_busy && is_wrong_thread(emu) ? refuse_thread(emu) : zcrx_lib_arm(emu, recv);
	emu->machine->is_busy = was_busy;
	return leave(emu, result);
}

int64_t zcrx_emu_deliver(struct zcrx_emu *emu, uint32_t zcrx_id, uint32_t flow, const void *data,
			 size_t size, const struct zcrx_emu_shape *shape)
{
	struct zcrx_lib_ifq *queue;
	int64_t result = enter_kernel(emu);

	if (result)
		return result;
	queue = zcrx_lib_ifq_of(emu, zcrx_id);
	if (queue)
		result = zcrx_lib_deliver(emu, queue, flow, data, size,
					  shape ? shape : &whole_buffers);
	else
		result = zcrx_lib_refuse(emu, -ENXIO, "zcrx_id: %u is not registered", zcrx_id);
	leave_kernel(emu, 0);
	return result;
}

int zcrx_emu_end(struct zcrx_emu *emu, uint32_t flow)
{
	return enter(emu) ? -EBADF : leave(emu, zcrx_lib_end(emu, flow));
}

int zcrx_emu_is_armed(struct zcrx_emu *emu, uint32_t flow)
{
	enter(emu);
	return leave(emu, zcrx_lib_is_armed(emu, flow));
}

int zcrx_emu_ended(struct zcrx_emu *emu, uint32_t flow)
{
	const struct zcrx_lib_flow *found;
	int result = enter(emu);

	if (result)
		return result;
	found = zcrx_lib_flow_of(emu, flow, false);
	return leave(emu, found ? -(int)found->error : 0);
}

int zcrx_emu_fail(struct zcrx_emu *emu, uint32_t flow, int error)
{
	int result = enter_kernel(emu);

	return result ? result : leave_kernel(emu, zcrx_lib_fail(emu, flow, error));
}

int64_t zcrx_emu_withdraw(struct zcrx_emu *emu, uint32_t flow)
{
	int64_t result = enter_kernel(emu);

	if (result)
		return result;
	result = zcrx_lib_flow_withdraw(emu, flow);
	leave_kernel(emu, 0);
	return result;
}

int zcrx_emu_gone(struct zcrx_emu *emu, uint32_t zcrx_id, uint32_t flow)
{
	const struct zcrx_emu_report report = {
		.kind = ZCRX_EMU_MEMORY_GONE,
		.zcrx_id = zcrx_id,
		.flow = flow,
	};
	int result = enter(emu);

	if (result)
		return result;
	if (zcrx_lib_checks(emu))
		zcrx_lib_report(&emu->reports, &report,
				"area or refill ring were unmapped, or other memory was mapped in "
				"their place, and the receive of flow %u is armed: the kernel goes "
				"on with the old pages, which nobody sees",
				flow);
	return leave(emu, 0);
}

int zcrx_emu_left(struct zcrx_emu *emu, uint32_t flow, uint64_t bytes)
{
	struct zcrx_lib_flow *found;
	int result = enter(emu);

	if (result)
		return result;
	found = zcrx_lib_flow_of(emu, flow, false);
	if (found)
		found->left = bytes;
	return leave(emu, 0);
}

int zcrx_emu_close(struct zcrx_emu *emu, uint32_t flow)
{
	int result = enter_kernel(emu);

	return result ? result : leave_kernel(emu, zcrx_lib_close(emu, flow));
}

/* ---- driving -------------------------------------------------------------------------- */

static int step(struct zcrx_emu *emu)
{
	uint32_t count = zcrx_lib_cq_flush(emu);

	for (uint32_t id = 0; id < emu->ifq_count; id++) {
		zcrx_lib_turn(emu->ifqs[id]);
		if (emu->options.flags & ZCRX_EMU_EAGER)
			zcrx_lib_queue_drain(emu->ifqs[id]);
	}
	count += zcrx_lib_events_post(emu);
	if (zcrx_lib_trouble_receives(emu))
		count += zcrx_lib_receive_all(emu);
	return (int)(count + zcrx_lib_events_post(emu));
}

int zcrx_emu_step(struct zcrx_emu *emu)
{
	int result = enter_kernel(emu);

	return result ? result : leave_kernel(emu, step(emu));
}

int zcrx_emu_drain(struct zcrx_emu *emu, uint32_t zcrx_id)
{
	struct zcrx_lib_ifq *queue;
	int result = enter_kernel(emu);

	if (result)
		return result;
	queue = zcrx_lib_ifq_of(emu, zcrx_id);
	if (!queue)
		result = zcrx_lib_refuse(emu, -ENXIO, "zcrx_id: %u is not registered", zcrx_id);
	else
		result = (int)zcrx_lib_queue_drain_now(queue);
	return leave_kernel(emu, result);
}

static void *work(void *argument)
{
	struct zcrx_emu *emu = argument;
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	/* Relaxed: zcrx_emu_stop() waits for our end, which orders all else. */
	while (!shm_load_relaxed_u32(&emu->is_stopped, POINT_RUN_STATE)) {
		if (zcrx_emu_step(emu) == 0)
			nanosleep(&pause, NULL);
	}
	return NULL;
}

int zcrx_emu_start(struct zcrx_emu *emu)
{
	int result = enter_kernel(emu);
	int error;

	if (result)
		return result;
	if (emu->has_thread)
		return leave_kernel(emu, zcrx_lib_refuse(emu, -EALREADY, "it has been started"));
	shm_store_relaxed_u32(&emu->is_stopped, 0, POINT_RUN_STATE);
	error = -pthread_create(&emu->thread, NULL, work, emu);
	if (error)
		return leave_kernel(emu, zcrx_lib_refuse(emu, error, "no thread can be made"));
	emu->has_thread = true;
	return leave_kernel(emu, 0);
}

int zcrx_emu_stop(struct zcrx_emu *emu)
{
	int result = enter_kernel(emu);
	bool had_thread;

	/* In a callback, whose thread may be the one to be waited for. */
	if (result)
		return result;
	had_thread = emu->has_thread;
	emu->has_thread = false;
	shm_store_relaxed_u32(&emu->is_stopped, 1, POINT_RUN_STATE);
	leave_kernel(emu, 0);
	if (had_thread)
		pthread_join(emu->thread, NULL);
	return 0;
}

/* ---- faults ---------------------------------------------------------------------------- */

static int follow_plan(struct zcrx_emu *emu, const char *text)
{
	char why[sizeof(emu->why)] = "no memory for a plan";
	int result = zcrx_lib_trouble_plan(emu, text ? text : "none", why, sizeof(why));

	return result ? zcrx_lib_refuse(emu, result, "%s", why) : 0;
}

int zcrx_emu_plan(struct zcrx_emu *emu, const char *text, char *error, size_t size)
{
	int result = enter_kernel(emu);

	if (!result)
		result = leave_kernel(emu, follow_plan(emu, text));
	if (size)
		snprintf(error, size, "%s", result ? zcrx_emu_why(emu) : "");
	return result;
}

size_t zcrx_emu_journal(struct zcrx_emu *emu, char *to, size_t size)
{
	size_t used;

	if (enter(emu))
		return 0;
	used = zcrx_lib_trouble_journal(emu, to, size);
	leave(emu, 0);
	return used;
}

const char *zcrx_emu_fault(uint32_t index)
{
	const struct zcrx_lib_fault *fault = zcrx_lib_fault_at(index);

	return fault ? fault->name : NULL;
}

uint64_t zcrx_emu_fired(struct zcrx_emu *emu, const char *fault)
{
	uint64_t count;

	if (enter(emu))
		return 0;
	count = zcrx_lib_trouble_fired(emu, fault);
	leave(emu, 0);
	return count;
}

int zcrx_emu_wait(struct zcrx_emu *emu)
{
	int result = enter(emu);

	return result ? result : leave(emu, zcrx_lib_trouble_wait(emu) ? -EINTR : 0);
}

/* ---- the end --------------------------------------------------------------------------- */

static void finish_queue(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	zcrx_lib_queue_drain_now(queue);
	/* What another ring was given is returned by that one, or by this one yet. */
	if (zcrx_lib_is_in_use_elsewhere(emu, queue))
		return;
	zcrx_lib_ledger_close(&queue->ledger);
	zcrx_lib_watch_close(queue);
}

static void finish_queue_late(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	struct zcrx_lib_window program = queue->region;
	void *copy;

	if (zcrx_lib_is_in_use_elsewhere(emu, queue))
		return;
	copy = zcrx_lib_queue_set_aside(queue);
	if (!copy)
		return;
	zcrx_lib_queue_drain_now(queue);
	zcrx_lib_ledger_close(&queue->ledger);
	queue->region = program;
	free(copy);
}

static int finish(struct zcrx_emu *emu, bool is_late)
{
	uint64_t count;

	emu->is_finished = true;
	if (!zcrx_lib_checks(emu))
		return 0;
	for (uint32_t id = 0; id < emu->ifq_count; id++)
		(is_late ? finish_queue_late : finish_queue)(emu, emu->ifqs[id]);
	zcrx_lib_exports_report(emu);
	zcrx_lib_receive_close(emu);
	count = zcrx_lib_report_count(&emu->reports, ZCRX_EMU_KINDS);
	return count < INT32_MAX ? (int)count : INT32_MAX;
}

int zcrx_emu_finish(struct zcrx_emu *emu)
{
	int result = enter_kernel(emu);

	return result ? result : leave_kernel(emu, finish(emu, false));
}

int zcrx_emu_finish_late(struct zcrx_emu *emu)
{
	int result = enter_kernel(emu);

	return result ? result : leave_kernel(emu, finish(emu, true));
}

uint64_t zcrx_emu_count(struct zcrx_emu *emu, uint32_t kind)
{
	uint64_t count;

	if (enter(emu))
		return 0;
	count = zcrx_lib_report_count(&emu->reports, kind);
	leave(emu, 0);
	return count;
}

size_t zcrx_emu_report_text(struct zcrx_emu *emu, char *to, size_t size)
{
	size_t used;

	if (enter(emu)) {
		if (size)
			to[0] = 0;
		return 0;
	}
	used = zcrx_lib_reports_text(&emu->reports, to, size);
	leave(emu, 0);
	return used;
}

size_t zcrx_emu_report_json(struct zcrx_emu *emu, char *to, size_t size)
{
	size_t used;

	if (enter(emu)) {
		if (size)
			to[0] = 0;
		return 0;
	}
	used = zcrx_lib_reports_json(&emu->reports, to, size);
	leave(emu, 0);
	return used;
}
