/* SPDX-License-Identifier: MIT */
/* The audit against seeded losses: a buffer gone, a buffer twice, a flow cut short. */
#include "judge/audit.h"
#include "queue_memory.h"

struct scene {
	struct queue_memory memory;
	struct zcrx_queue *queue;
	struct zcrx_page_pool *pool;
	struct zcrx_audit audit;
};

static void scene_init(struct scene *scene)
{
	struct zcrx_shape shape = small_shape();

	queue_memory_init(&scene->memory, &shape);
	scene->queue = &scene->memory.queue;
	scene->pool = zcrx_ifq_pool(&scene->queue->ifq);
}

static void scene_free(struct scene *scene)
{
	queue_memory_free(&scene->memory);
}

static void audit(struct scene *scene)
{
	REQUIRE(zcrx_audit_run(scene->queue, &scene->audit) == 0);
}

/* 8 buffers: 0 in the grant ring, 1 being cut, 2 at the user, 3 in the ptr ring, 4..7 cached. */
static void spread(struct scene *scene)
{
	struct zcrx_queue *queue = scene->queue;

	for (uint32_t niov = 0; niov < 4; niov++)
		REQUIRE(zcrx_pp_alloc(scene->pool) == niov);
	zcrx_grant_put(&queue->grants, 0);
	zcrx_grant_publish(&queue->grants);
	shm_store_relaxed_u32(&queue->nic->open_niov, 1 + 1, POINT_COUNTER);
	hand_out(queue, 1, 2); /* with the NIC all the same: counted once */
	deliver(queue, 2, 3);
	zcrx_ifq_drop(&queue->ifq, 3, 1);
}

static void every_place_is_looked_at(void)
{
	struct scene scene;

	scene_init(&scene);
	spread(&scene);
	audit(&scene);
	CHECK_EQ(scene.audit.lost, 0);
	CHECK_EQ(scene.audit.doubled, 0);
	CHECK_EQ(scene.audit.places.grant_ring, 1);
	CHECK_EQ(scene.audit.places.nic, 1);
	CHECK_EQ(scene.audit.places.user, 1);
	CHECK_EQ(scene.audit.places.ptr_ring, 1);
	CHECK_EQ(scene.audit.places.cache, 4);
	CHECK_EQ(scene.audit.places.freelist, 0);
	CHECK_EQ(scene.audit.user_refs, 5);
	scene_free(&scene);
}

static void a_sample_counts_the_same_places(void)
{
	struct scene scene;
	struct zcrx_places places;

	scene_init(&scene);
	spread(&scene);
	zcrx_cq_put(&scene.queue->cq, 0, 64, IORING_CQE_F_MORE, 2 << 12);
	zcrx_cq_publish(&scene.queue->cq);
	zcrx_places_read(scene.queue, &places);
	audit(&scene);
	CHECK_BYTES(&places, &scene.audit.places, sizeof(places));
	CHECK_EQ(places.in_flight, 1);
	scene_free(&scene);
}

static void a_sample_counts_a_full_ptr_ring(void)
{
	struct scene scene;
	struct zcrx_places places;

	scene_init(&scene);
	scene.queue->ifq.pools[0].ring_size = 3;
	for (uint32_t niov = 0; niov < 8; niov++)
		REQUIRE(zcrx_pp_alloc(scene.pool) == niov);
	for (uint32_t lap = 0; lap < 4; lap++) { /* the first slot is another one each time */
		int64_t niov;

		for (uint32_t i = 0; i < 3; i++)
			zcrx_ifq_drop(&scene.queue->ifq, i, 1);
		zcrx_places_read(scene.queue, &places);
		CHECK_EQ(places.ptr_ring, 3);
		for (uint32_t i = 0; i < 3; i++)
			zcrx_pp_alloc(scene.pool);
		zcrx_places_read(scene.queue, &places);
		CHECK_EQ(places.ptr_ring, 0);
		zcrx_ifq_drop(&scene.queue->ifq, 0, 1);
		niov = zcrx_pp_alloc(scene.pool);
		CHECK_EQ(niov, 0);
	}
	scene_free(&scene);
}

