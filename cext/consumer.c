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
#include "crc32c.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 64U
#define FRAGMENT_MIN 64U /* the NIC starts fragments at multiples of this */
#define SLEEP_US 20000U

/* A fragment that is not given back yet. */
struct held {
	uint64_t off;
	uint32_t len;
	uint32_t crc;
};

struct staged {
	struct io_uring_zcrx_rqe rqe;
	uint8_t intent;
};

struct zcrx_consumer {
	struct zcrx_queue queue;
	struct zcrx_consumer_params params;
	struct zcrx_rq_user rq;
	struct zcrx_cq_user cq;
	struct zcrx_fault_plan plan;
	struct zcrx_rng rng;
	struct zcrx_waiter waiter;
	struct zcrx_bell *bell;

	uint64_t position; /* RQEs ever written: where the next one stands in the intent log */
	uint64_t ordinal; /* valid ones among them */
	uint64_t checked; /* what was reconciled, as last seen */
	uint64_t returns; /* fragments given back, for recheck_every */

	struct held *hold; /* [params.hold] */
	uint32_t hold_count;
	uint32_t hold_oldest;
	struct held *pending; /* [pending_mask + 1], FIFO of returns that want into the ring */
	uint64_t pending_mask, pending_head, pending_tail;
	struct staged staged[64]; /* malformed entries that go before the next return */
	uint32_t staged_count, staged_at;
	bool staged_done; /* the next return has had its malformed entries */

	uint32_t *generation; /* [num_niovs]: of the fragments held */
	uint32_t *held_fragments; /* [num_niovs] */
	uint32_t *next_seq; /* [flows_max] */
	uint8_t *flow_known; /* [flows_max] */
	uint64_t ends;
	uint32_t ring_after; /* returns that are worth waking a starved provider for */
	bool unrung; /* returns were published and nobody was told */
	uint64_t sink; /* what was touched; keeps the reads alive */
};

/* ---- life ------------------------------------------------------------------ */

static uint64_t round_up_power_of_two(uint64_t n)
{
	uint64_t power = 1;

	while (power < n)
		power <<= 1;
	return power;
}

/* The ring views of an application: everything is found through the offsets. */
static void attach_rings(struct zcrx_consumer *consumer)
{
	struct zcrx_rings_header *rings = consumer->queue.rings;
	uint8_t *base = (uint8_t *)rings;

	consumer->rq = (struct zcrx_rq_user){
		.head = (shm_u32 *)(base + rings->rq.head),
		.tail = (shm_u32 *)(base + rings->rq.tail),
		.rqes = (struct zcrx_rqe_slot *)(base + rings->rq.rqes),
		.entries = rings->rq_entries,
		.mask = rings->rq_entries - 1,
	};
	consumer->rq.cached_head = shm_load_acquire_u32(consumer->rq.head, POINT_RQ_HEAD_LOAD);
	consumer->rq.cached_tail = shm_load_acquire_u32(consumer->rq.tail, POINT_RQ_TAIL_LOAD);
	consumer->cq = (struct zcrx_cq_user){
		.head = (shm_u32 *)(base + rings->cq.head),
		.tail = (shm_u32 *)(base + rings->cq.tail),
		.cqes = (struct zcrx_cqe_slot *)(base + rings->cq.rqes),
		.entries = rings->cq_entries,
		.mask = rings->cq_entries - 1,
	};
	consumer->cq.cached_head = shm_load_acquire_u32(consumer->cq.head, POINT_CQ_HEAD_LOAD);
}

