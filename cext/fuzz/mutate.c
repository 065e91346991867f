/* SPDX-License-Identifier: MIT */
/*
 * Numbers are drawn where providers go wrong: at bounds, next to 2^32, in the
 * bits between the index and the area id. Sizes are small more often than not,
 * since a small instance runs out of everything soon; some are large enough for
 * batches of 64 and for more than one.
 */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>

static uint32_t below(struct zcrx_rng *rng, uint32_t bound)
{
	return zcrx_rng_below(rng, bound);
}

static bool happens(struct zcrx_rng *rng, uint32_t percent)
{
	return below(rng, 100) < percent;
}

/* 1 .. max, small ones more often: the range is halved with each zero bit that is drawn. */
static uint32_t small(struct zcrx_rng *rng, uint32_t max)
{
	uint64_t draw = zcrx_rng_next(rng);
	uint32_t halvings = (uint32_t)__builtin_ctz((uint32_t)draw | 0x100U);
	uint32_t bound = max >> halvings;

	return 1 + (uint32_t)((bound ? bound : 1) * (draw >> 32) >> 32);
}

/* Around the sizes that the code knows. */
static uint32_t count_drawn(struct zcrx_rng *rng)
{
	static const uint16_t known[] = {63, 64, 65, 127, 128, 129, 192, 256};

	uint32_t draw = below(rng, 32);

	if (draw == 0)
		return known[below(rng, sizeof(known) / sizeof(known[0]))];
	return draw == 1 ? small(rng, 256) : small(rng, 8);
}

static uint32_t word_drawn(struct zcrx_rng *rng)
{
	switch (below(rng, 4)) {
	case 0:
		return small(rng, 300);
	case 1:
		return 0U - small(rng, 300);
	case 2:
		return 1U << below(rng, 32);
	default:
		return (uint32_t)zcrx_rng_next(rng);
	}
}

/* ---- the dictionary of offsets ---------------------------------------------------- */

static uint64_t offset_drawn(struct zcrx_rng *rng, uint32_t num_niovs)
{
	uint64_t niov = below(rng, num_niovs);
	uint64_t off = niov << 12;

	switch (below(rng, 14)) {
	case 0: /* just beyond the area */
		return (uint64_t)num_niovs << 12;
	case 1:
		return (uint64_t)(num_niovs + small(rng, 64)) << 12;
	case 2: /* its last byte */
		return ((uint64_t)num_niovs << 12) - 1;
	case 3: /* bits that vanish in 32 */
		return off | (uint64_t)(1 + below(rng, 15)) << 44;
	case 4: /* an index that is an alias and out of range */
		return (uint64_t)(num_niovs + below(rng, 4)) << 12 | (uint64_t)1 << 44;
	case 5: /* another area: one that may have been added, or any */
		return off | (uint64_t)(1 + below(rng, happens(rng, 50) ? 4 : 0xffff)) << 48;
	case 6:
		return off | (uint64_t)1 << (48 + below(rng, 16));
	case 7: /* one bit of the index */
		return off ^ (uint64_t)1 << (12 + below(rng, 32));
	case 8:
		return UINT64_MAX;
	case 9:
		return ((uint64_t)UINT32_MAX << 12) | 0xfff;
	case 10: /* what a masked index would make a buffer of */
		return (uint64_t)(num_niovs * (1 + below(rng, 3)) + niov) << 12;
	case 11:
		return zcrx_rng_next(rng);
	default:
		return off | (happens(rng, 50) ? below(rng, 4096) : 0);
	}
}

static struct io_uring_zcrx_rqe rqe_drawn(struct zcrx_rng *rng, uint32_t num_niovs)
{
	struct io_uring_zcrx_rqe rqe = {.off = offset_drawn(rng, num_niovs)};

	if (happens(rng, 20))
		rqe.len = word_drawn(rng);
	if (happens(rng, 15))
		rqe.__pad = word_drawn(rng);
	return rqe;
}

/* ---- shapes and operations ----------------------------------------------------------- */

uint32_t fuzz_level_asked(void)
{
	const char *asked = getenv("ZCRX_FUZZ_KERNEL");

	return asked ? (uint32_t)strtoul(asked, NULL, 10) % ZCRX_LEVELS : ZCRX_LEVEL_SEED;
}

void fuzz_set_level(struct fuzz_program *program, uint32_t level)
{
	struct fuzz_shape *shape = &program->shape;

	shape->contract.level = level;
	shape->has_no_device = level >= ZCRX_LEVEL_7_1 && shape->initial_index % 16 == 5;
}

