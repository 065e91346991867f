/* SPDX-License-Identifier: MIT */
/*
 * A fault that robbed the consumer of a buffer shows when a fragment comes, and when
 * it is looked at once more on its way back. Which rule it was the holdings say, as
 * far as the consumer has taken note: a cause may still be hidden in entries that the
 * provider took beyond the tail, or in a scrub that is under way.
 */
#include "findings.h"
#include "wire/crc32c.h"

#define SUSPECT_GENERATIONS 2U

void zcrx_findings_init(struct zcrx_findings *findings, struct zcrx_ring_faults *ring_faults,
			struct zcrx_rq_writer *writer, bool checks_bytes)
{
	*findings = (struct zcrx_findings){
		.writer = writer,
		.holdings = writer->holdings,
		.ring_faults = ring_faults,
		.notes = writer->queue->notes,
		.checks_bytes = checks_bytes,
		/* Pairs with the release in zcrx_queue_scrub_end(): what was scrubbed before us is over. */
		.scrubs_seen = shm_load_acquire_u32(&writer->queue->notes->scrubs_done, POINT_USER),
	};
}

/* ---- the flight recorder ------------------------------------------------------------ */

void zcrx_findings_record_taken(struct zcrx_findings *findings, uint32_t count, uint32_t head)
{
	findings->errors_recorded = 0;
	zcrx_flight_record(findings->writer->flight, ZCRX_EVENT_TAKEN, count, head, 0);
}

void zcrx_findings_record_error(struct zcrx_findings *findings, enum zcrx_event_error error,
				uint64_t b, uint64_t c)
{
	uint32_t bit = (uint32_t)1 << error;

	if (findings->errors_recorded & bit)
		return;
	findings->errors_recorded |= bit;
	zcrx_flight_record(findings->writer->flight, ZCRX_EVENT_ERROR, error, b, c);
}

/* ---- consequences ----------------------------------------------------------------- */

