/* SPDX-License-Identifier: MIT */
/*
 * Why an exact judgement is possible even when the tail lies. The provider
 * takes position after position whatever the tail says; what it finds at each
 * is what stands in the slot. The user is the slots' only writer. So as long as
 * it writes nothing, it can say afterwards which bytes were found at positions
 * that it never wrote: it claims them, by the bytes that are there. It writes
 * again only when it knows that the provider cannot be reading there.
 *
 * A refill that is under way may have seen the lie. It takes ZCRX_PP_REFILL
 * entries at most, counted from a head that was published before it began.
 * Once the true tail stands in the ring and the head read after that leaves so
 * much room in front of it, nobody can get beyond the tail any more.
 */
#define _GNU_SOURCE
#include "ring_faults.h"
#include "returns_impl.h"

#define TRIES 8

/* ---- a tail that lies --------------------------------------------------------- */

void zcrx_tail_lie(struct zcrx_returns *returns, uint32_t value, bool is_absolute, uint32_t rule)
{
	returns->lies = rule;
	returns->lie = value;
	returns->lie_is_absolute = is_absolute;
}

void zcrx_tail_publish_lie(struct zcrx_returns *returns)
{
	uint32_t tail = returns->lie_is_absolute ? returns->lie :
						   returns->rq.cached_tail - returns->lie;

	returns->astray = returns->lies;
	returns->lies = 0;
	/* Before the lie is seen: who finds positions without intents asks this word. */
	shm_store_release_u32(&returns->queue->lab->astray_rule, returns->astray, POINT_LOG);
	zcrx_flight_record(returns->flight, ZCRX_EVENT_TAIL_LIE, returns->astray - 1,
			   returns->position, tail);
	shm_store_release_u32(returns->rq.tail, tail, POINT_RQ_TAIL_STORE);
	zcrx_bell_ring(&returns->queue->bells->provider, zcrx_bell_refill(returns->queue->index));
}

/* How far the provider's head is beyond our tail, as published; 0 if it is not. */
static uint32_t overtaken_by(struct zcrx_returns *returns)
{
	/* Pairs with the release in zcrx_rq_release(): those slots were read. */
	uint32_t head = shm_load_acquire_u32(returns->rq.head, POINT_RQ_HEAD_LOAD);
	uint32_t beyond = head - returns->rq.cached_tail;

	/* What we scribbled ourselves says nothing about the provider. */
	if (returns->has_scribbled && head == returns->scribble)
		return 0;
	return beyond <= INT32_MAX ? beyond : 0;
}

/* Entries that are published and not consumed, as far as can be seen. */
static uint32_t lead(struct zcrx_returns *returns)
{
	uint32_t head = shm_load_acquire_u32(returns->rq.head, POINT_RQ_HEAD_LOAD);

	if (returns->has_scribbled && head == returns->scribble)
		head = returns->rq.cached_head;
	return returns->rq.cached_tail - head;
}

/* False if the log has no room for all of them yet. */
static bool claim(struct zcrx_returns *returns, uint32_t count)
{
	uint64_t room = zcrx_returns_log_room(returns, count);

	for (uint32_t i = 0; i < count && i < room; i++)
		zcrx_returns_claim(returns, returns->astray, true);
	zcrx_returns_note_written(returns);
	return count <= room;
}

bool zcrx_returns_recover(struct zcrx_returns *returns)
{
	uint32_t enough = returns->rq.entries < ZCRX_PP_REFILL ? returns->rq.entries :
								 ZCRX_PP_REFILL;

	if (!returns->astray)
		return true;
	for (int tries = 0; tries < TRIES; tries++) {
		uint32_t beyond = overtaken_by(returns);
		uint32_t ahead;

		if (!claim(returns, beyond))
			return false;
		zcrx_rq_user_publish(&returns->rq);
		/*
		 * Pairs with the lock that the provider takes between publishing its
		 * head and reading the tail: either it sees the true tail, or we see
		 * the head that it had published before.
		 */
		shm_fence_seq_cst();
		ahead = lead(returns);
		if (ahead >= enough && ahead <= INT32_MAX) {
			returns->astray = 0;
			shm_store_release_u32(&returns->queue->lab->astray_rule, 0, POINT_LOG);
			returns->rq.cached_head = returns->rq.cached_tail - ahead;
			zcrx_flight_record(returns->flight, ZCRX_EVENT_RECOVERED, 0,
					   returns->position, returns->rq.cached_tail);
			return true;
		}
		/* Short of that: pass slots as they are, until there is so much in front. */
		if (ahead < enough && !claim(returns, enough - ahead))
			return false;
	}
	return false;
}

/* ---- entries that are not what was published ------------------------------------ */