struct zcrx_consumer *zcrx_consumer_new(const struct zcrx_shape *shape, uint32_t index,
					const struct zcrx_mapping *mapping,
					const struct zcrx_consumer_params *params,
					const struct zcrx_fault_rule *rules, uint32_t rule_count)
{
	struct zcrx_consumer *consumer = calloc(1, sizeof(*consumer));
	uint64_t per_niov, flow_count;

	if (!consumer)
		return NULL;
	if (zcrx_queue_attach(&consumer->queue, shape, index, mapping) ||
	    zcrx_fault_compile(&consumer->plan, rules, rule_count, params->seed + index,
			       shape->num_niovs, shape->niov_shift))
		goto out_free;
	consumer->params = *params;
	consumer->rng = zcrx_rng_for(params->seed + index, 0);
	consumer->waiter = (struct zcrx_waiter){.spins = 500, .yields = 50};
	consumer->bell = &consumer->queue.bells->consumers[index];
	consumer->ring_after = shape->num_niovs / 8 < shape->rq_entries / 4 ? shape->num_niovs / 8 :
									      shape->rq_entries / 4;
	attach_rings(consumer);
	consumer->position = consumer->checked = params->position;
	consumer->ordinal = shm_load_relaxed_u64(&consumer->queue.lab->rqe_valid, POINT_LOG);

	per_niov = ((1U << shape->niov_shift) + FRAGMENT_MIN - 1) / FRAGMENT_MIN;
	consumer->pending_mask =
		round_up_power_of_two(per_niov * shape->num_niovs + params->hold + 1) - 1;
	flow_count = shape->flows_max;
	/* malloc, not calloc, for the large one: its pages come when they are used. */
	consumer->pending = malloc(sizeof(*consumer->pending) * (consumer->pending_mask + 1));
	consumer->hold = calloc(params->hold + 1, sizeof(*consumer->hold));
	consumer->generation = calloc(shape->num_niovs, sizeof(uint32_t));
	consumer->held_fragments = calloc(shape->num_niovs, sizeof(uint32_t));
	consumer->next_seq = calloc(flow_count, sizeof(uint32_t));
	consumer->flow_known = calloc(flow_count, 1);
	if (!consumer->pending || !consumer->hold || !consumer->generation ||
	    !consumer->held_fragments || !consumer->next_seq || !consumer->flow_known)
		goto out_free;
	/* The first consumer of a queue sees each flow from its start. */
	if (shm_load_relaxed_u64(&consumer->queue.lab->fragments, POINT_COUNTER) == 0)
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
	free(consumer->pending);
	free(consumer->hold);
	free(consumer->generation);
	free(consumer->held_fragments);
	free(consumer->next_seq);
	free(consumer->flow_known);
	free(consumer);
}

/* ---- completions ------------------------------------------------------------ */

struct tally {
	uint64_t fragments, bytes, ends, gaps;
};

static uint32_t niov_of(const struct zcrx_consumer *consumer, uint64_t off)
{
	return (uint32_t)((off & ~IORING_ZCRX_AREA_MASK) >> consumer->queue.shape.niov_shift);
}

static bool lies_in_area(const struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment)
{
	uint64_t size = (uint64_t)1 << consumer->queue.shape.niov_shift;
	uint64_t area_size = size * consumer->queue.shape.num_niovs;
	uint64_t in_niov = fragment->off & (size - 1);

	return fragment->res > 0 && fragment->off < area_size &&
	       in_niov + (uint64_t)fragment->res <= size;
}

static void check_order(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragment,
			struct tally *tally)
{
	uint64_t flow = fragment->user_data;
	struct zcrx_flow_received *received;
	uint32_t gap;

	if (flow >= consumer->queue.shape.flows_max) {
		shm_count(&consumer->queue.lab->bad_completions, 1);
		return;
	}
	received = &consumer->queue.flows_received[flow];
	gap = consumer->flow_known[flow] ? fragment->seq - consumer->next_seq[flow] : 0;
	consumer->flow_known[flow] = 1;
	if (gap > INT32_MAX) {
		shm_count(&consumer->queue.lab->order_errors, 1);
	} else if (gap) {
		tally->gaps += gap;
		shm_store_relaxed_u32(&received->gaps,
				      shm_load_relaxed_u32(&received->gaps, POINT_COUNTER) + gap,
				      POINT_COUNTER);
	}
	consumer->next_seq[flow] = fragment->seq + 1;
	shm_store_relaxed_u32(&received->received,
			      shm_load_relaxed_u32(&received->received, POINT_COUNTER) + 1,
			      POINT_COUNTER);
}

