// One exception for all that can be wrong with a model; its text reaches Python as it stands.
#ifndef SIMAN_ERROR_H_
#define SIMAN_ERROR_H_

#include <sstream>
#include <stdexcept>
#include <string>

namespace siman {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Inputs of an op no longer agree as they did where the model declares them: it can then be no part
// of another, and by itself repeats the smaller one along the larger.
class Mismatch : public Error {
 public:
  using Error::Error;
};

// Raises an Error whose text is all arguments, one after the other.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(text.str());
}

}  // namespace siman

#endif  // SIMAN_ERROR_H_
