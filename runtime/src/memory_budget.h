// Memory that the ops of a model may hold, so that a small file cannot ask for all there is.
#ifndef SIMAN_MEMORY_BUDGET_H_
#define SIMAN_MEMORY_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace siman {

// Of all partitions of one delegate.
struct MemoryBudget {
  static constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;

  std::atomic<std::int64_t> bytes{0};
};

class MemoryShare {
 public:
  explicit MemoryShare(std::shared_ptr<MemoryBudget> budget) : budget_(std::move(budget)) {}
  ~MemoryShare() { budget_->bytes -= held_; }
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  // Holds so many bytes in place of those before; returns what all shares then hold. Above the most,
  // it holds none.
  std::int64_t hold(std::int64_t bytes) {
    const std::int64_t all = budget_->bytes += bytes - held_;
    held_ = bytes;
    if (all > MemoryBudget::kMostBytes) {
      budget_->bytes -= held_;
      held_ = 0;
    }
    return all;
  }

 private:
  std::shared_ptr<MemoryBudget> budget_;
  std::int64_t held_ = 0;
};

}  // namespace siman

#endif  // SIMAN_MEMORY_BUDGET_H_
