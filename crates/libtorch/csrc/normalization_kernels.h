// Group normalisation, with or without SiLU, of features in channels-last, forward and backward: what each thread does.
//
// This text is compiled twice: by NVRTC for a GPU, and by the host's compiler for a CPU, where a loop goes through all
// threads of a block for one phase after the other. What is tested on a CPU is thus what a GPU runs, but for the launch,
// the barrier between two phases, and the functions in the part "numbers".
//
// Before it is included, these are defined: PW_ELEMENT, what features are stored as; PW_BFLOAT16, whether that is the
// upper half of a float32 as an unsigned short; PW_REAL, what is computed in; PW_VECTOR, the channels that a thread reads
// at once; PW_GPU, for a GPU.
//
// In features `[images, channels, height, width]` the channels of a pixel lie side by side, and the pixels of an image
// one after the other. A block has `columns * rows` threads: a column has PW_VECTOR channels, a row every `rows`-th
// pixel. The pixels of an image are shared out among `chunks` blocks. No sum depends on the order in which threads run.

#ifdef PW_GPU
#define PW_FUNCTION __device__ __forceinline__
#else
#define PW_FUNCTION inline
#endif

typedef PW_ELEMENT Element;
typedef PW_REAL Real;

struct alignas(sizeof(Element) * PW_VECTOR) Pack {
  Element values[PW_VECTOR];
};

// One for all kernels. `groups` divides `channels`, PW_VECTOR too.
struct Arguments {
  const Pack* x;
  const Pack* dy;  // backward
  Pack* out;  // y, or backward dx
  const Real* weight;  // [channels]
  const Real* bias;  // [channels]
  Real* partial;  // [images, chunks, 2, channels]
  Real* mean;  // [images, groups]
  Real* deviation;  // [images, groups]: 1 / sqrt(variance + epsilon)
  Real* weight_gradient;  // [images, channels]
  Real* bias_gradient;  // [images, channels]
  Real* means;  // [images, groups, 2]: of g and g * xhat, see `gradient_statistics`
  double epsilon;
  int pixels;  // of an image
  int channels;
  int groups;
  int columns;
  int rows;
  int chunks;
  int silu;
};

struct Place {
  int image;
  int chunk;
  int thread;
  int threads;
};

// Numbers.

#if PW_BFLOAT16
PW_FUNCTION Real widen(Element stored) {
  union {
    unsigned int bits;
    float value;
  } number;
  number.bits = static_cast<unsigned int>(stored) << 16;
  return number.value;
}

// To the nearest, ties to even.
PW_FUNCTION Element narrow(Real value) {
#if defined(PW_GPU) && __CUDA_ARCH__ >= 800
  unsigned short stored;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(stored) : "f"(value));
  return stored;
#else
  union {
    float value;
    unsigned int bits;
  } number;
  number.value = value;
  if (value != value) {
    return 0x7fc0;
  }
  return static_cast<Element>((number.bits + 0x7fff + ((number.bits >> 16) & 1)) >> 16);
#endif
}
#else
PW_FUNCTION Real widen(Element stored) {
  return stored;
}

PW_FUNCTION Element narrow(Real value) {
  return value;
}
#endif

PW_FUNCTION Real sigmoid(Real value) {
#ifdef PW_GPU
  return __fdividef(1.0f, 1.0f + __expf(-value));
#else
  return 1 / (1 + std::exp(-value));
#endif
}

PW_FUNCTION Real inverse_root(Real value) {
#ifdef PW_GPU
  return 1.0f / sqrtf(value);
#else
  return 1 / std::sqrt(value);
#endif
}

// Places.

PW_FUNCTION int column_of(const Arguments& all, const Place& own) {
  return own.thread % all.columns;
}

PW_FUNCTION int row_of(const Arguments& all, const Place& own) {
  return own.thread / all.columns;
}

// The first pixel of a chunk; of the chunk after the last one, the number of pixels.
PW_FUNCTION int first_pixel(const Arguments& all, int chunk) {
  return static_cast<int>(static_cast<long long>(all.pixels) * chunk / all.chunks);
}

