/* SPDX-License-Identifier: MIT */
/*
 * The ledger of a queue's areas: which completion gave each fragment, and by which entry it came
 * back. The provider decides; this only says what an entry that it judged was.
 *
 * A report is a proof. What a right program may do is never reported: an entry may name
 * any byte of its buffer and any length, and a program may hold what it wants for as long
 * as it wants. So which of several fragments of a buffer an entry returns is known only of
 * a program that names them exactly, always; of another one there is an entry too many at
 * the end.
 */
#ifndef ZCRX_LIB_LEDGER_H
#define ZCRX_LIB_LEDGER_H

#include "kernel/provider.h"
#include "report.h"

/* One fragment that the program was given. */
struct zcrx_lib_held {
	uint64_t completion;
	uint32_t flow;
	uint32_t at, length; /* in its buffer */
	uint32_t tail; /* where the refill ring's tail was before the completion could be seen */
	uint32_t given_ms; /* when it was given */
	uint32_t returned_by; /* index of the entry, once it is returned */
	uint32_t next; /* of the same buffer, younger first; + 1, 0: none */
	bool is_returned;
};

struct zcrx_lib_account {
	uint32_t first; /* + 1, 0: none */
	uint32_t out; /* of these: not returned */
	bool was_given; /* ever */
	/*
	 * A scrub took references from under the program, which returns in good faith what it
	 * holds: so many entries find no reference. Nothing is a proof against it, of this
	 * buffer, until all of them have come.
	 */
	bool is_shaken;
	uint32_t excused;
	bool is_poisoned; /* it is at home, and was as nobody should write into it */
	uint32_t looked; /* in which look that was seen to be so, last; 0: in none */
	struct zcrx_lib_held last; /* the one that was returned last; completion 0: none yet */
};

struct zcrx_lib_ledger {
	struct zcrx_lib_reports *reports; /* of a ring that uses the queue */
	uint32_t zcrx_id; /* as that one calls it */
	const struct zcrx_area *area;
	struct zcrx_lib_account *accounts; /* by buffer */
	uint32_t account_count;
	struct zcrx_lib_held *helds;
	uint32_t held_count, held_capacity;
	uint32_t spare; /* first of those not in use; + 1, 0: none */
	uint64_t given; /* fragments, ever */
	bool is_loose; /* an entry did not name its fragment by first byte and length */
	bool is_primed; /* said once */
};

/* Of a clock that only matters by differences, and wraps. */
uint32_t zcrx_lib_now_ms(void);

/* Who is told, and of which queue, is set apart from this. */
/* Accounts for so many buffers, those that there are among them. 0 or -ENOMEM. */
int zcrx_lib_ledger_grow(struct zcrx_lib_ledger *ledger, uint32_t num_niovs);
void zcrx_lib_ledger_free(struct zcrx_lib_ledger *ledger);

/* One more fragment can be given without fail. 0 or -ENOMEM. */
int zcrx_lib_ledger_reserve(struct zcrx_lib_ledger *ledger);
/* The program is given a fragment; the rest of it is filled in already. */
void zcrx_lib_ledger_give(struct zcrx_lib_ledger *ledger, uint32_t niov,
			  const struct zcrx_lib_held *fragment);
/* The fragment given last was not taken: it never was. */
void zcrx_lib_ledger_take_back(struct zcrx_lib_ledger *ledger, uint32_t niov);
/* The provider has judged an entry. */
void zcrx_lib_ledger_judged(struct zcrx_lib_ledger *ledger, const struct zcrx_judgement *judgement,
			    const struct io_uring_zcrx_rqe *rqe);
/*
 * An entry whose index is read as another one, if its judgement says that it is: its bytes alone
 * prove that, whatever becomes of the reference. Is a part of zcrx_lib_ledger_judged().
 */
void zcrx_lib_ledger_alias(struct zcrx_lib_ledger *ledger, const struct zcrx_judgement *judgement,
			   const struct io_uring_zcrx_rqe *rqe);
/* All references that the program has were taken from it, and it does not know. */
void zcrx_lib_ledger_scrubbed(struct zcrx_lib_ledger *ledger);
/* The buffer is filled anew: what was returned of it is forgotten. */
void zcrx_lib_ledger_reused(struct zcrx_lib_ledger *ledger, uint32_t niov);
/* Report each fragment that is still out, the oldest first. */
void zcrx_lib_ledger_close(struct zcrx_lib_ledger *ledger);

#endif /* ZCRX_LIB_LEDGER_H */
