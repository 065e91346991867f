/* SPDX-License-Identifier: MIT */
/*
 * The receiver's test with libzcrx_emu as the kernel: connections, a NIC that cuts as it
 * likes, a reader that takes its time, each case by a seed. Beside fake_test.c.
 *
 *	cc emu_test.c receiver.c $(zcrx-emu config --cflags --libs)
 *	./a.out [CASES [LEVEL [SEED]]]
 */
#include "receiver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zcrx_emu.h>

#define FLOWS 3U
#define ROUNDS 20U
#define PATIENCE 1000U /* rounds, until the connections must have ended */
#define HELD_MAX 4096U
#define CQES_MAX 64U
#define SIZE_MAX_SENT 6000U
#define DESCRIPTORS 64U
#define MTU 1500U
#define UNREAD_MAX (2 * SIZE_MAX_SENT) /* else sockets have all buffers, and copies none */

struct flow {
	uint64_t sent, received;
	int needs_arming, has_ended;
};

struct fragment {
	uint64_t off, position;
	uint32_t length, flow;
};

struct test {
	struct zcrx_emu *ring;
	struct receiver receiver;
	uint64_t rng;
	uint32_t cq_head, cq_tail, cq_entries, sq_flags;
	struct zcrx_emu_cqe cqes[CQES_MAX];
	struct flow flows[FLOWS];
	uint64_t seed, told;
	uint32_t corrupt;
	struct fragment held[HELD_MAX];
	uint32_t held_count;
};

/* splitmix64 */
static uint32_t below(struct test *test, uint32_t bound)
{
	uint64_t z = test->rng += 0x9e3779b97f4a7c15U;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return (uint32_t)((z ^ z >> 31) % bound);
}

/* What a connection carries at a position: each byte tells where it belongs. */
static uint8_t byte_at(uint32_t flow, uint64_t position)
{
	return (uint8_t)(position * 31 + (position >> 8) + flow * 97);
}

static void say(void *context, const struct zcrx_emu_report *report)
{
	struct test *test = context;

	/* Of each kind the first: others follow from it. */
	if (test->told & 1ULL << report->kind)
		return;
	test->told |= 1ULL << report->kind;
	printf("seed %llu: %s: %s\n", (unsigned long long)test->seed, report->name, report->text);
}

static int register_ifq(void *ring, struct io_uring_zcrx_ifq_reg *reg)
{
	return zcrx_emu_register_ifq(ring, reg);
}

/* ---- what happens ------------------------------------------------------------------ */

static uint64_t unread(const struct test *test)
{
	uint64_t bytes = 0;

	for (uint32_t id = 0; id < FLOWS; id++)
		bytes += test->flows[id].sent - test->flows[id].received;
	return bytes;
}

static void send_some(struct test *test)
{
	static uint8_t bytes[SIZE_MAX_SENT];
	uint32_t id = below(test, FLOWS), size = 1 + below(test, SIZE_MAX_SENT);
	struct flow *flow = &test->flows[id];
	struct zcrx_emu_shape shape = {
		.fragment_max = 512 + below(test, RECEIVER_PAGE - 511),
		.offset_max = below(test, 3) ? 0 : 256,
		.per_buffer = 1 + below(test, 4),
		.copy_percent = below(test, 4) ? 0 : 40,
	};
	int64_t taken;

	if (unread(test) > UNREAD_MAX)
		return;
	for (uint32_t i = 0; i < size; i++)
		bytes[i] = byte_at(id, flow->sent + i);
	taken = zcrx_emu_deliver(test->ring, 0, id, bytes, size, &shape);
	flow->sent += taken > 0 ? (uint64_t)taken : 0;
}

static void complete(struct test *test, const struct zcrx_emu_cqe *cqe)
{
	struct flow *flow = &test->flows[cqe->user_data];

	switch (receiver_next(cqe->res)) {
	case RECEIVER_BYTES:
		test->held[test->held_count++] = (struct fragment){
			.off = cqe->off,
			.position = flow->received,
			.length = (uint32_t)cqe->res,
			.flow = (uint32_t)cqe->user_data,
		};
		flow->received += (uint64_t)cqe->res;
		break;
	case RECEIVER_AGAIN:
		flow->needs_arming = 1;
		break;
	case RECEIVER_END:
		flow->has_ended = 1;
		break;
	}
}

/* Not while completions wait for room: there would be none for its own. */
static void arm(struct test *test)
{
	for (uint32_t id = 0; id < FLOWS && !(test->sq_flags & ZCRX_EMU_SQ_CQ_OVERFLOW); id++) {
		struct zcrx_emu_recv recv = {.flow = id, .user_data = id};

		if (test->flows[id].needs_arming)
			zcrx_emu_arm(test->ring, &recv);
		test->flows[id].needs_arming = 0;
	}
}

