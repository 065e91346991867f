/* SPDX-License-Identifier: MIT */
/*
 * Access to shared memory: the only place where <stdatomic.h> appears.
 *
 * Every load, store and exchange of a word that another process may write goes
 * through one of these functions. Each names its memory order and its point: a
 * place where a scheduler may switch to another actor. In the live build a
 * point compiles to nothing. A build that defines ZCRX_POINT_HOOK supplies
 * zcrx_point_hook() and is called at each of them, before the access; one that
 * watches a few points only names a header that defines SHM_AT itself.
 *
 * What is a plain variable elsewhere in the core is private to one process,
 * or written before it was published by one of the releases below.
 */
#ifndef ZCRX_SHM_H
#define ZCRX_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "u32 must be lock-free across processes");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "u64 must be lock-free across processes");

typedef _Atomic(uint16_t) shm_u16;
typedef _Atomic(uint32_t) shm_u32;
typedef _Atomic(uint64_t) shm_u64;

_Static_assert(sizeof(shm_u16) == 2 && sizeof(shm_u32) == 4 && sizeof(shm_u64) == 8,
	       "words keep their size");

/* X(name): the object and the operation that the point stands before. */
#define ZCRX_POINTS(X)      \
	X(RQ_TAIL_LOAD)     \
	X(RQ_TAIL_STORE)    \
	X(RQ_HEAD_LOAD)     \
	X(RQ_HEAD_STORE)    \
	X(RQE_LOAD)         \
	X(RQE_STORE)        \
	X(CQ_TAIL_LOAD)     \
	X(CQ_TAIL_STORE)    \
	X(CQ_HEAD_LOAD)     \
	X(CQ_HEAD_STORE)    \
	X(CQE_LOAD)         \
	X(CQE_STORE)        \
	X(GRANT_TAIL_LOAD)  \
	X(GRANT_TAIL_STORE) \
	X(GRANT_HEAD_LOAD)  \
	X(GRANT_HEAD_STORE) \
	X(GRANT_SLOT)       \
	X(USER_REF_LOAD)    \
	X(USER_REF_STORE)   \
	X(USER_REF_ADD)     \
	X(USER_REF_CAS)     \
	X(USER_REF_XCHG)    \
	X(PP_REF_LOAD)      \
	X(PP_REF_STORE)     \
	X(PP_REF_ADD)       \
	X(PP_REF_SUB)       \
	X(NIOV_POOL)        \
	X(FREELIST)         \
	X(FREE_COUNT)       \
	X(AREA_COUNT)       \
	X(AREA_EXTENT)      \
	X(PTR_RING_SLOT)    \
	X(PTR_RING_INDEX)   \
	X(POOL_COUNT)       \
	X(HANDOFF_SLOT)     \
	X(HANDOFF_INDEX)    \
	X(LOCK_TAKE)        \
	X(LOCK_RELEASE)     \
	X(BELL_SEQ)         \
	X(BELL_WAITING)     \
	X(RUN_STATE)        \
	X(ACK)              \
	X(USER)             \
	X(LOG)              \
	X(COUNTER)

enum zcrx_point {
#define ZCRX_POINT_ENUM(name) POINT_##name,
	ZCRX_POINTS(ZCRX_POINT_ENUM)
#undef ZCRX_POINT_ENUM
		ZCRX_POINT_COUNT,
};

#if defined(ZCRX_POINT_HEADER)
#define SHM_HAS_POINTS
#include ZCRX_POINT_HEADER
#elif defined(ZCRX_POINT_HOOK)
#define SHM_HAS_POINTS
void zcrx_point_hook(enum zcrx_point point, const volatile void *word);
#define SHM_AT(point, word) zcrx_point_hook((point), (word))
#else
#define SHM_AT(point, word) ((void)(point), (void)(word))
#endif

