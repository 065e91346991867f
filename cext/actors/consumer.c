/* SPDX-License-Identifier: MIT */
/*
 * Why the consumer never blocks on a full refill ring: the provider looks at
 * the ring only when it is out of buffers, so a consumer that stopped reading
 * completions until its returns fit would wait for a NIC that waits for it.
 * Returns that find no room are kept (their number is bounded by what can be
 * delivered) and completions are read on.
 */
#define _GNU_SOURCE
#include "consumer.h"
#include "returns.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH ZCRX_RETURN_BATCH
#define SLEEP_US 20000U
#define CLOCK_EVERY 64U /* batches between looks at the clock under load */

struct zcrx_consumer {
	struct zcrx_queue queue;
	struct zcrx_consumer_params params;
	struct zcrx_cq_user cq;
	struct zcrx_returns returns;
	struct zcrx_waiter waiter;
	struct zcrx_bell *bell;
	uint32_t *next_seq; /* [flows_max] */
	uint8_t *flow_known; /* [flows_max] */
	uint64_t ends;
	uint64_t sink; /* what was touched; keeps the reads alive */
	struct zcrx_poison *poison; /* of a user of its own, or NULL */
};

/* ---- life ------------------------------------------------------------------ */

/* The ring views of an application: everything is found through the offsets. */
static void attach_rings(struct zcrx_consumer *consumer)
{
	struct zcrx_rings_header *rings = consumer->queue.rings;
	uint8_t *base = (uint8_t *)rings;
	struct zcrx_rq_user rq = {
		.head = (shm_u32 *)(base + rings->rq.head),
		.tail = (shm_u32 *)(base + rings->rq.tail),
		.rqes = (struct zcrx_rqe_slot *)(base + rings->rq.rqes),
		.entries = rings->rq_entries,
		.mask = rings->rq_entries - 1,
	};
	/* Pairs with the release in zcrx_ifq_reset_ring(): the ring is empty by then. */
	rq.cached_head = shm_load_acquire_u32(rq.head, POINT_RQ_HEAD_LOAD);
	/* Relaxed, as the next: nobody but the user writes it, and the last one is gone. */
	rq.cached_tail = shm_load_relaxed_u32(rq.tail, POINT_RQ_TAIL_LOAD);
	consumer->cq = (struct zcrx_cq_user){
		.head = (shm_u32 *)(base + rings->cq.head),
		.tail = (shm_u32 *)(base + rings->cq.tail),
		.cqes = (struct zcrx_cqe_slot *)(base + rings->cq.rqes),
		.entries = rings->cq_entries,
		.mask = rings->cq_entries - 1,
	};
	consumer->cq.cached_head = shm_load_relaxed_u32(consumer->cq.head, POINT_CQ_HEAD_LOAD);
	zcrx_returns_attach(&consumer->returns, &rq, consumer->cq.head, consumer->cq.tail);
}

struct zcrx_consumer *zcrx_consumer_new(const struct zcrx_shape *shape, uint32_t index,
					const struct zcrx_mapping *mapping,
					const struct zcrx_consumer_params *params,
					const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	struct zcrx_consumer *consumer = calloc(1, sizeof(*consumer));
	uint64_t flow_count = shape->flows_max;

	if (!consumer)
		return NULL;
	if (zcrx_queue_attach(&consumer->queue, shape, index, mapping) ||
	    zcrx_returns_init(&consumer->returns, &consumer->queue, params, rules, rule_count))
		goto out_free;
	consumer->params = *params;
	consumer->bell = &consumer->queue.bells->consumers[index];
	zcrx_waiter_init(&consumer->waiter, consumer->bell, ZCRX_BUSY_PROCESSES(params->queues));
	attach_rings(consumer);
	consumer->next_seq = calloc(flow_count, sizeof(uint32_t));
	consumer->flow_known = calloc(flow_count, 1);
	if (!consumer->next_seq || !consumer->flow_known)
		goto out_free;
	/* The first consumer of a queue sees each flow from its start. */
	if (shm_load_relaxed_u64(&consumer->queue.notes->fragments, POINT_COUNTER) == 0)
		memset(consumer->flow_known, 1, flow_count);
	return consumer;

out_free:
	zcrx_consumer_free(consumer);
	return NULL;
}

void zcrx_consumer_free(struct zcrx_consumer *consumer)
{
	if (!consumer)
		return;
	zcrx_returns_destroy(&consumer->returns);
	free(consumer->next_seq);
	free(consumer->flow_known);
	free(consumer);
}

/* ---- completions ------------------------------------------------------------ */

struct tally {
	uint64_t fragments, bytes, ends, gaps, closed;
};

