/* SPDX-License-Identifier: MIT */
/*
 * A random user of zero-copy receive, and what it does wrong: once, or all the time.
 *
 *	mistakes BYTES SEED MISTAKE [WORD...]
 *
 * It looks at every byte, holds fragments for a while, gives them back in any order, and gets
 * over all that may happen: signals, receives that end, connections that break, registrations
 * that are refused. MISTAKE "right" is none; the others are in the table at the end. cq=N,
 * area=N (buffers), rq=N: sizes. kernel: the refill ring is the kernel's memory. shared: the
 * area is shared memory.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sender.h"
#include "zcrx.h"

#include <signal.h>

#define HELD_MAX 4096U

struct fragment {
	uint64_t off;
	uint32_t len;
};

struct user {
	struct ring ring;
	uint64_t random;
	uint32_t cq, area_pages, rq;
	bool has_kernel_ring, has_shared_area;
	uint8_t *area, *region;
	size_t region_size;
	uint32_t id, entries, tail;
	_Atomic uint32_t *rq_head, *rq_tail;
	struct zcrx_rqe *rqes;
	uint64_t token;
	int fd;
	struct fragment held[HELD_MAX], last;
	uint32_t held_count;
	uint64_t bytes, fragments, armed;
	uint32_t nonsense;
	bool is_over, has_erred;
	const struct mistake *mistake;
};

struct mistake {
	const char *name;
	/* Once, behind the 40th fragment. NULL: it is made elsewhere. */
	void (*once)(struct user *user);
};

static const struct mistake mistakes[];

static uint32_t below(struct user *user, uint32_t limit)
{
	user->random = user->random * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(user->random >> 33) % limit;
}

static bool does(const struct user *user, const char *name)
{
	return strcmp(user->mistake->name, name) == 0;
}

/* ---- the queue --------------------------------------------------------------------------------- */

static uint8_t *map(size_t size, int fd, off_t at)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, at);

	CHECK(memory != MAP_FAILED);
	return memory;
}