static void lost_buffers_are_found(void)
{
	struct scene scene;

	scene_init(&scene);
	zcrx_pp_alloc(scene.pool);
	zcrx_pp_alloc(scene.pool);
	audit(&scene);
	CHECK_EQ(scene.audit.lost, 2);
	CHECK_EQ(scene.audit.first_lost, 0);
	CHECK_EQ(scene.audit.doubled, 0);
	scene_free(&scene);
}

/* The same buffer in any two places that can hold one. */
static void doubled_buffers_are_found_wherever_they_are(void)
{
	for (uint32_t place = 0; place < 5; place++) {
		struct scene scene;
		struct zcrx_queue *queue;

		scene_init(&scene);
		queue = scene.queue;
		spread(&scene);
		switch (place) {
		case 0: /* cached and at the user */
			shm_store_relaxed_u32(&queue->area.niovs[4].user_refs, 1,
					      POINT_USER_REF_STORE);
			break;
		case 1: /* cached and free */
			zcrx_area_push_free(&queue->area, 4);
			break;
		case 2: /* cached and in the ptr ring */
			zcrx_pp_put_unreferenced(scene.pool, 4);
			break;
		case 3: /* cached and granted */
			zcrx_grant_put(&queue->grants, 4);
			zcrx_grant_publish(&queue->grants);
			break;
		default: /* cached twice */
			scene.pool->shared->cache[4] = 4;
			zcrx_pp_cache_set_count(scene.pool, 5);
			break;
		}
		audit(&scene);
		CHECK_EQ(scene.audit.doubled, 1);
		CHECK_EQ(scene.audit.first_doubled, 4);
		CHECK_EQ(scene.audit.lost, 0);
		scene_free(&scene);
	}
}

static void buffers_of_a_lingering_pool_are_found(void)
{
	struct scene scene;

	scene_init(&scene);
	spread(&scene);
	CHECK_EQ(zcrx_ifq_restart(&scene.queue->ifq), 1);
	zcrx_ifq_drop(&scene.queue->ifq, 0, 1); /* into the old pool's ring, and still granted */
	audit(&scene);
	CHECK_EQ(scene.audit.lost, 0);
	CHECK_EQ(scene.audit.doubled, 1);
	CHECK_EQ(scene.audit.first_doubled, 0);
	CHECK_EQ(scene.audit.places.freelist, 5);
	scene_free(&scene);
}

/* ---- flows ---------------------------------------------------------------------------- */

static void set_flow(struct scene *scene, uint32_t flow, uint32_t sent, uint32_t delivered,
		     uint32_t received, uint32_t gaps)
{
	struct zcrx_queue *queue = scene->queue;

	shm_store_relaxed_u32(&queue->flows_sent[flow].next_seq, sent, POINT_COUNTER);
	shm_store_relaxed_u32(&queue->flows_sent[flow].delivered, delivered, POINT_COUNTER);
	shm_store_relaxed_u32(&queue->flows_received[flow].received, received, POINT_COUNTER);
	shm_store_relaxed_u32(&queue->flows_received[flow].gaps, gaps, POINT_COUNTER);
}

static void flows_with_counted_drops_are_right(void)
{
	struct scene scene;

	scene_init(&scene);
	set_flow(&scene, 0, 10, 10, 10, 0);
	set_flow(&scene, 1, 10, 7, 7, 3);
	set_flow(&scene, 2, 10, 7, 7, 1); /* the last two dropped ones were not followed by any */
	audit(&scene);
	CHECK_EQ(scene.audit.flows_wrong, 0);
	CHECK_EQ(scene.audit.fragments_missing, 0);
	scene_free(&scene);
}

static void a_flow_with_missing_fragments_is_found(void)
{
	struct scene scene;

	scene_init(&scene);
	set_flow(&scene, 2, 10, 10, 8, 0);
	set_flow(&scene, 3, 10, 9, 6, 1);
	audit(&scene);
	CHECK_EQ(scene.audit.flows_wrong, 2);
	CHECK_EQ(scene.audit.first_flow_wrong, 2);
	CHECK_EQ(scene.audit.fragments_missing, 5);
	scene_free(&scene);
}

