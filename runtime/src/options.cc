#include "options.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "error.h"

namespace siman {
namespace {

// FlexBuffers: a value's type byte holds its type above and log2 of its width in the low two bits.
enum : int { kInt = 1, kUInt = 2, kMap = 9, kBool = 26 };
constexpr std::uint64_t kMostOptions = 64;

class Reader {
 public:
  Reader(const std::string& op, const void* bytes, std::size_t size)
      : op_(op), bytes_(static_cast<const std::uint8_t*>(bytes)), size_(size) {}

  std::uint64_t unsigned_at(std::uint64_t at, unsigned width) const {
    if (width > 8 || at > size_ || size_ - at < width) damaged();
    std::uint64_t value = 0;
    for (unsigned i = 0; i < width; ++i) value |= std::uint64_t{bytes_[at + i]} << (8 * i);
    return value;
  }

  std::int64_t signed_at(std::uint64_t at, unsigned width) const {
    std::uint64_t value = unsigned_at(at, width);
    if (width < 8 && (value >> (8 * width - 1)) != 0) value |= ~std::uint64_t{0} << (8 * width);
    std::int64_t result;
    std::memcpy(&result, &value, sizeof result);
    return result;
  }

  // Where the offset that is stored at `at` points: always backwards.
  std::uint64_t target(std::uint64_t at, unsigned width) const {
    const std::uint64_t offset = unsigned_at(at, width);
    if (offset > at) damaged();
    return at - offset;
  }

  std::uint64_t before(std::uint64_t at, std::uint64_t distance) const {
    if (distance > at) damaged();
    return at - distance;
  }

  std::string text_at(std::uint64_t at) const {
    if (at >= size_) damaged();
    const auto* end = std::find(bytes_ + at, bytes_ + size_, std::uint8_t{0});
    if (end == bytes_ + size_) damaged();
    return std::string(bytes_ + at, end);
  }

  unsigned width_at(std::uint64_t at, unsigned width) const {
    const std::uint64_t value = unsigned_at(at, width);
    if (value != 1 && value != 2 && value != 4 && value != 8) damaged();
    return static_cast<unsigned>(value);
  }

  [[noreturn]] void damaged() const {
    fail(op_, ": its options are damaged (", size_,
         " bytes that are no FlexBuffer map of integers). Convert the model again.");
  }

 private:
  const std::string& op_;
  const std::uint8_t* bytes_;
  std::uint64_t size_;
};

}  // namespace

Options::Options(std::string op, const void* bytes, std::size_t size) : op_(std::move(op)) {
  const Reader reader(op_, bytes, bytes == nullptr ? 0 : size);
  if (bytes == nullptr || size < 3) reader.damaged();
  const unsigned root_width = reader.width_at(size - 1, 1);
  const std::uint64_t root_type = reader.unsigned_at(size - 2, 1);
  if (root_type >> 2 != kMap) reader.damaged();
  const unsigned width = 1u << (root_type & 3);
  const std::uint64_t values = reader.target(reader.before(size - 2, root_width), root_width);
  const std::uint64_t count = reader.unsigned_at(reader.before(values, width), width);
  if (count > kMostOptions) reader.damaged();
  const unsigned key_width = reader.width_at(reader.before(values, 2 * width), width);
  const std::uint64_t keys = reader.target(reader.before(values, 3 * width), width);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string key = reader.text_at(reader.target(keys + i * key_width, key_width));
    const std::uint64_t type = reader.unsigned_at(values + count * width + i, 1) >> 2;
    const std::uint64_t at = values + i * width;
    if (type == kInt) {
      values_[key] = reader.signed_at(at, width);
    } else if (type == kUInt || type == kBool) {
      values_[key] = static_cast<std::int64_t>(
          std::min(reader.unsigned_at(at, width), std::uint64_t{INT64_MAX}));
    } else {
      fail(op_, ": option '", key, "' is of FlexBuffer type ", type,
           "; integers are known. This model is of an old Larq Compute Engine: convert it again with "
           "larq-compute-engine 0.16.0.");
    }
  }
}

int Options::get(const char* name, int low, int high) const {
  const auto found = values_.find(name);
  if (found == values_.end()) {
    fail(op_, ": option '", name, "' is absent. Convert the model again with "
         "larq-compute-engine 0.16.0.");
  }
  if (found->second < low || found->second > high) {
    fail(op_, ": option ", name, "=", found->second, "; allowed is ", low, " to ", high,
         ". The file is damaged, or of another version of Larq Compute Engine: convert the model "
         "again with larq-compute-engine 0.16.0.");
  }
  return static_cast<int>(found->second);
}

void Options::allow_only(std::initializer_list<const char*> known) const {
  for (const auto& [name, value] : values_) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      fail(op_, ": option '", name, "'=", value,
           " is unknown. This model is newer than this siman-runtime: update it.");
    }
  }
}

}  // namespace siman
