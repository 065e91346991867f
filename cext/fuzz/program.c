/* SPDX-License-Identifier: MIT */
/*
 * The codec is one walk over an operation's arguments, in both directions, so
 * that reading and writing cannot disagree.
 */
#include "program.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FUZZ_OP_ARGUMENTS(name, word, arguments, modes) arguments,
const uint8_t fuzz_arguments[FUZZ_OP_KINDS] = {FUZZ_OPS(FUZZ_OP_ARGUMENTS)};
#define FUZZ_OP_MODES(name, word, arguments, modes) modes,
const uint8_t fuzz_modes[FUZZ_OP_KINDS] = {FUZZ_OPS(FUZZ_OP_MODES)};
#define FUZZ_OP_WORD(name, word, arguments, modes) word,
const char *const fuzz_words[FUZZ_OP_KINDS] = {FUZZ_OPS(FUZZ_OP_WORD)};

#define KIND_QUEUE 0x80U /* of an operation's first byte: the second queue */

#define FLAG_STRICT 1U
#define FLAG_TWO_QUEUES 2U
#define FLAG_CHECKED 4U
#define FLAG_RECORDS 8U
#define FLAGS 15U
/* The flags' upper half, and the last of eight more bytes: sizes beyond FUZZ_SMALL_MAX. */
#define FLAG_LARGE 0xa0U
#define LARGE_MARK 0x4cU

#define RQ_ORDERS 9U /* 2^0 .. 2^8 entries; the byte has the level above: 0 = seed … */
#define LEVELS 6U /* … and above that, whether there is no device */
#define RQ_ORDERS_LARGE 16U

struct large {
	uint32_t niovs_less_one;
	uint16_t ptr_ring_less_one;
	uint8_t rq_order;
	uint8_t mark;
};

struct reader {
	const uint8_t *at, *end;
};

/* Missing bytes are zeros. */
static inline void take(struct reader *reader, void *to, size_t size)
{
	size_t left = (size_t)(reader->end - reader->at);

	if (size <= left) {
		memcpy(to, reader->at, size); /* as a rule, and then of a size that is known */
		reader->at += size;
		return;
	}
	memset(to, 0, size);
	if (left)
		memcpy(to, reader->at, left);
	reader->at += left;
}

static uint8_t take_byte(struct reader *reader)
{
	return reader->at < reader->end ? *reader->at++ : 0;
}

/* Rarely meant by bytes that came about by chance: large instances take their time. */
static void decode_large(struct fuzz_shape *shape, struct reader *reader)
{
	struct reader ahead = *reader;
	struct large large;

	take(&ahead, &large, sizeof(large));
	if (large.mark != LARGE_MARK)
		return;
	*reader = ahead;
	shape->num_niovs = 1U + large.niovs_less_one % FUZZ_NIOVS_MAX;
	shape->rq_entries = 1U << large.rq_order % RQ_ORDERS_LARGE;
	shape->ptr_ring_size = 1U + large.ptr_ring_less_one % FUZZ_PTR_RING_MAX;
}

static void decode_shape(struct fuzz_shape *shape, struct reader *reader)
{
	uint8_t flags, orders;

	shape->num_niovs = 1U + take_byte(reader);
	orders = take_byte(reader);
	shape->rq_entries = 1U << orders % RQ_ORDERS;
	shape->ptr_ring_size = 1U + take_byte(reader);
	flags = take_byte(reader);
	take(reader, &shape->initial_index, sizeof(shape->initial_index));
	shape->queues = flags & FLAG_TWO_QUEUES ? 2 : 1;
	shape->contract = (struct zcrx_contract){
		.level = orders / RQ_ORDERS % LEVELS,
		.deviations = flags & FLAG_STRICT ? ZCRX_CONTRACT_STRICT_ALIAS : 0,
	};
	shape->has_no_device = orders / RQ_ORDERS / LEVELS % 2 &&
			       shape->contract.level >= ZCRX_LEVEL_7_1;
	shape->is_checked = flags & FLAG_CHECKED;
	shape->records = flags & FLAG_RECORDS;
	if ((flags & ~FLAGS) == FLAG_LARGE)
		decode_large(shape, reader);
}

/* What an operation can have behind its first byte, and more. */
#define ARGUMENT_BYTES 24U

#define HAS(arguments, which) ((arguments) / (which) % 2U)
/* At the end of the bytes, where some may be missing. */
static void decode_last(struct fuzz_op *op, struct reader *reader)
{
	uint32_t arguments = fuzz_arguments[op->kind];

	if (arguments & FUZZ_ARG_COUNT)
		op->count = 1U + take_byte(reader);
	if (arguments & FUZZ_ARG_PICK)
		op->pick = take_byte(reader);
	if (arguments & FUZZ_ARG_MODE)
		op->mode = take_byte(reader);
	if (arguments & FUZZ_ARG_VALUE)
		take(reader, &op->value, sizeof(op->value));
	if (arguments & FUZZ_ARG_RQE)
		take(reader, &op->rqe, sizeof(op->rqe));
}

