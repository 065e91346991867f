/* SPDX-License-Identifier: MIT */
/* Shapes that cannot be are refused; in those that can, nothing overlaps anything. */
#include <errno.h>

#include "judge/audit.h"
#include "queue_memory.h"

/* ---- shapes --------------------------------------------------------------------- */

static bool is_refused(const struct zcrx_shape *shape)
{
	struct zcrx_mapping nothing = {0};
	struct zcrx_queue queue;
	struct zcrx_sizes sizes;
	int answer = zcrx_layout_sizes(shape, &sizes);

	CHECK(answer == 0 || answer == -EINVAL);
	CHECK_EQ(zcrx_queue_attach(&queue, shape, 0, &nothing), answer);
	return answer != 0;
}

static void check_values(size_t field, const uint32_t *values, size_t count, bool refused)
{
	for (size_t i = 0; i < count; i++) {
		struct zcrx_shape shape = small_shape();

		memcpy((uint8_t *)&shape + field, &values[i], sizeof(values[i]));
		if (!CHECK_EQ(is_refused(&shape), refused))
			fprintf(stderr, "field at %zu: %u\n", field, values[i]);
	}
}

#define GOOD(field, ...)                                                                  \
	check_values(offsetof(struct zcrx_shape, field), (const uint32_t[]){__VA_ARGS__}, \
		     sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), false)
#define BAD(field, ...)                                                                   \
	check_values(offsetof(struct zcrx_shape, field), (const uint32_t[]){__VA_ARGS__}, \
		     sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), true)

static void impossible_shapes_are_refused(void)
{
	GOOD(num_niovs, 1, 17, 1 << 24);
	BAD(num_niovs, 0, (1 << 24) + 1, UINT32_MAX);
	GOOD(niov_shift, 6, 12, 30);
	BAD(niov_shift, 0, 5, 31, 32, 63, 64, UINT32_MAX);
	GOOD(rq_entries, 1, 2, 32768);
	BAD(rq_entries, 0, 3, 100, 65536, UINT32_MAX);
	GOOD(cq_entries, 1, 1 << 20);
	BAD(cq_entries, 0, 48, 1 << 21, 1U << 31);
	GOOD(ptr_ring_size, 1, 1000, 1 << 20);
	BAD(ptr_ring_size, 0, (1 << 20) + 1);
	GOOD(grant_entries, 1, 4096);
	BAD(grant_entries, 0, 3);
	GOOD(log_entries, 1, 65536);
	BAD(log_entries, 0, 1000);
	GOOD(flows_max, 1, 100000);
	BAD(flows_max, 0);
	GOOD(initial_index, 0, UINT32_MAX);
	GOOD(ring_layout, 0, 1, UINT32_MAX);
	GOOD(flight_entries, 0, 1, 8192, 1 << 20);
	BAD(flight_entries, 3, 1 << 21, UINT32_MAX);
	GOOD(contract.level, ZCRX_LEVEL_SEED, ZCRX_LEVEL_6_15, ZCRX_LEVEL_7_3);
	BAD(contract.level, ZCRX_LEVELS, UINT32_MAX);
	GOOD(contract.deviations, 0, ZCRX_CONTRACT_STRICT_ALIAS);
	BAD(contract.deviations, 1U << 31, UINT32_MAX);
}

/* Offsets of an area have 48 bits; what is above them is the area's id. */
static void an_area_beyond_48_bits_is_refused(void)
{
	struct zcrx_shape shape = small_shape();

	shape.num_niovs = 1 << 24;
	shape.niov_shift = 24;
	CHECK(!is_refused(&shape));
	shape.niov_shift = 25;
	CHECK(is_refused(&shape));
	shape.niov_shift = 30;
	CHECK(is_refused(&shape));
	shape.num_niovs = 1 << 18;
	CHECK(!is_refused(&shape));
	shape.num_niovs++;
	CHECK(is_refused(&shape));
	shape.contract.level = ZCRX_LEVEL_7_3;
	shape.areas_max = 2;
	shape.areas = 1;
	shape.area_niovs[0] = 1 << 18;
	CHECK(!is_refused(&shape));
	shape.area_niovs[0]++;
	CHECK(is_refused(&shape));
}

