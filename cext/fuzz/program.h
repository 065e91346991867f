/* SPDX-License-Identifier: MIT */
/*
 * What a fuzzer makes up: an instance's shape, and what happens to it.
 *
 * Any byte string is a program (docs/fuzzing.md has the codec): numbers out of
 * range are folded into it, missing bytes are zeros, what is too much is left
 * out. zcrx_program_encode() gives the one canonical form; decoding that gives
 * the same program again.
 */
#ifndef ZCRX_FUZZ_PROGRAM_H
#define ZCRX_FUZZ_PROGRAM_H

#include "kernel/contract.h"
#include "wire/abi.h"

#define FUZZ_CODEC 1U /* changes whenever an old canonical form would mean something else */
#define FUZZ_OPS_MAX 128U
#define FUZZ_QUEUES_MAX 2U
/* Most programs have a small instance, in which everything runs out soon. */
#define FUZZ_SMALL_MAX 256U
#define FUZZ_NIOVS_MAX (1U << 17)
#define FUZZ_AREAS_MAX 4U /* fewer than there may be: so the last one comes up */
#define FUZZ_ADDED_MAX 256U /* buffers of an area that is added */
#define FUZZ_ALL_NIOVS_MAX (FUZZ_NIOVS_MAX + (FUZZ_AREAS_MAX - 1) * FUZZ_ADDED_MAX)
#define FUZZ_RQ_ENTRIES_MAX (1U << 15)
#define FUZZ_PTR_RING_MAX (1U << 12)
#define FUZZ_PROGRAM_BYTES (16U + FUZZ_OPS_MAX * 20U) /* of the longest canonical form */

/* What all repetitions of a program may do together: see fuzz_op_work(). */
#define FUZZ_WORK_MAX (1U << 21)
#define FUZZ_STRETCH_MAX 16U
#define FUZZ_ROUNDS_MAX (1U << 17)
#define FUZZ_ROUNDS_FEW 64U
#define FUZZ_FRAGMENTS_MAX (1U << 20)

struct fuzz_shape {
	uint32_t num_niovs; /* of the first area, 1 .. FUZZ_NIOVS_MAX */
	uint32_t rq_entries; /* a power of two, 1 .. FUZZ_RQ_ENTRIES_MAX */
	uint32_t ptr_ring_size; /* 1 .. FUZZ_PTR_RING_MAX */
	uint32_t initial_index;
	uint32_t queues; /* instances beside each other, 1 .. FUZZ_QUEUES_MAX */
	struct zcrx_contract contract;
	bool has_no_device; /* no pool is ever made; of a level since 7.1 */
	bool is_checked; /* verdicts wait for somebody to look at them */
	bool records; /* a flight recorder runs */
};

/* Which arguments an operation has, in the order in which they are encoded. */
#define FUZZ_ARG_COUNT 1U /* 1 .. 256, one byte */
#define FUZZ_ARG_PICK 2U /* 0 .. 255 */
#define FUZZ_ARG_MODE 4U /* 0 .. modes - 1 */
#define FUZZ_ARG_VALUE 8U /* u32 */
#define FUZZ_ARG_RQE 16U /* 16 bytes as they stand in the ring */

