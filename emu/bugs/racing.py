"""Bugs of the racing kind: right by itself, wrong when somebody else comes in between."""

from __future__ import annotations

from emu.bugs import Bug

_BUGS = (
    # User references.
    Bug(
        "cve-2026-43121",
        "the user's reference is looked at and taken in two steps: a scrub in between takes it "
        "too, and the buffer comes home twice",
        "area.h",
        "\tdo {\n"
        "\t\tcount = now < max ? now : max;\n"
        "\t\tif (count == 0)\n"
        "\t\t\treturn 0;\n"
        "\t} while (!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS));\n",
        "\tcount = now < max ? now : max;\n"
        "\tif (count)\n"
        "\t\tshm_fetch_sub_u32(refs, count, POINT_USER_REF_CAS);\n",
        scenario="refill-vs-scrub",
    ),
    Bug(
        "user-ref-taken-by-store",
        "a user reference is taken by writing back what was read, less one: a reference given "
        "meanwhile is lost",
        "area.h",
        "\tdo {\n"
        "\t\tcount = now < max ? now : max;\n"
        "\t\tif (count == 0)\n"
        "\t\t\treturn 0;\n"
        "\t} while (!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS));\n",
        "\tcount = now < max ? now : max;\n"
        "\tif (count)\n"
        "\t\tshm_store_release_u32(refs, now - count, POINT_USER_REF_CAS);\n",
        scenario="cut-vs-refill",
    ),
    Bug(
        "user-ref-given-by-store",
        "a further user reference is given by writing back what was read, plus one: one that was "
        "taken meanwhile is there again",
        "area.h",
        "shm_fetch_add_u32(refs, count, POINT_USER_REF_ADD);\n}",
        "shm_store_release_u32(refs,\n"
        "\t\t\t\t      shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD) + count,\n"
        "\t\t\t\t      POINT_USER_REF_ADD);\n}",
        scenario="cut-vs-refill",
    ),
    Bug(
        "user-ref-given-relaxed",
        "the first user reference is given without release: who takes it may not see the "
        "page-pool references behind it",
        "area.h",
        "shm_store_release_u32(refs, count, POINT_USER_REF_STORE);",
        "shm_store_relaxed_u32(refs, count, POINT_USER_REF_STORE);",
        scenario="cut-vs-refill",
        memory="c11",
    ),
    Bug(
        "user-ref-taken-relaxed",
        "a user reference is taken without acquire: the page-pool references behind it may look "
        "like those of an earlier time",
        "shm.h",
        "desired, memory_order_acq_rel, memory_order_relaxed);",
        "desired, memory_order_release, memory_order_relaxed);",
        scenario="cut-vs-refill",
        memory="c11",
    ),
    Bug(
        "scrub-reads-then-clears",
        "a scrub reads the user references and then writes 0: one that a refill took in between "
        "is taken twice",
        "area.h",
        "\treturn shm_xchg_u32(refs, 0, POINT_USER_REF_XCHG);\n",
        "\tuint32_t count = shm_load_relaxed_u32(refs, POINT_USER_REF_XCHG);\n\n"
        "\tshm_store_release_u32(refs, 0, POINT_USER_REF_STORE);\n"
        "\treturn count;\n",
        scenario="refill-vs-scrub",
    ),
    Bug(
        "scrub-trusts-first-look",
        "a scrub drops as many page-pool references as it saw user references at first, not as "
        "many as it took",
        "area.h",
        "\tif (shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD) == 0)\n"
        "\t\treturn 0;\n"
        "\treturn shm_xchg_u32(refs, 0, POINT_USER_REF_XCHG);\n",
        "\tuint32_t count = shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD);\n\n"
        "\tif (count)\n"
        "\t\tshm_xchg_u32(refs, 0, POINT_USER_REF_XCHG);\n"
        "\treturn count;\n",
        scenario="two-scrubs",
    ),
    # Page-pool references.
    Bug(
        "pp-ref-dropped-by-store",
        "a page-pool reference is dropped by a load and a store: of two dropped at once one stays "
        "for ever",
        "area.h",
        "\tbefore = shm_fetch_sub_u32(refs, count, POINT_PP_REF_SUB);\n",
        "\tbefore = shm_load_acquire_u32(refs, POINT_PP_REF_LOAD);\n"
        "\tshm_store_release_u32(refs, before - count, POINT_PP_REF_SUB);\n",
        scenario="cut-vs-scrub",
    ),
    Bug(
        "pp-ref-taken-by-store",
        "page-pool references are taken by a load and a store: one that is dropped meanwhile is "
        "there again",
        "area.h",
        "\tshm_fetch_add_u32(&area->niovs[niov].pp_refs, count, POINT_PP_REF_ADD);\n",
        "\tshm_u32 *refs = &area->niovs[niov].pp_refs;\n\n"
        "\tshm_store_release_u32(refs, shm_load_relaxed_u32(refs, POINT_PP_REF_LOAD) + count,\n"
        "\t\t\t      POINT_PP_REF_ADD);\n",
        scenario="cut-vs-refill",
    ),
    Bug(
        "pp-ref-looked-at-again",
        "whether a dropped page-pool reference was the last is decided by a second look: two who "
        "drop at once both see none left",
        "area.h",
        "\tif (before != count)\n\t\treturn false;\n",
        "\tif (shm_load_acquire_u32(refs, POINT_PP_REF_LOAD) != 0)\n\t\treturn false;\n",
        scenario="cut-vs-scrub",
    ),
    Bug(
        "settle-user-first",
        "a fragment gets its user reference before its page-pool reference: a scrub in between "
        "takes the stack's own",
        "nic_queue.c",
        "\tif (touched->fragments > own) {\n"
        "\t\tuint32_t more = touched->fragments - own;\n\n"
        "\t\t/* A fresh buffer has the stack's reference and no other holder yet. */\n"
        "\t\tif (touched->fresh)\n"
        "\t\t\tshm_store_relaxed_u32(&area->niovs[touched->niov].pp_refs, 1 + more,\n"
        "\t\t\t\t\t      POINT_PP_REF_STORE);\n"
        "\t\telse\n"
        "\t\t\tzcrx_pp_ref_get(area, touched->niov, more);\n"
        "\t}\n"
        "\tzcrx_user_ref_give(area, touched->niov, touched->fragments);\n",
        "\tzcrx_user_ref_give(area, touched->niov, touched->fragments);\n"
        "\tif (touched->fragments > own)\n"
        "\t\tzcrx_pp_ref_get(area, touched->niov, touched->fragments - own);\n",
        scenario="cut-vs-refill",
    ),
    # The lock and the freelist.
    Bug(
        "lock-test-then-set",
        "the lock is looked at and then taken: two can find it free",
        "lock.h",
        "\twhile (shm_xchg_u32(&lock->word, 1, POINT_LOCK_TAKE) != 0) {\n"
        "\t\twhile (shm_load_relaxed_u32(&lock->word, POINT_LOCK_TAKE) != 0) {\n"
        "\t\t\tif (++spins < ZCRX_LOCK_SPINS) {\n"
        "\t\t\t\tshm_pause();\n"
        "\t\t\t\tcontinue;\n"
        "\t\t\t}\n"
        "\t\t\tspins = 0;\n"
        "\t\t\t/* The holder may have been preempted on this very core. */\n"
        "\t\t\tsched_yield();\n"
        "\t\t\tif (aborted && shm_load_relaxed_u32(aborted, POINT_RUN_STATE))\n"
        "\t\t\t\treturn false;\n"
        "\t\t}\n"
        "\t}\n",
        "\t(void)spins;\n"
        "\t(void)aborted;\n"
        "\twhile (shm_load_acquire_u32(&lock->word, POINT_LOCK_TAKE) != 0)\n"
        "\t\tshm_pause();\n"
        "\tshm_store_relaxed_u32(&lock->word, 1, POINT_LOCK_TAKE);\n",
        scenario="release-vs-freelist",
    ),
    Bug(
        "lock-taken-relaxed",
        "the lock is taken without acquire: its holder may not see what was done under it before",
        "lock.h",
        "while (shm_xchg_u32(&lock->word, 1, POINT_LOCK_TAKE) != 0) {",
        "while (atomic_exchange_explicit(&lock->word, 1, memory_order_relaxed) != 0) {",
        scenario="release-vs-freelist",
        memory="c11",
    ),
    Bug(
        "lock-released-relaxed",
        "the lock is released without release: what was done under it may come later",
        "lock.h",
        "shm_store_release_u32(&lock->word, 0, POINT_LOCK_RELEASE);",
        "shm_store_relaxed_u32(&lock->word, 0, POINT_LOCK_RELEASE);",
        scenario="release-vs-freelist",
        memory="c11",
    ),
    Bug(
        "freelist-push-without-lock",
        "a buffer is pushed on the freelist without its lock",
        "area.c",
        "\tif (!zcrx_lock(&shared->freelist_lock, area->aborted))\n"
        "\t\treturn -EOWNERDEAD;\n"
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n"
        "\tif (free_count < area->num_niovs) {\n"
        "\t\tshm_store_relaxed_u32(&area->freelist[free_count], niov, POINT_FREELIST);\n"
        "\t\tshm_store_relaxed_u32(&shared->free_count, free_count + 1, POINT_FREE_COUNT);\n"
        "\t} else {\n"
        "\t\tshm_fetch_add_u64(&shared->freelist_overflows, 1, POINT_COUNTER);\n"
        "\t\terror = -EOVERFLOW;\n"
        "\t}\n"
        "\tzcrx_unlock(&shared->freelist_lock);\n",
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n"
        "\tif (free_count < area->num_niovs) {\n"
        "\t\tshm_store_relaxed_u32(&area->freelist[free_count], niov, POINT_FREELIST);\n"
        "\t\tshm_store_relaxed_u32(&shared->free_count, free_count + 1, POINT_FREE_COUNT);\n"
        "\t} else {\n"
        "\t\tshm_fetch_add_u64(&shared->freelist_overflows, 1, POINT_COUNTER);\n"
        "\t\terror = -EOVERFLOW;\n"
        "\t}\n",
        scenario="two-releases",
    ),
    Bug(
        "freelist-pop-without-lock",
        "buffers are popped off the freelist without its lock",
        "area.c",
        "\tif (!zcrx_lock(&shared->freelist_lock, area->aborted))\n"
        "\t\treturn 0;\n"
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n"
        "\tfor (count = 0; count < max && free_count > 0; count++) {\n"
        "\t\tfree_count--;\n"
        "\t\tniovs[count] = shm_load_relaxed_u32(&area->freelist[free_count], POINT_FREELIST);\n"
        "\t}\n"
        "\tshm_store_relaxed_u32(&shared->free_count, free_count, POINT_FREE_COUNT);\n"
        "\tzcrx_unlock(&shared->freelist_lock);\n",
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n"
        "\tfor (count = 0; count < max && free_count > 0; count++) {\n"
        "\t\tfree_count--;\n"
        "\t\tniovs[count] = shm_load_relaxed_u32(&area->freelist[free_count], POINT_FREELIST);\n"
        "\t}\n"
        "\tshm_store_relaxed_u32(&shared->free_count, free_count, POINT_FREE_COUNT);\n",
        scenario="release-vs-freelist",
    ),
    Bug(
        "freelist-pop-counts-first",
        "how many buffers are free is read before the lock is taken, and believed under it",
        "area.c",
        "\tif (shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT) == 0)\n"
        "\t\treturn 0;\n"
        "\tif (!zcrx_lock(&shared->freelist_lock, area->aborted))\n"
        "\t\treturn 0;\n"
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n",
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n"
        "\tif (free_count == 0)\n"
        "\t\treturn 0;\n"
        "\tif (!zcrx_lock(&shared->freelist_lock, area->aborted))\n"
        "\t\treturn 0;\n",
        scenario="release-vs-freelist",
    ),
    Bug(
        "freelist-push-counts-first",
        "where a buffer goes on the freelist is read before the lock is taken",
        "area.c",
        "\tif (!zcrx_lock(&shared->freelist_lock, area->aborted))\n"
        "\t\treturn -EOWNERDEAD;\n"
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n",
        "\tfree_count = shm_load_relaxed_u32(&shared->free_count, POINT_FREE_COUNT);\n"
        "\tif (!zcrx_lock(&shared->freelist_lock, area->aborted))\n"
        "\t\treturn -EOWNERDEAD;\n",
        scenario="two-releases",
    ),
    Bug(
        "freelist-count-after-unlock",
        "the number of free buffers is written after the lock was released",
        "area.c",
        "\tshm_store_relaxed_u32(&shared->free_count, free_count, POINT_FREE_COUNT);\n"
        "\tzcrx_unlock(&shared->freelist_lock);\n"
        "\treturn count;\n",
        "\tzcrx_unlock(&shared->freelist_lock);\n"
        "\tshm_store_relaxed_u32(&shared->free_count, free_count, POINT_FREE_COUNT);\n"
        "\treturn count;\n",
        scenario="release-vs-freelist",
    ),
    # The ptr ring.
    Bug(
        "ptr-ring-put-without-lock",
        "a buffer is put into the ptr ring without the producers' lock: two take the same slot",
        "page_pool.c",
        "\tif (!zcrx_lock(&shared->producer_lock, pool->area->aborted))\n"
        "\t\treturn false;\n"
        "\ttail =",
        "\ttail =",
        scenario="ptr-ring",
    ),
    Bug(
        "ptr-ring-tail-late",
        "the ptr ring's tail moves on after the lock was released: the next one fills the same "
        "slot, or finds it full",
        "page_pool.c",
        "\tif (room) {\n"
        "\t\tshm_store_relaxed_u32(&shared->ring_tail, tail + 1 < pool->ring_size ? tail + 1 : 0,\n"
        "\t\t\t\t      POINT_PTR_RING_INDEX);\n"
        "\t\tshm_store_release_u32(&pool->ring[tail], niov + 1, POINT_PTR_RING_SLOT);\n"
        "\t\tshm_count(&shared->counters.recycle_ring, 1); /* writers are under the lock */\n"
        "\t} else {\n"
        "\t\tshm_count(&shared->counters.recycle_ring_full, 1);\n"
        "\t}\n"
        "\tzcrx_unlock(&shared->producer_lock);\n",
        "\tif (room) {\n"
        "\t\tshm_store_release_u32(&pool->ring[tail], niov + 1, POINT_PTR_RING_SLOT);\n"
        "\t\tshm_count(&shared->counters.recycle_ring, 1); /* writers are under the lock */\n"
        "\t} else {\n"
        "\t\tshm_count(&shared->counters.recycle_ring_full, 1);\n"
        "\t}\n"
        "\tzcrx_unlock(&shared->producer_lock);\n"
        "\tif (room)\n"
        "\t\tshm_store_relaxed_u32(&shared->ring_tail, tail + 1 < pool->ring_size ? tail + 1 : 0,\n"
        "\t\t\t\t      POINT_PTR_RING_INDEX);\n",
        scenario="ptr-ring",
    ),
    Bug(
        "ptr-ring-put-relaxed",
        "a slot of the ptr ring is filled without release: who takes the buffer may not see that "
        "the user's references are gone",
        "page_pool.c",
        "shm_store_release_u32(&pool->ring[tail], niov + 1, POINT_PTR_RING_SLOT);",
        "shm_store_relaxed_u32(&pool->ring[tail], niov + 1, POINT_PTR_RING_SLOT);",
        scenario="ptr-ring",
        memory="c11",
    ),
    Bug(
        "ptr-ring-taken-relaxed",
        "a slot of the ptr ring is read without acquire: the buffer in it may look like one that "
        "the user still has",
        "page_pool.c",
        "\tuint32_t value = shm_load_acquire_u32(slot, POINT_PTR_RING_SLOT);\n",
        "\tuint32_t value = shm_load_relaxed_u32(slot, POINT_PTR_RING_SLOT);\n",
        scenario="ptr-ring",
        memory="c11",
    ),
    Bug(
        "ptr-ring-second-consumer",
        "who finds the ptr ring full takes the oldest buffer out: a second consumer of a ring "
        "that is made for one",
        "page_pool.c",
        "\tif (!ptr_ring_put(pool, niov))\n\t\tgive_up(pool, niov);\n",
        "\tuint32_t oldest;\n\n"
        "\tif (ptr_ring_put(pool, niov))\n"
        "\t\treturn;\n"
        "\tif (ptr_ring_take(pool, &oldest))\n"
        "\t\tgive_up(pool, oldest);\n"
        "\tif (!ptr_ring_put(pool, niov))\n"
        "\t\tgive_up(pool, niov);\n",
        scenario="release-vs-freelist",
    ),
    # The life of a pool.
    Bug(
        "release-counted-first",
        "a buffer is counted as given up before it is on the freelist: the pool may be gone while "
        "it is on its way",
        "page_pool.c",
        "\tpool->ops->release_netmem(pool, pool->provider, niov);\n"
        "\tshm_fetch_add_u32(&pool->shared->release_count, 1, POINT_POOL_COUNT);\n",
        "\tshm_fetch_add_u32(&pool->shared->release_count, 1, POINT_POOL_COUNT);\n"
        "\tpool->ops->release_netmem(pool, pool->provider, niov);\n",
        scenario="teardown-vs-release",
    ),
    Bug(
        "release-counted-by-store",
        "buffers given up are counted by a load and a store: of two at once one is not counted, "
        "and the pool waits for it for ever",
        "page_pool.c",
        "\tshm_fetch_add_u32(&pool->shared->release_count, 1, POINT_POOL_COUNT);\n",
        "\tshm_u32 *count = &pool->shared->release_count;\n\n"
        "\tshm_store_release_u32(count, shm_load_relaxed_u32(count, POINT_POOL_COUNT) + 1,\n"
        "\t\t\t      POINT_POOL_COUNT);\n",
        scenario="two-releases",
    ),
    Bug(
        "release-counted-relaxed",
        "a buffer is counted as given up without release: who sees the count may not see it on "
        "the freelist",
        "page_pool.c",
        "\tshm_fetch_add_u32(&pool->shared->release_count, 1, POINT_POOL_COUNT);\n",
        "\tatomic_fetch_add_explicit(&pool->shared->release_count, 1, memory_order_relaxed);\n",
        scenario="teardown-vs-release",
        memory="c11",
    ),
    Bug(
        "inflight-relaxed",
        "the buffers given up are read without acquire: the destroy check may miss one that was "
        "counted",
        "page_pool.h",
        "shm_load_acquire_u32(&pool->shared->release_count, POINT_POOL_COUNT);",
        "shm_load_relaxed_u32(&pool->shared->release_count, POINT_POOL_COUNT);",
        scenario="teardown-vs-release",
        memory="c11",
    ),
    Bug(
        "unbound-late",
        "a buffer is unbound after it was pushed on the freelist: by then it may be another "
        "owner's",
        "provider.c",
        "\tzcrx_pp_unbind(pool, niov);\n\tzcrx_area_push_free(ifq->area, niov);\n",
        "\tzcrx_area_push_free(ifq->area, niov);\n\tzcrx_pp_unbind(pool, niov);\n",
        scenario="release-vs-bind",
    ),
    Bug(
        "pool-published-early",
        "the queue's new page pool is published before it was made",
        "provider.c",
        "\terror = zcrx_pp_create(&ifq->pools[slot]);\n",
        "\tshm_store_release_u32(&ifq->shared->current_pool, slot + 1, POINT_POOL_COUNT);\n"
        "\terror = zcrx_pp_create(&ifq->pools[slot]);\n",
        scenario="look-vs-restart",
    ),
    Bug(
        "pool-published-relaxed",
        "the queue's new page pool is published without release: it may look as if it was not made",
        "provider.c",
        "\tshm_store_release_u32(&ifq->shared->current_pool, slot + 1, POINT_POOL_COUNT);\n",
        "\tshm_store_relaxed_u32(&ifq->shared->current_pool, slot + 1, POINT_POOL_COUNT);\n",
        scenario="look-vs-restart",
        memory="c11",
    ),
    Bug(
        "restart-retires-first",
        "a restart tears the old page pool down before the new one serves the queue",
        "provider.c",
        "\tshm_store_release_u32(&ifq->shared->current_pool, slot + 1, POINT_POOL_COUNT);\n"
        "\tif (!old)\n"
        "\t\treturn (int)slot;\n"
        "\tshm_count(&ifq->shared->restarts, 1);\n"
        "\tif (!end_pool(ifq, old, zcrx_pp_destroy))\n"
        "\t\tifq->dying |= 1U << old->slot;\n",
        "\tif (old) {\n"
        "\t\tshm_count(&ifq->shared->restarts, 1);\n"
        "\t\tif (!end_pool(ifq, old, zcrx_pp_destroy))\n"
        "\t\t\tifq->dying |= 1U << old->slot;\n"
        "\t}\n"
        "\tshm_store_release_u32(&ifq->shared->current_pool, slot + 1, POINT_POOL_COUNT);\n",
        scenario="look-vs-restart",
    ),
    # The refill ring.
    Bug(
        "rq-tail-read-relaxed",
        "the refill ring's tail is read without acquire: entries below it may be older ones",
        "ring.h",
        "shm_load_acquire_u32(rq->tail, POINT_RQ_TAIL_LOAD);",
        "shm_load_relaxed_u32(rq->tail, POINT_RQ_TAIL_LOAD);",
        scenario="entry-then-tail",
    ),
    Bug(
        "rq-tail-published-relaxed",
        "the refill ring's tail is published without release: the entries may come later",
        "ring.h",
        "shm_store_release_u32(rq->tail, rq->cached_tail, POINT_RQ_TAIL_STORE);",
        "shm_store_relaxed_u32(rq->tail, rq->cached_tail, POINT_RQ_TAIL_STORE);",
        scenario="entry-then-tail",
    ),
    Bug(
        "rq-tail-published-early",
        "the refill ring's tail is published before the entry was written",
        "ring.h",
        "\tstruct zcrx_rqe_slot *slot = &rq->rqes[rq->cached_tail & rq->mask];\n\n",
        "\tstruct zcrx_rqe_slot *slot = &rq->rqes[rq->cached_tail & rq->mask];\n\n"
        "\tshm_store_release_u32(rq->tail, rq->cached_tail + 1, POINT_RQ_TAIL_STORE);\n",
        scenario="entry-then-tail",
    ),
    Bug(
        "rq-head-published-early",
        "the refill ring's head is published before the entries were read: the user writes over "
        "them",
        "provider.c",
        "\trun.count = run.niov = 0;\n",
        "\tifq->rq.cached_head = rq.cached_head + count;\n"
        "\tzcrx_rq_release(&ifq->rq);\n"
        "\trun.count = run.niov = 0;\n",
        scenario="each-entry-once",
    ),
    Bug(
        "rq-room-not-asked",
        "the user never looks at the refill ring's head: it writes over entries that were not read",
        "ring.h",
        "\tif (used + wanted > rq->entries) {\n"
        "\t\tuint32_t head = shm_load_acquire_u32(rq->head, POINT_RQ_HEAD_LOAD);\n",
        "\tif (used + wanted > rq->entries) {\n\t\tuint32_t head = rq->cached_tail;\n",
        scenario="each-entry-once",
    ),
    Bug(
        "rqe-read-twice",
        "an entry is judged by one reading and used by another: the user changes the index in "
        "between, past its bound",
        "provider.c",
        "\t\tuint32_t niov = (uint32_t)((rqe.off & NIOV_OFF_MASK) >> niov_shift);\n",
        "\t\tstruct zcrx_rqe_slot *slot = &rq.rqes[(rq.cached_head - 1) & rq.mask];\n"
        "\t\tuint64_t off = shm_load_relaxed_u64(&slot->off, POINT_RQE_LOAD);\n"
        "\t\tuint32_t niov = (uint32_t)((off & NIOV_OFF_MASK) >> niov_shift);\n",
        scenario="rewrite-bound",
    ),
    Bug(
        "reset-keeps-old-tail",
        "a new user's refill ring keeps the old one's tail: what the old user left is judged",
        "provider.c",
        "\tshm_store_relaxed_u32(ifq->rq.tail, ifq->rq.cached_head, POINT_RQ_TAIL_STORE);\n"
        "\tshm_store_release_u32(ifq->rq.head,",
        "\tshm_store_release_u32(ifq->rq.head,",
        scenario="reset-vs-scrub",
    ),
    # The verdict log.
    Bug(
        "log-covered-relaxed",
        "the number of judged entries is published without release: who reads it may read the "
        "verdicts before they are written",
        "provider.c",
        "shm_store_release_u64(&shared->consumed, consumed + count, POINT_LOG);",
        "shm_store_relaxed_u64(&shared->consumed, consumed + count, POINT_LOG);",
        scenario="read-log",
    ),
    Bug(
        "log-covered-early",
        "the number of judged entries is published before their verdicts are logged",
        "provider.c",
        "\tuint64_t tallied = 0;\n",
        "\tuint64_t tallied = 0;\n\n"
        "\tshm_store_release_u64(&shared->consumed, consumed + count, POINT_LOG);\n",
        scenario="read-log",
    ),
    # The completion queue.
    Bug(
        "cqe-visible-first",
        "completions are published before their fragments have references: a user who returns at "
        "once is rejected",
        "nic_queue.c",
        "\tfor (uint32_t i = 0; i < nq->touched_count; i++)\n\t\tsettle(nq, &nq->touched[i]);\n",
        "\tif (cqes)\n"
        "\t\tzcrx_cq_publish(&nq->queue.cq);\n"
        "\tfor (uint32_t i = 0; i < nq->touched_count; i++)\n"
        "\t\tsettle(nq, &nq->touched[i]);\n",
        scenario="give-at-once",
    ),
    Bug(
        "cq-tail-published-relaxed",
        "the completion queue's tail is published without release: completion, payload and "
        "references may come later",
        "ring.h",
        "shm_store_release_u32(cq->tail, cq->cached_tail, POINT_CQ_TAIL_STORE);",
        "shm_store_relaxed_u32(cq->tail, cq->cached_tail, POINT_CQ_TAIL_STORE);",
        scenario="payload",
    ),
    Bug(
        "cq-tail-read-relaxed",
        "the completion queue's tail is read without acquire: the completions and payloads below "
        "it may be older ones",
        "ring.h",
        "shm_load_acquire_u32(cq->tail, POINT_CQ_TAIL_LOAD);",
        "shm_load_relaxed_u32(cq->tail, POINT_CQ_TAIL_LOAD);",
        scenario="payload",
    ),
    Bug(
        "cq-tail-published-early",
        "the completion queue's tail moves on before the completion is written",
        "ring.h",
        "\tstruct zcrx_cqe_slot *slot = &cq->cqes[cq->cached_tail & cq->mask];\n\n",
        "\tstruct zcrx_cqe_slot *slot = &cq->cqes[cq->cached_tail & cq->mask];\n\n"
        "\tshm_store_release_u32(cq->tail, cq->cached_tail + 1, POINT_CQ_TAIL_STORE);\n",
        scenario="payload",
    ),
    Bug(
        "cq-head-published-early",
        "the user publishes the completion queue's head before it has read the completion: the "
        "NIC writes over it",
        "ring.h",
        "\tstruct zcrx_cqe_slot *slot = &cq->cqes[cq->cached_head & cq->mask];\n",
        "\tstruct zcrx_cqe_slot *slot = &cq->cqes[cq->cached_head & cq->mask];\n\n"
        "\tshm_store_release_u32(cq->head, cq->cached_head + 1, POINT_CQ_HEAD_STORE);\n",
        scenario="payload",
    ),
    Bug(
        "cq-room-not-asked",
        "the NIC never looks at the completion queue's head: it writes over completions that were "
        "not read",
        "ring.h",
        "\t\tuint32_t head = shm_load_acquire_u32(cq->head, POINT_CQ_HEAD_LOAD);\n",
        "\t\tuint32_t head = cq->cached_tail;\n",
        scenario="payload",
    ),
    # The grant ring.
    Bug(
        "grant-published-relaxed",
        "grants are published without release: the NIC may write into a buffer while its user's "
        "reading is not over",
        "ring.h",
        "shm_store_release_u32(&ring->shared->tail, ring->cached_tail, POINT_GRANT_TAIL_STORE);",
        "shm_store_relaxed_u32(&ring->shared->tail, ring->cached_tail, POINT_GRANT_TAIL_STORE);",
        scenario="recycle",
    ),
    Bug(
        "grant-taken-relaxed",
        "the grant ring's tail is read without acquire: the slot may be one of an earlier round",
        "ring.h",
        "\t\t\tshm_load_acquire_u32(&ring->shared->tail, POINT_GRANT_TAIL_LOAD);",
        "\t\t\tshm_load_relaxed_u32(&ring->shared->tail, POINT_GRANT_TAIL_LOAD);",
        scenario="grant-vs-send",
    ),
    Bug(
        "grant-published-early",
        "the grant ring's tail moves on before the slot is written",
        "ring.h",
        "\tshm_store_relaxed_u32(&ring->slots[ring->cached_tail & ring->mask], niov, "
        "POINT_GRANT_SLOT);\n",
        "\tshm_store_release_u32(&ring->shared->tail, ring->cached_tail + 1, "
        "POINT_GRANT_TAIL_STORE);\n"
        "\tshm_store_relaxed_u32(&ring->slots[ring->cached_tail & ring->mask], niov, "
        "POINT_GRANT_SLOT);\n",
        scenario="grant-vs-send",
    ),
    Bug(
        "grant-head-published-early",
        "the grant ring's head is published before the slot was read: the provider writes over it",
        "ring.h",
        "\treturn shm_load_relaxed_u32(&ring->slots[ring->cached_head++ & ring->mask],\n",
        "\tshm_store_release_u32(&ring->shared->head, ring->cached_head + 1, "
        "POINT_GRANT_HEAD_STORE);\n"
        "\treturn shm_load_relaxed_u32(&ring->slots[ring->cached_head++ & ring->mask],\n",
        scenario="grants-full",
    ),
    Bug(
        "grant-room-not-asked",
        "the provider never looks at the grant ring's head: it writes over grants that were not "
        "taken",
        "ring.h",
        "\tring->cached_head = shm_load_acquire_u32(&ring->shared->head, POINT_GRANT_HEAD_LOAD);\n",
        "\tring->cached_head = ring->cached_tail;\n",
        scenario="grants-full",
    ),
    # Doorbells.
    Bug(
        "waiting-announced-late",
        "a sleeper announces itself when it has looked for the last time: what is published in "
        "between wakes nobody",
        "bell.c",
        "\tshm_store_relaxed_u32(&bell->waiting, reason, POINT_BELL_WAITING);\n"
        "\tshm_fence_seq_cst();\n"
        "\treturn seq;\n"
        "}\n\n"
        "void zcrx_bell_cancel(struct zcrx_bell *bell)\n"
        "{\n"
        "\tshm_store_relaxed_u32(&bell->waiting, ZCRX_BELL_NONE, POINT_BELL_WAITING);\n"
        "}\n\n"
        "void zcrx_bell_sleep(struct zcrx_bell *bell, uint32_t seq, uint32_t timeout_us)\n"
        "{\n",
        "\t(void)reason;\n"
        "\treturn seq;\n"
        "}\n\n"
        "void zcrx_bell_cancel(struct zcrx_bell *bell)\n"
        "{\n"
        "\tshm_store_relaxed_u32(&bell->waiting, ZCRX_BELL_NONE, POINT_BELL_WAITING);\n"
        "}\n\n"
        "void zcrx_bell_sleep(struct zcrx_bell *bell, uint32_t seq, uint32_t timeout_us)\n"
        "{\n"
        "\tshm_store_relaxed_u32(&bell->waiting, UINT32_MAX, POINT_BELL_WAITING);\n"
        "\tshm_fence_seq_cst();\n\n",
        scenario="doorbell",
    ),
    Bug(
        "sleeper-without-fence",
        "a sleeper announces itself without a fence: its last look may come before the "
        "announcement is visible",
        "bell.c",
        "\tshm_fence_seq_cst();\n",
        "",
        scenario="doorbell",
        memory="tso",
    ),
    Bug(
        "ringer-without-fence",
        "a ringer looks for sleepers without a fence: its look may come before what it published "
        "is visible",
        "bell.h",
        "\tshm_fence_seq_cst();\n",
        "",
        scenario="doorbell",
        memory="tso",
    ),
    Bug(
        "bell-sequence-read-late",
        "a sleeper reads the bell's sequence when it goes to sleep: a ring since its last look is "
        "lost",
        "bell.c",
        "\tsyscall(SYS_futex, &bell->seq, FUTEX_WAIT,",
        "\tseq = shm_load_relaxed_u32(&bell->seq, POINT_BELL_SEQ);\n"
        "\tsyscall(SYS_futex, &bell->seq, FUTEX_WAIT,",
        scenario="doorbell",
    ),
    Bug(
        "bell-not-counted",
        "a ring does not move the bell's sequence: who is about to sleep does not notice it",
        "bell.c",
        "\tshm_fetch_add_u32(&bell->seq, 1, POINT_BELL_SEQ);\n",
        "",
        scenario="doorbell",
    ),
    Bug(
        "bell-counted-late",
        "the bell's sequence moves on after sleepers were woken: who comes in between sleeps on",
        "bell.c",
        "\tshm_fetch_add_u32(&bell->seq, 1, POINT_BELL_SEQ);\n"
        "\tsyscall(SYS_futex, &bell->seq, FUTEX_WAKE, 1, NULL, NULL, 0);\n",
        "\tsyscall(SYS_futex, &bell->seq, FUTEX_WAKE, 1, NULL, NULL, 0);\n"
        "\tshm_fetch_add_u32(&bell->seq, 1, POINT_BELL_SEQ);\n",
        scenario="doorbell",
    ),
    Bug(
        "waiting-taken-down-late",
        "a ringer takes the announcement down after it has rung: by then it may be that of the "
        "next sleep",
        "bell.c",
        "\tzcrx_bell_cancel(bell);\n"
        "\tshm_fetch_add_u32(&bell->seq, 1, POINT_BELL_SEQ);\n"
        "\tsyscall(SYS_futex, &bell->seq, FUTEX_WAKE, 1, NULL, NULL, 0);\n",
        "\tshm_fetch_add_u32(&bell->seq, 1, POINT_BELL_SEQ);\n"
        "\tsyscall(SYS_futex, &bell->seq, FUTEX_WAKE, 1, NULL, NULL, 0);\n"
        "\tzcrx_bell_cancel(bell);\n",
        scenario="doorbell-twice",
    ),
    # A scrub of a living user.
    Bug(
        "quiet-too-early",
        "the NIC says that it is quiet before its completions are visible",
        "nic_queue.c",
        "\tzcrx_grant_release(&nq->queue.grants);\n\tif (cqes) {\n",
        "\tzcrx_grant_release(&nq->queue.grants);\n"
        "\tshm_store_release_u32(&nq->queue.nic->publishing, 0, POINT_USER);\n"
        "\tif (cqes) {\n",
        scenario="scrub-of-the-living",
    ),
    Bug(
        "publishing-said-late",
        "the NIC says that it publishes after its fragments have their references",
        "nic_queue.c",
        "\tshm_store_relaxed_u32(&nq->queue.nic->publishing, 1, POINT_USER);\n"
        "\tfor (uint32_t i = 0; i < nq->touched_count; i++)\n"
        "\t\tsettle(nq, &nq->touched[i]);\n",
        "\tfor (uint32_t i = 0; i < nq->touched_count; i++)\n"
        "\t\tsettle(nq, &nq->touched[i]);\n"
        "\tshm_store_relaxed_u32(&nq->queue.nic->publishing, 1, POINT_USER);\n",
        scenario="scrub-of-the-living",
    ),
    Bug(
        "quiet-said-relaxed",
        "the NIC says that it is quiet without release: its completions may be visible later",
        "nic_queue.c",
        "\tshm_store_release_u32(&nq->queue.nic->publishing, 0, POINT_USER);\n",
        "\tshm_store_relaxed_u32(&nq->queue.nic->publishing, 0, POINT_USER);\n",
        scenario="scrub-of-the-living",
        memory="c11",
    ),
    Bug(
        "quiet-asked-relaxed",
        "whether the NIC is quiet is read without acquire: the completion queue's tail may be an "
        "older one",
        "control.c",
        "shm_load_acquire_u32(&queue->nic->publishing, POINT_USER) == 0;",
        "shm_load_relaxed_u32(&queue->nic->publishing, POINT_USER) == 0;",
        scenario="scrub-of-the-living",
        memory="c11",
    ),
    Bug(
        "rq-head-published-relaxed",
        "the refill ring's head is published without release: the user may write over entries "
        "that are still being read",
        "ring.h",
        "\tshm_store_release_u32(rq->head, rq->cached_head, POINT_RQ_HEAD_STORE);\n",
        "\tshm_store_relaxed_u32(rq->head, rq->cached_head, POINT_RQ_HEAD_STORE);\n",
        scenario="full-ring",
    ),
    Bug(
        "rq-head-read-relaxed",
        "the user reads the refill ring's head without acquire: it may write over entries that "
        "are still being read",
        "ring.h",
        "\t\tuint32_t head = shm_load_acquire_u32(rq->head, POINT_RQ_HEAD_LOAD);\n",
        "\t\tuint32_t head = shm_load_relaxed_u32(rq->head, POINT_RQ_HEAD_LOAD);\n",
        scenario="full-ring",
    ),
    Bug(
        "cq-head-published-relaxed",
        "the completion queue's head is published without release: the NIC may write over a "
        "completion that is still being read",
        "ring.h",
        "\tshm_store_release_u32(cq->head, cq->cached_head, POINT_CQ_HEAD_STORE);\n",
        "\tshm_store_relaxed_u32(cq->head, cq->cached_head, POINT_CQ_HEAD_STORE);\n",
        scenario="cq-full",
    ),
    Bug(
        "cq-head-read-relaxed",
        "the NIC reads the completion queue's head without acquire: it may write over a "
        "completion that is still being read",
        "ring.h",
        "\t\tuint32_t head = shm_load_acquire_u32(cq->head, POINT_CQ_HEAD_LOAD);\n",
        "\t\tuint32_t head = shm_load_relaxed_u32(cq->head, POINT_CQ_HEAD_LOAD);\n",
        scenario="cq-full",
    ),
    Bug(
        "grant-head-published-relaxed",
        "the grant ring's head is published without release: the provider may write over a "
        "grant that is still being read",
        "ring.h",
        "\tshm_store_release_u32(&ring->shared->head, ring->cached_head,",
        "\tshm_store_relaxed_u32(&ring->shared->head, ring->cached_head,",
        scenario="grants-full",
    ),
    Bug(
        "grant-head-read-relaxed",
        "the provider reads the grant ring's head without acquire: it may write over a grant "
        "that is still being read",
        "ring.h",
        "\tring->cached_head = shm_load_acquire_u32(&ring->shared->head, POINT_GRANT_HEAD_LOAD);\n",
        "\tring->cached_head = shm_load_relaxed_u32(&ring->shared->head, POINT_GRANT_HEAD_LOAD);\n",
        scenario="grants-full",
    ),
    # A second fragment, a buffer's other life, a return of what was never given.
    Bug(
        "second-fragment-as-first",
        "a buffer counts as fresh for each of its fragments: the page-pool reference of the first "
        "one, still out, is forgotten when the second is delivered",
        "nic_queue.c",
        "\tnq->open_fragments = 0;\n\tnq->open_fresh = false;\n",
        "\tnq->open_fragments = 0;\n",
        scenario="second-fragment",
    ),
    Bug(
        "pool-looked-at-first",
        "which pool a returned buffer is bound to is read before its reference is taken: by then "
        "it may have been freed, and be a copy's",
        "provider.c",
        "\tuint32_t taken = zcrx_user_ref_take(area, run->niov, run->count);\n"
        "\n"
        "\tfor (uint32_t i = 0; i + 1 < taken; i++)\n"
        "\t\t*run->verdicts[i] += ZCRX_STILL_REFERENCED;\n"
        "\tfor (uint32_t i = taken; i < run->count; i++)\n"
        "\t\t*run->verdicts[i] += ZCRX_NO_USER_REF;\n"
        "\tif (taken == 0)\n"
        "\t\treturn false;\n"
        "\tif (!zcrx_pp_ref_put(area, run->niov, taken)) {\n"
        "\t\t*run->verdicts[taken - 1] += ZCRX_STILL_REFERENCED;\n"
        "\t\treturn false;\n"
        "\t}\n"
        "\tif (shm_load_relaxed_u32(&area->niovs[run->niov].pool, POINT_NIOV_POOL) == "
        "pool->slot + 1)\n",
        "\tuint32_t bound =\n"
        "\t\tshm_load_relaxed_u32(&area->niovs[run->niov].pool, POINT_NIOV_POOL);\n"
        "\tuint32_t taken = zcrx_user_ref_take(area, run->niov, run->count);\n"
        "\n"
        "\tfor (uint32_t i = 0; i + 1 < taken; i++)\n"
        "\t\t*run->verdicts[i] += ZCRX_STILL_REFERENCED;\n"
        "\tfor (uint32_t i = taken; i < run->count; i++)\n"
        "\t\t*run->verdicts[i] += ZCRX_NO_USER_REF;\n"
        "\tif (taken == 0)\n"
        "\t\treturn false;\n"
        "\tif (!zcrx_pp_ref_put(area, run->niov, taken)) {\n"
        "\t\t*run->verdicts[taken - 1] += ZCRX_STILL_REFERENCED;\n"
        "\t\treturn false;\n"
        "\t}\n"
        "\tif (bound == pool->slot + 1)\n",
        scenario="copied-again",
    ),
    Bug(
        "user-ref-taken-then-looked",
        "a user reference is subtracted first and put back if there was none: a scrub in between "
        "finds 2^32 - 1 of them",
        "area.h",
        "\tdo {\n"
        "\t\tcount = now < max ? now : max;\n"
        "\t\tif (count == 0)\n"
        "\t\t\treturn 0;\n"
        "\t} while (!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS));\n"
        "\treturn count;\n",
        "\tcount = now && now < max ? now : max;\n"
        "\tnow = shm_fetch_sub_u32(refs, count, POINT_USER_REF_CAS);\n"
        "\tif (now >= count)\n"
        "\t\treturn count;\n"
        "\tshm_fetch_add_u32(refs, count, POINT_USER_REF_ADD);\n"
        "\treturn 0;\n",
        scenario="never-given-vs-scrub",
    ),
)

#: By name.
RACING_BUGS: dict[str, Bug] = {bug.name: bug for bug in _BUGS}
