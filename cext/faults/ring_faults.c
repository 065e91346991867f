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
 * entries at most, counted from a head that was published before it began; one
 * of 7.3 a look's worth, and then up to a ring full that it was promised.
 * Once the true tail stands in the ring and the head read after that leaves so
 * much room in front of it, nobody can get beyond the tail any more.
 */
#include "ring_faults.h"

#define TRIES 8

void zcrx_ring_faults_init(struct zcrx_ring_faults *faults, struct zcrx_rq_writer *writer,
			   uint32_t queues, const struct zcrx_fault_rule *rules,
			   uint32_t rule_count)
{
	*faults = (struct zcrx_ring_faults){
		.writer = writer,
		.holdings = writer->holdings,
		.queues = queues,
		.rule_count = rule_count,
	};
	/* Also those that fire on other queues only: they may send something here. */
	for (uint32_t i = 0; i < rule_count; i++)
		faults->misdirecting[i] = rules[i].kind == ZCRX_FAULT_WRONG_RING;
	shm_store_relaxed_u32(&writer->queue->notes->astray_rule, 0, POINT_LOG);
}

/* ---- a tail that lies --------------------------------------------------------- */

void zcrx_ring_faults_arm_ahead(struct zcrx_ring_faults *faults, uint32_t count, uint32_t rule)
{
	faults->tail_ahead = count;
	faults->tail_rule = rule;
}

/*
 * Publish more than was written: stale slots are consumed again, each judged by
 * the bytes that it holds. Their meaning is known, since nobody else writes
 * there.
 */
void zcrx_ring_faults_run_ahead(struct zcrx_ring_faults *faults)
{
	uint64_t room = zcrx_rq_writer_log_room(faults->writer, faults->tail_ahead);

	for (uint32_t i = 0; i < faults->tail_ahead && i < room; i++)
		zcrx_rq_writer_claim(faults->writer, faults->tail_rule, false);
	faults->tail_ahead = 0;
}

void zcrx_ring_faults_arm_lie(struct zcrx_ring_faults *faults, uint32_t value, bool is_absolute,
			      uint32_t rule)
{
	faults->lies = rule;
	faults->lie = value;
	faults->lie_is_absolute = is_absolute;
}

void zcrx_ring_faults_lie(struct zcrx_ring_faults *faults)
{
	struct zcrx_rq_writer *writer = faults->writer;
	struct zcrx_queue *queue = writer->queue;
	uint32_t tail = faults->lie_is_absolute ? faults->lie :
						  writer->rq.cached_tail - faults->lie;

	faults->astray = faults->lies;
	faults->lies = 0;
	/*
	 * Before the lie is seen: who finds positions without intents asks this word. Both
	 * pair with acquires, in zcrx_reconcile() and zcrx_rq_available().
	 */
	shm_store_release_u32(&queue->notes->astray_rule, faults->astray, POINT_LOG);
	zcrx_flight_record(writer->flight, ZCRX_EVENT_TAIL_LIE, faults->astray - 1,
			   writer->position, tail);
	shm_store_release_u32(writer->rq.tail, tail, POINT_RQ_TAIL_STORE);
	zcrx_bell_ring(&queue->bells->provider, zcrx_bell_refill(queue->index));
}

/* The provider's head as it last published it, whatever we scribbled there since. */
static uint32_t head_of(const struct zcrx_ring_faults *faults)
{
	/* Pairs with the release in zcrx_rq_release(): those slots were read. */
	uint32_t head = shm_load_acquire_u32(faults->writer->rq.head, POINT_RQ_HEAD_LOAD);

	/* Where our scribble still stands, nothing was published after zcrx_ring_faults_scribble_head(). */
	return faults->has_scribbled && head == faults->scribble ? faults->writer->rq.cached_head :
								   head;
}

/* How far the provider's head is beyond our tail, as published; 0 if it is not. */
static uint32_t overtaken_by(const struct zcrx_ring_faults *faults)
{
	uint32_t beyond = head_of(faults) - faults->writer->rq.cached_tail;

	return beyond <= INT32_MAX ? beyond : 0;
}

