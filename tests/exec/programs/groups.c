/* SPDX-License-Identifier: MIT */
/*
 * Buffers that are chosen when there are bytes for them. It tells what came of each request,
 * so that a kernel's own answers can be laid beside: groups.txt.
 */
#include "results.h"

#include <stdbool.h>

#define GROUP 5
#define SIZE 1000U
#define ENTRIES 8U
/* What headers of Linux 6.1 do not have. */
#define RECVSEND_BUNDLE (1U << 4)
#define REGISTER_PBUF_STATUS 26
#define PBUF_RING_MMAP 1
#define PBUF_RING_INC 2
#define OFF_PBUF_RING 0x80000000ULL

struct buf_status {
	uint32_t buf_group, head;
	uint32_t resv[8];
};

static uint8_t own_memory[4096] __attribute__((aligned(4096)));
static char buffers[ENTRIES][SIZE];
static char bytes[4096];

static void say_buffer_ring(const char *what, struct io_uring_buf_reg change)
{
	if (change.ring_addr == 0)
		change.ring_addr = address_of(own_memory);
	else if (change.ring_addr == UINT64_MAX)
		change.ring_addr = 0;
	change.bgid = GROUP;
	say_registered(what, ring_register(IORING_REGISTER_PBUF_RING, &change, 1));
}

static int remove_buffer_ring(void)
{
	struct io_uring_buf_reg reg = {.bgid = GROUP};

	return ring_register(IORING_UNREGISTER_PBUF_RING, &reg, 1);
}

static void say_head(uint32_t group)
{
	struct buf_status status = {.buf_group = group};
	int result = ring_register(REGISTER_PBUF_STATUS, &status, 1);

	printf("status: %d head %u\n", result, status.head);
}

/* Buffers first, first + 1, ... come behind what is there. */
static void add_buffers(uint8_t *memory, uint16_t first, uint16_t count)
{
	struct io_uring_buf_ring *shared = (void *)memory;
	uint16_t tail = shared->tail;

	for (uint16_t i = 0; i < count; i++) {
		struct io_uring_buf *entry = &shared->bufs[(tail + i) % ENTRIES];

		entry->addr = address_of(buffers[first + i]);
		entry->len = SIZE;
		entry->bid = (uint16_t)(first + i);
	}
	__atomic_store_n(&shared->tail, tail + count, __ATOMIC_RELEASE);
}

static struct io_uring_sqe *selecting(uint8_t opcode, int fd, uint16_t ioprio, uint32_t len)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, opcode, fd, 1);

	sqe->ioprio = ioprio;
	sqe->len = len;
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	return sqe;
}

static void say_recv(const char *what, int fd, uint16_t ioprio, uint32_t len, uint32_t flags)
{
	struct io_uring_sqe *sqe = selecting(IORING_OP_RECV, fd, ioprio, len);

	sqe->msg_flags = flags;
	say(what, do_whole(sqe));
}

static void arm_many(int fd, uint32_t len, uint32_t limit)
{
	selecting(IORING_OP_RECV, fd, IORING_RECV_MULTISHOT, len)->file_index = limit;
	CHECK(ring_enter(&ring, 0) == 1);
}

static void put(int fd, size_t size)
{
	CHECK(send(fd, bytes, size, 0) == (ssize_t)size);
}

static void register_rings(void)
{
	struct io_uring_buf_reg reg = {.ring_entries = ENTRIES, .bgid = GROUP};

	say_buffer_ring("three entries", (struct io_uring_buf_reg){.ring_entries = 3});
	say_buffer_ring("none", (struct io_uring_buf_reg){.ring_entries = 0});
	say_buffer_ring("too many", (struct io_uring_buf_reg){.ring_entries = 65536});
	say_buffer_ring("not on a page",
			(struct io_uring_buf_reg){.ring_addr = address_of(own_memory) + 8,
						  .ring_entries = ENTRIES});
	say_buffer_ring("nowhere", (struct io_uring_buf_reg){.ring_addr = UINT64_MAX,
							     .ring_entries = ENTRIES});
	say_buffer_ring("not mapped",
			(struct io_uring_buf_reg){.ring_addr = 4096, .ring_entries = ENTRIES});
	say_buffer_ring("flags", (struct io_uring_buf_reg){.ring_entries = ENTRIES, .pad = 8});
	say_buffer_ring("reserved",
			(struct io_uring_buf_reg){.ring_entries = ENTRIES, .resv = {0, 0, 1}});
	say_registered("nr 0", ring_register(IORING_REGISTER_PBUF_RING, &reg, 0));
	say_registered("none to remove", remove_buffer_ring());
	say_head(GROUP);
	say_buffer_ring("good", (struct io_uring_buf_reg){.ring_entries = ENTRIES});
	say_buffer_ring("again", (struct io_uring_buf_reg){.ring_entries = ENTRIES});
}

