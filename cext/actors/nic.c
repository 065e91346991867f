/* SPDX-License-Identifier: MIT */
/*
 * The loop of the NIC process, and replaying an arena.
 *
 * No queue may hold up the others: a packet that finds no room stays where it
 * is and the next queue has its turn. The process sleeps only when a whole
 * round moved nothing.
 */
#include "nic.h"
#include "nic_offer.h"
#include "tcp_source.h"

#include <errno.h>
#include <stdlib.h>

#define SLEEP_US 2000U
#define CLOCK_EVERY 256U /* rounds between looks at the clock under load */
#define CLOCK_EVERY_IDLE 32U /* the same while waiting */

struct zcrx_nic {
	struct zcrx_nic_params params;
	const struct zcrx_arena *arena;
	struct zcrx_tcp_source *tcp;
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	struct zcrx_waiter waiter;
	uint64_t offered; /* packets, over all queues */
	uint64_t started_ns;
	int64_t skew_ns; /* what the clock that paces packets is ahead of the monotonic one */
	int64_t next_due_ns; /* by that clock: when the earliest waiting packet is due */
	uint32_t acked;
	uint32_t queue_count;
	struct zcrx_nic_queue queues[];
};

struct zcrx_nic *zcrx_nic_new(const struct zcrx_shape *shape, uint32_t queues,
			      const struct zcrx_mapping *mappings, const void *arena,
			      const struct zcrx_nic_params *params,
			      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	struct zcrx_nic *nic = calloc(1, sizeof(*nic) + queues * sizeof(nic->queues[0]));

	if (!nic)
		return NULL;
	nic->params = *params;
	nic->arena = arena;
	nic->run = mappings[0].run;
	nic->bells = mappings[0].bells;
	nic->queue_count = queues;
	for (uint32_t i = 0; i < queues; i++) {
		struct zcrx_nic_queue *nq = &nic->queues[i];

		if (zcrx_queue_attach(&nq->queue, shape, i, &mappings[i]))
			goto out_free;
		if (zcrx_nic_faults_init(nq, rules, rule_count, params->seed))
			goto out_free;
		nq->faults.plan.journal = nq->queue.journals[ZCRX_JOURNAL_NIC];
		nq->generation = calloc(shape->num_niovs, sizeof(uint32_t));
		if (!nq->generation)
			goto out_free;
		nq->arena = arena;
		nq->copy_every = params->copy_every;
		nq->copy_countdown = params->copy_every;
		nq->queue.grants.newest_first = params->newest_first;
		nq->user = 1;
		if (arena) {
			nq->packets = (const void *)((const uint8_t *)arena +
						     nic->arena->queue[i].packets_off);
			nq->packet_count = nic->arena->queue[i].packet_count;
		}
	}
	if (params->listen_fd >= 0) {
		nic->tcp = zcrx_tcp_source_new(params->listen_fd, params->connections_max,
					       shape->flows_max);
		if (!nic->tcp)
			goto out_free;
	}
	zcrx_waiter_init(&nic->waiter, &nic->bells->nic, ZCRX_BUSY_PROCESSES(queues));
	return nic;

out_free:
	zcrx_nic_free(nic);
	return NULL;
}

void zcrx_nic_free(struct zcrx_nic *nic)
{
	if (!nic)
		return;
	for (uint32_t i = 0; i < nic->queue_count; i++)
		free(nic->queues[i].generation);
	zcrx_tcp_source_free(nic->tcp);
	free(nic);
}

/* ---- offering packets of the arena ------------------------------------------- */

static void advance(struct zcrx_nic *nic, struct zcrx_nic_queue *nq,
		    const struct zcrx_packet *packet)
{
	nic->offered++;
	nq->blocked_since = 0;
	nq->packets_seen++;
	zcrx_offer_pass_turn(nq, packet);
	zcrx_nic_faults_done(nq);
	if (++nq->cursor == nq->packet_count) {
		nq->cursor = 0;
		nq->lap++;
	}
}

