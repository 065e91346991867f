/* SPDX-License-Identifier: MIT */
/*
 * A memory provider of one's own: what it must offer, and what it is offered.
 *
 * Compile a file that includes this header (and nothing else of the project)
 * into a shared library that defines `zcrx_provider`, and give it to
 *
 *	zcrx-emu fuzz --provider LIB.so	attack it
 *	zcrx-emu stress --provider LIB.so	run real processes on it
 *	zcrx-emu race --provider FILE.c		every interleaving, from its source
 *
 *	cc -std=gnu11 -g -O2 -fPIC -shared -o mine.so mine.c
 *
 * The host keeps the page pools, the page-pool references and the memory; the
 * provider decides which buffer may be filled next, and what to believe of each
 * entry (RQE) of the refill ring. docs/provider.md has the contract; the judge
 * holds each verdict and the whole state against it after each operation.
 *
 * In a real run three processes load the library: the provider process calls
 * everything but these; the NIC release_netmem() and copy_buffer(), the control
 * process init() of the first pool, scrub() and release_netmem(). release_netmem()
 * is the provider process's, too; and all three run at any time. State that they
 * share must lie in the memory offered here, and be changed by the accessors below.
 */
#ifndef ZCRX_PROVIDER_ABI_H
#define ZCRX_PROVIDER_ABI_H

#include <stdbool.h>
#include <stdint.h>

#define ZCRX_PROVIDER_ABI 1U
#define ZCRX_PROVIDER_REFILL 64U /* buffers in the alloc cache after one call, at most */

/* What an RQE can earn; exactly one each, reported by judged(). */
enum zcrx_provider_verdict {
	ZCRX_PROVIDER_ACCEPTED = 0, /* the buffer went into the alloc cache */
	ZCRX_PROVIDER_STILL_REFERENCED = 1, /* page-pool references remain */
	ZCRX_PROVIDER_OTHER_POOL = 2, /* it went home to the pool it is bound to, or to none */
	ZCRX_PROVIDER_BAD_PAD = 3,
	ZCRX_PROVIDER_BAD_AREA = 4,
	ZCRX_PROVIDER_BAD_INDEX = 5,
	ZCRX_PROVIDER_NO_USER_REF = 6, /* not the user's to return */
};

/* Levels of the kernel, see docs/levels.md; a host may know later ones. */
enum zcrx_provider_level {
	ZCRX_PROVIDER_SEED = 0, /* 6.15 with its known bugs fixed; what a host means unless told */
	ZCRX_PROVIDER_6_15 = 1,
	ZCRX_PROVIDER_6_18 = 2,
	ZCRX_PROVIDER_7_1 = 3,
	ZCRX_PROVIDER_7_2 = 4,
	ZCRX_PROVIDER_7_3 = 5,
};

/* Accesses at which the user, or a scheduler, may come in between. */
enum zcrx_provider_point {
	ZCRX_PROVIDER_TAIL_LOAD,
	ZCRX_PROVIDER_RQE_LOAD,
	ZCRX_PROVIDER_HEAD_STORE,
	ZCRX_PROVIDER_USER_REF,
	ZCRX_PROVIDER_FREELIST,
	ZCRX_PROVIDER_POINTS,
};

/* One RQE as the user wrote it; it may change under your eyes. */
struct zcrx_provider_rqe {
	uint64_t off; /* area id in bits 48..63, byte offset in the area below */
	uint32_t len;
	uint32_t pad;
};

/* What is known of one buffer (niov); the references of the page pool are the host's. */
struct zcrx_provider_niov {
	uint32_t user_refs; /* fragments that the user holds */
	uint32_t pp_refs; /* read only: see pp_ref_put() */
	uint32_t pool; /* read only: page pool + 1 that it is bound to, 0 = none */
	uint32_t reserved;
};

struct zcrx_provider_queue;

/* What the host does for a provider. `pool` is always the number of a page pool, from 0. */
struct zcrx_provider_services {
	/* The alloc cache of a pool; ZCRX_PROVIDER_REFILL buffers at most by a call. */
	uint32_t (*cache_count)(struct zcrx_provider_queue *queue, uint32_t pool);
	void (*cache_push)(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov);
	/* A buffer from the freelist becomes a pool's: one page-pool reference. Or a pool's no more. */
	void (*bind)(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov);
	void (*unbind)(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov);
	/* A buffer for a copied payload: bound to no pool, one page-pool reference. */
	void (*take_unbound)(struct zcrx_provider_queue *queue, uint32_t niov);
	/* Drop page-pool references; true if they were the last, and 1 is left for the next owner. */
	bool (*pp_ref_put)(struct zcrx_provider_queue *queue, uint32_t niov, uint32_t count);
	/* A buffer without references goes home: to its pool's ptr ring, else to the freelist. */
	void (*return_niov)(struct zcrx_provider_queue *queue, uint32_t niov);
	/* The freelist under its lock: how many were popped, top first; 0 or -EOVERFLOW. */
	uint32_t (*free_pop)(struct zcrx_provider_queue *queue, uint32_t *niovs, uint32_t max);
	int (*free_push)(struct zcrx_provider_queue *queue, uint32_t niov);
	uint32_t (*free_count)(struct zcrx_provider_queue *queue);
	/* References on the instance: taken by init(), put by destroy(). */
	void (*instance_get)(struct zcrx_provider_queue *queue);
	void (*instance_put)(struct zcrx_provider_queue *queue);
	/* The lock of the refill ring; false when the run was aborted meanwhile. */
	bool (*rq_lock)(struct zcrx_provider_queue *queue);
	void (*rq_unlock)(struct zcrx_provider_queue *queue);
	/*
	 * What the entry at a ring index (absolute, not masked) earned: once for each
	 * entry, in order. niov is as the kernel truncates it to 32 bits.
	 */
	void (*judged)(struct zcrx_provider_queue *queue, uint32_t index,
		       enum zcrx_provider_verdict verdict, uint32_t niov, bool alias);
	/* NULL, or called before each access that the accessors below make. */
	void (*at_point)(struct zcrx_provider_queue *queue, enum zcrx_provider_point point,
			 const volatile void *word);
};

