// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#define _GNU_SOURCE
#include "compat.h"
#include <math.h>
#include <sched.h>
#include <sys/mman.h>

// Not hypot(): glibc 2.35 gave that a new version as well. A double holds the squares of any two floats.
float hypotf(float x, float y) {
    if (isinf(x) || isinf(y)) return INFINITY;
    return (float)sqrt((double)x * x + (double)y * y);
}
void natfleet_glibc_compat(void) {}

int natfleet_memory_file(void) { return memfd_create("natfleet-input", MFD_CLOEXEC); }

int natfleet_new_network(void) { return unshare(CLONE_NEWNET); }

int natfleet_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET); }
