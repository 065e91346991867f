/* SPDX-License-Identifier: MIT */
#include "reconcile.h"

static void mismatch(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue,
		     uint64_t position, uint16_t intent, uint8_t verdict)
{
	if (reconciler->mismatch_count < ZCRX_MISMATCHES_MAX)
		reconciler->mismatches[reconciler->mismatch_count] = (struct zcrx_mismatch){
			.position = position,
			.index = queue->shape.initial_index + (uint32_t)position,
			.intent = intent,
			.verdict = verdict,
		};
	reconciler->mismatch_count++;
	if (ZCRX_INTENT_RULE(intent) <= ZCRX_RULES_MAX)
		reconciler->wrong[ZCRX_INTENT_RULE(intent)]++;
}

uint64_t zcrx_reconcile(struct zcrx_reconciler *reconciler, struct zcrx_queue *queue)
{
	uint64_t mask = queue->shape.log_entries - 1;
	/* Pairs with the release in the provider's refill: its log bytes are there. */
	uint64_t consumed = shm_load_acquire_u64(&queue->ifq.shared->consumed, POINT_LOG);
	/*
	 * Pairs with the release in zcrx_tail_publish_lie(): a provider that took more
	 * than was written had seen the lie. And with the one in
	 * zcrx_returns_recover(): no lie any more, so all that was taken is written.
	 */
	bool astray = shm_load_acquire_u32(&queue->lab->astray_rule, POINT_LOG) != 0;
	/* Pairs with the release in zcrx_returns_note_written(): the intents are there. */
	uint64_t written = shm_load_acquire_u64(&queue->lab->written, POINT_LOG);
	uint64_t start = reconciler->checked;

	if (astray && (int64_t)(consumed - written) > 0)
		consumed = written;
	if ((int64_t)(consumed - start) <= 0)
		return 0;
	if (consumed - start > queue->shape.log_entries) {
		reconciler->lost += consumed - start - queue->shape.log_entries;
		reconciler->checked = consumed - queue->shape.log_entries;
	}
	for (uint64_t at = reconciler->checked; at < consumed; at++) {
		uint8_t logged = queue->ifq.verdict_log[at & mask];
		uint16_t intent = shm_load_relaxed_u16(&queue->intents[at & mask], POINT_LOG);
		uint32_t rule = ZCRX_INTENT_RULE(intent);
		uint8_t verdict = logged & 7U;

		if (rule > ZCRX_RULES_MAX) {
			mismatch(reconciler, queue, at, intent, logged);
			continue;
		}
		reconciler->table[rule][verdict]++;
		reconciler->aliases += logged >> 7;
		if (ZCRX_INTENT_LEGAL(intent) >> verdict & 1U)
			continue;
		/* An entry that had a reference when it was written may find it scrubbed. */
		if (verdict == ZCRX_NO_USER_REF && at >= reconciler->scrubbed_from &&
		    at < reconciler->scrubbed_until &&
		    ZCRX_INTENT_LEGAL(intent) & 1U << ZCRX_ACCEPTED)
			reconciler->after_scrub++;
		else
			mismatch(reconciler, queue, at, intent, logged);
	}
	reconciler->checked = consumed;
	/* Pairs with the acquire in the consumer's zcrx_returns_log_room(): those bytes may be reused. */
	shm_store_release_u64(&queue->lab->checked, consumed, POINT_LOG);
	/* The same for the provider's log_room(), where no user can write. */
	shm_store_release_u64(&queue->ifq.shared->checked, consumed, POINT_LOG);
	return consumed - start;
}