static int memory_file(size_t size)
{
	int fd = memfd_create("area", 0);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

/* Twice it is tried again: a driver may be busy. */
static int register_queue(struct user *user, struct ifq_reg *wanted, struct ifq_reg *reg)
{
	for (int attempt = 0; attempt < 3; attempt++) {
		*reg = *wanted;
		((struct region_desc *)(uintptr_t)reg->region_ptr)->mmap_offset = 0;
		if (syscall(__NR_io_uring_register, user->ring.fd, REGISTER_ZCRX_IFQ, reg, 1) == 0)
			return 0;
	}
	return -errno;
}

static int open_queue(struct user *user)
{
	size_t size = (user->rq * sizeof(struct zcrx_rqe) / PAGE + 1) * PAGE;
	struct region_desc region = {.size = size};
	struct area_reg area = {.len = (uint64_t)user->area_pages * PAGE};
	struct ifq_reg wanted = {
		.if_idx = 1,
		.rq_entries = user->rq,
		.area_ptr = (uint64_t)(uintptr_t)&area,
		.region_ptr = (uint64_t)(uintptr_t)&region,
	};
	struct ifq_reg reg;
	int error;

	user->area = map(area.len, user->has_shared_area ? memory_file(area.len) : -1, 0);
	area.addr = (uint64_t)(uintptr_t)user->area;
	if (!user->has_kernel_ring) {
		user->region = map(size, -1, 0);
		region.user_addr = (uint64_t)(uintptr_t)user->region;
		region.flags = 1;
	}
	error = register_queue(user, &wanted, &reg);
	if (error)
		return error;
	if (user->has_kernel_ring)
		user->region = map(size, user->ring.fd, (off_t)region.mmap_offset);
	user->region_size = size;
	user->id = reg.zcrx_id;
	user->entries = reg.rq_entries;
	user->token = area.rq_area_token;
	user->rq_head = (_Atomic uint32_t *)(void *)(user->region + reg.offsets.head);
	user->rq_tail = (_Atomic uint32_t *)(void *)(user->region + reg.offsets.tail);
	if (does(user, "guessed-offsets"))
		user->rq_tail = (_Atomic uint32_t *)(void *)(user->region + 4);
	user->rqes = (struct zcrx_rqe *)(void *)(user->region + reg.offsets.rqes);
	return 0;
}

static bool has_room(const struct user *user)
{
	return user->tail - atomic_load_explicit(user->rq_head, memory_order_acquire) <
	       user->entries;
}

static void publish(struct user *user)
{
	atomic_store_explicit(user->rq_tail, user->tail, memory_order_release);
}

static void write_entry(struct user *user, uint64_t off, uint32_t len, uint32_t pad)
{
	struct zcrx_rqe *rqe = &user->rqes[user->tail++ & (user->entries - 1)];

	rqe->off = off;
	rqe->len = len;
	rqe->pad = pad;
}

/* An entry beside those that are right. */
static void add_entry(struct user *user, uint64_t off, uint32_t len, uint32_t pad)
{
	CHECK(has_room(user));
	write_entry(user, off, len, pad);
	publish(user);
}

static uint64_t off_of(const struct user *user, const struct fragment *fragment)
{
	return (fragment->off & AREA_MASK) | user->token;
}

static void give_back(struct user *user, uint32_t at)
{
	struct fragment fragment = user->held[at];

	user->held[at] = user->held[--user->held_count];
	user->last = fragment;
	write_entry(user, off_of(user, &fragment), fragment.len, 0);
	publish(user);
}

/* Some of them, any of them, as far as there is room. */
static void give_back_some(struct user *user)
{
	uint32_t most = user->area_pages / 4 + 1, often = user->bytes % 7 ? 3 : 50;

	while (user->held_count && (user->held_count > most || below(user, often)) &&
	       has_room(user))
		give_back(user, below(user, user->held_count));
}

/* ---- mistakes ------------------------------------------------------------------------------------ */

static void name_another_area(struct user *user)
{
	add_entry(user, user->last.off | 7ULL << 48, user->last.len, 0);
}

static void name_a_buffer_behind_the_end(struct user *user)
{
	add_entry(user, (uint64_t)user->area_pages * PAGE | user->token, PAGE, 0);
}

static void leave_the_pad_dirty(struct user *user)
{
	add_entry(user, off_of(user, &user->last), user->last.len, 0x5a);
}

/* The entry is taken for the fragment's own return, which does not come. */
static void go_far_behind_the_area(struct user *user)
{
	user->held[0].off |= 1ULL << 46;
	write_entry(user, user->held[0].off | user->token, user->held[0].len, 0);
	publish(user);
	user->held[0] = user->held[--user->held_count];
}

static void return_twice(struct user *user)
{
	give_back(user, 0);
	add_entry(user, off_of(user, &user->last), user->last.len, 0);
}

/* The last of the area: as many buffers as are in use come from its other end, or its own. */
static void return_what_was_not_given(struct user *user)
{
	for (uint32_t buffer = 0; buffer < user->area_pages; buffer++) {
		const uint8_t *bytes = user->area + (size_t)buffer * PAGE;
		uint32_t at = 0;

		while (at < PAGE && bytes[at] == 0)
			at++;
		if (at < PAGE)
			continue;
		add_entry(user, (uint64_t)buffer * PAGE | user->token, PAGE, 0);
		return;
	}
	CHECK(!"a buffer that was never given");
}

static void forget_the_head(struct user *user)
{
	user->tail += user->entries + 5;
	publish(user);
}

static void move_the_tail_back(struct user *user)
{
	user->tail -= 3;
	publish(user);
}

static void write_the_head(struct user *user)
{
	atomic_store_explicit(user->rq_head, 12345, memory_order_release);
}

static void flush(struct user *user)
{
	struct ctrl flush = {.zcrx_id = user->id, .op = 0};

	CHECK(syscall(__NR_io_uring_register, user->ring.fd, REGISTER_ZCRX_CTRL, &flush, 0) == 0);
}

static void give_back_all(struct user *user)
{
	while (user->held_count && has_room(user))
		give_back(user, 0);
	flush(user);
}

/* What was returned is the kernel's. */
static void write_into_what_was_returned(struct user *user)
{
	give_back_all(user);
	memset(user->area + (user->last.off & AREA_MASK), 7, 16);
}

static void move_the_completion_head_ahead(struct user *user)
{
	*ring_word(&user->ring, user->ring.params.cq_off.head) += 3 * user->cq;
	user->is_over = true;
}

static void leave_an_export_open(struct user *user)
{
	struct ctrl export = {.zcrx_id = user->id, .op = 1};

	CHECK(syscall(__NR_io_uring_register, user->ring.fd, REGISTER_ZCRX_CTRL, &export, 0) == 0);
}

/* More completions than the queue holds, and nobody looks. */
static void leave_the_overflow(struct user *user)
{
	for (uint32_t i = 0; i < 4 * user->cq; i++) {
		ring_sqe(&user->ring, IORING_OP_NOP, -1, 99);
		CHECK(ring_enter(&user->ring, 0) >= 0);
	}
	user->is_over = true;
}

static void map_anew(uint8_t *memory, size_t size, bool is_shared)
{
	int fd = is_shared ? memfd_create("another", 0) : -1;
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	CHECK(!is_shared || ftruncate(fd, (off_t)size) == 0);
	CHECK(mmap(memory, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) == memory);
}

/* Memory of the same size stands there, and is another one: what is received cannot be seen. */
static void map_the_area_anew(struct user *user)
{
	give_back_all(user);
	map_anew(user->area, (size_t)user->area_pages * PAGE, user->has_shared_area);
	/* It is in use, too. */
	memset(user->area, 0x11, PAGE);
}

static void map_the_ring_anew(struct user *user)
{
	give_back_all(user);
	map_anew(user->region, user->region_size, false);
}

static void unmap_the_area(struct user *user)
{
	give_back_all(user);
	munmap(user->area, (size_t)user->area_pages * PAGE);
}

static void give_the_pages_away(struct user *user)
{
	give_back_all(user);
	madvise(user->area, (size_t)user->area_pages * PAGE, MADV_DONTNEED);
}

static const struct mistake mistakes[] = {
	{"right", NULL},
	{"bad-area", name_another_area},
	{"bad-index", name_a_buffer_behind_the_end},
	{"bad-pad", leave_the_pad_dirty},
	{"alias", go_far_behind_the_area},
	{"twice", return_twice},
	{"never-given", return_what_was_not_given},
	{"ring-overrun", forget_the_head},
	{"tail-back", move_the_tail_back},
	{"head-written", write_the_head},
	{"written", write_into_what_was_returned},
	{"cq-head", move_the_completion_head_ahead},
	{"cq-overflow", leave_the_overflow},
	{"export-open", leave_an_export_open},
	{"remap", map_the_area_anew},
	{"remap-ring", map_the_ring_anew},
	{"unmap", unmap_the_area},
	{"dontneed", give_the_pages_away},
	{"guessed-offsets", NULL},
	{"primed", NULL},
	{"not-armed", NULL},
	{"deaf", NULL}, /* the same, but it goes on waiting */
	{"keep", NULL},
	{"early", NULL},
	{"stale", NULL},
	{"million", NULL},
	{NULL, NULL},
};

/* Are there others of the buffer, and is it not its first one? (That one could stand for the buffer.) */
static bool is_one_of_several(const struct user *user, const struct fragment *fragment)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < user->held_count; i++)
		count += user->held[i].off / PAGE == fragment->off / PAGE;
	return count > 1 && fragment->off % PAGE != 0;
}

