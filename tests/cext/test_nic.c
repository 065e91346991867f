/* SPDX-License-Identifier: MIT */
/*
 * The NIC's loop, step by step in one thread: how packets are cut into
 * buffers, which references stand behind each fragment, what happens without
 * buffers, without room and without a user, and how it ends.
 */
#include "judge/standing.h"
#include "wire.h"

/* ---- cutting --------------------------------------------------------------------- */

static void small_packets_share_a_buffer_at_multiples_of_64(void)
{
	struct wire wire;

	wire_init(&wire, &plain, LENS(1, 64, 65, 1448));
	grant(wire.queue, 8);
	run(&wire);
	check_next(&wire, 0, 1);
	check_next(&wire, 64, 64);
	check_next(&wire, 128, 65);
	check_next(&wire, 256, 1448);
	CHECK_EQ(NIC(&wire, grants_taken), 1);
	CHECK_EQ(user_refs(&wire, 0), 4);
	CHECK_EQ(pp_refs(&wire, 0), 4); /* all was sent: the stack's own is gone */
	CHECK_EQ(NIC(&wire, packets_delivered), 4);
	CHECK_EQ(NIC(&wire, bytes_delivered), 1 + 64 + 65 + 1448);
	CHECK_EQ(NIC(&wire, fragments_delivered), 4);
	wire_free(&wire);
}

static void a_buffer_that_is_cut_halfway_keeps_the_stacks_reference(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;

	params.laps_max = 0;
	params.wait_max_ns = UINT64_MAX;
	wire_init(&wire, &params, LENS(1448));
	grant(wire.queue, 1);
	run(&wire); /* two fit, for the third there is no buffer */
	CHECK_EQ(unread(&wire), 2);
	CHECK_EQ(user_refs(&wire, 0), 2);
	CHECK_EQ(pp_refs(&wire, 0), 3);
	CHECK_EQ(word_of(&wire.queue->nic->open_niov), 1);
	grant(wire.queue, 1);
	run(&wire);
	CHECK_EQ(user_refs(&wire, 0), 2);
	CHECK_EQ(pp_refs(&wire, 0), 2); /* closed when the next one was opened */
	CHECK_EQ(pp_refs(&wire, 1), 3);
	CHECK_EQ(word_of(&wire.queue->nic->open_niov), 2);
	wire_free(&wire);
}

static void the_newest_grant_is_taken_first_if_that_is_wished(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;

	params.newest_first = 1;
	params.laps_max = 0;
	params.packets_max = 3;
	wire_init(&wire, &params, LENS(4096));
	grant(wire.queue, 5);
	run(&wire);
	check_next(&wire, 4 * 4096, 4096);
	check_next(&wire, 3 * 4096, 4096);
	check_next(&wire, 2 * 4096, 4096);
	wire_free(&wire);
}

static void a_packet_that_fills_its_buffer_leaves_none_of_it(void)
{
	struct wire wire;

	wire_init(&wire, &plain, LENS(4096, 1, 4033, 4096));
	grant(wire.queue, 8);
	run(&wire);
	check_next(&wire, 0, 4096);
	check_next(&wire, 1 << 12, 1);
	check_next(&wire, 2 << 12, 4033); /* one byte too long for what was left */
	check_next(&wire, 3 << 12, 4096);
	CHECK_EQ(unread(&wire), 0);
	wire_free(&wire);
}

static void a_large_packet_is_cut_into_buffers_of_its_own(void)
{
	struct wire wire;

	wire_init(&wire, &plain, LENS(10, 10000, 10));
	grant(wire.queue, 8);
	run(&wire);
	check_next(&wire, 0, 10);
	check_next(&wire, 1 << 12, 4096);
	check_next(&wire, 2 << 12, 4096);
	check_next(&wire, 3 << 12, 1808);
	check_next(&wire, 4 << 12, 10);
	for (uint32_t niov = 0; niov < 5; niov++) {
		CHECK_EQ(user_refs(&wire, niov), 1);
		CHECK_EQ(pp_refs(&wire, niov), 1);
	}
	wire_free(&wire);
}

