/* SPDX-License-Identifier: MIT */
/*
 * The bytes on the wire against arrays written by hand, so that a change of
 * the structs, of the ring's accessors or of the byte order shows.
 */
#include "queue_memory.h"

_Static_assert(IORING_ZCRX_AREA_SHIFT == 48, "area shift");
_Static_assert(IORING_ZCRX_AREA_MASK == UINT64_C(0xffff000000000000), "area mask");
_Static_assert(IORING_CQE_F_MORE == 2, "more");
_Static_assert(IO_RQ_MAX_ENTRIES == 32768, "refill ring limit");
ZCRX_ABI_AT(io_uring_zcrx_area_reg, addr, 0);
ZCRX_ABI_AT(io_uring_zcrx_area_reg, len, 8);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, if_idx, 0);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, if_rxq, 4);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, rq_entries, 8);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, flags, 12);
ZCRX_ABI_AT(io_uring_zcrx_offsets, __resv2, 12);

static const uint8_t rqe_bytes[16] = {
	0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, /* off */
	0x0d, 0x0c, 0x0b, 0x0a, /* len */
	0x44, 0x33, 0x22, 0x11, /* __pad */
};

static const uint8_t cqe_bytes[32] = {
	0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* user_data */
	0x98, 0xff, 0xff, 0xff, /* res: -104 */
	0x02, 0x00, 0x00, 0x00, /* flags: more */
	0x40, 0xf0, 0xde, 0xbc, 0x9a, 0x00, 0x00, 0x00, /* off */
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* __pad */
};

static void an_rqe_is_written_as_16_little_endian_bytes(void)
{
	struct zcrx_rqe_slot slots[2];
	struct zcrx_rq_user user = {.rqes = slots, .entries = 2, .mask = 1, .cached_tail = 7};
	uint8_t untouched[16];

	memset(slots, 0x5a, sizeof(slots));
	memset(untouched, 0x5a, sizeof(untouched));
	zcrx_rq_user_put(&user, UINT64_C(0x0123456789abcdef), 0x0a0b0c0d, 0x11223344);
	CHECK_BYTES(&slots[1], rqe_bytes, sizeof(rqe_bytes));
	CHECK_BYTES(&slots[0], untouched, sizeof(untouched));
}

static void an_rqe_is_read_from_16_little_endian_bytes(void)
{
	struct zcrx_rqe_slot slot;
	struct zcrx_rq rq = {.rqes = &slot, .entries = 1};
	struct io_uring_zcrx_rqe rqe;

	memcpy(&slot, rqe_bytes, sizeof(slot));
	rqe = zcrx_rq_take(&rq);
	CHECK_EQ(rqe.off, 0x0123456789abcdef);
	CHECK_EQ(rqe.len, 0x0a0b0c0d);
	CHECK_EQ(rqe.__pad, 0x11223344);
	CHECK_BYTES(&rqe, rqe_bytes, sizeof(rqe_bytes));
}

static void a_cqe_is_written_as_32_little_endian_bytes(void)
{
	struct zcrx_cqe_slot slots[2];
	struct zcrx_cq cq = {.cqes = slots, .entries = 2, .mask = 1, .cached_tail = UINT32_MAX};

	memset(slots, 0x5a, sizeof(slots));
	zcrx_cq_put(&cq, UINT64_C(0x0102030405060708), -104, IORING_CQE_F_MORE,
		    UINT64_C(0x9abcdef040));
	CHECK_BYTES(&slots[1], cqe_bytes, sizeof(cqe_bytes));
	CHECK_EQ(cq.cached_tail, 0);
}

static void a_cqe_is_read_from_32_little_endian_bytes(void)
{
	struct zcrx_cqe_slot slot;
	struct zcrx_cq_user cq = {.cqes = &slot, .entries = 1};
	struct zcrx_cqe32 cqe;

	memcpy(&slot, cqe_bytes, sizeof(slot));
	cqe = zcrx_cq_user_take(&cq);
	CHECK_EQ(cqe.cqe.user_data, 0x0102030405060708);
	CHECK_EQ(cqe.cqe.res, -104);
	CHECK_EQ(cqe.cqe.flags, IORING_CQE_F_MORE);
	CHECK_EQ(cqe.zcrx.off, 0x9abcdef040);
	CHECK_EQ(cqe.zcrx.__pad, 0);
	CHECK_BYTES(&cqe, cqe_bytes, sizeof(cqe_bytes));
}

static uint32_t u32_at(const void *object, uint64_t offset)
{
	uint32_t value;

	memcpy(&value, (const uint8_t *)object + offset, sizeof(value));
	return value;
}

/* An application knows the region and the 32 bytes of offsets, nothing else of ours. */
static void the_offsets_lead_a_user_to_head_tail_and_entries(void)
{
	struct zcrx_shape shape = small_shape();
	struct queue_memory memory;
	struct zcrx_rq_user user;
	const uint8_t *rings;

	queue_memory_init(&memory, &shape);
	rings = memory.mapping.rings;
	user = user_of(&memory.queue);
	zcrx_rq_user_put(&user, UINT64_C(0x0123456789abcdef), 0x0a0b0c0d, 0x11223344);
	zcrx_rq_user_publish(&user);
	CHECK_EQ(u32_at(rings, u32_at(rings, 0)), shape.initial_index);
	CHECK_EQ(u32_at(rings, u32_at(rings, 4)), shape.initial_index + 1);
	CHECK_BYTES(rings + u32_at(rings, 8) + 16 * (shape.initial_index % shape.rq_entries),
		    rqe_bytes, sizeof(rqe_bytes));

	zcrx_cq_put(&memory.queue.cq, UINT64_C(0x0102030405060708), -104, IORING_CQE_F_MORE,
		    UINT64_C(0x9abcdef040));
	zcrx_cq_publish(&memory.queue.cq);
	CHECK_EQ(u32_at(rings, u32_at(rings, 32)), shape.initial_index);
	CHECK_EQ(u32_at(rings, u32_at(rings, 36)), shape.initial_index + 1);
	CHECK_BYTES(rings + u32_at(rings, 40) + 32 * (shape.initial_index % shape.cq_entries),
		    cqe_bytes, sizeof(cqe_bytes));
	queue_memory_free(&memory);
}

CHECK_MAIN(CASE(an_rqe_is_written_as_16_little_endian_bytes),
	   CASE(an_rqe_is_read_from_16_little_endian_bytes),
	   CASE(a_cqe_is_written_as_32_little_endian_bytes),
	   CASE(a_cqe_is_read_from_32_little_endian_bytes),
	   CASE(the_offsets_lead_a_user_to_head_tail_and_entries))
