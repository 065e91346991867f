/* SPDX-License-Identifier: MIT */
/*
 * Operations are short: a line or two that call what the processes of a run
 * call. What must hold at the end holds for every scenario; a scenario can ask
 * for more by what its `end` expects.
 */
#include "world.h"
#include "run/control.h"
#include "kernel/plugin.h"
#include "state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* X(NAME, word); what each takes is in emu/race/operations.py. */
#define WORLD_OPS(X)                                                           \
	X(ALLOC, "alloc") /* provider: buffers into its hand */                \
	X(REFILL, "refill")                                                    \
	X(FLUSH, "flush")                                                      \
	X(FLUSH_RQ, "flush-rq")                                                \
	X(GRANT, "grant")                                                      \
	X(AWAIT_RQES, "await-rqes") /* sleep until there are so many */        \
	X(RESTART, "restart")                                                  \
	X(RETRY, "retry")                                                      \
	X(DESTROY, "destroy") /* with what it must answer: 0 or 1 */           \
	X(DETACH_RING, "follow-detach")                                        \
	X(RESET_RING, "reset-ring")                                            \
	X(DELIVER, "deliver") /* stack: from its hand, in so many fragments */ \
	X(SEND, "send") /* NIC: a granted buffer, in so many fragments */      \
	X(DROP, "drop")                                                        \
	X(COPY, "copy")                                                        \
	X(TAKE, "take") /* user: completions */                                \
	X(AWAIT_CQES, "await-cqes")                                            \
	X(GIVE, "give") /* user: what it took */                               \
	X(RETURN, "return") /* user: a niov, so many times */                  \
	X(PUSH, "push") /* user: any offset, length, padding */                \
	X(WRITE, "write") /* user: slot, offset, padding */                    \
	X(TAIL, "tail") /* user: any word */                                   \
	X(SCRUB, "scrub")                                                      \
	X(EXPECT_HOME, "expect-home")                                          \
	X(EXPECT_VERDICT, "expect-verdict")                                    \
	X(CUT, "cut") /* NIC: fragments of a buffer that stays open */         \
	X(CLOSE, "close")                                                      \
	X(SEND_BYTES, "send-bytes") /* NIC: a buffer with a payload */         \
	X(TAKE_BYTES, "take-bytes") /* user: read the payload too */           \
	X(READ_LOG, "read-log") /* control: each verdict so far */             \
	X(LOOK, "look") /* control: the pool in charge is one */               \
	X(TEARDOWN, "teardown") /* and look again so many times */             \
	X(SCRUB_QUIET, "scrub-quiet") /* of a living user */                   \
	X(EXPECT_BOUND, "expect-bound")

enum {
#define WORLD_OP_ENUM(name, word) OP_##name,
	WORLD_OPS(WORLD_OP_ENUM)
#undef WORLD_OP_ENUM
		OP_COUNT,
};

static const char *const op_words[OP_COUNT] = {
#define WORLD_OP_WORD(name, word) word,
	WORLD_OPS(WORLD_OP_WORD)
#undef WORLD_OP_WORD
};

#define SLEEP_US 1000U

/* ---- operations ------------------------------------------------------------------------ */

static struct zcrx_ifq *ifq_of(struct world_view *view)
{
	return &view->nq.queue.ifq;
}

static void hold(struct world_view *view, uint32_t niov)
{
	if (view->hand_count == WORLD_HAND)
		sim_fail(SIM_WRONG, "a hand is full: the scenario takes too many buffers");
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
	struct zcrx_page_pool *pool = zcrx_ifq_pool(ifq_of(view));

	for (uint64_t i = 0; pool && i < count; i++) {
		int64_t niov = zcrx_pp_alloc(pool);

		if (niov < 0)
			return;
		if (shm_load_relaxed_u32(&view->nq.queue.area.niovs[niov].user_refs,
					 POINT_USER_REF_LOAD))
			sim_fail(SIM_WRONG, "niov %u was handed out while the user holds it",
				 (uint32_t)niov);
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
			sim_fail(SIM_LOST_WAKEUP,
				 "the provider sleeps although an entry was published");
	}
}

static void do_await_cqes(struct world_view *view)
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
			sim_fail(SIM_LOST_WAKEUP,
				 "the user sleeps although a completion was published");
	}
}

static void do_deliver(struct world_view *view, uint64_t buffers, uint64_t fragments)
{
	uint32_t niov;

	while (buffers-- && let_go(view, &niov)) {
		zcrx_pp_ref_get(&view->nq.queue.area, niov, (uint32_t)fragments);
		zcrx_user_ref_give(&view->nq.queue.area, niov, (uint32_t)fragments);
		zcrx_ifq_drop(ifq_of(view), niov, 1);
	}
}

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

