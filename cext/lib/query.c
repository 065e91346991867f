/* SPDX-License-Identifier: MIT */
/*
 * Questions are a list in the program's memory, and each has its own result: the call itself
 * fails only where that memory cannot be used. An answer is cut to the size that was asked for,
 * what is behind it is cleared.
 */
#include "query.h"

#include <errno.h>

#define REFUSE(error, ...) zcrx_lib_refuse(emu, -(error), __VA_ARGS__)

#define QUESTIONS_MAX 1000U
#define HEADER_ALIGNMENT 64U

union answer {
	struct io_uring_query_opcode opcodes;
	struct io_uring_query_zcrx zcrx;
	struct io_uring_query_zcrx_event event;
	uint8_t bytes[ZCRX_LIB_PAGE];
};

static uint32_t answer_opcodes(const struct zcrx_emu *emu, struct io_uring_query_opcode *answer)
{
	*answer = *emu->options.opcodes;
	answer->nr_query_opcodes = emu->level->query_ops;
	return sizeof(*answer);
}

static uint32_t answer_zcrx(const struct zcrx_lib_level *level, struct io_uring_query_zcrx *answer)
{
	*answer = (struct io_uring_query_zcrx){
		.register_flags = level->reg_flags,
		.area_flags = level->area_flags,
		.nr_ctrl_opcodes = level->ctrl_ops,
		.features = (level->has_rx_buf_len ? ZCRX_FEATURE_RX_PAGE_SIZE : 0) |
			    (level->has_events ? ZCRX_FEATURE_EVENT : 0),
		/* A header with both words on one line is these two; else all before the entries. */
		.rq_hdr_size = level->tail_at == sizeof(uint32_t) ? 2 * sizeof(uint32_t) :
								    level->rqes_at,
		.rq_hdr_alignment = HEADER_ALIGNMENT,
	};
	return sizeof(*answer);
}

static uint32_t answer_event(struct io_uring_query_zcrx_event *answer)
{
	*answer = (struct io_uring_query_zcrx_event){
		.event_flags = 1U << ZCRX_EVENT_ALLOC_FAIL | 1U << ZCRX_EVENT_COPY,
		.stats_size = sizeof(struct zcrx_stats),
		.stats_off_alignment = _Alignof(struct zcrx_stats),
	};
	return sizeof(*answer);
}

/* How many bytes the answer has, or -errno: the question's own result. */
static int answer_to(struct zcrx_emu *emu, const struct io_uring_query_hdr *hdr,
		     union answer *answer)
{
	if (hdr->query_op >= emu->level->query_ops)
		return REFUSE(EOPNOTSUPP, "query_op: %u; level %s has 0 to %u", hdr->query_op,
			      emu->level->name, emu->level->query_ops - 1);
	if (!zcrx_lib_is_zero(hdr->__resv, sizeof(hdr->__resv)) || hdr->result || hdr->size == 0)
		return REFUSE(EINVAL, "query: __resv and result must be 0, and size not");
	if (hdr->query_op == IO_URING_QUERY_OPCODES && emu->options.opcodes)
		return (int)answer_opcodes(emu, &answer->opcodes);
	if (hdr->query_op == IO_URING_QUERY_ZCRX)
		return (int)answer_zcrx(emu->level, &answer->zcrx);
	if (hdr->query_op == IO_URING_QUERY_ZCRX_EVENT)
		return (int)answer_event(&answer->event);
	return REFUSE(EOPNOTSUPP, "query_op: %u; not emulated", hdr->query_op);
}

static int ask(struct zcrx_emu *emu, uint64_t address, struct io_uring_query_hdr *hdr)
{
	const struct zcrx_emu_memory *memory = &emu->memory;
	union answer answer = {.bytes = {0}};
	uint32_t size;
	int result;

	if (memory->read(memory->context, hdr, address, sizeof(*hdr)))
		return REFUSE(EFAULT, "query (0x%llx): cannot be read",
			      (unsigned long long)address);
	if (hdr->size > ZCRX_LIB_PAGE)
		return REFUSE(E2BIG, "query size: %u; %u at most", hdr->size, ZCRX_LIB_PAGE);
	size = hdr->size;
	result = answer_to(emu, hdr, &answer);
	hdr->result = result < 0 ? result : 0;
	hdr->size = result < 0 ? 0 : (uint32_t)result < size ? (uint32_t)result : size;
	if ((size && memory->write(memory->context, hdr->query_data, &answer, size)) ||
	    memory->write(memory->context, address, hdr, sizeof(*hdr)))
		return REFUSE(EFAULT, "query_data (0x%llx): %u bytes cannot be written there",
			      (unsigned long long)hdr->query_data, size);
	return 0;
}

int zcrx_lib_query(struct zcrx_emu *emu, uint64_t address, uint32_t nr_args)
{
	struct io_uring_query_hdr hdr;

	if (nr_args)
		return REFUSE(EINVAL, "nr_args: %u; must be 0 for a query", nr_args);
	for (uint32_t count = 0; address; address = hdr.next_entry) {
		int error = ask(emu, address, &hdr);

		if (error)
			return error;
		if (++count == QUESTIONS_MAX)
			return REFUSE(ERANGE, "next_entry: a list of %u questions or more",
				      QUESTIONS_MAX);
	}
	return 0;
}