/* A packet found no room. True when its time is up. */
static bool blocked_too_long(struct zcrx_nic *nic, struct zcrx_nic_queue *nq, enum zcrx_offer why)
{
	struct zcrx_nic_shared *counters = nq->queue.nic;
	bool cq = why == ZCRX_BLOCKED_CQ;

	if (!cq)
		zcrx_nic_faults_give_back(nq);
	zcrx_nic_queue_blocked(nq, why);
	if (nq->blocked_since == 0) {
		nq->blocked_since = zcrx_now_ns();
		shm_count(cq ? &counters->waits_cq_full : &counters->waits_no_buffer, 1);
	}
	/* While the process spins, a look at the clock each time would be most of its work. */
	if (nic->params.wait_max_ns &&
	    ((!nic->waiter.is_tired && nic->waiter.idle % CLOCK_EVERY_IDLE) ||
	     zcrx_now_ns() - nq->blocked_since < nic->params.wait_max_ns))
		return false;
	return true;
}

static void count_no_room(struct zcrx_nic_queue *nq, enum zcrx_offer why, uint32_t flow)
{
	struct zcrx_nic_shared *counters = nq->queue.nic;

	zcrx_nic_queue_record_drop(nq, why, flow);
	shm_count(why == ZCRX_BLOCKED_CQ ? &counters->dropped_cq_full :
					   &counters->dropped_no_buffer,
		  1);
}

/* Deliver a packet that was put off. False when it found no room and waits for some. */
static bool offer_put_off(struct zcrx_nic *nic, struct zcrx_nic_queue *nq,
			  struct zcrx_put_off *put_off, bool may_wait)
{
	enum zcrx_offer result = zcrx_offer_put_off(nq, put_off);

	if (result != ZCRX_OFFERED) {
		if (may_wait && !blocked_too_long(nic, nq, result))
			return false;
		if (put_off->kind == ZCRX_FAULT_NIC_REORDER)
			count_no_room(nq, result, put_off->packet->flow);
	}
	nq->blocked_since = 0;
	zcrx_nic_faults_put_off_done(nq, put_off, result == ZCRX_OFFERED);
	return true;
}

static bool is_over(const struct zcrx_nic *nic, const struct zcrx_nic_queue *nq)
{
	const struct zcrx_nic_params *params = &nic->params;

	return nq->packet_count == 0 ||
	       (params->packets_max && nic->offered >= params->packets_max) ||
	       (params->laps_max && nq->lap >= params->laps_max);
}

/* The clock by which packets are paced, and nothing else. */
static int64_t pace_now(const struct zcrx_nic *nic)
{
	return nic->params.paced ? (int64_t)zcrx_now_ns() + nic->skew_ns : 0;
}

/* Paced: is a packet of the queue due? If not, note when. */
static bool is_due(struct zcrx_nic *nic, const struct zcrx_nic_queue *nq, uint64_t lap, uint64_t at,
		   int64_t now)
{
	int64_t due =
		(int64_t)(nic->started_ns + lap * nic->arena->lap_ns + nq->packets[at].time_ns);

	if (due <= now)
		return true;
	if (due < nic->next_due_ns)
		nic->next_due_ns = due;
	return false;
}

/*
 * Packets that come in one burst are kept until the last of them is due, or the
 * last one that there will be.
 */
static bool has_gathered(struct zcrx_nic *nic, struct zcrx_nic_queue *nq, int64_t now)
{
	uint64_t at = nq->cursor + (nq->faults.burst_end - nq->packets_seen) - 1;
	uint64_t lap = nq->lap + at / nq->packet_count;

	at %= nq->packet_count;
	if (nic->params.laps_max && lap >= nic->params.laps_max) {
		lap = nic->params.laps_max - 1;
		at = nq->packet_count - 1;
	}
	if (nic->params.paced && !is_due(nic, nq, lap, at, now))
		return false;
	nq->faults.gathering = false;
	return true;
}

