#include "broadcast.h"

#include <algorithm>

#include "error.h"

namespace siman {

Broadcast::Broadcast(const std::string& op, const Dims& one, const Dims& other)
    : dims_(one), steps_(one.size()) {
  Place step = {1, 1};
  const std::size_t rank = one.size();
  for (std::size_t axis = rank; axis-- > 0;) {
    if (other.size() != rank || (one[axis] != other[axis] && one[axis] != 1 && other[axis] != 1)) {
      check_alike(op, one, other);
    }
    dims_[axis] = std::max(one[axis], other[axis]);
    steps_[axis] = {one[axis] == 1 ? 0 : step.one, other[axis] == 1 ? 0 : step.other};
    step = {step.one * one[axis], step.other * other[axis]};
  }
  rows_ = elements(op, dims_) / length();
  repeats_one_ = one.back() != dims_.back();
  repeats_other_ = other.back() != dims_.back();
}

Broadcast::Place Broadcast::at(std::int64_t row) const {
  Place place;
  for (std::size_t axis = dims_.size() - 1; axis-- > 0; row /= dims_[axis]) {
    const std::int64_t position = row % dims_[axis];
    place.one += position * steps_[axis].one;
    place.other += position * steps_[axis].other;
  }
  return place;
}

}  // namespace siman
