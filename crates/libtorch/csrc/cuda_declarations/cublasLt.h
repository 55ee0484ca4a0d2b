// ATen's header of its CUDA context names this handle; nothing here uses it.
#pragma once
typedef struct cublasLtContext* cublasLtHandle_t;