/* One of a buffer of which others are out is given back twice. */
static void return_again_while_others_are_out(struct user *user)
{
	uint32_t at = 0;

	while (at < user->held_count && !is_one_of_several(user, &user->held[at]))
		at++;
	if (at == user->held_count)
		return;
	add_entry(user, off_of(user, &user->held[at]), user->held[at].len, 0);
	give_back(user, at);
	flush(user);
	user->has_erred = true;
}

/* So many behind each other that the kernel takes the second one when it filled the buffer anew. */
static void return_again_far_behind(struct user *user)
{
	struct fragment first = user->held[0];

	if (user->held_count < 100)
		return;
	while (user->held_count > 1)
		give_back(user, 0);
	add_entry(user, off_of(user, &first), first.len, 0);
	user->has_erred = true;
}

/* A million entries that name no buffer: as many as there is room for, each time. */
static void write_nonsense(struct user *user)
{
	while (user->nonsense < 1000000 && has_room(user)) {
		add_entry(user, ~0ULL, 1, 0);
		user->nonsense++;
	}
}

/* Those that take more than one step. */
static void err_at_length(struct user *user)
{
	if (does(user, "early"))
		return_again_while_others_are_out(user);
	if (does(user, "stale"))
		return_again_far_behind(user);
	if (does(user, "million"))
		write_nonsense(user);
}

