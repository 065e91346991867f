/* SPDX-License-Identifier: MIT */
/*
 * Interleavings without luck: the core is built with a hook at each of its
 * points, and in the middle of one actor's operation, before each access of
 * shared memory in turn, another actor's whole operation takes place. What must
 * hold afterwards holds for every place. (Reordering by the machine is not seen
 * here: that is what the tests with threads are for.)
 */
#include "actors/consumer.h"
#include "actors/nic_queue.h"
#include "queue_memory.h"
#include "judge/reconcile.h"
#include "actors/returns.h"
#include "rules.h"

#include <setjmp.h>

#define INTRUDERS_MAX 2U

/* ---- the hook ------------------------------------------------------------------ */

/* Someone else's operation, and the number of the point before which it takes place. */
struct intrusion {
	void (*act)(void *scene);
	uint32_t at;
	bool done;
};

static struct {
	struct intrusion intrusions[INTRUDERS_MAX];
	void *scene;
	uint32_t points; /* passed so far */
	bool armed, inside;
} stage;

static void intrude_at(uint32_t point)
{
	for (uint32_t i = 0; i < INTRUDERS_MAX; i++) {
		struct intrusion *intrusion = &stage.intrusions[i];

		if (!intrusion->act || intrusion->done || intrusion->at > point)
			continue;
		intrusion->done = true;
		intrusion->act(stage.scene);
	}
}

void zcrx_point_hook(enum zcrx_point point, const volatile void *word)
{
	(void)point;
	(void)word;
	if (!stage.armed || stage.inside)
		return;
	stage.inside = true;
	intrude_at(stage.points++);
	stage.inside = false;
}

/*
 * A play: a scene that is set anew for each performance, one actor whose points
 * are counted, others who intrude, and what must be true at the end.
 */
struct play {
	void (*set)(void *scene);
	void (*act)(void *scene);
	void (*intrude[INTRUDERS_MAX])(void *scene); /* in this order; the second may be NULL */
	void (*judge)(void *scene);
	uint32_t points_max; /* intrude at the first so many only; 0 = at all */
};

/* How many points the actor passed; an intruder who found no place comes behind it. */
static uint32_t perform(const struct play *play, void *scene, uint32_t first, uint32_t second)
{
	unsigned int before = atomic_load(&check_failures);

	play->set(scene);
	stage.intrusions[0] = (struct intrusion){.act = play->intrude[0], .at = first};
	stage.intrusions[1] = (struct intrusion){.act = play->intrude[1], .at = second};
	stage.scene = scene;
	stage.points = 0;
	stage.armed = true;
	play->act(scene);
	stage.armed = false;
	intrude_at(UINT32_MAX);
	play->judge(scene);
	if (atomic_load(&check_failures) != before)
		fprintf(stderr, "intrusions before points %u and %u\n", first, second);
	return stage.points;
}

/* Every place for the first intruder, and from there on every place for the second. */
static void perform_everywhere(const struct play *play, void *scene)
{
	uint32_t first = 0, second, points;

	do {
		second = first;
		do
			points = perform(play, scene, first, second);
		while (play->intrude[1] && second++ < points);
	} while (first++ < points && first != play->points_max);
	CHECK(first > 1);
}

/* The queue of a scene, as good as new each time that it is set; the caller frees it in the end. */
static void set_memory(struct queue_memory *memory, const struct zcrx_shape *shape, bool *made)
{
	if (*made)
		queue_memory_renew(memory, shape);
	else
		queue_memory_init(memory, shape);
	*made = true;
}

/* ---- references of one buffer ----------------------------------------------------- */

struct buffer {
	struct zcrx_area area;
	struct zcrx_area_shared shared;
	struct zcrx_niov niov;
	uint32_t given, taken, homes;
};

static void set_buffer(void *scene)
{
	struct buffer *buffer = scene;

	memset(buffer, 0, sizeof(*buffer));
	buffer->area = (struct zcrx_area){
		.shared = &buffer->shared, .niovs = &buffer->niov, .num_niovs = 1};
	zcrx_pp_ref_init(&buffer->area, 0);
	zcrx_pp_ref_get(&buffer->area, 0, 4);
	zcrx_user_ref_give(&buffer->area, 0, 5);
	buffer->given = 5;
}

static void set_empty_buffer(void *scene)
{
	struct buffer *buffer = scene;

	set_buffer(scene);
	zcrx_user_ref_take_all(&buffer->area, 0);
	buffer->given = 0;
}