static void draw_shape(struct fuzz_shape *shape, struct zcrx_rng *rng)
{
	bool large = happens(rng, 8);

	shape->num_niovs = large ? 60 + below(rng, FUZZ_SMALL_MAX - 60 + 1) : small(rng, 16);
	shape->rq_entries = 1U << (large ? 6 + below(rng, 3) : below(rng, 5));
	shape->ptr_ring_size = happens(rng, 75) ? small(rng, 8) : small(rng, FUZZ_SMALL_MAX);
	shape->initial_index = happens(rng, 50) ? 0U - small(rng, 128) : word_drawn(rng);
	shape->queues = happens(rng, 10) ? 2 : 1;
	shape->contract = (struct zcrx_contract){
		.deviations = happens(rng, 20) ? ZCRX_CONTRACT_STRICT_ALIAS : 0,
	};
	shape->has_no_device = false;
	shape->is_checked = happens(rng, 15);
	shape->records = happens(rng, 5);
}

/*
 * X(kind, how often it is drawn). The way of a buffer there and back is most of
 * it, and first, since it is looked up in this order.
 */
#define FUZZ_WEIGHTS(X)    \
	X(ALLOC, 44)       \
	X(DELIVER, 34)     \
	X(DROP, 10)        \
	X(COPY, 6)         \
	X(RETURN, 36)      \
	X(PUSH, 30)        \
	X(WRITE, 8)        \
	X(TAIL, 10)        \
	X(HEAD, 4)         \
	X(REWRITE, 8)      \
	X(SCRUB, 8)        \
	X(FLUSH, 6)        \
	X(RESTART, 8)      \
	X(RETRY, 6)        \
	X(DESTROY, 4)      \
	X(RECREATE, 1)     \
	X(DETACH, 2)       \
	X(ATTACH, 3)       \
	X(CHECK, 4)        \
	X(HIDE, 3)         \
	X(REFUSE, 3)       \
	X(WRONG_POOL, 2)   \
	X(NETLINK, 1)      \
	X(DELIVER_MANY, 2) \
	X(REPEAT, 1)       \
	X(ADD_AREA, 2)

#define FUZZ_WEIGHT_ENTRY(name, weight) [FUZZ_##name] = (weight),
static const uint8_t weights[FUZZ_OP_KINDS] = {FUZZ_WEIGHTS(FUZZ_WEIGHT_ENTRY)};
#define FUZZ_WEIGHT_SUM(name, weight) +(weight)
#define WEIGHT_TOTAL (0U FUZZ_WEIGHTS(FUZZ_WEIGHT_SUM))

static uint8_t kind_drawn(struct zcrx_rng *rng)
{
	uint32_t at = below(rng, WEIGHT_TOTAL);
	uint8_t kind = 0;

	for (; at >= weights[kind]; kind++)
		at -= weights[kind];
	return kind;
}

/* Mostly few; now and then more than fit into eight bits. */
static uint32_t rounds_drawn(struct zcrx_rng *rng)
{
	uint32_t draw = below(rng, 32);

	if (draw == 0)
		return 250 + below(rng, 100);
	return draw < 8 ? small(rng, 64) : below(rng, 4);
}

/* Around the sizes of counters that somebody may have made too small. */
static uint32_t fragments_drawn(struct zcrx_rng *rng)
{
	static const uint32_t limits[] = {1U << 8, 1U << 8, 1U << 8, 1U << 16, 1U << 16, 1U << 15};

	return limits[below(rng, sizeof(limits) / sizeof(limits[0]))] - 4 + below(rng, 8);
}

static uint32_t value_drawn(struct zcrx_rng *rng, uint8_t kind)
{
	if (kind == FUZZ_REPEAT)
		return rounds_drawn(rng);
	if (kind == FUZZ_DELIVER_MANY)
		return fragments_drawn(rng);
	/* A tail is moved by little, to a place near the head, or anywhere. */
	return kind == FUZZ_TAIL && happens(rng, 60) ? (uint32_t)(int32_t)below(rng, 9) - 4U :
						       word_drawn(rng);
}

