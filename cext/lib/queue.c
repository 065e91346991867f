/* SPDX-License-Identifier: MIT */
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "area.h"
#include "events.h"
#include "trouble.h"
#include "watch.h"

#define STEPS_TO_PUBLISH 2U

/* ---- the program's ring ------------------------------------------------------------- */

#define AT_ONCE 64U

/* Entries from `index` on, which do not wrap. Where the ring is gone the copy stays as it was. */
static void copy_stretch(struct zcrx_lib_ifq *queue, uint32_t index, uint32_t count)
{
	struct zcrx_rq *rq = &queue->ifq.rq;
	uint32_t slot = index & rq->mask;
	uint64_t at = queue->level->rqes_at + (uint64_t)slot * sizeof(struct io_uring_zcrx_rqe);
	struct io_uring_zcrx_rqe now[AT_ONCE];

	if (!zcrx_lib_window_read(&queue->region, at, (uint64_t *)(void *)now,
				  count * (uint32_t)(sizeof(now[0]) / sizeof(uint64_t))))
		return;
	if (zcrx_lib_ifq_checks(queue))
		zcrx_lib_watch_entries(queue, index, now, count);
	/* Nobody but the provider reads the copy, later. */
	memcpy(&rq->rqes[slot], now, count * sizeof(now[0]));
}

static void copy_entries(struct zcrx_lib_ifq *queue, uint32_t index, uint32_t count)
{
	const struct zcrx_rq *rq = &queue->ifq.rq;

	while (count) {
		uint32_t to_end = rq->entries - (index & rq->mask);
		uint32_t stretch = count < AT_ONCE ? count : AT_ONCE;

		if (stretch > to_end)
			stretch = to_end;
		copy_stretch(queue, index, stretch);
		index += stretch;
		count -= stretch;
	}
}

/*
 * Entries up to the tail have been looked at, and are not to change any more. Of a tail that
 * cannot be nothing is remembered: it is a mistake of its own, and others follow from it.
 */
static void remember(struct zcrx_lib_ifq *queue, uint32_t tail)
{
	uint32_t head = queue->ifq.rq.cached_head;

	queue->seen = tail - head <= queue->ifq.rq.entries ? tail : head;
}

static bool read_header(const struct zcrx_lib_ifq *queue, uint64_t *words)
{
	uint32_t count = queue->level->rqes_at / (uint32_t)sizeof(*words);

	return zcrx_lib_window_read(&queue->region, 0, words, count);
}

/* The tail, and whether the program left the header as it should. Afar that is one look. */
static uint32_t look_at_header(struct zcrx_lib_ifq *queue)
{
	uint64_t words[ZCRX_LIB_HEADER_MAX / sizeof(uint64_t)];
	bool is_read = zcrx_lib_ifq_checks(queue) && read_header(queue, words);
	uint32_t tail;

	if (is_read && !queue->region.here)
		memcpy(&tail, (uint8_t *)words + queue->level->tail_at, sizeof(tail));
	else
		tail = zcrx_lib_queue_tail(queue);
	if (zcrx_lib_ifq_checks(queue) && tail != queue->last_tail)
		zcrx_lib_watch_tail(queue, tail);
	if (is_read)
		zcrx_lib_watch_header(queue, words);
	return tail;
}

/* Show the provider what there is in the ring now, as much as it may take at once: `most`. */
static void look_for(struct zcrx_lib_ifq *queue, uint32_t most)
{
	struct zcrx_rq *rq = &queue->ifq.rq;
	uint32_t tail = look_at_header(queue);
	uint32_t available = tail - rq->cached_head;
	uint32_t count, shown = tail;

	if (available > rq->entries)
		available = rq->entries;
	if (zcrx_lib_ifq_checks(queue) && (int32_t)(tail - queue->seen) < 0)
		remember(queue, tail);
	queue->last_tail = tail;
	/* What an earlier tail promised may be taken yet, whatever the tail is now. */
	count = available > queue->last_available ? available : queue->last_available;
	if (count > most)
		count = most;
	copy_entries(queue, rq->cached_head, count);
	if (count >= available)
		remember(queue, tail);
	if (most < ZCRX_LIB_LOOK_MAX && count < tail - rq->cached_head) {
		shown = rq->cached_head + count;
		available = count;
	}
	queue->last_available = available;
	shm_store_relaxed_u32(&queue->copy_tail, shown, POINT_RQ_TAIL_STORE);
	/* A value that the provider does not leave there if it publishes anything. */
	shm_store_relaxed_u32(&queue->copy_head, ~rq->cached_head, POINT_RQ_HEAD_STORE);
}

