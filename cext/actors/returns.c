/* SPDX-License-Identifier: MIT */
/*
 * A fragment goes back by stages: held for a while, then pending, then written
 * when there is room. What is written is published with its batch. On the way it
 * is looked at once more, since a fault that robbed the consumer of a buffer
 * shows there, and is put down to the rule that did it.
 */
#include "returns.h"
#include "wire/crc32c.h"
#include "faults/injection.h"
#include "faults/ring_faults.h"

#include <errno.h>
#include <stdlib.h>

#define FRAGMENT_MIN 64U /* the NIC starts fragments at multiples of this */
#define SUSPECT_GENERATIONS 2U

#define BIT ZCRX_VERDICT_BIT
#define SUCCEEDS ZCRX_LEGAL_SUCCEEDS

static uint64_t round_up_power_of_two(uint64_t n)
{
	uint64_t power = 1;

	while (power < n)
		power <<= 1;
	return power;
}

int zcrx_returns_init(struct zcrx_returns *returns, struct zcrx_queue *queue,
		      const struct zcrx_consumer_params *params,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	const struct zcrx_shape *shape = &queue->shape;
	uint64_t per_niov = ((1U << shape->niov_shift) + FRAGMENT_MIN - 1) / FRAGMENT_MIN;
	int error;

	memset(returns, 0, sizeof(*returns));
	returns->queue = queue;
	returns->flight = &queue->flights[ZCRX_WRITER_CONSUMER];
	returns->params = *params;
	returns->fault_area = (struct zcrx_fault_area){shape->num_niovs, shape->niov_shift};
	error = zcrx_fault_compile(&returns->plan, rules, rule_count, params->seed, queue->index,
				   &returns->fault_area);
	if (error)
		return error;
	returns->plan.journal = queue->journals[ZCRX_JOURNAL_CONSUMER];
	returns->rng = zcrx_rng_for(params->seed + queue->index, 0);
	returns->position = returns->noted = returns->checked = params->position;
	returns->ordinal = shm_load_relaxed_u64(&queue->lab->rqe_valid, POINT_LOG);
	returns->scrubs_seen = shm_load_acquire_u32(&queue->lab->scrubs_done, POINT_USER);
	shm_store_relaxed_u32(&queue->lab->astray_rule, 0, POINT_LOG);
	zcrx_returns_note_written(returns);
	zcrx_fault_resume(&returns->plan, returns->ordinal, queue->lab->injected);
	for (uint32_t i = 0; i < returns->plan.count; i++) {
		/* Also those that fire on other queues only: they may send something here. */
		returns->misdirecting[i] = rules[i].kind == ZCRX_FAULT_WRONG_RING;
		returns->keeps_history |= returns->plan.lanes[i].rule.kind ==
						  ZCRX_FAULT_STALE_RETURN ||
					  returns->plan.lanes[i].rule.kind == ZCRX_FAULT_CUSTOM;
	}
	returns->ring_after = shape->num_niovs / 8 < shape->rq_entries / 4 ? shape->num_niovs / 8 :
									     shape->rq_entries / 4;
	returns->pending_mask =
		round_up_power_of_two(per_niov * shape->num_niovs + params->hold + 1) - 1;
	/* malloc, not calloc, for the large one: its pages come when they are used. */
	returns->pending = malloc(sizeof(*returns->pending) * (returns->pending_mask + 1));
	returns->hold = calloc(params->hold + 1, sizeof(*returns->hold));
	returns->known = calloc(shape->num_niovs, sizeof(*returns->known));
	returns->history = calloc(ZCRX_HISTORY, sizeof(*returns->history));
	returns->early = calloc(ZCRX_HISTORY, sizeof(*returns->early));
	if (returns->pending && returns->hold && returns->known && returns->history &&
	    returns->early)
		return 0;
	zcrx_returns_destroy(returns);
	return -ENOMEM;
}