/* Offer a burst on one queue; how many packets were dealt with. */
static uint32_t burst(struct zcrx_nic *nic, struct zcrx_nic_queue *nq)
{
	int64_t now = pace_now(nic);
	uint32_t count = 0;

	if (!zcrx_nic_queue_follow_user(nq, zcrx_nic_faults_forget))
		return 0;
	while (count < ZCRX_BURST && nq->cqes < ZCRX_BURST) {
		const struct zcrx_packet *packet;
		enum zcrx_offer result;

		if (nq->packets_seen >= nq->faults.later_due) {
			struct zcrx_put_off *put_off = zcrx_nic_faults_due(nq);

			if (put_off && !offer_put_off(nic, nq, put_off, true))
				break;
			count += put_off != NULL;
			continue;
		}
		if (is_over(nic, nq)) {
			if (!zcrx_nic_faults_no_more(nq)) {
				if (nq->looks)
					zcrx_nic_queue_no_more(nq);
				break;
			}
			continue;
		}
		packet = &nq->packets[nq->cursor];
		if (nic->params.paced && !is_due(nic, nq, nq->lap, nq->cursor, now)) {
			/* By a clock that jumped back it waits for no room any more. */
			if (nq->looks)
				zcrx_nic_queue_no_more(nq);
			break;
		}
		if (!nq->faults.asked && zcrx_fault_is_due(&nq->faults.plan, nq->packets_seen)) {
			zcrx_nic_faults_ask(nq, packet, &nic->skew_ns);
			now = pace_now(nic);
			continue; /* by a clock that jumped back it is not due any more */
		}
		if (nq->faults.gathering && !has_gathered(nic, nq, now))
			break;
		result = zcrx_offer_packet(nq, packet);
		if (result == ZCRX_OFFERED) {
			nq->packets_done++;
		} else if (result == ZCRX_BLOCKED_BUFFER || result == ZCRX_BLOCKED_CQ) {
			if (!blocked_too_long(nic, nq, result))
				break;
			count_no_room(nq, result, packet->flow);
			zcrx_offer_drop(nq, packet);
		}
		if (result != ZCRX_PUT_OFF)
			zcrx_nic_queue_count_offered(nq, packet->len);
		advance(nic, nq, packet);
		count++;
	}
	if (count || nq->touched_count)
		zcrx_nic_queue_publish(nq);
	return count;
}

/* A queue's turn: one burst, or as many as a fault wants back to back and there is room for. */
static uint32_t turn(struct zcrx_nic *nic, struct zcrx_nic_queue *nq)
{
	uint32_t count = burst(nic, nq);
	uint32_t more = count;

	while (more && nq->packets_seen < nq->faults.burst_end) {
		more = burst(nic, nq);
		count += more;
	}
	return count;
}

/* ---- states --------------------------------------------------------------------- */

static void acknowledge(struct zcrx_nic *nic, uint32_t state)
{
	nic->acked = state;
	/* Pairs with the acquire in zcrx_run_nic_ack(). */
	shm_store_release_u32(&nic->run->nic_ack, state, POINT_ACK);
	zcrx_bell_ring(&nic->bells->control, ZCRX_BELL_WORK);
}

/* What was put off comes now, or is dropped if there is no room. */
static void deliver_put_off(struct zcrx_nic *nic, struct zcrx_nic_queue *nq)
{
	struct zcrx_put_off *put_off;

	while (zcrx_nic_faults_no_more(nq) && (put_off = zcrx_nic_faults_due(nq)) != NULL)
		offer_put_off(nic, nq, put_off, false);
}

/* Offer nothing more, and let go of buffers that are cut halfway. */
static void quiesce(struct zcrx_nic *nic)
{
	for (uint32_t i = 0; i < nic->queue_count; i++) {
		struct zcrx_nic_queue *nq = &nic->queues[i];

		if (nq->looks)
			zcrx_nic_queue_no_more(nq);
		deliver_put_off(nic, nq);
		zcrx_nic_faults_give_back(nq);
		if (nq->has_open)
			zcrx_nic_queue_close(nq);
		zcrx_nic_queue_publish(nq);
		nq->blocked_on = 0;
		zcrx_flight_record(&nq->queue.flights[ZCRX_WRITER_NIC], ZCRX_EVENT_QUIESCED, 0,
				   nq->queue.cq.cached_tail, 0);
	}
	nic->next_due_ns = INT64_MAX;
	acknowledge(nic, ZCRX_RUN_QUIESCE);
}

/* Everything was offered and dealt with: tell it, by quiescing early. */
static bool all_over(const struct zcrx_nic *nic)
{
	if (nic->tcp)
		return false;
	for (uint32_t i = 0; i < nic->queue_count; i++) {
		if (!is_over(nic, &nic->queues[i]) || zcrx_nic_faults_has_put_off(&nic->queues[i]))
			return false;
	}
	return true;
}

static uint32_t traffic_round(struct zcrx_nic *nic)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < nic->queue_count; i++) {
		nic->queues[i].blocked_on = 0;
		zcrx_nic_queue_add_area(&nic->queues[i]);
	}
	nic->next_due_ns = INT64_MAX;
	if (nic->tcp)
		return zcrx_tcp_source_poll(nic->tcp, nic->queues, nic->queue_count);
	if (nic->started_ns == 0)
		nic->started_ns = zcrx_now_ns();
	for (uint32_t i = 0; i < nic->queue_count; i++)
		done += turn(nic, &nic->queues[i]);
	return done;
}