/* One interface queue. */
struct zcrx_provider_queue {
	const struct zcrx_provider_services *services;
	void *host; /* the services' own */
	void *own; /* yours, private to this process; NULL at first */
	uint32_t num_niovs;
	uint32_t niov_shift;
	uint32_t rq_entries; /* a power of two */
	bool strict_alias; /* reject an index whose upper bits would vanish */
	/* The refill ring: the user maps it too. Find the words anew in each call. */
	uint32_t *rq_head; /* yours to publish */
	const uint32_t *rq_tail; /* the user's: anything may stand there */
	const struct zcrx_provider_rqe *rqes; /* [rq_entries] */
	/* Kernel-side memory: the user cannot reach it. */
	uint32_t *cached_rq_head; /* how far you have consumed; only the provider process */
	struct zcrx_provider_niov *niovs; /* [num_niovs] */
	/* Which kernel's provider to play; a host that is older than this ends before it. */
	uint32_t level; /* enum zcrx_provider_level */
};

struct zcrx_provider_ops {
	uint32_t abi; /* ZCRX_PROVIDER_ABI */
	uint32_t size; /* sizeof(struct zcrx_provider_ops) */
	const char *name;
	/* A page pool starts: take a reference on the instance. 0 or -errno. */
	int (*init)(struct zcrx_provider_queue *queue, uint32_t pool);
	/*
	 * Its alloc cache is empty: judge what waits in the refill ring, else fill the
	 * cache from the freelist. True if the cache holds anything now.
	 */
	bool (*alloc_netmems)(struct zcrx_provider_queue *queue, uint32_t pool);
	/* The pool gives a buffer up: unbind it, push it on the freelist. */
	void (*release_netmem)(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov);
	/* The pool is gone: 0, or -EBUSY when buffers are not home. */
	int (*destroy)(struct zcrx_provider_queue *queue, uint32_t pool);
	/* Take back every user reference, beside everything else; how many there were. */
	uint64_t (*scrub)(struct zcrx_provider_queue *queue);
	/* A buffer for a payload that must be copied, or -ENOMEM. */
	int64_t (*copy_buffer)(struct zcrx_provider_queue *queue);
};

#if defined(__GNUC__)
#define ZCRX_PROVIDER_EXPORT __attribute__((visibility("default")))
#else
#define ZCRX_PROVIDER_EXPORT
#endif

/* What the library defines:	const struct zcrx_provider_ops zcrx_provider = {...}; */
#define ZCRX_PROVIDER_SYMBOL "zcrx_provider"
extern ZCRX_PROVIDER_EXPORT const struct zcrx_provider_ops zcrx_provider;

/* ---- access to memory that others write ------------------------------------- */

static inline void zcrx_at(struct zcrx_provider_queue *queue, enum zcrx_provider_point point,
			   const volatile void *word)
{
	if (queue->services->at_point)
		queue->services->at_point(queue, point, word);
}

#define ZCRX_PROVIDER_ACCESS(bits)                                                                \
	static inline uint##bits##_t zcrx_read_u##bits(struct zcrx_provider_queue *queue,         \
						       enum zcrx_provider_point point,            \
						       const uint##bits##_t *word)                \
	{                                                                                         \
		zcrx_at(queue, point, word);                                                      \
		return __atomic_load_n(word, __ATOMIC_RELAXED);                                   \
	}                                                                                         \
	static inline uint##bits##_t zcrx_read_acquire_u##bits(struct zcrx_provider_queue *queue, \
							       enum zcrx_provider_point point,    \
							       const uint##bits##_t *word)        \
	{                                                                                         \
		zcrx_at(queue, point, word);                                                      \
		return __atomic_load_n(word, __ATOMIC_ACQUIRE);                                   \
	}

ZCRX_PROVIDER_ACCESS(32)
ZCRX_PROVIDER_ACCESS(64)
#undef ZCRX_PROVIDER_ACCESS

static inline void zcrx_write_u32(struct zcrx_provider_queue *queue, enum zcrx_provider_point point,
				  uint32_t *word, uint32_t value)
{
	zcrx_at(queue, point, word);
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void zcrx_write_release_u32(struct zcrx_provider_queue *queue,
					  enum zcrx_provider_point point, uint32_t *word,
					  uint32_t value)
{
	zcrx_at(queue, point, word);
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* True if *word was *expected and is `desired` now; else *expected is what it was. */
static inline bool zcrx_cas_u32(struct zcrx_provider_queue *queue, enum zcrx_provider_point point,
				uint32_t *word, uint32_t *expected, uint32_t desired)
{
	zcrx_at(queue, point, word);
	return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static inline uint32_t zcrx_exchange_u32(struct zcrx_provider_queue *queue,
					 enum zcrx_provider_point point, uint32_t *word,
					 uint32_t value)
{
	zcrx_at(queue, point, word);
	return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
}

#endif /* ZCRX_PROVIDER_ABI_H */