/* Two users of one ring: what each counts is neither's. No difference is below nothing. */
static void a_flow_with_more_fragments_than_were_sent_is_found(void)
{
	struct scene scene;
	uint32_t flow[4];

	scene_init(&scene);
	set_flow(&scene, 2, 10, 10, 13, 0);
	set_flow(&scene, 3, 10, 9, 7, 1);
	shm_store_relaxed_u32(&scene.queue->flows_sent[1].delivered, 3, POINT_COUNTER);
	shm_store_relaxed_u32(&scene.queue->flows_sent[1].repeated, 3, POINT_COUNTER);
	audit(&scene);
	CHECK_EQ(scene.audit.flows_wrong, 3);
	CHECK_EQ(scene.audit.fragments_missing, 2 + 3);
	CHECK_EQ(scene.audit.fragments_surplus, 3);
	zcrx_flow_read(scene.queue, 1, flow);
	CHECK_EQ(flow[1], 0); /* dropped: each of its deliveries was a second one */
	scene_free(&scene);
}

static void a_flow_with_more_gaps_than_drops_is_found(void)
{
	struct scene scene;

	scene_init(&scene);
	set_flow(&scene, 1, 10, 7, 7, 4);
	audit(&scene);
	CHECK_EQ(scene.audit.flows_wrong, 1);
	CHECK_EQ(scene.audit.first_flow_wrong, 1);
	CHECK_EQ(scene.audit.fragments_missing, 0);
	scene_free(&scene);
}

/* What was delivered twice is no drop less. */
static void a_repeated_fragment_hides_no_gap(void)
{
	struct scene scene;

	scene_init(&scene);
	set_flow(&scene, 1, 10, 9, 9, 3); /* 7 of 10, and 2 of them again */
	shm_store_relaxed_u32(&scene.queue->flows_sent[1].repeated, 2, POINT_COUNTER);
	set_flow(&scene, 2, 10, 12, 11, 0); /* a copy that never arrived */
	shm_store_relaxed_u32(&scene.queue->flows_sent[2].repeated, 2, POINT_COUNTER);
	set_flow(&scene, 3, 10, 9, 9, 4); /* more gaps than the 3 drops */
	shm_store_relaxed_u32(&scene.queue->flows_sent[3].repeated, 2, POINT_COUNTER);
	audit(&scene);
	CHECK_EQ(scene.audit.flows_wrong, 2);
	CHECK_EQ(scene.audit.first_flow_wrong, 2);
	CHECK_EQ(scene.audit.fragments_missing, 1);
	scene_free(&scene);
}

/* ---- counters ---------------------------------------------------------------------------- */

static uint64_t named(struct scene *scene, enum zcrx_counters group, const char *name)
{
	uint64_t values[64];

	REQUIRE(zcrx_counters_size(group) <= COUNT_OF(values));
	zcrx_counters_read(scene->queue, group, values);
	for (uint32_t i = 0; i < zcrx_counters_size(group); i++) {
		if (!strcmp(zcrx_counters_name(group, i), name))
			return values[i];
	}
	CHECK(!"such a counter");
	return UINT64_MAX;
}

static void every_counter_has_a_name_of_its_own(void)
{
	for (int group = ZCRX_COUNTERS_NIC; group <= ZCRX_COUNTERS_CONSUMER; group++) {
		uint32_t size = zcrx_counters_size(group);

		CHECK(size > 0);
		CHECK(!zcrx_counters_name(group, size));
		for (uint32_t i = 0; i < size; i++) {
			for (uint32_t j = 0; j < i; j++)
				CHECK(strcmp(zcrx_counters_name(group, i),
					     zcrx_counters_name(group, j)) != 0);
		}
	}
}

static void counters_are_read_under_their_names(void)
{
	struct scene scene;
	struct zcrx_queue *queue;

	scene_init(&scene);
	queue = scene.queue;
	shm_count(&queue->nic->packets_offered, 1);
	shm_count(&queue->nic->connections, 2);
	shm_count(&queue->ifq.shared->consumed, 3);
	shm_count(&queue->ifq.shared->verdicts[ZCRX_ACCEPTED], 4);
	shm_count(&queue->ifq.shared->verdicts[ZCRX_NO_USER_REF], 5);
	shm_count(&queue->area.shared->ref_underflows, 6);
	shm_count(&queue->notes->fragments, 7);
	shm_count(&queue->notes->pending_returns, 8);
	/* Pools are added up, those that are gone included. */
	shm_count(&queue->ifq.pools[0].shared->counters.alloc_fast, 9);
	shm_count(&queue->ifq.pools[7].shared->counters.alloc_fast, 10);
	shm_count(&queue->ifq.shared->replaced.alloc_fast, 100);
	shm_count(&queue->ifq.shared->restarts, 11);
	shm_count(&queue->ifq.shared->warnings_due, 12);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_NIC, "packets_offered"), 1);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_NIC, "connections"), 2);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "consumed"), 3);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "accepted"), 4);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "no_user_ref"), 5);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "ref_underflows"), 6);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "instance_refs"), 2);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "free_count"), 8);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_CONSUMER, "fragments"), 7);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_CONSUMER, "pending_returns"), 8);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_POOL, "alloc_fast"), 119);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "restarts"), 11);
	CHECK_EQ(named(&scene, ZCRX_COUNTERS_PROVIDER, "warnings_due"), 12);
	scene_free(&scene);
}

