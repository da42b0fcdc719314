/* What is below 2^-40 in magnitude counts as 0. */
static inline float gradwire_cut(float value) { return fabsf(value) < 9.094947e-13f ? 0.0f : value; }

/* e^x is (series * rest + 1) * power, where x is from -41.5 to 0. */
static inline float gradwire_series(float x, float *rest, float *power) {
  float n = fmaf(x, 1.442695f, 12582912.0f) - 12582912.0f;
  float r = fmaf(n, -1.4286068e-06f, fmaf(n, -0.69314575f, x));
  float q = fmaf(fmaf(0.0013926215f, r, 0.008363204f), r, 0.041666552f);
  *rest = r;
  *power = ldexpf(1.0f, (int)n);
  return fmaf(fmaf(fmaf(q, r, 0.16666576f), r, 0.5f), r, 1.0f);
}

static inline float gradwire_exp(float x) {
  float rest, power, series;
  if (x < -41.5f) return 0.0f;
  series = gradwire_series(x, &rest, &power);
  return fmaf(series, rest, 1.0f) * power;
}

static inline float gradwire_tanh(float sum) {
  float rest, power, series, m = -1.0f;
  if (sum != sum) return sum;
  if (!(-2.0f * fabsf(sum) < -41.5f)) {
    series = gradwire_series(-2.0f * fabsf(sum), &rest, &power);
    m = (series * rest) * power + (power - 1.0f);
  }
  return copysignf(-m / (2.0f + m), sum);
}

#if GRADWIRE_CATEGORIES
/* The value of a category in a row: of the column in this place, from 0, of gradwire_columns. */
static inline double gradwire_category(int column, const char *text) {
  int low = 0, high = gradwire_columns[column].levels_count, i;
  for (i = 0; i < GRADWIRE_MISSING; i++) {
    if (strcmp(text, gradwire_missing[i]) == 0) return NAN;
  }
  while (low < high) {
    int middle = low + (high - low) / 2, order = strcmp(text, gradwire_columns[column].levels[middle]);
    if (order == 0) return middle;
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return -1.0; /* unknown */
}
#endif

/* A scaled number of a column as an input. */
static inline float gradwire_scaled(const gradwire_column *column, double scaled) {
  if (column->clipped) {
    double part;
    if (scaled > 18446744073709551616.0) scaled = 18446744073709551616.0;
    if (scaled < -18446744073709551616.0) scaled = -18446744073709551616.0;
    part = scaled / 3.0;
    scaled /= sqrt(1.0 + part * part);
  }
  return gradwire_cut((float)scaled);
}

/* The inputs that a row of GRADWIRE_VALUES becomes. 0; or the number of the column, from 1, whose value cannot be used. */
static inline int gradwire_inputs(const double *row, float *x) {
  int place, i;
  for (place = 0; place < GRADWIRE_COLUMNS; place++) {
    const gradwire_column *column = &gradwire_columns[place];
    double value = row[column->value], clock, day;
    int missing = value != value;
    if (column->kind == GRADWIRE_CATEGORY) {
      int own = missing ? column->missing : column->unknown;
      if (value >= 0 && value < column->levels_count) own = (int)value;
      if (own == GRADWIRE_REFUSED) return place + 1;
      for (i = 0; i < column->inputs; i++) *x++ = (float)(i == own);
      continue;
    }
    /* No greater number is read from a file either. */
    if (missing ? column->missing == GRADWIRE_REFUSED : !(fabs(value) <= 1e140)) return place + 1;
    *x = gradwire_scaled(column, ((missing ? column->fill : value) - column->mean) * column->inverse_deviation);
    if (!(fabsf(*x++) <= FLT_MAX)) return place + 1;
    if (column->kind != GRADWIRE_NUMBER) {
      clock = (missing ? 0.0 : value) + (column->kind == GRADWIRE_TIME ? row[column->value + 1] : 0.0);
      day = floor(clock / 86400.0);
      for (i = 0; i < 7; i++) *x++ = (float)(!missing && day + 3.0 - 7.0 * floor((day + 3.0) / 7.0) == i);
      if (column->kind == GRADWIRE_TIME) {
        double hour = floor((clock - day * 86400.0) / 3600.0);
        *x = missing ? 0.0f : gradwire_scaled(column, (hour - column->hour_mean) * column->hour_inverse_deviation);
        if (!(fabsf(*x++) <= FLT_MAX)) return place + 1;
      }
    }
    if (column->marked) *x++ = (float)missing;
  }
  return 0;
}

/* The outputs, GRADWIRE_OUTPUTS of them, for a row. 0; or as gradwire_inputs; or -1 where one is not finite. */
static inline int gradwire_outputs(const double *row, float *outputs) {
  float one[GRADWIRE_WIDEST], other[GRADWIRE_WIDEST], *x = one, *y = other;
  const float *weights = gradwire_parameters;
  int layer, i, j, refused = gradwire_inputs(row, x);
  if (refused) return refused;
  for (layer = 0; layer < GRADWIRE_LAYERS; layer++) {
    int n = gradwire_widths[layer], m = gradwire_widths[layer + 1], last = layer + 1 == GRADWIRE_LAYERS;
    if (last) y = outputs;
    memcpy(y, weights + (size_t)n * (size_t)m, (size_t)m * sizeof *y);
    for (i = 0; i < n; i++, weights += m) {
      for (j = 0; j < m; j++) y[j] = fmaf(x[i], weights[j], y[j]);
    }
    for (j = 0; j < m && !last; j++) y[j] = GRADWIRE_ACTIVATION(y[j]);
    weights += m;
    x = y;
    y = x == one ? other : one;
  }
  for (j = 0; j < GRADWIRE_OUTPUTS; j++) {
    if (!(fabsf(outputs[j]) <= FLT_MAX)) return -1;
  }
  return 0;
}

#if GRADWIRE_CLASSES
/* The class, a place in gradwire_classes, that outputs tell. */
static inline int gradwire_class(const float *outputs) {
  int best = 0, j;
  for (j = 1; j < GRADWIRE_OUTPUTS; j++) {
    if (outputs[j] > outputs[best]) best = j;
  }
  return best;
}

/* The probability of each class. */
static inline void gradwire_probabilities(const float *outputs, float *probabilities) {
  float total = 0.0f, largest = outputs[gradwire_class(outputs)];
  int j;
  for (j = 0; j < GRADWIRE_OUTPUTS; j++) total += probabilities[j] = gradwire_exp(outputs[j] - largest);
  for (j = 0; j < GRADWIRE_OUTPUTS; j++) probabilities[j] /= total;
}
#else
/* The number that outputs tell of each target, in its own unit. */
static inline void gradwire_numbers(const float *outputs, double *numbers) {
  int j;
  for (j = 0; j < GRADWIRE_OUTPUTS; j++) {
    numbers[j] = (double)outputs[j] * gradwire_targets[j].deviation + gradwire_targets[j].mean;
  }
}
#endif

#endif
