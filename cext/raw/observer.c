/* SPDX-License-Identifier: MIT */
/*
 * Why a failed return can be put down to somebody. Let an entry name a buffer and find no
 * reference, and let n fragments of the buffer be out of those that had been delivered when
 * the provider read the entry (see wire/witness.h). Their references were there before it
 * was judged, and went only by entries before it, or by a scrub. So with n > 0 and no scrub
 * the provider should have found one: it is held to that. With n = 0 its writer had seen no
 * completion of a fragment of it that was still out: it returned one that it did not have.
 *
 * Where entries in a row are taken all or none (7.3), n must be above the number of
 * those that failed in the row before it.
 *
 * A scrub takes references that the consumer does not know to be gone. What was out then is
 * given back in vain, once, and nothing is said of it.
 */
#include "observer.h"
#include "judge/legal.h"
#include "lib/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define NOBODY UINT32_MAX /* no user has that number */

struct zcrx_observer {
	struct zcrx_queue *queue;
	struct zcrx_lib_reports reports;
	struct zcrx_lib_ledger ledger;
	uint32_t *scrubbed; /* [num_niovs]: of what is out, what a scrub may have taken */
	uint64_t delivered, judged; /* looked at */
	uint32_t user; /* whose rings it looks at: see struct zcrx_user_shared */
	uint32_t tail; /* of the refill ring, as last seen */
	uint32_t row_niov, row; /* entries in a row that failed, and which buffer they named */
	uint32_t scrubs; /* that have begun and not ended */
	bool is_ours; /* the provider */
	bool is_blind;
};

/* ---- life ---------------------------------------------------------------------------- */

static const struct zcrx_witness *witness_of(const struct zcrx_observer *observer)
{
	return &observer->queue->witness;
}

static int init_ledger(struct zcrx_observer *observer)
{
	observer->ledger = (struct zcrx_lib_ledger){
		.reports = &observer->reports,
		.zcrx_id = observer->queue->index,
		.area = &observer->queue->area,
	};
	return zcrx_lib_ledger_grow(&observer->ledger, observer->queue->shape.num_niovs);
}

struct zcrx_observer *zcrx_observer_new(struct zcrx_queue *queue, bool is_ours)
{
	struct zcrx_observer *observer = calloc(1, sizeof(*observer));

	if (!observer)
		return NULL;
	observer->queue = queue;
	observer->is_ours = is_ours;
	observer->user = 1;
	observer->tail = queue->shape.initial_index;
	observer->scrubbed = calloc(queue->shape.num_niovs, sizeof(*observer->scrubbed));
	if (!observer->scrubbed || init_ledger(observer)) {
		zcrx_observer_free(observer);
		return NULL;
	}
	return observer;
}

void zcrx_observer_free(struct zcrx_observer *observer)
{
	if (!observer)
		return;
	zcrx_lib_ledger_free(&observer->ledger);
	zcrx_lib_reports_free(&observer->reports);
	free(observer->scrubbed);
	free(observer);
}

/* ---- deliveries ------------------------------------------------------------------------ */

static void give(struct zcrx_observer *observer, const struct zcrx_delivery *delivery)
{
	const struct zcrx_lib_held held = {
		.completion = observer->delivered + 1,
		.flow = delivery->flow,
		.at = delivery->at,
		.length = delivery->length,
		.tail = delivery->tail,
	};

	if (observer->is_blind)
		return;
	if (zcrx_lib_ledger_reserve(&observer->ledger)) {
		observer->is_blind = true;
		return;
	}
	if (delivery->is_first)
		zcrx_lib_ledger_reused(&observer->ledger, delivery->niov);
	zcrx_lib_ledger_give(&observer->ledger, delivery->niov, &held);
}

/* ---- entries ----------------------------------------------------------------------------- */

/* One entry, as the provider read and judged it. */
struct judged {
	struct io_uring_zcrx_rqe rqe;
	struct zcrx_judgement judgement;
	struct zcrx_legal legal;
	uint64_t delivered; /* fragments, when it was read */
};

static bool took(const struct judged *entry)
{
	return ZCRX_LEGAL_SUCCEEDS >> entry->judgement.verdict & 1;
}

