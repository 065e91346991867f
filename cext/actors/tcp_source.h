/* SPDX-License-Identifier: MIT */
/*
 * TCP connections as a traffic source: each connection is a flow, and what
 * arrives on it is received straight into granted buffers. A queue without
 * room is simply not read, which TCP turns into backpressure: nothing is lost.
 */
#ifndef ZCRX_TCP_SOURCE_H
#define ZCRX_TCP_SOURCE_H

#include "nic_queue.h"

struct zcrx_tcp_source;

struct zcrx_tcp_source *zcrx_tcp_source_new(int listen_fd, uint32_t connections_max,
					    uint32_t flows_max);
void zcrx_tcp_source_free(struct zcrx_tcp_source *source);

/*
 * Accept what waits and read each ready connection once. Returns the number of
 * reads that delivered something; queues that had no room for one are blocked.
 */
uint32_t zcrx_tcp_source_poll(struct zcrx_tcp_source *source, struct zcrx_nic_queue *queues,
			      uint32_t queue_count);

/* Sleep until a socket is ready, at most timeout_ms. */
void zcrx_tcp_source_wait(struct zcrx_tcp_source *source, int timeout_ms);

#endif /* ZCRX_TCP_SOURCE_H */
