/* SPDX-License-Identifier: MIT */
/*
 * The NIC's faults, step by step in one thread: what the user of a queue finds
 * in its completions and in the ledger, which references stand behind it, and
 * that what was offered is always what was delivered and what was dropped.
 */
#include "judge/audit.h"
#include "rules.h"
#include "wire.h"

/* What a completion and its note say of a fragment. */
struct seen {
	uint64_t off;
	uint32_t flow, seq, mark, len;
	bool bytes_are_right;
};

static struct seen see(struct wire *wire, uint32_t queue)
{
	struct zcrx_queue *of = &wire->queues[queue];
	struct zcrx_ledger_entry *note = &of->ledger[wire->users[queue].cached_head & of->cq.mask];
	uint64_t flow_seq = count_of(&note->flow_seq);
	struct zcrx_cqe32 cqe = next_of(wire, queue);

	return (struct seen){
		.off = cqe.zcrx.off,
		.flow = (uint32_t)cqe.cqe.user_data,
		.seq = (uint32_t)flow_seq,
		.mark = (uint32_t)(flow_seq >> 56),
		.len = (uint32_t)cqe.cqe.res,
		.bytes_are_right =
			zcrx_crc32c(of->area.bytes + cqe.zcrx.off, (size_t)cqe.cqe.res) ==
			count_of(&note->crc_generation) >> 32,
	};
}

/* The next fragment of the first queue has this sequence number, length and mark. */
static struct seen check_seen(struct wire *wire, uint32_t seq, uint32_t len, uint32_t mark)
{
	struct seen seen = see(wire, 0);

	CHECK_EQ(seen.seq, seq);
	CHECK_EQ(seen.len, len);
	CHECK_EQ(seen.mark, mark);
	return seen;
}

static void init(struct wire *wire, struct traffic traffic, const struct zcrx_fault_rule *rules,
		 uint32_t rule_count)
{
	struct zcrx_shape shape = small_shape();

	wire_init_faulty(wire, &shape, &plain, traffic, rules, rule_count);
	grant(wire->queue, 8);
}

static void init_one(struct wire *wire, struct traffic traffic, struct zcrx_fault_rule rule)
{
	init(wire, traffic, &rule, 1);
}

static uint64_t injected(const struct wire *wire, uint32_t rule)
{
	return count_of(&wire->queue->nic->injected[rule]);
}

static void check_balance(const struct wire *wire)
{
	CHECK_EQ(NIC(wire, packets_offered),
		 NIC(wire, packets_delivered) + NIC(wire, packets_dropped));
}

static void use(struct wire *wire, uint32_t user)
{
	zcrx_queue_set_user(wire->queue, user);
	run(wire);
	CHECK_EQ(word_of(&wire->queue->user->nic), user);
}

static struct zcrx_fault_rule with(uint32_t kind, uint64_t at, uint32_t one, uint32_t two)
{
	struct zcrx_fault_rule rule = rule_with(kind, at, one);

	rule.params[1] = two;
	return rule;
}

/* ---- one of them a packet ---------------------------------------------------------- */

static void the_first_rule_of_the_plan_has_the_packet(void)
{
	const struct zcrx_fault_rule rules[] = {
		rule_at(ZCRX_FAULT_NIC_CORRUPT, 1),
		rule_at(ZCRX_FAULT_NIC_DROP, 1),
		rule_at(ZCRX_FAULT_NIC_DUPLICATE, 1),
	};
	struct wire wire;

	init(&wire, LENS(100, 100, 100), rules, 3);
	run(&wire);
	check_seen(&wire, 0, 100, 0);
	CHECK(!check_seen(&wire, 1, 100, 1).bytes_are_right);
	check_seen(&wire, 2, 100, 0);
	CHECK_EQ(unread(&wire), 0);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(injected(&wire, 1) + injected(&wire, 2), 0);
	wire_free(&wire);
}

static void what_finds_no_room_is_not_counted_as_done(void)
{
	const uint32_t kinds[] = {ZCRX_FAULT_NIC_CORRUPT, ZCRX_FAULT_NIC_DUPLICATE,
				  ZCRX_FAULT_NIC_TRUNCATE, ZCRX_FAULT_NIC_TINY};

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		struct zcrx_shape shape = small_shape();
		struct zcrx_fault_rule rule = rule_with(kinds[i], 0, 10);
		struct wire wire;

		wire_init_faulty(&wire, &shape, &plain, LENS(5000), &rule, 1);
		run(&wire);
		CHECK_EQ(NIC(&wire, packets_dropped), 1);
		CHECK_EQ(injected(&wire, 0), 0);
		CHECK_EQ(unread(&wire), 0);
		check_balance(&wire);
		wire_free(&wire);
	}
}