/* A round of the present state; how much was done. */
static uint32_t round_of(struct zcrx_nic *nic, uint32_t state)
{
	switch ((enum zcrx_run_state)state) {
	case ZCRX_RUN_TRAFFIC:
		if (nic->acked >= ZCRX_RUN_QUIESCE)
			return 0;
		if (all_over(nic)) {
			quiesce(nic);
			return 1;
		}
		return traffic_round(nic);
	case ZCRX_RUN_QUIESCE:
		if (nic->acked < ZCRX_RUN_QUIESCE)
			quiesce(nic);
		return 0;
	case ZCRX_RUN_DRAIN:
		if (nic->acked < ZCRX_RUN_QUIESCE)
			quiesce(nic);
		/*
		 * Only once the provider grants no more: what is there then is all. Pairs
		 * with the release in its acknowledge().
		 */
		if (nic->acked >= ZCRX_RUN_DRAIN ||
		    shm_load_acquire_u32(&nic->run->provider_ack, POINT_ACK) < ZCRX_RUN_DRAIN)
			return 0;
		for (uint32_t i = 0; i < nic->queue_count; i++)
			zcrx_nic_queue_return_grants(&nic->queues[i]);
		acknowledge(nic, ZCRX_RUN_DRAIN);
		return 1;
	case ZCRX_RUN_STARTING:
	case ZCRX_RUN_DESTROY:
	case ZCRX_RUN_EXIT:
		break;
	}
	return 0;
}

static uint32_t blocked_on(const struct zcrx_nic *nic)
{
	uint32_t reasons = 0;

	for (uint32_t i = 0; i < nic->queue_count; i++)
		reasons |= nic->queues[i].blocked_on;
	return reasons;
}

static bool may_proceed(struct zcrx_nic *nic)
{
	for (uint32_t i = 0; i < nic->queue_count; i++) {
		if (zcrx_nic_queue_may_proceed(&nic->queues[i]))
			return true;
	}
	return false;
}

static void sleep_until_rung(struct zcrx_nic *nic, uint32_t state)
{
	uint32_t timeout_us = SLEEP_US;
	uint32_t reasons = blocked_on(nic);
	uint32_t seq;

	for (uint32_t i = 0; i < nic->queue_count && reasons; i++)
		zcrx_nic_queue_sleeps(&nic->queues[i]);
	if (nic->tcp && state == ZCRX_RUN_TRAFFIC && reasons == 0) {
		zcrx_tcp_source_wait(nic->tcp, 10);
		return;
	}
	if (state == ZCRX_RUN_TRAFFIC && nic->next_due_ns != INT64_MAX) {
		int64_t now = pace_now(nic);
		int64_t wait_us = nic->next_due_ns > now ? (nic->next_due_ns - now) / 1000 : 0;

		if (wait_us < (int64_t)timeout_us)
			timeout_us = (uint32_t)wait_us;
	}
	if (timeout_us == 0)
		return;
	seq = zcrx_bell_prepare(&nic->bells->nic, reasons | ZCRX_BELL_WORK);
	/* Pairs with the release in zcrx_run_set_state(). */
	if (shm_load_acquire_u32(&nic->run->state, POINT_RUN_STATE) != state || may_proceed(nic))
		zcrx_bell_cancel(&nic->bells->nic);
	else
		zcrx_bell_sleep(&nic->bells->nic, seq, timeout_us);
}

int zcrx_nic_run(struct zcrx_nic *nic, uint32_t slice_ms)
{
	uint64_t deadline = zcrx_now_ns() + (uint64_t)slice_ms * 1000000;
	uint32_t rounds = 0;

	for (;;) {
		/* Pairs with the release in zcrx_run_set_state(): what was prepared for it is there. */
		uint32_t state = shm_load_acquire_u32(&nic->run->state, POINT_RUN_STATE);

		if (state == ZCRX_RUN_EXIT)
			return 1;
		if (round_of(nic, state)) {
			zcrx_waiter_worked(&nic->waiter);
			if (++rounds % CLOCK_EVERY == 0 && zcrx_now_ns() >= deadline)
				return 0;
			continue;
		}
		if (zcrx_waiter_idle(&nic->waiter)) {
			sleep_until_rung(nic, state);
			if (zcrx_now_ns() >= deadline)
				return 0;
		}
	}
}
