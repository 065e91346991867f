/* SPDX-License-Identifier: MIT */
/*
 * The wire ABI of io_uring zero-copy receive: what Linux and an application
 * agree on, byte for byte. Compare with include/uapi/linux/io_uring.h. All
 * fields are little-endian; nothing else belongs here.
 */
#ifndef ZCRX_ABI_H
#define ZCRX_ABI_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire format is little-endian, and so must the machine be"
#endif

#define IORING_ZCRX_AREA_SHIFT 48
#define IORING_ZCRX_AREA_MASK (~(((uint64_t)1 << IORING_ZCRX_AREA_SHIFT) - 1))
#define IORING_CQE_F_MORE (1U << 1)
#define IO_RQ_MAX_ENTRIES 32768U

/* One refill ring entry (RQE): the application gives a fragment back. */
struct io_uring_zcrx_rqe {
	uint64_t off;
	uint32_t len;
	uint32_t __pad;
};

/* The first half of a 32-byte CQE. */
struct io_uring_cqe {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

/* Its second half, which only zero-copy receive fills. */
struct io_uring_zcrx_cqe {
	uint64_t off;
	uint64_t __pad;
};

struct zcrx_cqe32 {
	struct io_uring_cqe cqe;
	struct io_uring_zcrx_cqe zcrx;
};

/* Where the words of the refill ring are, in bytes from its region's start. */
struct io_uring_zcrx_offsets {
	uint32_t head;
	uint32_t tail;
	uint32_t rqes;
	uint32_t __resv2;
	uint64_t __resv[2];
};

struct io_uring_zcrx_area_reg {
	uint64_t addr;
	uint64_t len;
	uint64_t rq_area_token;
	uint32_t flags;
	uint32_t dmabuf_fd;
	uint64_t __resv2[2];
};

struct io_uring_zcrx_ifq_reg {
	uint32_t if_idx;
	uint32_t if_rxq;
	uint32_t rq_entries;
	uint32_t flags;
	uint64_t area_ptr;
	uint64_t region_ptr;
	struct io_uring_zcrx_offsets offsets;
	uint32_t zcrx_id;
	uint32_t rx_buf_len;
	uint64_t __resv[3];
};

#define IORING_MEM_REGION_TYPE_USER 1U

/* Memory for a ring: the user's own, or the kernel's, to be mapped at an offset it tells. */
struct io_uring_region_desc {
	uint64_t user_addr;
	uint64_t size;
	uint32_t flags;
	uint32_t id;
	uint64_t mmap_offset;
	uint64_t __resv[4];
};

enum zcrx_ctrl_op {
	ZCRX_CTRL_FLUSH_RQ = 0,
	ZCRX_CTRL_EXPORT = 1,
	ZCRX_CTRL_ARM_EVENT = 2,
	ZCRX_CTRL_ADD_AREA = 3,
};

/* The payload is the operation's own. */
struct zcrx_ctrl {
	uint32_t zcrx_id;
	uint32_t op;
	uint64_t __resv[2];
	uint64_t payload[6];
};

enum zcrx_event_type {
	ZCRX_EVENT_ALLOC_FAIL = 0, /* the NIC was given no buffer */
	ZCRX_EVENT_COPY = 1, /* a fragment was copied */
};
#define ZCRX_EVENT_DESC_FLAG_STATS 1U

/* Which events the user wants to hear of; from 7.2 on the first reserved word of a registration. */
struct zcrx_event_desc {
	uint64_t user_data;
	uint32_t type_mask;
	uint32_t flags;
	uint64_t stats_offset; /* from the refill ring's region */
	uint64_t __resv2[9];
};

struct zcrx_stats {
	uint64_t copy_count;
	uint64_t copy_bytes;
};

enum io_uring_query_op {
	IO_URING_QUERY_OPCODES = 0,
	IO_URING_QUERY_ZCRX = 1,
	IO_URING_QUERY_SCQ = 2,
	IO_URING_QUERY_ZCRX_EVENT = 3,
};

/* One question of a list. */
struct io_uring_query_hdr {
	uint64_t next_entry;
	uint64_t query_data;
	uint32_t query_op;
	uint32_t size;
	int32_t result;
	uint32_t __resv[3];
};

/* What a kernel has besides zcrx; flags and numbers of operations are io_uring's. */
struct io_uring_query_opcode {
	uint32_t nr_request_opcodes;
	uint32_t nr_register_opcodes;
	uint64_t feature_flags;
	uint64_t ring_setup_flags;
	uint64_t enter_flags;
	uint64_t sqe_flags;
	uint32_t nr_query_opcodes;
	uint32_t __pad;
};

#define ZCRX_FEATURE_RX_PAGE_SIZE 1U
#define ZCRX_FEATURE_EVENT 2U

struct io_uring_query_zcrx {
	uint64_t register_flags;
	uint64_t area_flags;
	uint32_t nr_ctrl_opcodes;
	uint32_t features;
	uint32_t rq_hdr_size;
	uint32_t rq_hdr_alignment;
	uint64_t __resv2;
};

struct io_uring_query_zcrx_event {
	uint32_t event_flags;
	uint32_t stats_size;
	uint32_t stats_off_alignment;
	uint32_t __resv1;
	uint64_t __resv2[4];
};

#define ZCRX_ABI_AT(type, field, offset) \
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field)

