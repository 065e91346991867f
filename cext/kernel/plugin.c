/* SPDX-License-Identifier: MIT */
/*
 * The services are thin: what the provider may get wrong is done by the same
 * functions that serve ours, and those count what must not happen. Nothing that
 * it says of an index is used to reach memory before it was bounded.
 */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(struct zcrx_provider_rqe) == sizeof(struct io_uring_zcrx_rqe), "rqe");
_Static_assert(sizeof(struct zcrx_provider_niov) == sizeof(struct zcrx_niov) &&
		       offsetof(struct zcrx_provider_niov, user_refs) ==
			       offsetof(struct zcrx_niov, user_refs) &&
		       offsetof(struct zcrx_provider_niov, pp_refs) ==
			       offsetof(struct zcrx_niov, pp_refs) &&
		       offsetof(struct zcrx_provider_niov, pool) ==
			       offsetof(struct zcrx_niov, pool),
	       "niov");
_Static_assert((int)ZCRX_PROVIDER_ACCEPTED == (int)ZCRX_ACCEPTED &&
		       (int)ZCRX_PROVIDER_STILL_REFERENCED == (int)ZCRX_STILL_REFERENCED &&
		       (int)ZCRX_PROVIDER_OTHER_POOL == (int)ZCRX_OTHER_POOL &&
		       (int)ZCRX_PROVIDER_BAD_PAD == (int)ZCRX_BAD_PAD &&
		       (int)ZCRX_PROVIDER_BAD_AREA == (int)ZCRX_BAD_AREA &&
		       (int)ZCRX_PROVIDER_BAD_INDEX == (int)ZCRX_BAD_INDEX &&
		       (int)ZCRX_PROVIDER_NO_USER_REF == (int)ZCRX_NO_USER_REF,
	       "verdicts");
_Static_assert(ZCRX_PROVIDER_REFILL == ZCRX_PP_REFILL, "refill");
_Static_assert((int)ZCRX_PROVIDER_SEED == (int)ZCRX_LEVEL_SEED &&
		       (int)ZCRX_PROVIDER_6_15 == (int)ZCRX_LEVEL_6_15 &&
		       (int)ZCRX_PROVIDER_6_18 == (int)ZCRX_LEVEL_6_18 &&
		       (int)ZCRX_PROVIDER_7_1 == (int)ZCRX_LEVEL_7_1 &&
		       (int)ZCRX_PROVIDER_7_2 == (int)ZCRX_LEVEL_7_2 &&
		       (int)ZCRX_PROVIDER_7_3 == (int)ZCRX_LEVEL_7_3,
	       "levels");

static struct zcrx_plugin *foreign_of(struct zcrx_provider_queue *queue)
{
	return queue->host;
}

static struct zcrx_area *area_of(struct zcrx_provider_queue *queue)
{
	return foreign_of(queue)->ifq->area;
}

/*
 * A number that leads nowhere is the provider's mistake, not the user's, and
 * going on would only hide it: the process ends, and whoever watches it says so.
 */
static void require(bool condition, const char *service, uint32_t value)
{
	if (condition)
		return;
	fprintf(stderr, "zcrx_provider: %s() was called with %u\n", service, value);
	abort();
}

static struct zcrx_page_pool *pool_of(struct zcrx_provider_queue *queue, const char *service,
				      uint32_t pool)
{
	require(pool < ZCRX_POOLS_MAX, service, pool);
	return &foreign_of(queue)->ifq->pools[pool];
}

static uint32_t niov_of(struct zcrx_provider_queue *queue, const char *service, uint32_t niov)
{
	require(niov < queue->num_niovs, service, niov);
	return niov;
}

/* ---- services ------------------------------------------------------------------ */

static uint32_t cache_count(struct zcrx_provider_queue *queue, uint32_t pool)
{
	return zcrx_pp_cache_count(pool_of(queue, "cache_count", pool));
}