/* One that would be possible with a single area is judged by its areas alone, and the same. */
static void impossible_areas_are_refused(void)
{
	static const struct {
		uint32_t level, areas_max, areas, area_niovs;
		bool is_possible;
	} cases[] = {
		{ZCRX_LEVEL_7_3, 0, 9, 9, true},  {ZCRX_LEVEL_7_3, 1, 9, 9, true},
		{ZCRX_LEVEL_7_3, 2, 1, 1, true},  {ZCRX_LEVEL_7_3, 2, 1, 8, true},
		{ZCRX_LEVEL_7_3, 2, 2, 4, true},  {ZCRX_LEVEL_7_3, ZCRX_AREAS_MAX, 2, 4, true},
		{ZCRX_LEVEL_7_2, 2, 2, 4, false}, {ZCRX_LEVEL_7_3, ZCRX_AREAS_MAX + 1, 2, 4, false},
		{ZCRX_LEVEL_7_3, 2, 0, 4, false}, {ZCRX_LEVEL_7_3, 2, 3, 1, false},
		{ZCRX_LEVEL_7_3, 2, 2, 0, false}, {ZCRX_LEVEL_7_3, 2, 1, 9, false},
		{ZCRX_LEVEL_7_3, 2, 2, 5, false}, {ZCRX_LEVEL_7_3, 2, 2, UINT32_MAX, false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct zcrx_shape shape = small_shape();

		shape.contract.level = cases[i].level;
		shape.areas_max = cases[i].areas_max;
		shape.areas = cases[i].areas;
		shape.area_niovs[0] = cases[i].area_niovs;
		CHECK_EQ(is_refused(&shape), !cases[i].is_possible);
	}
}

/* What it is shown has no areas. */
static void a_provider_of_somebody_elses_is_refused_with_areas(void)
{
	static const struct zcrx_provider_ops ops;
	struct zcrx_mapping mapping = {.provider = &ops};
	struct zcrx_shape shape = small_shape();
	struct zcrx_queue queue;

	shape.contract.level = ZCRX_LEVEL_7_3;
	CHECK_EQ(zcrx_queue_attach(&queue, &shape, 0, &mapping), 0);
	shape.areas_max = 2;
	shape.areas = 1;
	shape.area_niovs[0] = 4;
	CHECK_EQ(zcrx_queue_attach(&queue, &shape, 0, &mapping), -EINVAL);
}

static void a_queue_beyond_the_last_bell_is_refused(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_mapping nothing = {0};
	struct zcrx_queue queue;

	CHECK_EQ(zcrx_queue_attach(&queue, &shape, ZCRX_QUEUES_MAX - 1, &nothing), 0);
	CHECK_EQ(zcrx_queue_attach(&queue, &shape, ZCRX_QUEUES_MAX, &nothing), -EINVAL);
}

/* ---- objects ----------------------------------------------------------------------- */

struct extent {
	const void *at;
	uint64_t size;
};

static int by_address(const void *first, const void *second)
{
	const struct extent *a = first, *b = second;

	return (a->at > b->at) - (a->at < b->at);
}

/* Inside the object, apart, and each on cache lines of its own. */
static void check_extents(struct extent *extents, size_t count, const void *base, uint64_t size)
{
	const uint8_t *end = base;

	qsort(extents, count, sizeof(*extents), by_address);
	for (size_t i = 0; i < count; i++) {
		const uint8_t *at = extents[i].at;

		CHECK(at >= end);
		CHECK_EQ((uintptr_t)at % SHM_CACHE_LINE, 0);
		end = at + extents[i].size;
	}
	CHECK(end <= (const uint8_t *)base + size);
}

static struct extent recorder(const struct zcrx_queue *queue, enum zcrx_writer writer)
{
	const struct zcrx_flight_shared *shared = queue->flights[writer].shared;

	return (struct extent){shared,
			       sizeof(*shared) + sizeof(struct zcrx_event) *
							 (uint64_t)queue->shape.flight_entries};
}

static void check_objects(const struct zcrx_shape *shape)
{
	uint64_t niov_words = 4 * (uint64_t)shape->num_niovs;
	struct queue_memory memory;
	struct zcrx_queue *queue = &memory.queue;
	struct zcrx_sizes sizes;
	struct extent kern[48];
	size_t count = 0;

	queue_memory_init(&memory, shape);
	REQUIRE(zcrx_layout_sizes(shape, &sizes) == 0);
	kern[count++] = (struct extent){queue->ifq.shared, sizeof(*queue->ifq.shared)};
	kern[count++] = (struct extent){queue->area.shared, sizeof(*queue->area.shared)};
	kern[count++] = (struct extent){queue->nic, sizeof(*queue->nic)};
	kern[count++] = (struct extent){queue->grants.shared, sizeof(*queue->grants.shared)};
	kern[count++] = (struct extent){queue->grants.slots, 4 * (uint64_t)shape->grant_entries};
	kern[count++] = (struct extent){queue->area.niovs, 4 * niov_words};
	kern[count++] = (struct extent){queue->area.freelist, niov_words};
	kern[count++] = (struct extent){queue->flows_sent, 8 * (uint64_t)shape->flows_max};
	kern[count++] = (struct extent){queue->ifq.verdict_log, shape->log_entries};
	kern[count++] = (struct extent){queue->ifq.niov_log, 2 * (uint64_t)shape->log_entries};
	kern[count++] = (struct extent){queue->area.scrubbed,
					4 * (uint64_t)zcrx_account_count(shape->num_niovs)};
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		struct zcrx_page_pool *pool = &queue->ifq.pools[slot];

		kern[count++] = (struct extent){pool->shared, sizeof(*pool->shared)};
		kern[count++] = (struct extent){pool->ring, 4 * (uint64_t)shape->ptr_ring_size};
	}
	if (shape->flight_entries) {
		kern[count++] = recorder(queue, ZCRX_WRITER_NIC);
		kern[count++] = recorder(queue, ZCRX_WRITER_PROVIDER);
	}
	if (shape->is_witnessed) {
		const struct zcrx_witness *witness = &queue->witness;

		kern[count++] = (struct extent){witness->shared, sizeof(*witness->shared)};
		kern[count++] =
			(struct extent){witness->deliveries, 64 * (uint64_t)shape->log_entries};
		kern[count++] =
			(struct extent){witness->entries, 24 * (uint64_t)shape->log_entries};
	}
	check_extents(kern, count, memory.mapping.kern, sizes.kern);

	struct extent rings[] = {
		{queue->rings, sizeof(*queue->rings)},
		{queue->ifq.rq.head, 4},
		{queue->ifq.rq.tail, 4},
		{queue->cq.head, 4},
		{queue->cq.tail, 4},
		{queue->ifq.rq.rqes, 16 * (uint64_t)shape->rq_entries},
		{queue->cq.cqes, 32 * (uint64_t)shape->cq_entries},
	};

	check_extents(rings, COUNT_OF(rings), memory.mapping.rings, sizes.rings);

	struct extent notes[] = {
		{queue->notes, sizeof(*queue->notes)},
		{queue->flows_received, 8 * (uint64_t)shape->flows_max},
		{queue->ledger, 16 * (uint64_t)shape->cq_entries},
		{queue->intents, 2 * (uint64_t)shape->log_entries},
		{queue->dues, 2 * (uint64_t)shape->log_entries},
		recorder(queue, ZCRX_WRITER_CONSUMER),
	};

	check_extents(notes, COUNT_OF(notes) - (shape->flight_entries == 0), memory.mapping.notes,
		      sizes.notes);
	CHECK_EQ(sizes.area, (uint64_t)shape->num_niovs << shape->niov_shift);
	CHECK(queue->area.bytes == memory.mapping.area);
	queue_memory_free(&memory);
}