static void kernel_works(struct test *test)
{
	zcrx_emu_step(test->ring);
	for (; test->cq_head != test->cq_tail && test->held_count < HELD_MAX; test->cq_head++)
		complete(test, &test->cqes[test->cq_head & (test->cq_entries - 1)]);
	arm(test);
}

/* Any of those held: they are read, and go back. */
static void read_one(struct test *test)
{
	uint32_t at = below(test, test->held_count);
	struct fragment fragment = test->held[at];
	const uint8_t *bytes = receiver_bytes(&test->receiver, fragment.off);

	test->held[at] = test->held[--test->held_count];
	for (uint32_t i = 0; i < fragment.length; i++) {
		if (bytes[i] == byte_at(fragment.flow, fragment.position + i))
			continue;
		if (!test->corrupt++)
			printf("seed %llu: corrupt: byte %llu of flow %u is 0x%x\n",
			       (unsigned long long)test->seed,
			       (unsigned long long)fragment.position + i, fragment.flow, bytes[i]);
		break;
	}
	receiver_return(&test->receiver, fragment.off, fragment.length);
}

/* A page pool that no packet asks for buffers keeps those that it has, and copies starve. */
static void somebody_elses_packet(struct test *test)
{
	zcrx_emu_deliver(test->ring, 0, FLOWS, "", 1, NULL);
	zcrx_emu_close(test->ring, FLOWS);
}

static int all_ended(const struct test *test)
{
	for (uint32_t id = 0; id < FLOWS; id++) {
		if (!test->flows[id].has_ended)
			return 0;
	}
	return test->held_count == 0;
}

static void play(struct test *test)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		send_some(test);
		kernel_works(test);
		for (uint32_t most = below(test, 8); most && test->held_count; most--)
			read_one(test);
	}
	for (uint32_t id = 0; id < FLOWS; id++)
		zcrx_emu_end(test->ring, id);
	for (uint32_t round = 0; round < PATIENCE && !all_ended(test); round++) {
		kernel_works(test);
		while (test->held_count)
			read_one(test);
		somebody_elses_packet(test);
		zcrx_emu_drain(test->ring, 0);
		receiver_flush(&test->receiver);
	}
	for (uint32_t round = 0; round < PATIENCE && zcrx_emu_drain(test->ring, 0) > 0; round++)
		receiver_flush(&test->receiver);
}

/* How much was found; -1: there was no ring. */
static int test_case(const char *level, uint64_t seed)
{
	static struct test test;
	struct zcrx_emu_options options = {
		.size = sizeof(options),
		.kernel = level,
		.seed = seed,
		.ring_flags = receiver_ring_flags(),
		.context = &test,
		.on_report = say,
	};
	struct zcrx_emu_cq cq = {&test.cq_head, &test.cq_tail, test.cqes, 0, &test.sq_flags};
	uint32_t buffers;
	int found, error;

	memset(&test, 0, sizeof(test));
	test.seed = test.rng = seed;
	test.cq_entries = cq.entries = 2U << below(&test, 5);
	options.rx_descriptors = below(&test, 2) ? DESCRIPTORS : 0;
	options.mtu = MTU;
	buffers = receiver_buffers(40 + below(&test, 40), options.rx_descriptors, MTU);
	if (zcrx_emu_create(&options, &test.ring)) {
		fprintf(stderr, "level %s: there is none of that name\n", level);
		return -1;
	}
	error = receiver_init(&test.receiver, buffers, 1U << below(&test, 6), register_ifq,
			      test.ring);
	if (error || zcrx_emu_set_cq(test.ring, &cq)) {
		fprintf(stderr, "%s: %s\n", strerror(-error), zcrx_emu_why(test.ring));
		zcrx_emu_destroy(test.ring);
		return -1;
	}
	for (uint32_t id = 0; id < FLOWS; id++)
		test.flows[id].needs_arming = 1;
	arm(&test);
	play(&test);
	found = zcrx_emu_finish(test.ring) + (int)test.corrupt;
	zcrx_emu_destroy(test.ring);
	receiver_free(&test.receiver);
	return found;
}

int main(int argc, char **argv)
{
	unsigned long cases = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
	const char *level = argc > 2 ? argv[2] : "seed";
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	uint64_t all = 0;

	for (unsigned long i = 0; i < cases; i++) {
		int found = test_case(level, seed + i);

		if (found < 0)
			return 2;
		all += (uint64_t)found;
	}
	printf("%lu cases, %llu found\n", cases, (unsigned long long)all);
	return all != 0;
}
