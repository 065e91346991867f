/* SPDX-License-Identifier: MIT */
/*
 * What a fault plan makes of a return. The rules that are due are carried out in
 * the order of the plan, each by the function of its kind; it leaves entries staged,
 * changes the return itself, or leaves word for whoever writes (a tail that is to lie, a
 * ring to run over). Staging everything first keeps the order right however little
 * room there is: what was staged goes in piece by piece.
 */
#define _GNU_SOURCE
#include "injection.h"
#include "ring_faults.h"

#include <time.h>

#define COPIES_MAX 16U /* of one double return */

/* A return that is being staged, and the rule that is carried out on it. */
struct making {
	const struct zcrx_held *held;
	uint64_t ordinal;
	uint32_t own; /* its buffer */
	uint32_t rule; /* + 1 */
	const uint32_t *params; /* of that rule … */
	struct zcrx_fault_lane *lane;
	/* What the rules made of the return itself. */
	struct io_uring_zcrx_rqe valid;
	uint32_t valid_rule; /* + 1; 0 = it is by the rules */
	uint32_t valid_strays; /* the user's fault that it is put down to, or 0 */
	enum zcrx_put how;
	bool happens;
	/* Rules whose copies follow it. */
	uint8_t doubles[ZCRX_FAULT_RULES_MAX];
	uint32_t double_count;
};

/* ---- staging ------------------------------------------------------------------------- */

static const uint32_t *params_of(const struct zcrx_returns *returns, uint32_t rule)
{
	return returns->plan.lanes[rule - 1].rule.params;
}

static struct zcrx_staged *stage(struct zcrx_returns *returns, struct io_uring_zcrx_rqe rqe,
				 uint32_t rule)
{
	struct zcrx_staged *staged = &returns->staged[returns->staged_count];

	assert(returns->staged_count < sizeof(returns->staged) / sizeof(returns->staged[0]));

	returns->staged_count++;
	*staged = (struct zcrx_staged){.rqe = rqe, .rule = (uint8_t)rule, .how = ZCRX_PUT};
	return staged;
}

static struct io_uring_zcrx_rqe mutated(const struct zcrx_returns *returns,
					const struct making *making, uint32_t value)
{
	return zcrx_fault_mutate((enum zcrx_fault_kind)making->lane->rule.kind, value,
				 &making->lane->rng, &making->valid, &returns->fault_area);
}

static struct io_uring_zcrx_rqe return_of(const struct zcrx_returns *returns, uint32_t niov)
{
	const struct zcrx_fault_area *area = &returns->fault_area;

	return (struct io_uring_zcrx_rqe){
		.off = (uint64_t)niov << area->niov_shift,
		.len = 1U << area->niov_shift,
	};
}

/* A buffer of which nothing is held, or the return's own if none was met by chance. */
static uint32_t foreign_niov(const struct zcrx_returns *returns, const struct making *making)
{
	for (int tries = 0; tries < 16; tries++) {
		uint32_t niov = zcrx_rng_below(&making->lane->rng, returns->fault_area.num_niovs);

		if (returns->known[niov].held == 0)
			return niov;
	}
	return making->own;
}

/* ---- content ------------------------------------------------------------------------- */

static void add_malformed(struct zcrx_returns *returns, struct making *making)
{
	stage(returns, mutated(returns, making, making->params[0]), making->rule);
}

static void write_otherwise(struct zcrx_returns *returns, struct making *making)
{
	making->valid = mutated(returns, making, making->params[0]);
	making->valid_rule = making->rule;
}

/* Where an alias is an error it is no return. */
static void alias(struct zcrx_returns *returns, struct making *making)
{
	if (returns->params.strict_alias)
		stage(returns, mutated(returns, making, 0), making->rule);
	else
		write_otherwise(returns, making);
}

/* ---- stray returns --------------------------------------------------------------------- */

static void return_twice(struct zcrx_returns *returns, struct making *making)
{
	(void)returns;
	making->doubles[making->double_count++] = (uint8_t)making->rule;
}

static void return_stale(struct zcrx_returns *returns, struct making *making)
{
	uint64_t ago = making->params[0];

	if (returns->history_count >= ago)
		stage(returns, returns->history[(returns->history_count - ago) % ZCRX_HISTORY],
		      making->rule);
}

