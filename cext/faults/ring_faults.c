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
#include "actors/returns_impl.h"

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

/* The provider's head as it last published it, whatever we scribbled there since. */
static uint32_t head_of(const struct zcrx_returns *returns)
{
	/* Pairs with the release in zcrx_rq_release(): those slots were read. */
	uint32_t head = shm_load_acquire_u32(returns->rq.head, POINT_RQ_HEAD_LOAD);

	/* Where our scribble still stands, nothing was published after zcrx_scribble_head(). */
	return returns->has_scribbled && head == returns->scribble ? returns->rq.cached_head : head;
}

/* How far the provider's head is beyond our tail, as published; 0 if it is not. */
static uint32_t overtaken_by(const struct zcrx_returns *returns)
{
	uint32_t beyond = head_of(returns) - returns->rq.cached_tail;

	return beyond <= INT32_MAX ? beyond : 0;
}

/* Entries that are published and not consumed, as far as can be seen. */
static uint32_t lead(const struct zcrx_returns *returns)
{
	return returns->rq.cached_tail - head_of(returns);
}

/*
 * Stop the provider so many entries from here, and claim them. Told first and
 * claimed then: it takes stale entries faster than they can be claimed, and
 * would be gone by the time they were. False if the log has no room for all.
 */
static bool catch_up(struct zcrx_returns *returns, uint32_t count)
{
	uint64_t room = zcrx_returns_log_room(returns, count);
	uint32_t claimed = count < room ? count : (uint32_t)room;

	/* Pairs with the acquire in zcrx_rq_available(); the slots are as they were. */
	shm_store_release_u32(returns->rq.tail, returns->rq.cached_tail + claimed,
			      POINT_RQ_TAIL_STORE);
	for (uint32_t i = 0; i < claimed; i++)
		zcrx_returns_claim(returns, returns->astray, true);
	zcrx_returns_note_written(returns);
	return claimed == count;
}

bool zcrx_returns_recover(struct zcrx_returns *returns)
{
	uint32_t enough = returns->rq.entries < ZCRX_PP_REFILL ? returns->rq.entries :
								 ZCRX_PP_REFILL;

	/* Nor does a refill take more than the logs are long. */
	if (enough > returns->queue->shape.log_entries)
		enough = returns->queue->shape.log_entries;
	if (!returns->astray)
		return true;
	for (uint32_t tries = 0; tries < TRIES; tries++) {
		uint32_t beyond = overtaken_by(returns);
		uint32_t ahead = beyond ? 0 : lead(returns);
		uint32_t short_of = beyond + (ahead < enough ? enough - ahead : 0);

		/* More each time, for a provider that was far ahead when it was told. */
		if (!catch_up(returns, short_of + (enough << tries) - enough))
			return false;
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
	}
	return false;
}

/* ---- a head that lies --------------------------------------------------------- */

/*
 * Any value that cannot be taken for a true one: whoever reads a plausible head
 * that is wrong (the consumer itself is one) commits another fault than this.
 */
uint32_t zcrx_scribble(uint32_t index, uint32_t random)
{
	const uint32_t apart = UINT32_C(1) << 24;

	return index + apart + (uint32_t)((uint64_t)random * (UINT32_MAX - 2 * apart) >> 32);
}

void zcrx_scribble_head(struct zcrx_returns *returns, uint32_t random)
{
	uint32_t scribble = zcrx_scribble(returns->rq.cached_tail, random);
	/*
	 * Pairs with the release in zcrx_rq_release(). In one step, so that no head
	 * is lost that the provider published meanwhile: zcrx_returns_recover() must
	 * know the last one.
	 */
	uint32_t head = shm_xchg_u32(returns->rq.head, scribble, POINT_RQ_HEAD_STORE);

	if (!returns->has_scribbled || head != returns->scribble)
		returns->rq.cached_head = head;
	returns->scribble = scribble;
	returns->has_scribbled = true;
}

/* ---- entries that are not what was published ------------------------------------ */

/* An entry may take a reference of this buffer that is not its own. */
static void expect_take(struct zcrx_returns *returns, uint32_t niov, uint32_t rule)
{
	zcrx_returns_stray(returns, niov, rule);
	returns->known[niov].balance--;
}

/*
 * The same, of an entry at this position that says so only at times. Remembered
 * until the provider is past it, since its slot does not tell.
 */
