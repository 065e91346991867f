/* SPDX-License-Identifier: MIT */
#include "reconcile.h"

#include <errno.h>
#include <stdlib.h>

#define NO_USER_REF_BIT (1U << ZCRX_NO_USER_REF)

int zcrx_reconciler_init(struct zcrx_reconciler *reconciler, uint32_t num_niovs)
{
	memset(reconciler, 0, sizeof(*reconciler));
	reconciler->account_count = zcrx_account_count(num_niovs);
	reconciler->accounts = calloc(reconciler->account_count, sizeof(*reconciler->accounts));
	return reconciler->accounts ? 0 : -ENOMEM;
}

void zcrx_reconciler_destroy(struct zcrx_reconciler *reconciler)
{
	free(reconciler->accounts);
	reconciler->accounts = NULL;
}

/* ---- credits ------------------------------------------------------------------------------ */

static uint32_t scrubbed_ever(const struct zcrx_queue *queue, uint32_t account)
{
	/* Relaxed: who scrubs has done so before the control process gets here. */
	return shm_load_relaxed_u32(&queue->area.scrubbed[account], POINT_COUNTER);
}

/* References of the present user that scrubs took: X above. */
static uint32_t scrubbed_of(const struct zcrx_queue *queue, const struct zcrx_account *account,
			    uint32_t number)
{
	return scrubbed_ever(queue, number) - account->scrubbed_before;
}

/* A return found nothing: F + 1 <= S + X. */
static bool spend(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue,
		  const struct zcrx_compared *entry)
{
	struct zcrx_account *account = &reconciler->accounts[entry->account];
	uint32_t scrubbed = scrubbed_of(queue, account, entry->account);

	if (account->spent >= (uint64_t)account->strays + scrubbed)
		return false;
	account->spent++;
	if (account->spent_on_strays < account->strays) {
		account->spent_on_strays++;
		reconciler->after_stray++;
	} else {
		reconciler->after_scrub++;
	}
	return true;
}

/* The same of an entry that was sure of a reference: only a scrub can have had it. */
static bool spend_scrubbed(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue,
			   const struct zcrx_compared *entry, bool is_return)
{
	struct zcrx_account *account = &reconciler->accounts[entry->account];
	uint32_t scrubbed = scrubbed_of(queue, account, entry->account);

	if (account->excused >= scrubbed)
		return false;
	if (is_return && account->spent >= (uint64_t)account->strays + scrubbed)
		return false;
	account->excused++;
	account->spent += is_return;
	reconciler->after_scrub++;
	return true;
}

/* ---- one entry ------------------------------------------------------------------------------ */

static void mismatch(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue,
		     const struct zcrx_compared *entry, enum zcrx_mismatch_why why)
{
	struct zcrx_mismatch found = {
		.position = entry->position,
		.index = queue->shape.initial_index + (uint32_t)entry->position,
		.intent = entry->intent,
		.verdict = entry->logged,
		.why = why,
		.account = entry->account,
	};

	if (why == ZCRX_WHY_NO_CREDIT)
		found.intent &= (uint16_t)~ZCRX_INTENT(0, NO_USER_REF_BIT);
	if (entry->account < reconciler->account_count) {
		const struct zcrx_account *account = &reconciler->accounts[entry->account];

		found.spent = account->spent;
		found.put_down = account->strays + scrubbed_of(queue, account, entry->account);
	}
	if (reconciler->mismatch_count < ZCRX_MISMATCHES_MAX)
		reconciler->mismatches[reconciler->mismatch_count] = found;
	reconciler->mismatch_count++;
	if (ZCRX_INTENT_RULE(entry->intent) <= ZCRX_RULES_MAX)
		reconciler->wrong[ZCRX_INTENT_RULE(entry->intent)]++;
}

/* ---- runs that failed (7.3) --------------------------------------------------------------- */

