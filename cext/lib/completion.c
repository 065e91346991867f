/* SPDX-License-Identifier: MIT */
#include "completion.h"

#include <stdlib.h>

#define SQ_CQ_OVERFLOW (1U << 1)

void zcrx_lib_cq_check(struct zcrx_emu *emu)
{
	struct zcrx_emu_report report = {.kind = ZCRX_EMU_CQ_HEAD};
	uint32_t head;

	if (emu->cq.entries == 0 || emu->is_head_reported || !zcrx_lib_checks(emu))
		return;
	/* Relaxed: only looked at. */
	head = shm_load_relaxed_u32(emu->cq.head, POINT_CQ_HEAD_LOAD);
	if (emu->cq.cached_tail - head <= emu->cq.entries)
		return;
	emu->is_head_reported = true;
	zcrx_lib_report(&emu->reports, &report,
			"the completion queue's head is %u, its tail %u: nothing is given any more",
			head, emu->cq.cached_tail);
}

static bool has_room(struct zcrx_emu *emu)
{
	if (emu->cq.entries == 0)
		return emu->options.on_cqe != NULL;
	if (zcrx_cq_room(&emu->cq, 1))
		return true;
	zcrx_lib_cq_check(emu);
	return false;
}

static bool post(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe)
{
	bool is_taken;

	if (emu->cq.entries == 0) {
		emu->is_posting = true;
		is_taken = emu->options.on_cqe(emu->options.context, cqe) == 0;
		emu->is_posting = false;
		return is_taken;
	}
	zcrx_cq_put(&emu->cq, cqe->user_data, cqe->res, cqe->flags, cqe->off);
	zcrx_cq_publish(&emu->cq);
	return true;
}

bool zcrx_lib_cq_has_room(struct zcrx_emu *emu)
{
	return emu->waiting_count == 0 && has_room(emu);
}

bool zcrx_lib_cq_post(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe)
{
	return post(emu, cqe);
}

/* Ordering: the program's load of the flags needs none, as with the kernel. */
static void tell_waiting(struct zcrx_emu *emu)
{
	shm_u32 *flags = (shm_u32 *)(void *)emu->sq_flags;
	uint32_t now;

	if (!flags)
		return;
	now = shm_load_relaxed_u32(flags, POINT_COUNTER) & ~SQ_CQ_OVERFLOW;
	shm_store_relaxed_u32(flags, now | (emu->waiting_count ? SQ_CQ_OVERFLOW : 0),
			      POINT_COUNTER);
}

uint32_t zcrx_lib_cq_flush(struct zcrx_emu *emu)
{
	uint32_t done = 0, count = emu->waiting_count;

	if (count == 0)
		return 0;
	while (done < count && has_room(emu)) {
		/* A callback may add others, for the next step: the array may move. */
		struct zcrx_emu_cqe cqe = emu->waiting[done];

		if (!post(emu, &cqe))
			break;
		done++;
	}
	emu->waiting_count -= done;
	memmove(emu->waiting, emu->waiting + done, emu->waiting_count * sizeof(*emu->waiting));
	tell_waiting(emu);
	return done;
}

void zcrx_lib_cq_post_last(struct zcrx_emu *emu, uint64_t user_data, int32_t res)
{
	struct zcrx_emu_cqe cqe = {.user_data = user_data, .res = res};

	/* What a callback causes comes after it, not within it. */
	if (!emu->is_posting && emu->waiting_count == 0 && has_room(emu) && post(emu, &cqe))
		return;
	if (emu->waiting_count == emu->waiting_capacity) {
		uint32_t capacity = emu->waiting_capacity ? 2 * emu->waiting_capacity : 8;
		void *waiting = realloc(emu->waiting, capacity * sizeof(*emu->waiting));

		/* As with the kernel: what cannot be kept is dropped. */
		if (!waiting)
			return;
		emu->waiting = waiting;
		emu->waiting_capacity = capacity;
	}
	emu->waiting[emu->waiting_count++] = cqe;
	tell_waiting(emu);
}
