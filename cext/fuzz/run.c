/* SPDX-License-Identifier: MIT */
/*
 * What each operation does to the instance and to the judge. The comparison runs after
 * every operation in which code of the provider, the page pool or the area ran; what the
 * user alone writes cannot change what is not the user's.
 *
 * Nothing that the instance answered is used to reach memory: where a number is
 * needed, the judge's is taken.
 */
#include "compare.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define RETURNS_MAX (1U << 16)

/* ---- operations ------------------------------------------------------------------------------ */

/* Note what both sides answered; false if they differ. */
static bool answer(struct bout *bout, int64_t expected, int64_t actual)
{
	struct fuzz_runner *runner = bout->runner;
	char words[2][24];

	if (runner->expected.count < FUZZ_RESULTS_MAX) {
		runner->expected.values[runner->expected.count++] = expected;
		runner->actual.values[runner->actual.count++] = actual;
	}
	if (expected == actual)
		return true;
	/* Why it differs is often told by an entry. */
	if (!compare_verdicts(bout))
		return false;
	snprintf(words[0], sizeof(words[0]), "%" PRId64, expected);
	snprintf(words[1], sizeof(words[1]), "%" PRId64, actual);
	return bout_found(bout, FUZZ_FOUND_RESULT, words[0], words[1], "answer of %s",
			  fuzz_words[bout->op->kind]);
}

/* The judge saw what the provider saw. */
static void show_what_was_seen(struct bout *bout)
{
	struct fuzz_watch *watch = &bout->subject->watch;

	bout->judge->seen = watch->seen;
	bout->judge->seen_count = watch->is_noting ? watch->seen_count : 0;
}

#define ALLOC_SAID_MAX 512U

static bool do_alloc(struct bout *bout)
{
	for (uint32_t i = 0; i < bout->op->count; i++) {
		int64_t actual = zcrx_pp_alloc(subject_pool(bout->subject));
		int64_t expected;

		show_what_was_seen(bout);
		expected = judge_alloc(bout->judge);
		if (!answer(bout, expected, actual))
			return false;
		/* Each call can judge a batch; what is judged in one operation has a bound. */
		if (expected < 0 || bout->judge->said_count + JUDGE_BATCH > ALLOC_SAID_MAX)
			break;
	}
	return true;
}

/* The next buffer from *niov on for which `refs` counts something; false after a whole round. */
static bool find_held(const struct bout *bout, bool by_user, uint32_t *niov, uint32_t *left)
{
	const struct judge *judge = bout->judge;
	uint32_t now = *niov;

	for (uint32_t after = *left; after-- > 0;
	     now = now + 1 < judge->shape.num_niovs ? now + 1 : 0) {
		if (by_user ? judge->niovs[now].user_refs : judge->stack_refs[now]) {
			*left = after;
			*niov = now;
			return true;
		}
	}
	*left = 0;
	return false;
}

static void do_drop_one(struct bout *bout, uint32_t niov)
{
	zcrx_ifq_drop(&bout->subject->ifq, niov, 1);
	judge_drop(bout->judge, niov);
}

static void do_deliver_one(struct bout *bout, uint32_t niov)
{
	uint32_t fragments = 1U + bout->op->mode % 4U;

	zcrx_pp_ref_get(&bout->subject->area, niov, fragments);
	zcrx_user_ref_give(&bout->subject->area, niov, fragments);
	judge_deliver(bout->judge, niov, fragments);
	if (bout->op->mode < 4)
		do_drop_one(bout, niov);
}

/* All fragments of one buffer. */
static void do_deliver_many(struct bout *bout)
{
	uint32_t fragments = 1U + bout->op->value % FUZZ_FRAGMENTS_MAX;
	uint32_t niov = bout->op->pick % bout->judge->shape.num_niovs;
	uint32_t left = bout->judge->shape.num_niovs;

	if (!find_held(bout, false, &niov, &left))
		return;
	zcrx_pp_ref_get(&bout->subject->area, niov, fragments);
	zcrx_user_ref_give(&bout->subject->area, niov, fragments);
	judge_deliver(bout->judge, niov, fragments);
	if (bout->op->mode == 0)
		do_drop_one(bout, niov);
}