static void return_early(struct zcrx_returns *returns, struct making *making)
{
	uint64_t position = returns->position;

	making->valid_rule = making->rule;
	if (returns->early_tail - returns->early_head == ZCRX_HISTORY)
		return; /* enough of them are out; this one is returned like any other */
	returns->early[returns->early_tail++ % ZCRX_HISTORY] = (struct zcrx_early){
		.held = *making->held,
		.due = position + making->params[0],
		.position = position,
		.rule = making->rule,
	};
}

static void return_neighbour(struct zcrx_returns *returns, struct making *making)
{
	uint32_t niov = (making->own + making->params[0]) % returns->fault_area.num_niovs;

	stage(returns, return_of(returns, niov), making->rule);
}

static void return_foreign(struct zcrx_returns *returns, struct making *making)
{
	stage(returns, return_of(returns, foreign_niov(returns, making)), making->rule);
}

static void withdraw(struct zcrx_returns *returns, struct making *making)
{
	making->happens = false;
	shm_count(&returns->queue->lab->hoarded, 1);
}

static void hoard(struct zcrx_returns *returns, struct making *making)
{
	if (returns->hoarded >= making->params[0])
		return;
	returns->hoarded++;
	withdraw(returns, making);
}

static void misdirect(struct zcrx_returns *returns, struct making *making)
{
	const uint32_t *params = making->params;

	if (returns->misdirected >= params[1] ||
	    !zcrx_misdirect(returns, making->held->off, params[0], making->rule))
		return;
	returns->misdirected++;
	withdraw(returns, making);
}

/* ---- faults of the ring ------------------------------------------------------------------ */

static void run_ahead(struct zcrx_returns *returns, struct making *making)
{
	returns->tail_ahead = making->params[0];
	returns->tail_rule = (uint8_t)making->rule;
}

static void move_tail_back(struct zcrx_returns *returns, struct making *making)
{
	zcrx_tail_lie(returns, making->params[0], false, making->rule);
}

static void make_tail_up(struct zcrx_returns *returns, struct making *making)
{
	zcrx_tail_lie(returns, (uint32_t)zcrx_rng_next(&making->lane->rng), true, making->rule);
}

static void publish_early(struct zcrx_returns *returns, struct making *making)
{
	(void)returns;
	making->how = ZCRX_PUT_EARLY;
	making->valid_rule = making->rule;
}

static void rewrite(struct zcrx_returns *returns, struct making *making)
{
	(void)returns;
	making->how = ZCRX_PUT_REWRITTEN;
	making->valid_rule = making->rule;
}

static void stall(struct zcrx_returns *returns, struct making *making)
{
	returns->is_stalled = true;
	returns->stalled_until = zcrx_now_ns() + (uint64_t)making->params[0] * 1000;
}

static void run_over(struct zcrx_returns *returns, struct making *making)
{
	returns->over = making->params[0];
	returns->over_rule = making->rule;
}

static void forget(struct zcrx_returns *returns, struct making *making)
{
	returns->forget = making->params[0];
	returns->forget_rule = making->rule;
}

static void scribble_head(struct zcrx_returns *returns, struct making *making)
{
	zcrx_scribble_head(returns, (uint32_t)zcrx_rng_next(&making->lane->rng));
}

static void scribble_cq_head(struct zcrx_returns *returns, struct making *making)
{
	uint32_t tail = shm_load_relaxed_u32(returns->cq_tail, POINT_CQ_TAIL_LOAD);

	returns->has_scribbled_cq = true;
	shm_store_release_u32(returns->cq_head,
			      zcrx_scribble(tail, (uint32_t)zcrx_rng_next(&making->lane->rng)),
			      POINT_CQ_HEAD_STORE);
}

/* ---- pace, area ---------------------------------------------------------------------------- */

/* A long pause ends when the run does. */
static void take_a_break(struct zcrx_returns *returns, struct making *making)
{
	shm_u32 *stop = &returns->queue->rings->stop;
	uint32_t us = making->params[0];
	const uint32_t step = 10000;

	while (us) {
		uint32_t now = us < step ? us : step;
		const struct timespec pause = {.tv_nsec = (long)now * 1000};

		if (us > step && shm_load_relaxed_u32(stop, POINT_RUN_STATE))
			return;
		nanosleep(&pause, NULL);
		us -= now;
	}
}