static void err(struct user *user)
{
	if (user->has_erred || user->fragments < 40 || user->held_count == 0)
		return;
	if (user->mistake->once) {
		user->mistake->once(user);
		user->has_erred = true;
	} else {
		err_at_length(user);
	}
}

/* As for AF_XDP: all buffers are offered at the start. */
static void prime(struct user *user)
{
	for (uint32_t buffer = 0; buffer < user->area_pages && has_room(user); buffer++)
		add_entry(user, (uint64_t)buffer * PAGE | user->token, PAGE, 0);
}

/* ---- receiving ------------------------------------------------------------------------------------- */

static void arm(struct user *user)
{
	struct io_uring_sqe *sqe = ring_sqe(&user->ring, OP_RECV_ZC, user->fd, 7);

	sqe->ioprio = 2; /* multishot */
	sqe->splice_fd_in = (int32_t)user->id;
	user->armed++;
}

static void take_data(struct user *user, uint64_t off, uint32_t len)
{
	const uint8_t *bytes = user->area + (off & AREA_MASK);
	bool is_seen = !user->has_erred;

	for (uint32_t i = 0; i < len && is_seen; i++)
		CHECK(bytes[i] == byte_at(user->bytes + i));
	user->bytes += len;
	user->fragments++;
	if (does(user, "keep") && user->fragments % 16 == 0)
		return;
	CHECK(user->held_count < HELD_MAX);
	user->held[user->held_count++] = (struct fragment){off, len};
}

/* Nobody has written into what is somebody else's. */
static void check_untouched(const struct user *user)
{
	bool is_ring = does(user, "remap-ring");
	const uint8_t *memory = is_ring ? user->region : user->area;
	size_t size = is_ring ? user->region_size : (size_t)user->area_pages * PAGE;

	for (size_t i = 0; i < size; i++)
		CHECK(memory[i] == (i < PAGE && !is_ring ? 0x11 : 0));
}

static void take(struct user *user, const struct io_uring_cqe *cqe)
{
	const struct zcrx_cqe *zcrx = (const struct zcrx_cqe *)(cqe + 1);

	if (cqe->user_data != 7)
		return;
	if (cqe->flags & IORING_CQE_F_MORE) {
		take_data(user, zcrx->off, (uint32_t)cqe->res);
	} else if (cqe->res == -ENOSPC || cqe->res == -ENOMEM) {
		user->is_over = does(user, "not-armed");
		if (does(user, "deaf") && puts("deaf") > 0)
			fflush(stdout);
		else if (!user->is_over)
			arm(user);
	} else {
		if (cqe->res == -EFAULT && strncmp(user->mistake->name, "remap", 5) == 0)
			check_untouched(user);
		CHECK(cqe->res == 0 || cqe->res == -ECONNRESET ||
		      (cqe->res == -EFAULT && user->has_erred));
		user->is_over = true;
	}
}

