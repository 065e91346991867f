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
/* Has the program written into the header, which is `words` now, anything but the tail? */
void zcrx_lib_watch_header(struct zcrx_lib_ifq *queue, const uint64_t *words);
/* Entries as they are now, which do not wrap: those seen before should be as they were. */
void zcrx_lib_watch_entries(struct zcrx_lib_ifq *queue, uint32_t index,
			    const struct io_uring_zcrx_rqe *now, uint32_t count);

/* The queue is new, and buffers of it are overwritten with that byte. */
void zcrx_lib_watch_start(struct zcrx_lib_ifq *queue, uint8_t poison);
/* A buffer came home: nobody is to write into it. */
void zcrx_lib_watch_poison(struct zcrx_lib_ifq *queue, uint32_t niov);
/* All that have come home are poisoned now, if some were put off. */
void zcrx_lib_watch_poison_rest(struct zcrx_lib_ifq *queue);
/* From here on those that come home are poisoned at the end of the delivery. */
void zcrx_lib_watch_delivery(struct zcrx_lib_ifq *queue);
/* So many bytes are about to be written into a buffer that left: all else of it is poisoned. */
void zcrx_lib_watch_filling(struct zcrx_lib_ifq *queue, uint32_t niov, uint32_t size);
/* The delivery ends, and with it all that was put off, or was looked at for it. */
void zcrx_lib_watch_delivered(struct zcrx_lib_ifq *queue);
/* Buffers that will leave soon, all together: those as they were need not be looked at again. */
void zcrx_lib_watch_ahead(struct zcrx_lib_ifq *queue, const uint32_t *niovs, uint32_t count);
/* One leaves: is it as it was? */
void zcrx_lib_watch_compare(struct zcrx_lib_ifq *queue, uint32_t niov);

/* Is it to be compared, and was not in this look? */
static inline bool zcrx_lib_watch_is_due(const struct zcrx_lib_ifq *queue, uint32_t niov)
{
	const struct zcrx_lib_account *accounts = queue->ledger.accounts;

	return accounts && accounts[niov].is_poisoned && accounts[niov].looked != queue->watch.look;
}

static inline void zcrx_lib_watch_leaving(struct zcrx_lib_ifq *queue, uint32_t niov)
{
	if (queue->watch.owed[niov])
		queue->watch.owed[niov] = ZCRX_LIB_OWED_AND_LEFT;
	else if (zcrx_lib_watch_is_due(queue, niov))
		zcrx_lib_watch_compare(queue, niov);
	else if (queue->ledger.accounts)
		queue->ledger.accounts[niov].is_poisoned = false;
}

/* The same of all that are at home, at the end. */
void zcrx_lib_watch_close(struct zcrx_lib_ifq *queue);

#endif /* ZCRX_LIB_WATCH_H */