static void do_drop(struct world_view *view, uint64_t count)
{
	uint32_t niov;

	while (count-- && let_go(view, &niov))
		zcrx_ifq_drop(ifq_of(view), niov, 1);
}

static void do_copy(struct world_view *view, uint64_t count)
{
	while (count--) {
		int64_t niov = zcrx_ifq_take_copy_buffer(ifq_of(view));

		if (niov < 0)
			return;
		hold(view, (uint32_t)niov);
	}
}

static void do_take(struct world_view *view, uint64_t count)
{
	uint32_t available = zcrx_cq_user_available(&view->cq);

	for (uint32_t i = 0; i < available && i < count; i++) {
		struct zcrx_cqe32 cqe = zcrx_cq_user_take(&view->cq);

		if (view->fragment_count == WORLD_HAND)
			sim_fail(SIM_WRONG, "the user holds too many fragments");
		if (cqe.cqe.res != 64 || cqe.cqe.flags != IORING_CQE_F_MORE ||
		    cqe.zcrx.off >> view->nq.queue.shape.niov_shift >=
			    view->nq.queue.shape.num_niovs)
			sim_fail(SIM_WRONG, "a completion is not what the NIC wrote");
		view->fragments[view->fragment_count++] = cqe.zcrx.off;
	}
	zcrx_cq_user_release(&view->cq);
}

static void publish(struct world_view *view)
{
	zcrx_rq_user_publish(&view->rq);
	zcrx_bell_ring(&view->nq.queue.bells->provider, zcrx_bell_refill(0));
}

static void do_push(struct world_view *view, uint64_t off, uint64_t len, uint64_t pad)
{
	if (!zcrx_rq_user_room(&view->rq, 1))
		return;
	zcrx_rq_user_put(&view->rq, off, (uint32_t)len, (uint32_t)pad);
	publish(view);
}

static void do_give(struct world_view *view, uint64_t count)
{
	while (count-- && view->fragment_count) {
		if (!zcrx_rq_user_room(&view->rq, 1))
			return;
		zcrx_rq_user_put(&view->rq, view->fragments[--view->fragment_count], 64, 0);
		publish(view);
	}
}

static void do_destroy(struct world_view *view, uint64_t expected)
{
	int result = zcrx_ifq_teardown(ifq_of(view));

	if ((result != 0) != (expected != 0))
		sim_fail(SIM_WRONG, "destroy found buffers %s",
			 result ? "missing" : "all at home, which cannot be");
}

static void expect_home(struct world_view *view)
{
	for (uint32_t niov = 0; niov < view->nq.queue.shape.num_niovs; niov++) {
		if (view->nq.queue.area.niovs[niov].user_refs)
			sim_fail(SIM_WRONG, "the user still has references of niov %u", niov);
	}
}

/* As docs and reports call them. */
static const char *const verdict_words[] = {
	[ZCRX_ACCEPTED] = "accepted",	    [ZCRX_STILL_REFERENCED] = "still_referenced",
	[ZCRX_OTHER_POOL] = "other_pool",   [ZCRX_BAD_PAD] = "bad_pad",
	[ZCRX_BAD_AREA] = "bad_area",	    [ZCRX_BAD_INDEX] = "bad_index",
	[ZCRX_NO_USER_REF] = "no_user_ref",
};
_Static_assert(sizeof(verdict_words) / sizeof(verdict_words[0]) == ZCRX_VERDICT_COUNT, "words");

static void expect_verdict(struct world_view *view, uint64_t verdict, uint64_t count)
{
	uint64_t actual = verdict < ZCRX_VERDICT_COUNT ?
				  shm_load_relaxed_u64(&ifq_of(view)->shared->verdicts[verdict],
						       POINT_COUNTER) :
				  0;

	if (actual != count)
		sim_fail(SIM_WRONG, "verdict %s was given %" PRIu64 " times, not %" PRIu64,
			 verdict < ZCRX_VERDICT_COUNT ? verdict_words[verdict] : "?", actual,
			 count);
}

static void do_write(struct world_view *view, uint64_t slot, uint64_t off, uint64_t pad)
{
	struct zcrx_rqe_slot *rqe = &view->rq.rqes[slot & view->rq.mask];

	shm_store_relaxed_u64(&rqe->off, off, POINT_RQE_STORE);
	shm_store_relaxed_u64(&rqe->len_pad, pad << 32, POINT_RQE_STORE);
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

static void do_take_bytes(struct world_view *view, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint32_t index = view->cq.cached_head, held = view->fragment_count;
		uint64_t payload;

		do_take(view, 1);
		if (view->fragment_count == held)
			return;
		memcpy(&payload, view->nq.queue.area.bytes + view->fragments[held],
		       sizeof(payload));
		if (payload != index)
			sim_fail(SIM_WRONG, "completion %u comes with the payload of %" PRIu64,
				 index, payload);
	}
}

