// ATen's headers of its CUDA context name these types; nothing here uses them.
#pragma once
typedef struct cusparseContext* cusparseHandle_t;
typedef int cusparseStatus_t;
