// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#include "compat.h"
#include <math.h>

// Not hypot(): glibc 2.35 gave that a new version as well. A double holds the squares of any two floats.
float hypotf(float x, float y) {
    if (isinf(x) || isinf(y)) return INFINITY;
    return (float)sqrt((double)x * x + (double)y * y);
}
void natfleet_glibc_compat(void) {}