void zcrx_returns_destroy(struct zcrx_returns *returns)
{
	free(returns->pending);
	free(returns->hold);
	free(returns->known);
	free(returns->history);
	free(returns->early);
	memset(returns, 0, sizeof(*returns));
}

/* Where the provider stands, as a position; as last published, so never too far. */
static uint64_t consumed(struct zcrx_returns *returns)
{
	zcrx_rq_user_room(&returns->rq, returns->rq.entries);
	return returns->position - (uint32_t)(returns->rq.cached_tail - returns->rq.cached_head);
}

/* ---- the flight recorder ------------------------------------------------------------ */

void zcrx_returns_record_taken(struct zcrx_returns *returns, uint32_t count, uint32_t head)
{
	returns->errors_recorded = 0;
	zcrx_flight_record(returns->flight, ZCRX_EVENT_TAKEN, count, head, 0);
}

void zcrx_returns_record_error(struct zcrx_returns *returns, enum zcrx_event_error error,
			       uint64_t b, uint64_t c)
{
	uint32_t bit = (uint32_t)1 << error;

	if (returns->errors_recorded & bit)
		return;
	returns->errors_recorded |= bit;
	zcrx_flight_record(returns->flight, ZCRX_EVENT_ERROR, error, b, c);
}

/* ---- consequences ----------------------------------------------------------------- */

/* A cause that we had not taken note of yet: entries claimed late, a scrub under way. */
static uint32_t hidden_cause(struct zcrx_returns *returns, uint32_t niov, uint64_t *position)
{
	struct zcrx_lab_shared *lab = returns->queue->lab;

	if (returns->astray)
		zcrx_returns_recover(returns);
	if (shm_load_acquire_u32(&lab->scrubs_begun, POINT_USER) != returns->scrubs_seen) {
		*position = returns->position;
		return shm_load_relaxed_u32(&lab->scrub_rule, POINT_USER);
	}
	*position = returns->known[niov].suspect_position;
	return returns->known[niov].suspect;
}

/*
 * What it is in the flight recorder when no fault explains it. The two enums are
 * apart: what the NIC did on purpose is a consequence when it is found, and an
 * error when it is not.
 */
static enum zcrx_event_error error_of(enum zcrx_consequence_kind kind)
{
	switch (kind) {
	case ZCRX_BYTES_CHANGED:
		break;
	case ZCRX_GIVEN_AGAIN:
		return ZCRX_ERROR_GIVEN_AGAIN;
	case ZCRX_CORRUPT_FOUND:
		return ZCRX_ERROR_CORRUPT_MISSED;
	case ZCRX_TRUNCATED_FOUND:
		return ZCRX_ERROR_TRUNCATED_MISSED;
	case ZCRX_DUPLICATE_FOUND:
	case ZCRX_LATE_FOUND:
		return ZCRX_ERROR_ORDER;
	}
	return ZCRX_ERROR_BYTES_CHANGED;
}

static void count_error(struct zcrx_returns *returns, const struct zcrx_held *held,
			enum zcrx_consequence_kind kind)
{
	struct zcrx_lab_shared *lab = returns->queue->lab;
	enum zcrx_event_error error = error_of(kind);
	shm_u64 *count = &lab->integrity_errors;

	if (error == ZCRX_ERROR_GIVEN_AGAIN)
		count = &lab->ownership_errors;
	else if (error == ZCRX_ERROR_ORDER)
		count = &lab->order_errors;
	shm_count(count, 1);
	zcrx_returns_record_error(returns, error, (uint64_t)held->flow << 32 | held->seq,
				  (uint64_t)zcrx_niov_of(returns, held->off) << 32 |
					  held->generation);
}