/*
 * The areas that a completion may name. Pairs with the release in zcrx_queue_add_area(): it
 * is before the area itself, and so before what is delivered in it.
 */
static uint32_t areas_of(const struct zcrx_consumer *consumer)
{
	uint32_t max = zcrx_areas_max(&consumer->queue.shape), areas;

	if (max == 1)
		return 1;
	areas = shm_load_acquire_u32(&consumer->queue.rings->areas_begun, POINT_USER);
	return areas < max ? areas : max;
}

static bool lies_in_area(const struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment)
{
	const struct zcrx_shape *shape = &consumer->queue.shape;
	uint64_t size = (uint64_t)1 << shape->niov_shift;
	uint64_t in_niov = fragment->off & (size - 1);
	uint64_t id = fragment->off >> IORING_ZCRX_AREA_SHIFT;
	uint64_t index = (fragment->off & ~IORING_ZCRX_AREA_MASK) >> shape->niov_shift;

	return fragment->res > 0 && id < areas_of(consumer) &&
	       index < zcrx_areas_size(shape, (uint32_t)id) &&
	       in_niov + (uint64_t)fragment->res <= size;
}

static uint32_t niov_of(const struct zcrx_consumer *consumer, uint64_t off)
{
	return zcrx_areas_niov(&consumer->queue.shape, off);
}

static uint8_t *bytes_of(const struct zcrx_consumer *consumer, uint64_t off)
{
	return consumer->queue.area.bytes + zcrx_areas_byte(&consumer->queue.shape, off);
}

static void count_outside(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment)
{
	shm_count(&consumer->queue.notes->bad_completions, 1);
	zcrx_findings_record_error(&consumer->returns.findings, ZCRX_ERROR_OUTSIDE, fragment->off,
				   (uint32_t)fragment->res);
}

/* Which of the NIC's faults a fragment bears the mark of. */
static uint32_t mark_kind(const struct zcrx_consumer *consumer, uint32_t mark)
{
	if (mark == 0 || mark > ZCRX_RULES_MAX)
		return ZCRX_FAULT_NONE;
	/* Relaxed: the acquire that found the completion is behind its writer. */
	return shm_load_relaxed_u32(&consumer->queue.notes->mark_kinds[mark - 1], POINT_LOG);
}

static bool is_order_mark(uint32_t kind)
{
	return kind == ZCRX_FAULT_NIC_DUPLICATE || kind == ZCRX_FAULT_NIC_REORDER;
}

static void count_up(shm_u32 *count)
{
	shm_store_relaxed_u32(count, shm_load_relaxed_u32(count, POINT_COUNTER) + 1, POINT_COUNTER);
}

/*
 * One gap of the flow is closed. The gap may never have been counted: whoever
 * takes a queue over does not know what came before its first fragment.
 */
static void close_gap(struct zcrx_flow_received *received, struct tally *tally)
{
	uint32_t gaps = shm_load_relaxed_u32(&received->gaps, POINT_COUNTER);

	if (gaps == 0)
		return;
	shm_store_relaxed_u32(&received->gaps, gaps - 1, POINT_COUNTER);
	tally->closed++;
}

/* Sequence numbers must go up; a gap is what was dropped. */
static void check_order(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment,
			struct tally *tally)
{
	uint64_t flow = fragment->user_data;
	struct zcrx_flow_received *received = &consumer->queue.flows_received[flow];
	uint32_t gap = consumer->flow_known[flow] ? fragment->seq - consumer->next_seq[flow] : 0;

	consumer->flow_known[flow] = 1;
	if (gap > INT32_MAX) {
		shm_count(&consumer->queue.notes->order_errors, 1);
		zcrx_findings_record_error(&consumer->returns.findings, ZCRX_ERROR_ORDER,
					   flow << 32 | fragment->seq, consumer->next_seq[flow]);
	} else if (gap) {
		tally->gaps += gap;
		shm_store_relaxed_u32(&received->gaps,
				      shm_load_relaxed_u32(&received->gaps, POINT_COUNTER) + gap,
				      POINT_COUNTER);
	}
	consumer->next_seq[flow] = fragment->seq + 1;
	count_up(&received->received);
}

/*
 * A fragment that bears a mark may have come twice, or late, and so be behind
 * what came before it: what it is found to be. 0 for what is in its order.
 */
static uint32_t check_marked(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment,
			     struct tally *tally)
{
	uint64_t flow = fragment->user_data;
	uint32_t kind = mark_kind(consumer, fragment->mark);
	struct zcrx_flow_received *received = &consumer->queue.flows_received[flow];
	bool is_behind = consumer->flow_known[flow] &&
			 fragment->seq - consumer->next_seq[flow] > INT32_MAX;

