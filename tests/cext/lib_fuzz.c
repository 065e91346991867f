/* SPDX-License-Identifier: MIT */
/*
 * The raw structs and rings, in memory that changes while it is read: a registration answers as
 * lib_rules.h says of what was read first, and nothing that stands in the rings ever is more
 * than an answer.
 *
 * A target for libFuzzer (python -m tools.lib_fuzz); with FUZZ_ALONE a program that makes its
 * inputs up, or takes them from files.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib_rules.h"
#include "zcrx_emu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE 4096U
#define BASE 0x700000000000ULL
#define PAGES 32U
#define READ_ONLY (BASE + (PAGES - 1) * PAGE)
#define NOTES 64U

#define BROKEN(...)                                             \
	do {                                                    \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
		fprintf(stderr, __VA_ARGS__);                   \
		fprintf(stderr, "\n");                          \
		abort();                                        \
	} while (0)

/* ---- the input ------------------------------------------------------------------------- */

static const uint8_t *input;
static size_t left;

static uint8_t byte(void)
{
	if (left == 0)
		return 0;
	left--;
	return *input++;
}

static uint32_t below(uint32_t bound)
{
	return (byte() | (uint32_t)byte() << 8) % bound;
}

/* Numbers at which something ends, and any. */
static uint64_t number(void)
{
	static const uint64_t ends[] = {
		0,	    1,		2,	  3,	      4,	  8,	      16,
		64,	    128,	312,	  320,	      376,	  384,	      4080,
		4088,	    4095,	4096,	  8192,	      16384,	  32768,      32769,
		65536,	    1 << 30,	INT_MAX,  UINT32_MAX, 1ULL << 31, 1ULL << 44, 1ULL << 48,
		1ULL << 63, UINT64_MAX, -4096ULL, BASE,	      READ_ONLY,  BASE + 8};
	uint64_t value = 0;
	uint32_t which = byte();

	if (which < sizeof(ends) / sizeof(ends[0]))
		return ends[which];
	for (uint32_t i = 0; i < 8; i++)
		value = value << 8 | (i < which % 9 ? byte() : 0);
	return value;
}

/* ---- the program's memory ------------------------------------------------------------------ */

static uint8_t arena[PAGES * PAGE];
static uint64_t flips; /* of the next reads: which are followed by a change */
static struct {
	uint64_t from;
	size_t size;
	uint8_t bytes[96];
} notes[NOTES]; /* what was read first */
static uint32_t note_count;
static uint32_t writes;

static bool is_inside(uint64_t at, uint64_t size)
{
	return at >= BASE && size <= sizeof(arena) && at - BASE <= sizeof(arena) - size;
}

static bool is_memory(uint64_t at, uint64_t size)
{
	return is_inside(at, size) && at + size <= READ_ONLY;
}

static int read_program(void *context, void *to, uint64_t from, size_t size)
{
	(void)context;
	if (!is_inside(from, size))
		return -EFAULT;
	memcpy(to, arena + (from - BASE), size);
	if (note_count < NOTES && size <= sizeof(notes[0].bytes)) {
		notes[note_count].from = from;
		notes[note_count].size = size;
		memcpy(notes[note_count++].bytes, to, size);
	}
	/* It is rewritten as soon as it was read. */
	if (size && flips & 1)
		arena[from - BASE + below((uint32_t)size)] ^= byte();
	flips >>= 1;
	return 0;
}

static int write_program(void *context, uint64_t to, const void *from, size_t size)
{
	(void)context;
	if (!is_memory(to, size))
		return -EFAULT;
	memcpy(arena + (to - BASE), from, size);
	writes++;
	return 0;
}

static int read_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	int error = 0;

	for (uint32_t i = 0; i < count && !error; i++)
		error = read_program(context, pieces[i].here, pieces[i].there, pieces[i].size);
	return error;
}

static int write_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	int error = 0;

	for (uint32_t i = 0; i < count && !error; i++)
		error = write_program(context, pieces[i].there, pieces[i].here, pieces[i].size);
	return error;
}

