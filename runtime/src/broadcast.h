// Two tensors of the same rank of which one has, along some axes, one value that all of the other meet.
#ifndef SIMAN_BROADCAST_H_
#define SIMAN_BROADCAST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ops.h"

namespace siman {

class Broadcast {
 public:
  Broadcast() = default;
  // Throws Error, naming the op, if they do not fit each other.
  Broadcast(const std::string& op, const Dims& one, const Dims& other);

  const Dims& dims() const { return dims_; }
  // Along the last axis of the result, and how many of those there are.
  std::int64_t length() const { return dims_.back(); }
  std::int64_t rows() const { return rows_; }
  // Whether one value meets all of a row.
  bool repeats_one() const { return repeats_one_; }
  bool repeats_other() const { return repeats_other_; }

  struct Place {
    std::int64_t one = 0;
    std::int64_t other = 0;
  };
  // Where the values lie that a row of the result is made of.
  Place at(std::int64_t row) const;

 private:
  Dims dims_;
  std::vector<Place> steps_;  // by axis, from one position to the next
  std::int64_t rows_ = 0;
  bool repeats_one_ = false;
  bool repeats_other_ = false;
};

}  // namespace siman

#endif  // SIMAN_BROADCAST_H_
