// SPDX-License-Identifier: MIT
//
// The pool's test with libzcrx_emu as the kernel, which is a thread: one thread reads
// completions, others read what they are handed and let it go, one is the network.
//
//	c++ -std=c++17 emu_test.cpp pool.cpp $(zcrx-emu config --cflags --libs) -pthread
//	./a.out [BYTES [LEVEL [SEED]]]
#include <zcrx_emu.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <system_error>
#include <thread>

#include "pool.hpp"

namespace {

constexpr std::uint32_t flow_count = 4, worker_count = 3, cq_entries = 16;
constexpr unsigned patience = 20000;  // attempts without a byte, until the NIC has starved

// What a connection carries at a position: each byte tells where it belongs.
std::uint8_t byte_at(std::uint32_t flow, std::uint64_t position) {
  return static_cast<std::uint8_t>(position * 31 + (position >> 8) + flow * 97);
}

struct Fragment {
  zcrx::Buffer buffer;
  std::uint32_t flow;
  std::uint64_t position;

  bool is_intact() const {
    for (std::uint32_t i = 0; i < buffer.size(); i++)
      if (buffer.data()[i] != byte_at(flow, position + i)) return false;
    return true;
  }
};

// From the thread of the ring to the workers.
class Mailbox {
 public:
  void put(std::optional<Fragment> fragment) {
    {
      const std::lock_guard guard(mutex_);
      fragments_.push_back(std::move(fragment));
    }
    is_filled_.notify_one();
  }
  // Nothing: there will be no more.
  std::optional<Fragment> take() {
    std::unique_lock guard(mutex_);
    is_filled_.wait(guard, [this] { return !fragments_.empty(); });
    auto fragment = std::move(fragments_.front());
    fragments_.pop_front();
    return fragment;
  }

 private:
  std::mutex mutex_;
  std::condition_variable is_filled_;
  std::deque<std::optional<Fragment>> fragments_;
};

struct CompletionQueue {
  std::uint32_t head = 0, tail = 0;
  std::array<zcrx_emu_cqe, cq_entries> cqes{};

  std::optional<zcrx_emu_cqe> next() {
    if (head == __atomic_load_n(&tail, __ATOMIC_ACQUIRE)) return {};
    const auto cqe = cqes[head % cq_entries];
    __atomic_store_n(&head, head + 1, __ATOMIC_RELEASE);
    return cqe;
  }
};

class Test {
 public:
  Test(const char* level, std::uint64_t seed) : rng_(seed) {
    zcrx_emu_options options{};
    options.size = sizeof(options);
    options.kernel = level;
    options.seed = seed;
    options.on_report = say;
    zcrx_emu* ring = nullptr;
    if (const int error = zcrx_emu_create(&options, &ring))
      throw std::system_error(-error, std::generic_category(), "level");
    ring_.reset(ring);
    const zcrx_emu_cq cq{&cq_.head, &cq_.tail, cq_.cqes.data(), cq_entries, nullptr};
    zcrx_emu_set_cq(ring, &cq);
    zcrx::Pool::Options sizes;
    sizes.buffers = 64;
    sizes.entries = 8;  // fewer than are out: it is full now and then
    sizes.flush_threshold = 4;
    pool_.emplace(sizes, [ring](auto& reg) { return zcrx_emu_register_ifq(ring, &reg); });
  }

  // How much was found.
  int play(std::uint64_t bytes) {
    for (std::uint32_t flow = 0; flow < flow_count; flow++) arm(flow);
    zcrx_emu_start(ring_.get());
    std::vector<std::thread> workers;
    for (std::uint32_t i = 0; i < worker_count; i++) workers.emplace_back([this] { work(); });
    std::thread reader([this] { read_completions(); });
    send(bytes);
    for (std::uint32_t flow = 0; flow < flow_count; flow++) zcrx_emu_end(ring_.get(), flow);
    reader.join();
    for (std::uint32_t i = 0; i < worker_count; i++) mailbox_.put({});
    for (auto& worker : workers) worker.join();
    zcrx_emu_stop(ring_.get());
    return finish() + static_cast<int>(corrupt_);
  }

