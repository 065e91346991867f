/* SPDX-License-Identifier: MIT */
/*
 * What a fault plan makes of a return. The rules that are due are carried out in
 * the order of the plan; each leaves entries staged, changes the return itself,
 * or leaves word for whoever writes (a tail that is to lie, a ring to run over).
 * Staging everything first keeps the order right however little room there is:
 * what was staged goes in piece by piece.
 */
#define _GNU_SOURCE
#include "injection.h"
#include "ring_faults.h"

#include <time.h>

static void stage_how(struct zcrx_returns *returns, struct io_uring_zcrx_rqe rqe, uint32_t rule,
		      enum zcrx_put how)
{
	assert(returns->staged_count < sizeof(returns->staged) / sizeof(returns->staged[0]));

	returns->staged[returns->staged_count].rqe = rqe;
	returns->staged[returns->staged_count].strays = 0;
	returns->staged[returns->staged_count].is_due = false;
	returns->staged[returns->staged_count].rule = (uint8_t)rule;
	returns->staged[returns->staged_count++].how = (uint8_t)how;
}

static void stage(struct zcrx_returns *returns, struct io_uring_zcrx_rqe rqe, uint32_t rule)
{
	stage_how(returns, rqe, rule, ZCRX_PUT);
}

/* A long pause ends when the run does. */
static void pause_for(struct zcrx_returns *returns, uint32_t us)
{
	const uint32_t step = 10000;

	while (us) {
		uint32_t now = us < step ? us : step;
		const struct timespec pause = {.tv_nsec = (long)now * 1000};

		if (us > step &&
		    shm_load_relaxed_u32(&returns->queue->rings->stop, POINT_RUN_STATE))
			return;
		nanosleep(&pause, NULL);
		us -= now;
	}
}

/* A buffer of which nothing is held, or the given one if none was met by chance. */
static uint32_t foreign_niov(const struct zcrx_returns *returns, struct zcrx_rng *rng,
			     uint32_t fallback)
{
	for (int tries = 0; tries < 16; tries++) {
		uint32_t niov = zcrx_rng_below(rng, returns->fault_area.num_niovs);

		if (returns->known[niov].held == 0)
			return niov;
	}
	return fallback;
}

static struct io_uring_zcrx_rqe return_of(const struct zcrx_returns *returns, uint32_t niov)
{
	return (struct io_uring_zcrx_rqe){
		.off = (uint64_t)niov << returns->fault_area.niov_shift,
		.len = 1U << returns->fault_area.niov_shift,
	};
}

static void write_foreign(struct zcrx_returns *returns, uint32_t own, uint32_t bytes, uint32_t rule)
{
	uint32_t size = 1U << returns->fault_area.niov_shift;
	struct zcrx_rng *rng = &returns->plan.lanes[rule - 1].rng;
	uint32_t niov = foreign_niov(returns, rng, own);
	uint32_t at;

	if (niov == own)
		return;
	if (bytes > size)
		bytes = size;
	at = zcrx_rng_below(rng, size - bytes + 1);
	zcrx_returns_suspect(returns, niov, rule);
	for (uint32_t i = 0; i < bytes; i++)
		zcrx_area_niov(&returns->queue->area, niov)[at + i] ^= 0xa5;
}

static void read_on(struct zcrx_returns *returns, const struct zcrx_held *held, uint32_t delay,
		    uint32_t rule)
{
	if (returns->early_tail - returns->early_head == ZCRX_HISTORY)
		return; /* enough of them are out; this one is returned like any other */
	returns->early[returns->early_tail++ % ZCRX_HISTORY] = (struct zcrx_early){
		.held = *held,
		.due = returns->position + delay,
		.position = returns->position,
		.rule = rule,
	};
}

/* ---- users' own faults -------------------------------------------------------------------- */

void zcrx_returns_set_custom(struct zcrx_returns *returns, zcrx_custom_ask *ask, void *context)
{
	returns->ask_custom = ask;
	returns->custom_context = context;
}

