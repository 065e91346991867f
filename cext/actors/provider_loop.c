/* SPDX-License-Identifier: MIT */
/*
 * Waking this process costs more than all the work it does for a few buffers.
 * It therefore works in large steps: it fills a grant ring up when a good part of it
 * is empty. So that nobody has to wake it, it stays awake for a while, on the core of
 * whoever has least to do where there is not one for each.
 */
#include "provider_loop.h"
#include "placement.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SLEEP_US 5000U
/* Nobody rings when a fault has made an allocation fail: it is tried again after so long. */
#define RETRY_US 50U
/* So long a NIC lacks buffers for a packet before more of them circulate. */
#define DRY_NS 1000000U
#define PACKET_BUFFERS 16U

/* A queue as the provider serves it. */
struct served {
	struct zcrx_queue queue;
	struct zcrx_fault_plan plan;
	uint64_t allocations; /* the plan's ordinals */
	uint32_t failing; /* so many allocations more fail by a fault */
	bool failed; /* the last one did */
	uint32_t window; /* buffers that may circulate: see is_held_back() */
	bool held_back; /* the last look at the queue was in vain for that */
	uint64_t dry_since; /* when the NIC was first seen short of grants meanwhile; 0 = not */
};

struct zcrx_provider_loop {
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	struct zcrx_waiter waiter;
	struct zcrx_placement *placement;
	uint32_t acked;
	uint32_t queue_count;
	struct served queues[];
};

struct zcrx_provider_loop *zcrx_provider_loop_new(const struct zcrx_shape *shape, uint32_t queues,
						  const struct zcrx_mapping *mappings,
						  const struct zcrx_fault_rule *rules,
						  uint32_t rule_count, uint64_t seed,
						  uint32_t window)
{
	const struct zcrx_fault_area area = {.num_niovs = shape->num_niovs,
					     .niov_shift = shape->niov_shift};
	struct zcrx_provider_loop *loop =
		calloc(1, sizeof(*loop) + queues * sizeof(loop->queues[0]));

	if (!loop)
		return NULL;
	loop->run = mappings[0].run;
	loop->bells = mappings[0].bells;
	loop->queue_count = queues;
	for (uint32_t i = 0; i < queues; i++) {
		struct served *served = &loop->queues[i];

		if (zcrx_queue_attach(&served->queue, shape, i, &mappings[i]) ||
		    zcrx_fault_compile(&served->plan, rules, rule_count, seed, i, &area)) {
			zcrx_provider_loop_free(loop);
			return NULL;
		}
		served->queue.ifq.is_checked = true;
		served->window = window && !mappings[i].provider ? window : UINT32_MAX;
		served->plan.journal = served->queue.journals[ZCRX_JOURNAL_PROVIDER];
	}
	/* Only now: whatever attached has bells. */
	zcrx_waiter_init(&loop->waiter, &loop->bells->provider, ZCRX_BUSY_PROCESSES(queues));
	loop->placement = zcrx_placement_new(loop->bells, queues);
	return loop;
}

void zcrx_provider_loop_free(struct zcrx_provider_loop *loop)
{
	if (!loop)
		return;
	zcrx_placement_free(loop->placement);
	free(loop);
}

/* Follow the control process's word on who the queue's user is. */
static void follow_user(struct zcrx_queue *queue)
{
	struct zcrx_user_shared *user = queue->user;
	/* Pairs with the release in zcrx_queue_set_user(). */
	uint32_t wanted = shm_load_acquire_u32(&user->wanted, POINT_USER);

	if (wanted == shm_load_relaxed_u32(&user->provider, POINT_USER))
		return;
	queue->ifq.detached = wanted == 0;
	if (wanted) {
		zcrx_ifq_reset_ring(&queue->ifq);
		zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_RING_RESET,
				   queue->ifq.rq.cached_head, 0, 0);
	}
	zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_USER, wanted, 0, 0);
	/* Pairs with the acquire in zcrx_queue_user_is(): the ring is as it must be. */
	shm_store_release_u32(&user->provider, wanted, POINT_USER);
	zcrx_bell_ring(&queue->bells->control, ZCRX_BELL_WORK);
}