_Static_assert(sizeof(struct io_uring_zcrx_rqe) == 16, "rqe");
ZCRX_ABI_AT(io_uring_zcrx_rqe, off, 0);
ZCRX_ABI_AT(io_uring_zcrx_rqe, len, 8);
ZCRX_ABI_AT(io_uring_zcrx_rqe, __pad, 12);
_Static_assert(sizeof(struct zcrx_cqe32) == 32, "cqe32");
ZCRX_ABI_AT(zcrx_cqe32, cqe.user_data, 0);
ZCRX_ABI_AT(zcrx_cqe32, cqe.res, 8);
ZCRX_ABI_AT(zcrx_cqe32, cqe.flags, 12);
ZCRX_ABI_AT(zcrx_cqe32, zcrx.off, 16);
ZCRX_ABI_AT(zcrx_cqe32, zcrx.__pad, 24);
_Static_assert(sizeof(struct io_uring_zcrx_offsets) == 32, "offsets");
ZCRX_ABI_AT(io_uring_zcrx_offsets, head, 0);
ZCRX_ABI_AT(io_uring_zcrx_offsets, tail, 4);
ZCRX_ABI_AT(io_uring_zcrx_offsets, rqes, 8);
ZCRX_ABI_AT(io_uring_zcrx_offsets, __resv, 16);
_Static_assert(sizeof(struct io_uring_zcrx_area_reg) == 48, "area_reg");
ZCRX_ABI_AT(io_uring_zcrx_area_reg, rq_area_token, 16);
ZCRX_ABI_AT(io_uring_zcrx_area_reg, flags, 24);
ZCRX_ABI_AT(io_uring_zcrx_area_reg, dmabuf_fd, 28);
ZCRX_ABI_AT(io_uring_zcrx_area_reg, __resv2, 32);
_Static_assert(sizeof(struct io_uring_zcrx_ifq_reg) == 96, "ifq_reg");
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, area_ptr, 16);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, region_ptr, 24);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, offsets, 32);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, zcrx_id, 64);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, rx_buf_len, 68);
ZCRX_ABI_AT(io_uring_zcrx_ifq_reg, __resv, 72);
_Static_assert(sizeof(struct io_uring_region_desc) == 64, "region_desc");
ZCRX_ABI_AT(io_uring_region_desc, flags, 16);
ZCRX_ABI_AT(io_uring_region_desc, mmap_offset, 24);
ZCRX_ABI_AT(io_uring_region_desc, __resv, 32);
_Static_assert(sizeof(struct zcrx_ctrl) == 72, "ctrl");
ZCRX_ABI_AT(zcrx_ctrl, payload, 24);
_Static_assert(sizeof(struct zcrx_event_desc) == 96, "event_desc");
ZCRX_ABI_AT(zcrx_event_desc, type_mask, 8);
ZCRX_ABI_AT(zcrx_event_desc, stats_offset, 16);
_Static_assert(sizeof(struct zcrx_stats) == 16, "stats");
_Static_assert(sizeof(struct io_uring_query_hdr) == 40, "query_hdr");
ZCRX_ABI_AT(io_uring_query_hdr, query_op, 16);
ZCRX_ABI_AT(io_uring_query_hdr, result, 24);
_Static_assert(sizeof(struct io_uring_query_opcode) == 48, "query_opcode");
_Static_assert(sizeof(struct io_uring_query_zcrx) == 40, "query_zcrx");
ZCRX_ABI_AT(io_uring_query_zcrx, rq_hdr_size, 24);
_Static_assert(sizeof(struct io_uring_query_zcrx_event) == 48, "query_zcrx_event");
ZCRX_ABI_AT(io_uring_query_zcrx_event, __resv2, 16);

#endif /* ZCRX_ABI_H */