static void take_two(void *scene)
{
	struct buffer *buffer = scene;

	buffer->taken += zcrx_user_ref_take(&buffer->area, 0, 2);
}

static void take_all(void *scene)
{
	struct buffer *buffer = scene;

	buffer->taken += zcrx_user_ref_take_all(&buffer->area, 0);
}

static void give_three(void *scene)
{
	struct buffer *buffer = scene;

	zcrx_user_ref_give(&buffer->area, 0, 3);
	buffer->given += 3;
}

static void judge_sums(void *scene)
{
	struct buffer *buffer = scene;

	CHECK_EQ(buffer->taken + word_of(&buffer->niov.user_refs), buffer->given);
}

static void user_references_add_up_wherever_others_take_and_give(void)
{
	void (*const acts[])(void *) = {take_two, take_all, give_three};
	void (*const sets[])(void *) = {set_buffer, set_empty_buffer};
	struct buffer buffer;

	for (size_t i = 0; i < COUNT_OF(acts) * COUNT_OF(acts) * COUNT_OF(sets); i++) {
		struct play play = {
			.set = sets[i % 2],
			.act = acts[i / 2 % 3],
			.intrude = {acts[i / 6]},
			.judge = judge_sums,
		};

		/* The NIC alone gives: it does not meet itself. */
		if (play.act != give_three || play.intrude[0] != give_three)
			perform_everywhere(&play, &buffer);
	}
}

static void put_two(void *scene)
{
	struct buffer *buffer = scene;

	buffer->homes += zcrx_pp_ref_put(&buffer->area, 0, 2);
}

static void put_three(void *scene)
{
	struct buffer *buffer = scene;

	buffer->homes += zcrx_pp_ref_put(&buffer->area, 0, 3);
}

static void judge_home_once(void *scene)
{
	struct buffer *buffer = scene;

	CHECK_EQ(buffer->homes, 1);
	CHECK_EQ(word_of(&buffer->niov.pp_refs), 1);
	CHECK_EQ(count_of(&buffer->shared.ref_underflows), 0);
}

static void one_of_two_drops_the_last_reference_wherever_they_meet(void)
{
	const struct play plays[] = {
		{set_buffer, put_two, {put_three}, judge_home_once, 0},
		{set_buffer, put_three, {put_two}, judge_home_once, 0},
	};
	struct buffer buffer;

	for (size_t i = 0; i < COUNT_OF(plays); i++)
		perform_everywhere(&plays[i], &buffer);
}

/* ---- refill, allocation and scrub ---------------------------------------------------- */

#define NIOVS 4U

struct queue_scene {
	struct queue_memory memory;
	struct zcrx_trace trace;
	struct zcrx_judgement judged[64];
	struct zcrx_rq_user user;
	uint64_t scrubbed;
	int64_t allocated;
	uint32_t seen_head;
	bool made;
};

/* Four buffers with the user, two fragments each; all eight returns wait, one buffer's twice. */
static void set_queue(void *scene)
{
	struct queue_scene *queue = scene;
	struct zcrx_shape shape = small_shape();
	struct zcrx_ifq *ifq;

	*queue = (struct queue_scene){
		.memory = queue->memory,
		.made = queue->made,
		.allocated = -1,
		.seen_head = shape.initial_index,
	};
	shape.num_niovs = NIOVS;
	shape.log_entries = 64;
	set_memory(&queue->memory, &shape, &queue->made);
	ifq = &queue->memory.queue.ifq;
	queue->trace = (struct zcrx_trace){.entries = queue->judged, .capacity = 64};
	ifq->trace = &queue->trace;
	queue->user = user_of(&queue->memory.queue);
	for (uint32_t i = 0; i < NIOVS; i++)
		deliver(&queue->memory.queue, (uint32_t)zcrx_pp_alloc(&ifq->pools[0]), 2);
	for (uint32_t i = 0; i < 2 * NIOVS + 1; i++)
		zcrx_rq_user_put(&queue->user, (uint64_t)(i * 3 / 2 % NIOVS) << 12, 0, 0);
	zcrx_rq_user_publish(&queue->user);
}

static void scrub(void *scene)
{
	struct queue_scene *queue = scene;

	queue->scrubbed += zcrx_ifq_scrub(&queue->memory.queue.ifq, NULL);
}