static void objects_of_a_queue_do_not_overlap(void)
{
	struct zcrx_shape tiny = {1, 6, 1, 1, 1, 1, 1, 1, 0, 0, 1, {0, 0}, 0, 0, 0, 0, {0}};
	struct zcrx_shape odd = {17, 7,	 2,	 16, 3, 2, 2, 5,  UINT32_MAX,
				 0,  64, {0, 0}, 0,  0, 0, 0, {0}};
	struct zcrx_shape small = small_shape();
	struct zcrx_shape witnessed = small_shape();

	witnessed.is_witnessed = 1;
	check_objects(&tiny);
	check_objects(&odd);
	check_objects(&small);
	check_objects(&witnessed);
	for (uint32_t layout = 1; layout <= 200; layout++) {
		tiny.ring_layout = odd.ring_layout = small.ring_layout = layout * 0x9e3779b9U;
		check_objects(&tiny);
		check_objects(&odd);
		check_objects(&small);
	}
}

/* Where the six pieces behind the header of a queue's rings object stand. */
static void read_offsets(const struct zcrx_shape *shape, uint32_t index, uint32_t *offsets)
{
	struct queue_memory memory;
	const struct zcrx_rings_header *rings;

	queue_memory_init(&memory, shape);
	REQUIRE(zcrx_queue_attach(&memory.queue, shape, index, &memory.mapping) == 0);
	REQUIRE(zcrx_queue_format(&memory.queue) == 0);
	rings = memory.queue.rings;
	CHECK((const void *)rings == memory.mapping.rings);
	memcpy(offsets,
	       (uint32_t[]){rings->rq.head, rings->rq.tail, rings->rq.rqes, rings->cq.head,
			    rings->cq.tail, rings->cq.rqes},
	       6 * sizeof(*offsets));
	CHECK((const uint8_t *)memory.queue.ifq.rq.tail == (const uint8_t *)rings + offsets[1]);
	CHECK((const uint8_t *)memory.queue.cq.cqes == (const uint8_t *)rings + offsets[5]);
	queue_memory_free(&memory);
}