/* What happened to a held fragment: a fault's consequence, or an error of the system. */
static void blame(struct zcrx_returns *returns, const struct zcrx_held *held,
		  enum zcrx_consequence_kind kind, uint32_t rule, uint64_t position)
{
	struct zcrx_lab_shared *lab = returns->queue->lab;
	uint32_t niov = zcrx_niov_of(returns, held->off);
	uint32_t known = returns->known[niov].generation;
	/* Given again: the fragment is the new one, and what was held came before it. */
	bool again = kind == ZCRX_GIVEN_AGAIN;
	uint64_t count;

	if (rule == 0)
		rule = hidden_cause(returns, niov, &position);
	if (rule == 0) {
		count_error(returns, held, kind);
		return;
	}
	zcrx_flight_record(returns->flight, ZCRX_EVENT_CONSEQUENCE, (rule - 1) | kind << 16,
			   (uint64_t)held->flow << 32 | held->seq, niov);
	shm_count(&lab->consequences[rule - 1], 1);
	count = shm_load_relaxed_u64(&lab->consequence_count, POINT_COUNTER);
	if (count < ZCRX_CONSEQUENCES_MAX)
		lab->consequence[count] = (struct zcrx_consequence){
			.rule = rule - 1,
			.kind = kind,
			.niov = niov,
			.flow = held->flow,
			.seq = held->seq,
			.generation_held = again ? known : held->generation,
			.generation_now = again ? held->generation : known,
			.position = position,
		};
	shm_store_release_u64(&lab->consequence_count, count + 1, POINT_COUNTER);
}

void zcrx_returns_found(struct zcrx_returns *returns, const struct zcrx_held *held,
			enum zcrx_consequence_kind kind, uint32_t rule)
{
	blame(returns, held, kind, rule, 0);
}

void zcrx_returns_suspect(struct zcrx_returns *returns, uint32_t niov, uint32_t rule)
{
	struct zcrx_known *known = &returns->known[niov];

	known->suspect = rule;
	known->suspect_age = 0;
	known->suspect_position = returns->position;
}

static bool bytes_match(const struct zcrx_returns *returns, const struct zcrx_held *held)
{
	return zcrx_crc32c(returns->queue->area.bytes + held->off, held->len) == held->crc;
}

/* Bytes that must be what was sent. */
static void check_bytes(struct zcrx_returns *returns, const struct zcrx_held *held)
{
	const struct zcrx_known *known = &returns->known[zcrx_niov_of(returns, held->off)];
	bool matches = bytes_match(returns, held);

	if (held->mark) {
		const shm_u32 *kind = &returns->queue->lab->mark_kinds[held->mark - 1];
		bool cut = shm_load_relaxed_u32(kind, POINT_LOG) == ZCRX_FAULT_NIC_TRUNCATE;

		/* Wrong on purpose: not to notice it would be the error. */
		blame(returns, held, cut ? ZCRX_TRUNCATED_FOUND : ZCRX_CORRUPT_FOUND,
		      matches ? 0 : held->mark, 0);
		return;
	}
	if (!matches)
		blame(returns, held, ZCRX_BYTES_CHANGED, known->suspect, known->suspect_position);
}

/*
 * A generation of the buffer passed. Bytes that were scribbled on are over with
 * it. A stray return is not: the return that it robbed of its reference may rob
 * the next generation, and so on; there is no telling when that ends.
 */
static void age_suspicion(struct zcrx_returns *returns, struct zcrx_known *known)
{
	if (known->strayed || known->held || consumed(returns) <= known->suspect_position)
		return;
	if (++known->suspect_age > SUSPECT_GENERATIONS)
		known->suspect = 0;
}

/* Was its reference scrubbed before we read of it? */
static bool is_tainted(struct zcrx_returns *returns, uint32_t index)
{
	if (!returns->is_tainted)
		return false;
	returns->is_tainted = (int32_t)(returns->tainted_until - index) > 0;
	return returns->is_tainted;
}

