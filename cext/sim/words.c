/* SPDX-License-Identifier: MIT */
#include "words.h"

static const char *const names[] = {
#define WORDS_NAME(name, numbers) #name,
	WORDS(WORDS_NAME)
#undef WORDS_NAME
#define WORDS_NAME(name) #name,
		WORDS_ENTRIES(WORDS_NAME)
#undef WORDS_NAME
};

struct piece {
	const void *from;
	uint64_t size, each; /* each of them; 0: it is one, whatever it consists of */
	enum words_name name;
};

static struct words_word entry_of(const struct piece *piece, uint64_t into)
{
	struct words_word word = {.name = piece->name};

	if (piece->each == 0 || piece->size <= piece->each)
		return word;
	word.numbers[word.count++] = (uint32_t)(into / piece->each);
	if (into % piece->each)
		word.numbers[word.count++] = 1;
	return word;
}

/* False if it is none of an ifq's own pieces. */
static bool find_piece(const struct zcrx_queue *queue, const unsigned char *at,
		       struct words_word *word)
{
	const struct piece pieces[] = {
		{queue->ifq.rq.head, 4, 0, WORD_RQ_HEAD},
		{queue->ifq.rq.tail, 4, 0, WORD_RQ_TAIL},
		{queue->ifq.rq.rqes, 16U * queue->shape.rq_entries, 16, WORD_RQE},
		{queue->cq.head, 4, 0, WORD_CQ_HEAD},
		{queue->cq.tail, 4, 0, WORD_CQ_TAIL},
		{queue->cq.cqes, 32U * queue->shape.cq_entries, 32, WORD_CQE},
		{queue->area.freelist, 4U * queue->shape.num_niovs, 4, WORD_FREELIST},
		{&queue->area.shared->free_count, 4, 0, WORD_FREE_COUNT},
		{&queue->area.shared->freelist_lock, 4, 0, WORD_FREELIST_LOCK},
		{&queue->ifq.shared->rq_lock, 4, 0, WORD_RQ_LOCK},
		{&queue->ifq.shared->current_pool, 4, 0, WORD_CURRENT_POOL},
		{&queue->ifq.shared->consumed, 8, 0, WORD_CONSUMED},
		{queue->grants.shared, sizeof(*queue->grants.shared), 0, WORD_GRANT_INDICES},
		{queue->grants.slots, 4U * queue->shape.grant_entries, 4, WORD_GRANT_SLOT},
		{queue->nic, sizeof(*queue->nic), 0, WORD_NIC_COUNTERS},
		{queue->ifq.shared, sizeof(*queue->ifq.shared), 0, WORD_IFQ_COUNTERS},
		{queue->notes, sizeof(*queue->notes), 0, WORD_USER_COUNTERS},
		{queue->ledger, 16U * queue->shape.cq_entries, 16, WORD_LEDGER},
		{queue->flows_sent, sizeof(*queue->flows_sent), 0, WORD_FLOW},
		{&queue->bells->provider, sizeof(queue->bells->provider), 0, WORD_PROVIDER_BELL},
		{&queue->bells->nic, sizeof(queue->bells->nic), 0, WORD_NIC_BELL},
		{&queue->bells->consumers, sizeof(queue->bells->consumers), 0, WORD_USER_BELL},
	};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		uint64_t into = (uint64_t)(at - (const unsigned char *)pieces[i].from);

		if (into < pieces[i].size) {
			*word = entry_of(&pieces[i], into);
			return true;
		}
	}
	return false;
}

static bool find_niov(const struct zcrx_area *area, const unsigned char *at,
		      struct words_word *word)
{
	uint64_t into = (uint64_t)(at - (const unsigned char *)area->niovs);
	uint64_t niov = into / sizeof(struct zcrx_niov);

	if (niov >= area->num_niovs)
		return false;
	*word = (struct words_word){.numbers = {(uint32_t)niov}, .count = 1};
	switch (into % sizeof(struct zcrx_niov)) {
	case offsetof(struct zcrx_niov, user_refs):
		word->name = WORD_NIOV_USER_REFS;
		break;
	case offsetof(struct zcrx_niov, pp_refs):
		word->name = WORD_NIOV_PP_REFS;
		break;
	case offsetof(struct zcrx_niov, pool):
		word->name = WORD_NIOV_POOL;
		break;
	default:
		word->name = WORD_NIOV_DELIVERED;
	}
	return true;
}