static void draw_arguments(struct fuzz_op *op, uint32_t num_niovs, uint32_t which,
			   struct zcrx_rng *rng)
{
	which &= fuzz_arguments[op->kind];
	if (which & FUZZ_ARG_COUNT)
		op->count = op->kind == FUZZ_PUSH && happens(rng, 60) ? 1 : count_drawn(rng);
	if (which & FUZZ_ARG_PICK)
		op->pick = (uint8_t)(happens(rng, 60) ? below(rng, 8) : below(rng, 256));
	if (which & FUZZ_ARG_MODE)
		op->mode = (uint8_t)(happens(rng, 50) ? 0 : below(rng, fuzz_modes[op->kind]));
	if (which & FUZZ_ARG_VALUE)
		op->value = value_drawn(rng, op->kind);
	if (op->kind == FUZZ_REPEAT && which & FUZZ_ARG_PICK)
		op->pick = (uint8_t)(small(rng, 8) - 1);
	if (which & FUZZ_ARG_RQE)
		op->rqe = rqe_drawn(rng, num_niovs);
}

static void draw_op(struct fuzz_op *op, const struct fuzz_shape *shape, struct zcrx_rng *rng)
{
	memset(op, 0, sizeof(*op));
	op->kind = kind_drawn(rng);
	op->queue = (uint8_t)below(rng, shape->queues);
	draw_arguments(op, shape->num_niovs, UINT32_MAX, rng);
}

/* What usually follows what: buffers go out, come back, and are asked for again. */
static void draw_round(struct fuzz_program *program, struct zcrx_rng *rng)
{
	static const uint8_t kinds[] = {FUZZ_ALLOC, FUZZ_DELIVER, FUZZ_RETURN, FUZZ_ALLOC};
	uint32_t count = count_drawn(rng);
	uint8_t queue = (uint8_t)below(rng, program->shape.queues);

	for (uint32_t i = 0; i < sizeof(kinds) && program->count < FUZZ_OPS_MAX; i++) {
		struct fuzz_op *op = &program->ops[program->count++];

		memset(op, 0, sizeof(*op));
		op->kind = i == 3 && happens(rng, 20) ? FUZZ_REFILL : kinds[i];
		op->queue = queue;
		draw_arguments(op, program->shape.num_niovs, UINT32_MAX, rng);
		if (op->kind != FUZZ_REFILL && happens(rng, 80))
			op->count = count;
	}
}

/* A pool after the other is left behind with a buffer out, until there is no slot for one more. */
static void draw_restarts(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint8_t queue = (uint8_t)below(rng, program->shape.queues);
	uint32_t count = 2 * (1 + below(rng, 9));

	for (uint32_t i = 0; i < count && program->count < FUZZ_OPS_MAX; i++) {
		struct fuzz_op *op = &program->ops[program->count++];

		memset(op, 0, sizeof(*op));
		op->kind = i % 2 ? FUZZ_RESTART : FUZZ_ALLOC;
		op->queue = queue;
		op->count = i % 2 ? 0 : 1;
	}
}

/* A few kinds only, again and again: what takes many of one kind comes up so. */
static void draw_narrow(struct fuzz_program *program, uint32_t count, struct zcrx_rng *rng)
{
	uint8_t kinds[4] = {FUZZ_ALLOC};
	uint32_t used = 2 + below(rng, sizeof(kinds) - 1);

	for (uint32_t i = 1; i < used; i++)
		kinds[i] = (uint8_t)below(rng, FUZZ_OP_KINDS);
	while (program->count < count && program->count < FUZZ_OPS_MAX) {
		struct fuzz_op *op = &program->ops[program->count++];

		memset(op, 0, sizeof(*op));
		op->kind = kinds[below(rng, used)];
		op->queue = (uint8_t)below(rng, program->shape.queues);
		draw_arguments(op, program->shape.num_niovs, UINT32_MAX, rng);
	}
}

/* More than a cache holds goes out, comes back, and is judged twice in a row: the cache is full. */
static void draw_flood(struct fuzz_program *program, struct zcrx_rng *rng)
{
	static const uint8_t kinds[] = {FUZZ_ALLOC, FUZZ_DELIVER, FUZZ_RETURN, FUZZ_REFILL,
					FUZZ_REFILL};

	program->shape.num_niovs = 65 + below(rng, FUZZ_SMALL_MAX - 65 + 1);
	program->shape.rq_entries = 1U << (7 + below(rng, 2));
	for (uint32_t i = 0; i < sizeof(kinds) && program->count < FUZZ_OPS_MAX; i++) {
		struct fuzz_op *op = &program->ops[program->count++];

		memset(op, 0, sizeof(*op));
		op->kind = kinds[i];
		if (fuzz_arguments[op->kind] & FUZZ_ARG_COUNT)
			op->count = 256;
	}
}