static void write_foreign(struct zcrx_returns *returns, struct making *making)
{
	uint32_t size = 1U << returns->fault_area.niov_shift;
	uint32_t niov = foreign_niov(returns, making);
	uint32_t bytes = making->params[0];
	uint32_t at;

	if (niov == making->own)
		return;
	if (bytes > size)
		bytes = size;
	at = zcrx_rng_below(&making->lane->rng, size - bytes + 1);
	zcrx_returns_suspect(returns, niov, making->rule);
	for (uint32_t i = 0; i < bytes; i++)
		zcrx_area_niov(&returns->queue->area, niov)[at + i] ^= 0xa5;
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

/*
 * The entries replace the return: the last one takes its place, and without any it
 * does not happen. The first that names the return's own buffer is that return; the
 * others stray.
 */
static void replace_return(struct zcrx_returns *returns, struct making *making,
			   const struct zcrx_custom_call *call)
{
	bool returned = is_return_staged(returns);

	if (call->count == 0) {
		withdraw(returns, making);
		return;
	}
	for (uint32_t i = 0; i < call->count; i++) {
		struct zcrx_legal legal = zcrx_returns_legal(returns, &call->entries[i]);
		uint32_t strays = making->rule;
		struct zcrx_staged *staged;

		if (legal.names && legal.niov == making->own && !returned) {
			returned = true;
			strays = 0;
		}
		making->valid_strays = strays;
		if (i + 1 == call->count)
			break;
		staged = stage(returns, call->entries[i], making->rule);
		staged->strays = (uint8_t)strays;
		staged->is_due = strays == 0 && !making->held->astray;
	}
	making->valid = call->entries[call->count - 1];
	making->valid_rule = making->rule;
}

/* The slow path: it may run a user's Python. */
static void ask_custom(struct zcrx_returns *returns, struct making *making)
{
	struct zcrx_custom_call call = {
		.rule = making->rule - 1,
		.queue = returns->queue->index,
		.ordinal = making->ordinal,
		.position = returns->position + returns->staged_count,
		.seed = zcrx_rng_next(&making->lane->rng),
		.valid = making->valid,
		.history = returns->history,
		.history_count = returns->history_count,
	};
	int error;

	if (!returns->ask_custom || returns->custom_failed)
		return;
	returns->custom_call = &call;
	error = returns->ask_custom(returns->custom_context, &call);
	returns->custom_call = NULL;
	if (error || call.count > ZCRX_CUSTOM_ENTRIES_MAX) {
		returns->custom_failed = true;
		return;
	}
	if (call.in_place) {
		replace_return(returns, making, &call);
		return;
	}
	for (uint32_t i = 0; i < call.count; i++)
		stage(returns, call.entries[i], making->rule)->strays = (uint8_t)making->rule;
}

/* ---- all that is due before a return -------------------------------------------------------- */

/* What a rule of each kind does before the return. NULL: that is another actor's. */
typedef void carry_out(struct zcrx_returns *returns, struct making *making);
static carry_out *const kinds[] = {
	[ZCRX_FAULT_BAD_PAD] = add_malformed,
	[ZCRX_FAULT_BAD_AREA] = add_malformed,
	[ZCRX_FAULT_BAD_INDEX] = add_malformed,
	[ZCRX_FAULT_BAD_OFFSET] = add_malformed,
	[ZCRX_FAULT_ALIAS] = alias,
	[ZCRX_FAULT_MID_BUFFER] = write_otherwise,
	[ZCRX_FAULT_LEN_GARBAGE] = write_otherwise,
	[ZCRX_FAULT_DOUBLE_RETURN] = return_twice,
	[ZCRX_FAULT_STALE_RETURN] = return_stale,
	[ZCRX_FAULT_EARLY_RETURN] = return_early,
	[ZCRX_FAULT_NEIGHBOUR_RETURN] = return_neighbour,
	[ZCRX_FAULT_NEVER_GIVEN] = return_foreign,
	[ZCRX_FAULT_HOARD] = hoard,
	[ZCRX_FAULT_WRONG_RING] = misdirect,
	[ZCRX_FAULT_DROP_WHEN_FULL] = forget,
	[ZCRX_FAULT_TAIL_AHEAD] = run_ahead,
	[ZCRX_FAULT_HEAD_SCRIBBLE] = scribble_head,
	[ZCRX_FAULT_CQ_HEAD_SCRIBBLE] = scribble_cq_head,
	[ZCRX_FAULT_TAIL_BACK] = move_tail_back,
	[ZCRX_FAULT_TAIL_RANDOM] = make_tail_up,
	[ZCRX_FAULT_TAIL_EARLY] = publish_early,
	[ZCRX_FAULT_TAIL_STALL] = stall,
	[ZCRX_FAULT_RQE_REWRITE] = rewrite,
	[ZCRX_FAULT_RQ_OVERRUN] = run_over,
	[ZCRX_FAULT_CQ_STALL] = take_a_break,
	[ZCRX_FAULT_SLOW] = take_a_break,
	[ZCRX_FAULT_WRITE_FOREIGN] = write_foreign,
	[ZCRX_FAULT_CUSTOM] = ask_custom,
};

static bool waits_for_full_ring(enum zcrx_fault_kind kind)
{
	return kind == ZCRX_FAULT_RQ_OVERRUN || kind == ZCRX_FAULT_DROP_WHEN_FULL;
}

/* Carry out a rule that is due. Entries are staged, and the return may change. */
static void commit_fault(struct zcrx_returns *returns, struct making *making, uint32_t rule)
{
	enum zcrx_fault_kind kind = zcrx_kind_of(returns, rule);

	zcrx_flight_record(returns->flight, ZCRX_EVENT_FAULT, rule - 1, making->ordinal,
			   returns->position + returns->staged_count);
	/* What waits for a full ring counts when it comes to it: it may never be. */
	if (!waits_for_full_ring(kind))
		shm_count(&returns->queue->lab->injected[rule - 1], 1);
	making->rule = rule;
	making->params = params_of(returns, rule);
	making->lane = &returns->plan.lanes[rule - 1];
	if (kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind])
		kinds[kind](returns, making);
}