void zcrx_returns_received(struct zcrx_returns *returns, const struct zcrx_held *held,
			   uint32_t index)
{
	struct zcrx_known *known = &returns->known[zcrx_niov_of(returns, held->off)];

	if (known->generation != held->generation) {
		if (known->suspect)
			age_suspicion(returns, known);
		/* Delivered again while a fragment of its earlier life is still held. */
		if (known->held)
			blame(returns, held, ZCRX_GIVEN_AGAIN, known->suspect,
			      known->suspect_position);
		known->generation = held->generation;
	}
	known->held++;
	if (is_tainted(returns, index))
		zcrx_returns_stray(
			returns, zcrx_niov_of(returns, held->off),
			shm_load_relaxed_u32(&returns->queue->lab->scrub_rule, POINT_USER));
	else
		known->balance++;
	if (returns->params.verify == ZCRX_VERIFY_CRC)
		check_bytes(returns, held);
}

static void check_early(struct zcrx_returns *returns)
{
	while (returns->early_head != returns->early_tail) {
		struct zcrx_early *early = &returns->early[returns->early_head % ZCRX_HISTORY];

		if (early->due > returns->position)
			return;
		returns->early_head++;
		if (returns->params.verify == ZCRX_VERIFY_CRC && !early->held.mark &&
		    !bytes_match(returns, &early->held))
			blame(returns, &early->held, ZCRX_BYTES_CHANGED, early->rule,
			      early->position);
	}
}

/* ---- holding ------------------------------------------------------------------------ */

/*
 * More returns wait than fragments can be out at a time: buffers were freed under
 * them, by strays or by a scrub, and delivered again.
 */
static void grow_pending(struct zcrx_returns *returns)
{
	uint64_t count = returns->pending_mask + 1;
	struct zcrx_held *more = malloc(sizeof(*more) * 2 * count);

	assert(more); /* nothing may be forgotten that was delivered */
	for (uint64_t i = 0; i < count; i++)
		more[i] = returns->pending[(returns->pending_head + i) & returns->pending_mask];
	free(returns->pending);
	returns->pending = more;
	returns->pending_mask = 2 * count - 1;
	returns->pending_head = 0;
	returns->pending_tail = count;
}

static void queue_return(struct zcrx_returns *returns, struct zcrx_held held)
{
	uint32_t recheck = returns->params.recheck_every;

	if (returns->pending_tail - returns->pending_head > returns->pending_mask)
		grow_pending(returns);
	/* Until now it was ours: what it holds must still be what was delivered. */
	if (returns->params.verify == ZCRX_VERIFY_CRC && recheck && held.mark == 0 &&
	    ++returns->rechecked % recheck == 0)
		check_bytes(returns, &held);
	returns->pending[returns->pending_tail++ & returns->pending_mask] = held;
}

void zcrx_returns_give(struct zcrx_returns *returns, struct zcrx_held held)
{
	uint32_t window = returns->params.hold;
	uint32_t victim;

	if (returns->hold_count < window) {
		returns->hold[returns->hold_count++] = held;
		return;
	}
	switch ((enum zcrx_return_order)returns->params.return_order) {
	case ZCRX_RETURN_LIFO:
		queue_return(returns, held);
		while (returns->hold_count)
			queue_return(returns, returns->hold[--returns->hold_count]);
		return;
	case ZCRX_RETURN_SHUFFLE:
		victim = zcrx_rng_below(&returns->rng, window + 1);
		break;
	case ZCRX_RETURN_FIFO:
	default:
		victim = window ? returns->hold_oldest++ % window : 0;
		break;
	}
	if (victim == window || window == 0) {
		queue_return(returns, held);
		return;
	}
	queue_return(returns, returns->hold[victim]);
	returns->hold[victim] = held;
}

/* ---- writing ------------------------------------------------------------------------------- */

uint64_t zcrx_returns_log_room(struct zcrx_returns *returns, uint64_t wanted)
{
	uint64_t log_entries = returns->queue->shape.log_entries;
	uint64_t ahead = returns->position - returns->checked;

	/* Pairs with the release in zcrx_reconcile(): those log bytes were read. */
	if (ahead + wanted > log_entries) {
		returns->checked = shm_load_acquire_u64(&returns->queue->lab->checked, POINT_LOG);
		ahead = returns->position - returns->checked;
	}
	return ahead < log_entries ? log_entries - ahead : 0;
}

