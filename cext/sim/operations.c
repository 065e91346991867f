/* SPDX-License-Identifier: MIT */
/*
 * Operations are short: a line or two that call what the processes of a run
 * call. What must hold at the end holds for every scenario; a scenario can ask
 * for more by what its `end` expects.
 */
#include "operations.h"
#include "run/control.h"
#include "user.h"

#include <string.h>

#define SLEEP_US 1000U

/* ---- provider and stack ---------------------------------------------------------- */

static void hold(struct world_view *view, uint32_t niov)
{
	if (view->hand_count == WORLD_HAND)
		sim_fail(HAND_FULL);
	view->hand[view->hand_count++] = niov;
}

/* The oldest in the hand, or NONE. */
static bool let_go(struct world_view *view, uint32_t *niov)
{
	if (view->hand_count == 0)
		return false;
	*niov = view->hand[0];
	view->hand_count--;
	memmove(view->hand, view->hand + 1, sizeof(view->hand[0]) * view->hand_count);
	return true;
}

static void do_alloc(struct world_view *view, uint64_t count)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(world_ifq(view));

	for (uint64_t i = 0; pool && i < count; i++) {
		int64_t niov = zcrx_pp_alloc(pool);

		if (niov < 0)
			return;
		if (shm_load_relaxed_u32(&view->nq.queue.area.niovs[niov].user_refs,
					 POINT_USER_REF_LOAD))
			sim_fail(HANDED_OUT, (uint64_t)niov);
		hold(view, (uint32_t)niov);
	}
}

static void do_grant(struct world_view *view, uint64_t count)
{
	struct zcrx_queue *queue = &view->nq.queue;
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&queue->ifq);
	uint32_t granted = 0;

	while (pool && granted < count && zcrx_grant_room(&queue->grants)) {
		int64_t niov = zcrx_pp_alloc(pool);

		if (niov < 0)
			break;
		zcrx_grant_put(&queue->grants, (uint32_t)niov);
		granted++;
	}
	if (!granted)
		return;
	zcrx_grant_publish(&queue->grants);
	zcrx_bell_ring(&queue->bells->nic, ZCRX_BELL_GRANTS);
}

/* The provider's way to sleep: announce, look once more, sleep. */
static void do_await_rqes(struct world_view *view, uint64_t count)
{
	struct zcrx_queue *queue = &view->nq.queue;
	uint32_t reason = zcrx_bell_refill(queue->index);

	while (zcrx_ifq_available(&queue->ifq) < count) {
		uint32_t seq = zcrx_bell_prepare(&queue->bells->provider, reason);

		if (zcrx_ifq_available(&queue->ifq) >= count) {
			zcrx_bell_cancel(&queue->bells->provider);
			return;
		}
		zcrx_bell_sleep(&queue->bells->provider, seq, SLEEP_US);
		if (sim_was_left_asleep() && zcrx_ifq_available(&queue->ifq) >= count)
			sim_fail(PROVIDER_SLEEPS);
	}
}

static void do_deliver(struct world_view *view, uint64_t buffers, uint64_t fragments)
{
	uint32_t niov;

	while (buffers-- && let_go(view, &niov)) {
		zcrx_pp_ref_get(&view->nq.queue.area, niov, (uint32_t)fragments);
		zcrx_ifq_give(world_ifq(view), niov, (uint32_t)fragments);
		zcrx_ifq_drop(world_ifq(view), niov, 1);
	}
}

static void do_drop(struct world_view *view, uint64_t count)
{
	uint32_t niov;

	while (count-- && let_go(view, &niov))
		zcrx_ifq_drop(world_ifq(view), niov, 1);
}

static void do_copy(struct world_view *view, uint64_t count)
{
	while (count--) {
		int64_t niov = zcrx_ifq_take_copy_buffer(world_ifq(view));

		if (niov < 0)
			return;
		hold(view, (uint32_t)niov);
	}
}

static void do_destroy(struct world_view *view, uint64_t expected)
{
	int result = zcrx_ifq_teardown(world_ifq(view));

	if (result && !expected)
		sim_fail(DESTROY_MISSING);
	if (!result && expected)
		sim_fail(DESTROY_COMPLETE);
}

/* Without copies, a pool is gone only when all buffers are home. */
static void do_teardown(struct world_view *view, uint64_t looks)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(world_ifq(view));
	int destroyed = zcrx_ifq_teardown(world_ifq(view));

	while (pool && looks-- && zcrx_pp_phase(pool) == ZCRX_POOL_DYING) {
		if (!zcrx_pp_retry_release(pool, &destroyed))
			destroyed = 1;
	}
	if (pool && destroyed && zcrx_pp_phase(pool) == ZCRX_POOL_UNUSED)
		sim_fail(POOL_GONE, pool->slot);
}

