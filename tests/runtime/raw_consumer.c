/* SPDX-License-Identifier: MIT */
/*
 * A consumer for the tests: right, in any order and with fragments held back, but for the
 * one MISTAKE that it was compiled for.
 */
#include "zcrx_consumer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WAIT_US 20000U
#define HOLD 100U /* fragments, of which any one goes back next */
#define EVERY 500U /* fragments between two mistakes */
#define NIOVS_MAX 65536U

struct user {
	struct zcrx_consumer_queue *queue;
	struct zcrx_consumer_rqe held[HOLD];
	uint32_t held_count;
	struct zcrx_consumer_rqe *pending; /* found no room; the last of them goes first */
	uint32_t pending_count, pending_capacity;
	uint32_t head, tail;
	uint64_t fragments;
	uint64_t random;
	bool seen[NIOVS_MAX]; /* of which a fragment came */
};

/* Each in its turn: it may write entries beside the one that goes back. */
typedef void (*mistake_fn)(struct user *user, struct zcrx_consumer_rqe *entry);

static uint32_t draw(struct user *user, uint32_t below)
{
	user->random = user->random * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(user->random >> 33) % below;
}

static uint32_t room(const struct user *user)
{
	const struct zcrx_consumer_queue *queue = user->queue;

	return queue->rq_entries - (user->tail - zcrx_consumer_load(queue->rq_head));
}

static void put(struct user *user, const struct zcrx_consumer_rqe *entry)
{
	struct zcrx_consumer_queue *queue = user->queue;

	queue->rqes[user->tail++ & (queue->rq_entries - 1)] = *entry;
}

static void publish(struct user *user)
{
	zcrx_consumer_store(user->queue->rq_tail, user->tail);
}

static bool is_due(const struct user *user)
{
	return user->fragments % EVERY == EVERY / 2;
}

/* Until the run is over: for what is done again and again. */
static bool goes_on(struct user *user)
{
	return user->queue->services->enter(user->queue, 1000);
}

/* ---- mistakes in entries ---------------------------------------------------------- */

static void none(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)user;
	(void)entry;
}

static void bad_pad(struct user *user, struct zcrx_consumer_rqe *entry)
{
	if (is_due(user))
		put(user, &(struct zcrx_consumer_rqe){entry->off, entry->len, 7});
}

static void bad_area(struct user *user, struct zcrx_consumer_rqe *entry)
{
	if (is_due(user))
		put(user,
		    &(struct zcrx_consumer_rqe){entry->off | UINT64_C(1) << 48, entry->len, 0});
}

static void bad_index(struct user *user, struct zcrx_consumer_rqe *entry)
{
	if (is_due(user))
		put(user, &(struct zcrx_consumer_rqe){user->queue->area_size, entry->len, 0});
}

static void alias(struct user *user, struct zcrx_consumer_rqe *entry)
{
	if (is_due(user))
		entry->off |= UINT64_C(1) << 45;
}

static void twice(struct user *user, struct zcrx_consumer_rqe *entry)
{
	if (is_due(user))
		put(user, entry);
}

static void never_given(struct user *user, struct zcrx_consumer_rqe *entry)
{
	uint32_t niov = 0;

	while (is_due(user) && niov < user->queue->num_niovs && user->seen[niov])
		niov++;
	if (is_due(user) && niov < user->queue->num_niovs)
		put(user, &(struct zcrx_consumer_rqe){(uint64_t)niov << user->queue->niov_shift,
						      entry->len, 0});
}

static void keeps(struct user *user, struct zcrx_consumer_rqe *entry)
{
	if (is_due(user))
		*entry = user->held[0]; /* which is held as well, and goes back later: */
}

/* ---- mistakes with the rings' words ----------------------------------------------- */

static void tail_back(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (!is_due(user))
		return;
	zcrx_consumer_store(user->queue->rq_tail, user->tail - (1U << 20));
	while (goes_on(user))
		;
}

static void overrun(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (!is_due(user))
		return;
	zcrx_consumer_store(user->queue->rq_tail, user->tail + (1U << 30));
	while (goes_on(user))
		;
}

static void head_written(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (!is_due(user))
		return;
	while (goes_on(user))
		zcrx_consumer_store((uint32_t *)(uintptr_t)user->queue->rq_head,
				    user->tail + (1U << 20));
}

static void cq_head(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (!is_due(user))
		return;
	while (goes_on(user))
		zcrx_consumer_store(user->queue->cq_head,
				    zcrx_consumer_load(user->queue->cq_tail) + 1000);
}

/* ---- and worse ---------------------------------------------------------------------- */

static void crashes(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (is_due(user))
		*(volatile int *)0 = 1;
}

/* The first of its kind does: the others find the file. */
static void crashes_once(struct user *user, struct zcrx_consumer_rqe *entry)
{
	const char *path = getenv("ZCRX_EMU_TEST_CRASHED");

	(void)entry;
	if (user->fragments == EVERY && path && open(path, O_CREAT | O_EXCL, 0600) >= 0)
		*(volatile int *)0 = 1;
}

static void exits_with_3(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (is_due(user))
		exit(3);
}

/* As a worker of the emulator's own ends that could not begin. */
static void exits_with_4(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (is_due(user))
		_exit(4);
}

