/* SPDX-License-Identifier: MIT */
/*
 * The points that the fuzzer's build watches: those of the refill ring. The
 * others compile to nothing, since the point is known where it stands.
 */
#ifndef ZCRX_FUZZ_POINTS_H
#define ZCRX_FUZZ_POINTS_H

/* NULL while no operation of the subject runs. */
struct fuzz_watch;
extern struct fuzz_watch *fuzz_watching;

void fuzz_at_tail_load(struct fuzz_watch *watch, const volatile void *word);
void fuzz_at_rqe_load(struct fuzz_watch *watch, const volatile void *word);
void fuzz_at_head_store(struct fuzz_watch *watch, const volatile void *word);

#define SHM_AT(point, word)                                        \
	do {                                                       \
		if (!fuzz_watching)                                \
			break;                                     \
		if ((point) == POINT_RQE_LOAD)                     \
			fuzz_at_rqe_load(fuzz_watching, (word));   \
		else if ((point) == POINT_RQ_TAIL_LOAD)            \
			fuzz_at_tail_load(fuzz_watching, (word));  \
		else if ((point) == POINT_RQ_HEAD_STORE)           \
			fuzz_at_head_store(fuzz_watching, (word)); \
	} while (0)

/*
 * A provider has no thread of its own, and the harness none beside it: two plain accesses do
 * what takes a locked instruction elsewhere.
 */
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_weak_explicit

#define ALONE_SET(word, value)                                                              \
	({                                                                                  \
		__auto_type alone_was = atomic_load_explicit((word), memory_order_relaxed); \
                                                                                            \
		atomic_store_explicit((word), (value), memory_order_relaxed);               \
		alone_was;                                                                  \
	})
#define atomic_fetch_add_explicit(word, value, order) ALONE_SET(word, alone_was + (value))
#define atomic_fetch_sub_explicit(word, value, order) ALONE_SET(word, alone_was - (value))
#define atomic_exchange_explicit(word, value, order) ALONE_SET(word, value)
#define atomic_compare_exchange_weak_explicit(word, expected, desired, order, failed)   \
	({                                                                              \
		__auto_type alone_was = *(expected);                                    \
                                                                                        \
		*(expected) = atomic_load_explicit((word), memory_order_relaxed);       \
		if (*(expected) == alone_was)                                           \
			atomic_store_explicit((word), (desired), memory_order_relaxed); \
		*(expected) == alone_was;                                               \
	})

#endif /* ZCRX_FUZZ_POINTS_H */
