/* SPDX-License-Identifier: MIT */
/*
 * The receiver's test as one writes it by hand: memory with head, tail and entries where
 * the author believes that they are, and a test that moves the head. Beside emu_test.c.
 *
 *	cc fake_test.c receiver.c -I… && ./a.out [CASES]
 */
#include "receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFERS 16U
#define ENTRIES 8U
#define ROUNDS 20U
#define LENGTH 1000U

static int fake_register(void *ring, struct io_uring_zcrx_ifq_reg *reg)
{
	(void)ring;
	reg->offsets.head = 0;
	reg->offsets.tail = 4;
	reg->offsets.rqes = 8;
	return 0;
}

#define CHECK(condition)                                                             \
	do {                                                                         \
		if (!(condition)) {                                                  \
			printf("line %d: %s does not hold\n", __LINE__, #condition); \
			exit(1);                                                     \
		}                                                                    \
	} while (0)

static void test_case(void)
{
	struct receiver receiver;

	CHECK(receiver_init(&receiver, BUFFERS, ENTRIES, fake_register, NULL) == 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t off = i % BUFFERS * RECEIVER_PAGE;
		const uint8_t *bytes = receiver_bytes(&receiver, off);

		memset(receiver.area + off, 'a' + (int)i, LENGTH);
		CHECK(bytes[LENGTH - 1] == 'a' + i);
		receiver_return(&receiver, off, LENGTH);
		CHECK(*receiver.tail == i + 1);
		CHECK(receiver.rqes[i & receiver.mask].off == off);
		*receiver.head += 1;
	}
	receiver_free(&receiver);
}

int main(int argc, char **argv)
{
	long cases = argc > 1 ? atol(argv[1]) : 1;

	for (long i = 0; i < cases; i++)
		test_case();
	printf("%ld cases, all passed\n", cases);
	return 0;
}
