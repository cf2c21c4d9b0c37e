#include "thread_pool.h"

#include <algorithm>
#include <exception>

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

// A forked child has a copy of the pool but no workers: to join them, or to destroy what they wait
// for, would last for ever. The copy's memory goes with the child.
std::shared_ptr<ThreadPool> ThreadPool::make(int threads) {
  return {new ThreadPool(threads), [](ThreadPool* pool) {
            if (pool->process_ == getpid()) delete pool;
          }};
}

// A system that is short of processes or memory refuses threads: those that did start share the work,
// and without any the caller does it all. To throw would destroy what those wait for, which never ends.
ThreadPool::ThreadPool(int threads) {
  try {
    while (static_cast<int>(workers_.size()) + 1 < threads) {
      workers_.emplace_back(&ThreadPool::serve, this);
    }
  } catch (const std::exception&) {  // std::system_error or std::bad_alloc
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  wake();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::int64_t units, std::int64_t grain, const Work& work) {
  const bool is_alone = workers_.empty() || units <= grain || process_ != getpid();
  if (is_alone || busy_.exchange(true)) {
    if (units > 0) work(0, units);
    return;
  }
  divide(units, grain, work);
  busy_ = false;
}

void ThreadPool::divide(std::int64_t units, std::int64_t grain, const Work& work) {
  const std::int64_t threads = static_cast<std::int64_t>(workers_.size()) + 1;
  const std::int64_t share = std::max<std::int64_t>(units / (threads * kShares), 1);
  grain_ = (share + grain - 1) / grain * grain;
  units_ = units;
  work_ = &work;
  next_ = 0;
  job_ = (job_ / kNumber + 1) * kNumber + kOpen;
  if (sleeping_.exchange(false)) wake();
  take_ranges();
  job_ -= kOpen;
  for (int spins = 0; job_ % kOpen != 0; ++spins) {
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

void ThreadPool::wake() {
  // Locked, so that no worker is between looking for work and falling asleep.
  { const std::lock_guard<std::mutex> lock(mutex_); }
  wake_.notify_all();
}

bool ThreadPool::is_new(std::uint64_t seen) const {
  const std::uint64_t job = job_.load();
  return job / kOpen % 2 != 0 && job / kNumber != seen;
}

bool ThreadPool::join(std::uint64_t& seen) {
  std::uint64_t job = job_.load();
  while (job / kOpen % 2 != 0 && job / kNumber != seen) {
    if (!job_.compare_exchange_weak(job, job + 1)) continue;
    seen = job / kNumber;
    return true;
  }
  return false;
}

void ThreadPool::serve() {
  std::uint64_t seen = 0;
  while (!stop_) {
    for (int spins = 0; spins < kSpins && !is_new(seen); ++spins) pause();
    for (int i = 0; i < kYields && !is_new(seen); ++i) std::this_thread::yield();
    if (join(seen)) {
      take_ranges();
      --job_;
      continue;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_ = true;
    if (!stop_ && !is_new(seen)) wake_.wait(lock);  // then it spins: more is to come
  }
}

}  // namespace siman