/* Bits of its index that the kernel does not keep, by its bytes and not by the provider's word. */
static bool is_alias(const struct io_uring_zcrx_rqe *rqe, const struct zcrx_shape *shape)
{
	return (rqe->off & ~IORING_ZCRX_AREA_MASK) >> shape->niov_shift > UINT32_MAX;
}

static struct judged read_entry(const struct zcrx_observer *observer, uint64_t position)
{
	const struct zcrx_queue *queue = observer->queue;
	const struct zcrx_shape *shape = &queue->shape;
	uint8_t logged = queue->ifq.verdict_log[position & queue->ifq.log_mask];
	struct judged entry;

	entry.rqe = zcrx_witness_entry(witness_of(observer), position, &entry.delivered);
	entry.legal = zcrx_legal_of(&entry.rqe, shape, zcrx_areas_at_start(shape));
	entry.judgement = (struct zcrx_judgement){
		.index = shape->initial_index + (uint32_t)position,
		.niov = entry.legal.niov,
		.verdict = logged & 7U,
		.alias = entry.legal.names && is_alias(&entry.rqe, shape),
	};
	return entry;
}

/* Fragments of a buffer that are out, of the first `delivered` ones. */
static uint32_t out_of(const struct zcrx_observer *observer, uint32_t niov, uint64_t delivered)
{
	const struct zcrx_lib_ledger *ledger = &observer->ledger;
	uint32_t count = 0;

	for (uint32_t at = ledger->accounts[niov].first; at; at = ledger->helds[at - 1].next) {
		const struct zcrx_lib_held *held = &ledger->helds[at - 1];

		count += !held->is_returned && held->completion <= delivered;
	}
	return count;
}

/* An entry of a buffer that was scrubbed: the fragment that it names best is back. */
static void take_quietly(struct zcrx_observer *observer, const struct judged *entry)
{
	struct zcrx_lib_ledger *ledger = &observer->ledger;
	uint32_t niov = entry->legal.niov;
	struct zcrx_lib_account *account = &ledger->accounts[niov];
	uint32_t at_byte = (uint32_t)entry->rqe.off &
			   (((uint32_t)1 << ledger->area->niov_shift) - 1);
	struct zcrx_lib_held *best = NULL;

	for (uint32_t at = account->first; at; at = ledger->helds[at - 1].next) {
		struct zcrx_lib_held *held = &ledger->helds[at - 1];

		if (!held->is_returned && (!best || held->at == at_byte))
			best = held;
	}
	if (!best)
		return;
	best->is_returned = true;
	best->returned_by = entry->judgement.index;
	account->last = *best;
	account->out--;
	if (observer->scrubbed[niov] > account->out)
		observer->scrubbed[niov] = account->out;
}

static bool may_be_scrubbed(const struct zcrx_observer *observer, uint32_t niov)
{
	return observer->scrubs || observer->scrubbed[niov];
}

/* The provider took a reference; true if there was one to take, as far as is known. */
static bool take(struct zcrx_observer *observer, const struct judged *entry)
{
	if (observer->ledger.accounts[entry->legal.niov].out == 0)
		return false;
	if (may_be_scrubbed(observer, entry->legal.niov))
		take_quietly(observer, entry);
	else
		zcrx_lib_ledger_judged(&observer->ledger, &entry->judgement, &entry->rqe);
	return true;
}

static void report_not_out(struct zcrx_observer *observer, const struct judged *entry)
{
	const struct zcrx_emu_report report = {
		.kind = ZCRX_EMU_TWICE,
		.zcrx_id = observer->queue->index,
		.entry = entry->judgement.index,
		.niov = entry->legal.niov,
	};

	zcrx_lib_report(&observer->reports, &report,
			"entry %u returns buffer %u, of which nothing was out when it was written",
			entry->judgement.index, entry->legal.niov);
}