/* What a provider may find that reads a slot while it changes from one content to another. */
static struct zcrx_legal either(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *one,
				const struct io_uring_zcrx_rqe *two, uint32_t rule)
{
	const struct io_uring_zcrx_rqe mixtures[] = {
		*one,
		*two,
		{.off = one->off, .len = two->len, .__pad = two->__pad},
		{.off = two->off, .len = one->len, .__pad = one->__pad},
	};
	struct zcrx_legal all = {0};
	uint32_t last = UINT32_MAX;

	for (uint32_t i = 0; i < sizeof(mixtures) / sizeof(mixtures[0]); i++) {
		struct zcrx_legal legal = zcrx_returns_legal(returns, &mixtures[i]);

		all.verdicts |= legal.verdicts;
		if (!legal.names)
			continue;
		all.names = true;
		all.niov = legal.niov;
		if (legal.niov == last)
			continue;
		/* Whichever it is: the least that can be left of each. */
		zcrx_returns_stray(returns, legal.niov, rule);
		returns->known[legal.niov].balance--;
		last = legal.niov;
	}
	return all;
}

static void write_slot(struct zcrx_rqe_slot *slot, const struct io_uring_zcrx_rqe *rqe)
{
	shm_store_relaxed_u64(&slot->off, rqe->off, POINT_RQE_STORE);
	shm_store_relaxed_u64(&slot->len_pad, (uint64_t)rqe->__pad << 32 | rqe->len,
			      POINT_RQE_STORE);
}

/* Has the provider taken the entry that stood just behind this tail? */
static bool is_taken(struct zcrx_returns *returns, uint32_t tail)
{
	uint32_t head = shm_load_acquire_u32(returns->rq.head, POINT_RQ_HEAD_LOAD);

	return !(returns->has_scribbled && head == returns->scribble) && head - tail <= INT32_MAX;
}

static uint64_t put_either(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *one,
			   const struct io_uring_zcrx_rqe *two, uint32_t rule)
{
	struct zcrx_legal legal = either(returns, one, two, rule);

	zcrx_intent_put(returns, returns->position, rule, legal.verdicts);
	returns->rq.cached_tail++;
	return returns->position++;
}

void zcrx_put_early(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
		    uint32_t rule)
{
	const uint32_t *params = returns->plan.lanes[rule - 1].rule.params;
	struct zcrx_rqe_slot *slot = zcrx_next_slot(returns);
	struct io_uring_zcrx_rqe old = zcrx_slot_read(slot);
	uint64_t deadline = zcrx_now_ns() + (uint64_t)params[0] * 1000;

	put_either(returns, &old, rqe, rule);
	zcrx_returns_publish(returns);
	while (!is_taken(returns, returns->rq.cached_tail) && zcrx_now_ns() < deadline)
		shm_pause();
	write_slot(slot, rqe);
}

static struct io_uring_zcrx_rqe spoiled(const struct zcrx_returns *returns,
					const struct io_uring_zcrx_rqe *rqe, uint32_t how)
{
	struct io_uring_zcrx_rqe bad = *rqe;

	switch (how) {
	case 1:
		bad.__pad = UINT32_MAX;
		break;
	case 2:
		bad.off |= IORING_ZCRX_AREA_MASK;
		break;
	default: /* an index far outside, but one that an offset of this area can carry */
		bad.off |= ~IORING_ZCRX_AREA_MASK &
			   ~(((uint64_t)1 << returns->fault_area.niov_shift) - 1);
		break;
	}
	return bad;
}

void zcrx_put_rewritten(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
			uint32_t rule)
{
	const uint32_t *params = returns->plan.lanes[rule - 1].rule.params;
	struct io_uring_zcrx_rqe bad = spoiled(returns, rqe, params[1]);
	struct zcrx_rqe_slot *slot = zcrx_next_slot(returns);

	write_slot(slot, rqe);
	put_either(returns, rqe, &bad, rule);
	zcrx_returns_publish(returns);
	for (uint32_t i = 0; i < params[0] && !is_taken(returns, returns->rq.cached_tail); i++) {
		write_slot(slot, &bad);
		shm_pause();
		write_slot(slot, rqe);
	}
}

bool zcrx_put_over(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe, uint32_t rule)
{
	struct zcrx_rqe_slot *slot = zcrx_next_slot(returns);
	struct io_uring_zcrx_rqe old = zcrx_slot_read(slot);
	uint64_t over = returns->position - returns->rq.entries;
	uint64_t mask = returns->queue->shape.log_entries - 1;
	uint16_t was;

	if (zcrx_returns_log_room(returns, 1) == 0)
		return false;
	was = shm_load_relaxed_u16(&returns->queue->intents[over & mask], POINT_LOG);
	/*
	 * The slot is found twice: at the position that is written over (as one or
	 * the other, if it was not taken yet), and at the one that it now has.
	 */
	zcrx_intent_put(returns, over, rule,
			ZCRX_INTENT_LEGAL(was) | either(returns, &old, rqe, rule).verdicts);
	put_either(returns, rqe, rqe, rule);
	/*
	 * The intents first: whoever finds the new bytes at the old position must
	 * find what they may earn as well. Pairs with the release of `consumed`.
	 */
	shm_fence_seq_cst();
	write_slot(slot, rqe);
	return true;
}

