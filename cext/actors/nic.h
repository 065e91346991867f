/* SPDX-License-Identifier: MIT */
/*
 * The NIC process: driver, hardware and stack in one. It takes granted
 * buffers, writes payloads into them, cuts them into fragments and hands these
 * to the users of its queues. What is offered comes from an arena of packets
 * (nic.c) or from TCP connections (tcp_source.c).
 */
#ifndef ZCRX_NIC_H
#define ZCRX_NIC_H

#include "faults/fault.h"
#include "run/layout.h"

#define ZCRX_PACKET_MAX 65536U
#define ZCRX_FRAGMENT_ALIGN 64U

/* One packet of the arena. */
struct zcrx_packet {
	uint64_t data_off; /* of the payload, in bytes from the arena's start */
	uint64_t time_ns; /* after the first packet */
	uint32_t len; /* 1 .. ZCRX_PACKET_MAX */
	uint32_t flow;
	uint32_t crc_first; /* of the CRC32Cs of its buffer-sized pieces, in the arena's table */
	uint32_t reserved;
};

struct zcrx_arena_queue {
	uint64_t packets_off;
	uint64_t packet_count;
};

/* At the arena's start. */
struct zcrx_arena {
	uint32_t version;
	uint32_t queues;
	uint32_t niov_shift;
	uint32_t reserved;
	uint64_t crcs_off;
	uint64_t lap_ns; /* from the first packet of a lap to the first of the next */
	struct zcrx_arena_queue queue[ZCRX_QUEUES_MAX];
};

struct zcrx_nic_params {
	uint64_t packets_max; /* offer at most that many in all; 0 = no limit */
	uint64_t laps_max; /* replay the arena that often; 0 = no limit */
	uint64_t wait_max_ns; /* a packet that finds no room waits so long before it is dropped */
	uint32_t paced; /* offer at the packets' times */
	uint32_t
		copy_every; /* every n-th packet did not land in the area: copy fallback; 0 = none */
	int32_t listen_fd; /* TCP source: listening socket; -1 = arena */
	uint64_t seed; /* of the faults */
	uint32_t connections_max; /* TCP source: stop listening after so many; 0 = no limit */
	uint32_t newest_first; /* of the granted buffers; otherwise in the ring's order */
};

struct zcrx_nic;

/* One NIC for all queues; arena is NULL for a TCP source. NULL without memory. */
struct zcrx_nic *zcrx_nic_new(const struct zcrx_shape *shape, uint32_t queues,
			      const struct zcrx_mapping *mappings, const void *arena,
			      const struct zcrx_nic_params *params,
			      const struct zcrx_fault_rule *rules, uint32_t rule_count);
void zcrx_nic_free(struct zcrx_nic *nic);

/* Run for about slice_ms. 0: call again; 1: the run is over. */
int zcrx_nic_run(struct zcrx_nic *nic, uint32_t slice_ms);

#endif /* ZCRX_NIC_H */
