/* SPDX-License-Identifier: MIT */
/*
 * Registrations of which one field each is wrong: prints the error of each, and registers a
 * right one at the end, of which nothing was left behind.
 */
#include "zcrx.h"

struct request {
	struct region_desc region;
	struct area_reg area;
	struct ifq_reg reg;
};

static void no_entries(struct request *request)
{
	request->reg.rq_entries = 0;
}

static void many_entries(struct request *request)
{
	request->reg.rq_entries = 40000;
}

static void no_such_queue(struct request *request)
{
	request->reg.if_rxq = UINT32_MAX;
}

static void unknown_flag(struct request *request)
{
	request->reg.flags = 0x80;
}

static void reserved_word(struct request *request)
{
	request->reg.resv[2] = 1;
}

static void no_interface(struct request *request)
{
	request->reg.if_idx = 0;
}

static void no_area(struct request *request)
{
	request->reg.area_ptr = 8;
}

static void odd_buffer(struct request *request)
{
	request->reg.rx_buf_len = 5000;
}

static void small_region(struct request *request)
{
	request->region.size = PAGE;
	request->reg.rq_entries = 512;
}

static void region_of_no_type(struct request *request)
{
	request->region.flags = 2;
}

static void region_with_an_id(struct request *request)
{
	request->region.id = 3;
}

static void odd_region(struct request *request)
{
	request->region.user_addr += 8;
}

static void region_nowhere(struct request *request)
{
	request->region.user_addr = PAGE;
}

static void odd_area(struct request *request)
{
	request->area.len -= 1;
}

static void area_with_a_flag(struct request *request)
{
	request->area.flags = 4;
}

static void area_with_a_token(struct request *request)
{
	request->area.rq_area_token = 1;
}

static void area_nowhere(struct request *request)
{
	request->area.addr = PAGE;
}

static void nothing(struct request *request)
{
	(void)request;
}

static void (*const spoil[])(struct request *) = {
	no_entries,	   many_entries, no_such_queue,	 unknown_flag, reserved_word,
	no_interface,	   no_area,	 odd_buffer,	 small_region, region_of_no_type,
	region_with_an_id, odd_region,	 region_nowhere, odd_area,     area_with_a_flag,
	area_with_a_token, area_nowhere, nothing,
};

int main(void)
{
	const uint32_t flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	uint8_t *memory =
		mmap(NULL, ZC_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ring ring;

	CHECK(memory != MAP_FAILED);
	CHECK(ring_open(&ring, 8, flags | IORING_SETUP_CQE32, 0) == 0);
	for (size_t i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
		struct request request = {
			.region = {(uint64_t)(uintptr_t)memory + ZC_AREA_SIZE,
				   2 * PAGE,
				   1,
				   0,
				   0,
				   {0}},
			.area = {.addr = (uint64_t)(uintptr_t)memory, .len = ZC_AREA_SIZE},
			.reg = {.if_idx = 1, .rq_entries = ZC_ENTRIES},
		};

		request.reg.area_ptr = (uint64_t)(uintptr_t)&request.area;
		request.reg.region_ptr = (uint64_t)(uintptr_t)&request.region;
		spoil[i](&request);
		printf("%ld\n", syscall(__NR_io_uring_register, ring.fd, REGISTER_ZCRX_IFQ,
					&request.reg, 1) ?
					-(long)errno :
					0);
	}
	return 0;
}
