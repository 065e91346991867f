/* SPDX-License-Identifier: MIT */
/*
 * Files by numbers of the ring's own: tables, their changes, and what operations put there. It
 * runs as well without `exec`, on a kernel that has io_uring.
 */
#include "results.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

/* What headers of Linux 6.1 do not have. */
#define OP_FIXED_FD_INSTALL 54
#define CANCEL_OP (1U << 5)

static int32_t poll_slot(uint32_t slot, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_POLL_ADD, (int)slot, user_data);

	sqe->flags = IOSQE_FIXED_FILE;
	sqe->poll32_events = POLLOUT;
	return do_one(sqe);
}

static void test_table_is_made_and_taken_away(void)
{
	int pipe_ends[2], fds[4];
	struct io_uring_rsrc_register sparse = {.nr = 8, .flags = IORING_RSRC_REGISTER_SPARSE};

	CHECK(pipe(pipe_ends) == 0);
	CHECK(poll_slot(0, 1) == -EBADF);
	CHECK(ring_register(IORING_UNREGISTER_FILES, NULL, 0) == -ENXIO);
	CHECK(ring_register(IORING_REGISTER_FILES, NULL, 1) == -EFAULT);
	CHECK(ring_register(IORING_REGISTER_FILES, (void *)8, 1) == -EFAULT);
	CHECK(ring_register(IORING_REGISTER_FILES, fds, 0) == -EINVAL);
	CHECK(ring_register(IORING_REGISTER_FILES, fds, 2000000) == -EMFILE);
	memcpy(fds, (int[4]){pipe_ends[1], -1, 999, pipe_ends[0]}, sizeof(fds));
	CHECK(ring_register(IORING_REGISTER_FILES, fds, 4) == -EBADF);
	fds[2] = ring.fd;
	CHECK(ring_register(IORING_REGISTER_FILES, fds, 4) == -EBADF);
	fds[2] = -1;
	CHECK(ring_register(IORING_REGISTER_FILES, fds, 4) == 0);
	CHECK(ring_register(IORING_REGISTER_FILES, fds, 4) == -EBUSY);
	CHECK(poll_slot(0, 2) == POLLOUT);
	CHECK(poll_slot(1, 3) == -EBADF);
	CHECK(poll_slot(4, 4) == -EBADF);
	CHECK(poll_slot(UINT32_MAX, 5) == -EBADF);
	/* It stays open, whatever the program closes. */
	close(pipe_ends[1]);
	CHECK(poll_slot(0, 6) == POLLOUT);
	CHECK(ring_register(IORING_UNREGISTER_FILES, fds, 0) == -EINVAL);
	CHECK(ring_register(IORING_UNREGISTER_FILES, NULL, 0) == 0);
	CHECK(read(pipe_ends[0], fds, 1) == 0);
	close(pipe_ends[0]);

	CHECK(ring_register(IORING_REGISTER_FILES2, &sparse, 16) == -EINVAL);
	sparse.resv2 = 1;
	CHECK(ring_register(IORING_REGISTER_FILES2, &sparse, sizeof(sparse)) == -EINVAL);
	sparse.resv2 = 0;
	sparse.data = address_of(fds);
	CHECK(ring_register(IORING_REGISTER_FILES2, &sparse, sizeof(sparse)) == -EINVAL);
	sparse.data = 0;
	CHECK(ring_register(IORING_REGISTER_FILES2, &sparse, sizeof(sparse)) == 0);
	CHECK(poll_slot(0, 7) == -EBADF);
}

static void test_table_is_changed(void)
{
	int pipe_ends[2], fds[3];
	uint64_t tags[3] = {0, 77, 0};
	struct io_uring_files_update update = {.offset = 2, .fds = address_of(fds)};
	struct io_uring_rsrc_update2 tagged = {
		.offset = 1,
		.data = address_of(fds),
		.tags = address_of(tags),
		.nr = 2,
	};

	CHECK(pipe(pipe_ends) == 0);
	memcpy(fds, (int[3]){pipe_ends[1], 999, pipe_ends[1]}, sizeof(fds));
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 0) == -EINVAL);
	/* As many as went well. */
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 3) == 1);
	CHECK(poll_slot(2, 10) == POLLOUT);
	update.offset = 7;
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 3) == -EINVAL);
	update.offset = UINT32_MAX;
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 3) == -EOVERFLOW);
	update.offset = 2;
	update.resv = 1;
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 3) == -EINVAL);
	update.resv = 0;
	fds[0] = IORING_REGISTER_FILES_SKIP;
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 1) == 1);
	CHECK(poll_slot(2, 11) == POLLOUT);
	fds[0] = -1;
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 1) == 1);
	CHECK(poll_slot(2, 12) == -EBADF);
	/* Its tag tells when it was taken out. */
	fds[0] = fds[1] = pipe_ends[1];
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE2, &tagged, 8) == -EINVAL);
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE2, &tagged, sizeof(tagged)) == 2);
	update.offset = 1;
	fds[0] = fds[1] = -1;
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE, &update, 2) == 2);
	CHECK(result_of(77).res == 0);
	CHECK(ring_register(IORING_REGISTER_FILES_UPDATE2, &tagged, sizeof(tagged)) == 1);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static struct io_uring_sqe *files_update(uint64_t fds_at, uint32_t count, uint64_t offset,
					 uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_FILES_UPDATE, -1, user_data);

	sqe->addr = fds_at;
	sqe->len = count;
	sqe->off = offset;
	return sqe;
}