static void exits_with_0(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (is_due(user))
		exit(0);
}

static void forks(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (user->fragments == EVERY && fork() == 0) {
		setsid();
		for (;;)
			pause();
	}
}

static void *sleeps(void *nothing)
{
	for (;;)
		pause();
	return nothing;
}

static void starts_a_thread(struct user *user, struct zcrx_consumer_rqe *entry)
{
	pthread_t thread;

	(void)entry;
	if (user->fragments == EVERY)
		pthread_create(&thread, NULL, sleeps, NULL);
}

static void hangs(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)user;
	(void)entry;
	for (;;)
		pause();
}

/* Over all memory of the run that this process has mapped, again and again. */
static void scribbles(struct user *user, struct zcrx_consumer_rqe *entry)
{
	struct {
		uint8_t *begin, *end;
	} found[16];
	char line[512];
	FILE *maps;
	int count = 0;

	(void)entry;
	if (!is_due(user))
		return;
	maps = fopen("/proc/self/maps", "r");
	while (maps && count < 16 && fgets(line, sizeof(line), maps)) {
		unsigned long begin, end;

		if (strstr(line, "/zcrx-emu") && strstr(line, " rw-s ") &&
		    sscanf(line, "%lx-%lx", &begin, &end) == 2) {
			found[count].begin = (uint8_t *)begin;
			found[count++].end = (uint8_t *)end;
		}
	}
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < count; i++) {
			for (uint8_t *at = found[i].begin; at + 8 <= found[i].end; at += 8) {
				uint64_t value = (uint64_t)draw(user, 1U << 31) * 0x100000003U;

				memcpy(at, &value, sizeof(value));
			}
		}
	}
	_exit(count >= 3 ? 7 : 8);
}

static int answer; /* of run() */

static void answers_an_error(struct user *user, struct zcrx_consumer_rqe *entry)
{
	(void)entry;
	if (is_due(user))
		answer = -EIO;
}

#ifndef MISTAKE
#define MISTAKE none
#endif
static const mistake_fn mistake = MISTAKE;
static const mistake_fn all[] __attribute__((unused)) = {
	none,	      bad_pad,		bad_area, bad_index,	   alias,
	twice,	      never_given,	keeps,	  tail_back,	   overrun,
	head_written, cq_head,		crashes,  crashes_once,	   exits_with_3,
	exits_with_4, exits_with_0,	forks,	  starts_a_thread, hangs,
	scribbles,    answers_an_error,
};

/* ---- the loop ------------------------------------------------------------------------- */

/* Room for an entry and for what a mistake puts beside it. */
static void flush(struct user *user)
{
	while (user->pending_count && room(user) >= 2) {
		struct zcrx_consumer_rqe entry = user->pending[--user->pending_count];

		mistake(user, &entry);
		put(user, &entry);
		publish(user);
	}
}

static void give_back(struct user *user, struct zcrx_consumer_rqe entry)
{
	if (user->pending_count == user->pending_capacity) {
		user->pending_capacity = 2 * user->pending_capacity + 64;
		user->pending =
			realloc(user->pending, user->pending_capacity * sizeof(*user->pending));
		if (!user->pending)
			abort();
	}
	user->pending[user->pending_count++] = entry;
	flush(user);
}

static void receive(struct user *user, const struct zcrx_consumer_cqe *cqe)
{
	struct zcrx_consumer_rqe entry = {cqe->off, (uint32_t)cqe->res, 0};
	uint32_t chosen;

	user->fragments++;
	user->seen[(cqe->off >> user->queue->niov_shift) % NIOVS_MAX] = true;
	if (user->held_count < HOLD) {
		user->held[user->held_count++] = entry;
		return;
	}
	chosen = draw(user, HOLD);
	give_back(user, user->held[chosen]);
	user->held[chosen] = entry;
}

static bool consume(struct user *user)
{
	struct zcrx_consumer_queue *queue = user->queue;
	uint32_t end = zcrx_consumer_load(queue->cq_tail), begin = user->head;

	flush(user);
	while (user->head != end && !answer) {
		struct zcrx_consumer_cqe cqe = queue->cqes[user->head & (queue->cq_entries - 1)];

		zcrx_consumer_store(queue->cq_head, ++user->head);
		if (cqe.flags & ZCRX_CONSUMER_CQE_MORE)
			receive(user, &cqe);
	}
	return user->head != begin;
}

static int run(struct zcrx_consumer_queue *queue)
{
	struct user *user = calloc(1, sizeof(*user));

	if (!user || queue->num_niovs > NIOVS_MAX)
		return -ENOMEM;
	user->queue = queue;
	user->head = *queue->cq_head;
	user->tail = *queue->rq_tail;
	user->random = 1;
	while (!answer && queue->services->enter(queue, consume(user) ? 0 : WAIT_US))
		;
	while (consume(user))
		;
	while (!answer && user->held_count)
		give_back(user, user->held[--user->held_count]);
	queue->services->enter(queue, 0);
	return answer;
}

const struct zcrx_consumer_ops zcrx_consumer = {
	.abi = ZCRX_CONSUMER_ABI,
	.size = sizeof(zcrx_consumer),
	.name = "for tests",
	.run = run,
};