/* As reconciliation does: what `consumed` covers is there to be read. */
static void do_read_log(struct world_view *view)
{
	const struct zcrx_ifq *ifq = ifq_of(view);
	uint64_t consumed = shm_load_acquire_u64(&ifq->shared->consumed, POINT_LOG);

	for (uint64_t i = 0; i < consumed; i++) {
		uint32_t verdict = ifq->verdict_log[i & ifq->log_mask] & ~ZCRX_LOG_ALIAS;

		if (verdict >= ZCRX_VERDICT_COUNT)
			sim_fail(SIM_WRONG, "entry %" PRIu64 " has no verdict", i);
	}
}

/* A pool that was in charge before and after we looked at it was so meanwhile. */
static void do_look(struct world_view *view)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(ifq_of(view));
	uint32_t phase;

	if (!pool)
		return;
	phase = zcrx_pp_phase(pool);
	if (phase != ZCRX_POOL_CURRENT && zcrx_ifq_pool(ifq_of(view)) == pool)
		sim_fail(SIM_WRONG, "page pool %u is in charge in phase %u", pool->slot, phase);
}

/* Without copies, a pool is gone only when all buffers are home. */
static void do_teardown(struct world_view *view, uint64_t looks)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(ifq_of(view));
	int destroyed = zcrx_ifq_teardown(ifq_of(view));

	while (pool && looks-- && zcrx_pp_phase(pool) == ZCRX_POOL_DYING) {
		if (!zcrx_pp_retry_release(pool, &destroyed))
			destroyed = 1;
	}
	if (pool && destroyed && zcrx_pp_phase(pool) == ZCRX_POOL_UNUSED)
		sim_fail(SIM_WRONG, "page pool %u is gone, and buffers are missing", pool->slot);
}

/* A quiet NIC has shown the user whatever a scrub took from it. */
static void do_scrub_quiet(struct world_view *view)
{
	struct zcrx_queue *queue = &view->nq.queue;
	uint64_t taken = zcrx_ifq_scrub(&queue->ifq, NULL);

	if (zcrx_queue_nic_is_quiet(queue) &&
	    shm_load_relaxed_u32(queue->cq.tail, POINT_CQ_TAIL_LOAD) - queue->shape.initial_index <
		    taken)
		sim_fail(SIM_WRONG, "the NIC is quiet, and fragments are not visible yet");
}

/* Without copies: a buffer is a pool's, or it is on the freelist. */
static void expect_bound(struct world_view *view)
{
	const struct zcrx_area *area = &view->nq.queue.area;
	uint64_t is_free = 0;

	for (uint32_t i = 0; i < zcrx_area_free_count(area); i++)
		is_free |= (uint64_t)1 << area->freelist[i];
	for (uint32_t niov = 0; niov < area->num_niovs; niov++) {
		if ((is_free >> niov & 1) != (area->niovs[niov].pool == ZCRX_NO_POOL))
			sim_fail(SIM_WRONG, "niov %u is bound to page pool %d, and %s", niov,
				 (int)area->niovs[niov].pool - 1,
				 is_free >> niov & 1 ? "free" : "not free");
	}
}

static void do_op(struct world_view *view, const struct world_op *op)
{
	struct zcrx_ifq *ifq = ifq_of(view);
	const uint64_t *numbers = op->numbers;

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
		do_take(view, numbers[0]);
		break;
	case OP_AWAIT_CQES:
		do_await_cqes(view);
		break;
	case OP_GIVE:
		do_give(view, numbers[0]);
		break;
	case OP_RETURN:
		for (uint64_t i = 0; i < numbers[1]; i++)
			do_push(view, numbers[0] << view->nq.queue.shape.niov_shift, 0, 0);
		break;
	case OP_PUSH:
		do_push(view, numbers[0], numbers[1], numbers[2]);
		break;
	case OP_WRITE:
		do_write(view, numbers[0], numbers[1], numbers[2]);
		break;
	case OP_TAIL:
		shm_store_release_u32(view->rq.tail, (uint32_t)numbers[0], POINT_RQ_TAIL_STORE);
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
		do_take_bytes(view, numbers[0]);
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
	}
}

/* ---- operations that do nothing --------------------------------------------------------- */

static uint64_t held_in(const struct world_view *view, uint32_t niov)
{
	return niov < view->nq.queue.shape.num_niovs ? view->nq.queue.area.niovs[niov].user_refs :
						       0;
}

/*
 * Why an operation of the setup, which is done by one alone, would not do all that
 * it says; NULL if it would. (What actors find depends on the others.)
 */
