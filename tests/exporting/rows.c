/* What an exported header tells of rows. Owns how values come in and answers go out; the model is in model.h.

   Values come on the standard input, each with NUL behind it, those of a row in the order of its columns: digits, or nothing
   where a number is missing; texts of categories. A line goes out for each row: the number of a column that cannot be used,
   or 0 and then the class and the bits of the probabilities, or the bits of the numbers. */

#include "model.h"

#include <stdio.h>
#include <stdlib.h>

static char text[1 << 16];

/* The next value as text; whether there is one. */
static int next(void) {
  size_t length = 0;
  int c;
  while ((c = getchar()) != EOF && c != 0 && length + 1 < sizeof text) text[length++] = (char)c;
  text[length] = 0;
  return c != EOF;
}

static double number(void) { return text[0] ? strtod(text, NULL) : NAN; }

#if GRADWIRE_CLASSES
static void tell(const float *outputs) {
  static float probabilities[GRADWIRE_OUTPUTS];
  int j;
  printf(" %d", gradwire_class(outputs));
  gradwire_probabilities(outputs, probabilities);
  for (j = 0; j < GRADWIRE_OUTPUTS; j++) {
    unsigned bits;
    memcpy(&bits, &probabilities[j], sizeof bits);
    printf(" %08x", bits);
  }
}
#else
static void tell(const float *outputs) {
  static double numbers[GRADWIRE_OUTPUTS];
  int j;
  gradwire_numbers(outputs, numbers);
  for (j = 0; j < GRADWIRE_OUTPUTS; j++) {
    unsigned long long bits;
    memcpy(&bits, &numbers[j], sizeof bits);
    printf(" %016llx", bits);
  }
}
#endif

int main(int argc, char **argv) {
  static double row[GRADWIRE_VALUES];
  static float outputs[GRADWIRE_OUTPUTS];
  int place, refused;
#if GRADWIRE_CLASSES
  /* With any argument, the names alone. */
  if (argc > 1) {
    for (place = 0; place < GRADWIRE_OUTPUTS; place++) fwrite(gradwire_classes[place], 1, strlen(gradwire_classes[place]) + 1, stdout);
    return 0;
  }
#endif
  (void)argc;
  (void)argv;
  for (;;) {
    for (place = 0; place < GRADWIRE_COLUMNS; place++) {
      if (!next()) return 0;
#if GRADWIRE_CATEGORIES
      if (gradwire_columns[place].kind == GRADWIRE_CATEGORY) {
        row[gradwire_columns[place].value] = gradwire_category(place, text);
        continue;
      }
#endif
      row[gradwire_columns[place].value] = number();
      if (gradwire_columns[place].kind == GRADWIRE_TIME) {
        if (!next()) return 1;
        row[gradwire_columns[place].value + 1] = number();
      }
    }
    refused = gradwire_outputs(row, outputs);
    printf("%d", refused);
    if (!refused) tell(outputs);
    putchar('\n');
  }
}
