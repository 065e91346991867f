/* SPDX-License-Identifier: MIT */
/*
 * A fragment goes back by stages: held for a while, then pending, then written
 * when there is room. What is written is published with its batch.
 */
#include "returns.h"

#include <errno.h>
#include <stdlib.h>

#define FRAGMENT_MIN 64U /* the NIC starts fragments at multiples of this */

static uint64_t round_up_power_of_two(uint64_t n)
{
	uint64_t power = 1;

	while (power < n)
		power <<= 1;
	return power;
}

/* Each part, with those below it; in the order in which they take note of shared words. */
static int init_parts(struct zcrx_returns *returns, struct zcrx_queue *queue,
		      const struct zcrx_fault_rule *rules)
{
	const struct zcrx_consumer_params *params = &returns->params;
	struct zcrx_fault_plan *plan = &returns->plan;
	int error = zcrx_holdings_init(&returns->holdings, &queue->shape);

	zcrx_rq_writer_init(&returns->writer, queue, &returns->holdings, params->position);
	zcrx_findings_init(&returns->findings, &returns->ring_faults, &returns->writer,
			   params->verify == ZCRX_VERIFY_CRC);
	zcrx_ring_faults_init(&returns->ring_faults, &returns->writer, params->queues, rules,
			      plan->count);
	zcrx_rq_writer_note_written(&returns->writer);
	zcrx_fault_resume(plan, returns->ordinal, queue->notes->injected);
	if (zcrx_injection_init(&returns->injection, plan, &returns->findings))
		error = -ENOMEM;
	return error;
}

static int init_queues(struct zcrx_returns *returns, const struct zcrx_shape *shape)
{
	uint64_t per_niov = ((1U << shape->niov_shift) + FRAGMENT_MIN - 1) / FRAGMENT_MIN;
	uint32_t hold = returns->params.hold;

	returns->pending_mask = round_up_power_of_two(per_niov * shape->num_niovs + hold + 1) - 1;
	/* malloc, not calloc, for the large one: its pages come when they are used. */
	returns->pending = malloc(sizeof(*returns->pending) * (returns->pending_mask + 1));
	returns->hold = calloc(hold + 1, sizeof(*returns->hold));
	return returns->pending && returns->hold ? 0 : -ENOMEM;
}

int zcrx_returns_init(struct zcrx_returns *returns, struct zcrx_queue *queue,
		      const struct zcrx_consumer_params *params,
		      const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	const struct zcrx_fault_area area = {.num_niovs = queue->shape.num_niovs,
					     .niov_shift = queue->shape.niov_shift};
	int error;

	memset(returns, 0, sizeof(*returns));
	returns->params = *params;
	error = zcrx_fault_compile(&returns->plan, rules, rule_count, params->seed, queue->index,
				   &area);
	if (error)
		return error;
	returns->plan.journal = queue->journals[ZCRX_JOURNAL_CONSUMER];
	returns->rng = zcrx_rng_for(params->seed + queue->index, 0);
	returns->ordinal = shm_load_relaxed_u64(&queue->notes->rqe_valid, POINT_LOG);
	error = init_parts(returns, queue, rules);
	if (!error)
		error = init_queues(returns, &queue->shape);
	if (error)
		zcrx_returns_destroy(returns);
	return error;
}

void zcrx_returns_destroy(struct zcrx_returns *returns)
{
	zcrx_injection_destroy(&returns->injection);
	zcrx_holdings_destroy(&returns->holdings);
	free(returns->pending);
	free(returns->hold);
	memset(returns, 0, sizeof(*returns));
}

