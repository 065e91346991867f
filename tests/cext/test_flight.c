/* SPDX-License-Identifier: MIT */
/* The flight recorder: it wraps, it counts on, and no torn event leaves it. */
#include "judge/audit.h"
#include "queue_memory.h"
#include "threads.h"

#define ENTRIES 16U

/* As it is copied out. */
struct copied {
	uint64_t time;
	uint16_t kind, reserved;
	uint32_t a;
	uint64_t b, c;
};
_Static_assert(sizeof(struct copied) == sizeof(struct zcrx_event), "the copy is the event");

static struct zcrx_flight recorder(uint32_t entries)
{
	return (struct zcrx_flight){
		.shared = zeroed(sizeof(struct zcrx_flight_shared) +
				 entries * sizeof(struct zcrx_event)),
		.mask = entries - 1,
	};
}

/* Event number n, recognisable in each of its words. */
static void record_number(struct zcrx_flight *flight, uint64_t n)
{
	zcrx_flight_record(flight, (enum zcrx_event_kind)(1 + n % 30), (uint32_t)n, n * 3, ~n);
}

static void check_number(const struct copied *copy, uint64_t n)
{
	CHECK_EQ(copy->kind, 1 + n % 30);
	CHECK_EQ(copy->reserved, 0);
	CHECK_EQ(copy->a, (uint32_t)n);
	CHECK_EQ(copy->b, n * 3);
	CHECK_EQ(copy->c, ~n);
}

static void events_come_back_in_order_with_all_their_words(void)
{
	struct zcrx_flight flight = recorder(ENTRIES);
	struct copied copies[ENTRIES];
	uint64_t first = 99, before = check_now_ns();

	CHECK_EQ(zcrx_flight_copy(&flight, copies, &first), 0);
	CHECK_EQ(first, 0);
	for (uint64_t n = 0; n < ENTRIES - 1; n++) {
		record_number(&flight, n);
		CHECK_EQ(zcrx_flight_copy(&flight, copies, &first), n + 1);
		CHECK_EQ(first, 0);
	}
	for (uint64_t n = 0; n < ENTRIES - 1; n++) {
		check_number(&copies[n], n);
		CHECK(copies[n].time >= before && copies[n].time <= check_now_ns());
		CHECK(n == 0 || copies[n].time >= copies[n - 1].time);
	}
	free(flight.shared);
}

/*
 * The oldest of a full ring is left out, writer or no writer: it is the one
 * that the writer may be replacing.
 */
static void full_ring_keeps_the_newest(void)
{
	struct zcrx_flight flight = recorder(ENTRIES);
	struct copied copies[ENTRIES];
	uint64_t first, written = 0;

	for (uint32_t round = 0; round < 5 * ENTRIES + 3; round++) {
		record_number(&flight, written++);
		if (written < ENTRIES)
			continue;
		REQUIRE(zcrx_flight_copy(&flight, copies, &first) == ENTRIES - 1);
		CHECK_EQ(first, written - (ENTRIES - 1));
		for (uint32_t i = 0; i < ENTRIES - 1; i++)
			check_number(&copies[i], first + i);
	}
	free(flight.shared);
}

static void numbering_goes_on_where_the_last_writer_ended(void)
{
	struct zcrx_flight first_user = recorder(ENTRIES);
	struct zcrx_flight second_user = first_user;
	struct copied copies[ENTRIES];
	uint64_t first;

	record_number(&first_user, 0);
	record_number(&second_user, 1);
	REQUIRE(zcrx_flight_copy(&second_user, copies, &first) == 2);
	check_number(&copies[0], 0);
	check_number(&copies[1], 1);
	free(first_user.shared);
}

static void same_event_again_is_recorded_once(void)
{
	struct zcrx_flight flight = recorder(ENTRIES);

	zcrx_flight_record_once(&flight, ZCRX_EVENT_STARVED, 0, 0, 0);
	zcrx_flight_record_once(&flight, ZCRX_EVENT_STARVED, 0, 0, 0);
	CHECK_EQ(count_of(&flight.shared->count), 1);
	zcrx_flight_record(&flight, ZCRX_EVENT_GRANT, 0, 0, 0);
	zcrx_flight_record_once(&flight, ZCRX_EVENT_STARVED, 0, 0, 0);
	CHECK_EQ(count_of(&flight.shared->count), 3);
	free(flight.shared);
}

