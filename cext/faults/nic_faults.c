/* SPDX-License-Identifier: MIT */
/*
 * Why a packet suffers one fault at most: each fragment has one mark, by which
 * its user tells what was done to it, and what was done must be told exactly.
 * The first rule of the plan has it; others that meet the same packet do
 * nothing, and are not counted.
 *
 * A packet that is put off keeps its place in its flow: its sequence numbers
 * were taken when its turn was. It belongs to the user of that moment, so
 * that a new one never gets something late of which it missed the rest.
 */
#include "nic_faults.h"
#include "actors/nic_queue.h"

#include <time.h>

#define NEVER ZCRX_FAULT_NEVER

static void find_due(struct zcrx_nic_faults *faults)
{
	uint64_t due = faults->hold_until;

	if (faults->copy.packet && faults->copy.due < due)
		due = faults->copy.due;
	if (faults->late.packet && faults->late.due < due)
		due = faults->late.due;
	faults->later_due = due;
}

int zcrx_nic_faults_init(struct zcrx_nic_queue *nq, const struct zcrx_fault_rule *rules,
			 uint32_t rule_count, uint64_t seed)
{
	const struct zcrx_fault_area area = {.num_niovs = nq->queue.shape.num_niovs,
					     .niov_shift = nq->queue.shape.niov_shift};
	int error = zcrx_fault_compile(&nq->faults.plan, rules, rule_count, seed, nq->queue.index,
				       &area);

	if (error)
		return error;
	/* Relaxed: zcrx_cq_publish() of the first mark publishes what marks stand for. */
	for (uint32_t i = 0; i < rule_count; i++)
		shm_store_relaxed_u32(&nq->queue.notes->mark_kinds[i], rules[i].kind, POINT_LOG);
	nq->faults.hold_until = NEVER;
	find_due(&nq->faults);
	return 0;
}

static void count(struct zcrx_nic_queue *nq, uint32_t rule)
{
	shm_count(&nq->queue.nic->injected[rule - 1], 1);
	zcrx_flight_record(&nq->queue.flights[ZCRX_WRITER_NIC], ZCRX_EVENT_FAULT, rule - 1,
			   nq->packets_seen, nq->packets_seen);
}

/* ---- asking ------------------------------------------------------------------- */

static void stall(uint32_t us)
{
	const struct timespec pause = {.tv_sec = us / 1000000,
				       .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&pause, NULL);
}

/*
 * Take buffers out of the grant ring and keep them; false when there are none
 * to keep. Half of what is there stays, and a queue that runs short gets all
 * of them back, so the NIC always works on.
 */
static bool hold(struct zcrx_nic_queue *nq, uint32_t wanted, uint32_t packets)
{
	struct zcrx_queue *queue = &nq->queue;
	uint32_t half = zcrx_grant_available(&queue->grants, queue->grants.entries) / 2;
	uint32_t held = wanted < half ? wanted : half;

	if (held > ZCRX_NIC_HELD_MAX)
		held = ZCRX_NIC_HELD_MAX;
	if (nq->faults.hold_until != NEVER || held == 0)
		return false;
	for (uint32_t i = 0; i < held; i++)
		shm_store_relaxed_u32(&queue->nic_held[i], zcrx_nic_queue_take_grant(nq),
				      POINT_COUNTER);
	/* Pairs with the acquire in held_by_nic(): the niovs stand there. */
	shm_store_release_u32(&queue->nic->held_count, held, POINT_COUNTER);
	zcrx_grant_release(&queue->grants);
	nq->faults.hold_until = nq->packets_seen + packets;
	find_due(&nq->faults);
	return true;
}

void zcrx_nic_faults_give_back(struct zcrx_nic_queue *nq)
{
	struct zcrx_queue *queue = &nq->queue;
	uint32_t held = shm_load_relaxed_u32(&queue->nic->held_count, POINT_COUNTER);

	if (nq->faults.hold_until == NEVER)
		return;
	/* Each is in the pool before it is no longer ours: never in no place. */
	while (held > 0) {
		/* The release pairs with the acquire in held_by_nic(). */
		zcrx_ifq_drop(&queue->ifq,
			      shm_load_relaxed_u32(&queue->nic_held[held - 1], POINT_COUNTER), 1);
		shm_store_release_u32(&queue->nic->held_count, --held, POINT_COUNTER);
	}
	nq->faults.hold_until = NEVER;
	find_due(&nq->faults);
	/* A starved provider waits for RQEs only, and these come by the pool. */
	zcrx_bell_ring(&queue->bells->provider, ZCRX_BELL_GRANTS | zcrx_bell_refill(queue->index));
}

static bool begin_burst(struct zcrx_nic_queue *nq, uint32_t packets)
{
	if (nq->packets_seen < nq->faults.burst_end)
		return false;
	nq->faults.burst_end = nq->packets_seen + packets;
	nq->faults.gathering = true;
	return true;
}

static int64_t jump_ns(const struct zcrx_fault_rule *rule)
{
	int64_t ns = (int64_t)rule->params[0] * 1000000;

	return rule->params[1] == ZCRX_CLOCK_BACK ? -ns : ns;
}