uint32_t zcrx_ring_faults_lead(const struct zcrx_ring_faults *faults)
{
	return faults->writer->rq.cached_tail - head_of(faults);
}

/*
 * Stop the provider so many entries from here, and claim them. Told first and
 * claimed then: it takes stale entries faster than they can be claimed, and
 * would be gone by the time they were. False if the log has no room for all.
 */
static bool catch_up(struct zcrx_ring_faults *faults, uint32_t count)
{
	struct zcrx_rq_writer *writer = faults->writer;
	uint64_t room = zcrx_rq_writer_log_room(writer, count);
	uint32_t claimed = count < room ? count : (uint32_t)room;

	/* Pairs with the acquire in zcrx_rq_available(); the slots are as they were. */
	shm_store_release_u32(writer->rq.tail, writer->rq.cached_tail + claimed,
			      POINT_RQ_TAIL_STORE);
	for (uint32_t i = 0; i < claimed; i++)
		zcrx_rq_writer_claim(writer, faults->astray, true);
	zcrx_rq_writer_note_written(writer);
	return claimed == count;
}

/* How many entries the provider may take from its head on before it reads the tail again. */
static uint32_t reach_of(const struct zcrx_ring_faults *faults)
{
	uint32_t entries = faults->writer->rq.entries;

	if (zcrx_contract_goes_by_runs(faults->holdings->shape.contract))
		return entries + ZCRX_REFILL_ENTRIES_MAX / 2;
	return entries < ZCRX_PP_REFILL ? entries : ZCRX_PP_REFILL;
}

