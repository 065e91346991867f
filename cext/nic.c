/* SPDX-License-Identifier: MIT */
/*
 * The loop of the NIC process, and replaying an arena.
 *
 * No queue may hold up the others: a packet that finds no room stays where it
 * is and the next queue has its turn. The process sleeps only when a whole
 * round moved nothing.
 */
#include "nic.h"
#include "nic_queue.h"
#include "tcp_source.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

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
	uint64_t next_due_ns; /* paced: when the earliest waiting packet is due */
	uint32_t acked;
	uint32_t queue_count;
	struct zcrx_nq queues[];
};

struct zcrx_nic *zcrx_nic_new(const struct zcrx_shape *shape, uint32_t queues,
			      const struct zcrx_mapping *mappings, const void *arena,
			      const struct zcrx_nic_params *params,
			      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	const struct zcrx_fault_area area = {shape->num_niovs, shape->niov_shift};
	struct zcrx_nic *nic = calloc(1, sizeof(*nic) + queues * sizeof(nic->queues[0]));

	if (!nic)
		return NULL;
	nic->params = *params;
	nic->arena = arena;
	nic->run = mappings[0].run;
	nic->bells = mappings[0].bells;
	nic->waiter = (struct zcrx_waiter){.spins = 500, .yields = 50};
	nic->queue_count = queues;
	for (uint32_t i = 0; i < queues; i++) {
		struct zcrx_nq *nq = &nic->queues[i];

		if (zcrx_queue_attach(&nq->queue, shape, i, &mappings[i]))
			goto out_free;
		if (zcrx_fault_compile(&nq->plan, rules, rule_count, params->seed, i, &area))
			goto out_free;
		nq->generation = calloc(shape->num_niovs, sizeof(uint32_t));
		if (!nq->generation)
			goto out_free;
		nq->copy_countdown = params->copy_every;
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

static uint32_t pieces_of(uint32_t len, uint32_t niov_size)
{
	return (len + niov_size - 1) / niov_size;
}

static void put_payload(struct zcrx_nq *nq, const uint8_t *payload, uint32_t flow, uint32_t len,
			uint32_t crc)
{
	uint8_t *to = zcrx_area_niov(&nq->queue.area, nq->open_niov) + nq->open_off;

	shm_copy_payload(to, payload, len);
	if (nq->corrupt_rule) {
		struct zcrx_rng *rng = &nq->plan.lanes[nq->corrupt_rule - 1].rng;

		to[zcrx_rng_below(rng, len)] ^= (uint8_t)(1U << zcrx_rng_below(rng, 8));
		nq->mark = nq->corrupt_rule;
		shm_count(&nq->queue.nic->injected[nq->corrupt_rule - 1], 1);
		nq->corrupt_rule = 0;
	}
	zcrx_nq_fragment(nq, flow, len, crc);
}

/* The payload is somewhere else than in the area: the stack copies it there. */
static enum zcrx_offer offer_copied(struct zcrx_nq *nq, const struct zcrx_packet *packet,
				    const uint8_t *payload, const uint32_t *crcs)
{
	enum zcrx_offer room = zcrx_nq_room(nq, 1, 0);
	int64_t niov;

	if (room != ZCRX_OFFERED)
		return room;
	niov = zcrx_ifq_take_copy_buffer(&nq->queue.ifq);
	if (niov < 0)
		return ZCRX_BLOCKED_BUFFER;
	if (nq->has_open)
		zcrx_nq_close(nq);
	zcrx_nq_open_copy(nq, (uint32_t)niov);
	put_payload(nq, payload, packet->flow, packet->len, crcs[0]);
	zcrx_nq_close(nq);
	shm_count(&nq->queue.nic->copied_packets, 1);
	shm_count(&nq->queue.nic->copied_bytes, packet->len);
	return ZCRX_OFFERED;
}

/* A packet of at most one buffer: behind the last one in the open buffer if it fits. */
static enum zcrx_offer offer_small(struct zcrx_nq *nq, const struct zcrx_packet *packet,
				   const uint8_t *payload, const uint32_t *crcs)
{
	bool fits = nq->has_open && nq->open_off + packet->len <= zcrx_nq_niov_size(nq);
	enum zcrx_offer room = zcrx_nq_room(nq, 1, fits ? 0 : 1);

	if (room != ZCRX_OFFERED)
		return room;
	if (!fits) {
		if (nq->has_open)
			zcrx_nq_close(nq);
		zcrx_nq_open(nq);
	}
	put_payload(nq, payload, packet->flow, packet->len, crcs[0]);
	return ZCRX_OFFERED;
}

/* A packet of several buffers (as large receive offload makes them): all or nothing. */
static enum zcrx_offer offer_large(struct zcrx_nq *nq, const struct zcrx_packet *packet,
				   const uint8_t *payload, const uint32_t *crcs)
{
	uint32_t size = zcrx_nq_niov_size(nq);
	uint32_t pieces = pieces_of(packet->len, size);
	enum zcrx_offer room = zcrx_nq_room(nq, pieces, pieces);

	if (room != ZCRX_OFFERED)
		return room;
	if (nq->has_open)
		zcrx_nq_close(nq);
	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t done = i * size;
		uint32_t len = packet->len - done < size ? packet->len - done : size;

		zcrx_nq_open(nq);
		put_payload(nq, payload + done, packet->flow, len, crcs[i]);
		zcrx_nq_close(nq);
	}
	return ZCRX_OFFERED;
}

/* Is it this packet's turn not to have landed in the area? */
static bool is_copied(const struct zcrx_nic *nic, const struct zcrx_nq *nq,
		      const struct zcrx_packet *packet)
{
	return nic->params.copy_every && nq->copy_countdown <= 1 &&
	       packet->len <= zcrx_nq_niov_size(nq);
}

static enum zcrx_offer offer(struct zcrx_nic *nic, struct zcrx_nq *nq,
			     const struct zcrx_packet *packet)
{
	const uint8_t *base = (const uint8_t *)nic->arena;
	const uint8_t *payload = base + packet->data_off;
	const uint32_t *crcs =
		(const uint32_t *)(const void *)(base + nic->arena->crcs_off) + packet->crc_first;

	if (packet->len > zcrx_nq_niov_size(nq))
		return offer_large(nq, packet, payload, crcs);
	if (is_copied(nic, nq, packet))
		return offer_copied(nq, packet, payload, crcs);
	return offer_small(nq, packet, payload, crcs);
}

static void advance(struct zcrx_nic *nic, struct zcrx_nq *nq, const struct zcrx_packet *packet)
{
	nic->offered++;
	nq->packets_offered++;
	nq->bytes_offered += packet->len;
	nq->blocked_since = 0;
	nq->packets_seen++;
	nq->asked = false;
	nq->drop_rule = nq->corrupt_rule = 0;
	/* Delivered or dropped: a packet whose copy found no buffer must not stop the others. */
	if (is_copied(nic, nq, packet))
		nq->copy_countdown = nic->params.copy_every;
	else if (nq->copy_countdown > 1 && packet->len <= zcrx_nq_niov_size(nq))
		nq->copy_countdown--;
	if (++nq->cursor == nq->packet_count) {
		nq->cursor = 0;
		nq->lap++;
	}
}

/* The packet found no room. True when its time is up: it is dropped, and counted. */
static bool blocked_too_long(struct zcrx_nic *nic, struct zcrx_nq *nq, enum zcrx_offer why,
			     const struct zcrx_packet *packet)
{
	struct zcrx_nic_shared *counters = nq->queue.nic;
	bool cq = why == ZCRX_BLOCKED_CQ;

	zcrx_nq_blocked(nq, why);
	if (nq->blocked_since == 0) {
		nq->blocked_since = zcrx_now_ns();
		shm_count(cq ? &counters->waits_cq_full : &counters->waits_no_buffer, 1);
	}
	/* While the process spins, a look at the clock each time would be most of its work. */
	if (nic->params.wait_max_ns &&
	    ((nic->waiter.idle <= nic->waiter.spins && nic->waiter.idle % CLOCK_EVERY_IDLE) ||
	     zcrx_now_ns() - nq->blocked_since < nic->params.wait_max_ns))
		return false;
	zcrx_nq_record_drop(nq, why, packet->flow);
	shm_count(cq ? &counters->dropped_cq_full : &counters->dropped_no_buffer, 1);
	shm_count(&counters->packets_dropped, 1);
	zcrx_nq_skip(nq, packet->flow, pieces_of(packet->len, zcrx_nq_niov_size(nq)));
	return true;
}

static bool is_over(const struct zcrx_nic *nic, const struct zcrx_nq *nq)
{
	const struct zcrx_nic_params *params = &nic->params;

	return nq->packet_count == 0 ||
	       (params->packets_max && nic->offered >= params->packets_max) ||
	       (params->laps_max && nq->lap >= params->laps_max);
}

/* Paced: is the queue's next packet due? If not, note when. */
static bool is_due(struct zcrx_nic *nic, const struct zcrx_nq *nq, uint64_t now)
{
	uint64_t due =
		nic->started_ns + nq->lap * nic->arena->lap_ns + nq->packets[nq->cursor].time_ns;

	if (due <= now)
		return true;
	if (due < nic->next_due_ns)
		nic->next_due_ns = due;
	return false;
}

/* Ask the plan about the packet at the cursor, once. */
static void ask_plan(struct zcrx_nq *nq)
{
	int rule;

	nq->asked = true;
	while ((rule = zcrx_fault_take(&nq->plan, nq->packets_seen)) >= 0) {
		const struct zcrx_fault_rule *what = &nq->plan.lanes[rule].rule;
		struct timespec stall;

		zcrx_flight_record(&nq->queue.flights[ZCRX_WRITER_NIC], ZCRX_EVENT_FAULT,
				   (uint32_t)rule, nq->packets_seen, nq->packets_seen);
		/* A corruption counts when it is written: the packet may be dropped before. */
		if (what->kind != ZCRX_FAULT_NIC_CORRUPT)
			shm_count(&nq->queue.nic->injected[rule], 1);
		switch ((enum zcrx_fault_kind)what->kind) {
		case ZCRX_FAULT_NIC_DROP:
			nq->drop_rule = (uint32_t)rule + 1;
			break;
		case ZCRX_FAULT_NIC_CORRUPT:
			nq->corrupt_rule = (uint32_t)rule + 1;
			break;
		case ZCRX_FAULT_NIC_STALL:
			stall = (struct timespec){.tv_sec = what->params[0] / 1000000,
						  .tv_nsec =
							  (long)(what->params[0] % 1000000) * 1000};
			nanosleep(&stall, NULL);
			break;
		default:
			break;
		}
	}
}

static void drop(struct zcrx_nq *nq, const struct zcrx_packet *packet)
{
	shm_count(&nq->queue.nic->packets_dropped, 1);
	zcrx_nq_skip(nq, packet->flow, pieces_of(packet->len, zcrx_nq_niov_size(nq)));
}

/* Offer a burst on one queue; how many packets were dealt with. */
static uint32_t burst(struct zcrx_nic *nic, struct zcrx_nq *nq)
{
	uint64_t now = nic->params.paced ? zcrx_now_ns() : 0;
	uint32_t count = 0;

	if (!zcrx_nq_follow_user(nq))
		return 0;
	while (count < ZCRX_BURST && nq->cqes < ZCRX_BURST && !is_over(nic, nq)) {
		const struct zcrx_packet *packet = &nq->packets[nq->cursor];
		enum zcrx_offer result;

		if (nic->params.paced && !is_due(nic, nq, now))
			break;
		if (!nq->asked && zcrx_fault_is_due(&nq->plan, nq->packets_seen))
			ask_plan(nq);
		if (nq->drop_rule) {
			drop(nq, packet);
			advance(nic, nq, packet);
			count++;
			continue;
		}
		result = offer(nic, nq, packet);
		if (result == ZCRX_OFFERED)
			nq->packets_done++;
		else if (!blocked_too_long(nic, nq, result, packet))
			break;
		advance(nic, nq, packet);
		count++;
	}
	if (count || nq->touched_count)
		zcrx_nq_publish(nq);
	return count;
}

/* ---- states --------------------------------------------------------------------- */

static void acknowledge(struct zcrx_nic *nic, uint32_t state)
{
	nic->acked = state;
	shm_store_release_u32(&nic->run->nic_ack, state, POINT_ACK);
	zcrx_bell_ring(&nic->bells->control, ZCRX_BELL_WORK);
}

/* Offer nothing more, and let go of buffers that are cut halfway. */
static void quiesce(struct zcrx_nic *nic)
{
	for (uint32_t i = 0; i < nic->queue_count; i++) {
		if (nic->queues[i].has_open)
			zcrx_nq_close(&nic->queues[i]);
		zcrx_nq_publish(&nic->queues[i]);
		nic->queues[i].blocked_on = 0;
		zcrx_flight_record(&nic->queues[i].queue.flights[ZCRX_WRITER_NIC],
				   ZCRX_EVENT_QUIESCED, 0, nic->queues[i].queue.cq.cached_tail, 0);
	}
	nic->next_due_ns = UINT64_MAX;
	acknowledge(nic, ZCRX_RUN_QUIESCE);
}

/* Everything was offered and dealt with: tell it, by quiescing early. */
static bool all_over(const struct zcrx_nic *nic)
{
	if (nic->tcp)
		return false;
	for (uint32_t i = 0; i < nic->queue_count; i++) {
		if (!is_over(nic, &nic->queues[i]))
			return false;
	}
	return true;
}

static uint32_t traffic_round(struct zcrx_nic *nic)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < nic->queue_count; i++)
		nic->queues[i].blocked_on = 0;
	nic->next_due_ns = UINT64_MAX;
	if (nic->tcp)
		return zcrx_tcp_source_poll(nic->tcp, nic->queues, nic->queue_count);
	if (nic->started_ns == 0)
		nic->started_ns = zcrx_now_ns();
	for (uint32_t i = 0; i < nic->queue_count; i++)
		done += burst(nic, &nic->queues[i]);
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
		/* Only once the provider grants no more: what is there then is all. */
		if (nic->acked >= ZCRX_RUN_DRAIN ||
		    shm_load_acquire_u32(&nic->run->provider_ack, POINT_ACK) < ZCRX_RUN_DRAIN)
			return 0;
		for (uint32_t i = 0; i < nic->queue_count; i++)
			zcrx_nq_return_grants(&nic->queues[i]);
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
		if (zcrx_nq_may_proceed(&nic->queues[i]))
			return true;
	}
	return false;
}

static void sleep_until_rung(struct zcrx_nic *nic, uint32_t state)
{
	uint32_t timeout_us = SLEEP_US;
	uint32_t reasons = blocked_on(nic);
	uint32_t seq;

	if (nic->tcp && state == ZCRX_RUN_TRAFFIC && reasons == 0) {
		zcrx_tcp_source_wait(nic->tcp, 10);
		return;
	}
	if (state == ZCRX_RUN_TRAFFIC && nic->next_due_ns != UINT64_MAX) {
		uint64_t now = zcrx_now_ns();
		uint64_t wait_us = nic->next_due_ns > now ? (nic->next_due_ns - now) / 1000 : 0;

		if (wait_us < timeout_us)
			timeout_us = (uint32_t)wait_us;
	}
	if (timeout_us == 0)
		return;
	seq = zcrx_bell_prepare(&nic->bells->nic, reasons | ZCRX_BELL_WORK);
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
