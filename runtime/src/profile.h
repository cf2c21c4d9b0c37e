// Times of ops, of all interpreters in this process.
#ifndef SIMAN_PROFILE_H_
#define SIMAN_PROFILE_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace siman {

class Profile {
 public:
  static Profile& instance();

  bool is_on() const { return on_; }
  void start(bool on);  // forgets all times
  void add(const std::string& key, std::int64_t nanoseconds);
  std::string text();  // a line of key, tab and nanoseconds for each key, in order of appearance

 private:
  std::mutex mutex_;
  std::atomic<bool> on_{false};  // read without the lock
  std::vector<std::string> order_;
  std::map<std::string, std::int64_t> nanoseconds_;
};

}  // namespace siman

#endif  // SIMAN_PROFILE_H_
