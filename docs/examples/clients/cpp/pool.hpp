// SPDX-License-Identifier: MIT
//
// A buffer pool on a zero-copy receive queue. What a completion gives becomes a Buffer,
// which may go to any thread, and goes back when it is destroyed.
#pragma once

#include <zcrx_emu_uapi.h>  // a program has <linux/io_uring.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace zcrx {

// With -DMISTAKE=… the pool makes one of these, all of which were seen in programs.
enum class Mistake {
  none,
  drops_when_full,        // "there is nothing that one could do"
  move_keeps,             // the handle that was moved from returns its buffer, too
  keeps_below_threshold,  // what is left when traffic stops is never returned
  no_lock,                // "the ring has one producer": and threads that return into it
};
#ifndef MISTAKE
#define MISTAKE none
#endif
inline constexpr Mistake mistake = Mistake::MISTAKE;

class Pool;

// Bytes of the area, the holder's until this is destroyed. Must not outlive its pool.
class Buffer {
 public:
  Buffer(Pool* pool, std::uint64_t off, std::uint32_t size)
      : pool_(pool), off_(off), size_(size) {}
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { reset(); }

  const std::uint8_t* data() const;
  std::uint32_t size() const { return size_; }
  // Return it now.
  void reset() noexcept;

 private:
  Pool* pool_;  // null: nothing is held
  std::uint64_t off_;
  std::uint32_t size_;
};

// Memory of whole pages.
class Pages {
 public:
  explicit Pages(std::size_t size);
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages();
  std::uint8_t* at(std::size_t offset) const { return bytes_ + offset; }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  std::uint8_t* bytes_;
};

class Pool {
 public:
  static constexpr std::size_t page = 4096;
  // io_uring_register_ifq(), or what stands in for it: 0 or -errno.
  using Register = std::function<int(io_uring_zcrx_ifq_reg&)>;

  struct Options {
    std::size_t buffers = 256;
    std::uint32_t entries = 128;         // of the refill ring
    std::uint32_t flush_threshold = 16;  // returns that are published together
  };

  // Throws std::system_error if the kernel refuses.
  Pool(const Options& options, const Register& register_ifq);
  // Every Buffer must be gone.
  ~Pool() = default;

  // Of a completion that has bytes.
  Buffer take(std::uint64_t off, std::uint32_t size) { return {this, off, size}; }
  // Publish all that waits, as far as there is room; how much still waits. Any thread.
  std::size_t flush();
  std::uint32_t id() const { return id_; }

 private:
  friend class Buffer;

  void give_back(std::uint64_t off, std::uint32_t size);
  void publish();
  std::unique_lock<std::mutex> lock();

  const Options options_;
  Pages area_, region_;
  std::uint32_t id_ = 0;
  std::uint32_t entries_ = 0;
  const std::uint32_t* head_ = nullptr;  // the kernel's
  std::uint32_t* tail_ = nullptr;        // ours
  io_uring_zcrx_rqe* rqes_ = nullptr;

  std::mutex mutex_;  // held for all below, and for the tail and the entries
  std::uint32_t my_tail_ = 0;
  std::vector<io_uring_zcrx_rqe> waiting_;  // below the threshold, or for room in the ring
};

}  // namespace zcrx
