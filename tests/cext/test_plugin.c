/* SPDX-License-Identifier: MIT */
/*
 * A provider of somebody else's behind our page pools: what it says is logged
 * and counted, it is shown no more of the ring than may be read, faults and
 * flush reach it, and what cannot be a provider is refused or ends the process.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plain_provider.c"
#include "queue_memory.h"

#define JUDGEMENTS_MAX 1024U
#define PAGE(niov) ((uint64_t)(niov) << 12)
#define ALIAS(niov) (UINT64_C(1) << 44 | PAGE(niov))

struct rig {
	struct zcrx_mapping mapping;
	struct zcrx_queue queue;
	struct zcrx_ifq *ifq;
	struct zcrx_rq_user user;
	struct zcrx_trace trace;
	struct zcrx_judgement judged[JUDGEMENTS_MAX];
};

static void rig_init_with(struct rig *rig, const struct zcrx_shape *shape,
			  const struct zcrx_provider_ops *ops)
{
	memset(rig, 0, sizeof(*rig));
	rig->mapping = queue_objects(shape, zeroed(zcrx_run_size()), zeroed(zcrx_bells_size()));
	rig->mapping.provider = ops;
	REQUIRE(zcrx_queue_attach(&rig->queue, shape, 0, &rig->mapping) == 0);
	zcrx_run_format(rig->queue.run, 1);
	REQUIRE(zcrx_queue_format(&rig->queue) == 0);
	rig->ifq = &rig->queue.ifq;
	rig->user = user_of(&rig->queue);
	rig->trace = (struct zcrx_trace){.entries = rig->judged, .capacity = JUDGEMENTS_MAX};
	rig->ifq->trace = &rig->trace;
}

static void rig_init(struct rig *rig)
{
	struct zcrx_shape shape = small_shape();

	rig_init_with(rig, &shape, &zcrx_provider);
}

static void rig_free(struct rig *rig)
{
	free(rig->mapping.run);
	free(rig->mapping.bells);
	queue_objects_free(&rig->mapping);
}

static int64_t alloc(struct rig *rig)
{
	return zcrx_pp_alloc(zcrx_ifq_pool(rig->ifq));
}

/* All buffers with the user, one fragment each. */
static void deliver_all(struct rig *rig)
{
	for (uint32_t i = 0; i < rig->queue.area.num_niovs; i++) {
		int64_t niov = alloc(rig);

		REQUIRE(niov >= 0);
		deliver(&rig->queue, (uint32_t)niov, 1);
	}
}

static void put(struct rig *rig, uint64_t off, uint32_t pad)
{
	zcrx_rq_user_put(&rig->user, off, 0, pad);
	zcrx_rq_user_publish(&rig->user);
}

static uint64_t verdicts(const struct rig *rig, enum zcrx_verdict verdict)
{
	return count_of(&rig->ifq->shared->verdicts[verdict]);
}

static uint64_t consumed(const struct rig *rig)
{
	return count_of(&rig->ifq->shared->consumed);
}

static uint32_t instance_refs(const struct rig *rig)
{
	return word_of(&rig->ifq->shared->refs);
}

/* ---- what it says --------------------------------------------------------------- */

static void each_verdict_is_logged_counted_and_traced(void)
{
	static const uint8_t expected[] = {
		ZCRX_STILL_REFERENCED,
		ZCRX_BAD_PAD,
		ZCRX_BAD_AREA,
		ZCRX_BAD_INDEX,
		ZCRX_ACCEPTED,
		ZCRX_NO_USER_REF,
		ZCRX_ACCEPTED | ZCRX_LOG_ALIAS,
	};
	struct rig rig;
	uint32_t start;

	rig_init(&rig);
	start = rig.queue.shape.initial_index;
	deliver_all(&rig);
	hand_out(&rig.queue, 3, 1);
	put(&rig, PAGE(3), 0);
	put(&rig, PAGE(3), 7);
	put(&rig, UINT64_C(1) << 48 | PAGE(3), 0);
	put(&rig, PAGE(8), 0);
	put(&rig, PAGE(3), 0);
	put(&rig, PAGE(3), 0);
	put(&rig, ALIAS(5), 0);
	CHECK_EQ(alloc(&rig), 5); /* the cache is a stack */
	CHECK_EQ(alloc(&rig), 3);
	CHECK_EQ(consumed(&rig), COUNT_OF(expected));
	CHECK_BYTES(rig.ifq->verdict_log, expected, sizeof(expected));
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++)
		CHECK_EQ(verdicts(&rig, verdict), verdict == ZCRX_ACCEPTED   ? 2 :
						  verdict == ZCRX_OTHER_POOL ? 0 :
									       1);
	CHECK_EQ(count_of(&rig.ifq->shared->aliases), 1);
	REQUIRE(rig.trace.count == COUNT_OF(expected));
	for (uint32_t i = 0; i < COUNT_OF(expected); i++) {
		CHECK_EQ(rig.judged[i].index, start + i);
		CHECK_EQ(rig.judged[i].verdict, expected[i] & ~ZCRX_LOG_ALIAS);
	}
	CHECK_EQ(rig.judged[3].niov, 8);
	CHECK(rig.judged[6].alias);
	CHECK_EQ(word_of(rig.ifq->rq.head), (uint32_t)(start + COUNT_OF(expected)));
	CHECK_EQ(word_of(&rig.ifq->shared->cached_rq_head), (uint32_t)(start + COUNT_OF(expected)));
	rig_free(&rig);
}

