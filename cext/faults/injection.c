/* SPDX-License-Identifier: MIT */
/*
 * What a fault plan makes of a return. The rules that are due are carried out in
 * the order of the plan, each by the function of its kind; it leaves entries staged,
 * changes the return itself, or arms a fault of the ring (a tail that is to lie, a
 * ring to run over). Staging everything first keeps the order right however little
 * room there is: what was staged goes in piece by piece.
 */
#define _GNU_SOURCE
#include "injection.h"

#include <errno.h>
#include <stdlib.h>
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

int zcrx_injection_init(struct zcrx_injection *injection, struct zcrx_fault_plan *plan,
			struct zcrx_findings *findings)
{
	injection->plan = plan;
	injection->findings = findings;
	injection->ring_faults = findings->ring_faults;
	injection->writer = findings->writer;
	injection->holdings = findings->holdings;
	for (uint32_t i = 0; i < plan->count; i++) {
		uint32_t kind = plan->lanes[i].rule.kind;

		injection->keeps_history |= kind == ZCRX_FAULT_STALE_RETURN ||
					    kind == ZCRX_FAULT_CUSTOM;
	}
	injection->history = calloc(ZCRX_HISTORY, sizeof(*injection->history));
	injection->early = calloc(ZCRX_HISTORY, sizeof(*injection->early));
	return injection->history && injection->early ? 0 : -ENOMEM;
}

void zcrx_injection_destroy(struct zcrx_injection *injection)
{
	free(injection->history);
	free(injection->early);
	injection->history = NULL;
	injection->early = NULL;
}

/* ---- staging ------------------------------------------------------------------------- */

/* Of a rule + 1; 0 = a return by the rules. */
static enum zcrx_fault_kind kind_of(const struct zcrx_injection *injection, uint32_t rule)
{
	return rule ? (enum zcrx_fault_kind)injection->plan->lanes[rule - 1].rule.kind :
		      ZCRX_FAULT_NONE;
}

static const uint32_t *params_of(const struct zcrx_injection *injection, uint32_t rule)
{
	return injection->plan->lanes[rule - 1].rule.params;
}

static bool is_stray(enum zcrx_fault_kind kind)
{
	return kind == ZCRX_FAULT_DOUBLE_RETURN || kind == ZCRX_FAULT_STALE_RETURN ||
	       kind == ZCRX_FAULT_NEIGHBOUR_RETURN || kind == ZCRX_FAULT_NEVER_GIVEN ||
	       kind == ZCRX_FAULT_WRONG_AREA || kind == ZCRX_FAULT_BAD_OFFSET;
}

static struct zcrx_staged *stage(struct zcrx_injection *injection, struct io_uring_zcrx_rqe rqe,
				 uint32_t rule)
{
	enum zcrx_fault_kind kind = kind_of(injection, rule);
	struct zcrx_staged *staged = &injection->staged[injection->staged_count];

	assert(injection->staged_count < sizeof(injection->staged) / sizeof(injection->staged[0]));

	injection->staged_count++;
	staged->how = ZCRX_PUT;
	staged->entry = (struct zcrx_entry){
		.rqe = rqe,
		.rule = (uint8_t)rule,
		.strays = is_stray(kind) ? (uint8_t)rule : 0,
	};
	if (kind == ZCRX_FAULT_CUSTOM) {
		staged->entry.is_declared = true;
		staged->entry.declared = injection->plan->lanes[rule - 1].rule.custom_verdicts;
	}
	return staged;
}

static struct io_uring_zcrx_rqe mutated(const struct zcrx_injection *injection,
					const struct making *making, uint32_t value)
{
	const struct zcrx_shape *shape = &injection->holdings->shape;
	const struct zcrx_fault_area area = {
		.num_niovs = zcrx_areas_size(shape, zcrx_areas_id(shape, making->own)),
		.niov_shift = shape->niov_shift,
		.areas_max = shape->areas_max,
	};

	return zcrx_fault_mutate((enum zcrx_fault_kind)making->lane->rule.kind, value,
				 &making->lane->rng, &making->valid, &area);
}

static struct io_uring_zcrx_rqe return_of(const struct zcrx_injection *injection, uint32_t niov)
{
	const struct zcrx_shape *shape = &injection->holdings->shape;

	return (struct io_uring_zcrx_rqe){
		.off = zcrx_areas_offset(shape, niov),
		.len = 1U << shape->niov_shift,
	};
}

