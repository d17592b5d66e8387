// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors
#define _GNU_SOURCE
#include "compat.h"
#include <malloc.h>
#include <math.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/timex.h>

// Not hypot(): glibc 2.35 gave that a new version as well. A double holds the squares of any two floats.
float hypotf(float x, float y) {
    if (isinf(x) || isinf(y)) return INFINITY;
    return (float)sqrt((double)x * x + (double)y * y);
}
void natfleet_glibc_compat(void) {}

int natfleet_memory_file(void) { return memfd_create("natfleet-input", MFD_CLOEXEC); }

// Before the first thread: glibc settles how many arenas there may be when a second thread allocates. Threads that are hardly
// ever busy at once need none of their own, and what is large must not stay as holes in the heap: an agent waits most of
// its life.
__attribute__((constructor)) static void keep_little_memory(void) {
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
}

void natfleet_trim_memory(void) { malloc_trim(0); }

int natfleet_new_network(void) { return unshare(CLONE_NEWNET); }

int natfleet_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int natfleet_clock_is_kept(void) {
    struct timex state = {0};
    if (adjtimex(&state) < 0) return -1;
    return (state.status & STA_UNSYNC) == 0;
}