void zcrx_returns_note_written(struct zcrx_returns *returns)
{
	if (returns->position != returns->noted)
		shm_count(&returns->queue->lab->rqe_submitted, returns->position - returns->noted);
	returns->noted = returns->position;
	/* Pairs with the acquire in zcrx_reconcile(). */
	shm_store_release_u64(&returns->queue->lab->written, returns->position, POINT_LOG);
}

/* How many RQEs may be written now: the ring's room, and the intent log's. */
static uint64_t rqe_room(struct zcrx_returns *returns)
{
	uint64_t room = zcrx_rq_user_room(&returns->rq, ZCRX_RETURN_BATCH);
	uint64_t log_room = zcrx_returns_log_room(returns, room);

	if (room == 0)
		shm_count(&returns->queue->lab->waits_rq_full, 1);
	if (log_room == 0)
		shm_count(&returns->queue->lab->waits_log_full, 1);
	return room < log_room ? room : log_room;
}

/* A user may give a fragment back twice by mistake: what it holds is not below nothing. */
static void let_go(struct zcrx_returns *returns, const struct zcrx_held *held)
{
	struct zcrx_known *known = &returns->known[zcrx_niov_of(returns, held->off)];

	if (known->held && !held->astray)
		known->held--;
}

static void remember(struct zcrx_returns *returns, const struct zcrx_held *held)
{
	if (returns->keeps_history)
		returns->history[returns->history_count++ % ZCRX_HISTORY] =
			(struct io_uring_zcrx_rqe){.off = held->off, .len = held->len};
}

static uint16_t due_of(const struct zcrx_returns *returns, const struct zcrx_held *held)
{
	return held->astray ? ZCRX_DUE_NONE : ZCRX_DUE(zcrx_niov_of(returns, held->off));
}

/*
 * The quick way: no rule is due for a whole run of returns. They are valid by
 * construction, so what they mean needs no look at their bytes.
 */
static uint64_t put_plain(struct zcrx_returns *returns, uint64_t room)
{
	uint64_t waiting = returns->pending_tail - returns->pending_head;
	uint64_t quiet =
		returns->plan.next > returns->ordinal ? returns->plan.next - returns->ordinal : 0;
	uint64_t mask = returns->queue->shape.log_entries - 1;
	shm_u16 *intents = returns->queue->intents;
	shm_u16 *dues = returns->queue->dues;
	uint64_t count = room < waiting ? room : waiting;

	if (returns->is_staged)
		return 0;
	if (count > quiet)
		count = quiet;
	for (uint64_t i = 0; i < count; i++) {
		struct zcrx_held *held =
			&returns->pending[returns->pending_head++ & returns->pending_mask];
		struct zcrx_known *known = &returns->known[zcrx_niov_of(returns, held->off)];
		uint32_t legal = SUCCEEDS;

		if (held->astray)
			zcrx_returns_stray(returns, zcrx_niov_of(returns, held->off),
					   ZCRX_INTENT_VALID);
		if (known->strayed && known->balance <= 0)
			legal |= BIT(ZCRX_NO_USER_REF);
		known->balance--;
		known->held -= known->held != 0 && !held->astray;
		shm_store_relaxed_u16(&dues[returns->position & mask], due_of(returns, held),
				      POINT_LOG);
		shm_store_relaxed_u16(&intents[returns->position++ & mask],
				      ZCRX_INTENT(ZCRX_INTENT_VALID, legal), POINT_LOG);
		zcrx_rq_user_put(&returns->rq, held->off, held->len, 0);
		remember(returns, held);
	}
	returns->ordinal += count;
	return count;
}