#define SHM_DEFINE_ACCESS(bits)                                                                \
	static inline uint##bits##_t shm_load_relaxed_u##bits(const shm_u##bits *word,         \
							      enum zcrx_point point)           \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		return atomic_load_explicit(word, memory_order_relaxed);                       \
	}                                                                                      \
	static inline uint##bits##_t shm_load_acquire_u##bits(const shm_u##bits *word,         \
							      enum zcrx_point point)           \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		return atomic_load_explicit(word, memory_order_acquire);                       \
	}                                                                                      \
	static inline void shm_store_relaxed_u##bits(shm_u##bits *word, uint##bits##_t value,  \
						     enum zcrx_point point)                    \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		atomic_store_explicit(word, value, memory_order_relaxed);                      \
	}                                                                                      \
	static inline void shm_store_release_u##bits(shm_u##bits *word, uint##bits##_t value,  \
						     enum zcrx_point point)                    \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		atomic_store_explicit(word, value, memory_order_release);                      \
	}                                                                                      \
	static inline uint##bits##_t shm_fetch_add_u##bits(                                    \
		shm_u##bits *word, uint##bits##_t value, enum zcrx_point point)                \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		return atomic_fetch_add_explicit(word, value, memory_order_acq_rel);           \
	}                                                                                      \
	static inline uint##bits##_t shm_fetch_sub_u##bits(                                    \
		shm_u##bits *word, uint##bits##_t value, enum zcrx_point point)                \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		return atomic_fetch_sub_explicit(word, value, memory_order_acq_rel);           \
	}                                                                                      \
	/* For what is only counted: it orders nothing. */                                     \
	static inline void shm_add_relaxed_u##bits(shm_u##bits *word, uint##bits##_t value,    \
						   enum zcrx_point point)                      \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		atomic_fetch_add_explicit(word, value, memory_order_relaxed);                  \
	}                                                                                      \
	static inline void shm_sub_relaxed_u##bits(shm_u##bits *word, uint##bits##_t value,    \
						   enum zcrx_point point)                      \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		atomic_fetch_sub_explicit(word, value, memory_order_relaxed);                  \
	}                                                                                      \
	static inline uint##bits##_t shm_xchg_u##bits(shm_u##bits *word, uint##bits##_t value, \
						      enum zcrx_point point)                   \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		return atomic_exchange_explicit(word, value, memory_order_acq_rel);            \
	}                                                                                      \
	static inline bool shm_cas_u##bits(shm_u##bits *word, uint##bits##_t *expected,        \
					   uint##bits##_t desired, enum zcrx_point point)      \
	{                                                                                      \
		SHM_AT(point, word);                                                           \
		return atomic_compare_exchange_weak_explicit(                                  \
			word, expected, desired, memory_order_acq_rel, memory_order_relaxed);  \
	}

SHM_DEFINE_ACCESS(16)
SHM_DEFINE_ACCESS(32)
SHM_DEFINE_ACCESS(64)
#undef SHM_DEFINE_ACCESS

/* Orders a store of ours before a later load of ours (see bell.h for the pair). */
static inline void shm_fence_seq_cst(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

/*
 * A counter that one process writes and any process reads: no read-modify-write
 * instruction, since there is no other writer to lose to.
 */
static inline void shm_count(shm_u64 *counter, uint64_t count)
{
	uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

	SHM_AT(POINT_COUNTER, counter);
	atomic_store_explicit(counter, now + count, memory_order_relaxed);
}

/*
 * The same in 32 bits, of a figure by which nothing is decided while others run:
 * no place to switch either.
 */
static inline void shm_tally(shm_u32 *counter, uint32_t count)
{
	uint32_t now = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, now + count, memory_order_relaxed);
}

/* A log byte: one writer, read after a release of the index that covers it. */
static inline void shm_log_put(uint8_t *log, uint64_t slot, uint8_t value)
{
	SHM_AT(POINT_LOG, &log[slot]);
	log[slot] = value;
}

/*
 * Payload bytes. They are opaque: nothing is decided by them on the trusted
 * side, so a user who writes into them meanwhile spoils only its own data.
 */
static inline void shm_copy_payload(void *area_bytes, const void *from, size_t size)
{
	memcpy(area_bytes, from, size);
}

#ifdef ZCRX_PAUSE_HOOK
void zcrx_pause_hook(void); /* a simulation: nothing changes before somebody else goes on */
#endif

static inline void shm_pause(void)
{
#if defined(ZCRX_PAUSE_HOOK)
	zcrx_pause_hook();
#elif defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#define SHM_CACHE_LINE 64

/*
 * Hints: this line is soon to be read, or written. They change nothing but time, and
 * any address will do. A line that is fetched to be written is taken from its last
 * reader at once; x86 has an instruction for it that compilers give only when asked.
 */
static inline void shm_expect_read(const volatile void *line)
{
	__builtin_prefetch((const void *)line, 0);
}

static inline void shm_expect_write(const volatile void *line)
{
#if defined(__x86_64__)
	__asm__ __volatile__("prefetchw %0" : : "m"(*(const volatile char *)line));
#else
	__builtin_prefetch((const void *)line, 1);
#endif
}

#endif /* ZCRX_SHM_H */