static void the_consumer_is_told_what_a_mark_stands_for(void)
{
	const struct zcrx_fault_rule rules[] = {rule_of(ZCRX_FAULT_NONE),
						rule_at(ZCRX_FAULT_NIC_REORDER, 7)};
	struct wire wire;

	init(&wire, LENS(100), rules, 2);
	CHECK_EQ(word_of(&wire.queue->notes->mark_kinds[0]), ZCRX_FAULT_NONE);
	CHECK_EQ(word_of(&wire.queue->notes->mark_kinds[1]), ZCRX_FAULT_NIC_REORDER);
	wire_free(&wire);
}

/* ---- nic-duplicate --------------------------------------------------------------------- */

static void a_copy_has_other_bytes_and_the_same_sequence(void)
{
	struct wire wire;
	struct seen first, copy;

	init_one(&wire, LENS(100, 5000, 200), rule_at(ZCRX_FAULT_NIC_DUPLICATE, 1));
	run(&wire);
	check_seen(&wire, 0, 100, 0);
	first = check_seen(&wire, 1, 4096, 0);
	check_seen(&wire, 2, 904, 0);
	copy = check_seen(&wire, 1, 4096, 1);
	CHECK(copy.off != first.off);
	CHECK(copy.bytes_are_right);
	CHECK(check_seen(&wire, 2, 904, 1).bytes_are_right);
	check_seen(&wire, 3, 200, 0);
	CHECK_EQ(unread(&wire), 0);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(NIC(&wire, packets_offered), 3);
	CHECK_EQ(NIC(&wire, packets_delivered), 3);
	CHECK_EQ(NIC(&wire, fragments_delivered), 6);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].next_seq), 4);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].delivered), 6);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].repeated), 2);
	for (uint32_t niov = 0; niov < 6; niov++)
		CHECK_EQ(user_refs(&wire, niov), pp_refs(&wire, niov));
	wire_free(&wire);
}

static void a_copy_of_the_last_packet_comes_too(void)
{
	struct wire wire;

	init_one(&wire, LENS(100, 200), rule_at(ZCRX_FAULT_NIC_DUPLICATE, 1));
	run(&wire);
	CHECK_EQ(unread(&wire), 3);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
	wire_free(&wire);
}

static void a_copy_waits_for_room_like_a_packet(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_NIC_DUPLICATE, 0);
	struct wire wire;

	shape.cq_entries = 1;
	params.wait_max_ns = UINT64_MAX;
	wire_init_faulty(&wire, &shape, &params, LENS(100, 100), &rule, 1);
	grant(wire.queue, 8);
	run(&wire);
	check_seen(&wire, 0, 100, 0);
	CHECK_EQ(injected(&wire, 0), 0);
	run(&wire);
	check_seen(&wire, 0, 100, 1);
	CHECK_EQ(injected(&wire, 0), 1);
	run(&wire);
	check_seen(&wire, 1, 100, 0);
	wire_free(&wire);
}

static void a_copy_without_room_is_given_up_and_not_counted(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_NIC_DUPLICATE, 0);
	struct wire wire;

	shape.cq_entries = 1;
	wire_init_faulty(&wire, &shape, &plain, LENS(100), &rule, 1);
	grant(wire.queue, 8);
	run(&wire);
	CHECK_EQ(unread(&wire), 1);
	CHECK_EQ(injected(&wire, 0), 0);
	CHECK_EQ(NIC(&wire, packets_dropped), 0);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].repeated), 0);
	check_balance(&wire);
	wire_free(&wire);
}

/* ---- nic-reorder ------------------------------------------------------------------------- */

static void a_late_packet_keeps_the_sequence_of_its_place(void)
{
	struct wire wire;

	init_one(&wire, LENS(100, 5000, 200, 300, 400), rule_with(ZCRX_FAULT_NIC_REORDER, 1, 2));
	run(&wire);
	check_seen(&wire, 0, 100, 0);
	check_seen(&wire, 3, 200, 0);
	check_seen(&wire, 4, 300, 0);
	CHECK(check_seen(&wire, 1, 4096, 1).bytes_are_right);
	CHECK(check_seen(&wire, 2, 904, 1).bytes_are_right);
	check_seen(&wire, 5, 400, 0);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(NIC(&wire, packets_delivered), 5);
	CHECK_EQ(NIC(&wire, bytes_offered), 6000);
	CHECK_EQ(NIC(&wire, bytes_delivered), 6000);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].delivered), 6);
	CHECK_EQ(word_of(&wire.queue->flows_sent[0].next_seq), 6);
	check_balance(&wire);
	wire_free(&wire);
}