static void the_payload_in_the_area_is_that_of_the_packet(void)
{
	struct traffic traffic = LENS(1, 100, 4096, 4097, 1448, 64);
	struct wire wire;

	wire_init(&wire, &plain, traffic);
	grant(wire.queue, 8);
	run(&wire);
	for (uint32_t i = 0; i < traffic.packets; i++) {
		uint8_t payload[8192];

		traffic_payload(&traffic, 0, i, payload);
		for (uint32_t at = 0; at < traffic_len(&traffic, i);) {
			struct zcrx_cqe32 cqe = next_of(&wire, 0);

			if (!CHECK(cqe.cqe.res > 0))
				return;
			CHECK_BYTES(wire.queue->area.bytes + cqe.zcrx.off, payload + at,
				    (size_t)cqe.cqe.res);
			at += (uint32_t)cqe.cqe.res;
		}
	}
	wire_free(&wire);
}

/* As many pieces in one burst as there can be. */
static void a_burst_may_end_with_the_largest_packet_in_the_smallest_buffers(void)
{
	uint32_t lens[64];
	struct traffic traffic = {.lens = lens,
				  .lens_count = 64,
				  .packets = 64,
				  .queues = 1,
				  .flows = 1,
				  .niov_shift = 6};
	struct zcrx_shape shape = small_shape();
	struct wire wire;

	for (uint32_t i = 0; i < 64; i++)
		lens[i] = i < 63 ? 64 : ZCRX_PACKET_MAX;
	shape.niov_shift = 6;
	shape.num_niovs = 2048;
	shape.grant_entries = 2048;
	shape.cq_entries = 2048;
	wire_init_with(&wire, &shape, &plain, traffic);
	grant(wire.queue, 2048);
	run(&wire);
	CHECK_EQ(unread(&wire), 63 + 1024);
	CHECK_EQ(NIC(&wire, packets_delivered), 64);
	CHECK_EQ(NIC(&wire, grants_taken), 63 + 1024);
	wire_free(&wire);
}

/* ---- what is noted ------------------------------------------------------------------ */

static void each_completion_has_its_note_in_the_ledger(void)
{
	struct traffic traffic = LENS(100, 5000, 200);
	const uint32_t flows[] = {0, 1, 1, 0}, seqs[] = {0, 0, 1, 1},
		       lens[] = {100, 4096, 904, 200};
	struct wire wire;

	traffic.flows = 2;
	wire_init(&wire, &plain, traffic);
	grant(wire.queue, 8);
	run(&wire);
	for (uint32_t i = 0; i < 4; i++) {
		struct zcrx_ledger_entry *note =
			&wire.queue->ledger[(wire.queue->shape.initial_index + i) % 64];
		struct zcrx_cqe32 cqe = next_of(&wire, 0);

		CHECK_EQ(cqe.cqe.user_data, flows[i]);
		CHECK_EQ(cqe.cqe.res, lens[i]);
		CHECK_EQ(count_of(&note->flow_seq), (uint64_t)flows[i] << 32 | seqs[i]);
		CHECK_EQ(count_of(&note->crc_generation) >> 32,
			 zcrx_crc32c(wire.queue->area.bytes + cqe.zcrx.off, lens[i]));
		CHECK_EQ((uint32_t)count_of(&note->crc_generation), 1);
	}
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].next_seq), 2);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].delivered), 2);
	CHECK_EQ(word_of(&wire.queue->flows_sent[1].next_seq), 2);
	wire_free(&wire);
}

static void a_granted_buffer_that_is_the_users_is_reported(void)
{
	struct wire wire;

	wire_init(&wire, &plain, LENS(100));
	grant(wire.queue, 1);
	shm_store_relaxed_u32(&wire.queue->area.niovs[0].user_refs, 1, POINT_USER_REF_STORE);
	run(&wire);
	CHECK_EQ(NIC(&wire, ownership_violations), 1);
	wire_free(&wire);
}

/* ---- no buffer, no room -------------------------------------------------------------- */

static void without_buffers_packets_are_dropped_and_counted(void)
{
	struct wire wire;

	wire_init(&wire, &plain, LENS(4096, 4096, 9000, 4096));
	grant(wire.queue, 1);
	run(&wire);
	CHECK_EQ(unread(&wire), 1);
	CHECK_EQ(NIC(&wire, packets_offered), 4);
	CHECK_EQ(NIC(&wire, packets_delivered), 1);
	CHECK_EQ(NIC(&wire, packets_dropped), 3);
	CHECK_EQ(NIC(&wire, dropped_no_buffer), 3);
	CHECK_EQ(NIC(&wire, dropped_cq_full), 0);
	CHECK_EQ(NIC(&wire, fragments_dropped), 1 + 3 + 1);
	CHECK_EQ(NIC(&wire, bytes_offered), 3 * 4096 + 9000);
	CHECK_EQ(NIC(&wire, bytes_delivered), 4096);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].next_seq), 6); /* the user sees the gap */
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].delivered), 1);
	wire_free(&wire);
}