static void a_return_to_a_pool_that_was_left_goes_there(void)
{
	struct rig rig;

	rig_init(&rig);
	deliver_all(&rig);
	REQUIRE(zcrx_ifq_restart(rig.ifq) == 1);
	put(&rig, PAGE(6), 0);
	CHECK_EQ(alloc(&rig), -ENOMEM);
	CHECK_EQ(verdicts(&rig, ZCRX_OTHER_POOL), 1);
	CHECK_EQ(count_of(&rig.ifq->shared->alloc_failures), 1);
	zcrx_ifq_retry_release(rig.ifq); /* what came back to it goes to the freelist */
	CHECK_EQ(alloc(&rig), 6);
	rig_free(&rig);
}

/* Says more than one call may judge, and of entries that are not in a row. */
static bool talkative_alloc(struct zcrx_provider_queue *queue, uint32_t pool)
{
	(void)pool;
	for (uint32_t i = 0; i < 2 * ZCRX_PROVIDER_REFILL; i++)
		queue->services->judged(queue, i, ZCRX_PROVIDER_BAD_PAD, 0, false);
	queue->services->judged(queue, 5000, ZCRX_PROVIDER_BAD_AREA, 0, false);
	queue->services->judged(queue, 4000, ZCRX_PROVIDER_BAD_AREA, 0, false);
	return true; /* a lie: the cache is empty */
}

static void nothing_that_it_says_is_lost(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_provider_ops ops = zcrx_provider;
	struct rig rig;

	ops.alloc_netmems = talkative_alloc;
	rig_init_with(&rig, &shape, &ops);
	CHECK_EQ(alloc(&rig), -ENOMEM);
	CHECK_EQ(consumed(&rig), 130);
	CHECK_EQ(verdicts(&rig, ZCRX_BAD_PAD), 128);
	CHECK_EQ(rig.ifq->verdict_log[127], ZCRX_BAD_PAD);
	CHECK_EQ(rig.ifq->verdict_log[129], ZCRX_BAD_AREA);
	CHECK_EQ(rig.judged[127].index, 127);
	CHECK_EQ(rig.judged[128].index, 5000);
	CHECK_EQ(rig.judged[129].index, 4000);
	rig_free(&rig);
}

/* ---- what it is shown ------------------------------------------------------------ */

static void a_ring_without_a_user_is_not_read(void)
{
	struct rig rig;
	uint32_t head;

	rig_init(&rig);
	head = word_of(rig.ifq->rq.head);
	rig.ifq->detached = true;
	for (uint32_t i = 0; i < 3; i++)
		put(&rig, 0, 1);
	CHECK_EQ(alloc(&rig), 0); /* the freelist serves */
	CHECK_EQ(consumed(&rig), 0);
	CHECK_EQ(word_of(rig.ifq->rq.head), head);
	rig.ifq->detached = false;
	zcrx_pp_empty_cache(zcrx_ifq_pool(rig.ifq));
	CHECK_EQ(zcrx_ifq_refill_ring(rig.ifq, zcrx_ifq_pool(rig.ifq)), 3);
	rig_free(&rig);
}

static void no_more_is_read_than_the_log_has_room_for(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_page_pool *pool;
	struct rig rig;

	shape.log_entries = 16;
	rig_init_with(&rig, &shape, &zcrx_provider);
	rig.ifq->is_checked = true;
	pool = zcrx_ifq_pool(rig.ifq);
	for (uint32_t i = 0; i < 20; i++)
		put(&rig, 0, 1);
	CHECK_EQ(zcrx_ifq_refill_ring(rig.ifq, pool), 16);
	CHECK_EQ(zcrx_ifq_refill_ring(rig.ifq, pool), 0);
	shm_store_release_u64(&rig.ifq->shared->checked, 3, POINT_LOG);
	CHECK_EQ(zcrx_ifq_refill_ring(rig.ifq, pool), 3);
	shm_store_release_u64(&rig.ifq->shared->checked, 19, POINT_LOG);
	CHECK_EQ(zcrx_ifq_refill_ring(rig.ifq, pool), 1);
	CHECK_EQ(consumed(&rig), 20);
	rig_free(&rig);
}