static void injected_entries_are_read_by_rule(void)
{
	struct scene scene;
	uint64_t injected[ZCRX_RULES_MAX];

	scene_init(&scene);
	shm_count(&scene.queue->notes->injected[0], 11);
	shm_count(&scene.queue->notes->injected[ZCRX_RULES_MAX - 1], 12);
	shm_count(&scene.queue->nic->injected[2], 13);
	shm_count(&scene.queue->provider->injected[3], 14);
	zcrx_injected_read(scene.queue, injected);
	CHECK_EQ(injected[0], 11);
	CHECK_EQ(injected[1], 0);
	CHECK_EQ(injected[2], 13);
	CHECK_EQ(injected[3], 14);
	CHECK_EQ(injected[ZCRX_RULES_MAX - 1], 12);
	scene_free(&scene);
}

static void the_journal_of_each_actor_is_read(void)
{
	static uint64_t entries[ZCRX_JOURNAL_MAX];
	struct scene scene;
	uint64_t count, missing_from;

	scene_init(&scene);
	for (uint32_t actor = 0; actor < ZCRX_JOURNAL_ACTORS; actor++) {
		zcrx_journal_note(scene.queue->journals[actor], 253, 1000 + actor);
		CHECK_EQ(zcrx_journal_read(scene.queue, (enum zcrx_journal_actor)actor, entries,
					   &count, &missing_from),
			 1);
		CHECK_EQ(count, 1);
		CHECK_EQ(entries[0], UINT64_C(253) << ZCRX_JOURNAL_RULE_SHIFT | (1000 + actor));
	}
	scene_free(&scene);
}

/* What did not fit is counted, and nothing is read behind the end. */
static void a_journal_that_ran_over_is_read_as_far_as_it_goes(void)
{
	static uint64_t entries[ZCRX_JOURNAL_MAX];
	struct scene scene;
	uint64_t count, missing_from;

	scene_init(&scene);
	for (uint64_t i = 0; i < ZCRX_JOURNAL_MAX + 2; i++)
		zcrx_journal_note(scene.queue->journals[ZCRX_JOURNAL_NIC], 1, 10 * i);
	CHECK_EQ(zcrx_journal_read(scene.queue, ZCRX_JOURNAL_NIC, entries, &count, &missing_from),
		 ZCRX_JOURNAL_MAX);
	CHECK_EQ(count, ZCRX_JOURNAL_MAX + 2);
	CHECK_EQ(missing_from, 10 * ZCRX_JOURNAL_MAX);
	scene_free(&scene);
}

CHECK_MAIN(CASE(every_place_is_looked_at), CASE(a_sample_counts_the_same_places),
	   CASE(a_sample_counts_a_full_ptr_ring), CASE(lost_buffers_are_found),
	   CASE(doubled_buffers_are_found_wherever_they_are),
	   CASE(buffers_of_a_lingering_pool_are_found), CASE(flows_with_counted_drops_are_right),
	   CASE(a_flow_with_missing_fragments_is_found),
	   CASE(a_flow_with_more_fragments_than_were_sent_is_found),
	   CASE(a_flow_with_more_gaps_than_drops_is_found), CASE(a_repeated_fragment_hides_no_gap),
	   CASE(every_counter_has_a_name_of_its_own), CASE(counters_are_read_under_their_names),
	   CASE(injected_entries_are_read_by_rule), CASE(the_journal_of_each_actor_is_read),
	   CASE(a_journal_that_ran_over_is_read_as_far_as_it_goes))
