/*
 * Where payloads come from: a few MiB of random packets of one size, sent
 * round and round, with the CRC32C of each. Larger than a core's own caches
 * for all but the smallest packets, as real traffic would be.
 */
#ifndef BENCH_ARENA_H
#define BENCH_ARENA_H

#include <stdint.h>
#include <stdlib.h>

#include "wire/crc32c.h"
#include "pair.h"

#define ARENA_PACKETS_MAX 4096u
#define ARENA_BYTES_MAX (16u << 20)
#define PAYLOAD_SIZE_MAX (1u << 20)

struct arena {
	unsigned char *bytes;
	uint32_t *crcs;		/* one a packet */
	uint32_t count;		/* of packets: a power of two */
	uint32_t payload_size;
	uint32_t stride;	/* payloads start on cache lines */
};

static inline const unsigned char *arena_payload(const struct arena *arena,
						 uint64_t packet)
{
	size_t slot = packet & (arena->count - 1);

	return arena->bytes + slot * arena->stride;
}

static inline uint32_t arena_crc(const struct arena *arena, uint64_t packet)
{
	return arena->crcs[packet & (arena->count - 1)];
}

/*
 * The C library's memcpy, whatever the compiler thinks: where it can tell
 * that sizes are small, it may put a string instruction in its place, which
 * takes several times as long for small payloads.
 */
static inline void copy_payload(unsigned char *to, const unsigned char *from,
				size_t size)
{
	__asm__("" : "+r"(size));	/* now of unknown range */
	memcpy(to, from, size);
}

/* A small generator of our own, so that every run sends the same bytes. */
static inline void fill_with_noise(unsigned char *bytes, size_t size)
{
	uint64_t state = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i + sizeof(state) <= size; i += sizeof(state)) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		memcpy(bytes + i, &state, sizeof(state));
	}
}

static inline struct arena arena_create(uint32_t payload_size)
{
	struct arena arena = {
		.count = ARENA_PACKETS_MAX,
		.payload_size = payload_size,
		.stride = (payload_size + 63) & ~63u,
	};
	size_t size;

	while ((uint64_t)arena.count * arena.stride > ARENA_BYTES_MAX)
		arena.count /= 2;
	size = (size_t)arena.count * arena.stride;
	arena.bytes = aligned_alloc(64, size);
	arena.crcs = malloc(arena.count * sizeof(*arena.crcs));
	if (!arena.bytes || !arena.crcs)
		die("an arena's memory");
	fill_with_noise(arena.bytes, size);
	for (uint32_t i = 0; i < arena.count; i++)
		arena.crcs[i] = zcrx_crc32c_more(0, arena_payload(&arena, i),
				       payload_size);
	return arena;
}

#endif