/* The provider found no reference: whose mistake is that? The verdicts that were right. */
static uint32_t fail(struct zcrx_observer *observer, const struct judged *entry)
{
	bool by_runs = zcrx_contract_goes_by_runs(observer->queue->shape.contract);
	uint32_t niov = entry->legal.niov;
	uint32_t before = by_runs && observer->row_niov == niov ? observer->row : 0;

	observer->row = before + 1;
	observer->row_niov = niov;
	if (may_be_scrubbed(observer, niov)) {
		take_quietly(observer, entry);
		return entry->legal.verdicts;
	}
	if (out_of(observer, niov, entry->delivered) > before)
		return ZCRX_LEGAL_SUCCEEDS;
	if (observer->ledger.accounts[niov].out == 0 || before)
		zcrx_lib_ledger_judged(&observer->ledger, &entry->judgement, &entry->rqe);
	else
		report_not_out(observer, entry);
	return entry->legal.verdicts;
}

/* What the reconciler finds of an entry: what it may have earned, and whose return it is. */
static void note(struct zcrx_observer *observer, uint64_t position, uint32_t legal, uint16_t due)
{
	struct zcrx_queue *queue = observer->queue;
	uint64_t slot = position & (queue->shape.log_entries - 1);

	/* Relaxed: published by zcrx_observer_step(). */
	shm_store_relaxed_u16(&queue->dues[slot], due, POINT_LOG);
	shm_store_relaxed_u16(&queue->intents[slot], ZCRX_INTENT(ZCRX_INTENT_VALID, legal),
			      POINT_LOG);
}

/* What its bytes prove is said of an entry that a scrub excuses, too: here, and nowhere else. */
static void judge_bytes(struct zcrx_observer *observer, struct judged *entry)
{
	if (entry->judgement.verdict == ZCRX_BAD_AREA)
		return; /* its area may have come since: its index was not looked at */
	zcrx_lib_ledger_alias(&observer->ledger, &entry->judgement, &entry->rqe);
	entry->judgement.alias = 0;
}

static void judge(struct zcrx_observer *observer, uint64_t position)
{
	struct judged entry = read_entry(observer, position);
	uint32_t legal = entry.legal.verdicts;
	bool is_return = took(&entry) && entry.legal.names;

	/* A verdict that the bytes do not allow is the provider's: the reconciler says so. */
	if (!observer->is_blind && legal >> entry.judgement.verdict & 1) {
		judge_bytes(observer, &entry);
		if (took(&entry)) {
			is_return = take(observer, &entry);
			observer->row = 0;
		} else if (entry.judgement.verdict == ZCRX_NO_USER_REF) {
			legal = fail(observer, &entry);
		} else if (entry.legal.names &&
			   out_of(observer, entry.legal.niov, entry.delivered) > 0) {
			legal = ZCRX_LEGAL_SUCCEEDS; /* its area was there before it was read */
		} else {
			zcrx_lib_ledger_judged(&observer->ledger, &entry.judgement, &entry.rqe);
		}
	}
	note(observer, position, legal, is_return ? ZCRX_DUE(entry.legal.niov) : ZCRX_DUE_NONE);
}

/* ---- the rings' words ----------------------------------------------------------------------- */

#define REPORT(observer, kind_, ...)                                          \
	do {                                                                  \
		const struct zcrx_emu_report report_ = {                      \
			.kind = (kind_),                                      \
			.zcrx_id = (observer)->queue->index,                  \
		};                                                            \
		zcrx_lib_report(&(observer)->reports, &report_, __VA_ARGS__); \
	} while (0)