void zcrx_returns_custom_wrote(struct zcrx_returns *returns, const uint8_t *before,
			       const uint8_t *after)
{
	uint64_t size = (uint64_t)1 << returns->fault_area.niov_shift;

	for (uint32_t niov = 0; niov < returns->fault_area.num_niovs; niov++) {
		uint64_t at = niov * size;

		if (memcmp(before + at, after + at, size) == 0)
			continue;
		zcrx_returns_suspect(returns, niov, returns->custom_call->rule + 1);
		/* Byte by byte: the NIC may be writing into the rest of the buffer. */
		for (uint64_t end = at + size; at < end; at++) {
			if (before[at] != after[at])
				returns->queue->area.bytes[at] = after[at];
		}
	}
}

/* Is the return itself staged, by a user's fault that put entries in its place? */
static bool is_return_staged(const struct zcrx_returns *returns)
{
	for (uint32_t i = 0; i < returns->staged_count; i++) {
		if (returns->staged[i].is_due)
			return true;
	}
	return false;
}

static void stage_custom(struct zcrx_returns *returns, struct io_uring_zcrx_rqe rqe, uint32_t rule)
{
	stage(returns, rqe, rule);
	returns->staged[returns->staged_count - 1].strays = (uint8_t)rule;
}

/*
 * The entries replace the return: the last one takes its place. False when there
 * is none. The first that names the return's own buffer is that return; the
 * others stray.
 */
static bool replace_return(struct zcrx_returns *returns, const struct zcrx_custom_call *call,
			   uint32_t own, bool astray, struct io_uring_zcrx_rqe *valid,
			   uint32_t *valid_rule)
{
	bool returned = is_return_staged(returns);

	if (call->count == 0) {
		shm_count(&returns->queue->lab->hoarded, 1);
		return false;
	}
	for (uint32_t i = 0; i < call->count; i++) {
		uint32_t strays = call->rule + 1;
		struct zcrx_legal legal = zcrx_returns_legal(returns, &call->entries[i]);

		if (legal.names && legal.niov == own && !returned) {
			returned = true;
			strays = 0;
		}
		returns->valid_strays = (uint8_t)strays;
		if (i + 1 == call->count)
			break;
		stage(returns, call->entries[i], call->rule + 1);
		returns->staged[returns->staged_count - 1].strays = (uint8_t)strays;
		returns->staged[returns->staged_count - 1].is_due = strays == 0 && !astray;
	}
	*valid = call->entries[call->count - 1];
	*valid_rule = call->rule + 1;
	return true;
}

/* As commit_fault(). The slow path: it may run a user's Python. */
static bool ask_custom(struct zcrx_returns *returns, uint32_t rule, const struct zcrx_held *held,
		       struct io_uring_zcrx_rqe *valid, uint32_t *valid_rule)
{
	struct zcrx_custom_call call = {
		.rule = rule - 1,
		.queue = returns->queue->index,
		.ordinal = returns->ordinal,
		.position = returns->position + returns->staged_count,
		.seed = zcrx_rng_next(&returns->plan.lanes[rule - 1].rng),
		.valid = *valid,
		.history = returns->history,
		.history_count = returns->history_count,
	};
	int error;

	if (!returns->ask_custom || returns->custom_failed)
		return true;
	returns->custom_call = &call;
	error = returns->ask_custom(returns->custom_context, &call);
	returns->custom_call = NULL;
	if (error || call.count > ZCRX_CUSTOM_ENTRIES_MAX) {
		returns->custom_failed = true;
		return true;
	}
	if (call.in_place)
		return replace_return(returns, &call, zcrx_niov_of(returns, held->off),
				      held->astray, valid, valid_rule);
	for (uint32_t i = 0; i < call.count; i++)
		stage_custom(returns, call.entries[i], rule);
	return true;
}

/*
 * Carry out one rule that is due before the return of `held`. Entries are
 * staged; *valid is the return itself, which some faults change. False when
 * the return is not to happen (hoarded).
 */