static void cache_push(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov)
{
	struct zcrx_page_pool *to = pool_of(queue, "cache_push", pool);
	uint32_t count = zcrx_pp_cache_count(to);

	require(count < ZCRX_PP_CACHE_SIZE, "cache_push", niov);
	to->shared->cache[count] = niov_of(queue, "cache_push", niov);
	zcrx_pp_cache_set_count(to, count + 1);
}

static void bind(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov)
{
	zcrx_pp_bind(pool_of(queue, "bind", pool), niov_of(queue, "bind", niov));
}

static void unbind(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov)
{
	zcrx_pp_unbind(pool_of(queue, "unbind", pool), niov_of(queue, "unbind", niov));
}

static void take_unbound(struct zcrx_provider_queue *queue, uint32_t niov)
{
	zcrx_pp_ref_init(area_of(queue), niov_of(queue, "take_unbound", niov));
}

static bool pp_ref_put(struct zcrx_provider_queue *queue, uint32_t niov, uint32_t count)
{
	niov_of(queue, "pp_ref_put", niov);
	/* A scrub drops as many page-pool references as it takes user references. */
	if (foreign_of(queue)->is_scrubbing)
		zcrx_area_note_scrubbed(area_of(queue), niov, count);
	return zcrx_pp_ref_put(area_of(queue), niov, count);
}

static void return_niov(struct zcrx_provider_queue *queue, uint32_t niov)
{
	foreign_of(queue)->returned++;
	zcrx_ifq_return_niov(foreign_of(queue)->ifq, niov_of(queue, "return_niov", niov));
}

static uint32_t free_pop(struct zcrx_provider_queue *queue, uint32_t *niovs, uint32_t max)
{
	if (foreign_of(queue)->is_freelist_shut)
		return 0;
	return zcrx_area_pop_free(area_of(queue), niovs, max);
}

static int free_push(struct zcrx_provider_queue *queue, uint32_t niov)
{
	return zcrx_area_push_free(area_of(queue), niov_of(queue, "free_push", niov));
}

static uint32_t free_count(struct zcrx_provider_queue *queue)
{
	return zcrx_area_free_count(area_of(queue));
}

static void instance_get(struct zcrx_provider_queue *queue)
{
	shm_add_relaxed_u32(&foreign_of(queue)->ifq->shared->refs, 1, POINT_COUNTER);
}

static void instance_put(struct zcrx_provider_queue *queue)
{
	shm_sub_relaxed_u32(&foreign_of(queue)->ifq->shared->refs, 1, POINT_COUNTER);
}

static bool rq_lock(struct zcrx_provider_queue *queue)
{
	return zcrx_lock(&foreign_of(queue)->ifq->shared->rq_lock, area_of(queue)->aborted);
}

static void rq_unlock(struct zcrx_provider_queue *queue)
{
	zcrx_unlock(&foreign_of(queue)->ifq->shared->rq_lock);
}

static void record(struct zcrx_plugin *plugin)
{
	if (plugin->count)
		zcrx_ifq_record(plugin->ifq, plugin->batches, plugin->count, plugin->index);
	plugin->count = 0;
}

/*
 * The entry as it stands in the ring: what the provider read of it nobody else knows. They
 * differ only if the user has rewritten it meanwhile.
 */
static void witness(const struct zcrx_plugin *plugin, uint32_t index)
{
	const struct zcrx_ifq *ifq = plugin->ifq;
	struct zcrx_rq at = ifq->rq;

	if (!ifq->witness)
		return;
	at.cached_head = index;
	zcrx_witness_note_entry(ifq->witness,
				shm_load_relaxed_u64(&ifq->shared->consumed, POINT_LOG) +
					plugin->count,
				zcrx_rq_take(&at), plugin->delivered);
}

static void judged(struct zcrx_provider_queue *queue, uint32_t index,
		   enum zcrx_provider_verdict verdict, uint32_t niov, bool alias)
{
	struct zcrx_plugin *plugin = foreign_of(queue);
	struct zcrx_batch *batch = &plugin->batches[plugin->count / ZCRX_PP_REFILL];
	/* What is judged as one is said to be there at once. */
	uint32_t most = zcrx_contract_goes_by_runs(area_of(queue)->contract) ?
				ZCRX_REFILL_ENTRIES_MAX :
				ZCRX_PP_REFILL;