static void refill(void *scene)
{
	struct zcrx_ifq *ifq = &((struct queue_scene *)scene)->memory.queue.ifq;

	zcrx_ifq_refill_ring(ifq, &ifq->pools[0]);
}

static void allocate(void *scene)
{
	struct queue_scene *queue = scene;

	queue->allocated = zcrx_pp_alloc(&queue->memory.queue.ifq.pools[0]);
}

/* Every user reference was taken by one of the two, and every buffer is home, or out, once. */
static void judge_queue(void *scene)
{
	struct queue_scene *queue = scene;
	struct zcrx_ifq *ifq = &queue->memory.queue.ifq;
	struct zcrx_page_pool *pool = &ifq->pools[0];
	uint32_t found[NIOVS] = {0}, niovs[16], count;
	uint64_t returned;

	scrub(scene); /* what nobody returned */
	returned = count_of(&ifq->shared->verdicts[ZCRX_ACCEPTED]) +
		   count_of(&ifq->shared->verdicts[ZCRX_STILL_REFERENCED]);
	CHECK_EQ(returned + queue->scrubbed, 2 * NIOVS);
	if (queue->allocated >= 0)
		found[queue->allocated]++;
	for (uint32_t i = 0; i < zcrx_pp_cache_count(pool); i++)
		found[pool->shared->cache[i]]++;
	count = zcrx_pp_ring_snapshot(pool, niovs, 16);
	for (uint32_t i = 0; i < count; i++)
		found[niovs[i]]++;
	for (uint32_t niov = 0; niov < NIOVS; niov++) {
		CHECK_EQ(found[niov], 1);
		CHECK_EQ(word_of(&ifq->area->niovs[niov].pp_refs), 1);
	}
	CHECK_EQ(count_of(&ifq->area->shared->ref_underflows), 0);
	CHECK_EQ(count_of(&ifq->area->shared->freelist_overflows), 0);
}

static void refill_and_scrub_bring_each_buffer_home_once_wherever_they_meet(void)
{
	const struct play plays[] = {
		{set_queue, refill, {scrub}, judge_queue, 0},
		{set_queue, scrub, {refill}, judge_queue, 0},
		{set_queue, allocate, {scrub}, judge_queue, 0},
		{set_queue, scrub, {allocate}, judge_queue, 0},
		{set_queue, refill, {scrub, scrub}, judge_queue, 0},
	};
	struct queue_scene queue = {.made = false};

	for (size_t i = 0; i < COUNT_OF(plays); i++)
		perform_everywhere(&plays[i], &queue);
	queue_memory_free(&queue.memory);
}

/* ---- what a user can see and do in the middle of a refill -------------------------------- */

static void look_at_head(void *scene)
{
	struct queue_scene *queue = scene;

	queue->seen_head = word_of(queue->memory.queue.ifq.rq.head);
}

static void judge_head(void *scene)
{
	struct queue_scene *queue = scene;
	uint32_t moved = queue->seen_head - queue->memory.queue.shape.initial_index;

	CHECK(moved == 0 || moved == 2 * NIOVS + 1);
}

static void the_head_is_seen_before_or_after_a_refill_never_between(void)
{
	const struct play play = {set_queue, refill, {look_at_head}, judge_head, 0};
	struct queue_scene queue = {.made = false};

	perform_everywhere(&play, &queue);
	queue_memory_free(&queue.memory);
}

/* All buffers with the user, two fragments each; one entry, which returns the first. */
static void set_entry(void *scene)
{
	struct queue_scene *queue = scene;

	set_queue(scene);
	queue->memory.queue.ifq.rq.cached_head = queue->user.cached_tail;
	zcrx_rq_user_put(&queue->user, 0, 0, 0);
	zcrx_rq_user_publish(&queue->user);
}

static struct zcrx_rqe_slot *entry_of(struct queue_scene *queue)
{
	return &queue->user.rqes[(queue->user.cached_tail - 1) & queue->user.mask];
}

static void turn_into_another(void *scene)
{
	shm_store_relaxed_u64(&entry_of(scene)->off, 2 << 12, POINT_RQE_STORE);
}

static void turn_into_bad_index(void *scene)
{
	shm_store_relaxed_u64(&entry_of(scene)->off, 100000 << 12, POINT_RQE_STORE);
}

static void turn_into_bad_pad(void *scene)
{
	shm_store_relaxed_u64(&entry_of(scene)->len_pad, UINT64_C(1) << 32, POINT_RQE_STORE);
}