// Where the pack of a pixel and a column lies.
PW_FUNCTION long long place_of(const Arguments& all, const Place& own, int pixel, int column) {
  return (static_cast<long long>(own.image) * all.pixels + pixel) * all.columns + column;
}

// The constants of the channels of one thread: y = act((x - mean) * factor + bias), factor = weight * deviation.
struct Constants {
  Real mean[PW_VECTOR];
  Real factor[PW_VECTOR];
  Real bias[PW_VECTOR];
};

PW_FUNCTION void read_constants(const Arguments& all, const Place& own, int column, Constants& constants) {
  const int width = all.channels / all.groups;
  for (int k = 0; k < PW_VECTOR; ++k) {
    const int channel = column * PW_VECTOR + k;
    const int group = own.image * all.groups + channel / width;
    constants.mean[k] = all.mean[group];
    constants.factor[k] = all.weight[channel] * all.deviation[group];
    constants.bias[k] = all.bias[channel];
  }
}

// What comes from the output's gradient through SiLU, where there is one: dy * act'(z).
PW_FUNCTION Real through_activation(const Arguments& all, Real dy, Real z) {
  if (!all.silu) {
    return dy;
  }
  const Real s = sigmoid(z);
  return dy * s * (1 + z * (1 - s));
}

// Sums a thread's two numbers for each of its channels over the rows of its block, by `shared` [2, rows, channels].
PW_FUNCTION void share(const Arguments& all, const Place& own, const Real* sums, const Real* others, Real* shared) {
  const int start = row_of(all, own) * all.channels + column_of(all, own) * PW_VECTOR;
  for (int k = 0; k < PW_VECTOR; ++k) {
    shared[start + k] = sums[k];
    shared[all.rows * all.channels + start + k] = others[k];
  }
}

PW_FUNCTION void add_rows(const Arguments& all, const Place& own, const Real* shared) {
  const long long block = static_cast<long long>(own.image) * all.chunks + own.chunk;
  for (int index = own.thread; index < 2 * all.channels; index += own.threads) {
    const int which = index / all.channels;
    const int channel = index % all.channels;
    Real sum = 0;
    for (int row = 0; row < all.rows; ++row) {
      sum += shared[(which * all.rows + row) * all.channels + channel];
    }
    all.partial[(block * 2 + which) * all.channels + channel] = sum;
  }
}

// Sums over the chunks of an image for one channel: the first or second of the two numbers.
PW_FUNCTION Real add_chunks(const Arguments& all, const Place& own, int which, int channel) {
  Real sum = 0;
  for (int chunk = 0; chunk < all.chunks; ++chunk) {
    const long long block = static_cast<long long>(own.image) * all.chunks + chunk;
    sum += all.partial[(block * 2 + which) * all.channels + channel];
  }
  return sum;
}

// `moments`: of each channel, sums of x - x0 and (x - x0)^2, where x0 is the channel's first pixel. Without it the
// squares of a mean far from zero would swallow the variance.

PW_FUNCTION void moments_first(const Arguments& all, const Place& own, Real* shared) {
  const int column = column_of(all, own);
  const Pack start = all.x[place_of(all, own, 0, column)];
  Real sums[PW_VECTOR] = {};
  Real squares[PW_VECTOR] = {};
  const int end = first_pixel(all, own.chunk + 1);
  for (int pixel = first_pixel(all, own.chunk) + row_of(all, own); pixel < end; pixel += all.rows) {
    const Pack pack = all.x[place_of(all, own, pixel, column)];
    for (int k = 0; k < PW_VECTOR; ++k) {
      const Real distance = widen(pack.values[k]) - widen(start.values[k]);
      sums[k] += distance;
      squares[k] += distance * distance;
    }
  }
  share(all, own, sums, squares, shared);
}

PW_FUNCTION void moments_second(const Arguments& all, const Place& own, const Real* shared) {
  add_rows(all, own, shared);
}

// `statistics`, a block an image: mean and deviation of each group, from each channel's mean and sum of squared distances
// from it (Chan, Golub and LeVeque, 1979). `shared` [2, channels].