/* A buffer that comes again while a fragment of its earlier life is still held. */
static void check_ownership(struct zcrx_consumer *consumer, uint64_t off, uint32_t generation)
{
	uint32_t niov = niov_of(consumer, off);

	if (consumer->held_fragments[niov] && consumer->generation[niov] != generation)
		shm_count(&consumer->queue.lab->ownership_errors, 1);
	consumer->generation[niov] = generation;
	consumer->held_fragments[niov]++;
}

static void check_bytes(struct zcrx_consumer *consumer, uint64_t off, uint32_t len, uint32_t crc)
{
	const uint8_t *bytes = consumer->queue.area.bytes + off;

	if (consumer->params.verify == ZCRX_VERIFY_TOUCH)
		consumer->sink += bytes[0];
	else if (consumer->params.verify == ZCRX_VERIFY_CRC && zcrx_crc32c(bytes, len) != crc)
		shm_count(&consumer->queue.lab->integrity_errors, 1);
}

static struct zcrx_fragment take_one(struct zcrx_consumer *consumer, uint32_t *generation)
{
	struct zcrx_ledger_entry *note =
		&consumer->queue.ledger[consumer->cq.cached_head & consumer->cq.mask];
	uint64_t flow_seq = shm_load_relaxed_u64(&note->flow_seq, POINT_LOG);
	uint64_t crc_generation = shm_load_relaxed_u64(&note->crc_generation, POINT_LOG);
	struct zcrx_cqe32 cqe = zcrx_cq_user_take(&consumer->cq);

	*generation = (uint32_t)crc_generation;
	return (struct zcrx_fragment){
		.off = cqe.zcrx.off,
		.user_data = cqe.cqe.user_data,
		.res = cqe.cqe.res,
		.flags = cqe.cqe.flags,
		.crc = (uint32_t)(crc_generation >> 32),
		.seq = (uint32_t)flow_seq,
	};
}

uint32_t zcrx_consumer_take(struct zcrx_consumer *consumer, struct zcrx_fragment *fragments,
			    uint32_t max)
{
	struct zcrx_lab_shared *lab = consumer->queue.lab;
	uint32_t available = zcrx_cq_user_available(&consumer->cq);
	struct tally tally = {0};
	uint32_t kept = 0;

	if (available > max)
		available = max;
	for (uint32_t i = 0; i < available; i++) {
		uint32_t generation;
		struct zcrx_fragment fragment = take_one(consumer, &generation);

		fragments[kept] = fragment;
		if (!(fragment.flags & IORING_CQE_F_MORE)) {
			/* The end of a flow, or an error: no buffer comes with it. */
			tally.ends++;
			kept++;
			continue;
		}
		if (!lies_in_area(consumer, &fragment)) {
			shm_count(&lab->bad_completions, 1);
			continue;
		}
		check_order(consumer, &fragment, &tally);
		check_ownership(consumer, fragment.off, generation);
		check_bytes(consumer, fragment.off, (uint32_t)fragment.res, fragment.crc);
		tally.fragments++;
		tally.bytes += (uint32_t)fragment.res;
		kept++;
	}
	if (available == 0)
		return 0;
	zcrx_cq_user_release(&consumer->cq);
	shm_count(&lab->fragments, tally.fragments);
	shm_count(&lab->bytes, tally.bytes);
	if (tally.ends)
		shm_count(&lab->ends, tally.ends);
	if (tally.gaps)
		shm_count(&lab->order_gaps, tally.gaps);
	consumer->ends += tally.ends;
	/* The NIC may wait for room in the completion queue. */
	zcrx_bell_ring(&consumer->queue.bells->nic, ZCRX_BELL_ROOM);
	return kept;
}

