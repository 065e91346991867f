/* SPDX-License-Identifier: MIT */
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "events.h"

/* ---- the program's ring ------------------------------------------------------------- */

/* `count` entries from the slot on, which do not wrap. */
static void copy_slots(struct zcrx_lib_ifq *queue, uint32_t slot, uint32_t count)
{
	uint32_t at = queue->level->rqes_at + slot * (uint32_t)sizeof(struct zcrx_rqe_slot);
	struct zcrx_rqe_slot *to = &queue->ifq.rq.rqes[slot];

	/* Nobody but the provider reads the copy, later. Where the ring is gone it stays. */
	zcrx_lib_window_read(&queue->region, at, (uint64_t *)(void *)to,
			     count * (uint32_t)(sizeof(*to) / sizeof(uint64_t)));
}

static void check_tail(struct zcrx_lib_ifq *queue, uint32_t tail)
{
	struct zcrx_emu_report report = {.zcrx_id = queue->ledger.zcrx_id, .entry = tail};
	struct zcrx_lib_reports *reports = queue->ledger.reports;
	uint32_t head = queue->ifq.rq.cached_head;

	if ((int32_t)(tail - queue->last_tail) < 0) {
		report.kind = ZCRX_EMU_TAIL_BACK;
		zcrx_lib_report(reports, &report,
				"the tail was %u and is %u: the kernel takes the ring for full, "
				"and judges old entries again",
				queue->last_tail, tail);
	} else if (tail - head > queue->ifq.rq.entries) {
		report.kind = ZCRX_EMU_RING_OVERRUN;
		zcrx_lib_report(reports, &report,
				"the tail is %u, %u entries before the head (%u), in a ring of %u: "
				"those overwritten are lost, others are judged twice",
				tail, tail - head, head, queue->ifq.rq.entries);
	}
}

/* Has the program written into the header anything but the tail? */
static void check_header(struct zcrx_lib_ifq *queue)
{
	struct zcrx_emu_report report = {.zcrx_id = queue->ledger.zcrx_id};
	struct zcrx_lib_reports *reports = queue->ledger.reports;
	uint32_t tail_at = queue->level->tail_at, rqes_at = queue->level->rqes_at;
	uint64_t words[ZCRX_LIB_HEADER_MAX / sizeof(uint64_t)];

	if (!zcrx_lib_window_read(&queue->region, 0, words, rqes_at / (uint32_t)sizeof(words[0])))
		return;
	for (uint32_t at = 0; at < rqes_at; at += sizeof(uint32_t)) {
		uint32_t now, before;

		memcpy(&now, (uint8_t *)words + at, sizeof(now));
		memcpy(&before, queue->header + at, sizeof(before));
		if (at == tail_at || now == before)
			continue;
		report.kind = at ? ZCRX_EMU_HEADER_WRITTEN : ZCRX_EMU_HEAD_WRITTEN;
		if (at == 0)
			zcrx_lib_report(reports, &report, "the head is %u and was written to be %u",
					before, now);
		else
			zcrx_lib_report(reports, &report,
					"0x%x was written at byte %u of the ring, where nothing "
					"is: the tail is at %u, entries begin at %u",
					now, at, tail_at, rqes_at);
		/* Said once for each value. */
		memcpy(queue->header + at, &now, sizeof(now));
	}
}

/* Show the provider what there is in the ring now, as much as it may take at once: `most`. */
static void look_for(struct zcrx_lib_ifq *queue, uint32_t most)
{
	struct zcrx_rq *rq = &queue->ifq.rq;
	uint32_t tail = zcrx_lib_queue_tail(queue);
	uint32_t available = tail - rq->cached_head;
	uint32_t count;

	if (available > rq->entries)
		available = rq->entries;
	if (zcrx_lib_ifq_checks(queue)) {
		if (tail != queue->last_tail)
			check_tail(queue, tail);
		check_header(queue);
	}
	queue->last_tail = tail;
	/* What an earlier tail promised may be taken yet, whatever the tail is now. */
	count = available > queue->last_available ? available : queue->last_available;
	if (count > most)
		count = most;
	queue->last_available = available;
	for (uint32_t done = 0; done < count;) {
		uint32_t slot = (rq->cached_head + done) & rq->mask;
		uint32_t stretch = rq->entries - slot < count - done ? rq->entries - slot :
								       count - done;

		copy_slots(queue, slot, stretch);
		done += stretch;
	}
	shm_store_relaxed_u32(&queue->copy_tail, tail, POINT_RQ_TAIL_STORE);
	/* A value that the provider does not leave there if it publishes anything. */
	shm_store_relaxed_u32(&queue->copy_head, ~rq->cached_head, POINT_RQ_HEAD_STORE);
}

static void look(struct zcrx_lib_ifq *queue)
{
	look_for(queue, ZCRX_LIB_LOOK_MAX);
}

static uint64_t offset_of(const struct zcrx_lib_ifq *queue, uint32_t niov)
{
	return (uint64_t)niov << queue->area.niov_shift;
}

static void poison(struct zcrx_lib_ifq *queue, uint32_t niov)
{
	if (!(queue->flags & ZCRX_EMU_NO_POISON))
		zcrx_lib_window_set(&queue->bytes, offset_of(queue, niov), queue->poison,
				    (uint32_t)1 << queue->area.niov_shift);
}