static const char *lacks(struct world_view *view, const struct world_op *op)
{
	const struct zcrx_nic_queue *nq = &view->nq;
	uint64_t count = op->numbers[0];

	switch (op->kind) {
	case OP_ALLOC:
	case OP_GRANT:
		return zcrx_ifq_pool(ifq_of(view)) ? NULL : "there is no page pool";
	case OP_DELIVER:
	case OP_DROP:
		return view->hand_count < count ? "the stack's hand does not hold so many" : NULL;
	case OP_SEND:
	case OP_SEND_BYTES:
	case OP_CUT:
		return zcrx_nic_queue_room(&view->nq, (uint32_t)count, nq->has_open ? 0 : 1) !=
				       ZCRX_OFFERED ?
			       "no buffer is granted, or the completion queue is full" :
			       NULL;
	case OP_CLOSE:
		return nq->has_open ? NULL : "no buffer is open";
	case OP_TAKE:
	case OP_TAKE_BYTES:
		return zcrx_cq_user_available(&view->cq) < count ? "there are fewer completions" :
								   NULL;
	case OP_GIVE:
		return view->fragment_count < count ? "the user took fewer" : NULL;
	case OP_RETURN:
		if (held_in(view, (uint32_t)count) < op->numbers[1])
			return "the user does not hold it so often ('push' returns what it likes)";
		return zcrx_rq_user_room(&view->rq, (uint32_t)op->numbers[1]) ?
			       NULL :
			       "the refill ring has no room for it";
	case OP_PUSH:
		return zcrx_rq_user_room(&view->rq, 1) ? NULL :
							 "the refill ring has no room for it";
	case OP_REFILL:
	case OP_FLUSH:
	case OP_FLUSH_RQ:
		return zcrx_ifq_available(ifq_of(view)) ? NULL : "the refill ring is empty";
	default:
		return NULL;
	}
}

static bool do_setup(struct world *world, char *why, size_t size)
{
	struct world_view *view = &world->views[SIM_ACTORS_MAX];

	for (uint32_t i = 0; i < world->setup.count; i++) {
		const struct world_op *op = &world->setup.ops[i];
		uint32_t before = view->hand_count, granted = view->nq.queue.grants.cached_tail;
		const char *lack = lacks(view, op);

		view->doing = op->kind;
		if (!lack)
			do_op(view, op);
		if (!lack && op->kind == OP_ALLOC && view->hand_count - before < op->numbers[0])
			lack = "there are fewer buffers";
		if (!lack && op->kind == OP_GRANT &&
		    view->nq.queue.grants.cached_tail - granted < op->numbers[0])
			lack = "there are fewer buffers, or less room in the grant ring";
		if (lack) {
			snprintf(why, size,
				 "setup: operation %u, %s: it does nothing, or less than it "
				 "says: %s",
				 i + 1, op_words[op->kind], lack);
			return false;
		}
	}
	return true;
}

static void do_script(struct world_view *view, const struct world_script *script)
{
	for (uint32_t i = 0; i < script->count; i++) {
		view->doing = script->ops[i].kind;
		do_op(view, &script->ops[i]);
	}
}

void world_act(void *context, uint32_t actor)
{
	struct world *world = context;

	do_script(&world->views[actor], &world->actors[actor]);
}

/* ---- the refill ring's lock ------------------------------------------------------------- */

#define NOBODY UINT32_MAX

void world_begin(void *context)
{
	((struct world *)context)->lock_holder = NOBODY;
	sim_state_put_back();
}

static bool is_word(const struct world *world, uint32_t offset, const volatile void *word)
{
	return world->shared + offset == (const volatile unsigned char *)word;
}

/* Sleeping and giving the ring to a new user look at it, too, and need no lock for it. */
static bool takes_entries(uint8_t kind)
{
	return kind == OP_ALLOC || kind == OP_GRANT || kind == OP_REFILL || kind == OP_FLUSH ||
	       kind == OP_FLUSH_RQ;
}

/*
 * Whoever takes entries holds the ring's lock from the load of the tail to the
 * store of the head. An interleaving in which that does harm need not be among a
 * scenario's: the lock that is not held is the mistake.
 */
void world_access(void *context, uint32_t actor, const struct sim_access *access)
{
	struct world *world = context;
	const struct zcrx_ifq *ifq = &world->views[SIM_ACTORS_MAX].nq.queue.ifq;
	const char *what;

	if (is_word(world, access->offset, &ifq->shared->rq_lock.word)) {
		if (access->writes && access->before == 0 && access->after != 0)
			world->lock_holder = actor;
		else if (access->writes && access->after == 0)
			world->lock_holder = NOBODY;
		return;
	}
	if (!takes_entries(world->views[actor].doing) || world->lock_holder == actor)
		return;
	if (!access->writes && is_word(world, access->offset, ifq->rq.tail))
		what = "the tail is read";
	else if (access->writes && is_word(world, access->offset, ifq->rq.head))
		what = "the head is written";
	else if (!access->writes && access->offset - world->slots[0].offset < world->slots[0].size)
		what = "an entry is read";
	else
		return;
	sim_fail(SIM_WRONG, "%s without the refill ring's lock", what);
}

