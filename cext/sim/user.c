/* SPDX-License-Identifier: MIT */
#include "user.h"

#include <string.h>

#define SLEEP_US 1000U

void user_await_cqes(struct world_view *view)
{
	struct zcrx_bell *bell = &view->nq.queue.bells->consumers[0];

	while (!zcrx_cq_user_available(&view->cq)) {
		uint32_t seq = zcrx_bell_prepare(bell, ZCRX_BELL_WORK);

		if (zcrx_cq_user_available(&view->cq)) {
			zcrx_bell_cancel(bell);
			return;
		}
		zcrx_bell_sleep(bell, seq, SLEEP_US);
		if (sim_was_left_asleep() && zcrx_cq_user_available(&view->cq))
			sim_fail(USER_SLEEPS);
	}
}

void user_take(struct world_view *view, uint64_t count)
{
	uint32_t available = zcrx_cq_user_available(&view->cq);

	for (uint32_t i = 0; i < available && i < count; i++) {
		struct zcrx_cqe32 cqe = zcrx_cq_user_take(&view->cq);

		if (view->fragment_count == WORLD_HAND)
			sim_fail(USER_FULL);
		if (cqe.cqe.res != 64 || cqe.cqe.flags != IORING_CQE_F_MORE ||
		    cqe.zcrx.off >> view->nq.queue.shape.niov_shift >=
			    view->nq.queue.shape.num_niovs)
			sim_fail(FOREIGN_COMPLETION);
		view->fragments[view->fragment_count++] = cqe.zcrx.off;
	}
	zcrx_cq_user_release(&view->cq);
}

static void publish(struct world_view *view)
{
	zcrx_rq_user_publish(&view->rq);
	zcrx_bell_ring(&view->nq.queue.bells->provider, zcrx_bell_refill(0));
}

void user_push(struct world_view *view, uint64_t off, uint64_t len, uint64_t pad)
{
	if (!zcrx_rq_user_room(&view->rq, 1))
		return;
	zcrx_rq_user_put(&view->rq, off, (uint32_t)len, (uint32_t)pad);
	publish(view);
}

void user_give(struct world_view *view, uint64_t count)
{
	while (count-- && view->fragment_count) {
		if (!zcrx_rq_user_room(&view->rq, 1))
			return;
		zcrx_rq_user_put(&view->rq, view->fragments[--view->fragment_count], 64, 0);
		publish(view);
	}
}

void user_write(struct world_view *view, uint64_t slot, uint64_t off, uint64_t pad)
{
	struct zcrx_rqe_slot *rqe = &view->rq.rqes[slot & view->rq.mask];

	shm_store_relaxed_u64(&rqe->off, off, POINT_RQE_STORE);
	shm_store_relaxed_u64(&rqe->len_pad, pad << 32, POINT_RQE_STORE);
}

void user_take_bytes(struct world_view *view, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint32_t index = view->cq.cached_head, held = view->fragment_count;
		uint64_t payload;

		user_take(view, 1);
		if (view->fragment_count == held)
			return;
		memcpy(&payload, view->nq.queue.area.bytes + view->fragments[held],
		       sizeof(payload));
		if (payload != index)
			sim_fail(FOREIGN_PAYLOAD, index, payload);
	}
}

void user_return(struct world_view *view, uint64_t niov, uint64_t count)
{
	while (count--)
		user_push(view, niov << view->nq.queue.shape.niov_shift, 0, 0);
}

void user_tail(struct world_view *view, uint64_t word)
{
	shm_store_release_u32(view->rq.tail, (uint32_t)word, POINT_RQ_TAIL_STORE);
}
