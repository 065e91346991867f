/*
 * DPDK's rte_ring through the run of ring_run.h: single producer, single
 * consumer, 16-byte elements, bulk operations.
 *
 * Two real processes without EAL: rte_ring_init() takes any memory, and the
 * operations are inline functions that need nothing else; so this ring lies
 * in the same kind of memory as the bare one.
 *
 *	dpdk_ring [-z] ...	-z: in place, by DPDK's zero-copy operations,
 *				in place of those that copy from and to an array
 */
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_ring_peek_zc.h>

#include "ring_run.h"

#define ELEMENT_BYTES ((unsigned)sizeof(struct ring_entry))

static size_t ring_size(void)
{
	ssize_t size = rte_ring_get_memsize_elem(ELEMENT_BYTES, RING_ENTRIES);

	if (size < 0)
		die("rte_ring_get_memsize_elem");
	return (size_t)size;
}

static void create(void *memory)
{
	if (rte_ring_init(memory, "bench", RING_ENTRIES,
			  RING_F_SP_ENQ | RING_F_SC_DEQ))
		die("rte_ring_init");
}

static void attach(void *memory, void *end)
{
	*(struct rte_ring **)end = memory;
}

static inline void write_entries(struct ring_entry *entries, uint32_t count,
				 uint64_t first_value)
{
	for (uint32_t i = 0; i < count; i++)
		entries[i] = (struct ring_entry){
			.value = first_value + i,
			.length = count,
		};
}

static inline uint64_t sum_entries(const struct ring_entry *entries,
				   uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += entries[i].value;
	return sum;
}

static inline void put(void *end, uint64_t first_value, uint32_t count,
		       bool alone)
{
	struct rte_ring *ring = *(struct rte_ring **)end;
	struct ring_entry entries[RING_BATCH_MAX];

	write_entries(entries, count, first_value);
	while (rte_ring_sp_enqueue_bulk_elem(ring, entries, ELEMENT_BYTES,
					     count, NULL) != count)
		wait_a_little(alone);
}

static inline bool take(void *end, uint32_t count, uint64_t *sum)
{
	struct rte_ring *ring = *(struct rte_ring **)end;
	struct ring_entry entries[RING_BATCH_MAX];

	if (rte_ring_sc_dequeue_bulk_elem(ring, entries, ELEMENT_BYTES, count,
					  NULL) != count)
		return false;
	*sum += sum_entries(entries, count);
	return true;
}

static inline void put_in_place(void *end, uint64_t first_value,
				uint32_t count, bool alone)
{
	struct rte_ring *ring = *(struct rte_ring **)end;
	struct rte_ring_zc_data room = { 0 };

	while (rte_ring_enqueue_zc_bulk_elem_start(ring, ELEMENT_BYTES, count,
						   &room, NULL) != count)
		wait_a_little(alone);
	write_entries(room.ptr1, room.n1, first_value);
	write_entries(room.ptr2, count - room.n1, first_value + room.n1);
	rte_ring_enqueue_zc_elem_finish(ring, count);
}

static inline bool take_in_place(void *end, uint32_t count, uint64_t *sum)
{
	struct rte_ring *ring = *(struct rte_ring **)end;
	struct rte_ring_zc_data filled = { 0 };

	if (rte_ring_dequeue_zc_bulk_elem_start(ring, ELEMENT_BYTES, count,
						&filled, NULL) != count)
		return false;
	*sum += sum_entries(filled.ptr1, filled.n1);
	*sum += sum_entries(filled.ptr2, count - filled.n1);
	rte_ring_dequeue_zc_elem_finish(ring, count);
	return true;
}

int main(int argc, char **argv)
{
	static const struct ring_kind copying = {
		.size = ring_size,
		.create = create,
		.attach = attach,
		.put = put,
		.take = take,
	};
	static const struct ring_kind in_place = {
		.size = ring_size,
		.create = create,
		.attach = attach,
		.put = put_in_place,
		.take = take_in_place,
	};

	if (argc > 1 && strcmp(argv[1], "-z") == 0)
		return ring_main(argc - 1, argv + 1, &in_place);
	return ring_main(argc, argv, &copying);
}