static void push_entry(struct bout *bout, const struct io_uring_zcrx_rqe *rqe)
{
	struct judge *judge = bout->judge;
	uint32_t slot = judge->tail & (judge->shape.rq_entries - 1);

	judge->rqes[slot] = *rqe;
	memcpy(&bout->subject->ifq.rq.rqes[slot], rqe, sizeof(*rqe));
	judge->tail++;
}

/* The user publishes what it wrote: the word is set as it stands. */
static void publish(struct bout *bout)
{
	shm_store_relaxed_u32(bout->subject->ifq.rq.tail, bout->judge->tail, POINT_RQ_TAIL_STORE);
}

static void do_return_one(struct bout *bout, uint32_t niov)
{
	struct io_uring_zcrx_rqe rqe = {.off = (uint64_t)niov << 12};
	uint32_t times = 1;

	switch ((enum fuzz_return_mode)bout->op->mode) {
	case FUZZ_RETURN_ONE:
		break;
	case FUZZ_RETURN_ALL:
		times = bout->judge->niovs[niov].user_refs;
		break;
	case FUZZ_RETURN_INSIDE:
		rqe.off |= 0xfff;
		rqe.len = UINT32_MAX;
		break;
	case FUZZ_RETURN_ALIAS:
		rqe.off |= (uint64_t)1 << 44;
		break;
	}
	/* More than a ring full would only be written over itself. */
	if (times > bout->judge->shape.rq_entries)
		times = bout->judge->shape.rq_entries + 1;
	for (; times > 0 && bout->returns_left > 0; times--, bout->returns_left--)
		push_entry(bout, &rqe);
}

/* For `count` buffers that the stack or the user holds, from the picked one on. */
static void for_held(struct bout *bout, bool by_user, void (*visit)(struct bout *, uint32_t niov))
{
	uint32_t niovs = bout->judge->shape.num_niovs;
	uint32_t niov = bout->op->pick % niovs;
	uint32_t left = niovs;

	for (uint32_t i = 0; i < bout->op->count && find_held(bout, by_user, &niov, &left); i++) {
		uint32_t held = niov;

		niov = niov + 1 < niovs ? niov + 1 : 0;
		visit(bout, held);
	}
}

static bool do_copy(struct bout *bout)
{
	for (uint32_t i = 0; i < bout->op->count; i++) {
		int64_t actual = zcrx_ifq_take_copy_buffer(&bout->subject->ifq);
		int64_t expected = judge_copy(bout->judge);

		if (!answer(bout, expected, actual))
			return false;
		if (expected < 0)
			break;
	}
	return true;
}

static void do_tail(struct bout *bout)
{
	struct judge *judge = bout->judge;

	switch ((enum fuzz_tail_mode)bout->op->mode) {
	case FUZZ_TAIL_MOVED:
		judge->tail += bout->op->value;
		break;
	case FUZZ_TAIL_PAST_HEAD:
		judge->tail = judge->cached_head + bout->op->value;
		break;
	case FUZZ_TAIL_ABSOLUTE:
		judge->tail = bout->op->value;
		break;
	}
	publish(bout);
}

static void arm_rewrite(struct bout *bout)
{
	struct fuzz_watch *watch = &bout->subject->watch;

	watch->is_armed = true;
	watch->loads_left = bout->op->count;
	watch->slots_ahead = bout->op->pick;
	watch->rewrite = bout->op->rqe;
}

static bool do_scrub(struct bout *bout)
{
	uint64_t buffers = 0, wanted;
	bool counts = bout->op->mode;
	uint64_t actual = zcrx_ifq_scrub(&bout->subject->ifq, counts ? &buffers : NULL);
	uint64_t expected = judge_scrub(bout->judge, &wanted);

	return answer(bout, (int64_t)expected, (int64_t)actual) &&
	       (!counts || bout_same(bout, FUZZ_FOUND_RESULT, "buffers that came home by the scrub",
				     wanted, buffers));
}

static bool do_refill(struct bout *bout)
{
	struct zcrx_page_pool *pool = subject_pool(bout->subject);
	uint32_t actual = pool ? zcrx_ifq_refill_ring(&bout->subject->ifq, pool) : 0;

	show_what_was_seen(bout);
	return answer(bout, judge_refill(bout->judge), actual);
}

