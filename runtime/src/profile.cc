#include "profile.h"

namespace siman {

Profile& Profile::instance() {
  static Profile profile;
  return profile;
}

void Profile::start(bool on) {
  const std::lock_guard<std::mutex> lock(mutex_);
  on_ = on;
  order_.clear();
  nanoseconds_.clear();
}

void Profile::add(const std::string& key, std::int64_t nanoseconds) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (nanoseconds_.count(key) == 0) order_.push_back(key);
  nanoseconds_[key] += nanoseconds;
}

std::string Profile::text() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string lines;
  for (const std::string& key : order_) {
    lines += key + "\t" + std::to_string(nanoseconds_[key]) + "\n";
  }
  return lines;
}

}  // namespace siman