/* ---- by the wrong ring ------------------------------------------------------------- */

#define OFFSET_MASK (((uint64_t)1 << IORING_ZCRX_AREA_SHIFT) - 1)

bool zcrx_misdirect(struct zcrx_returns *returns, uint64_t off, uint32_t by, uint32_t rule)
{
	uint32_t queues = returns->params.queues;
	uint32_t to = queues ? (returns->queue->index + by) % queues : returns->queue->index;
	uint64_t none = 0;

	if (to == returns->queue->index)
		return false;
	/* Pairs with the exchange in zcrx_put_misdirected(); one at a time is on its way. */
	return shm_cas_u64(&returns->queue->bells->misdirected[to], &none,
			   (uint64_t)rule << 56 | (off & OFFSET_MASK), POINT_BELL_SEQ);
}

uint32_t zcrx_put_misdirected(struct zcrx_returns *returns)
{
	shm_u64 *mailbox = &returns->queue->bells->misdirected[returns->queue->index];
	struct io_uring_zcrx_rqe rqe;
	uint64_t letter;
	uint32_t rule;

	if (shm_load_relaxed_u64(mailbox, POINT_BELL_SEQ) == 0)
		return 0;
	letter = shm_xchg_u64(mailbox, 0, POINT_BELL_SEQ);
	rule = (uint32_t)(letter >> 56);
	/* The word lies where every user can write: believe nothing that is no rule of ours. */
	if (rule == 0 || rule > returns->plan.count ||
	    returns->plan.lanes[rule - 1].rule.kind != ZCRX_FAULT_WRONG_RING)
		return 0;
	rqe = (struct io_uring_zcrx_rqe){
		.off = letter & OFFSET_MASK,
		.len = 1U << returns->fault_area.niov_shift,
	};
	write_slot(zcrx_next_slot(returns), &rqe);
	zcrx_returns_claim(returns, rule, false);
	return 1;
}

/* ---- scrubbed while alive ------------------------------------------------------------ */

void zcrx_returns_follow_scrub(struct zcrx_returns *returns)
{
	struct zcrx_lab_shared *lab = returns->queue->lab;
	/* Pairs with the release in zcrx_queue_scrub_end(): the scrub is over. */
	uint32_t done = shm_load_acquire_u32(&lab->scrubs_done, POINT_USER);
	uint32_t rule = shm_load_relaxed_u32(&lab->scrub_rule, POINT_USER);
	uint32_t head, tail;

	if (done == returns->scrubs_seen ||
	    done != shm_load_acquire_u32(&lab->scrubs_begun, POINT_USER))
		return;
	returns->scrubs_seen = done;
	zcrx_flight_record(returns->flight, ZCRX_EVENT_SCRUB_SEEN, 0, returns->position, done);
	/* Nothing that was delivered so far has a reference that we could count on. */
	returns->tainted_until = shm_load_acquire_u32(returns->cq_tail, POINT_CQ_TAIL_LOAD);
	returns->is_tainted = true;
	for (uint32_t niov = 0; niov < returns->fault_area.num_niovs; niov++) {
		struct zcrx_known *known = &returns->known[niov];

		if (known->balance > 0 || known->held)
			zcrx_returns_stray(returns, niov, rule);
		known->balance = 0;
	}
	/* Returns on their way take the references of what is delivered from now on. */
	head = shm_load_acquire_u32(returns->rq.head, POINT_RQ_HEAD_LOAD);
	tail = returns->rq.cached_tail;
	if (tail - head > returns->rq.entries)
		head = tail - returns->rq.entries;
	for (; head != tail; head++) {
		struct io_uring_zcrx_rqe rqe =
			zcrx_slot_read(&returns->rq.rqes[head & returns->rq.mask]);
		struct zcrx_legal legal = zcrx_returns_legal(returns, &rqe);

		if (!legal.names)
			continue;
		zcrx_returns_stray(returns, legal.niov, rule);
		returns->known[legal.niov].balance--;
	}
	shm_store_relaxed_u64(&lab->scrub_position, returns->position, POINT_LOG);
	/* Pairs with the acquire in zcrx_queue_scrub_seen(). */
	shm_store_release_u32(&lab->scrubs_seen, done, POINT_USER);
}
