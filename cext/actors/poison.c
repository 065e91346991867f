/* SPDX-License-Identifier: MIT */
/*
 * The one place of the core with a state of the whole process: a signal handler is
 * the process's, and is told nothing but the address. Only a consumer process that
 * runs somebody else's code comes here.
 *
 * The handler does what may be done at any instruction: it notes the touch, opens
 * the buffer, and calls the handler that was there before, which in Python sets a
 * flag; the interpreter then calls the user's handler with the frame that it is in.
 * The instruction is repeated, and succeeds.
 */
#define _GNU_SOURCE
#include "poison.h"
#include "wire/shm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define MAPS_DEFAULT 65530U /* vm.max_map_count, if it cannot be read */
#define SPURIOUS_MAX 1000U /* faults in a row at one place of an open buffer: no way out */

struct zcrx_poison {
	uint8_t *view;
	uint64_t size;
	uint32_t niov_shift;
	uint32_t *out; /* [num_niovs]: fragments handed out and not given back */
	shm_u32 *closed; /* [num_niovs] */
	shm_u64 count; /* touches; the handler is the writer, in whatever thread */
	uint64_t taken; /* of these */
	shm_u32 spurious; /* faults in a row at spurious_off, in an open buffer */
	shm_u64 spurious_off;
	struct zcrx_touch touches[ZCRX_TOUCHES_MAX]; /* touch n at n modulo that */
	struct sigaction next; /* is told of a touch */
};

static struct zcrx_poison *poisoned;
static struct sigaction before; /* handles what is no touch */

static bool protect(struct zcrx_poison *poison, uint32_t niov, int prot)
{
	uint64_t size = (uint64_t)1 << poison->niov_shift;

	return mprotect(poison->view + niov * size, size, prot) == 0;
}

static void open_niov(struct zcrx_poison *poison, uint32_t niov)
{
	shm_store_relaxed_u32(&poison->closed[niov], 0, POINT_LOG);
	protect(poison, niov, PROT_READ | PROT_WRITE);
}

/* ---- a touch -------------------------------------------------------------------------------- */