static bool do_flush(struct bout *bout)
{
	uint32_t actual = zcrx_ifq_flush(&bout->subject->ifq);

	show_what_was_seen(bout);
	return answer(bout, judge_flush(bout->judge), actual);
}

static bool do_retry(struct bout *bout)
{
	uint32_t slot = bout->op->pick % JUDGE_POOLS;
	struct zcrx_page_pool *pool = &bout->subject->ifq.pools[slot];
	int destroyed;

	if (bout->op->mode) {
		zcrx_ifq_retry_release(&bout->subject->ifq);
		judge_retry_all(bout->judge);
		return true;
	}
	if (bout->judge->pools[slot].phase != JUDGE_DYING)
		return true;
	return answer(bout, judge_retry(bout->judge, slot),
		      zcrx_pp_retry_release(pool, &destroyed));
}

/* The first unused pool gets parameters that no provider can serve, for one try. */
static bool do_wrong_pool(struct bout *bout)
{
	struct zcrx_ifq *ifq = &bout->subject->ifq;
	uint32_t slot = 0;
	int64_t expected = -EOPNOTSUPP;
	struct zcrx_page_pool kept;
	int actual;

	while (slot < JUDGE_POOLS && bout->judge->pools[slot].phase != JUDGE_UNUSED)
		slot++;
	if (slot == JUDGE_POOLS)
		return answer(bout, -ENOSPC, zcrx_ifq_restart(ifq));
	kept = ifq->pools[slot];
	switch ((enum fuzz_wrong_pool)bout->op->mode) {
	case FUZZ_POOL_DEVICE:
		ifq->pools[slot].params.device++;
		expected = -EINVAL;
		break;
	case FUZZ_POOL_DMA:
		ifq->pools[slot].params.dma_map = true;
		break;
	case FUZZ_POOL_ORDER:
		ifq->pools[slot].params.order = 1;
		break;
	case FUZZ_POOL_NO_IFQ:
		ifq->pools[slot].provider = NULL;
		expected = -EINVAL;
		break;
	}
	actual = zcrx_ifq_restart(ifq);
	ifq->pools[slot].params = kept.params;
	ifq->pools[slot].provider = kept.provider;
	return answer(bout, expected, actual);
}

static bool do_netlink(struct bout *bout)
{
	static const uint8_t nests[2][4] = {{4, 0, 6, 0x80}, {4, 0, 8, 0x80}};
	uint8_t bytes[4] = {0};
	int actual = zcrx_nl_fill(bout->op->mode ? ZCRX_NL_PAGE_POOL_GET : ZCRX_NL_QUEUE_GET, bytes,
				  bout->op->pick);

	if (!answer(bout, bout->op->pick < sizeof(bytes) ? -EMSGSIZE : 4, actual))
		return false;
	return actual < 0 || memcmp(bytes, nests[bout->op->mode], sizeof(bytes)) == 0 ||
	       bout_found(bout, FUZZ_FOUND_RESULT, "the empty nest", "other bytes",
			  "netlink attribute");
}

static uint32_t most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static bool do_control(struct bout *bout)
{
	struct zcrx_ifq *ifq = &bout->subject->ifq;
	struct judge *judge = bout->judge;

	switch ((enum fuzz_op_kind)bout->op->kind) {
	case FUZZ_SCRUB:
		return do_scrub(bout);
	case FUZZ_REFILL:
		return do_refill(bout);
	case FUZZ_FLUSH:
		return do_flush(bout);
	case FUZZ_RESTART: {
		int actual = zcrx_ifq_restart(ifq);

		return answer(bout, judge_restart(judge), actual);
	}
	case FUZZ_RETRY:
		return do_retry(bout);
	case FUZZ_DESTROY:
		return answer(bout, judge->current ? judge_destroy(judge) : -ENOENT,
			      zcrx_ifq_teardown(ifq));
	case FUZZ_DETACH:
		judge->is_detached = ifq->detached = true;
		return answer(bout, judge_available(judge), zcrx_ifq_available(ifq));
	case FUZZ_ATTACH:
		zcrx_ifq_reset_ring(ifq);
		judge->head = judge->tail = judge->cached_head;
		judge->is_detached = ifq->detached = false;
		return true;
	case FUZZ_CHECK:
		judge->checked = judge->consumed;
		shm_store_relaxed_u64(&ifq->shared->checked, judge->consumed, POINT_LOG);
		return answer(bout, judge_available(judge), zcrx_ifq_available(ifq));
	case FUZZ_HIDE:
		zcrx_ifq_hide_freelist(ifq, bout->op->count);
		judge->hidden = most(judge->hidden, bout->op->count);
		return true;
	case FUZZ_REFUSE:
		if (judge->current) {
			struct judge_pool *pool = &judge->pools[judge->current - 1];

			zcrx_pp_refuse_ring(subject_pool(bout->subject), bout->op->count);
			pool->refusals = most(pool->refusals, bout->op->count);
		}
		return true;
	case FUZZ_WRONG_POOL:
		return do_wrong_pool(bout);
	case FUZZ_NETLINK:
		return do_netlink(bout);
	default:
		return true;
	}
}