/* Whatever was seen, what was checked is what was used: one buffer returned, or none. */
static void judge_entry(void *scene)
{
	struct queue_scene *queue = scene;
	const struct zcrx_niov *niovs = queue->memory.queue.area.niovs;
	const struct zcrx_judgement *judged = &queue->judged[0];
	bool returned = judged->verdict == ZCRX_STILL_REFERENCED;

	CHECK_EQ(queue->trace.count, 1);
	CHECK(returned || judged->verdict == ZCRX_BAD_PAD || judged->verdict == ZCRX_BAD_INDEX);
	for (uint32_t niov = 0; niov < NIOVS; niov++)
		CHECK_EQ(word_of(&niovs[niov].user_refs), returned && niov == judged->niov ? 1 : 2);
}

static void an_entry_is_judged_by_one_copy_whenever_it_is_rewritten(void)
{
	const struct play plays[] = {
		{set_entry, refill, {turn_into_another}, judge_entry, 0},
		{set_entry, refill, {turn_into_bad_index}, judge_entry, 0},
		{set_entry, refill, {turn_into_bad_pad}, judge_entry, 0},
		{set_entry, refill, {turn_into_bad_index, turn_into_another}, judge_entry, 0},
	};
	struct queue_scene queue = {.made = false};

	for (size_t i = 0; i < COUNT_OF(plays); i++)
		perform_everywhere(&plays[i], &queue);
	queue_memory_free(&queue.memory);
}

/* ---- the ptr ring ---------------------------------------------------------------------- */

struct ring_scene {
	struct queue_memory memory;
	uint32_t taken[NIOVS];
	bool made;
};

static void take_from_ring(void *scene)
{
	struct ring_scene *ring = scene;
	int64_t niov = zcrx_pp_alloc(&ring->memory.queue.ifq.pools[0]);

	if (CHECK(niov < NIOVS) && niov >= 0)
		ring->taken[niov]++;
}

/* All buffers out but one, which waits in a ring of two slots that has wrapped. */
static void set_ring(void *scene)
{
	struct ring_scene *ring = scene;
	struct zcrx_shape shape = small_shape();

	shape.num_niovs = NIOVS;
	shape.ptr_ring_size = 2;
	set_memory(&ring->memory, &shape, &ring->made);
	for (uint32_t i = 0; i < NIOVS; i++)
		zcrx_pp_alloc(&ring->memory.queue.ifq.pools[0]);
	zcrx_ifq_drop(&ring->memory.queue.ifq, 3, 1);
	take_from_ring(scene);
	memset(ring->taken, 0, sizeof(ring->taken));
	zcrx_ifq_drop(&ring->memory.queue.ifq, 3, 1);
}

static void put_into_ring(void *scene)
{
	struct ring_scene *ring = scene;

	zcrx_pp_put_unreferenced(&ring->memory.queue.ifq.pools[0], 0);
	zcrx_pp_put_unreferenced(&ring->memory.queue.ifq.pools[0], 1);
}

/* Buffers 0, 1 and 3 were put: each is taken, or in the ring, or released, once. */
static void judge_ring(void *scene)
{
	struct ring_scene *ring = scene;
	struct zcrx_queue *queue = &ring->memory.queue;
	struct zcrx_page_pool *pool = &queue->ifq.pools[0];
	uint32_t found[NIOVS], niovs[NIOVS], count;

	memcpy(found, ring->taken, sizeof(found));
	for (uint32_t i = 0; i < zcrx_pp_cache_count(pool); i++)
		found[pool->shared->cache[i]]++;
	count = zcrx_pp_ring_snapshot(pool, niovs, NIOVS);
	for (uint32_t i = 0; i < count; i++)
		found[niovs[i]]++;
	for (uint32_t i = 0; i < zcrx_area_free_count(&queue->area); i++)
		found[word_of(&queue->area.freelist[i])]++;
	CHECK_BYTES(found, ((uint32_t[]){1, 1, 0, 1}), sizeof(found));
}

static void the_ptr_ring_keeps_each_buffer_wherever_put_and_take_meet(void)
{
	/* There is room for one; for both if the take was before. Else the second is released. */
	const struct play plays[] = {
		{set_ring, take_from_ring, {put_into_ring}, judge_ring, 0},
		{set_ring, put_into_ring, {take_from_ring}, judge_ring, 0},
	};
	struct ring_scene ring = {.made = false};

	for (size_t i = 0; i < COUNT_OF(plays); i++)
		perform_everywhere(&plays[i], &ring);
	queue_memory_free(&ring.memory);
}

