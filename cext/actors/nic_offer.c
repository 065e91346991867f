/* SPDX-License-Identifier: MIT */
/*
 * How a packet gets into buffers: behind the last one, into buffers of its own,
 * or copied. Each way asks for all the room that it needs before it takes any.
 */
#include "nic_offer.h"
#include "wire/crc32c.h"

#define COPY_MAX 4096U

static void put_payload(struct zcrx_nic_queue *nq, const uint8_t *payload, uint32_t flow,
			uint32_t len, uint32_t crc)
{
	uint8_t *to = zcrx_area_niov(&nq->queue.area, nq->open_niov) + nq->open_off;

	zcrx_nic_queue_expect(nq, len);
	shm_copy_payload(to, payload, len);
	if (nq->faults.put_rule)
		zcrx_nic_faults_put(nq, to, flow, len, crc);
	else
		zcrx_nic_queue_fragment(nq, flow, len, crc);
}

/*
 * The payload is somewhere else than in the area: the stack copies it there, if
 * the freelist has a buffer for it. If not, waiting would be in vain: what would
 * bring one back waits in the refill ring, and the provider looks there only
 * when placed packets have taken what was granted.
 */
static enum zcrx_offer offer_copied(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
				    const uint8_t *payload, const uint32_t *crcs)
{
	enum zcrx_offer room = zcrx_nic_queue_room(nq, 1, 0);
	int64_t niov;

	if (room != ZCRX_OFFERED)
		return room;
	niov = zcrx_ifq_take_copy_buffer(&nq->queue.ifq);
	if (niov < 0)
		return ZCRX_BLOCKED_BUFFER;
	if (nq->has_open)
		zcrx_nic_queue_close(nq);
	zcrx_nic_queue_open_copy(nq, (uint32_t)niov);
	put_payload(nq, payload, packet->flow, packet->len, crcs[0]);
	zcrx_nic_queue_close(nq);
	shm_count(&nq->queue.nic->copied_packets, 1);
	shm_count(&nq->queue.nic->copied_bytes, packet->len);
	return ZCRX_OFFERED;
}

/* A packet of at most one buffer: behind the last one in the open buffer if it fits. */
static enum zcrx_offer offer_small(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
				   const uint8_t *payload, const uint32_t *crcs)
{
	bool fits = nq->has_open && nq->open_off + packet->len <= zcrx_nic_queue_niov_size(nq);
	enum zcrx_offer room = zcrx_nic_queue_room(nq, 1, fits ? 0 : 1);

	if (room != ZCRX_OFFERED)
		return room;
	if (!fits) {
		if (nq->has_open)
			zcrx_nic_queue_close(nq);
		zcrx_nic_queue_open(nq);
	}
	put_payload(nq, payload, packet->flow, packet->len, crcs[0]);
	return ZCRX_OFFERED;
}

/* A packet of several buffers (as large receive offload makes them): all or nothing. */
static enum zcrx_offer offer_large(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
				   const uint8_t *payload, const uint32_t *crcs)
{
	uint32_t size = zcrx_nic_queue_niov_size(nq);
	uint32_t pieces = zcrx_nic_queue_pieces(nq, packet->len);
	enum zcrx_offer room = zcrx_nic_queue_room(nq, pieces, pieces);

	if (room != ZCRX_OFFERED)
		return room;
	if (nq->has_open)
		zcrx_nic_queue_close(nq);
	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t done = i * size;
		uint32_t len = packet->len - done < size ? packet->len - done : size;

		zcrx_nic_queue_open(nq);
		put_payload(nq, payload + done, packet->flow, len, crcs[i]);
		zcrx_nic_queue_close(nq);
	}
	return ZCRX_OFFERED;
}

/* The first bytes of a packet as fragments of their own, then the rest: all or nothing. */
static enum zcrx_offer offer_tiny(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
				  const uint8_t *payload, uint32_t tiny)
{
	uint32_t size = zcrx_nic_queue_niov_size(nq);
	uint32_t in_niov = size / ZCRX_FRAGMENT_ALIGN;
	uint32_t rest = zcrx_nic_queue_pieces(nq, packet->len - tiny);
	enum zcrx_offer room =
		zcrx_nic_queue_room(nq, tiny + rest, (tiny + in_niov - 1) / in_niov + rest);

	if (room != ZCRX_OFFERED)
		return room;
	for (uint32_t done = 0, len; done < packet->len; done += len) {
		bool is_tiny = done < tiny;

		if (!is_tiny || done % in_niov == 0) {
			if (nq->has_open)
				zcrx_nic_queue_close(nq);
			zcrx_nic_queue_open(nq);
		}
		len = is_tiny ? 1 : packet->len - done < size ? packet->len - done : size;
		put_payload(nq, payload + done, packet->flow, len,
			    zcrx_crc32c(payload + done, len));
	}
	zcrx_nic_queue_close(nq);
	zcrx_nic_faults_count(nq);
	return ZCRX_OFFERED;
}