	require((uint32_t)verdict < ZCRX_VERDICT_COUNT, "judged", (uint32_t)verdict);
	/* A batch is of entries in a row: whoever reports others gets them noted as they are. */
	if (plugin->count == most || (plugin->count && index != plugin->index + plugin->count))
		record(plugin);
	if (plugin->count == 0) {
		plugin->index = index;
		batch = plugin->batches;
	}
	witness(plugin, index);
	batch->niovs[plugin->count % ZCRX_PP_REFILL] = niov;
	batch->verdicts[plugin->count % ZCRX_PP_REFILL] = (uint32_t)verdict |
							  (alias ? ZCRX_LOG_ALIAS : 0);
	plugin->count++;
}

#ifdef SHM_HAS_POINTS
static void at_point(struct zcrx_provider_queue *queue, enum zcrx_provider_point point,
		     const volatile void *word)
{
	(void)queue;
	switch (point) {
	case ZCRX_PROVIDER_TAIL_LOAD:
		SHM_AT(POINT_RQ_TAIL_LOAD, word);
		break;
	case ZCRX_PROVIDER_RQE_LOAD:
		SHM_AT(POINT_RQE_LOAD, word);
		break;
	case ZCRX_PROVIDER_HEAD_STORE:
		SHM_AT(POINT_RQ_HEAD_STORE, word);
		break;
	case ZCRX_PROVIDER_USER_REF:
		SHM_AT(POINT_USER_REF_LOAD, word);
		break;
	case ZCRX_PROVIDER_FREELIST:
		SHM_AT(POINT_FREELIST, word);
		break;
	case ZCRX_PROVIDER_POINTS:
		break;
	}
}
#endif

static const struct zcrx_provider_services services = {
	.cache_count = cache_count,
	.cache_push = cache_push,
	.bind = bind,
	.unbind = unbind,
	.take_unbound = take_unbound,
	.pp_ref_put = pp_ref_put,
	.return_niov = return_niov,
	.free_pop = free_pop,
	.free_push = free_push,
	.free_count = free_count,
	.instance_get = instance_get,
	.instance_put = instance_put,
	.rq_lock = rq_lock,
	.rq_unlock = rq_unlock,
	.judged = judged,
#ifdef SHM_HAS_POINTS
	.at_point = at_point,
#endif
};

/*
 * Say which operation it is in now: whoever finds this process dead or stuck
 * looks there. Relaxed: the word stands for itself, and a dead process's stores
 * are all there. Returns what it was in, to be said again afterwards.
 */
static uint32_t say_call(struct zcrx_plugin *plugin, uint32_t call)
{
	uint32_t before;

	if (!plugin->call)
		return ZCRX_CALL_NONE;
	before = shm_load_relaxed_u32(plugin->call, POINT_COUNTER);
	shm_store_relaxed_u32(plugin->call, call, POINT_COUNTER);
	return before;
}

/* ---- behind a page pool ---------------------------------------------------------- */

/*
 * What of the ring it may read: all of it, or as much as the verdict log has room
 * for, or nothing when the ring has no user. It loads the tail itself, so that
 * what it must not see is kept from it by another word in the tail's place; so is
 * what is published after it was noted how much the user had been given.
 */
static void show_ring(struct zcrx_plugin *plugin)
{
	struct zcrx_ifq *ifq = plugin->ifq;

	if (zcrx_ifq_may_read(ifq) >= ifq->rq.entries && !ifq->witness) {
		plugin->queue.rq_tail = (const uint32_t *)ifq->rq.tail;
		return;
	}
	plugin->queue.rq_tail = &plugin->shown_tail;
	plugin->shown_tail = ifq->rq.cached_head + zcrx_ifq_available(ifq);
	if (ifq->witness)
		plugin->delivered = zcrx_witness_delivered(ifq->witness);
}