/* A cause that we had not taken note of yet: entries claimed late, a scrub under way. */
static uint32_t hidden_cause(struct zcrx_findings *findings, uint32_t niov, uint64_t *position)
{
	struct zcrx_notes_shared *notes = findings->notes;

	if (findings->ring_faults->astray)
		zcrx_ring_faults_recover(findings->ring_faults);
	/* Pairs with the release in zcrx_queue_scrub_begin(): its rule is there. */
	if (shm_load_acquire_u32(&notes->scrubs_begun, POINT_USER) != findings->scrubs_seen) {
		*position = findings->writer->position;
		return shm_load_relaxed_u32(&notes->scrub_rule, POINT_USER);
	}
	*position = findings->holdings->known[niov].suspect_position;
	return findings->holdings->known[niov].suspect;
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

static void count_error(struct zcrx_findings *findings, const struct zcrx_held *held,
			enum zcrx_consequence_kind kind)
{
	uint64_t niov = zcrx_holdings_niov(findings->holdings, held->off);
	struct zcrx_notes_shared *notes = findings->notes;
	enum zcrx_event_error error = error_of(kind);
	shm_u64 *count = &notes->integrity_errors;

	if (error == ZCRX_ERROR_GIVEN_AGAIN)
		count = &notes->ownership_errors;
	else if (error == ZCRX_ERROR_ORDER)
		count = &notes->order_errors;
	shm_count(count, 1);
	zcrx_findings_record_error(findings, error, (uint64_t)held->flow << 32 | held->seq,
				   niov << 32 | held->generation);
}

/* What happened to a held fragment: a fault's consequence, or an error of the system. */
static void blame(struct zcrx_findings *findings, const struct zcrx_held *held,
		  enum zcrx_consequence_kind kind, uint32_t rule, uint64_t position)
{
	struct zcrx_notes_shared *notes = findings->notes;
	uint32_t niov = zcrx_holdings_niov(findings->holdings, held->off);
	uint32_t known = findings->holdings->known[niov].generation;
	/* Given again: the fragment is the new one, and what was held came before it. */
	bool again = kind == ZCRX_GIVEN_AGAIN;
	uint64_t count;

	if (rule == 0)
		rule = hidden_cause(findings, niov, &position);
	if (rule == 0) {
		count_error(findings, held, kind);
		return;
	}
	zcrx_flight_record(findings->writer->flight, ZCRX_EVENT_CONSEQUENCE,
			   (rule - 1) | kind << 16, (uint64_t)held->flow << 32 | held->seq, niov);
	shm_count(&notes->consequences[rule - 1], 1);
	count = shm_load_relaxed_u64(&notes->consequence_count, POINT_COUNTER);
	if (count < ZCRX_CONSEQUENCES_MAX)
		notes->consequence[count] = (struct zcrx_consequence){
			.rule = rule - 1,
			.kind = kind,
			.niov = niov,
			.flow = held->flow,
			.seq = held->seq,
			.generation_held = again ? known : held->generation,
			.generation_now = again ? held->generation : known,
			.position = position,
		};
	/* Pairs with the acquire in zcrx_consequence_list(): the entry is whole. */
	shm_store_release_u64(&notes->consequence_count, count + 1, POINT_COUNTER);
}

void zcrx_findings_tell(struct zcrx_findings *findings, const struct zcrx_held *held,
			enum zcrx_consequence_kind kind, uint32_t rule)
{
	blame(findings, held, kind, rule, 0);
}

static bool bytes_match(const struct zcrx_findings *findings, const struct zcrx_held *held)
{
	const struct zcrx_queue *queue = findings->writer->queue;
	const uint8_t *bytes = queue->area.bytes + zcrx_areas_byte(&queue->shape, held->off);

	return zcrx_crc32c(bytes, held->len) == held->crc;
}

/* Bytes that must be what was sent. */
void zcrx_findings_check(struct zcrx_findings *findings, const struct zcrx_held *held)
{
	const struct zcrx_known *known = zcrx_holdings_of(findings->holdings, held);
	bool matches = bytes_match(findings, held);

	if (held->mark) {
		const shm_u32 *kind = &findings->notes->mark_kinds[held->mark - 1];
		bool cut = shm_load_relaxed_u32(kind, POINT_LOG) == ZCRX_FAULT_NIC_TRUNCATE;

		/* Wrong on purpose: not to notice it would be the error. */
		blame(findings, held, cut ? ZCRX_TRUNCATED_FOUND : ZCRX_CORRUPT_FOUND,
		      matches ? 0 : held->mark, 0);
		return;
	}
	if (!matches)
		blame(findings, held, ZCRX_BYTES_CHANGED, known->suspect, known->suspect_position);
}

/*
 * A generation of the buffer passed. Bytes that were scribbled on are over with
 * it. A stray return is not: the return that it robbed of its reference may rob
 * the next generation, and so on; there is no telling when that ends.
 */
static void age_suspicion(struct zcrx_findings *findings, struct zcrx_known *known)
{
	if (known->strayed || known->held ||
	    zcrx_rq_writer_consumed(findings->writer) <= known->suspect_position)
		return;
	if (++known->suspect_age > SUSPECT_GENERATIONS)
		known->suspect = 0;
}

/* Was its reference scrubbed before we read of it? */
static bool is_tainted(struct zcrx_findings *findings, uint32_t index)
{
	if (!findings->is_tainted)
		return false;
	findings->is_tainted = (int32_t)(findings->tainted_until - index) > 0;
	return findings->is_tainted;
}

void zcrx_findings_received(struct zcrx_findings *findings, const struct zcrx_held *held,
			    uint32_t index)
{
	struct zcrx_known *known = zcrx_holdings_of(findings->holdings, held);

	if (known->generation != held->generation) {
		if (known->suspect)
			age_suspicion(findings, known);
		/* Delivered again while a fragment of its earlier life is still held. */
		if (known->held)
			blame(findings, held, ZCRX_GIVEN_AGAIN, known->suspect,
			      known->suspect_position);
		known->generation = held->generation;
	}
	known->held++;
	if (is_tainted(findings, index))
		zcrx_holdings_stray(findings->holdings,
				    zcrx_holdings_niov(findings->holdings, held->off),
				    shm_load_relaxed_u32(&findings->notes->scrub_rule, POINT_USER),
				    findings->writer->position);
	else
		known->balance++;
	if (findings->checks_bytes)
		zcrx_findings_check(findings, held);
}

void zcrx_findings_check_early(struct zcrx_findings *findings, const struct zcrx_held *held,
			       uint32_t rule, uint64_t position)
{
	if (findings->checks_bytes && !held->mark && !bytes_match(findings, held))
		blame(findings, held, ZCRX_BYTES_CHANGED, rule, position);
}

/* ---- scrubbed while alive ------------------------------------------------------------ */

/* A scrub of a living user went by: what it holds and what it has not read is no longer its own. */
static void follow_scrub(struct zcrx_findings *findings)
{
	struct zcrx_rq_writer *writer = findings->writer;
	struct zcrx_holdings *holdings = findings->holdings;
	struct zcrx_notes_shared *notes = findings->notes;
	/* Pairs with the release in zcrx_queue_scrub_end(): the scrub is over. */
	uint32_t done = shm_load_acquire_u32(&notes->scrubs_done, POINT_USER);
	uint32_t rule = shm_load_relaxed_u32(&notes->scrub_rule, POINT_USER);
	uint32_t head, tail;
	uint64_t consumed;

	if (done == findings->scrubs_seen ||
	    done != shm_load_acquire_u32(&notes->scrubs_begun, POINT_USER))
		return;
	findings->scrubs_seen = done;
	zcrx_flight_record(writer->flight, ZCRX_EVENT_SCRUB_SEEN, 0, writer->position, done);
	/*
	 * Nothing that has its reference by now has one that we could count on: it was
	 * scrubbed, or a return took it that the provider has passed since. Of what is
	 * not visible yet that can be as much as there is room for.
	 */
	findings->tainted_until =
		writer->queue->cq.entries +
		shm_load_acquire_u32(findings->ring_faults->cq_tail, POINT_CQ_TAIL_LOAD);
	findings->is_tainted = true;
	zcrx_holdings_scrubbed(holdings, rule, writer->position);
	/*
	 * Returns on their way take the references of what is delivered from now on.
	 * All of them: a tail far ahead makes the provider find a slot many times.
	 */
	tail = writer->rq.cached_tail;
	head = tail - zcrx_ring_faults_lead(findings->ring_faults);
	if (tail - head > INT32_MAX)
		head = tail; /* overtaken: what lies beyond is claimed later */
	consumed = writer->position - (tail - head);
	for (; head != tail; head++) {
		struct io_uring_zcrx_rqe rqe = zcrx_slot_read(zcrx_rq_writer_slot(writer, head));
		struct zcrx_legal legal = zcrx_holdings_legal(holdings, &rqe);

		if (legal.names)
			zcrx_holdings_expect_take(holdings, legal.niov, rule, writer->position);
	}
	/* And what may have been read there before it was written over. */
	zcrx_holdings_expect_again(holdings, rule, writer->position, consumed);
	shm_store_relaxed_u64(&notes->scrub_position, writer->position, POINT_LOG);
	/* Pairs with the acquire in zcrx_queue_scrub_seen(). */
	shm_store_release_u32(&notes->scrubs_seen, done, POINT_USER);
}

/* The areas that are there. Pairs with the release in zcrx_queue_area_added(). */
static void look_at_areas(struct zcrx_findings *findings)
{
	uint32_t areas =
		shm_load_acquire_u32(&findings->writer->queue->rings->areas_done, POINT_USER);

	/* The user can write the word. */
	if (areas > findings->holdings->areas &&
	    areas <= zcrx_areas_max(&findings->holdings->shape))
		findings->holdings->areas = areas;
}

void zcrx_findings_look(struct zcrx_findings *findings)
{
	if (findings->holdings->areas != zcrx_areas_max(&findings->holdings->shape))
		look_at_areas(findings);
	/* Relaxed: only whether there is something to follow. */
	if (shm_load_relaxed_u32(&findings->notes->scrubs_done, POINT_USER) !=
	    findings->scrubs_seen)
		follow_scrub(findings);
}
