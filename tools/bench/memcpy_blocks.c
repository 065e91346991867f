/*
 * Copying alone: blocks of the arena into the area's buffers that are hot,
 * the same few again and again, as a stack of free buffers hands them out.
 * No loop that moves payloads is faster than this.
 *
 *	memcpy_blocks -s BYTES -t SECONDS
 */
#include "arena.h"
#include "pool.h"

#define NUM_BUFFERS 1024u
#define BATCH_MAX 64u		/* places, as in bare_loop.c */
#define CLOCK_EVERY_BYTES (1u << 20)

/* Takes the places of one batch, as its fragments would be placed. */
static void take_places(uint64_t *places, uint32_t payload_size)
{
	struct pool pool = pool_create(NUM_BUFFERS, false);
	bool shared = payload_size <= SHARED_PAYLOAD_BYTES;
	uint32_t size = payload_size < BUFFER_BYTES ? payload_size
						    : BUFFER_BYTES;

	for (uint32_t i = 0; i < BATCH_MAX; i++)
		places[i] = pool_place(&pool, size, shared);
	free(pool.free);
	free(pool.references);
}

static double copy_blocks(uint32_t payload_size, double seconds)
{
	struct arena arena = arena_create(payload_size);
	unsigned char *area = shared_bytes((size_t)NUM_BUFFERS * BUFFER_BYTES);
	uint32_t between_clocks = CLOCK_EVERY_BYTES / payload_size + 1;
	uint64_t places[BATCH_MAX], blocks = 0, start, deadline;
	uint32_t next = 0;

	take_places(places, payload_size);
	pin_to(allowed_core(0));
	start = now_ns();
	deadline = deadline_after(seconds);
	do {
		for (uint32_t i = 0; i < between_clocks; i++, blocks++) {
			const unsigned char *from =
				arena_payload(&arena, blocks);
			uint32_t rest = payload_size;

			while (rest > 0) {
				uint32_t size = rest < BUFFER_BYTES
							? rest
							: BUFFER_BYTES;

				copy_payload(area + places[next++ % BATCH_MAX],
					     from, size);
				from += size;
				rest -= size;
			}
		}
	} while (now_ns() < deadline);
	return (double)blocks / ((double)(now_ns() - start) / 1e9);
}

int main(int argc, char **argv)
{
	uint32_t payload_size = 1448;
	double seconds = 0.3;
	int option;

	while ((option = getopt(argc, argv, "s:t:")) != -1) {
		if (option == 's')
			payload_size = parse_count(optarg, 1, PAYLOAD_SIZE_MAX);
		else if (option == 't')
			seconds = parse_seconds(optarg);
		else
			return 2;
	}
	pair_limit_life(seconds);
	report("packets/s", copy_blocks(payload_size, seconds));
	return 0;
}