static void while_one_is_kept_no_other_is(void)
{
	struct zcrx_fault_rule rule = rule_every(ZCRX_FAULT_NIC_REORDER, 1);
	const uint32_t seqs[] = {1, 2, 0, 4, 5, 3};
	struct wire wire;

	rule.params[0] = 2;
	init_one(&wire, LENS(100, 100, 100, 100, 100, 100), rule);
	run(&wire);
	for (uint32_t i = 0; i < 6; i++)
		check_seen(&wire, seqs[i], 100, i % 3 == 2);
	CHECK_EQ(injected(&wire, 0), 2);
	wire_free(&wire);
}

static void what_is_late_at_the_end_of_the_traffic_comes_then(void)
{
	struct wire wire;

	init_one(&wire, LENS(100, 200, 300), rule_with(ZCRX_FAULT_NIC_REORDER, 1, 63));
	run(&wire);
	check_seen(&wire, 0, 100, 0);
	check_seen(&wire, 2, 300, 0);
	check_seen(&wire, 1, 200, 1);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
	CHECK_EQ(NIC(&wire, packets_delivered), 3);
	check_balance(&wire);
	wire_free(&wire);
}

static void init_kept(struct wire *wire, struct zcrx_shape *shape)
{
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_NIC_REORDER, 1, 63);

	params.laps_max = 0;
	params.wait_max_ns = UINT64_MAX;
	wire_init_faulty(wire, shape, &params, LENS(4096), &rule, 1);
	grant(wire->queue, 8);
	run(wire);
	CHECK_EQ(NIC(wire, packets_offered), 8); /* without the one that is kept */
	CHECK_EQ(word_of(&wire->queue->flows_sent[0].next_seq), 9);
	check_balance(wire);
}

static void what_is_late_at_quiesce_comes_then(void)
{
	struct zcrx_shape shape = small_shape();
	struct wire wire;

	shape.num_niovs = 9;
	init_kept(&wire, &shape);
	grant(wire.queue, 1);
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_QUIESCE);
	run(&wire);
	CHECK_EQ(NIC(&wire, packets_delivered), 9);
	CHECK_EQ(NIC(&wire, packets_dropped), 0);
	CHECK_EQ(word_of(&wire.queue->nic->open_niov), 0);
	check_balance(&wire);
	wire_free(&wire);
}

static void what_is_late_at_quiesce_without_room_is_dropped(void)
{
	struct zcrx_shape shape = small_shape();
	struct wire wire;

	init_kept(&wire, &shape);
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_QUIESCE);
	run(&wire);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
	CHECK_EQ(NIC(&wire, packets_delivered), 8);
	CHECK_EQ(NIC(&wire, packets_dropped), 1);
	CHECK_EQ(NIC(&wire, dropped_no_buffer), 1);
	CHECK_EQ(NIC(&wire, fragments_dropped), 1);
	check_balance(&wire);
	wire_free(&wire);
}

static void what_is_late_goes_with_its_user(void)
{
	struct zcrx_shape shape = small_shape();
	struct wire wire;

	init_kept(&wire, &shape);
	use(&wire, 0);
	CHECK_EQ(NIC(&wire, packets_offered), 9);
	CHECK_EQ(NIC(&wire, packets_dropped), 1);
	check_balance(&wire);
	for (uint32_t niov = 0; niov < 8; niov++)
		zcrx_queue_scrub(wire.queue, NULL);
	use(&wire, 2);
	wire.users[0].cached_head = word_of(wire.queue->cq.head);
	grant(wire.queue, 8);
	run(&wire);
	while (unread(&wire))
		CHECK_EQ(see(&wire, 0).mark, 0);
	CHECK_EQ(NIC(&wire, packets_delivered), 16);
	wire_free(&wire);
}

static void a_late_packet_that_waited_too_long_is_dropped_and_counted(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_NIC_REORDER, 0, 1);
	struct wire wire;

	shape.cq_entries = 1;
	wire_init_faulty(&wire, &shape, &plain, LENS(100, 100), &rule, 1);
	grant(wire.queue, 8);
	run(&wire);
	check_seen(&wire, 1, 100, 0);
	CHECK_EQ(unread(&wire), 0);
	CHECK_EQ(NIC(&wire, packets_dropped), 1);
	CHECK_EQ(NIC(&wire, dropped_cq_full), 1);
	CHECK_EQ(NIC(&wire, fragments_dropped), 1);
	check_balance(&wire);
	wire_free(&wire);
}