/* The buffers of the areas that are there. */
static uint32_t niovs_there(const struct zcrx_injection *injection)
{
	const struct zcrx_holdings *holdings = injection->holdings;

	return holdings->areas == zcrx_areas_max(&holdings->shape) ?
		       holdings->shape.num_niovs :
		       zcrx_areas_first(&holdings->shape, holdings->areas);
}

/* A buffer of which nothing is held, or the return's own if none was met by chance. */
static uint32_t foreign_niov(const struct zcrx_injection *injection, const struct making *making)
{
	const struct zcrx_holdings *holdings = injection->holdings;

	for (int tries = 0; tries < 16; tries++) {
		uint32_t niov = zcrx_rng_below(&making->lane->rng, niovs_there(injection));

		if (holdings->known[niov].held == 0)
			return niov;
	}
	return making->own;
}

/* ---- content ------------------------------------------------------------------------- */

/* Where an alias is an error it is no return. */
static void write_content(struct zcrx_injection *injection, struct making *making)
{
	uint32_t kind = making->lane->rule.kind;
	struct io_uring_zcrx_rqe rqe = mutated(injection, making, making->params[0]);

	if (zcrx_fault_content(kind) == ZCRX_CONTENT_BESIDE ||
	    (kind == ZCRX_FAULT_ALIAS &&
	     zcrx_contract_is_strict(injection->holdings->shape.contract))) {
		stage(injection, rqe, making->rule);
	} else {
		making->valid = rqe;
		making->valid_rule = making->rule;
	}
}

/* ---- stray returns --------------------------------------------------------------------- */

static void return_twice(struct zcrx_injection *injection, struct making *making)
{
	(void)injection;
	making->doubles[making->double_count++] = (uint8_t)making->rule;
}

static void return_stale(struct zcrx_injection *injection, struct making *making)
{
	uint64_t ago = making->params[0];

	if (injection->history_count >= ago)
		stage(injection,
		      injection->history[(injection->history_count - ago) % ZCRX_HISTORY],
		      making->rule);
}

static void return_early(struct zcrx_injection *injection, struct making *making)
{
	uint64_t position = injection->writer->position;

	making->valid_rule = making->rule;
	if (injection->early_tail - injection->early_head == ZCRX_HISTORY)
		return; /* enough of them are out; this one is returned like any other */
	injection->early[injection->early_tail++ % ZCRX_HISTORY] = (struct zcrx_early){
		.held = *making->held,
		.due = position + making->params[0],
		.position = position,
		.rule = making->rule,
	};
}

static void return_neighbour(struct zcrx_injection *injection, struct making *making)
{
	uint32_t niov = (making->own + making->params[0]) % niovs_there(injection);

	stage(injection, return_of(injection, niov), making->rule);
}

/* A buffer of the area that comes next, if one does: it may be there before this is judged. */
static struct io_uring_zcrx_rqe return_of_next(const struct zcrx_injection *injection,
					       const struct making *making)
{
	const struct zcrx_holdings *holdings = injection->holdings;
	uint32_t id = holdings->areas;
	bool comes = id < zcrx_areas_max(&holdings->shape);
	uint32_t size = comes ? zcrx_areas_size(&holdings->shape, id) : 1;
	uint64_t index = zcrx_rng_below(&making->lane->rng, size);

	return (struct io_uring_zcrx_rqe){
		.off = (uint64_t)id << IORING_ZCRX_AREA_SHIFT | index << holdings->shape.niov_shift,
		.len = 1U << holdings->shape.niov_shift,
	};
}

/* A buffer of the area that came last. */
static struct io_uring_zcrx_rqe return_of_newest(const struct zcrx_injection *injection,
						 const struct making *making)
{
	const struct zcrx_holdings *holdings = injection->holdings;
	uint32_t id = holdings->areas - 1;
	uint32_t size = zcrx_areas_size(&holdings->shape, id);

	return return_of(injection, zcrx_areas_first(&holdings->shape, id) +
					    zcrx_rng_below(&making->lane->rng, size));
}

static void return_foreign(struct zcrx_injection *injection, struct making *making)
{
	struct io_uring_zcrx_rqe rqe;

	switch (making->params[0]) {
	case 1:
		rqe = return_of_newest(injection, making);
		break;
	case 2:
		rqe = return_of_next(injection, making);
		break;
	default:
		rqe = return_of(injection, foreign_niov(injection, making));
		break;
	}
	stage(injection, rqe, making->rule);
}

