/*
 * The bare ring of spsc.h, used in place in batches: the least that moving a
 * 16-byte entry between two processes costs on this machine.
 */
#include "ring_run.h"
#include "spsc.h"

static size_t ring_size(void)
{
	return spsc_size(RING_ENTRIES, sizeof(struct ring_entry));
}

_Static_assert(sizeof(struct spsc_side) <= RING_END_BYTES, "an end fits");

static void create(void *memory)
{
	(void)memory;	/* fresh memory is an empty ring */
}

static void attach(void *memory, void *end)
{
	*(struct spsc_side *)end = spsc_side(memory, RING_ENTRIES);
}

static inline void put(void *end, uint64_t first_value, uint32_t count,
		       bool alone)
{
	struct spsc_side *producer = end;
	struct ring_entry *entries = producer->entries;
	uint32_t index = producer->index;

	while (spsc_room(producer, count) < count)
		wait_a_little(alone);
	for (uint32_t i = 0; i < count; i++)
		entries[(index + i) % RING_ENTRIES] = (struct ring_entry){
			.value = first_value + i,
			.length = count,
		};
	spsc_publish(producer, count);
}

static inline bool take(void *end, uint32_t count, uint64_t *sum)
{
	struct spsc_side *consumer = end;
	const struct ring_entry *entries = consumer->entries;
	uint32_t index = consumer->index;
	uint64_t partial = 0;

	if (spsc_available(consumer, count) < count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		partial += entries[(index + i) % RING_ENTRIES].value;
	spsc_release(consumer, count);
	*sum += partial;
	return true;
}

int main(int argc, char **argv)
{
	static const struct ring_kind kind = {
		.size = ring_size,
		.create = create,
		.attach = attach,
		.put = put,
		.take = take,
	};

	return ring_main(argc, argv, &kind);
}
