/* SPDX-License-Identifier: MIT */
/* Arenas made in C: packets of given lengths, payloads that follow from their number. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "check.h"
#include "wire/crc32c.h"
#include "actors/nic.h"
#include "wire/rng.h"

struct traffic {
	const uint32_t *lens; /* of the packets of each queue, repeated from its start */
	uint32_t lens_count;
	uint32_t packets; /* of each queue */
	uint32_t queues;
	uint32_t flows; /* of each queue; packet n is of flow n % flows */
	uint32_t niov_shift;
	uint64_t gap_ns; /* from one packet to the next, when paced */
};

static inline uint32_t traffic_len(const struct traffic *traffic, uint32_t number)
{
	return traffic->lens[number % traffic->lens_count];
}

static inline uint32_t traffic_pieces(const struct traffic *traffic, uint32_t number)
{
	uint32_t size = UINT32_C(1) << traffic->niov_shift;

	return (traffic_len(traffic, number) + size - 1) / size;
}

static inline uint64_t traffic_bytes(const struct traffic *traffic)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < traffic->packets; i++)
		bytes += traffic_len(traffic, i);
	return bytes;
}

static inline uint64_t traffic_fragments(const struct traffic *traffic)
{
	uint64_t fragments = 0;

	for (uint32_t i = 0; i < traffic->packets; i++)
		fragments += traffic_pieces(traffic, i);
	return fragments;
}

/* The payload of a packet, the same whenever it is asked for. */
static inline void traffic_payload(const struct traffic *traffic, uint32_t queue, uint32_t number,
				   uint8_t *to)
{
	struct zcrx_rng rng = zcrx_rng_for(queue, number);
	uint32_t len = traffic_len(traffic, number);

	for (uint32_t at = 0; at < len; at += 8) {
		uint64_t word = zcrx_rng_next(&rng);

		memcpy(to + at, &word, len - at < 8 ? len - at : 8);
	}
}

static inline uint64_t traffic_aligned(uint64_t size)
{
	return (size + 63) & ~UINT64_C(63);
}

/* The arena as the NIC replays it; to be freed. */
static inline struct zcrx_arena *traffic_arena(const struct traffic *traffic)
{
	uint64_t packets_size = traffic_aligned(traffic->packets * sizeof(struct zcrx_packet));
	uint64_t crcs_off =
		traffic_aligned(sizeof(struct zcrx_arena)) + traffic->queues * packets_size;
	uint64_t crcs = traffic->queues * traffic_fragments(traffic);
	uint64_t data_off = crcs_off + traffic_aligned(4 * crcs);
	uint64_t size =
		data_off + traffic->queues * (traffic_bytes(traffic) + 64 * traffic->packets);
	uint8_t *base = aligned_alloc(64, traffic_aligned(size));
	struct zcrx_arena *arena = (void *)base;
	uint32_t *crc_table = (void *)(base + crcs_off);
	uint32_t crc_at = 0;

	REQUIRE(base);
	memset(base, 0, size);
	arena->version = ZCRX_LAYOUT_VERSION;
	arena->queues = traffic->queues;
	arena->niov_shift = traffic->niov_shift;
	arena->crcs_off = crcs_off;
	arena->lap_ns = traffic->gap_ns * traffic->packets;
	for (uint32_t queue = 0; queue < traffic->queues; queue++) {
		uint64_t packets_off = traffic_aligned(sizeof(*arena)) + queue * packets_size;
		struct zcrx_packet *packets = (void *)(base + packets_off);

		arena->queue[queue].packets_off = packets_off;
		arena->queue[queue].packet_count = traffic->packets;
		for (uint32_t i = 0; i < traffic->packets; i++) {
			uint32_t len = traffic_len(traffic, i);

			packets[i] = (struct zcrx_packet){
				.data_off = data_off,
				.time_ns = traffic->gap_ns * i,
				.len = len,
				.flow = i % traffic->flows,
				.crc_first = crc_at,
			};
			traffic_payload(traffic, queue, i, base + data_off);
			for (uint32_t at = 0; at < len; at += 1U << traffic->niov_shift) {
				uint32_t left = len - at, most = 1U << traffic->niov_shift;

				crc_table[crc_at++] = zcrx_crc32c(base + data_off + at,
								  left < most ? left : most);
			}
			data_off += traffic_aligned(len);
		}
	}
	return arena;
}

#endif /* TRAFFIC_H */
