// Threads that share out numbered units of work. They spin for a moment between two calls, since
// a network's ops follow each other closely, and then sleep. The caller never waits for one that
// has not begun: what a late thread would have done, the others do.
#ifndef SIMAN_THREAD_POOL_H_
#define SIMAN_THREAD_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace siman {

class ThreadPool {
 public:
  using Work = std::function<void(std::int64_t begin, std::int64_t end)>;

  explicit ThreadPool(int threads);  // the caller counts as one
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls `work`, which must not throw, for ranges that make up 0 to `units`; returns when all is
  // done. Every range but the last is a multiple of `grain`.
  void run(std::int64_t units, std::int64_t grain, const Work& work);

 private:
  // What `job_` is made of: the job's number, whether it may be joined, and how many workers have.
  static constexpr std::uint64_t kOpen = 1u << 16;
  static constexpr std::uint64_t kNumber = kOpen << 1;

  void serve();
  void take_ranges();
  void wake();
  bool is_new(std::uint64_t seen) const;
  bool join(std::uint64_t& seen);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> job_{0};
  std::atomic<std::int64_t> next_{0};
  std::int64_t units_ = 0;
  std::int64_t grain_ = 1;
  const Work* work_ = nullptr;
};

}  // namespace siman

#endif  // SIMAN_THREAD_POOL_H_