/* ---- doorbells ---------------------------------------------------------------------------- */

struct sleeper {
	struct zcrx_bell bell;
	shm_u32 posted;
	uint32_t seq;
	bool saw;
};

static void set_sleeper(void *scene)
{
	memset(scene, 0, sizeof(struct sleeper));
}

static void announce_and_look(void *scene)
{
	struct sleeper *sleeper = scene;

	sleeper->seq = zcrx_bell_prepare(&sleeper->bell, ZCRX_BELL_WORK);
	sleeper->saw = shm_load_acquire_u32(&sleeper->posted, POINT_COUNTER) != 0;
	shm_load_relaxed_u32(&sleeper->bell.seq,
			     POINT_BELL_SEQ); /* a last place, before the sleep */
}

static void post_and_ring(void *scene)
{
	struct sleeper *sleeper = scene;

	shm_store_release_u32(&sleeper->posted, 1, POINT_COUNTER);
	zcrx_bell_ring(&sleeper->bell, ZCRX_BELL_WORK);
}

/* For something that the sleeper has seen long ago. */
static void ring_late(void *scene)
{
	zcrx_bell_ring(&((struct sleeper *)scene)->bell, ZCRX_BELL_WORK);
}

/* What was posted was seen, or the sleep would end at once. */
static void judge_sleeper(void *scene)
{
	struct sleeper *sleeper = scene;

	if (shm_load_acquire_u32(&sleeper->posted, POINT_COUNTER))
		CHECK(sleeper->saw || word_of(&sleeper->bell.seq) != sleeper->seq);
}

static void a_post_is_seen_or_rung_wherever_it_falls(void)
{
	const struct play plays[] = {
		{set_sleeper, announce_and_look, {post_and_ring}, judge_sleeper, 0},
		{set_sleeper, announce_and_look, {ring_late, post_and_ring}, judge_sleeper, 0},
	};
	struct sleeper sleeper;

	for (size_t i = 0; i < COUNT_OF(plays); i++)
		perform_everywhere(&plays[i], &sleeper);
}

/* ---- the NIC delivers while the user is scrubbed --------------------------------------------- */

struct delivery {
	struct queue_memory memory;
	struct zcrx_nic_queue nq;
	uint32_t generation[NIOVS];
	bool made;
};

/* One buffer granted and open, two fragments of it with the user. */
static void set_delivery(void *scene)
{
	struct delivery *delivery = scene;
	struct zcrx_shape shape = small_shape();

	*delivery = (struct delivery){.memory = delivery->memory, .made = delivery->made};
	shape.num_niovs = NIOVS;
	set_memory(&delivery->memory, &shape, &delivery->made);
	delivery->nq.queue = delivery->memory.queue;
	delivery->nq.generation = delivery->generation;
	grant(&delivery->memory.queue, 1);
	REQUIRE(zcrx_nic_queue_room(&delivery->nq, 1, 1) == ZCRX_OFFERED);
	zcrx_nic_queue_open(&delivery->nq);
	zcrx_nic_queue_fragment(&delivery->nq, 0, 64, 0);
	zcrx_nic_queue_fragment(&delivery->nq, 0, 64, 0);
	zcrx_nic_queue_publish(&delivery->nq);
}

static void deliver_the_rest(void *scene)
{
	struct zcrx_nic_queue *nq = &((struct delivery *)scene)->nq;

	zcrx_nic_queue_fragment(nq, 0, 64, 0);
	zcrx_nic_queue_publish(nq);
	zcrx_nic_queue_fragment(nq, 0, 64, 0);
	zcrx_nic_queue_close(nq);
	zcrx_nic_queue_publish(nq);
}

static void scrub_delivery(void *scene)
{
	zcrx_ifq_scrub(&((struct delivery *)scene)->memory.queue.ifq, NULL);
}

static void judge_delivery(void *scene)
{
	struct delivery *delivery = scene;
	struct zcrx_queue *queue = &delivery->memory.queue;
	uint32_t niovs[4];

	scrub_delivery(scene);
	CHECK_EQ(zcrx_pp_ring_snapshot(&queue->ifq.pools[0], niovs, 4), 1);
	CHECK_EQ(word_of(&queue->area.niovs[0].pp_refs), 1);
	CHECK_EQ(word_of(&queue->area.niovs[0].user_refs), 0);
	CHECK_EQ(count_of(&queue->area.shared->ref_underflows), 0);
}

