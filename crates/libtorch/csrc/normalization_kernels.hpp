// The kernels of normalization_kernels.h for the host, once for each element type.
#pragma once

#include <cmath>

#define PW_VECTOR 4

namespace patchwork::bfloat16 {
#define PW_ELEMENT unsigned short
#define PW_REAL float
#define PW_BFLOAT16 1
#include "normalization_kernels.h"
#undef PW_ELEMENT
#undef PW_REAL
#undef PW_BFLOAT16
} // namespace patchwork::bfloat16

#define PW_BFLOAT16 0

namespace patchwork::float32 {
#define PW_ELEMENT float
#define PW_REAL float
#include "normalization_kernels.h"
#undef PW_ELEMENT
#undef PW_REAL
} // namespace patchwork::float32

namespace patchwork::float64 {
#define PW_ELEMENT double
#define PW_REAL double
#include "normalization_kernels.h"
#undef PW_ELEMENT
#undef PW_REAL
} // namespace patchwork::float64

#undef PW_BFLOAT16
#undef PW_VECTOR
