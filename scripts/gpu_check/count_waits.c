/* Counts a process's calls of CUDA's runtime that start work or wait for it, for gpu-check: preloaded, it stands before
   libcudart, which libtorch is linked to. At the process's end the counts are written as JSON to $PATCHWORK_COUNTS. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNTED(X) \
    X(cudaStreamSynchronize) X(cudaDeviceSynchronize) X(cudaEventSynchronize) X(cudaMemcpyAsync) X(__cudaLaunchKernel) \
    X(cudaLaunchKernelExC) X(cudaMalloc) X(cudaGraphLaunch)

#define COUNTER(name) static atomic_ulong count_##name;
COUNTED(COUNTER)

#define LINE(name) fprintf(file, "%s\"" #name "\": %lu", separator, atomic_load(&count_##name)), separator = ", ";
__attribute__((destructor)) static void write_counts(void) {
    const char *path = getenv("PATCHWORK_COUNTS");
    /* The supervisor has none: what counts is its worker, which ends before it. */
    if (path == NULL || atomic_load(&count_cudaMemcpyAsync) == 0) return;
    FILE *file = fopen(path, "w");
    if (file == NULL) return;
    const char *separator = "{";
    COUNTED(LINE)
    fputs("}\n", file);
    fclose(file);
}

/* Each is called as it is in cuda_runtime_api.h, enums as int, streams, events and graphs as pointers, dim3 by value. */
struct dim3 { unsigned x, y, z; };
#define NEXT(name) \
    static __typeof__(name) *next; \
    if (next == NULL) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
    atomic_fetch_add(&count_##name, 1);

int cudaStreamSynchronize(void *stream) { NEXT(cudaStreamSynchronize) return next(stream); }
int cudaDeviceSynchronize(void) { NEXT(cudaDeviceSynchronize) return next(); }
int cudaEventSynchronize(void *event) { NEXT(cudaEventSynchronize) return next(event); }
int cudaMemcpyAsync(void *to, const void *from, size_t count, int kind, void *stream) {
    NEXT(cudaMemcpyAsync) return next(to, from, count, kind, stream);
}
/* What the compiler of CUDA 13 makes of a launch. */
int __cudaLaunchKernel(void *kernel, struct dim3 grid, struct dim3 block, void **arguments, size_t shared, void *stream) {
    NEXT(__cudaLaunchKernel) return next(kernel, grid, block, arguments, shared, stream);
}
int cudaLaunchKernelExC(const void *config, const void *function, void **arguments) {
    NEXT(cudaLaunchKernelExC) return next(config, function, arguments);
}
int cudaMalloc(void **pointer, size_t size) { NEXT(cudaMalloc) return next(pointer, size); }
int cudaGraphLaunch(void *graph, void *stream) { NEXT(cudaGraphLaunch) return next(graph, stream); }
