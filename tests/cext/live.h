/* SPDX-License-Identifier: MIT */
/*
 * A whole run in one process: NIC, provider and consumers are threads on
 * private memory, the test is the control process and carries the run through
 * its states in the order of a real shutdown.
 */
#ifndef LIVE_H
#define LIVE_H

#include "judge/audit.h"
#include "actors/consumer.h"
#include "actors/provider_loop.h"
#include "queue_memory.h"
#include "judge/reconcile.h"
#include "rules.h"
#include "threads.h"
#include "traffic.h"

#define LIVE_QUEUES_MAX 3U
#define LIVE_RULES_MAX 3U
#define FOR_LONG_NS (UINT64_C(1) << 60)

struct live_config {
	struct zcrx_shape shape;
	struct traffic traffic;
	struct zcrx_nic_params nic;
	struct zcrx_consumer_params consumer;
	struct zcrx_fault_rule rules[LIVE_RULES_MAX];
	uint32_t rule_count;
	/* In the place of the consumer: a thread that is given its struct live_consumer. */
	thread_body impostor;
};

struct live_consumer {
	struct zcrx_consumer *consumer; /* NULL for an impostor */
	struct zcrx_queue *queue; /* the control process's view: for an impostor */
	struct zcrx_bells *bells;
	struct threads thread;
	shm_u32 killed; /* leave at once, whatever is held */
	shm_u32 left;
	int result;
};

struct live {
	const struct live_config *config;
	uint32_t queue_count;
	struct zcrx_arena *arena;
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	struct zcrx_mapping mappings[LIVE_QUEUES_MAX];
	struct zcrx_queue queues[LIVE_QUEUES_MAX];
	struct zcrx_reconciler reconcilers[LIVE_QUEUES_MAX];
	struct live_consumer consumers[LIVE_QUEUES_MAX];
	struct zcrx_nic *nic;
	struct zcrx_provider_loop *loop;
	struct threads kernel_side;
};

/* ---- threads -------------------------------------------------------------------- */

static inline void *live_nic(void *context)
{
	while (zcrx_nic_run(context, 20) == 0)
		;
	return NULL;
}

static inline void *live_provider_loop(void *context)
{
	while (zcrx_provider_loop_run(context, 20) == 0)
		;
	return NULL;
}

static inline void live_leave(struct live_consumer *consumer, int result)
{
	consumer->result = result;
	shm_store_release_u32(&consumer->left, 1, POINT_RUN_STATE);
	zcrx_bell_force(&consumer->bells->control);
}

static inline void *live_consumer(void *context)
{
	struct live_consumer *consumer = context;
	int result;

	do
		result = zcrx_consumer_run(consumer->consumer, 1);
	while (result == 0 && !shm_load_acquire_u32(&consumer->killed, POINT_RUN_STATE));
	live_leave(consumer, result);
	return NULL;
}

static inline void live_start_consumer(struct live *live, uint32_t queue)
{
	const struct live_config *config = live->config;
	struct live_consumer *consumer = &live->consumers[queue];
	struct zcrx_consumer_params params = config->consumer;
	struct zcrx_mapping mapping = live->mappings[queue];

	*consumer = (struct live_consumer){.queue = &live->queues[queue], .bells = live->bells};
	if (config->impostor) {
		threads_start(&consumer->thread, config->impostor, consumer);
		return;
	}
	mapping.kern = mapping.run = NULL; /* what a consumer does not get */
	params.position = zcrx_queue_consumed(&live->queues[queue]);
	consumer->consumer = zcrx_consumer_new(&config->shape, queue, &mapping, &params,
					       config->rules, config->rule_count);
	REQUIRE(consumer->consumer);
	threads_start(&consumer->thread, live_consumer, consumer);
}

static inline void live_join_consumer(struct live *live, uint32_t queue)
{
	threads_join(&live->consumers[queue].thread);
	zcrx_consumer_free(live->consumers[queue].consumer);
}

/* ---- life -------------------------------------------------------------------------- */

/* Make everything and let traffic flow. */
static inline void live_start(struct live *live, const struct live_config *config)
{
	memset(live, 0, sizeof(*live));
	live->config = config;
	live->queue_count = config->traffic.queues;
	REQUIRE(live->queue_count <= LIVE_QUEUES_MAX);
	live->arena = traffic_arena(&config->traffic);
	live->run = zeroed(zcrx_run_size());
	live->bells = zeroed(zcrx_bells_size());
	zcrx_run_format(live->run, live->queue_count);
	for (uint32_t i = 0; i < live->queue_count; i++) {
		live->mappings[i] = queue_objects(&config->shape, live->run, live->bells);
		REQUIRE(zcrx_queue_attach(&live->queues[i], &config->shape, i,
					  &live->mappings[i]) == 0);
		REQUIRE(zcrx_queue_format(&live->queues[i]) == 0);
		REQUIRE(zcrx_reconciler_init(&live->reconcilers[i], config->shape.num_niovs) == 0);
	}
	live->nic = zcrx_nic_new(&config->shape, live->queue_count, live->mappings, live->arena,
				 &config->nic, NULL, 0);
	live->loop = zcrx_provider_loop_new(&config->shape, live->queue_count, live->mappings, NULL,
					    0, 0, 0);
	REQUIRE(live->nic && live->loop);
	threads_start(&live->kernel_side, live_provider_loop, live->loop);
	threads_start(&live->kernel_side, live_nic, live->nic);
	for (uint32_t i = 0; i < live->queue_count; i++)
		live_start_consumer(live, i);
	zcrx_run_set_state(live->run, live->bells, ZCRX_RUN_TRAFFIC);
}