bool zcrx_ring_faults_recover(struct zcrx_ring_faults *faults)
{
	struct zcrx_rq_writer *writer = faults->writer;
	uint32_t enough = reach_of(faults);

	/* Nor does a refill take more than the logs are long. */
	if (enough > writer->queue->shape.log_entries)
		enough = writer->queue->shape.log_entries;
	if (!faults->astray)
		return true;
	for (uint32_t tries = 0; tries < TRIES; tries++) {
		uint32_t beyond = overtaken_by(faults);
		uint32_t ahead = beyond ? 0 : zcrx_ring_faults_lead(faults);
		uint32_t short_of = beyond + (ahead < enough ? enough - ahead : 0);

		/* More each time, for a provider that was far ahead when it was told. */
		if (!catch_up(faults, short_of + (enough << tries) - enough))
			return false;
		/*
		 * Pairs with the lock that the provider takes between publishing its
		 * head and reading the tail (zcrx_lock() in refill_ring()): either it sees
		 * the true tail, or we see the head that it had published before. The
		 * release below pairs with the acquire in zcrx_reconcile().
		 */
		shm_fence_seq_cst();
		ahead = zcrx_ring_faults_lead(faults);
		if (ahead >= enough && ahead <= INT32_MAX) {
			faults->astray = 0;
			shm_store_release_u32(&writer->queue->notes->astray_rule, 0, POINT_LOG);
			writer->rq.cached_head = writer->rq.cached_tail - ahead;
			zcrx_flight_record(writer->flight, ZCRX_EVENT_RECOVERED, 0,
					   writer->position, writer->rq.cached_tail);
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
uint32_t zcrx_ring_faults_scribble(uint32_t index, uint32_t random)
{
	const uint32_t apart = UINT32_C(1) << 24;

	return index + apart + (uint32_t)((uint64_t)random * (UINT32_MAX - 2 * apart) >> 32);
}

void zcrx_ring_faults_scribble_head(struct zcrx_ring_faults *faults, uint32_t random)
{
	struct zcrx_rq_writer *writer = faults->writer;
	uint32_t scribble = zcrx_ring_faults_scribble(writer->rq.cached_tail, random);
	/*
	 * Pairs with the release in zcrx_rq_release(). In one step, so that no head
	 * is lost that the provider published meanwhile: zcrx_ring_faults_recover() must
	 * know the last one.
	 */
	uint32_t head = shm_xchg_u32(writer->rq.head, scribble, POINT_RQ_HEAD_STORE);

	if (!faults->has_scribbled || head != faults->scribble)
		writer->rq.cached_head = head;
	faults->scribble = scribble;
	faults->has_scribbled = true;
}

void zcrx_ring_faults_scribble_cq_head(struct zcrx_ring_faults *faults, uint32_t random)
{
	/* Relaxed: any value near the true one will do. */
	uint32_t tail = shm_load_relaxed_u32(faults->cq_tail, POINT_CQ_TAIL_LOAD);

	faults->has_scribbled_cq = true;
	/* Pairs with the acquire in zcrx_cq_room(), to which it says that nothing was read. */
	shm_store_release_u32(faults->cq_head, zcrx_ring_faults_scribble(tail, random),
			      POINT_CQ_HEAD_STORE);
}

/* ---- entries that are not what was published ------------------------------------ */

/* What a provider may find that reads a slot while it changes from one content to another. */
static struct zcrx_legal either(struct zcrx_ring_faults *faults,
				const struct io_uring_zcrx_rqe *one,
				const struct io_uring_zcrx_rqe *two, uint64_t position,
				uint32_t rule)
{
	const struct zcrx_rq_writer *writer = faults->writer;
	const struct io_uring_zcrx_rqe mixtures[] = {
		*one,
		{.off = one->off, .len = two->len, .__pad = two->__pad},
		*two,
		{.off = two->off, .len = one->len, .__pad = one->__pad},
	};
	struct zcrx_legal all = {0};

	for (uint32_t i = 0; i < sizeof(mixtures) / sizeof(mixtures[0]); i++) {
		struct zcrx_legal legal = zcrx_holdings_legal(faults->holdings, &mixtures[i]);

		all.verdicts |= legal.verdicts;
		/* Whichever it is: the least that can be left of each. */
		if (legal.names && !(all.names && all.niov == legal.niov))
			zcrx_holdings_expect_either(
				faults->holdings, legal.niov, position, rule, writer->position,
				writer->position - zcrx_ring_faults_lead(faults));
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
static bool is_taken(const struct zcrx_ring_faults *faults, uint32_t tail)
{
	return head_of(faults) - tail <= INT32_MAX;
}

/*
 * What an entry gives back if it is found as it is meant. As something else it is
 * nobody's return: the reconciler tells by the buffer that was found in it.
 */
static uint16_t due_of(const struct zcrx_ring_faults *faults, const struct io_uring_zcrx_rqe *rqe,
		       bool is_due)
{
	struct zcrx_legal legal = zcrx_holdings_legal(faults->holdings, rqe);

	return is_due && legal.names ? ZCRX_DUE(legal.niov) : ZCRX_DUE_NONE;
}

static void put_either(struct zcrx_ring_faults *faults, const struct io_uring_zcrx_rqe *one,
		       const struct io_uring_zcrx_rqe *two, uint32_t rule, uint16_t due)
{
	struct zcrx_rq_writer *writer = faults->writer;
	struct zcrx_legal legal = either(faults, one, two, writer->position, rule);

	zcrx_rq_writer_note(writer, zcrx_rq_writer_log(writer), rule, legal.verdicts, due);
	writer->rq.cached_tail++;
}

void zcrx_ring_faults_put_early(struct zcrx_ring_faults *faults, const struct zcrx_entry *entry,
				uint32_t wait_us)
{
	struct zcrx_rq_writer *writer = faults->writer;
	struct zcrx_rqe_slot *slot = zcrx_rq_writer_next_slot(writer);
	struct io_uring_zcrx_rqe old = zcrx_slot_read(slot);
	uint64_t deadline = zcrx_now_ns() + (uint64_t)wait_us * 1000;

	put_either(faults, &old, &entry->rqe, entry->rule,
		   due_of(faults, &entry->rqe, entry->is_due));
	zcrx_rq_writer_publish(writer);
	while (!is_taken(faults, writer->rq.cached_tail) && zcrx_now_ns() < deadline)
		shm_pause();
	write_slot(slot, &entry->rqe);
}

static struct io_uring_zcrx_rqe spoiled(const struct zcrx_ring_faults *faults,
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
			   ~(((uint64_t)1 << faults->holdings->shape.niov_shift) - 1);
		break;
	}
	return bad;
}

void zcrx_ring_faults_put_rewritten(struct zcrx_ring_faults *faults, const struct zcrx_entry *entry,
				    uint32_t times, uint32_t how)
{
	struct zcrx_rq_writer *writer = faults->writer;
	const struct io_uring_zcrx_rqe *rqe = &entry->rqe;
	struct io_uring_zcrx_rqe bad = spoiled(faults, rqe, how);
	struct zcrx_rqe_slot *slot = zcrx_rq_writer_next_slot(writer);

	write_slot(slot, rqe);
	put_either(faults, rqe, &bad, entry->rule, due_of(faults, rqe, entry->is_due));
	zcrx_rq_writer_publish(writer);
	for (uint32_t i = 0; i < times && !is_taken(faults, writer->rq.cached_tail); i++) {
		write_slot(slot, &bad);
		shm_pause();
		write_slot(slot, rqe);
	}
}

/* ---- a full ring ---------------------------------------------------------------- */

void zcrx_ring_faults_arm_overrun(struct zcrx_ring_faults *faults, uint32_t count, uint32_t rule)
{
	faults->over = count;
	faults->over_rule = rule;
}

void zcrx_ring_faults_arm_forget(struct zcrx_ring_faults *faults, uint32_t count, uint32_t rule)
{
	faults->forget = count;
	faults->forget_rule = rule;
}

void zcrx_ring_faults_forgot(struct zcrx_ring_faults *faults, uint64_t count)
{
	struct zcrx_notes_shared *notes = faults->writer->queue->notes;

	faults->forget = 0;
	shm_count(&notes->injected[faults->forget_rule - 1], 1);
	shm_count(&notes->hoarded, count);
}

uint32_t zcrx_ring_faults_overrun_room(const struct zcrx_ring_faults *faults)
{
	uint32_t entries = faults->writer->rq.entries;

	/* A slot is written over once: with twice, one entry could be any of three. */
	if (zcrx_rq_writer_used(faults->writer) != entries)
		return 0;
	return faults->over < entries ? faults->over : entries;
}

/* As zcrx_known.overrun has it, of the overrun that begins now. */
static uint64_t overrun_stamp(const struct zcrx_ring_faults *faults)
{
	return faults->writer->position + 1;
}

void zcrx_ring_faults_expect_overrun(struct zcrx_ring_faults *faults, const struct zcrx_held *held)
{
	zcrx_holdings_of(faults->holdings, held)->overrun = overrun_stamp(faults);
}

void zcrx_ring_faults_excuse_overrun(struct zcrx_ring_faults *faults)
{
	struct zcrx_rq_writer *writer = faults->writer;
	uint32_t log_entries = writer->queue->shape.log_entries;
	uint32_t entries = writer->rq.entries;
	/* What the logs have no room for was consumed long ago. */
	uint64_t at = writer->position - (entries > log_entries ? log_entries : entries);

	for (; at != writer->position; at++) {
		uint32_t index = writer->rq.cached_tail - (uint32_t)(writer->position - at);
		struct io_uring_zcrx_rqe rqe = zcrx_slot_read(zcrx_rq_writer_slot(writer, index));
		struct zcrx_legal legal = zcrx_holdings_legal(faults->holdings, &rqe);
		uint16_t was = zcrx_rq_writer_intent(writer, at);

		if (legal.names &&
		    faults->holdings->known[legal.niov].overrun == overrun_stamp(faults))
			zcrx_rq_writer_change(writer, at, ZCRX_INTENT_RULE(was),
					      ZCRX_INTENT_LEGAL(was) |
						      ZCRX_VERDICT_BIT(ZCRX_NO_USER_REF));
	}
}

void zcrx_ring_faults_put_over(struct zcrx_ring_faults *faults, const struct zcrx_held *held)
{
	struct zcrx_rq_writer *writer = faults->writer;
	uint32_t rule = faults->over_rule;
	struct io_uring_zcrx_rqe rqe = {.off = held->off, .len = held->len};
	struct zcrx_rqe_slot *slot = zcrx_rq_writer_next_slot(writer);
	struct io_uring_zcrx_rqe old = zcrx_slot_read(slot);
	uint64_t over = writer->position - writer->rq.entries;
	uint16_t was = zcrx_rq_writer_intent(writer, over);

	/*
	 * The slot is found twice: at the position that is written over (as one or
	 * the other, if it was not taken yet), and at the one that it now has.
	 */
	zcrx_rq_writer_change(writer, over, rule,
			      ZCRX_INTENT_LEGAL(was) |
				      either(faults, &old, &rqe, over, rule).verdicts);
	put_either(faults, &rqe, &rqe, rule, due_of(faults, &rqe, !held->astray));
	/*
	 * The intents first: whoever finds the new bytes at the old position must
	 * find what they may earn as well. Pairs with the
	 * release of `consumed` in record().
	 */
	shm_fence_seq_cst();
	write_slot(slot, &rqe);
}

void zcrx_ring_faults_overran(struct zcrx_ring_faults *faults)
{
	shm_count(&faults->writer->queue->notes->injected[faults->over_rule - 1], 1);
	faults->over = 0;
}

/* ---- by the wrong ring ------------------------------------------------------------- */

#define LETTER_MASK (((uint64_t)1 << 56) - 1)

bool zcrx_ring_faults_misdirect(struct zcrx_ring_faults *faults, uint64_t off, uint32_t by,
				uint32_t rule)
{
	const struct zcrx_queue *queue = faults->writer->queue;
	uint32_t queues = faults->queues;
	uint32_t to = queues ? (queue->index + by) % queues : queue->index;
	uint64_t none = 0;

	if (to == queue->index)
		return false;
	/* Pairs with the exchange in zcrx_ring_faults_put_misdirected(); one at a time is on its way. */
	return shm_cas_u64(&queue->bells->misdirected[to], &none,
			   (uint64_t)rule << 56 | zcrx_areas_byte(&queue->shape, off),
			   POINT_BELL_SEQ);
}

uint32_t zcrx_ring_faults_put_misdirected(struct zcrx_ring_faults *faults)
{
	const struct zcrx_queue *queue = faults->writer->queue;
	shm_u64 *mailbox = &queue->bells->misdirected[queue->index];
	const struct zcrx_shape *shape = &queue->shape;
	struct io_uring_zcrx_rqe rqe;
	uint64_t letter, byte;
	uint32_t rule;

	if (shm_load_relaxed_u64(mailbox, POINT_BELL_SEQ) == 0)
		return 0;
	/* Pairs with the exchange of whoever sent it, in zcrx_ring_faults_misdirect(). */
	letter = shm_xchg_u64(mailbox, 0, POINT_BELL_SEQ);
	rule = (uint32_t)(letter >> 56);
	/* The word lies where every user can write: believe nothing that is no rule of ours. */
	if (rule == 0 || rule > faults->rule_count || !faults->misdirecting[rule - 1])
		return 0;
	byte = letter & LETTER_MASK;
	rqe = (struct io_uring_zcrx_rqe){
		.off = zcrx_areas_offset(shape, (uint32_t)(byte >> shape->niov_shift)) |
		       (byte & (((uint64_t)1 << shape->niov_shift) - 1)),
		.len = 1U << shape->niov_shift,
	};
	write_slot(zcrx_rq_writer_next_slot(faults->writer), &rqe);
	zcrx_rq_writer_claim(faults->writer, rule, false);
	return 1;
}
