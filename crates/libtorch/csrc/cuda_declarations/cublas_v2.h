// ATen's headers of its CUDA context name these types; nothing here uses them.
#pragma once
typedef struct cublasContext* cublasHandle_t;
typedef int cublasStatus_t;