/* ---- what always holds ------------------------------------------------------------------- */

/* How often each buffer is in a place where it is the only one to be. */
static void count_places(struct world *world, uint32_t *places, uint32_t *held)
{
	struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	uint32_t niovs[64], count;

	count = zcrx_area_free_count(&queue->area);
	for (uint32_t i = 0; i < count && i < queue->shape.num_niovs; i++)
		places[queue->area.freelist[i]]++;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &queue->ifq.pools[slot];

		if (zcrx_pp_phase(pool) == ZCRX_POOL_UNUSED)
			continue;
		for (uint32_t i = 0; i < zcrx_pp_cache_count(pool); i++)
			places[pool->shared->cache[i]]++;
		count = zcrx_pp_ring_snapshot(pool, niovs, 64);
		for (uint32_t i = 0; i < count; i++)
			places[niovs[i]]++;
	}
	for (uint32_t at = queue->grants.shared->head; at != queue->grants.shared->tail; at++)
		held[queue->grants.slots[at & queue->grants.mask]]++;
	for (uint32_t actor = 0; actor <= SIM_ACTORS_MAX; actor++) {
		for (uint32_t i = 0; i < world->views[actor].hand_count; i++)
			held[world->views[actor].hand[i]]++;
	}
}

/* A page pool's buffers: what waits in it is bound to it, and it counts how many it has out. */
static void judge_pool(const struct zcrx_queue *queue, const struct zcrx_page_pool *pool)
{
	uint32_t niovs[64], count = zcrx_pp_cache_count(pool), bound = 0, out;

	for (uint32_t i = 0; i < count; i++) {
		if (queue->area.niovs[pool->shared->cache[i]].pool != pool->slot + 1)
			sim_fail(SIM_WRONG,
				 "niov %u is in the cache of a page pool it is not bound to",
				 pool->shared->cache[i]);
	}
	count = zcrx_pp_ring_snapshot(pool, niovs, 64);
	for (uint32_t i = 0; i < count; i++) {
		if (queue->area.niovs[niovs[i]].pool != pool->slot + 1)
			sim_fail(SIM_WRONG,
				 "niov %u is in the ptr ring of a page pool it is not bound to",
				 niovs[i]);
	}
	for (uint32_t niov = 0; niov < queue->shape.num_niovs; niov++)
		bound += queue->area.niovs[niov].pool == pool->slot + 1;
	out = (uint32_t)(pool->shared->hold_count - pool->shared->release_count);
	if (out != bound)
		sim_fail(SIM_WRONG,
			 "page pool %u counts %u buffers in flight, and %u are bound to it",
			 pool->slot, out, bound);
}

static void judge_pools(struct world *world)
{
	const struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;

	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		if (zcrx_pp_phase(&queue->ifq.pools[slot]) != ZCRX_POOL_UNUSED)
			judge_pool(queue, &queue->ifq.pools[slot]);
	}
}

static void judge_buffers(struct world *world)
{
	struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	uint32_t places[64] = {0}, held[64] = {0};

	count_places(world, places, held);
	for (uint32_t niov = 0; niov < queue->shape.num_niovs; niov++) {
		const struct zcrx_niov *now = &queue->area.niovs[niov];
		uint32_t user = now->user_refs, refs = held[niov] + user;

		if (places[niov] + (refs != 0) != 1)
			sim_fail(SIM_WRONG,
				 "niov %u is at home %u times, the stack holds it %u times, the "
				 "user has %u references: it must be in one place",
				 niov, places[niov], held[niov], user);
		if (refs && now->pp_refs != refs)
			sim_fail(SIM_WRONG,
				 "niov %u has %u page-pool references; stack and user hold %u",
				 niov, (uint32_t)now->pp_refs, refs);
	}
}

static void judge_counters(struct world *world)
{
	struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	uint64_t verdicts = 0;

	if (queue->area.shared->freelist_overflows)
		sim_fail(SIM_WRONG, "a buffer was freed twice: the freelist would overflow");
	if (queue->area.shared->ref_underflows)
		sim_fail(SIM_WRONG, "page-pool references were dropped that nobody held");
	if (queue->nic->ownership_violations)
		sim_fail(SIM_WRONG, "a buffer was granted while the user holds a fragment of it");
	for (uint32_t i = 0; i < ZCRX_VERDICT_COUNT; i++)
		verdicts += queue->ifq.shared->verdicts[i];
	if (verdicts != queue->ifq.shared->consumed)
		sim_fail(SIM_WRONG, "%" PRIu64 " entries consumed, %" PRIu64 " verdicts",
			 (uint64_t)queue->ifq.shared->consumed, verdicts);
	if (queue->area.shared->freelist_lock.word || queue->ifq.shared->rq_lock.word)
		sim_fail(SIM_WRONG, "a lock was left taken");
}

