/* SPDX-License-Identifier: MIT */
/* The Toeplitz hash against the vectors of Microsoft's RSS verification suite. */
#include <arpa/inet.h>

#include "check.h"
#include "actors/rss.h"

struct vector {
	const char *source, *destination;
	uint16_t source_port, destination_port;
	uint32_t hash; /* of addresses and ports */
	uint32_t addresses_only;
};

static const struct vector ipv4[] = {
	{"66.9.149.187", "161.142.100.80", 2794, 1766, 0x51ccc178, 0x323e8fc2},
	{"199.92.111.2", "65.69.140.83", 14230, 4739, 0xc626b0ea, 0xd718262a},
	{"24.19.198.95", "12.22.207.184", 12898, 38024, 0x5c2b394a, 0xd2d0a5de},
	{"38.27.205.30", "209.142.163.6", 48228, 2217, 0xafc7327f, 0x82989176},
	{"153.39.163.191", "202.188.127.2", 44251, 1303, 0x10e828a2, 0x5d1809c5},
};

static const struct vector ipv6[] = {
	{"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x40207d3d, 0x2cc18cd5},
	{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde51bbf, 0x0f0c461c},
	{"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024,
	 0x02d1feef, 0x4b61e985},
};

static void check_vectors(const struct vector *vectors, size_t count, int family, uint32_t size)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t source_port = htons(vectors[i].source_port);
		uint16_t destination_port = htons(vectors[i].destination_port);
		uint8_t input[36];

		REQUIRE(inet_pton(family, vectors[i].source, input) == 1);
		REQUIRE(inet_pton(family, vectors[i].destination, input + size) == 1);
		memcpy(input + 2 * size, &source_port, 2);
		memcpy(input + 2 * size + 2, &destination_port, 2);
		CHECK_EQ(zcrx_rss_hash(input, 2 * size + 4), vectors[i].hash);
		CHECK_EQ(zcrx_rss_hash(input, 2 * size), vectors[i].addresses_only);
	}
}

static void ipv4_flows_hash_as_published(void)
{
	check_vectors(ipv4, COUNT_OF(ipv4), AF_INET, 4);
}

static void ipv6_flows_hash_as_published(void)
{
	check_vectors(ipv6, COUNT_OF(ipv6), AF_INET6, 16);
}

static void bytes_beyond_the_key_are_not_looked_at(void)
{
	uint8_t input[64];
	uint32_t hash;

	memset(input, 0xa5, sizeof(input));
	hash = zcrx_rss_hash(input, 36);
	CHECK_EQ(zcrx_rss_hash(input, 37), hash);
	CHECK_EQ(zcrx_rss_hash(input, sizeof(input)), hash);
	CHECK(zcrx_rss_hash(input, 35) != hash);
	CHECK_EQ(zcrx_rss_hash(input, 0), 0);
}

CHECK_MAIN(CASE(ipv4_flows_hash_as_published), CASE(ipv6_flows_hash_as_published),
	   CASE(bytes_beyond_the_key_are_not_looked_at))