/*
 * How many bytes are delivered of a packet that is cut short: at least `keep`,
 * and such that the last piece is one that its user can see is not whole. 0 if
 * there is no such number.
 */
static uint32_t cut_length(const struct zcrx_nic_queue *nq, uint32_t len, uint32_t keep,
			   struct zcrx_rng *rng)
{
	uint32_t in_niov = zcrx_nic_queue_niov_size(nq) - 1;
	uint32_t cut;

	if (len <= keep)
		return 0;
	cut = keep + zcrx_rng_below(rng, len - keep);
	if (cut & in_niov)
		return cut;
	if (cut + 1 < len)
		return cut + 1;
	return cut > keep ? cut - 1 : 0;
}

/*
 * How many of the packet's first bytes become fragments of their own: no more
 * than completions and buffers can ever be there for, or it would wait for ever.
 */
static uint32_t tiny_count(const struct zcrx_nic_queue *nq, uint32_t len, uint32_t wanted)
{
	const struct zcrx_queue *queue = &nq->queue;
	uint32_t pieces = zcrx_nic_queue_pieces(nq, len);
	uint32_t buffers = queue->shape.num_niovs / 2;
	uint32_t in_buffers;

	if (queue->grants.entries < buffers)
		buffers = queue->grants.entries;
	if (buffers <= pieces || queue->cq.entries <= pieces)
		return 0;
	in_buffers = (buffers - pieces) * (zcrx_nic_queue_niov_size(nq) / ZCRX_FRAGMENT_ALIGN);
	if (wanted > ZCRX_TINY_MAX)
		wanted = ZCRX_TINY_MAX;
	if (wanted > len)
		wanted = len;
	if (wanted > in_buffers)
		wanted = in_buffers;
	if (wanted > queue->cq.entries - pieces)
		wanted = queue->cq.entries - pieces;
	return wanted > 1 ? wanted : 0;
}

/* Note what is to be done to the packet at the cursor, if nothing else is and it can be. */
static void note_deed(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet, uint32_t rule)
{
	struct zcrx_nic_faults *faults = &nq->faults;
	struct zcrx_fault_lane *lane = &faults->plan.lanes[rule - 1];
	enum zcrx_fault_kind kind = (enum zcrx_fault_kind)lane->rule.kind;
	uint32_t amount = lane->rule.params[0];
	bool possible = true;

	if (faults->rule)
		return;
	if (kind == ZCRX_FAULT_NIC_TRUNCATE) {
		amount = cut_length(nq, packet->len, amount, &lane->rng);
		possible = amount != 0;
	} else if (kind == ZCRX_FAULT_NIC_TINY) {
		amount = tiny_count(nq, packet->len, amount);
		possible = amount != 0;
	} else if (kind == ZCRX_FAULT_NIC_REORDER) {
		possible = faults->late.packet == NULL;
	}
	if (!possible)
		return;
	faults->rule = rule;
	faults->kind = kind;
	faults->amount = amount;
}

void zcrx_nic_faults_ask(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
			 int64_t *skew_ns)
{
	int taken;

	nq->faults.asked = true;
	while ((taken = zcrx_fault_take_of(&nq->faults.plan, nq->packets_seen, packet->flow)) >=
	       0) {
		const struct zcrx_fault_rule *rule = &nq->faults.plan.lanes[taken].rule;
		bool done = true;

		switch ((enum zcrx_fault_kind)rule->kind) {
		case ZCRX_FAULT_NIC_STALL:
			stall(rule->params[0]);
			break;
		case ZCRX_FAULT_NIC_BURST:
			done = begin_burst(nq, rule->params[0]);
			break;
		case ZCRX_FAULT_NIC_HOLD:
			done = hold(nq, rule->params[0], rule->params[1]);
			break;
		case ZCRX_FAULT_CLOCK_JUMP:
			*skew_ns += jump_ns(rule);
			break;
		default: /* something is done to the packet: see nic_offer.c */
			/* Counted when it is done: the packet may find no room before. */
			note_deed(nq, packet, (uint32_t)taken + 1);
			done = false;
			break;
		}
		if (done)
			count(nq, (uint32_t)taken + 1);
	}
}

void zcrx_nic_faults_count(struct zcrx_nic_queue *nq)
{
	count(nq, nq->faults.rule);
}

/* ---- the packet at the cursor ---------------------------------------------------- */

/*
 * Not counted as offered before it is known what becomes of it: what was
 * offered is always what was delivered and what was dropped.
 */
void zcrx_nic_faults_put_off_late(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet)
{
	struct zcrx_nic_faults *faults = &nq->faults;

	faults->late = (struct zcrx_put_off){
		.packet = packet,
		.due = nq->packets_seen + 1 + faults->amount,
		.seq = zcrx_nic_queue_take_seqs(nq, packet->flow,
						zcrx_nic_queue_pieces(nq, packet->len)),
		.rule = faults->rule,
		.kind = ZCRX_FAULT_NIC_REORDER,
	};
	count(nq, faults->rule);
	find_due(faults);
}

