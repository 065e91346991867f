/* SPDX-License-Identifier: MIT */
/*
 * NIC, provider and consumers at work together, in shapes small enough that
 * every ring is full and empty all the time: all bytes arrive, every fault
 * earns its verdict, every buffer is home at the end.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "live.h"

#define TRAFFIC(packet_count, flow_count, ...)                                                   \
	(struct traffic)                                                                         \
	{                                                                                        \
		.lens = (const uint32_t[]){__VA_ARGS__},                                         \
		.lens_count = sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),        \
		.packets = (packet_count), .queues = 1, .flows = (flow_count), .niov_shift = 12, \
	}

static struct zcrx_shape tiny_shape(void)
{
	return (struct zcrx_shape){
		.num_niovs = 17,
		.niov_shift = 12,
		.rq_entries = 1,
		.cq_entries = 16,
		.ptr_ring_size = 4,
		.grant_entries = 16,
		.log_entries = 64,
		.flows_max = 8,
		.initial_index = UINT32_MAX - 100,
	};
}

static struct zcrx_shape medium_shape(void)
{
	return (struct zcrx_shape){
		.num_niovs = 600,
		.niov_shift = 12,
		.rq_entries = 256,
		.cq_entries = 256,
		.ptr_ring_size = 128,
		.grant_entries = 128,
		.log_entries = 1024,
		.flows_max = 8,
		.initial_index = UINT32_MAX - 1000,
	};
}

/* Everything is offered `laps` times and waits for room; whatever arrives is checked twice. */
static struct live_config config_of(struct zcrx_shape shape, struct traffic traffic, uint32_t laps)
{
	return (struct live_config){
		.shape = shape,
		.traffic = traffic,
		.nic = {.laps_max = laps, .wait_max_ns = FOR_LONG_NS, .listen_fd = -1},
		.consumer = {.verify = ZCRX_VERIFY_CRC, .recheck_every = 1, .output_fd = -1},
	};
}

static void add_faults(struct live_config *config, double probability)
{
	for (uint32_t kind = ZCRX_FAULT_BAD_PAD; kind <= ZCRX_FAULT_BAD_INDEX; kind++)
		config->rules[config->rule_count++] = rule_likely(kind, probability);
}

static void check_all(struct live *live)
{
	for (uint32_t i = 0; i < live->queue_count; i++) {
		live_check_buffers(live, i);
		live_check_flows(live, i);
		live_check_faults(live, i);
	}
}

/* Run to the end of the traffic: every packet was delivered, none dropped. Malformed entries. */
static uint64_t run_all(const struct live_config *config)
{
	uint64_t laps = config->nic.laps_max, injected = 0;
	struct live live;

	live_start(&live, config);
	live_wait(&live, nic_has_reached, ZCRX_RUN_QUIESCE);
	live_shut_down(&live);
	check_all(&live);
	for (uint32_t i = 0; i < live.queue_count; i++) {
		struct zcrx_queue *queue = &live.queues[i];

		CHECK_EQ(LIVE_COUNT(queue, nic, packets_delivered), laps * config->traffic.packets);
		CHECK_EQ(LIVE_COUNT(queue, notes, bytes), laps * traffic_bytes(&config->traffic));
		CHECK_EQ(LIVE_COUNT(queue, notes, fragments),
			 laps * traffic_fragments(&config->traffic));
		CHECK_EQ(LIVE_COUNT(queue, nic, packets_dropped), 0);
		for (uint32_t rule = 0; rule < config->rule_count; rule++)
			injected += count_of(&queue->notes->injected[rule]);
	}
	live_free(&live);
	return injected;
}

/* ---- shapes and sizes -------------------------------------------------------------- */

static void packets_of_any_size_cross_the_smallest_rings(void)
{
	const uint32_t lens[] = {1, 64, 1448, 4096, 4097, 65536};
	uint64_t injected = 0;

	for (size_t i = 0; i < COUNT_OF(lens); i++) {
		struct traffic traffic = TRAFFIC(lens[i] == 65536 ? 6 : 60, 3, lens[i]);
		struct live_config config = config_of(tiny_shape(), traffic, 1);

		add_faults(&config, 0.2);
		injected += run_all(&config);
	}
	CHECK(injected > 0);
}

static void sizes_mixed_on_several_flows_cross_medium_rings(void)
{
	struct traffic traffic = TRAFFIC(700, 7, 1, 1448, 1448, 64, 4096, 65536, 100, 4097, 3000);
	struct live_config config = config_of(medium_shape(), traffic, CHECK_REPEAT(16));

	add_faults(&config, 0.05);
	CHECK(run_all(&config) > 0);
}