/* No matter for somebody else's provider. */
static bool is_ours_alone(uint32_t kind)
{
	return kind == FUZZ_NETLINK;
}

static bool do_subject(struct bout *bout)
{
	switch ((enum fuzz_op_kind)bout->op->kind) {
	case FUZZ_ALLOC:
		return !bout->judge->current || do_alloc(bout);
	case FUZZ_DELIVER:
		for_held(bout, false, do_deliver_one);
		return true;
	case FUZZ_DELIVER_MANY:
		do_deliver_many(bout);
		return true;
	case FUZZ_DROP:
		for_held(bout, false, do_drop_one);
		return true;
	case FUZZ_COPY:
		return do_copy(bout);
	default:
		return do_control(bout);
	}
}

/* What the user does on its own; false if it is not the user's to do. */
static bool do_user(struct bout *bout)
{
	struct judge *judge = bout->judge;
	struct zcrx_rq *rq = &bout->subject->ifq.rq;

	switch ((enum fuzz_op_kind)bout->op->kind) {
	case FUZZ_RETURN:
		for_held(bout, true, do_return_one);
		publish(bout);
		return true;
	case FUZZ_PUSH:
		for (uint32_t i = 0; i < bout->op->count; i++)
			push_entry(bout, &bout->op->rqe);
		publish(bout);
		return true;
	case FUZZ_WRITE: {
		uint32_t slot = bout->op->pick & (judge->shape.rq_entries - 1);

		judge->rqes[slot] = bout->op->rqe;
		memcpy(&rq->rqes[slot], &bout->op->rqe, sizeof(bout->op->rqe));
		return true;
	}
	case FUZZ_TAIL:
		do_tail(bout);
		return true;
	case FUZZ_HEAD:
		judge->head = bout->op->value;
		shm_store_relaxed_u32(rq->head, bout->op->value, POINT_RQ_HEAD_STORE);
		return true;
	case FUZZ_REWRITE:
		arm_rewrite(bout);
		return true;
	default:
		return false;
	}
}

static void recreate(struct fuzz_runner *runner, const struct fuzz_shape *shape, uint32_t queue)
{
	struct fuzz_subject *subject = &runner->subjects[queue];
	struct judge *judge = &runner->judges[queue];

	subject_format(subject, shape, runner->ops, judge);
	judge_reset(judge, shape);
}

/* A new instance has its first pool; what came of that is compared like anything else. */
static bool start(struct bout *bout, const struct fuzz_shape *shape)
{
	int actual;

	recreate(bout->runner, shape, bout->op->queue);
	subject_enter(bout->subject);
	actual = zcrx_ifq_restart(&bout->subject->ifq);
	subject_leave(bout->subject);
	if (!answer(bout, 0, actual))
		return false;
	return bout->runner->is_quick ? compare_changed(bout) : compare_state(bout, false);
}

/* Detaching, attaching and looking how much there is need no lock: nobody takes anything. */
static bool takes_entries(uint32_t kind)
{
	return kind == FUZZ_ALLOC || kind == FUZZ_REFILL || kind == FUZZ_FLUSH;
}