PW_FUNCTION void statistics_first(const Arguments& all, const Place& own, Real* shared) {
  for (int channel = own.thread; channel < all.channels; channel += own.threads) {
    const Element start = all.x[place_of(all, own, 0, channel / PW_VECTOR)].values[channel % PW_VECTOR];
    const Real sum = add_chunks(all, own, 0, channel);
    const Real squares = add_chunks(all, own, 1, channel);
    shared[channel] = widen(start) + sum / all.pixels;
    shared[all.channels + channel] = squares - sum * sum / all.pixels;
  }
}

PW_FUNCTION void statistics_second(const Arguments& all, const Place& own, const Real* shared) {
  const int width = all.channels / all.groups;
  for (int group = own.thread; group < all.groups; group += own.threads) {
    const Real* means = shared + group * width;
    const Real* squares = means + all.channels;
    Real mean = 0;
    for (int k = 0; k < width; ++k) {
      mean += means[k];
    }
    mean /= width;
    Real sum = 0;
    for (int k = 0; k < width; ++k) {
      const Real distance = means[k] - mean;
      sum += squares[k] + all.pixels * distance * distance;
    }
    const Real variance = sum / (static_cast<Real>(all.pixels) * width);
    const int place = own.image * all.groups + group;
    all.mean[place] = mean;
    // Rounding can make the variance of equal numbers a little negative; not a number stays one.
    all.deviation[place] = inverse_root((variance < 0 ? 0 : variance) + static_cast<Real>(all.epsilon));
  }
}

// `apply`: y = act((x - mean) * factor + bias).

PW_FUNCTION void apply_first(const Arguments& all, const Place& own, Real*) {
  const int column = column_of(all, own);
  Constants constants;
  read_constants(all, own, column, constants);
  const int end = first_pixel(all, own.chunk + 1);
  for (int pixel = first_pixel(all, own.chunk) + row_of(all, own); pixel < end; pixel += all.rows) {
    const long long place = place_of(all, own, pixel, column);
    const Pack x = all.x[place];
    Pack y;
    for (int k = 0; k < PW_VECTOR; ++k) {
      const Real z = (widen(x.values[k]) - constants.mean[k]) * constants.factor[k] + constants.bias[k];
      y.values[k] = narrow(all.silu ? z * sigmoid(z) : z);
    }
    all.out[place] = y;
  }
}

PW_FUNCTION void apply_second(const Arguments&, const Place&, const Real*) {}

// `gradient_sums`: of each channel, sums of d and d * (x - mean), where d = dy * act'(z) is the gradient of
// z = xhat * weight + bias.

PW_FUNCTION void gradient_sums_first(const Arguments& all, const Place& own, Real* shared) {
  const int column = column_of(all, own);
  Constants constants;
  read_constants(all, own, column, constants);
  Real sums[PW_VECTOR] = {};
  Real products[PW_VECTOR] = {};
  const int end = first_pixel(all, own.chunk + 1);
  for (int pixel = first_pixel(all, own.chunk) + row_of(all, own); pixel < end; pixel += all.rows) {
    const long long place = place_of(all, own, pixel, column);
    const Pack x = all.x[place];
    const Pack dy = all.dy[place];
    for (int k = 0; k < PW_VECTOR; ++k) {
      const Real distance = widen(x.values[k]) - constants.mean[k];
      const Real d = through_activation(all, widen(dy.values[k]), distance * constants.factor[k] + constants.bias[k]);
      sums[k] += d;
      products[k] += d * distance;
    }
  }
  share(all, own, sums, products, shared);
}

PW_FUNCTION void gradient_sums_second(const Arguments& all, const Place& own, const Real* shared) {
  add_rows(all, own, shared);
}

// `gradient_statistics`, a block an image: the gradients of weight and bias, one row an image, and of each group the
// means of g = d * weight and g * xhat over all its channels and pixels. `shared` [2, channels].

PW_FUNCTION void gradient_statistics_first(const Arguments& all, const Place& own, Real* shared) {
  const int width = all.channels / all.groups;
  for (int channel = own.thread; channel < all.channels; channel += own.threads) {
    const Real deviation = all.deviation[own.image * all.groups + channel / width];
    const Real sum = add_chunks(all, own, 0, channel);
    const Real product = add_chunks(all, own, 1, channel) * deviation;
    const long long place = static_cast<long long>(own.image) * all.channels + channel;
    all.bias_gradient[place] = sum;
    all.weight_gradient[place] = product;
    shared[channel] = sum * all.weight[channel];
    shared[all.channels + channel] = product * all.weight[channel];
  }
}

