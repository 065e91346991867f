/* SPDX-License-Identifier: MIT */
/*
 * A consumer of one's own in C: what it must offer, and what it is given.
 *
 * Compile a file that includes this header (and nothing else of the project) into a shared
 * library that defines `zcrx_consumer`, and let real processes run on it:
 *
 *	zcrx-emu stress --consumer mine.c	compiled on demand
 *	zcrx-emu stress --consumer ./mine.so
 *
 *	cc -std=gnu11 -g -O2 -fPIC -shared $(zcrx-emu config --cflags) -o mine.so mine.c
 *
 * run() is called once, in a process of its own, with the raw rings of one queue: what an
 * application has of io_uring's zero-copy receive once its rings are mapped and its receive
 * is armed. Nothing stands between it and them. It reads completions, moves the completion
 * queue's head, writes entries (RQEs) into the refill ring and moves its tail, by the rules
 * of the kernel; it may hold fragments for as long as it likes, and give them back in any
 * order. docs/consumers.md has the rules, and what is said of who breaks them.
 *
 * It may start threads and processes; these end with it. If it crashes, calls exit() or
 * never leaves, that is a finding, and the run goes on to its verdict.
 */
#ifndef ZCRX_CONSUMER_ABI_H
#define ZCRX_CONSUMER_ABI_H

#include <stdbool.h>
#include <stdint.h>

#define ZCRX_CONSUMER_ABI 1U

/* An entry of the refill ring: a fragment goes back. As struct io_uring_zcrx_rqe. */
struct zcrx_consumer_rqe {
	uint64_t off; /* area token | an offset in the buffer: the completion's, as it is */
	uint32_t len;
	uint32_t pad; /* 0 */
};

#define ZCRX_CONSUMER_CQE_MORE (1U << 1) /* in flags: the receive goes on */

/* A completion: struct io_uring_cqe, and struct io_uring_zcrx_cqe behind it. */
struct zcrx_consumer_cqe {
	uint64_t user_data; /* number of the flow */
	int32_t res; /* bytes; without MORE: 0, or -errno, and no buffer comes with it */
	uint32_t flags;
	uint64_t off; /* area id in bits 48..63, byte offset in the area below */
	uint64_t pad;
};

/* Where a ring's words are, in bytes from the region's start. They differ from run to run. */
struct zcrx_consumer_offsets {
	uint32_t head, tail, entries;
};

/* An area: buffers of 1 << niov_shift bytes. */
struct zcrx_consumer_area {
	uint8_t *bytes;
	uint64_t size;
	uint64_t token; /* of an entry's off, above the offset: id << 48 */
	uint32_t num_niovs;
	uint32_t reserved;
};

struct zcrx_consumer_queue;

/* What the kernel does for an application. */
struct zcrx_consumer_services {
	/*
	 * Enter the kernel: whoever waits for what was given back, or for room in the completion
	 * queue, is told; then sleep until there is a completion, `timeout_us` at most (0: not at
	 * all). False once the run asks this consumer to leave: read what is left, give it back,
	 * and return from run().
	 */
	bool (*enter)(struct zcrx_consumer_queue *queue, uint32_t timeout_us);
	/* Has the run asked for it? For who has no reason to enter. */
	bool (*should_stop)(struct zcrx_consumer_queue *queue);
};

/* One queue. The pointers say the same as region and offsets. */
struct zcrx_consumer_queue {
	uint32_t size; /* sizeof(struct zcrx_consumer_queue) of the host: it may be larger */
	uint32_t queue; /* its number in the run */
	const struct zcrx_consumer_services *services;
	void *host; /* the services' own */
	void *own; /* yours; NULL at first */
	/* The memory that both rings lie in. All of it can be written, as with the kernel. */
	void *region;
	uint64_t region_size;
	struct zcrx_consumer_offsets rq_offsets, cq_offsets;
	/* The refill ring: indices run freely and wrap at 2^32; mask them for the entry. */
	const uint32_t *rq_head; /* the kernel's: load it by acquire */
	uint32_t *rq_tail; /* yours: store it by release. Begin with what stands there */
	struct zcrx_consumer_rqe *rqes;
	uint32_t rq_entries; /* a power of two */
	/* The completion queue, the other way round. */
	uint32_t cq_entries;
	uint32_t *cq_head; /* yours */
	const uint32_t *cq_tail; /* the kernel's */
	const struct zcrx_consumer_cqe *cqes;
	/* The area: buffers of 1 << niov_shift bytes. */
	uint8_t *area;
	uint64_t area_size;
	uint64_t rq_area_token; /* of an entry's off, above the offset */
	uint32_t num_niovs;
	uint32_t niov_shift;
	/*
	 * All areas by their ids; the first is the one above. More may be added while run() is on:
	 * so many are there, or about to be. No completion names one beyond.
	 */
	const struct zcrx_consumer_area *areas;
	const uint32_t *area_count; /* the kernel's: load it by acquire */
};

/* Where the bytes of a completion are. */
static inline uint8_t *zcrx_consumer_bytes(const struct zcrx_consumer_queue *queue, uint64_t off)
{
	return queue->areas[off >> 48].bytes + (off & (((uint64_t)1 << 48) - 1));
}

struct zcrx_consumer_ops {
	uint32_t abi; /* ZCRX_CONSUMER_ABI */
	uint32_t size; /* sizeof(struct zcrx_consumer_ops) */
	const char *name;
	/* Consume until the run asks to leave. 0; or -errno, which is a finding. */
	int (*run)(struct zcrx_consumer_queue *queue);
};

#if defined(__GNUC__)
#define ZCRX_CONSUMER_EXPORT __attribute__((visibility("default")))
#else
#define ZCRX_CONSUMER_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What the library defines:	const struct zcrx_consumer_ops zcrx_consumer = {...}; */
#define ZCRX_CONSUMER_SYMBOL "zcrx_consumer"
extern ZCRX_CONSUMER_EXPORT const struct zcrx_consumer_ops zcrx_consumer;

#ifdef __cplusplus
}
#endif

/* ---- access to words that the kernel's side reads or writes ---------------------- */

/* The other side's word: what it published before is there. */
static inline uint32_t zcrx_consumer_load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Our word: what was written before is there for who reads it. */
static inline void zcrx_consumer_store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

#endif /* ZCRX_CONSUMER_ABI_H */
