/* SPDX-License-Identifier: MIT */
/* Waits for a completion that never comes, and says how that ends. */
#include "ring.h"

int main(void)
{
	struct ring ring;

	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	puts("waits");
	fflush(stdout);
	puts(strerror(-ring_enter(&ring, 1)));
	return 0;
}