static void look(struct zcrx_lib_ifq *queue)
{
	look_for(queue, ZCRX_LIB_LOOK_MAX);
}

/*
 * For a delivery that takes what comes back no more is judged than it fills, or was shown to the
 * provider before: all else would be poisoned, and compared when it is filled a moment later.
 */
static uint32_t wanted_of(const struct zcrx_lib_ifq *queue)
{
	uint32_t wanted = queue->nic.wanted_now;

	if (!queue->nic.takes_hot || wanted == 0)
		return ZCRX_LIB_LOOK_MAX;
	if (wanted < queue->last_available)
		wanted = queue->last_available;
	return wanted < ZCRX_LIB_LOOK_MAX ? wanted : ZCRX_LIB_LOOK_MAX;
}

/* What the provider made of what it was shown; its head is published, or is due to be. */
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
			zcrx_lib_watch_poison(queue, judgement->niov);
	}
	zcrx_lib_watch_poison_rest(queue);
	queue->last_available -= queue->trace.count < queue->last_available ? queue->trace.count :
									      queue->last_available;
	queue->trace.count = 0;
	if (shm_load_relaxed_u32(&queue->copy_head, POINT_RQ_HEAD_LOAD) == rq->cached_head) {
		if (queue->flags & ZCRX_EMU_LATE_HEAD && !queue->steps_to_publish)
			queue->steps_to_publish = STEPS_TO_PUBLISH;
		else if (!(queue->flags & ZCRX_EMU_LATE_HEAD))
			zcrx_lib_queue_publish(queue);
	}
}

/* ---- what is asked of it ----------------------------------------------------------------- */

uint32_t zcrx_lib_queue_tail(struct zcrx_lib_ifq *queue)
{
	/* A program that took its ring away has nothing new in it. */
	return zcrx_lib_window_load(&queue->region, queue->level->tail_at, queue->last_tail);
}

uint32_t zcrx_lib_queue_tail_of_round(struct zcrx_lib_ifq *queue)
{
	if (queue->region.here)
		return zcrx_lib_queue_tail(queue);
	if (!queue->has_round_tail)
		queue->round_tail = zcrx_lib_queue_tail(queue);
	queue->has_round_tail = true;
	return queue->round_tail;
}

void zcrx_lib_queue_publish(struct zcrx_lib_ifq *queue)
{
	uint32_t head = queue->ifq.rq.cached_head;

	queue->steps_to_publish = 0;
	/* Where nothing can be written the program sees what stood there before. */
	if (!zcrx_lib_window_store(&queue->region, 0, head))
		return;
	queue->head = head;
	memcpy(queue->header, &head, sizeof(head));
}

void zcrx_lib_queue_step(struct zcrx_lib_ifq *queue)
{
	uint32_t tail, head = queue->ifq.rq.cached_head;

	if (queue->steps_to_publish && --queue->steps_to_publish == 0)
		zcrx_lib_queue_publish(queue);
	if (!zcrx_lib_ifq_checks(queue))
		return;
	/* A first look at what is new: what changes until it is judged was published too early. */
	tail = zcrx_lib_queue_tail(queue);
	if (tail - head > queue->ifq.rq.entries || (int32_t)(tail - queue->seen) <= 0)
		return;
	if ((int32_t)(queue->seen - head) < 0)
		queue->seen = head;
	copy_entries(queue, queue->seen, tail - queue->seen);
	queue->seen = tail;
}

static bool read_ring(const struct zcrx_lib_ifq *queue, uint64_t at, void *to, uint64_t size)
{
	return zcrx_lib_window_read(&queue->region, at, to, (uint32_t)(size / sizeof(uint64_t)));
}

/* What was given, and not returned, stands in its buffer. New memory has nothing there. */
static bool holds_bytes(const struct zcrx_lib_ifq *queue)
{
	const struct zcrx_lib_ledger *ledger = &queue->ledger;
	uint32_t size = (uint32_t)1 << queue->area.niov_shift, niov = 0;
	const struct zcrx_lib_window *bytes;
	struct zcrx_lib_window far;
	uint64_t begin;
	uint8_t found;

	while (niov < ledger->account_count && ledger->accounts[niov].out == 0)
		niov++;
	if (niov == ledger->account_count)
		return false;
	begin = zcrx_lib_area_at(queue, niov, &bytes);
	far = *bytes;
	far.here = NULL; /* it may be unmapped */
	return zcrx_lib_window_find_other(&far, begin, 0, size, &found) < size;
}