static void strictness_reaches_it(void)
{
	struct zcrx_shape shape = small_shape();
	struct rig rig;

	shape.contract.deviations = ZCRX_CONTRACT_STRICT_ALIAS;
	rig_init_with(&rig, &shape, &zcrx_provider);
	deliver_all(&rig);
	put(&rig, ALIAS(5), 0);
	CHECK_EQ(alloc(&rig), -ENOMEM);
	CHECK_EQ(rig.ifq->verdict_log[0], ZCRX_BAD_INDEX | ZCRX_LOG_ALIAS);
	rig_free(&rig);
}

/* ---- faults, flush, scrub, teardown ---------------------------------------------- */

static void a_hidden_freelist_gives_nothing_for_so_many_calls(void)
{
	struct rig rig;

	rig_init(&rig);
	zcrx_ifq_hide_freelist(rig.ifq, 2);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), -ENOMEM);
	CHECK_EQ(alloc(&rig), -ENOMEM);
	CHECK_EQ(alloc(&rig), -ENOMEM);
	CHECK_EQ(count_of(&rig.ifq->shared->alloc_failures), 2);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), 7);
	CHECK_EQ(alloc(&rig), 0);
	rig_free(&rig);
}

static void a_flush_judges_all_and_leaves_the_freelist_in_order(void)
{
	struct rig rig;
	shm_u32 *freelist;

	rig_init(&rig);
	freelist = rig.queue.area.freelist;
	for (uint32_t i = 0; i < 100; i++)
		put(&rig, 0, 1);
	CHECK_EQ(zcrx_ifq_flush(rig.ifq), 100);
	CHECK_EQ(verdicts(&rig, ZCRX_BAD_PAD), 100);
	CHECK_EQ(zcrx_area_free_count(&rig.queue.area), 8);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(word_of(&freelist[i]), i);
	CHECK_EQ(word_of(&zcrx_ifq_pool(rig.ifq)->shared->hold_count), 0);
	CHECK_EQ(count_of(&rig.ifq->shared->alloc_failures), 0);
	CHECK_EQ(alloc(&rig), 0); /* open again */
	rig_free(&rig);
}

static void a_scrub_says_what_it_took_and_how_many_buffers_came_home(void)
{
	struct rig rig;
	uint64_t buffers = 10;

	rig_init(&rig);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(alloc(&rig), i);
	deliver(&rig.queue, 0, 3);
	deliver(&rig.queue, 1, 1);
	hand_out(&rig.queue, 2, 2); /* the stack keeps its reference */
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, &buffers), 6);
	CHECK_EQ(buffers, 12);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, &buffers), 0);
	CHECK_EQ(buffers, 12);
	CHECK_EQ(zcrx_ifq_scrub(rig.ifq, NULL), 0);
	/* By buffer, for whoever judges what comes back afterwards. */
	CHECK_BYTES(rig.queue.area.scrubbed, ((uint32_t[]){3, 1, 2, 0}), 16);
	rig_free(&rig);
}

static void a_pool_that_cannot_be_never_reaches_it(void)
{
	struct rig rig;
	struct zcrx_page_pool *next;

	rig_init(&rig);
	next = &rig.ifq->pools[1];
	next->params.device++;
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), -EINVAL);
	next->params.device--;
	next->params.dma_map = true;
	CHECK_EQ(zcrx_ifq_restart(rig.ifq), -EOPNOTSUPP);
	CHECK_EQ(instance_refs(&rig), 2);
	rig_free(&rig);
}

static void a_teardown_with_buffers_out_is_warned_of(void)
{
	struct rig rig;

	rig_init(&rig);
	CHECK_EQ(zcrx_ifq_take_copy_buffer(rig.ifq), 7);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), -EBUSY);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 1);
	CHECK_EQ(instance_refs(&rig), 2);
	rig_free(&rig);
	rig_init(&rig);
	CHECK_EQ(zcrx_ifq_teardown(rig.ifq), 0);
	CHECK_EQ(count_of(&rig.ifq->shared->destroy_warnings), 0);
	CHECK_EQ(instance_refs(&rig), 1);
	rig_free(&rig);
}

/* ---- what it must not say -------------------------------------------------------- */

static enum { NO_POOL, NO_NIOV, NO_VERDICT, FULL_CACHE, NO_COPY } lie;