PW_FUNCTION void gradient_statistics_second(const Arguments& all, const Place& own, const Real* shared) {
  const int width = all.channels / all.groups;
  for (int index = own.thread; index < 2 * all.groups; index += own.threads) {
    const int which = index / all.groups;
    const int group = index % all.groups;
    Real sum = 0;
    for (int k = 0; k < width; ++k) {
      sum += shared[which * all.channels + group * width + k];
    }
    all.means[(own.image * all.groups + group) * 2 + which] = sum / (static_cast<Real>(all.pixels) * width);
  }
}

// `gradient_apply`: dx = deviation * (g - mean of g - xhat * mean of g * xhat).

PW_FUNCTION void gradient_apply_first(const Arguments& all, const Place& own, Real*) {
  const int column = column_of(all, own);
  const int width = all.channels / all.groups;
  Constants constants;
  read_constants(all, own, column, constants);
  Real offsets[PW_VECTOR];
  Real slopes[PW_VECTOR];
  for (int k = 0; k < PW_VECTOR; ++k) {
    const int group = own.image * all.groups + (column * PW_VECTOR + k) / width;
    const Real deviation = all.deviation[group];
    offsets[k] = deviation * all.means[group * 2];
    slopes[k] = deviation * deviation * all.means[group * 2 + 1];
  }
  const int end = first_pixel(all, own.chunk + 1);
  for (int pixel = first_pixel(all, own.chunk) + row_of(all, own); pixel < end; pixel += all.rows) {
    const long long place = place_of(all, own, pixel, column);
    const Pack x = all.x[place];
    const Pack dy = all.dy[place];
    Pack dx;
    for (int k = 0; k < PW_VECTOR; ++k) {
      const Real distance = widen(x.values[k]) - constants.mean[k];
      const Real d = through_activation(all, widen(dy.values[k]), distance * constants.factor[k] + constants.bias[k]);
      dx.values[k] = narrow(d * constants.factor[k] - offsets[k] - distance * slopes[k]);
    }
    all.out[place] = dx;
  }
}

PW_FUNCTION void gradient_apply_second(const Arguments&, const Place&, const Real*) {}

// Launches: `blocks` blocks of `threads` threads; block `image * chunks + chunk`, of statistics `image`.

#ifdef PW_GPU
#define PW_KERNEL(name, blocks_an_image)                                                                  \
  extern "C" __global__ void pw_##name(const Arguments all) {                                             \
    extern __shared__ Real shared[];                                                                      \
    const int blocks = blocks_an_image;                                                                   \
    const Place own = {                                                                                   \
        static_cast<int>(blockIdx.x) / blocks,                                                            \
        static_cast<int>(blockIdx.x) % blocks,                                                            \
        static_cast<int>(threadIdx.x),                                                                    \
        static_cast<int>(blockDim.x)};                                                                    \
    name##_first(all, own, shared);                                                                       \
    __syncthreads();                                                                                      \
    name##_second(all, own, shared);                                                                      \
  }
#else
#define PW_KERNEL(name, blocks_an_image)                                                                  \
  inline void name(const Arguments& all, int block, int threads, Real* shared) {                          \
    const int blocks = blocks_an_image;                                                                   \
    Place own = {block / blocks, block % blocks, 0, threads};                                             \
    for (own.thread = 0; own.thread < threads; ++own.thread) {                                            \
      name##_first(all, own, shared);                                                                     \
    }                                                                                                     \
    for (own.thread = 0; own.thread < threads; ++own.thread) {                                            \
      name##_second(all, own, shared);                                                                    \
    }                                                                                                     \
  }
#endif

PW_KERNEL(moments, all.chunks)
PW_KERNEL(statistics, 1)
PW_KERNEL(apply, all.chunks)
PW_KERNEL(gradient_sums, all.chunks)
PW_KERNEL(gradient_statistics, 1)
PW_KERNEL(gradient_apply, all.chunks)

#undef PW_KERNEL
#undef PW_FUNCTION