/* ---- returns ------------------------------------------------------------------ */

static void queue_return(struct zcrx_consumer *consumer, struct held fragment)
{
	uint32_t recheck = consumer->params.recheck_every;

	assert(consumer->pending_tail - consumer->pending_head <= consumer->pending_mask);
	/* Until now it was ours: what it holds must still be what was delivered. */
	if (consumer->params.verify == ZCRX_VERIFY_CRC && recheck &&
	    ++consumer->returns % recheck == 0)
		check_bytes(consumer, fragment.off, fragment.len, fragment.crc);
	consumer->pending[consumer->pending_tail++ & consumer->pending_mask] = fragment;
}

static void hold_then_return(struct zcrx_consumer *consumer, struct held fragment)
{
	uint32_t window = consumer->params.hold;
	uint32_t victim;

	if (consumer->hold_count < window) {
		consumer->hold[consumer->hold_count++] = fragment;
		return;
	}
	switch ((enum zcrx_return_order)consumer->params.return_order) {
	case ZCRX_RETURN_LIFO:
		queue_return(consumer, fragment);
		while (consumer->hold_count)
			queue_return(consumer, consumer->hold[--consumer->hold_count]);
		return;
	case ZCRX_RETURN_SHUFFLE:
		victim = zcrx_rng_below(&consumer->rng, window + 1);
		break;
	case ZCRX_RETURN_FIFO:
	default:
		victim = window ? consumer->hold_oldest++ % window : 0;
		break;
	}
	if (victim == window || window == 0) {
		queue_return(consumer, fragment);
		return;
	}
	queue_return(consumer, consumer->hold[victim]);
	consumer->hold[victim] = fragment;
}

static void put_rqe(struct zcrx_consumer *consumer, const struct io_uring_zcrx_rqe *rqe,
		    uint8_t intent)
{
	shm_log_put(consumer->queue.intents,
		    consumer->position++ & (consumer->queue.shape.log_entries - 1), intent);
	zcrx_rq_user_put(&consumer->rq, rqe->off, rqe->len, rqe->__pad);
}

/* Malformed entries that the plan wants before the next return. */
static void stage_faults(struct zcrx_consumer *consumer, const struct io_uring_zcrx_rqe *valid)
{
	int rule;

	consumer->staged_at = consumer->staged_count = 0;
	consumer->staged_done = true;
	if (!zcrx_fault_is_due(&consumer->plan, consumer->ordinal))
		return;
	while ((rule = zcrx_fault_make(&consumer->plan, consumer->ordinal, valid,
				       &consumer->staged[consumer->staged_count].rqe)) >= 0)
		consumer->staged[consumer->staged_count++].intent = (uint8_t)(rule + 1);
}

/* How many RQEs may be written now: the ring's room, and the intent log's. */
static uint64_t rqe_room(struct zcrx_consumer *consumer)
{
	uint64_t log_entries = consumer->queue.shape.log_entries;
	uint64_t room = zcrx_rq_user_room(&consumer->rq, BATCH);

	if (room == 0)
		shm_count(&consumer->queue.lab->waits_rq_full, 1);
	/* Pairs with the release in zcrx_reconcile(): those log bytes were read. */
	if (consumer->position + BATCH - consumer->checked > log_entries)
		consumer->checked = shm_load_acquire_u64(&consumer->queue.lab->checked, POINT_LOG);
	if (consumer->position - consumer->checked + room > log_entries) {
		room = log_entries - (consumer->position - consumer->checked);
		if (room == 0)
			shm_count(&consumer->queue.lab->waits_log_full, 1);
	}
	return room;
}

/*
 * A provider without buffers is woken for a good number of returns at once, or
 * when there is nothing else to do: waking it for each batch would cost more
 * than its work.
 */