static bool commit_fault(struct zcrx_returns *returns, uint32_t rule, const struct zcrx_held *held,
			 struct io_uring_zcrx_rqe *valid, uint32_t *valid_rule, enum zcrx_put *how)
{
	struct zcrx_fault_lane *lane = &returns->plan.lanes[rule - 1];
	const uint32_t *params = lane->rule.params;
	enum zcrx_fault_kind kind = (enum zcrx_fault_kind)lane->rule.kind;
	uint32_t own = zcrx_niov_of(returns, held->off);

	switch (kind) {
	case ZCRX_FAULT_BAD_PAD:
	case ZCRX_FAULT_BAD_AREA:
	case ZCRX_FAULT_BAD_INDEX:
	case ZCRX_FAULT_BAD_OFFSET:
		stage(returns,
		      zcrx_fault_mutate(kind, params[0], &lane->rng, valid, &returns->fault_area),
		      rule);
		break;
	case ZCRX_FAULT_ALIAS:
		if (returns->params.strict_alias) {
			stage(returns,
			      zcrx_fault_mutate(kind, 0, &lane->rng, valid, &returns->fault_area),
			      rule);
			break;
		}
		/* fall through */
	case ZCRX_FAULT_MID_BUFFER:
	case ZCRX_FAULT_LEN_GARBAGE:
		*valid =
			zcrx_fault_mutate(kind, params[0], &lane->rng, valid, &returns->fault_area);
		*valid_rule = rule;
		break;
	case ZCRX_FAULT_DOUBLE_RETURN:
		returns->doubles[returns->double_count++] = (uint8_t)rule;
		break;
	case ZCRX_FAULT_STALE_RETURN:
		if (returns->history_count >= params[0])
			stage(returns,
			      returns->history[(returns->history_count - params[0]) % ZCRX_HISTORY],
			      rule);
		break;
	case ZCRX_FAULT_EARLY_RETURN:
		read_on(returns, held, params[0], rule);
		*valid_rule = rule;
		break;
	case ZCRX_FAULT_NEIGHBOUR_RETURN:
		stage(returns,
		      return_of(returns, (own + params[0]) % returns->fault_area.num_niovs), rule);
		break;
	case ZCRX_FAULT_NEVER_GIVEN:
		stage(returns, return_of(returns, foreign_niov(returns, &lane->rng, own)), rule);
		break;
	case ZCRX_FAULT_HOARD:
		if (returns->hoarded >= params[0])
			break;
		returns->hoarded++;
		shm_count(&returns->queue->lab->hoarded, 1);
		return false;
	case ZCRX_FAULT_TAIL_AHEAD:
		returns->tail_ahead = params[0];
		returns->tail_rule = (uint8_t)rule;
		break;
	case ZCRX_FAULT_TAIL_BACK:
		zcrx_tail_lie(returns, params[0], false, rule);
		break;
	case ZCRX_FAULT_TAIL_RANDOM:
		zcrx_tail_lie(returns, (uint32_t)zcrx_rng_next(&lane->rng), true, rule);
		break;
	case ZCRX_FAULT_TAIL_EARLY:
		*how = ZCRX_PUT_EARLY;
		*valid_rule = rule;
		break;
	case ZCRX_FAULT_RQE_REWRITE:
		*how = ZCRX_PUT_REWRITTEN;
		*valid_rule = rule;
		break;
	case ZCRX_FAULT_TAIL_STALL:
		returns->is_stalled = true;
		returns->stalled_until = zcrx_now_ns() + (uint64_t)params[0] * 1000;
		break;
	case ZCRX_FAULT_RQ_OVERRUN:
		returns->over = params[0];
		returns->over_rule = rule;
		break;
	case ZCRX_FAULT_DROP_WHEN_FULL:
		returns->forget = params[0];
		returns->forget_rule = rule;
		break;
	case ZCRX_FAULT_WRONG_RING:
		if (returns->misdirected >= params[1] ||
		    !zcrx_misdirect(returns, held->off, params[0], rule))
			break;
		returns->misdirected++;
		shm_count(&returns->queue->lab->hoarded, 1);
		return false;
	case ZCRX_FAULT_HEAD_SCRIBBLE:
		zcrx_scribble_head(returns, (uint32_t)zcrx_rng_next(&lane->rng));
		break;
	case ZCRX_FAULT_CQ_HEAD_SCRIBBLE:
		returns->has_scribbled_cq = true;
		shm_store_release_u32(
			returns->cq_head,
			zcrx_scribble(shm_load_relaxed_u32(returns->cq_tail, POINT_CQ_TAIL_LOAD),
				      (uint32_t)zcrx_rng_next(&lane->rng)),
			POINT_CQ_HEAD_STORE);
		break;
	case ZCRX_FAULT_CQ_STALL:
	case ZCRX_FAULT_SLOW:
		pause_for(returns, params[0]);
		break;
	case ZCRX_FAULT_WRITE_FOREIGN:
		write_foreign(returns, own, params[0], rule);
		break;
	case ZCRX_FAULT_CUSTOM:
		return ask_custom(returns, rule, held, valid, valid_rule);
	default: /* another actor's */
		break;
	}
	return true;
}

