/* SPDX-License-Identifier: MIT */
#include "control.h"
#include "judge/legal.h"

#include <errno.h>

size_t zcrx_run_size(void)
{
	return sizeof(struct zcrx_run_shared);
}

size_t zcrx_bells_size(void)
{
	return sizeof(struct zcrx_bells);
}

size_t zcrx_queue_size(void)
{
	return sizeof(struct zcrx_queue);
}

void zcrx_run_format(struct zcrx_run_shared *run, uint32_t queues)
{
	run->version = ZCRX_LAYOUT_VERSION;
	run->queues = queues;
	/* Relaxed: whoever else has it gets it from us afterwards. */
	shm_store_relaxed_u32(&run->state, ZCRX_RUN_STARTING, POINT_RUN_STATE);
}

void zcrx_run_set_state(struct zcrx_run_shared *run, struct zcrx_bells *bells, uint32_t state)
{
	/*
	 * Pairs with the acquires in zcrx_nic_run() and zcrx_provider_loop_run(): what was
	 * prepared for the state is there.
	 */
	shm_store_release_u32(&run->state, state, POINT_RUN_STATE);
	zcrx_bell_force(&bells->provider);
	zcrx_bell_force(&bells->nic);
}

void zcrx_run_abort(struct zcrx_run_shared *run)
{
	/* Relaxed: it stands for itself. */
	shm_store_relaxed_u32(&run->aborted, 1, POINT_RUN_STATE);
}

uint32_t zcrx_run_nic_ack(const struct zcrx_run_shared *run)
{
	/* Pairs with the release in acknowledge(): what it did in that state is there. */
	return shm_load_acquire_u32(&run->nic_ack, POINT_ACK);
}

uint32_t zcrx_run_provider_ack(const struct zcrx_run_shared *run)
{
	/* Pairs with the release in acknowledge(), as above. */
	return shm_load_acquire_u32(&run->provider_ack, POINT_ACK);
}

uint32_t zcrx_control_prepare(struct zcrx_bells *bells)
{
	return zcrx_bell_prepare(&bells->control, ZCRX_BELL_WORK);
}

void zcrx_control_sleep(struct zcrx_bells *bells, uint32_t seq, uint32_t timeout_us)
{
	zcrx_bell_sleep(&bells->control, seq, timeout_us);
}

void zcrx_queue_set_user(struct zcrx_queue *queue, uint32_t user)
{
	if (user)
		shm_store_relaxed_u32(&queue->rings->stop, 0, POINT_RUN_STATE);
	/* Pairs with the acquires in zcrx_nic_queue_follow_user() and the provider's follow_user(). */
	shm_store_release_u32(&queue->user->wanted, user, POINT_USER);
	zcrx_bell_force(&queue->bells->provider);
	zcrx_bell_force(&queue->bells->nic);
}

bool zcrx_queue_user_is(const struct zcrx_queue *queue, uint32_t user)
{
	/*
	 * Each pairs with a release, in zcrx_nic_queue_follow_user() and follow_user(): neither
	 * does anything for the user before any more.
	 */
	return shm_load_acquire_u32(&queue->user->nic, POINT_USER) == user &&
	       shm_load_acquire_u32(&queue->user->provider, POINT_USER) == user;
}

void zcrx_queue_restart(struct zcrx_queue *queue)
{
	shm_u32 *wanted = &queue->restart->wanted;

	/* Pairs with the acquire in the provider's follow_restart(). */
	shm_store_release_u32(wanted, shm_load_relaxed_u32(wanted, POINT_USER) + 1, POINT_USER);
	zcrx_bell_force(&queue->bells->provider);
}

int zcrx_queue_restarted(const struct zcrx_queue *queue)
{
	const struct zcrx_restart_shared *restart = queue->restart;
	uint32_t pool;

	/* Pairs with the release in the provider's follow_restart(): the answer is there. */
	if (shm_load_acquire_u32(&restart->done, POINT_USER) !=
	    shm_load_relaxed_u32(&restart->wanted, POINT_USER))
		return -EAGAIN;
	pool = shm_load_relaxed_u32(&restart->pool, POINT_USER);
	return pool ? (int)pool - 1 : -ENOSPC;
}