	if (is_behind && is_order_mark(kind)) {
		if (kind == ZCRX_FAULT_NIC_REORDER)
			close_gap(received, tally);
		count_up(&received->received);
		return kind == ZCRX_FAULT_NIC_REORDER ? ZCRX_LATE_FOUND : ZCRX_DUPLICATE_FOUND;
	}
	check_order(consumer, fragment, tally);
	if (kind == ZCRX_FAULT_NIC_DUPLICATE) /* of something that never came */
		shm_count(&consumer->queue.notes->order_errors, 1);
	/* Late ones may be behind others of their queue, but none of their flow. */
	return kind == ZCRX_FAULT_NIC_REORDER ? ZCRX_LATE_FOUND : 0;
}

static struct zcrx_fragment take_one(struct zcrx_consumer *consumer)
{
	struct zcrx_ledger_entry *note =
		&consumer->queue.ledger[consumer->cq.cached_head & consumer->cq.mask];
	uint64_t flow_seq = shm_load_relaxed_u64(&note->flow_seq, POINT_LOG);
	uint64_t crc_generation = shm_load_relaxed_u64(&note->crc_generation, POINT_LOG);
	struct zcrx_cqe32 cqe = zcrx_cq_user_take(&consumer->cq);

	return (struct zcrx_fragment){
		.off = cqe.zcrx.off,
		.user_data = cqe.cqe.user_data,
		.res = cqe.cqe.res,
		.flags = cqe.cqe.flags,
		.crc = (uint32_t)(crc_generation >> 32),
		.seq = (uint32_t)flow_seq,
		.generation = (uint32_t)crc_generation,
		.mark = (uint32_t)(flow_seq >> 56),
	};
}

/*
 * Where it is to be, field by field: built aside and copied in vectors, it would be read
 * in another width than it was written in, and the processor waits for such a read.
 */
static inline void note_held(struct zcrx_held *held, const struct zcrx_fragment *fragment)
{
	held->off = fragment->off;
	held->len = (uint32_t)fragment->res;
	held->crc = fragment->crc;
	held->flow = (uint32_t)fragment->user_data;
	held->seq = fragment->seq;
	held->generation = fragment->generation;
	held->mark = fragment->mark;
	held->astray = 0;
}

static inline struct zcrx_held held_of(const struct zcrx_fragment *fragment)
{
	struct zcrx_held held;

	note_held(&held, fragment);
	return held;
}

static void hold(struct zcrx_consumer *consumer, const struct zcrx_held *held, uint32_t index)
{
	if (consumer->params.verify == ZCRX_VERIFY_TOUCH)
		consumer->sink += *bytes_of(consumer, held->off);
	zcrx_findings_received(&consumer->returns.findings, held, index);
}

static void receive_marked(struct zcrx_consumer *consumer, struct zcrx_fragment *fragment,
			   uint32_t index, struct tally *tally)
{
	uint32_t found = check_marked(consumer, fragment, tally);
	uint32_t rule = fragment->mark;
	struct zcrx_held held;

	/* From here on a mark means wrong bytes: those of a copy or of a late one are right. */
	if (is_order_mark(mark_kind(consumer, rule)))
		fragment->mark = 0;
	held = held_of(fragment);
	hold(consumer, &held, index);
	if (found)
		zcrx_findings_tell(&consumer->returns.findings, &held, found, rule);
}

/* `index`: where in the completion queue it stood. */
static void receive(struct zcrx_consumer *consumer, struct zcrx_fragment *fragment, uint32_t index,
		    struct tally *tally)
{
	struct zcrx_held held = held_of(fragment);

	if (fragment->user_data >= consumer->queue.shape.flows_max) {
		shm_count(&consumer->queue.notes->bad_completions, 1);
		hold(consumer, &held, index);
	} else if (fragment->mark) {
		receive_marked(consumer, fragment, index, tally);
	} else {
		check_order(consumer, fragment, tally);
		hold(consumer, &held, index);
	}
}

/* A consumer that was killed may have left a gap uncounted that is closed here. */
static void count_gaps(struct zcrx_notes_shared *notes, const struct tally *tally)
{
	uint64_t gaps = shm_load_relaxed_u64(&notes->order_gaps, POINT_COUNTER) + tally->gaps;

	shm_store_relaxed_u64(&notes->order_gaps, gaps > tally->closed ? gaps - tally->closed : 0,
			      POINT_COUNTER);
}

