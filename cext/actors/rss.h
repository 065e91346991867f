/* SPDX-License-Identifier: MIT */
#ifndef ZCRX_RSS_H
#define ZCRX_RSS_H

#include <stdint.h>

/*
 * Receive-side scaling: the Toeplitz hash that spreads flows over queues,
 * computed over source address, destination address, source port, destination
 * port in network byte order, with the key that most drivers ship (the one in
 * Microsoft's RSS verification suite). At most 36 bytes are looked at.
 */
uint32_t zcrx_rss_hash(const uint8_t *input, uint32_t size);

#endif /* ZCRX_RSS_H */