static bool fill_cache(struct zcrx_plugin *plugin, struct zcrx_page_pool *pool,
		       bool is_freelist_shut)
{
	uint32_t before = say_call(plugin, ZCRX_CALL_ALLOC_NETMEMS);
	bool filled;

	show_ring(plugin);
	plugin->is_freelist_shut = is_freelist_shut;
	filled = plugin->ops->alloc_netmems(&plugin->queue, pool->slot);
	plugin->is_freelist_shut = false;
	say_call(plugin, before);
	record(plugin);
	return filled && zcrx_pp_cache_count(pool) > 0;
}

static int64_t foreign_alloc_netmems(struct zcrx_page_pool *pool, void *provider)
{
	struct zcrx_ifq *ifq = provider;
	uint32_t count;

	if (!fill_cache(ifq->plugin, pool, zcrx_ifq_pass_hidden(ifq))) {
		shm_count(&ifq->shared->alloc_failures, 1);
		return -ENOMEM;
	}
	count = zcrx_pp_cache_count(pool);
	zcrx_pp_cache_set_count(pool, count - 1);
	return pool->shared->cache[count - 1];
}

static void foreign_release_netmem(struct zcrx_page_pool *pool, void *provider, uint32_t niov)
{
	struct zcrx_plugin *plugin = ((struct zcrx_ifq *)provider)->plugin;

	uint32_t before = say_call(plugin, ZCRX_CALL_RELEASE_NETMEM);

	plugin->ops->release_netmem(&plugin->queue, pool->slot, niov);
	say_call(plugin, before);
}

static int foreign_init(struct zcrx_page_pool *pool, void *provider)
{
	struct zcrx_ifq *ifq = provider;
	uint32_t before;
	int error;

	if (!ifq || pool->params.device != ifq->device)
		return -EINVAL;
	if (pool->params.dma_map || pool->params.order != 0)
		return -EOPNOTSUPP;
	before = say_call(ifq->plugin, ZCRX_CALL_INIT);
	error = ifq->plugin->ops->init(&ifq->plugin->queue, pool->slot);
	say_call(ifq->plugin, before);
	/* An answer above 0 is none; taken as it is it would pass for a pool's slot. */
	return error > 0 ? -EPROTO : error;
}

static int foreign_destroy(struct zcrx_page_pool *pool, void *provider)
{
	struct zcrx_ifq *ifq = provider;
	uint32_t before = say_call(ifq->plugin, ZCRX_CALL_DESTROY);
	int error = ifq->plugin->ops->destroy(&ifq->plugin->queue, pool->slot);

	say_call(ifq->plugin, before);
	if (error)
		shm_count(&ifq->shared->destroy_warnings, 1);
	return error;
}

const struct zcrx_mp_ops zcrx_plugin_mp_ops = {
	.alloc_netmems = foreign_alloc_netmems,
	.release_netmem = foreign_release_netmem,
	.init = foreign_init,
	.destroy = foreign_destroy,
};

/* Only the ring is wanted: buffers of the freelist would be bound and given up again for nothing. */
static uint32_t foreign_refill_ring(struct zcrx_ifq *ifq, struct zcrx_page_pool *pool)
{
	uint32_t before = ifq->rq.cached_head;

	fill_cache(ifq->plugin, pool, true);
	return ifq->rq.cached_head - before;
}

static uint64_t foreign_scrub(struct zcrx_ifq *ifq, uint64_t *buffers)
{
	struct zcrx_plugin *plugin = ifq->plugin;
	uint32_t outer = say_call(plugin, ZCRX_CALL_SCRUB);
	uint64_t before = plugin->returned;
	uint64_t references;

	plugin->is_scrubbing = true;
	references = plugin->ops->scrub(&plugin->queue);
	plugin->is_scrubbing = false;
	say_call(plugin, outer);

	/* Only return_niov() brings one home, and a process does nothing else meanwhile. */
	if (buffers)
		*buffers += plugin->returned - before;
	return references;
}