/* Give the queue a new page pool, if the control process wants it to have one. */
static void follow_restart(struct zcrx_queue *queue)
{
	struct zcrx_restart_shared *restart = queue->restart;
	/* Pairs with the release in zcrx_queue_restart(). */
	uint32_t wanted = shm_load_acquire_u32(&restart->wanted, POINT_USER);
	int slot;

	if (wanted == shm_load_relaxed_u32(&restart->done, POINT_USER))
		return;
	slot = zcrx_ifq_restart(&queue->ifq);
	zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_RESTARTED,
			   slot < 0 ? 0 : (uint32_t)slot + 1, 0, 0);
	shm_store_relaxed_u32(&restart->pool, slot < 0 ? 0 : (uint32_t)slot + 1, POINT_USER);
	/* Pairs with the acquire in zcrx_queue_restarted(). */
	shm_store_release_u32(&restart->done, wanted, POINT_USER);
	zcrx_bell_ring(&queue->bells->control, ZCRX_BELL_WORK);
}

/* Carry out what the plan has for the allocation that comes next. */
static void ask_plan(struct served *served, struct zcrx_page_pool *pool)
{
	int rule;

	while ((rule = zcrx_fault_take(&served->plan, served->allocations)) >= 0) {
		const struct zcrx_fault_rule *what = &served->plan.lanes[rule].rule;
		uint32_t count = what->params[0];

		shm_count(&served->queue.provider->injected[rule], 1);
		switch ((enum zcrx_fault_kind)what->kind) {
		case ZCRX_FAULT_ALLOC_FAIL:
			served->failing = count > served->failing ? count : served->failing;
			break;
		case ZCRX_FAULT_FREELIST_EMPTY:
			zcrx_ifq_hide_freelist(&served->queue.ifq, count);
			break;
		case ZCRX_FAULT_PTR_RING_FULL:
			zcrx_pp_refuse_ring(pool, count);
			break;
		default:
			break;
		}
	}
}

/*
 * One buffer for the grant ring, or -ENOMEM. An allocation that fails by a
 * fault keeps its number, so that a rule cannot fire by its own effect: however
 * often it fires, the queue goes on.
 */
static int64_t allocate(struct served *served, struct zcrx_page_pool *pool)
{
	struct zcrx_ifq *ifq = &served->queue.ifq;
	bool hidden;
	int64_t niov;

	if (zcrx_fault_is_due(&served->plan, served->allocations))
		ask_plan(served, pool);
	served->failed = served->failing > 0;
	if (served->failed) {
		served->failing--;
		shm_count(&ifq->shared->alloc_failures, 1);
		return -ENOMEM;
	}
	hidden = zcrx_ifq_is_hidden(ifq);
	niov = zcrx_pp_alloc(pool);
	served->allocations += niov >= 0 || !hidden;
	return niov;
}

/*
 * Buffers that come back are used before others are taken from the freelist, and those
 * that were taken once circulate for ever. The fewer do, the sooner each is written
 * again, while it is still in a cache. So no more than the window are taken as long as
 * they come back: a consumer that was away for a moment finds as much to do with few
 * buffers as with many. Where a NIC stays without any, the consumer keeps them, and
 * the window doubles. Not for a provider of somebody else's: when it takes what is its own affair.
 */
static bool is_held_back(struct served *served, struct zcrx_page_pool *pool)
{
	struct zcrx_queue *queue = &served->queue;
	uint32_t niov;
	uint64_t now;

	served->held_back = zcrx_pp_inflight(pool) >= served->window &&
			    zcrx_pp_cache_count(pool) == 0 && !zcrx_ifq_available(&queue->ifq) &&
			    zcrx_pp_ring_snapshot(pool, &niov, 1) == 0;
	if (!served->held_back ||
	    queue->grants.entries - zcrx_grant_room(&queue->grants) >= PACKET_BUFFERS) {
		served->dry_since = 0;
		return served->held_back;
	}
	now = zcrx_now_ns();
	if (served->dry_since == 0)
		served->dry_since = now;
	if (now - served->dry_since < DRY_NS)
		return true;
	served->window *= 2;
	served->dry_since = 0;
	served->held_back = false;
	return false;
}

/* Does a fault keep the queue short of buffers? Time ends it, and nobody rings then. */
static bool is_kept_short(const struct served *served)
{
	return served->failed || zcrx_ifq_is_hidden(&served->queue.ifq);
}