static void small_buffers_take_packets_of_many_pieces(void)
{
	struct traffic traffic = TRAFFIC(64, 2, 65536, 64, 65, 1);
	struct live_config config = config_of(medium_shape(), traffic, CHECK_REPEAT(16));

	config.shape.niov_shift = config.traffic.niov_shift = 6;
	config.shape.num_niovs = 3000;
	config.shape.cq_entries = 1024;
	config.shape.grant_entries = 2048;
	config.shape.log_entries = 8192;
	add_faults(&config, 0.01);
	run_all(&config);
}

static void large_buffers_are_cut_into_many_fragments(void)
{
	struct traffic traffic = TRAFFIC(3000, 2, 1448, 1, 300);
	struct live_config config = config_of(medium_shape(), traffic, CHECK_REPEAT(16));

	config.shape.niov_shift = config.traffic.niov_shift = 16;
	config.shape.num_niovs = 20;
	add_faults(&config, 0.05);
	run_all(&config);
}

static void several_queues_share_one_nic_and_one_provider(void)
{
	struct traffic traffic = TRAFFIC(500, 5, 1448, 9000, 64);
	struct live_config config = config_of(medium_shape(), traffic, CHECK_REPEAT(16));

	config.traffic.queues = 3;
	config.shape.num_niovs = 100;
	add_faults(&config, 0.1);
	run_all(&config);
}

static void a_malformed_entry_before_every_valid_one_changes_nothing(void)
{
	struct traffic traffic = TRAFFIC(1000, 1, 1448);
	struct live_config config = config_of(medium_shape(), traffic, CHECK_REPEAT(16));

	add_faults(&config, 1.0);
	CHECK(run_all(&config) > 0);
}

/* ---- returns -------------------------------------------------------------------------- */

static void fragments_may_be_held_and_returned_in_any_order(void)
{
	for (uint32_t order = ZCRX_RETURN_FIFO; order <= ZCRX_RETURN_SHUFFLE; order++) {
		struct traffic traffic = TRAFFIC(1000, 4, 1448, 64, 4000);
		struct live_config config = config_of(medium_shape(), traffic, CHECK_REPEAT(16));

		config.consumer.return_order = order;
		config.consumer.hold = 200;
		config.consumer.seed = 5;
		add_faults(&config, 0.05);
		run_all(&config);
	}
}

/* More is held than the NIC can do without: it comes home by the scrub. */
static void what_the_consumer_keeps_comes_home_by_the_scrub(void)
{
	struct traffic traffic = TRAFFIC(500, 4, 4096);
	struct live_config config = config_of(medium_shape(), traffic, 1);
	struct live live;

	config.consumer.hold = 10000;
	live_start(&live, &config);
	live_wait(&live, nic_has_reached, ZCRX_RUN_QUIESCE);
	live_shut_down(&live);
	live_check_buffers(&live, 0);
	live_check_flows(&live, 0);
	CHECK_EQ(LIVE_COUNT(&live.queues[0], notes, rqe_submitted), 0);
	CHECK_EQ(LIVE_COUNT(&live.queues[0], notes, fragments), 500);
	live_free(&live);
}

static void the_bytes_of_a_flow_come_out_whole_and_in_order(void)
{
	struct traffic traffic = TRAFFIC(600, 1, 1448, 1, 4096, 65536, 100);
	struct live_config config = config_of(medium_shape(), traffic, 1);
	int fd = memfd_create("output", MFD_CLOEXEC);
	static uint8_t payload[ZCRX_PACKET_MAX + 8], got[ZCRX_PACKET_MAX];

	REQUIRE(fd >= 0);
	config.consumer.output_fd = fd;
	add_faults(&config, 0.1);
	run_all(&config);
	CHECK_EQ(lseek(fd, 0, SEEK_END), traffic_bytes(&traffic));
	REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
	for (uint32_t i = 0; i < traffic.packets; i++) {
		uint32_t len = traffic_len(&traffic, i);

		traffic_payload(&traffic, 0, i, payload);
		REQUIRE(read(fd, got, len) == len);
		CHECK_BYTES(got, payload, len);
	}
	close(fd);
}

/* ---- overload ---------------------------------------------------------------------------- */

static bool some_were_delivered_and_some_dropped(const struct live *live, uint32_t queue)
{
	return count_of(&live->queues[queue].nic->packets_delivered) > 50 &&
	       count_of(&live->queues[queue].nic->packets_dropped) > 50;
}