/* Some mistakes need many fragments; and nothing is written where the refill ring was. */
static bool holds_on(const struct user *user)
{
	if (does(user, "remap-ring"))
		return user->has_erred;
	return (does(user, "stale") || does(user, "early")) && !user->has_erred &&
	       user->held_count <= user->area_pages / 2;
}

static void receive(struct user *user)
{
	while (!user->is_over) {
		struct __kernel_timespec time = {.tv_nsec = 300000000};
		struct io_uring_cqe *cqe;
		int result = ring_enter_for(&user->ring, 1, &time);

		CHECK(result >= 0 || result == -EINTR || result == -ETIME);
		/* What is wrong with the rings may end all: nothing comes any more. */
		if (result == -ETIME && user->has_erred)
			return;
		/* What it holds may be all that there is. */
		if (result == -ETIME)
			give_back_all(user);
		while ((cqe = ring_cqe(&user->ring)) && !user->is_over) {
			take(user, cqe);
			ring_seen(&user->ring);
		}
		err(user);
		if (!holds_on(user))
			give_back_some(user);
	}
	while (user->held_count && !holds_on(user))
		give_back_all(user);
}

static int accept_one(struct user *user, int listener)
{
	struct io_uring_cqe *cqe;
	int fd;

	ring_sqe(&user->ring, IORING_OP_ACCEPT, listener, 1);
	while (!(cqe = ring_cqe(&user->ring)))
		CHECK(ring_enter(&user->ring, 1) >= -EINTR);
	CHECK(cqe->user_data == 1 && cqe->res >= 0);
	fd = cqe->res;
	ring_seen(&user->ring);
	return fd;
}

static struct user read_words(int argc, char **argv)
{
	struct user user = {.cq = 256, .area_pages = 64, .rq = 256, .mistake = mistakes};

	CHECK(argc > 3);
	user.random = strtoull(argv[2], NULL, 10);
	while (user.mistake->name && strcmp(user.mistake->name, argv[3]))
		user.mistake++;
	CHECK(user.mistake->name);
	for (int i = 4; i < argc; i++) {
		sscanf(argv[i], "cq=%u", &user.cq);
		sscanf(argv[i], "area=%u", &user.area_pages);
		sscanf(argv[i], "rq=%u", &user.rq);
		user.has_shared_area |= strcmp(argv[i], "shared") == 0;
		user.has_kernel_ring |= strcmp(argv[i], "kernel") == 0;
	}
	return user;
}

int main(int argc, char **argv)
{
	static struct user user;
	uint64_t bytes;
	int listener, error;
	pid_t child;

	user = read_words(argc, argv);
	bytes = strtoull(argv[1], NULL, 10);
	listener = start_sender(bytes, false, &child);
	CHECK(ring_open(&user.ring, 8,
			IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
				IORING_SETUP_CQE32,
			user.cq) == 0);
	error = open_queue(&user);
	if (error) {
		printf("no queue: %s\n", strerror(-error));
		kill(child, SIGKILL);
		return 0;
	}
	user.has_erred = does(&user, "guessed-offsets");
	if (does(&user, "primed"))
		prime(&user);
	user.fd = accept_one(&user, listener);
	arm(&user);
	receive(&user);
	printf("%llu of %llu bytes, %llu fragments, armed %llu times\n",
	       (unsigned long long)user.bytes, (unsigned long long)bytes,
	       (unsigned long long)user.fragments, (unsigned long long)user.armed);
	kill(child, SIGKILL);
	return 0;
}
