/* SPDX-License-Identifier: MIT */
/* A child that sends bytes over loopback, each at its place a number that tells the place. */
#ifndef TEST_SENDER_H
#define TEST_SENDER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "ring.h"

static inline uint64_t word_at(uint64_t place)
{
	return place * 0x9e3779b97f4a7c15U;
}

static inline uint8_t byte_at(uint64_t place)
{
	return (uint8_t)(word_at(place / 8) >> place % 8 * 8);
}

/* Up to the end, or until nobody is there any more. */
static inline void send_all(uint16_t port, uint64_t bytes, bool blind)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port};
	static uint64_t words[8192];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	uint64_t sent = 0;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	while (sent < bytes) {
		uint64_t first = sent / 8, size = bytes - sent / 8 * 8;
		ssize_t count;

		for (uint64_t i = 0; i < sizeof(words) / 8 && !blind; i++)
			words[i] = word_at(first + i);
		if (size > sizeof(words))
			size = sizeof(words);
		count = send(fd, (uint8_t *)words + sent % 8, size - sent % 8, MSG_NOSIGNAL);
		if (count <= 0)
			break;
		sent += (uint64_t)count;
	}
	close(fd);
}

/* A listening socket, and a child that will connect to it. */
static inline int start_sender(uint64_t bytes, bool blind, pid_t *child)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(fd, 8) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
	*child = fork();
	CHECK(*child >= 0);
	if (*child == 0) {
		close(fd);
		send_all(address.sin_port, bytes, blind);
		_exit(0);
	}
	return fd;
}

#endif /* TEST_SENDER_H */
