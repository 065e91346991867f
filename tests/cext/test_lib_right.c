/* SPDX-License-Identifier: MIT */
/*
 * A right program, however odd its ways are, is never accused: it names what it returns in any
 * way that the kernel takes, holds what it likes for as long as it likes, writes into it, has a
 * second ring that comes, and a first one that goes, hears of events, and has a kernel that goes
 * wrong.
 */
#include <unistd.h>

#include "lib_program.h"
#include "wire/rng.h"

#define HELD_MAX 4096U
#define FLOWS 3U /* of a ring */
#define ALL_FLOWS ((1U << FLOWS) - 1)
#define EVENT 77U /* user_data of those; that of receives is more */

/* How it names what it returns. */
enum style { EXACT, BASE, ANY_BYTE, MIXED, STYLES };

static struct user {
	const char *level;
	struct zcrx_rng rng;
	enum style style;
	struct zcrx_emu_machine *machine;
	struct zcrx_event_desc events;
	struct program rings[2]; /* the refill ring is written by the first one's pointers */
	bool is_there[2];
	uint32_t ended[2]; /* flows whose receive is to be armed again */
	uint32_t closed[2]; /* flows that have come to their end */
	struct zcrx_emu_cqe held[HELD_MAX];
	uint32_t count;
} user;

static uint32_t below(uint32_t bound)
{
	return zcrx_rng_below(&user.rng, bound);
}

static bool one_in(uint32_t times)
{
	return below(times) == 0;
}

/* ---- rings that come and go -------------------------------------------------------------- */

static void choose_options(struct program *ring)
{
	ring->cq_entries = 1U << (1 + below(6));
	/* In a queue of two the last completion of a receive leaves no room for data, ever. */
	ring->options.ring_flags = DEFER_TASKRUN | CQE32;
	if (has_mixed(user.level) && ring->cq_entries > 2 && one_in(2))
		ring->options.ring_flags = DEFER_TASKRUN | CQE_MIXED;
	ring->options.flags = one_in(3) ? ZCRX_EMU_LATE_HEAD : 0;
	ring->options.flags |= one_in(3) ? ZCRX_EMU_EAGER : 0;
	ring->options.flags |= one_in(3) ? ZCRX_EMU_HOT : 0;
	ring->options.mtu = one_in(2) ? 0 : 1500 + below(7500);
	/* Half of the area at most stands. */
	if (one_in(3))
		ring->options.rx_descriptors = ring->buffers / 6;
}

static void ring_comes(uint32_t which)
{
	user.is_there[which] = true;
	find_ring(&user.rings[which]);
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		arm(&user.rings[which], flow);
}

static void start(uint64_t seed)
{
	struct program *ring = &user.rings[0];

	program_init(ring, user.level, 4 + below(60), 1U << below(8));
	ring->options.seed = seed;
	choose_options(ring);
	if (strcmp(user.level, "7.2") == 0 || strcmp(user.level, "7.3") == 0) {
		user.events = (struct zcrx_event_desc){.user_data = EVENT, .type_mask = below(4)};
		ring->reg.event_desc = (uintptr_t)&user.events;
	}
	CHECK_EQ(zcrx_emu_machine_create(&user.machine), 0);
	ring->options.machine = user.machine;
	program_create(ring);
	REQUIRE(zcrx_emu_register_ifq(ring->emu, &ring->reg) == 0);
	ring_comes(0);
}

/* What is done to it, whatever it does; at the end nothing is late any more. */
static void things_go_wrong(struct program *ring, const char *text)
{
	char why[256];

	CHECK_EQ(zcrx_emu_plan(ring->emu, text, why, sizeof(why)), 0);
}

static const char *any_plan(void)
{
	static const char *const plans[] = {
		"none",
		"none",
		"scrub-midway:0.5%,queue-restart:1%",
		"scrub-midway:2%,nic-duplicate:5%,cq-full:2%",
		"queue-restart:10%,nic-hold:5%:count=3:packets=20,nic-reorder:5%",
		"nic-drop:2%,nic-corrupt:2%,nic-truncate:2%,nic-tiny:2%,alloc-fail:1%,rq-late:2%",
	};

	return plans[below(sizeof(plans) / sizeof(plans[0]))];
}

