/* SPDX-License-Identifier: MIT */
/*
 * Cutting buffers into fragments and handing them out.
 *
 * Reference rules. A granted buffer has one page-pool reference: the stack's
 * own. Each fragment handed to the user takes one user reference and one
 * page-pool reference; when the NIC is done with the buffer, the stack's own
 * goes. All fragments that one burst cuts from a buffer are accounted at once
 * in settle(), before the CQEs are published; a reference that would be taken
 * and dropped in the same burst is passed on instead.
 */
#include "nic_queue.h"
#include "run/areas.h"

#include <errno.h>

static struct zcrx_flight *flight_of(struct zcrx_nic_queue *nq)
{
	return &nq->queue.flights[ZCRX_WRITER_NIC];
}

enum zcrx_offer zcrx_nic_queue_room(struct zcrx_nic_queue *nq, uint32_t fragments, uint32_t buffers)
{
	if (zcrx_cq_room(&nq->queue.cq, fragments) < fragments)
		return ZCRX_BLOCKED_CQ;
	if (buffers && zcrx_grant_available(&nq->queue.grants, buffers) < buffers)
		return ZCRX_BLOCKED_BUFFER;
	return ZCRX_OFFERED;
}

static void open_buffer(struct zcrx_nic_queue *nq, uint32_t niov)
{
	assert(!nq->has_open);
	assert(niov < nq->queue.shape.num_niovs); /* the NIC writes there next */
	nq->has_open = true;
	nq->open_fresh = true;
	nq->open_niov = niov;
	nq->open_at = zcrx_area_offset(&nq->queue.area, niov);
	nq->open_off = 0;
	nq->open_fragments = 0;
	nq->generation[niov]++;
	shm_store_relaxed_u32(&nq->queue.nic->open_niov, niov + 1, POINT_COUNTER);
}

uint32_t zcrx_nic_queue_take_grant(struct zcrx_nic_queue *nq)
{
	uint32_t niov = zcrx_grant_take(&nq->queue.grants);
	/* What was granted must not be the user's: an invariant, not an input. */
	uint32_t refs =
		shm_load_relaxed_u32(&nq->queue.area.niovs[niov].user_refs, POINT_USER_REF_LOAD);

	if (refs != 0) {
		shm_count(&nq->queue.nic->ownership_violations, 1);
		zcrx_flight_record(flight_of(nq), ZCRX_EVENT_ERROR, ZCRX_ERROR_GRANTED_HELD, 0,
				   (uint64_t)niov << 32 | refs);
	}
	return niov;
}

uint32_t zcrx_nic_queue_open(struct zcrx_nic_queue *nq)
{
	uint32_t niov = zcrx_nic_queue_take_grant(nq);

	shm_count(&nq->queue.nic->grants_taken, 1);
	open_buffer(nq, niov);
	return niov;
}

void zcrx_nic_queue_open_copy(struct zcrx_nic_queue *nq, uint32_t niov)
{
	open_buffer(nq, niov);
}

/* Note of the open buffer which fragment is its last so far: the one that was put just now. */
static void note_given(struct zcrx_nic_queue *nq)
{
	struct zcrx_given *given = &nq->queue.given[nq->open_niov];

	/* Relaxed: read when the queue stands still. */
	shm_store_relaxed_u32(&given->completion, nq->queue.cq.cached_tail - 1, POINT_COUNTER);
	shm_store_relaxed_u32(&given->flow, nq->last_flow, POINT_COUNTER);
	shm_store_relaxed_u32(&given->seq, nq->last_seq, POINT_COUNTER);
}

static void touch(struct zcrx_nic_queue *nq, bool closed)
{
	assert(nq->touched_count < ZCRX_TOUCHED_MAX);
	if (nq->open_fragments)
		note_given(nq);
	nq->touched[nq->touched_count++] = (struct zcrx_touched){
		.niov = nq->open_niov,
		.fragments = nq->open_fragments,
		.fresh = nq->open_fresh,
		.closed = closed,
	};
	nq->open_fragments = 0;
	nq->open_fresh = false;
}

void zcrx_nic_queue_close(struct zcrx_nic_queue *nq)
{
	assert(nq->has_open);
	touch(nq, true);
	nq->has_open = false;
	shm_store_relaxed_u32(&nq->queue.nic->open_niov, 0, POINT_COUNTER);
}