static void a_kernel_has_its_words_where_they_stand_there(void)
{
	static const uint32_t apart[ZCRX_LEVELS][2] = {
		[ZCRX_LEVEL_6_15] = {4, 8},   [ZCRX_LEVEL_6_18] = {4, 64},
		[ZCRX_LEVEL_7_1] = {4, 64},   [ZCRX_LEVEL_7_2] = {4, 64},
		[ZCRX_LEVEL_7_3] = {64, 128},
	};

	for (uint32_t level = ZCRX_LEVEL_6_15; level < ZCRX_LEVELS; level++) {
		struct zcrx_shape shape = small_shape();
		uint32_t offsets[6], drawn[6];

		shape.contract.level = level;
		read_offsets(&shape, 0, offsets);
		CHECK_EQ(offsets[1] - offsets[0], apart[level][0]);
		CHECK_EQ(offsets[2] - offsets[0], apart[level][1]);
		shape.ring_layout = 7;
		read_offsets(&shape, 0, drawn);
		CHECK(memcmp(drawn, offsets, sizeof(drawn)) != 0);
	}
}

static void a_drawn_layout_is_the_same_again_and_another_for_each_queue(void)
{
	struct zcrx_shape shape = small_shape();
	uint32_t usual[6], drawn[6], again[6], other[6];
	uint32_t moved = 0, apart = 0, first[6] = {0};

	read_offsets(&shape, 0, usual);
	for (uint32_t layout = 1; layout <= 100; layout++) {
		shape.ring_layout = layout;
		read_offsets(&shape, 0, drawn);
		read_offsets(&shape, 0, again);
		read_offsets(&shape, 1, other);
		CHECK_BYTES(drawn, again, sizeof(drawn));
		moved += memcmp(drawn, usual, sizeof(drawn)) != 0;
		apart += memcmp(drawn, other, sizeof(drawn)) != 0;
		for (uint32_t piece = 0, least = 0; piece < 6; piece++) {
			if (drawn[piece] < drawn[least])
				least = piece;
			first[least] += piece == 5;
		}
	}
	CHECK_EQ(moved, 100);
	CHECK_EQ(apart, 100);
	/* Each piece comes first now and then: a hundred draws of six. */
	for (uint32_t piece = 0; piece < 6; piece++)
		CHECK(first[piece] > 2);
}

static void a_drawn_layout_has_one_size_for_all_queues(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_sizes usual, drawn;

	CHECK_EQ(zcrx_layout_sizes(&shape, &usual), 0);
	for (uint32_t layout = 1; layout <= 100; layout++) {
		shape.ring_layout = layout;
		CHECK_EQ(zcrx_layout_sizes(&shape, &drawn), 0);
		CHECK_EQ(drawn.rings, usual.rings + 6 * 8 * SHM_CACHE_LINE);
		CHECK_EQ(drawn.kern, usual.kern);
		CHECK_EQ(drawn.notes, usual.notes);
	}
}