/* What the provider made of what it was shown. */
static void settle(struct zcrx_lib_ifq *queue)
{
	struct zcrx_rq *rq = &queue->ifq.rq;
	bool checks = zcrx_lib_ifq_checks(queue);

	for (uint32_t i = 0; i < queue->trace.count; i++) {
		const struct zcrx_judgement *judgement = &queue->trace.entries[i];
		const struct zcrx_rqe_slot *slot = &rq->rqes[judgement->index & rq->mask];
		struct io_uring_zcrx_rqe rqe;

		memcpy(&rqe, slot, sizeof(rqe));
		if (checks)
			zcrx_lib_ledger_judged(&queue->ledger, judgement, &rqe);
		if (judgement->verdict == ZCRX_ACCEPTED || judgement->verdict == ZCRX_OTHER_POOL)
			poison(queue, judgement->niov);
	}
	queue->last_available -= queue->trace.count < queue->last_available ? queue->trace.count :
									      queue->last_available;
	queue->trace.count = 0;
	if (shm_load_relaxed_u32(&queue->copy_head, POINT_RQ_HEAD_LOAD) == rq->cached_head) {
		queue->head = rq->cached_head;
		memcpy(queue->header, &queue->head, sizeof(queue->head));
		zcrx_lib_window_store(&queue->region, 0, queue->head);
	}
}

/* ---- what is asked of it ----------------------------------------------------------------- */

uint32_t zcrx_lib_queue_tail(struct zcrx_lib_ifq *queue)
{
	/* A program that took its ring away has nothing new in it. */
	return zcrx_lib_window_load(&queue->region, queue->level->tail_at, queue->last_tail);
}

int zcrx_lib_queue_start(struct zcrx_lib_ifq *queue)
{
	const struct zcrx_lib_level *level = queue->level;
	uint64_t *header = (uint64_t *)(void *)queue->header;
	uint32_t words = level->rqes_at / (uint32_t)sizeof(*header);
	bool is_done = level->zeroes_header ?
			       zcrx_lib_window_write(&queue->region, 0, header, words) :
			       zcrx_lib_window_read(&queue->region, 0, header, words);

	/* Garbage that a level leaves in the header is judged; it is no entry written too much. */
	queue->last_tail = zcrx_lib_queue_tail(queue);
	return is_done ? 0 : -EFAULT;
}

int64_t zcrx_lib_queue_alloc(struct zcrx_lib_ifq *queue)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&queue->ifq);
	bool may_refill = zcrx_pp_cache_count(pool) == 0;
	int64_t niov;

	if (may_refill)
		look(queue);
	niov = zcrx_pp_alloc(pool);
	if (may_refill)
		settle(queue);
	if (niov < 0)
		zcrx_lib_event(queue, ZCRX_EVENT_ALLOC_FAIL);
	if (niov >= 0 && zcrx_lib_ifq_checks(queue))
		zcrx_lib_ledger_reused(&queue->ledger, (uint32_t)niov);
	return niov;
}

int64_t zcrx_lib_queue_copy_buffer(struct zcrx_lib_ifq *queue)
{
	int64_t niov = zcrx_ifq_take_copy_buffer(&queue->ifq);

	if (niov >= 0 && zcrx_lib_ifq_checks(queue))
		zcrx_lib_ledger_reused(&queue->ledger, (uint32_t)niov);
	return niov;
}

uint32_t zcrx_lib_queue_drain(struct zcrx_lib_ifq *queue)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&queue->ifq);
	uint32_t drained = 0;

	while (drained < queue->ifq.rq.entries) {
		uint32_t consumed;

		look(queue);
		zcrx_pp_empty_cache(pool);
		consumed = zcrx_ifq_refill_ring(&queue->ifq, pool);
		settle(queue);
		if (consumed == 0)
			break;
		drained += consumed;
	}
	zcrx_pp_empty_cache(pool);
	return drained;
}

/* One call may judge all of the ring: the judgements need more room than a refill's. */
int zcrx_lib_queue_flush(struct zcrx_lib_ifq *queue)
{
	const struct zcrx_trace trace = queue->trace;
	uint32_t entries = queue->ifq.rq.entries;
	int64_t flushed;

	queue->trace.entries = malloc(entries * sizeof(*trace.entries));
	queue->trace.capacity = entries;
	if (queue->trace.entries) {
		look_for(queue, entries);
		flushed = zcrx_ifq_flush_rq(&queue->ifq);
		settle(queue);
		free(queue->trace.entries);
	} else {
		flushed = -ENOMEM;
	}
	queue->trace = trace;
	return flushed < 0 ? (int)flushed : 0;
}

int zcrx_lib_queue_fill(struct zcrx_lib_ifq *queue, uint32_t niov, uint32_t at, const void *bytes,
			uint32_t size)
{
	return zcrx_lib_window_put(&queue->bytes, offset_of(queue, niov) + at, bytes, size) ?
		       0 :
		       -EFAULT;
}

void zcrx_lib_queue_free(struct zcrx_lib_ifq *queue)
{
	if (queue->block) {
		zcrx_ifq_scrub(&queue->ifq, NULL);
		zcrx_ifq_teardown(&queue->ifq);
	}
	if (queue->made)
		munmap(queue->made, queue->region_size);
	zcrx_lib_ledger_free(&queue->ledger);
	free(queue->block);
	free(queue);
}