static void receive(int ends[2])
{
	say_recv("empty group", ends[1], 0, 0, 0);
	add_buffers(own_memory, 0, 4);
	put(ends[0], 3);
	say_recv("three bytes", ends[1], 0, 0, 0);
	put(ends[0], 6);
	say_recv("two of six", ends[1], 0, 2, 0);
	say_recv("more than a buffer", ends[1], 0, 2 * SIZE, 0);
	say_head(GROUP);
	say_head(GROUP + 1);
	say_recv("nothing there", ends[1], 0, 0, MSG_DONTWAIT);
	say_recv("multishot of all", ends[1], IORING_RECV_MULTISHOT, 0, MSG_WAITALL);
	say_recv("unknown flag", ends[1], 1U << 8, 0, 0);
	arm_many(ends[1], 0, 0);
	put(ends[0], SIZE + 500);
	say("one shot", result_of(1));
	say("no buffer", result_of(1));
	add_buffers(own_memory, 4, 4);
	say_recv("rest of it", ends[1], 0, 0, 0);
	put(ends[0], 1500);
	say_recv("bundle", ends[1], RECVSEND_BUNDLE, 0, 0);
	say_head(GROUP);
	add_buffers(own_memory, 0, 6);
	arm_many(ends[1], 2, 5);
	put(ends[0], 8);
	for (int shot = 0; shot < 3; shot++)
		say("limited", result_of(1));
	say_recv("last two", ends[1], 0, 0, 0);
	selecting(IORING_OP_RECV, ends[1], 0, 0)->file_index = 5;
	CHECK(ring_enter(&ring, 0) == 1);
	say("limited single", result_of(1));
	arm_many(ends[1], 0, 0);
	put(ends[0], 2);
	say("one more", result_of(1));
	shutdown(ends[0], SHUT_WR);
	say("its end", result_of(1));
	say_recv("end again", ends[1], 0, 0, 0);
	say_head(GROUP);
}

static void send_from_group(int ends[2])
{
	struct io_uring_sqe *sqe;

	add_buffers(own_memory, 0, 3);
	say("send", do_whole(selecting(IORING_OP_SEND, ends[0], 0, 0)));
	say("send seven", do_whole(selecting(IORING_OP_SEND, ends[0], 0, 7)));
	say("send bundle", do_whole(selecting(IORING_OP_SEND, ends[0], RECVSEND_BUNDLE, 0)));
	say_head(GROUP);
	say("send from none", do_whole(selecting(IORING_OP_SEND, ends[0], 0, 0)));
	sqe = selecting(IORING_OP_SEND, ends[0], RECVSEND_BUNDLE, 0);
	sqe->flags = 0;
	say("bundle of none", do_whole(sqe));
	say("no selection", do_whole(selecting(IORING_OP_NOP, ends[0], 0, 0)));
	say_registered("removed", remove_buffer_ring());
}

static void receive_bit_by_bit(int ends[2])
{
	struct io_uring_buf_ring *shared = (void *)own_memory;

	memset(own_memory, 0, sizeof(own_memory));
	say_buffer_ring("incremental",
			(struct io_uring_buf_reg){.ring_entries = ENTRIES, .pad = PBUF_RING_INC});
	add_buffers(own_memory, 0, 2);
	put(ends[0], 8);
	say_recv("a bit", ends[1], 0, 0, 0);
	printf("left: %u at %d\n", shared->bufs[0].len,
	       (int)(shared->bufs[0].addr - address_of(buffers[0])));
	put(ends[0], SIZE - 8);
	say_recv("the rest", ends[1], 0, 0, 0);
	say_head(GROUP);
	say_registered("removed", remove_buffer_ring());
}