/* ---- nic-truncate ------------------------------------------------------------------------- */

static void a_packet_is_cut_short_where_its_user_can_see_it(void)
{
	const uint32_t lens[] = {2, 64, 100, 4096, 4097, 5000, 8192, 8193, 12288};
	const uint32_t keeps[] = {1, 63, 64, 4095, 4096, 4097, 8192};

	for (uint32_t i = 0; i < COUNT_OF(lens) * COUNT_OF(keeps); i++) {
		uint32_t len = lens[i % COUNT_OF(lens)], keep = keeps[i / COUNT_OF(lens)];
		/* Between what is kept and the whole there is but the end of a buffer. */
		bool is_possible = len > keep && !(len == keep + 1 && keep % 4096 == 0);
		struct wire wire;
		uint32_t got = 0, seq = 0;

		init_one(&wire, LENS(len), rule_with(ZCRX_FAULT_NIC_TRUNCATE, 0, keep));
		run(&wire);
		while (unread(&wire)) {
			struct seen seen = see(&wire, 0);
			bool is_last = unread(&wire) == 0;

			CHECK_EQ(seen.seq, seq++);
			CHECK_EQ(seen.mark, is_possible && is_last ? 1 : 0);
			CHECK(seen.bytes_are_right == (seen.mark == 0));
			got += seen.len;
		}
		CHECK_EQ(injected(&wire, 0), is_possible);
		if (is_possible)
			CHECK(got >= keep && got < len);
		else
			CHECK_EQ(got, len);
		CHECK_EQ(word_of(&wire.queue->flows_sent[0].next_seq), (len + 4095) / 4096);
		CHECK_EQ(NIC(&wire, fragments_dropped), (len + 4095) / 4096 - seq);
		CHECK_EQ(NIC(&wire, packets_delivered), 1);
		CHECK_EQ(NIC(&wire, bytes_delivered), got);
		wire_free(&wire);
	}
}

/* ---- nic-tiny ------------------------------------------------------------------------------- */

static void tiny_fragments_start_at_multiples_of_64(void)
{
	struct wire wire;

	init_one(&wire, LENS(10, 300, 20), rule_with(ZCRX_FAULT_NIC_TINY, 1, 4));
	run(&wire);
	check_seen(&wire, 0, 10, 0);
	for (uint32_t i = 0; i < 4; i++) {
		struct seen seen = check_seen(&wire, 1 + i, 1, 0);

		CHECK_EQ(seen.off, (1 << 12) + 64 * i);
		CHECK(seen.bytes_are_right);
	}
	CHECK(check_seen(&wire, 5, 296, 0).bytes_are_right);
	check_seen(&wire, 6, 20, 0);
	CHECK_EQ(user_refs(&wire, 1), 4);
	CHECK_EQ(pp_refs(&wire, 1), 4);
	CHECK_EQ(user_refs(&wire, 2), 1);
	CHECK_EQ(pp_refs(&wire, 2), 1);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(NIC(&wire, packets_delivered), 3);
	CHECK_EQ(NIC(&wire, bytes_delivered), 330);
	wire_free(&wire);
}

static void a_buffer_holds_64_of_them(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_NIC_TINY, 0, 130);
	struct wire wire;

	shape.cq_entries = 256;
	wire_init_faulty(&wire, &shape, &plain, LENS(130), &rule, 1);
	grant(wire.queue, 8);
	run(&wire);
	CHECK_EQ(unread(&wire), 130); /* nothing is left for the rest */
	CHECK_EQ(NIC(&wire, grants_taken), 3);
	for (uint32_t niov = 0; niov < 3; niov++) {
		CHECK_EQ(user_refs(&wire, niov), niov < 2 ? 64 : 2);
		CHECK_EQ(pp_refs(&wire, niov), niov < 2 ? 64 : 2);
	}
	CHECK_EQ(word_of(&wire.queue->nic->open_niov), 0);
	wire_free(&wire);
}

static void a_storm_is_no_larger_than_what_can_be_there(void)
{
	struct wire wire;

	/* 64 completions, one of which is the rest's. */
	init_one(&wire, LENS(4096), rule_with(ZCRX_FAULT_NIC_TINY, 0, 1024));
	run(&wire);
	CHECK_EQ(unread(&wire), 64);
	CHECK_EQ(NIC(&wire, packets_delivered), 1);
	wire_free(&wire);
}