static int pin_program(void *context, uint64_t at, uint64_t size)
{
	(void)context;
	return is_memory(at, size) ? 0 : -EFAULT;
}

static void *map_program(void *context, uint64_t at, uint64_t size)
{
	(void)context;
	return is_inside(at, size) ? arena + (at - BASE) : NULL;
}

static int no_descriptor(void *context, int fd)
{
	(void)context;
	(void)fd;
	return -EBADF;
}

static const struct zcrx_emu_descriptors descriptors = {.install = no_descriptor,
							.fetch = no_descriptor};

/* What the kernel had of it: what was read, or would be. False: it cannot be. */
static bool as_read(uint64_t from, void *to, size_t size)
{
	for (uint32_t i = 0; i < note_count; i++) {
		if (notes[i].from == from && notes[i].size == size) {
			memcpy(to, notes[i].bytes, size);
			return true;
		}
	}
	if (!is_inside(from, size))
		return false;
	memcpy(to, arena + (from - BASE), size);
	return true;
}

/* ---- registering ----------------------------------------------------------------------------- */

enum { REG = 0, REGION = 256, AREA = 512, EVENTS = 768, CTRL = 1024 };

static struct zcrx_emu *emu;
static uint32_t level, ring_flags, queues;
static struct {
	uint32_t if_idx, if_rxq;
	bool is_nodev;
} taken[8];

static bool is_taken(uint32_t if_idx, uint32_t if_rxq)
{
	for (uint32_t i = 0; i < queues; i++) {
		if (!taken[i].is_nodev && taken[i].if_idx == if_idx && taken[i].if_rxq == if_rxq)
			return true;
	}
	return false;
}

static void put(uint32_t at, const void *bytes, size_t size)
{
	memcpy(arena + at, bytes, size);
}

static void put_right_structs(void)
{
	struct io_uring_zcrx_ifq_reg reg = {.if_idx = 1 + queues,
					    .rq_entries = 16,
					    .area_ptr = BASE + AREA,
					    .region_ptr = BASE + REGION};
	struct io_uring_region_desc region = {
		.user_addr = BASE + PAGE, .size = PAGE, .flags = IORING_MEM_REGION_TYPE_USER};
	struct io_uring_zcrx_area_reg area = {.addr = BASE + 8 * PAGE, .len = 8 * PAGE};
	struct zcrx_event_desc events = {.user_data = 7, .type_mask = 3};
	/* Around the end of the entries, and of the region. */
	static const uint64_t places[6] = {384, 376, 320, 312, PAGE - 16, PAGE - 8};

	if (level >= V7_2 && byte() & 1)
		reg.event_desc = BASE + EVENTS;
	if (byte() & 1) {
		events.flags = 1;
		events.stats_offset = places[byte() % 6];
	}
	put(REG, &reg, sizeof(reg));
	put(REGION, &region, sizeof(region));
	put(AREA, &area, sizeof(area));
	put(EVENTS, &events, sizeof(events));
}

/* Some words of the structs are something else. */
static void break_structs(void)
{
	static const struct {
		uint32_t at, words;
	} structs[] = {{REG, 24}, {REGION, 16}, {AREA, 12}, {EVENTS, 24}};

	for (uint32_t times = byte() % 4; times; times--) {
		uint32_t which = byte() % 4, word = byte() % structs[which].words;
		uint64_t value = number();
		bool is_wide = byte() & 1 && word % 2 == 0;

		put(structs[which].at + 4 * word, &value, is_wide ? 8 : 4);
	}
}

static struct call what_was_read(uint64_t at)
{
	struct call call = {
		.level = level,
		.ring_flags = ring_flags,
		.queues = queues,
		.is_memory = is_memory,
		.is_taken = is_taken,
	};

