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

#endif /* ZCRX_FUZZ_POINTS_H */