static void a_storm_takes_all_its_room_or_none(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_NIC_TINY, 0, 60);
	struct wire wire;

	params.wait_max_ns = UINT64_MAX;
	wire_init_faulty(&wire, &shape, &params, LENS(100), &rule, 1);
	grant(wire.queue, 1);
	run(&wire);
	CHECK_EQ(unread(&wire), 0);
	CHECK_EQ(NIC(&wire, grants_taken), 0);
	CHECK_EQ(user_refs(&wire, 0), 0);
	grant(wire.queue, 1);
	run(&wire);
	CHECK_EQ(unread(&wire), 61);
	CHECK_EQ(injected(&wire, 0), 1);
	wire_free(&wire);
}

static void a_packet_of_one_byte_is_no_storm(void)
{
	struct wire wire;

	init_one(&wire, LENS(1), rule_with(ZCRX_FAULT_NIC_TINY, 0, 64));
	run(&wire);
	check_seen(&wire, 0, 1, 0);
	CHECK_EQ(injected(&wire, 0), 0);
	wire_free(&wire);
}

/* As many buffers of a burst as there can be. */
static void a_burst_may_end_with_the_largest_storm_in_the_smallest_buffers(void)
{
	uint32_t lens[64];
	struct traffic traffic = {.lens = lens,
				  .lens_count = 64,
				  .packets = 64,
				  .queues = 1,
				  .flows = 1,
				  .niov_shift = 6};
	struct zcrx_shape shape = small_shape();
	struct zcrx_fault_rule rule = rule_with(ZCRX_FAULT_NIC_TINY, 63, 1024);
	struct wire wire;

	for (uint32_t i = 0; i < 64; i++)
		lens[i] = i < 63 ? 64 : ZCRX_PACKET_MAX;
	shape.niov_shift = 6;
	shape.num_niovs = 8192;
	shape.grant_entries = 4096;
	shape.cq_entries = 4096;
	wire_init_faulty(&wire, &shape, &plain, traffic, &rule, 1);
	grant(wire.queue, 4096);
	run(&wire);
	CHECK_EQ(unread(&wire), 63 + 1024 + (65536 - 1024) / 64);
	CHECK_EQ(NIC(&wire, grants_taken), unread(&wire));
	CHECK_EQ(injected(&wire, 0), 1);
	wire_free(&wire);
}

/* ---- cq-full ---------------------------------------------------------------------------------- */

static void a_queue_said_to_be_full_drops_like_a_full_one(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = rule_at(ZCRX_FAULT_CQ_FULL, 1);
	struct wire wire;

	params.wait_max_ns = UINT64_MAX; /* and does not wait for it */
	wire_init_faulty(&wire, &shape, &params, LENS(100, 5000, 100), &rule, 1);
	grant(wire.queue, 8);
	run(&wire);
	check_seen(&wire, 0, 100, 0);
	check_seen(&wire, 3, 100, 0);
	CHECK_EQ(unread(&wire), 0);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(NIC(&wire, waits_cq_full), 1);
	CHECK_EQ(NIC(&wire, dropped_cq_full), 1);
	CHECK_EQ(NIC(&wire, packets_dropped), 1);
	CHECK_EQ(NIC(&wire, fragments_dropped), 2);
	CHECK_EQ(NIC(&wire, grants_taken), 1);
	CHECK_EQ(user_refs(&wire, 0), 2);
	CHECK_EQ(pp_refs(&wire, 0), 2);
	check_balance(&wire);
	wire_free(&wire);
}

/* ---- nic-hold ---------------------------------------------------------------------------------- */

static struct zcrx_places places_of(struct wire *wire)
{
	struct zcrx_places places;

	zcrx_places_read(wire->queue, &places);
	return places;
}

static uint64_t by_ptr_ring(const struct wire *wire)
{
	return count_of(&wire->queue->ifq.pools[0].shared->counters.recycle_ring);
}

/* Traffic without end, so that what is held stays so until its time comes. */
static void init_held(struct wire *wire, uint32_t count, uint32_t packets, uint64_t packets_max)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_NIC_HOLD, 1, count, packets);

	params.laps_max = 0;
	params.packets_max = packets_max;
	params.wait_max_ns = UINT64_MAX;
	shape.grant_entries = 16;
	shape.num_niovs = 16;
	wire_init_faulty(wire, &shape, &params, LENS(4096), &rule, 1);
	grant(wire->queue, 16);
}