static inline uint32_t take_seqs(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t fragments)
{
	shm_u32 *word = &nq->queue.flows_sent[flow].next_seq;
	uint32_t seq = shm_load_relaxed_u32(word, POINT_COUNTER);

	shm_store_relaxed_u32(word, seq + fragments, POINT_COUNTER);
	return seq;
}

uint32_t zcrx_nic_queue_take_seqs(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t fragments)
{
	return take_seqs(nq, flow, fragments);
}

void zcrx_nic_queue_skip(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t fragments)
{
	take_seqs(nq, flow, fragments);
	shm_count(&nq->queue.nic->fragments_dropped, fragments);
}

static void note(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t seq, uint32_t crc,
		 uint32_t generation)
{
	struct zcrx_ledger_entry *entry =
		&nq->queue.ledger[nq->queue.cq.cached_tail & nq->queue.cq.mask];

	if (nq->queue.cq.cached_tail % (SHM_CACHE_LINE / sizeof(*entry)) == 0)
		shm_expect_write(&nq->queue.ledger[(nq->queue.cq.cached_tail + ZCRX_RING_AHEAD) &
						   nq->queue.cq.mask]);
	shm_store_relaxed_u64(&entry->flow_seq,
			      (uint64_t)nq->mark << 56 | (uint64_t)flow << 32 | seq, POINT_LOG);
	shm_store_relaxed_u64(&entry->crc_generation, (uint64_t)crc << 32 | generation, POINT_LOG);
}

/*
 * Entries before it cannot return what is delivered now. A new user whom the provider does not
 * follow yet will find the ring where the last one's entries were judged to.
 */
static uint32_t tail_so_far(const struct zcrx_nic_queue *nq)
{
	const struct zcrx_queue *queue = &nq->queue;

	/* Pairs with the release in the provider's follow_user(): the tail is the user's own. */
	if (shm_load_acquire_u32(&queue->user->provider, POINT_USER) != nq->user)
		return shm_load_relaxed_u32(&queue->ifq.shared->cached_rq_head, POINT_RQ_HEAD_LOAD);
	/* Relaxed: what the user publishes is its own; the entries are not read. */
	return shm_load_relaxed_u32(queue->ifq.rq.tail, POINT_RQ_TAIL_LOAD);
}

/* The user is judged by what it was given: note the fragment that comes next. */
static void witness(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t len)
{
	struct zcrx_queue *queue = &nq->queue;

	zcrx_witness_note(
		&queue->witness,
		&(struct zcrx_delivery){
			/*
			 * Pairs with the release in record(): what gave this buffer back, before it
			 * was granted, is counted.
			 */
			.judged = shm_load_acquire_u64(&queue->ifq.shared->consumed, POINT_LOG),
			.niov = nq->open_niov,
			.at = nq->open_off,
			.length = len,
			.flow = flow,
			.completion = queue->cq.cached_tail,
			.tail = tail_so_far(nq),
			.is_first = nq->open_fresh && nq->open_fragments == 0,
		});
}

static inline void put_fragment(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t seq,
				uint32_t len, uint32_t crc)
{
	uint32_t shift = nq->queue.shape.niov_shift;
	uint64_t off = nq->open_at + nq->open_off;
	struct zcrx_flow_sent *sent = &nq->queue.flows_sent[flow];

	assert(nq->has_open);
	assert(nq->open_off + len <= (uint32_t)1 << shift);
	note(nq, flow, seq, crc, nq->generation[nq->open_niov]);
	shm_store_relaxed_u32(&sent->delivered,
			      shm_load_relaxed_u32(&sent->delivered, POINT_COUNTER) + 1,
			      POINT_COUNTER);
	if (nq->queue.witness.shared)
		witness(nq, flow, len);
	zcrx_cq_put(&nq->queue.cq, flow, (int32_t)len, IORING_CQE_F_MORE, off);
	nq->cqes++;
	nq->fragments++;
	nq->bytes += len;
	nq->open_fragments++;
	nq->last_flow = flow;
	nq->last_seq = seq;
	nq->mark = 0;
	nq->open_off += (len + ZCRX_FRAGMENT_ALIGN - 1) & ~(ZCRX_FRAGMENT_ALIGN - 1);
}