static void a_buffer_that_is_cut_comes_home_once_wherever_the_scrub_falls(void)
{
	const struct play plays[] = {
		{set_delivery, deliver_the_rest, {scrub_delivery}, judge_delivery, 0},
		{set_delivery,
		 deliver_the_rest,
		 {scrub_delivery, scrub_delivery},
		 judge_delivery,
		 0},
	};
	struct delivery delivery = {.made = false};

	for (size_t i = 0; i < COUNT_OF(plays); i++)
		perform_everywhere(&plays[i], &delivery);
	queue_memory_free(&delivery.memory);
}

/* ---- the consumer is asked to leave ------------------------------------------------------------ */

struct leaving {
	struct queue_memory memory;
	struct zcrx_consumer *consumer;
	int result;
	bool made;
};

static void set_leaving(void *scene)
{
	const struct zcrx_consumer_params params = {.output_fd = -1};
	struct leaving *leaving = scene;
	struct zcrx_shape shape = small_shape();

	if (leaving->made)
		zcrx_consumer_free(leaving->consumer);
	set_memory(&leaving->memory, &shape, &leaving->made);
	leaving->consumer =
		zcrx_consumer_new(&shape, 0, &leaving->memory.mapping, &params, NULL, 0);
	REQUIRE(leaving->consumer);
}

static void consume(void *scene)
{
	struct leaving *leaving = scene;

	leaving->result = zcrx_consumer_run(leaving->consumer, 1000);
}

/* The last delivery, and only then the word to leave. */
static void deliver_and_stop(void *scene)
{
	struct zcrx_queue *queue = &((struct leaving *)scene)->memory.queue;

	zcrx_cq_put(&queue->cq, 0, 64, IORING_CQE_F_MORE, 0);
	zcrx_cq_publish(&queue->cq);
	zcrx_queue_stop_consumer(queue);
}

static void judge_leaving(void *scene)
{
	struct leaving *leaving = scene;

	CHECK_EQ(leaving->result, 1);
	CHECK_EQ(count_of(&leaving->memory.queue.notes->fragments), 1);
}

static void a_consumer_reads_everything_whenever_it_is_asked_to_leave(void)
{
	/* It waits for ever without the intrusion; a few idle rounds are all there is to see. */
	const struct play play = {set_leaving, consume, {deliver_and_stop}, judge_leaving, 40};
	struct leaving leaving = {.made = false};

	perform_everywhere(&play, &leaving);
	zcrx_consumer_free(leaving.consumer);
	queue_memory_free(&leaving.memory);
}

/* ---- a dying pool gets its last buffer back -------------------------------------------- */

struct dying {
	struct queue_memory memory;
	bool made;
	uint32_t niov;
};

/* The stack holds the last buffer of the old pool, whose ptr ring takes none. */
static void set_dying(void *scene)
{
	struct dying *dying = scene;
	struct zcrx_shape shape = small_shape();
	struct zcrx_ifq *ifq = &dying->memory.queue.ifq;
	int64_t niov;

	set_memory(&dying->memory, &shape, &dying->made);
	niov = zcrx_pp_alloc(zcrx_ifq_pool(ifq));
	REQUIRE(niov >= 0);
	dying->niov = (uint32_t)niov;
	zcrx_pp_refuse_ring(zcrx_ifq_pool(ifq), 1);
	REQUIRE(zcrx_ifq_restart(ifq) == 1);
}

static void drop_last(void *scene)
{
	struct dying *dying = scene;

	zcrx_ifq_drop(&dying->memory.queue.ifq, dying->niov, 1);
}

static void look_again(void *scene)
{
	struct dying *dying = scene;

	zcrx_ifq_retry_release(&dying->memory.queue.ifq);
}

static void judge_dying(void *scene)
{
	struct dying *dying = scene;
	struct zcrx_ifq *ifq = &dying->memory.queue.ifq;

	look_again(scene);
	CHECK_EQ(zcrx_pp_phase(&ifq->pools[0]), ZCRX_POOL_UNUSED);
	CHECK_EQ(count_of(&ifq->shared->destroy_warnings), 0);
	CHECK_EQ(count_of(&ifq->shared->warnings_due), 0);
	CHECK_EQ(word_of(&ifq->shared->refs), 2);
	CHECK_EQ(zcrx_area_free_count(ifq->area), 8);
}