static void stage_valid(struct zcrx_returns *returns, const struct making *making)
{
	struct zcrx_staged *staged = stage(returns, making->valid, making->valid_rule);

	staged->how = (uint8_t)making->how;
	staged->strays = (uint8_t)making->valid_strays;
	staged->is_due = making->valid_strays == 0 && !making->held->astray;
}

/* The copies of a double return: of what was written, and behind it. */
static void stage_copies(struct zcrx_returns *returns, const struct making *making)
{
	for (uint32_t d = 0; d < making->double_count; d++) {
		uint32_t rule = making->doubles[d];

		for (uint32_t i = 0; i < params_of(returns, rule)[0] && i < COPIES_MAX; i++)
			stage(returns, making->valid, rule);
	}
}

void zcrx_stage_return(struct zcrx_returns *returns, const struct zcrx_held *held)
{
	uint64_t ordinal = returns->ordinal;
	struct zcrx_fault_plan *plan = &returns->plan;
	uint64_t early = returns->early_tail;
	struct making making;
	int rule;

	making.held = held;
	making.ordinal = ordinal;
	making.own = zcrx_niov_of(returns, held->off);
	making.valid = (struct io_uring_zcrx_rqe){.off = held->off, .len = held->len};
	making.valid_rule = making.valid_strays = making.double_count = 0;
	making.how = ZCRX_PUT;
	making.happens = true;
	returns->is_staged = true;
	returns->staged_at = returns->staged_count = 0;
	while (zcrx_fault_is_due(plan, ordinal) &&
	       (rule = zcrx_fault_take_of(plan, ordinal, held->flow)) >= 0)
		commit_fault(returns, &making, (uint32_t)rule + 1);
	/* A return that is read on stands behind all that was staged before it. */
	for (; early != returns->early_tail; early++) {
		returns->early[early % ZCRX_HISTORY].position += returns->staged_count;
		returns->early[early % ZCRX_HISTORY].due += returns->staged_count;
	}
	if (making.happens)
		stage_valid(returns, &making);
	if (held->astray)
		zcrx_returns_stray(returns, making.own, ZCRX_INTENT_VALID);
	returns->staged_end = returns->staged_count;
	stage_copies(returns, &making);
}