/*
 * How far the refill ring was read is private to who read it. What comes afterwards
 * goes on from there: entries that were judged are not judged again.
 */
static void follow_reader(struct world *world)
{
	struct zcrx_rq *rq = &world->views[SIM_ACTORS_MAX].nq.queue.ifq.rq;
	uint32_t first = rq->cached_head, furthest = 0;

	for (uint32_t actor = 0; actor < world->actor_count; actor++) {
		const struct zcrx_rq *other = &world->views[actor].nq.queue.ifq.rq;

		if (other->cached_head - first <= furthest)
			continue;
		furthest = other->cached_head - first;
		rq->claimed = other->claimed;
	}
	rq->cached_head = first + furthest;
}

void world_judge(void *context)
{
	struct world *world = context;

	follow_reader(world);

	judge_counters(world);
	judge_buffers(world);
	judge_pools(world);
	do_script(&world->views[SIM_ACTORS_MAX], &world->end);
	judge_counters(world);
	judge_buffers(world);
	judge_pools(world);
}

/* ---- reading a scenario ----------------------------------------------------------------------- */

static void wrong(char *why, size_t size, const char *what, const char *value, const char *allowed)
{
	snprintf(why, size, "%s: %s: %s", what, value, allowed);
}

static bool read_op(struct world_op *op, FILE *file)
{
	char word[WORLD_NAME];

	if (fscanf(file, "%23s %" SCNu64 " %" SCNu64 " %" SCNu64, word, &op->numbers[0],
		   &op->numbers[1], &op->numbers[2]) != 4)
		return false;
	for (op->kind = 0; op->kind < OP_COUNT; op->kind++) {
		if (strcmp(op_words[op->kind], word) == 0)
			return true;
	}
	return false;
}

/* A name may be empty. */
static bool read_script(struct world_script *script, FILE *file)
{
	if (fscanf(file, "%" SCNu32 " =%23[^\n]", &script->count, script->name) < 1 ||
	    script->count > WORLD_OPS_MAX)
		return false;
	for (uint32_t i = 0; i < script->count; i++) {
		if (!read_op(&script->ops[i], file))
			return false;
	}
	return true;
}

static bool read_scenario(struct world *world, FILE *file)
{
	struct zcrx_shape *shape = &world->shape;
	uint32_t honest;

	*shape = (struct zcrx_shape){.niov_shift = 12, .log_entries = 16, .flows_max = 1};
	if (fscanf(file,
		   "%" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32
		   " %" SCNu32 " %" SCNu32 " %" SCNu32,
		   &shape->num_niovs, &shape->rq_entries, &shape->cq_entries, &shape->grant_entries,
		   &shape->ptr_ring_size, &shape->initial_index, &shape->contract.level, &honest,
		   &world->actor_count) != 9 ||
	    world->actor_count == 0 || world->actor_count > SIM_ACTORS_MAX)
		return false;
	world->is_honest = honest != 0;
	for (uint32_t i = 0; i < world->actor_count; i++) {
		if (!read_script(&world->actors[i], file))
			return false;
	}
	return read_script(&world->setup, file) && read_script(&world->end, file);
}

/* ---- memory ------------------------------------------------------------------------------------- */

static uint32_t round_up(uint64_t size)
{
	return (uint32_t)((size + 4095) & ~(uint64_t)4095);
}

/* A provider of somebody else's, if one was built in. */
extern const struct zcrx_provider_ops zcrx_provider __attribute__((weak));

static void attach(struct world *world, struct world_view *view)
{
	struct zcrx_queue *queue = &view->nq.queue;

	world->mapping.provider = &zcrx_provider;
	zcrx_queue_attach(queue, &world->shape, 0, &world->mapping);
	/* Time and room for what the simulation does not look at. */
	queue->ifq.flight = NULL;
	view->nq.generation = view->generation;
	view->nq.user = 1;
	view->cq = (struct zcrx_cq_user){
		.head = queue->cq.head,
		.tail = queue->cq.tail,
		.cqes = queue->cq.cqes,
		.entries = queue->cq.entries,
		.mask = queue->cq.mask,
		.cached_head = world->shape.initial_index,
		.cached_tail = world->shape.initial_index,
	};
	view->rq = (struct zcrx_rq_user){
		.head = queue->ifq.rq.head,
		.tail = queue->ifq.rq.tail,
		.rqes = queue->ifq.rq.rqes,
		.entries = queue->ifq.rq.entries,
		.mask = queue->ifq.rq.mask,
		.cached_head = world->shape.initial_index,
		.cached_tail = world->shape.initial_index,
	};
}

