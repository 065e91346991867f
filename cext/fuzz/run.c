/* SPDX-License-Identifier: MIT */
/*
 * What each operation does to the instance and to the judge. The two are compared after
 * operations in which code of the provider, the page pool or the area ran; what the
 * user alone writes cannot change what is not the user's.
 *
 * Nothing that the instance answered is used to reach memory: where a number is
 * needed, the judge's is taken.
 */
#include "compare.h"

#include <errno.h>

#define RETURNS_MAX (1U << 16)

/* ---- operations ------------------------------------------------------------------------------ */

/* Note what both sides answered; false if they differ. */
static bool answer(struct execution *execution, int64_t expected, int64_t actual)
{
	struct fuzz_runner *runner = execution->runner;

	if (runner->expected.count < FUZZ_RESULTS_MAX) {
		runner->expected.values[runner->expected.count++] = expected;
		runner->actual.values[runner->actual.count++] = actual;
	}
	if (expected == actual)
		return true;
	/* Why it differs is often told by an entry. */
	return compare_verdicts(execution) &&
	       bout_same(execution, WRONG_ANSWER, 0, (uint64_t)expected, (uint64_t)actual);
}

/* The judge saw what the provider saw. */
static void show_what_was_seen(struct execution *execution)
{
	struct fuzz_watch *watch = &execution->subject->watch;

	execution->judge->seen = watch->seen;
	execution->judge->seen_count = watch->is_noting ? watch->seen_count : 0;
}

#define ALLOC_SAID_MAX 512U

static bool do_alloc(struct execution *execution)
{
	for (uint32_t i = 0; i < execution->op->count; i++) {
		int64_t actual = zcrx_pp_alloc(subject_pool(execution->subject));
		int64_t expected;

		show_what_was_seen(execution);
		expected = judge_alloc(execution->judge);
		if (!answer(execution, expected, actual))
			return false;
		/* Each call can judge a batch; what is judged in one operation has a bound. */
		if (expected < 0 || execution->judge->said_count + JUDGE_BATCH > ALLOC_SAID_MAX)
			break;
	}
	return true;
}

/* The next buffer from *niov on for which `refs` counts something; false after a whole round. */
static bool find_held(const struct execution *execution, bool by_user, uint32_t *niov,
		      uint32_t *left)
{
	const struct judge *judge = execution->judge;
	uint32_t now = *niov;

	if ((by_user ? judge->user_held : judge->stack_held) == 0)
		return false;
	for (uint32_t after = *left; after-- > 0; now = now + 1 < judge->num_niovs ? now + 1 : 0) {
		if (by_user ? judge->niovs[now].user_refs : judge->stack_refs[now]) {
			*left = after;
			*niov = now;
			return true;
		}
	}
	*left = 0;
	return false;
}

static void do_drop_one(struct execution *execution, uint32_t niov)
{
	zcrx_ifq_drop(&execution->subject->ifq, niov, 1);
	judge_drop(execution->judge, niov);
}

static void do_deliver_one(struct execution *execution, uint32_t niov)
{
	uint32_t fragments = 1U + execution->op->mode % 4U;

	zcrx_pp_ref_get(&execution->subject->area, niov, fragments);
	zcrx_user_ref_give(&execution->subject->area, niov, fragments);
	judge_deliver(execution->judge, niov, fragments);
	if (execution->op->mode < 4)
		do_drop_one(execution, niov);
}

/* All fragments of one buffer. */
static void do_deliver_many(struct execution *execution)
{
	uint32_t fragments = 1U + execution->op->value % FUZZ_FRAGMENTS_MAX;
	uint32_t niov = execution->op->pick % execution->judge->num_niovs;
	uint32_t left = execution->judge->num_niovs;

	if (!find_held(execution, false, &niov, &left))
		return;
	zcrx_pp_ref_get(&execution->subject->area, niov, fragments);
	zcrx_user_ref_give(&execution->subject->area, niov, fragments);
	judge_deliver(execution->judge, niov, fragments);
	if (execution->op->mode == 0)
		do_drop_one(execution, niov);
}

static void push_entry(struct execution *execution, const struct io_uring_zcrx_rqe *rqe)
{
	struct judge *judge = execution->judge;
	uint32_t slot = judge->tail & (judge->shape.rq_entries - 1);

	judge->rqes[slot] = *rqe;
	memcpy(&execution->subject->ifq.rq.rqes[slot], rqe, sizeof(*rqe));
	judge->tail++;
}

