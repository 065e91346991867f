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

/* Ask the queue's consumer to read what is left and to leave. */
void zcrx_queue_stop_consumer(struct zcrx_queue *queue);
uint64_t zcrx_queue_scrub(struct zcrx_queue *queue, uint64_t *buffers);
/* The clock of the queue's flight recorders: before any of their writers starts. */
void zcrx_queue_set_flight_clock(struct zcrx_queue *queue, uint32_t clock);
uint64_t zcrx_queue_consumed(const struct zcrx_queue *queue);

#endif /* ZCRX_CONTROL_H */