static void a_dying_pool_is_not_gone_before_its_last_buffer_is_home(void)
{
	const struct play play = {set_dying, drop_last, {look_again}, judge_dying, 0};
	struct dying dying = {.made = false};

	perform_everywhere(&play, &dying);
	queue_memory_free(&dying.memory);
}

/* ---- a user that lies, recovers, rewrites, or dies ---------------------------------------------- */

struct liar {
	struct queue_memory memory; /* the user's view */
	struct zcrx_queue provider, control;
	struct zcrx_returns returns;
	struct zcrx_reconciler reconciler;
	const struct zcrx_fault_rule *rules;
	jmp_buf death;
	bool made, is_dead;
};

static void end_liar(struct liar *liar)
{
	zcrx_returns_destroy(&liar->returns);
	zcrx_reconciler_destroy(&liar->reconciler);
}

static void give_next(struct liar *liar, uint32_t niov, uint32_t count)
{
	while (count--)
		zcrx_returns_give(&liar->returns, (struct zcrx_held){.off = (uint64_t)niov << 12,
								     .len = 64,
								     .generation = 1});
	zcrx_returns_flush(&liar->returns);
}

static void refill_liar(void *scene)
{
	struct zcrx_ifq *ifq = &((struct liar *)scene)->provider.ifq;

	zcrx_ifq_refill_ring(ifq, &ifq->pools[0]);
}

static void reconcile_liar(void *scene)
{
	struct liar *liar = scene;

	zcrx_reconcile(&liar->reconciler, &liar->control);
}

static void refill_and_reconcile(void *scene)
{
	refill_liar(scene);
	reconcile_liar(scene);
}

/*
 * Four buffers with the user, four fragments each, a ring of eight. Three
 * returns are over; all rules fire at the fourth.
 */
static void set_liar(void *scene)
{
	const struct zcrx_consumer_params params = {.output_fd = -1};
	struct zcrx_shape shape = small_shape();
	struct liar *liar = scene;
	const struct zcrx_fault_rule *rules = liar->rules;

	if (liar->made)
		end_liar(liar);
	*liar = (struct liar){.memory = liar->memory, .made = liar->made, .rules = rules};
	shape.num_niovs = NIOVS;
	shape.rq_entries = 8;
	set_memory(&liar->memory, &shape, &liar->made);
	REQUIRE(zcrx_queue_attach(&liar->provider, &shape, 0, &liar->memory.mapping) == 0);
	REQUIRE(zcrx_queue_attach(&liar->control, &shape, 0, &liar->memory.mapping) == 0);
	liar->provider.ifq.is_checked = true;
	REQUIRE(zcrx_reconciler_init(&liar->reconciler, NIOVS) == 0);
	REQUIRE(zcrx_returns_init(&liar->returns, &liar->memory.queue, &params, rules, 3) == 0);
	liar->returns.writer.rq = user_of(&liar->memory.queue);
	for (uint32_t i = 0; i < NIOVS; i++) {
		uint32_t niov = (uint32_t)zcrx_pp_alloc(&liar->provider.ifq.pools[0]);

		deliver(&liar->provider, niov, 4);
		for (uint32_t k = 0; k < 4; k++)
			zcrx_findings_received(
				&liar->returns.findings,
				&(struct zcrx_held){.off = (uint64_t)niov << 12, .generation = 1},
				shape.initial_index);
	}
	give_next(liar, 1, 3);
	refill_liar(scene);
}

/* The rules fire. */
static void commit(void *scene)
{
	give_next(scene, 2, 2);
}

/* What follows it: a lie is put right first, then more is written, to the end of the ring. */
static void go_on(void *scene)
{
	give_next(scene, 3, 4);
	give_next(scene, 0, 4);
}

static void commit_and_go_on(void *scene)
{
	struct liar *liar = scene;

	if (setjmp(liar->death)) {
		stage.inside = false;
		return;
	}
	commit(scene);
	go_on(scene);
}

static void set_committed(void *scene)
{
	set_liar(scene);
	commit(scene);
}

/* Killed, before the point at which it is. */
static void die(void *scene)
{
	struct liar *liar = scene;

	if (liar->is_dead)
		return;
	liar->is_dead = true;
	if (stage.armed)
		longjmp(liar->death, 1);
}