void zcrx_queue_add_area(struct zcrx_queue *queue)
{
	uint32_t areas = zcrx_area_count(&queue->area) + 1;

	assert(areas <= zcrx_areas_max(&queue->shape));
	/* Pairs with the acquire in the consumer's areas_of(): before anything is delivered there. */
	shm_store_release_u32(&queue->rings->areas_begun, areas, POINT_USER);
	/* Pairs with the acquire in zcrx_nic_queue_add_area(). */
	shm_store_release_u32(&queue->adding->wanted, areas, POINT_USER);
	zcrx_bell_force(&queue->bells->nic);
}

bool zcrx_queue_area_added(struct zcrx_queue *queue)
{
	uint32_t wanted = shm_load_relaxed_u32(&queue->adding->wanted, POINT_USER);

	/* Pairs with the release in zcrx_nic_queue_add_area(): the area is there. */
	if (shm_load_acquire_u32(&queue->adding->done, POINT_USER) != wanted ||
	    zcrx_area_count(&queue->area) != wanted)
		return false;
	/* Pairs with the acquire in the consumer's look_at_areas(): who asks finds it added. */
	shm_store_release_u32(&queue->rings->areas_done, wanted, POINT_USER);
	/* A provider that starves has buffers now. */
	zcrx_bell_force(&queue->bells->provider);
	return true;
}

uint32_t zcrx_queue_areas(const struct zcrx_queue *queue)
{
	return zcrx_area_count(&queue->area);
}

uint32_t zcrx_queue_niovs(const struct zcrx_queue *queue)
{
	return zcrx_area_niovs(&queue->area);
}

uint32_t zcrx_queue_rq_available(const struct zcrx_queue *queue)
{
	/* A view whose private head is the copy that the provider leaves for inspection. */
	const struct zcrx_rq rq = {
		.tail = queue->ifq.rq.tail,
		.entries = queue->ifq.rq.entries,
		.cached_head = shm_load_relaxed_u32(&queue->ifq.shared->cached_rq_head,
						    POINT_RQ_HEAD_LOAD),
	};

	/* Pairs with the release in the provider's follow_user(). */
	if (shm_load_acquire_u32(&queue->user->provider, POINT_USER) == 0)
		return 0;
	return zcrx_rq_available(&rq);
}

void zcrx_queue_stop_consumer(struct zcrx_queue *queue)
{
	/* Pairs with the acquire in zcrx_consumer_should_stop(): what comes no more was published. */
	shm_store_release_u32(&queue->rings->stop, 1, POINT_RUN_STATE);
	zcrx_bell_force(&queue->bells->consumers[queue->index]);
}

uint64_t zcrx_queue_scrub(struct zcrx_queue *queue, uint64_t *buffers)
{
	return zcrx_ifq_scrub(&queue->ifq, buffers);
}

void zcrx_queue_scrub_begin(struct zcrx_queue *queue, uint32_t rule)
{
	struct zcrx_notes_shared *notes = queue->notes;

	shm_store_relaxed_u32(&notes->scrub_rule, rule, POINT_USER);
	/* Pairs with the acquire in the consumer's hidden_cause(): the rule is there. */
	shm_store_release_u32(&notes->scrubs_begun,
			      shm_load_relaxed_u32(&notes->scrubs_begun, POINT_USER) + 1,
			      POINT_USER);
}

bool zcrx_queue_nic_is_quiet(const struct zcrx_queue *queue)
{
	/* Pairs with the release in zcrx_nic_queue_publish(): CQEs of scrubbed fragments are out. */
	return shm_load_acquire_u32(&queue->nic->publishing, POINT_USER) == 0;
}

void zcrx_queue_scrub_end(struct zcrx_queue *queue)
{
	struct zcrx_notes_shared *notes = queue->notes;

	/* Pairs with the acquire in the consumer's follow_scrub(). */
	shm_store_release_u32(&notes->scrubs_done,
			      shm_load_relaxed_u32(&notes->scrubs_begun, POINT_USER), POINT_USER);
	zcrx_bell_force(&queue->bells->consumers[queue->index]);
}

bool zcrx_queue_scrub_seen(const struct zcrx_queue *queue, uint64_t *position)
{
	const struct zcrx_notes_shared *notes = queue->notes;
	/* Pairs with the release in the consumer's follow_scrub(): the position is there. */
	uint32_t seen = shm_load_acquire_u32(&notes->scrubs_seen, POINT_USER);

	*position = shm_load_relaxed_u64(&notes->scrub_position, POINT_LOG);
	return seen == shm_load_relaxed_u32(&notes->scrubs_begun, POINT_USER);
}