/* `count` of the `available` completions are taken next: those behind them are soon wanted. */
static void expect(const struct zcrx_consumer *consumer, uint32_t available, uint32_t count)
{
	uint32_t notes_a_line = SHM_CACHE_LINE / sizeof(struct zcrx_ledger_entry);
	uint32_t end = count + ZCRX_RING_AHEAD < available ? count + ZCRX_RING_AHEAD : available;

	zcrx_cq_user_expect(&consumer->cq, available, count);
	for (uint32_t i = ZCRX_RING_AHEAD; i < end; i += notes_a_line)
		shm_expect_read(&consumer->queue.ledger[(consumer->cq.cached_head + i) &
							consumer->cq.mask]);
}

uint32_t zcrx_consumer_take(struct zcrx_consumer *consumer, struct zcrx_fragment *fragments,
			    uint32_t max)
{
	struct zcrx_notes_shared *notes = consumer->queue.notes;
	uint32_t available = zcrx_cq_user_available(&consumer->cq);
	struct tally tally = {0};
	uint32_t first = consumer->cq.cached_head;
	uint32_t kept = 0;

	expect(consumer, available, max);
	if (available > max)
		available = max;
	zcrx_findings_look(&consumer->returns.findings);
	/* First all of them, so that their bytes are under way together. */
	for (uint32_t i = 0; i < available; i++) {
		fragments[i] = take_one(consumer);
		if (lies_in_area(consumer, &fragments[i]))
			shm_expect_read(bytes_of(consumer, fragments[i].off));
	}
	for (uint32_t i = 0; i < available; i++) {
		struct zcrx_fragment *fragment = &fragments[i];

		if (!(fragment->flags & IORING_CQE_F_MORE)) {
			/* The end of a flow, or an error: no buffer comes with it. */
			tally.ends++;
		} else if (lies_in_area(consumer, fragment)) {
			receive(consumer, fragment, first + i, &tally);
			if (consumer->poison)
				zcrx_poison_hand_out(consumer->poison,
						     niov_of(consumer, fragment->off));
			tally.fragments++;
			tally.bytes += (uint32_t)fragment->res;
		} else {
			count_outside(consumer, fragment);
			continue;
		}
		if (kept != i)
			fragments[kept] = *fragment;
		kept++;
	}
	/* A NIC that found the scribble waits for the true head, and we for the NIC. */
	if (available == 0 && !consumer->returns.ring_faults.has_scribbled_cq)
		return 0;
	zcrx_findings_record_taken(&consumer->returns.findings, available,
				   consumer->cq.cached_head);
	consumer->returns.ring_faults.has_scribbled_cq = false;
	zcrx_cq_user_release(&consumer->cq);
	shm_count(&notes->fragments, tally.fragments);
	shm_count(&notes->bytes, tally.bytes);
	if (tally.ends)
		shm_count(&notes->ends, tally.ends);
	if (tally.gaps || tally.closed)
		count_gaps(notes, &tally);
	consumer->ends += tally.ends;
	/* The NIC may wait for room in the completion queue. */
	zcrx_bell_ring(&consumer->queue.bells->nic, ZCRX_BELL_ROOM);
	return kept;
}

/* ---- returns ------------------------------------------------------------------ */

static void give(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment)
{
	struct zcrx_held *place;

	if (!(fragment->flags & IORING_CQE_F_MORE))
		return;
	place = zcrx_returns_place(&consumer->returns);
	if (place)
		note_held(place, fragment);
	else
		zcrx_returns_give(&consumer->returns, held_of(fragment));
}

/* From a consumer of one's own: what it hands in may not be what it was given. */
static void give_own(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment,
		     bool astray)
{
	struct zcrx_held held = held_of(fragment);

	if (!(fragment->flags & IORING_CQE_F_MORE))
		return;
	if (!lies_in_area(consumer, fragment)) {
		count_outside(consumer, fragment);
		return;
	}
	held.astray = astray;
	if (consumer->poison && !astray)
		zcrx_poison_give_back(consumer->poison, niov_of(consumer, held.off));
	zcrx_returns_give(&consumer->returns, held);
}

void zcrx_consumer_give_back(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragments,
			     uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		give_own(consumer, &fragments[i], false);
	zcrx_returns_flush(&consumer->returns);
}

void zcrx_consumer_give_astray(struct zcrx_consumer *consumer,
			       const struct zcrx_fragment *fragments, uint32_t count)
{
	shm_count(&consumer->queue.notes->own_strays, count);
	for (uint32_t i = 0; i < count; i++)
		give_own(consumer, &fragments[i], true);
	zcrx_returns_flush(&consumer->returns);
}

