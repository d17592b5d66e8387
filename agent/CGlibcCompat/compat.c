// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#include "compat.h"
#include <math.h>

float hypotf(float x, float y) { return (float)hypot((double)x, (double)y); }
void natfleet_glibc_compat(void) {}