static void receive_in_shared_ring(int ends[2])
{
	uint8_t *shared;

	say_buffer_ring("the kernel's memory",
			(struct io_uring_buf_reg){.ring_entries = ENTRIES, .pad = PBUF_RING_MMAP});
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
		      (off_t)(OFF_PBUF_RING | GROUP << 16));
	CHECK(shared != MAP_FAILED && shared[0] == 0);
	add_buffers(shared, 2, 1);
	bytes[0] = 'z';
	put(ends[0], 8);
	say_recv("into it", ends[1], 0, 0, 0);
	CHECK(buffers[2][0] == 'z');
	say_head(GROUP);
	munmap(shared, 4096);
	say_registered("removed", remove_buffer_ring());
}

static struct result provide(uint32_t count, uint32_t len, uint64_t first)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_PROVIDE_BUFFERS, (int)count, 2);

	sqe->addr = address_of(buffers);
	sqe->len = len;
	sqe->off = first;
	sqe->buf_group = GROUP;
	return do_whole(sqe);
}

static struct result take_back(uint32_t count, uint16_t group)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_REMOVE_BUFFERS, (int)count, 3);

	sqe->buf_group = group;
	return do_whole(sqe);
}

static void hand_over_by_operations(int ends[2])
{
	struct io_uring_sqe *sqe;

	say("provide", provide(4, SIZE, 20));
	say("none", provide(0, SIZE, 20));
	say("too many", provide(65537, 1, 0));
	say("too high", provide(1, 1, 65536));
	say("too high together", provide(2, 1, 65535));
	sqe = ring_sqe(&ring, IORING_OP_PROVIDE_BUFFERS, 1, 4);
	sqe->addr = (uint64_t)-4096;
	sqe->len = 100;
	say("nowhere", do_whole(sqe));
	put(ends[0], 3);
	say_recv("recv", ends[1], 0, 0, 0);
	say_head(GROUP);
	say_buffer_ring("not over others", (struct io_uring_buf_reg){.ring_entries = ENTRIES});
	say_registered("not so", remove_buffer_ring());
	say("take back", take_back(10, GROUP));
	say("once more", take_back(1, GROUP));
	say("no group", take_back(1, 77));
	say("no count", take_back(0, GROUP));
	say_buffer_ring("over none", (struct io_uring_buf_reg){.ring_entries = ENTRIES});
	say("to a ring", provide(4, SIZE, 20));
	say("from a ring", take_back(4, GROUP));
}

static void receive_plainly(int ends[2])
{
	struct io_uring_sqe *sqe;

	put(ends[0], 4);
	for (int i = 0; i < 3; i++) {
		sqe = ring_sqe(&ring, IORING_OP_RECV, ends[1], 5);
		sqe->addr = address_of(bytes);
		sqe->len = i == 1 ? 0 : 2;
		say("plain", do_whole(sqe));
	}
	sqe = ring_sqe(&ring, IORING_OP_RECV, ends[1], 6);
	sqe->off = 1;
	say("second address", do_whole(sqe));
	sqe = ring_sqe(&ring, IORING_OP_RECV, ends[1], 7);
	sqe->ioprio = IORING_RECV_MULTISHOT;
	say("many into one", do_whole(sqe));
	sqe = ring_sqe(&ring, IORING_OP_SHUTDOWN, ends[1], 8);
	sqe->ioprio = 1;
	say("no priority", do_whole(sqe));
	sqe = ring_sqe(&ring, IORING_OP_NOP, -1, 9);
	sqe->rw_flags = 1;
	sqe->len = (uint32_t)-7;
	say("wanted error", do_whole(sqe));
}

int main(void)
{
	int one[2], two[2];

	CHECK(ring_open(&ring, 16, 0, 0) == 0);
	connect_pair(one);
	connect_pair(two);
	register_rings();
	receive(one);
	send_from_group(two);
	connect_pair(two);
	receive_bit_by_bit(two);
	receive_in_shared_ring(two);
	hand_over_by_operations(two);
	receive_plainly(two);
	ring_close(&ring);
	return 0;
}
