/* SPDX-License-Identifier: MIT */
/*
 * What the checker sees of a queue beside its entries' verdicts: what the program wrote into
 * the refill ring where it should not, or too late, and into buffers that it had given back.
 */
#ifndef ZCRX_LIB_WATCH_H
#define ZCRX_LIB_WATCH_H

#include "instance.h"

/* The tail is another one than it was. */
void zcrx_lib_watch_tail(struct zcrx_lib_ifq *queue, uint32_t tail);
/* Has the program written into the header anything but the tail? */
void zcrx_lib_watch_header(struct zcrx_lib_ifq *queue);
/* Entries as they are now, which do not wrap: those seen before should be as they were. */
void zcrx_lib_watch_entries(struct zcrx_lib_ifq *queue, uint32_t index,
			    const struct io_uring_zcrx_rqe *now, uint32_t count);

/* A buffer came home: nobody is to write into it. */
void zcrx_lib_watch_poison(struct zcrx_lib_ifq *queue, uint32_t niov);
/* One that did leaves again: is it as it was? */
void zcrx_lib_watch_compare(struct zcrx_lib_ifq *queue, uint32_t niov);

static inline void zcrx_lib_watch_leaving(struct zcrx_lib_ifq *queue, uint32_t niov)
{
	if (queue->ledger.accounts && queue->ledger.accounts[niov].is_poisoned)
		zcrx_lib_watch_compare(queue, niov);
}

/* The same of all that are at home, at the end. */
void zcrx_lib_watch_close(struct zcrx_lib_ifq *queue);

#endif /* ZCRX_LIB_WATCH_H */