/* Fill one grant ring; how many buffers were granted. *reasons: what it waits for then. */
static uint32_t grant(struct served *served, uint32_t *reasons)
{
	struct zcrx_queue *queue = &served->queue;
	struct zcrx_page_pool *pool;
	uint32_t room = zcrx_grant_room(&queue->grants);
	uint32_t granted = 0;
	bool is_short = false;

	served->held_back = false;
	follow_user(queue);
	follow_restart(queue);
	zcrx_ifq_retry_release(&queue->ifq);
	pool = zcrx_ifq_pool(&queue->ifq);
	if (!pool)
		return 0;
	/* Without a call of the provider it would stay hidden from copies for long. */
	if (room == 0)
		zcrx_ifq_pass_hidden(&queue->ifq);
	while (granted < room && !is_held_back(served, pool)) {
		int64_t niov = allocate(served, pool);

		if (niov < 0) {
			is_short = true;
			shm_count(&queue->provider->short_rounds, 1);
			/* RQEs of this call may have sent buffers home to a dying pool. */
			zcrx_ifq_retry_release(&queue->ifq);
			zcrx_flight_record_once(queue->ifq.flight, ZCRX_EVENT_STARVED, granted, 0,
						0);
			break;
		}
		assert(niov < queue->shape.num_niovs);
		zcrx_grant_put(&queue->grants, (uint32_t)niov);
		granted++;
	}
	/* Neither is helped by a NIC that asks for more. */
	is_short |= served->held_back;
	if (is_short != (shm_load_relaxed_u32(&queue->grants.shared->starved, POINT_COUNTER) != 0))
		shm_store_relaxed_u32(&queue->grants.shared->starved, is_short, POINT_COUNTER);
	if (granted) {
		zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_GRANT, granted,
				   queue->grants.cached_tail, 0);
		zcrx_grant_publish(&queue->grants);
		zcrx_bell_ring(&queue->bells->nic, ZCRX_BELL_GRANTS);
	}
	if (served->held_back)
		*reasons |= zcrx_bell_refill(queue->index);
	else if (!is_short)
		*reasons |= ZCRX_BELL_GRANTS;
	else if (!served->failed)
		*reasons |= zcrx_bell_refill(queue->index);
	return granted;
}

static void acknowledge(struct zcrx_provider_loop *loop, uint32_t state)
{
	loop->acked = state;
	/* Pairs with the acquires in zcrx_run_provider_ack() and, of the NIC, round_of(). */
	shm_store_release_u32(&loop->run->provider_ack, state, POINT_ACK);
	zcrx_bell_ring(&loop->bells->control, ZCRX_BELL_WORK);
	zcrx_bell_ring(&loop->bells->nic, UINT32_MAX);
}

/* The queue goes down: judge what still waits in the refill ring, so that each entry has its verdict. */
static void drain_ring(struct zcrx_queue *queue)
{
	zcrx_ifq_flush(&queue->ifq);
	zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_DRAIN, 0,
			   shm_load_relaxed_u64(&queue->ifq.shared->consumed, POINT_LOG), 0);
}

static void for_each_queue(struct zcrx_provider_loop *loop, void (*visit)(struct zcrx_queue *queue))
{
	for (uint32_t i = 0; i < loop->queue_count; i++)
		visit(&loop->queues[i].queue);
}

/* Those that a restart left behind go first: the last check finds every buffer home. */
static void teardown(struct zcrx_queue *queue)
{
	int left;

	zcrx_ifq_retry_release(&queue->ifq);
	left = zcrx_ifq_teardown(&queue->ifq);
	zcrx_flight_record(queue->ifq.flight, ZCRX_EVENT_TEARDOWN, left != 0,
			   zcrx_area_free_count(&queue->area), 0);
}

/* One round; the bell reasons to sleep for when it found nothing to do, 0 if it did. */
static uint32_t round_of(struct zcrx_provider_loop *loop, uint32_t state)
{
	uint32_t reasons = ZCRX_BELL_WORK;
	uint32_t granted = 0;

	switch ((enum zcrx_run_state)state) {
	case ZCRX_RUN_TRAFFIC:
	case ZCRX_RUN_QUIESCE:
		for (uint32_t i = 0; i < loop->queue_count; i++)
			granted += grant(&loop->queues[i], &reasons);
		return granted ? 0 : reasons;
	case ZCRX_RUN_DRAIN:
		if (loop->acked >= ZCRX_RUN_DRAIN)
			break;
		acknowledge(loop, ZCRX_RUN_DRAIN); /* no grant after this */
		for_each_queue(loop, drain_ring); /* while the control process scrubs */
		return 0;
	case ZCRX_RUN_DESTROY:
		if (loop->acked >= ZCRX_RUN_DESTROY)
			break;
		for_each_queue(loop, drain_ring);
		for_each_queue(loop, teardown);
		acknowledge(loop, ZCRX_RUN_DESTROY);
		return 0;
	case ZCRX_RUN_STARTING:
	case ZCRX_RUN_EXIT:
		break;
	}
	return reasons;
}

