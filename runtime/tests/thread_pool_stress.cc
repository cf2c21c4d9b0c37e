// Many short jobs, with pauses in which threads fall asleep: every unit is done once, and at once.
// `make sanitize` compiles this and the pool for ThreadSanitizer, and runs it.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "../src/thread_pool.h"

int main() {
  for (const int threads : {2, 3, 8}) {
    siman::ThreadPool pool(threads);
    std::vector<int> done(1000);
    for (int job = 1; job <= 20000; ++job) {
      const std::int64_t units = 1 + job * 7 % 1000;
      pool.run(units, 1 + job % 5, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) done[i] += job;
      });
      for (std::int64_t i = 0; i < units; ++i) {
        if (done[i] != job) {
          std::printf("%d threads, job %d: unit %d was not done once\n", threads, job, int(i));
          return 1;
        }
        done[i] = 0;
      }
      if (job % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  std::printf("60000 jobs: each unit done once, no data race\n");
}