static bool step(struct bout *bout, const struct fuzz_shape *shape)
{
	bool good;

	bout->runner->expected.count = bout->runner->actual.count = 0;
	judge_begin(bout->judge);
	bout->subject->trace.count = 0;
	if (do_user(bout))
		return true;
	if (bout->op->kind == FUZZ_RECREATE)
		return (!bout->runner->is_quick || compare_state(bout, true)) && start(bout, shape);
	if (bout->runner->ops && is_ours_alone(bout->op->kind))
		return true;
	bout->subject->watch.needs_lock = takes_entries(bout->op->kind);
	subject_enter(bout->subject);
	good = do_subject(bout);
	subject_leave(bout->subject);
	if (!good || !compare_verdicts(bout))
		return false;
	/* A round of many is looked at in passing: what it gets wrong for good shows soon. */
	if (bout->runner->is_passing)
		return compare_scalars(bout);
	return bout->runner->is_quick ? compare_changed(bout) : compare_state(bout, false);
}

static const struct fuzz_op creation[FUZZ_QUEUES_MAX] = {
	{.kind = FUZZ_RECREATE},
	{.kind = FUZZ_RECREATE, .queue = 1},
};

static struct bout bout_of(struct fuzz_runner *runner, const struct fuzz_op *op)
{
	return (struct bout){runner, &runner->subjects[op->queue], &runner->judges[op->queue], op,
			     RETURNS_MAX};
}

/* All that there is; at the end idle pools' zones, too, and the queue that was left alone. */
static bool good_everywhere(struct fuzz_runner *runner, uint32_t queues, bool at_end)
{
	for (uint32_t queue = 0; queue < queues; queue++) {
		struct bout bout = bout_of(runner, &creation[queue]);

		if (!compare_state(&bout, at_end))
			return false;
	}
	return true;
}

#define LOOK_EVERY 64U /* rounds */
#define LOOK_EVERY_OPS 16U /* if what changed is all that is compared otherwise */

static bool do_round(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t at)
{
	for (uint32_t i = fuzz_stretch(program, at); i < at; i++) {
		struct bout bout = bout_of(runner, &program->ops[i]);

		if (program->ops[i].kind != FUZZ_REPEAT && !step(&bout, &program->shape))
			return false;
	}
	return true;
}

static bool repeat(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t at)
{
	struct fuzz_finding *finding = &runner->finding;
	bool good = true;

	runner->rounds = fuzz_rounds(program, at, &runner->work_left);
	for (uint32_t round = 0; good && round < runner->rounds; round++) {
		runner->is_passing = round >= LOOK_EVERY && round % LOOK_EVERY &&
				     round + 1 < runner->rounds;
		good = do_round(runner, program, at) &&
		       (!runner->is_quick || round % LOOK_EVERY ||
			good_everywhere(runner, program->shape.queues, false));
		if (!good) {
			size_t used = strlen(finding->what);

			snprintf(finding->what + used, sizeof(finding->what) - used,
				 " (in repetition %u)", round + 1);
		}
	}
	runner->is_passing = false;
	return good;
}

static bool run(struct fuzz_runner *runner, const struct fuzz_program *program)
{
	for (uint32_t queue = 0; queue < program->shape.queues; queue++) {
		struct bout bout = bout_of(runner, &creation[queue]);

		runner->expected.count = runner->actual.count = 0;
		if (!start(&bout, &program->shape))
			return false;
	}
	for (uint32_t i = 0; i < program->count; i++) {
		struct bout bout = bout_of(runner, &program->ops[i]);
		bool good;

		if (runner->progress)
			*runner->progress = i;
		runner->rounds = 1;
		good = program->ops[i].kind == FUZZ_REPEAT ? repeat(runner, program, i) :
							     step(&bout, &program->shape);
		if (good && runner->is_quick && (i + 1) % LOOK_EVERY_OPS == 0 &&
		    i + 1 < program->count)
			good = good_everywhere(runner, program->shape.queues, false);
		runner->finding.step = i;
		if (runner->after)
			runner->after(runner, program, i);
		if (!good)
			return false;
	}
	return good_everywhere(runner, program->shape.queues, true);
}

bool fuzz_run(struct fuzz_runner *runner, const struct fuzz_program *program)
{
	runner->finding.kind = FUZZ_NOTHING;
	runner->finding.step = 0;
	runner->work_left = FUZZ_WORK_MAX;
	runner->is_passing = false;
	if (run(runner, program))
		return true;
	for (uint32_t queue = 0; queue < FUZZ_QUEUES_MAX; queue++)
		runner->subjects[queue].is_spoiled = true;
	return false;
}