/* ---- NIC ------------------------------------------------------------------------- */

static void do_send(struct world_view *view, uint64_t fragments)
{
	if (zcrx_nic_queue_room(&view->nq, (uint32_t)fragments, 1) != ZCRX_OFFERED)
		return;
	zcrx_nic_queue_open(&view->nq);
	for (uint64_t i = 0; i < fragments; i++)
		zcrx_nic_queue_fragment(&view->nq, 0, 64, 0);
	zcrx_nic_queue_close(&view->nq);
	zcrx_nic_queue_publish(&view->nq);
}

static void do_cut(struct world_view *view, uint64_t fragments)
{
	struct zcrx_nic_queue *nq = &view->nq;

	if (zcrx_nic_queue_room(nq, (uint32_t)fragments, nq->has_open ? 0 : 1) != ZCRX_OFFERED)
		return;
	if (!nq->has_open)
		zcrx_nic_queue_open(nq);
	for (uint64_t i = 0; i < fragments; i++)
		zcrx_nic_queue_fragment(nq, 0, 64, 0);
	zcrx_nic_queue_publish(nq);
}

static void do_close(struct world_view *view)
{
	if (!view->nq.has_open)
		return;
	zcrx_nic_queue_close(&view->nq);
	zcrx_nic_queue_publish(&view->nq);
}

/* Each payload is the index of its completion: it cannot be taken for another one's. */
static void do_send_bytes(struct world_view *view, uint64_t fragments)
{
	struct zcrx_nic_queue *nq = &view->nq;
	uint8_t *bytes;

	if (zcrx_nic_queue_room(nq, (uint32_t)fragments, 1) != ZCRX_OFFERED)
		return;
	bytes = zcrx_area_niov(&nq->queue.area, zcrx_nic_queue_open(nq));
	for (uint64_t i = 0; i < fragments; i++) {
		uint64_t payload = nq->queue.cq.cached_tail;

		shm_copy_payload(bytes + nq->open_off, &payload, sizeof(payload));
		zcrx_nic_queue_fragment(nq, 0, 64, 0);
	}
	zcrx_nic_queue_close(nq);
	zcrx_nic_queue_publish(nq);
}

/* ---- what is looked at, by the control process or at the end ---------------------- */

static void expect_home(struct world_view *view)
{
	for (uint32_t niov = 0; niov < view->nq.queue.shape.num_niovs; niov++) {
		if (zcrx_ifq_user_refs(world_ifq(view), niov))
			sim_fail(USER_REFS_LEFT, niov);
	}
}

static void expect_verdict(struct world_view *view, uint64_t verdict, uint64_t count)
{
	uint64_t actual = verdict < ZCRX_VERDICT_COUNT ?
				  shm_load_relaxed_u64(&world_ifq(view)->shared->verdicts[verdict],
						       POINT_COUNTER) :
				  0;

	if (actual != count)
		sim_fail(VERDICTS, verdict, actual, count);
}

/* As reconciliation does: what `consumed` covers is there to be read. */
static void do_read_log(struct world_view *view)
{
	const struct zcrx_ifq *ifq = world_ifq(view);
	uint64_t consumed = shm_load_acquire_u64(&ifq->shared->consumed, POINT_LOG);

	for (uint64_t i = 0; i < consumed; i++) {
		uint32_t verdict = ifq->verdict_log[i & ifq->log_mask] & ~ZCRX_LOG_ALIAS;

		if (verdict >= ZCRX_VERDICT_COUNT)
			sim_fail(NO_VERDICT, i);
	}
}

/* A pool that was in charge before and after we looked at it was so meanwhile. */
static void do_look(struct world_view *view)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(world_ifq(view));
	uint32_t phase;

	if (!pool)
		return;
	phase = zcrx_pp_phase(pool);
	if (phase != ZCRX_POOL_CURRENT && zcrx_ifq_pool(world_ifq(view)) == pool)
		sim_fail(PHASE_IN_CHARGE, pool->slot, phase);
}

/* A quiet NIC has shown the user whatever a scrub took from it. */
static void do_scrub_quiet(struct world_view *view)
{
	struct zcrx_queue *queue = &view->nq.queue;
	uint64_t taken = zcrx_ifq_scrub(&queue->ifq, NULL);

	if (zcrx_queue_nic_is_quiet(queue) &&
	    shm_load_relaxed_u32(queue->cq.tail, POINT_CQ_TAIL_LOAD) - queue->shape.initial_index <
		    taken)
		sim_fail(QUIET_TOO_EARLY);
}

