/* SPDX-License-Identifier: MIT */
#include "trail.h"
#include "legal.h"
#include "run/control.h"

void zcrx_trail_delivered(const struct zcrx_queue *queue, uint32_t tail, uint32_t count,
			  struct zcrx_delivered *to)
{
	uint32_t in_buffer = ((uint32_t)1 << queue->shape.niov_shift) - 1;
	struct zcrx_cq_user cq = {
		.cqes = queue->cq.cqes,
		.mask = queue->cq.mask,
		.cached_head = tail - count,
	};

	for (uint32_t i = 0; i < count; i++) {
		const struct zcrx_ledger_entry *noted = &queue->ledger[cq.cached_head & cq.mask];
		struct zcrx_cqe32 cqe = zcrx_cq_user_take(&cq);
		const struct io_uring_zcrx_rqe named = {.off = cqe.zcrx.off & ~(uint64_t)in_buffer};
		struct zcrx_legal legal =
			zcrx_legal_of(&named, &queue->shape, zcrx_queue_areas(queue));
		uint64_t flow_seq = shm_load_relaxed_u64(&noted->flow_seq, POINT_LOG);
		bool is_of_buffer = (cqe.cqe.flags & IORING_CQE_F_MORE) && legal.names;

		to[i] = (struct zcrx_delivered){
			.niov = is_of_buffer ? legal.niov : UINT32_MAX,
			.starts = !(cqe.zcrx.off & in_buffer),
			.flow = (uint32_t)(flow_seq >> 32) & 0xffffffU,
			.seq = (uint32_t)flow_seq,
			.generation =
				(uint32_t)shm_load_relaxed_u64(&noted->crc_generation, POINT_LOG),
		};
	}
}

void zcrx_trail_judged(const struct zcrx_queue *queue, uint64_t position, uint32_t count,
		       uint8_t *verdicts, uint16_t *accounts)
{
	uint64_t mask = queue->shape.log_entries - 1;

	for (uint32_t i = 0; i < count; i++) {
		verdicts[i] = queue->ifq.verdict_log[(position + i) & mask];
		accounts[i] = queue->ifq.niov_log[(position + i) & mask];
	}
}
