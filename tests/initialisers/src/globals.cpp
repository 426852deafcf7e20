// Globals with constructors: one that allocates, and one that is made of it, so that order within the file counts too.

#include <string>

namespace {
volatile int length = 1000;
std::string text(length, 'x');
int size = static_cast<int>(text.size()) + 1;
} // namespace

extern "C" int initialisers_cpp_global() { return size; }