/* See reconcile.h. Buffers that share an account cannot be told apart, nor their failures. */
static void end_failed_run(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue)
{
	struct zcrx_failed_run run = reconciler->failed;
	struct zcrx_account *account = &reconciler->accounts[run.last.account];
	bool is_sure = !(ZCRX_INTENT_LEGAL(run.last.intent) & NO_USER_REF_BIT);
	bool is_shared = queue->area.num_niovs > reconciler->account_count;
	uint32_t scrubbed;

	if (run.returns + run.strays == 0)
		return;
	reconciler->failed.returns = reconciler->failed.strays = 0;
	scrubbed = scrubbed_of(queue, account, run.last.account);
	if (is_sure && account->excused >= scrubbed && !is_shared) {
		mismatch(reconciler, queue, &run.last, ZCRX_WHY_ILLEGAL);
		return;
	}
	if (is_sure)
		account->excused += run.returns + run.strays;
	if (run.returns == 0)
		return;
	if (account->spent >= (uint64_t)account->strays + scrubbed + run.strays && !is_shared) {
		mismatch(reconciler, queue, &run.last, ZCRX_WHY_NO_CREDIT);
		return;
	}
	account->spent += run.returns;
	if (run.strays || account->strays)
		reconciler->after_stray += run.returns;
	else
		reconciler->after_scrub += run.returns;
}

/* An entry that may end a run of those that failed, or is of one; true if it is. */
static bool add_to_failed_run(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue,
			      const struct zcrx_compared *entry)
{
	struct zcrx_failed_run *run = &reconciler->failed;
	uint8_t verdict = entry->logged & 7U;
	bool names = verdict <= ZCRX_OTHER_POOL || verdict == ZCRX_NO_USER_REF;

	if (!names)
		return false; /* what is malformed ends none */
	if (verdict != ZCRX_NO_USER_REF || entry->account != run->last.account)
		end_failed_run(reconciler, queue);
	if (verdict != ZCRX_NO_USER_REF ||
	    !(ZCRX_INTENT_LEGAL(entry->intent) & (NO_USER_REF_BIT | 1U << ZCRX_ACCEPTED)))
		return false;
	run->last = *entry;
	if (entry->due == ZCRX_DUE(entry->account))
		run->returns++;
	else
		run->strays++;
	return true;
}

static void compare(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue,
		    const struct zcrx_compared *entry)
{
	uint32_t rule = ZCRX_INTENT_RULE(entry->intent);
	uint32_t legal = ZCRX_INTENT_LEGAL(entry->intent);
	uint8_t verdict = entry->logged & 7U;
	bool took = verdict <= ZCRX_OTHER_POOL;
	bool names = took || verdict == ZCRX_NO_USER_REF;
	bool is_return = entry->due == ZCRX_DUE(entry->account);

	if (rule > ZCRX_RULES_MAX) {
		mismatch(reconciler, queue, entry, ZCRX_WHY_ILLEGAL);
		return;
	}
	reconciler->table[rule][verdict]++;
	reconciler->aliases += entry->logged >> 7;
	if (names && entry->account >= reconciler->account_count) {
		mismatch(reconciler, queue, entry, ZCRX_WHY_OTHER_BUFFER);
		return;
	}
	if (zcrx_contract_goes_by_runs(queue->shape.contract) &&
	    add_to_failed_run(reconciler, queue, entry)) {
		if (rule == ZCRX_INTENT_VALID && entry->due && !is_return)
			mismatch(reconciler, queue, entry, ZCRX_WHY_OTHER_BUFFER);
		return;
	}
	if (took) {
		reconciler->accounts[entry->account].taken++;
		reconciler->accounts[entry->account].strays += !is_return;
		reconciler->strays[rule] += !is_return;
	}
	if (!(legal >> verdict & 1U)) {
		if (verdict != ZCRX_NO_USER_REF || !(legal & 1U << ZCRX_ACCEPTED) ||
		    !spend_scrubbed(reconciler, queue, entry, is_return))
			mismatch(reconciler, queue, entry, ZCRX_WHY_ILLEGAL);
	} else if (rule == ZCRX_INTENT_VALID && names && entry->due && !is_return) {
		/* Only what a rule wrote can be found as something else. */
		mismatch(reconciler, queue, entry, ZCRX_WHY_OTHER_BUFFER);
	} else if (verdict == ZCRX_NO_USER_REF && is_return && !spend(reconciler, queue, entry)) {
		mismatch(reconciler, queue, entry, ZCRX_WHY_NO_CREDIT);
	}
}

/*
 * What nearly all entries are, and compare() would find nothing to say of: a return by the
 * rules that took the reference of its own buffer. Where entries are judged by runs, it may
 * end one that failed.
 */
static inline bool is_plain(const struct zcrx_reconciler *reconciler,
			    const struct zcrx_compared *entry)
{
	return entry->logged <= ZCRX_OTHER_POOL && /* and no alias */
	       ZCRX_INTENT_RULE(entry->intent) == ZCRX_INTENT_VALID &&
	       (ZCRX_INTENT_LEGAL(entry->intent) >> entry->logged & 1U) &&
	       entry->due == ZCRX_DUE(entry->account) &&
	       entry->account < reconciler->account_count &&
	       reconciler->failed.returns + reconciler->failed.strays == 0;
}

