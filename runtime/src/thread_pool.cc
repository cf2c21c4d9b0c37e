#include "thread_pool.h"

#include <algorithm>

namespace siman {
namespace {

constexpr int kSpins = 4000;         // about 50 microseconds
constexpr int kYields = 100;         // then leaving the core to the runtime's own threads
constexpr std::int64_t kShares = 4;  // ranges for each thread, so that a late one evens out

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back(&ThreadPool::serve, this);
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    ++call_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::int64_t units, std::int64_t grain, const Work& work) {
  const std::int64_t threads = static_cast<std::int64_t>(workers_.size()) + 1;
  if (threads == 1 || units <= grain) {
    if (units > 0) work(0, units);
    return;
  }
  const std::int64_t share = std::max<std::int64_t>(units / (threads * kShares), 1);
  grain_ = (share + grain - 1) / grain * grain;
  units_ = units;
  work_ = &work;
  next_ = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    busy_ = static_cast<int>(workers_.size());
    ++call_;
  }
  wake_.notify_all();
  take_ranges();
  for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::take_ranges() {
  for (;;) {
    const std::int64_t begin = next_.fetch_add(grain_);
    if (begin >= units_) return;
    (*work_)(begin, std::min(begin + grain_, units_));
  }
}

void ThreadPool::serve() {
  std::uint64_t seen = 0;
  for (;;) {
    for (int spins = 0; spins < kSpins && call_.load(std::memory_order_acquire) == seen; ++spins) {
      pause();
    }
    for (int i = 0; i < kYields && call_.load(std::memory_order_acquire) == seen; ++i) {
      std::this_thread::yield();
    }
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return call_.load() != seen; });
      seen = call_.load();
    }
    if (stop_) return;
    take_ranges();
    busy_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

}  // namespace siman