/* What was delivered is with its user, what is granted is not: and since when it is so. */
static void a_queue_that_stands_still_says_since_when_and_where_its_buffers_are(void)
{
	static const uint32_t lens[] = {4096};
	static const struct traffic many = {lens, 1, 100, 1, 3, 12, 1000};
	static const struct zcrx_nic_params waiting = {
		.laps_max = 1, .wait_max_ns = UINT64_C(1) << 60, .listen_fd = -1};
	struct zcrx_standing standing;
	struct wire wire;

	wire_init(&wire, &waiting, many);
	grant(wire.queue, 4);
	run(&wire);
	CHECK(zcrx_still_since(wire.queue) != 0);
	CHECK_EQ(zcrx_standing_read(wire.queue, &standing), 0);
	CHECK(standing.since != 0 && standing.since <= zcrx_now_ns());
	CHECK(standing.looks > 0);
	CHECK_EQ(standing.waits_for_cq, 0);
	CHECK_EQ(standing.unread, 3);
	CHECK_EQ(standing.nic, 1); /* the last one may be cut further */
	CHECK_EQ(standing.kept, 0);
	/* The user reads three completions. */
	shm_store_relaxed_u32(wire.queue->cq.head, word_of(wire.queue->cq.tail) - 1, POINT_COUNTER);
	CHECK_EQ(zcrx_standing_read(wire.queue, &standing), 0);
	CHECK_EQ(standing.unread, 0);
	CHECK_EQ(standing.kept, 3);
	CHECK_EQ(standing.oldest_completion, 0);
	CHECK_EQ(standing.oldest_niov, 0);
	CHECK_EQ(standing.oldest_flow, 0);
	/* A buffer comes, and with it a delivery: it is over, and was as long as it was. */
	grant(wire.queue, 1);
	run(&wire);
	CHECK_EQ(zcrx_standing_read(wire.queue, &standing), 0);
	CHECK(standing.longest > 0);
	CHECK(standing.since > standing.longest_since);
	wire_free(&wire);
}

static void a_large_packet_takes_all_its_buffers_or_none(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;

	params.wait_max_ns = UINT64_MAX;
	wire_init(&wire, &params, LENS(3 * 4096));
	grant(wire.queue, 2);
	run(&wire);
	CHECK_EQ(unread(&wire), 0);
	CHECK_EQ(NIC(&wire, grants_taken), 0);
	CHECK_EQ(NIC(&wire, waits_no_buffer), 1);
	grant(wire.queue, 1);
	run(&wire);
	CHECK_EQ(unread(&wire), 3);
	CHECK_EQ(NIC(&wire, packets_dropped), 0);
	wire_free(&wire);
}

static void without_room_for_completions_no_reference_is_taken(void)
{
	struct zcrx_shape shape = small_shape();
	struct wire wire;

	shape.cq_entries = 2;
	wire_init_with(&wire, &shape, &plain, LENS(100, 100, 100, 5000));
	grant(wire.queue, 8);
	run(&wire);
	CHECK_EQ(unread(&wire), 2);
	CHECK_EQ(user_refs(&wire, 0), 2);
	CHECK_EQ(pp_refs(&wire, 0), 2);
	CHECK_EQ(NIC(&wire, dropped_cq_full), 2);
	CHECK_EQ(NIC(&wire, grants_taken), 1);
	wire_free(&wire);
}

static void a_large_packet_takes_all_its_completions_or_none(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct wire wire;

	shape.cq_entries = 4;
	params.wait_max_ns = UINT64_MAX;
	wire_init_with(&wire, &shape, &params, LENS(100, 100, 3 * 4096));
	grant(wire.queue, 8);
	run(&wire);
	CHECK_EQ(unread(&wire), 2);
	check_next(&wire, 0, 100);
	run(&wire);
	CHECK_EQ(unread(&wire), 4);
	CHECK_EQ(NIC(&wire, waits_cq_full), 1);
	wire_free(&wire);
}

