"""Bugs of the content kind: what a provider gets wrong without anybody racing it."""

from __future__ import annotations

from emu.bugs import Bug

_BUGS = (
    # What the bytes of an entry decide.
    Bug(
        "bound-off-by-one",
        "the bound of the niov index is tested with > instead of >=: the entry that "
        "names the buffer behind the last one is believed",
        "provider.c",
        "if ((uint32_t)index >= num_niovs)",
        "if ((uint32_t)index > num_niovs)",
    ),
    Bug(
        "bound-missing",
        "the niov index has no bound: an entry leads anywhere behind the counts of the area",
        "provider.c",
        "\tif ((uint32_t)index >= num_niovs)\n\t\treturn ZCRX_BAD_INDEX;\n",
        "\t(void)num_niovs;\n",
    ),
    Bug(
        "bound-rounded-up",
        "the area's size is rounded up to an even number before the index is held "
        "against it: an odd area gets a buffer that does not exist",
        "provider.c",
        "if ((uint32_t)index >= num_niovs)",
        "if ((uint32_t)index >= num_niovs + num_niovs % 2)",
    ),
    Bug(
        "index-in-64-bits",
        "the bound is tested before the index is cut to 32 bits: an alias is rejected "
        "that must be accepted",
        "provider.c",
        "if ((uint32_t)index >= num_niovs)",
        "if (index >= num_niovs)",
    ),
    Bug(
        "index-folded",
        "an index out of range is taken modulo the number of buffers instead of being "
        "rejected: somebody else's buffer is returned",
        "provider.c",
        "uint32_t verdict = judge_bytes(rqe, num_niovs, niov_shift, strict_alias);\n"
        "\t\tuint32_t niov = (uint32_t)((rqe.off & NIOV_OFF_MASK) >> niov_shift);",
        "uint32_t verdict = judge_bytes(rqe, UINT32_MAX, niov_shift, strict_alias);\n"
        "\t\tuint32_t niov = (uint32_t)((rqe.off & NIOV_OFF_MASK) >> niov_shift) % "
        "num_niovs;",
    ),
    Bug(
        "index-masked",
        "an index out of range is masked by the number of buffers less one instead of "
        "being rejected: even good ones go astray when that is no power of two",
        "provider.c",
        "uint32_t verdict = judge_bytes(rqe, num_niovs, niov_shift, strict_alias);\n"
        "\t\tuint32_t niov = (uint32_t)((rqe.off & NIOV_OFF_MASK) >> niov_shift);",
        "uint32_t verdict = judge_bytes(rqe, UINT32_MAX, niov_shift, strict_alias);\n"
        "\t\tuint32_t niov = (uint32_t)((rqe.off & NIOV_OFF_MASK) >> niov_shift) & "
        "(num_niovs - 1);",
    ),
    Bug(
        "pad-ignored",
        "padding that is not zero is not looked at: the entry is accepted",
        "provider.c",
        "\tif (rqe.__pad)\n\t\treturn ZCRX_BAD_PAD;\n",
        "",
    ),
    Bug(
        "pad-half-checked",
        "only the lower half of the padding is looked at: the upper one may hold anything",
        "provider.c",
        "if (rqe.__pad)",
        "if ((uint16_t)rqe.__pad)",
    ),
    Bug(
        "area-ignored",
        "the area id is not looked at: an entry of another area returns a buffer of this one",
        "provider.c",
        "\tif (rqe.off & IORING_ZCRX_AREA_MASK)\n\t\treturn ZCRX_BAD_AREA;\n",
        "",
    ),
    Bug(
        "area-half-checked",
        "only the lower byte of the area id is looked at: area 256 passes for this one",
        "provider.c",
        "if (rqe.off & IORING_ZCRX_AREA_MASK)",
        "if (rqe.off >> IORING_ZCRX_AREA_SHIFT & 0xff)",
    ),
    Bug(
        "area-left-in-index",
        "the index is taken before the area id is masked away, which has no test of "
        "its own: entries of other areas pass as aliases",
        "provider.c",
        "uint64_t index = (rqe.off & NIOV_OFF_MASK) >> niov_shift;\n"
        "\n"
        "\tif (rqe.__pad)\n"
        "\t\treturn ZCRX_BAD_PAD;\n"
        "\tif (rqe.off & IORING_ZCRX_AREA_MASK)\n"
        "\t\treturn ZCRX_BAD_AREA;\n",
        "uint64_t index = rqe.off >> niov_shift;\n\n\tif (rqe.__pad)\n\t\treturn ZCRX_BAD_PAD;\n",
    ),
    Bug(
        "area-judged-before-pad",
        "the area id is judged before the padding: an entry with both faults earns the "
        "wrong verdict",
        "provider.c",
        "\tif (rqe.__pad)\n"
        "\t\treturn ZCRX_BAD_PAD;\n"
        "\tif (rqe.off & IORING_ZCRX_AREA_MASK)\n"
        "\t\treturn ZCRX_BAD_AREA;\n",
        "\tif (rqe.off & IORING_ZCRX_AREA_MASK)\n"
        "\t\treturn ZCRX_BAD_AREA;\n"
        "\tif (rqe.__pad)\n"
        "\t\treturn ZCRX_BAD_PAD;\n",
    ),
    Bug(
        "index-judged-before-area",
        "the index is judged before the area id: an entry with both faults earns the wrong verdict",
        "provider.c",
        "\tif (rqe.off & IORING_ZCRX_AREA_MASK)\n"
        "\t\treturn ZCRX_BAD_AREA;\n"
        "\tif ((uint32_t)index >= num_niovs)\n"
        "\t\treturn ZCRX_BAD_INDEX;\n",
        "\tif ((uint32_t)index >= num_niovs)\n"
        "\t\treturn ZCRX_BAD_INDEX;\n"
        "\tif (rqe.off & IORING_ZCRX_AREA_MASK)\n"
        "\t\treturn ZCRX_BAD_AREA;\n",
    ),
    Bug(
        "strict-not-honoured",
        "the strict setting has no effect: aliases are accepted despite it",
        "provider.c",
        "bool strict_alias = ifq->strict_alias;",
        "bool strict_alias = false;",
    ),
    Bug(
        "strict-always",
        "the strict setting is always on: aliases are rejected that must be accepted",
        "provider.c",
        "bool strict_alias = ifq->strict_alias;",
        "bool strict_alias = true;",
    ),
    Bug(
        "alias-of-another-buffer",
        "the vanishing bits of an alias still count when the buffer is looked up: "
        "another one than it names is returned",
        "provider.c",
        "uint32_t niov = (uint32_t)((rqe.off & NIOV_OFF_MASK) >> niov_shift);",
        "uint64_t page = (rqe.off & NIOV_OFF_MASK) >> niov_shift;\n"
        "\t\tuint32_t niov = (uint32_t)(verdict & ZCRX_LOG_ALIAS ? page % num_niovs : "
        "page);",
    ),
    Bug(
        "alias-not-reported",
        "an alias is accepted without the flag: nobody sees that bits vanished",
        "provider.c",
        "return ZCRX_LOG_ALIAS | (strict_alias ? ZCRX_BAD_INDEX : WELL_FORMED);",
        "return strict_alias ? ZCRX_BAD_INDEX : WELL_FORMED;",
    ),
    Bug(
        "len-believed",
        "the length of an entry is believed: one that is longer than a buffer is rejected",
        "provider.c",
        "\tif (rqe.__pad)\n\t\treturn ZCRX_BAD_PAD;\n",
        "\tif (rqe.__pad)\n"
        "\t\treturn ZCRX_BAD_PAD;\n"
        "\tif (rqe.len > 1U << niov_shift)\n"
        "\t\treturn ZCRX_BAD_INDEX;\n",
    ),
    Bug(
        "offset-in-page-believed",
        "an entry that points into the middle of a buffer is rejected instead of "
        "returning that buffer",
        "provider.c",
        "\tif (rqe.__pad)\n\t\treturn ZCRX_BAD_PAD;\n",
        "\tif (rqe.__pad)\n"
        "\t\treturn ZCRX_BAD_PAD;\n"
        "\tif (rqe.off & ((1U << niov_shift) - 1))\n"
        "\t\treturn ZCRX_BAD_INDEX;\n",
    ),
    # How the ring is read.
    Bug(
        "tail-not-clamped",
        "a tail out of range is not clamped to the ring's size: slots are read again "
        "within one refill",
        "ring.h",
        "return count < rq->entries ? count : rq->entries;",
        "return count;",
    ),
    Bug(
        "full-ring-one-short",
        "entries - 1 is taken for entries: of a full ring the last entry is left behind",
        "ring.h",
        "return count < rq->entries ? count : rq->entries;",
        "return count < rq->mask ? count : rq->mask;",
    ),
    Bug(
        "wrap-compared",
        "head and tail are compared by size: when the tail has wrapped at 2^32 and "
        "head has not, the ring looks empty for ever",
        "ring.h",
        "uint32_t count = tail - rq->cached_head;",
        "uint32_t count = tail > rq->cached_head ? tail - rq->cached_head : 0;",
    ),
    Bug(
        "slot-mask-off-by-one",
        "the mask of the ring is one too small: slots are mixed up, or lie outside of the ring",
        "ring.h",
        "&rq->rqes[rq->cached_head & rq->mask]",
        "&rq->rqes[rq->cached_head & (rq->mask - 1)]",
    ),
    Bug(
        "slot-one-ahead",
        "the index is moved before the entry is taken: each slot is the next one's",
        "ring.h",
        "&rq->rqes[rq->cached_head & rq->mask]",
        "&rq->rqes[(rq->cached_head + 1) & rq->mask]",
    ),
    Bug(
        "slot-modulo-off-by-one",
        "the slot is the index modulo entries - 1: right until the last slot is reached",
        "ring.h",
        "&rq->rqes[rq->cached_head & rq->mask]",
        "&rq->rqes[rq->mask ? rq->cached_head % rq->mask : 0]",
    ),
    Bug(
        "entry-read-twice",
        "the offset is loaded once more after it was checked: the user may have put "
        "another there meanwhile",
        "provider.c",
        "uint32_t niov = (uint32_t)((rqe.off & NIOV_OFF_MASK) >> niov_shift);",
        "uint64_t again = shm_load_relaxed_u64(&rq.rqes[(rq.cached_head - 1) & "
        "rq.mask].off,\n"
        "\t\t\t\t\t      POINT_RQE_LOAD);\n"
        "\t\tuint32_t niov = (uint32_t)((again & NIOV_OFF_MASK) >> niov_shift);",
    ),
    Bug(
        "pad-read-twice",
        "length and padding come from two loads of the same word: what was looked at "
        "need not be what is kept",
        "ring.h",
        ".__pad = (uint32_t)(len_pad >> 32),",
        ".__pad = (uint32_t)(shm_load_relaxed_u64(&slot->len_pad, POINT_RQE_LOAD) >> 32),",
    ),
    Bug(
        "head-published-early",
        "head is published before the entries were read: the user may overwrite them "
        "under the provider's eyes",
        "provider.c",
        "\trun.count = run.niov = 0;\n",
        "\trun.count = run.niov = 0;\n"
        "\tshm_store_release_u32(ifq->rq.head, index + count, POINT_RQ_HEAD_STORE);\n",
    ),
    Bug(
        "head-published-per-entry",
        "head is published after each entry instead of once after the last",
        "provider.c",
        "\t\tbatch.niovs[i] = niov;\n",
        "\t\tshm_store_release_u32(ifq->rq.head, rq.cached_head, POINT_RQ_HEAD_STORE);\n"
        "\t\tbatch.niovs[i] = niov;\n",
    ),
    Bug(
        "head-not-published",
        "head is not published: the ring looks full to the user for ever",
        "provider.c",
        "\tzcrx_rq_release(&ifq->rq);\n",
        "",
    ),
    Bug(
        "head-one-batch-behind",
        "head is published before the batch was added to it: the user never sees the "
        "last slots free",
        "provider.c",
        "\tifq->rq.cached_head = rq.cached_head;\n\tzcrx_rq_release(&ifq->rq);\n",
        "\tzcrx_rq_release(&ifq->rq);\n\tifq->rq.cached_head = rq.cached_head;\n",
    ),
    Bug(
        "head-read-back",
        "the provider's head is read back from shared memory: whoever scribbles on it "
        "decides what is consumed",
        "provider.c",
        "uint32_t available = zcrx_ifq_available(ifq);",
        "uint32_t available = (ifq->rq.cached_head = *ifq->rq.head, zcrx_ifq_available(ifq));",
    ),
    Bug(
        "head-written-for-nothing",
        "head is written though nothing was consumed: what stands there is overwritten "
        "at the wrong time",
        "provider.c",
        "\tif (count == 0)\n\t\treturn 0;\n\trun.count",
        "\tif (count == 0) {\n\t\tzcrx_rq_release(&ifq->rq);\n\t\treturn 0;\n\t}\n\trun.count",
    ),
    Bug(
        "reject-not-consumed",
        "a rejected entry is not consumed: it stands at the head for good",
        "provider.c",
        "\t\tif (verdict < WELL_FORMED)\n\t\t\tcontinue;\n",
        "\t\tif (verdict < WELL_FORMED) {\n\t\t\trq.cached_head--;\n\t\t\tcontinue;\n\t\t}\n",
    ),
    Bug(
        "batch-ends-at-reject",
        "a rejected entry ends the batch: good entries behind it wait for another call",
        "provider.c",
        "\t\tif (verdict < WELL_FORMED)\n\t\t\tcontinue;\n",
        "\t\tif (verdict < WELL_FORMED) {\n\t\t\tcount = i + 1;\n\t\t\tbreak;\n\t\t}\n",
    ),
    Bug(
        "batch-one-short",
        "a refill stops one buffer below the limit: the last of 64 entries waits for another call",
        "provider.c",
        "ZCRX_PP_REFILL - cached : 0;",
        "ZCRX_PP_REFILL - 1 - cached : 0;",
    ),
    Bug(
        "batch-of-whole-cache",
        "a refill from the ring goes up to the alloc cache's size instead of 64: its "
        "own arrays overflow",
        "provider.c",
        "uint32_t room = cached < ZCRX_PP_REFILL ? ZCRX_PP_REFILL - cached : 0;",
        "uint32_t room = cached < ZCRX_PP_CACHE_SIZE ? ZCRX_PP_CACHE_SIZE - cached : 0;",
    ),
    Bug(
        "detach-undone",
        "the first refill after a detach reads the ring again: entries of a user who "
        "is gone are believed",
        "provider.c",
        "if (ifq->detached || !zcrx_lock(&ifq->shared->rq_lock",
        "ifq->detached = false;\n\tif (!zcrx_lock(&ifq->shared->rq_lock",
    ),
    Bug(
        "attach-keeps-tail",
        "a new user's ring begins with the tail of the last one: what that left there "
        "is still consumed",
        "provider.c",
        "\tshm_store_relaxed_u32(ifq->rq.tail, ifq->rq.cached_head, POINT_RQ_TAIL_STORE);\n",
        "",
    ),
    Bug(
        "lock-kept-when-empty",
        "the lock of the refill ring is kept when there was nothing to consume: the "
        "next call waits for ever",
        "provider.c",
        "\tcount = refill_locked(ifq, pool);\n",
        "\tcount = refill_locked(ifq, pool);\n\tif (count == 0)\n\t\treturn 0;\n",
    ),
    # What the references decide.
    Bug(
        "user-ref-ignored",
        "user references are not looked at: whoever names a buffer returns it",
        "provider.c",
        "uint32_t taken = zcrx_user_ref_take(area, run->niov, run->count);",
        "uint32_t taken = run->count;",
    ),
    Bug(
        "user-ref-underflow",
        "user references are taken without a look at how many there are: the count goes below zero",
        "area.h",
        "count = now < max ? now : max;",
        "count = max;",
    ),
    Bug(
        "user-ref-none-missed",
        "a buffer without user references is not told from one with some: its "
        "page-pool references are looked at all the same",
        "provider.c",
        "\tif (taken == 0)\n\t\treturn false;\n",
        "",
    ),
    Bug(
        "fragment-too-many",
        "among entries in a row one more than there are user references is accepted: a "
        "reference of the stack's is dropped with it",
        "provider.c",
        "uint32_t taken = zcrx_user_ref_take(area, run->niov, run->count);",
        "uint32_t taken = zcrx_user_ref_take(area, run->niov, run->count);\n"
        "\n"
        "\tif (taken && taken < run->count)\n"
        "\t\ttaken++;",
    ),
    Bug(
        "reject-takes-reference",
        "the user reference is taken before the padding is judged: a rejected entry "
        "costs one, and the buffer is lost",
        "provider.c",
        "\t\tif (verdict < WELL_FORMED)\n\t\t\tcontinue;\n",
        "\t\tif (verdict == ZCRX_BAD_PAD && niov < num_niovs)\n"
        "\t\t\tzcrx_user_ref_take(ifq->area, niov, 1);\n"
        "\t\tif (verdict < WELL_FORMED)\n"
        "\t\t\tcontinue;\n",
    ),
    Bug(
        "still-referenced-keeps-user-ref",
        "a return that finds page-pool references left gives its user reference back: "
        "the same fragment can be returned again",
        "provider.c",
        "\t\t*run->verdicts[taken - 1] += ZCRX_STILL_REFERENCED;\n",
        "\t\tzcrx_user_ref_give(area, run->niov, 1);\n"
        "\t\t*run->verdicts[taken - 1] += ZCRX_STILL_REFERENCED;\n",
    ),
    Bug(
        "still-referenced-cached",
        "a buffer that the stack still holds is placed on the alloc cache: it is "
        "handed out while it is in use",
        "provider.c",
        "*run->verdicts[taken - 1] += ZCRX_STILL_REFERENCED;\n\t\treturn false;",
        "*run->verdicts[taken - 1] += ZCRX_STILL_REFERENCED;\n\t\treturn true;",
    ),
    Bug(
        "pp-ref-dropped-twice",
        "a page-pool reference is dropped twice when others remain: the last holder has none",
        "provider.c",
        "if (!zcrx_pp_ref_put(area, run->niov, taken)) {",
        "if (!zcrx_pp_ref_put(area, run->niov, taken) &&\n"
        "\t    !zcrx_pp_ref_put(area, run->niov, taken)) {",
    ),
    Bug(
        "run-drops-all",
        "entries in a row drop a page-pool reference each, those without a user reference too",
        "provider.c",
        "if (!zcrx_pp_ref_put(area, run->niov, taken)) {",
        "if (!zcrx_pp_ref_put(area, run->niov, run->count)) {",
    ),
    Bug(
        "run-drops-one",
        "entries in a row drop one page-pool reference together: the buffer never comes home",
        "provider.c",
        "if (!zcrx_pp_ref_put(area, run->niov, taken)) {",
        "if (!zcrx_pp_ref_put(area, run->niov, 1)) {",
    ),
    Bug(
        "run-all-or-nothing",
        "entries in a row are all rejected when the user references do not suffice for "
        "all of them, and what there was is gone",
        "provider.c",
        "\tif (taken == 0)\n\t\treturn false;\n",
        "\tif (taken < run->count)\n\t\treturn false;\n",
    ),
    Bug(
        "run-verdicts-shifted",
        "of entries in a row the last one also counts as still referenced: its verdict "
        "is the sum of two",
        "provider.c",
        "for (uint32_t i = 0; i + 1 < taken; i++)",
        "for (uint32_t i = 0; i < taken; i++)",
    ),
    Bug(
        "run-not-begun-anew",
        "the count of entries in a row is not set back when another buffer follows: it "
        "pays for those before",
        "provider.c",
        "\t\t\trun.count = 0;\n",
        "",
    ),
    Bug(
        "run-of-neighbours",
        "entries in a row are taken for the same buffer's unless the index falls: a "
        "later one is returned as often as all of them",
        "provider.c",
        "if (run.count && niov != run.niov) {",
        "if (run.count && niov < run.niov) {",
    ),
    Bug(
        "run-single-last-forgotten",
        "the last entry of a batch is not decided when it stands alone: it is logged "
        "as accepted and its buffer lost",
        "provider.c",
        "\tif (run.count && judge_run(ifq, pool, &run))",
        "\tif (run.count > 1 && judge_run(ifq, pool, &run))",
    ),
    Bug(
        "accepted-lost",
        "what a refill placed on the alloc cache is not counted: the buffers are lost",
        "provider.c",
        "\tzcrx_pp_cache_set_count(pool, cached);\n",
        "",
    ),
    Bug(
        "other-pool-cached",
        "a buffer of another pool is placed on this one's alloc cache: it is handed "
        "out by the wrong queue's pool",
        "provider.c",
        "if (shm_load_relaxed_u32(&area->niovs[run->niov].pool, POINT_NIOV_POOL) == "
        "pool->slot + 1)",
        "if (shm_load_relaxed_u32(&area->niovs[run->niov].pool, POINT_NIOV_POOL) != "
        "ZCRX_NO_POOL &&\n"
        "\t    pool)",
    ),
    Bug(
        "other-pool-to-own-ring",
        "a buffer of another pool goes into this one's ptr ring: the other one waits "
        "for it for ever",
        "provider.c",
        "\tzcrx_ifq_return_niov(ifq, run->niov);\n",
        "\tzcrx_pp_put_unreferenced(pool, run->niov);\n",
    ),
    Bug(
        "other-pool-lost",
        "a buffer of another pool is not returned to it: the buffer is lost",
        "provider.c",
        "\tzcrx_ifq_return_niov(ifq, run->niov);\n",
        "",
    ),
    Bug(
        "user-ref-overwritten",
        "a delivery overwrites the user references of an earlier one instead of adding to them",
        "area.h",
        "\t\tshm_fetch_add_u32(refs, count, POINT_USER_REF_ADD);\n",
        "\t\tshm_store_release_u32(refs, count, POINT_USER_REF_STORE);\n",
    ),
    Bug(
        "last-ref-leaves-zero",
        "the last page-pool reference leaves 0 instead of 1: the next owner has none",
        "area.h",
        "\t\tif (count != 1)\n\t\t\tshm_store_relaxed_u32(refs, 1, POINT_PP_REF_STORE);\n",
        "\t\tshm_store_relaxed_u32(refs, 0, POINT_PP_REF_STORE);\n",
    ),
    Bug(
        "last-refs-left",
        "several page-pool references that are dropped at once are left in the count: "
        "the next owner has too many",
        "area.h",
        "\t\tif (count != 1)\n\t\t\tshm_store_relaxed_u32(refs, 1, POINT_PP_REF_STORE);\n",
        "",
    ),
    Bug(
        "pp-ref-initial-zero",
        "the first page-pool reference is 0: the buffer can never be given back",
        "area.h",
        "shm_store_relaxed_u32(&area->niovs[niov].pp_refs, 1, POINT_PP_REF_STORE);",
        "shm_store_relaxed_u32(&area->niovs[niov].pp_refs, 0, POINT_PP_REF_STORE);",
    ),
    # What is logged and counted.
    Bug(
        "log-room-ignored",
        "verdicts that nobody has looked at yet are overwritten in the log",
        "provider.c",
        "\treturn available < room ? available : (uint32_t)room;\n",
        "\t(void)room;\n\treturn available;\n",
    ),
    Bug(
        "log-room-one-short",
        "the last free place of the verdict log is never used: the ring stands still "
        "one entry too early",
        "provider.c",
        "return unchecked <= ifq->log_mask ?",
        "return unchecked < ifq->log_mask ?",
    ),
    Bug(
        "log-room-for-everybody",
        "the verdict log has a bound for those who do not look at it too: the ring "
        "stands still after one log full",
        "provider.c",
        "\tif (!ifq->is_checked)\n\t\treturn UINT64_MAX;\n",
        "",
    ),
    Bug(
        "log-slot-not-masked",
        "the slot of the verdict log is not masked: what follows it is overwritten",
        "provider.c",
        "shm_log_put(log, (consumed + i) & log_mask, (uint8_t)verdict);",
        "shm_log_put(log, (consumed + i) % (log_mask + 2), (uint8_t)verdict);",
    ),
    Bug(
        "log-by-ring-index",
        "the verdict log is addressed by the ring index instead of by what was "
        "consumed: verdicts stand in other entries' places",
        "provider.c",
        "shm_log_put(log, (consumed + i) & log_mask, (uint8_t)verdict);",
        "shm_log_put(log, (index + i) & log_mask, (uint8_t)verdict);",
    ),
    Bug(
        "log-without-alias",
        "the verdict log loses the alias flag",
        "provider.c",
        "shm_log_put(log, (consumed + i) & log_mask, (uint8_t)verdict);",
        "shm_log_put(log, (consumed + i) & log_mask, verdict & ~ZCRX_LOG_ALIAS);",
    ),
    Bug(
        "aliases-of-accepted-only",
        "only aliases that returned a buffer are counted",
        "provider.c",
        "aliases += verdict / ZCRX_LOG_ALIAS;",
        "aliases += verdict == ZCRX_LOG_ALIAS;",
    ),
    Bug(
        "tally-overflow",
        "verdicts are tallied in six bits each: 64 equal ones count as one of the next",
        "provider.c",
        "tallied += (uint64_t)1 << (8 * (verdict & ~ZCRX_LOG_ALIAS));",
        "tallied += (uint64_t)((tallied >> (8 * (verdict & ~ZCRX_LOG_ALIAS)) & 0x3f) "
        "== 0x3f ? 0 : 1)\n"
        "\t\t\t   << (8 * (verdict & ~ZCRX_LOG_ALIAS));",
    ),
    Bug(
        "shown-head-stale",
        "the head that is shown to others is that from before the batch",
        "provider.c",
        "shm_store_relaxed_u32(&shared->cached_rq_head, ifq->rq.cached_head, POINT_RQ_HEAD_STORE);",
        "shm_store_relaxed_u32(&shared->cached_rq_head, index, POINT_RQ_HEAD_STORE);",
    ),
    Bug(
        "failure-not-counted",
        "an allocation that failed is not counted: a queue that starves is not seen",
        "provider.c",
        "\t\tshm_count(&ifq->shared->alloc_failures, 1);\n",
        "",
    ),
    # The freelist.
    Bug(
        "freelist-though-ring-gave",
        "the freelist is consulted although the ring gave buffers: the alloc cache "
        "takes more than its order of supply allows",
        "provider.c",
        "if (zcrx_pp_cache_count(pool) == 0 && !hidden)",
        "if (!hidden)",
    ),
    Bug(
        "freelist-before-ring",
        "the freelist is consulted before the ring: entries wait while there are free buffers",
        "provider.c",
        "\tzcrx_ifq_refill_ring(ifq, pool);\n"
        "\tif (zcrx_pp_cache_count(pool) == 0 && !hidden)\n"
        "\t\trefill_freelist(pool);\n",
        "\tif (!hidden)\n"
        "\t\trefill_freelist(pool);\n"
        "\tif (zcrx_pp_cache_count(pool) == 0)\n"
        "\t\tzcrx_ifq_refill_ring(ifq, pool);\n",
    ),
    Bug(
        "freelist-fills-whole-cache",
        "a refill from the freelist goes up to the alloc cache's size instead of 64",
        "provider.c",
        "ZCRX_PP_REFILL - cached);",
        "ZCRX_PP_CACHE_SIZE - cached);",
    ),
    Bug(
        "freelist-fill-unlimited",
        "a refill from the freelist has no limit: it runs over the alloc cache's end",
        "provider.c",
        "ZCRX_PP_REFILL - cached);",
        "pool->area->num_niovs);",
    ),
    Bug(
        "last-of-batch-not-bound",
        "the last buffer of a batch from the freelist is not bound to the pool: it "
        "never comes back to it",
        "provider.c",
        "for (uint32_t i = 0; i < count; i++)\n\t\tzcrx_pp_bind(",
        "for (uint32_t i = 0; i + 1 < count; i++)\n\t\tzcrx_pp_bind(",
    ),
    Bug(
        "hidden-ignored-by-alloc",
        "an allocation takes from the freelist though that is to look empty",
        "provider.c",
        "\tif (zcrx_pp_cache_count(pool) == 0 && !hidden)\n",
        "\t(void)hidden;\n\tif (zcrx_pp_cache_count(pool) == 0)\n",
    ),
    Bug(
        "hidden-ignored-by-copy",
        "a copy takes from the freelist though that is to look empty",
        "provider.c",
        "if (zcrx_ifq_is_hidden(ifq) || zcrx_area_pop_free(",
        "if (zcrx_area_pop_free(",
    ),
    Bug(
        "freelist-pushed-twice",
        "a buffer that is given up is pushed on the freelist twice: it is handed out twice",
        "provider.c",
        "\tzcrx_pp_unbind(pool, niov);\n\tzcrx_area_push_free(ifq->area, niov);\n",
        "\tzcrx_pp_unbind(pool, niov);\n"
        "\tzcrx_area_push_free(ifq->area, niov);\n"
        "\tzcrx_area_push_free(ifq->area, niov);\n",
    ),
    Bug(
        "release-keeps-binding",
        "a buffer that is given up stays bound to its pool: it goes back to one that may be gone",
        "provider.c",
        "\tzcrx_pp_unbind(pool, niov);\n\tzcrx_area_push_free(ifq->area, niov);\n",
        "\t(void)pool;\n\tzcrx_area_push_free(ifq->area, niov);\n",
    ),
    Bug(
        "freelist-pop-keeps-count",
        "buffers are popped without the count being lowered: the next one who pops gets them too",
        "area.c",
        "\tshm_store_relaxed_u32(&shared->free_count, free_count, POINT_FREE_COUNT);\n",
        "",
    ),
    Bug(
        "freelist-pop-above-top",
        "what is popped is read above the top of the freelist: at first behind its end",
        "area.c",
        "\t\tfree_count--;\n"
        "\t\tniovs[count] = shm_load_relaxed_u32(&area->freelist[free_count], "
        "POINT_FREELIST);\n",
        "\t\tniovs[count] = shm_load_relaxed_u32(&area->freelist[free_count], "
        "POINT_FREELIST);\n"
        "\t\tfree_count--;\n",
    ),
    Bug(
        "freelist-push-above-top",
        "what is pushed is written above the top of the freelist: the last one behind its end",
        "area.c",
        "shm_store_relaxed_u32(&area->freelist[free_count], niov, POINT_FREELIST);",
        "shm_store_relaxed_u32(&area->freelist[free_count + 1], niov, POINT_FREELIST);",
    ),
    Bug(
        "freelist-last-kept-back",
        "the last buffer of the freelist is never handed out",
        "area.c",
        "count < max && free_count > 0; count++",
        "count < max && free_count > 1; count++",
    ),
    Bug(
        "freelist-full-too-early",
        "the freelist counts as full with one place left: the last buffer that comes home is lost",
        "area.c",
        "if (free_count < area->num_niovs) {",
        "if (free_count + 1 < area->num_niovs) {",
    ),
    Bug(
        "freelist-reversed",
        "the freelist is filled from the other end: buffers are handed out in another "
        "order than the kernel's",
        "area.c",
        "shm_store_relaxed_u32(&area->freelist[niov], niov, POINT_FREELIST);",
        "shm_store_relaxed_u32(&area->freelist[niov], area->num_niovs - 1 - niov, POINT_FREELIST);",
    ),
    # Page pools.
    Bug(
        "alloc-keeps-top",
        "the buffer that is handed out after a refill stays on the alloc cache: it is "
        "handed out again",
        "provider.c",
        "\tzcrx_pp_cache_set_count(pool, cached - 1);\n",
        "\tzcrx_pp_cache_set_count(pool, cached);\n",
    ),
    Bug(
        "alloc-off-by-one",
        "the buffer that is handed out after a refill is read above the top of the alloc cache",
        "provider.c",
        "return pool->shared->cache[cached - 1];",
        "return pool->shared->cache[cached];",
    ),
    Bug(
        "ptr-ring-fills-whole-cache",
        "the ptr ring fills the alloc cache up to its size instead of up to 64",
        "page_pool.c",
        "while (count < ZCRX_PP_REFILL && ptr_ring_take(",
        "while (count < ZCRX_PP_CACHE_SIZE && ptr_ring_take(",
    ),
    Bug(
        "ptr-ring-full-loses",
        "a buffer that finds the ptr ring full is lost instead of being given up",
        "page_pool.c",
        "\tif (!ptr_ring_put(pool, niov))\n\t\tgive_up(pool, niov);\n",
        "\tptr_ring_put(pool, niov);\n",
    ),
    Bug(
        "ptr-ring-order",
        "what comes out of the ptr ring is handed out oldest first: the order of a "
        "batch is turned round",
        "page_pool.c",
        "\t\tshm_count(&shared->counters.alloc_refill, 1);\n"
        "\t\tzcrx_pp_cache_set_count(pool, count - 1);\n",
        "\t\tuint32_t oldest = shared->cache[0];\n"
        "\n"
        "\t\tshared->cache[0] = shared->cache[count - 1];\n"
        "\t\tshared->cache[count - 1] = oldest;\n"
        "\t\tshm_count(&shared->counters.alloc_refill, 1);\n"
        "\t\tzcrx_pp_cache_set_count(pool, count - 1);\n",
    ),
    Bug(
        "ptr-ring-take-wraps-late",
        "the ptr ring is read one slot behind its end",
        "page_pool.c",
        "shm_store_relaxed_u32(&shared->ring_head, head + 1 < pool->ring_size ? head + 1 : 0,",
        "shm_store_relaxed_u32(&shared->ring_head, head < pool->ring_size ? head + 1 : 0,",
    ),
    Bug(
        "ptr-ring-put-wraps-late",
        "the ptr ring is written one slot behind its end",
        "page_pool.c",
        "shm_store_relaxed_u32(&shared->ring_tail, tail + 1 < pool->ring_size ? tail + 1 : 0,",
        "shm_store_relaxed_u32(&shared->ring_tail, tail < pool->ring_size ? tail + 1 : 0,",
    ),
    Bug(
        "ptr-ring-put-wraps-early",
        "the last slot of the ptr ring is left out by those who put, not by those who "
        "take: buffers wait there for ever",
        "page_pool.c",
        "shm_store_relaxed_u32(&shared->ring_tail, tail + 1 < pool->ring_size ? tail + 1 : 0,",
        "shm_store_relaxed_u32(&shared->ring_tail, tail + 2 < pool->ring_size ? tail + 1 : 0,",
    ),
    Bug(
        "ptr-ring-one-short",
        "the ptr ring counts as full with one slot left",
        "page_pool.c",
        "room = shm_load_acquire_u32(&pool->ring[tail], POINT_PTR_RING_SLOT) == 0 &&",
        "room = shm_load_acquire_u32(&pool->ring[(tail + 1) % pool->ring_size],\n"
        "\t\t\t\t    POINT_PTR_RING_SLOT) == 0 &&",
    ),
    Bug(
        "ptr-ring-full-overwritten",
        "a full ptr ring is not noticed: the oldest buffer is overwritten and lost",
        "page_pool.c",
        "room = shm_load_acquire_u32(&pool->ring[tail], POINT_PTR_RING_SLOT) == 0 &&\n"
        "\t       !is_refused(shared);",
        "room = !is_refused(shared);",
    ),
    Bug(
        "ptr-ring-slot-not-cleared",
        "a slot of the ptr ring is not emptied when its buffer is taken: it is taken again",
        "page_pool.c",
        "\tshm_store_release_u32(slot, 0, POINT_PTR_RING_SLOT);\n",
        "",
    ),
    Bug(
        "ptr-ring-without-offset",
        "buffer 0 is put into the ptr ring as 0, which means empty: it is lost",
        "page_pool.c",
        "shm_store_release_u32(&pool->ring[tail], niov + 1, POINT_PTR_RING_SLOT);",
        "shm_store_release_u32(&pool->ring[tail], niov, POINT_PTR_RING_SLOT);",
    ),
    Bug(
        "refusal-not-used-up",
        "a pretended full ptr ring is never over",
        "page_pool.c",
        "shm_store_relaxed_u32(&shared->ring_refusals, left - 1, POINT_PTR_RING_INDEX);",
        "shm_store_relaxed_u32(&shared->ring_refusals, left, POINT_PTR_RING_INDEX);",
    ),
    Bug(
        "give-up-not-counted",
        "a buffer that is given up because the ptr ring is full is not counted: the "
        "pool waits for it for ever",
        "page_pool.c",
        "\tif (!ptr_ring_put(pool, niov))\n\t\tgive_up(pool, niov);\n",
        "\tif (!ptr_ring_put(pool, niov))\n"
        "\t\tpool->ops->release_netmem(pool, pool->provider, niov);\n",
    ),
    Bug(
        "flush-keeps-cache",
        "a flush begins without emptying the alloc cache: what is returned goes home "
        "in another order, and less of it at a time",
        "provider.c",
        "\t\tzcrx_pp_empty_cache(pool);\n\t\tconsumed =",
        "\t\tconsumed =",
    ),
    Bug(
        "flush-leaves-cache",
        "a flush leaves what it consumed last in the alloc cache",
        "provider.c",
        "\tif (pool)\n\t\tzcrx_pp_empty_cache(pool);\n\treturn flushed;",
        "\treturn flushed;",
    ),
    Bug(
        "flush-one-batch-more",
        "a flush consumes another batch when it has consumed one ring full: stale "
        "slots are read again",
        "provider.c",
        "while (pool && flushed < ifq->rq.entries) {",
        "while (pool && flushed <= ifq->rq.entries) {",
    ),
    # Restart and teardown.
    Bug(
        "cache-kept-at-destroy",
        "the alloc cache is not emptied when its pool is torn down: the buffers are lost with it",
        "page_pool.c",
        "\tzcrx_pp_empty_cache(pool);\n\twhile (ptr_ring_take(",
        "\twhile (ptr_ring_take(",
    ),
    Bug(
        "ptr-ring-kept-at-destroy",
        "only one buffer is taken out of the ptr ring when its pool is torn down",
        "page_pool.c",
        "while (ptr_ring_take(pool, &niov))",
        "if (ptr_ring_take(pool, &niov))",
    ),
    Bug(
        "destroy-check-inverted",
        "the destroy check warns when every buffer is home, and only then",
        "provider.c",
        "if (zcrx_area_free_count(ifq->area) != ifq->area->num_niovs) {",
        "if (zcrx_area_free_count(ifq->area) == ifq->area->num_niovs) {",
    ),
    Bug(
        "destroy-check-of-pool",
        "the destroy check looks at the pool instead of at the whole area: what other "
        "pools hold is not seen",
        "provider.c",
        "\t(void)pool;\n\tif (zcrx_area_free_count(ifq->area) != ifq->area->num_niovs) {",
        "\tif (zcrx_pp_inflight(pool) != 0) {",
    ),
    Bug(
        "destroy-warns-and-puts",
        "a destroy check that failed drops the instance's reference all the same: the "
        "leak is not seen any more",
        "provider.c",
        "/* The reference is kept on purpose: a leak that can be seen. */\n",
        "shm_fetch_sub_u32(&ifq->shared->refs, 1, POINT_COUNTER);\n",
    ),
    Bug(
        "init-leaks-reference",
        "a pool that is refused has taken its reference on the instance already: it is "
        "never dropped",
        "provider.c",
        "\tif (pool->params.dma_map || pool->params.order != 0)\n"
        "\t\treturn -EOPNOTSUPP;\n"
        "\tshm_fetch_add_u32(&ifq->shared->refs, 1, POINT_COUNTER);\n",
        "\tshm_fetch_add_u32(&ifq->shared->refs, 1, POINT_COUNTER);\n"
        "\tif (pool->params.dma_map || pool->params.order != 0)\n"
        "\t\treturn -EOPNOTSUPP;\n",
    ),
    Bug(
        "init-any-device",
        "a pool of another device is accepted",
        "provider.c",
        "if (!ifq || pool->params.device != ifq->device)",
        "if (!ifq)",
    ),
    Bug(
        "init-without-ifq",
        "a pool without an interface queue is not refused: its provider is looked for at address 0",
        "provider.c",
        "if (!ifq || pool->params.device != ifq->device)",
        "if (pool->params.device != ifq->device)",
    ),
    Bug(
        "init-any-order",
        "a pool of pages of a higher order is accepted",
        "provider.c",
        "if (pool->params.dma_map || pool->params.order != 0)",
        "if (pool->params.dma_map)",
    ),
    Bug(
        "restart-forgets-old",
        "a restart does not note that the former pool lingers: nobody looks at it again",
        "provider.c",
        "\tif (!end_pool(ifq, old, zcrx_pp_destroy))\n\t\tifq->dying |= 1U << old->slot;\n",
        "\tend_pool(ifq, old, zcrx_pp_destroy);\n",
    ),
    Bug(
        "restart-keeps-old",
        "a restart does not tear the former pool down: what it caches is lost",
        "provider.c",
        "\tif (!end_pool(ifq, old, zcrx_pp_destroy))\n\t\tifq->dying |= 1U << old->slot;\n",
        "\tifq->dying |= 1U << old->slot;\n",
    ),
    Bug(
        "retry-once",
        "the delayed worker looks at a lingering pool once only: buffers that come "
        "later stay there",
        "provider.c",
        "\t\tif (zcrx_pp_phase(pool) != ZCRX_POOL_DYING ||\n"
        "\t\t    end_pool(ifq, pool, zcrx_pp_retry_release))\n"
        "\t\t\tifq->dying &= ~(1U << slot);\n",
        "\t\tif (zcrx_pp_phase(pool) == ZCRX_POOL_DYING)\n"
        "\t\t\tend_pool(ifq, pool, zcrx_pp_retry_release);\n"
        "\t\tifq->dying &= ~(1U << slot);\n",
    ),
    Bug(
        "dying-pool-to-current",
        "a lingering pool's buffer goes to the pool that serves now: the other one never ends",
        "provider.c",
        "\t\tzcrx_pp_put_unreferenced(&ifq->pools[pool - 1], niov);\n",
        "\t\tzcrx_pp_put_unreferenced(zcrx_ifq_pool(ifq) ? zcrx_ifq_pool(ifq) : "
        "&ifq->pools[pool - 1],\n"
        "\t\t\t\t\t niov);\n",
    ),
    Bug(
        "dying-pool-ends-early",
        "a pool ends with one buffer still out: that comes back to nobody",
        "page_pool.c",
        "if (zcrx_pp_inflight(pool) != 0)",
        "if (zcrx_pp_inflight(pool) > 1)",
    ),
    Bug(
        "reused-pool-keeps-count",
        "a pool that gets a used slot begins with the count of what its forerunner gave up",
        "page_pool.c",
        "\tshm_store_relaxed_u32(&shared->release_count, 0, POINT_POOL_COUNT);\n",
        "",
    ),
    Bug(
        "reused-pool-keeps-tail",
        "a pool that gets a used slot begins with the tail of its forerunner's ptr ring",
        "page_pool.c",
        "\tshm_store_relaxed_u32(&shared->ring_tail, 0, POINT_PTR_RING_INDEX);\n",
        "",
    ),
    Bug(
        "slots-never-run-out",
        "the last pool slot is taken though another pool lingers there: its buffers "
        "are counted for the new one",
        "provider.c",
        "while (slot < ZCRX_POOLS_MAX && zcrx_pp_phase(",
        "while (slot + 1 < ZCRX_POOLS_MAX && zcrx_pp_phase(",
    ),
    Bug(
        "teardown-keeps-current",
        "a pool that was torn down still serves the queue",
        "provider.c",
        "\tshm_store_release_u32(&ifq->shared->current_pool, 0, POINT_POOL_COUNT);\n",
        "",
    ),
    Bug(
        "teardown-silent",
        "a teardown with buffers still out does not warn",
        "provider.c",
        "\t/* Buffers of this pool are still out: the check fails by that alone. */\n"
        "\tshm_count(&ifq->shared->destroy_warnings, 1);\n",
        "",
    ),
    # Scrub, copies, netlink.
    Bug(
        "scrub-does-not-zero",
        "a scrub reads the user references without taking them: the next one, or an "
        "entry, drops them again",
        "area.h",
        "return shm_xchg_u32(refs, 0, POINT_USER_REF_XCHG);",
        "return shm_load_acquire_u32(refs, POINT_USER_REF_LOAD);",
    ),
    Bug(
        "scrub-skips-last",
        "a scrub leaves out the last buffer",
        "provider.c",
        "for (uint32_t niov = 0; niov < area->num_niovs; niov++) {\n\t\tuint32_t refs",
        "for (uint32_t niov = 0; niov + 1 < area->num_niovs; niov++) {\n\t\tuint32_t refs",
    ),
    Bug(
        "scrub-ends-at-first-idle",
        "a scrub ends at the first buffer that the user does not hold",
        "provider.c",
        "\t\tif (refs == 0)\n\t\t\tcontinue;\n",
        "\t\tif (refs == 0)\n\t\t\tbreak;\n",
    ),
    Bug(
        "scrub-drops-one",
        "a scrub drops one page-pool reference for all fragments of a buffer: it never comes home",
        "provider.c",
        "if (!zcrx_pp_ref_put(area, niov, refs))",
        "if (!zcrx_pp_ref_put(area, niov, 1))",
    ),
    Bug(
        "scrub-loses-buffer",
        "a scrub does not return the buffers whose last reference it dropped",
        "provider.c",
        "\t\tzcrx_ifq_return_niov(ifq, niov);\n\t\tif (buffers)",
        "\t\tif (buffers)",
    ),
    Bug(
        "scrub-to-freelist",
        "a scrub pushes buffers on the freelist though they are still bound to a pool",
        "provider.c",
        "\t\tzcrx_ifq_return_niov(ifq, niov);\n\t\tif (buffers)",
        "\t\tzcrx_area_push_free(area, niov);\n\t\tif (buffers)",
    ),
    Bug(
        "copy-to-pool",
        "a copied payload's buffer, which is no pool's, goes into a pool's ptr ring",
        "provider.c",
        "\tif (pool == ZCRX_NO_POOL)\n\t\tzcrx_area_push_free(ifq->area, niov);\n",
        "\tif (pool == ZCRX_NO_POOL)\n\t\tzcrx_pp_put_unreferenced(&ifq->pools[0], niov);\n",
    ),
    Bug(
        "copy-lost",
        "a copied payload's buffer, which is no pool's, is not pushed on the freelist again",
        "provider.c",
        "\tif (pool == ZCRX_NO_POOL)\n\t\tzcrx_area_push_free(ifq->area, niov);\n\telse\n",
        "\tif (pool != ZCRX_NO_POOL)\n",
    ),
    Bug(
        "copy-without-reference",
        "a copied payload's buffer gets no first reference: 0 if it was never used",
        "provider.c",
        "\tzcrx_pp_ref_init(ifq->area, niov);\n\treturn niov;",
        "\treturn niov;",
    ),
    Bug(
        "copy-bound",
        "a copied payload's buffer is bound to a pool: that one waits for it",
        "provider.c",
        "\tzcrx_pp_ref_init(ifq->area, niov);\n\treturn niov;",
        "\tzcrx_pp_bind(&ifq->pools[0], niov);\n\treturn niov;",
    ),
    Bug(
        "netlink-room-ignored",
        "the netlink attribute is written though there is no room for it",
        "provider.c",
        "\tif (size < nla_len)\n\t\treturn -EMSGSIZE;\n",
        "\t(void)size;\n",
    ),
    Bug(
        "netlink-attributes-swapped",
        "queue and page pool have each other's attribute number in a netlink dump",
        "provider.c",
        "ZCRX_NL_QUEUE_GET ? 6U : 8U",
        "ZCRX_NL_QUEUE_GET ? 8U : 6U",
    ),
)

#: By name.
CONTENT_BUGS: dict[str, Bug] = {bug.name: bug for bug in _BUGS}