void zcrx_nic_queue_fragment_as(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t seq,
				uint32_t len, uint32_t crc)
{
	put_fragment(nq, flow, seq, len, crc);
}

void zcrx_nic_queue_fragment(struct zcrx_nic_queue *nq, uint32_t flow, uint32_t len, uint32_t crc)
{
	put_fragment(nq, flow, take_seqs(nq, flow, 1), len, crc);
}

void zcrx_nic_queue_end(struct zcrx_nic_queue *nq, uint32_t flow, int32_t res)
{
	note(nq, flow, 0, 0, 0);
	zcrx_cq_put(&nq->queue.cq, flow, res, 0, 0);
	nq->cqes++;
}

/* Give the fragments of one buffer their references. See the top of the file. */
static void settle(struct zcrx_nic_queue *nq, const struct zcrx_touched *touched)
{
	struct zcrx_area *area = &nq->queue.area;
	uint32_t own = touched->closed ? 1 : 0;

	if (touched->fragments == 0) {
		if (touched->closed)
			zcrx_ifq_drop(&nq->queue.ifq, touched->niov, 1);
		return;
	}
	/* By this word the references are accounted for when all is over: see reconcile.h. */
	shm_tally(&area->niovs[touched->niov].delivered, touched->fragments);
	if (touched->fragments > own) {
		uint32_t more = touched->fragments - own;

		/* A fresh buffer has the stack's reference and no other holder yet. */
		if (touched->fresh)
			shm_store_relaxed_u32(&area->niovs[touched->niov].pp_refs, 1 + more,
					      POINT_PP_REF_STORE);
		else
			zcrx_pp_ref_get(area, touched->niov, more);
	}
	zcrx_ifq_give(&nq->queue.ifq, touched->niov, touched->fragments);
}

static void count_burst(struct zcrx_nic_queue *nq)
{
	struct zcrx_nic_shared *counters = nq->queue.nic;

	shm_count(&counters->packets_offered, nq->packets_offered);
	shm_count(&counters->bytes_offered, nq->bytes_offered);
	shm_count(&counters->packets_delivered, nq->packets_done);
	shm_count(&counters->bytes_delivered, nq->bytes);
	shm_count(&counters->fragments_delivered, nq->fragments);
	nq->packets_offered = nq->bytes_offered = nq->packets_done = nq->bytes = 0;
	nq->cqes = nq->fragments = 0;
}

/*
 * Wake a provider that sleeps because all grant rings were full. One that has
 * nothing for this queue sleeps until its user returns something; woken by us
 * with every packet that is dropped, it would take the cores from the others.
 */
static void ask_for_grants(struct zcrx_nic_queue *nq)
{
	/* Relaxed: a hint. What is missed is made up for by the end of the provider's sleep. */
	if (!shm_load_relaxed_u32(&nq->queue.grants.shared->starved, POINT_COUNTER))
		zcrx_bell_ring(&nq->queue.bells->provider, ZCRX_BELL_GRANTS);
}

/* ---- what the flight recorder keeps --------------------------------------------- */

static void record_burst(struct zcrx_nic_queue *nq, uint32_t cqes, uint32_t touched)
{
	if (nq->recorded) {
		nq->recorded = 0;
		zcrx_flight_record(
			flight_of(nq), ZCRX_EVENT_UNBLOCKED, 0,
			shm_load_relaxed_u64(&nq->queue.nic->packets_dropped, POINT_COUNTER), 0);
	}
	zcrx_flight_record(flight_of(nq), ZCRX_EVENT_BURST, cqes, nq->queue.cq.cached_tail,
			   touched);
}

/* True the first time since the last delivery. */
static bool is_news(struct zcrx_nic_queue *nq, enum zcrx_event_kind kind)
{
	uint32_t bit = (uint32_t)1 << kind;
	bool news = !(nq->recorded & bit);

	nq->recorded |= bit;
	return news;
}

void zcrx_nic_queue_record_drop(struct zcrx_nic_queue *nq, enum zcrx_offer why, uint32_t flow)
{
	if (is_news(nq, ZCRX_EVENT_DROPPED))
		zcrx_flight_record(
			flight_of(nq), ZCRX_EVENT_DROPPED, why == ZCRX_BLOCKED_CQ, flow,
			shm_load_relaxed_u64(&nq->queue.nic->packets_dropped, POINT_COUNTER));
}

/* ---- standing still -------------------------------------------------------------- */