static void test_table_is_changed_by_an_operation(void)
{
	int pipe_ends[2], fds[2];
	struct io_uring_sqe *sqe;

	CHECK(pipe(pipe_ends) == 0);
	memcpy(fds, (int[2]){pipe_ends[1], pipe_ends[0]}, sizeof(fds));
	CHECK(do_one(files_update(address_of(fds), 2, 3, 20)) == 2);
	CHECK(poll_slot(3, 21) == POLLOUT);
	CHECK(do_one(files_update(address_of(fds), 0, 3, 22)) == -EINVAL);
	CHECK(do_one(files_update(address_of(fds), 2, 7, 23)) == -EINVAL);
	CHECK(do_one(files_update(8, 2, 3, 24)) == -EFAULT);
	CHECK(do_one(files_update(address_of(fds), 2, IORING_FILE_INDEX_ALLOC, 25)) == 2);
	CHECK(fds[0] == 5 && fds[1] == 6);
	CHECK(poll_slot((uint32_t)fds[0], 26) == POLLOUT);
	/* An operation may give the program what stands there. */
	sqe = ring_sqe(&ring, OP_FIXED_FD_INSTALL, 3, 27);
	CHECK(do_one(sqe) == -EBADF);
	sqe = ring_sqe(&ring, OP_FIXED_FD_INSTALL, 3, 28);
	sqe->flags = IOSQE_FIXED_FILE;
	fds[0] = do_one(sqe);
	CHECK(fds[0] >= 0 && fcntl(fds[0], F_GETFD) == FD_CLOEXEC);
	CHECK(write(fds[0], "x", 1) == 1 && read(pipe_ends[0], fds, 1) == 1);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	CHECK(ring_register(IORING_UNREGISTER_FILES, NULL, 0) == 0);
	CHECK(do_one(files_update(address_of(fds), 1, 0, 29)) == -ENXIO);
}

static struct io_uring_sqe *close_slot(uint32_t slot, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_CLOSE, 0, user_data);

	sqe->file_index = slot + 1;
	return sqe;
}

static struct io_uring_sqe *socket_at(uint32_t file_index, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_SOCKET, AF_INET, user_data);

	sqe->off = SOCK_STREAM;
	sqe->file_index = file_index;
	return sqe;
}

static void test_sockets_without_a_descriptor(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM, 0), client;
	struct io_uring_rsrc_register sparse = {.nr = 3, .flags = IORING_RSRC_REGISTER_SPARSE};
	struct io_uring_file_index_range range = {.off = 1, .len = 2};
	struct io_uring_sqe *sqe;
	char got[8] = {0};

	CHECK(do_one(socket_at(1, 30)) == -ENXIO);
	CHECK(ring_register(IORING_REGISTER_FILES2, &sparse, sizeof(sparse)) == 0);
	CHECK(ring_register(IORING_REGISTER_FILE_ALLOC_RANGE, &range, 1) == -EINVAL);
	CHECK(ring_register(IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0) == 0);
	range.len = 3;
	CHECK(ring_register(IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0) == -EINVAL);
	CHECK(do_one(socket_at(4, 31)) == -EINVAL);
	CHECK(do_one(socket_at(1, 32)) == 0);
	sqe = socket_at(1, 33);
	sqe->off |= SOCK_CLOEXEC;
	CHECK(do_one(sqe) == -EINVAL);
	CHECK(do_one(socket_at(IORING_FILE_INDEX_ALLOC, 34)) == 1);
	CHECK(do_one(socket_at(IORING_FILE_INDEX_ALLOC, 35)) == 2);
	CHECK(do_one(socket_at(IORING_FILE_INDEX_ALLOC, 36)) == -ENFILE);
	CHECK(do_one(close_slot(1, 37)) == 0);
	CHECK(do_one(close_slot(1, 38)) == -EBADF);
	CHECK(do_one(close_slot(9, 39)) == -EINVAL);
	sqe = close_slot(1, 40);
	sqe->fd = 5;
	CHECK(do_one(sqe) == -EINVAL);
	sqe = ring_sqe(&ring, IORING_OP_CLOSE, 5, 41);
	sqe->flags = IOSQE_FIXED_FILE;
	CHECK(do_one(sqe) == -EBADF);

	/* What is accepted goes there, too, and is used from there. */
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(server, (struct sockaddr *)&address, size) == 0 && listen(server, 8) == 0);
	CHECK(getsockname(server, (struct sockaddr *)&address, &size) == 0);
	sqe = ring_sqe(&ring, IORING_OP_ACCEPT, server, 42);
	sqe->ioprio = IORING_ACCEPT_MULTISHOT;
	sqe->file_index = 1;
	CHECK(do_one(sqe) == -EINVAL);
	sqe = ring_sqe(&ring, IORING_OP_ACCEPT, server, 43);
	sqe->ioprio = IORING_ACCEPT_MULTISHOT;
	sqe->file_index = IORING_FILE_INDEX_ALLOC;
	CHECK(ring_enter(&ring, 0) == 1);
	client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
	CHECK(result_of(43).res == 1);
	sqe = ring_sqe(&ring, IORING_OP_RECV, 1, 44);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->addr = address_of(got);
	sqe->len = sizeof(got);
	CHECK(ring_enter(&ring, 0) == 1);
	CHECK(send(client, "hello", 5, 0) == 5);
	CHECK(result_of(44).res == 5 && strcmp(got, "hello") == 0);
	/* Who closes it there ends the connection. */
	CHECK(do_one(close_slot(1, 45)) == 0);
	CHECK(recv(client, got, 1, 0) == 0);
	sqe = ring_sqe(&ring, IORING_OP_ASYNC_CANCEL, -1, 46);
	sqe->cancel_flags = CANCEL_OP;
	sqe->len = IORING_OP_ACCEPT;
	CHECK(do_one(sqe) == 0);
	CHECK(result_of(43).res == -ECANCELED);
	close(client);
	close(server);
}

