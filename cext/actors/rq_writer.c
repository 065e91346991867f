/* SPDX-License-Identifier: MIT */
/*
 * What an entry means is noted before the tail that publishes it: by its bytes, by
 * what the holdings say of the buffer that it names, and by whose entry it is. The
 * consumer never writes further ahead of the reconciler than the logs are long.
 */
#include "rq_writer.h"

static uint32_t worth_a_bell(const struct zcrx_shape *shape)
{
	return shape->num_niovs / 8 < shape->rq_entries / 4 ? shape->num_niovs / 8 :
							      shape->rq_entries / 4;
}

void zcrx_rq_writer_init(struct zcrx_rq_writer *writer, struct zcrx_queue *queue,
			 struct zcrx_holdings *holdings, uint64_t position)
{
	*writer = (struct zcrx_rq_writer){
		.queue = queue,
		.flight = &queue->flights[ZCRX_WRITER_CONSUMER],
		.holdings = holdings,
		.position = position,
		.noted = position,
		.checked = position,
		.ring_after = worth_a_bell(&queue->shape),
	};
}

/* ---- room --------------------------------------------------------------------- */

uint64_t zcrx_rq_writer_log_room(struct zcrx_rq_writer *writer, uint64_t wanted)
{
	uint64_t log_entries = writer->queue->shape.log_entries;
	uint64_t ahead = writer->position - writer->checked;

	/* Pairs with the release in zcrx_reconcile(): those log bytes were read. */
	if (ahead + wanted > log_entries) {
		writer->checked = shm_load_acquire_u64(&writer->queue->notes->checked, POINT_LOG);
		ahead = writer->position - writer->checked;
	}
	return ahead < log_entries ? log_entries - ahead : 0;
}

uint64_t zcrx_rq_writer_room(struct zcrx_rq_writer *writer)
{
	uint64_t room = zcrx_rq_user_room(&writer->rq, ZCRX_RETURN_BATCH);
	uint64_t log_room = zcrx_rq_writer_log_room(writer, room);

	if (room == 0)
		shm_count(&writer->queue->notes->waits_rq_full, 1);
	if (log_room == 0)
		shm_count(&writer->queue->notes->waits_log_full, 1);
	return room < log_room ? room : log_room;
}

uint64_t zcrx_rq_writer_consumed(struct zcrx_rq_writer *writer)
{
	zcrx_rq_user_room(&writer->rq, writer->rq.entries);
	return writer->position - zcrx_rq_writer_used(writer);
}

/* ---- intents -------------------------------------------------------------------- */

void zcrx_rq_writer_change(struct zcrx_rq_writer *writer, uint64_t position, uint32_t rule,
			   uint32_t legal)
{
	struct zcrx_log log = zcrx_rq_writer_log(writer);

	shm_store_relaxed_u16(&log.intents[position & log.mask], ZCRX_INTENT(rule, legal),
			      POINT_LOG);
}

uint16_t zcrx_rq_writer_intent(const struct zcrx_rq_writer *writer, uint64_t position)
{
	struct zcrx_log log = zcrx_rq_writer_log(writer);

	/* Relaxed: our own word. */
	return shm_load_relaxed_u16(&log.intents[position & log.mask], POINT_LOG);
}

void zcrx_rq_writer_note_written(struct zcrx_rq_writer *writer)
{
	if (writer->position != writer->noted)
		shm_count(&writer->queue->notes->rqe_submitted, writer->position - writer->noted);
	writer->noted = writer->position;
	/* Pairs with the acquire in zcrx_reconcile(). */
	shm_store_release_u64(&writer->queue->notes->written, writer->position, POINT_LOG);
}

/* ---- entries ---------------------------------------------------------------------- */

/* A return by the rules, of a buffer that was never returned against them, must succeed. */
static bool must_succeed(const struct zcrx_rq_writer *writer, uint32_t niov, uint32_t rule)
{
	return rule == ZCRX_INTENT_VALID && !writer->holdings->known[niov].strayed;
}

/*
 * What an entry of a user's own fault may earn: what the fault says, as far as
 * the bytes leave a choice. If they leave none of it, the fault is held to its
 * word all the same, and the mismatch tells. But of a buffer that another stray
 * return may have robbed already, no word can be kept.
 */