/* The user publishes what it wrote: the word is set as it stands. */
static void publish(struct execution *execution)
{
	shm_store_relaxed_u32(execution->subject->ifq.rq.tail, execution->judge->tail,
			      POINT_RQ_TAIL_STORE);
}

/* Of the same entry more than a ring full are only written over themselves. */
static void do_push(struct execution *execution)
{
	uint32_t entries = execution->judge->shape.rq_entries;
	uint32_t count = execution->op->count;

	if (count > entries) {
		execution->judge->tail += count - entries;
		count = entries;
	}
	for (; count > 0; count--)
		push_entry(execution, &execution->op->rqe);
	publish(execution);
}

static void do_return_one(struct execution *execution, uint32_t niov)
{
	struct io_uring_zcrx_rqe rqe = {.off = judge_offset(execution->judge, niov)};
	uint32_t times = 1;

	switch ((enum fuzz_return_mode)execution->op->mode) {
	case FUZZ_RETURN_ONE:
		break;
	case FUZZ_RETURN_ALL:
		times = execution->judge->niovs[niov].user_refs;
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
	if (times > execution->judge->shape.rq_entries)
		times = execution->judge->shape.rq_entries + 1;
	for (; times > 0 && execution->returns_left > 0; times--, execution->returns_left--)
		push_entry(execution, &rqe);
}

/* For `count` buffers that the stack or the user holds, from the picked one on. */
static void for_held(struct execution *execution, bool by_user,
		     void (*visit)(struct execution *, uint32_t niov))
{
	uint32_t niovs = execution->judge->num_niovs;
	uint32_t niov = execution->op->pick % niovs;
	uint32_t left = niovs;

	for (uint32_t i = 0;
	     i < execution->op->count && find_held(execution, by_user, &niov, &left); i++) {
		uint32_t held = niov;

		niov = niov + 1 < niovs ? niov + 1 : 0;
		visit(execution, held);
	}
}

static bool do_copy(struct execution *execution)
{
	for (uint32_t i = 0; i < execution->op->count; i++) {
		int64_t actual = zcrx_ifq_take_copy_buffer(&execution->subject->ifq);
		int64_t expected = judge_copy(execution->judge);

		if (!answer(execution, expected, actual))
			return false;
		if (expected < 0)
			break;
	}
	return true;
}

static void do_tail(struct execution *execution)
{
	struct judge *judge = execution->judge;

	switch ((enum fuzz_tail_mode)execution->op->mode) {
	case FUZZ_TAIL_MOVED:
		judge->tail += execution->op->value;
		break;
	case FUZZ_TAIL_PAST_HEAD:
		judge->tail = judge->cached_head + execution->op->value;
		break;
	case FUZZ_TAIL_ABSOLUTE:
		judge->tail = execution->op->value;
		break;
	}
	publish(execution);
}

static void arm_rewrite(struct execution *execution)
{
	struct fuzz_watch *watch = &execution->subject->watch;

	watch->is_armed = true;
	watch->loads_left = execution->op->count;
	watch->slots_ahead = execution->op->pick;
	watch->rewrite = execution->op->rqe;
}

static bool do_scrub(struct execution *execution)
{
	uint64_t buffers = 0, wanted;
	bool counts = execution->op->mode;
	uint64_t actual = zcrx_ifq_scrub(&execution->subject->ifq, counts ? &buffers : NULL);
	uint64_t expected = judge_scrub(execution->judge, &wanted);

	return answer(execution, (int64_t)expected, (int64_t)actual) &&
	       (!counts || bout_same(execution, WRONG_BUFFERS_SCRUBBED, 0, wanted, buffers));
}

static bool do_refill(struct execution *execution)
{
	struct zcrx_page_pool *pool = subject_pool(execution->subject);
	uint32_t actual = pool ? zcrx_ifq_refill_ring(&execution->subject->ifq, pool) : 0;

	show_what_was_seen(execution);
	return answer(execution, judge_refill(execution->judge), actual);
}

static bool do_flush(struct execution *execution)
{
	struct zcrx_ifq *ifq = &execution->subject->ifq;
	int64_t actual;

	if (execution->judge->shape.contract.level < ZCRX_LEVEL_7_1)
		actual = zcrx_ifq_flush(ifq);
	else if (ifq->plugin)
		return true; /* no operation of somebody else's provider */
	else
		actual = zcrx_ifq_flush_rq(ifq);
	show_what_was_seen(execution);
	return answer(execution, judge_flush(execution->judge), actual);
}

static bool do_add_area(struct execution *execution)
{
	struct zcrx_ifq *ifq = &execution->subject->ifq;
	uint32_t count = execution->op->count;
	int actual;

	if (ifq->plugin)
		return true; /* what somebody else's provider is shown has one area */
	actual = zcrx_ifq_add_area(ifq, count);
	return answer(execution, judge_add_area(execution->judge, count), actual);
}

static bool do_retry(struct execution *execution)
{
	uint32_t slot = execution->op->pick % JUDGE_POOLS;
	struct zcrx_page_pool *pool = &execution->subject->ifq.pools[slot];
	int destroyed;

	if (execution->op->mode) {
		zcrx_ifq_retry_release(&execution->subject->ifq);
		judge_retry_all(execution->judge);
		return true;
	}
	if (execution->judge->pools[slot].phase != JUDGE_DYING)
		return true;
	return answer(execution, judge_retry(execution->judge, slot),
		      zcrx_pp_retry_release(pool, &destroyed));
}

/* The first unused pool gets parameters that no provider can serve, for one try. */
static bool do_wrong_pool(struct execution *execution)
{
	struct zcrx_ifq *ifq = &execution->subject->ifq;
	uint32_t slot = 0;
	int64_t expected = -EOPNOTSUPP;
	struct zcrx_page_pool kept;
	int actual;

	while (slot < JUDGE_POOLS && execution->judge->pools[slot].phase != JUDGE_UNUSED)
		slot++;
	if (slot == JUDGE_POOLS)
		return answer(execution, -ENOSPC, zcrx_ifq_restart(ifq));
	kept = ifq->pools[slot];
	switch ((enum fuzz_wrong_pool)execution->op->mode) {
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
	if (ifq->has_no_device)
		expected = -EOPNOTSUPP;
	actual = zcrx_ifq_restart(ifq);
	ifq->pools[slot].params = kept.params;
	ifq->pools[slot].provider = kept.provider;
	return answer(execution, expected, actual);
}

static bool do_netlink(struct execution *execution)
{
	static const uint8_t nests[2][4] = {{4, 0, 6, 0x80}, {4, 0, 8, 0x80}};
	uint8_t bytes[4] = {0};
	int actual = zcrx_nl_fill(execution->op->mode ? ZCRX_NL_PAGE_POOL_GET : ZCRX_NL_QUEUE_GET,
				  bytes, execution->op->pick);

	if (!answer(execution, execution->op->pick < sizeof(bytes) ? -EMSGSIZE : 4, actual))
		return false;
	return actual < 0 || memcmp(bytes, nests[execution->op->mode], sizeof(bytes)) == 0 ||
	       bout_found(execution, WRONG_NETLINK, 0);
}

static uint32_t most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static bool do_control(struct execution *execution)
{
	struct zcrx_ifq *ifq = &execution->subject->ifq;
	struct judge *judge = execution->judge;

	switch ((enum fuzz_op_kind)execution->op->kind) {
	case FUZZ_SCRUB:
		return do_scrub(execution);
	case FUZZ_REFILL:
		return do_refill(execution);
	case FUZZ_FLUSH:
		return do_flush(execution);
	case FUZZ_RESTART: {
		int actual = zcrx_ifq_restart(ifq);

		return answer(execution, judge_restart(judge), actual);
	}
	case FUZZ_RETRY:
		return do_retry(execution);
	case FUZZ_DESTROY:
		return answer(execution, judge->current ? judge_destroy(judge) : -ENOENT,
			      zcrx_ifq_teardown(ifq));
	case FUZZ_DETACH:
		judge->is_detached = ifq->detached = true;
		return answer(execution, judge_available(judge), zcrx_ifq_available(ifq));
	case FUZZ_ATTACH:
		zcrx_ifq_reset_ring(ifq);
		judge_attach(judge);
		ifq->detached = false;
		return true;
	case FUZZ_CHECK:
		judge->checked = judge->consumed;
		shm_store_relaxed_u64(&ifq->shared->checked, judge->consumed, POINT_LOG);
		return answer(execution, judge_available(judge), zcrx_ifq_available(ifq));
	case FUZZ_HIDE:
		zcrx_ifq_hide_freelist(ifq, execution->op->count);
		judge->hidden = most(judge->hidden, execution->op->count);
		return true;
	case FUZZ_REFUSE:
		if (judge->current) {
			struct judge_pool *pool = &judge->pools[judge->current - 1];

			zcrx_pp_refuse_ring(subject_pool(execution->subject), execution->op->count);
			pool->refusals = most(pool->refusals, execution->op->count);
		}
		return true;
	case FUZZ_WRONG_POOL:
		return do_wrong_pool(execution);
	case FUZZ_NETLINK:
		return do_netlink(execution);
	case FUZZ_ADD_AREA:
		return do_add_area(execution);
	default:
		return true;
	}
}

/* No matter for somebody else's provider. */
static bool is_ours_alone(uint32_t kind)
{
	return kind == FUZZ_NETLINK;
}

static bool do_subject(struct execution *execution)
{
	switch ((enum fuzz_op_kind)execution->op->kind) {
	case FUZZ_ALLOC:
		return !execution->judge->current || do_alloc(execution);
	case FUZZ_DELIVER:
		for_held(execution, false, do_deliver_one);
		return true;
	case FUZZ_DELIVER_MANY:
		do_deliver_many(execution);
		return true;
	case FUZZ_DROP:
		for_held(execution, false, do_drop_one);
		return true;
	case FUZZ_COPY:
		return do_copy(execution);
	default:
		return do_control(execution);
	}
}

/* What the user does on its own; false if it is not the user's to do. */
static bool do_user(struct execution *execution)
{
	struct judge *judge = execution->judge;
	struct zcrx_rq *rq = &execution->subject->ifq.rq;

	switch ((enum fuzz_op_kind)execution->op->kind) {
	case FUZZ_RETURN:
		for_held(execution, true, do_return_one);
		publish(execution);
		return true;
	case FUZZ_PUSH:
		do_push(execution);
		return true;
	case FUZZ_WRITE: {
		uint32_t slot = execution->op->pick & (judge->shape.rq_entries - 1);

		judge->rqes[slot] = execution->op->rqe;
		memcpy(&rq->rqes[slot], &execution->op->rqe, sizeof(execution->op->rqe));
		return true;
	}
	case FUZZ_TAIL:
		do_tail(execution);
		return true;
	case FUZZ_HEAD:
		judge->head = execution->op->value;
		shm_store_relaxed_u32(rq->head, execution->op->value, POINT_RQ_HEAD_STORE);
		return true;
	case FUZZ_REWRITE:
		arm_rewrite(execution);
		return true;
	default:
		return false;
	}
}

static void recreate(struct fuzz_runner *runner, const struct fuzz_shape *shape, uint32_t queue)
{
	struct fuzz_subject *subject = &runner->subjects[queue];
	struct judge *judge = &runner->judges[queue];

	subject_format(subject, shape, runner->added_max, runner->ops, judge);
	judge_reset(judge, shape);
}

/* A new instance has its first pool; what came of that is compared like anything else. */
static bool start(struct execution *execution, const struct fuzz_shape *shape)
{
	int actual;

	recreate(execution->runner, shape, execution->op->queue);
	subject_enter(execution->subject);
	actual = zcrx_ifq_restart(&execution->subject->ifq);
	subject_leave(execution->subject);
	if (!answer(execution, shape->has_no_device ? -EOPNOTSUPP : 0, actual))
		return false;
	return execution->runner->is_quick || compare_state(execution, false);
}

/* Detaching, attaching and looking how much there is need no lock: nobody takes anything. */
static bool takes_entries(uint32_t kind)
{
	return kind == FUZZ_ALLOC || kind == FUZZ_REFILL || kind == FUZZ_FLUSH;
}

static bool step(struct execution *execution, const struct fuzz_shape *shape)
{
	bool good;

	execution->runner->expected.count = execution->runner->actual.count = 0;
	judge_begin(execution->judge);
	execution->subject->trace.count = 0;
	if (do_user(execution))
		return true;
	if (execution->op->kind == FUZZ_RECREATE)
		return (!execution->runner->is_quick || compare_state(execution, true)) &&
		       start(execution, shape);
	if (execution->runner->ops && is_ours_alone(execution->op->kind))
		return true;
	execution->subject->watch.needs_lock = takes_entries(execution->op->kind);
	subject_enter(execution->subject);
	good = do_subject(execution);
	subject_leave(execution->subject);
	if (!good || !compare_verdicts(execution))
		return false;
	/* What is wrong for good is seen at the next look, but for what would stop us before. */
	if (execution->runner->is_quick)
		return compare_locks(execution);
	return execution->runner->is_passing ? compare_scalars(execution) :
					       compare_state(execution, false);
}

static const struct fuzz_op creation[FUZZ_QUEUES_MAX] = {
	{.kind = FUZZ_RECREATE},
	{.kind = FUZZ_RECREATE, .queue = 1},
};

static struct execution bout_of(struct fuzz_runner *runner, const struct fuzz_op *op)
{
	return (struct execution){runner, &runner->subjects[op->queue], &runner->judges[op->queue],
				  op, RETURNS_MAX};
}

/* All that there is; at the end idle pools' zones, too, and the queue that was left alone. */
static bool good_everywhere(struct fuzz_runner *runner, uint32_t queues, bool at_end)
{
	for (uint32_t queue = 0; queue < queues; queue++) {
		struct execution execution = bout_of(runner, &creation[queue]);

		if (!compare_state(&execution, at_end))
			return false;
	}
	return true;
}

#define LOOK_EVERY 64U /* rounds of a repetition */
#define LOOK_EVERY_OPS 16U /* if everything is not compared after each */

/* After an operation of a program that is run quickly: everything is compared now and then. */
static bool is_good_so_far(struct fuzz_runner *runner, const struct fuzz_program *program)
{
	if (!runner->is_quick || runner->is_passing || ++runner->unlooked < LOOK_EVERY_OPS)
		return true;
	runner->unlooked = 0;
	return good_everywhere(runner, program->shape.queues, false);
}

static bool do_one(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t at)
{
	struct execution execution = bout_of(runner, &program->ops[at]);

	return step(&execution, &program->shape) && is_good_so_far(runner, program);
}

static bool do_round(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t at)
{
	for (uint32_t i = fuzz_stretch(program, at); i < at; i++) {
		if (program->ops[i].kind != FUZZ_REPEAT && !do_one(runner, program, i))
			return false;
	}
	return true;
}

static bool repeat(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t at)
{
	bool good = true;

	runner->rounds = fuzz_rounds(program, at, &runner->work_left);
	for (uint32_t round = 0; good && round < runner->rounds; round++) {
		runner->is_passing = round >= LOOK_EVERY && round % LOOK_EVERY &&
				     round + 1 < runner->rounds;
		good = do_round(runner, program, at) &&
		       (!runner->is_quick || round % LOOK_EVERY ||
			good_everywhere(runner, program->shape.queues, false));
		if (!good)
			runner->finding.round = round + 1;
	}
	runner->is_passing = false;
	return good;
}

static bool run(struct fuzz_runner *runner, const struct fuzz_program *program)
{
	for (uint32_t queue = 0; queue < program->shape.queues; queue++) {
		struct execution execution = bout_of(runner, &creation[queue]);

		runner->expected.count = runner->actual.count = 0;
		if (!start(&execution, &program->shape))
			return false;
	}
	for (uint32_t i = 0; i < program->count; i++) {
		bool good;

		if (runner->progress)
			*runner->progress = i;
		runner->rounds = 1;
		good = program->ops[i].kind == FUZZ_REPEAT ? repeat(runner, program, i) :
							     do_one(runner, program, i);
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
	runner->finding.what = WRONG_NOTHING;
	runner->finding.step = 0;
	runner->work_left = FUZZ_WORK_MAX;
	runner->is_passing = false;
	runner->unlooked = 0;
	runner->added_max = runner->ops ? 0 : fuzz_added_max(program);
	if (run(runner, program))
		return true;
	for (uint32_t queue = 0; queue < FUZZ_QUEUES_MAX; queue++)
		runner->subjects[queue].is_spoiled = true;
	return false;
}