/* ---- what takes long, and is drawn rarely ------------------------------------------------ */

static struct fuzz_op *append(struct fuzz_program *program, uint8_t kind, uint32_t count)
{
	struct fuzz_op *op = &program->ops[program->count++];

	memset(op, 0, sizeof(*op));
	op->kind = kind;
	op->count = fuzz_arguments[kind] & FUZZ_ARG_COUNT ? count : 0;
	return op;
}

static void append_repeat(struct fuzz_program *program, uint32_t stretch, uint32_t rounds)
{
	struct fuzz_op *op = append(program, FUZZ_REPEAT, 0);

	op->pick = (uint8_t)(stretch - 1);
	op->value = rounds - 1;
}

static void append_any(struct fuzz_program *program, uint32_t count, struct zcrx_rng *rng)
{
	while (count-- > 0)
		draw_op(&program->ops[program->count++], &program->shape, rng);
}

/* Indices that do not fit into sixteen bits: the buffers on top of the freelist come first. */
static void draw_wide(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint32_t count = happens(rng, 50) ? 1 + below(rng, 8) : 1 + below(rng, 256);

	program->shape.num_niovs = 65600 + (happens(rng, 70) ? below(rng, 256) : below(rng, 65536));
	program->shape.queues = 1;
	append(program, FUZZ_ALLOC, count);
	append(program, FUZZ_DELIVER, count)->mode = (uint8_t)below(rng, 2);
	if (happens(rng, 50))
		append(program, FUZZ_RETURN, 1 + below(rng, count));
	append(program, happens(rng, 50) ? FUZZ_REFILL : FUZZ_ALLOC, 1);
	append_any(program, below(rng, 6), rng);
	append(program, FUZZ_SCRUB, 0)->mode = (uint8_t)below(rng, 2);
}

/* More refills, and a longer way of the ring's indices, than fit into sixteen bits. */
static void draw_long(struct fuzz_program *program, struct zcrx_rng *rng)
{
	static const uint8_t judging[] = {FUZZ_REFILL, FUZZ_ALLOC, FUZZ_FLUSH};
	uint8_t kind = judging[below(rng, sizeof(judging))];

	program->shape.num_niovs = 1 + below(rng, 4);
	program->shape.rq_entries = 1U << below(rng, 4);
	program->shape.queues = 1;
	program->shape.is_checked = false;
	if (happens(rng, 50)) {
		append(program, FUZZ_PUSH, 1)->rqe = rqe_drawn(rng, program->shape.num_niovs);
		append(program, kind, 1);
		append_repeat(program, 2, (1U << 16) + below(rng, 8));
	} else {
		append(program, FUZZ_ALLOC, 1);
		append(program, FUZZ_DELIVER, 1);
		append(program, FUZZ_RETURN, 1)->mode = FUZZ_RETURN_ALL;
		append_repeat(program, 3, (1U << 16) + below(rng, 8));
	}
	append_any(program, below(rng, 8), rng);
}

/* A ring of more entries than anybody may have thought of, filled and judged to its end. */
static void draw_full(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint32_t entries = 1U << (9 + small(rng, 4) - 1);
	uint32_t rounds = entries / 64;

	program->shape.rq_entries = entries;
	program->shape.num_niovs = 1 + below(rng, 512);
	program->shape.queues = 1;
	if (happens(rng, 50))
		program->shape.ptr_ring_size = 200 + below(rng, 400);
	append(program, FUZZ_ALLOC, 256);
	append(program, FUZZ_DELIVER, 256)->mode = (uint8_t)below(rng, 4);
	append(program, FUZZ_RETURN, 256)->mode = (uint8_t)below(rng, 2);
	for (uint32_t i = 1 + below(rng, 3); i > 0; i--)
		append(program, FUZZ_PUSH, 1 + below(rng, 256))->rqe =
			rqe_drawn(rng, program->shape.num_niovs);
	if (happens(rng, 50))
		append_repeat(program, 1 + below(rng, 2), 1 + below(rng, entries / 256));
	append(program, happens(rng, 50) ? FUZZ_REFILL : FUZZ_ALLOC, 64);
	append_any(program, below(rng, 4), rng);
	append(program, FUZZ_REFILL, 0);
	append_repeat(program, 1, rounds);
	append_any(program, below(rng, 4), rng);
}

