/* SPDX-License-Identifier: MIT */
/*
 * A provider of somebody else's in the place of ours: it sits behind our page
 * pools by the interface of zcrx_provider.h, and what it says of each RQE goes
 * into the same log and the same counters.
 */
#ifndef ZCRX_PLUGIN_H
#define ZCRX_PLUGIN_H

#include "provider.h"
#include "zcrx_provider.h"

/* In which process a provider of somebody else's is called. */
enum zcrx_caller {
	ZCRX_CALLER_NOBODY, /* nobody asks what it is doing */
	ZCRX_CALLER_NIC,
	ZCRX_CALLER_PROVIDER,
	ZCRX_CALLER_KEEPER,
	ZCRX_CALLERS,
};

/* Which of its operations it is in. */
enum zcrx_plugin_call {
	ZCRX_CALL_NONE,
	ZCRX_CALL_INIT,
	ZCRX_CALL_ALLOC_NETMEMS,
	ZCRX_CALL_RELEASE_NETMEM,
	ZCRX_CALL_DESTROY,
	ZCRX_CALL_SCRUB,
	ZCRX_CALL_COPY_BUFFER,
	ZCRX_CALLS,
};

/* By process: what it was in when it was last seen. A process writes its own word. */
struct zcrx_calls_shared {
	_Alignas(SHM_CACHE_LINE) shm_u32 call[ZCRX_CALLERS];
};

struct zcrx_plugin {
	struct zcrx_provider_queue queue; /* as it sees us */
	const struct zcrx_provider_ops *ops;
	struct zcrx_ifq *ifq;
	shm_u32 *call; /* says which operation it is in, or NULL */
	/* What it said in this call and is not recorded yet. */
	struct zcrx_batch batches[ZCRX_REFILL_ENTRIES_MAX / ZCRX_PP_REFILL];
	uint32_t count; /* of the batch */
	uint32_t index; /* ring index of the batch's first */
	uint32_t shown_tail; /* stands for the user's tail when not all of it may be read */
	uint64_t delivered; /* fragments at the time of that tail, for who judges the user */
	uint64_t returned; /* buffers that it sent home */
	bool is_freelist_shut; /* in this call the freelist gives nothing */
	bool is_scrubbing; /* what is dropped in this call was the user's */
};

extern const struct zcrx_mp_ops zcrx_plugin_mp_ops;

/*
 * Can this program call it? One that was opened, and one that is linked in; NULL: the
 * symbol is missing. False: `why` (at most `size` bytes) says in a line what is wrong.
 */
bool zcrx_plugin_is_usable(const struct zcrx_provider_ops *ops, char *why, size_t size);

/*
 * Open a library. NULL and a line in `why` (at most `size` bytes) when it cannot
 * be opened, lacks the symbol or one of the operations, or has another ABI. Never
 * closed: its code may be running in a signal handler or a sanitizer's report.
 */
const struct zcrx_provider_ops *zcrx_plugin_open(const char *path, char *why, size_t size);

/* Put it in the place of ours in an ifq that zcrx_ifq_setup() has seen. `plugin` stays the ifq's. */
void zcrx_plugin_attach(struct zcrx_plugin *plugin, const struct zcrx_provider_ops *ops,
			struct zcrx_ifq *ifq);

#endif /* ZCRX_PLUGIN_H */
