/* SPDX-License-Identifier: MIT */
/* Packets of the arena on their way into buffers, with what the NIC's faults do to them. */
#ifndef ZCRX_NIC_OFFER_H
#define ZCRX_NIC_OFFER_H

#include "nic_queue.h"

/* The packet at the cursor. */
enum zcrx_offer zcrx_offer_packet(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet);
/* One that was put off before. */
enum zcrx_offer zcrx_offer_put_off(struct zcrx_nic_queue *nq, const struct zcrx_put_off *put_off);
/* A packet is dropped: its sequence numbers are skipped. */
void zcrx_offer_drop(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet);
/* Is it this packet's turn not to have landed in the area? */
static inline bool zcrx_offer_is_copied(const struct zcrx_nic_queue *nq,
					const struct zcrx_packet *packet)
{
	return nq->copy_every && nq->copy_countdown <= 1 &&
	       packet->len <= zcrx_nic_queue_niov_size(nq) && !zcrx_nic_faults_passes_turn(nq);
}

/* The packet was dealt with: the next turn for the copy fallback comes nearer. */
static inline void zcrx_offer_pass_turn(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet)
{
	if (zcrx_offer_is_copied(nq, packet))
		nq->copy_countdown = nq->copy_every;
	else if (nq->copy_countdown > 1 && packet->len <= zcrx_nic_queue_niov_size(nq))
		nq->copy_countdown--;
}

#endif /* ZCRX_NIC_OFFER_H */