/* X(NAME, word, arguments, modes). */
#define FUZZ_OPS(X)                                                                        \
	/* NIC and stack */                                                                \
	X(ALLOC, "alloc", FUZZ_ARG_COUNT, 1)                                               \
	X(DELIVER, "deliver", FUZZ_ARG_PICK | FUZZ_ARG_COUNT | FUZZ_ARG_MODE, 8)           \
	X(DROP, "drop", FUZZ_ARG_PICK | FUZZ_ARG_COUNT, 1)                                 \
	X(COPY, "copy", FUZZ_ARG_COUNT, 1)                                                 \
	/* the user */                                                                     \
	X(RETURN, "return", FUZZ_ARG_PICK | FUZZ_ARG_COUNT | FUZZ_ARG_MODE, 4)             \
	X(PUSH, "push", FUZZ_ARG_COUNT | FUZZ_ARG_RQE, 1)                                  \
	X(WRITE, "write", FUZZ_ARG_PICK | FUZZ_ARG_RQE, 1)                                 \
	X(TAIL, "tail", FUZZ_ARG_MODE | FUZZ_ARG_VALUE, 3)                                 \
	X(HEAD, "head", FUZZ_ARG_VALUE, 1)                                                 \
	X(REWRITE, "rewrite", FUZZ_ARG_PICK | FUZZ_ARG_COUNT | FUZZ_ARG_RQE, 1)            \
	/* control */                                                                      \
	X(SCRUB, "scrub", FUZZ_ARG_MODE, 2)                                                \
	X(REFILL, "refill", 0, 1)                                                          \
	X(FLUSH, "flush", 0, 1)                                                            \
	X(RESTART, "restart", 0, 1)                                                        \
	X(RETRY, "retry", FUZZ_ARG_PICK | FUZZ_ARG_MODE, 2)                                \
	X(DESTROY, "destroy", 0, 1)                                                        \
	X(RECREATE, "recreate", 0, 1)                                                      \
	X(DETACH, "detach", 0, 1)                                                          \
	X(ATTACH, "attach", 0, 1)                                                          \
	X(CHECK, "check", 0, 1)                                                            \
	/* what else is the kernel's own */                                                \
	X(HIDE, "hide", FUZZ_ARG_COUNT, 1)                                                 \
	X(REFUSE, "refuse", FUZZ_ARG_COUNT, 1)                                             \
	X(WRONG_POOL, "wrong-pool", FUZZ_ARG_MODE, 4)                                      \
	X(NETLINK, "netlink", FUZZ_ARG_MODE | FUZZ_ARG_PICK, 2)                            \
	/* what takes many of one kind */                                                  \
	X(DELIVER_MANY, "deliver-many", FUZZ_ARG_PICK | FUZZ_ARG_MODE | FUZZ_ARG_VALUE, 2) \
	X(REPEAT, "repeat", FUZZ_ARG_PICK | FUZZ_ARG_VALUE, 1)                             \
	/* what came with 7.3 */                                                           \
	X(ADD_AREA, "add-area", FUZZ_ARG_COUNT, 1)

enum fuzz_op_kind {
#define FUZZ_OP_ENUM(name, word, arguments, modes) FUZZ_##name,
	FUZZ_OPS(FUZZ_OP_ENUM)
#undef FUZZ_OP_ENUM
		FUZZ_OP_KINDS,
};

enum fuzz_tail_mode { FUZZ_TAIL_MOVED, FUZZ_TAIL_PAST_HEAD, FUZZ_TAIL_ABSOLUTE };

/* How RETURN writes an entry. */
enum fuzz_return_mode { FUZZ_RETURN_ONE, FUZZ_RETURN_ALL, FUZZ_RETURN_INSIDE, FUZZ_RETURN_ALIAS };

/* What is wrong with the pool that WRONG_POOL tries to make. */
enum fuzz_wrong_pool { FUZZ_POOL_DEVICE, FUZZ_POOL_DMA, FUZZ_POOL_ORDER, FUZZ_POOL_NO_IFQ };

struct fuzz_op {
	uint8_t kind; /* enum fuzz_op_kind */
	uint8_t queue;
	uint8_t mode;
	uint8_t pick;
	uint32_t count;
	uint32_t value;
	struct io_uring_zcrx_rqe rqe;
};

struct fuzz_program {
	struct fuzz_shape shape;
	uint32_t count;
	struct fuzz_op ops[FUZZ_OPS_MAX];
};

extern const uint8_t fuzz_arguments[FUZZ_OP_KINDS]; /* FUZZ_ARG_… */
extern const uint8_t fuzz_modes[FUZZ_OP_KINDS];
extern const char *const fuzz_words[FUZZ_OP_KINDS];

void fuzz_decode(struct fuzz_program *program, const uint8_t *bytes, size_t size);
/* The canonical form; its size, or 0 if it does not fit into max bytes. */
size_t fuzz_encode(const struct fuzz_program *program, uint8_t *bytes, size_t max);

/* The most buffers that an area of it can have which is added; 0: none is, or the level has one. */
uint32_t fuzz_added_max(const struct fuzz_program *program);

/*
 * What an operation costs at most, about, in the simplest operations of a small
 * instance. It depends on the program alone, and so does what is left out.
 */
uint32_t fuzz_op_work(const struct fuzz_op *op, const struct fuzz_shape *shape);
/* Of a whole program. */
uint64_t fuzz_work(const struct fuzz_program *program);

/* Which operations a REPEAT does again: those from here up to itself, but for other REPEATs. */
uint32_t fuzz_stretch(const struct fuzz_program *program, uint32_t at);
/* How often: as often as it says, or as *left allows, which becomes less by what they cost. */
uint32_t fuzz_rounds(const struct fuzz_program *program, uint32_t at, uint32_t *left);

#endif /* ZCRX_FUZZ_PROGRAM_H */