/* A look now and then proves what it sees, and nothing of what came in between. */
static void look_at_refill_ring(struct zcrx_observer *observer)
{
	const struct zcrx_ifq *ifq = &observer->queue->ifq;
	const shm_u32 *passed = &ifq->shared->cached_rq_head;
	/* In this order: each is no further than those behind it allow. */
	uint32_t before = shm_load_relaxed_u32(passed, POINT_RQ_HEAD_LOAD);
	/* Pairs with the release in zcrx_rq_user_publish(), or the consumer's own. */
	uint32_t tail = shm_load_acquire_u32(ifq->rq.tail, POINT_RQ_TAIL_LOAD);
	/* Pairs with the release in zcrx_rq_release(). */
	uint32_t head = shm_load_acquire_u32(ifq->rq.head, POINT_RQ_HEAD_LOAD);
	uint32_t after = shm_load_relaxed_u32(passed, POINT_RQ_HEAD_LOAD);
	/* The head is published before it is counted, and is what the consumer goes by. */
	uint32_t seen = (int32_t)(head - after) > 0 ? head : after;

	if ((int32_t)(tail - observer->tail) < 0)
		REPORT(observer, ZCRX_EMU_TAIL_BACK,
		       "the tail was %u and is %u: the kernel takes the ring for full, and judges "
		       "old entries again",
		       observer->tail, tail);
	else if ((int32_t)(tail - seen) > (int32_t)ifq->rq.entries)
		REPORT(observer, ZCRX_EMU_RING_OVERRUN,
		       "the tail is %u, %u entries before the head (%u), in a ring of %u: those "
		       "overwritten are lost, others are judged twice",
		       tail, tail - seen, seen, ifq->rq.entries);
	observer->tail = tail;
	/* One call of the provider is between the two, at most. */
	if (observer->is_ours && ((int32_t)(head - before) < 0 ||
				  (int32_t)(head - after) > (int32_t)ZCRX_REFILL_ENTRIES_MAX))
		REPORT(observer, ZCRX_EMU_HEAD_WRITTEN, "the head is %u and was written to be %u",
		       after, head);
}

/* Where the completion queue's head is ahead of its tail, that is the consumer's doing. */
static void look_at_completion_queue(struct zcrx_observer *observer)
{
	const struct zcrx_cq *cq = &observer->queue->cq;
	/* Head first: the tail only grows. Pairs with the release in zcrx_cq_user_release(). */
	uint32_t head = shm_load_acquire_u32(cq->head, POINT_CQ_HEAD_LOAD);
	/* Pairs with the release in zcrx_cq_publish(). */
	uint32_t tail = shm_load_acquire_u32(cq->tail, POINT_CQ_TAIL_LOAD);
	uint32_t unread = tail - head;

	if ((int32_t)unread < 0)
		REPORT(observer, ZCRX_EMU_CQ_HEAD, "the completion queue's head is %u, its tail %u",
		       head, tail);
	if (unread > cq->entries)
		unread = 0;
	if (observer->delivered >= unread)
		shm_store_relaxed_u64(&observer->queue->notes->fragments,
				      observer->delivered - unread, POINT_COUNTER);
}

/* Only while their words are the user's: a new one finds them reset. */
static void look_at_rings(struct zcrx_observer *observer)
{
	/* Pairs with the release in the provider's follow_user(). */
	if (shm_load_acquire_u32(&observer->queue->user->provider, POINT_USER) != observer->user)
		return;
	look_at_refill_ring(observer);
	look_at_completion_queue(observer);
}

/* ---- steps ------------------------------------------------------------------------------------ */

/* Both logs, in the one order that they have: see wire/witness.h. */
static void follow(struct zcrx_observer *observer, uint64_t delivered, uint64_t judged)
{
	for (;;) {
		struct zcrx_delivery next = {.judged = UINT64_MAX};

		if (observer->delivered < delivered)
			next = zcrx_witness_read(witness_of(observer), observer->delivered);
		if (next.judged <= observer->judged) {
			give(observer, &next);
			observer->delivered++;
		} else if (observer->judged < judged) {
			judge(observer, observer->judged++);
		} else {
			return;
		}
	}
}

void zcrx_observer_step(struct zcrx_observer *observer)
{
	struct zcrx_queue *queue = observer->queue;
	struct zcrx_notes_shared *notes = queue->notes;
	const struct zcrx_witness *witness = witness_of(observer);
	uint64_t log_entries = witness->mask + 1;
	uint64_t first = observer->delivered;
	/* Pairs with the release in record(): entries and verdicts are there, and by what it had
	 * seen each delivery that they took a reference of. */
	uint64_t judged = shm_load_acquire_u64(&queue->ifq.shared->consumed, POINT_LOG);
	uint64_t delivered = zcrx_witness_delivered(witness);

	/* Ours waits for the reconciler, which comes behind us. */
	if (judged - observer->judged > log_entries) {
		observer->is_blind = true;
		observer->judged = judged - log_entries;
	}
	if (delivered - first > log_entries)
		observer->is_blind = true;
	if (observer->is_blind)
		observer->delivered = delivered;
	follow(observer, delivered, judged);
	/* Nobody waits for us: was what we read still there? */
	if (zcrx_witness_delivered(witness) - first > 2 * log_entries)
		observer->is_blind = true;
	look_at_rings(observer);
	shm_store_relaxed_u64(&notes->rqe_submitted, observer->judged, POINT_COUNTER);
	shm_store_relaxed_u64(&notes->rqe_valid, observer->judged, POINT_COUNTER);
	shm_store_relaxed_u64(&notes->own_strays, zcrx_observer_reports(observer), POINT_COUNTER);
	/* Pairs with the acquire in zcrx_reconcile(): the intents are there. */
	shm_store_release_u64(&notes->written, observer->judged, POINT_LOG);
}