static void a_packet_waits_for_room_as_long_as_it_may(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct wire wire;

	shape.cq_entries = 1;
	params.wait_max_ns = UINT64_MAX;
	wire_init_with(&wire, &shape, &params, LENS(100, 100, 100));
	grant(wire.queue, 8);
	for (uint32_t i = 0; i < 3; i++) {
		run(&wire);
		CHECK_EQ(unread(&wire), 1);
		check_next(&wire, 128 * i, 100);
	}
	CHECK_EQ(NIC(&wire, waits_cq_full), 2);
	CHECK_EQ(NIC(&wire, packets_dropped), 0);
	wire_free(&wire);
}

static void a_packet_that_waited_too_long_is_dropped(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;
	struct patience patience = {0};
	uint64_t start = check_now_ns();

	params.wait_max_ns = 20000000;
	wire_init(&wire, &params, LENS(100, 100));
	while (NIC(&wire, packets_dropped) < 2 && work_more(&patience))
		run(&wire);
	CHECK(check_now_ns() - start >= 2 * params.wait_max_ns);
	CHECK_EQ(NIC(&wire, dropped_no_buffer), 2);
	CHECK_EQ(NIC(&wire, waits_no_buffer), 2);
	wire_free(&wire);
}

static void a_hostile_completion_head_stops_delivery_and_nothing_else(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct wire wire;

	shape.cq_entries = 1;
	params.wait_max_ns = UINT64_MAX;
	wire_init_with(&wire, &shape, &params, LENS(100, 100));
	grant(wire.queue, 8);
	run(&wire);
	shm_store_release_u32(wire.queue->cq.head, 123456, POINT_CQ_HEAD_STORE);
	run(&wire);
	CHECK_EQ(NIC(&wire, fragments_delivered), 1);
	check_next(&wire, 0, 100); /* an honest head again */
	run(&wire);
	check_next(&wire, 128, 100);
	wire_free(&wire);
}

static void a_queue_without_buffers_does_not_hold_up_the_others(void)
{
	struct zcrx_nic_params params = plain;
	struct traffic traffic = LENS(4096, 4096, 4096);
	struct wire wire;

	params.wait_max_ns = UINT64_MAX;
	traffic.queues = 2;
	wire_init(&wire, &params, traffic);
	grant(&wire.queues[1], 8);
	run(&wire);
	CHECK_EQ(zcrx_cq_user_available(&wire.users[0]), 0);
	CHECK_EQ(zcrx_cq_user_available(&wire.users[1]), 3);
	grant(&wire.queues[0], 8);
	run(&wire);
	CHECK_EQ(zcrx_cq_user_available(&wire.users[0]), 3);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
	wire_free(&wire);
}

/* ---- copy fallback ------------------------------------------------------------------------ */

static void every_nth_packet_is_copied_into_a_free_buffer(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct wire wire;

	shape.num_niovs = 68; /* four stay free when the pool has taken its 64 */
	params.copy_every = 3;
	wire_init_with(&wire, &shape, &params, LENS(100, 200, 300, 400, 500, 600, 5000));
	grant(wire.queue, 8);
	run(&wire);
	check_next(&wire, 4 << 12, 100);
	check_next(&wire, (4 << 12) + 128, 200);
	check_next(&wire, 3 << 12, 300);
	check_next(&wire, 5 << 12, 400);
	check_next(&wire, (5 << 12) + 448, 500);
	check_next(&wire, 2 << 12, 600);
	check_next(&wire, 6 << 12, 4096); /* a large one never is */
	CHECK_EQ(NIC(&wire, copied_packets), 2);
	CHECK_EQ(NIC(&wire, copied_bytes), 900);
	CHECK_EQ(word_of(&wire.queue->area.niovs[3].pool), ZCRX_NO_POOL);
	CHECK_EQ(user_refs(&wire, 3), 1);
	CHECK_EQ(pp_refs(&wire, 3), 1);
	CHECK_EQ(zcrx_area_free_count(&wire.queue->area), 2);
	wire_free(&wire);
}