void zcrx_returns_attach(struct zcrx_returns *returns, const struct zcrx_rq_user *rq,
			 shm_u32 *cq_head, shm_u32 *cq_tail)
{
	returns->writer.rq = *rq;
	returns->ring_faults.cq_head = cq_head;
	returns->ring_faults.cq_tail = cq_tail;
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
		zcrx_findings_check(&returns->findings, &held);
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

/* The return at the head of pending, or so many behind it. */
static struct zcrx_held *pending_at(struct zcrx_returns *returns, uint64_t behind)
{
	return &returns->pending[(returns->pending_head + behind) & returns->pending_mask];
}

/* The return at the head is over. */
static void pass(struct zcrx_returns *returns)
{
	returns->pending_head++;
	returns->ordinal++;
}

/*
 * The quick way: no rule is due for a whole run of returns. They are valid by
 * construction, so what they mean needs no look at their bytes.
 */
static uint64_t put_plain(struct zcrx_returns *returns, uint64_t room)
{
	struct zcrx_holdings *holdings = &returns->holdings;
	struct zcrx_rq_writer *writer = &returns->writer;
	struct zcrx_log log = zcrx_rq_writer_log(writer);
	uint64_t waiting = returns->pending_tail - returns->pending_head;
	uint64_t quiet =
		returns->plan.next > returns->ordinal ? returns->plan.next - returns->ordinal : 0;
	uint64_t count = room < waiting ? room : waiting;

	if (returns->injection.is_staged)
		return 0;
	if (count > quiet)
		count = quiet;
	zcrx_rq_user_expect(&writer->rq, (uint32_t)count);
	for (uint64_t i = 0; i < count; i++) {
		struct zcrx_held *held =
			&returns->pending[returns->pending_head++ & returns->pending_mask];
		struct zcrx_known *known = zcrx_holdings_of(holdings, held);
		uint32_t legal = ZCRX_LEGAL_SUCCEEDS;

		if (held->astray)
			zcrx_holdings_stray(holdings, zcrx_holdings_niov(holdings, held->off),
					    ZCRX_INTENT_VALID, writer->position);
		if (known->strayed && known->balance <= 0)
			legal |= ZCRX_VERDICT_BIT(ZCRX_NO_USER_REF);
		known->balance--;
		zcrx_holdings_let_go(holdings, held);
		zcrx_rq_writer_put_valid(writer, log, held, legal,
					 zcrx_holdings_due(holdings, held));
		zcrx_injection_remember(&returns->injection, held);
	}
	returns->ordinal += count;
	return count;
}

/* The return at the head of pending, with what the plan puts around it; entries written. */
static uint64_t put_injected(struct zcrx_returns *returns, uint64_t room)
{
	const struct zcrx_held *held = pending_at(returns, 0);
	uint64_t written = zcrx_injection_put(&returns->injection, held, returns->ordinal, room);

	if (!returns->injection.is_staged) {
		zcrx_injection_remember(&returns->injection, held);
		pass(returns);
	}
	return written;
}

/*
 * How many returns, at most `wanted`, may be dealt with in another way than by
 * writing them in turn. No other rule may be due: it would miss its turn.
 */
static uint64_t out_of_turn(const struct zcrx_returns *returns, uint64_t wanted)
{
	uint64_t count = returns->pending_tail - returns->pending_head;

	if (returns->injection.is_staged || zcrx_fault_is_due(&returns->plan, returns->ordinal))
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
	uint64_t count = out_of_turn(returns, returns->ring_faults.forget);

	if (count == 0 || zcrx_rq_writer_used(&returns->writer) < returns->writer.rq.entries)
		return;
	for (uint64_t i = 0; i < count; i++) {
		zcrx_holdings_let_go(&returns->holdings, pending_at(returns, 0));
		pass(returns);
	}
	zcrx_ring_faults_forgot(&returns->ring_faults, count);
}

/* The ring is full and a rule says not to care: returns over what is not consumed yet. */
static void run_over(struct zcrx_returns *returns)
{
	struct zcrx_ring_faults *faults = &returns->ring_faults;
	uint64_t count = out_of_turn(returns, zcrx_ring_faults_overrun_room(faults));
	uint64_t room = zcrx_rq_writer_log_room(&returns->writer, count);

	if (count > room)
		count = room;
	if (count == 0)
		return;
	for (uint64_t i = 0; i < count; i++)
		zcrx_ring_faults_expect_overrun(faults, pending_at(returns, i));
	zcrx_ring_faults_excuse_overrun(faults);
	for (uint64_t i = 0; i < count; i++) {
		const struct zcrx_held *held = pending_at(returns, 0);

		zcrx_ring_faults_put_over(faults, held);
		zcrx_injection_remember(&returns->injection, held);
		zcrx_holdings_let_go(&returns->holdings, held);
		pass(returns);
	}
	zcrx_ring_faults_overran(faults);
}

/* Everything that there is room for. */
static void put_pending(struct zcrx_returns *returns)
{
	uint64_t room = zcrx_rq_writer_room(&returns->writer);

	if (room)
		room -= zcrx_ring_faults_put_misdirected(&returns->ring_faults);
	while (room && returns->pending_head != returns->pending_tail) {
		uint64_t written = put_plain(returns, room);

		if (written == 0)
			written = put_injected(returns, room);
		room -= written;
	}
}

static void write_all(struct zcrx_returns *returns)
{
	struct zcrx_ring_faults *faults = &returns->ring_faults;

	put_pending(returns);
	if (faults->over)
		run_over(returns);
	if (faults->forget)
		forget(returns);
	if (faults->tail_ahead)
		zcrx_ring_faults_run_ahead(faults);
}

uint64_t zcrx_returns_flush(struct zcrx_returns *returns)
{
	struct zcrx_rq_writer *writer = &returns->writer;
	struct zcrx_notes_shared *notes = writer->queue->notes;
	uint64_t start = writer->position;
	uint64_t valid = returns->ordinal;
	uint64_t waiting;

	zcrx_findings_look(&returns->findings);
	zcrx_injection_check_early(&returns->injection);
	/* While the provider may read beyond the tail nothing is written. */
	if (zcrx_ring_faults_recover(&returns->ring_faults))
		write_all(returns);
	if (writer->position != start)
		zcrx_flight_record(writer->flight, ZCRX_EVENT_RETURNED,
				   (uint32_t)(writer->position - start), start,
				   writer->rq.cached_tail);
	if (returns->ordinal != valid)
		shm_count(&notes->rqe_valid, returns->ordinal - valid);
	if (writer->position != start || writer->is_withheld)
		zcrx_rq_writer_publish(writer);
	if (returns->ring_faults.lies)
		zcrx_ring_faults_lie(&returns->ring_faults);
	waiting = returns->pending_tail - returns->pending_head;
	/* It has room for everything that may ever be out, of which no cache holds much. */
	if (waiting == 0)
		returns->pending_head = returns->pending_tail = 0;
	shm_store_relaxed_u64(&notes->pending_returns, waiting, POINT_COUNTER);
	/* A lie is to be put right soon: until then the provider runs in circles. */
	return waiting + (returns->ring_faults.astray != 0);
}