/* The copies of a double return: of what was written, and behind it. */
static void stage_copies(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *valid)
{
	for (uint32_t d = 0; d < returns->double_count; d++) {
		uint32_t rule = returns->doubles[d];

		for (uint32_t i = 0; i < returns->plan.lanes[rule - 1].rule.params[0] && i < 16;
		     i++)
			stage(returns, *valid, rule);
	}
	returns->double_count = 0;
}

static bool waits_for_full_ring(enum zcrx_fault_kind kind)
{
	return kind == ZCRX_FAULT_RQ_OVERRUN || kind == ZCRX_FAULT_DROP_WHEN_FULL;
}

void zcrx_stage_return(struct zcrx_returns *returns, const struct zcrx_held *held)
{
	struct io_uring_zcrx_rqe valid = {.off = held->off, .len = held->len};
	uint64_t early = returns->early_tail;
	enum zcrx_put how = ZCRX_PUT;
	uint32_t valid_rule = 0;
	bool happens = true;
	int rule;

	returns->is_staged = true;
	returns->staged_at = returns->staged_count = 0;
	returns->valid_strays = 0;
	while (zcrx_fault_is_due(&returns->plan, returns->ordinal) &&
	       (rule = zcrx_fault_take_of(&returns->plan, returns->ordinal, held->flow)) >= 0) {
		zcrx_flight_record(returns->flight, ZCRX_EVENT_FAULT, (uint32_t)rule,
				   returns->ordinal, returns->position + returns->staged_count);
		/* What waits for a full ring counts when it comes to it: it may never be. */
		if (!waits_for_full_ring(zcrx_kind_of(returns, (uint32_t)rule + 1)))
			shm_count(&returns->queue->lab->injected[rule], 1);
		happens &=
			commit_fault(returns, (uint32_t)rule + 1, held, &valid, &valid_rule, &how);
	}
	/* A return that is read on stands behind all that was staged before it. */
	for (; early != returns->early_tail; early++) {
		returns->early[early % ZCRX_HISTORY].position += returns->staged_count;
		returns->early[early % ZCRX_HISTORY].due += returns->staged_count;
	}
	if (happens) {
		stage_how(returns, valid, valid_rule, how);
		returns->staged[returns->staged_count - 1].strays = returns->valid_strays;
		returns->staged[returns->staged_count - 1].is_due = returns->valid_strays == 0 &&
								    !held->astray;
	}
	if (held->astray)
		zcrx_returns_stray(returns, zcrx_niov_of(returns, held->off), ZCRX_INTENT_VALID);
	returns->staged_end = returns->staged_count;
	stage_copies(returns, &valid);
}