static void expect_either(struct zcrx_returns *returns, uint32_t niov, uint64_t position,
			  uint32_t rule)
{
	struct zcrx_known *known = &returns->known[niov];

	if (known->either_end <= returns->position - lead(returns))
		known->either_count = 0;
	known->either_count++;
	if (known->either_end <= position)
		known->either_end = position + 1;
	expect_take(returns, niov, rule);
}

/* What a provider may find that reads a slot while it changes from one content to another. */
static struct zcrx_legal either(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *one,
				const struct io_uring_zcrx_rqe *two, uint64_t position,
				uint32_t rule)
{
	const struct io_uring_zcrx_rqe mixtures[] = {
		*one,
		{.off = one->off, .len = two->len, .__pad = two->__pad},
		*two,
		{.off = two->off, .len = one->len, .__pad = one->__pad},
	};
	struct zcrx_legal all = {0};

	for (uint32_t i = 0; i < sizeof(mixtures) / sizeof(mixtures[0]); i++) {
		struct zcrx_legal legal = zcrx_returns_legal(returns, &mixtures[i]);

		all.verdicts |= legal.verdicts;
		/* Whichever it is: the least that can be left of each. */
		if (legal.names && !(all.names && all.niov == legal.niov))
			expect_either(returns, legal.niov, position, rule);
		if (legal.names)
			all = (struct zcrx_legal){all.verdicts, true, legal.niov};
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
static bool is_taken(const struct zcrx_returns *returns, uint32_t tail)
{
	return head_of(returns) - tail <= INT32_MAX;
}

/*
 * What an entry gives back if it is found as it is meant. As something else it is
 * nobody's return: the reconciler tells by the buffer that was found in it.
 */
static uint32_t due_of(const struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
		       bool is_due)
{
	struct zcrx_legal legal = zcrx_returns_legal(returns, rqe);

	return is_due && legal.names ? ZCRX_DUE(legal.niov) : ZCRX_DUE_NONE;
}

static void put_either(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *one,
		       const struct io_uring_zcrx_rqe *two, uint32_t rule, uint32_t due)
{
	struct zcrx_legal legal = either(returns, one, two, returns->position, rule);

	zcrx_intent_put(returns, returns->position++, rule, legal.verdicts, due);
	returns->rq.cached_tail++;
}

void zcrx_put_early(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe,
		    uint32_t rule, bool is_due)
{
	const uint32_t *params = returns->plan.lanes[rule - 1].rule.params;
	struct zcrx_rqe_slot *slot = zcrx_next_slot(returns);
	struct io_uring_zcrx_rqe old = zcrx_slot_read(slot);
	uint64_t deadline = zcrx_now_ns() + (uint64_t)params[0] * 1000;

	put_either(returns, &old, rqe, rule, due_of(returns, rqe, is_due));
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
			uint32_t rule, bool is_due)
{
	const uint32_t *params = returns->plan.lanes[rule - 1].rule.params;
	struct io_uring_zcrx_rqe bad = spoiled(returns, rqe, params[1]);
	struct zcrx_rqe_slot *slot = zcrx_next_slot(returns);

	write_slot(slot, rqe);
	put_either(returns, rqe, &bad, rule, due_of(returns, rqe, is_due));
	zcrx_returns_publish(returns);
	for (uint32_t i = 0; i < params[0] && !is_taken(returns, returns->rq.cached_tail); i++) {
		write_slot(slot, &bad);
		shm_pause();
		write_slot(slot, rqe);
	}
}

void zcrx_excuse_overrun(struct zcrx_returns *returns, uint64_t count)
{
	uint64_t mask = returns->queue->shape.log_entries - 1;
	uint64_t stamp = returns->position + 1;
	uint64_t at = returns->position - returns->rq.entries;

	for (uint64_t i = returns->pending_head; i - returns->pending_head < count; i++) {
		const struct zcrx_held *held = &returns->pending[i & returns->pending_mask];

		returns->known[zcrx_niov_of(returns, held->off)].overrun = stamp;
	}
	/* What the logs have no room for was consumed long ago. */
	if (returns->rq.entries > returns->queue->shape.log_entries)
		at = returns->position - returns->queue->shape.log_entries;
	for (; at != returns->position; at++) {
		uint32_t index = returns->rq.cached_tail - (uint32_t)(returns->position - at);
		struct io_uring_zcrx_rqe rqe =
			zcrx_slot_read(&returns->rq.rqes[index & returns->rq.mask]);
		struct zcrx_legal legal = zcrx_returns_legal(returns, &rqe);
		shm_u16 *intent = &returns->queue->intents[at & mask];
		uint16_t was = shm_load_relaxed_u16(intent, POINT_LOG);

		if (legal.names && returns->known[legal.niov].overrun == stamp)
			zcrx_intent_change(returns, at, ZCRX_INTENT_RULE(was),
					   ZCRX_INTENT_LEGAL(was) |
						   ZCRX_VERDICT_BIT(ZCRX_NO_USER_REF));
	}
}

void zcrx_put_over(struct zcrx_returns *returns, const struct io_uring_zcrx_rqe *rqe, uint32_t rule,
		   bool is_due)
{
	struct zcrx_rqe_slot *slot = zcrx_next_slot(returns);
	struct io_uring_zcrx_rqe old = zcrx_slot_read(slot);
	uint64_t over = returns->position - returns->rq.entries;
	uint64_t mask = returns->queue->shape.log_entries - 1;
	uint16_t was;

	was = shm_load_relaxed_u16(&returns->queue->intents[over & mask], POINT_LOG);
	/*
	 * The slot is found twice: at the position that is written over (as one or
	 * the other, if it was not taken yet), and at the one that it now has.
	 */
	zcrx_intent_change(returns, over, rule,
			   ZCRX_INTENT_LEGAL(was) |
				   either(returns, &old, rqe, over, rule).verdicts);
	put_either(returns, rqe, rqe, rule, due_of(returns, rqe, is_due));
	/*
	 * The intents first: whoever finds the new bytes at the old position must
	 * find what they may earn as well. Pairs with the release of `consumed`.
	 */
	shm_fence_seq_cst();
	write_slot(slot, rqe);
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
	if (rule == 0 || rule > returns->plan.count || !returns->misdirecting[rule - 1])
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
	uint64_t consumed;

	if (done == returns->scrubs_seen ||
	    done != shm_load_acquire_u32(&lab->scrubs_begun, POINT_USER))
		return;
	returns->scrubs_seen = done;
	zcrx_flight_record(returns->flight, ZCRX_EVENT_SCRUB_SEEN, 0, returns->position, done);
	/*
	 * Nothing that has its reference by now has one that we could count on: it was
	 * scrubbed, or a return took it that the provider has passed since. Of what is
	 * not visible yet that can be as much as there is room for.
	 */
	returns->tainted_until = returns->queue->cq.entries +
				 shm_load_acquire_u32(returns->cq_tail, POINT_CQ_TAIL_LOAD);
	returns->is_tainted = true;
	for (uint32_t niov = 0; niov < returns->fault_area.num_niovs; niov++) {
		struct zcrx_known *known = &returns->known[niov];

		if (known->balance > 0 || known->held)
			zcrx_returns_stray(returns, niov, rule);
		known->balance = 0;
	}
	/*
	 * Returns on their way take the references of what is delivered from now on.
	 * All of them: a tail far ahead makes the provider find a slot many times.
	 */
	tail = returns->rq.cached_tail;
	head = tail - lead(returns);
	if (tail - head > INT32_MAX)
		head = tail; /* overtaken: what lies beyond is claimed later */
	consumed = returns->position - (tail - head);
	for (; head != tail; head++) {
		struct io_uring_zcrx_rqe rqe =
			zcrx_slot_read(&returns->rq.rqes[head & returns->rq.mask]);
		struct zcrx_legal legal = zcrx_returns_legal(returns, &rqe);

		if (legal.names)
			expect_take(returns, legal.niov, rule);
	}
	/* And what may have been read there before it was written over. */
	for (uint32_t niov = 0; niov < returns->fault_area.num_niovs; niov++) {
		struct zcrx_known *known = &returns->known[niov];

		for (uint32_t i = 0; known->either_end > consumed && i < known->either_count; i++)
			expect_take(returns, niov, rule);
	}
	shm_store_relaxed_u64(&lab->scrub_position, returns->position, POINT_LOG);
	/* Pairs with the acquire in zcrx_queue_scrub_seen(). */
	shm_store_release_u32(&lab->scrubs_seen, done, POINT_USER);
}