/* Nothing waits: what finds no room is dropped, counted, and seen as a gap. */
static void overload_without_patience_drops_and_accounts(void)
{
	struct traffic traffic = TRAFFIC(1000, 4, 4096, 1448, 9000);
	struct live_config config = config_of(tiny_shape(), traffic, 0);
	struct live live;

	config.nic.wait_max_ns = 0;
	add_faults(&config, 0.1);
	live_start(&live, &config);
	live_wait(&live, some_were_delivered_and_some_dropped, 0);
	live_shut_down(&live);
	check_all(&live);
	CHECK(LIVE_COUNT(&live.queues[0], notes, order_gaps) > 0);
	live_free(&live);
}

static void copied_packets_arrive_like_any_others(void)
{
	const uint32_t every[] = {1, 2, 7};

	for (size_t i = 0; i < COUNT_OF(every); i++) {
		struct traffic traffic = TRAFFIC(1000, 4, 1448, 64, 4096);
		struct live_config config = config_of(medium_shape(), traffic, 2);
		struct live live;

		config.nic.copy_every = every[i];
		add_faults(&config, 0.05);
		live_start(&live, &config);
		live_wait(&live, nic_has_reached, ZCRX_RUN_QUIESCE);
		live_shut_down(&live);
		check_all(&live);
		CHECK(LIVE_COUNT(&live.queues[0], nic, copied_packets) > 0);
		live_free(&live);
	}
}

/* ---- interruptions -------------------------------------------------------------------------- */

static bool some_fragments_were_read(const struct live *live, uint32_t queue)
{
	return count_of(&live->queues[queue].notes->fragments) > 0;
}

static void a_run_may_be_ended_in_the_middle_of_the_traffic(void)
{
	for (uint32_t i = 0; i < 10; i++) {
		struct traffic traffic = TRAFFIC(1000, 4, 1448, 9000, 64);
		struct live_config config =
			config_of(i % 2 ? tiny_shape() : medium_shape(), traffic, 0);
		struct live live;

		config.consumer.hold = i;
		add_faults(&config, 0.5);
		live_start(&live, &config);
		live_wait(&live, some_fragments_were_read, 0);
		live_shut_down(&live);
		live_check_buffers(&live, 0);
		live_check_flows(&live, 0);
		live_free(&live);
	}
}

static bool user_was_followed(const struct live *live, uint32_t user)
{
	return zcrx_queue_user_is(&live->queues[0], user);
}

static bool fragments_were_read_since(const struct live *live, uint32_t before)
{
	return count_of(&live->queues[0].notes->fragments) - before >= 200;
}

/* The consumer of queue 0 is gone at once, whatever it holds and has not read; another follows. */
static void replace_consumer(struct live *live, uint32_t user)
{
	shm_store_release_u32(&live->consumers[0].killed, 1, POINT_RUN_STATE);
	live_wait(live, consumer_has_left, 0);
	live_join_consumer(live, 0);
	zcrx_queue_set_user(&live->queues[0], 0);
	live_wait(live, user_was_followed, 0);
	live_scrub(live, 0);
	zcrx_queue_set_user(&live->queues[0], user);
	live_wait(live, user_was_followed, user);
	live_reconcile(live);
	zcrx_reconcile_new_user(&live->reconcilers[0], &live->queues[0]);
	live_start_consumer(live, 0);
}

static void a_new_consumer_takes_over_while_the_run_goes_on(void)
{
	struct traffic traffic = TRAFFIC(1000, 4, 300, 5000, 64);
	struct live_config config = config_of(medium_shape(), traffic, 0);
	struct live live;

	config.traffic.queues = 2;
	config.consumer.hold = 60;
	add_faults(&config, 0.1);
	live_start(&live, &config);
	for (uint32_t user = 2; user < 6; user++) {
		live_wait(&live, fragments_were_read_since,
			  (uint32_t)count_of(&live.queues[0].notes->fragments));
		replace_consumer(&live, user);
	}
	live_shut_down(&live);
	live_check_buffers(&live, 0);
	live_check_buffers(&live, 1);
	live_check_flows(&live, 1); /* the other queue noticed nothing */
	live_check_faults(&live, 1);
	live_free(&live);
}

/* ---- a hostile user ---------------------------------------------------------------------------- */