static bool make_memory(struct world *world)
{
	struct zcrx_sizes sizes;
	uint32_t views = round_up(sizeof(struct world_view) * (SIM_ACTORS_MAX + 1));
	uint32_t parts[6], at = 0;
	void **const pointers[6] = {&world->mapping.run,  &world->mapping.bells,
				    &world->mapping.kern, &world->mapping.rings,
				    &world->mapping.area, &world->mapping.notes};

	if (zcrx_layout_sizes(&world->shape, &sizes))
		return false;
	parts[0] = round_up(zcrx_run_size());
	parts[1] = round_up(zcrx_bells_size());
	parts[2] = round_up(sizes.kern);
	parts[3] = round_up(sizes.rings);
	parts[4] = round_up(sizes.area);
	parts[5] = round_up(sizes.notes);
	for (uint32_t i = 0; i < 6; i++)
		world->shared_size += parts[i];
	world->memory_size = views + world->shared_size;
	world->memory = aligned_alloc(4096, world->memory_size);
	if (!world->memory)
		return false;
	memset(world->memory, 0, world->memory_size);
	world->views = (struct world_view *)(void *)world->memory;
	world->shared = world->memory + views;
	for (uint32_t i = 0; i < 6; i++) {
		*pointers[i] = world->shared + at;
		at += parts[i];
	}
	return true;
}

static struct sim_range range_of(const struct world *world, const void *from, size_t size)
{
	return (struct sim_range){
		.offset = (uint32_t)((const unsigned char *)from - world->shared),
		.size = (uint32_t)size,
	};
}

static void find_slots(struct world *world)
{
	const struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;

	world->slots[0] = range_of(world, queue->ifq.rq.rqes,
				   sizeof(*queue->ifq.rq.rqes) * queue->shape.rq_entries);
	world->slots[1] =
		range_of(world, queue->cq.cqes, sizeof(*queue->cq.cqes) * queue->shape.cq_entries);
	world->slots[2] = range_of(world, queue->grants.slots,
				   sizeof(*queue->grants.slots) * queue->shape.grant_entries);
}

bool world_has_usable_provider(char *why, size_t size)
{
	return zcrx_plugin_is_usable(&zcrx_provider, why, size);
}

struct world *world_open(FILE *scenario, char *why, size_t size)
{
	struct world *world = calloc(1, sizeof(*world));

	if (!world)
		return NULL;
	if (!read_scenario(world, scenario)) {
		wrong(why, size, "scenario", "", "it is none");
		goto out_close;
	}
	if (!make_memory(world)) {
		wrong(why, size, "shape", "", "sizes must be powers of two that are not 0");
		goto out_close;
	}
	for (uint32_t i = 0; i <= SIM_ACTORS_MAX; i++)
		attach(world, &world->views[i]);
	find_slots(world);
	zcrx_run_format(world->views[0].nq.queue.run, 1);
	zcrx_queue_format(&world->views[SIM_ACTORS_MAX].nq.queue);
	if (!do_setup(world, why, size))
		goto out_close;
	/* What the setup did privately is known to everybody: it was there before they came. */
	for (uint32_t i = 0; i < SIM_ACTORS_MAX; i++) {
		struct world_view *view = &world->views[i];
		const struct world_view *first = &world->views[SIM_ACTORS_MAX];

		view->nq.queue.ifq.rq.cached_head = first->nq.queue.ifq.rq.cached_head;
		view->nq.queue.ifq.rq.claimed = first->nq.queue.ifq.rq.claimed;
		view->nq.queue.ifq.dying = first->nq.queue.ifq.dying;
		view->nq.queue.grants = first->nq.queue.grants;
		view->nq.queue.cq = first->nq.queue.cq;
		view->cq = first->cq;
		view->rq = first->rq;
		memcpy(view->generation, first->generation, sizeof(view->generation));
		memcpy(view->fragments, first->fragments, sizeof(view->fragments));
		view->fragment_count = first->fragment_count;
	}
	/* The first actor that works with buffers of the stack takes over what the setup holds. */
	memcpy(world->views[0].hand, world->views[SIM_ACTORS_MAX].hand,
	       sizeof(world->views[0].hand));
	world->views[0].hand_count = world->views[SIM_ACTORS_MAX].hand_count;
	world->views[SIM_ACTORS_MAX].hand_count = 0;
	if (!sim_state_keep()) {
		wrong(why, size, "provider", "its data", "cannot be told from the program's own");
		goto out_close;
	}
	return world;

out_close:
	world_close(world);
	return NULL;
}

void world_close(struct world *world)
{
	if (!world)
		return;
	sim_state_forget();
	free(world->memory);
	free(world);
}

