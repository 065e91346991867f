/* SPDX-License-Identifier: MIT */
/*
 * What the kernel and an application of zero-copy receive agree on, for machines whose
 * <linux/io_uring.h> does not have it yet. Include that one (or liburing's) first where
 * you use it: what it has is not defined here again.
 *
 * Headers of Linux 6.13 and 6.14 have struct io_uring_region_desc, but nothing of zcrx:
 * define ZCRX_EMU_HAS_REGION before including this file. Those from 6.15 on have all but
 * struct zcrx_ctrl, which came with 6.19: define ZCRX_EMU_NEEDS_CTRL if you want it.
 */
#ifndef ZCRX_EMU_UAPI_H
#define ZCRX_EMU_UAPI_H

#include <stdint.h>

#ifndef IORING_ZCRX_AREA_SHIFT
#define IORING_ZCRX_AREA_SHIFT 48
#define IORING_ZCRX_AREA_MASK (~(((uint64_t)1 << IORING_ZCRX_AREA_SHIFT) - 1))

struct io_uring_zcrx_rqe {
	uint64_t off;
	uint32_t len;
	uint32_t __pad;
};

struct io_uring_zcrx_cqe {
	uint64_t off;
	uint64_t __pad;
};

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
	union {
		uint64_t __resv[3];
		uint64_t event_desc; /* from 7.2 on: the address of a struct zcrx_event_desc */
	};
};

#ifndef ZCRX_EMU_HAS_REGION
#define IORING_MEM_REGION_TYPE_USER 1
struct io_uring_region_desc {
	uint64_t user_addr;
	uint64_t size;
	uint32_t flags;
	uint32_t id;
	uint64_t mmap_offset;
	uint64_t __resv[4];
};
#endif

#ifndef ZCRX_EMU_NEEDS_CTRL
#define ZCRX_EMU_NEEDS_CTRL
#endif
#define ZCRX_EMU_NEEDS_EVENTS
#define ZCRX_EMU_NEEDS_QUERY
#endif /* IORING_ZCRX_AREA_SHIFT */

#ifdef ZCRX_EMU_NEEDS_CTRL
struct zcrx_ctrl {
	uint32_t zcrx_id;
	uint32_t op; /* 0 flush the refill ring, 1 export, 2 arm an event, 3 add an area */
	uint64_t __resv[2];
	uint64_t payload[6]; /* the operation's own: a union in the kernel's header */
};
#endif

/* Events and questions came with 7.2 and 6.18: define ZCRX_EMU_NEEDS_EVENTS, _QUERY for them. */
#ifdef ZCRX_EMU_NEEDS_EVENTS
struct zcrx_event_desc {
	uint64_t user_data;
	uint32_t type_mask; /* 1 << 0: no buffer for the NIC; 1 << 1: a fragment was copied */
	uint32_t flags; /* 1: there are statistics */
	uint64_t stats_offset; /* of these, from the refill ring's region */
	uint64_t __resv2[9];
};

struct zcrx_stats {
	uint64_t copy_count;
	uint64_t copy_bytes;
};
#endif

#ifdef ZCRX_EMU_NEEDS_QUERY
struct io_uring_query_hdr {
	uint64_t next_entry;
	uint64_t query_data;
	uint32_t query_op; /* 0: what a ring can do; 1: what zcrx can; 3: its events */
	uint32_t size;
	int32_t result;
	uint32_t __resv[3];
};

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
#endif

/* Numbers, for those whose header has them not; the kernel's names are enumerators. */
#define ZCRX_EMU_OP_RECV_ZC 58
#define ZCRX_EMU_REGISTER_ZCRX_IFQ 32
#define ZCRX_EMU_REGISTER_QUERY 35
#define ZCRX_EMU_REGISTER_ZCRX_CTRL 36
#define ZCRX_EMU_CQE_F_MORE 2U
#define ZCRX_EMU_CQE_F_SKIP (1U << 5)
#define ZCRX_EMU_CQE_F_32 (1U << 15)
#define ZCRX_EMU_SQ_CQ_OVERFLOW 2U

#endif /* ZCRX_EMU_UAPI_H */