static inline void live_free(struct live *live)
{
	zcrx_nic_free(live->nic);
	zcrx_provider_loop_free(live->loop);
	for (uint32_t i = 0; i < live->queue_count; i++) {
		queue_objects_free(&live->mappings[i]);
		zcrx_reconciler_destroy(&live->reconcilers[i]);
	}
	free(live->arena);
	free(live->run);
	free(live->bells);
}

/* ---- control -------------------------------------------------------------------------- */

/* What an impostor meant by its entries is nowhere written: nothing can be compared. */
static inline void live_reconcile(struct live *live)
{
	for (uint32_t i = 0; i < live->queue_count && live->config->impostor; i++)
		shm_store_release_u64(&live->queues[i].ifq.shared->checked,
				      zcrx_queue_consumed(&live->queues[i]), POINT_LOG);
	for (uint32_t i = 0; i < live->queue_count && !live->config->impostor; i++)
		zcrx_reconcile(&live->reconcilers[i], &live->queues[i]);
}

typedef bool (*live_event)(const struct live *live, uint32_t number);

/* Reconcile until the event is there. The sleep is short because the consumers wait for us. */
static inline void live_wait(struct live *live, live_event event, uint32_t number)
{
	struct patience patience = {0};

	while (!event(live, number)) {
		uint32_t seq = zcrx_control_prepare(live->bells);

		live_reconcile(live);
		if (!event(live, number))
			zcrx_control_sleep(live->bells, seq, 1000);
		REQUIRE(!lasts_for(&patience, PATIENCE_NS));
	}
}

static inline bool nic_has_reached(const struct live *live, uint32_t state)
{
	return zcrx_run_nic_ack(live->run) >= state;
}

static inline bool kernel_side_has_reached(const struct live *live, uint32_t state)
{
	return zcrx_run_nic_ack(live->run) >= state && zcrx_run_provider_ack(live->run) >= state;
}

static inline bool provider_has_reached(const struct live *live, uint32_t state)
{
	return zcrx_run_provider_ack(live->run) >= state;
}

static inline bool consumer_has_left(const struct live *live, uint32_t queue)
{
	return shm_load_acquire_u32(&live->consumers[queue].left, POINT_RUN_STATE) != 0;
}

/* References taken back; as many valid entries may find theirs gone. */
static inline uint64_t live_scrub(struct live *live, uint32_t queue)
{
	return zcrx_queue_scrub(&live->queues[queue], NULL);
}

/* The states of a shutdown, in their order, up to the end of every thread. */
static inline void live_shut_down(struct live *live)
{
	zcrx_run_set_state(live->run, live->bells, ZCRX_RUN_QUIESCE);
	live_wait(live, nic_has_reached, ZCRX_RUN_QUIESCE);
	for (uint32_t i = 0; i < live->queue_count; i++)
		zcrx_queue_stop_consumer(&live->queues[i]);
	for (uint32_t i = 0; i < live->queue_count; i++) {
		live_wait(live, consumer_has_left, i);
		CHECK_EQ(live->consumers[i].result, 1);
		live_join_consumer(live, i);
	}
	zcrx_run_set_state(live->run, live->bells, ZCRX_RUN_DRAIN);
	for (uint32_t i = 0; i < live->queue_count; i++)
		live_scrub(live, i);
	live_wait(live, kernel_side_has_reached, ZCRX_RUN_DRAIN);
	zcrx_run_set_state(live->run, live->bells, ZCRX_RUN_DESTROY);
	live_wait(live, provider_has_reached, ZCRX_RUN_DESTROY);
	live_reconcile(live);
	zcrx_run_set_state(live->run, live->bells, ZCRX_RUN_EXIT);
	threads_join(&live->kernel_side);
}

/* ---- judgement ----------------------------------------------------------------------------- */

#define LIVE_COUNT(queue, part, name) count_of(&(queue)->part->name)

