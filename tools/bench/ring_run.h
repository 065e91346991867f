/*
 * The run that every ring goes through, so that rings differ by the ring
 * alone: one process puts batches of 16-byte entries, another takes them and
 * sums their first 8 bytes, which also proves that none was lost or torn.
 *
 *	PROGRAM -b BATCH -t SECONDS	two processes
 *	PROGRAM -b BATCH -t SECONDS -1	one thread: put a batch, take a batch
 *
 * Everything is inlined into the program's main(), with its kind known: no
 * ring pays for an indirect call.
 */
#ifndef BENCH_RING_RUN_H
#define BENCH_RING_RUN_H

#include "pair.h"

#define RING_ENTRIES 4096u
#define RING_BATCH_MAX 1024u
#define RING_END_BYTES 64u	/* room for one side's private state */
#define CLOCK_EVERY_ENTRIES 8192u	/* a clock read costs some entries */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

struct ring_entry {
	uint64_t value;
	uint32_t length;
	uint32_t pad;
};

/* One kind of ring. An end is what one side needs to know, private to it. */
struct ring_kind {
	size_t (*size)(void);			/* of the shared memory */
	void (*create)(void *memory);
	void (*attach)(void *memory, void *end);	/* for either side */
	/* Waits for room for the whole batch. */
	void (*put)(void *end, uint64_t first_value, uint32_t count, bool alone);
	/* False, and nothing taken, if a whole batch is not there yet. */
	bool (*take)(void *end, uint32_t count, uint64_t *sum);
};

ALWAYS_INLINE uint32_t batches_between_clocks(uint32_t batch)
{
	return batch < CLOCK_EVERY_ENTRIES ? CLOCK_EVERY_ENTRIES / batch : 1;
}

ALWAYS_INLINE uint64_t ring_produce(const struct ring_kind *kind, void *end,
				    uint32_t batch, double seconds, bool alone)
{
	uint64_t deadline = deadline_after(seconds);
	uint64_t written = 0;

	do {
		for (uint32_t i = batches_between_clocks(batch); i > 0; i--) {
			kind->put(end, written, batch, alone);
			written += batch;
		}
	} while (now_ns() < deadline);
	return written;
}

ALWAYS_INLINE uint64_t ring_consume(const struct ring_kind *kind, void *end,
				    uint32_t batch, struct pair_run *run,
				    bool alone, uint64_t *sum)
{
	uint64_t taken = 0;

	for (;;) {
		if (kind->take(end, batch, sum)) {
			taken += batch;
			continue;
		}
		if (pair_ended_at(run, taken))
			return taken;
		wait_a_little(alone);
	}
}

/* The values put are 0, 1, 2, ... */
ALWAYS_INLINE bool sum_is_right(uint64_t sum, uint64_t taken)
{
	uint64_t even = taken % 2 ? taken - 1 : taken;
	uint64_t odd = taken % 2 ? taken : taken - 1;

	return sum == even / 2 * odd;
}

ALWAYS_INLINE double ring_two_processes(const struct ring_kind *kind,
					uint32_t batch, double seconds)
{
	struct pair_run *run = shared_bytes(sizeof(*run));
	void *memory = shared_bytes(kind->size());
	_Alignas(PAIR_LINE_BYTES) unsigned char end[RING_END_BYTES] = { 0 };
	int producer_core = allowed_core(0), consumer_core = allowed_core(1);
	bool alone = consumer_core < 0;
	uint64_t start, written, elapsed_ns;
	pid_t child;

	kind->create(memory);
	kind->attach(memory, end);
	child = pair_fork(seconds);
	pin_to(child ? producer_core : consumer_core);
	pair_line_up(run, alone);
	if (child == 0) {
		uint64_t sum = 0;
		uint64_t taken = ring_consume(kind, end, batch, run, alone,
					      &sum);

		pair_drained(run);
		_exit(sum_is_right(sum, taken) ? 0 : 1);
	}
	start = now_ns();
	written = ring_produce(kind, end, batch, seconds, alone);
	pair_end(run, written);
	pair_await_drained(run, alone);
	elapsed_ns = now_ns() - start;
	pair_join(child);
	return (double)elapsed_ns / (double)written;
}

ALWAYS_INLINE double ring_one_thread(const struct ring_kind *kind,
				     uint32_t batch, double seconds)
{
	void *memory = shared_bytes(kind->size());
	_Alignas(PAIR_LINE_BYTES) unsigned char producer[RING_END_BYTES] = { 0 };
	_Alignas(PAIR_LINE_BYTES) unsigned char consumer[RING_END_BYTES] = { 0 };
	uint64_t sum = 0, count = 0, start, deadline, elapsed_ns;

	kind->create(memory);
	kind->attach(memory, producer);
	kind->attach(memory, consumer);
	pin_to(allowed_core(0));
	start = now_ns();
	deadline = deadline_after(seconds);
	do {
		for (uint32_t i = batches_between_clocks(batch); i > 0; i--) {
			kind->put(producer, count, batch, false);
			if (!kind->take(consumer, batch, &sum))
				die("a ring that holds a batch");
			count += batch;
		}
	} while (now_ns() < deadline);
	elapsed_ns = now_ns() - start;
	errno = 0;
	if (!sum_is_right(sum, count))
		die("the sum");
	return (double)elapsed_ns / (double)count;
}

ALWAYS_INLINE int ring_main(int argc, char **argv, const struct ring_kind *kind)
{
	uint32_t batch = 64;
	double seconds = 0.3;
	bool one_thread = false;
	int option;

	while ((option = getopt(argc, argv, "b:t:1")) != -1) {
		if (option == 'b')
			batch = parse_count(optarg, 1, RING_BATCH_MAX);
		else if (option == 't')
			seconds = parse_seconds(optarg);
		else if (option == '1')
			one_thread = true;
		else
			return 2;
	}
	report("ns/entry",
	       one_thread ? ring_one_thread(kind, batch, seconds)
			  : ring_two_processes(kind, batch, seconds));
	return 0;
}

#endif