static void held_buffers_go_back_through_the_pool_in_time(void)
{
	struct wire wire;

	init_held(&wire, 3, 5, 7);
	run(&wire);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(NIC(&wire, packets_delivered), 7);
	CHECK_EQ(word_of(&wire.queue->nic->held_count), 0);
	CHECK_EQ(by_ptr_ring(&wire), 3);
	/* Packet 0 had niov 0; 1, 2 and 3 were held. */
	for (uint32_t i = 0; i < 7; i++)
		CHECK_EQ(see(&wire, 0).off >> 12, i == 0 ? 0 : i + 3);
	wire_free(&wire);
}

/*
 * The rule holds `count` of 8 granted buffers back at the first packet; then a
 * completion queue of so many entries brings the traffic to a halt.
 */
static void init_halted(struct wire *wire, uint32_t count, uint32_t cq_entries)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_NIC_HOLD, 0, count, 1000);

	params.laps_max = 0;
	params.wait_max_ns = UINT64_MAX;
	shape.cq_entries = cq_entries;
	wire_init_faulty(wire, &shape, &params, LENS(4096), &rule, 1);
	grant(wire->queue, 8);
	run(wire);
}

static void held_buffers_are_with_the_nic(void)
{
	struct zcrx_audit audit;
	struct wire wire;

	init_halted(&wire, 3, 4); /* it comes to a halt while buffers are there */
	CHECK_EQ(word_of(&wire.queue->nic->held_count), 3);
	CHECK_EQ(places_of(&wire).nic, 4); /* and the last one that was filled, still open */
	CHECK_EQ(places_of(&wire).grant_ring, 1);
	CHECK_EQ(zcrx_audit_run(wire.queue, &audit), 0);
	CHECK_EQ(audit.places.nic, 4);
	CHECK_EQ(audit.lost, 0);
	CHECK_EQ(audit.doubled, 0);
	wire_free(&wire);
}

static void half_of_the_grants_are_never_held(void)
{
	struct wire wire;

	init_halted(&wire, 4096, 1);
	CHECK_EQ(word_of(&wire.queue->nic->held_count), 4);
	CHECK_EQ(unread(&wire), 1);
	wire_free(&wire);
}

static void a_queue_that_runs_short_gets_all_of_them_back(void)
{
	struct wire wire;

	init_held(&wire, 8, 1000000, 0);
	run(&wire);
	CHECK_EQ(injected(&wire, 0), 1);
	CHECK_EQ(word_of(&wire.queue->nic->held_count), 0);
	CHECK_EQ(by_ptr_ring(&wire), 7); /* half of the 15 that were left */
	CHECK_EQ(NIC(&wire, packets_delivered), 9);
	grant(wire.queue, 16);
	run(&wire);
	CHECK_EQ(NIC(&wire, packets_delivered), 16);
	wire_free(&wire);
}

static void with_nothing_to_hold_nothing_is_counted(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_NIC_HOLD, 0, 4, 4);
	struct wire wire;

	wire_init_faulty(&wire, &shape, &plain, LENS(100), &rule, 1);
	grant(wire.queue, 1);
	run(&wire);
	CHECK_EQ(injected(&wire, 0), 0);
	CHECK_EQ(unread(&wire), 1);
	wire_free(&wire);
}

static void held_buffers_are_back_before_the_drain(void)
{
	struct wire wire;

	init_halted(&wire, 3, 1);
	CHECK_EQ(word_of(&wire.queue->nic->held_count), 3);
	zcrx_run_set_state(wire.run, wire.bells, ZCRX_RUN_QUIESCE);
	run(&wire);
	CHECK_EQ(zcrx_run_nic_ack(wire.run), ZCRX_RUN_QUIESCE);
	CHECK_EQ(word_of(&wire.queue->nic->held_count), 0);
	CHECK_EQ(by_ptr_ring(&wire), 3);
	CHECK_EQ(places_of(&wire).nic, 0);
	wire_free(&wire);
}

/* ---- nic-burst and clock-jump ------------------------------------------------------------------ */

static const uint32_t len_64 = 64;
static const struct traffic two_queues = {
	.lens = &len_64,
	.lens_count = 1,
	.packets = 200,
	.queues = 2,
	.flows = 1,
	.niov_shift = 12,
};