/* ---- the first state ------------------------------------------------------------------ */

static void formatting_ignores_what_the_rings_held_before(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_sizes sizes;

	queue_memory_init(&memory, &shape);
	REQUIRE(zcrx_layout_sizes(&shape, &sizes) == 0);
	memset(memory.mapping.rings, 0x5a, sizes.rings);
	memset(memory.mapping.kern, 0, sizes.kern);
	CHECK_EQ(zcrx_queue_format(&memory.queue), 0);
	CHECK_EQ(word_of(memory.queue.ifq.rq.head), shape.initial_index);
	CHECK_EQ(word_of(memory.queue.ifq.rq.tail), shape.initial_index);
	CHECK_EQ(word_of(memory.queue.cq.head), shape.initial_index);
	CHECK_EQ(word_of(memory.queue.cq.tail), shape.initial_index);
	CHECK_EQ(memory.queue.rings->rq_entries, shape.rq_entries);
	CHECK_EQ(memory.queue.rings->cq_entries, shape.cq_entries);
	CHECK_EQ(zcrx_rq_available(&memory.queue.ifq.rq), 0);
	CHECK_EQ(zcrx_cq_room(&memory.queue.cq, shape.cq_entries), shape.cq_entries);
	/* A stop that nobody asked for would end the consumer at once. */
	CHECK_EQ(word_of(&memory.queue.rings->stop), 0);
	CHECK_EQ(memory.queue.rings->rq.__resv2, 0);
	CHECK_EQ(memory.queue.rings->cq.__resv[1], 0);
	/* Slots are left alone: only a wrong index can bring them to light. */
	for (uint32_t slot = 0; slot < shape.rq_entries; slot++)
		CHECK_EQ(zcrx_rq_take(&memory.queue.ifq.rq).__pad, 0x5a5a5a5a);
	queue_memory_free(&memory);
}

/* A provider that refuses a page pool has taken no reference, and nothing else has moved. */
static void a_refused_page_pool_leaves_the_instance_as_it_was(void)
{
	static const struct {
		struct zcrx_pp_params params;
		int error;
	} refused[] = {
		{{.order = 1}, -EOPNOTSUPP},
		{{.dma_map = true}, -EOPNOTSUPP},
		{{.device = 7}, -EINVAL},
	};
	struct zcrx_shape shape = small_shape();

	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		struct queue_memory memory;
		struct zcrx_queue *queue = &memory.queue;
		struct zcrx_audit audit;
		struct zcrx_sizes sizes;

		queue_memory_init(&memory, &shape);
		REQUIRE(zcrx_layout_sizes(&shape, &sizes) == 0);
		memset(memory.mapping.kern, 0, sizes.kern);
		queue->ifq.pools[0].params = refused[i].params;
		CHECK_EQ(zcrx_queue_format(queue), refused[i].error);
		CHECK_EQ(word_of(&queue->ifq.shared->refs), 1);
		CHECK_EQ(word_of(&queue->ifq.shared->current_pool), 0);
		CHECK(!zcrx_ifq_pool(&queue->ifq));
		CHECK_EQ(zcrx_pp_phase(&queue->ifq.pools[0]), ZCRX_POOL_UNUSED);
		CHECK_EQ(zcrx_audit_run(queue, &audit), 0);
		CHECK_EQ(audit.places.freelist, shape.num_niovs);
		CHECK_EQ(zcrx_ifq_teardown(&queue->ifq), -ENOENT);
		CHECK_EQ(word_of(&queue->ifq.shared->refs), 1);
		/* The machine may give later what it refused once. */
		queue->ifq.pools[0].params = (struct zcrx_pp_params){0};
		CHECK_EQ(zcrx_queue_create_pool(queue), 0);
		CHECK_EQ(word_of(&queue->ifq.shared->refs), 2);
		CHECK_EQ(zcrx_ifq_teardown(&queue->ifq), 0);
		CHECK_EQ(word_of(&queue->ifq.shared->refs), 1);
		queue_memory_free(&memory);
	}
}