static uint32_t is_write(const void *context)
{
#if defined(__x86_64__)
	const ucontext_t *at = context;

	return (at->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
	(void)context;
	return 0;
#endif
}

static void note(struct zcrx_poison *poison, uint64_t off, const void *context)
{
	/*
	 * Pairs with the acquire in zcrx_poison_take(), which runs in the thread that
	 * touched, as a rule. What another thread touches at that very moment may be
	 * taken half told: it is one touch in any case.
	 */
	uint64_t number = shm_fetch_add_u64(&poison->count, 1, POINT_LOG);

	poison->touches[number % ZCRX_TOUCHES_MAX] = (struct zcrx_touch){
		.off = off,
		.thread = (int32_t)syscall(SYS_gettid),
		.is_write = is_write(context),
	};
}

static void tell_next(struct zcrx_poison *poison, int signal, siginfo_t *info, void *context)
{
	if (poison->next.sa_flags & SA_SIGINFO)
		poison->next.sa_sigaction(signal, info, context);
	else if (poison->next.sa_handler != SIG_DFL && poison->next.sa_handler != SIG_IGN)
		poison->next.sa_handler(signal);
}

/* The same byte again and again, although its buffer is open: somebody executes it, say. */
static bool has_no_way_out(struct zcrx_poison *poison, uint64_t off)
{
	/* Pairs with that of another thread in has_no_way_out(): each tells its own count. */
	if (shm_xchg_u64(&poison->spurious_off, off, POINT_LOG) != off)
		shm_store_relaxed_u32(&poison->spurious, 0, POINT_LOG);
	return shm_fetch_add_u32(&poison->spurious, 1, POINT_LOG) > SPURIOUS_MAX;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	struct zcrx_poison *poison = poisoned;
	uint64_t off = (uint64_t)((uintptr_t)info->si_addr - (uintptr_t)poison->view);
	int error = errno;
	uint32_t niov;

	if (info->si_code != SEGV_ACCERR || off >= poison->size) {
		/* Not ours: it happens once more, and is what it would have been without us. */
		sigaction(SIGSEGV, &before, NULL);
		return;
	}
	niov = (uint32_t)(off >> poison->niov_shift);
	if (shm_load_relaxed_u32(&poison->closed[niov], POINT_LOG)) {
		note(poison, off, context);
		open_niov(poison, niov);
		tell_next(poison, signal, info, context);
	} else if (has_no_way_out(poison, off)) {
		sigaction(SIGSEGV, &before, NULL);
	} else {
		/* Another thread touched it, or closes it, at the same moment. */
		open_niov(poison, niov);
	}
	errno = error;
}

uint32_t zcrx_poison_take(struct zcrx_poison *poison, struct zcrx_touch *touches, uint32_t max,
			  uint64_t *count)
{
	uint32_t taken = 0;

	/* Pairs with the addition in note(). */
	*count = shm_load_acquire_u64(&poison->count, POINT_LOG);
	if (*count - poison->taken > ZCRX_TOUCHES_MAX)
		poison->taken = *count - ZCRX_TOUCHES_MAX;
	while (taken < max && poison->taken < *count)
		touches[taken++] = poison->touches[poison->taken++ % ZCRX_TOUCHES_MAX];
	return taken;
}

/* ---- buffers that go and come ------------------------------------------------------------------ */

void zcrx_poison_hand_out(struct zcrx_poison *poison, uint32_t niov)
{
	if (poison->out[niov]++ == 0 && shm_load_relaxed_u32(&poison->closed[niov], POINT_LOG))
		open_niov(poison, niov);
}

void zcrx_poison_give_back(struct zcrx_poison *poison, uint32_t niov)
{
	if (poison->out[niov] == 0 || --poison->out[niov])
		return;
	/*
	 * Said before and after: a touch by another thread in between finds it closed by
	 * us, and a handler that was still at an earlier one may have taken the word back.
	 */
	shm_store_relaxed_u32(&poison->closed[niov], 1, POINT_LOG);
	shm_store_relaxed_u32(&poison->closed[niov], protect(poison, niov, PROT_NONE), POINT_LOG);
}

/* ---- life --------------------------------------------------------------------------------------- */

/* Each buffer may become a mapping of its own; the rest of the process wants some, too. */
static bool fits_the_maps(uint32_t num_niovs)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
	unsigned long max = MAPS_DEFAULT;

	if (file) {
		if (fscanf(file, "%lu", &max) != 1)
			max = MAPS_DEFAULT;
		fclose(file);
	}
	return num_niovs <= max / 2;
}

void zcrx_poison_keep_handler(void)
{
	sigaction(SIGSEGV, NULL, &before);
}

void *zcrx_poison_view(const struct zcrx_poison *poison)
{
	return poison->view;
}

struct zcrx_poison *zcrx_poison_start(void *area, uint32_t num_niovs, uint32_t niov_shift)
{
	uint64_t size = (uint64_t)num_niovs << niov_shift;
	struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	struct zcrx_poison *poison;

	if (poisoned || sysconf(_SC_PAGESIZE) > 1L << niov_shift || !fits_the_maps(num_niovs))
		return NULL;
	poison = calloc(1, sizeof(*poison));
	if (!poison)
		return NULL;
	*poison = (struct zcrx_poison){.size = size, .niov_shift = niov_shift};
	poison->out = calloc(num_niovs, sizeof(*poison->out));
	poison->closed = calloc(num_niovs, sizeof(*poison->closed));
	if (!poison->out || !poison->closed)
		goto out_free;
	/* Nothing old is moved: of a shared mapping this makes a second one. */
	poison->view = mremap(area, 0, size, MREMAP_MAYMOVE);
	if (poison->view == MAP_FAILED)
		goto out_free;
	if (mprotect(poison->view, size, PROT_NONE))
		goto out_unmap;
	for (uint32_t niov = 0; niov < num_niovs; niov++)
		shm_store_relaxed_u32(&poison->closed[niov], 1, POINT_LOG);
	sigaction(SIGSEGV, NULL, &poison->next);
	sigemptyset(&ours.sa_mask);
	poisoned = poison;
	if (sigaction(SIGSEGV, &ours, NULL) == 0)
		return poison;
	poisoned = NULL;
out_unmap:
	munmap(poison->view, size);
out_free:
	free(poison->out);
	free(poison->closed);
	free(poison);
	return NULL;
}