/* ---- names ---------------------------------------------------------------------------------------- */

struct named {
	const void *from;
	uint64_t size, each;
	const char *name;
};

static const char *pool_word(uint32_t offset)
{
	static const struct {
		size_t at, size;
		const char *name;
	} words[] = {
#define POOL_WORD(field, name)                                                                    \
	{offsetof(struct zcrx_pool_shared, field), sizeof(((struct zcrx_pool_shared *)0)->field), \
	 name}
		POOL_WORD(phase, "phase"),
		POOL_WORD(cache_count, "cache count"),
		POOL_WORD(hold_count, "hold count"),
		POOL_WORD(ring_head, "ptr ring head"),
		POOL_WORD(cache, "alloc cache"),
		POOL_WORD(producer_lock, "producer lock"),
		POOL_WORD(ring_tail, "ptr ring tail"),
		POOL_WORD(ring_refusals, "refusals"),
		POOL_WORD(release_count, "release count"),
#undef POOL_WORD
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (offset - words[i].at < words[i].size)
			return words[i].name;
	}
	return "counters";
}

void world_name(const struct world *world, uint32_t offset, char *text, size_t size)
{
	const struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	const unsigned char *at = world->shared + offset;
	const struct named known[] = {
		{queue->ifq.rq.head, 4, 4, "rq head"},
		{queue->ifq.rq.tail, 4, 4, "rq tail"},
		{queue->ifq.rq.rqes, 16U * queue->shape.rq_entries, 16, "rqe"},
		{queue->cq.head, 4, 4, "cq head"},
		{queue->cq.tail, 4, 4, "cq tail"},
		{queue->cq.cqes, 32U * queue->shape.cq_entries, 32, "cqe"},
		{queue->area.niovs, 16U * queue->shape.num_niovs, 16, "niov"},
		{queue->area.freelist, 4U * queue->shape.num_niovs, 4, "freelist"},
		{&queue->area.shared->free_count, 4, 4, "free count"},
		{&queue->area.shared->freelist_lock, 4, 4, "freelist lock"},
		{&queue->ifq.shared->rq_lock, 4, 4, "rq lock"},
		{&queue->ifq.shared->current_pool, 4, 4, "current pool"},
		{&queue->ifq.shared->consumed, 8, 8, "consumed"},
		{queue->grants.shared, sizeof(*queue->grants.shared), 0, "grant ring indices"},
		{queue->grants.slots, 4U * queue->shape.grant_entries, 4, "grant slot"},
		{queue->nic, sizeof(*queue->nic), 0, "NIC counters"},
		{queue->ifq.shared, sizeof(*queue->ifq.shared), 0, "ifq counters"},
		{queue->notes, sizeof(*queue->notes), 0, "consumer counters"},
		{queue->ledger, 16U * queue->shape.cq_entries, 16, "ledger"},
		{queue->flows_sent, sizeof(*queue->flows_sent), 0, "flow"},
		{&queue->bells->provider, sizeof(queue->bells->provider), 0, "provider's bell"},
		{&queue->bells->nic, sizeof(queue->bells->nic), 0, "NIC's bell"},
		{&queue->bells->consumers, sizeof(queue->bells->consumers), 0, "consumer's bell"},
	};

	if (offset == UINT32_MAX) {
		snprintf(text, size, "-");
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		uint64_t into = (uint64_t)(at - (const unsigned char *)known[i].from);

		if (at < (const unsigned char *)known[i].from || into >= known[i].size)
			continue;
		if (strcmp(known[i].name, "niov") == 0)
			snprintf(text, size, "%s of niov %u",
				 into % 16 == 0 ? "user refs" :
				 into % 16 == 4 ? "pp refs" :
						  "pool",
				 (uint32_t)(into / 16));
		else if (known[i].each && known[i].size > known[i].each)
			snprintf(text, size, "%s %u%s", known[i].name,
				 (uint32_t)(into / known[i].each),
				 into % known[i].each ? " (2nd half)" : "");
		else
			snprintf(text, size, "%s", known[i].name);
		return;
	}
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		const struct zcrx_page_pool *pool = &queue->ifq.pools[slot];
		const unsigned char *ring = (const unsigned char *)pool->ring;
		const unsigned char *shared = (const unsigned char *)pool->shared;

		if (at >= ring && at < ring + 4U * pool->ring_size) {
			snprintf(text, size, "ptr ring %u slot %u", slot,
				 (uint32_t)(at - ring) / 4U);
			return;
		}
		if (at >= shared && at < shared + sizeof(*pool->shared)) {
			snprintf(text, size, "%s of pool %u", pool_word((uint32_t)(at - shared)),
				 slot);
			return;
		}
	}
	snprintf(text, size, "shared offset %u", offset);
}