static bool lying_alloc(struct zcrx_provider_queue *queue, uint32_t pool)
{
	switch (lie) {
	case NO_POOL:
		queue->services->cache_count(queue, ZCRX_POOLS_MAX);
		break;
	case NO_NIOV:
		queue->services->return_niov(queue, queue->num_niovs);
		break;
	case NO_VERDICT:
		queue->services->judged(queue, 0, (enum zcrx_provider_verdict)7, 0, false);
		break;
	case FULL_CACHE:
		for (uint32_t i = 0; i <= ZCRX_PP_CACHE_SIZE; i++)
			queue->services->cache_push(queue, pool, 0);
		break;
	case NO_COPY:
		break;
	}
	return true;
}

static int64_t lying_copy_buffer(struct zcrx_provider_queue *queue)
{
	return queue->num_niovs;
}

static void a_number_that_leads_nowhere_ends_the_process(void)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_provider_ops ops = zcrx_provider;
	struct rig rig;

	ops.alloc_netmems = lying_alloc;
	ops.copy_buffer = lying_copy_buffer;
	rig_init_with(&rig, &shape, &ops);
	for (lie = NO_POOL; lie <= NO_COPY; lie++) {
		int status = 0;
		pid_t child = fork();

		REQUIRE(child >= 0);
		if (child == 0) {
			const struct rlimit none = {0, 0};

			setrlimit(RLIMIT_CORE, &none);
			REQUIRE(freopen("/dev/null", "w", stderr)); /* it says what it was */
			if (lie == NO_COPY)
				zcrx_ifq_take_copy_buffer(rig.ifq);
			else
				alloc(&rig);
			_exit(0);
		}
		REQUIRE(waitpid(child, &status, 0) == child);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
	rig_free(&rig);
}

/* ---- opening --------------------------------------------------------------------- */

static void check_refused(const char *path, const char *expected)
{
	char why[256] = "";

	CHECK(zcrx_plugin_open(path, why, sizeof(why)) == NULL);
	if (!CHECK(strstr(why, expected) == why))
		fprintf(stderr, "%s: %s\n", path, why);
}

static void what_is_no_provider_is_not_opened(void)
{
	char why[8];

	check_refused(LIBRARIES "/nothing.so", "it cannot be opened: ");
	check_refused(__FILE__, "it cannot be opened: ");
	check_refused(LIBRARIES "/foreign_no_table.so",
		      "it does not define the symbol zcrx_provider");
	check_refused(LIBRARIES "/foreign_abi.so", "its ABI version is 2; this program speaks 1");
	check_refused(LIBRARIES "/foreign_size.so",
		      "its struct zcrx_provider_ops has 8 bytes; ABI 1 has ");
	check_refused(LIBRARIES "/foreign_init.so", "it has no init()");
	check_refused(LIBRARIES "/foreign_alloc.so", "it has no alloc_netmems()");
	check_refused(LIBRARIES "/foreign_release.so", "it has no release_netmem()");
	check_refused(LIBRARIES "/foreign_destroy.so", "it has no destroy()");
	check_refused(LIBRARIES "/foreign_scrub.so", "it has no scrub()");
	check_refused(LIBRARIES "/foreign_copy.so", "it has no copy_buffer()");
	CHECK(zcrx_plugin_open(LIBRARIES "/nothing.so", why, sizeof(why)) == NULL);
	CHECK_EQ(strlen(why), sizeof(why) - 1); /* cut, not overrun */
}

static void a_library_serves_a_queue(void)
{
	struct zcrx_shape shape = small_shape();
	char why[256] = "";
	const struct zcrx_provider_ops *ops =
		zcrx_plugin_open(LIBRARIES "/foreign_good.so", why, sizeof(why));
	struct rig rig;

	if (!ops)
		fprintf(stderr, "%s\n", why);
	REQUIRE(ops);
	CHECK(strcmp(ops->name, "library") == 0);
	rig_init_with(&rig, &shape, ops);
	deliver_all(&rig);
	put(&rig, PAGE(2), 0);
	CHECK_EQ(alloc(&rig), 2);
	CHECK_EQ(verdicts(&rig, ZCRX_ACCEPTED), 1);
	rig_free(&rig);
}

CHECK_MAIN(CASE(each_verdict_is_logged_counted_and_traced),
	   CASE(a_return_to_a_pool_that_was_left_goes_there), CASE(nothing_that_it_says_is_lost),
	   CASE(a_ring_without_a_user_is_not_read), CASE(no_more_is_read_than_the_log_has_room_for),
	   CASE(strictness_reaches_it), CASE(a_hidden_freelist_gives_nothing_for_so_many_calls),
	   CASE(a_flush_judges_all_and_leaves_the_freelist_in_order),
	   CASE(a_scrub_says_what_it_took_and_how_many_buffers_came_home),
	   CASE(a_pool_that_cannot_be_never_reaches_it),
	   CASE(a_teardown_with_buffers_out_is_warned_of),
	   CASE(a_number_that_leads_nowhere_ends_the_process),
	   CASE(what_is_no_provider_is_not_opened), CASE(a_library_serves_a_queue))