/* ---- users and scrubs ----------------------------------------------------------------------------- */

void zcrx_observer_scrub_begin(struct zcrx_observer *observer)
{
	zcrx_observer_step(observer);
	observer->scrubs++;
}

void zcrx_observer_scrub_end(struct zcrx_observer *observer)
{
	struct zcrx_notes_shared *notes = observer->queue->notes;

	assert(observer->scrubs);
	zcrx_observer_step(observer);
	observer->scrubs--;
	for (uint32_t niov = 0; niov < observer->ledger.account_count; niov++)
		observer->scrubbed[niov] = observer->ledger.accounts[niov].out;
	/* In the user's place, whose intents are ours. */
	shm_store_relaxed_u64(&notes->scrub_position, observer->judged, POINT_LOG);
	/* Pairs with the acquire in zcrx_queue_scrub_seen(): the position is there. */
	shm_store_release_u32(&notes->scrubs_seen,
			      shm_load_relaxed_u32(&notes->scrubs_begun, POINT_USER), POINT_USER);
}

void zcrx_observer_user_gone(struct zcrx_observer *observer)
{
	zcrx_observer_step(observer);
	zcrx_lib_ledger_free(&observer->ledger);
	if (init_ledger(observer))
		observer->is_blind = true;
	memset(observer->scrubbed, 0,
	       observer->queue->shape.num_niovs * sizeof(*observer->scrubbed));
	observer->row = 0;
	observer->user = NOBODY;
}

void zcrx_observer_new_user(struct zcrx_observer *observer)
{
	observer->user = shm_load_relaxed_u32(&observer->queue->user->wanted, POINT_USER);
	observer->tail = shm_load_relaxed_u32(observer->queue->ifq.rq.tail, POINT_RQ_TAIL_LOAD);
}

/* ---- what it has to say ------------------------------------------------------------------------------ */

uint64_t zcrx_observer_reports(const struct zcrx_observer *observer)
{
	return zcrx_lib_report_count(&observer->reports, ZCRX_EMU_KINDS);
}

size_t zcrx_observer_json(const struct zcrx_observer *observer, char *to, size_t size)
{
	return zcrx_lib_reports_json(&observer->reports, to, size);
}

uint64_t zcrx_observer_out(const struct zcrx_observer *observer, char *text, size_t size)
{
	const struct zcrx_lib_ledger *ledger = &observer->ledger;
	const struct zcrx_lib_held *oldest = NULL;
	uint32_t oldest_niov = 0;
	uint64_t count = 0;

	for (uint32_t niov = 0; !observer->is_blind && niov < ledger->account_count; niov++) {
		for (uint32_t at = ledger->accounts[niov].first; at;
		     at = ledger->helds[at - 1].next) {
			const struct zcrx_lib_held *held = &ledger->helds[at - 1];

			if (held->is_returned)
				continue;
			count++;
			if (!oldest || held->completion < oldest->completion) {
				oldest = held;
				oldest_niov = niov;
			}
		}
	}
	if (oldest)
		snprintf(text, size, "completion %llu (flow %u, bytes %u to %u of buffer %u)",
			 (unsigned long long)oldest->completion, oldest->flow, oldest->at,
			 oldest->at + oldest->length - 1, oldest_niov);
	return count;
}

bool zcrx_observer_is_blind(const struct zcrx_observer *observer)
{
	return observer->is_blind;
}