/* Nothing would bring a free buffer while the NIC waits for one: see offer_copied(). */
static void a_copy_without_a_free_buffer_is_placed_like_any_packet(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;

	params.copy_every = 3;
	wire_init(&wire, &params, LENS(100, 100, 100, 100, 100, 100, 100, 100));
	grant(wire.queue, 8);
	CHECK_EQ(zcrx_area_free_count(&wire.queue->area), 0);
	run(&wire);
	CHECK_EQ(NIC(&wire, packets_delivered), 8);
	CHECK_EQ(NIC(&wire, packets_dropped), 0);
	CHECK_EQ(NIC(&wire, copied_packets), 0);
	CHECK_EQ(NIC(&wire, copies_placed), 2);
	wire_free(&wire);
}

static void waiting_for_a_buffer_does_not_turn_a_packet_into_a_copy(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct wire wire;

	shape.num_niovs = 68;
	params.copy_every = 3;
	params.wait_max_ns = UINT64_MAX;
	wire_init_with(&wire, &shape, &params, LENS(100, 200, 300));
	run(&wire); /* many rounds, none with a buffer */
	CHECK_EQ(NIC(&wire, packets_offered), 0);
	grant(wire.queue, 8);
	run(&wire);
	CHECK_EQ(NIC(&wire, packets_delivered), 3);
	CHECK_EQ(NIC(&wire, copied_packets), 1);
	CHECK_EQ(NIC(&wire, copied_bytes), 300);
	wire_free(&wire);
}

/* ---- states ------------------------------------------------------------------------------- */

static void traffic_that_is_over_quiesces_by_itself(void)
{
	const struct zcrx_nic_params limits[] = {
		{.laps_max = 3, .listen_fd = -1},
		{.packets_max = 9, .listen_fd = -1},
		{.packets_max = 9, .laps_max = 100, .listen_fd = -1},
	};

	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		struct wire wire;

		wire_init(&wire, &limits[i], LENS(10, 20, 30));
		grant(wire.queue, 8);
		run(&wire);
		CHECK_EQ(NIC(&wire, packets_offered), 9);
		CHECK_EQ(NIC(&wire, packets_delivered), 9);
		CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
		CHECK_EQ(word_of(&wire.queue->nic->open_niov), 0);
		CHECK_EQ(pp_refs(&wire, 0), 9);
		run(&wire);
		CHECK_EQ(NIC(&wire, packets_offered), 9);
		wire_free(&wire);
	}
}

static void nothing_is_offered_before_traffic_and_after_quiesce(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;
	uint64_t offered;

	params.laps_max = 0;
	wire_init(&wire, &params, LENS(100));
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_STARTING);
	grant(wire.queue, 8);
	run(&wire);
	CHECK_EQ(NIC(&wire, packets_offered), 0);
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_TRAFFIC);
	run(&wire);
	offered = NIC(&wire, packets_offered);
	CHECK(offered > 0);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), 0);
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_QUIESCE);
	run(&wire);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
	CHECK_EQ(NIC(&wire, packets_offered), offered);
	CHECK_EQ(word_of(&wire.queue->nic->open_niov), 0);
	wire_free(&wire);
}

static void grants_are_returned_once_the_provider_grants_no_more(void)
{
	struct wire wire;

	wire_init(&wire, &plain, LENS(100));
	grant(wire.queue, 8);
	run(&wire);
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_DRAIN);
	run(&wire);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
	shm_store_release_u32(&wire.run->provider_ack, ZCRX_RUN_DRAIN, POINT_ACK);
	run(&wire);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_DRAIN);
	CHECK_EQ(count_of(&wire.queue->ifq.pools[0].shared->counters.recycle_ring), 7);
	CHECK_EQ(zcrx_grant_room(&wire.queue->grants), 8);
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_EXIT);
	CHECK_EQ(zcrx_nic_run(wire.nic, 1000), 1);
	wire_free(&wire);
}

static void paced_packets_are_not_offered_before_their_time(void)
{
	struct zcrx_nic_params params = plain;
	struct traffic traffic = LENS(100, 100, 100, 100);
	struct wire wire;
	struct patience patience = {0};
	uint64_t start = check_now_ns(), seen = 0;

	params.paced = 1;
	params.laps_max = 2;
	traffic.gap_ns = 5000000;
	wire_init(&wire, &params, traffic);
	grant(wire.queue, 8);
	while (zcrx_run_nic_ack(wire.run) < ZCRX_RUN_QUIESCE && work_more(&patience)) {
		run(&wire);
		for (; seen < NIC(&wire, packets_offered); seen++)
			CHECK(check_now_ns() - start >= seen * traffic.gap_ns);
	}
	CHECK_EQ(seen, 8);
	wire_free(&wire);
}