/* The consumer may write anything into its own recorder: the copy stays inside. */
static void scribbled_count_leads_nowhere(void)
{
	static const uint64_t counts[] = {1, ENTRIES, UINT64_MAX, UINT64_MAX - 3,
					  (uint64_t)1 << 63};
	struct zcrx_flight flight = recorder(ENTRIES);
	struct copied copies[ENTRIES];
	uint64_t first;

	for (uint32_t i = 0; i < COUNT_OF(counts); i++) {
		shm_store_relaxed_u64(&flight.shared->count, counts[i], POINT_LOG);
		CHECK(zcrx_flight_copy(&flight, copies, &first) <= ENTRIES);
		record_number(&flight, 7);
	}
	free(flight.shared);
}

static void without_a_recorder_nothing_happens(void)
{
	struct zcrx_flight flight = {0};
	struct copied copy;
	uint64_t first;

	record_number(&flight, 1);
	CHECK_EQ(zcrx_flight_copy(&flight, &copy, &first), 0);
}

/* ---- reader against writer ---------------------------------------------------------- */

struct race {
	struct zcrx_flight flight;
	atomic_bool over;
	uint64_t written;
};

/* Pauses now and then, so that copies are made of a moving and of a resting ring. */
static void *write_on(void *context)
{
	struct race *race = context;

	while (!atomic_load(&race->over)) {
		record_number(&race->flight, race->written++);
		if (race->written % 64 == 0)
			sched_yield();
	}
	return NULL;
}

/* Until the ring went round often before the reader's eyes, however late the writer came. */
static void *copy_on(void *context)
{
	struct race *race = context;
	/* As another process sees it: what is private to the writer is not there. */
	struct zcrx_flight view = {.shared = race->flight.shared, .mask = race->flight.mask};
	struct copied copies[ENTRIES];
	struct budget budget = {0};
	struct patience patience = {0};
	uint64_t last = 0, shown = 0;
	uint32_t left = CHECK_REPEAT(200000);

	while ((left && in_budget(&budget)) ||
	       ((shown == 0 || last < 64 * ENTRIES) && wait_more(&patience))) {
		uint64_t first;
		uint32_t count = zcrx_flight_copy(&view, copies, &first);

		left -= left != 0;
		CHECK(first + count >= last);
		for (uint32_t i = 0; i < count; i++)
			check_number(&copies[i], first + i);
		last = first + count;
		shown += count;
	}
	atomic_store(&race->over, true);
	CHECK(shown > 0);
	CHECK(last >= 64 * ENTRIES);
	return NULL;
}

static void no_torn_event_is_shown(void)
{
	struct race race = {.flight = recorder(ENTRIES)};

	run_both(write_on, copy_on, &race);
	free(race.flight.shared);
}

/* ---- clocks --------------------------------------------------------------------------- */

static void counter_and_clock_are_read_together(void)
{
	uint64_t ticks[2], ns[2];

	zcrx_flight_read_clocks(ZCRX_CLOCK_MONOTONIC, &ticks[0], &ns[0]);
	CHECK(ticks[0] >= ns[0] ? ticks[0] - ns[0] < 1000000000 : ns[0] - ticks[0] < 1000000000);
	if (!zcrx_flight_has_counter())
		return;
	for (int i = 0; i < 2; i++)
		zcrx_flight_read_clocks(ZCRX_CLOCK_COUNTER, &ticks[i], &ns[i]);
	CHECK(ticks[1] > ticks[0]);
	CHECK(ns[1] > ns[0]);
}

/* ---- in a queue ------------------------------------------------------------------------- */

static void each_writer_of_a_queue_has_its_own(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct copied copies[ENTRIES];
	uint64_t first;

	shape.flight_entries = ENTRIES;
	queue_memory_init(&memory, &shape);
	for (uint32_t writer = 0; writer < ZCRX_WRITERS; writer++)
		record_number(&memory.queue.flights[writer], writer);
	for (uint32_t writer = 0; writer < ZCRX_WRITERS; writer++) {
		REQUIRE(zcrx_queue_flight(&memory.queue, writer, copies, &first) == 1);
		check_number(&copies[0], writer);
	}
	zcrx_queue_set_flight_clock(&memory.queue, ZCRX_CLOCK_COUNTER);
	for (uint32_t writer = 0; writer < ZCRX_WRITERS; writer++)
		CHECK_EQ(word_of(&memory.queue.flights[writer].shared->clock), ZCRX_CLOCK_COUNTER);
	queue_memory_free(&memory);
}