static void a_burst_leaves_the_other_queues_no_turn(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_NIC_BURST, 0, 150, 0);
	struct wire wire;

	shape.cq_entries = 256;
	shape.grant_entries = 8;
	rule.queue = 0;
	params.packets_max = 200;
	wire_init_faulty(&wire, &shape, &params, two_queues, &rule, 1);
	grant(&wire.queues[0], 8);
	grant(&wire.queues[1], 8);
	run(&wire);
	CHECK_EQ(injected(&wire, 0), 1);
	/* Turns are of 64: the burst takes three of them, where the other has one. */
	CHECK_EQ(count_of(&wire.queues[0].nic->packets_offered), 192);
	CHECK_EQ(count_of(&wire.queues[1].nic->packets_offered), 8);
	wire_free(&wire);
}

static void a_burst_that_finds_no_room_lets_the_others_on(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_NIC_BURST, 0, 150, 0);
	struct wire wire;

	rule.queue = 0;
	params.wait_max_ns = UINT64_MAX;
	wire_init_faulty(&wire, &shape, &params, two_queues, &rule, 1);
	grant(&wire.queues[0], 1);
	grant(&wire.queues[1], 1);
	run(&wire);
	CHECK_EQ(count_of(&wire.queues[0].nic->packets_offered), 64);
	CHECK_EQ(count_of(&wire.queues[1].nic->packets_offered), 64);
	wire_free(&wire);
}

/* Paced, one packet each `gap_ms`; for each packet: when it was offered, in ms since the start. */
static void run_paced(struct wire *wire, uint32_t packets, uint64_t gap_ms, uint64_t *ms,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct traffic traffic = LENS(64);
	struct patience patience = {0};
	uint64_t start, seen = 0;

	traffic.packets = packets;
	traffic.gap_ns = gap_ms * 1000000;
	params.paced = 1;
	wire_init_faulty(wire, &shape, &params, traffic, rules, rule_count);
	grant(wire->queue, 8);
	start = check_now_ns();
	while (seen < packets && work_more(&patience)) {
		uint64_t now;

		run(wire);
		now = check_now_ns();
		for (; seen < NIC(wire, packets_offered); seen++)
			ms[seen] = (now - start) / 1000000;
	}
	CHECK_EQ(seen, packets);
}

/* A packet can be seen later than it was offered, never earlier. */
static void a_burst_is_kept_until_its_last_packet_is_due(void)
{
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_NIC_BURST, 1, 3, 0);
	struct wire wire;
	uint64_t ms[6];

	run_paced(&wire, 6, 10, ms, &rule, 1);
	for (uint32_t i = 1; i < 4; i++)
		CHECK(ms[i] >= 30);
	CHECK_EQ(ms[1], ms[3]); /* in one run of the loop */
	CHECK(ms[4] >= 40);
	wire_free(&wire);
}

static void a_burst_longer_than_the_traffic_is_kept_until_its_end(void)
{
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_NIC_BURST, 0, 4096, 0);
	struct wire wire;
	uint64_t ms[4];

	run_paced(&wire, 4, 10, ms, &rule, 1);
	CHECK(ms[0] >= 30);
	CHECK_EQ(ms[0], ms[3]);
	wire_free(&wire);
}

static void a_clock_that_jumps_forward_makes_everything_due(void)
{
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_CLOCK_JUMP, 0, 3600000, ZCRX_CLOCK_FORWARD);
	struct wire wire;
	uint64_t ms[40];

	/* Paced by the true clock the last would be due after 39 minutes. */
	run_paced(&wire, 40, 60000, ms, &rule, 1);
	CHECK_EQ(ms[0], ms[39]);
	CHECK_EQ(injected(&wire, 0), 1);
	wire_free(&wire);
}

static void a_clock_that_jumps_back_must_catch_up(void)
{
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_CLOCK_JUMP, 1, 40, ZCRX_CLOCK_BACK);
	struct wire wire;
	uint64_t ms[3];

	run_paced(&wire, 3, 5, ms, &rule, 1);
	CHECK(ms[1] >= 45); /* the packet at which it jumped among them */
	CHECK(ms[2] >= 50);
	CHECK_EQ(injected(&wire, 0), 1);
	wire_free(&wire);
}