static void ring_provider(struct zcrx_consumer *consumer)
{
	if (!consumer->unrung)
		return;
	consumer->unrung = false;
	zcrx_bell_ring(&consumer->queue.bells->provider, zcrx_bell_refill(consumer->queue.index));
}

uint64_t zcrx_consumer_flush(struct zcrx_consumer *consumer)
{
	struct zcrx_lab_shared *lab = consumer->queue.lab;
	uint64_t start = consumer->position;
	uint64_t valid = consumer->ordinal;
	uint64_t room;

	if (consumer->pending_head == consumer->pending_tail)
		return 0;
	room = rqe_room(consumer);
	while (room && consumer->pending_head != consumer->pending_tail) {
		struct held *held = &consumer->pending[consumer->pending_head &
						       consumer->pending_mask];
		struct io_uring_zcrx_rqe rqe = {.off = held->off, .len = held->len};

		if (!consumer->staged_done)
			stage_faults(consumer, &rqe);
		for (; room && consumer->staged_at < consumer->staged_count; room--) {
			struct staged *staged = &consumer->staged[consumer->staged_at++];

			put_rqe(consumer, &staged->rqe, staged->intent);
			shm_count(&lab->injected[staged->intent - 1], 1);
		}
		if (room == 0)
			break;
		put_rqe(consumer, &rqe, ZCRX_INTENT_VALID);
		consumer->held_fragments[niov_of(consumer, held->off)]--;
		consumer->staged_done = false;
		consumer->pending_head++;
		consumer->ordinal++;
		room--;
	}
	if (consumer->position != start) {
		shm_count(&lab->rqe_submitted, consumer->position - start);
		shm_count(&lab->rqe_valid, consumer->ordinal - valid);
		zcrx_rq_user_publish(&consumer->rq);
		consumer->unrung = true;
		if (consumer->rq.cached_tail -
			    shm_load_relaxed_u32(consumer->rq.head, POINT_RQ_HEAD_LOAD) >=
		    consumer->ring_after)
			ring_provider(consumer);
	}
	shm_store_relaxed_u64(&lab->pending_returns,
			      consumer->pending_tail - consumer->pending_head, POINT_COUNTER);
	return consumer->pending_tail - consumer->pending_head;
}

void zcrx_consumer_give_back(struct zcrx_consumer *consumer, const struct zcrx_fragment *fragments,
			     uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (fragments[i].flags & IORING_CQE_F_MORE)
			hold_then_return(consumer, (struct held){
							   .off = fragments[i].off,
							   .len = (uint32_t)fragments[i].res,
							   .crc = fragments[i].crc,
						   });
	}
	zcrx_consumer_flush(consumer);
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
				.iov_base = consumer->queue.area.bytes + fragments[i].off,
				.iov_len = (size_t)fragments[i].res,
			};
	}
	return write_all(consumer->params.output_fd, iov, used);
}

bool zcrx_consumer_should_stop(const struct zcrx_consumer *consumer)
{
	return shm_load_acquire_u32(&consumer->queue.rings->stop, POINT_RUN_STATE) != 0;
}

void zcrx_consumer_wait(struct zcrx_consumer *consumer, uint32_t timeout_us)
{
	uint32_t seq;

	ring_provider(consumer);
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
			zcrx_consumer_give_back(consumer, fragments, count);
			if (++batches % 1024 == 0 && zcrx_now_ns() >= deadline)
				return 0;
			continue;
		}
		ring_provider(consumer);
		if (is_finished(consumer))
			return 1;
		if (zcrx_waiter_idle(&consumer->waiter)) {
			bool waiting = zcrx_consumer_flush(consumer) != 0;

			/* Returns that wait for room want to be looked after soon. */
			zcrx_consumer_wait(consumer, waiting ? 500 : SLEEP_US);
			if (zcrx_now_ns() >= deadline)
				return 0;
		}
	}
}