static void put_entry(struct zcrx_returns *returns, uint32_t at)
{
	const struct io_uring_zcrx_rqe *rqe = &returns->staged[at].rqe;
	uint32_t rule = returns->staged[at].rule;
	bool is_due = returns->staged[at].is_due;

	switch ((enum zcrx_put)returns->staged[at].how) {
	case ZCRX_PUT:
		zcrx_returns_put(returns, rqe, rule, returns->staged[at].strays, is_due);
		break;
	case ZCRX_PUT_EARLY:
		zcrx_put_early(returns, rqe, rule, is_due);
		break;
	case ZCRX_PUT_REWRITTEN:
		zcrx_put_rewritten(returns, rqe, rule, is_due);
		break;
	}
}

/* The return at the head of pending, with what the plan puts around it; entries written. */
static uint64_t put_staged(struct zcrx_returns *returns, uint64_t room)
{
	struct zcrx_held *held = &returns->pending[returns->pending_head & returns->pending_mask];
	uint64_t written = 0;

	if (!returns->is_staged)
		zcrx_stage_return(returns, held);
	while (written < room && returns->staged_at < returns->staged_count) {
		put_entry(returns, returns->staged_at++);
		written++;
		/* Not when its copies are written: it may be delivered again before there is room. */
		if (returns->staged_at == returns->staged_end)
			let_go(returns, held);
	}
	if (returns->staged_at < returns->staged_count)
		return written;
	remember(returns, held);
	if (returns->staged_end == 0)
		let_go(returns, held);
	returns->is_staged = false;
	returns->pending_head++;
	returns->ordinal++;
	return written;
}

/*
 * Publish more than was written: stale slots are consumed again, each judged by
 * the bytes that it holds. Their meaning is known, since nobody else writes
 * there.
 */
static void run_ahead(struct zcrx_returns *returns)
{
	uint64_t room = zcrx_returns_log_room(returns, returns->tail_ahead);

	for (uint32_t i = 0; i < returns->tail_ahead && i < room; i++)
		zcrx_returns_claim(returns, returns->tail_rule, false);
	returns->tail_ahead = 0;
}

static void pass(struct zcrx_returns *returns)
{
	let_go(returns, &returns->pending[returns->pending_head & returns->pending_mask]);
	returns->pending_head++;
	returns->ordinal++;
}

/*
 * How many returns, at most `wanted`, may be dealt with in another way than by
 * writing them in turn. No other rule may be due: it would miss its turn.
 */
static uint64_t out_of_turn(const struct zcrx_returns *returns, uint64_t wanted)
{
	uint64_t count = returns->pending_tail - returns->pending_head;

	if (returns->is_staged || zcrx_fault_is_due(&returns->plan, returns->ordinal))
		return 0;
	if (count > wanted)
		count = wanted;
	if (count > returns->plan.next - returns->ordinal)
		count = returns->plan.next - returns->ordinal;
	return count;
}

/* The ring is full and a rule says to forget what finds no room. */
static void forget(struct zcrx_returns *returns)
{
	uint64_t count = out_of_turn(returns, returns->forget);

	if (count == 0 || returns->rq.cached_tail - returns->rq.cached_head < returns->rq.entries)
		return;
	for (uint64_t i = 0; i < count; i++)
		pass(returns);
	returns->forget = 0;
	shm_count(&returns->queue->lab->injected[returns->forget_rule - 1], 1);
	shm_count(&returns->queue->lab->hoarded, count);
}

/* How many returns an overrun may write now. */
static uint64_t overrun_of(const struct zcrx_returns *returns)
{
	uint32_t entries = returns->rq.entries;

	/* A slot is written over once: with twice, one entry could be any of three. */
	if (returns->rq.cached_tail - returns->rq.cached_head != entries)
		return 0;
	return out_of_turn(returns, returns->over < entries ? returns->over : entries);
}