void zcrx_consumer_set_poison(struct zcrx_consumer *consumer, struct zcrx_poison *poison)
{
	consumer->poison = poison;
}

void zcrx_consumer_note_touches(struct zcrx_consumer *consumer, uint64_t count)
{
	shm_store_relaxed_u64(&consumer->queue.notes->own_touches, count, POINT_COUNTER);
}

uint64_t zcrx_consumer_flush(struct zcrx_consumer *consumer)
{
	return zcrx_returns_flush(&consumer->returns);
}

void zcrx_consumer_set_custom(struct zcrx_consumer *consumer,
			      int (*ask)(void *context, struct zcrx_custom_call *call),
			      void *context)
{
	zcrx_injection_set_custom(&consumer->returns.injection, ask, context);
}

void zcrx_consumer_custom_wrote(struct zcrx_consumer *consumer, const uint8_t *before,
				const uint8_t *after)
{
	zcrx_injection_custom_wrote(&consumer->returns.injection, before, after);
}

/* ---- the loop ------------------------------------------------------------------- */

static int write_all(int fd, struct iovec *iov, int count)
{
	while (count > 0) {
		ssize_t done = writev(fd, iov, count);

		if (done < 0) {
			struct pollfd wait = {.fd = fd, .events = POLLOUT};

			if (errno == EAGAIN)
				poll(&wait, 1, 100);
			else if (errno != EINTR)
				return -errno;
			continue;
		}
		while (count > 0 && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			count--;
		}
		if (count > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

static int write_out(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragments,
		     uint32_t count)
{
	struct iovec iov[BATCH];
	int used = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (fragments[i].flags & IORING_CQE_F_MORE)
			iov[used++] = (struct iovec){
				.iov_base = bytes_of(consumer, fragments[i].off),
				.iov_len = (size_t)fragments[i].res,
			};
	}
	return write_all(consumer->params.output_fd, iov, used);
}

bool zcrx_consumer_should_stop(const struct zcrx_consumer *consumer)
{
	/* Pairs with the release in zcrx_queue_stop_consumer(). */
	return shm_load_acquire_u32(&consumer->queue.rings->stop, POINT_RUN_STATE) != 0;
}

void zcrx_consumer_wait(struct zcrx_consumer *consumer, uint32_t timeout_us)
{
	uint32_t seq;

	zcrx_rq_writer_wake_provider(&consumer->returns.writer);
	seq = zcrx_bell_prepare(consumer->bell, ZCRX_BELL_WORK);
	if (zcrx_cq_user_available(&consumer->cq) || zcrx_consumer_should_stop(consumer))
		zcrx_bell_cancel(consumer->bell);
	else
		zcrx_bell_sleep(consumer->bell, seq, timeout_us);
}

static bool is_finished(struct zcrx_consumer *consumer)
{
	if (consumer->params.stop_at_end && consumer->ends >= consumer->params.stop_at_end)
		return true;
	/* Asked first, then empty: nothing can have come in between that stays unread. */
	return zcrx_consumer_should_stop(consumer) && zcrx_cq_user_available(&consumer->cq) == 0;
}

int zcrx_consumer_run(struct zcrx_consumer *consumer, uint32_t slice_ms)
{
	uint64_t deadline = zcrx_now_ns() + (uint64_t)slice_ms * 1000000;
	struct zcrx_fragment fragments[BATCH];
	uint32_t batches = 0;

	for (;;) {
		uint32_t count = zcrx_consumer_take(consumer, fragments, BATCH);

		if (count) {
			int error = 0;

			zcrx_waiter_worked(&consumer->waiter);
			if (consumer->params.output_fd >= 0)
				error = write_out(consumer, fragments, count);
			if (error)
				return error;
			for (uint32_t i = 0; i < count; i++)
				give(consumer, &fragments[i]);
			zcrx_returns_flush(&consumer->returns);
			if (consumer->returns.injection.custom_failed)
				return -ECANCELED;
			if (++batches % CLOCK_EVERY == 0 && zcrx_now_ns() >= deadline)
				return 0;
			continue;
		}
		zcrx_rq_writer_wake_provider(&consumer->returns.writer);
		if (is_finished(consumer))
			return 1;
		if (zcrx_waiter_idle(&consumer->waiter)) {
			bool waiting = zcrx_consumer_flush(consumer) != 0;

			if (consumer->returns.injection.custom_failed)
				return -ECANCELED;

			/* Returns that wait for room want to be looked after soon. */
			zcrx_consumer_wait(consumer, waiting ? 500 : SLEEP_US);
			if (zcrx_now_ns() >= deadline)
				return 0;
		}
	}
}