/*
 * Which arguments there are is different each time, so nothing branches by it: what is read of
 * one that is not there becomes 0.
 */
static void decode_arguments(struct fuzz_op *op, struct reader *reader)
{
	uint32_t arguments = fuzz_arguments[op->kind];
	const uint8_t *at = reader->at;
	uint64_t entry[2], entry_mask = 0U - (uint64_t)HAS(arguments, FUZZ_ARG_RQE);
	uint32_t value;

	op->count = (1U + *at) * HAS(arguments, FUZZ_ARG_COUNT);
	at += HAS(arguments, FUZZ_ARG_COUNT);
	op->pick = (uint8_t)(*at * HAS(arguments, FUZZ_ARG_PICK));
	at += HAS(arguments, FUZZ_ARG_PICK);
	op->mode = (uint8_t)(*at * HAS(arguments, FUZZ_ARG_MODE));
	at += HAS(arguments, FUZZ_ARG_MODE);
	memcpy(&value, at, sizeof(value));
	op->value = value * HAS(arguments, FUZZ_ARG_VALUE);
	at += HAS(arguments, FUZZ_ARG_VALUE) * sizeof(value);
	memcpy(entry, at, sizeof(entry));
	entry[0] &= entry_mask;
	entry[1] &= entry_mask;
	memcpy(&op->rqe, entry, sizeof(op->rqe));
	reader->at = at + HAS(arguments, FUZZ_ARG_RQE) * sizeof(entry);
}

void fuzz_decode(struct fuzz_program *program, const uint8_t *bytes, size_t size)
{
	struct reader reader = {.at = bytes, .end = bytes + size};

	decode_shape(&program->shape, &reader);
	program->count = 0;
	while (reader.at < reader.end && program->count < FUZZ_OPS_MAX) {
		struct fuzz_op *op = &program->ops[program->count++];
		uint8_t first = *reader.at++;

		memset(op, 0, sizeof(*op));
		op->kind = (first & ~KIND_QUEUE) % FUZZ_OP_KINDS;
		op->queue = first & KIND_QUEUE && program->shape.queues > 1;
		if (reader.end - reader.at >= (ptrdiff_t)ARGUMENT_BYTES)
			decode_arguments(op, &reader);
		else
			decode_last(op, &reader);
		if (op->mode >= fuzz_modes[op->kind]) /* a division for few */
			op->mode %= fuzz_modes[op->kind];
	}
}

#define FUZZ_OP_SIZE(name, word, arguments, modes)                                   \
	1 + HAS(arguments, FUZZ_ARG_COUNT) + HAS(arguments, FUZZ_ARG_PICK) +         \
		HAS(arguments, FUZZ_ARG_MODE) + HAS(arguments, FUZZ_ARG_VALUE) * 4 + \
		HAS(arguments, FUZZ_ARG_RQE) * sizeof(struct io_uring_zcrx_rqe),
static const uint8_t sizes[FUZZ_OP_KINDS] = {FUZZ_OPS(FUZZ_OP_SIZE)};

static void put(uint8_t **at, const void *from, size_t size)
{
	memcpy(*at, from, size);
	*at += size;
}

static void put_byte(uint8_t **at, uint32_t value)
{
	*(*at)++ = (uint8_t)value;
}

static void encode_shape(const struct fuzz_shape *shape, uint8_t **at)
{
	const struct large large = {
		.niovs_less_one = shape->num_niovs - 1,
		.ptr_ring_less_one = (uint16_t)(shape->ptr_ring_size - 1),
		.rq_order = (uint8_t)__builtin_ctz(shape->rq_entries),
		.mark = LARGE_MARK,
	};
	bool is_large = shape->num_niovs > FUZZ_SMALL_MAX || shape->rq_entries > FUZZ_SMALL_MAX ||
			shape->ptr_ring_size > FUZZ_SMALL_MAX;

	put_byte(at, is_large ? 0 : large.niovs_less_one);
	put_byte(at, (is_large ? 0 : large.rq_order) +
			     RQ_ORDERS * (shape->contract.level + LEVELS * shape->has_no_device));
	put_byte(at, is_large ? 0 : large.ptr_ring_less_one);
	put_byte(at, (is_large ? FLAG_LARGE : 0) |
			     (zcrx_contract_is_strict(shape->contract) ? FLAG_STRICT : 0) |
			     (shape->queues > 1 ? FLAG_TWO_QUEUES : 0) |
			     (shape->is_checked ? FLAG_CHECKED : 0) |
			     (shape->records ? FLAG_RECORDS : 0));
	put(at, &shape->initial_index, sizeof(shape->initial_index));
	if (is_large)
		put(at, &large, sizeof(large));
}