static void second_ring_comes(void)
{
	struct program *first = &user.rings[0], *second = &user.rings[1];
	struct zcrx_ctrl ctrl = {.op = 1};
	int fd;

	CHECK_EQ(zcrx_emu_register(first->emu, 36, &ctrl, 0), 0);
	memcpy(&fd, ctrl.payload, sizeof(fd));
	memset(second, 0, sizeof(*second));
	second->options = first->options;
	second->buffers = first->buffers;
	second->area = first->area;
	second->region = first->region;
	second->entries = first->entries;
	choose_options(second);
	program_create(second);
	second->reg = (struct io_uring_zcrx_ifq_reg){.if_idx = (uint32_t)fd, .flags = 1};
	REQUIRE(zcrx_emu_register_ifq(second->emu, &second->reg) == 0);
	CHECK_EQ(close(fd), 0);
	ring_comes(1);
}

static void check_finished(uint32_t which)
{
	CHECK_EQ(zcrx_emu_finish(user.rings[which].emu), 0);
	check_found(&user.rings[which], ZCRX_EMU_BAD_PAD, 0);
	zcrx_emu_destroy(user.rings[which].emu);
	user.is_there[which] = false;
}

/* ---- what it does -------------------------------------------------------------------------- */

static struct zcrx_emu *any_ring(void)
{
	return user.rings[user.is_there[0] ? 0 : 1].emu;
}

static void judge(void)
{
	CHECK(zcrx_emu_drain(any_ring(), 0) >= 0);
}

static bool has_room(void)
{
	const struct program *ring = &user.rings[0];

	return ring->my_tail - *ring->head < ring->entries;
}

static void return_one(uint32_t at)
{
	struct program *ring = &user.rings[0];
	const struct zcrx_emu_cqe *cqe = &user.held[at];
	uint64_t base = cqe->off / PAGE * PAGE;
	enum style style = user.style == MIXED ? (enum style)below(MIXED) : user.style;

	/* It is the program's until now, and may be written: it is decrypted in place, say. */
	if (one_in(4))
		memset(ring->area + cqe->off, (int)below(256), (size_t)cqe->res);
	if (style == EXACT)
		put_rqe(ring, cqe->off, (uint32_t)cqe->res, 0);
	else if (style == BASE)
		put_rqe(ring, base, one_in(2) ? (uint32_t)cqe->res : PAGE, 0);
	else
		put_rqe(ring, base + below(PAGE), below(5000), 0);
	user.held[at] = user.held[--user.count];
}

/* It fires again, or stays as it is. */
static void hear(const struct zcrx_emu_cqe *cqe)
{
	struct zcrx_ctrl ctrl = {.op = 2, .payload = {(uint64_t)cqe->res}};

	if (one_in(2))
		CHECK_EQ(zcrx_emu_register(any_ring(), 36, &ctrl, 0), 0);
}

static void take(uint32_t which, const struct zcrx_emu_cqe *cqe, bool gives_up)
{
	uint32_t flow = (uint32_t)cqe->user_data - 1000;

	if (cqe->user_data == EVENT) {
		hear(cqe);
	} else if (cqe->res > 0) {
		user.held[user.count++] = *cqe;
		REQUIRE(user.count < HELD_MAX);
	} else if (cqe->res == 0) {
		user.closed[which] |= 1U << flow;
	} else if (cqe->res == -ENOMEM && gives_up) {
		/* Buffers that wait in the page pool help no copy. */
		CHECK_EQ(zcrx_emu_close(user.rings[which].emu, flow), 0);
		user.closed[which] |= 1U << flow;
	} else {
		user.ended[which] |= 1U << flow;
	}
}

static void take_some(uint32_t which, uint32_t most, bool gives_up)
{
	struct zcrx_emu_cqe cqe;

	for (; most && next_cqe(&user.rings[which], &cqe); most--)
		take(which, &cqe, gives_up);
}

