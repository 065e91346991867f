/* SPDX-License-Identifier: MIT */
/* The control process's side of a run: states, acknowledgements, scrub. */
#ifndef ZCRX_CONTROL_H
#define ZCRX_CONTROL_H

#include "layout.h"

size_t zcrx_run_size(void);
size_t zcrx_bells_size(void);
size_t zcrx_queue_size(void);

void zcrx_run_format(struct zcrx_run_shared *run, uint32_t queues);
/* Publish a state and wake everyone. */
void zcrx_run_set_state(struct zcrx_run_shared *run, struct zcrx_bells *bells, uint32_t state);
/* A kernel-side process is dead: no lock it may hold is waited for any more. */
void zcrx_run_abort(struct zcrx_run_shared *run);
uint32_t zcrx_run_nic_ack(const struct zcrx_run_shared *run);
uint32_t zcrx_run_provider_ack(const struct zcrx_run_shared *run);

/* Announce, look once more, then sleep: see bell.h. */
uint32_t zcrx_control_prepare(struct zcrx_bells *bells);
void zcrx_control_sleep(struct zcrx_bells *bells, uint32_t seq, uint32_t timeout_us);

/*
 * Say who the queue's user is (0 = nobody) and wake NIC and provider; they have
 * followed when zcrx_queue_user_is() says so.
 */
void zcrx_queue_set_user(struct zcrx_queue *queue, uint32_t user);
bool zcrx_queue_user_is(const struct zcrx_queue *queue, uint32_t user);

/*
 * Ask the provider for a new page pool on the queue; one at a time. What came
 * of it: the pool's slot, -EAGAIN while the provider has not seen to it, or
 * -ENOSPC when every slot holds a pool that waits for its buffers.
 */
void zcrx_queue_restart(struct zcrx_queue *queue);
int zcrx_queue_restarted(const struct zcrx_queue *queue);

/*
 * Have the next of the planned areas added, while the provider works; one at a time, and no
 * more than there may be. It is there when zcrx_queue_area_added() says so, which the user
 * learns by that call.
 */
void zcrx_queue_add_area(struct zcrx_queue *queue);
bool zcrx_queue_area_added(struct zcrx_queue *queue);
/* How many areas there are, and the buffers of all of them. */
uint32_t zcrx_queue_areas(const struct zcrx_queue *queue);
uint32_t zcrx_queue_niovs(const struct zcrx_queue *queue);

/*
 * RQEs that the provider could take now, as it sees them: the published tail
 * against its private head, at most one ring. 0 while the queue has no user.
 */
uint32_t zcrx_queue_rq_available(const struct zcrx_queue *queue);

/* Ask the queue's consumer to read what is left and to leave. */
void zcrx_queue_stop_consumer(struct zcrx_queue *queue);
uint64_t zcrx_queue_scrub(struct zcrx_queue *queue, uint64_t *buffers);
/* The clock of the queue's flight recorders: before any of their writers starts. */
void zcrx_queue_set_flight_clock(struct zcrx_queue *queue, uint32_t clock);

/*
 * Scrub while the user lives and traffic runs, on behalf of a rule: begin, scrub,
 * wait until zcrx_queue_nic_is_quiet(), end. zcrx_queue_scrub_seen() says
 * whether the user has taken note, and how many RQEs it had written by then.
 */
void zcrx_queue_scrub_begin(struct zcrx_queue *queue, uint32_t rule);
bool zcrx_queue_nic_is_quiet(const struct zcrx_queue *queue);
void zcrx_queue_scrub_end(struct zcrx_queue *queue);
bool zcrx_queue_scrub_seen(const struct zcrx_queue *queue, uint64_t *position);

/*
 * The user is gone and the provider reads no more: give intents to what was
 * consumed beyond what the user wrote, by the bytes that stand there. They are
 * the doing of the rule that led the provider astray; without one nothing is
 * legal for them. How many there were.
 */
uint64_t zcrx_queue_claim(struct zcrx_queue *queue);

/* The NIC's account of the sockets of a queue, copied: see struct zcrx_stream_shared. */
struct zcrx_stream {
	uint64_t bytes, step;
	uint32_t crc, mark_count, error, ends;
	uint32_t marks[ZCRX_STREAM_MARKS];
};

/* Exact once all connections have ended, or the NIC has. */
void zcrx_stream_read(const struct zcrx_queue *queue, struct zcrx_stream *stream);

/* How many connections have ended: then their completions are visible. */
uint32_t zcrx_stream_ends(const struct zcrx_queue *queue);

uint64_t zcrx_queue_consumed(const struct zcrx_queue *queue);

/* enum zcrx_plugin_call: where a provider of somebody else's is, or was when its process ended. */
uint32_t zcrx_queue_call(const struct zcrx_queue *queue, uint32_t caller);

#endif /* ZCRX_CONTROL_H */