static enum words_name pool_word(uint64_t into)
{
	static const struct {
		size_t at, size;
		enum words_name name;
	} fields[] = {
#define POOL_FIELD(field, name)                                                                   \
	{offsetof(struct zcrx_pool_shared, field), sizeof(((struct zcrx_pool_shared *)0)->field), \
	 WORD_POOL_##name}
		POOL_FIELD(phase, PHASE),
		POOL_FIELD(cache_count, CACHE_COUNT),
		POOL_FIELD(hold_count, HOLD_COUNT),
		POOL_FIELD(ring_head, RING_HEAD),
		POOL_FIELD(cache, CACHE),
		POOL_FIELD(producer_lock, LOCK),
		POOL_FIELD(ring_tail, RING_TAIL),
		POOL_FIELD(ring_refusals, REFUSALS),
		POOL_FIELD(release_count, RELEASES),
#undef POOL_FIELD
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (into - fields[i].at < fields[i].size)
			return fields[i].name;
	}
	return WORD_POOL_COUNTERS;
}

static bool find_in_pool(const struct zcrx_page_pool *pool, const unsigned char *at,
			 struct words_word *word)
{
	uint64_t into_ring = (uint64_t)(at - (const unsigned char *)pool->ring);
	uint64_t into = (uint64_t)(at - (const unsigned char *)pool->shared);

	if (into_ring < 4U * (uint64_t)pool->ring_size) {
		*word = (struct words_word){
			WORD_PTR_RING_SLOT, {pool->slot, (uint32_t)into_ring / 4U}, 2};
		return true;
	}
	if (into >= sizeof(*pool->shared))
		return false;
	*word = (struct words_word){pool_word(into), {pool->slot}, 1};
	return true;
}

static bool find_in_handoff(const struct zcrx_queue *queue, const unsigned char *at,
			    struct words_word *word)
{
	const struct zcrx_handoff *handoff = &queue->ifq.handoff;
	uint64_t into_counts = (uint64_t)(at - (const unsigned char *)handoff->counts);
	uint64_t into_slots = (uint64_t)(at - (const unsigned char *)handoff->slots);

	if (!handoff->slots)
		return false;
	*word = (struct words_word){.name = WORD_HANDOFF_INDICES};
	if (into_slots < sizeof(*handoff->slots) * (uint64_t)ZCRX_HANDOFF_ENTRIES)
		*word = (struct words_word){
			WORD_HANDOFF_SLOT, {(uint32_t)(into_slots / sizeof(*handoff->slots))}, 1};
	else if (into_counts < sizeof(*handoff->counts) * (uint64_t)queue->shape.num_niovs)
		*word = (struct words_word){WORD_HANDOFF_COUNT,
					    {(uint32_t)(into_counts / sizeof(*handoff->counts))},
					    1};
	else
		return (uint64_t)(at - (const unsigned char *)handoff->shared) <
		       sizeof(*handoff->shared);
	return true;
}

struct words_word words_at(const struct world *world, uint32_t offset)
{
	const struct zcrx_queue *queue = &world->views[SIM_ACTORS_MAX].nq.queue;
	const unsigned char *at = world->shared + offset;
	struct words_word word = {.name = WORD_NONE};

	if (offset == UINT32_MAX)
		return word;
	if (find_niov(&queue->area, at, &word) || find_piece(queue, at, &word) ||
	    find_in_handoff(queue, at, &word))
		return word;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		if (find_in_pool(&queue->ifq.pools[slot], at, &word))
			return word;
	}
	return (struct words_word){WORD_OFFSET, {offset}, 1};
}

void words_print(FILE *to, struct words_word word)
{
	fputs(names[word.name], to);
	for (uint32_t i = 0; i < word.count; i++)
		fprintf(to, " %u", word.numbers[i]);
}