/* The token of another area; of the first that cannot be where there is one only. */
static void return_in_other_area(struct zcrx_injection *injection, struct making *making)
{
	uint32_t areas = injection->holdings->areas;
	uint32_t id = (uint32_t)(making->held->off >> IORING_ZCRX_AREA_SHIFT) + making->params[0];
	struct io_uring_zcrx_rqe rqe = making->valid;

	if (areas > 1)
		id = id % areas;
	if (id == making->held->off >> IORING_ZCRX_AREA_SHIFT)
		return;
	rqe.off = (rqe.off & ~IORING_ZCRX_AREA_MASK) | (uint64_t)id << IORING_ZCRX_AREA_SHIFT;
	stage(injection, rqe, making->rule);
}

static void withdraw(struct zcrx_injection *injection, struct making *making)
{
	making->happens = false;
	shm_count(&injection->writer->queue->notes->hoarded, 1);
}

static void hoard(struct zcrx_injection *injection, struct making *making)
{
	if (injection->hoarded >= making->params[0])
		return;
	injection->hoarded++;
	withdraw(injection, making);
}

static void misdirect(struct zcrx_injection *injection, struct making *making)
{
	const uint32_t *params = making->params;

	if (injection->misdirected >= params[1] ||
	    !zcrx_ring_faults_misdirect(injection->ring_faults, making->held->off, params[0],
					making->rule))
		return;
	injection->misdirected++;
	withdraw(injection, making);
}

/* ---- faults of the ring ------------------------------------------------------------------ */

static void run_ahead(struct zcrx_injection *injection, struct making *making)
{
	zcrx_ring_faults_arm_ahead(injection->ring_faults, making->params[0], making->rule);
}

static void move_tail_back(struct zcrx_injection *injection, struct making *making)
{
	zcrx_ring_faults_arm_lie(injection->ring_faults, making->params[0], false, making->rule);
}

static void make_tail_up(struct zcrx_injection *injection, struct making *making)
{
	zcrx_ring_faults_arm_lie(injection->ring_faults,
				 (uint32_t)zcrx_rng_next(&making->lane->rng), true, making->rule);
}

static void publish_early(struct zcrx_injection *injection, struct making *making)
{
	(void)injection;
	making->how = ZCRX_PUT_EARLY;
	making->valid_rule = making->rule;
}

static void rewrite(struct zcrx_injection *injection, struct making *making)
{
	(void)injection;
	making->how = ZCRX_PUT_REWRITTEN;
	making->valid_rule = making->rule;
}

static void stall(struct zcrx_injection *injection, struct making *making)
{
	zcrx_rq_writer_withhold(injection->writer, making->params[0]);
}

static void run_over(struct zcrx_injection *injection, struct making *making)
{
	zcrx_ring_faults_arm_overrun(injection->ring_faults, making->params[0], making->rule);
}

static void forget(struct zcrx_injection *injection, struct making *making)
{
	zcrx_ring_faults_arm_forget(injection->ring_faults, making->params[0], making->rule);
}

static void scribble_head(struct zcrx_injection *injection, struct making *making)
{
	zcrx_ring_faults_scribble_head(injection->ring_faults,
				       (uint32_t)zcrx_rng_next(&making->lane->rng));
}

static void scribble_cq_head(struct zcrx_injection *injection, struct making *making)
{
	zcrx_ring_faults_scribble_cq_head(injection->ring_faults,
					  (uint32_t)zcrx_rng_next(&making->lane->rng));
}

/* ---- pace, area ---------------------------------------------------------------------------- */