/*
 * Is it the header that we left, but for the tail? One that is all zero could be any memory's:
 * then it is a ring that nobody has written to if its area is what it was, too.
 */
static bool is_header(const struct zcrx_lib_ifq *queue, const uint8_t *header)
{
	uint32_t tail_at = queue->level->tail_at, rqes_at = queue->level->rqes_at;
	uint32_t tail_end = tail_at + (uint32_t)sizeof(uint32_t);

	if (memcmp(header, queue->header, tail_at) != 0 ||
	    memcmp(header + tail_end, queue->header + tail_end, rqes_at - tail_end) != 0)
		return false;
	return queue->made || !zcrx_lib_is_zero(header, rqes_at) ||
	       (queue->last_tail == 0 && holds_bytes(queue));
}

/* The header is read before and after: had it been another one's in between, it would be no more. */
void *zcrx_lib_queue_set_aside(struct zcrx_lib_ifq *queue)
{
	uint64_t rqes_at = queue->level->rqes_at;
	uint64_t size = rqes_at + queue->ifq.rq.entries * sizeof(struct io_uring_zcrx_rqe);
	uint64_t after[ZCRX_LIB_HEADER_MAX / sizeof(uint64_t)];
	uint8_t *copy = malloc(size);

	if (!copy || !read_ring(queue, 0, copy, rqes_at) || !is_header(queue, copy) ||
	    !read_ring(queue, rqes_at, copy + rqes_at, size - rqes_at) ||
	    !read_ring(queue, 0, after, rqes_at) || memcmp(copy, after, rqes_at) != 0) {
		free(copy);
		return NULL;
	}
	queue->region = zcrx_lib_window_on(copy);
	return copy;
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

	if (zcrx_lib_trouble_alloc(queue)) {
		zcrx_lib_event(queue, ZCRX_EVENT_ALLOC_FAIL);
		return -ENOMEM;
	}
	if (may_refill && zcrx_lib_trouble_looks(queue))
		look_for(queue, wanted_of(queue));
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

	if (niov >= 0)
		zcrx_lib_watch_leaving(queue, (uint32_t)niov);
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
		drained += consumed;
		/* What is published from here on waits for the next time. */
		if (consumed == 0 || queue->ifq.rq.cached_head == queue->last_tail)
			break;
	}
	zcrx_pp_empty_cache(pool);
	return drained;
}

uint32_t zcrx_lib_queue_drain_now(struct zcrx_lib_ifq *queue)
{
	uint32_t count = zcrx_lib_queue_drain(queue);

	if (queue->steps_to_publish)
		zcrx_lib_queue_publish(queue);
	return count;
}

/* Room for all the pools that there can be: most queues never need it. */
static bool make_rings(struct zcrx_lib_ifq *queue)
{
	uint32_t size = queue->ifq.pools[0].ring_size;
	shm_u32 *rings = queue->more_rings;

	if (!rings)
		rings = calloc((ZCRX_POOLS_MAX - 1) * (size_t)size, sizeof(*rings));
	queue->more_rings = rings;
	for (uint32_t slot = 1; rings && slot < ZCRX_POOLS_MAX; slot++, rings += size) {
		queue->ifq.pools[slot].ring = rings;
		queue->ifq.pools[slot].ring_size = size;
	}
	return rings != NULL;
}

int zcrx_lib_queue_restart(struct zcrx_lib_ifq *queue)
{
	int slot = make_rings(queue) ? zcrx_ifq_restart(&queue->ifq) : -ENOMEM;

	return slot < 0 ? slot : 0;
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
		zcrx_lib_queue_publish(queue);
		free(queue->trace.entries);
	} else {
		flushed = -ENOMEM;
	}
	queue->trace = trace;
	return flushed < 0 ? (int)flushed : 0;
}

void zcrx_lib_queue_free(struct zcrx_lib_ifq *queue)
{
	if (queue->block) {
		zcrx_ifq_scrub(&queue->ifq, NULL);
		zcrx_ifq_teardown(&queue->ifq);
	}
	if (queue->made)
		munmap(queue->made, queue->region_size);
	zcrx_lib_trouble_stop(queue);
	free(queue->watch.bytes);
	zcrx_lib_ledger_free(&queue->ledger);
	zcrx_lib_areas_free(queue);
	free(queue->block);
	free(queue->more_rings);
	free(queue);
}