/*
 * Which arguments there are is different each time, so nothing branches by it: what is not
 * there is written over by what comes next.
 */
static void encode_op(const struct fuzz_op *op, uint8_t **to)
{
	uint32_t arguments = fuzz_arguments[op->kind];
	uint8_t *at = *to;

	*to += sizes[op->kind];
	*at++ = op->kind | (op->queue ? KIND_QUEUE : 0);
	*at = (uint8_t)(op->count - 1);
	at += HAS(arguments, FUZZ_ARG_COUNT);
	*at = op->pick;
	at += HAS(arguments, FUZZ_ARG_PICK);
	*at = op->mode;
	at += HAS(arguments, FUZZ_ARG_MODE);
	memcpy(at, &op->value, sizeof(op->value));
	at += HAS(arguments, FUZZ_ARG_VALUE) * sizeof(op->value);
	memcpy(at, &op->rqe, sizeof(op->rqe));
}

size_t fuzz_encode(const struct fuzz_program *program, uint8_t *bytes, size_t max)
{
	uint8_t whole[FUZZ_PROGRAM_BYTES + ARGUMENT_BYTES];
	uint8_t *at = whole;
	size_t size;

	encode_shape(&program->shape, &at);
	for (uint32_t i = 0; i < program->count; i++)
		encode_op(&program->ops[i], &at);
	size = (size_t)(at - whole);
	if (size > max)
		return 0;
	memcpy(bytes, whole, size);
	return size;
}

uint32_t fuzz_added_max(const struct fuzz_program *program)
{
	uint32_t most = 0;

	if (program->shape.contract.level < ZCRX_LEVEL_7_3)
		return 0;
	for (uint32_t i = 0; i < program->count; i++) {
		if (program->ops[i].kind == FUZZ_ADD_AREA && program->ops[i].count > most)
			most = program->ops[i].count;
	}
	return most;
}

/* ---- what it costs ---------------------------------------------------------------- */

uint32_t fuzz_op_work(const struct fuzz_op *op, const struct fuzz_shape *shape)
{
	uint32_t work = 4;

	if (fuzz_arguments[op->kind] & FUZZ_ARG_COUNT)
		work += op->count;
	switch ((enum fuzz_op_kind)op->kind) {
	case FUZZ_DELIVER:
	case FUZZ_DELIVER_MANY:
	case FUZZ_DROP:
	case FUZZ_SCRUB:
	case FUZZ_RETRY:
	case FUZZ_RESTART:
	case FUZZ_DESTROY:
		return work + shape->num_niovs / 2;
	case FUZZ_RETURN:
		if (op->mode == FUZZ_RETURN_ALL)
			work += shape->rq_entries;
		return work + shape->num_niovs / 2;
	case FUZZ_FLUSH:
		return work + shape->rq_entries;
	case FUZZ_RECREATE:
		return work + 2 * shape->num_niovs + shape->rq_entries;
	default:
		return work;
	}
}

/* Bytes that came about by chance do not mean many. */
static uint32_t rounds_of(const struct fuzz_op *op)
{
	return 1U + (op->value < FUZZ_ROUNDS_MAX ? op->value : op->value % FUZZ_ROUNDS_FEW);
}

uint32_t fuzz_stretch(const struct fuzz_program *program, uint32_t at)
{
	uint32_t length = 1U + program->ops[at].pick % FUZZ_STRETCH_MAX;

	return at > length ? at - length : 0;
}

uint32_t fuzz_rounds(const struct fuzz_program *program, uint32_t at, uint32_t *left)
{
	uint32_t rounds = rounds_of(&program->ops[at]);
	uint64_t work = 0;

	for (uint32_t i = fuzz_stretch(program, at); i < at; i++)
		work += program->ops[i].kind == FUZZ_REPEAT ?
				0 :
				fuzz_op_work(&program->ops[i], &program->shape);
	if (work == 0)
		return 0;
	if (rounds > *left / work)
		rounds = (uint32_t)(*left / work);
	*left -= (uint32_t)(rounds * work);
	return rounds;
}

uint64_t fuzz_work(const struct fuzz_program *program)
{
	uint32_t left = FUZZ_WORK_MAX;
	uint64_t work = program->shape.num_niovs + program->shape.rq_entries;

	for (uint32_t i = 0; i < program->count; i++) {
		if (program->ops[i].kind == FUZZ_REPEAT)
			fuzz_rounds(program, i, &left);
		/* All that there is is compared after each. */
		work += fuzz_op_work(&program->ops[i], &program->shape) +
			program->shape.num_niovs / 8;
	}
	return work + FUZZ_WORK_MAX - left;
}