/* Time limits go by another clock: with this one an hour ahead a packet still waits its time. */
static void a_jump_changes_no_time_limit(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = plain;
	struct zcrx_fault_rule rule = with(ZCRX_FAULT_CLOCK_JUMP, 0, 3600000, ZCRX_CLOCK_FORWARD);
	struct patience patience = {0};
	struct wire wire;
	uint64_t start = check_now_ns();

	params.paced = 1;
	params.wait_max_ns = 20000000;
	wire_init_faulty(&wire, &shape, &params, LENS(100, 100), &rule, 1);
	while (NIC(&wire, packets_dropped) < 2 && work_more(&patience))
		run(&wire);
	CHECK(check_now_ns() - start >= 2 * params.wait_max_ns);
	wire_free(&wire);
}

static void without_pacing_a_jump_has_no_effect(void)
{
	struct wire wire;

	init_one(&wire, LENS(100, 100, 100),
		 with(ZCRX_FAULT_CLOCK_JUMP, 1, 3600000, ZCRX_CLOCK_BACK));
	run(&wire);
	CHECK_EQ(NIC(&wire, packets_delivered), 3);
	CHECK_EQ(injected(&wire, 0), 1);
	wire_free(&wire);
}

/* ---- the copy fallback ---------------------------------------------------------------------- */

static void the_turn_for_the_copy_fallback_passes_on(void)
{
	const uint32_t kinds[] = {ZCRX_FAULT_NIC_TINY, ZCRX_FAULT_NIC_REORDER};

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		struct zcrx_shape shape = small_shape();
		struct zcrx_nic_params params = plain;
		struct zcrx_fault_rule rule = rule_with(kinds[i], 1, 2);
		struct wire wire;

		params.copy_every = 2;
		shape.num_niovs = 72; /* some stay on the freelist */
		wire_init_faulty(&wire, &shape, &params, LENS(100, 200, 300, 400), &rule, 1);
		grant(wire.queue, 8);
		run(&wire);
		CHECK_EQ(injected(&wire, 0), 1);
		CHECK_EQ(NIC(&wire, packets_delivered), 4);
		CHECK_EQ(NIC(&wire, copied_packets), 1);
		CHECK_EQ(NIC(&wire, copied_bytes), 300);
		wire_free(&wire);
	}
}

CHECK_MAIN(CASE(the_first_rule_of_the_plan_has_the_packet),
	   CASE(what_finds_no_room_is_not_counted_as_done),
	   CASE(the_consumer_is_told_what_a_mark_stands_for),
	   CASE(a_copy_has_other_bytes_and_the_same_sequence),
	   CASE(a_copy_of_the_last_packet_comes_too), CASE(a_copy_waits_for_room_like_a_packet),
	   CASE(a_copy_without_room_is_given_up_and_not_counted),
	   CASE(a_late_packet_keeps_the_sequence_of_its_place), CASE(while_one_is_kept_no_other_is),
	   CASE(what_is_late_at_the_end_of_the_traffic_comes_then),
	   CASE(what_is_late_at_quiesce_comes_then),
	   CASE(what_is_late_at_quiesce_without_room_is_dropped),
	   CASE(what_is_late_goes_with_its_user),
	   CASE(a_late_packet_that_waited_too_long_is_dropped_and_counted),
	   CASE(a_packet_is_cut_short_where_its_user_can_see_it),
	   CASE(tiny_fragments_start_at_multiples_of_64), CASE(a_buffer_holds_64_of_them),
	   CASE(a_storm_is_no_larger_than_what_can_be_there),
	   CASE(a_storm_takes_all_its_room_or_none), CASE(a_packet_of_one_byte_is_no_storm),
	   CASE(a_burst_may_end_with_the_largest_storm_in_the_smallest_buffers),
	   CASE(a_queue_said_to_be_full_drops_like_a_full_one),
	   CASE(held_buffers_go_back_through_the_pool_in_time), CASE(held_buffers_are_with_the_nic),
	   CASE(half_of_the_grants_are_never_held),
	   CASE(a_queue_that_runs_short_gets_all_of_them_back),
	   CASE(with_nothing_to_hold_nothing_is_counted),
	   CASE(held_buffers_are_back_before_the_drain),
	   CASE(a_burst_leaves_the_other_queues_no_turn),
	   CASE(a_burst_that_finds_no_room_lets_the_others_on),
	   CASE(a_burst_is_kept_until_its_last_packet_is_due),
	   CASE(a_burst_longer_than_the_traffic_is_kept_until_its_end),
	   CASE(a_clock_that_jumps_forward_makes_everything_due),
	   CASE(a_clock_that_jumps_back_must_catch_up), CASE(a_jump_changes_no_time_limit),
	   CASE(without_pacing_a_jump_has_no_effect),
	   CASE(the_turn_for_the_copy_fallback_passes_on))
