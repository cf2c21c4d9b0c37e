// Many short jobs, with pauses in which threads fall asleep: every unit is done once, and at once;
// also where several threads have one pool.
// `make sanitize` compiles this and the pool for ThreadSanitizer, and runs it.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../src/thread_pool.h"

namespace {

void stress(siman::ThreadPool& pool, int jobs) {
  std::vector<int> done(1000);
  for (int job = 1; job <= jobs; ++job) {
    const std::int64_t units = 1 + job * 7 % 1000;
    pool.run(units, 1 + job % 5, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) done[i] += job;
    });
    for (std::int64_t i = 0; i < units; ++i) {
      if (done[i] != job) {
        std::printf("job %d: unit %d was not done once\n", job, int(i));
        std::exit(1);
      }
      done[i] = 0;
    }
    if (job % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

int main() {
  for (const int threads : {2, 3, 8}) {
    const auto pool = siman::ThreadPool::make(threads);
    stress(*pool, 20000);
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i) callers.emplace_back([&] { stress(*pool, 5000); });
    for (std::thread& caller : callers) caller.join();
  }
  std::printf("105000 jobs: each unit done once, no data race\n");
}