/* ---- users ---------------------------------------------------------------------------------- */

static void without_a_user_nothing_is_delivered(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;
	uint64_t offered;

	params.laps_max = 0;
	wire_init(&wire, &params, LENS(100));
	grant(wire.queue, 8);
	run(&wire);
	zcrx_queue_set_user(wire.queue, 0);
	run(&wire);
	CHECK_EQ(word_of(&wire.queue->user->nic), 0);
	CHECK_EQ(word_of(&wire.queue->nic->open_niov), 0);
	offered = NIC(&wire, packets_offered);
	run(&wire);
	CHECK_EQ(NIC(&wire, packets_offered), offered);
	CHECK(!zcrx_queue_user_is(wire.queue, 0)); /* the provider has not followed */
	shm_store_release_u32(&wire.queue->user->provider, 0, POINT_USER);
	CHECK(zcrx_queue_user_is(wire.queue, 0));
	wire_free(&wire);
}

static void a_new_user_finds_the_completion_queue_empty(void)
{
	struct zcrx_nic_params params = plain;
	struct wire wire;

	params.laps_max = 0;
	params.packets_max = 74; /* 64 of them fill the completion queue */
	params.wait_max_ns = UINT64_MAX;
	wire_init(&wire, &params, LENS(64));
	grant(wire.queue, 8);
	run(&wire);
	CHECK_EQ(unread(&wire), 64);
	zcrx_queue_set_user(wire.queue, 0);
	run(&wire);
	shm_store_release_u32(wire.queue->cq.head, 99, POINT_CQ_HEAD_STORE); /* its last word */
	zcrx_queue_set_user(wire.queue, 2);
	run(&wire);
	CHECK_EQ(word_of(&wire.queue->user->nic), 2);
	wire.users[0].cached_head = word_of(wire.queue->cq.head);
	CHECK_EQ(wire.users[0].cached_head, (uint32_t)(wire.queue->shape.initial_index + 64));
	CHECK_EQ(unread(&wire), 10);
	CHECK_EQ(NIC(&wire, packets_dropped), 0);
	wire_free(&wire);
}

CHECK_MAIN(CASE(small_packets_share_a_buffer_at_multiples_of_64),
	   CASE(a_buffer_that_is_cut_halfway_keeps_the_stacks_reference),
	   CASE(the_newest_grant_is_taken_first_if_that_is_wished),
	   CASE(a_packet_that_fills_its_buffer_leaves_none_of_it),
	   CASE(a_large_packet_is_cut_into_buffers_of_its_own),
	   CASE(the_payload_in_the_area_is_that_of_the_packet),
	   CASE(a_burst_may_end_with_the_largest_packet_in_the_smallest_buffers),
	   CASE(each_completion_has_its_note_in_the_ledger),
	   CASE(a_granted_buffer_that_is_the_users_is_reported),
	   CASE(without_buffers_packets_are_dropped_and_counted),
	   CASE(a_queue_that_stands_still_says_since_when_and_where_its_buffers_are),
	   CASE(a_large_packet_takes_all_its_buffers_or_none),
	   CASE(without_room_for_completions_no_reference_is_taken),
	   CASE(a_large_packet_takes_all_its_completions_or_none),
	   CASE(a_packet_waits_for_room_as_long_as_it_may),
	   CASE(a_packet_that_waited_too_long_is_dropped),
	   CASE(a_hostile_completion_head_stops_delivery_and_nothing_else),
	   CASE(a_queue_without_buffers_does_not_hold_up_the_others),
	   CASE(every_nth_packet_is_copied_into_a_free_buffer),
	   CASE(a_copy_without_a_free_buffer_is_placed_like_any_packet),
	   CASE(waiting_for_a_buffer_does_not_turn_a_packet_into_a_copy),
	   CASE(traffic_that_is_over_quiesces_by_itself),
	   CASE(nothing_is_offered_before_traffic_and_after_quiesce),
	   CASE(grants_are_returned_once_the_provider_grants_no_more),
	   CASE(paced_packets_are_not_offered_before_their_time),
	   CASE(without_a_user_nothing_is_delivered),
	   CASE(a_new_user_finds_the_completion_queue_empty))