uint64_t zcrx_queue_claim(struct zcrx_queue *queue)
{
	struct zcrx_notes_shared *notes = queue->notes;
	/*
	 * Pair with the releases in record(), zcrx_rq_writer_note_written() and
	 * zcrx_ring_faults_lie().
	 */
	uint64_t consumed = shm_load_acquire_u64(&queue->ifq.shared->consumed, POINT_LOG);
	uint64_t written = shm_load_acquire_u64(&notes->written, POINT_LOG);
	uint32_t rule = shm_load_acquire_u32(&notes->astray_rule, POINT_LOG);
	uint64_t mask = queue->shape.log_entries - 1;
	uint64_t count = consumed - written;

	if ((int64_t)count <= 0)
		return 0;
	/* The word is the user's: more than the log holds cannot have happened. */
	if (count > queue->shape.log_entries || rule > ZCRX_RULES_MAX)
		rule = 0;
	if (count > queue->shape.log_entries)
		written = consumed - queue->shape.log_entries;
	for (uint64_t at = written; at < consumed; at++) {
		uint32_t index = queue->shape.initial_index + (uint32_t)at;
		struct io_uring_zcrx_rqe rqe =
			zcrx_slot_read(&queue->ifq.rq.rqes[index & queue->ifq.rq.mask]);
		struct zcrx_legal legal =
			zcrx_legal_of(&rqe, &queue->shape, zcrx_areas_at_start(&queue->shape));

		shm_store_relaxed_u16(&queue->dues[at & mask], ZCRX_DUE_NONE, POINT_LOG);
		shm_store_relaxed_u16(&queue->intents[at & mask],
				      ZCRX_INTENT(rule, rule ? legal.verdicts : 0), POINT_LOG);
	}
	shm_count(&notes->rqe_submitted, count);
	/* Pairs with the acquire in zcrx_reconcile(). */
	shm_store_release_u64(&notes->written, consumed, POINT_LOG);
	return count;
}

uint32_t zcrx_stream_ends(const struct zcrx_queue *queue)
{
	/* Pairs with the release in end_connection(). */
	return shm_load_acquire_u32(&queue->nic->stream.ends, POINT_COUNTER);
}

void zcrx_stream_read(const struct zcrx_queue *queue, struct zcrx_stream *stream)
{
	const struct zcrx_stream_shared *shared = &queue->nic->stream;
	uint32_t ends = zcrx_stream_ends(queue);

	*stream = (struct zcrx_stream){
		.bytes = shm_load_relaxed_u64(&shared->bytes, POINT_COUNTER),
		.step = shm_load_relaxed_u64(&shared->step, POINT_COUNTER),
		.crc = shm_load_relaxed_u32(&shared->crc, POINT_COUNTER),
		.mark_count = shm_load_relaxed_u32(&shared->mark_count, POINT_COUNTER),
		.error = shm_load_relaxed_u32(&shared->error, POINT_COUNTER),
		.ends = ends,
	};
	assert(stream->mark_count < ZCRX_STREAM_MARKS);
	for (uint32_t i = 0; i < stream->mark_count; i++)
		stream->marks[i] = shm_load_relaxed_u32(&shared->marks[i], POINT_COUNTER);
}

uint64_t zcrx_queue_consumed(const struct zcrx_queue *queue)
{
	/* Pairs with the release in record(): the log bytes below it are there. */
	return shm_load_acquire_u64(&queue->ifq.shared->consumed, POINT_LOG);
}

void zcrx_queue_set_flight_clock(struct zcrx_queue *queue, uint32_t clock)
{
	for (uint32_t writer = 0; writer < ZCRX_WRITERS; writer++) {
		if (queue->flights[writer].shared)
			shm_store_relaxed_u32(&queue->flights[writer].shared->clock, clock,
					      POINT_LOG);
	}
}

uint32_t zcrx_queue_call(const struct zcrx_queue *queue, uint32_t caller)
{
	return caller < ZCRX_CALLERS ?
		       shm_load_relaxed_u32(&queue->calls->call[caller], POINT_COUNTER) :
		       ZCRX_CALL_NONE;
}