/* So many looks in vain in a row take microseconds, and happen all the time: no clock for them. */
#define STILL_AFTER 32U

static void look_in_vain(struct zcrx_nic_queue *nq, enum zcrx_offer why)
{
	struct zcrx_nic_shared *shared = nq->queue.nic;

	if (nq->looks < STILL_AFTER && ++nq->looks < STILL_AFTER)
		return;
	shm_store_relaxed_u32(&shared->still_cq, why == ZCRX_BLOCKED_CQ, POINT_COUNTER);
	shm_count(&shared->still_looks, 1);
	if (shm_load_relaxed_u64(&shared->still_since, POINT_COUNTER) == 0)
		shm_store_relaxed_u64(&shared->still_since, zcrx_now_ns(), POINT_COUNTER);
}

void zcrx_nic_queue_sleeps(struct zcrx_nic_queue *nq)
{
	if (!nq->blocked_on)
		return;
	/* However few looks it took: on a busy machine each may take a scheduler's slice. */
	nq->looks = STILL_AFTER;
	look_in_vain(nq, nq->blocked_on & ZCRX_BELL_ROOM ? ZCRX_BLOCKED_CQ : ZCRX_BLOCKED_BUFFER);
}

/* Something was delivered, or is not offered any more; since and until when it stood still. */
static uint64_t still_over(struct zcrx_nic_queue *nq, uint64_t *until)
{
	struct zcrx_nic_shared *shared = nq->queue.nic;
	uint64_t since = shm_load_relaxed_u64(&shared->still_since, POINT_COUNTER);

	nq->looks = 0;
	if (since == 0)
		return 0;
	*until = zcrx_now_ns();
	if (*until - since > shm_load_relaxed_u64(&shared->still_longest, POINT_COUNTER)) {
		shm_store_relaxed_u64(&shared->still_longest, *until - since, POINT_COUNTER);
		shm_store_relaxed_u64(&shared->still_longest_since, since, POINT_COUNTER);
	}
	shm_store_relaxed_u64(&shared->still_since, 0, POINT_COUNTER);
	shm_store_relaxed_u64(&shared->still_looks, 0, POINT_COUNTER);
	return since;
}

void zcrx_nic_queue_no_more(struct zcrx_nic_queue *nq)
{
	uint64_t until, since = still_over(nq, &until);

	if (since == 0)
		return;
	shm_store_relaxed_u64(&nq->queue.nic->still_last_until, until, POINT_COUNTER);
	shm_store_relaxed_u64(&nq->queue.nic->still_last_since, since, POINT_COUNTER);
}

/* ---- a burst becomes visible ------------------------------------------------------ */

void zcrx_nic_queue_publish(struct zcrx_nic_queue *nq)
{
	uint32_t cqes = nq->cqes, touched;

	if (nq->has_open && nq->open_fragments)
		touch(nq, false);
	touched = nq->touched_count;
	/* Ordered before the references by their own read-modify-writes. */
	shm_store_relaxed_u32(&nq->queue.nic->publishing, 1, POINT_USER);
	for (uint32_t i = 0; i < nq->touched_count; i++)
		settle(nq, &nq->touched[i]);
	nq->touched_count = 0;
	zcrx_witness_publish(&nq->queue.witness);
	if (nq->packets_offered || cqes)
		count_burst(nq);
	zcrx_grant_release(&nq->queue.grants);
	if (cqes) {
		if (nq->looks) {
			uint64_t until;

			still_over(nq, &until);
		}
		record_burst(nq, cqes, touched);
		zcrx_cq_publish(&nq->queue.cq);
	}
	/* Pairs with the acquire in zcrx_queue_nic_is_quiet(): all of them are visible. */
	shm_store_release_u32(&nq->queue.nic->publishing, 0, POINT_USER);
	if (cqes)
		zcrx_bell_ring(&nq->queue.bells->consumers[nq->queue.index], ZCRX_BELL_WORK);
	if (zcrx_grant_available(&nq->queue.grants, nq->queue.grants.entries) <
	    nq->queue.grants.entries / 2)
		ask_for_grants(nq);
}

