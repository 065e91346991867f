/* SPDX-License-Identifier: MIT */
/* Packets of the arena on their way into buffers, with what the NIC's faults do to them. */
#ifndef ZCRX_NIC_OFFER_H
#define ZCRX_NIC_OFFER_H

#include "nic_queue.h"

/* The packet at the cursor. */
enum zcrx_offer zcrx_offer_packet(struct zcrx_nq *nq, const struct zcrx_packet *packet);
/* One that was put off before. */
enum zcrx_offer zcrx_offer_put_off(struct zcrx_nq *nq, const struct zcrx_put_off *put_off);
/* A packet is dropped: its sequence numbers are skipped. */
void zcrx_offer_drop(struct zcrx_nq *nq, const struct zcrx_packet *packet);
/* The packet was dealt with: whose turn for the copy fallback comes nearer. */
void zcrx_offer_pass_turn(struct zcrx_nq *nq, const struct zcrx_packet *packet);

#endif /* ZCRX_NIC_OFFER_H */