void zcrx_nic_faults_put_off_copy(struct zcrx_nic_queue *nq, const struct zcrx_packet *packet,
				  uint32_t seq)
{
	struct zcrx_nic_faults *faults = &nq->faults;

	assert(faults->copy.packet == NULL); /* due before the next packet is looked at */
	faults->copy = (struct zcrx_put_off){
		.packet = packet,
		.seq = seq,
		.rule = faults->rule,
		.kind = ZCRX_FAULT_NIC_DUPLICATE,
	};
	find_due(faults);
}

/* ---- writing --------------------------------------------------------------------- */

void zcrx_nic_faults_put_begin(struct zcrx_nic_queue *nq, const struct zcrx_put_off *put_off)
{
	struct zcrx_nic_faults *faults = &nq->faults;

	if (put_off) {
		faults->put_rule = put_off->rule;
		faults->put_kind = put_off->kind;
		faults->put_seq = put_off->seq;
		return;
	}
	faults->put_rule = faults->rule;
	faults->put_kind = faults->kind;
	faults->put_left = zcrx_nic_queue_pieces(nq, faults->amount) - 1;
}

void zcrx_nic_faults_put_end(struct zcrx_nic_queue *nq)
{
	nq->faults.put_rule = 0;
}

static void flip_a_bit(struct zcrx_nic_queue *nq, uint8_t *bytes, uint32_t len)
{
	struct zcrx_rng *rng = &nq->faults.plan.lanes[nq->faults.put_rule - 1].rng;

	bytes[zcrx_rng_below(rng, len)] ^= (uint8_t)(1U << zcrx_rng_below(rng, 8));
}

static void count_repeated(struct zcrx_nic_queue *nq, uint32_t flow)
{
	shm_u32 *repeated = &nq->queue.flows_sent[flow].repeated;

	shm_store_relaxed_u32(repeated, shm_load_relaxed_u32(repeated, POINT_COUNTER) + 1,
			      POINT_COUNTER);
}

void zcrx_nic_faults_put(struct zcrx_nic_queue *nq, uint8_t *to, uint32_t flow, uint32_t len,
			 uint32_t crc)
{
	struct zcrx_nic_faults *faults = &nq->faults;

	switch (faults->put_kind) {
	case ZCRX_FAULT_NIC_CORRUPT: /* its first fragment */
		flip_a_bit(nq, to, len);
		nq->mark = faults->put_rule;
		count(nq, faults->put_rule);
		faults->put_rule = 0;
		break;
	case ZCRX_FAULT_NIC_TRUNCATE: /* its last one */
		if (faults->put_left-- == 0) {
			nq->mark = faults->put_rule;
			count(nq, faults->put_rule);
		}
		break;
	case ZCRX_FAULT_NIC_DUPLICATE:
		count_repeated(nq, flow);
		/* fall through */
	case ZCRX_FAULT_NIC_REORDER:
		nq->mark = faults->put_rule;
		zcrx_nic_queue_fragment_as(nq, flow, faults->put_seq++, len, crc);
		return;
	default:
		break;
	}
	zcrx_nic_queue_fragment(nq, flow, len, crc);
}

/* ---- later ------------------------------------------------------------------------- */

struct zcrx_put_off *zcrx_nic_faults_due(struct zcrx_nic_queue *nq)
{
	struct zcrx_nic_faults *faults = &nq->faults;

	if (nq->packets_seen >= faults->hold_until)
		zcrx_nic_faults_give_back(nq);
	/* A copy follows its packet at once. */
	if (faults->copy.packet)
		return &faults->copy;
	if (faults->late.packet && nq->packets_seen >= faults->late.due)
		return &faults->late;
	return NULL;
}

void zcrx_nic_faults_put_off_done(struct zcrx_nic_queue *nq, struct zcrx_put_off *put_off,
				  bool delivered)
{
	const struct zcrx_packet *packet = put_off->packet;

	if (put_off->kind == ZCRX_FAULT_NIC_REORDER) {
		uint32_t pieces = zcrx_nic_queue_pieces(nq, packet->len);

		zcrx_nic_queue_count_offered(nq, packet->len);
		if (delivered) {
			nq->packets_done++;
		} else {
			shm_count(&nq->queue.nic->packets_dropped, 1);
			shm_count(&nq->queue.nic->fragments_dropped, pieces);
		}
	} else if (delivered) {
		count(nq, put_off->rule);
	}
	put_off->packet = NULL;
	find_due(&nq->faults);
}

bool zcrx_nic_faults_no_more(struct zcrx_nic_queue *nq)
{
	struct zcrx_nic_faults *faults = &nq->faults;

	faults->late.due = 0;
	find_due(faults);
	return zcrx_nic_faults_has_put_off(nq);
}

void zcrx_nic_faults_forget(struct zcrx_nic_queue *nq)
{
	struct zcrx_nic_faults *faults = &nq->faults;

	if (faults->copy.packet)
		zcrx_nic_faults_put_off_done(nq, &faults->copy, false);
	if (faults->late.packet)
		zcrx_nic_faults_put_off_done(nq, &faults->late, false);
}