  std::uint64_t received() const { return received_bytes_; }

 private:
  static void say(void*, const zcrx_emu_report* report) {
    std::printf("%s: %s\n", report->name, report->text);
  }

  void arm(std::uint32_t flow) {
    zcrx_emu_recv recv{};
    recv.zcrx_id = pool_->id();
    recv.flow = flow;
    recv.user_data = flow;
    zcrx_emu_arm(ring_.get(), &recv);
  }

  std::uint32_t below(std::uint32_t bound) {
    return static_cast<std::uint32_t>(rng_() % bound);
  }

  // The network: what finds no buffer is sent again.
  void send(std::uint64_t bytes) {
    std::array<std::uint64_t, flow_count> sent{};
    std::vector<std::uint8_t> payload;
    unsigned in_vain = 0;
    while (bytes && in_vain < patience) {
      const std::uint32_t flow = below(flow_count);
      payload.resize(std::min<std::uint64_t>(bytes, 1 + below(6000)));
      for (std::size_t i = 0; i < payload.size(); i++)
        payload[i] = byte_at(flow, sent[flow] + i);
      zcrx_emu_shape shape{};
      shape.fragment_max = 500 + below(3000);
      shape.per_buffer = 1 + below(4);
      const auto taken = static_cast<std::uint64_t>(zcrx_emu_deliver(
          ring_.get(), pool_->id(), flow, payload.data(), payload.size(), &shape));
      sent[flow] += taken;
      bytes -= taken;
      in_vain = taken ? 0 : in_vain + 1;
      if (!taken) pool_->flush(), std::this_thread::yield();
    }
  }

  void read_completions() {
    std::array<std::uint64_t, flow_count> received{};
    for (std::uint32_t open = flow_count; open;) {
      const auto cqe = cq_.next();
      if (!cqe) {
        std::this_thread::yield();
        continue;
      }
      const auto flow = static_cast<std::uint32_t>(cqe->user_data);
      if (cqe->res > 0) {
        const auto size = static_cast<std::uint32_t>(cqe->res);
        mailbox_.put(Fragment{pool_->take(cqe->off, size), flow, received[flow]});
        received[flow] += size;
        received_bytes_ += size;
      } else if (cqe->res == -ENOSPC) {
        arm(flow);
      } else {
        open--;
      }
    }
  }

  void work() {
    while (const auto fragment = mailbox_.take()) {
      if (fragment->is_intact()) continue;
      if (!__atomic_fetch_add(&corrupt_, 1, __ATOMIC_RELAXED))
        std::printf("corrupt: flow %u from byte %" PRIu64 " on\n", fragment->flow,
                    fragment->position);
    }
  }

  int finish() {
    for (unsigned i = 0; i < patience && pool_->flush(); i++)
      zcrx_emu_drain(ring_.get(), pool_->id());
    return zcrx_emu_finish(ring_.get());
  }

  struct Destroy {
    void operator()(zcrx_emu* ring) const { zcrx_emu_destroy(ring); }
  };

  std::mt19937_64 rng_;
  CompletionQueue cq_;
  std::optional<zcrx::Pool> pool_;
  std::unique_ptr<zcrx_emu, Destroy> ring_;  // gone before the memory that it knows
  Mailbox mailbox_;
  std::uint64_t received_bytes_ = 0;
  std::uint32_t corrupt_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t bytes = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000000;
  const char* level = argc > 2 ? argv[2] : "seed";
  const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  try {
    Test test(level, seed);
    const int found = test.play(bytes);
    std::printf("%" PRIu64 " of %" PRIu64 " bytes, %d found\n", test.received(), bytes, found);
    return found != 0;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