/* A request that starts when nobody waits is the program's nevertheless. */
static void test_linked_request_starts_without_a_call(void)
{
	struct __kernel_timespec soon = {.tv_nsec = 10000000};
	int pipe_ends[2];
	struct io_uring_sqe *sqe;

	CHECK(pipe(pipe_ends) == 0);
	sqe = ring_sqe(&ring, IORING_OP_TIMEOUT, -1, 50);
	sqe->addr = address_of(&soon);
	sqe->len = 1;
	sqe->timeout_flags = IORING_TIMEOUT_ETIME_SUCCESS;
	sqe->flags = IOSQE_IO_LINK;
	sqe = ring_sqe(&ring, IORING_OP_POLL_ADD, pipe_ends[1], 51);
	sqe->poll32_events = POLLOUT;
	CHECK(ring_enter(&ring, 0) == 2);
	while (!ring_cqe(&ring))
		;
	CHECK(result_of(50).res == -ETIME);
	while (!ring_cqe(&ring))
		;
	CHECK(result_of(51).res == POLLOUT);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void test_file_goes_to_another_ring(void)
{
	struct ring other;
	struct io_uring_rsrc_register sparse = {.nr = 3, .flags = IORING_RSRC_REGISTER_SPARSE};
	struct io_uring_sqe *sqe;

	CHECK(ring_open(&other, 8, 0, 0) == 0);
	CHECK(syscall(__NR_io_uring_register, other.fd, IORING_REGISTER_FILES2, &sparse,
		      sizeof(sparse)) == 0);
	sqe = ring_sqe(&ring, IORING_OP_MSG_RING, other.fd, 60);
	sqe->addr = IORING_MSG_SEND_FD;
	sqe->addr3 = 0;
	sqe->file_index = 3;
	sqe->off = 61;
	CHECK(do_one(sqe) == 0);
	CHECK(ring_enter(&other, 1) == 0);
	CHECK(ring_cqe(&other)->user_data == 61 && ring_cqe(&other)->res == 0);
	ring_seen(&other);
	sqe = ring_sqe(&ring, IORING_OP_MSG_RING, other.fd, 62);
	sqe->addr = IORING_MSG_SEND_FD;
	sqe->addr3 = 1;
	CHECK(do_one(sqe) == -EBADF);
	sqe = ring_sqe(&ring, IORING_OP_MSG_RING, other.fd, 63);
	sqe->addr = 2;
	CHECK(do_one(sqe) == -EINVAL);
	CHECK(do_one(ring_sqe(&ring, IORING_OP_MSG_RING, STDOUT_FILENO, 64)) == -EBADFD);
	CHECK(do_one(ring_sqe(&ring, IORING_OP_MSG_RING, 999, 65)) == -EBADF);
	ring_close(&other);
}

int main(void)
{
	CHECK(ring_open(&ring, 16, 0, 0) == 0);
	test_table_is_made_and_taken_away();
	test_table_is_changed();
	test_table_is_changed_by_an_operation();
	test_sockets_without_a_descriptor();
	test_linked_request_starts_without_a_call();
	test_file_goes_to_another_ring();
	CHECK(!ring_cqe(&ring));
	ring_close(&ring);
	puts("all as it should be");
	return 0;
}