/* Not while completions wait for room: what is armed then ends at once. */
static void arm_ended(uint32_t which)
{
	struct program *ring = &user.rings[which];

	for (uint32_t flow = 0; flow < FLOWS && !ring->sq_flags; flow++) {
		if (user.ended[which] & 1U << flow)
			arm(ring, flow);
		user.ended[which] &= ~(1U << flow);
	}
}

static void deliver(uint32_t which)
{
	static const uint8_t bytes[8 * PAGE];
	struct zcrx_emu_shape shape = {
		.fragment_max = 1 + below(PAGE),
		.offset_max = below(3) ? 0 : 256,
		.per_buffer = 1 + below(8),
		.copy_percent = below(4) ? 0 : 40,
		.linear_max = below(4) ? 0 : 100,
	};

	CHECK(zcrx_emu_deliver(user.rings[which].emu, 0, below(FLOWS), bytes,
			       1 + below(4 * shape.fragment_max), &shape) >= 0);
}

static void live(uint32_t which)
{
	/* Many small ones would only fill the sockets. */
	if (one_in(2))
		deliver(which);
	if (one_in(2))
		zcrx_emu_step(user.rings[which].emu);
	take_some(which, below(20), false);
	arm_ended(which);
	for (uint32_t most = below(20); most && user.count && has_room(); most--)
		return_one(below(user.count));
	if (one_in(10))
		judge();
}

/* The first one closes its sockets; what it was given is yet held. */
static void first_ring_goes(void)
{
	struct program *ring = &user.rings[0];

	for (uint32_t flow = 0; flow < FLOWS; flow++)
		CHECK_EQ(zcrx_emu_close(ring->emu, flow), 0);
	do {
		zcrx_emu_step(ring->emu);
		take_some(0, UINT32_MAX, false);
	} while (ring->sq_flags);
	check_finished(0);
}

/* All is received, and returned. */
static void end(uint32_t which)
{
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		CHECK_EQ(zcrx_emu_end(user.rings[which].emu, flow), 0);
	for (uint32_t round = 0; user.closed[which] != ALL_FLOWS; round++) {
		REQUIRE(round < 100000);
		zcrx_emu_step(user.rings[which].emu);
		take_some(which, UINT32_MAX, round > 1000);
		arm_ended(which);
		while (user.count && has_room())
			return_one(user.count - 1);
		judge();
	}
	while (user.count) {
		while (user.count && has_room())
			return_one(user.count - 1);
		judge();
	}
}

static void check_right_program(const char *level, uint64_t seed)
{
	uint32_t steps = CHECK_REPEAT(2000), comes, goes;

	memset(&user, 0, sizeof(user));
	user.level = level;
	user.rng = zcrx_rng_for(seed, 1);
	user.style = (enum style)(seed % STYLES);
	start(seed);
	things_go_wrong(&user.rings[0], any_plan());
	comes = level[0] == '7' && one_in(2) ? below(steps) : steps;
	goes = comes < steps && one_in(2) ? comes + below(steps - comes) : steps;
	for (uint32_t step = 0; step < steps; step++) {
		if (step == comes)
			second_ring_comes();
		if (step == goes)
			first_ring_goes();
		live(user.is_there[0] && !(user.is_there[1] && one_in(2)) ? 0 : 1);
	}
	for (uint32_t which = 0; which < 2; which++) {
		if (user.is_there[which])
			end(which);
	}
	for (uint32_t which = 0; which < 2; which++) {
		if (user.is_there[which])
			check_finished(which);
	}
	user.rings[0].emu = NULL;
	program_end(&user.rings[0]);
	CHECK_EQ(zcrx_emu_machine_destroy(user.machine), 0);
}

static void right_program_is_never_accused(const char *level)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		unsigned int before = atomic_load(&check_failures);

		check_right_program(level, seed);
		if (atomic_load(&check_failures) != before)
			fprintf(stderr, "level %s, seed %" PRIu64 "\n", level, seed);
	}
}

AT_EACH_LEVEL(right_program_is_never_accused)

CHECK_MAIN(LEVELS(right_program_is_never_accused))
