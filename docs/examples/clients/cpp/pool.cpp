// SPDX-License-Identifier: MIT
#include "pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace zcrx {

// ---- memory -------------------------------------------------------------------------

static std::size_t whole_pages(std::size_t size) {
  return (size + Pool::page - 1) / Pool::page * Pool::page;
}

Pages::Pages(std::size_t size) : size_(whole_pages(size)) {
  void* memory =
      mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  bytes_ = static_cast<std::uint8_t*>(memory);
}

Pages::~Pages() { munmap(bytes_, size_); }

// ---- handles ------------------------------------------------------------------------

Buffer::Buffer(Buffer&& other) noexcept
    : pool_(other.pool_), off_(other.off_), size_(other.size_) {
  if (mistake != Mistake::move_keeps) other.pool_ = nullptr;
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(off_, other.off_);
  std::swap(size_, other.size_);
  return *this;
}

const std::uint8_t* Buffer::data() const {
  return pool_->area_.at(off_ & ~IORING_ZCRX_AREA_MASK);
}

void Buffer::reset() noexcept {
  if (pool_) std::exchange(pool_, nullptr)->give_back(off_, size_);
}

// ---- the pool -----------------------------------------------------------------------

Pool::Pool(const Options& options, const Register& register_ifq)
    : options_(options),
      area_(options.buffers * page),
      region_(page + 2 * options.entries * sizeof(io_uring_zcrx_rqe)) {
  io_uring_zcrx_area_reg area{};
  area.addr = reinterpret_cast<std::uintptr_t>(area_.at(0));
  area.len = area_.size();
  io_uring_region_desc region{};
  region.user_addr = reinterpret_cast<std::uintptr_t>(region_.at(0));
  region.size = region_.size();
  region.flags = IORING_MEM_REGION_TYPE_USER;
  io_uring_zcrx_ifq_reg reg{};
  reg.if_idx = 2;
  reg.rq_entries = options.entries;
  reg.area_ptr = reinterpret_cast<std::uintptr_t>(&area);
  reg.region_ptr = reinterpret_cast<std::uintptr_t>(&region);
  if (const int error = register_ifq(reg))
    throw std::system_error(-error, std::generic_category(), "register_ifq");

  id_ = reg.zcrx_id;
  entries_ = reg.rq_entries;  // the kernel makes a power of two of it
  head_ = reinterpret_cast<std::uint32_t*>(region_.at(reg.offsets.head));
  tail_ = reinterpret_cast<std::uint32_t*>(region_.at(reg.offsets.tail));
  rqes_ = reinterpret_cast<io_uring_zcrx_rqe*>(region_.at(reg.offsets.rqes));
  // So that the end of a handle asks for no memory, as a rule.
  waiting_.reserve(area_.size() / 64);
}

std::unique_lock<std::mutex> Pool::lock() {
  if (mistake == Mistake::no_lock) return std::unique_lock(mutex_, std::defer_lock);
  return std::unique_lock(mutex_);
}

void Pool::give_back(std::uint64_t off, std::uint32_t size) {
  const auto guard = lock();
  waiting_.push_back({off, size, 0});
  if (waiting_.size() >= options_.flush_threshold) publish();
}

std::size_t Pool::flush() {
  const auto guard = lock();
  if (mistake != Mistake::keeps_below_threshold || waiting_.size() >= options_.flush_threshold)
    publish();
  return waiting_.size();
}

// Ordering: the acquire pairs with the kernel's release of the head, after which it does
// not read the entries before it any more; the release with its acquire of the tail, so
// that it finds the entries written.
void Pool::publish() {
  const std::uint32_t head = __atomic_load_n(head_, __ATOMIC_ACQUIRE);
  const std::size_t room = entries_ - (my_tail_ - head);
  const std::size_t count = std::min(room, waiting_.size());
  for (std::size_t i = 0; i < count; i++) rqes_[my_tail_++ & (entries_ - 1)] = waiting_[i];
  __atomic_store_n(tail_, my_tail_, __ATOMIC_RELEASE);
  const bool drops = mistake == Mistake::drops_when_full;
  waiting_.erase(waiting_.begin(), drops ? waiting_.end() : waiting_.begin() + count);
}

}  // namespace zcrx