/* A long pause ends when the run does. */
static void take_a_break(struct zcrx_injection *injection, struct making *making)
{
	shm_u32 *stop = &injection->writer->queue->rings->stop;
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

static void write_foreign(struct zcrx_injection *injection, struct making *making)
{
	struct zcrx_holdings *holdings = injection->holdings;
	uint32_t size = 1U << holdings->shape.niov_shift;
	uint32_t niov = foreign_niov(injection, making);
	uint32_t bytes = making->params[0];
	uint32_t at;

	if (niov == making->own)
		return;
	if (bytes > size)
		bytes = size;
	at = zcrx_rng_below(&making->lane->rng, size - bytes + 1);
	zcrx_holdings_suspect(holdings, niov, making->rule, injection->writer->position);
	for (uint32_t i = 0; i < bytes; i++)
		zcrx_area_niov(&injection->writer->queue->area, niov)[at + i] ^= 0xa5;
}

/* ---- users' own faults -------------------------------------------------------------------- */

void zcrx_injection_set_custom(struct zcrx_injection *injection, zcrx_custom_ask *ask,
			       void *context)
{
	injection->ask_custom = ask;
	injection->custom_context = context;
}

void zcrx_injection_custom_wrote(struct zcrx_injection *injection, const uint8_t *before,
				 const uint8_t *after)
{
	struct zcrx_holdings *holdings = injection->holdings;
	uint64_t size = (uint64_t)1 << holdings->shape.niov_shift;

	for (uint32_t niov = 0; niov < holdings->shape.num_niovs; niov++) {
		uint64_t at = niov * size;

		if (memcmp(before + at, after + at, size) == 0)
			continue;
		zcrx_holdings_suspect(holdings, niov, injection->custom_call->rule + 1,
				      injection->writer->position);
		/* Byte by byte: the NIC may be writing into the rest of the buffer. */
		for (uint64_t end = at + size; at < end; at++) {
			if (before[at] != after[at])
				injection->writer->queue->area.bytes[at] = after[at];
		}
	}
}

/* Is the return itself staged, by a user's fault that put entries in its place? */
static bool is_return_staged(const struct zcrx_injection *injection)
{
	for (uint32_t i = 0; i < injection->staged_count; i++) {
		if (injection->staged[i].entry.is_due)
			return true;
	}
	return false;
}

/*
 * The entries replace the return: the last one takes its place, and without any it
 * does not happen. The first that names the return's own buffer is that return; the
 * others stray.
 */
static void replace_return(struct zcrx_injection *injection, struct making *making,
			   const struct zcrx_custom_call *call)
{
	bool returned = is_return_staged(injection);

	if (call->count == 0) {
		withdraw(injection, making);
		return;
	}
	for (uint32_t i = 0; i < call->count; i++) {
		struct zcrx_legal legal =
			zcrx_holdings_legal(injection->holdings, &call->entries[i]);
		uint32_t strays = making->rule;
		struct zcrx_entry *entry;

		if (legal.names && legal.niov == making->own && !returned) {
			returned = true;
			strays = 0;
		}
		making->valid_strays = strays;
		if (i + 1 == call->count)
			break;
		entry = &stage(injection, call->entries[i], making->rule)->entry;
		entry->strays = (uint8_t)strays;
		entry->is_due = strays == 0 && !making->held->astray;
	}
	making->valid = call->entries[call->count - 1];
	making->valid_rule = making->rule;
}

/* The slow path: it may run a user's Python. */
static void ask_custom(struct zcrx_injection *injection, struct making *making)
{
	struct zcrx_custom_call call = {
		.rule = making->rule - 1,
		.queue = injection->writer->queue->index,
		.ordinal = making->ordinal,
		.position = injection->writer->position + injection->staged_count,
		.seed = zcrx_rng_next(&making->lane->rng),
		.valid = making->valid,
		.history = injection->history,
		.history_count = injection->history_count,
	};
	int error;

	if (!injection->ask_custom || injection->custom_failed)
		return;
	injection->custom_call = &call;
	error = injection->ask_custom(injection->custom_context, &call);
	injection->custom_call = NULL;
	if (error || call.count > ZCRX_CUSTOM_ENTRIES_MAX) {
		injection->custom_failed = true;
		return;
	}
	if (call.in_place) {
		replace_return(injection, making, &call);
		return;
	}
	for (uint32_t i = 0; i < call.count; i++)
		stage(injection, call.entries[i], making->rule)->entry.strays =
			(uint8_t)making->rule;
}

/* ---- all that is due before a return -------------------------------------------------------- */

/* What a rule of each kind does before the return. NULL: it is about content, or another actor's. */
typedef void carry_out(struct zcrx_injection *injection, struct making *making);
static carry_out *const kinds[] = {
	[ZCRX_FAULT_DOUBLE_RETURN] = return_twice,
	[ZCRX_FAULT_STALE_RETURN] = return_stale,
	[ZCRX_FAULT_EARLY_RETURN] = return_early,
	[ZCRX_FAULT_NEIGHBOUR_RETURN] = return_neighbour,
	[ZCRX_FAULT_NEVER_GIVEN] = return_foreign,
	[ZCRX_FAULT_HOARD] = hoard,
	[ZCRX_FAULT_WRONG_RING] = misdirect,
	[ZCRX_FAULT_WRONG_AREA] = return_in_other_area,
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
static void commit_fault(struct zcrx_injection *injection, struct making *making, uint32_t rule)
{
	struct zcrx_rq_writer *writer = injection->writer;
	enum zcrx_fault_kind kind = kind_of(injection, rule);

	zcrx_flight_record(writer->flight, ZCRX_EVENT_FAULT, rule - 1, making->ordinal,
			   writer->position + injection->staged_count);
	/* What waits for a full ring counts when it comes to it: it may never be. */
	if (!waits_for_full_ring(kind))
		shm_count(&writer->queue->notes->injected[rule - 1], 1);
	making->rule = rule;
	making->params = params_of(injection, rule);
	making->lane = &injection->plan->lanes[rule - 1];
	if (zcrx_fault_content(kind))
		write_content(injection, making);
	else if (kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind])
		kinds[kind](injection, making);
}

static void stage_valid(struct zcrx_injection *injection, const struct making *making)
{
	struct zcrx_staged *staged = stage(injection, making->valid, making->valid_rule);

	staged->how = (uint8_t)making->how;
	staged->entry.strays = (uint8_t)making->valid_strays;
	staged->entry.is_due = making->valid_strays == 0 && !making->held->astray;
}

/* The copies of a double return: of what was written, and behind it. */
static void stage_copies(struct zcrx_injection *injection, const struct making *making)
{
	for (uint32_t d = 0; d < making->double_count; d++) {
		uint32_t rule = making->doubles[d];

		for (uint32_t i = 0; i < params_of(injection, rule)[0] && i < COPIES_MAX; i++)
			stage(injection, making->valid, rule);
	}
}

/*
 * Stage everything that goes into the ring for a return, in order. Before anything
 * else of it is written; nothing is staged.
 */
static void stage_return(struct zcrx_injection *injection, const struct zcrx_held *held,
			 uint64_t ordinal)
{
	struct zcrx_fault_plan *plan = injection->plan;
	uint64_t early = injection->early_tail;
	struct making making;
	int rule;

	making.held = held;
	making.ordinal = ordinal;
	making.own = zcrx_holdings_niov(injection->holdings, held->off);
	making.valid = (struct io_uring_zcrx_rqe){.off = held->off, .len = held->len};
	making.valid_rule = making.valid_strays = making.double_count = 0;
	making.how = ZCRX_PUT;
	making.happens = true;
	injection->is_staged = true;
	injection->staged_at = injection->staged_count = 0;
	while (zcrx_fault_is_due(plan, ordinal) &&
	       (rule = zcrx_fault_take_of(plan, ordinal, held->flow)) >= 0)
		commit_fault(injection, &making, (uint32_t)rule + 1);
	/* A return that is read on stands behind all that was staged before it. */
	for (; early != injection->early_tail; early++) {
		injection->early[early % ZCRX_HISTORY].position += injection->staged_count;
		injection->early[early % ZCRX_HISTORY].due += injection->staged_count;
	}
	if (making.happens)
		stage_valid(injection, &making);
	if (held->astray)
		zcrx_holdings_stray(injection->holdings, making.own, ZCRX_INTENT_VALID,
				    injection->writer->position);
	injection->staged_end = injection->staged_count;
	stage_copies(injection, &making);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void put_entry(struct zcrx_injection *injection, const struct zcrx_staged *staged)
{
	const struct zcrx_entry *entry = &staged->entry;
	const uint32_t *params;

	switch ((enum zcrx_put)staged->how) {
	case ZCRX_PUT:
		zcrx_rq_writer_put(injection->writer, entry);
		break;
	case ZCRX_PUT_EARLY:
		params = params_of(injection, entry->rule);
		zcrx_ring_faults_put_early(injection->ring_faults, entry, params[0]);
		break;
	case ZCRX_PUT_REWRITTEN:
		params = params_of(injection, entry->rule);
		zcrx_ring_faults_put_rewritten(injection->ring_faults, entry, params[0], params[1]);
		break;
	}
}

uint64_t zcrx_injection_put(struct zcrx_injection *injection, const struct zcrx_held *held,
			    uint64_t ordinal, uint64_t room)
{
	uint64_t written = 0;

	if (!injection->is_staged)
		stage_return(injection, held, ordinal);
	while (written < room && injection->staged_at < injection->staged_count) {
		put_entry(injection, &injection->staged[injection->staged_at++]);
		written++;
		/* Not when its copies are written: it may be delivered again before there is room. */
		if (injection->staged_at == injection->staged_end)
			zcrx_holdings_let_go(injection->holdings, held);
	}
	if (injection->staged_at < injection->staged_count)
		return written;
	if (injection->staged_end == 0)
		zcrx_holdings_let_go(injection->holdings, held);
	injection->is_staged = false;
	return written;
}

void zcrx_injection_check_early(struct zcrx_injection *injection)
{
	while (injection->early_head != injection->early_tail) {
		struct zcrx_early *early = &injection->early[injection->early_head % ZCRX_HISTORY];

		if (early->due > injection->writer->position)
			return;
		injection->early_head++;
		zcrx_findings_check_early(injection->findings, &early->held, early->rule,
					  early->position);
	}
}