/*
 * One of many is of this kind: what it costs must not show in how many programs a second
 * there are. False: it is no such one.
 */
static bool draw_rare(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint32_t draw = below(rng, 1U << 16);

	if (draw >= 96 + 6 + 1)
		return false;
	draw_shape(&program->shape, rng);
	program->count = 0;
	if (draw == 0)
		draw_long(program, rng);
	else if (draw <= 6)
		draw_wide(program, rng);
	else
		draw_full(program, rng);
	return true;
}

static bool is_large(const struct fuzz_shape *shape)
{
	return shape->num_niovs > FUZZ_SMALL_MAX || shape->rq_entries > FUZZ_SMALL_MAX ||
	       shape->ptr_ring_size > FUZZ_SMALL_MAX;
}

#define LONG_WORK (1U << 14)
#define BATCH 64U

/*
 * A repetition shows what no other program does, is kept for that, and hands itself down:
 * soon most of the time would go to children of such programs. So most are born without.
 */
static void drop_repeats(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < program->count; i++) {
		if (program->ops[i].kind != FUZZ_REPEAT || below(rng, 8) == 0)
			program->ops[kept++] = program->ops[i];
	}
	program->count = kept;
}

/* Most programs are far from long, whatever their operations are: then none is looked at. */
static bool is_long(const struct fuzz_program *program)
{
	const struct fuzz_shape *shape = &program->shape;
	uint32_t most = 4U + 256U + shape->rq_entries + 3U * shape->num_niovs;

	for (uint32_t i = 0; i < program->count; i++) {
		if (program->ops[i].kind == FUZZ_REPEAT)
			return fuzz_work(program) >= LONG_WORK;
	}
	return (program->count + 1) * most >= LONG_WORK && fuzz_work(program) >= LONG_WORK;
}

/*
 * More than a batch of 64 is needed for what happens at its bounds, and takes many times as
 * long: children of such an instance are smaller, as a rule.
 */
static void shrink(struct fuzz_shape *shape, struct zcrx_rng *rng)
{
	if ((shape->num_niovs <= BATCH && shape->rq_entries <= BATCH) || below(rng, 2) == 0)
		return;
	shape->num_niovs = (shape->num_niovs - 1) % 16 + 1;
	if (shape->rq_entries > 16)
		shape->rq_entries = 16;
}

/* A child of such a program is a small one, as a rule, or there would soon be no other. */
static void tame(struct fuzz_program *program, struct zcrx_rng *rng)
{
	struct fuzz_shape *shape = &program->shape;

	drop_repeats(program, rng);
	shrink(shape, rng);
	if ((!is_large(shape) && !is_long(program)) || below(rng, 256) == 0)
		return;
	shape->num_niovs = (shape->num_niovs - 1) % FUZZ_SMALL_MAX + 1;
	if (shape->rq_entries > FUZZ_SMALL_MAX)
		shape->rq_entries = FUZZ_SMALL_MAX;
	shape->ptr_ring_size = (shape->ptr_ring_size - 1) % FUZZ_SMALL_MAX + 1;
	for (uint32_t i = 0; i < program->count; i++) {
		if (program->ops[i].kind == FUZZ_REPEAT)
			program->ops[i].value %= 64;
	}
}

void fuzz_generate(struct fuzz_program *program, uint32_t count, struct zcrx_rng *rng)
{
	if (count >= 24 && draw_rare(program, rng)) /* as many as they take */
		return;
	draw_shape(&program->shape, rng);
	program->count = 0;
	if (happens(rng, 10)) {
		draw_narrow(program, count, rng);
		return;
	}
	if (happens(rng, 1))
		draw_flood(program, rng);
	while (program->count < count && program->count < FUZZ_OPS_MAX) {
		if (happens(rng, 15))
			draw_round(program, rng);
		else if (happens(rng, 1))
			draw_restarts(program, rng);
		else
			draw_op(&program->ops[program->count++], &program->shape, rng);
	}
	if (program->count > count)
		program->count = count;
}

/* ---- changes -------------------------------------------------------------------------- */

static void insert(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint32_t at = below(rng, program->count + 1);

	if (program->count == FUZZ_OPS_MAX)
		return;
	memmove(&program->ops[at + 1], &program->ops[at],
		sizeof(program->ops[0]) * (program->count - at));
	program->count++;
	if (program->count > 1 && happens(rng, 30)) {
		/* A copy of any other: what stands at `at` itself is nothing yet. */
		uint32_t from = below(rng, program->count - 1);

		program->ops[at] = program->ops[from < at ? from : from + 1];
	} else {
		draw_op(&program->ops[at], &program->shape, rng);
	}
}

