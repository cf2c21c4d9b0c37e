// The options of a custom op: a FlexBuffer map from names to integers.
//
// Own code, about a hundred lines, because the FlexBuffers library is a C++ header that no package
// on PyPI ships, and a source install must need a compiler only. Every read is bounds-checked.
#ifndef SIMAN_OPTIONS_H_
#define SIMAN_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace siman {

class Options {
 public:
  // Throws Error if the bytes are no map of integers; `op` names the op in messages.
  Options(std::string op, const void* bytes, std::size_t size);

  // An option between `low` and `high`; throws Error, naming all of them, if it is not or is absent.
  int get(const char* name, int low, int high) const;

  // Throws Error if there is an option not in `known`, which would change the op's meaning.
  void allow_only(std::initializer_list<const char*> known) const;

 private:
  std::string op_;
  std::map<std::string, std::int64_t> values_;
};

}  // namespace siman

#endif  // SIMAN_OPTIONS_H_