static void a_formatted_queue_has_every_buffer_free_and_one_pool(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_audit audit;

	queue_memory_init(&memory, &shape);
	CHECK_EQ(zcrx_audit_run(&memory.queue, &audit), 0);
	CHECK_EQ(audit.places.freelist, shape.num_niovs);
	CHECK_EQ(audit.lost, 0);
	CHECK_EQ(audit.doubled, 0);
	CHECK_EQ(word_of(&memory.queue.ifq.shared->refs), 2);
	CHECK_EQ(word_of(&memory.queue.ifq.shared->current_pool), 1);
	CHECK_EQ(zcrx_pp_phase(&memory.queue.ifq.pools[0]), ZCRX_POOL_CURRENT);
	for (uint32_t slot = 1; slot < ZCRX_POOLS_MAX; slot++)
		CHECK_EQ(zcrx_pp_phase(&memory.queue.ifq.pools[slot]), ZCRX_POOL_UNUSED);
	CHECK_EQ(memory.queue.run->version, ZCRX_LAYOUT_VERSION);
	queue_memory_free(&memory);
}

/* A consumer maps nothing of the kernel side, and its view says so. */
static void a_view_without_the_kernel_side_has_no_kernel_pointers(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_mapping mapping;
	struct zcrx_queue view;

	queue_memory_init(&memory, &shape);
	mapping = memory.mapping;
	mapping.kern = mapping.run = NULL;
	CHECK_EQ(zcrx_queue_attach(&view, &shape, 0, &mapping), 0);
	CHECK(!view.ifq.shared && !view.area.shared && !view.area.niovs && !view.area.freelist);
	CHECK(!view.nic && !view.grants.slots && !view.ifq.verdict_log && !view.run);
	CHECK(!view.ifq.pools[0].shared && !view.area.aborted);
	/* Its rings it finds through the header, and in no other way. */
	CHECK(!view.ifq.rq.head && !view.ifq.rq.tail && !view.ifq.rq.rqes);
	CHECK(!view.cq.head && !view.cq.tail && !view.cq.cqes);
	CHECK(view.rings == memory.queue.rings);
	CHECK(view.intents == memory.queue.intents);
	queue_memory_free(&memory);
}

static void without_a_device_is_for_kernels_with_a_flush_and_pages(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_sizes sizes;

	shape.has_no_device = 1;
	CHECK_EQ(zcrx_layout_sizes(&shape, &sizes), -EINVAL);
	shape.contract.level = ZCRX_LEVEL_6_18;
	CHECK_EQ(zcrx_layout_sizes(&shape, &sizes), -EINVAL);
	shape.contract.level = ZCRX_LEVEL_7_1;
	CHECK_EQ(zcrx_layout_sizes(&shape, &sizes), 0);
	queue_memory_init(&memory, &shape);
	CHECK(!zcrx_ifq_pool(&memory.queue.ifq));
	CHECK_EQ(zcrx_ifq_restart(&memory.queue.ifq), -EOPNOTSUPP);
	queue_memory_free(&memory);
	shape.niov_shift = 13;
	CHECK_EQ(zcrx_layout_sizes(&shape, &sizes), -EINVAL);
}

CHECK_MAIN(CASE(without_a_device_is_for_kernels_with_a_flush_and_pages),
	   CASE(impossible_shapes_are_refused), CASE(an_area_beyond_48_bits_is_refused),
	   CASE(impossible_areas_are_refused),
	   CASE(a_provider_of_somebody_elses_is_refused_with_areas),
	   CASE(a_queue_beyond_the_last_bell_is_refused), CASE(objects_of_a_queue_do_not_overlap),
	   CASE(a_kernel_has_its_words_where_they_stand_there),
	   CASE(a_drawn_layout_is_the_same_again_and_another_for_each_queue),
	   CASE(a_drawn_layout_has_one_size_for_all_queues),
	   CASE(formatting_ignores_what_the_rings_held_before),
	   CASE(a_refused_page_pool_leaves_the_instance_as_it_was),
	   CASE(a_formatted_queue_has_every_buffer_free_and_one_pool),
	   CASE(a_view_without_the_kernel_side_has_no_kernel_pointers))