static int64_t foreign_take_copy_buffer(struct zcrx_ifq *ifq)
{
	struct zcrx_plugin *plugin = ifq->plugin;
	uint32_t before;
	int64_t niov;

	if (zcrx_ifq_is_hidden(ifq))
		return -ENOMEM;
	before = say_call(plugin, ZCRX_CALL_COPY_BUFFER);
	niov = plugin->ops->copy_buffer(&plugin->queue);
	if (niov >= 0)
		require(niov < plugin->queue.num_niovs, "copy_buffer", (uint32_t)niov);
	say_call(plugin, before);
	return niov;
}

static const struct zcrx_ifq_ops foreign_ifq_ops = {
	.refill_ring = foreign_refill_ring,
	.scrub = foreign_scrub,
	.take_copy_buffer = foreign_take_copy_buffer,
};

/* ---- loading ----------------------------------------------------------------------- */

static const char *missing_operation(const struct zcrx_provider_ops *ops)
{
	if (!ops->init)
		return "init";
	if (!ops->alloc_netmems)
		return "alloc_netmems";
	if (!ops->release_netmem)
		return "release_netmem";
	if (!ops->destroy)
		return "destroy";
	if (!ops->scrub)
		return "scrub";
	return ops->copy_buffer ? NULL : "copy_buffer";
}

bool zcrx_plugin_is_usable(const struct zcrx_provider_ops *ops, char *why, size_t size)
{
	const char *missing;

	if (!ops) {
		snprintf(why, size, "it does not define the symbol " ZCRX_PROVIDER_SYMBOL);
	} else if (ops->abi != ZCRX_PROVIDER_ABI) {
		snprintf(why, size, "its ABI version is %u; this program speaks %u", ops->abi,
			 ZCRX_PROVIDER_ABI);
	} else if (ops->size != sizeof(*ops)) {
		snprintf(why, size, "its struct zcrx_provider_ops has %u bytes; ABI %u has %zu",
			 ops->size, ZCRX_PROVIDER_ABI, sizeof(*ops));
	} else if ((missing = missing_operation(ops))) {
		snprintf(why, size, "it has no %s()", missing);
	} else {
		return true;
	}
	return false;
}

const struct zcrx_provider_ops *zcrx_plugin_open(const char *path, char *why, size_t size)
{
	const struct zcrx_provider_ops *ops;
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		snprintf(why, size, "it cannot be opened: %s", dlerror());
		return NULL;
	}
	ops = dlsym(library, ZCRX_PROVIDER_SYMBOL);
	if (zcrx_plugin_is_usable(ops, why, size))
		return ops;
	dlclose(library);
	return NULL;
}

void zcrx_plugin_attach(struct zcrx_plugin *plugin, const struct zcrx_provider_ops *ops,
			struct zcrx_ifq *ifq)
{
	memset(plugin, 0, sizeof(*plugin));
	plugin->ops = ops;
	plugin->ifq = ifq;
	plugin->queue = (struct zcrx_provider_queue){
		.services = &services,
		.host = plugin,
		.num_niovs = ifq->area->num_niovs,
		.niov_shift = ifq->area->niov_shift,
		.rq_entries = ifq->rq.entries,
		.strict_alias = zcrx_contract_is_strict(ifq->area->contract),
		.rq_head = (uint32_t *)ifq->rq.head,
		.rq_tail = (const uint32_t *)ifq->rq.tail,
		.rqes = (const struct zcrx_provider_rqe *)ifq->rq.rqes,
		.cached_rq_head = &ifq->rq.cached_head,
		.niovs = (struct zcrx_provider_niov *)ifq->area->niovs,
		.level = ifq->area->contract.level,
	};
	ifq->plugin = plugin;
	ifq->ops = &foreign_ifq_ops;
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++)
		ifq->pools[slot].ops = &zcrx_plugin_mp_ops;
}
