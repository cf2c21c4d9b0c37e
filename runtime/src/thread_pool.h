// Threads that share out numbered units of work. They spin for a moment between two calls, since
// a network's ops follow each other closely, and then sleep. The caller never waits for one that
// has not begun: what a late thread would have done, the others do.
#ifndef SIMAN_THREAD_POOL_H_
#define SIMAN_THREAD_POOL_H_

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace siman {

class ThreadPool {
 public:
  using Work = std::function<void(std::int64_t begin, std::int64_t end)>;

  // For any number of interpreters; the caller counts as one. Where the system refuses a thread, it
  // goes on with those that it has.
  static std::shared_ptr<ThreadPool> make(int threads);
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls `work`, which must not throw, for ranges that make up 0 to `units`; returns when all is
  // done. Every range but the last is a multiple of `grain`. While another thread has the pool, or
  // in a forked child, which has no workers, the caller does all.
  void run(std::int64_t units, std::int64_t grain, const Work& work);

 private:
  // What `job_` is made of: the job's number, whether it may be joined, and how many workers have.
  static constexpr std::uint64_t kOpen = 1u << 16;
  static constexpr std::uint64_t kNumber = kOpen << 1;

  void divide(std::int64_t units, std::int64_t grain, const Work& work);
  void serve();
  void take_ranges();
  void wake();
  bool is_new(std::uint64_t seen) const;
  bool join(std::uint64_t& seen);

  const pid_t process_ = getpid();  // that the workers are of
  std::atomic<bool> busy_{false};
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