/* The ring is full and a rule says not to care: returns over what is not consumed yet. */
static void run_over(struct zcrx_returns *returns)
{
	uint64_t count = overrun_of(returns);
	uint64_t room = zcrx_returns_log_room(returns, count);

	if (count > room)
		count = room;
	if (count == 0)
		return;
	zcrx_excuse_overrun(returns, count);
	for (uint64_t i = 0; i < count; i++) {
		struct zcrx_held *held =
			&returns->pending[returns->pending_head & returns->pending_mask];
		struct io_uring_zcrx_rqe rqe = {.off = held->off, .len = held->len};

		zcrx_put_over(returns, &rqe, returns->over_rule, !held->astray);
		remember(returns, held);
		pass(returns);
	}
	shm_count(&returns->queue->lab->injected[returns->over_rule - 1], 1);
	returns->over = 0;
}

void zcrx_returns_ring_provider(struct zcrx_returns *returns)
{
	struct zcrx_bells *bells = returns->queue->bells;

	if (!returns->unrung)
		return;
	returns->unrung = false;
	zcrx_bell_ring(&bells->provider, zcrx_bell_refill(returns->queue->index));
}

void zcrx_returns_publish(struct zcrx_returns *returns)
{
	uint32_t head;

	zcrx_returns_note_written(returns);
	if (returns->is_stalled && zcrx_now_ns() < returns->stalled_until)
		return;
	returns->is_stalled = false;
	zcrx_rq_user_publish(&returns->rq);
	returns->unrung = true;
	/*
	 * A provider without buffers is woken for a good number of returns at
	 * once, or when there is nothing else to do: waking it for each batch
	 * would cost more than its work.
	 */
	head = shm_load_relaxed_u32(returns->rq.head, POINT_RQ_HEAD_LOAD);
	if (returns->rq.cached_tail - head >= returns->ring_after)
		zcrx_returns_ring_provider(returns);
}

void zcrx_returns_look(struct zcrx_returns *returns)
{
	/* Relaxed: only whether there is something to follow. */
	if (shm_load_relaxed_u32(&returns->queue->lab->scrubs_done, POINT_USER) !=
	    returns->scrubs_seen)
		zcrx_returns_follow_scrub(returns);
}

/* Everything that there is room for. */
static void put_pending(struct zcrx_returns *returns)
{
	uint64_t room = rqe_room(returns);

	if (room)
		room -= zcrx_put_misdirected(returns);
	while (room && returns->pending_head != returns->pending_tail) {
		uint64_t written = put_plain(returns, room);

		if (written == 0)
			written = put_staged(returns, room);
		room -= written;
	}
}

uint64_t zcrx_returns_flush(struct zcrx_returns *returns)
{
	struct zcrx_lab_shared *lab = returns->queue->lab;
	uint64_t start = returns->position;
	uint64_t valid = returns->ordinal;

	zcrx_returns_look(returns);
	if (returns->early_head != returns->early_tail)
		check_early(returns);
	/* While the provider may read beyond the tail nothing is written. */
	if (zcrx_returns_recover(returns)) {
		put_pending(returns);
		if (returns->over)
			run_over(returns);
		if (returns->forget)
			forget(returns);
		if (returns->tail_ahead)
			run_ahead(returns);
	}
	if (returns->position != start)
		zcrx_flight_record(returns->flight, ZCRX_EVENT_RETURNED,
				   (uint32_t)(returns->position - start), start,
				   returns->rq.cached_tail);
	if (returns->ordinal != valid)
		shm_count(&lab->rqe_valid, returns->ordinal - valid);
	if (returns->position != start || returns->is_stalled)
		zcrx_returns_publish(returns);
	if (returns->lies)
		zcrx_tail_publish_lie(returns);
	shm_store_relaxed_u64(&lab->pending_returns, returns->pending_tail - returns->pending_head,
			      POINT_COUNTER);
	/* A lie is to be put right soon: until then the provider runs in circles. */
	return returns->pending_tail - returns->pending_head + (returns->astray != 0);
}