static const uint8_t *payload_of(const struct zcrx_nic_queue *nq, const struct zcrx_packet *packet)
{
	return (const uint8_t *)nq->arena + packet->data_off;
}

static enum zcrx_offer offer(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
			     bool copied)
{
	const uint8_t *base = (const uint8_t *)nq->arena;
	const uint8_t *payload = payload_of(nq, packet);
	const uint32_t *crcs =
		(const uint32_t *)(const void *)(base + nq->arena->crcs_off) + packet->crc_first;
	enum zcrx_offer result;

	if (packet->len > zcrx_nic_queue_niov_size(nq))
		return offer_large(nq, packet, payload, crcs);
	/* Of a larger buffer the stack fills the first page; what needs more it would cut. */
	result = copied && packet->len <= COPY_MAX ? offer_copied(nq, packet, payload, crcs) :
						     ZCRX_BLOCKED_BUFFER;
	if (result != ZCRX_BLOCKED_BUFFER)
		return result;
	result = offer_small(nq, packet, payload, crcs);
	if (copied && result == ZCRX_OFFERED)
		shm_count(&nq->queue.nic->copies_placed, 1);
	return result;
}

/* Offer a packet that a fault changes, or keeps from its user for now or for ever. */
static enum zcrx_offer offer_with_fault(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet)
{
	const struct zcrx_nic_faults *faults = &nq->faults;
	uint32_t seq = zcrx_nic_queue_take_seqs(nq, packet->flow, 0);
	bool copied = zcrx_offer_is_copied(nq, packet);
	struct zcrx_packet cut = *packet;
	enum zcrx_offer result;

	switch (faults->kind) {
	case ZCRX_FAULT_CQ_FULL:
		/* As if its time were up at once: it holds nothing up. */
		shm_count(&nq->queue.nic->waits_cq_full, 1);
		shm_count(&nq->queue.nic->dropped_cq_full, 1);
		/* fall through */
	case ZCRX_FAULT_NIC_DROP:
		zcrx_offer_drop(nq, packet);
		zcrx_nic_faults_count(nq);
		return ZCRX_DROPPED;
	case ZCRX_FAULT_NIC_REORDER:
		zcrx_nic_faults_put_off_late(nq, packet);
		return ZCRX_PUT_OFF;
	case ZCRX_FAULT_NIC_TINY:
		return offer_tiny(nq, packet, payload_of(nq, packet), faults->amount);
	case ZCRX_FAULT_NIC_DUPLICATE:
		result = offer(nq, packet, copied);
		if (result == ZCRX_OFFERED)
			zcrx_nic_faults_put_off_copy(nq, packet, seq);
		return result;
	case ZCRX_FAULT_NIC_TRUNCATE:
		cut.len = faults->amount;
		break;
	default:
		break;
	}
	zcrx_nic_faults_put_begin(nq, NULL);
	result = offer(nq, &cut, copied);
	zcrx_nic_faults_put_end(nq);
	if (result == ZCRX_OFFERED)
		zcrx_nic_queue_skip(nq, packet->flow,
				    zcrx_nic_queue_pieces(nq, packet->len) -
					    zcrx_nic_queue_pieces(nq, cut.len));
	return result;
}

enum zcrx_offer zcrx_offer_packet(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet)
{
	if (nq->faults.rule)
		return offer_with_fault(nq, packet);
	return offer(nq, packet, zcrx_offer_is_copied(nq, packet));
}

enum zcrx_offer zcrx_offer_put_off(struct zcrx_nic_queue *nq, const struct zcrx_put_off *put_off)
{
	enum zcrx_offer result;

	zcrx_nic_faults_put_begin(nq, put_off);
	result = offer(nq, put_off->packet, false);
	zcrx_nic_faults_put_end(nq);
	return result;
}

void zcrx_offer_drop(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet)
{
	shm_count(&nq->queue.nic->packets_dropped, 1);
	zcrx_nic_queue_skip(nq, packet->flow, zcrx_nic_queue_pieces(nq, packet->len));
}