static uint32_t declared_verdicts(uint32_t declared, uint32_t legal, bool spoiled)
{
	if (spoiled)
		return legal;
	return legal & declared ? legal & declared : declared;
}

/*
 * Note what the entry means that is put at the private tail now. `legal`: by its
 * bytes; `spoiled`: the buffer that it names was strayed to before this entry.
 */
static void intend(struct zcrx_rq_writer *writer, const struct zcrx_entry *entry,
		   struct zcrx_legal legal, bool spoiled)
{
	legal = zcrx_holdings_legal_now(writer->holdings, legal);
	if (legal.names && must_succeed(writer, legal.niov, entry->rule))
		legal.verdicts = ZCRX_LEGAL_SUCCEEDS;
	if (entry->is_declared)
		legal.verdicts =
			declared_verdicts(entry->declared, legal.verdicts, legal.names && spoiled);
	zcrx_rq_writer_note(writer, zcrx_rq_writer_log(writer), entry->rule, legal.verdicts,
			    entry->is_due && legal.names ? ZCRX_DUE(legal.niov) : ZCRX_DUE_NONE);
	if (legal.names)
		writer->holdings->known[legal.niov].balance--;
}

void zcrx_rq_writer_put(struct zcrx_rq_writer *writer, const struct zcrx_entry *entry)
{
	const struct io_uring_zcrx_rqe *rqe = &entry->rqe;
	struct zcrx_legal legal = zcrx_holdings_legal(writer->holdings, rqe);
	bool spoiled = false;

	if (legal.names) {
		const struct zcrx_known *known = &writer->holdings->known[legal.niov];

		spoiled = known->strayed && known->balance <= 0;
		if (entry->strays)
			zcrx_holdings_stray(writer->holdings, legal.niov, entry->strays,
					    writer->position);
	}
	intend(writer, entry, legal, spoiled);
	zcrx_rq_user_put(&writer->rq, rqe->off, rqe->len, rqe->__pad);
}

void zcrx_rq_writer_claim(struct zcrx_rq_writer *writer, uint32_t rule, bool late)
{
	struct zcrx_holdings *holdings = writer->holdings;
	struct io_uring_zcrx_rqe rqe = zcrx_slot_read(zcrx_rq_writer_next_slot(writer));
	/*
	 * Late: the provider may have taken it already, before what we know now. A
	 * fragment received since then says nothing about the references of that time.
	 */
	struct zcrx_legal legal = zcrx_holdings_legal(holdings, &rqe);

	if (!late)
		legal = zcrx_holdings_legal_now(holdings, legal);
	if (legal.names)
		zcrx_holdings_expect_take(holdings, legal.niov, rule, writer->position);
	zcrx_rq_writer_note(writer, zcrx_rq_writer_log(writer), rule, legal.verdicts,
			    ZCRX_DUE_NONE);
	writer->rq.cached_tail++;
}

/* ---- publication ------------------------------------------------------------------- */

void zcrx_rq_writer_withhold(struct zcrx_rq_writer *writer, uint32_t us)
{
	writer->is_withheld = true;
	writer->withheld_until = zcrx_now_ns() + (uint64_t)us * 1000;
}

void zcrx_rq_writer_wake_provider(struct zcrx_rq_writer *writer)
{
	struct zcrx_queue *queue = writer->queue;

	if (!writer->unrung)
		return;
	writer->unrung = false;
	zcrx_bell_ring(&queue->bells->provider, zcrx_bell_refill(queue->index));
}

void zcrx_rq_writer_publish(struct zcrx_rq_writer *writer)
{
	uint32_t head;

	zcrx_rq_writer_note_written(writer);
	if (writer->is_withheld && zcrx_now_ns() < writer->withheld_until)
		return;
	writer->is_withheld = false;
	zcrx_rq_user_publish(&writer->rq);
	writer->unrung = true;
	/*
	 * A provider without buffers is woken for a good number of returns at
	 * once, or when there is nothing else to do: waking it for each batch
	 * would cost more than its work.
	 */
	head = shm_load_relaxed_u32(writer->rq.head, POINT_RQ_HEAD_LOAD);
	if (writer->rq.cached_tail - head >= writer->ring_after)
		zcrx_rq_writer_wake_provider(writer);
}