/* Does the control process wait for us to follow? */
static bool is_asked(const struct zcrx_queue *queue)
{
	const struct zcrx_user_shared *user = queue->user;
	const struct zcrx_restart_shared *restart = queue->restart;

	return shm_load_relaxed_u32(&user->wanted, POINT_USER) !=
		       shm_load_relaxed_u32(&user->provider, POINT_USER) ||
	       shm_load_relaxed_u32(&restart->wanted, POINT_USER) !=
		       shm_load_relaxed_u32(&restart->done, POINT_USER);
}

/* Is there something to do on a queue that is worth it, seen from why we are idle? */
static bool wants_us(struct served *served, uint32_t reasons)
{
	struct zcrx_queue *queue = &served->queue;
	uint32_t room = zcrx_grant_room(&queue->grants);
	uint32_t step = queue->grants.entries / 4;
	uint32_t available;

	if (is_asked(queue))
		return true;
	if (served->failed)
		return false;
	/* A queue without buffers waits for RQEs, the others for the NIC to take some. */
	if (!(reasons & zcrx_bell_refill(queue->index)))
		return room >= step;
	available = zcrx_ifq_available(&queue->ifq);
	/* A few can wait while the NIC has enough. */
	if (available >= step || (available && room > queue->grants.entries - step))
		return true;
	if (served->held_back)
		return served->dry_since && zcrx_now_ns() - served->dry_since >= DRY_NS;
	/* What came home past us: from a dying pool, or because a ptr ring was full. */
	return zcrx_area_free_count(&queue->area) && !zcrx_ifq_is_hidden(&queue->ifq);
}

static bool serves(uint32_t state)
{
	return state == ZCRX_RUN_TRAFFIC || state == ZCRX_RUN_QUIESCE;
}

/* Is there something to do, seen from why we are idle? */
static bool is_wanted(struct zcrx_provider_loop *loop, uint32_t state, uint32_t reasons)
{
	/* Pairs with the release in zcrx_run_set_state(). */
	if (shm_load_acquire_u32(&loop->run->state, POINT_RUN_STATE) != state)
		return true;
	for (uint32_t i = 0; i < loop->queue_count && serves(state); i++) {
		if (wants_us(&loop->queues[i], reasons))
			return true;
	}
	return false;
}

/* Is there a queue that a fault keeps short? Nobody rings when that is over. */
static bool is_any_kept_short(const struct zcrx_provider_loop *loop, uint32_t state)
{
	for (uint32_t i = 0; i < loop->queue_count && serves(state); i++) {
		if (is_kept_short(&loop->queues[i]))
			return true;
	}
	return false;
}

static bool is_any_held_back(const struct zcrx_provider_loop *loop)
{
	for (uint32_t i = 0; i < loop->queue_count; i++) {
		if (loop->queues[i].held_back)
			return true;
	}
	return false;
}

static void sleep_until_rung(struct zcrx_provider_loop *loop, uint32_t state, uint32_t reasons)
{
	struct zcrx_bell *bell = &loop->bells->provider;
	uint32_t timeout_us = is_any_kept_short(loop, state) ? RETRY_US :
			      is_any_held_back(loop)	     ? DRY_NS / 1000 :
							       SLEEP_US;
	uint32_t seq = zcrx_bell_prepare(bell, reasons);

	/* Looked at again after the announcement: see zcrx_bell_prepare(). */
	if (is_wanted(loop, state, reasons))
		zcrx_bell_cancel(bell);
	else
		zcrx_bell_sleep(bell, seq, timeout_us);
}

/* Nothing to do: stay awake for a while, and then sleep until there is. */
static void wait(struct zcrx_provider_loop *loop, uint32_t state, uint32_t reasons)
{
	while (!is_any_kept_short(loop, state) && !zcrx_waiter_idle(&loop->waiter)) {
		if (is_wanted(loop, state, reasons))
			return;
		if (loop->placement)
			zcrx_placement_follow(loop->placement);
	}
	if (loop->placement)
		zcrx_placement_release(loop->placement);
	sleep_until_rung(loop, state, reasons);
}

int zcrx_provider_loop_run(struct zcrx_provider_loop *loop, uint32_t slice_ms)
{
	uint64_t deadline = zcrx_now_ns() + (uint64_t)slice_ms * 1000000;

	do {
		/* Pairs with the release in zcrx_run_set_state(): what was prepared for it is there. */
		uint32_t state = shm_load_acquire_u32(&loop->run->state, POINT_RUN_STATE);
		uint32_t reasons;

		if (state == ZCRX_RUN_EXIT)
			return 1;
		reasons = round_of(loop, state);
		if (reasons)
			wait(loop, state, reasons);
		else
			zcrx_waiter_worked(&loop->waiter);
	} while (zcrx_now_ns() < deadline);
	return 0;
}