static void cut(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint32_t at, count;

	if (program->count == 0)
		return;
	at = below(rng, program->count);
	count = small(rng, program->count - at);
	memmove(&program->ops[at], &program->ops[at + count],
		sizeof(program->ops[0]) * (program->count - at - count));
	program->count -= count;
}

static void repeat(struct fuzz_program *program, struct zcrx_rng *rng)
{
	uint32_t at, count;

	if (program->count == 0)
		return;
	at = below(rng, program->count);
	count = small(rng, program->count - at);
	if (count > FUZZ_OPS_MAX - program->count)
		count = FUZZ_OPS_MAX - program->count;
	memmove(&program->ops[at + count], &program->ops[at],
		sizeof(program->ops[0]) * (program->count - at));
	program->count += count;
}

static void swap(struct fuzz_program *program, struct zcrx_rng *rng)
{
	struct fuzz_op *one, *other, kept;

	if (program->count < 2)
		return;
	one = &program->ops[below(rng, program->count)];
	other = &program->ops[below(rng, program->count)];
	kept = *one;
	*one = *other;
	*other = kept;
}

static void change_argument(struct fuzz_program *program, struct zcrx_rng *rng)
{
	struct fuzz_op *op;

	if (program->count == 0)
		return;
	op = &program->ops[below(rng, program->count)];
	if (op->kind == FUZZ_PUSH && happens(rng, 30)) /* one bit of what stands in the ring */
		op->rqe.off ^= (uint64_t)1 << below(rng, 64);
	else
		draw_arguments(op, program->shape.num_niovs, 1U << below(rng, 5), rng);
}

static void change_shape(struct fuzz_program *program, struct zcrx_rng *rng)
{
	struct fuzz_shape drawn;
	struct fuzz_shape *shape = &program->shape;

	draw_shape(&drawn, rng);
	switch (below(rng, 7)) {
	case 0:
		shape->num_niovs = drawn.num_niovs;
		break;
	case 1:
		shape->rq_entries = drawn.rq_entries;
		break;
	case 2:
		shape->ptr_ring_size = drawn.ptr_ring_size;
		break;
	case 3:
		shape->initial_index = drawn.initial_index;
		break;
	case 4:
		shape->contract.deviations ^= ZCRX_CONTRACT_STRICT_ALIAS;
		break;
	case 5:
		shape->is_checked = drawn.is_checked;
		shape->records = drawn.records;
		break;
	default:
		*shape = drawn;
	}
	if (shape->queues == 1) {
		for (uint32_t i = 0; i < program->count; i++)
			program->ops[i].queue = 0;
	}
}

void fuzz_mutate(struct fuzz_program *program, struct zcrx_rng *rng)
{
	if (draw_rare(program, rng))
		return;
	tame(program, rng);
	for (uint32_t left = small(rng, 4); left > 0; left--) {
		uint32_t draw = below(rng, 100);

		if (draw < 34)
			insert(program, rng);
		else if (draw < 46)
			cut(program, rng);
		else if (draw < 54)
			repeat(program, rng);
		else if (draw < 60)
			swap(program, rng);
		else if (draw < 84)
			change_argument(program, rng);
		else if (draw < 93)
			draw_round(program, rng);
		else if (draw < 94)
			draw_restarts(program, rng);
		else
			change_shape(program, rng);
	}
}

void fuzz_cross(struct fuzz_program *to, const struct fuzz_program *first,
		const struct fuzz_program *second, struct zcrx_rng *rng)
{
	uint32_t kept = below(rng, first->count + 1);
	uint32_t from = below(rng, second->count + 1);
	uint32_t count = second->count - from;

	to->shape = first->shape;
	memcpy(to->ops, first->ops, sizeof(to->ops[0]) * kept);
	if (count > FUZZ_OPS_MAX - kept)
		count = FUZZ_OPS_MAX - kept;
	memcpy(&to->ops[kept], &second->ops[from], sizeof(to->ops[0]) * count);
	to->count = kept + count;
	for (uint32_t i = kept; i < to->count; i++)
		to->ops[i].queue = to->ops[i].queue && to->shape.queues > 1;
	tame(to, rng);
}