	call.has_reg = as_read(at, &call.reg, sizeof(call.reg));
	call.has_region = as_read(call.reg.region_ptr, &call.region, sizeof(call.region));
	call.has_area = as_read(call.reg.area_ptr, &call.area, sizeof(call.area));
	if (call.level >= V7_2 && call.reg.event_desc)
		call.has_events = as_read(call.reg.event_desc, &call.events, sizeof(call.events));
	call.is_written = is_memory(at, sizeof(call.reg)) &&
			  is_memory(call.reg.region_ptr, sizeof(call.region)) &&
			  is_memory(call.reg.area_ptr, sizeof(call.area));
	return call;
}

static bool try_register(void)
{
	uint64_t at = byte() % 16 ? BASE + REG : number();
	struct call call;
	int result, expected;

	put_right_structs();
	break_structs();
	flips = number();
	note_count = writes = 0;
	result = at ? zcrx_emu_register(emu, 32, (void *)(uintptr_t)at, 1) : -EINVAL;
	if (!at)
		return false;
	call = what_was_read(at);
	expected = rules_answer(&call);
	if (expected != RULES_UNKNOWN && result != expected)
		BROKEN("level %s: a registration answers %d (\"%s\"), expected %d",
		       zcrx_emu_level(level), result, zcrx_emu_why(emu), expected);
	/* Statistics are cleared as soon as they are found to lie well, whatever comes then. */
	if (result && result != -EFAULT && writes && !call.events.flags)
		BROKEN("level %s: refused (%d), and written to", zcrx_emu_level(level), result);
	if (result == 0) {
		taken[queues].if_idx = call.reg.if_idx;
		taken[queues].if_rxq = call.reg.if_rxq;
		taken[queues++].is_nodev = is_nodev(&call);
	}
	return result == 0;
}

/* ---- the operations ---------------------------------------------------------------------------- */

static int ctrl_answer(const struct zcrx_ctrl *ctrl)
{
	static const uint32_t ops[LEVELS_KNOWN] = {0, 0, 0, 2, 3, 4};

	if (level < V7_1)
		return -EINVAL;
	if (ctrl->__resv[0] || ctrl->__resv[1])
		return -EFAULT;
	if (ctrl->zcrx_id >= queues)
		return -ENXIO;
	if (ctrl->op >= ops[level])
		return -EOPNOTSUPP;
	/* Whether an event has fired, and what of an area may be added, is not told here. */
	if (ctrl->op >= 2)
		return ctrl->op == 2 && (uint32_t)ctrl->payload[0] > 1 ? -EINVAL : RULES_UNKNOWN;
	if (any_set(ctrl->payload, sizeof(ctrl->payload)))
		return -EINVAL;
	return ctrl->op == 1 ? -EBADF : 0;
}

static void try_ctrl(void)
{
	struct zcrx_ctrl ctrl = {.zcrx_id = byte() % 3, .op = byte() % 5};
	int result, expected;

	if (byte() % 4 == 0)
		ctrl.payload[byte() % 6] = number();
	if (byte() % 8 == 0)
		ctrl.__resv[byte() % 2] = number();
	put(CTRL, &ctrl, sizeof(ctrl));
	note_count = 0;
	result = zcrx_emu_register(emu, 36, (void *)(uintptr_t)(BASE + CTRL), 0);
	expected = ctrl_answer(&ctrl);
	if (expected != RULES_UNKNOWN && result != expected)
		BROKEN("level %s: operation %u answers %d (\"%s\"), expected %d",
		       zcrx_emu_level(level), ctrl.op, result, zcrx_emu_why(emu), expected);
}

/* ---- the rings ------------------------------------------------------------------------------------ */

static int on_cqe(void *context, const struct zcrx_emu_cqe *cqe)
{
	(void)context;
	if (cqe->flags & ZCRX_EMU_CQE_F_MORE && (cqe->res <= 0 || cqe->off >= sizeof(arena) ||
						 cqe->off + (uint64_t)cqe->res > sizeof(arena)))
		BROKEN("a completion of %d bytes at 0x%llx", cqe->res,
		       (unsigned long long)cqe->off);
	return byte() % 16 == 0;
}

static void write_anywhere(void)
{
	uint64_t value = number();
	uint32_t at = PAGE + below(2 * PAGE);

	memcpy(arena + at, &value, byte() & 1 ? 8 : 4);
}