/* Every buffer is home and free, nothing was found on the way, all verdicts are as meant. */
static inline void live_check_buffers(struct live *live, uint32_t number)
{
	struct zcrx_queue *queue = &live->queues[number];
	struct zcrx_reconciler *reconciler = &live->reconcilers[number];
	struct zcrx_audit audit;

	REQUIRE(zcrx_audit_run(queue, &audit) == 0);
	CHECK_EQ(audit.lost, 0);
	CHECK_EQ(audit.doubled, 0);
	CHECK_EQ(audit.user_refs, 0);
	CHECK_EQ(audit.places.freelist, queue->shape.num_niovs);
	CHECK_EQ(LIVE_COUNT(queue, area.shared, freelist_overflows), 0);
	CHECK_EQ(LIVE_COUNT(queue, area.shared, ref_underflows), 0);
	CHECK_EQ(LIVE_COUNT(queue, ifq.shared, destroy_warnings), 0);
	CHECK_EQ(word_of(&queue->ifq.shared->refs), 1);
	CHECK_EQ(LIVE_COUNT(queue, nic, ownership_violations), 0);
	CHECK_EQ(LIVE_COUNT(queue, notes, integrity_errors), 0);
	CHECK_EQ(LIVE_COUNT(queue, notes, order_errors), 0);
	CHECK_EQ(LIVE_COUNT(queue, notes, ownership_errors), 0);
	CHECK_EQ(LIVE_COUNT(queue, notes, bad_completions), 0);
	CHECK_EQ(reconciler->mismatch_count, 0);
	CHECK_EQ(reconciler->lost, 0);
	if (!live->config->impostor)
		CHECK_EQ(reconciler->checked, LIVE_COUNT(queue, ifq.shared, consumed));
	for (uint32_t i = 0; i < reconciler->mismatch_count && i < 3; i++)
		fprintf(stderr, "mismatch at %" PRIu64 ": intent 0x%04x, verdict 0x%02x\n",
			reconciler->mismatches[i].position, reconciler->mismatches[i].intent,
			reconciler->mismatches[i].verdict);
}

/* What was delivered was received, flow by flow; with one user for the whole run. */
static inline void live_check_flows(struct live *live, uint32_t number)
{
	struct zcrx_queue *queue = &live->queues[number];
	struct zcrx_audit audit;

	REQUIRE(zcrx_audit_run(queue, &audit) == 0);
	CHECK_EQ(audit.flows_wrong, 0);
	CHECK_EQ(audit.fragments_missing, 0);
	CHECK_EQ(audit.places.in_flight, 0);
	CHECK_EQ(LIVE_COUNT(queue, notes, bytes), LIVE_COUNT(queue, nic, bytes_delivered));
	CHECK_EQ(LIVE_COUNT(queue, notes, fragments), LIVE_COUNT(queue, nic, fragments_delivered));
	CHECK_EQ(LIVE_COUNT(queue, nic, packets_delivered) +
			 LIVE_COUNT(queue, nic, packets_dropped),
		 LIVE_COUNT(queue, nic, packets_offered));
	CHECK(LIVE_COUNT(queue, notes, order_gaps) <= LIVE_COUNT(queue, nic, fragments_dropped));
}

/* The one verdict that a malformed entry earns, whatever the core says of its own intent. */
static inline enum zcrx_verdict live_verdict(const struct zcrx_fault_rule *rule)
{
	switch (rule->kind) {
	case ZCRX_FAULT_BAD_PAD:
		return ZCRX_BAD_PAD;
	case ZCRX_FAULT_BAD_AREA:
		return ZCRX_BAD_AREA;
	case ZCRX_FAULT_BAD_INDEX:
		return ZCRX_BAD_INDEX;
	}
	abort();
}

/*
 * Each injected entry is in the table under the one verdict it must have earned,
 * and no valid one under another than a return may have.
 */
static inline void live_check_faults(struct live *live, uint32_t number)
{
	struct zcrx_queue *queue = &live->queues[number];
	struct zcrx_reconciler *reconciler = &live->reconcilers[number];
	uint64_t injected[ZCRX_RULES_MAX];

	zcrx_injected_read(queue, injected);
	CHECK_EQ(reconciler->checked, LIVE_COUNT(queue, notes, rqe_submitted));
	CHECK_EQ(reconciler->table[ZCRX_INTENT_VALID][ZCRX_BAD_PAD], 0);
	CHECK_EQ(reconciler->table[ZCRX_INTENT_VALID][ZCRX_BAD_AREA], 0);
	CHECK_EQ(reconciler->table[ZCRX_INTENT_VALID][ZCRX_BAD_INDEX], 0);
	CHECK_EQ(reconciler->table[ZCRX_INTENT_VALID][ZCRX_NO_USER_REF], reconciler->after_scrub);
	for (uint32_t rule = 0; rule < live->config->rule_count; rule++) {
		const uint64_t *judged = reconciler->table[rule + 1];
		uint64_t all = 0;

		for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++)
			all += judged[verdict];
		/* Fired for a return that waits for room still: not written, so not judged. */
		if (LIVE_COUNT(queue, notes, pending_returns))
			CHECK(injected[rule] - all <= 1);
		else
			CHECK_EQ(all, injected[rule]);
		CHECK_EQ(judged[live_verdict(&live->config->rules[rule])], all);
	}
}

#endif /* LIVE_H */