static void judge_liar(void *scene)
{
	struct liar *liar = scene;
	struct zcrx_reconciler *reconciler = &liar->reconciler;

	for (uint32_t i = 0; i < 20; i++) {
		refill_liar(scene);
		reconcile_liar(scene);
		if (!liar->is_dead)
			zcrx_returns_flush(&liar->returns);
	}
	if (!liar->is_dead)
		CHECK_EQ(liar->returns.pending_tail, liar->returns.pending_head);
	zcrx_queue_claim(&liar->control);
	reconcile_liar(scene);
	CHECK_EQ(reconciler->mismatch_count, 0);
	CHECK_EQ(reconciler->lost, 0);
	CHECK_EQ(reconciler->checked, zcrx_queue_consumed(&liar->control));
}

static void every_verdict_was_foreseen_wherever_a_refill_and_its_hostile_user_meet(void)
{
	const struct zcrx_fault_rule idle = rule_of(ZCRX_FAULT_NONE);
	struct zcrx_fault_rule rewrite = rule_with(ZCRX_FAULT_RQE_REWRITE, 3, 2);
	const struct zcrx_fault_rule variants[][3] = {
		{rule_with(ZCRX_FAULT_TAIL_BACK, 3, 3), idle, idle},
		{rule_at(ZCRX_FAULT_TAIL_RANDOM, 3), rule_at(ZCRX_FAULT_BAD_PAD, 3), idle},
		{rule_at(ZCRX_FAULT_HEAD_SCRIBBLE, 3), rule_with(ZCRX_FAULT_TAIL_BACK, 3, 4), idle},
		{rule_with(ZCRX_FAULT_TAIL_EARLY, 3, 0), rule_with(ZCRX_FAULT_TAIL_BACK, 4, 4),
		 idle},
		{rewrite, rule_with(ZCRX_FAULT_DOUBLE_RETURN, 3, 1), idle},
		{rule_with(ZCRX_FAULT_RQ_OVERRUN, 3, 3), rule_with(ZCRX_FAULT_BAD_PAD, 3, 2), idle},
		{rule_with(ZCRX_FAULT_TAIL_AHEAD, 3, 9), rule_with(ZCRX_FAULT_TAIL_BACK, 4, 4),
		 idle},
	};
	const struct play plays[] = {
		/* A refill, in whose middle the tail lies and is put right. */
		{set_liar, refill_liar, {commit, go_on}, judge_liar, 0},
		{set_committed, refill_liar, {go_on, reconcile_liar}, judge_liar, 0},
		/* The user, in whose middle it is refilled and looked at. */
		{set_liar, commit_and_go_on, {refill_and_reconcile}, judge_liar, 0},
		{set_liar, commit_and_go_on, {refill_liar, reconcile_liar}, judge_liar, 40},
		{set_liar, commit_and_go_on, {refill_liar, die}, judge_liar, 40},
		{set_liar, commit_and_go_on, {die}, judge_liar, 0},
	};
	struct liar liar = {.made = false};

	for (size_t i = 0; i < COUNT_OF(variants) * COUNT_OF(plays); i++) {
		liar.rules = variants[i / COUNT_OF(plays)];
		perform_everywhere(&plays[i % COUNT_OF(plays)], &liar);
	}
	end_liar(&liar);
	queue_memory_free(&liar.memory);
}

CHECK_MAIN(CASE(user_references_add_up_wherever_others_take_and_give),
	   CASE(one_of_two_drops_the_last_reference_wherever_they_meet),
	   CASE(refill_and_scrub_bring_each_buffer_home_once_wherever_they_meet),
	   CASE(the_head_is_seen_before_or_after_a_refill_never_between),
	   CASE(an_entry_is_judged_by_one_copy_whenever_it_is_rewritten),
	   CASE(the_ptr_ring_keeps_each_buffer_wherever_put_and_take_meet),
	   CASE(a_post_is_seen_or_rung_wherever_it_falls),
	   CASE(a_buffer_that_is_cut_comes_home_once_wherever_the_scrub_falls),
	   CASE(a_consumer_reads_everything_whenever_it_is_asked_to_leave),
	   CASE(a_dying_pool_is_not_gone_before_its_last_buffer_is_home),
	   CASE(every_verdict_was_foreseen_wherever_a_refill_and_its_hostile_user_meet))
