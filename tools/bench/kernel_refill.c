/*
 * What Linux does for an RQE, and nothing beside it: the entry is read once and
 * checked, a user reference is taken by compare-and-exchange, the page-pool reference
 * dropped, and the buffer put into the pool's cache. No verdict, no count, no log.
 * One thread; references are given and entries written outside the measured part,
 * as in zcrx_refill.c, which does the same work and the rest.
 *
 *	PROGRAM -b BATCH -t SECONDS	each entry valid, each another buffer's
 *	PROGRAM ... -m			malformed entries
 *	PROGRAM ... -c			the compare-and-exchange alone, a buffer an entry
 */
#include "pair.h"

#define RING_ENTRIES 4096u
#define BUFFERS 1024u
#define REFILL_MAX 64u
#define BUFFER_SHIFT 12
#define AREA_SHIFT 48

struct rqe {
	uint64_t off;
	uint32_t len;
	uint32_t pad;
};

/* The counts of a buffer; on a line with those of its neighbours, as in Linux. */
struct buffer {
	_Atomic uint32_t user_refs;
	_Atomic uint32_t pool_refs;
	uint32_t pool;
};

struct words {
	_Alignas(PAIR_LINE_BYTES) _Atomic uint32_t head;
	_Alignas(PAIR_LINE_BYTES) _Atomic uint32_t tail;
	_Alignas(PAIR_LINE_BYTES) struct rqe rqes[RING_ENTRIES];
};

struct bench {
	struct words *words;
	struct buffer *buffers;
	uint32_t cached_head;
	uint32_t cache[2 * REFILL_MAX];
	uint32_t cache_count;
	_Atomic uint32_t lock;
	uint32_t next_buffer;
};

static bool take_user_ref(struct buffer *buffer)
{
	uint32_t now = atomic_load_explicit(&buffer->user_refs, memory_order_relaxed);

	do {
		if (now == 0)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&buffer->user_refs, &now, now - 1,
							memory_order_acq_rel,
							memory_order_relaxed));
	return true;
}

/* True: the last is gone, and the count stands at one again for the next owner. */
static bool drop_pool_ref(struct buffer *buffer)
{
	if (atomic_load_explicit(&buffer->pool_refs, memory_order_acquire) == 1)
		return true;
	if (atomic_fetch_sub_explicit(&buffer->pool_refs, 1, memory_order_acq_rel) != 1)
		return false;
	atomic_store_explicit(&buffer->pool_refs, 1, memory_order_relaxed);
	return true;
}

static void lock(struct bench *bench)
{
	while (atomic_exchange_explicit(&bench->lock, 1, memory_order_acquire))
		continue;
}

static uint32_t refill(struct bench *bench)
{
	struct words *words = bench->words;
	uint32_t available, count, cached = bench->cache_count;

	lock(bench);
	available = atomic_load_explicit(&words->tail, memory_order_acquire) -
		    bench->cached_head;
	count = available < REFILL_MAX - cached ? available : REFILL_MAX - cached;
	for (uint32_t i = 0; i < count; i++) {
		const volatile struct rqe *rqe =
			&words->rqes[bench->cached_head++ % RING_ENTRIES];
		uint64_t off = rqe->off;
		uint32_t index = (uint32_t)((off & (((uint64_t)1 << AREA_SHIFT) - 1)) >>
					    BUFFER_SHIFT);
		struct buffer *buffer;

		if (rqe->pad != 0 || off >> AREA_SHIFT != 0 || index >= BUFFERS)
			continue;
		buffer = &bench->buffers[index];
		if (!take_user_ref(buffer) || !drop_pool_ref(buffer))
			continue;
		if (buffer->pool == 1)
			bench->cache[cached++] = index;
	}
	atomic_store_explicit(&words->head, bench->cached_head, memory_order_release);
	bench->cache_count = cached;
	atomic_store_explicit(&bench->lock, 0, memory_order_release);
	return count;
}

static void write_entries(struct bench *bench, uint32_t batch, bool malformed)
{
	struct words *words = bench->words;
	uint32_t tail = atomic_load_explicit(&words->tail, memory_order_relaxed);

	for (uint32_t i = 0; i < batch; i++) {
		uint32_t index = bench->next_buffer++ % BUFFERS;

		if (!malformed)
			atomic_fetch_add_explicit(&bench->buffers[index].user_refs, 1,
						  memory_order_relaxed);
		words->rqes[tail++ % RING_ENTRIES] = (struct rqe){
			.off = (uint64_t)index << BUFFER_SHIFT,
			.len = 4096,
			.pad = malformed,
		};
	}
	atomic_store_explicit(&words->tail, tail, memory_order_release);
}

static uint64_t judge_entries(struct bench *bench, uint32_t batch)
{
	uint64_t start = now_ns();

	for (uint32_t done = 0; done < batch;) {
		uint32_t count = refill(bench);

		if (count == 0)
			die("refill");
		done += count;
		bench->cache_count = 0;	/* as if all were handed out */
	}
	return now_ns() - start;
}

static uint64_t exchange_alone(struct bench *bench, uint32_t batch)
{
	uint64_t start = now_ns();

	for (uint32_t i = 0; i < batch; i++) {
		uint32_t now = 0;

		atomic_compare_exchange_weak_explicit(
			&bench->buffers[bench->next_buffer++ % BUFFERS].user_refs, &now, 0,
			memory_order_acq_rel, memory_order_relaxed);
	}
	return now_ns() - start;
}

int main(int argc, char **argv)
{
	static struct bench bench;
	uint64_t entries = 0, elapsed_ns = 0, deadline;
	uint32_t batch = 256;
	double seconds = 0.3;
	bool malformed = false, alone = false;
	int option;

	while ((option = getopt(argc, argv, "b:t:mc")) != -1) {
		if (option == 'b')
			batch = parse_count(optarg, 1, 1024);
		else if (option == 't')
			seconds = parse_seconds(optarg);
		else if (option == 'm')
			malformed = true;
		else if (option == 'c')
			alone = true;
		else
			return 2;
	}
	bench.words = shared_bytes(sizeof(*bench.words));
	bench.buffers = shared_bytes(BUFFERS * sizeof(*bench.buffers));
	for (uint32_t i = 0; i < BUFFERS; i++) {
		bench.buffers[i].pool_refs = 1;
		bench.buffers[i].pool = 1;
	}
	pin_to(allowed_core(0));
	deadline = deadline_after(seconds);
	do {
		if (alone) {
			elapsed_ns += exchange_alone(&bench, batch);
		} else {
			write_entries(&bench, batch, malformed);
			elapsed_ns += judge_entries(&bench, batch);
		}
		entries += batch;
	} while (now_ns() < deadline);
	report("ns/entry", (double)elapsed_ns / (double)entries);
	return 0;
}