/* The tail of its completion queue it leaves alone: it would never find it again. */
static void scribble_once(struct live_consumer *consumer, struct zcrx_rng *rng)
{
	struct zcrx_queue *queue = consumer->queue;
	struct zcrx_rq *rq = &queue->ifq.rq;
	struct zcrx_rqe_slot *slot = &rq->rqes[zcrx_rng_below(rng, rq->entries)];
	uint64_t number = zcrx_rng_next(rng);
	uint64_t niov = zcrx_rng_below(rng, queue->shape.num_niovs);

	switch (zcrx_rng_below(rng, 12)) {
	case 0:
		shm_store_relaxed_u32(rq->tail, (uint32_t)number, POINT_RQ_TAIL_STORE);
		break;
	case 1:
		shm_store_relaxed_u32(rq->head, (uint32_t)number, POINT_RQ_HEAD_STORE);
		break;
	case 2:
		shm_store_relaxed_u32(queue->cq.head, (uint32_t)number, POINT_CQ_HEAD_STORE);
		break;
	case 3:
		shm_store_relaxed_u64(&slot->off, number, POINT_RQE_STORE);
		break;
	case 4:
		shm_store_relaxed_u64(&slot->len_pad, number, POINT_RQE_STORE);
		break;
	case 5:
		shm_store_relaxed_u64(&queue->cq.cqes[number & queue->cq.mask].off, number,
				      POINT_CQE_STORE);
		break;
	case 6:
		shm_store_relaxed_u32(&consumer->bells->provider.waiting, (uint32_t)number,
				      POINT_BELL_WAITING);
		shm_store_relaxed_u32(&consumer->bells->nic.seq, (uint32_t)number, POINT_BELL_SEQ);
		break;
	case 7:
		shm_store_relaxed_u64(&queue->notes->checked, number, POINT_LOG);
		break;
	default: /* now and then what an honest one might write, so that traffic flows */
		shm_store_relaxed_u64(&slot->off, niov << 12, POINT_RQE_STORE);
		shm_store_relaxed_u64(&slot->len_pad, 0, POINT_RQE_STORE);
		shm_store_relaxed_u32(rq->tail, word_of(&queue->ifq.shared->cached_rq_head) + 1,
				      POINT_RQ_TAIL_STORE);
		shm_store_relaxed_u32(queue->cq.head, word_of(queue->cq.tail), POINT_CQ_HEAD_STORE);
		zcrx_bell_ring(&consumer->bells->provider, UINT32_MAX);
		break;
	}
}

static void *scribble(void *context)
{
	struct live_consumer *consumer = context;
	struct zcrx_rng rng = zcrx_rng_for(13, 0);

	/* On a busy machine the others would wait for the rest of its time, each time. */
	for (uint32_t i = 1; !shm_load_acquire_u32(&consumer->queue->rings->stop, POINT_RUN_STATE);
	     i++) {
		scribble_once(consumer, &rng);
		if (i % 256 == 0)
			sched_yield();
	}
	live_leave(consumer, 1);
	return NULL;
}

static bool a_bit_of_everything_happened(const struct live *live, uint32_t queue)
{
	const struct zcrx_ifq_shared *ifq = live->queues[queue].ifq.shared;

	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++) {
		/* Neither is sure to come: few offsets are in area 0, and copies need free buffers. */
		if (verdict == ZCRX_BAD_INDEX || verdict == ZCRX_OTHER_POOL)
			continue;
		if (count_of(&ifq->verdicts[verdict]) == 0)
			return false;
	}
	return count_of(&live->queues[queue].nic->packets_delivered) > 2000;
}

/* It can spoil what it is given, and nothing else: no buffer is lost or doubled by it. */
static void a_user_who_writes_anything_anywhere_loses_no_buffer(void)
{
	struct traffic traffic = TRAFFIC(1000, 4, 1448, 9000, 64);
	struct live_config config = config_of(medium_shape(), traffic, 0);
	struct live live;

	config.shape.num_niovs = 300;
	config.shape.ptr_ring_size = 16;
	config.nic.wait_max_ns = 0;
	config.nic.copy_every = 5;
	config.impostor = scribble;
	live_start(&live, &config);
	live_wait(&live, a_bit_of_everything_happened, 0);
	live_shut_down(&live);
	live_check_buffers(&live, 0);
	live_free(&live);
}

CHECK_MAIN(CASE(packets_of_any_size_cross_the_smallest_rings),
	   CASE(sizes_mixed_on_several_flows_cross_medium_rings),
	   CASE(small_buffers_take_packets_of_many_pieces),
	   CASE(large_buffers_are_cut_into_many_fragments),
	   CASE(several_queues_share_one_nic_and_one_provider),
	   CASE(a_malformed_entry_before_every_valid_one_changes_nothing),
	   CASE(fragments_may_be_held_and_returned_in_any_order),
	   CASE(what_the_consumer_keeps_comes_home_by_the_scrub),
	   CASE(the_bytes_of_a_flow_come_out_whole_and_in_order),
	   CASE(overload_without_patience_drops_and_accounts),
	   CASE(copied_packets_arrive_like_any_others),
	   CASE(a_run_may_be_ended_in_the_middle_of_the_traffic),
	   CASE(a_new_consumer_takes_over_while_the_run_goes_on),
	   CASE(a_user_who_writes_anything_anywhere_loses_no_buffer))