static void play(void)
{
	static const uint8_t payload[6 * PAGE];
	struct zcrx_emu_recv recv = {.zcrx_id = byte() % 3, .flow = byte() % 3};
	struct zcrx_emu_shape shape = {0};

	switch (byte() % 10) {
	case 0:
		shape.per_buffer = byte();
		shape.fragment_max = below(PAGE + 2);
		shape.copy_percent = byte() % 102;
		shape.linear_max = byte();
		zcrx_emu_deliver(emu, recv.zcrx_id, recv.flow, payload, below(sizeof(payload)),
				 &shape);
		break;
	case 1:
		recv.limit = (uint32_t)number();
		zcrx_emu_arm(emu, &recv);
		break;
	case 2:
		zcrx_emu_drain(emu, recv.zcrx_id);
		break;
	case 3:
		try_ctrl();
		break;
	case 4:
		zcrx_emu_close(emu, recv.flow);
		break;
	case 5:
		zcrx_emu_end(emu, recv.flow);
		break;
	case 6:
	case 7:
		write_anywhere();
		break;
	default:
		flips = number();
		zcrx_emu_step(emu);
	}
}

static void create(void)
{
	uint8_t how = byte();
	const struct zcrx_emu_memory memory = {
		.read = read_program,
		.write = write_program,
		.pin = pin_program,
		.map = how & 1 ? map_program : NULL,
		.read_pieces = how & 2 ? read_pieces : NULL,
		.write_pieces = how & 2 ? write_pieces : NULL,
	};
	struct zcrx_emu_options options = {
		.size = sizeof(options),
		.memory = &memory,
		.descriptors = &descriptors,
		.on_cqe = on_cqe,
	};
	const struct zcrx_emu_cq_at cq = {
		.head = BASE + 3 * PAGE,
		.tail = BASE + 3 * PAGE + 4,
		.cqes = BASE + 3 * PAGE + 64,
		.entries = 16,
	};

	level = byte() % LEVELS_KNOWN;
	ring_flags = byte() % 8 ? 1U << 13 | 1U << 11 : (uint32_t)number();
	ring_flags |= byte() % 4 ? 0 : 1U << 13 | 1U << 18;
	if (ring_flags == 0)
		ring_flags = 1;
	options.kernel = zcrx_emu_level(level);
	options.ring_flags = ring_flags;
	options.flags = byte() & 15;
	options.rx_descriptors = byte() % 4 ? 0 : byte();
	options.mtu = byte() % 4 ? 0 : below(20000);
	if (zcrx_emu_create(&options, &emu))
		BROKEN("an instance cannot be made");
	if (byte() & 1)
		zcrx_emu_set_cq_at(emu, &cq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = data;
	left = size;
	queues = 0;
	flips = 0;
	memset(arena, 0, sizeof(arena));
	create();
	for (uint32_t tries = 0; tries < 3; tries++)
		try_register();
	while (left)
		play();
	zcrx_emu_finish(emu);
	zcrx_emu_report_json(emu, NULL, 0);
	zcrx_emu_destroy(emu);
	return 0;
}

#ifdef FUZZ_ALONE
#include "wire/rng.h"

#define INPUTS 20000U

static int replay(const char *path)
{
	uint8_t bytes[65536];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file)
		return 2;
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	return LLVMFuzzerTestOneInput(bytes, size);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]))
			return 2;
	}
	for (uint64_t seed = 0; seed < INPUTS && argc == 1; seed++) {
		struct zcrx_rng rng = zcrx_rng_for(seed, 0);
		uint32_t size = zcrx_rng_below(&rng, 400);
		uint8_t bytes[400];

		/* Small numbers choose most: where something ends, and what is done. */
		for (uint32_t at = 0; at < size; at++)
			bytes[at] = (uint8_t)(zcrx_rng_below(&rng, 2) ? zcrx_rng_below(&rng, 32) :
									zcrx_rng_next(&rng));
		LLVMFuzzerTestOneInput(bytes, size);
	}
	return 0;
}
#endif