void zcrx_nic_queue_blocked(struct zcrx_nic_queue *nq, enum zcrx_offer why)
{
	struct zcrx_queue *queue = &nq->queue;

	if (why == ZCRX_BLOCKED_CQ) {
		nq->blocked_on |= ZCRX_BELL_ROOM;
		nq->blocked_room = zcrx_cq_room(&queue->cq, queue->cq.entries);
	} else {
		nq->blocked_on |= ZCRX_BELL_GRANTS;
		nq->blocked_grants = zcrx_grant_available(&queue->grants, queue->grants.entries);
		/* A large packet may want more than is left before the ring is half empty. */
		ask_for_grants(nq);
	}
	look_in_vain(nq, why);
	if (is_news(nq, ZCRX_EVENT_BLOCKED))
		zcrx_flight_record(flight_of(nq), ZCRX_EVENT_BLOCKED, why == ZCRX_BLOCKED_CQ,
				   why == ZCRX_BLOCKED_CQ ? nq->blocked_room : nq->blocked_grants,
				   0);
}

bool zcrx_nic_queue_may_proceed(struct zcrx_nic_queue *nq)
{
	struct zcrx_queue *queue = &nq->queue;

	return (nq->blocked_on & ZCRX_BELL_ROOM &&
		zcrx_cq_room(&queue->cq, queue->cq.entries) > nq->blocked_room) ||
	       (nq->blocked_on & ZCRX_BELL_GRANTS &&
		zcrx_grant_available(&queue->grants, queue->grants.entries) > nq->blocked_grants);
}

bool zcrx_nic_queue_follow_user(struct zcrx_nic_queue *nq,
				void (*forget)(struct zcrx_nic_queue *nq))
{
	struct zcrx_user_shared *user = nq->queue.user;
	/* Pairs with the release in zcrx_queue_set_user(). */
	uint32_t wanted = shm_load_acquire_u32(&user->wanted, POINT_USER);

	if (wanted == nq->user)
		return wanted != 0;
	if (wanted == 0) {
		uint64_t until;

		still_over(nq, &until); /* nothing is offered to nobody */
		if (nq->has_open)
			zcrx_nic_queue_close(nq);
		if (forget)
			forget(nq);
		zcrx_nic_queue_publish(nq);
	} else {
		/* What the last user did not read was scrubbed: the new one must not see it. */
		nq->queue.cq.cached_head = nq->queue.cq.cached_tail;
		shm_store_relaxed_u32(nq->queue.cq.head, nq->queue.cq.cached_tail,
				      POINT_CQ_HEAD_STORE);
	}
	nq->user = wanted;
	zcrx_flight_record(flight_of(nq), ZCRX_EVENT_USER, wanted, 0, 0);
	/* Pairs with the acquire in zcrx_queue_user_is(): no delivery to the old one follows. */
	shm_store_release_u32(&user->nic, wanted, POINT_USER);
	zcrx_bell_ring(&nq->queue.bells->control, ZCRX_BELL_WORK);
	return wanted != 0;
}

void zcrx_nic_queue_add_area(struct zcrx_nic_queue *nq)
{
	struct zcrx_adding_shared *adding = nq->queue.adding;
	uint32_t niovs, wanted;
	int id;

	if (!nq->queue.area.extents)
		return;
	/* Pairs with the release in zcrx_queue_add_area(). */
	wanted = shm_load_acquire_u32(&adding->wanted, POINT_USER);
	if (wanted == shm_load_relaxed_u32(&adding->done, POINT_USER))
		return;
	niovs = zcrx_areas_size(&nq->queue.shape, zcrx_area_count(&nq->queue.area));
	id = zcrx_ifq_add_area(&nq->queue.ifq, niovs);
	zcrx_flight_record(flight_of(nq), ZCRX_EVENT_AREA_ADDED, id < 0 ? 0 : niovs,
			   id < 0 ? 0 : (uint64_t)id, 0);
	/* Pairs with the acquire in zcrx_queue_area_added(). */
	shm_store_release_u32(&adding->done, wanted, POINT_USER);
	zcrx_bell_ring(&nq->queue.bells->control, ZCRX_BELL_WORK);
}

void zcrx_nic_queue_return_grants(struct zcrx_nic_queue *nq)
{
	while (zcrx_grant_available(&nq->queue.grants, 1)) {
		zcrx_ifq_drop(&nq->queue.ifq, zcrx_grant_take(&nq->queue.grants), 1);
		zcrx_grant_release(&nq->queue.grants);
	}
}
