// ATen's headers of its CUDA context name this type; nothing here uses it.
#pragma once
typedef int cusolverStatus_t;