/* Without copies: a buffer is a pool's, or it is on the freelist. */
static void expect_bound(struct world_view *view)
{
	const struct zcrx_area *area = &view->nq.queue.area;
	uint32_t free[SCRIPT_NIOVS_MAX];
	uint32_t count = zcrx_area_free_snapshot(area, free, SCRIPT_NIOVS_MAX);
	uint64_t is_free = 0;

	for (uint32_t i = 0; i < count; i++)
		is_free |= (uint64_t)1 << free[i];
	for (uint32_t niov = 0; niov < zcrx_area_niovs(area); niov++) {
		uint32_t pool = area->niovs[niov].pool;

		if (is_free >> niov & 1 && pool != ZCRX_NO_POOL)
			sim_fail(BOUND_AND_FREE, niov, pool - 1);
		if (!(is_free >> niov & 1) && pool == ZCRX_NO_POOL)
			sim_fail(UNBOUND_NOT_FREE, niov);
	}
}

/* ---- each by its word --------------------------------------------------------------- */

void operations_do(struct world_view *view, const struct script_op *op)
{
	struct zcrx_ifq *ifq = world_ifq(view);
	const uint64_t *numbers = op->numbers;

	view->doing = op->kind;
	switch (op->kind) {
	case OP_ALLOC:
		do_alloc(view, numbers[0]);
		break;
	case OP_REFILL:
		if (zcrx_ifq_pool(ifq))
			zcrx_ifq_refill_ring(ifq, zcrx_ifq_pool(ifq));
		break;
	case OP_FLUSH:
		zcrx_ifq_flush(ifq);
		break;
	case OP_FLUSH_RQ:
		zcrx_ifq_flush_rq(ifq);
		break;
	case OP_GRANT:
		do_grant(view, numbers[0]);
		break;
	case OP_AWAIT_RQES:
		do_await_rqes(view, numbers[0]);
		break;
	case OP_RESTART:
		zcrx_ifq_restart(ifq);
		break;
	case OP_RETRY:
		zcrx_ifq_retry_release(ifq);
		break;
	case OP_DESTROY:
		do_destroy(view, numbers[0]);
		break;
	case OP_DETACH_RING:
		ifq->detached = true;
		break;
	case OP_RESET_RING:
		zcrx_ifq_reset_ring(ifq);
		ifq->detached = false;
		break;
	case OP_DELIVER:
		do_deliver(view, numbers[0], numbers[1]);
		break;
	case OP_SEND:
		do_send(view, numbers[0]);
		break;
	case OP_DROP:
		do_drop(view, numbers[0]);
		break;
	case OP_COPY:
		do_copy(view, numbers[0]);
		break;
	case OP_TAKE:
		user_take(view, numbers[0]);
		break;
	case OP_AWAIT_CQES:
		user_await_cqes(view);
		break;
	case OP_GIVE:
		user_give(view, numbers[0]);
		break;
	case OP_RETURN:
		user_return(view, numbers[0], numbers[1]);
		break;
	case OP_PUSH:
		user_push(view, numbers[0], numbers[1], numbers[2]);
		break;
	case OP_WRITE:
		user_write(view, numbers[0], numbers[1], numbers[2]);
		break;
	case OP_TAIL:
		user_tail(view, numbers[0]);
		break;
	case OP_SCRUB:
		zcrx_ifq_scrub(ifq, NULL);
		break;
	case OP_EXPECT_HOME:
		expect_home(view);
		break;
	case OP_EXPECT_VERDICT:
		expect_verdict(view, numbers[0], numbers[1]);
		break;
	case OP_CUT:
		do_cut(view, numbers[0]);
		break;
	case OP_CLOSE:
		do_close(view);
		break;
	case OP_SEND_BYTES:
		do_send_bytes(view, numbers[0]);
		break;
	case OP_TAKE_BYTES:
		user_take_bytes(view, numbers[0]);
		break;
	case OP_READ_LOG:
		do_read_log(view);
		break;
	case OP_LOOK:
		do_look(view);
		break;
	case OP_TEARDOWN:
		do_teardown(view, numbers[0]);
		break;
	case OP_SCRUB_QUIET:
		do_scrub_quiet(view);
		break;
	case OP_EXPECT_BOUND:
		expect_bound(view);
		break;
	case OP_ADD_AREA:
		zcrx_ifq_add_area(ifq, (uint32_t)numbers[0]);
		break;
	}
}

void operations_do_all(struct world_view *view, const struct script *script)
{
	for (uint32_t i = 0; i < script->count; i++)
		operations_do(view, &script->ops[i]);
}