/* A process that has not mapped an object has none of the recorders in it. */
static void unmapped_recorders_are_none(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_mapping as_consumer;
	struct zcrx_queue view;

	shape.flight_entries = ENTRIES;
	queue_memory_init(&memory, &shape);
	as_consumer = memory.mapping;
	as_consumer.run = as_consumer.kern = NULL;
	REQUIRE(zcrx_queue_attach(&view, &shape, 0, &as_consumer) == 0);
	CHECK(!view.flights[ZCRX_WRITER_NIC].shared);
	CHECK(!view.flights[ZCRX_WRITER_PROVIDER].shared);
	CHECK(view.flights[ZCRX_WRITER_CONSUMER].shared ==
	      memory.queue.flights[ZCRX_WRITER_CONSUMER].shared);
	queue_memory_free(&memory);
}

/* One refill: two good returns, a malformed one between them. */
static void refill_is_one_event(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_rq_user user;
	struct copied copies[ENTRIES];
	uint32_t niovs[2];
	uint64_t first;

	shape.flight_entries = ENTRIES;
	queue_memory_init(&memory, &shape);
	user = user_of(&memory.queue);
	for (int i = 0; i < 2; i++) {
		niovs[i] = (uint32_t)zcrx_pp_alloc(zcrx_ifq_pool(&memory.queue.ifq));
		deliver(&memory.queue, niovs[i], 1);
	}
	zcrx_pp_empty_cache(zcrx_ifq_pool(&memory.queue.ifq));
	zcrx_rq_user_put(&user, (uint64_t)niovs[0] << shape.niov_shift, 1, 0);
	zcrx_rq_user_put(&user, 0, 1, 5);
	zcrx_rq_user_put(&user, (uint64_t)niovs[1] << shape.niov_shift, 1, 0);
	zcrx_rq_user_publish(&user);
	CHECK_EQ(zcrx_ifq_refill_ring(&memory.queue.ifq, zcrx_ifq_pool(&memory.queue.ifq)), 3);
	REQUIRE(zcrx_queue_flight(&memory.queue, ZCRX_WRITER_PROVIDER, copies, &first) == 1);
	CHECK_EQ(copies[0].kind, ZCRX_EVENT_REFILL);
	CHECK_EQ(copies[0].a, 3);
	CHECK_EQ(copies[0].b, 0);
	CHECK_EQ(copies[0].c, (uint64_t)shape.initial_index << 32 | 1);
	queue_memory_free(&memory);
}

/* ---- what stands in a slot -------------------------------------------------------------- */

static void slot_is_shown_with_its_buffer(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_rq_user user;
	struct zcrx_peek peek;

	queue_memory_init(&memory, &shape);
	user = user_of(&memory.queue);
	hand_out(&memory.queue, 3, 2);
	zcrx_rq_user_put(&user, (uint64_t)3 << shape.niov_shift, 17, 9);
	zcrx_rq_user_put(&user, (uint64_t)shape.num_niovs << shape.niov_shift, 0, 0);
	zcrx_rq_user_publish(&user);
	zcrx_queue_peek(&memory.queue, shape.initial_index, &peek);
	CHECK_EQ(peek.off, (uint64_t)3 << shape.niov_shift);
	CHECK_EQ(peek.len, 17);
	CHECK_EQ(peek.pad, 9);
	CHECK_EQ(peek.tail, shape.initial_index + 2);
	CHECK_EQ(peek.niov, 3);
	CHECK_EQ(peek.user_refs, 2);
	zcrx_queue_peek(&memory.queue, shape.initial_index + 1, &peek);
	CHECK_EQ(peek.niov, shape.num_niovs);
	CHECK_EQ(peek.user_refs, 0);
	queue_memory_free(&memory);
}

CHECK_MAIN(CASE(events_come_back_in_order_with_all_their_words), CASE(full_ring_keeps_the_newest),
	   CASE(numbering_goes_on_where_the_last_writer_ended),
	   CASE(same_event_again_is_recorded_once), CASE(scribbled_count_leads_nowhere),
	   CASE(without_a_recorder_nothing_happens), CASE(no_torn_event_is_shown),
	   CASE(counter_and_clock_are_read_together), CASE(each_writer_of_a_queue_has_its_own),
	   CASE(unmapped_recorders_are_none), CASE(refill_is_one_event),
	   CASE(slot_is_shown_with_its_buffer))