uint64_t zcrx_reconcile(struct zcrx_reconciler *reconciler, struct zcrx_queue *queue)
{
	uint64_t mask = queue->shape.log_entries - 1;
	/* Pairs with the release in record(): its log bytes are there. */
	uint64_t consumed = shm_load_acquire_u64(&queue->ifq.shared->consumed, POINT_LOG);
	/*
	 * Pairs with the release in zcrx_ring_faults_lie(): a provider that took more
	 * than was written had seen the lie. And with the one in
	 * zcrx_ring_faults_recover(): no lie any more, so all that was taken is written.
	 */
	bool astray = shm_load_acquire_u32(&queue->notes->astray_rule, POINT_LOG) != 0;
	/* Pairs with the release in zcrx_rq_writer_note_written(): the intents are there. */
	uint64_t written = shm_load_acquire_u64(&queue->notes->written, POINT_LOG);
	uint64_t start = reconciler->checked;
	const shm_u16 *intents = queue->intents, *dues = queue->dues;
	const uint8_t *verdicts = queue->ifq.verdict_log;
	const uint16_t *niovs = queue->ifq.niov_log;
	/* The intents of a consumer that writes none come from zcrx_observer_step(), before this. */
	bool is_cut = (astray || queue->witness.shared) && (int64_t)(consumed - written) > 0;

	if (is_cut)
		consumed = written;
	if ((int64_t)(consumed - start) <= 0)
		return 0;
	if (consumed - start > queue->shape.log_entries) {
		reconciler->lost += consumed - start - queue->shape.log_entries;
		reconciler->checked = consumed - queue->shape.log_entries;
	}
	for (uint64_t at = reconciler->checked; at < consumed; at++) {
		const struct zcrx_compared entry = {
			.position = at,
			.intent = shm_load_relaxed_u16(&intents[at & mask], POINT_LOG),
			.due = shm_load_relaxed_u16(&dues[at & mask], POINT_LOG),
			.logged = verdicts[at & mask],
			.account = niovs[at & mask],
		};

		if (is_plain(reconciler, &entry)) {
			reconciler->table[ZCRX_INTENT_VALID][entry.logged]++;
			reconciler->accounts[entry.account].taken++;
		} else {
			compare(reconciler, queue, &entry);
		}
	}
	/* A refill's entries are said to be there together: its last run is over. */
	if (!is_cut)
		end_failed_run(reconciler, queue);
	reconciler->checked = consumed;
	/* Pairs with the acquire in zcrx_rq_writer_log_room(): those bytes may be reused. */
	shm_store_release_u64(&queue->notes->checked, consumed, POINT_LOG);
	/* The same for the provider's log_room(), where no user can write. */
	shm_store_release_u64(&queue->ifq.shared->checked, consumed, POINT_LOG);
	return consumed - start;
}

void zcrx_reconcile_new_user(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue)
{
	end_failed_run(reconciler, queue);
	for (uint32_t number = 0; number < reconciler->account_count; number++)
		reconciler->accounts[number] = (struct zcrx_account){
			.taken = reconciler->accounts[number].taken,
			.scrubbed_before = scrubbed_ever(queue, number),
		};
}

/* ---- the balance ------------------------------------------------------------------------------ */

void zcrx_reconcile_balance(const struct zcrx_reconciler *reconciler,
			    const struct zcrx_queue *queue, struct zcrx_balance *balance)
{
	const struct zcrx_area *area = &queue->area;

	memset(balance, 0, sizeof(*balance));
	for (uint32_t number = 0; number < reconciler->account_count; number++) {
		struct zcrx_balance this = {
			.account = number,
			.taken = reconciler->accounts[number].taken,
			.scrubbed = scrubbed_ever(queue, number),
		};

		for (uint32_t niov = number; niov < area->num_niovs; niov += ZCRX_ACCOUNTS) {
			this.delivered +=
				shm_load_relaxed_u32(&area->niovs[niov].delivered, POINT_COUNTER);
			this.held += shm_load_relaxed_u32(&area->niovs[niov].user_refs,
							  POINT_USER_REF_LOAD);
		}
		if (this.delivered == this.taken + this.scrubbed + this.held)
			continue;
		this.wrong = balance->wrong + 1;
		if (balance->wrong == 0)
			*balance = this;
		balance->wrong = this.wrong;
	}
}
